/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the kernel says of a device, a module and a process, a value a line: a kernel of another
 * version, or a device that calls itself something strange, must not confuse what is done to it.
 */

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cgroup-internal.h"
#include "dax-internal.h"
#include "dax.h"
#include "extent.h"
#include "fuzz.h"
#include "proof-internal.h"
#include "region-internal.h"
#include "uevent.h"

#define DEVICE "sys/bus/dax/devices/null"
#define MODULE "sys/module/device_dax"

static const char *root;
static char sysfs[64];

static void path_of(char *path, size_t size, const char *name)
{
	(void)snprintf(path, size, "%s/%s", root, name);
}

static void make_dirs(const char *name)
{
	char path[512], *slash;

	path_of(path, sizeof(path), name);
	for (slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		(void)mkdir(path, 0700);
	}
}

static void put(const char *name, const char *value)
{
	char path[512];
	FILE *f;

	path_of(path, sizeof(path), name);
	f = fopen(path, "we");
	FUZZ_CHECK(f && fputs(value, f) >= 0);
	(void)fclose(f);
}

static void put_driver(const char *target)
{
	char path[512];

	path_of(path, sizeof(path), DEVICE "/driver");
	(void)unlink(path);
	if (*target)
		(void)symlink(target, path);
}

static PmlRegion *make_region(void)
{
	PmlRegionInfo info = {
		.name = "null",
		.path = "/dev/null",
		.uuid = "11111111-2222-3333-4444-555555555555",
		.kind = PML_KIND_DEVDAX,
		.binding = PML_BINDING_DEVICE_DAX,
		.devno = makedev(1, 3),
		.size_bytes = 64 * MIB,
		.align_bytes = 2 * MIB,
		.phys_start = 0x240000000ULL,
		.extent = {.medium = "iset:00000000000000aa", .size_bytes = 64 * MIB},
	};
	PmlRegion *r;

	FUZZ_CHECK(pml_region_new(&info, &r) == 0);
	return r;
}

static void device(char **text)
{
	static const PmlDaxRoots roots = {.sysfs = sysfs, .dev = "/dev", .proc = "/proc"};
	PmlDaxOps ops = pml_dax_ops;
	PmlRegion *region = make_region();
	PmlBinding binding;
	uint64_t refs = 0, per_file = 0;

	ops.userdata = (void *)&roots;
	put(DEVICE "/dev", fuzz_line(text));
	put(DEVICE "/size", fuzz_line(text));
	put(DEVICE "/resource", fuzz_line(text));
	put_driver(fuzz_line(text));
	put(MODULE "/refcnt", fuzz_line(text));
	if (ops.binding(ops.userdata, region, &binding) == 0)
		FUZZ_CHECK(pml_binding_to_string(binding));
	if (ops.module_refs(ops.userdata, &refs, &per_file) == 0)
		FUZZ_CHECK(per_file > 0);
	pml_region_unref(region);
}

static void process(char **text)
{
	char path[512];
	ProofStat st;
	int fd;

	put("stat", fuzz_line(text));
	path_of(path, sizeof(path), "");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(fd >= 0);
	if (proof_read_stat(fd, &st) == 0)
		fuzz_check_sentence(st.comm);
	(void)close(fd);
}

static void names(char **text)
{
	_cleanup_free_ char *cgroup = NULL;
	const char *path = fuzz_line(text);
	PmlExtent e;

	/* What is frozen is a part of what the process is in, and never everything. */
	if (cgroup_cut_to_machine(path, &cgroup) == 0)
		FUZZ_CHECK(strncmp(cgroup, path, strlen(cgroup)) == 0 && strlen(cgroup) > 1);
	if (pml_extent_parse(fuzz_line(text), &e) == 0)
		FUZZ_CHECK(e.size_bytes > 0 && pml_extent_end(&e) > e.start_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size);
	char *next = text;

	if (!sysfs[0]) {
		root = fuzz_dir_new();
		(void)snprintf(sysfs, sizeof(sysfs), "%s/sys", root);
		make_dirs(DEVICE "/");
		make_dirs(MODULE "/holders/");
		make_dirs("sys/bus/dax/drivers/device_dax/");
	}
	(void)uevent_concerns_us((const char *)data, size, true);
	device(&next);
	process(&next);
	names(&next);
	return 0;
}

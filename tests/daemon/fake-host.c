/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <sys/sysmacros.h>

#include "fake-host.h"
#include "inventory-internal.h"
#include "region-internal.h"
#include "util.h"

static const char *host_dir;

void fake_host_use(const char *dir)
{
	host_dir = dir;
}

static FILE *host_open(const char *name, const char *suffix, const char *mode)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s%s", host_dir, name, suffix);
	return fopen(path, mode);
}

static PmlBinding binding_of(const char *name)
{
	_cleanup_fclose_ FILE *f = host_open(name, ".binding", "re");
	char driver[64] = "";

	if (!f)
		return PML_BINDING_DEVICE_DAX;
	if (fscanf(f, "%63s", driver) != 1)
		return PML_BINDING_NONE;
	return pml_binding_from_string(driver);
}

static int bind_to(const PmlRegion *r, PmlBinding b)
{
	FILE *f = host_open(pml_region_name(r), ".binding", "we");

	if (!f)
		return -errno;
	(void)fprintf(f, "%s\n", pml_binding_to_string(b));
	return fclose(f) == 0 ? 0 : -errno;
}

static int region_of_line(const char *line, PmlRegion **ret)
{
	char name[64], uuid[64], path[96];
	unsigned major_nr, minor_nr;
	uint64_t start, size;
	PmlRegionInfo info;

	if (sscanf(line, "%63s %63s %" SCNi64 " %" SCNi64 " %u %u", name, uuid, (int64_t *)&start,
		    (int64_t *)&size, &major_nr, &minor_nr) != 6)
		return -EBADMSG;
	(void)snprintf(path, sizeof(path), "/dev/%s", name);
	info = (PmlRegionInfo){
		.name = name,
		.path = path,
		.uuid = uuid,
		.kind = PML_KIND_DEVDAX,
		.binding = binding_of(name),
		.devno = makedev(major_nr, minor_nr),
		.size_bytes = size,
		.align_bytes = 2 * MIB,
		.phys_start = 0x100000000 + start,
		.extent = {.medium = "iset:00000000000000aa",
			.start_bytes = start,
			.size_bytes = size},
	};
	return pml_region_new(&info, ret);
}

int fake_host_scan(PmlInventory **ret)
{
	_cleanup_fclose_ FILE *f = host_open("regions", "", "re");
	static PmlRegion *regions[1024]; /* scans do not overlap */
	char line[256];
	size_t n = 0;
	int r = 0;

	while (f && n < ELEMENTSOF(regions) && fgets(line, sizeof(line), f) &&
		(r = region_of_line(line, &regions[n])) >= 0)
		n++;
	if (r >= 0)
		r = pml_inventory_new(regions, n, ret);
	while (n > 0)
		pml_region_unref(regions[--n]);
	return r;
}

static int fake_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	*ret = binding_of(pml_region_name(r));
	return 0;
}

static int fake_unbind(void *userdata, const PmlRegion *r)
{
	return bind_to(r, PML_BINDING_NONE);
}

static int fake_bind(void *userdata, const PmlRegion *r)
{
	return bind_to(r, PML_BINDING_DEVICE_DAX);
}

static int fake_open(void *userdata, const PmlRegion *r, int *ret_fd)
{
	return -ENXIO;
}

static int fake_module_refs(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file)
{
	*ret_refs = 0;
	*ret_per_file = 2;
	return 0;
}

const PmlDaxOps fake_dax_ops = {
	.binding = fake_binding,
	.unbind = fake_unbind,
	.bind = fake_bind,
	.open = fake_open,
	.module_refs = fake_module_refs,
};

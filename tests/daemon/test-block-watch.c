/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * When the host is scanned because a partition has another size: at a look, and when somebody
 * closes its disk; never where nothing has changed. sysfs and the nodes are files of the test's.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "block-watch.h"
#include "region-internal.h"
#include "util.h"

#define PART_A makedev(8, 1)
#define PART_B makedev(8, 17)
#define WHOLE  makedev(8, 32)

static char dir[64];
static Manager m;
static Region region;
static unsigned n_scans;

/* What fopen() is called where files have 64-bit sizes, as meson has it everywhere. */
FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
int __real_sd_event_add_inotify(sd_event *e, sd_event_source **s, const char *path, uint32_t mask,
	sd_event_inotify_handler_t callback, void *userdata);
int __wrap_sd_event_add_inotify(sd_event *e, sd_event_source **s, const char *path, uint32_t mask,
	sd_event_inotify_handler_t callback, void *userdata);
int __wrap_manager_rescan(Manager *manager, void (*done)(void *data, int r), void *data);

static const char *in_dir(char buf[PATH_MAX], const char *path)
{
	(void)snprintf(buf, PATH_MAX, "%s%s", dir, path);
	return buf;
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	char buf[PATH_MAX];

	return __real_fopen64(strncmp(path, "/sys/", 5) == 0 ? in_dir(buf, path) : path, mode);
}

int __wrap_sd_event_add_inotify(sd_event *e, sd_event_source **s, const char *path, uint32_t mask,
	sd_event_inotify_handler_t callback, void *userdata)
{
	char buf[PATH_MAX];

	return __real_sd_event_add_inotify(e, s, in_dir(buf, path), mask, callback, userdata);
}

int __wrap_manager_rescan(Manager *manager, void (*done)(void *data, int r), void *data)
{
	assert_ptr_equal(manager, &m);
	n_scans++;
	return 0;
}

static void put(const char *path, const char *text)
{
	char buf[PATH_MAX];
	FILE *f = __real_fopen64(in_dir(buf, path), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void make_dir(const char *path)
{
	char buf[PATH_MAX];

	assert_int_equal(mkdir(in_dir(buf, path), 0700), 0);
}

/* As in sysfs, where the link to a partition leads below its disk: /sys/dev/block/MAJ:MIN/.. */
static void put_device(const char *devno, const char *disk, bool partition)
{
	char path[128], text[128];

	(void)snprintf(path, sizeof(path), "/disks/%s", disk);
	make_dir(path);
	(void)snprintf(path, sizeof(path), "/disks/%s/uevent", disk);
	(void)snprintf(text, sizeof(text), "MAJOR=8\nMINOR=0\nDEVNAME=%s\nDEVTYPE=disk\n", disk);
	put(path, text);
	(void)snprintf(path, sizeof(path), "/disks/%s/at", disk);
	make_dir(path);
	(void)snprintf(path, sizeof(path), "%s/sys/dev/block/%s", dir, devno);
	(void)snprintf(text, sizeof(text), "../../../disks/%s/at", disk);
	assert_int_equal(symlink(text, path), 0);
	(void)snprintf(path, sizeof(path), "/disks/%s/at/size", disk);
	put(path, "8192\n");
	(void)snprintf(path, sizeof(path), "/disks/%s/at/partition", disk);
	if (partition)
		put(path, "1\n");
	(void)snprintf(path, sizeof(path), "/dev/%s", disk);
	put(path, "");
}

static PmlRegion *host(PmlKind kind, dev_t devno)
{
	PmlRegionInfo info = {
		.kind = kind,
		.name = "it",
		.path = "/dev/it",
		.devno = devno,
		.size_bytes = 4 << 20,
		.align_bytes = 4096,
		.binding = kind == PML_KIND_BDEV ? PML_BINDING_BLOCK : PML_BINDING_DEVICE_DAX,
		.phys_start = UINT64_MAX,
	};
	PmlRegion *r;

	assert_int_equal(pml_region_new(&info, &r), 0);
	return r;
}

static void is_at(PmlKind kind, dev_t devno)
{
	pml_region_unref(region.host);
	region.host = host(kind, devno);
	block_watch_update(&region);
}

/* What is to be heard has been heard. */
static unsigned scans(void)
{
	unsigned n;

	while (sd_event_run(m.event, 0) > 0)
		;
	n = n_scans;
	n_scans = 0;
	return n;
}

static void close_disk(const char *disk)
{
	char path[64], buf[PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/dev/%s", disk);
	f = __real_fopen64(in_dir(buf, path), "re");
	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/pmemlease-watch-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	make_dir("/sys");
	make_dir("/sys/dev");
	make_dir("/sys/dev/block");
	make_dir("/disks");
	make_dir("/dev");
	put_device("8:1", "sda", true);
	put_device("8:17", "sdb", true);
	put_device("8:32", "sdc", false);
	m = (Manager){};
	region = (Region){.manager = &m};
	LIST_INIT(&m.regions);
	LIST_INSERT_HEAD(&m.regions, &region, regions);
	n_scans = 0;
	return sd_event_new(&m.event);
}

static int teardown(void **state)
{
	char command[128];

	block_watch_stop(&region);
	pml_region_unref(region.host);
	m.event = sd_event_unref(m.event);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void test_closed(void **state)
{
	is_at(PML_KIND_BDEV, PART_A);
	close_disk("sda");
	assert_int_equal(scans(), 0);
	put("/disks/sda/at/size", "4096\n");
	assert_int_equal(scans(), 0);
	close_disk("sda");
	assert_true(scans() > 0);
	close_disk("sdb");
	assert_int_equal(scans(), 0);
}

static void test_another_device(void **state)
{
	is_at(PML_KIND_BDEV, PART_A);
	is_at(PML_KIND_BDEV, PART_B);
	put("/disks/sdb/at/size", "16384\n");
	close_disk("sda");
	assert_int_equal(scans(), 0);
	close_disk("sdb");
	assert_true(scans() > 0);
	block_watch_stop(&region);
	close_disk("sdb");
	assert_int_equal(scans(), 0);
	/* Of the same number as before it stopped: another disk's, maybe. */
	block_watch_update(&region);
	close_disk("sdb");
	assert_true(scans() > 0);
}

/* A disk tells of its own size; what is no block device has no sectors. */
static void test_no_partition(void **state)
{
	is_at(PML_KIND_BDEV, WHOLE);
	put("/disks/sdc/at/size", "4096\n");
	close_disk("sdc");
	assert_int_equal(scans(), 0);
	is_at(PML_KIND_DEVDAX, PART_A);
	put("/disks/sda/at/size", "4096\n");
	close_disk("sda");
	assert_int_equal(scans(), 0);
	block_watch_look(&m);
	assert_int_equal(scans(), 0);
}

static void test_look(void **state)
{
	is_at(PML_KIND_BDEV, PART_A);
	block_watch_look(&m);
	assert_int_equal(scans(), 0);
	put("/disks/sda/at/size", "8200\n");
	block_watch_look(&m);
	assert_int_equal(scans(), 1);
	/* What cannot be read is no other size: a device that goes brings an event of its own. */
	put("/disks/sda/at/size", "\n");
	block_watch_look(&m);
	is_at(PML_KIND_BDEV, makedev(9, 9));
	block_watch_look(&m);
	assert_int_equal(scans(), 0);
	region.host = pml_region_unref(region.host);
	block_watch_update(&region);
	block_watch_look(&m);
	assert_int_equal(scans(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_partition, setup, teardown),
		cmocka_unit_test_setup_teardown(test_look, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which block devices are regions, and where their bytes lie: on devices that are made up
 * (umockdev), with nothing opened. */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/sysmacros.h>
#include <umockdev.h>

#include "bdev-internal.h"
#include "inventory-internal.h"
#include "util.h"

#define DISK makedev(8, 0)
#define PART makedev(8, 1)

static UMockdevTestbed *testbed;
static char mountinfo[] = "/tmp/pmemlease-mountinfo-XXXXXX";
static char swaps[] = "/tmp/pmemlease-swaps-XXXXXX";
static int probe_result;
static unsigned n_probes;

static int devno_of(const char *path, dev_t *ret)
{
	if (pml_streq(path, "/dev/sda"))
		*ret = DISK;
	else if (pml_streq(path, "/dev/disk/by-id/mine-part1") || pml_streq(path, "/dev/sda1"))
		*ret = PART;
	else if (pml_streq(path, "/dev/dm-3"))
		*ret = makedev(253, 3);
	else if (pml_streq(path, "/dev/pmem0"))
		*ret = makedev(259, 0);
	else
		return -ENOENT;
	return 0;
}

static int probe(const char *node, dev_t devno)
{
	n_probes++;
	return probe_result;
}

static const BdevHooks hooks = {
	.devno_of = devno_of, .probe = probe, .mountinfo = mountinfo, .swaps = swaps};

static void write_file(char *path, const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
}

static char *put(const char *name, const char *parent, const char *devtype, const char *minor,
	const char *major_nr, const char *size, const char *start, const char *serial)
{
	char *path = umockdev_testbed_add_device(testbed, "block", name, parent, "size", size, "ro",
		"0", "start", start, "diskseq", "9", NULL, "MAJOR", major_nr, "MINOR", minor,
		"DEVNAME", name, "DEVTYPE", devtype, serial ? "ID_SERIAL" : NULL, serial, NULL);

	assert_non_null(path);
	return path;
}

static int setup(void **state)
{
	_cleanup_free_ char *disk = NULL, *part = NULL, *dm = NULL;

	testbed = umockdev_testbed_new();
	disk = put("sda", NULL, "disk", "0", "8", "409600", "0", "A disk/1");
	part = put("sda1", disk, "partition", "1", "8", "131072", "2048", "A disk/1");
	dm = put("dm-3", NULL, "disk", "3", "253", "131072", "0", NULL);
	umockdev_testbed_set_attribute(testbed, dm, "dm/uuid", "LVM-abc");
	write_file(mountinfo, "22 1 0:20 / /sys rw - sysfs sysfs rw\n");
	write_file(swaps, "Filename\tType\tSize\tUsed\tPriority\n");
	probe_result = 0;
	n_probes = 0;
	return 0;
}

static int teardown(void **state)
{
	g_object_unref(testbed);
	return 0;
}

static PmlInventory *scan(const char *path, const PmlExtent *known)
{
	const char *const paths[] = {path, NULL};
	PmlBdevWanted wanted = {.paths = paths, .known = known, .n_known = known ? 1 : 0};
	PmlInventory *inv = NULL;

	assert_int_equal(pml_inventory_new(NULL, 0, &inv), 0);
	assert_int_equal(bdev_scan_with(&hooks, &wanted, inv), 0);
	return inv;
}

static void test_only_named(void **state)
{
	PmlInventory *inv = scan(NULL, NULL);

	assert_int_equal(pml_inventory_count(inv), 0);
	pml_inventory_free(inv);
	inv = scan("/dev/nosuch", NULL);
	assert_int_equal(pml_inventory_count(inv), 0);
	/* Nobody's device was touched. */
	assert_int_equal(n_probes, 0);
	pml_inventory_free(inv);
}

static void test_partition(void **state)
{
	PmlInventory *inv = scan("/dev/disk/by-id/mine-part1", NULL);
	const PmlRegion *r = pml_inventory_get(inv, 0);

	assert_int_equal(pml_inventory_count(inv), 1);
	assert_int_equal(pml_region_kind(r), PML_KIND_BDEV);
	assert_int_equal(pml_region_binding(r), PML_BINDING_BLOCK);
	assert_string_equal(pml_region_name(r), "sda1");
	assert_string_equal(pml_region_path(r), "/dev/sda1");
	assert_int_equal(pml_region_devno(r), PART);
	assert_int_equal(pml_region_size_bytes(r), 64 * MIB);
	assert_int_equal(pml_region_diskseq(r), 9);
	/* On its disk, whose name has what an extent's name has not. */
	assert_string_equal(pml_region_extent(r)->medium, "disk:A_disk_1");
	assert_int_equal(pml_region_extent(r)->start_bytes, MIB);
	assert_int_equal(pml_region_extent(r)->size_bytes, 64 * MIB);
	assert_int_equal(pml_region_obstacles(r), 0);
	pml_inventory_free(inv);
}

static void test_disk_has_its_partitions(void **state)
{
	PmlInventory *disk = scan("/dev/sda", NULL), *part = scan("/dev/sda1", NULL);

	assert_true(pml_extent_overlaps(pml_region_extent(pml_inventory_get(disk, 0)),
		pml_region_extent(pml_inventory_get(part, 0))));
	pml_inventory_free(disk);
	pml_inventory_free(part);
}

static void test_volume(void **state)
{
	PmlInventory *inv = scan("/dev/dm-3", NULL);

	assert_int_equal(pml_inventory_count(inv), 1);
	assert_string_equal(pml_region_extent(pml_inventory_get(inv, 0))->medium, "dm:LVM-abc");
	pml_inventory_free(inv);
}

static void test_remembered(void **state)
{
	PmlExtent known = {.medium = "disk:A_disk_1", .start_bytes = MIB, .size_bytes = 64 * MIB};
	PmlInventory *inv = scan(NULL, &known);

	assert_int_equal(pml_inventory_count(inv), 1);
	assert_string_equal(pml_region_name(pml_inventory_get(inv, 0)), "sda1");
	pml_inventory_free(inv);
	/* A part of it is not all of it: the rest was never named. */
	known.size_bytes -= MIB;
	inv = scan(NULL, &known);
	assert_int_equal(pml_inventory_count(inv), 0);
	pml_inventory_free(inv);
}

static uint32_t obstacles(void)
{
	PmlInventory *inv = scan("/dev/sda1", NULL);
	uint32_t o = pml_region_obstacles(pml_inventory_get(inv, 0));

	pml_inventory_free(inv);
	return o;
}

static void test_obstacles(void **state)
{
	write_file(mountinfo, "22 1 0:20 / /sys rw - sysfs sysfs rw\n"
			      "30 1 8:1 / /mnt rw - ext4 /dev/sda1 rw\n");
	probe_result = -EBUSY;
	assert_int_equal(obstacles(), PML_OBSTACLE_MOUNTED);
	write_file(mountinfo, "");
	write_file(swaps, "Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n");
	assert_int_equal(obstacles(), PML_OBSTACLE_SWAP);
	write_file(swaps, "");
	assert_int_equal(obstacles(), PML_OBSTACLE_EXCLUSIVE);
	probe_result = -ESTALE;
	assert_int_equal(obstacles(), PML_OBSTACLE_NO_NODE);
	probe_result = 0;
	umockdev_testbed_set_attribute(testbed, "/sys/devices/sda/sda1", "ro", "1");
	assert_int_equal(obstacles(), PML_OBSTACLE_READ_ONLY);
	umockdev_testbed_set_attribute(testbed, "/sys/devices/sda/sda1", "ro", "0");
	umockdev_testbed_set_attribute_link(
		testbed, "/sys/devices/sda/sda1", "holders/dm-3", "../../../dm-3");
	assert_int_equal(obstacles(), PML_OBSTACLE_STACKED);
}

/* What cannot be told is not lent. */
static void test_no_serial(void **state)
{
	umockdev_testbed_set_property(testbed, "/sys/devices/sda", "ID_SERIAL", "");
	assert_int_equal(obstacles(), PML_OBSTACLE_NO_IDENTITY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_only_named),
		TEST(test_partition),
		TEST(test_disk_has_its_partitions),
		TEST(test_volume),
		TEST(test_remembered),
		TEST(test_obstacles),
		TEST(test_no_serial),
	};
	int a = mkstemp(mountinfo), b = mkstemp(swaps), r;

	if (a < 0 || b < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	close(a);
	close(b);
	(void)unlink(mountinfo);
	(void)unlink(swaps);
	return r;
}

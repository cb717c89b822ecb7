/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The real libdaxctl and libndctl on a device tree made up here (umockdev's library sends them
 * there), with the attributes that they read, laid out as the kernel lays out two NVDIMMs in one
 * interleave set of QEMU's.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <umockdev.h>

#include "inventory-internal.h"
#include "part.h"
#include "region-internal.h"
#include "util.h"

#define BUS	"/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0"
#define REGION0 BUS "/region0"
#define REGION1 BUS "/region1"
#define UUID_A	"aaaaaaaa-0000-4000-8000-00000000000a"
#define UUID_B	"bbbbbbbb-0000-4000-8000-00000000000b"
#define UUID_NS "cccccccc-0000-4000-8000-00000000000c"
#define NO_UUID "00000000-0000-0000-0000-000000000000"
#define COOKIE	"0xdeadbeef12345678"
#define GIB	(1ULL << 30)
#define START0	0x240000000ULL /* of region 0 */
#define DATA	0x1000000ULL   /* what the info block and the page map take */

static UMockdevTestbed *testbed;
static char *root;

static void make_parents(char *full)
{
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		(void)mkdir(full, 0755);
	}
}

static void _printf_(3, 4) put(const char *dir, const char *attr, const char *format, ...)
{
	_cleanup_fclose_ FILE *f = NULL;
	char full[PATH_MAX];
	va_list ap;

	(void)snprintf(full, sizeof(full), "%s%s/%s", root, dir, attr);
	make_parents(full);
	f = fopen(full, "we");
	assert_non_null(f);
	va_start(ap, format);
	assert_true(vfprintf(f, format, ap) >= 0);
	va_end(ap);
	assert_true(fputc('\n', f) != EOF);
}

/*
 * target is absolute in the tree that is made up; sysfs has relative links only, and the libraries
 * count on it.
 */
static void put_link(const char *path, const char *target)
{
	char full[PATH_MAX], relative[PATH_MAX] = "";

	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	make_parents(full);
	for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/'))
		strcat(relative, "../");
	strcat(relative, target + 1);
	(void)unlink(full);
	assert_int_equal(symlink(relative, full), 0);
}

static void drop(const char *path)
{
	char full[PATH_MAX];

	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	assert_int_equal(unlink(full), 0);
}

/*
 * umockdev makes a node in /dev only together with a device in its sysfs: one out of the way, of
 * no use otherwise.
 */
static void put_node(const char *name, const char *minor)
{
	_cleanup_free_ char *text = NULL;

	assert_true(
		asprintf(&text,
			"P: /devices/justanode/%s\nN: %s=00\nE: DEVNAME=/dev/%s\nE: SUBSYSTEM=justanode\n"
			"A: dev=252:%s\n",
			name, name, name, minor) > 0);
	assert_true(umockdev_testbed_add_from_string(testbed, text, NULL));
}

static void put_dimm(unsigned int id)
{
	_cleanup_free_ char *dir = NULL;

	assert_true(asprintf(&dir, BUS "/nmem%u", id) > 0);
	put(dir, "dev", "243:%u", id);
	put(dir, "commands", "smart ");
	put(dir, "modalias", "nd:t1");
	put(dir, "nfit/handle", "%#x", id + 1);
	put(dir, "nfit/phys_id", "%#x", id);
	put(dir, "nfit/format", "0x301");
}

static void put_bus(void)
{
	put(BUS, "commands", "ars_cap ");
	put(BUS, "provider", "ACPI.NFIT");
	put(BUS, "wait_probe", "1");
	put(BUS, "nfit/revision", "1");
	put(BUS, "nfit/dsm_mask", "0");
	put(BUS "/nd/ndctl0", "dev", "244:0");
	put_link(BUS "/nd/ndctl0/device", BUS);
	put_link("/sys/class/nd/ndctl0", BUS "/nd/ndctl0");
	put_link("/sys/dev/char/244:0", BUS "/nd/ndctl0");
	put_dimm(0);
	put_dimm(1);
}

static void put_region(const char *dir, uint64_t start, uint64_t size, const char *cookie)
{
	put(dir, "size", "%llu", (unsigned long long)size);
	put(dir, "resource", "%#llx", (unsigned long long)start);
	put(dir, "read_only", "0");
	put(dir, "modalias", "nd:t2");
	put(dir, "numa_node", "0");
	put(dir, "target_node", "2");
	put(dir, "nstype", "%d", cookie ? 5 : 4);
	if (cookie) {
		put(dir, "set_cookie", "%s", cookie);
		put(dir, "mappings", "2");
		put(dir, "mapping0", "nmem0,0,%llu,0", (unsigned long long)size / 2);
		put(dir, "mapping1", "nmem1,0,%llu,1", (unsigned long long)size / 2);
	} else {
		put(dir, "mappings", "0");
	}
}

static void put_namespace(const char *region, const char *name, uint64_t start, uint64_t size,
	const char *uuid, const char *holder)
{
	_cleanup_free_ char *dir = NULL;

	assert_true(asprintf(&dir, "%s/%s", region, name) > 0);
	put(dir, "nstype", "5");
	put(dir, "size", "%llu", (unsigned long long)size);
	put(dir, "resource", "%#llx", (unsigned long long)start);
	put(dir, "force_raw", "0");
	put(dir, "numa_node", "0");
	put(dir, "target_node", "2");
	put(dir, "holder_class", "%s", "");
	put(dir, "alt_name", "%s", "");
	put(dir, "uuid", "%s", uuid);
	put(dir, "modalias", "nd:t5");
	put(dir, "holder", "%s", holder);
}

/* The nd device between the namespace and the dax device;. */
static void put_nd_dax(const char *dir, const char *namespace, const char *uuid)
{
	put(dir, "modalias", "nd:t7");
	put(dir, "uuid", "%s", uuid);
	put(dir, "mode", "%s", *namespace ? "pmem" : "none");
	put(dir, "align", "2097152");
	put(dir, "namespace", "%s", namespace);
}

static void put_dax(
	const char *parent, const char *name, const char *minor, uint64_t start, uint64_t size)
{
	_cleanup_free_ char *dir = NULL, *bus_link = NULL, *driver = NULL;

	assert_true(asprintf(&dir, "%s/%s", parent, name) > 0);
	assert_true(asprintf(&bus_link, "/sys/bus/dax/devices/%s", name) > 0);
	assert_true(asprintf(&driver, "%s/driver", dir) > 0);
	put(parent, "dax_region/size", "%llu", (unsigned long long)size);
	put(parent, "dax_region/align", "2097152");
	put(parent, "dax_region/id", "0");
	put(dir, "dev", "252:%s", minor);
	put(dir, "size", "%llu", (unsigned long long)size);
	put(dir, "align", "2097152");
	put(dir, "resource", "%#llx", (unsigned long long)start);
	put(dir, "target_node", "2");
	put(dir, "numa_node", "1");
	put("/sys/bus/dax/drivers/device_dax", "bind", "%s", "");
	put("/sys/bus/dax/drivers/kmem", "bind", "%s", "");
	put_link(driver, "/sys/bus/dax/drivers/device_dax");
	put_link(bus_link, dir);
}

/*
 * Region 0: namespace0.0 with dax0.0 (under the nd device dax0.1, as the kernel numbers them), and
 * the idle nd device dax0.0.
 */
static int setup(void **state)
{
	testbed = umockdev_testbed_new();
	root = umockdev_testbed_get_root_dir(testbed);
	put_bus();
	put_region(REGION0, START0, 4 * GIB, COOKIE);
	put_namespace(REGION0, "namespace0.0", START0 + GIB, GIB, UUID_NS, "dax0.1");
	put_nd_dax(REGION0 "/dax0.1", "namespace0.0", UUID_A);
	put_nd_dax(REGION0 "/dax0.0", "", "");
	put_dax(REGION0 "/dax0.1", "dax0.0", "1", START0 + GIB + DATA, GIB - DATA);
	put_node("dax0.0", "1");
	return 0;
}

static int teardown(void **state)
{
	free(root);
	g_object_unref(testbed);
	return 0;
}

static PmlInventory *scan(size_t expected)
{
	PmlInventory *inv = NULL;

	assert_int_equal(pml_inventory_scan(&inv), 0);
	assert_int_equal(pml_inventory_count(inv), expected);
	return inv;
}

static void assert_extent(const PmlRegion *r, const char *medium, uint64_t start, uint64_t size)
{
	assert_string_equal(pml_region_extent(r)->medium, medium);
	assert_int_equal(pml_region_extent(r)->start_bytes, start);
	assert_int_equal(pml_region_extent(r)->size_bytes, size);
}

static void test_everything_of_a_region(void **state)
{
	PmlInventory *inv = scan(1);
	PmlRegion *r = pml_inventory_get(inv, 0);

	assert_string_equal(pml_region_name(r), "dax0.0");
	assert_string_equal(pml_region_path(r), "/dev/dax0.0");
	assert_string_equal(pml_region_uuid(r), UUID_A);
	assert_string_equal(pml_region_id(r), UUID_A);
	assert_string_equal(pml_region_namespace(r), "namespace0.0");
	assert_string_equal(pml_region_nd_region(r), "region0");
	assert_string_equal(pml_region_dimms(r)[0], "nmem0");
	assert_string_equal(pml_region_dimms(r)[1], "nmem1");
	assert_null(pml_region_dimms(r)[2]);
	assert_int_equal(pml_region_kind(r), PML_KIND_DEVDAX);
	assert_int_equal(pml_region_binding(r), PML_BINDING_DEVICE_DAX);
	assert_int_equal(pml_region_devno(r), makedev(252, 1));
	assert_int_equal(pml_region_size_bytes(r), GIB - DATA);
	assert_int_equal(pml_region_align_bytes(r), 2 << 20);
	assert_int_equal(pml_region_phys_start(r), START0 + GIB + DATA);
	assert_int_equal(pml_region_numa_node(r), 1);
	assert_int_equal(pml_region_target_node(r), 2);
	assert_int_equal(pml_region_obstacles(r), 0);
	assert_extent(r, "iset:deadbeef12345678", GIB + DATA, GIB - DATA);
	assert_null(pml_inventory_get(inv, 1));
	pml_inventory_free(inv);
}

static void test_empty_host(void **state)
{
	UMockdevTestbed *empty = umockdev_testbed_new();

	pml_inventory_free(scan(0));
	assert_null(pml_inventory_free(NULL));
	g_object_unref(empty);
}

static void test_the_scan_sees_changes(void **state)
{
	pml_inventory_free(scan(1));
	drop("/sys/bus/dax/devices/dax0.0");
	put(REGION0 "/dax0.1", "namespace", "%s", "");
	put(REGION0 "/namespace0.0", "holder", "%s", "");
	pml_inventory_free(scan(0));
}

static void assert_binding(PmlBinding binding, uint32_t obstacles)
{
	PmlInventory *inv = scan(1);
	PmlRegion *r = pml_inventory_get(inv, 0);

	assert_int_equal(pml_region_binding(r), binding);
	assert_int_equal(pml_region_obstacles(r), obstacles);
	assert_int_equal(pml_region_kind(r),
		binding == PML_BINDING_KMEM ? PML_KIND_SYSRAM : PML_KIND_DEVDAX);
	pml_inventory_free(inv);
}

static void test_bindings(void **state)
{
	assert_binding(PML_BINDING_DEVICE_DAX, 0);
	put_link(REGION0 "/dax0.1/dax0.0/driver", "/sys/bus/dax/drivers/kmem");
	/* No memory block of it is there. */
	assert_binding(PML_BINDING_KMEM, PML_OBSTACLE_SHARED_NODE);
	put_link(REGION0 "/dax0.1/dax0.0/driver", "/sys/bus/dax/drivers/fsdev_dax");
	assert_binding(PML_BINDING_OTHER, PML_OBSTACLE_UNBOUND);
	drop(REGION0 "/dax0.1/dax0.0/driver");
	assert_binding(PML_BINDING_NONE, PML_OBSTACLE_UNBOUND);
}

static void test_node_with_another_number(void **state)
{
	put(REGION0 "/dax0.1/dax0.0", "dev", "252:9");
	assert_binding(PML_BINDING_DEVICE_DAX, PML_OBSTACLE_NO_NODE);
}

/* libdaxctl does not list such a device. */
static void test_no_node(void **state)
{
	PmlInventory *inv;
	PmlRegion *r;

	drop("/dev/dax0.0");
	inv = scan(1);
	r = pml_inventory_get(inv, 0);
	assert_int_equal(pml_region_obstacles(r), PML_OBSTACLE_NO_NODE);
	assert_int_equal(pml_region_size_bytes(r), GIB - DATA);
	assert_int_equal(pml_region_align_bytes(r), 2 << 20);
	assert_int_equal(pml_region_target_node(r), 2);
	assert_string_equal(pml_region_id(r), UUID_A);
	assert_extent(r, "iset:deadbeef12345678", GIB + DATA, GIB - DATA);
	pml_inventory_free(inv);
}

static void test_sizes(void **state)
{
	put(REGION0 "/dax0.1/dax0.0", "size", "%llu", 15 * MIB);
	assert_binding(PML_BINDING_DEVICE_DAX, PML_OBSTACLE_TOO_SMALL);
	put(REGION0 "/dax0.1/dax0.0", "size", "%llu", 64 * MIB + 4096);
	assert_binding(PML_BINDING_DEVICE_DAX, PML_OBSTACLE_NO_MIB_MULTIPLE);
}

static void test_unreadable_addresses(void **state)
{
	PmlInventory *inv;
	PmlRegion *r;

	/* The region's alone: where the data lies in the set is not known. */
	drop(REGION0 "/resource");
	assert_binding(PML_BINDING_DEVICE_DAX, PML_OBSTACLE_NO_IDENTITY);

	drop(REGION0 "/dax0.1/dax0.0/resource");
	inv = scan(1);
	r = pml_inventory_get(inv, 0);
	assert_int_equal(pml_region_obstacles(r), PML_OBSTACLE_NO_IDENTITY);
	assert_int_equal(pml_region_phys_start(r), UINT64_MAX);
	assert_int_equal(pml_region_extent(r)->size_bytes, 0);
	assert_string_equal(pml_region_id(r), UUID_A);
	pml_inventory_free(inv);
}

static void test_address_from_the_nd_device(void **state)
{
	PmlInventory *inv;

	drop(REGION0 "/dax0.1/dax0.0/resource");
	put(REGION0 "/dax0.1", "resource", "%#llx", START0 + GIB + DATA);
	inv = scan(1);
	assert_extent(pml_inventory_get(inv, 0), "iset:deadbeef12345678", GIB + DATA, GIB - DATA);
	pml_inventory_free(inv);
}

static void test_outside_of_its_set(void **state)
{
	put(REGION0, "resource", "%#llx", START0 + 2 * GIB);
	assert_binding(PML_BINDING_DEVICE_DAX, PML_OBSTACLE_NO_IDENTITY);
	put(REGION0, "resource", "%#llx", START0);
	put(REGION0, "size", "%llu", GIB + GIB / 2);
	assert_binding(PML_BINDING_DEVICE_DAX, PML_OBSTACLE_NO_IDENTITY);
}

/*
 * libndctl does not list a region that lacks an attribute: the device must not get a second
 * identity by that.
 */
static void test_nd_bus_that_cannot_be_read(void **state)
{
	drop(REGION0 "/nstype");
	assert_binding(PML_BINDING_DEVICE_DAX, PML_OBSTACLE_NO_IDENTITY);
}

static unsigned int n_torn;

static void mend_at_the_third(void)
{
	if (++n_torn == 3)
		put(REGION0, "nstype", "5");
}

/* A look between two of the kernel's steps is none to take a guest's memory for. */
static void test_nd_bus_that_changes(void **state)
{
	drop(REGION0 "/nstype");
	n_torn = 0;
	inventory_scan_torn = mend_at_the_third;
	assert_binding(PML_BINDING_DEVICE_DAX, 0);
	assert_int_equal(n_torn, 3);
	inventory_scan_torn = NULL;
}

static void test_no_interleave_set(void **state)
{
	PmlInventory *inv;
	PmlRegion *r;

	put_region(REGION0, START0, 4 * GIB, NULL);
	put(REGION0 "/namespace0.0", "nstype", "4");
	inv = scan(1);
	r = pml_inventory_get(inv, 0);
	assert_extent(r, "phys", START0 + GIB + DATA, GIB - DATA);
	assert_string_equal(pml_region_id(r), UUID_A);
	assert_null(pml_region_dimms(r)[0]);
	pml_inventory_free(inv);
}

/* Names are given again: what is disabled is what was looked at, and nothing that is bound. */
static void test_only_what_was_seen_is_disabled(void **state)
{
	PmlPart *part;

	assert_int_equal(pml_part_scan("region0", &part), 0);
	assert_int_equal(part->n_namespaces, 1);
	assert_int_equal(pml_part_disable_namespace(&part->namespaces[0]), -EBUSY);
	part->namespaces[0].size_bytes--;
	assert_int_equal(pml_part_disable_namespace(&part->namespaces[0]), -ESTALE);
	part->namespaces[0].size_bytes++;
	part->namespaces[0].start_bytes++;
	assert_int_equal(pml_part_disable_namespace(&part->namespaces[0]), -ESTALE);
	part->namespaces[0].start_bytes--;
	part->namespaces[0].uuid[0] ^= 1;
	assert_int_equal(pml_part_disable_namespace(&part->namespaces[0]), -ESTALE);
	(void)pml_part_free(part);
}

/*
 * A device of plain memory (hmem, CXL): no namespace. Also a seed without memory, which is no
 * region.
 */
static void test_dynamic_devices(void **state)
{
	PmlInventory *inv;
	PmlRegion *r;

	put_dax("/sys/devices/platform/hmem.0", "dax1.0", "2", 0x1000000000, 2 * GIB);
	put_node("dax1.0", "2");
	put_dax("/sys/devices/platform/hmem.0", "dax1.1", "3", 0x1000000000, 0);
	put_node("dax1.1", "3");
	inv = scan(2);
	r = pml_inventory_get(inv, 1);
	assert_string_equal(pml_region_name(r), "dax1.0");
	assert_string_equal(pml_region_id(r), "phys-1000000000-80000000");
	assert_null(pml_region_uuid(r));
	assert_null(pml_region_namespace(r));
	assert_null(pml_region_nd_region(r));
	assert_extent(r, "phys", 0x1000000000, 2 * GIB);
	assert_int_equal(pml_region_obstacles(r), 0);
	pml_inventory_free(inv);

	put("/sys/devices/platform/hmem.0/dax1.0/mapping0", "start", "0x1000000000");
	put("/sys/devices/platform/hmem.0/dax1.0/mapping3", "start", "0x2000000000");
	inv = scan(2);
	r = pml_inventory_get(inv, 1);
	assert_int_equal(pml_region_obstacles(r), PML_OBSTACLE_NO_IDENTITY);
	pml_inventory_free(inv);
}

static void test_sorted_by_name(void **state)
{
	static const char *const sorted[] = {"dax0.0", "dax2.0", "dax3.0", "dax10.0", "dax11.0"};
	static const char *const minors[] = {"1", "2", "3", "4", "5"};
	PmlInventory *inv;

	for (size_t i = 1; i < ELEMENTSOF(sorted); i++) {
		_cleanup_free_ char *parent = NULL;

		assert_true(asprintf(&parent, "/sys/devices/platform/hmem.%zu", i) > 0);
		put_dax(parent, sorted[i], minors[i], i * 64 * GIB, GIB);
		put_node(sorted[i], minors[i]);
	}
	inv = scan(ELEMENTSOF(sorted));
	for (size_t i = 0; i < ELEMENTSOF(sorted); i++)
		assert_string_equal(pml_region_name(pml_inventory_get(inv, i)), sorted[i]);
	pml_inventory_free(inv);
}

static void assert_disabled(const char *uuid)
{
	PmlInventory *inv = scan(1);
	PmlRegion *r = pml_inventory_get(inv, 0);

	assert_string_equal(pml_region_id(r), uuid);
	assert_string_equal(pml_region_name(r), "dax0.0");
	assert_null(pml_region_path(r));
	assert_int_equal(pml_region_devno(r), 0);
	assert_int_equal(pml_region_binding(r), PML_BINDING_NONE);
	assert_int_equal(pml_region_obstacles(r), PML_OBSTACLE_UNBOUND);
	assert_string_equal(pml_region_namespace(r), "namespace0.0");
	assert_string_equal(pml_region_dimms(r)[0], "nmem0");
	assert_extent(r, "iset:deadbeef12345678", GIB, GIB);
	pml_inventory_free(inv);
}

static void test_disabled_namespace(void **state)
{
	drop("/sys/bus/dax/devices/dax0.0");
	/* Its nd device is there still. */
	assert_disabled(UUID_A);
	/* It is not, but the label says what the namespace is for. */
	put(REGION0 "/dax0.1", "namespace", "%s", "");
	put(REGION0 "/namespace0.0", "holder", "%s", "");
	put(REGION0 "/namespace0.0", "holder_class", "dax");
	assert_disabled(UUID_NS);
}

static void test_other_modes_are_no_regions(void **state)
{
	drop("/sys/bus/dax/devices/dax0.0");
	put(REGION0 "/dax0.1", "namespace", "%s", "");
	put(REGION0 "/namespace0.0", "holder", "%s", "");
	pml_inventory_free(scan(0));
	put(REGION0 "/namespace0.0", "holder_class", "pfn");
	pml_inventory_free(scan(0));
	put(REGION0 "/namespace0.0", "holder_class", "dax");
	put_nd_dax(REGION0 "/pfn0.0", "namespace0.0", UUID_A);
	put(REGION0 "/namespace0.0", "holder", "pfn0.0");
	pml_inventory_free(scan(0));
	put(REGION0 "/namespace0.0", "holder", "%s", "");
	put(REGION0 "/namespace0.0", "size", "0");
	pml_inventory_free(scan(0));
}

static void test_duplicate_uuid(void **state)
{
	PmlInventory *inv;
	PmlRegion *r, *found = NULL;
	size_t i;

	put_region(REGION1, START0 + 8 * GIB, GIB, "0x1");
	put_namespace(REGION1, "namespace1.0", START0 + 8 * GIB, GIB, UUID_NS, "dax1.0");
	put_nd_dax(REGION1 "/dax1.0", "namespace1.0", UUID_A);
	put_dax(REGION1 "/dax1.0", "dax1.0", "2", START0 + 8 * GIB + DATA, GIB - DATA);
	put_node("dax1.0", "2");

	inv = scan(2);
	pml_inventory_foreach (inv, i, r)
		assert_int_equal(pml_region_obstacles(r), PML_OBSTACLE_DUPLICATE_UUID);
	assert_string_equal(pml_region_id(pml_inventory_get(inv, 0)), UUID_A "@dax0.0");
	assert_string_equal(pml_region_id(pml_inventory_get(inv, 1)), UUID_A "@dax1.0");
	assert_int_equal(pml_inventory_find(inv, UUID_A, &found), -ENOTUNIQ);
	assert_null(found);
	assert_int_equal(pml_inventory_find(inv, UUID_A "@dax1.0", &found), 0);
	assert_string_equal(pml_region_name(found), "dax1.0");
	pml_inventory_free(inv);

	put(REGION1 "/dax1.0", "uuid", UUID_B);
	inv = scan(2);
	assert_int_equal(pml_region_obstacles(pml_inventory_get(inv, 0)), 0);
	assert_int_equal(pml_inventory_find(inv, UUID_B, &found), 0);
	assert_ptr_equal(found, pml_inventory_get(inv, 1));
	pml_inventory_free(inv);
}

static void test_no_info_block_uuid(void **state)
{
	PmlInventory *inv;

	put(REGION0 "/dax0.1", "uuid", NO_UUID);
	inv = scan(1);
	assert_string_equal(pml_region_id(pml_inventory_get(inv, 0)), UUID_NS);
	pml_inventory_free(inv);
}

/* Without a mocked tree: a path is opened for real, so the region is /dev/null's. */
static void test_find(void **state)
{
	static const PmlRegionInfo infos[] = {
		{.name = "dax0.0", .path = "/dev/dax0.0", .uuid = UUID_A, .phys_start = UINT64_MAX},
		{.name = "null", .path = "/dev/null", .uuid = UUID_B, .phys_start = UINT64_MAX},
	};
	char link[] = "/tmp/test-inventory-XXXXXX";
	PmlRegion *r[ELEMENTSOF(infos)], *found = NULL;
	PmlInventory *inv;

	for (size_t i = 0; i < ELEMENTSOF(infos); i++) {
		PmlRegionInfo info = infos[i];

		info.devno = i == 1 ? makedev(1, 3) : 0;
		assert_int_equal(pml_region_new(&info, &r[i]), 0);
	}
	assert_int_equal(pml_inventory_new(r, ELEMENTSOF(r), &inv), 0);
	for (size_t i = 0; i < ELEMENTSOF(infos); i++)
		pml_region_unref(r[i]);

	assert_int_equal(pml_inventory_find(inv, UUID_B, &found), 0);
	assert_ptr_equal(found, r[1]);
	assert_int_equal(
		pml_inventory_find(inv, "BBBBBBBB-0000-4000-8000-00000000000B", &found), 0);
	assert_ptr_equal(found, r[1]);
	assert_int_equal(pml_inventory_find(inv, "dax0.0", &found), 0);
	assert_ptr_equal(found, r[0]);
	assert_int_equal(pml_inventory_find(inv, "/dev/null", &found), 0);
	assert_ptr_equal(found, r[1]);

	assert_non_null(mkdtemp(link));
	{
		_cleanup_free_ char *path = NULL;

		assert_true(asprintf(&path, "%s/link", link) > 0);
		assert_int_equal(symlink("/dev/null", path), 0);
		found = NULL;
		assert_int_equal(pml_inventory_find(inv, path, &found), 0);
		assert_ptr_equal(found, r[1]);
		/* What it points to now. */
		assert_int_equal(unlink(path), 0);
		assert_int_equal(symlink("/dev/zero", path), 0);
		found = NULL;
		assert_int_equal(pml_inventory_find(inv, path, &found), -ENOENT);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(pml_inventory_find(inv, path, &found), -ENOENT);
	}
	assert_int_equal(pml_inventory_find(inv, link, &found), -ENODEV);
	assert_int_equal(pml_inventory_find(inv, "/etc/passwd", &found), -ENODEV);
	assert_int_equal(pml_inventory_find(inv, "/etc/passwd/x", &found), -ENOENT);
	assert_int_equal(pml_inventory_find(inv, "dax0", &found), -ENOENT);
	assert_int_equal(pml_inventory_find(inv, "", &found), -ENOENT);
	assert_null(found);
	assert_int_equal(rmdir(link), 0);
	pml_inventory_free(inv);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_everything_of_a_region),
		cmocka_unit_test(test_empty_host),
		test(test_the_scan_sees_changes),
		test(test_bindings),
		test(test_node_with_another_number),
		test(test_no_node),
		test(test_sizes),
		test(test_unreadable_addresses),
		test(test_address_from_the_nd_device),
		test(test_outside_of_its_set),
		test(test_nd_bus_that_cannot_be_read),
		test(test_nd_bus_that_changes),
		test(test_no_interleave_set),
		test(test_only_what_was_seen_is_disabled),
		test(test_dynamic_devices),
		test(test_sorted_by_name),
		test(test_disabled_namespace),
		test(test_other_modes_are_no_regions),
		test(test_duplicate_uuid),
		test(test_no_info_block_uuid),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "region-internal.h"
#include "util.h"

#define UUID "6f2ae2a2-5d0e-4c35-9d2b-6a3bb8c1f000"

static const PmlRegionInfo good = {
	.name = "dax0.0",
	.path = "/dev/dax0.0",
	.uuid = UUID,
	.kind = PML_KIND_DEVDAX,
	.binding = PML_BINDING_DEVICE_DAX,
	.devno = 0xfc01,
	.size_bytes = 1 << 30,
	.align_bytes = 2 << 20,
	.phys_start = 0x240000000,
	.numa_node = 0,
	.target_node = 1,
	.extent = {.medium = "iset:00000000deadbeef",
		.start_bytes = 1 << 24,
		.size_bytes = 1 << 30},
};

static uint32_t obstacles_of(const PmlRegionInfo *info)
{
	PmlRegion *r;
	uint32_t o;

	assert_int_equal(pml_region_new(info, &r), 0);
	o = pml_region_obstacles(r);
	pml_region_unref(r);
	return o;
}

static void assert_id(const PmlRegionInfo *info, const char *id)
{
	PmlRegion *r;

	assert_int_equal(pml_region_new(info, &r), 0);
	assert_string_equal(pml_region_id(r), id);
	pml_region_unref(r);
}

static void test_copies_everything(void **state)
{
	char name[] = "dax0.0", dimm[] = "nmem0";
	const char *dimms[] = {dimm, "nmem1", NULL};
	PmlRegionInfo info = good;
	PmlRegion *r;

	info.name = name;
	info.dimms = dimms;
	info.namespace_name = "namespace0.0";
	info.nd_region = "region0";
	assert_int_equal(pml_region_new(&info, &r), 0);
	memset(name, 'x', sizeof(name) - 1);
	memset(dimm, 'x', sizeof(dimm) - 1);
	dimms[1] = NULL;

	assert_string_equal(pml_region_name(r), "dax0.0");
	assert_string_equal(pml_region_path(r), "/dev/dax0.0");
	assert_string_equal(pml_region_uuid(r), UUID);
	assert_string_equal(pml_region_namespace(r), "namespace0.0");
	assert_string_equal(pml_region_nd_region(r), "region0");
	assert_string_equal(pml_region_dimms(r)[0], "nmem0");
	assert_string_equal(pml_region_dimms(r)[1], "nmem1");
	assert_null(pml_region_dimms(r)[2]);
	assert_int_equal(pml_region_kind(r), PML_KIND_DEVDAX);
	assert_int_equal(pml_region_binding(r), PML_BINDING_DEVICE_DAX);
	assert_int_equal(pml_region_devno(r), 0xfc01);
	assert_int_equal(pml_region_size_bytes(r), 1 << 30);
	assert_int_equal(pml_region_align_bytes(r), 2 << 20);
	assert_int_equal(pml_region_phys_start(r), 0x240000000);
	assert_int_equal(pml_region_numa_node(r), 0);
	assert_int_equal(pml_region_target_node(r), 1);
	assert_true(pml_extent_equal(pml_region_extent(r), &good.extent));

	assert_ptr_equal(pml_region_ref(r), r);
	assert_null(pml_region_unref(r));
	assert_string_equal(pml_region_name(r), "dax0.0");
	assert_null(pml_region_unref(r));
	assert_null(pml_region_unref(NULL));
}

static void test_id(void **state)
{
	PmlRegionInfo info = good;

	assert_id(&info, UUID);
	info.duplicate_uuid = true;
	assert_id(&info, UUID "@dax0.0");
	info.duplicate_uuid = false;
	info.uuid = NULL;
	assert_id(&info, "phys-240000000-40000000");
	info.phys_start = UINT64_MAX;
	assert_id(&info, "dax0.0");
}

static void test_obstacles(void **state)
{
	PmlRegionInfo info = good;

	assert_int_equal(obstacles_of(&info), 0);

	info.binding = PML_BINDING_NONE;
	assert_int_equal(obstacles_of(&info), PML_OBSTACLE_UNBOUND);
	info.binding = PML_BINDING_OTHER;
	assert_int_equal(obstacles_of(&info), PML_OBSTACLE_UNBOUND);
	info.binding = PML_BINDING_KMEM;
	assert_int_equal(obstacles_of(&info), PML_OBSTACLE_SYSTEM_RAM);
	info = good;

	info.size_bytes = PML_REGION_MIN_BYTES;
	assert_int_equal(obstacles_of(&info), 0);
	info.size_bytes = PML_REGION_MIN_BYTES - MIB;
	assert_int_equal(obstacles_of(&info), PML_OBSTACLE_TOO_SMALL);
	info.size_bytes = PML_REGION_MIN_BYTES + 4096;
	assert_int_equal(obstacles_of(&info), PML_OBSTACLE_NO_MIB_MULTIPLE);
	info = good;

	info.duplicate_uuid = true;
	info.no_node = true;
	info.extent = (PmlExtent){};
	assert_int_equal(obstacles_of(&info),
		PML_OBSTACLE_DUPLICATE_UUID | PML_OBSTACLE_NO_NODE | PML_OBSTACLE_NO_IDENTITY);
}

static void test_every_obstacle_has_its_words(void **state)
{
	for (int bit = 0; bit < _PML_OBSTACLE_BITS; bit++) {
		assert_non_null(pml_obstacle_to_string(1 << bit));
		assert_non_null(pml_obstacle_explain(1 << bit));
		for (int other = 0; other < bit; other++) {
			assert_string_not_equal(pml_obstacle_to_string(1 << bit),
				pml_obstacle_to_string(1 << other));
			assert_string_not_equal(
				pml_obstacle_explain(1 << bit), pml_obstacle_explain(1 << other));
		}
	}
	assert_null(pml_obstacle_to_string(1 << _PML_OBSTACLE_BITS));
	assert_null(pml_obstacle_explain(3));
}

static void test_enums_as_text(void **state)
{
	for (int k = 0; k < _PML_KIND_MAX; k++)
		assert_int_equal(pml_kind_from_string(pml_kind_to_string(k)), k);
	for (int b = 0; b < _PML_BINDING_MAX; b++)
		assert_int_equal(pml_binding_from_string(pml_binding_to_string(b)), b);
	assert_int_equal(pml_kind_from_string("nonsense"), _PML_KIND_INVALID);
	assert_int_equal(pml_binding_from_string(NULL), _PML_BINDING_INVALID);
	assert_null(pml_kind_to_string(_PML_KIND_INVALID));
}

static void test_refuses_nonsense(void **state)
{
	PmlRegion *r = NULL;
	PmlRegionInfo info;

	info = good, info.name = NULL;
	assert_int_equal(pml_region_new(&info, &r), -EINVAL);
	info = good, info.name = "";
	assert_int_equal(pml_region_new(&info, &r), -EINVAL);
	info = good, info.path = "dax0.0";
	assert_int_equal(pml_region_new(&info, &r), -EINVAL);
	info = good, info.kind = _PML_KIND_MAX;
	assert_int_equal(pml_region_new(&info, &r), -EINVAL);
	info = good, info.binding = _PML_BINDING_INVALID;
	assert_int_equal(pml_region_new(&info, &r), -EINVAL);
	info = good, info.uuid = NULL, info.duplicate_uuid = true;
	assert_int_equal(pml_region_new(&info, &r), -EINVAL);
	info = good, strcpy(info.extent.medium, "other");
	assert_int_equal(pml_region_new(&info, &r), -EINVAL);
	assert_null(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies_everything),
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_obstacles),
		cmocka_unit_test(test_every_obstacle_has_its_words),
		cmocka_unit_test(test_enums_as_text),
		cmocka_unit_test(test_refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

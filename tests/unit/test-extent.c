/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "extent.h"
#include "util.h"

#define ISET "iset:00000000deadbeef"

static PmlExtent extent(const char *medium, uint64_t start, uint64_t size)
{
	PmlExtent e = {.start_bytes = start, .size_bytes = size};

	assert_int_equal(PML_STRCPY(e.medium, medium), 0);
	return e;
}

static bool overlap(PmlExtent a, PmlExtent b)
{
	bool ab = pml_extent_overlaps(&a, &b);

	assert_true(ab == pml_extent_overlaps(&b, &a));
	return ab;
}

static void test_overlap(void **state)
{
	PmlExtent a = extent(ISET, 100, 50);

	assert_true(overlap(a, a));
	assert_true(overlap(a, extent(ISET, 0, 101)));
	assert_true(overlap(a, extent(ISET, 149, 1)));
	assert_true(overlap(a, extent(ISET, 120, 1)));
	assert_true(overlap(a, extent(ISET, 0, UINT64_MAX)));
	assert_false(overlap(a, extent(ISET, 0, 100)));
	assert_false(overlap(a, extent(ISET, 150, 50)));
	assert_false(overlap(a, extent("phys", 100, 50)));
	assert_false(overlap(a, extent("iset:00000000deadbee0", 100, 50)));
}

static void test_empty_overlaps_nothing(void **state)
{
	assert_false(overlap(extent(ISET, 120, 0), extent(ISET, 100, 50)));
	assert_false(overlap(extent(ISET, 120, 0), extent(ISET, 120, 0)));
}

static void test_end_of_the_address_space(void **state)
{
	PmlExtent last = extent("phys", UINT64_MAX - 9, 10),
		  wraps = extent("phys", UINT64_MAX - 9, 100);

	assert_int_equal(pml_extent_end(&last), UINT64_MAX);
	assert_int_equal(pml_extent_end(&wraps), UINT64_MAX);
	assert_true(overlap(last, wraps));
	assert_false(overlap(wraps, extent("phys", 0, 50)));
}

static void test_equal(void **state)
{
	PmlExtent a = extent(ISET, 1, 2), b = extent(ISET, 1, 2);

	assert_true(pml_extent_equal(&a, &b));
	b.size_bytes = 3;
	assert_false(pml_extent_equal(&a, &b));
	b = extent(ISET, 0, 2);
	assert_false(pml_extent_equal(&a, &b));
	b = extent("phys", 1, 2);
	assert_false(pml_extent_equal(&a, &b));
}

static int validate(PmlExtent e)
{
	return pml_extent_validate(&e);
}

static void test_validate(void **state)
{
	PmlExtent e;

	assert_int_equal(validate(extent(ISET, 0, 1)), 0);
	assert_int_equal(validate(extent("phys", UINT64_MAX - 1, 1)), 0);

	assert_int_equal(validate(extent(ISET, 0, 0)), -EINVAL);
	assert_int_equal(validate(extent("phys", UINT64_MAX, 1)), -EINVAL);
	assert_int_equal(validate(extent("", 0, 1)), -EINVAL);
	assert_int_equal(validate(extent("physical", 0, 1)), -EINVAL);
	assert_int_equal(validate(extent("iset:", 0, 1)), -EINVAL);
	assert_int_equal(validate(extent("iset:deadbeef", 0, 1)), -EINVAL);
	assert_int_equal(validate(extent("iset:00000000DEADBEEF", 0, 1)), -EINVAL);
	assert_int_equal(validate(extent("iset:00000000deadbeef0", 0, 1)), -EINVAL);
	assert_int_equal(validate(extent("iset:0000000000000000", 0, 1)), -EINVAL);

	e = extent("phys", 0, 1);
	memset(e.medium, 'a', sizeof(e.medium));
	assert_int_equal(validate(e), -EINVAL);
}

static void test_text_and_back(void **state)
{
	const PmlExtent all[] = {extent(ISET, 0x1000, 0x40000000), extent("phys", 0, 1),
		extent("phys", UINT64_MAX - 1, 1)};
	PmlExtent back;

	for (size_t i = 0; i < ELEMENTSOF(all); i++) {
		_cleanup_free_ char *s = NULL;

		assert_int_equal(pml_extent_format(&all[i], &s), 0);
		assert_int_equal(pml_extent_parse(s, &back), 0);
		assert_true(pml_extent_equal(&all[i], &back));
		if (i == 0)
			assert_string_equal(s, ISET "+0x1000/0x40000000");
	}
}

static void test_parse_is_strict(void **state)
{
	static const char *const bad[] = {
		"",
		"phys",
		"phys+",
		"phys+0x1",
		"phys+0x1/",
		"phys+0x1/0x",
		"phys+1/0x1",
		"phys+0x1/1",
		"phys+0x1/0x1 ",
		" phys+0x1/0x1",
		"phys+ 0x1/0x1",
		"phys+-0x1/0x1",
		"phys+0x1/0x0",
		"phys+0x10000000000000000/0x1",
		"phys+0xffffffffffffffff/0x2",
		"other+0x1/0x1",
		"+0x1/0x1",
		"phys+0x1/0x1/0x1",
		"phys+0x1+0x1",
	};
	char long_medium[200] = "";
	PmlExtent e = extent(ISET, 7, 8), before = e;

	memset(long_medium, 'a', 150);
	strcpy(long_medium + 150, "+0x1/0x1");
	assert_int_equal(pml_extent_parse(long_medium, &e), -EINVAL);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		if (pml_extent_parse(bad[i], &e) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	assert_true(pml_extent_equal(&e, &before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_empty_overlaps_nothing),
		cmocka_unit_test(test_end_of_the_address_space),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_validate),
		cmocka_unit_test(test_text_and_back),
		cmocka_unit_test(test_parse_is_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

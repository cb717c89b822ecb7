/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a part of the host was laid out: as text and back, and found again on what is there. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout.h"
#include "util.h"

#define GIB (1ULL << 30)

static char empty[] = "";
static char set[] = "DIMM 1+DIMM 2", devdax[] = "devdax", raw[] = "raw", dev[] = "dev";

static LayoutEntry entry(char *label_id, char *data_id, uint64_t size_bytes)
{
	return (LayoutEntry){.set = set,
		.mode = devdax,
		.map = dev,
		.label_id = label_id,
		.data_id = data_id,
		.size_bytes = size_bytes,
		.align_bytes = 2 << 20};
}

static PmlPartNamespace seen(const char *label_id, const char *data_id, uint64_t size_bytes)
{
	PmlPartNamespace ns = {
		.set = set, .mode = devdax, .size_bytes = size_bytes, .align_bytes = 2 << 20};

	(void)PML_STRCPY(ns.label_id, label_id);
	(void)PML_STRCPY(ns.data_id, data_id);
	return ns;
}

static void test_text(void **state)
{
	static const char *const junk[] = {"", "{}", "[1]", "[{}]", "[{\"set\": \"x\"}]", "[",
		"[{\"set\":\"s\",\"mode\":\"devdax\",\"map\":\"\",\"label\":\"\",\"data\":\"\",\"size\":-1,"
		"\"align\":0,\"sector\":0,\"leases\":[]}]",
		"[{\"set\":\"s\",\"mode\":\"devdax\",\"map\":\"\",\"label\":\"\",\"data\":\"\",\"size\":1,"
		"\"align\":0,\"sector\":0,\"leases\":[7]}]"};
	char first[] = "lease-1", second[] = "lease-2", *leases[] = {first, second, NULL};
	LayoutEntry list[] = {entry(first, second, GIB), entry(empty, first, 2 * GIB)};
	Layout l = {list, 2}, back;
	_cleanup_free_ char *text = NULL;

	list[0].leases = leases;
	text = layout_format(&l);
	assert_int_equal(layout_parse(text, &back), 0);
	assert_int_equal(back.n, 2);
	assert_string_equal(back.entries[0].set, set);
	assert_string_equal(back.entries[0].map, dev);
	assert_string_equal(back.entries[0].data_id, second);
	assert_string_equal(back.entries[0].leases[1], second);
	assert_null(back.entries[0].leases[2]);
	assert_int_equal(back.entries[1].size_bytes, 2 * GIB);
	assert_int_equal(back.entries[1].align_bytes, 2 << 20);
	layout_clear(&back);
	for (size_t i = 0; i < ELEMENTSOF(junk); i++)
		assert_int_equal(layout_parse(junk[i], &back), -EUCLEAN);
}

/* By who they are, wherever they lie; then by their form, each once. */
static void test_match(void **state)
{
	char a[] = "a", b[] = "b", x[] = "x";
	LayoutEntry list[] = {entry(a, empty, GIB), entry(empty, b, GIB), entry(x, empty, GIB),
		entry(x, x, 2 * GIB)};
	PmlPartNamespace there[] = {seen("new-1", "", GIB), seen("", "b", GIB), seen("a", "", GIB)};
	const PmlPart part = {.namespaces = there, .n_namespaces = ELEMENTSOF(there)};
	const Layout l = {list, ELEMENTSOF(list)};
	size_t index[ELEMENTSOF(list)];
	bool same[ELEMENTSOF(list)];

	layout_match(&l, &part, index, same);
	assert_int_equal(index[0], 2);
	assert_int_equal(index[1], 1);
	assert_true(same[0] && same[1]);
	assert_int_equal(index[2], 0);
	assert_false(same[2]);
	assert_int_equal(index[3], SIZE_MAX);
	/* Another form is no replacement. */
	there[0].align_bytes = 1 << 30;
	layout_match(&l, &part, index, same);
	assert_int_equal(index[2], SIZE_MAX);
}

/* What cannot be read while it is disabled, and a lease that has ended, were known before. */
static void test_take_over(void **state)
{
	char a[] = "a", d[] = "d", lease[] = "lease-1", *leases[] = {lease, NULL};
	LayoutEntry before[] = {entry(a, d, GIB), entry(empty, d, 2 * GIB)};
	/* As they look when both are disabled. */
	LayoutEntry now[] = {entry(a, empty, GIB), entry(empty, empty, 2 * GIB)};
	Layout l, known = {before, 2};
	_cleanup_free_ char *text = NULL;

	before[0].leases = leases;
	for (size_t i = 0; i < 2; i++) {
		now[i].mode = raw;
		now[i].map = empty;
		now[i].align_bytes = 0;
	}
	text = layout_format(&(Layout){now, 2});
	assert_int_equal(layout_parse(text, &l), 0);
	assert_int_equal(layout_take_over(&l, &known), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(l.entries[i].mode, devdax);
		assert_string_equal(l.entries[i].map, dev);
		assert_string_equal(l.entries[i].data_id, d);
		assert_int_equal(l.entries[i].align_bytes, 2 << 20);
	}
	assert_string_equal(l.entries[0].leases[0], lease);
	assert_null(l.entries[1].leases);
	layout_clear(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_take_over),
	};

	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}

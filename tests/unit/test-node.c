/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <umockdev.h>

#include "node.h"
#include "util.h"

static uint8_t d[PML_NODES_MAX];

static void test_parse(void **state)
{
	assert_int_equal(pml_node_distances_parse("0-1,4", "10 21 17", d), 0);
	assert_int_equal(d[0], 10);
	assert_int_equal(d[1], 21);
	assert_int_equal(d[2], 0);
	assert_int_equal(d[4], 17);
	assert_int_equal(pml_node_distances_parse("1023\n", "255\n", d), 0);
	assert_int_equal(d[1023], 255);
	assert_int_equal(d[0], 0);
}

static void test_nonsense(void **state)
{
	static const char *const bad[][2] = {
		{"1024", "10"},
		{"0-18446744073709551615", "10"},
		{"3-1", "10 10 10"},
		{"0-", "10"},
		{"0-1", "10"},
		{"0", ""},
		{"0", "256"},
		{"0", "0"},
		{"x", "10"},
	};

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		d[0] = 77;
		assert_int_equal(pml_node_distances_parse(bad[i][0], bad[i][1], d), -EBADMSG);
		assert_int_equal(d[0], 77);
	}
}

static void test_list(void **state)
{
	static const char *const bad[] = {"1024", "3-1", "0-", "x", "1,^2", "-1", "0;1"};

	assert_int_equal(pml_node_list_parse("0,2-3,1023", d), 0);
	for (size_t i = 0; i < PML_NODES_MAX; i++)
		assert_int_equal(d[i], i == 0 || i == 2 || i == 3 || i == 1023);
	assert_int_equal(pml_node_list_parse("", d), 0);
	assert_int_equal(d[0], 0);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(pml_node_list_parse(bad[i], d), -EBADMSG);
}

static void test_sysfs(void **state)
{
	UMockdevTestbed *t = umockdev_testbed_new();
	_cleanup_free_ char *nodes = umockdev_testbed_add_device(
		t, "node", "system/node", NULL, "online", "0,2\n", NULL, NULL);
	_cleanup_free_ char *node = umockdev_testbed_add_device(
		t, "node", "node2", nodes, "distance", "31 10\n", NULL, NULL);

	assert_string_equal(nodes, "/sys/devices/system/node");
	assert_string_equal(node, "/sys/devices/system/node/node2");
	assert_int_equal(pml_node_distances(2, d), 0);
	assert_int_equal(d[0], 31);
	assert_int_equal(d[1], 0);
	assert_int_equal(d[2], 10);
	assert_int_equal(pml_node_distances(1, d), -ENOENT);
	assert_int_equal(pml_node_distances(-1, d), -ENOENT);
	assert_int_equal(pml_node_distances(PML_NODES_MAX, d), -ENOENT);
	g_object_unref(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_sysfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a part of the host is called, and the name of a DIMM's slot in the firmware's tables. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "part-internal.h"
#include "util.h"

static void test_names(void **state)
{
	static const char *const bad[] = {"", "nmem", "nmem0x", "dax0.0", "node-1", "region0/..",
		"node99999999999", "regional", NULL};
	PmlPartKind kind;
	int node;

	assert_int_equal(part_parse("nmem12", &kind, &node), 0);
	assert_int_equal(kind, PML_PART_DIMM);
	assert_int_equal(node, -1);
	assert_int_equal(part_parse("region0", &kind, &node), 0);
	assert_int_equal(kind, PML_PART_SET);
	assert_int_equal(part_parse("node3", &kind, &node), 0);
	assert_int_equal(kind, PML_PART_NODE);
	assert_int_equal(node, 3);
	for (const char *const *s = bad; *s; s++)
		assert_int_equal(part_parse(*s, &kind, &node), -EINVAL);
}

/* One structure of SMBIOS: type, length, handle, …, strings. */
static void entry(const char *dir, const char *name, uint8_t type, uint16_t handle, uint8_t locator,
	const char *strings, size_t n_strings)
{
	uint8_t raw[256] = {type, 34, (uint8_t)handle, (uint8_t)(handle >> 8)};
	char path[256];
	FILE *f;

	raw[16] = locator;
	memcpy(raw + 34, strings, n_strings);
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/%s/raw", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(raw, 1, 34 + n_strings, f), 34 + n_strings);
	assert_int_equal(fclose(f), 0);
}

static void test_slot(void **state)
{
	char dir[] = "/tmp/pmemlease-dmi-XXXXXX", command[64], *slot = NULL;
	int fd;

	assert_non_null(mkdtemp(dir));
	entry(dir, "16-0", 16, 0x1100, 1, "board\0", 7);
	entry(dir, "17-0", 17, 0x1100, 2, "BANK 0\0DIMM_A1\0\0", 16);
	entry(dir, "17-1", 17, 0x1101, 1, "DIMM_A2\0BANK 1\0\0", 16);
	entry(dir, "17-2", 17, 0x1102, 3, "only one\0\0", 10);
	entry(dir, "17-3", 17, 0x1103, 2, "cut", 3);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(part_slot(fd, 0x1100, &slot), 0);
	assert_string_equal(slot, "DIMM_A1");
	free(slot);
	assert_int_equal(part_slot(fd, 0x1101, &slot), 0);
	assert_string_equal(slot, "DIMM_A2");
	free(slot);
	assert_int_equal(part_slot(fd, 0x1102, &slot), -ENOENT);
	assert_int_equal(part_slot(fd, 0x1103, &slot), -ENOENT);
	assert_int_equal(part_slot(fd, 0x1104, &slot), -ENOENT);
	close(fd);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_slot),
	};

	return cmocka_run_group_tests_name("part", tests, NULL, NULL);
}

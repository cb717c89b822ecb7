/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which region a lease gets that names none, on hosts made of a few lines. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "choose.h"
#include "node.h"
#include "region-internal.h"
#include "util.h"

#define MAX_REGIONS 40

static Manager m;
static Region regions[MAX_REGIONS];
static size_t n_regions;
static uint8_t distances[PML_NODES_MAX] = {[0] = 10, [1] = 21, [2] = 17};

static Region *add(const char *name, PmlKind kind, uint64_t size_mib, int node)
{
	Region *r = &regions[n_regions];
	const PmlRegionInfo info = {
		.name = name,
		.path = "/dev/null",
		.kind = kind,
		.binding = kind == PML_KIND_BDEV ? PML_BINDING_BLOCK : PML_BINDING_DEVICE_DAX,
		.devno = 0x103,
		.size_bytes = size_mib * MIB,
		.align_bytes = 2 * MIB,
		.phys_start = n_regions << 40,
		.numa_node = node,
		.extent = {.medium = "iset:00000000000000aa",
			.start_bytes = n_regions << 40,
			.size_bytes = size_mib * MIB},
	};

	assert_true(n_regions < MAX_REGIONS);
	*r = (Region){.manager = &m, .extent = info.extent, .presence = PML_PRESENCE_ONLINE};
	assert_int_equal(pml_region_new(&info, &r->host), 0);
	r->last = r->host;
	r->record = (RegionRecord){.content = PML_CONTENT_BLANK, .owner = "", .reason = ""};
	(void)PML_STRCPY(r->name, name);
	LIST_INSERT_HEAD(&m.regions, r, regions);
	n_regions++;
	return r;
}

static void owned(Region *r, const char *owner)
{
	r->record.content = PML_CONTENT_RETAINED;
	r->record.owner = owner;
}

static int teardown(void **state)
{
	while (n_regions > 0)
		(void)pml_region_unref(regions[--n_regions].host);
	LIST_INIT(&m.regions);
	return 0;
}

static ChooseRequest wanted(uint64_t size_mib)
{
	return (ChooseRequest){
		.size_bytes = size_mib * MIB,
		.kind = _PML_KIND_INVALID,
		.node = -1,
		.distances = distances,
		.owner = "me",
	};
}

static void assert_chosen(ChooseRequest q, const Region *want)
{
	OpError err = {};
	Region *have = NULL;

	if (choose_region(&m, &q, &have, &err) != 0)
		fail_msg("%s: %s", err.error, err.message);
	assert_string_equal(have->name, want->name);
}

static void assert_none(ChooseRequest q, const char *const *words)
{
	OpError err = {};
	Region *have;

	assert_int_equal(choose_region(&m, &q, &have, &err), 1);
	assert_string_equal(err.error, PML_ERROR_NONE_SUITABLE);
	for (; *words; words++)
		if (!strstr(err.message, *words))
			fail_msg("nothing of \"%s\" in: %s", *words, err.message);
}

static void test_smallest_that_is_big_enough(void **state)
{
	Region *big = add("dax0.0", PML_KIND_DEVDAX, 4096, 0);
	Region *fits = add("dax1.0", PML_KIND_DEVDAX, 1024, 0);

	(void)add("dax2.0", PML_KIND_DEVDAX, 512, 0);
	assert_chosen(wanted(600), fits);
	assert_chosen(wanted(1024), fits);
	assert_chosen(wanted(1025), big);
}

static void test_nearest(void **state)
{
	ChooseRequest q = wanted(100);
	Region *here = add("dax0.0", PML_KIND_DEVDAX, 4096, 0);
	Region *near = add("dax2.0", PML_KIND_DEVDAX, 2048, 2);
	Region *far = add("dax1.0", PML_KIND_DEVDAX, 1024, 1);
	Region *unknown = add("dax3.0", PML_KIND_DEVDAX, 512, -1);

	assert_chosen(q, unknown);
	q.node = 0;
	assert_chosen(q, here);
	q.owner = "me";
	owned(here, "another");
	assert_chosen(q, near);
	owned(near, "another");
	assert_chosen(q, far);
	owned(far, "another");
	assert_chosen(q, unknown);
}

static void test_own_data_first(void **state)
{
	ChooseRequest q = wanted(100);
	Region *mine;

	(void)add("dax0.0", PML_KIND_DEVDAX, 512, 0);
	mine = add("dax1.0", PML_KIND_DEVDAX, 4096, 1);
	owned(mine, "me");
	q.node = 0;
	assert_chosen(q, mine);
	/* Of two, the rules go on. */
	owned(&regions[0], "me");
	assert_chosen(q, &regions[0]);
}

static void test_kind(void **state)
{
	ChooseRequest q = wanted(100);
	Region *disk = add("loop0", PML_KIND_BDEV, 200, -1);
	Region *dax = add("dax0.0", PML_KIND_DEVDAX, 4096, 0);

	/* Nobody's machine is destroyed for having been lent a disk without being asked. */
	assert_chosen(q, dax);
	q.may_destroy = true;
	assert_chosen(q, disk);
	q.kind = PML_KIND_DEVDAX;
	assert_chosen(q, dax);
	q.kind = PML_KIND_SYSRAM;
	assert_none(q, (const char *const[]){"2 of another kind", "of kind sysram", NULL});
}

static void test_reasons(void **state)
{
	Region *gone;

	assert_none(wanted(100), (const char *const[]){"None of 0 regions", NULL});
	(void)add("dax0.0", PML_KIND_DEVDAX, 64, 0);
	(void)add("dax1.0", PML_KIND_DEVDAX, 80, 0);
	owned(add("dax2.0", PML_KIND_DEVDAX, 512, 0), "another");
	add("dax3.0", PML_KIND_DEVDAX, 512, 0)->record.use = PML_USE_QUARANTINED;
	(void)add("loop0", PML_KIND_BDEV, 512, -1);
	gone = add("dax4.0", PML_KIND_DEVDAX, 512, 0);
	gone->host = pml_region_unref(gone->host);
	gone->last = NULL;
	assert_none(wanted(100),
		(const char *const[]){"None of 6 regions", "100 MiB",
			"2 smaller, the biggest of 80 MiB", "dax2.0 holds the data of another",
			"dax3.0: It is quarantined", "loop0: It is a block device",
			"dax4.0: It is not there", NULL});
}

/* However many there are, the answer is one that can be read, and says what it leaves out. */
static void test_many_reasons(void **state)
{
	static char names[MAX_REGIONS][16];

	for (size_t i = 0; i < MAX_REGIONS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "dax%zu.0", i);
		owned(add(names[i], PML_KIND_DEVDAX, 512, 0), "another");
	}
	assert_none(wanted(100),
		(const char *const[]){"None of 40 regions", "more: see pmemlease regions.", NULL});
}

/* Whatever order the host was scanned in. */
static void test_same_answer(void **state)
{
	Region *second;

	(void)add("dax10.0", PML_KIND_DEVDAX, 512, 0);
	second = add("dax2.0", PML_KIND_DEVDAX, 512, 0);
	(void)add("dax3.0", PML_KIND_DEVDAX, 512, 0);
	assert_chosen(wanted(100), second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_smallest_that_is_big_enough, teardown),
		cmocka_unit_test_teardown(test_nearest, teardown),
		cmocka_unit_test_teardown(test_own_data_first, teardown),
		cmocka_unit_test_teardown(test_kind, teardown),
		cmocka_unit_test_teardown(test_reasons, teardown),
		cmocka_unit_test_teardown(test_many_reasons, teardown),
		cmocka_unit_test_teardown(test_same_answer, teardown),
	};

	return cmocka_run_group_tests_name("choose", tests, NULL, NULL);
}

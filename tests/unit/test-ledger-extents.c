/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Cutting and joining of extents, what each step of use and content does to them, and the fold. */

#include "ledger-fixture.h"

static void test_split_and_join(void **state)
{
	Fixture *f = *state;

	adopt(f, 2 * GIB, 8 * GIB);
	assert_extents(f, "2+8 retained alice free");
	assert_int_equal(use(f, 4 * GIB, 2 * GIB, PML_USE_EV_QUARANTINE), 0);
	assert_extents(f, "2+2 retained alice free; 4+2 retained alice quarantined !a reason; "
			  "6+4 retained alice free");
	/* Over an edge, and into bytes that no row covers. */
	assert_int_equal(use(f, 8 * GIB, 4 * GIB, PML_USE_EV_LEASE), 0);
	assert_extents(f,
		"2+2 retained alice free; 4+2 retained alice quarantined !a reason; "
		"6+2 retained alice free; 8+2 retained alice leased; 10+2 foreign leased");
	reopen(f);
	assert_int_equal(use(f, 8 * GIB, 4 * GIB, PML_USE_EV_LEASE_UNDONE), 0);
	assert_int_equal(use(f, 4 * GIB, 2 * GIB, PML_USE_EV_LIFT), 0);
	assert_extents(f, "2+8 retained alice free");
	/* Next to a row, not over it. */
	adopt(f, 0, 2 * GIB);
	adopt(f, 10 * GIB, GIB);
	assert_extents(f, "0+11 retained alice free");
	/* One step over gaps between several rows. */
	assert_int_equal(content(f, 20 * GIB, GIB, PML_CONTENT_EV_ADOPT, "bob"), 0);
	assert_int_equal(use(f, 0, 30 * GIB, PML_USE_EV_EVICT), 0);
	assert_extents(f, "0+11 retained alice evicting; 11+9 foreign evicting; "
			  "20+1 retained bob evicting; 21+9 foreign evicting");
	assert_int_equal(use(f, 0, 30 * GIB, PML_USE_EV_FENCED), 0);
	assert_int_equal(use(f, 0, 30 * GIB, PML_USE_EV_CLEARED), 0);
	assert_extents(f, "0+11 retained alice free; 20+1 retained bob free");
	reopen(f);
	assert_extents(f, "0+11 retained alice free; 20+1 retained bob free");
}

static void test_media_are_apart(void **state)
{
	Fixture *f = *state;
	PmlExtent phys = {.medium = "phys", .start_bytes = 0, .size_bytes = 4 * GIB};
	PmlTxn *t;

	adopt(f, 0, 4 * GIB);
	t = pml_txn_new("uid 0");
	assert_int_equal(pml_txn_use_step(t, REGION, &phys, PML_USE_EV_LEASE, NULL), 0);
	assert_int_equal(apply(f, t), 0);
	assert_extents(f, "0+4 retained alice free; 0+4 foreign leased");
}

static void test_use_mixed_is_refused(void **state)
{
	Fixture *f = *state;

	assert_int_equal(use(f, 0, GIB, PML_USE_EV_LEASE), 0);
	/* One piece of two may not: nothing is written of the other. */
	assert_int_equal(use(f, 0, 2 * GIB, PML_USE_EV_LEASE), PML_LEDGER_ILLEGAL);
	assert_int_equal(use(f, 0, 2 * GIB, PML_USE_EV_LEASE_UNDONE), PML_LEDGER_ILLEGAL);
	assert_extents(f, "0+1 foreign leased");
	assert_int_equal(use(f, 0, 2 * GIB, PML_USE_EV_EVICT), 0);
	assert_extents(f, "0+2 foreign evicting");
}

static void test_reason(void **state)
{
	Fixture *f = *state;
	char reason[PML_REASON_MAX * 2 + 1] = "";
	PmlExtent e = extent(0, GIB);
	PmlExtentRecord *rows;
	PmlHistoryRecord *hist;
	PmlTxn *t = pml_txn_new("uid 0");
	size_t n;

	for (size_t i = 0; i + 1 < sizeof(reason); i += 2)
		memcpy(reason + i, "\xc3\xa9", 3);
	assert_int_equal(pml_txn_use_step(t, REGION, &e, PML_USE_EV_QUARANTINE, reason), 0);
	assert_int_equal(apply(f, t), 0);
	assert_int_equal(pml_ledger_extents(f->l, &rows, &n), 0);
	assert_int_equal(n, 1);
	n = strlen(rows[0].reason);
	assert_true(n < PML_REASON_MAX && n > PML_REASON_MAX - 6);
	assert_string_equal(rows[0].reason + n - 3, "\xe2\x80\xa6");
	assert_int_equal((n - 3) % 2, 0);
	free(rows);
	assert_int_equal(pml_ledger_history(f->l, REGION, 0, 1, &hist, &n), 0);
	assert_non_null(strstr(hist[0].detail, reason));
	pml_history_free(hist, n);

	/* A newer reason counts; "kept offline" survives the steps of an eviction and ends with it.
	 */
	assert_int_equal(use(f, 0, GIB, PML_USE_EV_QUARANTINE), 0);
	assert_extents(f, "0+1 foreign quarantined !a reason");
	assert_int_equal(use(f, 0, GIB, PML_USE_EV_LIFT), 0);
	assert_extents(f, "");
	t = pml_txn_new("uid 0");
	assert_int_equal(pml_txn_use_step(t, REGION, &e, PML_USE_EV_EVICT, "DIMM swap"), 0);
	assert_int_equal(apply(f, t), 0);
	assert_int_equal(use(f, 0, GIB, PML_USE_EV_FENCED), 0);
	assert_extents(f, "0+1 foreign evicted !DIMM swap");
	assert_int_equal(use(f, 0, GIB, PML_USE_EV_CLEARED), 0);
	assert_extents(f, "");
}

/* Invariant 2: no other owner, and no destruction of what was not named. */
static void test_owners(void **state)
{
	Fixture *f = *state;

	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_LENT, "alice"), PML_LEDGER_ILLEGAL);
	adopt(f, 0, GIB);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_LENT, "alice"), 0);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_LENT, "bob"), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_ADOPT, "bob"), PML_LEDGER_ILLEGAL);
	/* The last byte is somebody else's, or was never seen. */
	assert_int_equal(
		content(f, 0, GIB + 4096, PML_CONTENT_EV_LENT, "alice"), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, GIB, GIB, PML_CONTENT_EV_ADOPT, "bob"), 0);
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_LENT, "alice"), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_ADOPT, "alice"), PML_LEDGER_ILLEGAL);

	static const char *const wrong[] = {
		"", "alice", "bob", "alice,bob,eve", "eve", "alice,bo", "alice, bob"};

	for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
		assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_SCRUB_BEGIN, wrong[i]),
			PML_LEDGER_ILLEGAL);
	assert_extents(f, "0+1 retained alice free; 1+1 retained bob free");
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_SCRUB_BEGIN, "bob,alice"), 0);
	assert_extents(f, "0+1 scrubbing alice free; 1+1 scrubbing bob free");
	reopen(f);

	/* Half done, and nothing but a scrub leads out of it; the same names are needed again. */
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_LENT, "alice"), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_ADOPT, "alice"), PML_LEDGER_ILLEGAL);
	assert_int_equal(
		content(f, 0, 2 * GIB, PML_CONTENT_EV_SCRUB_BEGIN, "alice"), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_SCRUB_BEGIN, "alice,bob"), 0);
	assert_int_equal(
		content(f, 0, 3 * GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), 0);
	assert_extents(f, "0+2 blank free");
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_ADOPT, "eve"), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_LENT, "eve"), 0);
	assert_extents(f, "0+2 retained eve free");
}

static void test_adopt_leaves_what_is_known(void **state)
{
	Fixture *f = *state;

	assert_int_equal(content(f, GIB, GIB, PML_CONTENT_EV_SCRUB_BEGIN, ""), 0);
	assert_int_equal(content(f, GIB, GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), 0);
	adopt(f, 2 * GIB, GIB);
	adopt(f, 0, 4 * GIB);
	assert_extents(f, "0+1 retained alice free; 1+1 blank free; 2+2 retained alice free");
	adopt(f, 0, 4 * GIB);
}

static void test_scrub_ends_on_free_bytes(void **state)
{
	Fixture *f = *state;

	adopt(f, 0, GIB);
	/* The consent may come before the region is free. */
	assert_int_equal(use(f, 0, 4096, PML_USE_EV_QUARANTINE), 0);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_SCRUB_BEGIN, "alice"), 0);
	assert_int_equal(
		content(f, 0, GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), PML_LEDGER_ILLEGAL);
	assert_int_equal(use(f, 0, 4096, PML_USE_EV_LIFT), 0);
	/* Held by somebody unexplained since: what was read back says nothing. */
	assert_int_equal(use(f, GIB - 4096, 4096, PML_USE_EV_QUARANTINE), 0);
	assert_int_equal(
		content(f, 0, GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), PML_LEDGER_ILLEGAL);
	assert_int_equal(use(f, GIB - 4096, 4096, PML_USE_EV_LIFT), 0);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), 0);
}

/* Another medium: what was known of the bytes is known no more, and whose they were is nobody's
 * claim; while somebody is lent them, they are what they were. */
static void test_replaced(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB);

	adopt(f, 0, 2 * GIB);
	assert_int_equal(reserve(f, &rec), 0);
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_REPLACED, NULL), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, GIB, GIB, PML_CONTENT_EV_REPLACED, NULL), 0);
	assert_extents(f, "0+1 retained alice leased");
	assert_int_equal(content(f, GIB, GIB, PML_CONTENT_EV_LENT, "alice"), PML_LEDGER_ILLEGAL);
}

static void test_layout(void **state)
{
	Fixture *f = *state;
	char *json = NULL, **all = NULL;
	PmlTxn *t;

	assert_int_equal(pml_ledger_layout(f->l, "dimm", &json), -ENOENT);
	for (int i = 0; i < 2; i++) {
		t = pml_txn_new("uid 0");
		assert_int_equal(pml_txn_layout(t, "dimm", i == 0 ? "{}" : "[]"), 0);
		assert_int_equal(apply(f, t), 0);
	}
	assert_int_equal(pml_ledger_layout(f->l, "dimm", &json), 0);
	assert_string_equal(json, "[]");
	free(json);
	t = pml_txn_new("uid 0");
	assert_int_equal(pml_txn_layout(t, "another", "{}"), 0);
	assert_int_equal(apply(f, t), 0);
	assert_int_equal(pml_ledger_layouts(f->l, &all), 0);
	assert_string_equal(all[0], "{}");
	assert_string_equal(all[1], "[]");
	assert_null(all[2]);
	for (int i = 0; i < 2; i++)
		free(all[i]);
	free(all);
	t = pml_txn_new("uid 0");
	assert_int_equal(pml_txn_layout(t, "dimm", NULL), 0);
	assert_int_equal(apply(f, t), 0);
	assert_int_equal(pml_ledger_layout(f->l, "dimm", &json), -ENOENT);
}

static void test_builder_refuses(void **state)
{
	Fixture *f = *state;
	PmlExtent good = extent(0, GIB), bad[] = {
						 extent(0, 0),
						 extent(UINT64_MAX - 10, 100),
						 extent(1ULL << 63, GIB),
						 {.medium = "nonsense", .size_bytes = GIB},
					 };
	static const char *const owners[] = {"", "a,b", "a\nb", "\x7f", "\xe2\x80\xa6", NULL};
	char too_long[PML_NAME_LEN + 1];
	PmlTxn *t;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		t = pml_txn_new("uid 0");
		assert_int_equal(
			pml_txn_use_step(t, REGION, &bad[i], PML_USE_EV_LEASE, NULL), -EINVAL);
		/* The rest of a transaction that lost a change is not applied. */
		assert_int_equal(pml_txn_note(t, "daemon", "x", "y"), 0);
		assert_int_equal(apply(f, t), -EINVAL);
	}
	for (size_t i = 0; i < ELEMENTSOF(owners); i++) {
		t = pml_txn_new("uid 0");
		assert_int_equal(
			pml_txn_content_step(t, REGION, &good, PML_CONTENT_EV_ADOPT, owners[i]),
			-EINVAL);
		pml_txn_free(t);
	}
	t = pml_txn_new("uid 0");
	memset(too_long, 'x', PML_NAME_LEN);
	too_long[PML_NAME_LEN] = '\0';
	assert_int_equal(pml_txn_content_step(t, REGION, &good, PML_CONTENT_EV_ADOPT, too_long),
		-ENAMETOOLONG);
	assert_int_equal(pml_txn_use_step(t, REGION, &good, PML_USE_EV_QUARANTINE, NULL), -EINVAL);
	assert_int_equal(pml_txn_use_step(t, REGION, &good, PML_USE_EV_LIFT, ""), -EINVAL);
	assert_int_equal(pml_txn_use_step(t, REGION, &good, _PML_USE_EV_MAX, "x"), -EINVAL);
	assert_int_equal(
		pml_txn_use_step(t, too_long, &good, PML_USE_EV_LEASE, NULL), -ENAMETOOLONG);
	pml_txn_free(t);
	assert_int_equal(count_history(f), 0);
}

static PmlExtentRecord row(uint64_t start, uint64_t size, PmlContent c, const char *owner, PmlUse u,
	const char *reason)
{
	PmlExtentRecord r = {.extent = extent(start, size), .content = c, .use = u};

	strcpy(r.owner, owner);
	strcpy(r.reason, reason);
	return r;
}

static void check_fold(
	const PmlExtentRecord *rows, size_t n, uint64_t start, uint64_t size, const char *want)
{
	PmlExtent e = extent(start, size);
	PmlExtentRecord got;
	char text[2048];

	pml_extent_records_fold(rows, n, &e, &got);
	assert_true(pml_extent_equal(&got.extent, &e));
	(void)snprintf(text, sizeof(text), "%s/%s/%s/%s", pml_content_to_string(got.content),
		got.owner, pml_use_to_string(got.use), got.reason);
	assert_string_equal(text, want);
}

static void test_fold(void **state)
{
	const PmlExtentRecord rows[] = {
		row(0, 10, PML_CONTENT_BLANK, "", PML_USE_FREE, ""),
		row(10, 10, PML_CONTENT_RETAINED, "alice", PML_USE_LEASED, ""),
		row(20, 10, PML_CONTENT_BLANK, "", PML_USE_LEASED, ""),
		row(30, 10, PML_CONTENT_RETAINED, "bob", PML_USE_EVICTED, "offline"),
		row(40, 10, PML_CONTENT_RETAINED, "alice", PML_USE_EVICTING, ""),
		row(50, 10, PML_CONTENT_SCRUBBING, "eve", PML_USE_FREE, ""),
		row(60, 10, PML_CONTENT_FOREIGN, "", PML_USE_QUARANTINED, "held"),
		/* 70: a gap */
		row(80, 10, PML_CONTENT_RETAINED, "alice", PML_USE_FREE, ""),
	};
	size_t n = ELEMENTSOF(rows);
	PmlExtentRecord other = rows[6];

	check_fold(NULL, 0, 0, 10, "foreign//free/");
	check_fold(rows, n, 1000, 10, "foreign//free/");
	check_fold(rows, n, 0, 10, "blank//free/");
	check_fold(rows, n, 5, 6, "retained/alice/leased/");
	check_fold(rows, n, 0, 30, "retained/alice/leased/");
	check_fold(rows, n, 10, 25, "foreign/alice,bob/evicted/offline");
	check_fold(rows, n, 10, 40, "foreign/alice,bob/evicting/");
	check_fold(rows, n, 40, 15, "scrubbing/alice,eve/evicting/");
	check_fold(rows, n, 55, 6, "scrubbing/eve/quarantined/held");
	check_fold(rows, n, 69, 1, "foreign//quarantined/held");
	check_fold(rows, n, 70, 10, "foreign//free/");
	check_fold(rows, n, 79, 5, "foreign/alice/free/");
	check_fold(rows, n, 80, 10, "retained/alice/free/");
	check_fold(rows, n, 80, 11, "foreign/alice/free/");
	check_fold(rows, n, 0, 1000, "scrubbing/alice,bob,eve/quarantined/held");
	/* Another medium says nothing about these bytes. */
	strcpy(other.extent.medium, "phys");
	check_fold(&other, 1, 60, 10, "foreign//free/");
}

/* More owners than the record has room for: the list says so, and passes for no list. */
static void test_fold_many_owners(void **state)
{
	PmlExtentRecord rows[20], got;
	PmlExtent e = extent(0, 20);
	char owner[PML_NAME_LEN];

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		memset(owner, 'a' + (int)i, 100);
		owner[100] = '\0';
		rows[i] = row(i, 1, PML_CONTENT_RETAINED, owner, PML_USE_FREE, "");
	}
	pml_extent_records_fold(rows, ELEMENTSOF(rows), &e, &got);
	assert_int_equal(got.content, PML_CONTENT_FOREIGN);
	assert_true(strlen(got.owner) < sizeof(got.owner));
	assert_string_equal(got.owner + strlen(got.owner) - 4, ",\xe2\x80\xa6");
}

#define WITH_LEDGER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_LEDGER(test_split_and_join),
		WITH_LEDGER(test_media_are_apart),
		WITH_LEDGER(test_use_mixed_is_refused),
		WITH_LEDGER(test_reason),
		WITH_LEDGER(test_owners),
		WITH_LEDGER(test_adopt_leaves_what_is_known),
		WITH_LEDGER(test_scrub_ends_on_free_bytes),
		WITH_LEDGER(test_builder_refuses),
		WITH_LEDGER(test_replaced),
		WITH_LEDGER(test_layout),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_fold_many_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

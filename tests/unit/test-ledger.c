/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Leases, proofs and the history: every kind of change, and the invariants under attack. */

#include "ledger-fixture.h"

static PmlLeaseRecord only_lease(Fixture *f, bool with_released)
{
	PmlLeaseRecord *rows, rec;
	size_t n;

	assert_int_equal(pml_ledger_leases(f->l, with_released, &rows, &n), 0);
	assert_int_equal(n, 1);
	rec = rows[0];
	free(rows);
	return rec;
}

static PmlLeaseState state_of(Fixture *f)
{
	return only_lease(f, true).state;
}

/* A lease of alice's over the first GiB, in a state on the straight way to `until`. */
static PmlLeaseRecord lease_in(Fixture *f, PmlLeaseState until)
{
	static const PmlLeaseEvent way[] = {
		PML_LEASE_EV_ATTACH, PML_LEASE_EV_ATTACHED, PML_LEASE_EV_DRAIN, PML_LEASE_EV_FENCE};
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB);

	adopt(f, 0, GIB);
	assert_int_equal(reserve(f, &rec), 0);
	for (size_t i = 0; i < ELEMENTSOF(way) && rec.state != until; i++)
		assert_int_equal(step(f, &rec, way[i]), 0);
	assert_int_equal(rec.state, until);
	return rec;
}

static void assert_lease_equal(const PmlLeaseRecord *a, const PmlLeaseRecord *b)
{
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->region, b->region);
	assert_string_equal(a->region_name, b->region_name);
	assert_true(pml_extent_equal(&a->extent, &b->extent));
	assert_string_equal(a->domain, b->domain);
	assert_string_equal(a->domain_name, b->domain_name);
	assert_string_equal(a->alias, b->alias);
	assert_string_equal(a->owner, b->owner);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->on_end, b->on_end);
	assert_int_equal(a->after_fence, b->after_fence);
	assert_int_equal(a->drain, b->drain);
	assert_int_equal(a->on_refusal, b->on_refusal);
	assert_int_equal(a->grace_usec, b->grace_usec);
	assert_int_equal(a->restore, b->restore);
	assert_int_equal(a->devno, b->devno);
	assert_int_equal(a->dev_block, b->dev_block);
	assert_int_equal(a->virtio_mem, b->virtio_mem);
	assert_int_equal(a->lent_bytes, b->lent_bytes);
	assert_int_equal(a->plugged_bytes, b->plugged_bytes);
	assert_int_equal(a->keep_offline, b->keep_offline);
	assert_int_equal(a->frozen, b->frozen);
	assert_int_equal(a->deadline_usec, b->deadline_usec);
	assert_string_equal(a->boot_id, b->boot_id);
	assert_int_equal(a->creator_uid, b->creator_uid);
	assert_int_equal(a->vmm_pid, b->vmm_pid);
	assert_int_equal(a->vmm_start, b->vmm_start);
	assert_string_equal(a->vmm_cgroup, b->vmm_cgroup);
}

static void test_lease_fields(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB), got;
	uint64_t before = pml_now_usec(CLOCK_REALTIME), since;
	PmlTxn *t;

	assert_int_equal(reserve(f, &rec), 0);
	reopen(f);
	got = only_lease(f, false);
	assert_lease_equal(&got, &rec);
	assert_int_equal(got.proof, 0);
	assert_true(got.since_usec >= before && got.since_usec <= pml_now_usec(CLOCK_REALTIME));
	since = got.since_usec;

	strcpy(rec.region_name, "dax7.0");
	strcpy(rec.domain_name, "renamed");
	strcpy(rec.alias, "ua-pmemlease-2");
	strcpy(rec.boot_id, "b2");
	strcpy(rec.vmm_cgroup, "/other.slice");
	rec.on_end = PML_ON_END_KEEP;
	rec.after_fence = PML_AFTER_FENCE_PAUSE;
	rec.drain = PML_DRAIN_FORCE;
	rec.on_refusal = PML_ON_REFUSAL_KEEP;
	rec.grace_usec = PML_DEADLINE_INFINITY;
	rec.restore = true;
	rec.devno = makedev(511, 1048575);
	rec.dev_block = true;
	rec.keep_offline = rec.frozen = true;
	rec.deadline_usec = 5;
	rec.vmm_pid = 1;
	rec.vmm_start = UINT64_MAX;
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_lease_update(t, &rec), 0);
	assert_int_equal(apply(f, t), 0);
	reopen(f);
	got = only_lease(f, false);
	assert_lease_equal(&got, &rec);
	/* No transition, no time. */
	assert_int_equal(got.since_usec, since);
}

/* Written by its own change alone, so that no other one can bring back what was before. */
static void test_plugged(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_ACTIVE), dimm = lease(LEASE_B, 2 * GIB, GIB);
	PmlTxn *t = pml_txn_new("daemon");
	size_t before = count_history(f);

	assert_int_equal(pml_txn_plugged(t, LEASE_A, GIB / 2), 0);
	assert_int_equal(apply(f, t), 0);
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_lease_update(t, &rec), 0);
	assert_int_equal(apply(f, t), 0);
	reopen(f);
	rec = only_lease(f, false);
	assert_int_equal(rec.plugged_bytes, GIB / 2);
	assert_int_equal(rec.lent_bytes, GIB);
	assert_int_equal(count_history(f), before);

	/* Of a dimm there are no parts. */
	dimm.virtio_mem = false;
	adopt(f, 2 * GIB, GIB);
	assert_int_equal(reserve(f, &dimm), 0);
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_plugged(t, LEASE_B, 0), 0);
	assert_int_equal(apply(f, t), PML_LEDGER_ILLEGAL);
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_plugged(t, "", 0), -EINVAL);
	pml_txn_free(t);
}

static void test_update_is_no_transition(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_ACTIVE), other;
	size_t before = count_history(f);
	PmlTxn *t;

	for (int i = 0; i < 6; i++) {
		other = rec;
		if (i == 0)
			other.state = PML_LEASE_DRAINING;
		else if (i == 1)
			strcpy(other.owner, "bob");
		else if (i == 2)
			other.extent.size_bytes *= 2;
		else if (i == 3)
			strcpy(other.region, "elsewhere");
		else if (i == 4)
			strcpy(other.id, LEASE_B);
		else
			other.creator_uid = 0;
		t = pml_txn_new("daemon");
		assert_int_equal(pml_txn_lease_update(t, &other), 0);
		assert_int_equal(apply(f, t), PML_LEDGER_ILLEGAL);
		if (i == 0)
			continue;
		t = pml_txn_new("daemon");
		assert_int_equal(pml_txn_lease_step(t, &other, PML_LEASE_EV_DRAIN, NULL), 0);
		assert_int_equal(apply(f, t), PML_LEDGER_ILLEGAL);
	}
	assert_int_equal(count_history(f), before);
	assert_int_equal(state_of(f), PML_LEASE_ACTIVE);
}

static void test_transaction_is_a_copy(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB);
	char region[] = REGION, actor[] = "uid 7";
	PmlTxn *t = pml_txn_new(actor);
	PmlHistoryRecord *rows;
	size_t n;

	assert_int_equal(pml_txn_lease_new(t, &rec), 0);
	assert_int_equal(pml_txn_use_step(t, region, &rec.extent, PML_USE_EV_LEASE, NULL), 0);
	memset(&rec, 'x', sizeof(rec));
	memset(region, 'x', sizeof(region) - 1);
	memset(actor, 'x', sizeof(actor) - 1);
	assert_int_equal(pml_ledger_apply(f->l, t, NULL), 0);
	assert_string_equal(only_lease(f, false).id, LEASE_A);
	/* The same list again is checked against what the disk has now. */
	assert_int_equal(pml_ledger_apply(f->l, t, NULL), PML_LEDGER_ILLEGAL);
	pml_txn_free(t);
	assert_int_equal(pml_ledger_history(f->l, REGION, 0, 9, &rows, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(rows[0].actor, "uid 7");
	pml_history_free(rows, n);
	t = pml_txn_new("nobody");
	assert_int_equal(apply(f, t), 0);
	assert_null(pml_txn_free(NULL));
}

/* Invariant 1. */
static void test_no_two_leases(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord a = lease(LEASE_A, 4 * GIB, 4 * GIB), b;
	static const struct {
		uint64_t start, size;
		bool overlaps;
	} cases[] = {
		{4 * GIB, 4 * GIB, true},
		{0, 4 * GIB + 1, true},
		{8 * GIB - 1, GIB, true},
		{5 * GIB, GIB, true},
		{0, 100 * GIB, true},
		{0, 4 * GIB, false},
		{8 * GIB, GIB, false},
	};
	_cleanup_free_ char *why = NULL;
	PmlTxn *t;

	assert_int_equal(reserve(f, &a), 0);
	reopen(f);
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		b = lease(LEASE_B, cases[i].start, cases[i].size);
		b.id[0] = (char)('0' + i);
		t = pml_txn_new("uid 0");
		/* A caller that has forgotten the use, too. */
		assert_int_equal(pml_txn_lease_new(t, &b), 0);
		if (!cases[i].overlaps)
			assert_int_equal(
				pml_txn_use_step(t, REGION, &b.extent, PML_USE_EV_LEASE, NULL), 0);
		free(why);
		why = NULL;
		assert_int_equal(apply_why(f, t, &why), cases[i].overlaps ? PML_LEDGER_OVERLAP : 0);
		if (cases[i].overlaps)
			assert_non_null(strstr(why, LEASE_A));
	}
	/* The id of a lease is never used twice, not even of a released one. */
	a = lease(LEASE_A, 40 * GIB, GIB);
	assert_int_equal(reserve(f, &a), PML_LEDGER_ILLEGAL);
}

static void test_released_frees_the_bytes(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB), *rows;
	size_t n;
	PmlTxn *t;

	assert_int_equal(reserve(f, &rec), 0);
	/* Neither half alone: a crash in between would leave a region that nobody frees. */
	assert_int_equal(step(f, &rec, PML_LEASE_EV_UNDO), PML_LEDGER_ILLEGAL);
	assert_int_equal(use(f, 0, GIB, PML_USE_EV_LEASE_UNDONE), PML_LEDGER_ILLEGAL);
	t = pml_txn_new("daemon");
	assert_int_equal(
		pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_LEASE_UNDONE, NULL), 0);
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_UNDO, NULL), 0);
	assert_int_equal(apply(f, t), 0);
	assert_extents(f, "");
	assert_int_equal(pml_ledger_leases(f->l, false, &rows, &n), 0);
	assert_int_equal(n, 0);
	free(rows);
	rec = lease(LEASE_B, 0, GIB);
	assert_int_equal(reserve(f, &rec), 0);
	assert_int_equal(pml_ledger_leases(f->l, true, &rows, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(rows[0].state, PML_LEASE_RELEASED);
	/* Final. */
	assert_int_equal(step(f, &rows[0], PML_LEASE_EV_ATTACH), PML_LEDGER_ILLEGAL);
	rows[0].state = PML_LEASE_RESERVED;
	assert_int_equal(step(f, &rows[0], PML_LEASE_EV_ATTACH), PML_LEDGER_ILLEGAL);
	free(rows);
}

/* Invariant 2, the lease's side: no guest on bytes that are not its owner's, no scrub under a
 * lease. */
static void test_attach_needs_own_bytes(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, 2 * GIB);
	PmlTxn *t;

	adopt(f, 0, GIB);
	assert_int_equal(content(f, GIB, GIB, PML_CONTENT_EV_ADOPT, "bob"), 0);
	assert_int_equal(reserve(f, &rec), 0);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_ATTACH), PML_LEDGER_ILLEGAL);
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_ATTACH, NULL), 0);
	assert_int_equal(
		pml_txn_content_step(t, REGION, &rec.extent, PML_CONTENT_EV_LENT, "alice"), 0);
	assert_int_equal(apply(f, t), PML_LEDGER_ILLEGAL);
	assert_int_equal(content(f, 0, 2 * GIB, PML_CONTENT_EV_SCRUB_BEGIN, "alice,bob"),
		PML_LEDGER_ILLEGAL);
	assert_int_equal(state_of(f), PML_LEASE_RESERVED);
}

static void test_no_scrub_under_a_lease(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_FENCING);

	assert_int_equal(use(f, 0, GIB, PML_USE_EV_QUARANTINE), 0);
	assert_int_equal(use(f, 0, GIB, PML_USE_EV_LIFT), 0);
	assert_int_equal(
		content(f, 0, GIB, PML_CONTENT_EV_SCRUB_BEGIN, "alice"), PML_LEDGER_ILLEGAL);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_UNPROVED), 0);
	assert_int_equal(
		content(f, 0, GIB, PML_CONTENT_EV_SCRUB_BEGIN, "alice"), PML_LEDGER_ILLEGAL);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_OPERATOR_RELEASE), 0);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_SCRUB_BEGIN, "alice"), 0);
}

/* The end of a lease as a daemon writes it: consent to the scrub with the lease's end, the bytes
 * freed later. */
static void test_end_with_scrub(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_FENCING);
	PmlTxn *t = pml_txn_new("daemon");

	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_PROVED, NULL), 0);
	assert_int_equal(pml_txn_proof(t, rec.id, REGION, "{}"), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_FENCED, NULL), 0);
	assert_int_equal(apply(f, t), 0);
	rec.state = PML_LEASE_FENCED;
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_CLEARED, NULL), 0);
	assert_int_equal(
		pml_txn_content_step(t, REGION, &rec.extent, PML_CONTENT_EV_SCRUB_BEGIN, "alice"),
		0);
	assert_int_equal(apply(f, t), 0);
	assert_extents(f, "0+1 scrubbing alice evicted");
	assert_int_equal(
		content(f, 0, GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), PML_LEDGER_ILLEGAL);
	assert_int_equal(use(f, 0, GIB, PML_USE_EV_CLEARED), 0);
	assert_int_equal(content(f, 0, GIB, PML_CONTENT_EV_SCRUB_VERIFIED, NULL), 0);
	assert_extents(f, "0+1 blank free");
}

/* A reserved lease that an eviction undoes: the same transaction takes the region on its way
 * offline. */
static void test_evict_undoes(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB);
	PmlTxn *t = pml_txn_new("daemon");

	assert_int_equal(reserve(f, &rec), 0);
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_UNDO, NULL), 0);
	assert_int_equal(
		pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_LEASE_UNDONE, NULL), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_EVICT, NULL), 0);
	assert_int_equal(apply(f, t), 0);
	assert_extents(f, "0+1 foreign evicting");
}

/* Invariant 6: bytes that are evicted, quarantined or in eviction take no lease. */
static void test_lease_needs_lendable_bytes(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB);
	PmlTxn *t;

	assert_int_equal(use(f, 0, 4096, PML_USE_EV_EVICT), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(reserve(f, &rec), PML_LEDGER_ILLEGAL);
		t = pml_txn_new("uid 0");
		assert_int_equal(pml_txn_lease_new(t, &rec), 0);
		assert_int_equal(apply(f, t), PML_LEDGER_ILLEGAL);
		assert_int_equal(use(f, 0, 4096,
					 i == 0	  ? PML_USE_EV_FENCED
					 : i == 1 ? PML_USE_EV_QUARANTINE
						  : PML_USE_EV_LIFT),
			0);
	}
	assert_int_equal(reserve(f, &rec), 0);
	/* Quarantined after the reservation: no attach. */
	adopt(f, 0, GIB);
	assert_int_equal(use(f, 0, 4096, PML_USE_EV_QUARANTINE), 0);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_ATTACH), PML_LEDGER_ILLEGAL);
}

/* Invariant 3. */
static void test_no_fenced_without_proof(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_ACTIVE), lie;
	_cleanup_free_ char *json = NULL;
	PmlTxn *t;

	/* From before the fence, and somebody else's: neither counts. */
	assert_int_equal(proof(f, LEASE_A, "{\"early\":1}"), 0);
	assert_true(only_lease(f, false).proof > 0);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_FENCE), 0);
	assert_int_equal(proof(f, NULL, "{\"region\":1}"), 0);
	assert_int_equal(proof(f, LEASE_B, "{}"), PML_LEDGER_ILLEGAL);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_PROVED), PML_LEDGER_ILLEGAL);
	lie = rec;
	lie.proof = 77;
	assert_int_equal(step(f, &lie, PML_LEASE_EV_PROVED), PML_LEDGER_ILLEGAL);
	reopen(f);

	/* What a fence failed with does not prove it later. */
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_UNPROVED, NULL), 0);
	assert_int_equal(pml_txn_proof(t, LEASE_A, REGION, "{\"clean\":false}"), 0);
	assert_int_equal(apply(f, t), 0);
	rec.state = PML_LEASE_STUCK;
	assert_int_equal(step(f, &rec, PML_LEASE_EV_PROVED), PML_LEDGER_ILLEGAL);
	reopen(f);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_PROVED), PML_LEDGER_ILLEGAL);
	assert_int_equal(state_of(f), PML_LEASE_STUCK);

	assert_int_equal(proof(f, LEASE_A, "{\"clean\":true}"), 0);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_PROVED), 0);
	reopen(f);
	assert_int_equal(state_of(f), PML_LEASE_FENCED);
	assert_int_equal(pml_ledger_proof(f->l, LEASE_A, NULL, &json), 0);
	assert_string_equal(json, "{\"clean\":true}");
}

static void test_proof_with_the_step(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_ACTIVE);
	_cleanup_free_ char *json = NULL, *of_region = NULL;
	PmlTxn *t = pml_txn_new("daemon");

	/* All at once, as after an outage of the disk; the proof last. */
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_FENCE, NULL), 0);
	rec.state = PML_LEASE_FENCING;
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_PROVED, NULL), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_FENCED, NULL), 0);
	assert_int_equal(pml_txn_proof(t, LEASE_A, REGION, "{\"n\":1}"), 0);
	assert_int_equal(apply(f, t), 0);
	rec.state = PML_LEASE_FENCED;
	reopen(f);
	assert_extents(f, "0+1 retained alice evicted");

	/* A later update with an old record does not take the proof away. */
	rec.proof = 0;
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_lease_update(t, &rec), 0);
	assert_int_equal(apply(f, t), 0);
	assert_true(only_lease(f, false).proof > 0);

	assert_int_equal(use(f, 0, GIB, PML_USE_EV_CLEARED), PML_LEDGER_ILLEGAL);
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_lease_step(t, &rec, PML_LEASE_EV_CLEARED, NULL), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_CLEARED, NULL), 0);
	assert_int_equal(apply(f, t), 0);
	assert_extents(f, "0+1 retained alice free");

	assert_int_equal(pml_ledger_proof(f->l, LEASE_A, NULL, &json), 0);
	assert_string_equal(json, "{\"n\":1}");
	assert_int_equal(pml_ledger_proof(f->l, NULL, REGION, &of_region), 0);
	assert_string_equal(of_region, "{\"n\":1}");
	assert_int_equal(pml_ledger_proof(f->l, LEASE_B, NULL, &json), -ENOENT);
	assert_int_equal(pml_ledger_proof(f->l, NULL, "no region", &json), -ENOENT);
	assert_int_equal(pml_ledger_proof(f->l, NULL, NULL, &json), -EINVAL);
}

/* The disk's table is the state machine's: every state with every event. */
static void test_every_lease_event(void **state)
{
	Fixture *f = *state;
	uint64_t at = 0;

	adopt(f, 0, 1000 * GIB);
	for (int s = 0; s < _PML_LEASE_STATE_MAX; s++)
		for (int e = 0; e < _PML_LEASE_EV_MAX; e++, at += GIB) {
			PmlLeaseRecord rec = lease(LEASE_A, at, GIB);
			char sql[256];
			PmlLeaseState next;
			int want, r;
			PmlTxn *t;

			(void)snprintf(rec.id, sizeof(rec.id), "lease-%d-%d", s, e);
			assert_int_equal(reserve(f, &rec), 0);
			assert_int_equal(proof(f, rec.id, "{}"), 0);
			(void)snprintf(sql, sizeof(sql),
				"UPDATE lease SET state = '%s' WHERE id = '%s'",
				pml_lease_state_to_string((PmlLeaseState)s), rec.id);
			assert_int_equal(ledger_exec(f->l->db, sql), 0);
			rec.state = (PmlLeaseState)s;
			want = pml_lease_step(rec.state, (PmlLeaseEvent)e, &next);
			t = pml_txn_new("daemon");
			assert_int_equal(pml_txn_lease_step(t, &rec, (PmlLeaseEvent)e, NULL), 0);
			/* The bytes are leased; a released lease must not leave them so. */
			if (want == 0 && next == PML_LEASE_RELEASED)
				assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent,
							 PML_USE_EV_LEASE_UNDONE, NULL),
					0);
			r = apply(f, t);
			if (r != (want == 0 ? 0 : PML_LEDGER_ILLEGAL))
				fail_msg("state %d event %d: %d", s, e, r);
		}
}

static void test_rollback_in_the_middle(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB);
	PmlExtent free_bytes = extent(8 * GIB, GIB);
	size_t before;
	PmlTxn *t;

	adopt(f, 8 * GIB, GIB);
	before = count_history(f);
	t = pml_txn_new("daemon");
	assert_int_equal(pml_txn_note(t, "daemon", "start", "a note"), 0);
	assert_int_equal(pml_txn_lease_new(t, &rec), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_LEASE, NULL), 0);
	assert_int_equal(pml_txn_proof(t, LEASE_A, REGION, "{}"), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &free_bytes, PML_USE_EV_LIFT, "no"), 0);
	assert_int_equal(apply(f, t), PML_LEDGER_ILLEGAL);
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *json = NULL;
		PmlLeaseRecord *rows;
		size_t n;

		assert_int_equal(count_history(f), before);
		assert_extents(f, "8+1 retained alice free");
		assert_int_equal(pml_ledger_leases(f->l, true, &rows, &n), 0);
		assert_int_equal(n, 0);
		free(rows);
		assert_int_equal(pml_ledger_proof(f->l, NULL, REGION, &json), -ENOENT);
		reopen(f);
	}
	assert_int_equal(reserve(f, &rec), 0);
}

static void test_history(void **state)
{
	Fixture *f = *state;
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_ATTACHING);
	PmlHistoryRecord *rows, *page;
	size_t n, n_page, at = 0;
	int64_t before = 0;
	PmlTxn *t = pml_txn_new("libvirt");

	assert_int_equal(pml_txn_note(t, "daemon", "virt", "came back"), 0);
	assert_int_equal(pml_txn_note(t, "daemon", "virt", NULL), 0);
	assert_int_equal(apply(f, t), 0);
	reopen(f);

	assert_int_equal(pml_ledger_history(f->l, NULL, 0, 100, &rows, &n), 0);
	assert_int_equal(n, 6);
	assert_null(rows[0].detail);
	assert_string_equal(rows[1].detail, "came back");
	assert_string_equal(rows[1].actor, "libvirt");
	assert_string_equal(rows[2].subject, "lease");
	assert_string_equal(rows[2].id, rec.id);
	assert_string_equal(rows[2].from, "reserved");
	assert_string_equal(rows[2].to, "attaching");
	assert_string_equal(rows[2].detail, "a detail");
	assert_string_equal(rows[3].subject, "region");
	assert_string_equal(rows[3].from, "free");
	assert_string_equal(rows[3].to, "leased");
	assert_string_equal(rows[4].to, "reserved");
	assert_string_equal(rows[5].subject, "content");
	assert_string_equal(rows[5].from, "foreign");
	assert_string_equal(rows[5].to, "retained");
	for (size_t i = 1; i < n; i++)
		assert_true(rows[i].seq < rows[i - 1].seq &&
			    rows[i].time_usec <= rows[i - 1].time_usec);

	/* Page by page gives the same rows. */
	for (;;) {
		assert_int_equal(pml_ledger_history(f->l, NULL, before, 4, &page, &n_page), 0);
		if (n_page == 0)
			break;
		for (size_t i = 0; i < n_page; i++)
			assert_int_equal(page[i].seq, rows[at++].seq);
		before = page[n_page - 1].seq;
		pml_history_free(page, n_page);
	}
	pml_history_free(page, n_page);
	assert_int_equal(at, n);
	pml_history_free(rows, n);

	assert_int_equal(pml_ledger_history(f->l, LEASE_A, 0, 100, &rows, &n), 0);
	assert_int_equal(n, 2);
	pml_history_free(rows, n);
	/* A region's history is that of its leases, too; all but the two notes are of this one. */
	assert_int_equal(pml_ledger_history(f->l, REGION, 0, 100, &rows, &n), 0);
	assert_int_equal(n, 4);
	pml_history_free(rows, n);
	assert_int_equal(pml_ledger_history(f->l, "nothing", 0, 100, &rows, &n), 0);
	assert_int_equal(n, 0);
	pml_history_free(rows, n);
}

/* Whoever has the file open cannot take back what was written. */
static void test_append_only(void **state)
{
	Fixture *f = *state;
	static const char *const attacks[] = {
		"DELETE FROM history",
		"UPDATE history SET actor = 'nobody'",
		"DELETE FROM proof",
		"UPDATE proof SET json = '{}'",
		"DELETE FROM lease",
		"UPDATE lease SET state = 'reserved'",
		"UPDATE lease SET state = 'nonsense'",
		"UPDATE lease SET size = 0",
	};
	PmlLeaseRecord rec = lease_in(f, PML_LEASE_FENCING);

	assert_int_equal(use(f, 0, GIB, PML_USE_EV_FENCED), 0);
	assert_int_equal(proof(f, LEASE_A, "{\"x\":1}"), 0);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_PROVED), 0);
	assert_int_equal(step(f, &rec, PML_LEASE_EV_CLEARED), 0);
	for (size_t i = 0; i < ELEMENTSOF(attacks); i++)
		if (ledger_exec(f->l->db, attacks[i]) != PML_LEDGER_ILLEGAL)
			fail_msg("worked: %s", attacks[i]);
}

#define WITH_LEDGER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_LEDGER(test_lease_fields),
		WITH_LEDGER(test_plugged),
		WITH_LEDGER(test_update_is_no_transition),
		WITH_LEDGER(test_transaction_is_a_copy),
		WITH_LEDGER(test_no_two_leases),
		WITH_LEDGER(test_released_frees_the_bytes),
		WITH_LEDGER(test_attach_needs_own_bytes),
		WITH_LEDGER(test_no_scrub_under_a_lease),
		WITH_LEDGER(test_end_with_scrub),
		WITH_LEDGER(test_evict_undoes),
		WITH_LEDGER(test_lease_needs_lendable_bytes),
		WITH_LEDGER(test_no_fenced_without_proof),
		WITH_LEDGER(test_proof_with_the_step),
		WITH_LEDGER(test_every_lease_event),
		WITH_LEDGER(test_rollback_in_the_middle),
		WITH_LEDGER(test_history),
		WITH_LEDGER(test_append_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

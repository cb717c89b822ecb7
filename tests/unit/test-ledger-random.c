/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Random transactions against a model that knows nothing of rows: one cell for each of 48 units of
 * memory, and a list of leases. After each, the ledger must say what the model says, have no two
 * rows that could be one, and keep the invariants. The seed is fixed, and can be given as an
 * argument.
 */

#include "ledger-fixture.h"

#define UNITS	     48
#define UNIT	     (GIB)
#define TRANSACTIONS 2000
#define MAX_LEASES   4096

typedef struct Cell {
	PmlContent content;
	int owner; /* index, 0 = nobody */
	PmlUse use;
	bool reason;
} Cell;

typedef struct ModelLease {
	int first, n;
	int owner;
	PmlLeaseState state;
	bool proof;
} ModelLease;

typedef struct Model {
	Cell cells[UNITS];
	ModelLease leases[MAX_LEASES];
	int n_leases;
	size_t history;
} Model;

static const char *const owners[] = {"", "alice", "bob", "eve"};
static uint32_t seed = 20240607;
static bool any_walk; /* the caller's seed: it may miss a state */

static int rnd(int n)
{
	seed = seed * 1664525 + 1013904223;
	return (int)((seed >> 8) % (uint32_t)n);
}

/* Mostly whole regions of four units, so that steps meet what earlier ones left; else any bytes. */
static void random_bytes(int *ret_first, int *ret_n)
{
	if (rnd(4)) {
		*ret_first = 4 * rnd(UNITS / 4);
		*ret_n = 4;
	} else {
		*ret_first = rnd(UNITS);
		*ret_n = 1 + rnd(UNITS - *ret_first < 9 ? UNITS - *ret_first : 9);
	}
}

static bool unreleased_over(const Model *m, int first, int n)
{
	for (int i = 0; i < m->n_leases; i++)
		if (m->leases[i].state != PML_LEASE_RELEASED && m->leases[i].first < first + n &&
			first < m->leases[i].first + m->leases[i].n)
			return true;
	return false;
}

static void names_of(const Model *m, int first, int n, char *ret)
{
	bool seen[ELEMENTSOF(owners)] = {};

	*ret = '\0';
	for (int i = first; i < first + n; i++)
		seen[m->cells[i].owner] = true;
	/* Another order than that of the bytes. */
	for (int o = ELEMENTSOF(owners) - 1; o > 0; o--)
		if (seen[o])
			strcat(strcat(ret, *ret ? "," : ""), owners[o]);
}

static bool model_use(Model *m, int first, int n, PmlUseEvent ev)
{
	for (int i = first; i < first + n; i++) {
		Cell *c = &m->cells[i];

		if (pml_use_step(c->use, ev, &c->use) < 0)
			return false;
		if (c->use == PML_USE_FREE || c->use == PML_USE_LEASED)
			c->reason = false;
		else if (ev == PML_USE_EV_QUARANTINE)
			c->reason = true;
	}
	return true;
}

static bool model_content(Model *m, int first, int n, PmlContentEvent ev, int owner)
{
	bool any = false;

	for (int i = first; i < first + n; i++) {
		Cell *c = &m->cells[i];

		any |= c->content != PML_CONTENT_BLANK;
		if (ev == PML_CONTENT_EV_ADOPT &&
			(c->content == PML_CONTENT_BLANK ||
				(c->content == PML_CONTENT_RETAINED && c->owner == owner)))
			continue;
		if (ev == PML_CONTENT_EV_LENT && c->content == PML_CONTENT_RETAINED &&
			c->owner != owner)
			return false;
		if (pml_content_step(c->content, ev, &c->content) < 0)
			return false;
		if (ev == PML_CONTENT_EV_LENT || ev == PML_CONTENT_EV_ADOPT)
			c->owner = owner;
		else if (ev == PML_CONTENT_EV_SCRUB_VERIFIED || ev == PML_CONTENT_EV_REPLACED)
			c->owner = 0;
	}
	return ev != PML_CONTENT_EV_ADOPT || any;
}

static bool all_in_use(const Model *m, int first, int n, PmlUse u)
{
	for (int i = first; i < first + n; i++)
		if (m->cells[i].use != u)
			return false;
	return true;
}

static PmlLeaseRecord record_of(const Model *m, int index)
{
	const ModelLease *ml = &m->leases[index];
	PmlLeaseRecord rec = lease("x", (uint64_t)ml->first * UNIT, (uint64_t)ml->n * UNIT);

	(void)snprintf(rec.id, sizeof(rec.id), "lease-%d", index);
	strcpy(rec.owner, owners[ml->owner]);
	rec.state = ml->state;
	return rec;
}

/* One random change, put into the transaction and into the model; false: it is to be refused. */
static bool random_extent_change(PmlTxn *t, Model *m)
{
	int first, n, owner = 1 + (rnd(4) ? 0 : rnd(3));
	PmlExtent e;
	char names[64];

	random_bytes(&first, &n);
	e = extent((uint64_t)first * UNIT, (uint64_t)n * UNIT);

	m->history++;
	if (rnd(2)) {
		PmlUseEvent ev = (PmlUseEvent)rnd(_PML_USE_EV_MAX), again;

		/* One that the first byte allows, more often than not. */
		for (int i = 0;
			i < 8 && pml_use_step(m->cells[first].use, ev, &(PmlUse){PML_USE_FREE}) < 0;
			i++)
			ev = (PmlUseEvent)rnd(_PML_USE_EV_MAX);
		again = (PmlUseEvent)rnd(_PML_USE_EV_MAX);
		if (ev == PML_USE_EV_QUARANTINE)
			ev = again;
		assert_int_equal(
			pml_txn_use_step(t, REGION, &e, ev,
				ev == PML_USE_EV_QUARANTINE || ev == PML_USE_EV_LIFT ? "why"
										     : NULL),
			0);
		if (!model_use(m, first, n, ev))
			return false;
		return (ev != PML_USE_EV_CLEARED && ev != PML_USE_EV_LEASE_UNDONE) ||
		       !unreleased_over(m, first, n);
	} else {
		PmlContentEvent ev = (PmlContentEvent)rnd(_PML_CONTENT_EV_MAX);
		const char *given = owners[owner];
		bool right = true;

		/* Rarely, or nothing is ever known of any byte. */
		if (ev == PML_CONTENT_EV_REPLACED && rnd(8))
			ev = (PmlContentEvent)rnd(PML_CONTENT_EV_REPLACED);

		if (ev == PML_CONTENT_EV_SCRUB_BEGIN) {
			names_of(m, first, n, names);
			/* Mostly right, or the scrub is never reached. */
			if (rnd(4))
				given = names;
			right = strcmp(given, names) == 0;
		}
		assert_int_equal(pml_txn_content_step(t, REGION, &e, ev, given), 0);
		if (!right || !model_content(m, first, n, ev, owner))
			return false;
		return ev == PML_CONTENT_EV_LENT || ev == PML_CONTENT_EV_ADOPT ||
		       (!unreleased_over(m, first, n) &&
			       (ev == PML_CONTENT_EV_SCRUB_BEGIN || ev == PML_CONTENT_EV_REPLACED ||
				       all_in_use(m, first, n, PML_USE_FREE)));
	}
}

static bool random_lease_new(PmlTxn *t, Model *m)
{
	ModelLease *ml = &m->leases[m->n_leases];
	PmlLeaseRecord rec;
	bool ok;

	assert_true(m->n_leases < MAX_LEASES);
	*ml = (ModelLease){.owner = 1 + (rnd(4) ? 0 : rnd(3))};
	random_bytes(&ml->first, &ml->n);
	ml->state = PML_LEASE_RESERVED;
	ok = !unreleased_over(m, ml->first, ml->n);
	rec = record_of(m, m->n_leases++);
	assert_int_equal(pml_txn_lease_new(t, &rec), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent, PML_USE_EV_LEASE, NULL), 0);
	m->history += 2;
	return model_use(m, ml->first, ml->n, PML_USE_EV_LEASE) && ok;
}

/* A step of a living lease, with what belongs to it more often than not. */
static bool random_lease_step(PmlTxn *t, Model *m)
{
	PmlLeaseEvent ev = (PmlLeaseEvent)rnd(_PML_LEASE_EV_MAX);
	int index = rnd(m->n_leases);
	bool with_proof, ok = true;
	PmlLeaseState next;
	PmlLeaseRecord rec;
	ModelLease *ml;

	for (int i = 0; i < 32 && m->leases[index].state == PML_LEASE_RELEASED; i++)
		index = rnd(m->n_leases);
	ml = &m->leases[index];
	rec = record_of(m, index);
	for (int i = 0; i < 8 && pml_lease_step(ml->state, ev, &next) < 0; i++)
		ev = (PmlLeaseEvent)rnd(_PML_LEASE_EV_MAX);
	with_proof = ev == PML_LEASE_EV_PROVED && rnd(3);
	if (ev == PML_LEASE_EV_ATTACH && rnd(4)) {
		assert_int_equal(pml_txn_content_step(
					 t, REGION, &rec.extent, PML_CONTENT_EV_LENT, rec.owner),
			0);
		m->history++;
		ok &= model_content(m, ml->first, ml->n, PML_CONTENT_EV_LENT, ml->owner);
	}
	if (with_proof)
		assert_int_equal(pml_txn_proof(t, rec.id, REGION, "{}"), 0);
	if ((ev == PML_LEASE_EV_UNDO || ev == PML_LEASE_EV_CLEARED) && rnd(4)) {
		PmlUseEvent u =
			ev == PML_LEASE_EV_UNDO ? PML_USE_EV_LEASE_UNDONE : PML_USE_EV_CLEARED;

		assert_int_equal(pml_txn_use_step(t, REGION, &rec.extent, u, NULL), 0);
		m->history++;
		ok &= model_use(m, ml->first, ml->n, u);
	}
	assert_int_equal(pml_txn_lease_step(t, &rec, ev, NULL), 0);
	m->history++;
	if (pml_lease_step(ml->state, ev, &next) < 0)
		return false;
	/* The only proofs here come with their step. */
	ok &= ev != PML_LEASE_EV_PROVED || with_proof;
	ml->state = next;
	ml->proof |= with_proof;
	for (int i = ml->first; i < ml->first + ml->n; i++) {
		const Cell *c = &m->cells[i];

		if (ev == PML_LEASE_EV_ATTACH)
			ok &= c->use == PML_USE_LEASED && c->content == PML_CONTENT_RETAINED &&
			      c->owner == ml->owner;
		if (next == PML_LEASE_RELEASED)
			ok &= c->use != PML_USE_LEASED;
	}
	return ok;
}

static void compare_extents(Fixture *f, const Model *m)
{
	PmlExtentRecord *rows;
	size_t n, row = 0;

	assert_int_equal(pml_ledger_extents(f->l, &rows, &n), 0);
	for (int i = 0; i < UNITS; i++) {
		PmlExtent e = extent((uint64_t)i * UNIT, UNIT);
		PmlExtentRecord got;

		pml_extent_records_fold(rows, n, &e, &got);
		assert_int_equal(got.content, m->cells[i].content);
		assert_int_equal(got.use, m->cells[i].use);
		assert_string_equal(got.owner, owners[m->cells[i].owner]);
		assert_string_equal(got.reason, m->cells[i].reason ? "why" : "");
	}
	for (row = 0; row < n; row++) {
		const PmlExtentRecord *a = &rows[row], *b = &rows[row + 1];

		assert_false(a->content == PML_CONTENT_FOREIGN && a->use == PML_USE_FREE);
		if (row + 1 == n)
			break;
		assert_true(pml_extent_end(&a->extent) <= b->extent.start_bytes);
		assert_false(pml_extent_end(&a->extent) == b->extent.start_bytes &&
			     a->content == b->content && a->use == b->use &&
			     strcmp(a->owner, b->owner) == 0 && strcmp(a->reason, b->reason) == 0);
	}
	free(rows);
}

static void compare_leases(Fixture *f, const Model *m)
{
	int over[UNITS] = {};
	PmlLeaseRecord *rows;
	size_t n;

	assert_int_equal(pml_ledger_leases(f->l, true, &rows, &n), 0);
	assert_int_equal(n, m->n_leases);
	for (size_t i = 0; i < n; i++) {
		const ModelLease *ml = &m->leases[i];
		PmlLeaseRecord want = record_of(m, (int)i);

		assert_string_equal(rows[i].id, want.id);
		assert_true(pml_extent_equal(&rows[i].extent, &want.extent));
		assert_int_equal(rows[i].state, ml->state);
		assert_int_equal(rows[i].proof != 0, ml->proof);
		/* Invariants 1 and 3, from what is on the disk alone. */
		if (rows[i].state != PML_LEASE_RELEASED)
			for (int u = ml->first; u < ml->first + ml->n; u++)
				assert_int_equal(++over[u], 1);
		if (rows[i].state == PML_LEASE_FENCED)
			assert_true(rows[i].proof > 0);
	}
	free(rows);
}

static void test_random(void **state)
{
	Fixture *f = *state;
	Model *m = calloc(1, sizeof(*m)), *next = calloc(1, sizeof(*next));
	int applied = 0, states[_PML_LEASE_STATE_MAX] = {}, contents[_PML_CONTENT_MAX] = {};

	for (int i = 0; i < TRANSACTIONS; i++) {
		PmlTxn *t = pml_txn_new("random");
		int what = rnd(12), r;
		bool ok;

		*next = *m;

		if (what < 2)
			ok = random_lease_new(t, next);
		else if (what < 8 && next->n_leases > 0)
			ok = random_lease_step(t, next);
		else
			ok = random_extent_change(t, next);
		r = apply(f, t);
		if (ok != (r == 0) || r < 0)
			fail_msg("transaction %d: the ledger says %d, the model %d", i, r, ok);
		if (ok) {
			applied++;
			*m = *next;
		}
		if (i % 200 == 199)
			reopen(f);
		compare_extents(f, m);
		if (ok || i % 50 == 0)
			compare_leases(f, m);
		for (int l = 0; l < m->n_leases; l++)
			states[m->leases[l].state]++;
		for (int c = 0; c < UNITS; c++)
			contents[m->cells[c].content]++;
	}
	assert_int_equal(count_history(f), m->history);
	/* The walk must have been somewhere, or it showed nothing. */
	assert_true(applied > TRANSACTIONS / 20);
	for (int s = 0; s < _PML_LEASE_STATE_MAX; s++)
		if (states[s] == 0 && !any_walk)
			fail_msg("no lease was ever %s",
				pml_lease_state_to_string((PmlLeaseState)s));
	for (int c = 0; c < _PML_CONTENT_MAX; c++)
		if (contents[c] == 0 && !any_walk)
			fail_msg("no byte was ever %s", pml_content_to_string((PmlContent)c));
	free(m);
	free(next);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random, fixture_setup, fixture_teardown),
	};

	if (argc > 1) {
		seed = (uint32_t)strtoul(argv[1], NULL, 0);
		any_walk = true;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Every state with every event, against matrices written down from the design and not from the
 * tables: one row per state, one word per event in the order of the enum, "." where it is refused.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state.h"
#include "util.h"

#define UNTOUCHED 77

typedef int (*step_fn)(int from, int ev, int *ret);
typedef const char *(*name_fn)(int v);

#define ADAPT(prefix, state_prefix, event_prefix, state_type, event_type)                          \
	static int prefix##_adapted(int from, int ev, int *ret)                                    \
	{                                                                                          \
		state_type next = (state_type)UNTOUCHED;                                           \
		int r = prefix##_step((state_type)from, (event_type)ev, &next);                    \
                                                                                                   \
		*ret = (int)next;                                                                  \
		return r;                                                                          \
	}                                                                                          \
	static const char *prefix##_state_name(int v)                                              \
	{                                                                                          \
		return state_prefix##_to_string((state_type)v);                                    \
	}                                                                                          \
	static const char *prefix##_event_name(int v)                                              \
	{                                                                                          \
		return event_prefix##_to_string((event_type)v);                                    \
	}

ADAPT(pml_presence, pml_presence, pml_presence_event, PmlPresence, PmlPresenceEvent)
ADAPT(pml_use, pml_use, pml_use_event, PmlUse, PmlUseEvent)
ADAPT(pml_content, pml_content, pml_content_event, PmlContent, PmlContentEvent)
ADAPT(pml_lease, pml_lease_state, pml_lease_event, PmlLeaseState, PmlLeaseEvent)

static void check_matrix(step_fn step, name_fn state_name, name_fn event_name,
	const char *const *states, int n_states, const char *const *events, int n_events,
	const char *const *matrix)
{
	for (int s = 0; s < n_states; s++)
		assert_string_equal(state_name(s), states[s]);
	for (int e = 0; e < n_events; e++)
		assert_string_equal(event_name(e), events[e]);
	assert_null(state_name(n_states));
	assert_null(state_name(-1));
	assert_null(event_name(n_events));
	assert_null(event_name(-1));

	for (int s = 0; s < n_states; s++)
		for (int e = 0; e < n_events; e++) {
			const char *want = matrix[s * n_events + e];
			int next = 0;
			int r = step(s, e, &next);

			if (strcmp(want, ".") == 0) {
				if (r != -EPERM || next != UNTOUCHED)
					fail_msg("%s --%s--> allowed", states[s], events[e]);
			} else if (r != 0 || strcmp(state_name(next), want) != 0) {
				fail_msg("%s --%s--> not %s", states[s], events[e], want);
			}
		}

	for (int bad = 0; bad < 2; bad++) {
		int next = 0;

		assert_int_equal(step(bad ? -1 : n_states, 0, &next), -EINVAL);
		assert_int_equal(next, UNTOUCHED);
		assert_int_equal(step(0, bad ? -1 : n_events, &next), -EINVAL);
		assert_int_equal(next, UNTOUCHED);
	}
	assert_int_equal(step(-EINVAL, 0, &(int){0}), -EINVAL);
}

#define CHECK(prefix, states, events, matrix)                                                      \
	check_matrix(prefix##_adapted, prefix##_state_name, prefix##_event_name, states,           \
		ELEMENTSOF(states), events, ELEMENTSOF(events), &(matrix)[0][0])

static void test_presence(void **state)
{
	static const char *const states[] = {"online", "offline", "missing"};
	static const char *const events[] = {"bound", "unbound", "vanished"};
	static const char *const matrix[3][3] = {
		{"online", "offline", "missing"},
		{"online", "offline", "missing"},
		{"online", "offline", "missing"},
	};

	assert_int_equal(ELEMENTSOF(states), _PML_PRESENCE_MAX);
	assert_int_equal(ELEMENTSOF(events), _PML_PRESENCE_EV_MAX);
	CHECK(pml_presence, states, events, matrix);
}

/* clang-format off */
static void test_use(void **state)
{
	static const char *const states[] = {
		"free", "leased", "evicting", "evicted", "quarantined",
	};
	static const char *const events[] = {
		"lease", "lease-undone", "evict", "evict-cancelled", "fenced", "cleared",
		"quarantine", "lift",
	};
	static const char *const matrix[5][8] = {
		/* free */
		{"leased", ".", "evicting", ".", ".", ".", "quarantined", "."},
		/* leased */
		{".", "free", "evicting", ".", "evicted", ".", "quarantined", "."},
		/* evicting */
		{".", ".", ".", "leased", "evicted", ".", "quarantined", "."},
		/* evicted */
		{".", ".", ".", ".", ".", "free", "quarantined", "."},
		/* quarantined */
		{".", ".", ".", ".", ".", ".", "quarantined", "free"},
	};

	assert_int_equal(ELEMENTSOF(states), _PML_USE_MAX);
	assert_int_equal(ELEMENTSOF(events), _PML_USE_EV_MAX);
	CHECK(pml_use, states, events, matrix);
}

static void test_content(void **state)
{
	static const char *const states[] = {"foreign", "blank", "retained", "scrubbing"};
	static const char *const events[] = {"lent", "adopt", "scrub-begin", "scrub-verified",
		"replaced"};
	static const char *const matrix[4][5] = {
		/* foreign */
		{".", "retained", "scrubbing", ".", "foreign"},
		/* blank */
		{"retained", ".", "scrubbing", ".", "foreign"},
		/* retained */
		{"retained", ".", "scrubbing", ".", "foreign"},
		/* scrubbing */
		{".", ".", "scrubbing", "blank", "foreign"},
	};

	assert_int_equal(ELEMENTSOF(states), _PML_CONTENT_MAX);
	assert_int_equal(ELEMENTSOF(events), _PML_CONTENT_EV_MAX);
	CHECK(pml_content, states, events, matrix);
}

static void test_lease(void **state)
{
	static const char *const states[] = {
		"reserved", "attaching", "active", "draining", "fencing", "fenced", "stuck",
		"released",
	};
	static const char *const events[] = {
		"attach", "attached", "undo", "drain", "drain-cancelled", "fence", "proved",
		"unproved", "cleared", "operator-release",
	};
	static const char *const matrix[8][10] = {
		/* reserved */
		{"attaching", ".", "released", ".", ".", ".", ".", ".", ".", "."},
		/* attaching */
		{".", "active", ".", "draining", ".", "fencing", ".", ".", ".", "."},
		/* active */
		{".", ".", ".", "draining", ".", "fencing", ".", ".", ".", "."},
		/* draining */
		{".", ".", ".", ".", "active", "fencing", ".", ".", ".", "."},
		/* fencing */
		{".", ".", ".", ".", ".", ".", "fenced", "stuck", ".", "."},
		/* fenced */
		{".", ".", ".", ".", ".", ".", ".", ".", "released", "."},
		/* stuck */
		{".", ".", ".", ".", ".", ".", "fenced", ".", ".", "released"},
		/* released */
		{".", ".", ".", ".", ".", ".", ".", ".", ".", "."},
	};

	assert_int_equal(ELEMENTSOF(states), _PML_LEASE_STATE_MAX);
	assert_int_equal(ELEMENTSOF(events), _PML_LEASE_EV_MAX);
	CHECK(pml_lease, states, events, matrix);
}
/* clang-format on */

static void test_fenced_only_by_proof(void **state)
{
	for (int s = 0; s < _PML_LEASE_STATE_MAX; s++)
		for (int e = 0; e < _PML_LEASE_EV_MAX; e++) {
			PmlLeaseState next;

			if (pml_lease_step((PmlLeaseState)s, (PmlLeaseEvent)e, &next) < 0)
				continue;
			if (next == PML_LEASE_FENCED)
				assert_int_equal(e, PML_LEASE_EV_PROVED);
			assert_int_not_equal(s, PML_LEASE_RELEASED);
			/* Once libvirt was asked, nothing but a proof or an operator ends a lease.
			 */
			if (next == PML_LEASE_RELEASED && s != PML_LEASE_RESERVED)
				assert_true(s == PML_LEASE_FENCED ||
					    e == PML_LEASE_EV_OPERATOR_RELEASE);
		}
}

/* Another owner's bytes: no path from foreign, retained or scrubbing to blank but a verified scrub.
 */
static void test_blank_only_by_scrub(void **state)
{
	for (int s = 0; s < _PML_CONTENT_MAX; s++)
		for (int e = 0; e < _PML_CONTENT_EV_MAX; e++) {
			PmlContent next;

			if (pml_content_step((PmlContent)s, (PmlContentEvent)e, &next) < 0)
				continue;
			if (next == PML_CONTENT_BLANK) {
				assert_int_equal(s, PML_CONTENT_SCRUBBING);
				assert_int_equal(e, PML_CONTENT_EV_SCRUB_VERIFIED);
			}
			/* … or the bytes are others: nobody's until somebody says so. */
			if (e == PML_CONTENT_EV_REPLACED)
				assert_int_equal(next, PML_CONTENT_FOREIGN);
			else if (s == PML_CONTENT_SCRUBBING)
				assert_true(
					next == PML_CONTENT_SCRUBBING || next == PML_CONTENT_BLANK);
		}
}

static void test_strings(void **state)
{
	static const char *const junk[] = {"", " ", "Free", "free ", "leasedd", "-22", NULL};

	for (int v = 0; v < _PML_PRESENCE_MAX; v++)
		assert_int_equal(
			pml_presence_from_string(pml_presence_to_string((PmlPresence)v)), v);
	for (int v = 0; v < _PML_USE_MAX; v++)
		assert_int_equal(pml_use_from_string(pml_use_to_string((PmlUse)v)), v);
	for (int v = 0; v < _PML_CONTENT_MAX; v++)
		assert_int_equal(pml_content_from_string(pml_content_to_string((PmlContent)v)), v);
	for (int v = 0; v < _PML_LEASE_STATE_MAX; v++)
		assert_int_equal(
			pml_lease_state_from_string(pml_lease_state_to_string((PmlLeaseState)v)),
			v);
	for (size_t i = 0; i < ELEMENTSOF(junk); i++) {
		assert_int_equal(pml_presence_from_string(junk[i]), _PML_PRESENCE_INVALID);
		assert_int_equal(pml_use_from_string(junk[i]), _PML_USE_INVALID);
		assert_int_equal(pml_content_from_string(junk[i]), _PML_CONTENT_INVALID);
		assert_int_equal(pml_lease_state_from_string(junk[i]), _PML_LEASE_STATE_INVALID);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_presence),
		cmocka_unit_test(test_use),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_lease),
		cmocka_unit_test(test_fenced_only_by_proof),
		cmocka_unit_test(test_blank_only_by_scrub),
		cmocka_unit_test(test_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

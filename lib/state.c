/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "state.h"
#include "util.h"

/* A cell of a table holds the next state plus one, so that what is not listed (0) is refused. */
#define TO(state) ((uint8_t)((state) + 1))

static const uint8_t presence_transitions[_PML_PRESENCE_MAX][_PML_PRESENCE_EV_MAX] = {
	/* The kernel's events come late, twice or merged: each states a fact. */
	[PML_PRESENCE_ONLINE] =
		{
			[PML_PRESENCE_EV_BOUND] = TO(PML_PRESENCE_ONLINE),
			[PML_PRESENCE_EV_UNBOUND] = TO(PML_PRESENCE_OFFLINE),
			[PML_PRESENCE_EV_VANISHED] = TO(PML_PRESENCE_MISSING),
		},
	[PML_PRESENCE_OFFLINE] =
		{
			[PML_PRESENCE_EV_BOUND] = TO(PML_PRESENCE_ONLINE),
			[PML_PRESENCE_EV_UNBOUND] = TO(PML_PRESENCE_OFFLINE),
			[PML_PRESENCE_EV_VANISHED] = TO(PML_PRESENCE_MISSING),
		},
	[PML_PRESENCE_MISSING] =
		{
			[PML_PRESENCE_EV_BOUND] = TO(PML_PRESENCE_ONLINE),
			[PML_PRESENCE_EV_UNBOUND] = TO(PML_PRESENCE_OFFLINE),
			[PML_PRESENCE_EV_VANISHED] = TO(PML_PRESENCE_MISSING),
		},
};

static const uint8_t use_transitions[_PML_USE_MAX][_PML_USE_EV_MAX] = {
	[PML_USE_FREE] =
		{
			[PML_USE_EV_LEASE] = TO(PML_USE_LEASED),
			/* A region that nobody leases may have holders too. */
			[PML_USE_EV_EVICT] = TO(PML_USE_EVICTING),
			[PML_USE_EV_QUARANTINE] = TO(PML_USE_QUARANTINED),
		},
	[PML_USE_LEASED] =
		{
			[PML_USE_EV_LEASE_UNDONE] = TO(PML_USE_FREE),
			[PML_USE_EV_EVICT] = TO(PML_USE_EVICTING),
			/* Somebody else unbound the device: a fence behind our back. */
			[PML_USE_EV_FENCED] = TO(PML_USE_EVICTED),
			[PML_USE_EV_QUARANTINE] = TO(PML_USE_QUARANTINED),
		},
	[PML_USE_EVICTING] =
		{
			[PML_USE_EV_EVICT_CANCELLED] = TO(PML_USE_LEASED),
			[PML_USE_EV_FENCED] = TO(PML_USE_EVICTED),
			[PML_USE_EV_QUARANTINE] = TO(PML_USE_QUARANTINED),
		},
	[PML_USE_EVICTED] =
		{
			[PML_USE_EV_CLEARED] = TO(PML_USE_FREE),
			[PML_USE_EV_QUARANTINE] = TO(PML_USE_QUARANTINED),
		},
	[PML_USE_QUARANTINED] =
		{
			/* A second reason replaces the first, which stays in the history. */
			[PML_USE_EV_QUARANTINE] = TO(PML_USE_QUARANTINED),
			[PML_USE_EV_LIFT] = TO(PML_USE_FREE),
		},
};

static const uint8_t content_transitions[_PML_CONTENT_MAX][_PML_CONTENT_EV_MAX] = {
	[PML_CONTENT_FOREIGN] =
		{
			[PML_CONTENT_EV_ADOPT] = TO(PML_CONTENT_RETAINED),
			[PML_CONTENT_EV_SCRUB_BEGIN] = TO(PML_CONTENT_SCRUBBING),
			[PML_CONTENT_EV_REPLACED] = TO(PML_CONTENT_FOREIGN),
		},
	[PML_CONTENT_BLANK] =
		{
			[PML_CONTENT_EV_LENT] = TO(PML_CONTENT_RETAINED),
			[PML_CONTENT_EV_SCRUB_BEGIN] = TO(PML_CONTENT_SCRUBBING),
			[PML_CONTENT_EV_REPLACED] = TO(PML_CONTENT_FOREIGN),
		},
	[PML_CONTENT_RETAINED] =
		{
			/* To the same owner only; the ledger, which knows the owners, compares
			   them. */
			[PML_CONTENT_EV_LENT] = TO(PML_CONTENT_RETAINED),
			[PML_CONTENT_EV_SCRUB_BEGIN] = TO(PML_CONTENT_SCRUBBING),
			[PML_CONTENT_EV_REPLACED] = TO(PML_CONTENT_FOREIGN),
		},
	[PML_CONTENT_SCRUBBING] =
		{
			[PML_CONTENT_EV_SCRUB_BEGIN] = TO(PML_CONTENT_SCRUBBING),
			[PML_CONTENT_EV_SCRUB_VERIFIED] = TO(PML_CONTENT_BLANK),
			[PML_CONTENT_EV_REPLACED] = TO(PML_CONTENT_FOREIGN),
		},
};

static const uint8_t lease_transitions[_PML_LEASE_STATE_MAX][_PML_LEASE_EV_MAX] = {
	[PML_LEASE_RESERVED] =
		{
			[PML_LEASE_EV_ATTACH] = TO(PML_LEASE_ATTACHING),
			[PML_LEASE_EV_UNDO] = TO(PML_LEASE_RELEASED),
		},
	[PML_LEASE_ATTACHING] =
		{
			[PML_LEASE_EV_ATTACHED] = TO(PML_LEASE_ACTIVE),
			[PML_LEASE_EV_DRAIN] = TO(PML_LEASE_DRAINING),
			/* Not UNDO: libvirt was asked, so only a proof can say that nothing is
			   mapped. */
			[PML_LEASE_EV_FENCE] = TO(PML_LEASE_FENCING),
		},
	[PML_LEASE_ACTIVE] =
		{
			[PML_LEASE_EV_DRAIN] = TO(PML_LEASE_DRAINING),
			[PML_LEASE_EV_FENCE] = TO(PML_LEASE_FENCING),
		},
	[PML_LEASE_DRAINING] =
		{
			[PML_LEASE_EV_DRAIN_CANCELLED] = TO(PML_LEASE_ACTIVE),
			[PML_LEASE_EV_FENCE] = TO(PML_LEASE_FENCING),
		},
	[PML_LEASE_FENCING] =
		{
			[PML_LEASE_EV_PROVED] = TO(PML_LEASE_FENCED),
			[PML_LEASE_EV_UNPROVED] = TO(PML_LEASE_STUCK),
		},
	[PML_LEASE_FENCED] =
		{
			[PML_LEASE_EV_CLEARED] = TO(PML_LEASE_RELEASED),
		},
	[PML_LEASE_STUCK] =
		{
			[PML_LEASE_EV_PROVED] = TO(PML_LEASE_FENCED),
			[PML_LEASE_EV_OPERATOR_RELEASE] = TO(PML_LEASE_RELEASED),
		},
	/* PML_LEASE_RELEASED is final. */
};

static int step(
	const uint8_t *transitions, int n_states, int n_events, int from, int ev, int *ret_next)
{
	uint8_t cell;

	if (from < 0 || from >= n_states || ev < 0 || ev >= n_events)
		return -EINVAL;
	cell = transitions[from * n_events + ev];
	if (cell == 0)
		return -EPERM;
	*ret_next = cell - 1;
	return 0;
}

#define DEFINE_STEP(prefix, state_type, event_type, transitions)                                   \
	int prefix##_step(state_type from, event_type ev, state_type *ret)                         \
	{                                                                                          \
		int r, next;                                                                       \
                                                                                                   \
		r = step(&(transitions)[0][0], ELEMENTSOF(transitions),                            \
			ELEMENTSOF((transitions)[0]), (int)from, (int)ev, &next);                  \
		if (r < 0)                                                                         \
			return r;                                                                  \
		*ret = (state_type)next;                                                           \
		return 0;                                                                          \
	}

DEFINE_STEP(pml_presence, PmlPresence, PmlPresenceEvent, presence_transitions)
DEFINE_STEP(pml_use, PmlUse, PmlUseEvent, use_transitions)
DEFINE_STEP(pml_content, PmlContent, PmlContentEvent, content_transitions)
DEFINE_STEP(pml_lease, PmlLeaseState, PmlLeaseEvent, lease_transitions)

static const char *const pml_presence_table[_PML_PRESENCE_MAX] = {
	[PML_PRESENCE_ONLINE] = "online",
	[PML_PRESENCE_OFFLINE] = "offline",
	[PML_PRESENCE_MISSING] = "missing",
};
DEFINE_STRING_TABLE(pml_presence, PmlPresence)

static const char *const pml_use_table[_PML_USE_MAX] = {
	[PML_USE_FREE] = "free",
	[PML_USE_LEASED] = "leased",
	[PML_USE_EVICTING] = "evicting",
	[PML_USE_EVICTED] = "evicted",
	[PML_USE_QUARANTINED] = "quarantined",
};
DEFINE_STRING_TABLE(pml_use, PmlUse)

static const char *const pml_content_table[_PML_CONTENT_MAX] = {
	[PML_CONTENT_FOREIGN] = "foreign",
	[PML_CONTENT_BLANK] = "blank",
	[PML_CONTENT_RETAINED] = "retained",
	[PML_CONTENT_SCRUBBING] = "scrubbing",
};
DEFINE_STRING_TABLE(pml_content, PmlContent)

static const char *const pml_lease_state_table[_PML_LEASE_STATE_MAX] = {
	[PML_LEASE_RESERVED] = "reserved",
	[PML_LEASE_ATTACHING] = "attaching",
	[PML_LEASE_ACTIVE] = "active",
	[PML_LEASE_DRAINING] = "draining",
	[PML_LEASE_FENCING] = "fencing",
	[PML_LEASE_FENCED] = "fenced",
	[PML_LEASE_STUCK] = "stuck",
	[PML_LEASE_RELEASED] = "released",
};
DEFINE_STRING_TABLE(pml_lease_state, PmlLeaseState)

static const char *const presence_events[_PML_PRESENCE_EV_MAX] = {
	[PML_PRESENCE_EV_BOUND] = "bound",
	[PML_PRESENCE_EV_UNBOUND] = "unbound",
	[PML_PRESENCE_EV_VANISHED] = "vanished",
};

static const char *const use_events[_PML_USE_EV_MAX] = {
	[PML_USE_EV_LEASE] = "lease",
	[PML_USE_EV_LEASE_UNDONE] = "lease-undone",
	[PML_USE_EV_EVICT] = "evict",
	[PML_USE_EV_EVICT_CANCELLED] = "evict-cancelled",
	[PML_USE_EV_FENCED] = "fenced",
	[PML_USE_EV_CLEARED] = "cleared",
	[PML_USE_EV_QUARANTINE] = "quarantine",
	[PML_USE_EV_LIFT] = "lift",
};

static const char *const content_events[_PML_CONTENT_EV_MAX] = {
	[PML_CONTENT_EV_LENT] = "lent",
	[PML_CONTENT_EV_ADOPT] = "adopt",
	[PML_CONTENT_EV_SCRUB_BEGIN] = "scrub-begin",
	[PML_CONTENT_EV_SCRUB_VERIFIED] = "scrub-verified",
	[PML_CONTENT_EV_REPLACED] = "replaced",
};

static const char *const lease_events[_PML_LEASE_EV_MAX] = {
	[PML_LEASE_EV_ATTACH] = "attach",
	[PML_LEASE_EV_ATTACHED] = "attached",
	[PML_LEASE_EV_UNDO] = "undo",
	[PML_LEASE_EV_DRAIN] = "drain",
	[PML_LEASE_EV_DRAIN_CANCELLED] = "drain-cancelled",
	[PML_LEASE_EV_FENCE] = "fence",
	[PML_LEASE_EV_PROVED] = "proved",
	[PML_LEASE_EV_UNPROVED] = "unproved",
	[PML_LEASE_EV_CLEARED] = "cleared",
	[PML_LEASE_EV_OPERATOR_RELEASE] = "operator-release",
};

static const char *event_name(const char *const *names, size_t n, int ev)
{
	return ev >= 0 && (size_t)ev < n ? names[ev] : NULL;
}

const char *pml_presence_event_to_string(PmlPresenceEvent e)
{
	return event_name(presence_events, ELEMENTSOF(presence_events), (int)e);
}

const char *pml_use_event_to_string(PmlUseEvent e)
{
	return event_name(use_events, ELEMENTSOF(use_events), (int)e);
}

const char *pml_content_event_to_string(PmlContentEvent e)
{
	return event_name(content_events, ELEMENTSOF(content_events), (int)e);
}

const char *pml_lease_event_to_string(PmlLeaseEvent e)
{
	return event_name(lease_events, ELEMENTSOF(lease_events), (int)e);
}

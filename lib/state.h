/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The pure state machines. Three independent parts describe a region (a missing DIMM does not
 * forget that it was dirty), a fourth machine describes a lease. One table of allowed transitions
 * each; pml_*_step() is the only way from one state to the next, in memory and on disk.
 */

typedef enum PmlPresence {
	PML_PRESENCE_ONLINE,  /* there, bound to the driver that serves it */
	PML_PRESENCE_OFFLINE, /* there, but not bound */
	PML_PRESENCE_MISSING,
	_PML_PRESENCE_MAX,
	_PML_PRESENCE_INVALID = -22,
} PmlPresence;

typedef enum PmlPresenceEvent {
	PML_PRESENCE_EV_BOUND,
	PML_PRESENCE_EV_UNBOUND,
	PML_PRESENCE_EV_VANISHED,
	_PML_PRESENCE_EV_MAX,
} PmlPresenceEvent;

typedef enum PmlUse {
	PML_USE_FREE,
	PML_USE_LEASED,
	PML_USE_EVICTING, /* draining or fencing */
	PML_USE_EVICTED, /* fenced and proved; kept offline, or waiting for the last holder to go */
	PML_USE_QUARANTINED,
	_PML_USE_MAX,
	_PML_USE_INVALID = -22,
} PmlUse;

typedef enum PmlUseEvent {
	PML_USE_EV_LEASE,	 /* a lease was reserved */
	PML_USE_EV_LEASE_UNDONE, /* the reserved lease never reached a guest */
	PML_USE_EV_EVICT,	 /* eviction or release begun */
	PML_USE_EV_EVICT_CANCELLED,
	PML_USE_EV_FENCED,  /* with a recorded proof */
	PML_USE_EV_CLEARED, /* proved that no holder of an older binding is left */
	PML_USE_EV_QUARANTINE,
	PML_USE_EV_LIFT, /* an operator's word, with a reason */
	_PML_USE_EV_MAX,
} PmlUseEvent;

typedef enum PmlContent {
	PML_CONTENT_FOREIGN, /* never seen by us */
	PML_CONTENT_BLANK,   /* scrubbed and verified */
	PML_CONTENT_RETAINED,
	PML_CONTENT_SCRUBBING, /* partly overwritten: only a scrub that ends leads out */
	_PML_CONTENT_MAX,
	_PML_CONTENT_INVALID = -22,
} PmlContent;

typedef enum PmlContentEvent {
	PML_CONTENT_EV_LENT, /* a guest could have written */
	PML_CONTENT_EV_ADOPT,
	PML_CONTENT_EV_SCRUB_BEGIN,
	PML_CONTENT_EV_SCRUB_VERIFIED,
	PML_CONTENT_EV_REPLACED, /* the medium is another: nothing is known of it */
	_PML_CONTENT_EV_MAX,
} PmlContentEvent;

typedef enum PmlLeaseState {
	PML_LEASE_RESERVED,
	PML_LEASE_ATTACHING, /* a guest may reach the region from here on */
	PML_LEASE_ACTIVE,
	PML_LEASE_DRAINING,
	PML_LEASE_FENCING,
	PML_LEASE_FENCED, /* unreachable, proved; holders may be left */
	PML_LEASE_STUCK,  /* the fence could not be proved */
	PML_LEASE_RELEASED,
	_PML_LEASE_STATE_MAX,
	_PML_LEASE_STATE_INVALID = -22,
} PmlLeaseState;

typedef enum PmlLeaseEvent {
	PML_LEASE_EV_ATTACH,
	PML_LEASE_EV_ATTACHED,
	PML_LEASE_EV_UNDO, /* reserved, and nothing was asked of libvirt yet */
	PML_LEASE_EV_DRAIN,
	PML_LEASE_EV_DRAIN_CANCELLED,
	PML_LEASE_EV_FENCE,
	PML_LEASE_EV_PROVED,
	PML_LEASE_EV_UNPROVED,
	PML_LEASE_EV_CLEARED, /* the last holder is gone, proved */
	PML_LEASE_EV_OPERATOR_RELEASE,
	_PML_LEASE_EV_MAX,
} PmlLeaseEvent;

/* Each returns 0 and the next state, or -EPERM (the transition is not in the table), -EINVAL (no
 * such state or event). */
int pml_presence_step(PmlPresence from, PmlPresenceEvent ev, PmlPresence *ret);
int pml_use_step(PmlUse from, PmlUseEvent ev, PmlUse *ret);
int pml_content_step(PmlContent from, PmlContentEvent ev, PmlContent *ret);
int pml_lease_step(PmlLeaseState from, PmlLeaseEvent ev, PmlLeaseState *ret);

const char *pml_presence_to_string(PmlPresence v);
PmlPresence pml_presence_from_string(const char *s);
const char *pml_use_to_string(PmlUse v);
PmlUse pml_use_from_string(const char *s);
const char *pml_content_to_string(PmlContent v);
PmlContent pml_content_from_string(const char *s);
const char *pml_lease_state_to_string(PmlLeaseState v);
PmlLeaseState pml_lease_state_from_string(const char *s);
const char *pml_presence_event_to_string(PmlPresenceEvent e);
const char *pml_use_event_to_string(PmlUseEvent e);
const char *pml_content_event_to_string(PmlContentEvent e);
const char *pml_lease_event_to_string(PmlLeaseEvent e);

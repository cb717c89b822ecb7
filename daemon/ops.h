/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The operations: what the bus objects, the uevents and libvirt's events start. Each file op-*.c
 * holds one table of steps. Everything here is called on the main thread.
 *
 * Starters return 0, a negative errno, or 1 with *err filled: a named error with a sentence for the
 * caller. The bus has checked the arguments' form (length, UTF-8, no control characters) and the
 * caller's right; what depends on state is checked here.
 */

#include <stdbool.h>
#include <stdint.h>

#include "manager.h"

/* How a lease is drained, where an eviction does not say it. */
typedef struct DrainPolicy {
	PmlDrain drain;		 /* or _INVALID: as the lease has it */
	PmlOnRefusal on_refusal; /* likewise */
	uint64_t grace_usec;	 /* of a lease; PML_DEADLINE_DEFAULT, PML_DEADLINE_INFINITY */
} DrainPolicy;
#define DRAIN_AS_LEASED ((DrainPolicy){_PML_DRAIN_INVALID, _PML_ON_REFUSAL_INVALID, 0})

/* Before the loop turns: what the lease that this job makes has in the place of the
 * configuration's. */
void op_lease_drain(Job *job, const DrainPolicy *policy);
/* Is it a span that may be asked for: 0, or 1 with the error. */
int op_deadline_check(const Manager *m, uint64_t deadline_usec, OpError *err);
/* Before the loop turns: the lease that this job makes is wanted again when its memory has left the
 * host and comes back. */
void op_lease_restore(Job *job);
/* Before the loop turns: the lease that this job makes, of memory of the host, is lent as a
 * virtio-mem, not as a dimm. */
void op_lease_virtio_mem(Job *job);
/* Before the loop turns: the lease that this job makes is to be in the domain's definition, too. */
void op_lease_persist(Job *job);
/* At the daemon's end. busy: calls still run in threads, and keep what they were given. */
void persist_free_all(Manager *m, bool busy);
void ask_free_all(Manager *m, bool busy);

/* owner NULL: the domain's UUID. *ret_lease is in memory and on the bus at once, on the disk after
 * the step `reserve`. may_destroy: the consent to the rung `destroy`, which a block device wants;
 * the lease's policy is then `destroy`. */
int op_lease_start(Manager *m, Region *region, const char *domain, const char *owner,
	PmlOnEnd on_end, PmlAfterFence after_fence, bool may_destroy, uint32_t uid,
	Lease **ret_lease, Job **ret_job, OpError *err);

/*
 * kind: "evict" or "release". deadline_usec counts from now, 0 fences at once; DEFAULT is the
 * lease's own, or else the configuration's; INFINITY waits for the guest, or for a later eviction
 * that hurries this one. after_fence: < 0
 * leaves the lease's own policy
 * (_PML_AFTER_FENCE_INVALID).
 */
int op_evict_start(Manager *m, Region *region, const char *kind, uint64_t deadline_usec,
	bool keep_offline, PmlAfterFence after_fence, uint32_t uid, Job **ret_job, OpError *err);
/* As above; drain: what the caller says of it, _INVALID where he leaves it to the lease. */
int op_evict_start_with(Manager *m, Region *region, const char *kind, uint64_t deadline_usec,
	bool keep_offline, PmlAfterFence after_fence, const DrainPolicy *drain, uint32_t uid,
	Job **ret_job, OpError *err);
/* All regions of a part of the host (part.h), kept offline; then its namespaces are disabled. The
 * job ends well when the part is safe to remove. */
int op_evict_device_start(Manager *m, const char *name, uint64_t deadline_usec,
	PmlAfterFence after_fence, const DrainPolicy *how, uint32_t uid, Job **ret_job,
	OpError *err);
/*
 * What op_evict_device_start() took away, or what is in its place now: its namespaces are enabled,
 * its regions readmitted, and the leases made again that asked for that. What was made anew is
 * foreign, whoever had the bytes there before; scrub: and overwritten. Where something is missing
 * of how it was laid out, the rest is done, and the error names it.
 */
int op_readmit_device_start(
	Manager *m, const char *name, bool scrub, uint32_t uid, Job **ret_job, OpError *err);
int op_scrub_start(Manager *m, Region *region, const char *discard_owner, uint32_t uid,
	Job **ret_job, OpError *err);
int op_readmit_start(Manager *m, Region *region, uint32_t uid, Job **ret_job, OpError *err);
/* Whether an operator's word may end the region's quarantine: not while a lease of another region
 * covers some of its bytes. 0, or 1 with the error. */
int op_lift_refuse(const Region *region, OpError *err);

/*
 * A machine starts or stops, says libvirt's hook. domain_xml: what libvirt gave it; phase: the
 * operation it names (libvirt's hooks.html: "prepare" before a start, "started", "stopped",
 * "release"…); one that is not known is nothing to us. Answers through done, later, once: NULL
 * where it may go on. Nothing here waits for libvirt, which waits for us. 0 or negative errno.
 */
int op_grant(Manager *m, const char *domain_xml, const char *phase,
	void (*done)(void *data, const OpError *err), void *data);
/* At the daemon's end: everybody who waits is refused. */
void grants_free_all(Manager *m);

/* Proves again, and clears and binds what is proved, where the region waits for that; else does
 * nothing. 0 or negative errno. */
int op_settle_kick(Region *region);
/* It is proved, and unbound as its fence left it: only the end of a holder is news. */
bool settle_waits(const Region *region);

/* A leased region was found unbound or gone by a scan. Called at every scan that finds it so: does
 * nothing where a job has it. */
void manager_region_lost(Region *region);
/* libvirt tells that a guest has another part of its virtio-mem: who waits for it to take all goes
 * on. */
void lease_jobs_resized(Manager *m, const char *domain, const char *alias);
/* libvirt: the domain has ended / is connected (again): everything must be read again. */
void manager_domain_stopped(Manager *m, const char *uuid);
void manager_libvirt_connected(Manager *m);

/* After the ledger, the marks and the first scan are there, before the loop: finishes or undoes
 * what an earlier run left. */
int recover(Manager *m);
/* A region without a lease that was missing at the start is there: what was begun with it goes on.
 */
int recover_region(Region *region);

/* At the daemon's end: forgets what waits for libvirt. A machine that is frozen stays so, which is
 * safe, and is on the disk. busy: an executor may still have some of it. */
void after_fence_free_all(Manager *m, bool busy);

/* Frees region->watches. */
void op_watches_free(Region *region);

extern const JobKind op_lease_kind;
extern const JobKind op_grant_kind;
extern const JobKind op_evict_kind;
extern const JobKind op_release_kind;
extern const JobKind op_evict_device_kind;
extern const JobKind op_readmit_device_kind;
extern const JobKind op_guard_kind;
extern const JobKind op_settle_kind;
extern const JobKind op_scrub_kind;
extern const JobKind op_readmit_kind;
extern const JobKind op_recover_kind;

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The data of an evict or release job; op-evict.c has the table, evict-fence.c what runs beside the
 * main thread, evict-record.c what the ledger hears. */

#include "manager.h"
#include "ops.h"

typedef struct EvictData {
	Manager *manager;
	LedgerChange change;

	/* --- how it began; main thread --- */
	bool own;    /* the daemon's own: nobody asked */
	bool forced; /* nobody is asked: neither the ledger before the fence nor the guest */
	bool must;   /* what began as asked for has become the daemon's own: no refusal stops it */
	bool accepted;	  /* the intent is on the disk already (after a restart) */
	bool taking_over; /* a lease job is in the middle of a write */
	bool took_over;	  /* a lease job was replaced */
	bool keep_offline;
	uint64_t deadline_usec;	   /* CLOCK_BOOTTIME */
	PmlAfterFence after_fence; /* or _INVALID: the lease's own */
	DrainPolicy how;	   /* likewise; grace_usec is not looked at */
	PmlLeaseRecord before;	   /* the policy that a cancelled eviction leaves, with id[0] */
	char reason[PML_REASON_MAX];
	sd_event_source *timer; /* the record's back-off */
	uint64_t retry_usec;
	unsigned telling;      /* writes that nobody waits for until the record */
	bool past_drain;       /* the deadline passed, or the guest has let go */
	struct Ask *ask;       /* the guest is being asked: ask.c; or NULL */
	bool asked_guest;      /* … or was */
	bool in_parts;	       /* it is a virtio-mem, whose part of the job is all but all of it */
	bool kept;	       /* it refused, and keeps its memory by its policy */
	char answer_error[64]; /* what came of asking, where it did not let go: PML_ERROR_… or "" */
	char answer[512];
	bool cancel_written;
	bool undone; /* nothing was lent yet: nothing to fence */
	bool ram;    /* memory of the host: nothing is frozen or paused, and only its guest gives it
			back */

	/* --- read and written by the steps' run --- */
	int marks_fd;
	bool leased;
	PmlLeaseRecord rec; /* as it was when the fence began */
	PmlRegion *host;    /* NULL: never seen by this daemon */
	uint64_t freeze_timeout_usec;
	uint64_t proof_timeout_usec;
	bool ran;	      /* the step's run was reached: an executor may be out of threads */
	bool emptied;	      /* … of a virtio-mem, whose place its machine keeps */
	bool released;	      /* its guest has let go: nothing is frozen or paused */
	bool lied;	      /* … it said, and still touches it */
	bool watched;	      /* these are known: */
	uint64_t fenced_usec; /* CLOCK_MONOTONIC */
	int64_t faults;	      /* of the machine, that had failed when the fence was done */
	PmlFenceResult fence;
	int fence_r;
	PmlProof *proof;
	char *proof_json;
	bool proved;
	bool asked; /* libvirt is asked to destroy the domain */
	bool vmm_gone;
} EvictData;

/* Main thread: the job waits for its deadline, and may wait for another one. */
bool evict_waits(const Job *job);
/* How far the job is: share is of one whose guest has a quarter of it. */
double evict_progress(const EvictData *d, double share);
int evict_arm_deadline(Job *job);
/* Resumes the job that late. 0, negative errno. */
int evict_resume_later(Job *job, uint64_t usec);

/* evict-record.c. What was asked for last; the disk may not have it yet. */
void evict_take_wishes(const EvictData *d, PmlLeaseRecord *rec);
/* Says that the fence begins, and returns at once. */
void evict_tell_ledger(Job *job);
/* The step "record"; its run is of EXEC_LEDGER. */
JobNext evict_record_prepare(Job *job);
int evict_record_run(void *data);
JobNext evict_record_done(Job *job, int r);

/* lie.c, in the fence's threads: right behind the fence, and behind the proof. */
void lie_begin(EvictData *d);
void lie_look(EvictData *d);

/* The steps' run functions: in a thread of EXEC_FENCE, without the ledger, libvirt or the bus. */
int evict_mark_run(void *data);
int evict_fence_run(void *data);
int evict_prove_run(void *data);

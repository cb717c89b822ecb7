/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The data of an evict or release job; op-evict.c has the table, evict-fence.c what runs beside the
 * main thread. */

#include "manager.h"

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
	char reason[PML_REASON_MAX];
	sd_event_source *timer; /* the record's back-off */
	uint64_t retry_usec;
	unsigned telling; /* writes that nobody waits for until the record */
	bool past_drain;  /* the deadline passed, or the guest has let go */
	bool cancel_written;
	bool undone; /* nothing was lent yet: nothing to fence */

	/* --- read and written by the steps' run --- */
	int marks_fd;
	bool leased;
	PmlLeaseRecord rec; /* as it was when the fence began */
	PmlRegion *host;    /* NULL: never seen by this daemon */
	uint64_t freeze_timeout_usec;
	uint64_t proof_timeout_usec;
	bool ran; /* the step's run was reached: an executor may be out of threads */
	PmlFenceResult fence;
	int fence_r;
	PmlProof *proof;
	char *proof_json;
	bool proved;
	bool asked; /* libvirt is asked to destroy the domain */
	bool vmm_gone;
} EvictData;

/* The steps' run functions: in a thread of EXEC_FENCE, without the ledger, libvirt or the bus. */
int evict_mark_run(void *data);
int evict_fence_run(void *data);
int evict_prove_run(void *data);

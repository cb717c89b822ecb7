/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Clearing what was fenced, and binding it again: by itself (op-settle.c) or on request
 * (op-readmit.c), by the same steps. */

#include "manager.h"

typedef struct SettleData {
	Manager *manager;
	LedgerChange change;

	/* --- main thread --- */
	bool readmit; /* on request, also what is kept offline */
	bool joined;  /* ... that came when it was being done by itself */
	bool another; /* its place in the host has had another namespace */
	bool again;   /* a holder has ended since this began */

	/* --- read and written by the steps' run --- */
	PmlRegion *host;
	const PmlDaxOps *dax;
	uint64_t proof_timeout_usec;
	PmlProof *proof;
	char *proof_json;
	bool clear;
	bool proved;	 /* unreachable: enough for `fenced`, not for binding */
	bool ram;	 /* to be memory of the host again */
	bool virtio_mem; /* it was lent as that: the machine may keep the place of it */
	bool emptied;	 /* ... and its guest has given all of it back */
	bool rebound;	 /* somebody bound it with holders left; unbound again */
	const VirtOps *ops;
	Virt *virt;
	PmlLeaseRecord rec;
	VirtMemory mem;
	char *why;
	bool has_device;
} SettleData;

SettleData *settle_data_new(Manager *m, Region *region, bool readmit);
void settle_data_free(void *data);
void settle_finished(Job *job, bool success);

/* The step which readmit alone has; op-readmit.c. */
JobNext recall_prepare(Job *job);
int recall_run(void *data);
JobNext recall_done(Job *job, int r);

#define READMIT_N_STEPS 7
extern const JobStep readmit_steps[READMIT_N_STEPS];

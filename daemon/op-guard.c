/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A region that is kept offline was bound by somebody (daxctl's udev rule does that by itself): it
 * is unbound again and quarantined, since what was done with it meanwhile nobody knows. One that
 * the kernel bound, when the host or the region came up, is only unbound again.
 */

#include "behind.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

typedef struct GuardData {
	LedgerChange change;
	PmlRegion *host;
	const PmlDaxOps *dax;
	bool bound;
	bool quarantine;
	PmlBinding binding;
} GuardData;

static int unbind_run(void *userdata)
{
	GuardData *d = userdata;
	PmlFenceRequest req = {
		.region = d->host,
		.dax = d->dax,
		.machine_pidfd = -EBADF,
		.revoke_timeout_usec = USEC_PER_SEC,
	};
	PmlFenceResult result;
	int r;

	/* A scan that began before it was taken offline may have come late. */
	r = d->dax->binding(d->dax->userdata, d->host, &d->binding);
	if (r < 0 || d->binding == PML_BINDING_NONE)
		return r;
	d->bound = true;
	return pml_fence_run(&req, &result);
}

static JobNext unbind_done(Job *job, int r)
{
	GuardData *d = job->data;
	Region *region = job->region;
	char reason[PML_REASON_MAX];
	PmlTxn *txn;

	if (!d->bound)
		return r < 0 ? op_fail(job, r, "look at what was bound") : JOB_DONE;
	if (!d->quarantine) {
		log_full(LOG_NOTICE, &(LogFields){.region = region->id},
			"Region %s is kept offline, and was bound when %s: %s.",
			region_label(region),
			region->is_awaited ? "its namespace was enabled"
					   : "the host or the daemon started",
			r < 0 ? strerror(-r) : "it was unbound again");
		return r < 0 ? op_fail(job, r, "unbind what is kept offline") : JOB_DONE;
	}
	(void)snprintf(reason, sizeof(reason),
		"somebody bound it to %s while it was kept offline%s%s",
		pml_binding_to_string(d->binding), r < 0 ? ", and it could not be unbound: " : "",
		r < 0 ? strerror(-r) : "");
	log_full(LOG_WARNING,
		&(LogFields){.region = region->id, .message_id = PML_MESSAGE_INTRUDER},
		"Region %s is quarantined: %s.", region_label(region), reason);
	txn = op_txn_new_daemon();
	r = txn ? pml_txn_use_step(txn, region->id, &region->extent, PML_USE_EV_QUARANTINE, reason)
		: -ENOMEM;
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "quarantine the region");
	}
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

static int record_run(void *userdata)
{
	GuardData *d = userdata;

	return ledger_change_run(&d->change);
}

static JobNext record_done(Job *job, int r)
{
	GuardData *d = job->data;

	ledger_change_done(&d->change, r);
	if (r == 0)
		return JOB_NEXT;
	job_set_ledger_error(job, r, d->change.why);
	return JOB_FAIL;
}

static void guard_free(void *userdata)
{
	GuardData *d = userdata;

	ledger_change_clear(&d->change);
	pml_region_unref(d->host);
	free(d);
}

static void guard_finished(Job *job, bool success)
{
	(void)manager_rescan(job->manager, NULL, NULL);
}

static const JobStep guard_steps[] = {
	{.name = "unbind", .where = EXEC_FENCE, .run = unbind_run, .done = unbind_done},
	{.name = "record", .where = EXEC_LEDGER, .run = record_run, .done = record_done},
};

const JobKind op_guard_kind = {
	.name = "guard",
	.steps = guard_steps,
	.n_steps = ELEMENTSOF(guard_steps),
	.data_free = guard_free,
	.finished = guard_finished,
	.internal = true,
};

int guard_start(Region *region)
{
	GuardData *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->host = pml_region_ref(region->host);
	d->dax = region->manager->dax;
	d->quarantine = region->was_offline && !region->is_awaited;
	return job_start(region->manager, &op_guard_kind, region, NULL, 0, d, NULL);
}

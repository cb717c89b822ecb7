/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "announce.h"
#include "askable.h"
#include "change.h"
#include "ops-internal.h"
#include "util.h"

typedef struct Change {
	LedgerChange ledger;
	sd_bus_message *call;
} Change;

static int record_run(void *data)
{
	Change *c = data;

	return ledger_change_run(&c->ledger);
}

static JobNext record_done(Job *job, int r)
{
	Change *c = job->data;

	ledger_change_done(&c->ledger, r);
	if (r == 0)
		return JOB_NEXT;
	job_set_ledger_error(job, r, c->ledger.why);
	return JOB_FAIL;
}

static void change_finished(Job *job, bool success)
{
	Change *c = job->data;

	announce_now(job->manager);
	if (success)
		(void)sd_bus_reply_method_return(c->call, NULL);
	else
		(void)sd_bus_reply_method_errorf(c->call, job->error, "%s", job->message);
	/* Its guest may be one to be asked by now. */
	if (success && job->lease)
		askable_look(job->manager, job->lease->record.domain);
	/* A holder's end may have been heard meanwhile, and will not be heard again. */
	settle_kick(job->region);
}

static void change_free(void *data)
{
	Change *c = data;

	ledger_change_clear(&c->ledger);
	sd_bus_message_unref(c->call);
	free(c);
}

static const JobStep change_steps[] = {
	{.name = "record", .where = EXEC_LEDGER, .run = record_run, .done = record_done},
};

const JobKind change_kind = {
	.name = "change",
	.steps = change_steps,
	.n_steps = ELEMENTSOF(change_steps),
	.data_free = change_free,
	.finished = change_finished,
	.internal = true,
};

int change_start(Manager *m, Region *region, Lease *lease, uint32_t uid, PmlTxn *txn,
	sd_bus_message *call, sd_bus_error *error)
{
	Change *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		pml_txn_free(txn);
		return -ENOMEM;
	}
	ledger_change_init(&c->ledger, m, txn);
	c->call = sd_bus_message_ref(call);
	r = job_start(m, &change_kind, region, lease, uid, c, NULL);
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

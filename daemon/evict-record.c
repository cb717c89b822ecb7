/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the ledger hears of an eviction: that the fence has begun, which nobody waits for, and how
 * it ended, which is repeated until the disk has it.
 */

#include "ask.h"
#include "deprived.h"
#include "evict.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

#define RECORD_RETRY_MIN_USEC (200 * USEC_PER_MSEC)
#define RECORD_RETRY_MAX_USEC (30 * USEC_PER_SEC)

void evict_take_wishes(const EvictData *d, PmlLeaseRecord *rec)
{
	rec->keep_offline = rec->keep_offline || d->keep_offline;
	if ((int)d->after_fence >= 0)
		rec->after_fence = d->after_fence;
	if ((int)d->how.drain >= 0)
		rec->drain = d->how.drain;
	if ((int)d->how.on_refusal >= 0)
		rec->on_refusal = d->how.on_refusal;
}

static void on_told(void *userdata, int r, const char *why)
{
	Job *job = userdata;
	EvictData *d = job->data;

	d->telling--;
	if (r != 0)
		log_warning(
			"The fence of region %s could not be recorded yet (%s); its mark in /run says so.",
			region_label(job->region), why ? why : strerror(r < 0 ? -r : EIO));
	job_resume(job);
}

/* What leads from the disk's state to `fencing`. */
static int fence_txn(Job *job, PmlTxn *txn, PmlLeaseRecord *rec)
{
	const char *asked = ask_summary(job->data);
	Region *region = job->region;
	int r = 0;

	switch (rec->state) {
	case PML_LEASE_ATTACHING:
	case PML_LEASE_ACTIVE:
	case PML_LEASE_DRAINING:
		r = pml_txn_lease_step(txn, rec, PML_LEASE_EV_FENCE, asked);
		rec->state = PML_LEASE_FENCING;
		break;
	case PML_LEASE_RESERVED:
	case PML_LEASE_FENCING:
	case PML_LEASE_FENCED:
	case PML_LEASE_STUCK:
	case PML_LEASE_RELEASED:
	case _PML_LEASE_STATE_MAX:
	case _PML_LEASE_STATE_INVALID:
		break;
	}
	if (r >= 0 && (region->record.use == PML_USE_LEASED || region->record.use == PML_USE_FREE))
		r = pml_txn_use_step(txn, region->id, &rec->extent, PML_USE_EV_EVICT, NULL);
	return r;
}

void evict_tell_ledger(Job *job)
{
	EvictData *d = job->data;
	PmlLeaseRecord rec = d->rec;
	PmlTxn *txn;
	int r;

	/* The view that this would be built on is being replaced; the record brings everything up
	 * to date. */
	if (d->telling > 0 || rec.state == PML_LEASE_FENCING)
		return;
	rec.frozen = !d->released && !d->ram;
	txn = op_txn_new_job(job, d->own);
	r = txn ? fence_txn(job, txn, &rec) : -ENOMEM;
	if (r >= 0) {
		d->telling++;
		r = manager_apply(job->manager, TAKE_PTR(txn), on_told, job);
		if (r < 0)
			d->telling--;
	}
	pml_txn_free(txn);
}

static void stuck_reason(const EvictData *d, char *buf, size_t size)
{
	char what[PML_REASON_MAX];

	if (d->proof)
		(void)snprintf(what, sizeof(what), "not proved: %s", pml_proof_summary(d->proof));
	else
		(void)snprintf(what, sizeof(what), "not proved: %s",
			d->host ? "no proof could be made in time" : "the device is missing");
	if (d->leased)
		op_stuck_reason(buf, size, &d->rec, what);
	else
		(void)snprintf(buf, size, "%s", what);
	pml_make_printable(buf);
}

static int record_txn(Job *job, PmlTxn *txn)
{
	EvictData *d = job->data;
	Region *region = job->region;
	const PmlExtent *e = job->lease ? &job->lease->record.extent : &region->extent;
	const char *offline = NULL;
	char reason[PML_REASON_MAX];
	int r;

	stuck_reason(d, reason, sizeof(reason));
	if (job->lease) {
		PmlLeaseRecord rec = job->lease->record;

		evict_take_wishes(d, &rec);
		rec.frozen = after_fence_pending(job->manager, rec.id);
		if (d->rec.vmm_pid > 0 && rec.vmm_pid == 0) {
			rec.vmm_pid = d->rec.vmm_pid;
			rec.vmm_start = d->rec.vmm_start;
			(void)PML_STRCPY(rec.vmm_cgroup, d->rec.vmm_cgroup);
		}
		r = fence_txn(job, txn, &rec);
		rec.deadline_usec = 0;
		if (r >= 0)
			r = pml_txn_lease_step(txn, &rec,
				d->proved ? PML_LEASE_EV_PROVED : PML_LEASE_EV_UNPROVED,
				d->proved ? pml_proof_summary(d->proof) : reason);
		if (rec.keep_offline)
			offline = d->reason;
	} else {
		r = region->record.use == PML_USE_FREE
			    ? pml_txn_use_step(txn, region->id, e, PML_USE_EV_EVICT, NULL)
			    : 0;
		offline = d->reason;
	}
	if (r >= 0 && d->proof_json)
		r = pml_txn_proof(
			txn, job->lease ? job->lease->record.id : NULL, region->id, d->proof_json);
	if (r >= 0 && d->proved && region->record.use != PML_USE_QUARANTINED)
		r = pml_txn_use_step(txn, region->id, e, PML_USE_EV_FENCED, offline);
	else if (r >= 0 && !d->proved)
		r = pml_txn_use_step(txn, region->id, e, PML_USE_EV_QUARANTINE, reason);
	return r;
}

static JobNext record_later(Job *job)
{
	EvictData *d = job->data;

	d->retry_usec = d->retry_usec ? d->retry_usec * 2 : RECORD_RETRY_MIN_USEC;
	if (d->retry_usec > RECORD_RETRY_MAX_USEC)
		d->retry_usec = RECORD_RETRY_MAX_USEC;
	job_set_progress(job, "waiting for the ledger's disk", evict_progress(d, 0.75));
	if (evict_resume_later(job, d->retry_usec) < 0)
		return op_fail(job, -ENOMEM, "wait for the ledger's disk");
	job_set_next(job, "record");
	return JOB_WAIT;
}

JobNext evict_record_prepare(Job *job)
{
	EvictData *d = job->data;
	PmlTxn *txn = op_txn_new_job(job, d->own);
	int r;

	r = txn ? record_txn(job, txn) : -ENOMEM;
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "write down the proof");
	}
	ledger_change_clear(&d->change);
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

int evict_record_run(void *userdata)
{
	EvictData *d = userdata;
	int r;

	r = ledger_change_run(&d->change);
	/* Left behind, it would say what the ledger says: a restart removes it. */
	if (r == 0 && d->leased)
		(void)pml_mark_remove(d->marks_fd, d->rec.id);
	return r;
}

JobNext evict_record_done(Job *job, int r)
{
	EvictData *d = job->data;
	char reason[PML_REASON_MAX];

	ledger_change_done(&d->change, r);
	if (r < 0) {
		log_warning(
			"The proof of region %s could not be recorded: %s. Its mark in /run has it; trying again.",
			region_label(job->region), strerror(-r));
		return record_later(job);
	}
	if (r > 0) {
		/* The mark stays: nothing is lent while memory and disk disagree, and a restart
		 * fences again. */
		job_set_ledger_error(job, r, d->change.why);
		return JOB_FAIL;
	}
	if (job->lease) {
		lease_clear_mark(job->lease);
		if (!d->ram)
			deprived_add(job->lease);
	}
	after_fence_poke(job->manager);
	if (d->proved) {
		ask_note(job);
		return JOB_DONE;
	}
	stuck_reason(d, reason, sizeof(reason));
	if (d->ram && d->leased) {
		const char *asked = ask_summary(d);

		job_set_error(job, PML_ERROR_STUCK,
			"Region %s was not given back (%s; %s). It is quarantined, and taken back when the guest gives it back "
			"(%s %s %s) or its machine ends.",
			region_label(job->region), asked ? asked : "its guest was not asked",
			reason,
			d->in_parts ? "it stays asked to; virsh dumpxml shows what is left:"
				    : "to ask again: virsh detach-device-alias",
			d->rec.domain_name, d->rec.alias);
		return JOB_FAIL;
	}
	job_set_error(job, PML_ERROR_STUCK,
		"Region %s was fenced, but nobody could prove it (%s). It is quarantined and proved again at the end of every "
		"process that holds it; or lift the quarantine with a reason.",
		region_label(job->region), reason);
	return JOB_FAIL;
}

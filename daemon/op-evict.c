/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Taking a region back: evict, release, and what has the same end (the domain stopped, the device
 * was unbound by somebody, a lease failed half way). From `mark` to `prove` nothing waits for the
 * ledger, libvirt or the bus.
 */

#include "ask.h"
#include "evict.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

#define THREAD_RETRY_USEC (50 * USEC_PER_MSEC)

static void evict_data_free(void *userdata)
{
	EvictData *d = userdata;

	ledger_change_clear(&d->change);
	sd_event_source_disable_unref(d->timer);
	pml_region_unref(d->host);
	pml_proof_free(d->proof);
	free(d->proof_json);
	free(d);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	job_resume(userdata);
	return 0;
}

int evict_resume_later(Job *job, uint64_t usec)
{
	EvictData *d = job->data;

	sd_event_source_disable_unref(d->timer);
	d->timer = NULL;
	return sd_event_add_time_relative(
		job->manager->event, &d->timer, CLOCK_BOOTTIME, usec, 1, on_timer, job);
}

double evict_progress(const EvictData *d, double share)
{
	return d->in_parts
		       ? PARTS_SHARE + (share - DRAIN_SHARE) * (1 - PARTS_SHARE) / (1 - DRAIN_SHARE)
		       : share;
}

/* --- takeover: a lease job is in the middle of a write --- */

static JobNext takeover_prepare(Job *job)
{
	EvictData *d = job->data;

	if (d->taking_over) {
		job_set_progress(job, "waiting for the lease's write", 0);
		return JOB_WAIT;
	}
	job->skip = true;
	return JOB_NEXT;
}

void evict_taken_over(Job *evict)
{
	EvictData *d = evict->data;

	d->taking_over = false;
	evict->lease = evict->region ? evict->region->lease : NULL;
	job_resume(evict);
}

/* --- accept: the intent of the fence, on the disk --- */

static int accept_txn(Job *job, PmlTxn *txn)
{
	EvictData *d = job->data;
	Region *region = job->region;
	PmlLeaseRecord rec;
	int r;

	if (!job->lease) {
		r = pml_txn_use_step(txn, region->id, &region->extent, PML_USE_EV_EVICT, NULL);
		if (r < 0 || d->ram == region->record.ram)
			return r;
		return pml_txn_ram(txn, region->id, &region->extent, d->ram);
	}
	rec = job->lease->record;
	if (rec.state == PML_LEASE_RESERVED) {
		d->undone = true;
		r = pml_txn_lease_step(txn, &rec, PML_LEASE_EV_UNDO,
			"evicted before anything was asked of libvirt");
		if (r >= 0)
			r = pml_txn_use_step(
				txn, region->id, &rec.extent, PML_USE_EV_LEASE_UNDONE, NULL);
		if (r >= 0 && d->ram && !d->keep_offline)
			r = pml_txn_ram(txn, region->id, &rec.extent, false);
		if (r >= 0 && d->keep_offline)
			r = pml_txn_use_step(txn, region->id, &rec.extent, PML_USE_EV_EVICT, NULL);
		return r;
	}
	d->before = rec;
	rec.deadline_usec = d->deadline_usec;
	op_lease_stamp(region, &rec);
	evict_take_wishes(d, &rec);
	r = pml_txn_lease_step(txn, &rec, PML_LEASE_EV_DRAIN, job->kind->name);
	if (r >= 0)
		r = pml_txn_use_step(txn, region->id, &rec.extent, PML_USE_EV_EVICT, NULL);
	return r;
}

static JobNext accept_prepare(Job *job)
{
	EvictData *d = job->data;
	PmlTxn *txn;
	int r;

	if (d->forced || d->accepted) {
		job->skip = true;
		return JOB_NEXT;
	}
	if (d->took_over && !d->keep_offline && (!job->lease || !job->lease->recorded))
		return JOB_DONE; /* The lease had not begun; nothing was lent. */

	txn = op_txn_new_job(job, d->own);
	r = txn ? accept_txn(job, txn) : -ENOMEM;
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "begin the eviction");
	}
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

static int change_run(void *userdata)
{
	EvictData *d = userdata;

	return ledger_change_run(&d->change);
}

static JobNext accept_done(Job *job, int r)
{
	EvictData *d = job->data;

	ledger_change_done(&d->change, r);
	if (r != 0 && d->must && job->lease && job->lease->record.state != PML_LEASE_RESERVED) {
		d->undone = false;
		return JOB_NEXT;
	}
	if (r != 0) {
		job_set_ledger_error(job, r, d->change.why);
		return JOB_FAIL;
	}
	d->accepted = true;
	if (!d->undone)
		return JOB_NEXT;
	/* The lease is released; what goes on is an eviction of a region that nobody leases. */
	job->lease = NULL;
	return d->keep_offline ? JOB_NEXT : JOB_DONE;
}

/* --- drain --- */

static bool drain_over(const Job *job)
{
	const EvictData *d = job->data;

	return d->forced || d->past_drain || !job->lease ||
	       pml_now_usec(CLOCK_BOOTTIME) >= d->deadline_usec;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *userdata)
{
	Job *job = userdata;
	EvictData *d = job->data;

	d->past_drain = true;
	job_resume(job);
	return 0;
}

bool evict_waits(const Job *job)
{
	const char *step = job->kind->steps[job->step].name;

	return pml_streq(step, "drain") || pml_streq(step, "cancel");
}

int evict_arm_deadline(Job *job)
{
	EvictData *d = job->data;
	Lease *lease = job->lease;

	sd_event_source_disable_unref(lease->deadline);
	lease->deadline = NULL;
	if (d->deadline_usec == PML_DEADLINE_INFINITY)
		return 0;
	return sd_event_add_time(job->manager->event, &lease->deadline, CLOCK_BOOTTIME,
		d->deadline_usec, 1, on_deadline, job);
}

static void disarm_deadline(Job *job)
{
	if (!job->lease)
		return;
	sd_event_source_disable_unref(job->lease->deadline);
	job->lease->deadline = NULL;
}

static JobNext drain_prepare(Job *job)
{
	const EvictData *d = job->data;

	if (drain_over(job)) {
		job->skip = true;
		job_set_next(job, "mark");
		return JOB_NEXT;
	}
	/* No timer, no bound: fence now. */
	if (evict_arm_deadline(job) < 0) {
		job->skip = true;
		job_set_next(job, "mark");
		return JOB_NEXT;
	}
	/* Before a restart, or a cancellation that failed, it may have got further. */
	if (!d->ask)
		job_set_progress(job, "waiting for the guest", job->progress);
	ask_begin(job);
	return JOB_WAIT;
}

static JobNext drain_done(Job *job, int r)
{
	if (!job->cancelled || drain_over(job)) {
		disarm_deadline(job);
		job_set_next(job, "mark");
	}
	ask_end(job);
	return JOB_NEXT;
}

/* --- cancel: the deadline goes on running while the disk is told --- */

static void on_cancel_written(void *userdata, int r, const char *why)
{
	Job *job = userdata;
	EvictData *d = job->data;

	d->telling--;
	if (r == 0) {
		d->cancel_written = true;
	} else {
		log_warning(
			"The cancellation of an eviction could not be recorded (%s); it goes on.",
			why ? why : strerror(r < 0 ? -r : EIO));
		job->cancelled = d->kept = false;
	}
	job_resume(job);
}

static JobNext cancel_prepare(Job *job)
{
	EvictData *d = job->data;
	PmlLeaseRecord rec = job->lease->record;
	PmlTxn *txn;
	int r;

	rec.deadline_usec = 0;
	rec.keep_offline = false;
	if (d->before.id[0]) {
		rec.after_fence = d->before.after_fence;
		rec.drain = d->before.drain;
		rec.on_refusal = d->before.on_refusal;
	}
	txn = op_txn_new_job(job, d->own);
	r = txn ? pml_txn_lease_step(
			  txn, &rec, PML_LEASE_EV_DRAIN_CANCELLED, d->kept ? d->answer : NULL)
		: -ENOMEM;
	if (r >= 0)
		r = pml_txn_use_step(
			txn, job->region->id, &rec.extent, PML_USE_EV_EVICT_CANCELLED, NULL);
	if (r >= 0) {
		d->telling++;
		r = manager_apply(job->manager, TAKE_PTR(txn), on_cancel_written, job);
		if (r < 0)
			d->telling--;
	}
	pml_txn_free(txn);
	if (r < 0) {
		job->cancelled = d->kept = false;
		return JOB_NEXT;
	}
	return JOB_WAIT;
}

static JobNext cancel_done(Job *job, int r)
{
	EvictData *d = job->data;

	if (d->cancel_written && !d->past_drain) {
		disarm_deadline(job);
		if (d->kept && d->in_parts)
			job_set_error(job, PML_ERROR_GUEST_REFUSED,
				"The guest of domain %s refuses: %s. It keeps the rest of region %s, as its lease says; evict it "
				"again when the guest has room, or with --on-refusal=force, which asks until the deadline.",
				job->lease->record.domain_name, d->answer,
				region_label(job->region));
		else if (d->kept)
			job_set_error(job, PML_ERROR_GUEST_REFUSED,
				"The guest of domain %s refuses: %s. It keeps region %s, as its lease says; --on-refusal=force "
				"takes it by force.",
				job->lease->record.domain_name, d->answer,
				region_label(job->region));
		else
			job_set_error(job, PML_ERROR_CANCELLED,
				"The eviction was cancelled; domain %s keeps region %s. Nothing was taken.",
				job->lease->record.domain_name, region_label(job->region));
		return JOB_FAIL;
	}
	job_set_next(job, drain_over(job) ? "mark" : "drain");
	return JOB_NEXT;
}

static int evict_cancel(Job *job)
{
	const char *step = job->kind->steps[job->step].name;

	if (!pml_streq(step, "drain") || !job->waiting || drain_over(job))
		return -EBUSY;
	job_resume(job);
	return 0;
}

/* --- mark: from here on nothing waits for the disk --- */

static JobNext mark_prepare(Job *job)
{
	EvictData *d = job->data;
	Manager *m = job->manager;
	PmlRegion *host = job->region->host ? job->region->host : job->region->last;

	disarm_deadline(job);
	d->marks_fd = m->marks_fd;
	d->leased = job->lease != NULL;
	if (job->lease) {
		d->rec = job->lease->record;
		evict_take_wishes(d, &d->rec);
		lease_set_mark(job->lease, PML_LEASE_FENCING);
		evict_tell_ledger(job);
	}
	if (!d->host && host)
		d->host = pml_region_ref(host);
	d->freeze_timeout_usec = m->config.freeze_timeout_usec;
	d->proof_timeout_usec = m->config.proof_timeout_usec;
	d->ran = false;
	job_set_progress(job, "fencing", evict_progress(d, 0.25));
	return JOB_NEXT;
}

/* True: there was no thread to run the step; it is repeated. */
static bool repeat_step(Job *job, const char *step)
{
	EvictData *d = job->data;

	if (d->ran || evict_resume_later(job, THREAD_RETRY_USEC) < 0)
		return false;
	job_set_next(job, step);
	return true;
}

static JobNext mark_done(Job *job, int r)
{
	return repeat_step(job, "mark") ? JOB_WAIT : JOB_NEXT;
}

/*
 * Of a block device: the consent is the lease's. libvirt is asked beside the fence, which waits
 * for the end of the process, and not for libvirt. A machine that never was seen with the region,
 * and whose attach is over, is nobody's to destroy.
 */
static void ask_destroy(Job *job)
{
	EvictData *d = job->data;

	if (d->asked || !d->leased || !d->host)
		return;
	if (pml_region_kind(d->host) != PML_KIND_BDEV &&
		(!d->ram || d->released || d->emptied ||
			d->rec.after_fence != PML_AFTER_FENCE_DESTROY))
		return;
	if (d->rec.vmm_pid == 0 && !lease_attach_outstanding(job->region))
		return;
	/* It has ended, and may have been started again without the region. */
	if (d->rec.vmm_pid > 0 && !op_process_alive(d->rec.vmm_pid, d->rec.vmm_start))
		return;
	d->asked = after_fence_destroy(job->manager, &d->rec) >= 0;
}

static JobNext fence_prepare(Job *job)
{
	((EvictData *)job->data)->ran = false;
	ask_destroy(job);
	return JOB_NEXT;
}

static JobNext fence_done(Job *job, int r)
{
	EvictData *d = job->data;

	if (repeat_step(job, "fence"))
		return JOB_WAIT;
	if (d->fence_r < 0)
		log_full(LOG_ERR,
			&(LogFields){
				.region = job->region->id, .lease = d->leased ? d->rec.id : NULL},
			"The fence of region %s failed: %s. The proof decides.",
			region_label(job->region), strerror(-d->fence_r));
	return JOB_NEXT;
}

static JobNext prove_prepare(Job *job)
{
	EvictData *d = job->data;

	d->ran = false;
	job_set_progress(job, "proving", evict_progress(d, 0.5));
	return JOB_NEXT;
}

static JobNext prove_done(Job *job, int r)
{
	EvictData *d = job->data;

	if (repeat_step(job, "prove"))
		return JOB_WAIT;
	if (job->lease)
		lease_set_mark(job->lease, d->proved ? PML_LEASE_FENCED : PML_LEASE_STUCK);
	return JOB_NEXT;
}

/* --- pause: in the background; a libvirt that hangs keeps nothing from its end --- */

static JobNext pause_prepare(Job *job)
{
	EvictData *d = job->data;
	int r;

	/* What it touches of a revoked region is a machine check, not a fault for ever. */
	bool runs_on = d->fence.level == PML_FENCE_REVOKE && d->fence_r == 0 && !d->fence.frozen &&
		       d->rec.after_fence == PML_AFTER_FENCE_KEEP;

	if (d->leased && !runs_on && !d->ram &&
		((d->rec.vmm_pid > 0 && !d->vmm_gone && (!d->released || d->lied)) ||
			d->fence.frozen)) {
		r = after_fence_begin(job->manager, &d->rec, d->fence.frozen);
		if (r < 0)
			log_error("Domain %s cannot be paused: %s.", d->rec.domain_name,
				strerror(-r));
	}
	return JOB_NEXT;
}

static JobNext pause_done(Job *job, int r)
{
	EvictData *d = job->data;

	job_set_progress(job, "recording the proof", evict_progress(d, 0.75));
	return d->telling > 0 ? JOB_WAIT : JOB_NEXT;
}

static void evict_finished(Job *job, bool success)
{
	Region *region = job->region;
	const EvictData *d = job->data;
	Lease *lease = region->lease;

	disarm_deadline(job);
	ask_end(job);
	if (success && !d->own && !d->undone && job->lease)
		persist_remove(region, &job->lease->record);
	/* The disk refused to accept: a lease half made has lost its job to this one, and must not
	 * stay. */
	if (!success && d->took_over && lease && lease->record.state == PML_LEASE_ATTACHING) {
		(void)evict_force(region, "its lease was being made when it was evicted");
		return;
	}
	if (!success && d->took_over && lease && lease->record.state == PML_LEASE_RESERVED) {
		(void)recover_lease_start(lease);
		return;
	}
	/* The next scan may come after somebody who binds it. */
	if (success && d->proved && region_is_kept_offline(region))
		region->was_offline = true;
	/* Who is left has just been proved; their ends are what there is to wait for. */
	if (success && d->proved && pml_proof_verdict(d->proof) == PML_PROOF_UNREACHABLE)
		settle_wait(region, d->proof);
	else
		settle_kick(region);
}

static const JobStep evict_steps[] = {
	{.name = "takeover", .prepare = takeover_prepare, .optional_skip = true},
	{.name = "accept",
		.prepare = accept_prepare,
		.where = EXEC_LEDGER,
		.run = change_run,
		.done = accept_done,
		.optional_skip = true},
	{.name = "drain", .prepare = drain_prepare, .done = drain_done, .optional_skip = true},
	{.name = "cancel", .prepare = cancel_prepare, .done = cancel_done},
	{.name = "mark",
		.prepare = mark_prepare,
		.where = EXEC_FENCE,
		.run = evict_mark_run,
		.done = mark_done},
	{.name = "fence",
		.prepare = fence_prepare,
		.where = EXEC_FENCE,
		.run = evict_fence_run,
		.done = fence_done},
	{.name = "prove",
		.prepare = prove_prepare,
		.where = EXEC_FENCE,
		.run = evict_prove_run,
		.done = prove_done},
	{.name = "pause", .prepare = pause_prepare, .done = pause_done},
	{.name = "record",
		.prepare = evict_record_prepare,
		.where = EXEC_LEDGER,
		.run = evict_record_run,
		.done = evict_record_done},
};

const JobKind op_evict_kind = {
	.name = "evict",
	.steps = evict_steps,
	.n_steps = ELEMENTSOF(evict_steps),
	.data_free = evict_data_free,
	.cancel = evict_cancel,
	.finished = evict_finished,
};

const JobKind op_release_kind = {
	.name = "release",
	.steps = evict_steps,
	.n_steps = ELEMENTSOF(evict_steps),
	.data_free = evict_data_free,
	.cancel = evict_cancel,
	.finished = evict_finished,
};

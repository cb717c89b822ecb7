/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What begins an eviction: an operator, a tenant, the end of a domain, a device that somebody
 * unbound, a restart. */

#include <inttypes.h>

#include "evict.h"
#include "lease-job.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

#define FORCE_RETRY_USEC (20 * USEC_PER_MSEC)

static bool is_evict(const Job *job)
{
	return job && (job->kind == &op_evict_kind || job->kind == &op_release_kind);
}

static bool is_draining(const Job *job)
{
	const char *step;

	if (!is_evict(job))
		return false;
	step = job->kind->steps[job->step].name;
	return pml_streq(step, "takeover") || pml_streq(step, "accept") ||
	       pml_streq(step, "drain") || pml_streq(step, "cancel");
}

static EvictData *evict_data_new(Manager *m)
{
	EvictData *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->manager = m;
	d->after_fence = _PML_AFTER_FENCE_INVALID;
	d->how.drain = _PML_DRAIN_INVALID;
	d->how.on_refusal = _PML_ON_REFUSAL_INVALID;
	return d;
}

/* Nothing waits for the guest any more. */
static void hurry(Job *job)
{
	EvictData *d = job->data;

	d->past_drain = true;
	if (pml_streq(job->kind->steps[job->step].name, "drain") ||
		pml_streq(job->kind->steps[job->step].name, "cancel"))
		job_resume(job);
}

static int start(Region *region, const JobKind *kind, uint32_t uid, EvictData *d, Job **ret)
{
	Job *lease_job = lease_job_replaceable(region->job) ? region->job : NULL, *job;
	int r;

	d->ram = region_is_ram(region);
	if (lease_job) {
		char by[32];

		(void)snprintf(by, sizeof(by), "uid %" PRIu32 " evicted it", uid);
		d->took_over = true;
		d->taking_over = lease_job_yield(lease_job, d->forced ? d->reason : by);
	}
	r = job_start(
		region->manager, kind, region, d->taking_over ? NULL : region->lease, uid, d, &job);
	if (r < 0) {
		/* The lease job has lost the region: what it left is fenced by the daemon itself.
		 */
		if (lease_job)
			lease_job_set_successor(lease_job, NULL);
		return r;
	}
	if (lease_job)
		lease_job_set_successor(lease_job, job);
	if (ret)
		*ret = job;
	return 0;
}

/* --- an eviction that is running already --- */

static void on_shortened(void *data, int r, const char *why)
{
	if (r != 0)
		log_warning(
			"A shorter deadline could not be recorded (%s); it holds while this daemon runs.",
			why ? why : strerror(r < 0 ? -r : EIO));
}

/*
 * A second evict may only hurry the first: an earlier deadline takes the place of the later one at
 * once, in memory, since towards the fence the disk is not waited for; a later one is refused, so
 * that nobody's deadline is silently put off.
 */
static int evict_again(Region *region, uint64_t deadline_usec, bool keep_offline,
	PmlAfterFence after_fence, PmlOnRefusal on_refusal, uint32_t uid, Job **ret_job,
	OpError *err)
{
	Job *job = region->job;
	EvictData *d = job->data;
	Lease *lease = job->lease;
	PmlLeaseRecord rec;
	PmlTxn *txn;
	char span[32];
	int r;

	if (!is_draining(job) || d->forced)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is being taken back now (job %" PRIu64 "). Wait for that job.",
			region_label(region), job->id);
	if (deadline_usec >= d->deadline_usec) {
		uint64_t now = pml_now_usec(CLOCK_BOOTTIME);

		if (d->deadline_usec == PML_DEADLINE_INFINITY)
			(void)PML_STRCPY(span, "all the time there is");
		else
			(void)op_span(span, sizeof(span),
				d->deadline_usec > now ? d->deadline_usec - now : 0);
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is being taken back already (job %" PRIu64
			", %s left). Give an earlier deadline to hurry "
			"it, or cancel that job first.",
			region_label(region), job->id, span);
	}
	d->deadline_usec = deadline_usec;
	d->keep_offline = d->keep_offline || keep_offline;
	if ((int)after_fence >= 0)
		d->after_fence = after_fence;
	if ((int)on_refusal >= 0)
		d->how.on_refusal = on_refusal;
	if (lease && d->accepted) {
		rec = lease->record;
		rec.deadline_usec = deadline_usec;
		rec.keep_offline = d->keep_offline;
		if ((int)after_fence >= 0)
			rec.after_fence = after_fence;
		if ((int)on_refusal >= 0)
			rec.on_refusal = on_refusal;
		txn = op_txn_new(uid);
		r = txn ? pml_txn_lease_update(txn, &rec) : -ENOMEM;
		if (r >= 0)
			(void)manager_apply(region->manager, TAKE_PTR(txn), on_shortened, NULL);
		pml_txn_free(txn);
	}
	/* A timer that cannot be moved bounds nothing. */
	if (lease && evict_waits(job) && evict_arm_deadline(job) < 0)
		hurry(job);
	*ret_job = job;
	return 0;
}

/* --- starters --- */

static int refuse(Region *region, OpError *err)
{
	const Lease *lease = region->lease;
	const Job *job = region->job;

	if (lease && lease_state(lease) == PML_LEASE_FENCED)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s was taken back from domain %s already; it stays unbound until its last holder is gone. See "
			"`pmemlease verify %s` for who that is.",
			region_label(region), lease->record.domain_name, region_label(region));
	if (lease && lease_state(lease) == PML_LEASE_STUCK)
		return op_error(err, PML_ERROR_STUCK,
			"Region %s was fenced, but not proved: %s. It is proved again at the end of every process that holds "
			"it; end those, or lift the quarantine with a reason.",
			region_label(region), region->record.reason);
	if (job && !is_evict(job) && !lease_job_replaceable(job) && job->kind != &op_settle_kind)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is busy with job %" PRIu64
			" (%s). Wait for it, or cancel it, and evict again.",
			region_label(region), job->id, job->kind->name);
	if (lease)
		return 0;
	if (region->record.use == PML_USE_QUARANTINED)
		return op_error(err, PML_ERROR_QUARANTINED,
			"Region %s is quarantined (%s) and never lent; lift the quarantine with a reason first.",
			region_label(region), region->record.reason);
	if (region->record.use == PML_USE_EVICTED)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is taken back and offline already%s%s.", region_label(region),
			region->record.reason[0] ? ": " : "", region->record.reason);
	if (job && job->kind == &op_settle_kind)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is being made ready again. Evict it again in a moment.",
			region_label(region));
	return 0;
}

int op_deadline_check(const Manager *m, uint64_t deadline_usec, OpError *err)
{
	if (deadline_usec <= m->config.deadline_max_usec || deadline_usec == PML_DEADLINE_DEFAULT ||
		deadline_usec == PML_DEADLINE_INFINITY)
		return 0;
	return op_error(err, PML_ERROR_INVALID,
		"A deadline is at most %llu s from now. Give a shorter one, or infinity.",
		(unsigned long long)(m->config.deadline_max_usec / USEC_PER_SEC));
}

/* On CLOCK_BOOTTIME. What was named counts, then the lease, then the configuration. */
static uint64_t deadline_of(
	const Manager *m, const Region *region, const DrainPolicy *drain, uint64_t deadline_usec)
{
	const PmlLeaseRecord *rec = region->lease ? &region->lease->record : NULL;
	PmlDrain how = (int)drain->drain >= 0 || !rec ? drain->drain : rec->drain;

	if (how == PML_DRAIN_FORCE)
		deadline_usec = 0;
	if (deadline_usec == PML_DEADLINE_DEFAULT && rec)
		deadline_usec = rec->grace_usec;
	if (deadline_usec == PML_DEADLINE_DEFAULT)
		deadline_usec = m->config.deadline_usec;
	if (deadline_usec == PML_DEADLINE_INFINITY)
		return deadline_usec;
	return pml_now_usec(CLOCK_BOOTTIME) + deadline_usec;
}

/* No time for a guest to give memory of the host back, and no consent to end its machine. */
static bool is_vain(const Region *region, uint64_t deadline_boot_usec, PmlDrain drain,
	PmlAfterFence after_fence)
{
	if (!region_is_ram(region) || !region->lease ||
		lease_state(region->lease) > PML_LEASE_DRAINING)
		return false;
	if ((int)after_fence < 0)
		after_fence = region->lease->record.after_fence;
	if ((int)drain < 0)
		drain = region->lease->record.drain;
	return after_fence != PML_AFTER_FENCE_DESTROY &&
	       (drain == PML_DRAIN_FORCE || deadline_boot_usec <= pml_now_usec(CLOCK_BOOTTIME));
}

int op_evict_start(Manager *m, Region *region, const char *kind, uint64_t deadline_usec,
	bool keep_offline, PmlAfterFence after_fence, uint32_t uid, Job **ret_job, OpError *err)
{

	return op_evict_start_with(m, region, kind, deadline_usec, keep_offline, after_fence,
		&DRAIN_AS_LEASED, uid, ret_job, err);
}

int op_evict_start_with(Manager *m, Region *region, const char *kind, uint64_t deadline_usec,
	bool keep_offline, PmlAfterFence after_fence, const DrainPolicy *drain, uint32_t uid,
	Job **ret_job, OpError *err)
{
	bool release = pml_streq(kind, "release");
	uint64_t deadline;
	EvictData *d;
	int r;

	r = op_deadline_check(m, deadline_usec, err);
	if (r != 0)
		return r;
	deadline = deadline_of(m, region, drain, deadline_usec);

	if (release && !region->lease)
		return op_error(err, PML_ERROR_NO_SUCH_LEASE,
			"Region %s is not leased; there is nothing to release.",
			region_label(region));
	if ((after_fence == PML_AFTER_FENCE_PAUSE || after_fence == PML_AFTER_FENCE_KEEP) &&
		region_is_block(region))
		return op_error(err, PML_ERROR_NO_FENCE,
			"Region %s is a block device, which is taken back by destroying its domain, and in no other "
			"way. Leave the wish to pause it out.",
			region_label(region));
	if (is_vain(region, deadline, drain->drain, after_fence))
		return op_error(err, PML_ERROR_NO_FENCE, OP_RAM_NO_FORCE, region_label(region));
	if (is_evict(region->job))
		return evict_again(region, deadline, keep_offline, after_fence, drain->on_refusal,
			uid, ret_job, err);
	r = refuse(region, err);
	if (r != 0)
		return r;
	if (!region->lease && !region->host)
		return op_error(err, PML_ERROR_NO_SUCH_REGION,
			"Region %s is missing from this host; nothing can reach it here.",
			region_label(region));

	d = evict_data_new(m);
	if (!d)
		return -ENOMEM;
	d->deadline_usec = deadline;
	d->keep_offline = keep_offline;
	d->after_fence = after_fence;
	d->how = *drain;
	(void)snprintf(d->reason, sizeof(d->reason), "kept offline: evicted by uid %u", uid);
	r = start(region, release ? &op_release_kind : &op_evict_kind, uid, d, ret_job);
	if (r == -EDQUOT)
		return op_error(
			err, PML_ERROR_LIMIT, "Too many jobs are running. Wait for one to end.");
	return r;
}

static int on_force_again(sd_event_source *s, uint64_t usec, void *userdata)
{
	Region *region = userdata;

	sd_event_source_disable_unref(region->retry);
	region->retry = NULL;
	/* The end of a domain and the loss of a device are for good. */
	return evict_force(region, "its domain has ended or its device is gone");
}

/* Something short has the region (a policy is being written); the reason will not be announced
 * again. */
static int force_later(Region *region)
{
	sd_event_source_disable_unref(region->retry);
	region->retry = NULL;
	return sd_event_add_time_relative(region->manager->event, &region->retry, CLOCK_BOOTTIME,
		FORCE_RETRY_USEC, 1, on_force_again, region);
}

/*
 * Memory of the host that a machine may have: no fence takes it, so that its guest has to be asked,
 * also where nobody else is.
 */
static bool must_ask(const Region *region)
{
	const PmlLeaseRecord *rec = &region->lease->record;

	return region_is_ram(region) && region->lease->recorded &&
	       (rec->state == PML_LEASE_ATTACHING || rec->state == PML_LEASE_ACTIVE) &&
	       pml_streq(rec->boot_id, region->manager->boot_id) &&
	       (rec->vmm_pid == 0 || op_process_alive(rec->vmm_pid, rec->vmm_start));
}

int evict_force(Region *region, const char *why)
{
	EvictData *d;

	if (is_draining(region->job)) {
		((EvictData *)region->job->data)->must = true;
		hurry(region->job);
		return 0;
	}
	if (!region->lease || is_evict(region->job))
		return 0;
	if (region->job && !lease_job_replaceable(region->job))
		return force_later(region);
	log_full(LOG_NOTICE,
		&(LogFields){.region = region->id,
			.lease = region->lease->record.id,
			.domain = region->lease->record.domain},
		"Taking region %s back from domain %s now: %s.", region_label(region),
		region->lease->record.domain_name, why);
	d = evict_data_new(region->manager);
	if (!d)
		return -ENOMEM;
	d->own = true;
	d->forced = !must_ask(region);
	d->must = !d->forced;
	d->deadline_usec = pml_now_usec(CLOCK_BOOTTIME);
	if (!d->forced)
		d->deadline_usec += region->manager->config.deadline_usec;
	(void)snprintf(d->reason, sizeof(d->reason), "%s", why);
	pml_make_printable(d->reason);
	return start(region, &op_evict_kind, 0, d, NULL);
}

int evict_released(Region *region, const char *why)
{
	int r = evict_force(region, why);

	if (r == 0 && is_evict(region->job))
		((EvictData *)region->job->data)->released = true;
	if (r == 0 && is_evict(region->job) && region->lease)
		((EvictData *)region->job->data)->emptied =
			region->lease->record.virtio_mem &&
			region->lease->record.plugged_bytes == 0;
	return r;
}

int evict_continue(Lease *lease)
{
	EvictData *d = evict_data_new(lease->manager);
	int r;

	if (!d)
		return -ENOMEM;
	d->own = true;
	d->accepted = true;
	d->keep_offline = lease->record.keep_offline;
	d->deadline_usec = lease->record.deadline_usec;
	(void)snprintf(d->reason, sizeof(d->reason), "kept offline: evicted");
	r = start(lease->region, &op_evict_kind, 0, d, NULL);
	/* Without a deadline, its machine's end is all that there is to wait for. */
	if (r == 0 && lease->record.vmm_pid > 0)
		lease_watch_vmm(lease);
	return r;
}

int evict_continue_unleased(Region *region)
{
	EvictData *d = evict_data_new(region->manager);

	if (!d)
		return -ENOMEM;
	d->own = true;
	d->accepted = true;
	d->keep_offline = true;
	(void)snprintf(d->reason, sizeof(d->reason), "kept offline: evicted");
	return start(region, &op_evict_kind, 0, d, NULL);
}

/* --- what is noticed --- */

static bool may_have_mapping(const Lease *lease)
{
	switch (lease_state(lease)) {
	case PML_LEASE_ATTACHING:
	case PML_LEASE_ACTIVE:
	case PML_LEASE_DRAINING:
		return lease->recorded;
	case PML_LEASE_RESERVED:
	case PML_LEASE_FENCING:
	case PML_LEASE_FENCED:
	case PML_LEASE_STUCK:
	case PML_LEASE_RELEASED:
	case _PML_LEASE_STATE_MAX:
	case _PML_LEASE_STATE_INVALID:
		break;
	}
	return false;
}

static const char *lost_how(const Region *region)
{
	switch (region->presence) {
	case PML_PRESENCE_MISSING:
		return "its device has gone";
	case PML_PRESENCE_OFFLINE:
		return "somebody else unbound its device";
	case PML_PRESENCE_ONLINE:
		return region->replaced ? "its device is another one now"
					: "its device shrank below the end of the lease";
	case _PML_PRESENCE_MAX:
	case _PML_PRESENCE_INVALID:
		break;
	}
	return "its device has changed";
}

void manager_region_lost(Region *region)
{
	if (!region->lease || !may_have_mapping(region->lease))
		return;
	(void)evict_force(region, lost_how(region));
}

void manager_domain_stopped(Manager *m, const char *uuid)
{
	Lease *lease;

	LIST_FOREACH (lease, &m->leases, leases)
		if (lease->region && lease->region->lease == lease &&
			pml_streq(lease->record.domain, uuid) && may_have_mapping(lease))
			(void)evict_force(lease->region, "its domain has ended");
}

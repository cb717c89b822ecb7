/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A lease that an earlier run of the daemon left half made, or active: undone, finished, or looked
 * at again. An eviction takes its place as it does a lease job's. */

#include "lease-job.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

#define RETRY_MIN_USEC (200 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	job_resume(userdata);
	return 0;
}

static int try_later(Job *job, const char *step)
{
	LeaseData *d = job->data;

	d->retry_usec = d->retry_usec ? d->retry_usec * 2 : RETRY_MIN_USEC;
	if (d->retry_usec > RETRY_MAX_USEC)
		d->retry_usec = RETRY_MAX_USEC;
	sd_event_source_disable_unref(d->timer);
	d->timer = NULL;
	job_set_next(job, step);
	return sd_event_add_time_relative(
		job->manager->event, &d->timer, CLOCK_BOOTTIME, d->retry_usec, 1, on_timer, job);
}

/* --- undo: reserved, and nothing was asked of libvirt --- */

static JobNext undo_prepare(Job *job)
{
	LeaseData *d = job->data;
	PmlLeaseRecord rec;
	PmlTxn *txn;
	int r;

	if (lease_replaced(job))
		return JOB_FAIL;
	rec = job->lease->record;
	if (rec.state != PML_LEASE_RESERVED) {
		job->skip = true;
		return JOB_NEXT;
	}
	txn = op_txn_new_daemon();
	r = txn ? pml_txn_lease_step(txn, &rec, PML_LEASE_EV_UNDO, NULL) : -ENOMEM;
	if (r >= 0)
		r = pml_txn_use_step(
			txn, job->region->id, &rec.extent, PML_USE_EV_LEASE_UNDONE, NULL);
	/* Never unbound: nothing is owed. */
	if (r >= 0 && job->region->record.ram)
		r = pml_txn_ram(txn, job->region->id, &rec.extent, false);
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "undo the lease");
	}
	ledger_change_clear(&d->change);
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

static JobNext undo_done(Job *job, int r)
{
	LeaseData *d = job->data;

	ledger_change_done(&d->change, r);
	if (d->replaced) {
		lease_write_done(job);
		(void)lease_replaced(job);
		return JOB_FAIL;
	}
	if (r == 0)
		return JOB_DONE;
	if (r > 0) {
		job_set_ledger_error(job, r, d->change.why);
		return JOB_FAIL;
	}
	log_warning("The lease %s could not be undone yet: %s. Trying again.",
		job->lease->record.id, strerror(-r));
	job_set_progress(job, "waiting for the ledger's disk", 0);
	r = try_later(job, "undo");
	return r < 0 ? op_fail(job, r, "wait for the ledger's disk") : JOB_WAIT;
}

/* --- ask: libvirt may have been in the middle of an attach --- */

static JobNext ask_prepare(Job *job)
{
	LeaseData *d = job->data;

	if (lease_replaced(job))
		return JOB_FAIL;
	if (job->lease->record.state != PML_LEASE_ATTACHING) {
		job->skip = true;
		return JOB_NEXT;
	}
	d->virt = job->manager->virt;
	job_set_progress(job, "waiting for libvirt", 0.2);
	return job->manager->libvirt_connected ? JOB_NEXT : JOB_WAIT;
}

static int ask_run(void *userdata)
{
	LeaseData *d = userdata;
	int r;

	free(d->why);
	d->why = NULL;
	r = d->ops->has_device(d->virt, d->rec.domain, &d->mem, &d->has_device, &d->why);
	if (r != 0 || !d->has_device || !d->mem.virtio_mem || !d->ops->resize)
		return r;
	return d->ops->resize(
		d->virt, d->rec.domain, &d->mem, VIRT_RESIZE_LOOK, &d->plugged, &d->why);
}

/* Of a virtio-mem, all of it. */
static bool is_there(const LeaseData *d)
{
	return d->has_device &&
	       (!d->mem.virtio_mem || d->plugged.current_bytes >= d->rec.lent_bytes);
}

static JobNext ask_done(Job *job, int r)
{
	LeaseData *d = job->data;

	if (lease_replaced(job))
		return JOB_FAIL;
	if (r == VIRT_UNAVAILABLE) {
		job_set_next(job, "ask");
		/* Its loss was not heard of yet: the next connection asks again. */
		return JOB_WAIT;
	}
	if (r == 0 && is_there(d))
		return JOB_NEXT;
	/* The attach still runs inside libvirt, and may well succeed: its tenant keeps the region.
	 */
	if ((r == VIRT_AMBIGUOUS || r == VIRT_BUSY) && try_later(job, "ask") >= 0)
		return JOB_WAIT;
	job_set_error(job, PML_ERROR_FAILED,
		"Domain %s does not have region %s: neither its attach nor its start got through.",
		d->rec.domain_name, region_label(d->region));
	return JOB_FAIL;
}

static JobNext active_done(Job *job, int r)
{
	LeaseData *d = job->data;

	ledger_change_done(&d->change, r);
	if (d->replaced) {
		lease_write_done(job);
		(void)lease_replaced(job);
		return JOB_FAIL;
	}
	if (r == 0)
		return JOB_NEXT;
	job_set_ledger_error(job, r, d->change.why);
	return JOB_FAIL;
}

static JobNext check_prepare(Job *job)
{
	if (lease_replaced(job))
		return JOB_FAIL;
	return JOB_NEXT;
}

static JobNext check_done(Job *job, int r)
{
	LeaseData *d = job->data;

	if (lease_replaced(job))
		return JOB_FAIL;
	lease_take_claim(job);
	if (d->checked_active && r < 0 && op_process_alive(d->rec.vmm_pid, d->rec.vmm_start)) {
		/* /proc is in trouble, not the tenant: its memory is not taken for that. */
		log_warning("What domain %s maps could not be looked at: %s.", d->rec.domain_name,
			strerror(-r));
		return JOB_DONE;
	}
	if (r < 0)
		return op_fail(job, r, "check what the machine maps");
	if (!d->mapped) {
		job_set_error(job, PML_ERROR_FAILED, "Domain %s does not map region %s any more.",
			d->rec.domain_name, region_label(d->region));
		return JOB_FAIL;
	}
	job->lease->panics = d->panics;
	lease_changed(job->lease);
	return d->checked_active ? JOB_DONE : JOB_NEXT;
}

static void recover_finished(Job *job, bool success)
{
	LeaseData *d = job->data;
	Lease *lease = job->lease;

	if (d->replaced || !lease || lease->gone || lease->record.state == PML_LEASE_RESERVED)
		return;
	if (success && lease->record.state == PML_LEASE_ACTIVE)
		lease_watch_vmm(lease);
	else
		(void)evict_force(
			d->region, job->message[0] ? job->message : "it was left half made");
}

static const JobStep recover_steps[] = {
	{.name = "undo",
		.prepare = undo_prepare,
		.where = EXEC_LEDGER,
		.run = lease_change_run,
		.done = undo_done,
		.optional_skip = true},
	{.name = "ask",
		.prepare = ask_prepare,
		.where = EXEC_VIRT,
		.run = ask_run,
		.done = ask_done,
		.optional_skip = true},
	{.name = "check",
		.prepare = check_prepare,
		.where = EXEC_WORK,
		.run = lease_check_run,
		.done = check_done},
	{.name = "active",
		.prepare = lease_active_prepare,
		.where = EXEC_LEDGER,
		.run = lease_change_run,
		.done = active_done},
};

const JobKind op_recover_kind = {
	.name = "recover",
	.steps = recover_steps,
	.n_steps = ELEMENTSOF(recover_steps),
	.data_free = lease_data_free,
	.finished = recover_finished,
	.internal = true,
};

int recover_lease_start(Lease *lease)
{
	LeaseData *d = lease_data_new(lease->manager, lease->region);

	if (!d)
		return -ENOMEM;
	d->rec = lease->record;
	d->checked_active = lease->record.state == PML_LEASE_ACTIVE;
	(void)op_memory(lease->region, &lease->record, &d->mem);
	return job_start(lease->manager, &op_recover_kind, lease->region, lease, 0, d, NULL);
}

void lease_jobs_libvirt_connected(Manager *m)
{
	for (Job *j = m->jobs; j; j = j->next)
		if (j->kind == &op_recover_kind && pml_streq(j->kind->steps[j->step].name, "ask"))
			job_resume(j);
}

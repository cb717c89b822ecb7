/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Lending a region. Up to `attaching` a failure is undone; from there on a guest may have written,
 * and nothing but an eviction's proof ends the lease. An eviction takes a lease job's place at any
 * time, so that its deadline holds while libvirt hangs in the attach.
 */

#include <inttypes.h>

#include "askable.h"
#include "lease-job.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

/* A guest takes a virtio-mem in a second or two once its driver is there, which a booting one may
 * not have yet. Its device's word comes at once, or a second late; libvirt may have lost it. */
#define PLUG_USEC      (60 * USEC_PER_SEC)
#define PLUG_LOOK_USEC USEC_PER_SEC

/* --- an eviction takes the region over --- */

bool lease_job_replaceable(const Job *job)
{
	return job && (job->kind == &op_lease_kind || job->kind == &op_grant_kind ||
			      job->kind == &op_recover_kind);
}

bool lease_job_yield(Job *job, const char *why)
{
	LeaseData *d = job->data;
	bool writing = job->running && job->kind->steps[job->step].where == EXEC_LEDGER;

	d->replaced = true;
	d->replaced_why = strdup(why);
	d->region->job = NULL;
	job->region = NULL;
	if (!writing && job->lease && !job->lease->recorded)
		lease_drop(job->lease);
	job_resume(job);
	return writing;
}

static void end_orphan(LeaseData *d)
{
	Lease *lease = d->region->lease;

	if (!d->orphan || d->region->job || !lease || !lease->recorded)
		return;
	if (lease->record.state == PML_LEASE_RESERVED)
		(void)recover_lease_start(lease);
	else
		(void)evict_force(d->region, "its lease was being made when it was evicted");
}

void lease_job_set_successor(Job *job, Job *evict)
{
	LeaseData *d = job->data;

	d->evict = evict;
	d->orphan = !evict;
	if (!job->running || job->kind->steps[job->step].where != EXEC_LEDGER)
		end_orphan(d);
}

bool lease_replaced(Job *job)
{
	const LeaseData *d = job->data;

	if (!d->replaced)
		return false;
	job_set_error(job, PML_ERROR_CANCELLED,
		"Region %s was taken back while it was being leased: %s.", region_label(d->region),
		d->replaced_why ? d->replaced_why : "it was evicted");
	return true;
}

void lease_write_done(Job *job)
{
	LeaseData *d = job->data;
	Job *evict = TAKE_PTR(d->evict);

	if (!d->replaced)
		return;
	if (job->lease && !job->lease->recorded && !job->lease->gone)
		lease_drop(job->lease);
	if (evict)
		evict_taken_over(evict);
	else
		end_orphan(d);
}

bool lease_attach_outstanding(const Region *region)
{
	for (const Job *j = region->manager->jobs; j; j = j->next)
		if (j->kind == &op_lease_kind && ((const LeaseData *)j->data)->region == region &&
			((const LeaseData *)j->data)->attaching)
			return true;
	return false;
}

static void on_vmm_exit(Region *region)
{
	/* A region that is fenced has watches of its own. */
	manager_domain_stopped(region->manager, region->lease ? region->lease->record.domain : "");
}

void lease_watch_vmm(Lease *lease)
{
	Region *region = lease->region;
	int fd, r;

	watch_drop(region, false);
	r = op_pidfd_open(lease->record.vmm_pid, lease->record.vmm_start, &fd);
	if (r >= 0)
		r = watch_add(region, fd, false, on_vmm_exit);
	if (r == -ESRCH)
		(void)evict_force(region, "its machine's process has ended");
	else if (r < 0)
		log_full(LOG_WARNING, &(LogFields){.lease = lease->record.id},
			"The machine of domain %s cannot be watched: %s. Its end is heard from libvirt only.",
			lease->record.domain_name, strerror(-r));
}

/* --- domain --- */

static int domain_run(void *userdata)
{
	LeaseData *d = userdata;

	return d->ops->suited(d->virt, d->domain_arg, &d->mem, &d->found, &d->why);
}

static JobNext fail_with(Job *job, const OpError *err)
{
	job_set_error(job, err->error, "%s", err->message);
	return JOB_FAIL;
}

static JobNext virt_failed(Job *job, int r)
{
	const LeaseData *d = job->data;
	OpError err;

	if (r < 0)
		return op_fail(job, r, "ask libvirt");
	(void)op_virt_error(&err, r, d->domain_arg, d->why);
	return fail_with(job, &err);
}

int lease_check_owner(const Region *region, const char *owner, OpError *err)
{
	switch (region->record.content) {
	case PML_CONTENT_BLANK:
		return 0;
	case PML_CONTENT_RETAINED:
		if (pml_streq(region->record.owner, owner))
			return 0;
		return op_error(err, PML_ERROR_NOT_CLEAN,
			"Region %s holds the data of %s, not of %s. Lease it to its owner, or destroy that data with "
			"`pmemlease scrub %s --discard=%s`.",
			region_label(region), region->record.owner, owner, region_label(region),
			region->record.owner);
	case PML_CONTENT_FOREIGN:
		return op_error(err, PML_ERROR_FOREIGN,
			"Region %s holds data of unknown origin. Say whose it is with `pmemlease adopt %s OWNER`, or "
			"destroy it with `pmemlease scrub %s --discard=`.",
			region_label(region), region_label(region), region_label(region));
	case PML_CONTENT_SCRUBBING:
		return op_error(err, PML_ERROR_NOT_CLEAN,
			"Region %s was scrubbed in part only. Scrub it to the end with `pmemlease scrub %s --discard=%s`.",
			region_label(region), region_label(region), region->record.owner);
	case _PML_CONTENT_MAX:
	case _PML_CONTENT_INVALID:
		break;
	}
	return op_error(err, PML_ERROR_FAILED,
		"Region %s is in no known state; see the daemon's log.", region_label(region));
}

static bool cancelled(Job *job)
{
	const LeaseData *d = job->data;

	if (!job->cancelled)
		return false;
	job_set_error(job, PML_ERROR_CANCELLED,
		"The lease of region %s was cancelled; nothing was lent.", region_label(d->region));
	return true;
}

static JobNext domain_prepare(Job *job)
{
	LeaseData *d = job->data;

	if (lease_replaced(job) || cancelled(job))
		return JOB_FAIL;
	d->virt = job->manager->virt;
	job_set_progress(job, "asking libvirt", 0);
	return JOB_NEXT;
}

static JobNext domain_done(Job *job, int r)
{
	LeaseData *d = job->data;
	OpError err;

	if (lease_replaced(job) || cancelled(job))
		return JOB_FAIL;
	/* A kernel that revokes takes it back from pinned memory, too. */
	if (r == VIRT_PINNED && pml_fence_level(d->host, d->dax) == PML_FENCE_REVOKE)
		r = 0;
	if (r != 0)
		return virt_failed(job, r);
	(void)PML_STRCPY(d->rec.domain, d->found.uuid);
	(void)PML_STRCPY(d->rec.domain_name, d->found.name);
	if (!d->owner_given)
		(void)PML_STRCPY(d->rec.owner, d->found.uuid);
	if (lease_check_owner(job->region, d->rec.owner, &err) != 0)
		return fail_with(job, &err);
	job->lease->record = d->rec;
	lease_changed(job->lease);
	return JOB_NEXT;
}

/* --- holders --- */

JobNext lease_step_holders_prepare(Job *job)
{
	((LeaseData *)job->data)->claims = true;
	job_set_progress(job, "looking for holders", 0.15);
	return JOB_NEXT;
}

static JobNext node_failed(Job *job, int r)
{
	const LeaseData *d = job->data;

	if (r == -ESTALE || r == -ENODEV || r == -ENOENT)
		job_set_error(job, PML_ERROR_STALE,
			"%s is not the device that region %s is. See `pmemlease regions`, and lease by its id.",
			pml_region_path(d->host), region_label(d->region));
	else if (r == -ENXIO)
		job_set_error(job, PML_ERROR_NOT_LEASABLE,
			"Region %s is not bound to device_dax any more. Bind it, then lease again.",
			region_label(d->region));
	else if (r == -EBUSY)
		job_set_error(job, PML_ERROR_HELD,
			"%s is in use on this host (mounted, swapped on, below the device mapper or md, or opened "
			"exclusively). End that, then lease again.",
			pml_region_path(d->host));
	else
		return op_fail(job, r, "find out who holds the region");
	(void)manager_rescan(job->manager, NULL, NULL);
	return JOB_FAIL;
}

JobNext lease_step_holders_done(Job *job, int r)
{
	const LeaseData *d = job->data;

	if (lease_replaced(job) || cancelled(job))
		return JOB_FAIL;
	if (r < 0)
		return node_failed(job, r);
	if (r > 0 && d->mem.ram && d->why) {
		job_set_error(job, PML_ERROR_NOT_LEASABLE, "%s", d->why);
		return JOB_FAIL;
	}
	if (r > 0) {
		job_set_error(job, PML_ERROR_HELD,
			"Region %s is in use: %.300s. End what holds it, then lease again.",
			region_label(job->region), pml_proof_summary(d->proof));
		return JOB_FAIL;
	}
	lease_take_claim(job);
	((LeaseData *)job->data)->rec.lent_bytes = d->ram_bytes;
	/* Until libvirt says less. */
	((LeaseData *)job->data)->rec.plugged_bytes = d->ram_bytes;
	return JOB_NEXT;
}

/* --- reserve, attaching --- */

JobNext lease_step_reserve_prepare(Job *job)
{
	LeaseData *d = job->data;
	OpError err;
	PmlTxn *txn;
	int r;

	/* Time has passed since the start: once more, on what is known now. */
	if (lease_check_owner(job->region, d->rec.owner, &err) != 0)
		return fail_with(job, &err);
	if (job->region->record.use != PML_USE_FREE || !job->region->host ||
		!pml_extent_equal(&job->region->extent, &d->rec.extent)) {
		job_set_error(job, PML_ERROR_STALE,
			"Region %s has changed meanwhile. Look at it, then lease again.",
			region_label(job->region));
		return JOB_FAIL;
	}
	txn = op_txn_new(job->uid);
	r = txn ? pml_txn_lease_new(txn, &d->rec) : -ENOMEM;
	if (r >= 0)
		r = pml_txn_use_step(txn, job->region->id, &d->rec.extent, PML_USE_EV_LEASE, NULL);
	if (r >= 0 && region_is_ram(job->region) != job->region->record.ram)
		r = pml_txn_ram(txn, job->region->id, &d->rec.extent, region_is_ram(job->region));
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "reserve the region");
	}
	ledger_change_init(&d->change, job->manager, txn);
	job_set_progress(job, "reserving", 0.3);
	return JOB_NEXT;
}

JobNext lease_step_write_done(Job *job, int r)
{
	LeaseData *d = job->data;

	ledger_change_done(&d->change, r);
	if (d->replaced) {
		lease_write_done(job);
		(void)lease_replaced(job);
		return JOB_FAIL;
	}
	if (r != 0) {
		job_set_ledger_error(job, r, d->change.why);
		return JOB_FAIL;
	}
	if (cancelled(job))
		return JOB_FAIL;
	d->rec = job->lease->record;
	return JOB_NEXT;
}

JobNext lease_step_attaching_prepare(Job *job)
{
	LeaseData *d = job->data;
	PmlTxn *txn;
	int r;

	txn = op_txn_new(job->uid);
	r = txn ? pml_txn_lease_step(txn, &d->rec, PML_LEASE_EV_ATTACH, NULL) : -ENOMEM;
	if (r >= 0)
		r = pml_txn_content_step(
			txn, job->region->id, &d->rec.extent, PML_CONTENT_EV_LENT, d->rec.owner);
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "write down the attach");
	}
	ledger_change_clear(&d->change);
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

/* --- attach --- */

static JobNext attach_prepare(Job *job)
{
	LeaseData *d = job->data;

	d->attaching = true;
	d->virt = job->manager->virt;
	job_set_progress(job, "attaching", 0.5);
	return JOB_NEXT;
}

static int attach_run(void *userdata)
{
	LeaseData *d = userdata;
	int r;

	r = lease_node_check(d);
	if (r < 0)
		return r;
	free(d->why);
	d->why = NULL;
	return d->ops->attach(d->virt, d->rec.domain, &d->mem, &d->why);
}

static JobNext attach_done(Job *job, int r)
{
	LeaseData *d = job->data;

	d->attaching = false;
	if (lease_replaced(job)) {
		if (r == 0)
			log_full(LOG_WARNING,
				&(LogFields){.lease = d->rec.id, .domain = d->rec.domain},
				"libvirt attached region %s to domain %s after it was taken back; that device is dead.",
				region_label(d->region), d->rec.domain_name);
		settle_kick(d->region);
		return JOB_FAIL;
	}
	if (r < 0)
		return node_failed(job, r);
	return r == 0 ? JOB_NEXT : virt_failed(job, r);
}

/* --- plug: a virtio-mem is there at once, and its guest takes it in its own time --- */

static int on_plug_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	job_resume(userdata);
	return 0;
}

static JobNext plug_prepare(Job *job)
{
	LeaseData *d = job->data;

	if (lease_replaced(job))
		return JOB_FAIL;
	job->skip = !d->mem.virtio_mem;
	if (d->plug_usec == 0)
		d->plug_usec = pml_now_usec(CLOCK_BOOTTIME) +
			       (d->manager->stall_usec ? d->manager->stall_usec : PLUG_USEC);
	d->virt = job->manager->virt;
	job_set_progress(job, "waiting for the guest to take it", 0.65);
	return JOB_NEXT;
}

static int plug_run(void *userdata)
{
	LeaseData *d = userdata;

	free(d->why);
	d->why = NULL;
	return d->ops->resize ? d->ops->resize(d->virt, d->rec.domain, &d->mem, VIRT_RESIZE_LOOK,
					&d->plugged, &d->why)
			      : -EOPNOTSUPP;
}

static JobNext plug_failed(Job *job)
{
	const LeaseData *d = job->data;

	job_set_error(job, PML_ERROR_NOT_PLUGGED,
		"The guest of domain %s has taken %" PRIu64 " of %" PRIu64
		" MiB within %llu s; the region is being taken back. Its kernel needs the driver virtio_mem, and has to put "
		"added memory online by itself (memhp_default_state=online_movable). Behind a memory device of an odd size, "
		"libvirt before 9.4 places it where a guest cannot take all of it; --model=dimm does without.",
		d->rec.domain_name, (uint64_t)(d->plugged.current_bytes / MIB),
		(uint64_t)(d->mem.size_bytes / MIB), PLUG_USEC / USEC_PER_SEC);
	return JOB_FAIL;
}

static JobNext plug_done(Job *job, int r)
{
	LeaseData *d = job->data;

	if (lease_replaced(job))
		return JOB_FAIL;
	if (r != 0 && r != VIRT_UNAVAILABLE && r != VIRT_BUSY)
		return virt_failed(job, r);
	if (r == 0 && d->plugged.attached && d->plugged.current_bytes >= d->mem.size_bytes)
		return JOB_NEXT;
	if (pml_now_usec(CLOCK_BOOTTIME) >= d->plug_usec)
		return plug_failed(job);
	d->timer = sd_event_source_disable_unref(d->timer);
	if (sd_event_add_time_relative(job->manager->event, &d->timer, CLOCK_BOOTTIME,
		    PLUG_LOOK_USEC, 1, on_plug_timer, job) < 0)
		return op_fail(job, -ENOMEM, "wait for the guest");
	job_set_next(job, "plug");
	return JOB_WAIT;
}

void lease_jobs_resized(Manager *m, const char *domain, const char *alias)
{
	for (Job *j = m->jobs; j; j = j->next)
		if (j->kind == &op_lease_kind && pml_streq(j->kind->steps[j->step].name, "plug") &&
			pml_streq(((const LeaseData *)j->data)->rec.domain, domain) &&
			pml_streq(((const LeaseData *)j->data)->rec.alias, alias))
			job_resume(j);
}

/* --- check, active --- */

JobNext lease_step_check_prepare(Job *job)
{
	if (lease_replaced(job))
		return JOB_FAIL;
	if (askable_matters(job->lease))
		askable_look(job->manager, job->lease->record.domain);
	job_set_progress(job, "checking what is mapped", 0.8);
	return JOB_NEXT;
}

JobNext lease_step_check_done(Job *job, int r)
{
	LeaseData *d = job->data;

	if (lease_replaced(job))
		return JOB_FAIL;
	if (r < 0)
		return op_fail(job, r, "check what the machine maps");
	if (!d->mapped && d->mem.ram && d->why) {
		job_set_error(job, PML_ERROR_FAILED, "%s", d->why);
		return JOB_FAIL;
	}
	if (!d->mapped) {
		job_set_error(job, PML_ERROR_FAILED,
			"libvirt says that domain %s has region %s, but its machine does not map it; the region is being taken "
			"back. Report this with the domain's log.",
			d->rec.domain_name, region_label(d->region));
		return JOB_FAIL;
	}
	job->lease->panics = d->panics;
	return JOB_NEXT;
}

JobNext lease_active_prepare(Job *job)
{
	LeaseData *d = job->data;
	PmlLeaseRecord rec = job->lease->record;
	PmlTxn *txn;
	int r;

	rec.vmm_pid = d->rec.vmm_pid;
	rec.vmm_start = d->rec.vmm_start;
	(void)PML_STRCPY(rec.vmm_cgroup, d->rec.vmm_cgroup);
	txn = op_txn_new_job(job, false);
	r = txn ? pml_txn_lease_step(txn, &rec, PML_LEASE_EV_ATTACHED, NULL) : -ENOMEM;
	if (r >= 0 && rec.virtio_mem)
		r = pml_txn_plugged(txn, rec.id, d->plugged.current_bytes);
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "write down the lease");
	}
	ledger_change_clear(&d->change);
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

JobNext lease_step_active_done(Job *job, int r)
{
	/* Asked too late to be cancelled. */
	if (r == 0)
		job->cancelled = false;
	return lease_step_write_done(job, r);
}

/* --- persist: the next start asks for it again --- */

static JobNext persist_prepare(Job *job)
{
	LeaseData *d = job->data;

	if (lease_replaced(job))
		return JOB_FAIL;
	job->skip = !d->persistent;
	d->virt = job->manager->virt;
	job_set_progress(job, "changing the domain's definition", 0.9);
	return JOB_NEXT;
}

static int persist_run(void *userdata)
{
	LeaseData *d = userdata;

	free(d->why);
	d->why = NULL;
	return d->ops->define(d->virt, d->rec.domain, &d->mem, true, &d->why);
}

/* The machine has the region by now: what fails here is a warning of the lease. */
static JobNext persist_done(Job *job, int r)
{
	LeaseData *d = job->data;
	Lease *l = job->lease;

	if (lease_replaced(job))
		return JOB_FAIL;
	if (r == 0)
		return JOB_NEXT;
	free(l->unpersisted);
	if (asprintf(&l->unpersisted,
		    "The domain's definition could not be changed, so its next start is without this region: %s",
		    d->why  ? d->why
		    : r < 0 ? strerror(-r)
			    : "libvirt gave no reason.") < 0)
		l->unpersisted = NULL;
	log_full(LOG_WARNING, &(LogFields){.lease = d->rec.id, .domain = d->rec.domain}, "%s",
		l->unpersisted ? l->unpersisted : "The domain's definition could not be changed.");
	lease_changed(l);
	return JOB_NEXT;
}

/* --- agent: could its guest be asked for it; that is looked at beside the check --- */

static JobNext agent_prepare(Job *job)
{
	job_set_progress(job, "looking for the guest's agent", 0.95);
	return askable_looking(job->manager, job->lease->record.domain) ? JOB_WAIT : JOB_NEXT;
}

/* Whatever it is, the lease is made: a warning at the most. */
static JobNext agent_done(Job *job, int r)
{
	return lease_replaced(job) ? JOB_FAIL : JOB_NEXT;
}

void lease_looked_at(Lease *lease)
{
	Job *job = lease->region->job;

	if (job && job->lease == lease && job->kind == &op_lease_kind && job->waiting &&
		pml_streq(job->kind->steps[job->step].name, "agent"))
		job_resume(job);
}

static int lease_cancel(Job *job)
{
	LeaseData *d = job->data;
	const char *step = job->kind->steps[job->step].name;

	if (d->replaced || pml_streq(step, "active") || pml_streq(step, "persist") ||
		pml_streq(step, "agent"))
		return -EBUSY;
	if (pml_streq(step, "attach") || pml_streq(step, "plug") || pml_streq(step, "check"))
		return evict_force(d->region, "its lease was cancelled");
	return 0;
}

void lease_finished(Job *job, bool success)
{
	LeaseData *d = job->data;
	Lease *lease = job->lease;

	if (d->replaced || !lease || lease->gone)
		return;
	if (success && lease->record.state == PML_LEASE_ACTIVE)
		lease_watch_vmm(lease);
	else if (success)
		return;
	else if (!lease->recorded)
		lease_drop(lease);
	else if (lease->record.state == PML_LEASE_RESERVED)
		(void)recover_lease_start(lease);
	else
		(void)evict_force(d->region, "its lease failed");
}

static const JobStep lease_steps[] = {
	{.name = "domain",
		.prepare = domain_prepare,
		.where = EXEC_VIRT,
		.run = domain_run,
		.done = domain_done},
	{.name = "holders",
		.prepare = lease_step_holders_prepare,
		.where = EXEC_WORK,
		.run = lease_holders_run,
		.done = lease_step_holders_done},
	{.name = "reserve",
		.prepare = lease_step_reserve_prepare,
		.where = EXEC_LEDGER,
		.run = lease_change_run,
		.done = lease_step_write_done},
	{.name = "attaching",
		.prepare = lease_step_attaching_prepare,
		.where = EXEC_LEDGER,
		.run = lease_change_run,
		.done = lease_step_write_done},
	{.name = "attach",
		.prepare = attach_prepare,
		.where = EXEC_VIRT,
		.run = attach_run,
		.done = attach_done},
	{.name = "plug",
		.prepare = plug_prepare,
		.where = EXEC_VIRT,
		.run = plug_run,
		.done = plug_done,
		.optional_skip = true},
	{.name = "check",
		.prepare = lease_step_check_prepare,
		.where = EXEC_WORK,
		.run = lease_check_run,
		.done = lease_step_check_done},
	{.name = "active",
		.prepare = lease_active_prepare,
		.where = EXEC_LEDGER,
		.run = lease_change_run,
		.done = lease_step_active_done},
	{.name = "persist",
		.prepare = persist_prepare,
		.where = EXEC_VIRT,
		.run = persist_run,
		.done = persist_done,
		.optional_skip = true},
	{.name = "agent", .prepare = agent_prepare, .done = agent_done},
};

const JobKind op_lease_kind = {
	.name = "lease",
	.steps = lease_steps,
	.n_steps = ELEMENTSOF(lease_steps),
	.data_free = lease_data_free,
	.cancel = lease_cancel,
	.finished = lease_finished,
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The lease of a region that a machine has from its start. libvirt's hook asks before the process
 * is made, and waits: so all is on the disk that must be there before a guest can write, for all
 * regions of the machine, before the first of them is granted. Then libvirt says that the process
 * runs, and what it maps is looked at as after an attach. Until then nothing here asks libvirt
 * anything.
 */

#include "grant.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

static bool ended(Job *job)
{
	const LeaseData *d = job->data;

	return d->refused || lease_replaced(job);
}

static JobNext holders_prepare(Job *job)
{
	return ended(job) ? JOB_FAIL : lease_step_holders_prepare(job);
}

static JobNext holders_done(Job *job, int r)
{
	return ended(job) ? JOB_FAIL : lease_step_holders_done(job, r);
}

/* --- reserve --- */

/*
 * A persistent lease has named the device in the XML after itself: names of devices change with a
 * boot, and a machine must not start with other bytes than those that it was leased.
 */
static int reserve_run(void *userdata)
{
	LeaseData *d = userdata;
	PmlLeaseRecord first;
	int r;

	if (strncmp(d->rec.alias, PML_ALIAS_PREFIX, strlen(PML_ALIAS_PREFIX)) == 0) {
		r = pml_ledger_lease(
			d->manager->ledger, d->rec.alias + strlen(PML_ALIAS_PREFIX), &first);
		if (r < 0 && r != -ENOENT)
			return r;
		d->moved = r == 0 && !pml_extent_equal(&first.extent, &d->rec.extent);
	}
	return d->moved ? PML_LEDGER_ILLEGAL : lease_change_run(d);
}

static JobNext reserve_done(Job *job, int r)
{
	const LeaseData *d = job->data;
	JobNext next = lease_step_write_done(job, r);

	if (d->moved && !d->replaced)
		job_set_error(job, PML_ERROR_STALE,
			"%s is another region now than when it was leased to domain %s. Take that memory device out (virsh edit), and "
			"lease the right one with `pmemlease lease --persistent`.",
			region_label(d->region), d->rec.domain_name);
	return next;
}

/* --- gather: until every region of the machine is reserved --- */

static JobNext gather_prepare(Job *job)
{
	LeaseData *d = job->data;

	if (ended(job))
		return JOB_FAIL;
	job_set_progress(job, "waiting for the machine's other regions", 0.4);
	return grant_gathered(d->grant) ? JOB_NEXT : JOB_WAIT;
}

static JobNext gather_done(Job *job, int r)
{
	return ended(job) ? JOB_FAIL : JOB_NEXT;
}

/* --- start: libvirt makes the process --- */

static int on_start_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
	job_resume(userdata);
	return 0;
}

static JobNext start_prepare(Job *job)
{
	LeaseData *d = job->data;
	Manager *m = job->manager;
	int r;

	if (ended(job))
		return JOB_FAIL;
	job_set_progress(job, "waiting for the machine to start", 0.5);
	r = sd_event_add_time_relative(m->event, &d->timer, CLOCK_BOOTTIME,
		m->config.start_timeout_usec, USEC_PER_SEC, on_start_timeout, job);
	if (r < 0)
		return op_fail(job, r, "wait for the machine's start");
	grant_attaching(d->grant);
	return JOB_WAIT;
}

static JobNext start_done(Job *job, int r)
{
	const LeaseData *d = job->data;

	if (ended(job))
		return JOB_FAIL;
	/* Not heard of again, the hook may have been killed: libvirt is asked, as after a restart.
	 */
	return d->started ? JOB_NEXT : JOB_DONE;
}

bool grant_awaits_start(const Job *job)
{
	return job->kind == &op_grant_kind && job->waiting &&
	       pml_streq(job->kind->steps[job->step].name, "start");
}

void grant_started(Job *job)
{
	LeaseData *d = job->data;

	d->started = true;
	job_resume(job);
}

static void grant_finished(Job *job, bool success)
{
	LeaseData *d = job->data;
	Grant *g = TAKE_PTR(d->grant);
	Lease *lease = job->lease;

	if (g)
		grant_job_ended(g, job, success);
	if (success && !d->replaced && lease && !lease->gone &&
		lease->record.state == PML_LEASE_ATTACHING)
		(void)recover_lease_start(lease);
	else
		lease_finished(job, success);
}

static const JobStep grant_steps[] = {
	{.name = "holders",
		.prepare = holders_prepare,
		.where = EXEC_WORK,
		.run = lease_holders_run,
		.done = holders_done},
	{.name = "reserve",
		.prepare = lease_step_reserve_prepare,
		.where = EXEC_LEDGER,
		.run = reserve_run,
		.done = reserve_done},
	{.name = "gather", .prepare = gather_prepare, .done = gather_done},
	{.name = "attaching",
		.prepare = lease_step_attaching_prepare,
		.where = EXEC_LEDGER,
		.run = lease_change_run,
		.done = lease_step_write_done},
	{.name = "start", .prepare = start_prepare, .done = start_done},
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
};

const JobKind op_grant_kind = {
	.name = "grant",
	.steps = grant_steps,
	.n_steps = ELEMENTSOF(grant_steps),
	.data_free = lease_data_free,
	.finished = grant_finished,
};

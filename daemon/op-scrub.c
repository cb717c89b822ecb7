/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Overwriting a region and reading it back: the only way from anybody's data to `blank`. It
 * destroys, so it names whose data; from `begin` on nothing but a scrub that ends makes the region
 * usable again.
 */

#include <inttypes.h>

#include "lease-job.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

typedef struct ScrubData {
	Manager *manager;
	LedgerChange change;
	MediaRun *run;
	MediaReport report;
	char owner[PML_OWNERS_LEN];
	bool own;      /* nobody asked: a lease's policy, or the rest of an earlier scrub */
	bool ram;      /* is memory of the host again when it is over */
	bool scrubbed; /* before a restart: only that is left to do */
	bool turn;     /* it is this one's */
	sd_event_source *stall; /* ends its turn where it gets no further */
	/* --- read and written by the steps' run --- */
	LeaseData look; /* host and proof: who holds the region */
	int fd;
} ScrubData;

static void scrub_data_free(void *userdata)
{
	ScrubData *d = userdata;

	sd_event_source_disable_unref(d->stall);
	(void)media_run_free(d->run);
	ledger_change_clear(&d->change);
	pml_region_unref(d->look.host);
	pml_proof_free(d->look.proof);
	closep(&d->fd);
	free(d);
}

#define INCOMPLETE                                                                                 \
	"Region %s is scrubbed in part only, and stays unusable until it is scrubbed to the end: " \
	"`pmemlease scrub %s --discard=%s`."

static bool cancelled(Job *job, bool begun)
{
	const ScrubData *d = job->data;

	if (!job->cancelled)
		return false;
	if (begun)
		job_set_error(job, PML_ERROR_CANCELLED, INCOMPLETE, region_label(job->region),
			region_label(job->region), d->owner);
	else
		job_set_error(job, PML_ERROR_CANCELLED,
			"The scrub of region %s was cancelled; nothing was overwritten.",
			region_label(job->region));
	return true;
}

static int change_run(void *userdata)
{
	ScrubData *d = userdata;

	return ledger_change_run(&d->change);
}

/* --- turn --- */

/*
 * One alone has the processors of its node, and writes as fast as the memory takes it. And while
 * several begin and end, the open files of all device-dax devices, which are counted together, do
 * not stand still for long enough to prove that anybody has one to himself. Disks are slower than
 * either, and nothing of them is counted.
 */
static bool takes_turns(const Job *job)
{
	const ScrubData *d = job->data;

	return job->kind == &op_scrub_kind && !d->scrubbed &&
	       pml_region_kind(d->look.host) != PML_KIND_BDEV;
}

static bool shares_turns(const Job *job, const Job *other)
{
	return other != job && takes_turns(other) &&
	       pml_region_numa_node(((const ScrubData *)other->data)->look.host) ==
		       pml_region_numa_node(((const ScrubData *)job->data)->look.host);
}

/* To who has waited the longest. */
static void pass_turn(Job *job)
{
	ScrubData *d = job->data;
	Job *next = NULL;

	if (!d->turn || !takes_turns(job))
		return;
	d->turn = false;
	d->stall = sd_event_source_disable_unref(d->stall);
	for (Job *j = job->manager->jobs; j; j = j->next)
		if (shares_turns(job, j) && j->waiting &&
			pml_streq(j->kind->steps[j->step].name, "turn") &&
			(!next || j->id < next->id))
			next = j;
	if (next)
		job_resume(next);
}

/* Media that hang, hang one region. */
static int on_stall(sd_event_source *s, uint64_t usec, void *userdata)
{
	Job *job = userdata;

	log_full(LOG_WARNING, &(LogFields){.region = job->region->id},
		"The scrub of region %s gets no further; others of its NUMA node do not wait for it.",
		region_label(job->region));
	pass_turn(job);
	return 0;
}

static void take_turn(Job *job)
{
	ScrubData *d = job->data;
	int r;

	d->turn = true;
	r = sd_event_add_time_relative(job->manager->event, &d->stall, CLOCK_MONOTONIC,
		job->manager->config.turn_timeout_usec, USEC_PER_SEC, on_stall, job);
	if (r < 0)
		log_warning("No timer for the turn of region %s: %s. Others may wait for it.",
			region_label(job->region), strerror(-r));
}

static JobNext turn_prepare(Job *job)
{
	job->skip = !takes_turns(job);
	for (const Job *j = job->manager->jobs; j && !job->skip; j = j->next)
		if (shares_turns(job, j) && ((const ScrubData *)j->data)->turn) {
			job_set_progress(job, "waiting for another scrub", 0);
			return JOB_WAIT;
		}
	if (!job->skip)
		take_turn(job);
	return JOB_NEXT;
}

static JobNext turn_done(Job *job, int r)
{
	if (cancelled(job, false))
		return JOB_FAIL;
	/* Somebody else may have been faster. */
	if (!((ScrubData *)job->data)->turn)
		job_set_next(job, "turn");
	return JOB_NEXT;
}

/* --- owe: what becomes a device-dax meanwhile is to be memory of the host again --- */

static JobNext write_ram(Job *job, bool ram)
{
	ScrubData *d = job->data;
	PmlTxn *txn;
	int r;

	job->skip = !d->ram;
	if (job->skip)
		return JOB_NEXT;
	txn = op_txn_new_job(job, d->own);
	r = txn ? pml_txn_ram(txn, job->region->id, &job->region->extent, ram) : -ENOMEM;
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "write down what the region is");
	}
	ledger_change_clear(&d->change);
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

static JobNext written(Job *job, int r)
{
	ScrubData *d = job->data;

	ledger_change_done(&d->change, r);
	if (r == 0)
		return JOB_NEXT;
	job_set_ledger_error(job, r, d->change.why);
	return JOB_FAIL;
}

static JobNext owe_prepare(Job *job)
{
	if (!((ScrubData *)job->data)->scrubbed)
		return write_ram(job, true);
	job->skip = true;
	job_set_next(job, "return");
	return JOB_NEXT;
}

/* --- take --- */

static JobNext take_prepare(Job *job)
{
	job->skip = !((ScrubData *)job->data)->ram;
	job_set_progress(job, "taking it offline", 0);
	return JOB_NEXT;
}

static int take_run(void *userdata)
{
	ScrubData *d = userdata;
	const PmlDaxOps *dax = d->look.dax;
	PmlBinding binding;
	int r;

	r = dax->binding(dax->userdata, d->look.host, &binding);
	if (r < 0 || binding != PML_BINDING_KMEM)
		return r;
	r = dax->unbind(dax->userdata, d->look.host);
	/* Some of it may be offline by then: nothing is to be otherwise than before. */
	if (r < 0 && dax->bind_ram)
		(void)dax->bind_ram(dax->userdata, d->look.host);
	return r < 0 ? r : dax->bind(dax->userdata, d->look.host);
}

static JobNext take_done(Job *job, int r)
{
	if (cancelled(job, false))
		return JOB_FAIL;
	if (r == 0)
		return JOB_NEXT;
	if (r == -EBUSY) {
		job_set_error(job, PML_ERROR_HELD,
			"Region %s is memory of the host, and could not be taken offline: somebody has memory bound to its "
			"node, or a page cannot be moved. See `pmemlease verify %s`, then scrub again.",
			region_label(job->region), region_label(job->region));
		return JOB_FAIL;
	}
	return op_fail(job, r, "take the region offline");
}

/* --- holders --- */

static JobNext holders_prepare(Job *job)
{
	job_set_progress(job, "looking for holders", 0);
	return JOB_NEXT;
}

static int holders_run(void *userdata)
{
	ScrubData *d = userdata;

	return lease_holders_run(&d->look);
}

static JobNext holders_failed(Job *job, int r)
{
	const ScrubData *d = job->data;

	if (r > 0)
		job_set_error(job, PML_ERROR_HELD,
			"Region %s is in use: %.300s. End what holds it, then scrub again.",
			region_label(job->region), pml_proof_summary(d->look.proof));
	else if (r == -ESTALE || r == -ENODEV || r == -ENOENT)
		job_set_error(job, PML_ERROR_STALE,
			"%s is not the device that region %s is. Look at `pmemlease regions`, then scrub again.",
			pml_region_path(d->look.host), region_label(job->region));
	else if (r == -EBUSY)
		job_set_error(job, PML_ERROR_HELD,
			"%s is in use on this host (mounted, swapped on, below the device mapper or md, or opened "
			"exclusively). End that, then scrub again.",
			pml_region_path(d->look.host));
	else if (r == -ENXIO)
		job_set_error(job, PML_ERROR_NOT_LEASABLE,
			"Region %s is not bound to device_dax. Bind or readmit it, then scrub again.",
			region_label(job->region));
	else
		return op_fail(job, r, "find out who holds the region");
	return JOB_FAIL;
}

static JobNext holders_done(Job *job, int r)
{
	if (cancelled(job, false))
		return JOB_FAIL;
	return r == 0 ? JOB_NEXT : holders_failed(job, r);
}

/* --- begin --- */

static JobNext begin_prepare(Job *job)
{
	ScrubData *d = job->data;
	Region *region = job->region;
	PmlTxn *txn;
	int r;

	if (region->record.use != PML_USE_FREE || region->lease ||
		!pml_streq(d->owner, region->record.owner)) {
		job_set_error(job, PML_ERROR_STALE,
			"Region %s has changed meanwhile. Look at it, then scrub again.",
			region_label(region));
		return JOB_FAIL;
	}
	txn = op_txn_new_job(job, d->own);
	r = txn ? pml_txn_content_step(
			  txn, region->id, &region->extent, PML_CONTENT_EV_SCRUB_BEGIN, d->owner)
		: -ENOMEM;
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "begin the scrub");
	}
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

static JobNext begin_done(Job *job, int r)
{
	ScrubData *d = job->data;

	ledger_change_done(&d->change, r);
	if (r != 0) {
		job_set_ledger_error(job, r, d->change.why);
		return JOB_FAIL;
	}
	return cancelled(job, true) ? JOB_FAIL : JOB_NEXT;
}

/* --- open: looked at again, and the device that was checked is the one that is overwritten --- */

static int open_run(void *userdata)
{
	ScrubData *d = userdata;
	int r;

	r = lease_holders_run(&d->look);
	if (r != 0)
		return r;
	return d->look.dax->open(d->look.dax->userdata, d->look.host, &d->fd);
}

static JobNext open_done(Job *job, int r)
{
	if (cancelled(job, true))
		return JOB_FAIL;
	return r == 0 ? JOB_NEXT : holders_failed(job, r);
}

/* --- overwrite --- */

static void on_progress(void *userdata, bool verify, uint64_t done_bytes, uint64_t total_bytes)
{
	double part = total_bytes ? (double)done_bytes / (double)total_bytes : 0;
	Job *job = userdata;
	ScrubData *d = job->data;

	if (d->stall)
		(void)sd_event_source_set_time_relative(
			d->stall, job->manager->config.turn_timeout_usec);
	job_set_progress(
		job, verify ? "reading back" : "overwriting", verify ? 0.5 + part / 2 : part / 2);
}

static void on_media_done(void *userdata, const MediaReport *report)
{
	Job *job = userdata;
	ScrubData *d = job->data;

	d->report = *report;
	job_resume(job);
}

static JobNext overwrite_prepare(Job *job)
{
	ScrubData *d = job->data;
	int r;

	r = media_run_start(job->manager->event, job->manager->config.media_helper, TAKE_FD(d->fd),
		job->manager->config.scrub_threads, pml_region_size_bytes(d->look.host),
		on_progress, on_media_done, job, &d->run);
	if (r < 0)
		return op_fail(job, r, "start the helper that overwrites");
	job_set_progress(job, "overwriting", 0);
	return JOB_WAIT;
}

static JobNext overwrite_done(Job *job, int r)
{
	ScrubData *d = job->data;
	const MediaReport *report = &d->report;
	const char *id = job->region->id;

	d->run = media_run_free(d->run);
	if (report->outcome == MEDIA_BAD_BLOCK || report->outcome == MEDIA_NOT_ZERO ||
		(report->outcome == MEDIA_ERROR && report->error == EHWPOISON))
		job->message_id = PML_MESSAGE_BAD_MEDIA;
	switch (report->outcome) {
	case MEDIA_OK:
		log_full(LOG_NOTICE, &(LogFields){.region = id},
			"Region %s was overwritten in %" PRIu64 " ms and read back in %" PRIu64
			" ms.",
			id, report->scrub_usec / 1000, report->verify_usec / 1000);
		return JOB_NEXT;
	case MEDIA_BAD_BLOCK:
		job_set_error(job, PML_ERROR_BAD_BLOCK,
			"Region %s has a bad block at offset %" PRIu64 " (%" PRIu64
			" bytes). Clear it with "
			"`ndctl clear-errors`, then scrub again.",
			id, report->offset_bytes, report->size_bytes);
		break;
	case MEDIA_NOT_ZERO:
		job_set_error(job, PML_ERROR_FAILED,
			"Region %s was overwritten, and its byte at offset %" PRIu64
			" is not 0. Somebody writes to it, or the "
			"memory is broken: look at `pmemlease verify %s`, then scrub again.",
			id, report->offset_bytes, id);
		break;
	case MEDIA_CANCELLED:
		job_set_error(job, PML_ERROR_CANCELLED, INCOMPLETE, id, id, d->owner);
		break;
	case MEDIA_ERROR:
		if (report->signal)
			job_set_error(job, PML_ERROR_FAILED,
				"Overwriting region %s was ended by signal %d (%s); the region may have been unbound or be "
				"poisoned. Look at the kernel's log, then scrub again.",
				id, report->signal, strsignal(report->signal));
		else if (report->error)
			job_set_error(job, PML_ERROR_FAILED,
				"Region %s could not be overwritten: %s. Then scrub again.", id,
				strerror(report->error));
		else
			job_set_error(job, PML_ERROR_FAILED,
				"The helper that overwrites region %s gave no result (exit status %d). Check that %s is "
				"installed, then scrub again.",
				id, report->exit_status, job->manager->config.media_helper);
		break;
	}
	return JOB_FAIL;
}

/* --- verified --- */

static JobNext verified_prepare(Job *job)
{
	ScrubData *d = job->data;
	Region *region = job->region;
	PmlTxn *txn;
	int r;

	txn = op_txn_new_job(job, d->own);
	r = txn ? pml_txn_content_step(
			  txn, region->id, &region->extent, PML_CONTENT_EV_SCRUB_VERIFIED, NULL)
		: -ENOMEM;
	if (r < 0) {
		pml_txn_free(txn);
		return op_fail(job, r, "write down the scrub");
	}
	ledger_change_clear(&d->change);
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

/* --- return --- */

static JobNext return_prepare(Job *job)
{
	job->skip = !((ScrubData *)job->data)->ram;
	if (!job->skip)
		job_set_progress(job, "putting it online", 1);
	return JOB_NEXT;
}

static int return_run(void *userdata)
{
	ScrubData *d = userdata;
	const PmlDaxOps *dax = d->look.dax;

	return dax->bind_ram ? dax->bind_ram(dax->userdata, d->look.host) : -EOPNOTSUPP;
}

static void on_returned(void *userdata, int r)
{
	job_resume(userdata);
}

static JobNext return_done(Job *job, int r)
{
	/* Whoever sees this job's end sees what the region is by then. */
	if (r == 0)
		return manager_rescan(job->manager, on_returned, job) < 0 ? JOB_NEXT : JOB_WAIT;
	(void)manager_rescan(job->manager, NULL, NULL);
	job_set_error(job, PML_ERROR_FAILED,
		"Region %s is scrubbed, and could not become memory of the host again (%s): it is a device-dax now. %s",
		region_label(job->region), strerror(-r),
		r == -EPERM ? pml_obstacle_explain(PML_OBSTACLE_AUTO_ONLINE)
			    : "`daxctl reconfigure-device -m system-ram` tries again.");
	return JOB_FAIL;
}

static JobNext returned_prepare(Job *job)
{
	return write_ram(job, false);
}

static int scrub_cancel(Job *job)
{
	ScrubData *d = job->data;
	const char *step = job->kind->steps[job->step].name;

	if (pml_streq(step, "verified") || strncmp(step, "return", 6) == 0)
		return -EBUSY;
	if (d->run)
		media_run_cancel(d->run);
	if (pml_streq(step, "turn"))
		job_resume(job);
	return 0;
}

/* Nothing of it was overwritten: it is what it was. */
static void scrub_finished(Job *job, bool success)
{
	const ScrubData *d = job->data;
	Region *region = job->region;

	pass_turn(job);
	if (success || !d->ram || d->scrubbed || !region->host || !region->record.ram ||
		region->record.content == PML_CONTENT_SCRUBBING)
		return;
	if (scrub_return(region) < 0)
		log_warning("Region %s could not be made memory of the host again.",
			region_label(region));
}

static const JobStep scrub_steps[] = {
	{.name = "turn", .prepare = turn_prepare, .done = turn_done, .optional_skip = true},
	{.name = "owe",
		.prepare = owe_prepare,
		.where = EXEC_LEDGER,
		.run = change_run,
		.done = written,
		.optional_skip = true},
	{.name = "take",
		.prepare = take_prepare,
		.where = EXEC_WORK,
		.run = take_run,
		.done = take_done,
		.optional_skip = true},
	{.name = "holders",
		.prepare = holders_prepare,
		.where = EXEC_WORK,
		.run = holders_run,
		.done = holders_done},
	{.name = "begin",
		.prepare = begin_prepare,
		.where = EXEC_LEDGER,
		.run = change_run,
		.done = begin_done},
	{.name = "open", .where = EXEC_WORK, .run = open_run, .done = open_done},
	{.name = "overwrite", .prepare = overwrite_prepare, .done = overwrite_done},
	{.name = "verified",
		.prepare = verified_prepare,
		.where = EXEC_LEDGER,
		.run = change_run,
		.done = written},
	{.name = "return",
		.prepare = return_prepare,
		.where = EXEC_WORK,
		.run = return_run,
		.done = return_done,
		.optional_skip = true},
	{.name = "returned",
		.prepare = returned_prepare,
		.where = EXEC_LEDGER,
		.run = change_run,
		.done = written,
		.optional_skip = true},
};

const JobKind op_scrub_kind = {
	.name = "scrub",
	.steps = scrub_steps,
	.n_steps = ELEMENTSOF(scrub_steps),
	.data_free = scrub_data_free,
	.cancel = scrub_cancel,
	.finished = scrub_finished,
};

static int refuse(const Region *region, const char *owner, OpError *err)
{
	if (!region->host)
		return op_error(err, PML_ERROR_NO_SUCH_REGION,
			"Region %s is missing; it cannot be scrubbed.", region_label(region));
	if (region->lease)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is leased to domain %s (lease %s). Release that lease first.",
			region_label(region), region->lease->record.domain_name,
			region->lease->record.id);
	if (region->job)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is busy with job %" PRIu64 " (%s). Wait for it.",
			region_label(region), region->job->id, region->job->kind->name);
	if (region->record.use == PML_USE_QUARANTINED)
		return op_error(err, PML_ERROR_QUARANTINED,
			"Region %s is quarantined: %s. Lift the quarantine with a reason first.",
			region_label(region), region->record.reason);
	if (region->record.use != PML_USE_FREE)
		return op_error(err, PML_ERROR_BUSY, "Region %s is offline (%s). Readmit it first.",
			region_label(region),
			region->record.reason[0] ? region->record.reason : "being taken back");
	if (!pml_streq(owner, region->record.owner))
		return op_error(err, PML_ERROR_WRONG_OWNER,
			region->record.owner[0]
				? "Region %s holds the data of \"%s\". To destroy it, name exactly that owner."
				: "Region %s holds no owner's data%s. Name no owner to scrub it.",
			region_label(region), region->record.owner);
	return 0;
}

static int start(Manager *m, Region *region, const char *owner, bool own, bool scrubbed,
	uint32_t uid, Job **ret_job)
{
	ScrubData *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->manager = m;
	d->own = own;
	d->scrubbed = scrubbed;
	/* What is scrubbed because of a lease is bound as a device-dax already. */
	d->ram = region_is_ram(region) ||
		 (region->record.ram && (own || region->record.content == PML_CONTENT_SCRUBBING));
	d->fd = -EBADF;
	d->look.manager = m;
	d->look.claim_fd = -EBADF;
	d->look.dax = m->dax;
	d->look.host = pml_region_ref(region->host);
	d->look.proof_timeout_usec = m->config.proof_timeout_usec;
	r = PML_STRCPY(d->owner, owner);
	if (r < 0) {
		scrub_data_free(d);
		return r;
	}
	return job_start(m, &op_scrub_kind, region, NULL, uid, d, ret_job);
}

int op_scrub_start(Manager *m, Region *region, const char *discard_owner, uint32_t uid,
	Job **ret_job, OpError *err)
{
	int r;

	r = refuse(region, discard_owner, err);
	if (r != 0)
		return r;
	r = start(m, region, discard_owner, false, false, uid, ret_job);
	if (r == -EDQUOT)
		return op_error(
			err, PML_ERROR_LIMIT, "Too many jobs are running. Wait for one to end.");
	return r;
}

/* The consent on the disk is for bytes: a region that was made with other bounds over some of them
 * has none. */
static bool all_scrubbing(const Region *region)
{
	const Manager *m = region->manager;
	uint64_t begin = region->extent.start_bytes, end = pml_extent_end(&region->extent);
	uint64_t covered = 0;

	for (size_t i = 0; i < m->n_extents; i++) {
		const PmlExtent *e = &m->extents[i].extent;
		uint64_t from = e->start_bytes, to = pml_extent_end(e);

		if (m->extents[i].content != PML_CONTENT_SCRUBBING ||
			!pml_extent_overlaps(e, &region->extent))
			continue;
		covered += (to < end ? to : end) - (from > begin ? from : begin);
	}
	return covered == region->extent.size_bytes;
}

int scrub_continue(Region *region)
{
	OpError err;
	int r;

	if (!all_scrubbing(region)) {
		log_warning(
			"Region %s has other bounds than what was being scrubbed; scrub it by its owners' names.",
			region_label(region));
		return 0;
	}
	r = refuse(region, region->record.owner, &err);
	if (r > 0)
		log_warning("The scrub of region %s is not begun: %s", region_label(region),
			err.message);
	if (r != 0)
		return r < 0 ? r : 0;
	return start(region->manager, region, region->record.owner, true, false, 0, NULL);
}

int scrub_return(Region *region)
{
	return start(region->manager, region, region->record.owner, true, true, 0, NULL);
}

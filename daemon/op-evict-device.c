/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A part of the host is to leave: every region on it is evicted and kept offline, each by a job of
 * its own, all at once; then the namespaces are disabled; then it is looked at again, and said
 * whether the part can be taken out. What was done stays done where it fails, and is not done
 * twice where it is asked for again.
 */

#include <inttypes.h>

#include "log.h"
#include "ops-internal.h"
#include "part-rows.h"
#include "util.h"

typedef struct DeviceData {
	Manager *manager;
	char *name;
	uint64_t deadline_usec; /* CLOCK_BOOTTIME */
	PmlAfterFence after_fence;
	char **waiting; /* ids of regions that are still to be begun with; NULL-terminated */
	size_t n_waiting, n_children, n_ended;
	double moved; /* the sum of what the children that run have done, 0..1 each */

	/* --- read and written by the steps' run --- */
	int (*scan)(const char *name, PmlPart **ret);
	int (*disable)(const char *name);
	PmlPart *part;
	char **disabling; /* names of namespaces; NULL-terminated */
} DeviceData;

static void strings_free(char **l)
{
	for (char **s = l; s && *s; s++)
		free(*s);
	free(l);
}

static void device_data_free(void *data)
{
	DeviceData *d = data;

	(void)pml_part_free(d->part);
	strings_free(d->waiting);
	strings_free(d->disabling);
	free(d->name);
	free(d);
}

static int look_run(void *data)
{
	DeviceData *d = data;

	d->part = pml_part_free(d->part);
	return d->scan(d->name, &d->part);
}

static JobNext look_done(Job *job, int r)
{
	const DeviceData *d = job->data;

	if (r == -ENODEV || r == -EINVAL) {
		job_set_error(job, PML_ERROR_NO_SUCH_DEVICE,
			"This host has no %s. Name a DIMM (nmem0), an interleave set (region0) or a node (node1), as `ndctl "
			"list -DR` and `numactl -H` show them.",
			d->name);
		return JOB_FAIL;
	}
	return r < 0 ? op_fail(job, r, "look at the device") : JOB_NEXT;
}

/* --- evict --- */

static int string_add(char ***list, size_t *n, const char *s)
{
	char **l = reallocarray(*list, *n + 2, sizeof(*l));

	if (!l)
		return -ENOMEM;
	*list = l;
	l[*n + 1] = NULL;
	l[*n] = strdup(s);
	return l[*n] ? (int)(*n)++ : -ENOMEM;
}

/* Not where an eviction has nothing more to do. */
static bool is_to_be_evicted(const Region *r)
{
	if (r->lease)
		return lease_state(r->lease) != PML_LEASE_FENCED &&
		       lease_state(r->lease) != PML_LEASE_STUCK;
	/* Memory of the host that is not movable would not come back. */
	return r->host && pml_region_kind(r->host) != PML_KIND_BDEV &&
	       !(pml_region_obstacles(r->host) &
		       (PML_OBSTACLE_SYSTEM_RAM | PML_OBSTACLE_NOT_MOVABLE)) &&
	       r->record.use != PML_USE_QUARANTINED && !region_is_kept_offline(r);
}

static int list_waiting(Job *job)
{
	DeviceData *d = job->data;
	PartRow *rows;
	size_t n;
	int r;

	r = part_rows(job->manager, d->part, &rows, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++)
		if (rows[i].region && is_to_be_evicted(rows[i].region))
			r = string_add(&d->waiting, &d->n_waiting, rows[i].region->id);
	part_rows_free(rows, n);
	return r;
}

static void show_progress(Job *job)
{
	const DeviceData *d = job->data;
	size_t all = d->n_children + d->n_waiting;
	char phase[sizeof(job->phase)];

	if (all == 0)
		return;
	(void)snprintf(phase, sizeof(phase), "%zu of %zu regions taken back", d->n_ended, all);
	/* What comes behind it is short. */
	job_set_progress(job, phase, 0.9 * ((double)d->n_ended + d->moved) / (double)all);
}

/* A refusal is no failure: what is in the way is told at the end, with everything else. */
static void begin_waiting(Job *job)
{
	DeviceData *d = job->data;
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);
	uint64_t left = d->deadline_usec > now ? d->deadline_usec - now : 0;

	while (d->n_waiting > 0) {
		char *id = d->waiting[d->n_waiting - 1];
		Job *child = NULL;
		OpError err = {};
		Region *region;
		int r = manager_find_region(job->manager, id, &region);

		if (r >= 0 && is_to_be_evicted(region))
			r = op_evict_start(job->manager, region, "evict", left, true,
				d->after_fence, job->uid, &child, &err);
		/* As soon as one of ours has ended. */
		if (r > 0 && strcmp(err.error, PML_ERROR_LIMIT) == 0 && d->n_children > d->n_ended)
			return;
		if (r > 0)
			log_notice(
				"Job %" PRIu64 " (%s): %s", job->id, job->kind->name, err.message);
		if (child && !child->parent) {
			child->parent = job;
			d->n_children++;
		}
		free(id);
		d->waiting[--d->n_waiting] = NULL;
	}
}

static JobNext evict_prepare(Job *job)
{
	DeviceData *d = job->data;
	int r;

	r = list_waiting(job);
	if (r < 0)
		return op_fail(job, r, "list the regions");
	begin_waiting(job);
	show_progress(job);
	return d->n_children > 0 ? JOB_WAIT : JOB_NEXT;
}

static double sum_of_children(const Job *job)
{
	double sum = 0;

	for (const Job *j = job->manager->jobs; j; j = j->next)
		if (j->parent == job)
			sum += j->progress;
	return sum;
}

static void device_child(Job *job, Job *child, bool ended)
{
	DeviceData *d = job->data;

	d->moved = sum_of_children(job);
	if (ended) {
		d->n_ended++;
		if (!job->cancelled)
			begin_waiting(job);
	}
	show_progress(job);
	if (d->n_ended == d->n_children)
		job_resume(job);
}

static JobNext evict_done(Job *job, int r)
{
	if (!job->cancelled)
		return JOB_NEXT;
	job_set_error(job, PML_ERROR_CANCELLED,
		"It was cancelled. What was taken back already stays so; see `pmemlease regions`.");
	return JOB_FAIL;
}

static void on_scanned(void *data, int r)
{
	job_resume(data);
}

/* What an eviction has unbound is seen to be so by a scan. */
static JobNext scan_prepare(Job *job)
{
	int r = manager_rescan(job->manager, on_scanned, job);

	return r < 0 ? op_fail(job, r, "scan the host") : JOB_WAIT;
}

/* --- disable --- */

static bool may_be_disabled(const PartRow *row)
{
	const Region *r = row->region;

	if (!row->ns || !row->ns->enabled)
		return false;
	if (!r)
		return strcmp(row->ns->mode, "devdax") != 0;
	if (r->lease && lease_state(r->lease) != PML_LEASE_FENCED)
		return false;
	if (r->record.use == PML_USE_QUARANTINED || (r->job && r->job->kind != &op_settle_kind))
		return false;
	/* Of a dax device none that is bound: that is how its memory is reached. */
	return pml_region_kind(r->host) == PML_KIND_BDEV || r->presence == PML_PRESENCE_OFFLINE;
}

static JobNext disable_prepare(Job *job)
{
	DeviceData *d = job->data;
	size_t n_rows, n = 0;
	PartRow *rows;
	int r;

	r = part_rows(job->manager, d->part, &rows, &n_rows);
	if (r < 0)
		return op_fail(job, r, "list the namespaces");
	for (size_t i = 0; i < n_rows && r >= 0; i++)
		if (may_be_disabled(&rows[i]))
			r = string_add(&d->disabling, &n, rows[i].ns->name);
	part_rows_free(rows, n_rows);
	if (r < 0)
		return op_fail(job, r, "list the namespaces");
	job_set_progress(job, "disabling its namespaces", 0.9);
	return JOB_NEXT;
}

static int disable_run(void *data)
{
	DeviceData *d = data;

	/* One that is in use says so when it is looked at again. */
	for (char **s = d->disabling; s && *s; s++)
		(void)d->disable(*s);
	return look_run(d);
}

/* --- the word --- */

/* True: something is, and the job's error says what. */
static bool say_what_is_in_the_way(Job *job, const PartRow *rows, size_t n)
{
	_cleanup_free_ char *label = part_label(((DeviceData *)job->data)->part);
	char list[sizeof(job->message) / 2] = "";
	size_t used = 0;

	for (size_t i = 0; i < n && used < sizeof(list); i++)
		if (rows[i].in_the_way)
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
				used > 0 ? "; " : "", rows[i].in_the_way);
	if (used == 0)
		return false;
	job_set_error(job, PML_ERROR_NOT_SAFE,
		"%s is not safe to remove: %s. End that, and evict the device again.",
		label ? label : "The device", list);
	return true;
}

static void note(Job *job)
{
	const DeviceData *d = job->data;
	_cleanup_free_ char *label = part_label(d->part), *text = NULL;
	PmlTxn *txn = op_txn_new(job->uid);

	log_full(LOG_NOTICE, &(LogFields){.message_id = PML_MESSAGE_SAFE_TO_REMOVE},
		"%s is safe to remove.", label ? label : d->name);
	if (txn && asprintf(&text, "%s is safe to remove", label ? label : d->name) >= 0 &&
		pml_txn_note(txn, "daemon", d->name, text) >= 0)
		(void)manager_apply(job->manager, TAKE_PTR(txn), NULL, NULL);
	(void)pml_txn_free(txn);
}

static JobNext word_prepare(Job *job)
{
	const DeviceData *d = job->data;
	bool in_the_way;
	PartRow *rows;
	size_t n;
	int r;

	r = part_rows(job->manager, d->part, &rows, &n);
	if (r < 0)
		return op_fail(job, r, "list what is in the way");
	in_the_way = say_what_is_in_the_way(job, rows, n);
	part_rows_free(rows, n);
	if (in_the_way)
		return JOB_FAIL;
	note(job);
	job_set_progress(job, "safe to remove", 1);
	return JOB_NEXT;
}

static int device_cancel(Job *job)
{
	if (!pml_streq(job->kind->steps[job->step].name, "evict"))
		return -EBUSY;
	for (Job *j = job->manager->jobs; j; j = j->next)
		if (j->parent == job)
			(void)job_cancel(j);
	return 0;
}

static const JobStep device_steps[] = {
	{.name = "look", .where = EXEC_WORK, .run = look_run, .done = look_done},
	{.name = "evict", .prepare = evict_prepare, .done = evict_done},
	{.name = "scan", .prepare = scan_prepare},
	{.name = "disable",
		.prepare = disable_prepare,
		.where = EXEC_WORK,
		.run = disable_run,
		.done = look_done},
	{.name = "word", .prepare = word_prepare},
};

const JobKind op_evict_device_kind = {
	.name = "evict-device",
	.steps = device_steps,
	.n_steps = ELEMENTSOF(device_steps),
	.data_free = device_data_free,
	.cancel = device_cancel,
	.child = device_child,
};

int op_evict_device_start(Manager *m, const char *name, uint64_t deadline_usec,
	PmlAfterFence after_fence, uint32_t uid, Job **ret_job, OpError *err)
{
	DeviceData *d;
	int r;

	if (deadline_usec == PML_DEADLINE_DEFAULT)
		deadline_usec = m->config.deadline_usec;
	if (deadline_usec > m->config.deadline_max_usec)
		return op_error(err, PML_ERROR_INVALID,
			"A deadline is at most %llu s from now. Give a shorter one.",
			(unsigned long long)(m->config.deadline_max_usec / USEC_PER_SEC));
	for (Job *j = m->jobs; j; j = j->next)
		if (j->kind == &op_evict_device_kind &&
			strcmp(((DeviceData *)j->data)->name, name) == 0)
			return op_error(err, PML_ERROR_BUSY,
				"%s is being evicted already (job %" PRIu64 "). Wait for that job.",
				name, j->id);
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->manager = m;
	d->scan = m->scan_part ? m->scan_part : pml_part_scan;
	d->disable = m->disable_namespace ? m->disable_namespace : pml_part_disable_namespace;
	d->deadline_usec = pml_now_usec(CLOCK_BOOTTIME) + deadline_usec;
	d->after_fence = after_fence;
	d->name = strdup(name);
	if (!d->name) {
		free(d);
		return -ENOMEM;
	}
	r = job_start(m, &op_evict_device_kind, NULL, NULL, uid, d, ret_job);
	if (r == -EDQUOT)
		return op_error(
			err, PML_ERROR_LIMIT, "Too many jobs are running. Wait for one to end.");
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A part of the host is to leave: every region on it is evicted and kept offline, each by a job of
 * its own, all at once; then the namespaces are disabled, which the ledger is told before; then it
 * is looked at again, and said whether the part can be taken out. What was done stays done where it
 * fails, and is not done twice where it is asked for again.
 */

#include <inttypes.h>

#include "log.h"
#include "ops-internal.h"
#include "part-job.h"
#include "part-rows.h"
#include "util.h"

typedef struct DeviceData {
	PartJob p;
	uint64_t deadline_usec; /* CLOCK_BOOTTIME, or one of PML_DEADLINE_… */
	PmlAfterFence after_fence;
	DrainPolicy how;

	/* --- read and written by the steps' run --- */
	int (*disable)(const PmlPartNamespace *seen);
	const PmlPartNamespace **disabling; /* of p.part */
	size_t n_disabling;
} DeviceData;

static void device_data_free(void *data)
{
	DeviceData *d = data;

	part_job_clear(&d->p);
	free(d->disabling);
	free(d);
}

/* --- how it is laid out, for its return --- */

static JobNext layout_prepare(Job *job)
{
	DeviceData *d = job->data;
	PmlTxn *txn = op_txn_new_job(job, false);
	int r = txn ? layout_of(job->manager, d->p.part, &d->p.layout) : -ENOMEM;

	d->p.key = layout_key(d->p.part);
	if (r < 0 || !d->p.key) {
		(void)pml_txn_free(txn);
		return op_fail(job, r < 0 ? r : -ENOMEM, "record how the device is laid out");
	}
	ledger_change_init(&d->p.change, job->manager, txn);
	return JOB_NEXT;
}

/* Asked again, when half of it is disabled: what was read before still holds. */
static int take_over_recorded(DeviceData *d)
{
	_cleanup_free_ char *json = NULL;
	Layout before;
	int r;

	r = pml_ledger_layout(d->p.manager->ledger, d->p.key, &json);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = layout_parse(json, &before);
	if (r < 0)
		return r;
	r = layout_take_over(&d->p.layout, &before);
	layout_clear(&before);
	return r;
}

static int layout_run(void *data)
{
	_cleanup_free_ char *json = NULL;
	DeviceData *d = data;
	int r;

	r = take_over_recorded(d);
	if (r < 0)
		return r;
	json = layout_format(&d->p.layout);
	r = json ? pml_txn_layout(d->p.change.txn, d->p.key, json) : -ENOMEM;
	return r < 0 ? r : ledger_change_run(&d->p.change);
}

/* --- evict --- */

/* Not where an eviction has nothing more to do. */
static bool is_to_be_evicted(const Region *r)
{
	if (r->lease)
		return !part_lease_is_over(r) && lease_state(r->lease) != PML_LEASE_STUCK;
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

	r = part_rows(job->manager, d->p.part, &rows, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++)
		if (rows[i].region && is_to_be_evicted(rows[i].region))
			r = children_add(&d->p.children, rows[i].region->id);
	part_rows_free(rows, n);
	return r;
}

static bool is_word(uint64_t deadline_usec)
{
	return deadline_usec == PML_DEADLINE_DEFAULT || deadline_usec == PML_DEADLINE_INFINITY;
}

static uint64_t left_of(uint64_t deadline_usec)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);

	if (is_word(deadline_usec))
		return deadline_usec;
	return deadline_usec > now ? deadline_usec - now : 0;
}

static int begin_one(Job *job, Region *region, Job **ret, OpError *err)
{
	DeviceData *d = job->data;

	return is_to_be_evicted(region) ? op_evict_start_with(job->manager, region, "evict",
						  left_of(d->deadline_usec), true, d->after_fence,
						  &d->how, job->uid, ret, err)
					: 0;
}

static JobNext evict_prepare(Job *job)
{
	DeviceData *d = job->data;
	int r;

	/* What comes behind it is short. */
	d->p.children = (Children){.begin = begin_one, .what = "taken back", .to = 0.9};
	r = list_waiting(job);
	return r < 0 ? op_fail(job, r, "list the regions") : children_begin(&d->p.children, job);
}

static JobNext evict_done(Job *job, int r)
{
	if (!job->cancelled)
		return JOB_NEXT;
	job_set_error(job, PML_ERROR_CANCELLED,
		"It was cancelled. What was taken back already stays so; see `pmemlease regions`.");
	return JOB_FAIL;
}

/* --- disable --- */

static bool may_be_disabled(const PartRow *row)
{
	const Region *r = row->region;

	if (!row->ns || !row->ns->enabled)
		return false;
	if (!r)
		return strcmp(row->ns->mode, "devdax") != 0;
	if (!part_lease_is_over(r) || r->record.use == PML_USE_QUARANTINED ||
		(r->job && r->job->kind != &op_settle_kind))
		return false;
	/* Of a dax device none that is bound: that is how its memory is reached. */
	return pml_region_kind(r->host) == PML_KIND_BDEV || r->presence == PML_PRESENCE_OFFLINE;
}

static int add_disabling(DeviceData *d, const PmlPartNamespace *ns)
{
	const PmlPartNamespace **list =
		reallocarray(d->disabling, d->n_disabling + 1, sizeof(PmlPartNamespace *));

	if (!list)
		return -ENOMEM;
	d->disabling = list;
	list[d->n_disabling++] = ns;
	return 0;
}

static int list_disabling(Job *job)
{
	DeviceData *d = job->data;
	PartRow *rows;
	size_t n;
	int r;

	r = part_rows(job->manager, d->p.part, &rows, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++)
		if (may_be_disabled(&rows[i]))
			r = add_disabling(d, rows[i].ns);
	part_rows_free(rows, n);
	return r;
}

static char *disabling_text(const DeviceData *d)
{
	_cleanup_free_ char *label = part_label(d->p.part);
	char *text = NULL, *more;

	if (!label || asprintf(&text, "%s is to leave, disabling", label) < 0)
		return NULL;
	for (size_t i = 0; i < d->n_disabling; i++) {
		int n = asprintf(&more, "%s%s %s", text, i > 0 ? "," : "", d->disabling[i]->name);

		free(text);
		if (n < 0)
			return NULL;
		text = more;
	}
	return text;
}

static JobNext record_prepare(Job *job)
{
	DeviceData *d = job->data;
	_cleanup_free_ char *text = NULL;
	PmlTxn *txn;
	int r;

	r = list_disabling(job);
	if (r < 0)
		return op_fail(job, r, "list the namespaces");
	if (d->n_disabling == 0) {
		job->skip = true;
		return JOB_NEXT;
	}
	text = disabling_text(d);
	txn = op_txn_new_job(job, false);
	r = txn && text ? pml_txn_note(txn, "daemon", d->p.name, text) : -ENOMEM;
	if (r < 0) {
		(void)pml_txn_free(txn);
		return op_fail(job, r, "record what is to be disabled");
	}
	ledger_change_init(&d->p.change, job->manager, txn);
	return JOB_NEXT;
}

static JobNext disable_prepare(Job *job)
{
	job_set_progress(job, "disabling its namespaces", 0.9);
	return JOB_NEXT;
}

static int disable_run(void *data)
{
	DeviceData *d = data;

	/* One that is in use says so when it is looked at again. */
	for (size_t i = 0; i < d->n_disabling; i++)
		(void)d->disable(d->disabling[i]);
	d->n_disabling = 0;
	return part_job_look(d);
}

/* --- the word --- */

/* True: something is, and the job's error says what. */
static bool say_what_is_in_the_way(Job *job, const PartRow *rows, size_t n)
{
	_cleanup_free_ char *label = part_label(((PartJob *)job->data)->part);
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
	_cleanup_free_ char *label = part_label(d->p.part), *text = NULL;
	PmlTxn *txn = op_txn_new(job->uid);

	log_full(LOG_NOTICE, &(LogFields){.message_id = PML_MESSAGE_SAFE_TO_REMOVE},
		"%s is safe to remove.", label ? label : d->p.name);
	if (txn && asprintf(&text, "%s is safe to remove", label ? label : d->p.name) >= 0 &&
		pml_txn_note(txn, "daemon", d->p.name, text) >= 0)
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

	r = part_rows(job->manager, d->p.part, &rows, &n);
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
	part_job_cancel_children(job);
	return 0;
}

static const JobStep device_steps[] = {
	{.name = "look", .where = EXEC_WORK, .run = part_job_look, .done = part_job_looked},
	{.name = "layout",
		.prepare = layout_prepare,
		.where = EXEC_LEDGER,
		.run = layout_run,
		.done = part_job_changed},
	{.name = "evict", .prepare = evict_prepare, .done = evict_done},
	/* What an eviction has unbound is seen to be so. */
	{.name = "scan", .prepare = op_rescan},
	{.name = "record",
		.prepare = record_prepare,
		.where = EXEC_LEDGER,
		.run = part_job_change,
		.done = part_job_changed,
		.optional_skip = true},
	{.name = "disable",
		.prepare = disable_prepare,
		.where = EXEC_WORK,
		.run = disable_run,
		.done = part_job_looked},
	{.name = "word", .prepare = word_prepare},
};

const JobKind op_evict_device_kind = {
	.name = "evict-device",
	.steps = device_steps,
	.n_steps = ELEMENTSOF(device_steps),
	.data_free = device_data_free,
	.cancel = device_cancel,
	.child = part_job_child,
};

int op_evict_device_start(Manager *m, const char *name, uint64_t deadline_usec,
	PmlAfterFence after_fence, const DrainPolicy *how, uint32_t uid, Job **ret_job,
	OpError *err)
{
	DeviceData *d;
	int r;

	r = op_deadline_check(m, deadline_usec, err);
	if (r != 0)
		return r;
	for (Job *j = m->jobs; j; j = j->next)
		if (j->kind == &op_evict_device_kind &&
			strcmp(((PartJob *)j->data)->name, name) == 0)
			return op_error(err, PML_ERROR_BUSY,
				"%s is being evicted already (job %" PRIu64 "). Wait for that job.",
				name, j->id);
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->disable = m->disable_namespace ? m->disable_namespace : pml_part_disable_namespace;
	/* Without one each lease has its own. */
	d->deadline_usec = is_word(deadline_usec) ? deadline_usec
						  : pml_now_usec(CLOCK_BOOTTIME) + deadline_usec;
	d->after_fence = after_fence;
	d->how = *how;
	r = part_job_init(&d->p, m, name);
	if (r < 0) {
		device_data_free(d);
		return r;
	}
	r = job_start(m, &op_evict_device_kind, NULL, NULL, uid, d, ret_job);
	if (r == -EDQUOT)
		return op_error(
			err, PML_ERROR_LIMIT, "Too many jobs are running. Wait for one to end.");
	return r;
}

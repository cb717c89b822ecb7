/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A part of the host is back, itself or another in its slot: its namespaces are enabled, each
 * region that was kept offline is readmitted, and the leases are made again that asked for it. A
 * namespace that is not the one that was there is another medium's: what the ledger knows of those
 * bytes is forgotten before anybody is lent them. Namespaces are not made here: that is ndctl's,
 * and its caller's privilege.
 */

#include <inttypes.h>

#include "log.h"
#include "ops-internal.h"
#include "part-job.h"
#include "part-rows.h"
#include "util.h"

typedef struct ReadmitData {
	PartJob p;
	bool scrub;
	char **fresh; /* ids of the regions that are another medium's */
	size_t n_fresh;

	/* --- read and written by the steps' run --- */
	int (*enable)(const PmlPartNamespace *seen);
	PmlLeaseRecord *wanted; /* for each entry of the layout; id "": none */
	size_t *index;		/* layout_match() */
	bool *same;
} ReadmitData;

static void readmit_data_free(void *data)
{
	ReadmitData *d = data;

	part_job_clear(&d->p);
	for (size_t i = 0; i < d->n_fresh; i++)
		free(d->fresh[i]);
	free(d->fresh);
	free(d->wanted);
	free(d->index);
	free(d->same);
	free(d);
}

/* --- what there is, and what there was --- */

static JobNext recall_prepare(Job *job)
{
	ReadmitData *d = job->data;

	d->p.key = layout_key(d->p.part);
	return d->p.key ? JOB_NEXT : op_fail(job, -ENOMEM, "recall how the device was laid out");
}

/* The newest of an entry's leases is the one that is made again. */
static int recall_leases(ReadmitData *d)
{
	PmlLedger *l = d->p.manager->ledger;

	for (size_t i = 0; i < d->p.layout.n; i++)
		for (char **id = d->p.layout.entries[i].leases; id && *id; id++) {
			int r = pml_ledger_lease(l, *id, &d->wanted[i]);

			if (r < 0 && r != -ENOENT)
				return r;
		}
	return 0;
}

static int recall_run(void *data)
{
	_cleanup_free_ char *json = NULL;
	ReadmitData *d = data;
	int r;

	r = pml_ledger_layout(d->p.manager->ledger, d->p.key, &json);
	if (r == 0)
		r = layout_parse(json, &d->p.layout);
	if (r < 0 && r != -ENOENT)
		return r;
	d->wanted = calloc(d->p.layout.n + 1, sizeof(*d->wanted));
	d->index = calloc(d->p.layout.n + 1, sizeof(*d->index));
	d->same = calloc(d->p.layout.n + 1, sizeof(*d->same));
	return d->wanted && d->index && d->same ? recall_leases(d) : -ENOMEM;
}

static JobNext recall_done(Job *job, int r)
{
	return r < 0 ? op_fail(job, r, "recall how the device was laid out") : JOB_NEXT;
}

/* --- enable --- */

/* What the kernel binds now is by our doing, and nobody's intrusion. */
static JobNext enable_prepare(Job *job)
{
	ReadmitData *d = job->data;
	PartRow *rows;
	size_t n;
	int r = part_rows(job->manager, d->p.part, &rows, &n);

	if (r < 0)
		return op_fail(job, r, "list the regions");
	for (size_t i = 0; i < n; i++)
		if (rows[i].region)
			rows[i].region->is_awaited = true;
	part_rows_free(rows, n);
	job_set_progress(job, "enabling its namespaces", 0.05);
	return JOB_NEXT;
}

static int enable_run(void *data)
{
	ReadmitData *d = data;
	int r;

	/* One that cannot be enabled is told of at the end. */
	for (size_t i = 0; i < d->p.part->n_namespaces; i++)
		if (!d->p.part->namespaces[i].enabled)
			(void)d->enable(&d->p.part->namespaces[i]);
	r = part_job_look(d);
	if (r == 0)
		layout_match(&d->p.layout, d->p.part, d->index, d->same);
	return r;
}

static int begin_nothing(Job *job, Region *region, Job **ret, OpError *err)
{
	return 0;
}

/* The kernel binds what was enabled, and our own guard unbinds it again, since it is kept offline:
 * that goes first. */
static JobNext guards_prepare(Job *job)
{
	ReadmitData *d = job->data;
	PartRow *rows;
	size_t n;
	int r;

	d->p.children =
		(Children){.begin = begin_nothing, .what = "unbound", .from = 0.1, .to = 0.2};
	r = part_rows(job->manager, d->p.part, &rows, &n);
	if (r < 0)
		return op_fail(job, r, "list the regions");
	for (size_t i = 0; i < n; i++)
		if (rows[i].region && rows[i].region->job &&
			rows[i].region->job->kind == &op_guard_kind)
			children_adopt(&d->p.children, job, rows[i].region->job);
	part_rows_free(rows, n);
	return children_begin(&d->p.children, job);
}

static JobNext children_done(Job *job, int r)
{
	ReadmitData *d = job->data;

	children_clear(&d->p.children);
	if (!job->cancelled)
		return JOB_NEXT;
	job_set_error(job, PML_ERROR_CANCELLED,
		"It was cancelled. What was readmitted already stays so; see `pmemlease regions`.");
	return JOB_FAIL;
}

/* --- another medium --- */

static bool is_recorded(const ReadmitData *d, const PmlPartNamespace *ns)
{
	for (size_t i = 0; i < d->p.layout.n; i++)
		if (d->same[i] && &d->p.part->namespaces[d->index[i]] == ns)
			return true;
	return false;
}

static int add_fresh(ReadmitData *d, const Region *region)
{
	char **list = reallocarray(d->fresh, d->n_fresh + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	d->fresh = list;
	list[d->n_fresh] = strdup(region->id);
	if (!list[d->n_fresh])
		return -ENOMEM;
	d->n_fresh++;
	return 0;
}

static bool is_fresh(const ReadmitData *d, const Region *region)
{
	for (size_t i = 0; i < d->n_fresh; i++)
		if (strcmp(d->fresh[i], region->id) == 0)
			return true;
	return false;
}

/* Without a layout nothing was said of what was there, and what is known of it stays. */
static int forget_what_was_there(ReadmitData *d, PartRow *rows, size_t n, PmlTxn *txn)
{
	int r = 0;

	for (size_t i = 0; i < n && r >= 0 && d->p.layout.n > 0; i++) {
		const Region *g = rows[i].region;

		if (!rows[i].ns || !g || is_recorded(d, rows[i].ns) || !part_lease_is_over(g))
			continue;
		r = add_fresh(d, g);
		if (r >= 0 && g->record.content != PML_CONTENT_FOREIGN && !g->lease)
			r = pml_txn_content_step(
				txn, g->id, &g->extent, PML_CONTENT_EV_REPLACED, NULL);
	}
	return r;
}

static JobNext record_prepare(Job *job)
{
	ReadmitData *d = job->data;
	_cleanup_free_ char *label = part_label(d->p.part), *text = NULL;
	PmlTxn *txn = op_txn_new_job(job, false);
	PartRow *rows;
	size_t n;
	int r = label && txn ? 0 : -ENOMEM;

	if (r >= 0)
		r = part_rows(job->manager, d->p.part, &rows, &n);
	if (r >= 0) {
		r = forget_what_was_there(d, rows, n, txn);
		part_rows_free(rows, n);
	}
	if (r >= 0 && asprintf(&text, "%s is back, %zu of its regions on another medium", label,
			      d->n_fresh) < 0)
		r = -ENOMEM;
	if (r >= 0)
		r = pml_txn_note(txn, "daemon", d->p.name, text);
	if (r < 0) {
		(void)pml_txn_free(txn);
		return op_fail(job, r, "record what is back");
	}
	ledger_change_init(&d->p.change, job->manager, txn);
	return JOB_NEXT;
}

/* --- the regions and their leases --- */

static int list_regions(Job *job)
{
	ReadmitData *d = job->data;
	PartRow *rows;
	size_t n;
	int r;

	r = part_rows(job->manager, d->p.part, &rows, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++)
		if (rows[i].region)
			r = children_add(&d->p.children, rows[i].region->id);
	part_rows_free(rows, n);
	return r;
}

static JobNext on_each_region(Job *job, Children children)
{
	ReadmitData *d = job->data;
	int r;

	d->p.children = children;
	r = list_regions(job);
	return r < 0 ? op_fail(job, r, "list the regions") : children_begin(&d->p.children, job);
}

static int begin_readmit(Job *job, Region *region, Job **ret, OpError *err)
{
	if (region->record.use != PML_USE_EVICTED &&
		(region->record.use != PML_USE_FREE || region->presence != PML_PRESENCE_OFFLINE))
		return 0;
	return op_readmit_start(job->manager, region, job->uid, ret, err);
}

static JobNext readmit_prepare(Job *job)
{
	return on_each_region(job,
		(Children){.begin = begin_readmit, .what = "readmitted", .from = 0.2, .to = 0.4});
}

static int begin_scrub(Job *job, Region *region, Job **ret, OpError *err)
{
	const ReadmitData *d = job->data;

	if (!is_fresh(d, region) || region->record.content != PML_CONTENT_FOREIGN)
		return 0;
	return op_scrub_start(job->manager, region, region->record.owner, job->uid, ret, err);
}

static JobNext scrub_prepare(Job *job)
{
	const ReadmitData *d = job->data;

	return d->scrub ? on_each_region(job, (Children){.begin = begin_scrub,
						      .what = "scrubbed",
						      .from = 0.4,
						      .to = 0.9})
			: JOB_NEXT;
}

/* The lease that the region's namespace had; NULL: none that is wanted again. */
static const PmlLeaseRecord *wanted_on(const ReadmitData *d, const PmlPartNamespace *ns)
{
	for (size_t i = 0; i < d->p.layout.n; i++)
		if (d->index[i] != SIZE_MAX && &d->p.part->namespaces[d->index[i]] == ns &&
			d->wanted[i].id[0])
			return &d->wanted[i];
	return NULL;
}

static const PmlLeaseRecord *wanted_of(Job *job, const Region *region)
{
	const ReadmitData *d = job->data;
	const PmlLeaseRecord *rec = NULL;
	PartRow *rows;
	size_t n;

	if (part_rows(job->manager, d->p.part, &rows, &n) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (rows[i].region == region && rows[i].ns)
			rec = wanted_on(d, rows[i].ns);
	part_rows_free(rows, n);
	return rec;
}

static int begin_lease(Job *job, Region *region, Job **ret, OpError *err)
{
	const PmlLeaseRecord *rec = region->lease ? NULL : wanted_of(job, region);
	Lease *lease;
	int r;

	if (!rec)
		return 0;
	r = op_lease_start(job->manager, region, rec->domain, rec->owner, rec->on_end,
		rec->after_fence, rec->after_fence == PML_AFTER_FENCE_DESTROY, job->uid, &lease,
		ret, err);
	if (r != 0)
		return r;
	op_lease_drain(*ret, &(DrainPolicy){rec->drain, rec->on_refusal, rec->grace_usec});
	op_lease_restore(*ret);
	return 0;
}

static JobNext lease_prepare(Job *job)
{
	return on_each_region(job,
		(Children){.begin = begin_lease, .what = "leased again", .from = 0.9, .to = 1});
}

/* --- the end --- */

static int append(char **text, const char *separator, const char *format, ...)
	__attribute__((__format__(printf, 3, 4)));
static int append(char **text, const char *separator, const char *format, ...)
{
	_cleanup_free_ char *one = NULL;
	char *longer;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&one, format, ap);
	va_end(ap);
	if (n < 0) {
		one = NULL;
		return -ENOMEM;
	}
	if (asprintf(&longer, "%s%s%s", *text ? *text : "", *text ? separator : "", one) < 0)
		return -ENOMEM;
	free(*text);
	*text = longer;
	return 0;
}

static int list_missing(const ReadmitData *d, char **ret)
{
	int r = 0;

	for (size_t i = 0; i < d->p.layout.n && r >= 0; i++) {
		const LayoutEntry *e = &d->p.layout.entries[i];

		if (d->index[i] == SIZE_MAX)
			r = append(ret, "; ", "there is no %s namespace of %" PRIu64 " bytes on %s",
				e->mode, e->size_bytes, e->set);
		else if (!d->p.part->namespaces[d->index[i]].enabled)
			r = append(ret, "; ", "%s cannot be enabled",
				d->p.part->namespaces[d->index[i]].name);
	}
	return r;
}

static int list_not_leased(Job *job, char **ret)
{
	const ReadmitData *d = job->data;
	PartRow *rows;
	size_t n;
	int r = part_rows(job->manager, d->p.part, &rows, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++) {
		const PmlLeaseRecord *rec = rows[i].ns ? wanted_on(d, rows[i].ns) : NULL;
		const Region *g = rows[i].region;

		if (rec && (!g || !g->lease || strcmp(g->lease->record.domain, rec->domain) != 0))
			r = append(ret, ", ", "%s to domain %s",
				g ? region_label(g) : rows[i].ns->name, rec->domain_name);
	}
	part_rows_free(rows, n);
	return r;
}

static JobNext word_prepare(Job *job)
{
	const ReadmitData *d = job->data;
	_cleanup_free_ char *missing = NULL, *not_leased = NULL;
	int r = list_missing(d, &missing);

	if (r >= 0)
		r = list_not_leased(job, &not_leased);
	if (r < 0)
		return op_fail(job, r, "list what is missing");
	if (missing) {
		job_set_error(job, PML_ERROR_NOT_RESTORED,
			"The rest is back, but %.1500s. Make it anew and call again.", missing);
		return JOB_FAIL;
	}
	if (not_leased)
		job_set_note(job, PML_ERROR_NOT_RESTORED,
			"Not leased again: %.1500s. The journal of pmemleased says why; call again, or lease it by hand.",
			not_leased);
	return JOB_NEXT;
}

static JobNext forget_prepare(Job *job)
{
	ReadmitData *d = job->data;
	PmlTxn *txn;
	int r;

	/* While something was not leased again, it may be asked for again. */
	if (d->p.layout.n == 0 || job->noted) {
		job->skip = true;
		return JOB_NEXT;
	}
	txn = op_txn_new_job(job, false);
	r = txn ? pml_txn_layout(txn, d->p.key, NULL) : -ENOMEM;
	if (r < 0) {
		(void)pml_txn_free(txn);
		return op_fail(job, r, "forget how the device was laid out");
	}
	ledger_change_init(&d->p.change, job->manager, txn);
	return JOB_NEXT;
}

static void readmit_device_finished(Job *job, bool success)
{
	Region *region;

	LIST_FOREACH (region, &job->manager->regions, regions)
		region->is_awaited = false;
}

static int readmit_device_cancel(Job *job)
{
	const char *step = job->kind->steps[job->step].name;

	if (!pml_streq(step, "readmit") && !pml_streq(step, "scrub") && !pml_streq(step, "lease"))
		return -EBUSY;
	part_job_cancel_children(job);
	return 0;
}

static const JobStep readmit_device_steps[] = {
	{.name = "look", .where = EXEC_WORK, .run = part_job_look, .done = part_job_looked},
	{.name = "recall",
		.prepare = recall_prepare,
		.where = EXEC_LEDGER,
		.run = recall_run,
		.done = recall_done},
	{.name = "enable",
		.prepare = enable_prepare,
		.where = EXEC_WORK,
		.run = enable_run,
		.done = part_job_looked},
	{.name = "scan", .prepare = op_rescan},
	{.name = "guards", .prepare = guards_prepare, .done = children_done},
	{.name = "scan-unbound", .prepare = op_rescan},
	{.name = "record",
		.prepare = record_prepare,
		.where = EXEC_LEDGER,
		.run = part_job_change,
		.done = part_job_changed},
	{.name = "readmit", .prepare = readmit_prepare, .done = children_done},
	{.name = "scan-bound", .prepare = op_rescan},
	{.name = "scrub", .prepare = scrub_prepare, .done = children_done},
	{.name = "lease", .prepare = lease_prepare, .done = children_done},
	{.name = "word", .prepare = word_prepare},
	{.name = "forget",
		.prepare = forget_prepare,
		.where = EXEC_LEDGER,
		.run = part_job_change,
		.done = part_job_changed,
		.optional_skip = true},
};

const JobKind op_readmit_device_kind = {
	.name = "readmit-device",
	.steps = readmit_device_steps,
	.n_steps = ELEMENTSOF(readmit_device_steps),
	.data_free = readmit_data_free,
	.cancel = readmit_device_cancel,
	.child = part_job_child,
	.finished = readmit_device_finished,
};

int op_readmit_device_start(
	Manager *m, const char *name, bool scrub, uint32_t uid, Job **ret_job, OpError *err)
{
	ReadmitData *d;
	int r;

	for (Job *j = m->jobs; j; j = j->next)
		if (j->kind == &op_readmit_device_kind || j->kind == &op_evict_device_kind)
			return op_error(err, PML_ERROR_BUSY,
				"Another device is being evicted or readmitted (job %" PRIu64
				"). Wait for that job.",
				j->id);
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->enable = m->enable_namespace ? m->enable_namespace : pml_part_enable_namespace;
	d->scrub = scrub;
	r = part_job_init(&d->p, m, name);
	if (r < 0) {
		readmit_data_free(d);
		return r;
	}
	r = job_start(m, &op_readmit_device_kind, NULL, NULL, uid, d, ret_job);
	if (r == -EDQUOT)
		return op_error(
			err, PML_ERROR_LIMIT, "Too many jobs are running. Wait for one to end.");
	return r;
}

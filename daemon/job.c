/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>

#include "job-bus.h"
#include "job.h"
#include "log.h"
#include "manager.h"
#include "util.h"

/* A client that watches a scrub wants a moving bar, not a signal for each MiB. */
#define PROGRESS_INTERVAL_USEC (100 * USEC_PER_MSEC)

static const JobStep *job_step(const Job *job)
{
	return &job->kind->steps[job->step];
}

static void crash_point(const Job *job, const char *when)
{
	const char *at = getenv(PML_ENV_CRASH_AT);
	char here[192];

	if (!at)
		return;
	(void)snprintf(here, sizeof(here), "%s/%s/%s", job->kind->name, job_step(job)->name, when);
	if (strcmp(at, here) != 0)
		return;
	log_notice("Killing myself at %s.", here);
	(void)kill(getpid(), SIGKILL);
}

void job_print_steps(FILE *f)
{
	for (const JobKind *const *k = job_kinds; *k; k++)
		for (size_t i = 0; i < (*k)->n_steps; i++)
			(void)fprintf(f, "%s/%s/before\n%s/%s/after\n", (*k)->name,
				(*k)->steps[i].name, (*k)->name, (*k)->steps[i].name);
}

static void job_free(Job *job)
{
	sd_event_source_disable_unref(job->defer);
	if (job->kind->data_free && job->data)
		job->kind->data_free(job->data);
	free(job->path);
	free(job);
}

static const char *job_result(const Job *job, bool success)
{
	if (success)
		return "done";
	return strcmp(job->error, PML_ERROR_CANCELLED) == 0 ? "cancelled" : "failed";
}

static void job_end(Job *job, bool success)
{
	Manager *m = job->manager;
	Region *region = job->region;
	const char *result;

	if (!success && !job->error[0])
		job_set_error(job, PML_ERROR_FAILED,
			"The operation failed; the journal of pmemleased says why.");
	result = job_result(job, success);
	if (strcmp(result, "failed") == 0)
		log_full(LOG_WARNING,
			&(LogFields){.lease = job->lease ? job->lease->record.id : NULL,
				.region = region ? region->id : NULL,
				.message_id =
					job->message_id ? job->message_id : PML_MESSAGE_JOB_FAILED},
			"Job %" PRIu64 " (%s) failed at %s: %s", job->id, job->kind->name,
			job->step < job->kind->n_steps ? job_step(job)->name : "its end",
			job->message);

	if (region && region->job == job)
		region->job = NULL;
	if (job->kind->finished)
		job->kind->finished(job, success);
	job_bus_removed(job, result);
	if (region && region->job == NULL)
		region_changed(region);

	for (Job **j = &m->jobs; *j; j = &(*j)->next)
		if (*j == job) {
			*j = job->next;
			break;
		}
	for (Job *j = m->jobs; j; j = j->next)
		if (j->parent == job)
			j->parent = NULL;
	if (job->parent)
		job->parent->kind->child(job->parent, job, true);
	job_free(job);
	leases_collect(m);
}

/* Ends the job or moves it on; true: enter the step that job->step names now. */
static bool job_take(Job *job, JobNext next, bool in_done)
{
	switch (next) {
	case JOB_NEXT:
		break;
	case JOB_WAIT:
		job->waiting = true;
		job->waiting_done = in_done;
		return false;
	case JOB_DONE:
		job_end(job, true);
		return false;
	case JOB_FAIL:
		job_end(job, false);
		return false;
	}
	return true;
}

static size_t step_named(const JobKind *kind, const char *name)
{
	size_t i;

	for (i = 0; i < kind->n_steps && strcmp(kind->steps[i].name, name) != 0; i++)
		;
	return i;
}

static bool job_advance(Job *job)
{
	const char *name = TAKE_PTR(job->next_step);

	job->step++;
	if (name && step_named(job->kind, name) < job->kind->n_steps)
		job->step = step_named(job->kind, name);
	if (job->step < job->kind->n_steps)
		return true;
	job_end(job, true);
	return false;
}

/* Takes run's result over; true: another step is to be entered. */
static bool job_step_done(Job *job, int r)
{
	const JobStep *step = job_step(job);
	JobNext next = r == 0 ? JOB_NEXT : JOB_FAIL;

	crash_point(job, "after");
	if (step->done)
		next = step->done(job, r);
	else if (r != 0 && !job->error[0])
		job_set_error(job, PML_ERROR_FAILED, "The step %s of %s failed: %s.", step->name,
			job->kind->name, r < 0 ? strerror(-r) : "it was refused");
	return job_take(job, next, true) && job_advance(job);
}

static void job_drive(Job *job);

static int on_run(void *userdata)
{
	Job *job = userdata;

	/* Of the job only what does not change while it runs; the data is ours until then. */
	return job->run(job->data);
}

static void on_run_done(void *userdata, int r)
{
	Job *job = userdata;

	job->running = false;
	if (job_step_done(job, r))
		job_drive(job);
}

/* True: the step was one of the main thread alone, and another is to be entered. */
static bool job_run(Job *job)
{
	const JobStep *step = job_step(job);
	const char *key = NULL;
	int r;

	if (!step->run)
		return job_step_done(job, 0);
	if (step->where == EXEC_VIRT && job->lease && job->lease->record.domain[0])
		key = job->lease->record.domain;
	job->running = true;
	job->run = step->run;
	r = exec_submit(job->manager->exec, step->where, key, on_run, on_run_done, job);
	if (r == 0)
		return false;
	job->running = false;
	return job_step_done(job, r);
}

/* Enters steps until one runs elsewhere, waits, or ends the job. The job may be freed on return. */
static void job_drive(Job *job)
{
	for (;;) {
		const JobStep *step = job_step(job);

		job->skip = false;
		crash_point(job, "before");
		if (step->prepare && !job_take(job, step->prepare(job), false))
			return;
		if (step->optional_skip && job->skip) {
			if (!job_advance(job))
				return;
			continue;
		}
		if (!job_run(job))
			return;
	}
}

static int on_defer(sd_event_source *s, void *userdata)
{
	Job *job = userdata;

	if (!job->waiting) {
		job_drive(job);
		return 0;
	}
	job->waiting = false;
	if (job->waiting_done ? job_advance(job) : job_run(job))
		job_drive(job);
	return 0;
}

static int jobs_within_cap(const Manager *m, uint32_t uid)
{
	unsigned n = 0;

	if (uid == 0)
		return 0;
	for (const Job *j = m->jobs; j; j = j->next)
		if (j->uid != 0)
			n++;
	return n >= m->config.max_jobs ? -EDQUOT : 0;
}

static int job_path_new(Job *job)
{
	if (asprintf(&job->path, PML_PATH_JOB "/%" PRIu64, job->id) >= 0)
		return 0;
	job->path = NULL;
	return -ENOMEM;
}

int job_start(Manager *m, const JobKind *kind, Region *region, Lease *lease, uint32_t uid,
	void *data, Job **ret)
{
	Job *job = calloc(1, sizeof(*job));
	int r;

	if (!job) {
		if (kind->data_free && data)
			kind->data_free(data);
		return -ENOMEM;
	}
	job->manager = m;
	job->kind = kind;
	job->data = data;
	job->region = region;
	job->lease = lease;
	job->uid = uid;
	r = region && region->job ? -EBUSY : jobs_within_cap(m, uid);
	if (r == 0)
		r = sd_event_add_defer(m->event, &job->defer, on_defer, job);
	if (r >= 0)
		r = sd_event_source_set_enabled(job->defer, SD_EVENT_ONESHOT);
	job->id = ++m->next_job_id;
	if (r >= 0 && !kind->internal)
		r = job_path_new(job);
	if (r < 0) {
		job_free(job);
		return r;
	}

	job->next = m->jobs;
	m->jobs = job;
	if (region)
		region->job = job;
	job_bus_new(job);
	if (region)
		region_changed(region);
	if (ret)
		*ret = job;
	return 0;
}

int job_promote(Job *job, const JobKind *kind, uint32_t uid)
{
	size_t step = step_named(kind, job_step(job)->name);
	int r = step < kind->n_steps ? jobs_within_cap(job->manager, uid) : -EINVAL;

	if (r == 0)
		r = job_path_new(job);
	if (r < 0)
		return r;
	job->kind = kind;
	job->step = step;
	job->uid = uid;
	job_bus_new(job);
	if (job->region)
		region_changed(job->region);
	return 0;
}

void job_resume(Job *job)
{
	if (job->waiting)
		(void)sd_event_source_set_enabled(job->defer, SD_EVENT_ONESHOT);
}

void job_set_next(Job *job, const char *step)
{
	job->next_step = step;
}

bool job_cancellable(const Job *job)
{
	return job->kind->cancel && !job->cancelled;
}

int job_cancel(Job *job)
{
	int r;

	if (!job->kind->cancel)
		return -EOPNOTSUPP;
	if (job->cancelled)
		return 0;
	r = job->kind->cancel(job);
	if (r < 0)
		return r;
	job->cancelled = true;
	job_bus_changed(job);
	return 0;
}

void jobs_free(Manager *m)
{
	Job *job;

	while ((job = m->jobs)) {
		m->jobs = job->next;
		if (job->region && job->region->job == job)
			job->region->job = NULL;
		if (!job->running)
			job_free(job);
	}
}

Job *job_find(Manager *m, uint64_t id)
{
	for (Job *j = m->jobs; j; j = j->next)
		if (j->id == id)
			return j;
	return NULL;
}

void job_set_progress(Job *job, const char *phase, double progress)
{
	uint64_t now = pml_now_usec(CLOCK_MONOTONIC);
	bool moved = progress != job->progress;
	bool news = phase && strcmp(phase, job->phase) != 0;

	if (news)
		(void)snprintf(job->phase, sizeof(job->phase), "%s", phase);
	job->progress = progress < 0 ? 0 : progress > 1 ? 1 : progress;
	if (!news &&
		(!moved || (progress < 1 && now < job->announced_usec + PROGRESS_INTERVAL_USEC)))
		return;
	job->announced_usec = now;
	job_bus_changed(job);
	if (job->parent)
		job->parent->kind->child(job->parent, job, false);
}

static void set_message(Job *job, const char *error, const char *format, va_list ap)
{
	(void)snprintf(job->error, sizeof(job->error), "%s", error);
	(void)vsnprintf(job->message, sizeof(job->message), format, ap);
	pml_make_printable(job->message);
}

void job_set_error(Job *job, const char *error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set_message(job, error, format, ap);
	va_end(ap);
}

void job_set_note(Job *job, const char *error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set_message(job, error, format, ap);
	va_end(ap);
	job->noted = true;
}

void job_set_ledger_error(Job *job, int r, const char *why)
{
	OpError err;

	(void)ledger_op_error(&err, r, why);
	job_set_error(job, err.error, "%s", err.message);
}

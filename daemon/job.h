/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An operation is a table of steps, so that what happens between which two writes can be read off
 * it, and so that a test can stop the daemon at every one of them: `pmemleased --list-steps` prints
 * KIND/STEP/before and KIND/STEP/after for all tables, and PMEMLEASED_CRASH_AT in the environment
 * names the one at which the daemon kills itself.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "exec.h"

typedef struct Manager Manager;
typedef struct Job Job;
typedef struct Region Region;
typedef struct Lease Lease;

typedef enum JobNext {
	JOB_NEXT, /* go on with the next step */
	JOB_WAIT, /* job_resume() goes on with the next step */
	JOB_DONE,
	JOB_FAIL, /* job_set_error() was called */
} JobNext;

typedef struct JobStep {
	const char *name;
	/*
	 * Main thread. Puts into the operation's data what run needs. JOB_NEXT: run it; JOB_WAIT:
	 * wait for job_resume(), then run it (or go on, where run is NULL); JOB_DONE, JOB_FAIL:
	 * end. NULL: run.
	 */
	JobNext (*prepare)(Job *job);
	ExecWhere where;
	int (*run)(void *data); /* NULL: a step of the main thread alone */
	/* Main thread, with run's result (0 where there is none). NULL: 0 goes on, anything else
	 * fails the job. */
	JobNext (*done)(Job *job, int r);
	bool optional_skip; /* set job->skip in prepare to pass over run and done */
} JobStep;

typedef struct JobKind {
	const char *name; /* "lease" "evict" "release" "scrub" "settle" "readmit" "recover" */
	const JobStep *steps;
	size_t n_steps;
	void (*data_free)(void *data);
	/* Main thread; asked to stop at the next safe point. NULL: cannot be cancelled. Returns 0
	 * or -EBUSY (too late). */
	int (*cancel)(Job *job);
	/* Main thread, after the last step or a failure: undo in memory, drop the region's hold. */
	void (*finished)(Job *job, bool success);
	/* Main thread: a job whose parent is this one has moved, or has ended and is freed next.
	 * NULL: it has none. */
	void (*child)(Job *job, Job *child, bool ended);
	bool internal; /* no bus object: the daemon's own follow-up work */
} JobKind;

struct Job {
	Manager *manager;
	const JobKind *kind;
	uint64_t id;
	void *data;
	Region *region; /* busy with this job; at most one job a region */
	Lease *lease;	/* or NULL */
	size_t step;
	bool running;		/* an executor has data now, and … */
	int (*run)(void *data); /* … is in this */
	bool waiting;
	bool skip;
	bool cancelled;
	double progress; /* 0..1 */
	char phase[64];	 /* for people: "waiting for the guest" */
	char error[64];	 /* PML_ERROR_… or "" */
	char message[2048];
	bool noted;		/* done, and error and message tell something of it */
	const char *message_id; /* of the failure in the journal; NULL: PML_MESSAGE_JOB_FAILED */
	uint32_t uid;		/* who asked */
	Job *parent;		/* told of its progress and its end; or NULL */
	Job *next;
	/* The engine's own. */
	char *path;		 /* object path; NULL for internal kinds */
	sd_event_source *defer;	 /* the next turn of the loop drives the job */
	const char *next_step;	 /* job_set_next() */
	uint64_t announced_usec; /* CLOCK_MONOTONIC of the last PropertiesChanged */
	bool changed;		 /* to be told on the bus: announce.c */
	bool waiting_done;	 /* done, not prepare, said JOB_WAIT */
};

/* All kinds of jobs: for --list-steps and for the tests. NULL-terminated. */
extern const JobKind *const job_kinds[];

/*
 * Creates a job, announces it (JobNew) and starts it at step 0 from the event loop. Takes data,
 * also on failure. -EBUSY: the region has a job. -EDQUOT: too many jobs were asked for by others
 * than root.
 *
 * Order at the end: the region's and the lease's hold is dropped, then kind->finished() (which may
 * start the next job on the same region), then JobRemoved, then data_free.
 */
int job_start(Manager *m, const JobKind *kind, Region *region, Lease *lease, uint32_t uid,
	void *data, Job **ret);
/*
 * A job of the daemon's own becomes one that uid has asked for, and goes on where it is: kind has
 * all of its steps, by their names. 0; -EDQUOT as of job_start(), -ENOMEM.
 */
int job_promote(Job *job, const JobKind *kind, uint32_t uid);
/* A job that waits goes on from the event loop: runs the step's run, or its done(job, 0) where it
 * has none. Else: nothing. */
void job_resume(Job *job);
/* The step to go on with instead of the following one (name: of the same kind). For prepare and
 * done. */
void job_set_next(Job *job, const char *step);
/* 0: asked to stop; -EOPNOTSUPP: this kind never can; -EBUSY: too late. kind->cancel() itself
 * resumes a job that waits. */
int job_cancel(Job *job);
bool job_cancellable(const Job *job);
/* At the daemon's end: nothing is finished or undone. Jobs that a thread still works on are left to
 * it. */
void jobs_free(Manager *m);
Job *job_find(Manager *m, uint64_t id);
void job_print_steps(FILE *f);
void job_set_progress(Job *job, const char *phase, double progress);
/* Records the named error that the job ends with; a sentence that says what to do. */
void job_set_error(Job *job, const char *error, const char *format, ...)
	__attribute__((__format__(printf, 3, 4)));
/* What is told of a job that is done; error may be "". It is no failure. */
void job_set_note(Job *job, const char *error, const char *format, ...)
	__attribute__((__format__(printf, 3, 4)));

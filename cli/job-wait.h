/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Following a job of the daemon to its end. The job is the daemon's: it goes on whatever happens to
 * us. */

#include "bus.h"
#include "model.h"

#define JOB_PHASES_MAX 32

typedef struct JobPhase {
	char *name;
	uint64_t usec; /* how long it took, as seen from here */
} JobPhase;

typedef struct JobOutcome {
	uint64_t id;
	char *result, *error, *message; /* as in JobRemoved; "" when it was not waited for */
	uint64_t elapsed_usec;
	JobPhase phases[JOB_PHASES_MAX];
	size_t n_phases;
} JobOutcome;

typedef struct JobWatch JobWatch;

/* Subscribes to the daemon's signals: to be made before the call that starts the job, so that none
 * is missed. */
int job_watch_new(sd_bus *bus, const Options *o, JobWatch **ret);
JobWatch *job_watch_free(JobWatch *w); /* takes NULL, returns NULL */
DEFINE_CLEANUP(JobWatch *, job_watch_free)
#define _cleanup_watch_ _cleanup_(job_watch_freep)

/*
 * Waits for the end of the job, showing progress on stderr. EXIT_DONE: it ended, *ret says how
 * (ret->result); else the code to exit with, after it was said why.
 */
ExitCode job_watch_wait(JobWatch *w, const char *object, JobOutcome *ret);

/* "/org/pmemlease1/job/12" → 12; 0 when it is no job. */
uint64_t job_id_of(const char *object);

void job_outcome_clear(JobOutcome *j);
#define _cleanup_outcome_ _cleanup_(job_outcome_clear)

struct json_object *job_outcome_to_json(const JobOutcome *j);

/* The bar of a terminal, and the line of anything else. Pure; malloc-ed, NULL when out of memory.
 */
char *progress_bar(const char *phase, double progress, uint64_t elapsed_usec, unsigned width);
char *progress_line(const char *phase, double progress, uint64_t elapsed_usec);

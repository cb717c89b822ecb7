/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The verbs: each asks the daemon for one thing, follows it to its end, and says how it ended. */

#include "bus.h"
#include "job-wait.h"
#include "options.h"

/* args: as many as the verb's table row in main.c allows, then NULL. */
typedef ExitCode (*VerbFn)(sd_bus *bus, const Options *o, char *const *args);

/* look.c: verbs that change nothing */
ExitCode verb_status(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_regions(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_leases(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_jobs(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_history(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_verify(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_proof(sd_bus *bus, const Options *o, char *const *args);

/* doctor.c; bus: NULL, it makes its own connection if it can */
ExitCode verb_doctor(sd_bus *bus, const Options *o, char *const *args);

/* monitor.c */
ExitCode verb_monitor(sd_bus *bus, const Options *o, char *const *args);

/* act.c */
ExitCode verb_lease(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_adopt(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_scrub(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_readmit(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_lift_quarantine(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_cancel(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_wait(sd_bus *bus, const Options *o, char *const *args);

/* evict.c: the three ways to take a region back */
ExitCode verb_evict(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_release(sd_bus *bus, const Options *o, char *const *args);
ExitCode verb_revoke(sd_bus *bus, const Options *o, char *const *args);

/* device.c */
ExitCode verb_device(sd_bus *bus, const Options *o, char *const *args);
/* Of everything on o->device. */
ExitCode evict_device(sd_bus *bus, const Options *o);
ExitCode load_device(sd_bus *bus, const Options *o, const char *name, DeviceInfo *ret);
void device_info_clear(DeviceInfo *d);
/* Of a job about o->device: how it ended, and what is there now. */
typedef int (*ShowDeviceFn)(FILE *f, const Options *o, const DeviceInfo *d, const JobOutcome *job);
ExitCode tell_device(sd_bus *bus, const Options *o, const JobOutcome *outcome, ShowDeviceFn show);

/* return.c: what is in o->device's place */
ExitCode readmit_device(sd_bus *bus, const Options *o);

/* Into an open a{sv}: what an eviction may be told of how it is done. */
int append_evict_options(sd_bus_message *m, const Options *o);
/* Sends a call that answers with its job, and follows that to its end. With --no-wait the job is
 * said, and *ret is as it was. */
ExitCode follow_job(
	sd_bus *bus, const Options *o, JobWatch *watch, sd_bus_message *m, JobOutcome *ret);
/* The same once the answer is there. */
ExitCode follow_started(const Options *o, JobWatch *watch, const char *job_object, JobOutcome *ret);
/* How a job ended: EXIT_DONE, or its error, said. */
ExitCode report_outcome(const Options *o, const JobOutcome *outcome);
/* For --no-wait: the job, and nothing more. */
ExitCode report_started(const Options *o, const char *job_object);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One question of libvirt's hook: grant.c decides whether the machine may go on, op-grant.c holds
 * its regions, a job each, as a lease's job does. A grant ends with its answer; the jobs of a
 * granted start go on until the machine runs.
 */

#include "lease-job.h"
#include "start-xml.h"

typedef struct Grant Grant;

/* A job of the grant holds its region in memory and on the disk. True: so do all; the others are
 * resumed. */
bool grant_gathered(Grant *g);
/* From here on a guest may reach this job's region. The last one answers the hook. */
void grant_attaching(Grant *g);
/* The job ends, and has an error unless it succeeded; d->grant is forgotten. */
void grant_job_ended(Grant *g, Job *job, bool success);

/* The machine of these regions is granted, and libvirt's word on its process is waited for. */
bool grant_awaits_start(const Job *job);
/* libvirt says that it runs. */
void grant_started(Job *job);

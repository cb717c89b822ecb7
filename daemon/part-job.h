/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the two jobs about a part of the host have in common: looking at it, writing to the ledger,
 * and a job for each region on it. Each job's data begins with it.
 */

#include "children.h"
#include "layout.h"

typedef struct PartJob {
	Manager *manager;
	char *name;
	LedgerChange change;
	Children children;

	/* --- read and written by the steps' run --- */
	int (*scan)(const char *name, PmlPart **ret);
	PmlPart *part;
	Layout layout;
	char *key; /* of the layout */
} PartJob;

int part_job_init(PartJob *p, Manager *m, const char *name); /* 0 or -ENOMEM */
void part_job_clear(PartJob *p);

/* Steps' run and done; data: begins with a PartJob. */
int part_job_look(void *data);
JobNext part_job_looked(Job *job, int r);
int part_job_change(void *data);
JobNext part_job_changed(Job *job, int r);

void part_job_child(Job *job, Job *child, bool ended);
void part_job_cancel_children(Job *job);

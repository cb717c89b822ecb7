/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The jobs on several regions that a job waits for: begun all at once, or, where who asks may have
 * no more, one as soon as another has ended. Their progress is shown as one. Main thread.
 */

#include "manager.h"

typedef struct Children {
	/* Starts one; 0 with *ret (NULL: nothing to be done), 1 with the error, or negative errno.
	 * A refusal is no failure: it is logged, and what is left undone is seen at the end. */
	int (*begin)(Job *parent, Region *region, Job **ret, OpError *err);
	const char *what; /* "taken back" */
	double from, to;  /* of the parent's progress */
	char **waiting;	  /* ids of regions that are still to be begun with */
	size_t n_waiting, n, n_ended;
	double moved; /* the sum of what those that run have done, 0..1 each */
} Children;

int children_add(Children *c, const char *region_id); /* 0 or -ENOMEM */
/* A job that runs already is waited for, too. */
void children_adopt(Children *c, Job *parent, Job *child);
/* For a step's prepare: JOB_WAIT until all have ended; JOB_NEXT: there are none. */
JobNext children_begin(Children *c, Job *parent);
/* For the parent's child(). */
void children_moved(Children *c, Job *parent, bool ended);
void children_clear(Children *c); /* may be used anew */

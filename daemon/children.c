/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "children.h"

#include <inttypes.h>

#include "log.h"
#include "ops-internal.h"
#include "util.h"

int children_add(Children *c, const char *region_id)
{
	char **l = reallocarray(c->waiting, c->n_waiting + 1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	c->waiting = l;
	l[c->n_waiting] = strdup(region_id);
	if (!l[c->n_waiting])
		return -ENOMEM;
	c->n_waiting++;
	return 0;
}

void children_adopt(Children *c, Job *parent, Job *child)
{
	if (child->parent)
		return;
	child->parent = parent;
	c->n++;
}

static void begin_waiting(Children *c, Job *parent)
{
	while (c->n_waiting > 0) {
		char *id = c->waiting[c->n_waiting - 1];
		Job *child = NULL;
		OpError err = {};
		Region *region;
		int r = manager_find_region(parent->manager, id, &region);

		if (r >= 0)
			r = c->begin(parent, region, &child, &err);
		/* As soon as one of ours has ended. */
		if (r > 0 && strcmp(err.error, PML_ERROR_LIMIT) == 0 && c->n > c->n_ended)
			return;
		if (r > 0)
			log_notice("Job %" PRIu64 " (%s): %s", parent->id, parent->kind->name,
				err.message);
		if (child)
			children_adopt(c, parent, child);
		free(id);
		c->n_waiting--;
	}
}

static void show_progress(const Children *c, Job *parent)
{
	size_t all = c->n + c->n_waiting;
	char phase[64];

	if (all == 0)
		return;
	(void)snprintf(phase, sizeof(phase), "%zu of %zu regions %s", c->n_ended, all, c->what);
	job_set_progress(parent, phase,
		c->from + (c->to - c->from) * ((double)c->n_ended + c->moved) / (double)all);
}

JobNext children_begin(Children *c, Job *parent)
{
	begin_waiting(c, parent);
	show_progress(c, parent);
	return c->n > c->n_ended ? JOB_WAIT : JOB_NEXT;
}

void children_moved(Children *c, Job *parent, bool ended)
{
	c->moved = 0;
	for (const Job *j = parent->manager->jobs; j; j = j->next)
		if (j->parent == parent)
			c->moved += j->progress;
	if (ended) {
		c->n_ended++;
		if (!parent->cancelled)
			begin_waiting(c, parent);
	}
	show_progress(c, parent);
	if (c->n_ended == c->n)
		job_resume(parent);
}

void children_clear(Children *c)
{
	while (c->n_waiting > 0)
		free(c->waiting[--c->n_waiting]);
	free(c->waiting);
	*c = (Children){};
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What has changed is told on the bus at the next turn of the loop, once for each object, whatever
 * a turn did to it: a step that goes to another thread does not wait for the bus. Two things are
 * never overtaken by it: the end of a job, and the answer to a call that changed something. Who
 * hears of either finds the properties as they are.
 */

#include "announce.h"
#include "bus.h"
#include "job-bus.h"
#include "util.h"

static int on_announce(sd_event_source *s, void *userdata)
{
	announce_now(userdata);
	return 0;
}

void announce_later(Manager *m)
{
	int r = 0;

	if (!m->announce)
		r = sd_event_add_defer(m->event, &m->announce, on_announce, m);
	if (r >= 0)
		r = sd_event_source_set_enabled(m->announce, SD_EVENT_ONESHOT);
	if (r < 0)
		announce_now(m);
}

void announce_now(Manager *m)
{
	Region *r;
	Lease *l;

	for (Job *j = m->jobs; j; j = j->next)
		if (j->changed)
			job_bus_emit_changed(j);
	LIST_FOREACH (l, &m->leases, leases)
		if (l->changed)
			lease_emit_changed(l);
	LIST_FOREACH (r, &m->regions, regions)
		if (r->changed)
			region_emit_changed(r);
}

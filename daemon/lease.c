/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-id128.h>

#include "bus.h"
#include "manager.h"
#include "util.h"

int lease_new_id(char ret[PML_ID_MAX])
{
	sd_id128_t id;
	int r = sd_id128_randomize(&id);

	if (r < 0)
		return r;
	(void)snprintf(ret, PML_ID_MAX, SD_ID128_UUID_FORMAT_STR, SD_ID128_FORMAT_VAL(id));
	return 0;
}

int lease_new(Manager *m, Region *region, const PmlLeaseRecord *record, bool recorded, Lease **ret)
{
	Lease *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->manager = m;
	l->record = *record;
	l->recorded = recorded;
	l->region = region;
	l->claim_fd = -EBADF;
	r = sd_bus_path_encode(PML_PATH_LEASE, record->id, &l->path);
	if (r < 0) {
		free(l);
		return r;
	}
	LIST_INSERT_HEAD(&m->leases, l, leases);
	/* A region of the ledger's can be named by several leases only if bytes are lent twice,
	 * which it refuses. */
	region->lease = l;
	lease_announce(l);
	region_changed(region);
	*ret = l;
	return 0;
}

Lease *lease_free(Lease *l)
{
	if (!l)
		return NULL;
	lease_withdraw(l);
	if (l->region && l->region->lease == l)
		l->region->lease = NULL;
	LIST_REMOVE(l, leases);
	sd_event_source_disable_unref(l->deadline);
	closep(&l->claim_fd);
	free(l->path);
	free(l->pinned);
	free(l->unpersisted);
	free(l);
	return NULL;
}

PmlLeaseState lease_state(const Lease *l)
{
	return l->marked ? l->mark : l->record.state;
}

void lease_set_mark(Lease *l, PmlLeaseState state)
{
	bool moved = lease_state(l) != state;

	l->marked = true;
	l->mark = state;
	if (moved)
		lease_changed(l);
}

void lease_clear_mark(Lease *l)
{
	PmlLeaseState before = lease_state(l);

	l->marked = false;
	if (lease_state(l) != before)
		lease_changed(l);
}

void lease_drop(Lease *l)
{
	Region *region = l->region;

	l->gone = true;
	if (region->lease == l) {
		region->lease = NULL;
		region_changed(region);
	}
	leases_collect(l->manager);
}

static bool lease_in_use(const Manager *m, const Lease *l)
{
	for (const Job *j = m->jobs; j; j = j->next)
		if (j->lease == l)
			return true;
	return false;
}

void leases_collect(Manager *m)
{
	Lease *l, *next;

	for (l = LIST_FIRST(&m->leases); l; l = next) {
		next = LIST_NEXT(l, leases);
		if (l->gone && !lease_in_use(m, l))
			lease_free(l);
	}
}

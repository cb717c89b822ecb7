/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-id128.h>

#include "bus.h"
#include "log.h"
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
	free(l->unasked);
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

static void on_renamed(void *data, int r, const char *why)
{
	if (r != 0)
		log_warning("The new name of a domain could not be recorded (%s).",
			why ? why : strerror(r < 0 ? -r : EIO));
}

static void record_name(Lease *l)
{
	PmlTxn *txn = pml_txn_new("daemon");
	int r = txn ? pml_txn_lease_update(txn, &l->record) : -ENOMEM;

	if (r >= 0)
		r = manager_apply(l->manager, TAKE_PTR(txn), on_renamed, NULL);
	pml_txn_free(txn);
	if (r < 0)
		on_renamed(NULL, r, NULL);
}

/*
 * libvirt renames only what is off (11.3 src/qemu/qemu_driver.c, qemuDomainRename): these are
 * leases that outlive their machine. One that a job has is on its way out, and keeps on the disk
 * the name that it began with.
 */
void leases_rename(Manager *m, const char *domain, const char *name)
{
	Lease *l;

	LIST_FOREACH (l, &m->leases, leases) {
		if (l->gone || !pml_streq(l->record.domain, domain) ||
			pml_streq(l->record.domain_name, name) ||
			PML_STRCPY(l->record.domain_name, name) < 0)
			continue;
		if (l->recorded && !l->marked && !l->region->job)
			record_name(l);
		lease_changed(l);
	}
}

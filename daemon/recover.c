/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * At start: what the ledger, the marks in /run and the host say is compared, and whatever an
 * earlier run left is begun again at the point from which it is right. Everything here only starts
 * jobs; they run when the loop does.
 */

#include "behind.h"
#include "deprived.h"
#include "log.h"
#include "ops-internal.h"
#include "region-internal.h"
#include "util.h"

static const PmlMark *mark_of(const PmlMark *marks, size_t n, const char *lease_id)
{
	for (size_t i = 0; i < n; i++)
		if (pml_streq(marks[i].lease, lease_id))
			return &marks[i];
	return NULL;
}

/* An eviction ran past its deadline: it is run again from the fence on, which changes nothing where
 * it was done. */
static int fence_again(Lease *lease, const PmlMark *mark, const char *why)
{
	const PmlLeaseRecord *rec = &lease->record;
	bool released = mark ? mark->released : rec->state == PML_LEASE_FENCING && !rec->frozen;

	if (!lease->region->host && !pml_streq(lease->record.boot_id, lease->manager->boot_id)) {
		log_full(LOG_WARNING,
			&(LogFields){.lease = lease->record.id, .region = lease->region->id},
			"Region %s, which was lent before the host restarted, is missing; its lease ends when it is back.",
			region_label(lease->region));
		return 0;
	}
	return released ? evict_released(lease->region, why) : evict_force(lease->region, why);
}

/* The largest alignment that a device of this size can have, which is a multiple of what it has. */
static uint64_t largest_align(uint64_t size_bytes)
{
	static const uint64_t aligns[] = {1ULL << 30, 2ULL << 20};

	for (size_t i = 0; i < ELEMENTSOF(aligns); i++)
		if (size_bytes % aligns[i] == 0)
			return aligns[i];
	return 4096;
}

/*
 * A device that left while nobody looked is not in the host's inventory, and whoever maps it still
 * does: its number, from when it was lent, is what they are found by. Should another device have
 * that number by now, its holders are taken for this one's, and the proof waits for them too.
 */
static int recall_device(Region *region, const PmlLeaseRecord *rec)
{
	PmlRegionInfo info = {
		.name = rec->region_name,
		.uuid = rec->region, /* its id, whatever that was made of */
		.kind = rec->dev_block ? PML_KIND_BDEV : PML_KIND_DEVDAX,
		.binding = PML_BINDING_NONE,
		.devno = rec->devno,
		.size_bytes = rec->extent.size_bytes,
		.align_bytes = largest_align(rec->extent.size_bytes),
		.phys_start = UINT64_MAX,
		.numa_node = -1,
		.target_node = -1,
		.no_node = true,
		.extent = rec->extent,
	};

	if (region->last || rec->devno == 0 || !pml_streq(rec->boot_id, region->manager->boot_id))
		return 0;
	return pml_region_new(&info, &region->last);
}

static int recover_lease(Lease *lease, const PmlMark *mark)
{
	static const char unbound_meanwhile[] =
		"its device was unbound or removed while the daemon was away";
	Manager *m = lease->manager;
	const PmlLeaseRecord *rec = &lease->record;
	bool same_boot = pml_streq(rec->boot_id, m->boot_id);
	int r;

	r = recall_device(lease->region, rec);
	if (r < 0)
		return r;
	switch (rec->state) {
	case PML_LEASE_RESERVED:
		return recover_lease_start(lease);
	case PML_LEASE_ATTACHING:
	case PML_LEASE_ACTIVE:
		if (mark)
			return fence_again(
				lease, mark, "its fence was begun before the daemon restarted");
		if (!same_boot)
			return fence_again(lease, mark, "the host has restarted");
		/* A dead mapping looks like a live one, and no event will tell of it again. */
		if (lease->region->presence != PML_PRESENCE_ONLINE)
			return fence_again(lease, mark, unbound_meanwhile);
		return recover_lease_start(lease);
	case PML_LEASE_DRAINING:
		if (mark || !same_boot)
			return fence_again(lease, mark, "its deadline has passed");
		if (lease->region->presence != PML_PRESENCE_ONLINE)
			return fence_again(lease, mark, unbound_meanwhile);
		return evict_continue(lease);
	case PML_LEASE_FENCING:
		return fence_again(lease, mark, "its fence was begun before the daemon restarted");
	case PML_LEASE_FENCED:
	case PML_LEASE_STUCK:
		if (rec->frozen && same_boot && after_fence_begin(m, rec, true) < 0)
			log_error("Domain %s stays frozen: out of memory.", rec->domain_name);
		if (!region_is_ram(lease->region))
			deprived_add(lease);
		return op_settle_kick(lease->region);
	case PML_LEASE_RELEASED:
	case _PML_LEASE_STATE_MAX:
	case _PML_LEASE_STATE_INVALID:
		break;
	}
	return 0;
}

int recover_region(Region *region)
{
	const RegionRecord *rec = &region->record;

	/* Bytes that another region's lease covers are its business. */
	if (region->lease || region->job || op_bytes_are_lent(region))
		return 0;
	switch (rec->use) {
	case PML_USE_EVICTING:
		return region->host ? evict_continue_unleased(region) : 0;
	case PML_USE_EVICTED:
		/* The kernel binds what it finds at a boot. */
		if (region_is_kept_offline(region) && region->presence == PML_PRESENCE_ONLINE)
			return guard_start(region);
		return op_settle_kick(region);
	case PML_USE_LEASED:
		log_full(LOG_ERR, &(LogFields){.region = region->id},
			"Region %s is lent to no lease that is known; it is not lent again. Look at `pmemlease history %s`.",
			region_label(region), region_label(region));
		return 0;
	case PML_USE_FREE:
		if (rec->ram && rec->content != PML_CONTENT_SCRUBBING && region->host)
			return scrub_return(region);
		if (rec->content != PML_CONTENT_SCRUBBING ||
			region->presence != PML_PRESENCE_ONLINE)
			return 0;
		/* Its intent and the consent to destroy that owner's data are on the disk. */
		return scrub_continue(region);
	case PML_USE_QUARANTINED:
	case _PML_USE_MAX:
	case _PML_USE_INVALID:
		break;
	}
	return 0;
}

/* Marks of leases that the ledger has beyond them say nothing new. */
static void drop_stale_marks(Manager *m, const PmlMark *marks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Lease *lease = manager_find_lease(m, marks[i].lease);

		if (!lease || lease->record.state == PML_LEASE_FENCED ||
			lease->record.state == PML_LEASE_STUCK)
			(void)pml_mark_remove(m->marks_fd, marks[i].lease);
	}
}

int recover(Manager *m)
{
	PmlMark *marks = NULL;
	Lease *lease, *next_lease;
	Region *region;
	size_t n = 0;
	int r;

	r = pml_mark_load(m->marks_fd, &marks, &n);
	/* What a mark would say is found anew below: a fence that was begun has left the device
	 * unbound, or its deadline on the disk. */
	if (r < 0)
		log_error("The marks in /run cannot be read: %s. Going by the ledger and the host.",
			strerror(-r));
	drop_stale_marks(m, marks, n);

	r = 0;
	for (lease = LIST_FIRST(&m->leases); lease && r >= 0; lease = next_lease) {
		next_lease = LIST_NEXT(lease, leases);
		if (!lease->gone)
			r = recover_lease(lease, mark_of(marks, n, lease->record.id));
	}
	pml_mark_free(marks, n);
	LIST_FOREACH (region, &m->regions, regions) {
		if (r < 0)
			break;
		r = recover_region(region);
	}
	return r;
}

void manager_libvirt_connected(Manager *m)
{
	Region *region;

	after_fence_retry(m);
	lease_jobs_libvirt_connected(m);
	LIST_FOREACH (region, &m->regions, regions)
		if (region->lease)
			settle_kick(region);
}

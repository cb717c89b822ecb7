/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "block-watch.h"
#include "bus.h"
#include "log.h"
#include "manager.h"
#include "ops.h"
#include "util.h"

static int region_set_id(Region *r, const char *id)
{
	_cleanup_free_ char *path = NULL;
	int e;

	if (strlen(id) >= sizeof(r->id))
		return -ENAMETOOLONG;
	e = sd_bus_path_encode(PML_PATH_REGION, id, &path);
	if (e < 0)
		return e;
	region_withdraw(r);
	free(r->path);
	r->path = TAKE_PTR(path);
	(void)PML_STRCPY(r->id, id);
	return 0;
}

/* An id that a region which is there has now; the missing one that had it is named by its bytes. */
static int region_yield_id(Manager *m, const char *id)
{
	_cleanup_free_ char *by_bytes = NULL;
	Region *r;
	int e;

	LIST_FOREACH (r, &m->regions, regions)
		if (strcmp(r->id, id) == 0)
			break;
	if (!r)
		return 0;
	e = pml_extent_format(&r->extent, &by_bytes);
	if (e >= 0)
		e = region_set_id(r, by_bytes);
	if (e >= 0)
		region_announce(r);
	return e;
}

int region_new(Manager *m, const char *id, const char *name, const PmlExtent *extent, Region **ret)
{
	Region *r;
	int e;

	e = region_yield_id(m, id);
	if (e < 0)
		return e;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->manager = m;
	r->extent = *extent;
	r->presence = PML_PRESENCE_MISSING;
	e = PML_STRCPY(r->name, name);
	if (e >= 0)
		e = region_set_id(r, id);
	if (e < 0) {
		free(r);
		return e;
	}
	LIST_INSERT_HEAD(&m->regions, r, regions);
	(void)region_refold(r);
	*ret = r;
	return 0;
}

Region *region_free(Region *r)
{
	if (!r)
		return NULL;
	region_withdraw(r);
	LIST_REMOVE(r, regions);
	op_watches_free(r);
	block_watch_stop(r);
	sd_event_source_disable_unref(r->retry);
	pml_region_unref(r->host);
	pml_region_unref(r->last);
	free(r->record.texts);
	free(r->held_by);
	free(r->intruder);
	free(r->path);
	free(r);
	return NULL;
}

bool region_refold(Region *r)
{
	RegionRecord *rec = &r->record;
	PmlExtentRecord fold;

	pml_extent_records_fold(r->manager->extents, r->manager->n_extents, &r->extent, &fold);
	if (rec->owner && fold.content == rec->content && fold.use == rec->use &&
		fold.ram == rec->ram && strcmp(fold.owner, rec->owner) == 0 &&
		strcmp(fold.reason, rec->reason) == 0)
		return false;
	free(rec->texts);
	*rec = (RegionRecord){.content = fold.content,
		.use = fold.use,
		.ram = fold.ram,
		.owner = "",
		.reason = ""};
	if (!fold.owner[0] && !fold.reason[0])
		return true;
	if (asprintf(&rec->texts, "%s%c%s", fold.owner, '\0', fold.reason) < 0) {
		/* Never lent on the account of what could not be kept; the next fold heals it. */
		rec->texts = NULL;
		rec->use = PML_USE_QUARANTINED;
		rec->reason = "out of memory: what the ledger says of it is not known here";
		return true;
	}
	rec->owner = rec->texts;
	rec->reason = rec->texts + strlen(rec->texts) + 1;
	return true;
}

static void region_presence(Region *r, PmlPresenceEvent ev)
{
	static const PmlPresence after[_PML_PRESENCE_EV_MAX] = {
		[PML_PRESENCE_EV_BOUND] = PML_PRESENCE_ONLINE,
		[PML_PRESENCE_EV_UNBOUND] = PML_PRESENCE_OFFLINE,
		[PML_PRESENCE_EV_VANISHED] = PML_PRESENCE_MISSING,
	};
	PmlPresence from = r->presence;
	int e;

	r->presence_moved = from != after[ev];
	r->returned = r->presence_moved && from == PML_PRESENCE_MISSING;
	if (!r->presence_moved)
		return;
	e = pml_presence_step(from, ev, &r->presence);
	if (e < 0) {
		log_error("Region %s: presence %s does not lead on: %s.", r->id,
			pml_presence_to_string(from), strerror(-e));
		return;
	}
	log_full(LOG_INFO,
		&(LogFields){.region = r->id,
			.state_old = pml_presence_to_string(from),
			.state_new = pml_presence_to_string(r->presence),
			.message_id = PML_MESSAGE_PRESENCE},
		"Region %s is %s, was %s.", r->name[0] ? r->name : r->id,
		pml_presence_to_string(r->presence), pml_presence_to_string(from));
}

static PmlPresenceEvent presence_of(const PmlRegion *host)
{
	static const PmlBinding by_kind[_PML_KIND_MAX] = {
		[PML_KIND_DEVDAX] = PML_BINDING_DEVICE_DAX,
		[PML_KIND_BDEV] = PML_BINDING_BLOCK,
		[PML_KIND_SYSRAM] = PML_BINDING_KMEM,
	};
	PmlBinding serves = by_kind[pml_region_kind(host)];

	return pml_region_binding(host) == serves ? PML_PRESENCE_EV_BOUND : PML_PRESENCE_EV_UNBOUND;
}

static bool host_differs(const PmlRegion *a, const PmlRegion *b)
{
	return !a || !b || pml_region_binding(a) != pml_region_binding(b) ||
	       pml_region_devno(a) != pml_region_devno(b) ||
	       pml_region_obstacles(a) != pml_region_obstacles(b) ||
	       pml_region_size_bytes(a) != pml_region_size_bytes(b) ||
	       strcmp(pml_region_name(a), pml_region_name(b)) != 0;
}

/*
 * A block device that has the name and the first byte of the region and another size is that
 * region, resized. (Of device-dax other bounds are another namespace.)
 */
static bool is_resized(const Region *r, const PmlRegion *host)
{
	const PmlExtent *e = pml_region_extent(host);

	return pml_region_kind(host) == PML_KIND_BDEV && r->last &&
	       pml_region_kind(r->last) == PML_KIND_BDEV && e->size_bytes > 0 &&
	       r->extent.size_bytes > 0 && e->size_bytes != r->extent.size_bytes &&
	       strcmp(e->medium, r->extent.medium) == 0 &&
	       e->start_bytes == r->extent.start_bytes && strcmp(r->id, pml_region_id(host)) == 0;
}

/* What is lent stays what was lent until the lease ends, however large the device is by then. */
static void region_resize(Region *r, const PmlRegion *host)
{
	uint64_t before = r->last ? pml_region_size_bytes(r->last) : 0;
	uint64_t now = pml_region_size_bytes(host);

	if (!r->lease && !r->job && is_resized(r, host)) {
		r->extent = *pml_region_extent(host);
		(void)region_refold(r);
	}
	if (before == 0 || before == now || pml_region_kind(host) != PML_KIND_BDEV)
		return;
	log_full(LOG_NOTICE, &(LogFields){.region = r->id},
		"Region %s has %" PRIu64 " bytes, had %" PRIu64 ".", region_label(r), now, before);
	region_resized(r, before, now);
}

/* A lease's bytes are not all there, or the device that the machine has is not this one any more.
 */
bool region_is_cut(const Region *r)
{
	const PmlExtent *e = r->host ? pml_region_extent(r->host) : NULL;

	return r->lease && e && pml_region_kind(r->host) == PML_KIND_BDEV &&
	       (r->replaced || pml_extent_end(e) < pml_extent_end(&r->lease->record.extent));
}

/* host: NULL where the scan did not find it. */
static int region_take_host(Region *r, PmlRegion *host)
{
	bool differs = host_differs(r->host, host) && (r->host || host);
	int e = 0;

	if (host && strcmp(r->id, pml_region_id(host)) != 0) {
		e = region_yield_id(r->manager, pml_region_id(host));
		if (e >= 0)
			e = region_set_id(r, pml_region_id(host));
	}
	if (e >= 0 && host)
		e = PML_STRCPY(r->name, pml_region_name(host));
	if (e < 0)
		return e;
	if (host) {
		region_resize(r, host);
		r->replaced =
			r->lease && r->last && pml_region_diskseq(r->last) != 0 &&
			(r->replaced || pml_region_diskseq(r->last) != pml_region_diskseq(host));
	}
	pml_region_unref(r->host);
	r->host = host ? pml_region_ref(host) : NULL;
	if (host) {
		pml_region_unref(r->last);
		r->last = pml_region_ref(host);
	}
	block_watch_update(r);
	region_presence(r, host ? presence_of(host) : PML_PRESENCE_EV_VANISHED);
	region_announce(r);
	if (differs || r->presence_moved)
		region_changed(r);
	return 0;
}

/* Bytes are what a region is; only one whose bytes cannot be told is known by its name. */
static Region *region_for_host(Manager *m, const PmlRegion *host)
{
	const PmlExtent *e = pml_region_extent(host);
	Region *r;

	if (e && e->size_bytes > 0) {
		r = manager_find_region_by_extent(m, e);
		if (r)
			return r;
		LIST_FOREACH (r, &m->regions, regions)
			if (is_resized(r, host))
				return r;
		return NULL;
	}
	LIST_FOREACH (r, &m->regions, regions)
		if (r->extent.size_bytes == 0 && strcmp(r->id, pml_region_id(host)) == 0)
			return r;
	return NULL;
}

static bool inventory_has(const PmlInventory *inv, const Region *r)
{
	PmlRegion *host;
	size_t i;

	pml_inventory_foreach (inv, i, host) {
		const PmlExtent *e = pml_region_extent(host);

		if (e && e->size_bytes > 0 ? pml_extent_equal(e, &r->extent) || is_resized(r, host)
					   : r->extent.size_bytes == 0 &&
						     strcmp(r->id, pml_region_id(host)) == 0)
			return true;
	}
	return false;
}

int regions_merge(Manager *m, const PmlInventory *inv)
{
	PmlRegion *host;
	Region *r, *next;
	size_t i;
	int e;

	/* Those that left first, so that their names are free for those that came. */
	for (r = LIST_FIRST(&m->regions); r; r = next) {
		next = LIST_NEXT(r, regions);
		r->presence_moved = r->returned = false;
		if (inventory_has(inv, r))
			continue;
		e = region_take_host(r, NULL);
		if (e < 0)
			return e;
	}
	pml_inventory_foreach (inv, i, host) {
		static const PmlExtent nowhere;
		const PmlExtent *extent = pml_region_extent(host);

		r = region_for_host(m, host);
		if (!r) {
			e = region_new(m, pml_region_id(host), pml_region_name(host),
				extent ? extent : &nowhere, &r);
			if (e < 0)
				return e;
		}
		e = region_take_host(r, host);
		if (e < 0)
			return e;
	}
	return regions_show_missing(m);
}

static bool has_past(PmlContent content, PmlUse use)
{
	return content != PML_CONTENT_FOREIGN || use != PML_USE_FREE;
}

static bool region_is_named(const Manager *m, const Region *r)
{
	const Lease *l;

	if (r->job || r->lease)
		return true;
	LIST_FOREACH (l, &m->leases, leases)
		if (l->region == r)
			return true;
	return false;
}

static bool overlaps_present(const Manager *m, const Region *r)
{
	const Region *o;

	LIST_FOREACH (o, &m->regions, regions)
		if (o->host && pml_extent_overlaps(&o->extent, &r->extent))
			return true;
	return false;
}

typedef struct Pieces {
	PmlExtent *list;
	size_t n;
} Pieces;

static int pieces_add(Pieces *p, const char *medium, uint64_t start, uint64_t end)
{
	PmlExtent *list;

	if (start >= end)
		return 0;
	for (size_t i = 0; i < p->n; i++) {
		PmlExtent *e = &p->list[i];

		if (strcmp(e->medium, medium) != 0)
			continue;
		if (pml_extent_end(e) == start) {
			e->size_bytes += end - start;
			return 0;
		}
		if (e->start_bytes == end) {
			e->start_bytes = start;
			e->size_bytes += end - start;
			return 0;
		}
	}
	list = reallocarray(p->list, p->n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	p->list = list;
	p->list[p->n] = (PmlExtent){.start_bytes = start, .size_bytes = end - start};
	(void)PML_STRCPY(p->list[p->n].medium, medium);
	p->n++;
	return 0;
}

/* The bytes of one row that no region shows. */
static int pieces_uncovered(const Manager *m, const PmlExtent *row, Pieces *p)
{
	uint64_t at = row->start_bytes, end = pml_extent_end(row);
	int e;

	while (at < end) {
		const Region *r, *first = NULL;
		PmlExtent rest = *row;

		rest.start_bytes = at;
		rest.size_bytes = end - at;
		LIST_FOREACH (r, &m->regions, regions)
			if (pml_extent_overlaps(&r->extent, &rest) &&
				(!first || r->extent.start_bytes < first->extent.start_bytes))
				first = r;
		e = pieces_add(p, row->medium, at, first ? first->extent.start_bytes : end);
		if (e < 0)
			return e;
		at = first ? pml_extent_end(&first->extent) : end;
	}
	return 0;
}

int regions_show_missing(Manager *m)
{
	Pieces pieces = {};
	Region *r, *next;
	int e = 0;

	for (r = LIST_FIRST(&m->regions); r; r = next) {
		next = LIST_NEXT(r, regions);
		if (!r->host && !region_is_named(m, r) &&
			(!has_past(r->record.content, r->record.use) || overlaps_present(m, r)))
			region_free(r);
	}
	for (size_t i = 0; i < m->n_extents && e >= 0; i++)
		if (has_past(m->extents[i].content, m->extents[i].use))
			e = pieces_uncovered(m, &m->extents[i].extent, &pieces);
	for (size_t i = 0; i < pieces.n && e >= 0; i++) {
		_cleanup_free_ char *id = NULL;

		e = pml_extent_format(&pieces.list[i], &id);
		if (e >= 0)
			e = region_new(m, id, "", &pieces.list[i], &r);
		if (e >= 0)
			region_announce(r);
	}
	free(pieces.list);
	return e;
}

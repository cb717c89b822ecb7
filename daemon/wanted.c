/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "wanted.h"

#include "util.h"

/*
 * A block device that was adopted is remembered by its bytes. Not one in an interleave set or at a
 * physical address: a namespace that was lent as device-dax and is a disk of the host's now was not
 * named by anybody. What is lent stays a region, whatever became of the list.
 */
static bool is_block_medium(const char *medium)
{
	return strncmp(medium, "iset:", 5) != 0 && strcmp(medium, "phys") != 0;
}

static bool is_remembered(const PmlExtentRecord *rec)
{
	return is_block_medium(rec->extent.medium) &&
	       (rec->content != PML_CONTENT_FOREIGN || rec->use != PML_USE_FREE);
}

static int add(Wanted *w, const PmlExtent *e)
{
	PmlExtent *known = reallocarray(w->known, w->n_known + 1, sizeof(*known));

	if (!known)
		return -ENOMEM;
	w->known = known;
	known[w->n_known++] = *e;
	return 0;
}

static bool is_added(const Wanted *w, const PmlExtent *e)
{
	for (size_t i = 0; i < w->n_known; i++)
		if (pml_extent_overlaps(&w->known[i], e))
			return true;
	return false;
}

static int copy_paths(char **from, Wanted *w)
{
	size_t n = 0;

	while (from && from[n])
		n++;
	w->paths = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; w->paths && i < n; i++) {
		w->paths[i] = strdup(from[i]);
		if (!w->paths[i])
			return -ENOMEM;
	}
	return w->paths ? 0 : -ENOMEM;
}

int wanted_new(const Manager *m, Wanted *ret)
{
	Wanted w = {};
	const Lease *l;
	int r;

	r = copy_paths(m->config.block_devices, &w);
	for (size_t i = 0; i < m->n_extents && r == 0; i++)
		if (is_remembered(&m->extents[i]))
			r = add(&w, &m->extents[i].extent);
	LIST_FOREACH (l, &m->leases, leases)
		if (r == 0 && !l->gone && !is_added(&w, &l->record.extent))
			r = add(&w, &l->record.extent);
	if (r < 0) {
		wanted_clear(&w);
		return r;
	}
	*ret = w;
	return 0;
}

void wanted_clear(Wanted *w)
{
	for (char **p = w->paths; p && *p; p++)
		free(*p);
	free(w->paths);
	free(w->known);
	*w = (Wanted){};
}

int wanted_scan(const Wanted *w, PmlInventory *inv)
{
	PmlBdevWanted wanted = {
		.paths = (const char *const *)w->paths,
		.known = w->known,
		.n_known = w->n_known,
	};

	return pml_bdev_scan(&wanted, inv);
}

bool wanted_any(const Manager *m)
{
	const Region *r;

	if (m->config.block_devices && m->config.block_devices[0])
		return true;
	LIST_FOREACH (r, &m->regions, regions)
		if (is_block_medium(r->extent.medium) && r->extent.size_bytes > 0)
			return true;
	return false;
}

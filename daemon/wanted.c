/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "wanted.h"

#include "util.h"

#define NAMED_MAX 256

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

static size_t count(char **list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* The copy has room for so many more. */
static int copy_paths(char **from, size_t more, char ***ret)
{
	size_t n = count(from);
	char **copy = calloc(n + more + 1, sizeof(*copy));

	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(from[i]);
		if (copy[i])
			continue;
		while (i > 0)
			free(copy[--i]);
		free(copy);
		return -ENOMEM;
	}
	*ret = copy;
	return copy ? 0 : -ENOMEM;
}

static int add_named(Wanted *w, char **named)
{
	size_t n = count(w->paths);

	for (size_t i = 0; named && named[i]; i++) {
		w->paths[n] = strdup(named[i]);
		if (!w->paths[n++])
			return -ENOMEM;
	}
	return 0;
}

int wanted_name(Manager *m, const char *path)
{
	size_t n = count(m->named);
	char **more;

	if (strncmp(path, "/dev/", 5) != 0 || strlen(path) >= CONFIG_DEVICE_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (strcmp(m->named[i], path) == 0)
			return 0;
	if (n >= NAMED_MAX)
		return -EDQUOT;
	more = reallocarray(m->named, n + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	m->named = more;
	more[n + 1] = NULL;
	more[n] = strdup(path);
	return more[n] ? 0 : -ENOMEM;
}

void wanted_free(Manager *m)
{
	for (char **p = m->named; p && *p; p++)
		free(*p);
	free(m->named);
	m->named = NULL;
}

int wanted_new(const Manager *m, Wanted *ret)
{
	Wanted w = {};
	const Lease *l;
	int r;

	r = copy_paths(m->config.block_devices, count(m->named), &w.paths);
	if (r == 0)
		r = add_named(&w, m->named);
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

	if (count(m->config.block_devices) + count(m->named) > 0)
		return true;
	LIST_FOREACH (r, &m->regions, regions)
		if (is_block_medium(r->extent.medium) && r->extent.size_bytes > 0)
			return true;
	return false;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "inventory.h"

#include <strings.h>
#include <sys/stat.h>

#include "inventory-internal.h"
#include "util.h"

struct PmlInventory {
	PmlRegion **regions;
	size_t n_regions;
};
DEFINE_CLEANUP(PmlInventory *, pml_inventory_free)

PmlInventory *pml_inventory_free(PmlInventory *inv)
{
	if (!inv)
		return NULL;
	for (size_t i = 0; i < inv->n_regions; i++)
		pml_region_unref(inv->regions[i]);
	free(inv->regions);
	free(inv);
	return NULL;
}

int pml_inventory_new(PmlRegion *const *regions, size_t n_regions, PmlInventory **ret)
{
	_cleanup_(pml_inventory_freep) PmlInventory *inv = calloc(1, sizeof(*inv));

	if (!inv)
		return -ENOMEM;
	inv->regions = calloc(n_regions + 1, sizeof(PmlRegion *));
	if (!inv->regions)
		return -ENOMEM;
	for (; inv->n_regions < n_regions; inv->n_regions++)
		inv->regions[inv->n_regions] = pml_region_ref(regions[inv->n_regions]);
	*ret = TAKE_PTR(inv);
	return 0;
}

int pml_inventory_add(PmlInventory *inv, PmlRegion *region)
{
	PmlRegion **bigger = reallocarray(inv->regions, inv->n_regions + 2, sizeof(PmlRegion *));

	if (!bigger)
		return -ENOMEM;
	inv->regions = bigger;
	inv->regions[inv->n_regions++] = pml_region_ref(region);
	return 0;
}

size_t pml_inventory_count(const PmlInventory *inv)
{
	return inv->n_regions;
}

PmlRegion *pml_inventory_get(const PmlInventory *inv, size_t i)
{
	return i < inv->n_regions ? inv->regions[i] : NULL;
}

static int find_path(const PmlInventory *inv, const char *path, PmlRegion **ret)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;
	PmlRegion *r;
	size_t i;

	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ENODEV;

	pml_inventory_foreach (inv, i, r) {
		bool is_block = pml_region_kind(r) == PML_KIND_BDEV;

		/* Block and character devices number independently of each other. */
		if (is_block != S_ISBLK(st.st_mode) || pml_region_devno(r) == 0)
			continue;
		if (pml_region_devno(r) == st.st_rdev) {
			*ret = r;
			return 0;
		}
	}
	return -ENOENT;
}

int pml_inventory_find(const PmlInventory *inv, const char *name, PmlRegion **ret)
{
	PmlRegion *r, *found = NULL;
	size_t i;

	if (name[0] == '/')
		return find_path(inv, name, ret);

	pml_inventory_foreach (inv, i, r) {
		if (!pml_streq(pml_region_id(r), name) && !pml_streq(pml_region_name(r), name))
			continue;
		*ret = r;
		return 0;
	}

	pml_inventory_foreach (inv, i, r) {
		const char *uuid = pml_region_uuid(r);

		if (!uuid || strcasecmp(uuid, name) != 0)
			continue;
		if (found)
			return -ENOTUNIQ;
		found = r;
	}
	if (!found)
		return -ENOENT;
	*ret = found;
	return 0;
}

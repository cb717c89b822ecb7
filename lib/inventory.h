/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * All regions of the host at one moment. libdaxctl and libndctl cache, so every scan makes new
 * contexts and leaves none behind; a scan may run in any one thread at a time. It blocks: on sysfs,
 * on the kernel's own probing of the nd buses, and, when udev has events queued, in libndctl
 * (ndctl_bus_wait_probe()) for up to 5 s at each step; the environment variable NDCTL_TIMEOUT sets
 * those milliseconds.
 */

#include <stddef.h>

#include "region.h"

typedef struct PmlInventory PmlInventory;

/*
 * Scans the host; regions come sorted by name. Namespaces in devdax mode that are disabled are
 * listed too, unbound and without a path. Their data range is not readable then: the extent is the
 * whole namespace's. Needs CAP_SYS_ADMIN for physical addresses: without, extents are empty.
 * Returns 0 or negative errno. An empty host is 0 with no regions.
 */
int pml_inventory_scan(PmlInventory **ret);

PmlInventory *pml_inventory_free(PmlInventory *inv); /* takes NULL, returns NULL */

size_t pml_inventory_count(const PmlInventory *inv);
PmlRegion *pml_inventory_get(const PmlInventory *inv, size_t i); /* borrowed */

/*
 * Finds a region by id, namespace UUID, device name ("dax0.0") or path. A path is opened once with
 * O_PATH, and compared by device number, so a symbolic link means what it points to now; a path
 * that is no device node gives -ENODEV. Returns 0 (borrowed region), -ENOENT when nothing matches,
 * -ENOTUNIQ when a UUID names several; of a path also what open() says.
 */
int pml_inventory_find(const PmlInventory *inv, const char *name, PmlRegion **ret);

#define pml_inventory_foreach(inv, i, r)                                                           \
	for ((i) = 0; (i) < pml_inventory_count(inv) && ((r) = pml_inventory_get((inv), (i)), 1);  \
		(i)++)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Block devices as regions: which of them are, and what is done to one. Only those that somebody
 * named are ever opened, or told of.
 */

#include "dax.h"
#include "inventory.h"

typedef struct PmlBdevWanted {
	const char *const *paths; /* NULL-terminated, or NULL: the operator's list */
	/* What the ledger knows: a device that lies within these bytes alone was named once. */
	const PmlExtent *known;
	size_t n_known;
} PmlBdevWanted;

/*
 * Adds the block devices that are wanted to what a scan of the host found. A path that leads to no
 * block device now adds nothing. Blocks on sysfs, udev's database and the devices. 0 or negative
 * errno, with inv unchanged.
 */
int pml_bdev_scan(const PmlBdevWanted *wanted, PmlInventory *inv);

/*
 * As dax.h says; of a block device there is no driver to take away, so unbind gives -EOPNOTSUPP
 * and bind does nothing to one that is there. open() is exclusive (-EBUSY: a file system, swap, the
 * device mapper, md or another exclusive opener has it), and past the page cache (O_DIRECT).
 */
int pml_bdev_binding(const PmlRegion *r, PmlBinding *ret);
int pml_bdev_open(const PmlRegion *r, int *ret_fd);

/*
 * Opens the device for reading, exclusively, and checks it. The descriptor keeps file systems,
 * swap, the device mapper and md from taking the device, and keeps nobody from reading or writing
 * it (Linux block/bdev.c bd_prepare_to_claim()). 0; -EBUSY: one of these has it; as open() else.
 */
int pml_bdev_claim(const PmlRegion *r, int *ret_fd);

/*
 * Writes the device's page cache back, drops it, and says how much of it is left: a page that some
 * mapping leads to cannot be dropped, whatever process or descriptor that mapping came from. Blocks
 * for as long as writing back takes. 0; -ESTALE, -ENODEV as above; -EOPNOTSUPP: it cannot be told.
 */
int pml_bdev_drop_cache(const PmlRegion *r, uint64_t *ret_left_bytes);

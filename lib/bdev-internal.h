/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the two files of the block devices share, and what tests put in the kernel's place. */

#include <sys/types.h>

#include "bdev.h"

typedef struct BdevHooks {
	/* The numbers of the device that a path leads to; -ENOTBLK, or what open() says. */
	int (*devno_of)(const char *path, dev_t *ret);
	/* Is the device exclusively opened: 0 or -EBUSY; the node is known to be it. */
	int (*probe)(const char *node, dev_t devno);
	const char *mountinfo;
	const char *swaps;
} BdevHooks;

int bdev_scan_with(const BdevHooks *hooks, const PmlBdevWanted *wanted, PmlInventory *inv);

int bdev_devno_of(const char *path, dev_t *ret);
/* Opens the node (never through a link) if it is that device. -ESTALE: another one. */
int bdev_open_node(const char *node, dev_t devno, int flags, int *ret_fd);

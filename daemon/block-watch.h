/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Partitions that somebody resizes. The kernel tells of a disk's new size, and of a partition that
 * comes or goes; not of BLKPG_RESIZE_PARTITION (Linux block/partitions/core.c
 * bdev_resize_partition(), what partx, resizepart and the partition editors use on a disk in use).
 * But whoever does that opens the disk, and closes it: then, and at the pace of the other looks,
 * the sizes in sysfs are compared with what is known.
 */

#include "manager.h"

/* The device of the region came, went or is another one now. Without a watch the pace is left. */
void block_watch_update(Region *r);
void block_watch_stop(Region *r);
/* Has the host scanned if some partition has another size than is known. */
void block_watch_look(Manager *m);

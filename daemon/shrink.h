/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How a virtio-mem is taken back: in parts that become bigger as long as the guest keeps up, so
 * that one that cannot give everything is not pressed for it, and one that can is not held up.
 * Pure: it decides, and asks nobody.
 */

#include "virt.h"

typedef struct Shrink {
	uint64_t step_bytes;	/* what is asked for next; 0: nothing was yet */
	uint64_t plugged_bytes; /* what the guest had when it was looked at last */
	uint64_t moved_usec;	/* when that became less, or less was asked for after a stop */
	bool stopped;
} Shrink;

typedef enum ShrinkNext {
	SHRINK_WAIT,	/* the guest is at it */
	SHRINK_ASK,	/* it is to have *ret_want_bytes from now on */
	SHRINK_STOPPED, /* it has given nothing for stall_usec; the next time it is asked again */
	SHRINK_EMPTY,	/* it has nothing of it, and is to have nothing */
} ShrinkNext;

/* p is attached. Any clock. *ret_want_bytes is whole blocks, written with SHRINK_ASK only. */
ShrinkNext shrink_next(Shrink *s, const VirtPlugged *p, uint64_t now_usec, uint64_t stall_usec,
	uint64_t *ret_want_bytes);

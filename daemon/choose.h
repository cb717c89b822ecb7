/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which region a lease gets that says what it needs, and not which. Main thread; changes nothing.
 */

#include <stdint.h>

#include "manager.h"

typedef struct ChooseRequest {
	uint64_t size_bytes;	  /* at least */
	PmlKind kind;		  /* _PML_KIND_INVALID: any */
	int node;		  /* as near to it as can be; -1: wherever */
	const uint8_t *distances; /* of node: node.h; not looked at without one */
	const char *owner;	  /* whose lease it will be */
	bool may_destroy;	  /* consented to: a block device will do */
} ChooseRequest;

/*
 * Of all that can be lent to this owner now: one that holds his data already, then the nearest,
 * then the smallest. 0, or 1 with NoSuitableRegion and what stood in the way of each.
 */
int choose_region(Manager *m, const ChooseRequest *q, Region **ret, OpError *err);

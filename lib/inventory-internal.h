/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How an inventory is made of regions that are there already; only the scan and tests do that. */

#include "inventory.h"

#define UUID_TEXT_MAX 37
/* False, and ret is as it was: all zeroes, which is none. */
bool inventory_format_uuid(const uint8_t uuid[static 16], char ret[static UUID_TEXT_MAX]);

/* Tests: called before a scan that did not agree with itself is done again. */
extern void (*inventory_scan_torn)(void);

/* Takes a reference of its own on each region. Returns 0 or -ENOMEM. */
int pml_inventory_new(PmlRegion *const *regions, size_t n_regions, PmlInventory **ret);
/* Behind those that are there; takes a reference of its own. 0 or -ENOMEM. */
int pml_inventory_add(PmlInventory *inv, PmlRegion *region);

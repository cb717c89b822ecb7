/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where bytes lie on the media.
 *
 * Names and UUIDs of devices change (a namespace is re-created, a host reboots); bytes do not
 * move. What is known of content and quarantine is therefore attached to extents, never to names.
 */

#include <stdbool.h>
#include <stdint.h>

#define PML_MEDIUM_MAX 96

/*
 * medium: "iset:%016llx" (interleave-set cookie in lower case, never 0: start_bytes counts from the
 * start of the set), or "phys" (start_bytes is a physical address: only for memory without an
 * interleave set), or, of block devices, "disk:SERIAL", "dm:UUID" or "file:DEVICE-INODE-BIRTH"
 * (start_bytes counts from the start of the disk, the volume, the file). A name has letters,
 * digits, '-', '_', '.' and ':' only. A plain value: copied freely, owns nothing.
 */
typedef struct PmlExtent {
	char medium[PML_MEDIUM_MAX];
	uint64_t start_bytes;
	uint64_t size_bytes;
} PmlExtent;

/* True if both lie on one medium and share at least one byte. An empty extent overlaps nothing. */
bool pml_extent_overlaps(const PmlExtent *a, const PmlExtent *b);

/* True if both name exactly the same bytes. */
bool pml_extent_equal(const PmlExtent *a, const PmlExtent *b);

/* First byte behind the extent; saturates at UINT64_MAX. */
uint64_t pml_extent_end(const PmlExtent *e);

/*
 * Checks an extent that came from outside (a ledger row, an option): medium known and terminated,
 * size not 0, no wrap. Returns 0 or -EINVAL.
 */
int pml_extent_validate(const PmlExtent *e);

/* "MEDIUM+0xSTART/0xSIZE"; ret is malloc-ed and the caller's. Returns 0 or -ENOMEM. */
int pml_extent_format(const PmlExtent *e, char **ret);

/* The reverse, strictly: nothing before, between or behind, a valid extent. 0 or -EINVAL. */
int pml_extent_parse(const char *s, PmlExtent *ret);

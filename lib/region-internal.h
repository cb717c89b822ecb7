/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a region is made; only the inventory and tests do that. */

#include "region.h"

typedef struct PmlRegionInfo {
	const char *name;
	const char *path;	    /* or NULL: there is no device now */
	const char *uuid;	    /* or NULL */
	const char *namespace_name; /* or NULL */
	const char *nd_region;	    /* or NULL */
	const char *const *dimms;   /* NULL-terminated, or NULL */
	PmlKind kind;
	PmlBinding binding;
	dev_t devno;
	uint64_t size_bytes;
	uint64_t align_bytes;
	uint64_t phys_start; /* UINT64_MAX when unknown */
	int numa_node;
	int target_node;
	/* Of block devices. */
	const char *by_id; /* the link's name below /dev/disk/by-id, or NULL */
	uint64_t diskseq;  /* 0: unknown */
	uint32_t block_obstacles;
	uint32_t ram_obstacles; /* of kind sysram */
	bool duplicate_uuid;
	bool can_revoke;  /* the kernel can revoke a binding of it: dax.h */
	bool no_node;	  /* path is not there, or is another device */
	PmlExtent extent; /* size 0: no identity */
} PmlRegionInfo;

/* Copies everything; works out id and obstacles. Returns 0, -ENOMEM or -EINVAL. */
int pml_region_new(const PmlRegionInfo *info, PmlRegion **ret);

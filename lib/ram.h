/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A dax device as memory of the host (dax_kmem): a region of kind `sysram`. It is lent by its NUMA
 * node, so it has to be alone there; and it is given back by taking its memory blocks offline,
 * which only ZONE_MOVABLE allows for certain.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "region.h"

typedef struct PmlRam {
	int node; /* of the device's memory, whether or not it is online */
	uint64_t block_bytes;
	unsigned n_blocks;  /* memory blocks within the region that the kernel has, … */
	unsigned n_online;  /* … of these online, … */
	unsigned n_movable; /* … and of these in ZONE_MOVABLE */
	bool shared;	    /* the node has processors, or memory that is not the region's */
	bool auto_online;   /* what is added is put online by the kernel, and not as movable */
	bool demotion;	    /* the kernel moves cold pages of other nodes to this one */
	/* Of the node; 0 where it has no memory. */
	uint64_t total_bytes;
	uint64_t free_bytes;
	uint64_t anon_bytes;   /* of processes */
	uint64_t file_bytes;   /* page cache, and what is shared */
	uint64_t kernel_bytes; /* slab, page tables, stacks */
} PmlRam;

/* A process that has memory bound to the node. */
typedef struct PmlRamUser {
	pid_t pid;
	uint64_t start_ticks;
	unsigned n_mappings;
	uint64_t mapped_bytes;
	uint64_t present_bytes; /* on that node */
} PmlRamUser;

/* What a machine plugs in: a guest takes memory in blocks of at least this (Linux
 * arch/x86/mm/init_64.c MIN_MEMORY_BLOCK_SIZE). */
#define PML_RAM_GRAIN_BYTES (128ULL << 20)

/*
 * How much of what is free on the node can be lent: whole grains, and not the last pages, below
 * which the kernel looks for somebody to kill (mm/page_alloc.c, watermarks).
 */
uint64_t pml_ram_usable_bytes(const PmlRam *ram);
/* What speaks against lending it, as PmlObstacle bits. */
uint32_t pml_ram_obstacles(const PmlRam *ram);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A region: one piece of host memory that can be lent whole, as one scan of the host saw it.
 * Immutable and reference-counted; safe to read from any thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "extent.h"

typedef struct PmlRegion PmlRegion;

typedef enum PmlKind {
	PML_KIND_DEVDAX,
	PML_KIND_BDEV,
	PML_KIND_SYSRAM,
	_PML_KIND_MAX,
	_PML_KIND_INVALID = -22,
} PmlKind;

typedef enum PmlBinding {
	PML_BINDING_NONE,	/* no driver: nobody can open or map it */
	PML_BINDING_DEVICE_DAX, /* device_dax: /dev/daxX.Y works */
	PML_BINDING_KMEM,	/* dax_kmem: the memory is the kernel's own */
	PML_BINDING_OTHER,
	PML_BINDING_BLOCK, /* a block device: always served */
	_PML_BINDING_MAX,
	_PML_BINDING_INVALID = -22,
} PmlBinding;

/* Why the host's side of a region cannot be leased as it stands; a set of bits. */
typedef enum PmlObstacle {
	PML_OBSTACLE_UNBOUND = 1 << 0, /* no driver, or one that offers no device-dax node */
	PML_OBSTACLE_SYSTEM_RAM = 1 << 1,
	PML_OBSTACLE_TOO_SMALL = 1 << 2, /* under PML_REGION_MIN_BYTES */
	PML_OBSTACLE_NO_MIB_MULTIPLE =
		1 << 3, /* libvirt rounds up to 1 MiB: the end would be overrun */
	PML_OBSTACLE_DUPLICATE_UUID = 1 << 4,
	PML_OBSTACLE_NO_NODE = 1 << 5, /* no /dev node, or one with another device number */
	PML_OBSTACLE_NO_IDENTITY = 1
				   << 6, /* neither interleave set nor physical address readable */
	/* Of block devices: who has it on the host. */
	PML_OBSTACLE_MOUNTED = 1 << 7,
	PML_OBSTACLE_SWAP = 1 << 8,
	PML_OBSTACLE_STACKED = 1 << 9,	  /* below the device mapper or md */
	PML_OBSTACLE_EXCLUSIVE = 1 << 10, /* exclusively opened by somebody else */
	PML_OBSTACLE_READ_ONLY = 1 << 11,
	/* Of memory of the host. */
	PML_OBSTACLE_SHARED_NODE = 1 << 12, /* not alone on its NUMA node, or none is known */
	PML_OBSTACLE_NOT_MOVABLE = 1 << 13, /* some of it is not online in ZONE_MOVABLE */
	PML_OBSTACLE_AUTO_ONLINE = 1 << 14, /* … and would not be the next time */
	PML_OBSTACLE_DEMOTION = 1 << 15,    /* the host moves cold pages there */
} PmlObstacle;
#define _PML_OBSTACLE_BITS 16

/* libvirt and the guest's nvdimm driver want at least this much (a label-less guest namespace). */
#define PML_REGION_MIN_BYTES (16ULL << 20)

const char *pml_kind_to_string(PmlKind v);
PmlKind pml_kind_from_string(const char *s);
const char *pml_binding_to_string(PmlBinding v);
PmlBinding pml_binding_from_string(const char *s);
/* One obstacle (a single bit) as a word ("duplicate-uuid") and as a sentence with the mend, or
 * NULL. */
const char *pml_obstacle_to_string(PmlObstacle o);
const char *pml_obstacle_explain(PmlObstacle o);

PmlRegion *pml_region_ref(PmlRegion *r);
PmlRegion *pml_region_unref(PmlRegion *r); /* takes NULL, returns NULL */

/*
 * The id under which users and the bus name the region: the namespace's UUID, else
 * "phys-START-SIZE" in hexadecimal, else (physical address not readable) its name; of a block
 * device the name of its link in /dev/disk/by-id, else its name. Of regions that share a UUID each
 * gets "UUID@NAME". All strings are the region's.
 */
const char *pml_region_id(const PmlRegion *r);
/* "dax0.0"; may change at reboot. Of a disabled namespace: the name that its device had. */
const char *pml_region_name(const PmlRegion *r);
const char *pml_region_path(const PmlRegion *r);	 /* "/dev/dax0.0"; NULL: no device */
const char *pml_region_uuid(const PmlRegion *r);	 /* as `ndctl list` shows it, or NULL */
const char *pml_region_namespace(const PmlRegion *r);	 /* "namespace0.0" or NULL */
const char *pml_region_nd_region(const PmlRegion *r);	 /* "region0" or NULL */
const char *const *pml_region_dimms(const PmlRegion *r); /* NULL-terminated "nmem0"… */
PmlKind pml_region_kind(const PmlRegion *r);
PmlBinding pml_region_binding(const PmlRegion *r); /* as scanned */
dev_t pml_region_devno(const PmlRegion *r);	   /* as sysfs says; 0: no device */
uint64_t pml_region_size_bytes(const PmlRegion *r);
uint64_t pml_region_align_bytes(const PmlRegion *r);
uint64_t pml_region_phys_start(const PmlRegion *r); /* UINT64_MAX when unknown */
bool pml_region_can_revoke(const PmlRegion *r);	    /* the kernel can: dax.h */
uint64_t pml_region_diskseq(const PmlRegion *r);    /* 0: not a block device, or unknown */
int pml_region_numa_node(const PmlRegion *r);	    /* -1 when unknown */
int pml_region_target_node(const PmlRegion *r);
uint32_t pml_region_obstacles(const PmlRegion *r); /* PmlObstacle bits */
const PmlExtent *pml_region_extent(const PmlRegion *r);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What leaves the host together: a DIMM ("nmem0"), an interleave set, by its region of the nd bus
 * ("region0"), or all that belongs to a NUMA node ("node1"); and the namespaces on it, whoever has
 * them, since all of them leave with it. As one look at the host saw it; owns everything that it
 * points to.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum PmlPartKind {
	PML_PART_DIMM,
	PML_PART_SET,
	PML_PART_NODE,
	_PML_PART_KIND_MAX,
	_PML_PART_KIND_INVALID = -22,
} PmlPartKind;

typedef struct PmlPartDimm {
	char *name; /* "nmem0" */
	char *slot; /* what is printed on the board, where the firmware tells (SMBIOS type 17), else
		       "handle 0x1" of the ACPI NFIT */
} PmlPartDimm;

typedef struct PmlPartNamespace {
	char *name;	 /* "namespace0.1" */
	char *nd_region; /* "region0" */
	char *mode;	 /* as `ndctl list` says: "devdax" "fsdax" "sector" "raw" */
	char *device;	 /* "dax0.1", "pmem0.1"; "" while it is disabled */
	char *set;	 /* the slots that it lies on: its nd_region's, with "+" between them */
	/* As `ndctl create-namespace` takes them; "" and 0 where they do not apply, and while it is
	 * disabled. */
	const char *map; /* "dev" "mem" */
	uint64_t align_bytes;
	uint32_t sector_bytes;
	uint8_t uuid[16];  /* the label's; zeroes without one */
	char label_id[37]; /* the same as text; "" */
	char data_id[37];  /* of the info block on the medium; "": disabled, or none */
	uint64_t start_bytes, size_bytes; /* start: physical; UINT64_MAX when unknown */
	bool enabled;
	/* Who on the host has its block device: PmlObstacle bits (region.h). */
	uint32_t obstacles;
} PmlPartNamespace;

typedef struct PmlPart {
	PmlPartKind kind;
	char *name;
	int numa_node;	   /* of PML_PART_NODE; else -1 */
	char **nd_regions; /* NULL-terminated: the interleave sets that have some of it */
	char **sets;	   /* of each of them, its slots */
	PmlPartDimm *dimms;
	size_t n_dimms;
	PmlPartNamespace *namespaces;
	size_t n_namespaces;
} PmlPart;

const char *pml_part_kind_to_string(PmlPartKind v);
PmlPartKind pml_part_kind_from_string(const char *s);

/*
 * Looks at the part of this name. Blocks, as pml_inventory_scan() does. 0; -ENODEV: the host has no
 * such part; -EINVAL: it is none of the three forms of a name.
 */
int pml_part_scan(const char *name, PmlPart **ret);
PmlPart *pml_part_free(PmlPart *p); /* takes NULL, returns NULL */

/*
 * Disables a namespace, as `ndctl disable-namespace` does: nothing of it is lost, and nothing on
 * the host reaches it until it is enabled. seen: as it was looked at. -ESTALE: another namespace
 * has its name by now; -EBUSY: something has its block device, its dax device is bound, or it is
 * the kernel's own memory; -ENODEV: it is not there. 0 also where it was disabled already.
 */
int pml_part_disable_namespace(const PmlPartNamespace *seen);
/* The other way, as `ndctl enable-namespace`: 0 also where it was enabled already; -ESTALE and
 * -ENODEV as above, else what the kernel says of what is on it. */
int pml_part_enable_namespace(const PmlPartNamespace *seen);

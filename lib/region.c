/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "region.h"

#include <inttypes.h>

#include "region-internal.h"
#include "util.h"

struct PmlRegion {
	unsigned int n_ref;
	char *id;
	char *name;
	char *path;
	char *uuid;
	char *namespace_name;
	char *nd_region;
	char **dimms;
	PmlKind kind;
	PmlBinding binding;
	dev_t devno;
	uint64_t size_bytes;
	uint64_t align_bytes;
	uint64_t phys_start;
	int numa_node;
	int target_node;
	uint64_t diskseq;
	bool can_revoke;
	uint32_t obstacles;
	PmlExtent extent;
};

static const char *const pml_kind_table[_PML_KIND_MAX] = {
	[PML_KIND_DEVDAX] = "devdax",
	[PML_KIND_BDEV] = "bdev",
	[PML_KIND_SYSRAM] = "sysram",
};
DEFINE_STRING_TABLE(pml_kind, PmlKind)

static const char *const pml_binding_table[_PML_BINDING_MAX] = {
	[PML_BINDING_NONE] = "none",
	[PML_BINDING_DEVICE_DAX] = "device-dax",
	[PML_BINDING_KMEM] = "kmem",
	[PML_BINDING_OTHER] = "other",
	[PML_BINDING_BLOCK] = "block",
};
DEFINE_STRING_TABLE(pml_binding, PmlBinding)

const char *pml_obstacle_to_string(PmlObstacle o)
{
	switch (o) {
	case PML_OBSTACLE_UNBOUND:
		return "unbound";
	case PML_OBSTACLE_SYSTEM_RAM:
		return "system-ram";
	case PML_OBSTACLE_TOO_SMALL:
		return "too-small";
	case PML_OBSTACLE_NO_MIB_MULTIPLE:
		return "no-mib-multiple";
	case PML_OBSTACLE_DUPLICATE_UUID:
		return "duplicate-uuid";
	case PML_OBSTACLE_NO_NODE:
		return "no-node";
	case PML_OBSTACLE_NO_IDENTITY:
		return "no-identity";
	case PML_OBSTACLE_MOUNTED:
		return "mounted";
	case PML_OBSTACLE_SWAP:
		return "swap";
	case PML_OBSTACLE_STACKED:
		return "stacked";
	case PML_OBSTACLE_EXCLUSIVE:
		return "exclusive";
	case PML_OBSTACLE_READ_ONLY:
		return "read-only";
	case PML_OBSTACLE_SHARED_NODE:
		return "shared-node";
	case PML_OBSTACLE_NOT_MOVABLE:
		return "not-movable";
	case PML_OBSTACLE_AUTO_ONLINE:
		return "auto-online";
	case PML_OBSTACLE_DEMOTION:
		return "demotion";
	}
	return NULL;
}

const char *pml_obstacle_explain(PmlObstacle o)
{
	switch (o) {
	case PML_OBSTACLE_UNBOUND:
		return "The device is not bound to device_dax, so nothing can open it. Bring it "
		       "back with 'pmemlease readmit', or enable its namespace with 'ndctl "
		       "enable-namespace'.";
	case PML_OBSTACLE_SYSTEM_RAM:
		return "The device is in system-ram mode: its memory is the host kernel's own. "
		       "Turn it back with 'daxctl reconfigure-device --mode=devdax'.";
	case PML_OBSTACLE_TOO_SMALL:
		return "The region is under 16 MiB, less than a guest can use as an NVDIMM. Make a "
		       "larger namespace.";
	case PML_OBSTACLE_NO_MIB_MULTIPLE:
		return "The size is no multiple of 1 MiB: libvirt would round it up and the guest "
		       "would run over the end. Make the namespace again with a size that is.";
	case PML_OBSTACLE_DUPLICATE_UUID:
		return "Another region carries the same UUID, as copied labels do. Destroy or "
		       "re-create one of the namespaces.";
	case PML_OBSTACLE_NO_NODE:
		/* The kernel makes the node with the device; udev only names and owns it. */
		return "The node in /dev is missing or belongs to another device. Make it again by "
		       "disabling and enabling the namespace with ndctl, or with mknod and the "
		       "number in /sys/bus/dax/devices/NAME/dev.";
	case PML_OBSTACLE_NO_IDENTITY:
		return "It cannot be told where on the media the region lies (no interleave set, "
		       "physical address not readable, several ranges, a disk without a serial "
		       "number, or a loop device whose file is gone), so its past cannot be "
		       "looked up. Run with CAP_SYS_ADMIN, or make it of one range.";
	case PML_OBSTACLE_MOUNTED:
		return "The block device is mounted. Unmount it (findmnt shows where).";
	case PML_OBSTACLE_SWAP:
		return "The host swaps on the block device. Take it away with swapoff.";
	case PML_OBSTACLE_STACKED:
		return "The device mapper or md has a device above this one (lsblk shows it). "
		       "Name that one, or take it apart.";
	case PML_OBSTACLE_EXCLUSIVE:
		return "Somebody has opened the block device exclusively, or one of its partitions "
		       "is in use (lsblk and fuser show it). End that first.";
	case PML_OBSTACLE_READ_ONLY:
		return "The block device is read-only. Make it writable with blockdev --setrw.";
	case PML_OBSTACLE_SHARED_NODE:
		return "The region is not alone on its NUMA node, and memory is lent by its node "
		       "(numactl --hardware shows what is there). Take the rest off that node, or "
		       "lend the region as devdax.";
	case PML_OBSTACLE_NOT_MOVABLE:
		return "Not all of the region is online as movable memory, so it might never come "
		       "back. Take it offline and make it movable (daxctl offline-memory, then "
		       "daxctl online-memory).";
	case PML_OBSTACLE_AUTO_ONLINE:
		return "This host puts memory that is added online by itself, and not as movable. "
		       "Write online_movable to /sys/devices/system/memory/auto_online_blocks, and "
		       "boot with memhp_default_state=online_movable.";
	case PML_OBSTACLE_DEMOTION:
		return "The kernel moves cold pages of the host to memory like this. Write 0 to "
		       "/sys/kernel/mm/numa/demotion_enabled.";
	}
	return NULL;
}

static PmlRegion *region_free(PmlRegion *r)
{
	if (!r)
		return NULL;
	for (char **d = r->dimms; d && *d; d++)
		free(*d);
	free(r->dimms);
	free(r->nd_region);
	free(r->namespace_name);
	free(r->uuid);
	free(r->path);
	free(r->name);
	free(r->id);
	free(r);
	return NULL;
}
DEFINE_CLEANUP(PmlRegion *, region_free)

static uint32_t work_out_obstacles(const PmlRegionInfo *info)
{
	uint32_t o = 0;

	switch (info->binding) {
	case PML_BINDING_NONE:
	case PML_BINDING_OTHER:
		o |= PML_OBSTACLE_UNBOUND;
		break;
	case PML_BINDING_KMEM:
		if (info->kind != PML_KIND_SYSRAM)
			o |= PML_OBSTACLE_SYSTEM_RAM;
		break;
	case PML_BINDING_DEVICE_DAX:
	case PML_BINDING_BLOCK:
	case _PML_BINDING_MAX:
	case _PML_BINDING_INVALID:
		break;
	}
	if (info->size_bytes < PML_REGION_MIN_BYTES)
		o |= PML_OBSTACLE_TOO_SMALL;
	if (info->size_bytes % MIB != 0)
		o |= PML_OBSTACLE_NO_MIB_MULTIPLE;
	if (info->duplicate_uuid)
		o |= PML_OBSTACLE_DUPLICATE_UUID;
	if (info->no_node)
		o |= PML_OBSTACLE_NO_NODE;
	if (info->extent.size_bytes == 0)
		o |= PML_OBSTACLE_NO_IDENTITY;
	return o | info->block_obstacles | info->ram_obstacles;
}

static int make_id(const PmlRegionInfo *info, char **ret)
{
	char *id = NULL;
	int n;

	if (info->by_id)
		n = asprintf(&id, "%s", info->by_id);
	else if (info->uuid && info->duplicate_uuid)
		n = asprintf(&id, "%s@%s", info->uuid, info->name);
	else if (info->uuid)
		n = asprintf(&id, "%s", info->uuid);
	else if (info->phys_start != UINT64_MAX)
		n = asprintf(&id, "phys-%" PRIx64 "-%" PRIx64, info->phys_start, info->size_bytes);
	else
		n = asprintf(&id, "%s", info->name);
	if (n < 0)
		return -ENOMEM;
	*ret = id;
	return 0;
}

static int copy_string(const char *s, char **field)
{
	if (!s)
		return 0;
	*field = strdup(s);
	return *field ? 0 : -ENOMEM;
}

static int copy_dimms(const char *const *dimms, char ***field)
{
	size_t n = 0;
	char **copy;

	while (dimms && dimms[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*field = copy;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(dimms[i]);
		if (!copy[i])
			return -ENOMEM;
	}
	return 0;
}

static int check_info(const PmlRegionInfo *info)
{
	if (!info->name || !*info->name || (info->path && info->path[0] != '/'))
		return -EINVAL;
	if ((int)info->kind < 0 || info->kind >= _PML_KIND_MAX)
		return -EINVAL;
	if ((int)info->binding < 0 || info->binding >= _PML_BINDING_MAX)
		return -EINVAL;
	if (info->duplicate_uuid && !info->uuid)
		return -EINVAL;
	if (info->extent.size_bytes > 0)
		return pml_extent_validate(&info->extent);
	return 0;
}

int pml_region_new(const PmlRegionInfo *info, PmlRegion **ret)
{
	_cleanup_(region_freep) PmlRegion *r = NULL;
	int k;

	k = check_info(info);
	if (k < 0)
		return k;

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->n_ref = 1;
	r->kind = info->kind;
	r->binding = info->binding;
	r->devno = info->devno;
	r->size_bytes = info->size_bytes;
	r->align_bytes = info->align_bytes;
	r->phys_start = info->phys_start;
	r->numa_node = info->numa_node;
	r->target_node = info->target_node;
	r->diskseq = info->diskseq;
	r->can_revoke = info->can_revoke;
	r->extent = info->extent;
	r->obstacles = work_out_obstacles(info);

	if ((k = make_id(info, &r->id)) < 0 || (k = copy_string(info->name, &r->name)) < 0 ||
		(k = copy_string(info->path, &r->path)) < 0 ||
		(k = copy_string(info->uuid, &r->uuid)) < 0 ||
		(k = copy_string(info->namespace_name, &r->namespace_name)) < 0 ||
		(k = copy_string(info->nd_region, &r->nd_region)) < 0 ||
		(k = copy_dimms(info->dimms, &r->dimms)) < 0)
		return k;

	*ret = TAKE_PTR(r);
	return 0;
}

PmlRegion *pml_region_ref(PmlRegion *r)
{
	__atomic_add_fetch(&r->n_ref, 1, __ATOMIC_RELAXED);
	return r;
}

PmlRegion *pml_region_unref(PmlRegion *r)
{
	/* Whoever frees sees what other threads did with the region before they let go. */
	if (r && __atomic_sub_fetch(&r->n_ref, 1, __ATOMIC_ACQ_REL) == 0)
		region_free(r);
	return NULL;
}

const char *pml_region_id(const PmlRegion *r)
{
	return r->id;
}

const char *pml_region_name(const PmlRegion *r)
{
	return r->name;
}

const char *pml_region_path(const PmlRegion *r)
{
	return r->path;
}

const char *pml_region_uuid(const PmlRegion *r)
{
	return r->uuid;
}

const char *pml_region_namespace(const PmlRegion *r)
{
	return r->namespace_name;
}

const char *pml_region_nd_region(const PmlRegion *r)
{
	return r->nd_region;
}

const char *const *pml_region_dimms(const PmlRegion *r)
{
	return (const char *const *)r->dimms;
}

PmlKind pml_region_kind(const PmlRegion *r)
{
	return r->kind;
}

PmlBinding pml_region_binding(const PmlRegion *r)
{
	return r->binding;
}

dev_t pml_region_devno(const PmlRegion *r)
{
	return r->devno;
}

uint64_t pml_region_size_bytes(const PmlRegion *r)
{
	return r->size_bytes;
}

uint64_t pml_region_align_bytes(const PmlRegion *r)
{
	return r->align_bytes;
}

uint64_t pml_region_phys_start(const PmlRegion *r)
{
	return r->phys_start;
}

bool pml_region_can_revoke(const PmlRegion *r)
{
	return r->can_revoke;
}

uint64_t pml_region_diskseq(const PmlRegion *r)
{
	return r->diskseq;
}

int pml_region_numa_node(const PmlRegion *r)
{
	return r->numa_node;
}

int pml_region_target_node(const PmlRegion *r)
{
	return r->target_node;
}

uint32_t pml_region_obstacles(const PmlRegion *r)
{
	return r->obstacles;
}

const PmlExtent *pml_region_extent(const PmlRegion *r)
{
	return &r->extent;
}

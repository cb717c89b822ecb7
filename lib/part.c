/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "part.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <daxctl/libdaxctl.h>
#include <ndctl/libndctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bdev.h"
#include "inventory-internal.h"
#include "part-internal.h"
#include "util.h"

static const char *const pml_part_kind_table[_PML_PART_KIND_MAX] = {
	[PML_PART_DIMM] = "dimm",
	[PML_PART_SET] = "interleave-set",
	[PML_PART_NODE] = "node",
};
DEFINE_STRING_TABLE(pml_part_kind, PmlPartKind)

static void strings_free(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}

PmlPart *pml_part_free(PmlPart *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->n_namespaces; i++) {
		free(p->namespaces[i].name);
		free(p->namespaces[i].nd_region);
		free(p->namespaces[i].mode);
		free(p->namespaces[i].device);
		free(p->namespaces[i].set);
	}
	for (size_t i = 0; i < p->n_dimms; i++) {
		free(p->dimms[i].name);
		free(p->dimms[i].slot);
	}
	strings_free(p->nd_regions);
	strings_free(p->sets);
	free(p->namespaces);
	free(p->dimms);
	free(p->name);
	free(p);
	return NULL;
}

static void part_freep(PmlPart **p)
{
	(void)pml_part_free(*p);
}

/* Its words are the caller's to say; it has none but on stderr. */
static void _printf_(6, 0) log_nothing(struct ndctl_ctx *ctx, int priority, const char *file,
	int line, const char *fn, const char *format, va_list args)
{
}

int part_context(struct ndctl_ctx **ret)
{
	int r = ndctl_new(ret);

	if (r >= 0)
		ndctl_set_log_fn(*ret, log_nothing);
	return r;
}

/* --- the slot of a DIMM --- */

/* Of an SMBIOS structure the string with this number, from 1; NULL: there is none. */
static const char *smbios_string(const uint8_t *raw, size_t n, uint8_t number)
{
	size_t at = n > 1 ? raw[1] : n;

	if (number == 0)
		return NULL;
	for (; at < n && raw[at]; number--) {
		const uint8_t *end = memchr(raw + at, 0, n - at);

		if (!end)
			return NULL;
		if (number == 1)
			return (const char *)raw + at;
		at = (size_t)(end - raw) + 1;
	}
	return NULL;
}

/* SMBIOS 3.6, 7.18: of a memory device (type 17), the handle at 2 and the locator's number at 16.
 */
static bool is_memory_device(const uint8_t *raw, size_t n, uint16_t handle)
{
	return n > 17 && raw[0] == 17 && raw[1] > 17 && (raw[2] | raw[3] << 8) == handle;
}

int part_slot(int entries_fd, uint16_t handle, char **ret)
{
	_cleanup_close_ int dir_fd = openat(entries_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint8_t raw[4096];
	struct dirent *de;
	DIR *d;
	int r = -ENOENT;

	d = dir_fd >= 0 ? fdopendir(dir_fd) : NULL;
	if (!d)
		return -errno;
	TAKE_FD(dir_fd);
	while (r == -ENOENT && (de = readdir(d))) {
		_cleanup_close_ int fd = -EBADF;
		const char *s = NULL;
		char path[300];
		ssize_t n;

		if (strncmp(de->d_name, "17-", 3) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/raw", de->d_name);
		fd = openat(dirfd(d), path, O_RDONLY | O_CLOEXEC);
		n = fd >= 0 ? read(fd, raw, sizeof(raw)) : -1;
		if (n > 0 && is_memory_device(raw, (size_t)n, handle))
			s = smbios_string(raw, (size_t)n, raw[16]);
		if (!s || !*s)
			continue;
		*ret = strdup(s);
		r = *ret ? 0 : -ENOMEM;
	}
	(void)closedir(d);
	return r;
}

static int dimm_slot(struct ndctl_dimm *dimm, char **ret)
{
	_cleanup_close_ int fd =
		open("/sys/firmware/dmi/entries", O_PATH | O_DIRECTORY | O_CLOEXEC);
	unsigned short id = ndctl_dimm_get_phys_id(dimm);
	int r = -ENOENT;

	if (fd >= 0 && id != 0 && id != USHRT_MAX)
		r = part_slot(fd, id, ret);
	if (r == -ENOMEM || r >= 0)
		return r;
	if (asprintf(ret, "handle %#x", ndctl_dimm_get_handle(dimm)) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* --- what is on it --- */

static int add_dimm(PmlPart *p, struct ndctl_dimm *dimm)
{
	const char *name = ndctl_dimm_get_devname(dimm);
	PmlPartDimm *list;

	for (size_t i = 0; i < p->n_dimms; i++)
		if (strcmp(p->dimms[i].name, name) == 0)
			return 0;
	list = reallocarray(p->dimms, p->n_dimms + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	p->dimms = list;
	p->dimms[p->n_dimms] = (PmlPartDimm){.name = strdup(name)};
	if (!p->dimms[p->n_dimms++].name)
		return -ENOMEM;
	return dimm_slot(dimm, &p->dimms[p->n_dimms - 1].slot);
}

/* Who has the block device, by what is known of block devices that are to be lent. */
static int block_obstacles(const char *device, uint32_t *ret)
{
	char path[64];
	const char *paths[] = {path, NULL};
	const PmlBdevWanted wanted = {.paths = paths};
	PmlInventory *inv;
	PmlRegion *region;
	size_t i;
	int r;

	(void)snprintf(path, sizeof(path), "/dev/%s", device);
	r = pml_inventory_new(NULL, 0, &inv);
	if (r < 0)
		return r;
	r = pml_bdev_scan(&wanted, inv);
	if (r >= 0)
		pml_inventory_foreach (inv, i, region)
			*ret |= pml_region_obstacles(region);
	(void)pml_inventory_free(inv);
	return r;
}

static const char *dax_device(struct ndctl_dax *dax)
{
	struct daxctl_region *region = ndctl_dax_get_daxctl_region(dax);
	struct daxctl_dev *dev = region ? daxctl_dev_get_first(region) : NULL;

	return dev ? daxctl_dev_get_devname(dev) : NULL;
}

/* Of one that is disabled, what its label says it is for (NVDIMM label 1.2, type_guid). */
static const char *mode_of(struct ndctl_namespace *ndns)
{
	if (ndctl_namespace_get_dax(ndns))
		return "devdax";
	if (ndctl_namespace_get_pfn(ndns))
		return "fsdax";
	if (ndctl_namespace_get_btt(ndns))
		return "sector";
	switch (ndctl_namespace_get_enforce_mode(ndns)) {
	case NDCTL_NS_MODE_DAX:
		return "devdax";
	case NDCTL_NS_MODE_MEMORY:
		return "fsdax";
	case NDCTL_NS_MODE_SAFE:
		return "sector";
	case NDCTL_NS_MODE_RAW:
	case NDCTL_NS_MODE_UNKNOWN:
		break;
	}
	return "raw";
}

static const char *map_of(enum ndctl_pfn_loc loc)
{
	switch (loc) {
	case NDCTL_PFN_LOC_RAM:
		return "mem";
	case NDCTL_PFN_LOC_PMEM:
		return "dev";
	case NDCTL_PFN_LOC_NONE:
		break;
	}
	return "";
}

/* What it was made with, beside its size. */
static void fill_format(PmlPartNamespace *n, struct ndctl_namespace *ndns)
{
	struct ndctl_dax *dax = ndctl_namespace_get_dax(ndns);
	struct ndctl_pfn *pfn = ndctl_namespace_get_pfn(ndns);
	struct ndctl_btt *btt = ndctl_namespace_get_btt(ndns);

	uuid_t uuid = {};

	n->map = "";
	if (dax) {
		ndctl_dax_get_uuid(dax, uuid);
		n->map = map_of(ndctl_dax_get_location(dax));
		n->align_bytes = ndctl_dax_get_align(dax);
	} else if (pfn) {
		ndctl_pfn_get_uuid(pfn, uuid);
		n->map = map_of(ndctl_pfn_get_location(pfn));
		n->align_bytes = ndctl_pfn_get_align(pfn);
	} else if (btt) {
		ndctl_btt_get_uuid(btt, uuid);
		n->sector_bytes = ndctl_btt_get_sector_size(btt);
	}
	(void)inventory_format_uuid(uuid, n->data_id);
	(void)inventory_format_uuid(n->uuid, n->label_id);
}

static int fill_namespace(PmlPartNamespace *n, struct ndctl_namespace *ndns, const char *set)
{
	struct ndctl_region *region = ndctl_namespace_get_region(ndns);
	struct ndctl_dax *dax = ndctl_namespace_get_dax(ndns);
	struct ndctl_pfn *pfn = ndctl_namespace_get_pfn(ndns);
	struct ndctl_btt *btt = ndctl_namespace_get_btt(ndns);
	const char *device;

	/* A namespace that a pfn, dax or btt device sits on is enabled with it. */
	n->enabled = dax   ? ndctl_dax_is_enabled(dax)
		     : pfn ? ndctl_pfn_is_enabled(pfn)
		     : btt ? ndctl_btt_is_enabled(btt)
			   : ndctl_namespace_is_enabled(ndns);
	device = !n->enabled ? NULL
		 : dax	     ? dax_device(dax)
		 : pfn	     ? ndctl_pfn_get_block_device(pfn)
		 : btt	     ? ndctl_btt_get_block_device(btt)
			     : ndctl_namespace_get_block_device(ndns);
	n->size_bytes = ndctl_namespace_get_size(ndns);
	n->start_bytes = ndctl_namespace_get_resource(ndns);
	ndctl_namespace_get_uuid(ndns, n->uuid);
	fill_format(n, ndns);
	n->name = strdup(ndctl_namespace_get_devname(ndns));
	n->nd_region = strdup(ndctl_region_get_devname(region));
	n->mode = strdup(mode_of(ndns));
	n->device = strdup(device ? device : "");
	n->set = strdup(set);
	if (!n->name || !n->nd_region || !n->mode || !n->device || !n->set)
		return -ENOMEM;
	return n->enabled && !dax && n->device[0] ? block_obstacles(n->device, &n->obstacles) : 0;
}

static int add_namespace(PmlPart *p, struct ndctl_namespace *ndns, const char *set)
{
	PmlPartNamespace *list;

	/* A seed of the kernel's: no memory yet. */
	if (ndctl_namespace_get_size(ndns) == 0)
		return 0;
	list = reallocarray(p->namespaces, p->n_namespaces + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	p->namespaces = list;
	p->namespaces[p->n_namespaces] = (PmlPartNamespace){};
	return fill_namespace(&p->namespaces[p->n_namespaces++], ndns, set);
}

/* At the end of a NULL-terminated list; takes s, also on failure. */
static int string_add(char ***list, char *s)
{
	size_t n = 0;
	char **l;

	while (*list && (*list)[n])
		n++;
	l = s ? reallocarray(*list, n + 2, sizeof(*l)) : NULL;
	if (!l) {
		free(s);
		return -ENOMEM;
	}
	*list = l;
	l[n] = s;
	l[n + 1] = NULL;
	return 0;
}

/* The slots of an interleave set, in the order of their names. */
static int set_of(struct ndctl_region *region, char **ret)
{
	struct ndctl_mapping *mapping;
	char **slots = NULL, *set = NULL;
	size_t n = 0, size = 1;
	int r = 0;

	ndctl_mapping_foreach(region, mapping)
	{
		char *slot = NULL;

		if (r >= 0)
			r = dimm_slot(ndctl_mapping_get_dimm(mapping), &slot);
		if (r >= 0)
			r = string_add(&slots, slot);
		if (r >= 0)
			size += strlen(slots[n++]) + 1;
	}
	if (r >= 0)
		set = calloc(1, size);
	if (set) {
		if (n > 0)
			qsort(slots, n, sizeof(*slots), compare_strings);
		for (size_t i = 0; i < n; i++)
			(void)snprintf(set + strlen(set), size - strlen(set), "%s%s",
				i > 0 ? "+" : "", slots[i]);
	}
	strings_free(slots);
	*ret = set;
	return r < 0 ? r : set ? 0 : -ENOMEM;
}

static int add_nd_region(PmlPart *p, struct ndctl_region *region)
{
	struct ndctl_namespace *ndns;
	struct ndctl_mapping *mapping;
	char *set;
	int r;

	r = string_add(&p->nd_regions, strdup(ndctl_region_get_devname(region)));
	if (r >= 0)
		r = set_of(region, &set);
	if (r < 0)
		return r;
	r = string_add(&p->sets, set);
	/* Of an interleave set that one DIMM leaves, nothing is left: all of it goes with it. */
	ndctl_mapping_foreach(region, mapping) if (r >= 0 && p->kind != PML_PART_DIMM) r =
		add_dimm(p, ndctl_mapping_get_dimm(mapping));
	ndctl_namespace_foreach(region, ndns) if (r >= 0) r = add_namespace(p, ndns, set);
	return r;
}

static bool is_part_of(const PmlPart *p, struct ndctl_region *region)
{
	struct ndctl_mapping *mapping;

	switch (p->kind) {
	case PML_PART_SET:
		return strcmp(ndctl_region_get_devname(region), p->name) == 0;
	case PML_PART_NODE:
		return ndctl_region_get_numa_node(region) == p->numa_node ||
		       ndctl_region_get_target_node(region) == p->numa_node;
	case PML_PART_DIMM:
		ndctl_mapping_foreach(region, mapping)
		{
			if (strcmp(ndctl_dimm_get_devname(ndctl_mapping_get_dimm(mapping)),
				    p->name) == 0)
				return true;
		}
		return false;
	case _PML_PART_KIND_MAX:
	case _PML_PART_KIND_INVALID:
		break;
	}
	return false;
}

int part_parse(const char *name, PmlPartKind *ret_kind, int *ret_node)
{
	static const char *const prefix[_PML_PART_KIND_MAX] = {
		[PML_PART_DIMM] = "nmem",
		[PML_PART_SET] = "region",
		[PML_PART_NODE] = "node",
	};

	for (int k = 0; k < _PML_PART_KIND_MAX; k++) {
		size_t n = strlen(prefix[k]);

		if (strncmp(name, prefix[k], n) != 0 || !name[n] ||
			strspn(name + n, "0123456789") != strlen(name + n) || strlen(name + n) > 6)
			continue;
		*ret_kind = (PmlPartKind)k;
		*ret_node = k == PML_PART_NODE ? atoi(name + n) : -1;
		return 0;
	}
	return -EINVAL;
}

static bool node_exists(int node)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
	return access(path, F_OK) == 0;
}

int pml_part_scan(const char *name, PmlPart **ret)
{
	_cleanup_ndctl_ struct ndctl_ctx *ctx = NULL;
	_cleanup_(part_freep) PmlPart *p = calloc(1, sizeof(*p));
	struct ndctl_region *region;
	struct ndctl_dimm *dimm;
	struct ndctl_bus *bus;
	bool found;
	int r;

	if (!p)
		return -ENOMEM;
	r = part_parse(name, &p->kind, &p->numa_node);
	if (r < 0)
		return r;
	p->name = strdup(name);
	if (!p->name)
		return -ENOMEM;
	r = part_context(&ctx);
	if (r < 0)
		return r;
	found = p->kind == PML_PART_NODE && node_exists(p->numa_node);
	ndctl_bus_foreach(ctx, bus)
	{
		ndctl_dimm_foreach(bus, dimm)
		{
			if (p->kind != PML_PART_DIMM ||
				strcmp(ndctl_dimm_get_devname(dimm), name) != 0)
				continue;
			found = true;
			r = r >= 0 ? add_dimm(p, dimm) : r;
		}
		ndctl_region_foreach(bus, region)
		{
			if (r < 0 || !is_part_of(p, region))
				continue;
			found = true;
			r = add_nd_region(p, region);
		}
	}
	if (r < 0)
		return r;
	if (!found)
		return -ENODEV;
	*ret = TAKE_PTR(p);
	return 0;
}

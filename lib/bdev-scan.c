/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Which block devices are regions, where their bytes lie, and what keeps them from being lent. A
 * disk, a partition, a logical volume, a loop device, a /dev/pmemN.
 *
 * Where bytes lie: of a partition, on its disk, from its first sector; of /dev/pmemN, in its
 * interleave set, as those of a device-dax region do, so that a namespace that is made again in
 * another mode inherits its past; of a loop device, in its file; of a logical volume, in itself:
 * the device mapper tells of no extents in sysfs. A disk is known by its serial number, never by
 * its name. What cannot be told is left empty, and then not lent.
 */

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <systemd/sd-device.h>

#include "bdev-internal.h"
#include "inventory-internal.h"
#include "region-internal.h"
#include "util.h"

#define SECTOR_BYTES	 512U
#define ND_LEVELS_MAX	 8
#define BY_ID		 "/dev/disk/by-id/"
#define MEDIUM_NAME_MAX	 (PML_MEDIUM_MAX - 8)
#define MOUNTINFO_DEVICE " %*u %*u %u:%u "

typedef struct Scan {
	const BdevHooks *hooks;
	const PmlBdevWanted *wanted;
	PmlInventory *inv;
} Scan;

static uint64_t attr_u64(sd_device *d, const char *attr, uint64_t otherwise)
{
	const char *s;

	return sd_device_get_sysattr_value(d, attr, &s) >= 0 && *s ? strtoull(s, NULL, 0)
								   : otherwise;
}

static bool is_partition(sd_device *d)
{
	const char *type;

	return sd_device_get_devtype(d, &type) >= 0 && strcmp(type, "partition") == 0;
}

/* --- where its bytes lie --- */

/* A name of others as part of a medium's: one spelling, no character that means something. */
static int set_medium(PmlExtent *e, const char *kind, const char *name)
{
	char clean[MEDIUM_NAME_MAX];
	size_t n = strlen(name);

	if (n == 0 || n >= sizeof(clean))
		return -ENODATA;
	for (size_t i = 0; i <= n; i++)
		clean[i] =
			strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:",
				name[i])
				? name[i]
				: '_';
	(void)snprintf(e->medium, sizeof(e->medium), "%s:%s", kind, clean);
	return 0;
}

/*
 * A file's inode number is used again for another file, which then must not pass for one that was
 * scrubbed: the moment of its birth is part of what it is. The path only leads to what the kernel
 * says the loop device is of.
 */
static int loop_extent(sd_device *d, PmlExtent *e)
{
	_cleanup_close_ int fd = -EBADF, file = -EBADF;
	struct loop_info64 info = {};
	const char *node, *path;
	struct statx stx;
	char name[64];
	dev_t devno;
	int r;

	if (sd_device_get_devname(d, &node) < 0 || sd_device_get_devnum(d, &devno) < 0 ||
		sd_device_get_sysattr_value(d, "loop/backing_file", &path) < 0)
		return -ENODATA;
	r = bdev_open_node(node, devno, O_RDONLY, &fd);
	if (r < 0)
		return r;
	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return -errno;
	file = open(path, O_PATH | O_CLOEXEC);
	if (file < 0 || statx(file, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) < 0)
		return -ENODATA;
	if (stx.stx_ino != info.lo_inode || !(stx.stx_mask & STATX_BTIME))
		return -ENODATA;
	(void)snprintf(name, sizeof(name), "%x-%x-%" PRIx64 "-%" PRIx64 ".%x", stx.stx_dev_major,
		stx.stx_dev_minor, (uint64_t)stx.stx_ino, (uint64_t)stx.stx_btime.tv_sec,
		stx.stx_btime.tv_nsec);
	e->start_bytes = info.lo_offset;
	return set_medium(e, "file", name);
}

/* The data of a namespace in raw or fsdax mode; one with a sector table (btt) has no linear data.
 */
static int pmem_extent(sd_device *d, PmlExtent *e)
{
	uint64_t start, region_start, cookie;
	sd_device *at = d;
	const char *name;

	if (sd_device_get_parent(d, &at) < 0 || sd_device_get_sysname(at, &name) < 0 ||
		strncmp(name, "btt", 3) == 0)
		return -ENODATA;
	start = attr_u64(at, "resource", UINT64_MAX);
	for (int i = 0; i < ND_LEVELS_MAX; i++) {
		if (sd_device_get_sysname(at, &name) < 0)
			return -ENODATA;
		if (strncmp(name, "region", 6) == 0)
			break;
		if (sd_device_get_parent(at, &at) < 0)
			return -ENODATA;
	}
	region_start = attr_u64(at, "resource", UINT64_MAX);
	cookie = attr_u64(at, "set_cookie", 0);
	if (start == UINT64_MAX || region_start == UINT64_MAX || start < region_start)
		return -ENODATA;
	/* As inventory-scan.c has it. */
	if (cookie) {
		(void)snprintf(e->medium, sizeof(e->medium), "iset:%016" PRIx64, cookie);
		e->start_bytes = start - region_start;
	} else {
		(void)PML_STRCPY(e->medium, "phys");
		e->start_bytes = start;
	}
	return 0;
}

/* Of a whole disk: medium and first byte. */
static int disk_extent(sd_device *d, PmlExtent *e)
{
	static const char *const serials[] = {"ID_WWN_WITH_EXTENSION", "ID_WWN", "ID_SERIAL"};
	const char *name, *s;

	if (sd_device_get_sysname(d, &name) < 0)
		return -ENODATA;
	if (strncmp(name, "pmem", 4) == 0)
		return pmem_extent(d, e);
	if (strncmp(name, "loop", 4) == 0)
		return loop_extent(d, e);
	if (sd_device_get_sysattr_value(d, "dm/uuid", &s) >= 0)
		return set_medium(e, "dm", s);
	for (size_t i = 0; i < ELEMENTSOF(serials); i++)
		if (sd_device_get_property_value(d, serials[i], &s) >= 0 &&
			set_medium(e, "disk", s) == 0)
			return 0;
	return -ENODATA;
}

static void fill_extent(sd_device *d, uint64_t size_bytes, PmlExtent *ret)
{
	PmlExtent e = {.size_bytes = size_bytes};
	sd_device *disk = d;
	uint64_t first = 0;

	if (is_partition(d)) {
		if (sd_device_get_parent(d, &disk) < 0)
			return;
		first = attr_u64(d, "start", UINT64_MAX);
		if (first > UINT64_MAX / SECTOR_BYTES)
			return;
	}
	if (disk_extent(disk, &e) < 0 ||
		__builtin_add_overflow(e.start_bytes, first * SECTOR_BYTES, &e.start_bytes))
		return;
	if (pml_extent_validate(&e) == 0)
		*ret = e;
}

/* --- which are wanted --- */

static bool is_named(const Scan *s, dev_t devno)
{
	for (const char *const *p = s->wanted->paths; p && *p; p++) {
		dev_t named = 0;
		int r = s->hooks->devno_of(*p, &named);

		if (r < 0)
			pml_debug("%s is no block device: %s", *p, strerrordesc_np(-r));
		else if (named == devno)
			return true;
	}
	return false;
}

/* Every byte of it was a region's before. */
static bool is_known(const Scan *s, const PmlExtent *e)
{
	uint64_t covered = 0;

	for (size_t i = 0; i < s->wanted->n_known; i++) {
		const PmlExtent *k = &s->wanted->known[i];
		uint64_t from, to;

		if (!pml_extent_overlaps(k, e))
			continue;
		from = k->start_bytes > e->start_bytes ? k->start_bytes : e->start_bytes;
		to = pml_extent_end(k) < pml_extent_end(e) ? pml_extent_end(k) : pml_extent_end(e);
		covered += to - from;
	}
	return e->size_bytes > 0 && covered >= e->size_bytes;
}

/* --- what keeps it from being lent --- */

static bool is_mounted(const char *mountinfo, dev_t devno)
{
	_cleanup_fclose_ FILE *f = fopen(mountinfo, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	unsigned maj, min;

	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, MOUNTINFO_DEVICE, &maj, &min) == 2 && makedev(maj, min) == devno)
			return true;
	return !f;
}

static bool is_swap(const BdevHooks *hooks, dev_t devno)
{
	_cleanup_fclose_ FILE *f = fopen(hooks->swaps, "re");
	char line[PATH_MAX + 128], path[PATH_MAX];
	dev_t swap;

	while (f && fgets(line, sizeof(line), f))
		if (line[0] == '/' && sscanf(line, "%4095s partition", path) == 1 &&
			hooks->devno_of(path, &swap) == 0 && swap == devno)
			return true;
	return false;
}

/* A directory of links: to the device mapper's and md's devices above this one. */
static bool has_holders(sd_device *d)
{
	_cleanup_free_ char *path = NULL;
	struct dirent *de;
	bool found = false;
	const char *at;
	DIR *dir;

	if (sd_device_get_syspath(d, &at) < 0 || asprintf(&path, "%s/holders", at) < 0)
		return true;
	dir = opendir(path);
	while (dir && !found && (de = readdir(dir)))
		found = de->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return found;
}

static uint32_t obstacles_of(const Scan *s, sd_device *d, const char *node, dev_t devno)
{
	uint32_t o = 0;
	int r;

	if (is_mounted(s->hooks->mountinfo, devno))
		o |= PML_OBSTACLE_MOUNTED;
	if (is_swap(s->hooks, devno))
		o |= PML_OBSTACLE_SWAP;
	if (has_holders(d))
		o |= PML_OBSTACLE_STACKED;
	if (attr_u64(d, "ro", 0) != 0)
		o |= PML_OBSTACLE_READ_ONLY;
	r = s->hooks->probe(node, devno);
	if (r == -EBUSY && o == 0)
		o |= PML_OBSTACLE_EXCLUSIVE;
	else if (r < 0 && r != -EBUSY)
		o |= PML_OBSTACLE_NO_NODE;
	return o;
}

static int probe(const char *node, dev_t devno)
{
	_cleanup_close_ int fd = -EBADF;

	return bdev_open_node(node, devno, O_RDONLY | O_EXCL, &fd);
}

/* --- one device --- */

/* The name that stays: the first of udev's links by identity. NULL: none. */
static const char *by_id(sd_device *d)
{
	const char *first = NULL;

	for (const char *l = sd_device_get_devlink_first(d); l; l = sd_device_get_devlink_next(d))
		if (strncmp(l, BY_ID, sizeof(BY_ID) - 1) == 0 && (!first || strcmp(l, first) < 0))
			first = l;
	return first ? first + sizeof(BY_ID) - 1 : NULL;
}

static uint64_t diskseq_of(sd_device *d)
{
	sd_device *disk = d;

	if (is_partition(d) && sd_device_get_parent(d, &disk) < 0)
		return 0;
	return attr_u64(disk, "diskseq", 0);
}

static int add_device(const Scan *s, sd_device *d)
{
	PmlRegionInfo info = {
		.kind = PML_KIND_BDEV,
		.binding = PML_BINDING_BLOCK,
		.phys_start = UINT64_MAX,
		.numa_node = -1,
		.target_node = -1,
	};
	PmlRegion *region;
	uint64_t sectors;
	int r;

	sectors = attr_u64(d, "size", 0);
	if (sectors == 0 || sectors > UINT64_MAX / SECTOR_BYTES ||
		sd_device_get_devnum(d, &info.devno) < 0 ||
		sd_device_get_sysname(d, &info.name) < 0 ||
		sd_device_get_devname(d, &info.path) < 0)
		return 0;
	info.size_bytes = sectors * SECTOR_BYTES;
	if (!is_named(s, info.devno)) {
		if (s->wanted->n_known == 0)
			return 0;
		fill_extent(d, info.size_bytes, &info.extent);
		if (!is_known(s, &info.extent))
			return 0;
	} else {
		fill_extent(d, info.size_bytes, &info.extent);
	}
	info.by_id = by_id(d);
	info.diskseq = diskseq_of(d);
	info.align_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	info.block_obstacles = obstacles_of(s, d, info.path, info.devno);
	r = pml_region_new(&info, &region);
	if (r < 0)
		return r;
	r = pml_inventory_add(s->inv, region);
	pml_region_unref(region);
	return r;
}

int bdev_scan_with(const BdevHooks *hooks, const PmlBdevWanted *wanted, PmlInventory *inv)
{
	Scan s = {.hooks = hooks, .wanted = wanted, .inv = inv};
	sd_device_enumerator *e = NULL;
	int r;

	if ((!wanted->paths || !wanted->paths[0]) && wanted->n_known == 0)
		return 0;
	r = sd_device_enumerator_new(&e);
	if (r >= 0)
		r = sd_device_enumerator_allow_uninitialized(e);
	if (r >= 0)
		r = sd_device_enumerator_add_match_subsystem(e, "block", true);
	if (r >= 0)
		for (sd_device *d = sd_device_enumerator_get_device_first(e); d && r >= 0;
			d = sd_device_enumerator_get_device_next(e))
			r = add_device(&s, d);
	sd_device_enumerator_unref(e);
	return r < 0 ? r : 0;
}

int pml_bdev_scan(const PmlBdevWanted *wanted, PmlInventory *inv)
{
	static const BdevHooks real = {
		.devno_of = bdev_devno_of,
		.probe = probe,
		.mountinfo = "/proc/self/mountinfo",
		.swaps = "/proc/swaps",
	};

	return bdev_scan_with(&real, wanted, inv);
}

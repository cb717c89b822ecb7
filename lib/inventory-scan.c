/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The scan: libdaxctl says which dax devices there are, libndctl which namespace, interleave set
 * and DIMMs each lies on. Both are joined by directory: a device of the dax bus sits below the nd
 * device that it came from (…/ndbus0/region0/dax0.1/dax0.0; Linux drivers/dax/pmem.c), and the
 * numbers of the two names need not agree.
 */

#include "inventory.h"

#include <daxctl/libdaxctl.h>
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <ndctl/libndctl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "inventory-internal.h"
#include "ram-internal.h"
#include "region-internal.h"
#include "util.h"

#define DAX_BUS_DEVICES	  "/sys/bus/dax/devices"
#define DEVICE_DAX_MODULE "/sys/module/device_dax"
#define TORN_FIRST_MS	  5
#define TORN_LAST_MS	  80

void (*inventory_scan_torn)(void);

/* One region in the making: the strings behind info are owned here. */
typedef struct Found {
	PmlRegionInfo info;
	char *name;
	char *path;
	char *nd_namespace;
	char *nd_region;
	char **dimms;
	char uuid[UUID_TEXT_MAX];
	struct ndctl_dax *nd_dax; /* borrowed from the context */
} Found;

typedef struct Scan {
	struct daxctl_ctx *daxctl;
	struct ndctl_ctx *ndctl;
	Found *found;
	size_t n_found;
	bool torn; /* two looks at something that is changing do not agree */
} Scan;

static void found_done(Found *f)
{
	for (char **d = f->dimms; d && *d; d++)
		free(*d);
	free(f->dimms);
	free(f->nd_region);
	free(f->nd_namespace);
	free(f->path);
	free(f->name);
}

static void scan_done(Scan *s)
{
	for (size_t i = 0; i < s->n_found; i++)
		found_done(&s->found[i]);
	free(s->found);
	daxctl_unref(s->daxctl);
	ndctl_unref(s->ndctl);
}

/* ---- messages of the two libraries: they would go to stderr otherwise ---- */

static void _printf_(2, 0) log_foreign(const char *fn, const char *format, va_list args)
{
	char message[256];

	(void)vsnprintf(message, sizeof(message), format, args);
	message[strcspn(message, "\n")] = '\0';
	pml_debug("%s: %s", fn, message);
}

static void _printf_(6, 0) log_daxctl(struct daxctl_ctx *ctx, int priority, const char *file,
	int line, const char *fn, const char *format, va_list args)
{
	log_foreign(fn, format, args);
}

static void _printf_(6, 0) log_ndctl(struct ndctl_ctx *ctx, int priority, const char *file,
	int line, const char *fn, const char *format, va_list args)
{
	log_foreign(fn, format, args);
}

/* ---- sysfs ---- */

/* Returns the length without the newline, or negative errno. */
static int read_attr(const char *dir, const char *attr, char *buf, size_t size)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX];
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", dir, attr) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return (int)n;
}

static uint64_t read_u64_or(const char *dir, const char *attr, uint64_t otherwise)
{
	char buf[64];

	return read_attr(dir, attr, buf, sizeof(buf)) > 0 ? strtoull(buf, NULL, 0) : otherwise;
}

static int read_node(const char *dir, const char *attr)
{
	char buf[32];

	return read_attr(dir, attr, buf, sizeof(buf)) > 0 ? (int)strtol(buf, NULL, 10) : -1;
}

static dev_t read_devno(const char *dir)
{
	unsigned int maj, min;
	char buf[32];

	if (read_attr(dir, "dev", buf, sizeof(buf)) <= 0 || sscanf(buf, "%u:%u", &maj, &min) != 2)
		return 0;
	return makedev(maj, min);
}

static PmlBinding read_binding(const char *dir)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *driver;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/driver", dir) >= (int)sizeof(path))
		return PML_BINDING_OTHER;
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return PML_BINDING_NONE;
	target[n] = '\0';
	driver = strrchr(target, '/');
	driver = driver ? driver + 1 : target;
	if (strcmp(driver, "device_dax") == 0)
		return PML_BINDING_DEVICE_DAX;
	if (strcmp(driver, "kmem") == 0)
		return PML_BINDING_KMEM;
	return PML_BINDING_OTHER;
}

/* A dynamic dax device may have several ranges, each a mappingN (Linux drivers/dax/bus.c). */
static bool has_several_ranges(const char *dir)
{
	unsigned int n = 0, id;
	struct dirent *de;
	DIR *d = opendir(dir);

	if (!d)
		return false;
	while ((de = readdir(d)))
		if (sscanf(de->d_name, "mapping%u", &id) == 1)
			n++;
	closedir(d);
	return n > 1;
}

static bool node_is(const char *path, dev_t devno)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == devno;
}

/* ---- what libndctl knows ---- */

bool inventory_format_uuid(const uint8_t uuid[static 16], char ret[static UUID_TEXT_MAX])
{
	static const uint8_t null_uuid[16];
	char *p = ret;

	if (memcmp(uuid, null_uuid, sizeof(null_uuid)) == 0)
		return false;
	for (size_t i = 0; i < sizeof(null_uuid); i++)
		p += sprintf(p, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

static int fill_dimms(Found *f, struct ndctl_region *region)
{
	struct ndctl_mapping *m;
	size_t n = 0, i = 0;

	ndctl_mapping_foreach(region, m) n++;
	f->dimms = calloc(n + 1, sizeof(char *));
	if (!f->dimms)
		return -ENOMEM;
	ndctl_mapping_foreach(region, m)
	{
		f->dimms[i] = strdup(ndctl_dimm_get_devname(ndctl_mapping_get_dimm(m)));
		if (!f->dimms[i++])
			return -ENOMEM;
	}
	/* libndctl lists them in no order that lasts. */
	qsort(f->dimms, n, sizeof(char *), compare_names);
	f->info.dimms = (const char *const *)f->dimms;
	return 0;
}

/*
 * The UUID is the one that `ndctl list` prints for a devdax namespace: that of the info block,
 * which namespaces without labels have too, and only without it the label's.
 */
static int fill_nd(
	Found *f, struct ndctl_region *region, struct ndctl_namespace *ndns, struct ndctl_dax *dax)
{
	uuid_t uuid = {};

	f->nd_dax = dax;
	f->nd_region = strdup(ndctl_region_get_devname(region));
	if (!f->nd_region)
		return -ENOMEM;
	f->info.nd_region = f->nd_region;

	if (ndns) {
		f->nd_namespace = strdup(ndctl_namespace_get_devname(ndns));
		if (!f->nd_namespace)
			return -ENOMEM;
		f->info.namespace_name = f->nd_namespace;
	}
	if (dax)
		ndctl_dax_get_uuid(dax, uuid);
	if (!inventory_format_uuid(uuid, f->uuid) && ndns) {
		ndctl_namespace_get_uuid(ndns, uuid);
		(void)inventory_format_uuid(uuid, f->uuid);
	}
	if (f->uuid[0])
		f->info.uuid = f->uuid;
	return fill_dimms(f, region);
}

/* Leaves the extent empty where it cannot be told: a wrong identity would hide or invent a past. */
static void fill_extent(Found *f, struct ndctl_region *region)
{
	struct ndctl_interleave_set *iset = region ? ndctl_region_get_interleave_set(region) : NULL;
	uint64_t cookie = iset ? ndctl_interleave_set_get_cookie(iset) : 0;
	uint64_t start = f->info.phys_start, region_start, region_size;
	PmlExtent e = {};

	if (start == UINT64_MAX || f->info.size_bytes == 0)
		return;
	if (cookie) {
		region_start = ndctl_region_get_resource(region);
		region_size = ndctl_region_get_size(region);
		if (region_start == UINT64_MAX || start < region_start ||
			start - region_start > region_size ||
			f->info.size_bytes > region_size - (start - region_start))
			return;
		start -= region_start;
		(void)snprintf(e.medium, sizeof(e.medium), "iset:%016" PRIx64, cookie);
	} else {
		(void)PML_STRCPY(e.medium, "phys");
	}
	e.start_bytes = start;
	e.size_bytes = f->info.size_bytes;
	if (pml_extent_validate(&e) == 0)
		f->info.extent = e;
}

static struct ndctl_dax *find_nd_dax(Scan *s, const char *dir, struct ndctl_region **ret_region)
{
	struct daxctl_region *dax_region;
	struct ndctl_region *region;
	struct ndctl_dax *dax;
	struct ndctl_bus *bus;

	ndctl_bus_foreach(s->ndctl, bus) ndctl_region_foreach(bus, region)
		ndctl_dax_foreach(region, dax)
	{
		dax_region = ndctl_dax_get_daxctl_region(dax);
		if (!dax_region || !pml_streq(daxctl_region_get_path(dax_region), dir))
			continue;
		*ret_region = region;
		return dax;
	}
	return NULL;
}

/* ---- devices of the dax bus ---- */

static Found *scan_add(Scan *s)
{
	Found *bigger = reallocarray(s->found, s->n_found + 1, sizeof(*bigger));

	if (!bigger)
		return NULL;
	s->found = bigger;
	s->found[s->n_found] = (Found){
		.info = {.kind = PML_KIND_DEVDAX,
			.phys_start = UINT64_MAX,
			.numa_node = -1,
			.target_node = -1},
	};
	return &s->found[s->n_found++];
}

static bool scan_has(const Scan *s, const char *name)
{
	for (size_t i = 0; i < s->n_found; i++)
		if (pml_streq(s->found[i].name, name))
			return true;
	return false;
}

/* The attribute is there while device_dax is bound; else its driver tells, where it is loaded. */
static bool can_revoke(const char *dir, PmlBinding binding)
{
	char path[PATH_MAX];

	if (binding == PML_BINDING_NONE)
		return access(DEVICE_DAX_MODULE "/parameters/revoke_timeout_ms", F_OK) == 0;
	(void)snprintf(path, sizeof(path), "%s/revoke", dir);
	return access(path, F_OK) == 0;
}

/* Memory of the host, that a machine can be lent by its node. */
static void fill_ram(Found *f)
{
	PmlRam ram;

	if (f->info.binding != PML_BINDING_KMEM)
		return;
	f->info.kind = PML_KIND_SYSRAM;
	/* Of memory, not of the device in front of it. */
	f->info.numa_node = f->info.target_node;
	f->info.ram_obstacles = PML_OBSTACLE_SHARED_NODE;
	if (f->info.phys_start != UINT64_MAX &&
		ram_look("/sys", f->info.target_node, f->info.phys_start, f->info.size_bytes,
			&ram) >= 0)
		f->info.ram_obstacles = pml_ram_obstacles(&ram);
}

static int fill_device(Scan *s, Found *f, const char *dir)
{
	const char *name = strrchr(dir, '/') + 1;
	_cleanup_free_ char *parent = strndup(dir, (size_t)(name - dir - 1));
	struct ndctl_region *region = NULL;
	struct ndctl_dax *dax;
	int r;

	f->name = strdup(name);
	if (!parent || !f->name || asprintf(&f->path, "/dev/%s", name) < 0) {
		f->path = NULL;
		return -ENOMEM;
	}
	f->info.name = f->name;
	f->info.path = f->path;
	f->info.binding = read_binding(dir);
	f->info.can_revoke = can_revoke(dir, f->info.binding);
	f->info.numa_node = read_node(dir, "numa_node");
	f->info.devno = read_devno(dir);
	f->info.no_node = f->info.devno == 0 || !node_is(f->path, f->info.devno);

	dax = find_nd_dax(s, parent, &region);
	if (dax) {
		r = fill_nd(f, region, ndctl_dax_get_namespace(dax), dax);
		if (r < 0)
			return r;
		if (f->info.phys_start == UINT64_MAX)
			f->info.phys_start = ndctl_dax_get_resource(dax);
	}

	fill_ram(f);
	if (has_several_ranges(dir))
		return 0;
	/*
	 * On an nd bus that libndctl could not read, since it races with the kernel: a physical
	 * address would be another identity.
	 */
	if (!dax && strstr(parent, "/ndbus")) {
		s->torn = s->torn || access(dir, F_OK) == 0;
		return 0;
	}
	fill_extent(f, region);
	return 0;
}

static int add_daxctl_dev(Scan *s, struct daxctl_region *region, struct daxctl_dev *dev)
{
	_cleanup_free_ char *dir = NULL;
	unsigned long long resource = daxctl_dev_get_resource(dev);
	Found *f;

	/* A dynamic region's seed: no memory yet. */
	if (daxctl_dev_get_size(dev) == 0)
		return 0;
	if (asprintf(&dir, "%s/%s", daxctl_region_get_path(region), daxctl_dev_get_devname(dev)) <
		0) {
		dir = NULL;
		return -ENOMEM;
	}
	f = scan_add(s);
	if (!f)
		return -ENOMEM;
	f->info.size_bytes = daxctl_dev_get_size(dev);
	f->info.align_bytes = daxctl_dev_get_align(dev);
	f->info.target_node = daxctl_dev_get_target_node(dev);
	/* libdaxctl says 0 when neither the attribute nor /proc/iomem tells (no CAP_SYS_ADMIN). */
	f->info.phys_start = resource ? resource : UINT64_MAX;
	return fill_device(s, f, dir);
}

/*
 * libdaxctl leaves out a device whose /dev node is missing (daxctl/lib/libdaxctl.c, add_dax_dev()).
 * Such a region is there all the same, and must not look like one that left the host.
 */
static int add_without_node(Scan *s, const char *name)
{
	_cleanup_free_ char *dir = NULL;
	char path[PATH_MAX];
	uint64_t size_bytes;
	Found *f;

	(void)snprintf(path, sizeof(path), DAX_BUS_DEVICES "/%s", name);
	dir = realpath(path, NULL);
	if (!dir)
		return errno == ENOMEM ? -ENOMEM : 0; /* gone since */
	size_bytes = read_u64_or(dir, "size", 0);
	if (size_bytes == 0)
		return 0;
	f = scan_add(s);
	if (!f)
		return -ENOMEM;
	f->info.size_bytes = size_bytes;
	f->info.align_bytes = read_u64_or(dir, "align", 0);
	f->info.target_node = read_node(dir, "target_node");
	f->info.phys_start = read_u64_or(dir, "resource", UINT64_MAX);
	return fill_device(s, f, dir);
}

static int add_devices(Scan *s)
{
	struct daxctl_region *region;
	struct daxctl_dev *dev;
	struct dirent *de;
	DIR *d;
	int r = 0;

	daxctl_region_foreach(s->daxctl, region) daxctl_dev_foreach(region, dev)
	{
		r = add_daxctl_dev(s, region, dev);
		if (r < 0)
			return r;
	}

	d = opendir(DAX_BUS_DEVICES);
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (r >= 0 && (de = readdir(d)))
		if (de->d_name[0] != '.' && !scan_has(s, de->d_name))
			r = add_without_node(s, de->d_name);
	closedir(d);
	return r;
}

/* ---- namespaces in devdax mode without a dax device ---- */

/*
 * The whole namespace is taken for the extent: where its data begins is not readable while it is
 * disabled, and what is known of any part of it must be found.
 */
static int add_disabled(
	Scan *s, struct ndctl_region *region, struct ndctl_namespace *ndns, struct ndctl_dax *dax)
{
	unsigned int region_id, id;
	Found *f;
	int r;

	if (sscanf(ndctl_namespace_get_devname(ndns), "namespace%u.%u", &region_id, &id) != 2)
		return 0;
	f = scan_add(s);
	if (!f)
		return -ENOMEM;
	if (asprintf(&f->name, "dax%u.%u", region_id, id) < 0) {
		f->name = NULL;
		return -ENOMEM;
	}
	f->info.name = f->name;
	f->info.binding = PML_BINDING_NONE;
	f->info.size_bytes = ndctl_namespace_get_size(ndns);
	f->info.align_bytes = dax ? ndctl_dax_get_align(dax) : 0;
	f->info.phys_start = ndctl_namespace_get_resource(ndns);
	f->info.numa_node = ndctl_namespace_get_numa_node(ndns);
	f->info.target_node = ndctl_namespace_get_target_node(ndns);
	r = fill_nd(f, region, ndns, dax);
	if (r < 0)
		return r;
	fill_extent(f, region);
	return 0;
}

static bool scan_has_nd_dax(const Scan *s, const struct ndctl_dax *dax)
{
	for (size_t i = 0; i < s->n_found; i++)
		if (s->found[i].nd_dax == dax)
			return true;
	return false;
}

static int add_disabled_of_region(Scan *s, struct ndctl_region *region)
{
	struct ndctl_namespace *ndns;
	struct ndctl_dax *dax;
	int r;

	ndctl_namespace_foreach(region, ndns)
	{
		if (ndctl_namespace_get_size(ndns) == 0)
			continue;
		dax = ndctl_namespace_get_dax(ndns);
		if (dax ? scan_has_nd_dax(s, dax)
			: ndctl_namespace_get_pfn(ndns) || ndctl_namespace_get_btt(ndns) ||
					ndctl_namespace_is_enabled(ndns) ||
					ndctl_namespace_get_enforce_mode(ndns) != NDCTL_NS_MODE_DAX)
			continue;
		r = add_disabled(s, region, ndns, dax);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_disabled_namespaces(Scan *s)
{
	struct ndctl_region *region;
	struct ndctl_bus *bus;
	int r;

	ndctl_bus_foreach(s->ndctl, bus) ndctl_region_foreach(bus, region)
	{
		r = add_disabled_of_region(s, region);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- putting it together ---- */

static void mark_duplicates(Scan *s)
{
	for (size_t i = 0; i < s->n_found; i++)
		for (size_t k = i + 1; k < s->n_found; k++) {
			Found *a = &s->found[i], *b = &s->found[k];

			if (a->uuid[0] && strcmp(a->uuid, b->uuid) == 0)
				a->info.duplicate_uuid = b->info.duplicate_uuid = true;
		}
}

static int compare_found(const void *a, const void *b)
{
	return strverscmp(((const Found *)a)->name, ((const Found *)b)->name);
}

static int make_inventory(Scan *s, PmlInventory **ret)
{
	_cleanup_free_ PmlRegion **regions = calloc(s->n_found + 1, sizeof(PmlRegion *));
	size_t n = 0;
	int r = 0;

	if (!regions)
		return -ENOMEM;
	for (; n < s->n_found; n++) {
		/* The array moved and was sorted since: point into where it lies now. */
		if (s->found[n].info.uuid)
			s->found[n].info.uuid = s->found[n].uuid;
		r = pml_region_new(&s->found[n].info, &regions[n]);
		if (r < 0)
			break;
	}
	if (r >= 0)
		r = pml_inventory_new(regions, n, ret);
	for (size_t i = 0; i < n; i++)
		pml_region_unref(regions[i]);
	return r;
}

/* The context that libndctl makes inside has a log function of its own. */
static void quiet_inner_daxctl(Scan *s)
{
	struct daxctl_region *dax_region;
	struct ndctl_region *region;
	struct ndctl_dax *dax;
	struct ndctl_bus *bus;

	ndctl_bus_foreach(s->ndctl, bus) ndctl_region_foreach(bus, region)
		ndctl_dax_foreach(region, dax)
	{
		dax_region = ndctl_dax_get_daxctl_region(dax);
		if (!dax_region)
			continue;
		daxctl_set_log_fn(daxctl_region_get_ctx(dax_region), log_daxctl);
		return;
	}
}

static int scan_once(PmlInventory **ret, bool *ret_torn)
{
	_cleanup_(scan_done) Scan s = {};
	int r;

	r = daxctl_new(&s.daxctl);
	if (r < 0)
		return r;
	daxctl_set_log_fn(s.daxctl, log_daxctl);
	r = ndctl_new(&s.ndctl);
	if (r < 0)
		return r;
	ndctl_set_log_fn(s.ndctl, log_ndctl);
	quiet_inner_daxctl(&s);

	r = add_devices(&s);
	if (r < 0)
		return r;
	r = add_disabled_namespaces(&s);
	if (r < 0)
		return r;
	mark_duplicates(&s);
	if (s.n_found > 0)
		qsort(s.found, s.n_found, sizeof(Found), compare_found);
	*ret_torn = s.torn;
	return make_inventory(&s, ret);
}

/*
 * A region without identity is one that has gone, to whoever lent it: its guest would be fenced for
 * a look that came between two of the kernel's steps. So it is looked at again, for as long as such
 * steps take; the kernel tells of the end of each, but the next look would come after the fence.
 */
int pml_inventory_scan(PmlInventory **ret)
{
	PmlInventory *inv = NULL;
	bool torn;
	int r;

	for (int wait_ms = TORN_FIRST_MS;; wait_ms *= 2) {
		r = scan_once(&inv, &torn);
		if (r < 0)
			return r;
		if (!torn || wait_ms > TORN_LAST_MS)
			break;
		pml_inventory_free(inv);
		if (inventory_scan_torn)
			inventory_scan_torn();
		(void)poll(NULL, 0, wait_ms);
	}
	*ret = inv;
	return 0;
}

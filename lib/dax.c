/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "dax.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "dax-internal.h"
#include "ram-internal.h"
#include "util.h"

#define DRIVER_NAME	   "device_dax"
#define NODE_WAIT_USEC	   (2 * USEC_PER_SEC)
#define REFS_PER_OPEN_FILE 2
/* Where the patches give the cdev to the core, whose module has its reference: kernel-patches/. */
#define REFS_PER_OPEN_FILE_PATCHED 1

static int write_attr(int dir_fd, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

static const PmlDaxRoots real_roots = {
	.sysfs = "/sys",
	.dev = "/dev",
	.proc = "/proc",
	.write_attr = write_attr,
};

const PmlDaxRoots *dax_roots_of(void *userdata)
{
	return userdata ? userdata : &real_roots;
}

/* An attribute that cannot be opened, or answers ENODEV, belongs to a device that left. */
static int gone_or(int error)
{
	return error == ENOENT || error == ENODEV ? -ENODEV : -error;
}

int dax_read_attr(int dir_fd, const char *attr, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dir_fd, attr, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return gone_or(errno);
	n = read(fd, buf, size - 1);
	if (n < 0)
		return gone_or(errno);
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

int dax_read_u64(int dir_fd, const char *attr, uint64_t *ret)
{
	char buf[64], *end;
	uint64_t v;
	int r;

	r = dax_read_attr(dir_fd, attr, buf, sizeof(buf));
	if (r < 0)
		return r;
	errno = 0;
	v = strtoull(buf, &end, 0);
	if (errno != 0 || end == buf || *end != '\0')
		return -EBADMSG;
	*ret = v;
	return 0;
}

/* 0, -ESTALE: the directory is that of another device than r, -ENODEV: of none any more. */
static int check_identity(int dir_fd, const PmlRegion *r)
{
	unsigned int maj, min;
	uint64_t v;
	char buf[32];
	int k;

	k = dax_read_attr(dir_fd, "dev", buf, sizeof(buf));
	if (k < 0)
		return k;
	if (sscanf(buf, "%u:%u", &maj, &min) != 2)
		return -EBADMSG;
	if (makedev(maj, min) != pml_region_devno(r))
		return -ESTALE;

	k = dax_read_u64(dir_fd, "size", &v);
	if (k < 0)
		return k;
	if (v != pml_region_size_bytes(r))
		return -ESTALE;

	if (pml_region_phys_start(r) == UINT64_MAX)
		return 0;
	k = dax_read_u64(dir_fd, "resource", &v);
	if (k < 0)
		return k;
	return v == pml_region_phys_start(r) ? 0 : -ESTALE;
}

static int open_dir(int *ret_fd, const char *format, ...) _printf_(2, 3);

static int open_dir(int *ret_fd, const char *format, ...)
{
	char path[PATH_MAX];
	va_list ap;
	int fd, n;

	va_start(ap, format);
	n = vsnprintf(path, sizeof(path), format, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return gone_or(errno);
	*ret_fd = fd;
	return 0;
}

/* The device's directory in sysfs, checked: what is done relative to it is done to that device. */
int dax_open_device(const PmlDaxRoots *roots, const PmlRegion *r, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	int k;

	/* Scanned while its namespace was disabled: there was no device to identify. */
	if (pml_region_devno(r) == 0)
		return -ENODEV;
	k = open_dir(&fd, "%s/bus/dax/devices/%s", roots->sysfs, pml_region_name(r));
	if (k < 0)
		return k;
	k = check_identity(fd, r);
	if (k < 0)
		return k;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int dax_read_binding(int dir_fd, PmlBinding *ret)
{
	char target[PATH_MAX];
	const char *driver;
	ssize_t n;

	n = readlinkat(dir_fd, "driver", target, sizeof(target) - 1);
	if (n < 0) {
		if (errno != ENOENT)
			return -errno;
		/* No link is said both of an unbound device and of one that left. */
		if (faccessat(dir_fd, "dev", F_OK, 0) < 0)
			return gone_or(errno);
		*ret = PML_BINDING_NONE;
		return 0;
	}
	target[n] = '\0';
	driver = strrchr(target, '/');
	driver = driver ? driver + 1 : target;
	if (strcmp(driver, DRIVER_NAME) == 0)
		*ret = PML_BINDING_DEVICE_DAX;
	else if (strcmp(driver, "kmem") == 0)
		*ret = PML_BINDING_KMEM;
	else
		*ret = PML_BINDING_OTHER;
	return 0;
}

static int dax_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	_cleanup_close_ int fd = -EBADF;
	int k;

	k = dax_open_device(dax_roots_of(userdata), r, &fd);
	if (k < 0)
		return k;
	return dax_read_binding(fd, ret);
}

/*
 * The kernel looks the device up by the name that is written (Linux drivers/base/bus.c
 * unbind_store()), not by the directory. A device that left and one that took its name between the
 * check and the write would be met by it; the check afterwards is on the old directory and says
 * -ENODEV then.
 */
static int unbind(void *userdata, const PmlRegion *r, bool emptied)
{
	const PmlDaxRoots *roots = dax_roots_of(userdata);
	_cleanup_close_ int fd = -EBADF;
	PmlBinding binding = _PML_BINDING_INVALID;
	int k, written;

	k = dax_open_device(roots, r, &fd);
	if (k < 0)
		return k;
	k = dax_read_binding(fd, &binding);
	if (k < 0)
		return k;
	if (binding == PML_BINDING_NONE)
		return 0;
	if (binding == PML_BINDING_KMEM)
		return ram_unbind(roots, fd, r, emptied);

	/* -ENODEV, -ENOENT: somebody else unbound it, perhaps. The link says whether. */
	written = roots->write_attr(fd, "driver/unbind", pml_region_name(r));
	k = dax_read_binding(fd, &binding);
	if (k < 0)
		return k;
	if (binding == PML_BINDING_NONE)
		return 0;
	return written < 0 && written != -ENODEV && written != -ENOENT ? written : -EBUSY;
}

static int dax_unbind(void *userdata, const PmlRegion *r)
{
	return unbind(userdata, r, false);
}

static int dax_unbind_emptied(void *userdata, const PmlRegion *r)
{
	return unbind(userdata, r, true);
}

/* 0: there with the right number; 1: not, or not yet. */
static int check_node(const char *path, const PmlRegion *r)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 1 : -errno;
	return S_ISCHR(st.st_mode) && st.st_rdev == pml_region_devno(r) ? 0 : 1;
}

/* devtmpfs makes the node before the bind returns; a /dev of another kind may lag behind. */
static int wait_node(const PmlDaxRoots *roots, const PmlRegion *r)
{
	uint64_t now, deadline_usec = pml_now_usec(CLOCK_MONOTONIC) + NODE_WAIT_USEC;
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX], events[4096];
	int k;

	if (snprintf(path, sizeof(path), "%s/%s", roots->dev, pml_region_name(r)) >=
		(int)sizeof(path))
		return -ENAMETOOLONG;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (inotify_add_watch(fd, roots->dev, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
		return -errno;

	while ((k = check_node(path, r)) > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		now = pml_now_usec(CLOCK_MONOTONIC);
		if (now >= deadline_usec)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((deadline_usec - now) / USEC_PER_MSEC) + 1) < 0 &&
			errno != EINTR)
			return -errno;
		while (read(fd, events, sizeof(events)) > 0)
			;
	}
	return k;
}

static int dax_bind(void *userdata, const PmlRegion *r)
{
	const PmlDaxRoots *roots = dax_roots_of(userdata);
	_cleanup_close_ int fd = -EBADF, driver_fd = -EBADF;
	PmlBinding binding = _PML_BINDING_INVALID;
	int k, written = 0;

	k = dax_open_device(roots, r, &fd);
	if (k < 0)
		return k;
	k = dax_read_binding(fd, &binding);
	if (k < 0)
		return k;
	if (binding == PML_BINDING_KMEM || binding == PML_BINDING_OTHER)
		return -EBUSY;

	/* Nobody can open it in a binding that was revoked; this begins another one. */
	if (binding == PML_BINDING_DEVICE_DAX && dax_was_revoked(fd)) {
		k = dax_unbind(userdata, r);
		if (k < 0)
			return k;
		binding = PML_BINDING_NONE;
	}
	if (binding == PML_BINDING_NONE) {
		k = open_dir(&driver_fd, "%s/bus/dax/drivers/%s", roots->sysfs, DRIVER_NAME);
		if (k < 0)
			return k == -ENODEV ? -ENOENT : k;
		/* -EBUSY also when somebody else was first (Linux drivers/base/dd.c). */
		written = roots->write_attr(driver_fd, "bind", pml_region_name(r));
		k = dax_read_binding(fd, &binding);
		if (k < 0)
			return k;
		if (binding != PML_BINDING_DEVICE_DAX)
			return written < 0 && written != -ENODEV ? written : -EBUSY;
	}
	return wait_node(roots, r);
}

/* An O_PATH descriptor first: opening a wrong device for real may already do something to it. */
static int open_node(const PmlDaxRoots *roots, const PmlRegion *r, int *ret_fd)
{
	_cleanup_close_ int path_fd = -EBADF, fd = -EBADF;
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", roots->dev, pml_region_name(r)) >=
		(int)sizeof(path))
		return -ENAMETOOLONG;
	path_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (path_fd < 0)
		return gone_or(errno);
	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != pml_region_devno(r))
		return -ESTALE;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != pml_region_devno(r))
		return -ESTALE;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The number that was opened is, now, the number of the device that was checked. */
static int check_number(const PmlDaxRoots *roots, const PmlRegion *r, int device_fd)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat a, b;
	int k;

	k = open_dir(&fd, "%s/dev/char/%u:%u", roots->sysfs, major(pml_region_devno(r)),
		minor(pml_region_devno(r)));
	if (k < 0)
		return k;
	if (fstat(device_fd, &a) < 0 || fstat(fd, &b) < 0)
		return -errno;
	if (a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return -ESTALE;
	return check_identity(fd, r);
}

static int require_bound(int device_fd)
{
	PmlBinding binding = _PML_BINDING_INVALID;
	int k;

	k = dax_read_binding(device_fd, &binding);
	if (k < 0)
		return k;
	return binding == PML_BINDING_DEVICE_DAX ? 0 : -ENXIO;
}

static int dax_open(void *userdata, const PmlRegion *r, int *ret_fd)
{
	const PmlDaxRoots *roots = dax_roots_of(userdata);
	_cleanup_close_ int device_fd = -EBADF, fd = -EBADF;
	int k;

	k = dax_open_device(roots, r, &device_fd);
	if (k < 0)
		return k;
	/* Linux 6.12 opens an unbound device while an older file is open; its mmap oopses. */
	k = require_bound(device_fd);
	if (k < 0)
		return k;
	k = open_node(roots, r, &fd);
	if (k < 0)
		return k;
	k = check_number(roots, r, device_fd);
	if (k < 0)
		return k;
	k = require_bound(device_fd);
	if (k < 0)
		return k;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int count_holders(int module_fd, uint64_t *ret)
{
	int fd = openat(module_fd, "holders", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *de;
	uint64_t n = 0;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		int r = -errno;

		close(fd);
		return r;
	}
	while ((de = readdir(d)))
		if (de->d_name[0] != '.')
			n++;
	closedir(d);
	*ret = n;
	return 0;
}

/*
 * Linux 6.12: chrdev_open() takes the module once by cdev_get() (cdev->owner, which dev_dax_probe()
 * sets to the driver's module) and once by fops_get() (dax_fops.owner); __fput() gives both back. A
 * mapping, a fork's copy, a descriptor in flight or registered elsewhere all keep the same file, so
 * they count with it. Each module that depends on this one holds it once (kernel/module/main.c
 * ref_module()) and has an entry in holders/.
 */
static int dax_module_refs(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file)
{
	const PmlDaxRoots *roots = dax_roots_of(userdata);
	_cleanup_close_ int fd = -EBADF;
	uint64_t holders = 0;
	char buf[32], *end;
	long long refs;
	int k;

	k = open_dir(&fd, "%s/module/%s", roots->sysfs, DRIVER_NAME);
	if (k < 0)
		return k == -ENODEV ? -EOPNOTSUPP : k;
	k = dax_read_attr(fd, "refcnt", buf, sizeof(buf));
	if (k < 0)
		return k == -ENODEV ? -EOPNOTSUPP : k;
	errno = 0;
	refs = strtoll(buf, &end, 10);
	if (errno != 0 || end == buf || *end != '\0')
		return -EBADMSG;
	k = count_holders(fd, &holders);
	if (k < 0)
		return k;
	/* -1: it loads or unloads; fewer than holders: one came between the two looks. */
	if (refs < 0 || (uint64_t)refs < holders)
		return -EAGAIN;
	*ret_refs = (uint64_t)refs - holders;
	*ret_per_file =
		dax_driver_can_revoke(roots) ? REFS_PER_OPEN_FILE_PATCHED : REFS_PER_OPEN_FILE;
	return 0;
}

const PmlDaxOps pml_dax_ops = {
	.binding = dax_binding,
	.unbind = dax_unbind,
	.unbind_emptied = dax_unbind_emptied,
	.bind = dax_bind,
	.open = dax_open,
	.module_refs = dax_module_refs,
	.revocation = dax_revocation,
	.revoke = dax_revoke,
	.ram = ram_ram,
	.bind_ram = ram_bind,
	.populate = ram_populate,
};

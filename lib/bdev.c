/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is done to one block device: each time on a descriptor that was checked. */

#include "bdev.h"

#include <inttypes.h>
#include <linux/fs.h>
#include <linux/types.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "bdev-internal.h"
#include "util.h"

/* Linux 6.5 and 5.15; the headers of Debian 12 and its C library lack the first. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, __u64)
#endif

/* Same layout as the kernel's (include/uapi/linux/mman.h), own names. */
struct cache_range {
	__u64 off;
	__u64 len;
};
struct cache_state {
	__u64 cached;
	__u64 dirty;
	__u64 writeback;
	__u64 evicted;
	__u64 recently_evicted;
};

#define MINCORE_STEP_BYTES (1ULL << 30)

static int gone_or(int error)
{
	return error == ENOENT || error == ENODEV || error == ENXIO ? -ENODEV : -error;
}

int bdev_devno_of(const char *path, dev_t *ret)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	*ret = st.st_rdev;
	return 0;
}

/* An O_PATH descriptor first, as in dax.c: opening a wrong device may do something to it. */
int bdev_open_node(const char *node, dev_t devno, int flags, int *ret_fd)
{
	_cleanup_close_ int path_fd = -EBADF, fd = -EBADF;
	char path[64];
	struct stat st;

	path_fd = open(node, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (path_fd < 0)
		return gone_or(errno);
	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode) || st.st_rdev != devno)
		return -ESTALE;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return gone_or(errno);
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode) || st.st_rdev != devno)
		return -ESTALE;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/*
 * The number and the size may be another device's by now (a loop device is used again at once); the
 * kernel gives no disk sequence number twice. A kernel without them (before 5.15) is believed.
 */
static int check_identity(int fd, const PmlRegion *r)
{
	uint64_t size_bytes, diskseq;

	if (ioctl(fd, BLKGETSIZE64, &size_bytes) < 0)
		return gone_or(errno);
	if (size_bytes != pml_region_size_bytes(r))
		return -ESTALE;
	if (pml_region_diskseq(r) == 0 || ioctl(fd, BLKGETDISKSEQ, &diskseq) < 0)
		return 0;
	return diskseq == pml_region_diskseq(r) ? 0 : -ESTALE;
}

static int open_checked(const PmlRegion *r, int flags, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	int k;

	if (pml_region_devno(r) == 0 || !pml_region_path(r))
		return -ENODEV;
	k = bdev_open_node(pml_region_path(r), pml_region_devno(r), flags, &fd);
	if (k < 0)
		return k;
	k = check_identity(fd, r);
	if (k < 0)
		return k;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int pml_bdev_binding(const PmlRegion *r, PmlBinding *ret)
{
	_cleanup_close_ int fd = -EBADF;
	int k = open_checked(r, O_RDONLY, &fd);

	if (k < 0)
		return k;
	*ret = PML_BINDING_BLOCK;
	return 0;
}

int pml_bdev_open(const PmlRegion *r, int *ret_fd)
{
	return open_checked(r, O_RDWR | O_EXCL | O_DIRECT, ret_fd);
}

int pml_bdev_claim(const PmlRegion *r, int *ret_fd)
{
	/* For reading: udevd looks at a device again whenever one that was open for writing is
	 * closed. */
	return open_checked(r, O_RDONLY | O_EXCL, ret_fd);
}

/* By mapping it, where the kernel has no cachestat: resident is what the cache has. */
static int left_by_mincore(int fd, uint64_t size_bytes, uint64_t *ret)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), left = 0;
	_cleanup_free_ unsigned char *vec = malloc(MINCORE_STEP_BYTES / page_bytes);

	if (!vec)
		return -ENOMEM;
	for (uint64_t at = 0; at < size_bytes; at += MINCORE_STEP_BYTES) {
		uint64_t n =
			size_bytes - at < MINCORE_STEP_BYTES ? size_bytes - at : MINCORE_STEP_BYTES;
		void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, (off_t)at);
		int r = 0;

		if (p == MAP_FAILED)
			return -errno;
		if (mincore(p, n, vec) < 0)
			r = -errno;
		(void)munmap(p, n);
		if (r < 0)
			return r;
		for (uint64_t i = 0; i < (n + page_bytes - 1) / page_bytes; i++)
			left += vec[i] & 1 ? page_bytes : 0;
	}
	*ret = left;
	return 0;
}

static int left_in_cache(int fd, uint64_t size_bytes, uint64_t *ret)
{
	struct cache_range all = {.len = size_bytes};
	struct cache_state state;

	if (syscall(SYS_cachestat, fd, &all, &state, 0) < 0) {
		if (errno != ENOSYS && errno != EPERM && errno != EOPNOTSUPP)
			return -errno;
		return left_by_mincore(fd, size_bytes, ret);
	}
	*ret = state.cached * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

int pml_bdev_drop_cache(const PmlRegion *r, uint64_t *ret_left_bytes)
{
	_cleanup_close_ int fd = -EBADF;
	int k;

	k = open_checked(r, O_RDONLY, &fd);
	if (k < 0)
		return k;
	if (fsync(fd) < 0)
		return -errno;
	/* Linux block/ioctl.c blkdev_flushbuf(): writes back and drops what no mapping has. */
	if (ioctl(fd, BLKFLSBUF, 0) < 0)
		return -errno;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return left_in_cache(fd, pml_region_size_bytes(r), ret_left_bytes);
}

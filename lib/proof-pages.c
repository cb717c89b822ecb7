/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whether a mapping still leads to memory: what the page tables hold, and what an access from
 * outside gets. */

#include <linux/types.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "proof-internal.h"
#include "util.h"

/*
 * The ioctl of Linux 6.7 (include/uapi/linux/fs.h), which the headers of Debian 12 do not have yet.
 * Same layout, own names, so that newer headers do not clash.
 */
struct scan_region {
	__u64 start;
	__u64 end;
	__u64 categories;
};

struct scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};

#define SCAN_IOCTL   _IOWR('f', 16, struct scan_arg)
#define SCAN_PRESENT (1ULL << 3)
#define SCAN_REGIONS 128
/* How much of a mapping is walked between two looks at the clock. */
#define SCAN_STEP_BYTES (4ULL << 30)

#define PAGEMAP_PRESENT (1ULL << 63) /* Linux Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_ENTRIES 8192

static int present_by_scan(int fd, const ProofFile *f, uint64_t deadline_usec, uint64_t *ret)
{
	struct scan_region regions[SCAN_REGIONS];
	uint64_t start = f->vm_start, present = 0;

	while (start < f->vm_end) {
		struct scan_arg arg = {
			.size = sizeof(arg),
			.start = start,
			.end = f->vm_end - start > SCAN_STEP_BYTES ? start + SCAN_STEP_BYTES
								   : f->vm_end,
			.vec = (uintptr_t)regions,
			.vec_len = SCAN_REGIONS,
			.category_mask = SCAN_PRESENT,
			.return_mask = SCAN_PRESENT,
		};
		int n;

		if (pml_now_usec(CLOCK_MONOTONIC) >= deadline_usec)
			return -ETIMEDOUT;
		n = ioctl(fd, SCAN_IOCTL, &arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			present += regions[i].end - regions[i].start;
		if (arg.walk_end <= start)
			return -EIO;
		start = arg.walk_end;
	}
	*ret = present;
	return 0;
}

static int present_by_pagemap(int fd, const ProofFile *f, uint64_t deadline_usec, uint64_t *ret)
{
	_cleanup_free_ uint64_t *entries = calloc(PAGEMAP_ENTRIES, sizeof(*entries));
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t page = f->vm_start / page_bytes, end = f->vm_end / page_bytes, present = 0;

	if (!entries)
		return -ENOMEM;
	while (page < end) {
		size_t want = end - page < PAGEMAP_ENTRIES ? (size_t)(end - page) : PAGEMAP_ENTRIES;
		ssize_t n;

		if (pml_now_usec(CLOCK_MONOTONIC) >= deadline_usec)
			return -ETIMEDOUT;
		n = pread(fd, entries, want * sizeof(*entries), (off_t)(page * sizeof(*entries)));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n < sizeof(*entries))
			return -ESRCH; /* its memory is gone */
		for (size_t i = 0; i < (size_t)n / sizeof(*entries); i++)
			if (entries[i] & PAGEMAP_PRESENT)
				present += page_bytes;
		page += (size_t)n / sizeof(*entries);
	}
	*ret = present;
	return 0;
}

/* The number may be another file by now. */
static bool same_node(const ProofFile *f, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == f->rdev &&
	       st.st_dev == f->dev && st.st_ino == f->ino;
}

int proof_present_bytes(
	int dir_fd, pid_t pid, const ProofFile *f, uint64_t deadline_usec, uint64_t *ret)
{
	_cleanup_close_ int fd = -EBADF;
	char name[64] = "pagemap";
	int r;

	if (f->tid != pid)
		(void)snprintf(name, sizeof(name), "task/%d/pagemap", f->tid);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	r = present_by_scan(fd, f, deadline_usec, ret);
	/* ENOTTY: before 6.7. EINVAL, EOPNOTSUPP: a kernel that wants something else of the
	 * argument. */
	if (r == -ENOTTY || r == -EINVAL || r == -EOPNOTSUPP)
		r = present_by_pagemap(fd, f, deadline_usec, ret);
	return r;
}

bool proof_descriptor_is_dead(const ProofFile *f, int pidfd, uint64_t bytes)
{
	_cleanup_close_ int fd = -EBADF;
	void *at;

	/* It can be opened again; and the table of a thread of its own is not reached by pidfd. */
	if (f->path_only || f->tid != f->pid)
		return false;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, f->fd, 0U);
	if (fd < 0 || !same_node(f, fd))
		return false;
	/* No page is touched. */
	at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return errno == ENXIO;
	(void)munmap(at, bytes);
	return false;
}

int proof_probe(const ProofFile *f, PmlHolder *h)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t n_pages = (f->vm_end - f->vm_start) / page_bytes;
	uint64_t at[] = {0, n_pages / 2, n_pages - 1};

	for (size_t i = 0; i < ELEMENTSOF(at); i++) {
		char byte;
		struct iovec local = {.iov_base = &byte, .iov_len = 1};
		struct iovec remote = {
			.iov_base = (void *)(uintptr_t)(f->vm_start + at[i] * page_bytes),
			.iov_len = 1,
		};

		if (process_vm_readv(f->tid, &local, 1, &remote, 1, 0) == 1) {
			h->n_probes++;
		} else if (errno == EFAULT) {
			h->n_probes++;
			h->n_probes_failed++;
		} else {
			return -errno;
		}
	}
	return 0;
}

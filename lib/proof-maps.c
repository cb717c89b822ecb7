/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The mappings of files of one process, from /proc/PID/maps.
 *
 * A process has hundreds of mappings and none that matters, as a rule. Since Linux 6.11 the kernel
 * picks those that do by itself (PROCMAP_QUERY, Linux fs/proc/task_mmu.c do_procmap_query()), where
 * the text costs it a line with a path for each. Both see the same: 's' in the text and
 * PROCMAP_QUERY_VMA_SHARED are VM_MAYSHARE, and both let go of the address space between two
 * mappings, or two pages of text, so that one that moves meanwhile can be missed by either. That is
 * what the second pass of a proof is for.
 */

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "proof-internal.h"
#include "util.h"

/* Of Linux include/uapi/linux/fs.h, for building with the headers of an older kernel. */
typedef struct ProcmapQuery {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
} ProcmapQuery;

#define IOCTL_PROCMAP_QUERY    _IOWR('f', 17, ProcmapQuery)
#define QUERY_VMA_READABLE     0x01U
#define QUERY_VMA_SHARED       0x08U
#define QUERY_COVERING_OR_NEXT 0x10U
#define QUERY_FILE_BACKED      0x20U

/* -ENOTTY: this kernel cannot be asked so. */
static int query_mappings(const ProofMaps *m, int fd)
{
	uint64_t flags = QUERY_COVERING_OR_NEXT | QUERY_FILE_BACKED;
	uint64_t next = 0;
	int r;

	if (!m->private_too)
		flags |= QUERY_VMA_SHARED;
	for (;;) {
		ProcmapQuery q = {.size = sizeof(q), .query_flags = flags, .query_addr = next};

		if (ioctl(fd, IOCTL_PROCMAP_QUERY, &q) < 0) {
			if (errno == EINTR)
				continue;
			/* ENOENT: nothing of the kind behind this address. ESRCH: no memory any
			 * more, or never any. */
			return errno == ENOENT || errno == ESRCH ? 0 : -errno;
		}
		/* Never backwards, whatever the kernel says: this has to end. */
		if (q.vma_end <= next)
			return -EBADMSG;
		next = q.vma_end;
		r = m->on_mapping(m->userdata, q.vma_start, q.vma_end,
			(q.vma_flags & QUERY_VMA_READABLE) != 0);
		if (r < 0)
			return r;
	}
}

/* "START-END PERMS OFFSET DEVICE INODE PATH"; without an inode it is no file's. */
static int read_line(const ProofMaps *m, const char *line)
{
	uint64_t start, end;
	bool readable;
	char *p;

	start = strtoull(line, &p, 16);
	if (*p != '-')
		return 0;
	end = strtoull(p + 1, &p, 16);
	if (strlen(p) < 6 || (p[4] != 's' && !m->private_too))
		return 0;
	readable = p[1] == 'r';
	p += 6;
	for (int i = 0; i < 2; i++) {
		p = strchr(p, ' ');
		if (!p)
			return 0;
		p++;
	}
	if (strtoull(p, NULL, 10) == 0)
		return 0;
	return m->on_mapping(m->userdata, start, end, readable);
}

static int read_mappings(const ProofMaps *m, int fd)
{
	size_t have = 0;
	int r;

	for (;;) {
		ssize_t n = read(fd, m->buf + have, m->buf_bytes - 1 - have);
		char *line = m->buf, *newline;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		have += (size_t)n;
		m->buf[have] = 0;
		while ((newline = memchr(line, '\n', have - (size_t)(line - m->buf)))) {
			*newline = 0;
			r = read_line(m, line);
			if (r < 0)
				return r;
			line = newline + 1;
		}
		have -= (size_t)(line - m->buf);
		/* A path has at most PATH_MAX bytes, four times that when escaped: a longer line is
		 * not the kernel's. */
		if (have == m->buf_bytes - 1)
			return -EBADMSG;
		memmove(m->buf, line, have);
	}
}

int proof_foreach_file_mapping(const ProofMaps *m)
{
	_cleanup_close_ int fd = openat(m->dir_fd, "maps", O_RDONLY | O_CLOEXEC);
	int r = -ENOTTY;

	if (fd < 0)
		return -errno;
	if (!m->text_only)
		r = query_mappings(m, fd);
	return r == -ENOTTY ? read_mappings(m, fd) : r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The bytes of a block device: written as zeroes, never discarded (what a discard leaves is the
 * device's secret), flushed, and read back past the page cache, from the device itself.
 */

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "media-internal.h"

#define REPORT_PERIOD_USEC (50 * USEC_PER_MSEC)
#define READ_ALIGN_BYTES   4096U

typedef struct Block {
	const PmlMediaRequest *req;
	unsigned char *buffer; /* MEDIA_CHUNK_BYTES, aligned for O_DIRECT */
	uint64_t reported_usec;
} Block;

bool media_is_block(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISBLK(st.st_mode);
}

static void report(Block *b, PmlMediaPhase phase, uint64_t done_bytes)
{
	uint64_t now = pml_now_usec(CLOCK_MONOTONIC);
	bool end = done_bytes == b->req->size_bytes;

	if (!b->req->progress || (!end && now - b->reported_usec < REPORT_PERIOD_USEC))
		return;
	b->reported_usec = now;
	b->req->progress(b->req->userdata, phase, done_bytes, b->req->size_bytes);
}

static int write_chunk(const Block *b, uint64_t at, uint64_t n)
{
	for (uint64_t done = 0; done < n;) {
		ssize_t w = pwrite(b->req->fd, b->buffer + done, n - done, (off_t)(at + done));

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? -errno : -EIO;
		done += (uint64_t)w;
	}
	return 0;
}

static int read_chunk(const Block *b, uint64_t at, uint64_t n)
{
	for (uint64_t done = 0; done < n;) {
		ssize_t k = pread(b->req->fd, b->buffer + done, n - done, (off_t)(at + done));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -EIO;
		done += (uint64_t)k;
	}
	return 0;
}

static int run_phase(Block *b, PmlMediaPhase phase, uint64_t *ret_not_zero)
{
	uint64_t size = b->req->size_bytes, n, at_byte;
	int r;

	memset(b->buffer, 0, MEDIA_CHUNK_BYTES);
	for (uint64_t at = 0; at < size; at += n) {
		n = size - at < MEDIA_CHUNK_BYTES ? size - at : MEDIA_CHUNK_BYTES;
		if (media_cancelled(b->req))
			return PML_MEDIA_CANCELLED;
		r = phase == PML_MEDIA_SCRUB ? write_chunk(b, at, n) : read_chunk(b, at, n);
		if (r < 0)
			return r;
		at_byte = phase == PML_MEDIA_SCRUB ? n : media_find_not_zero(b->buffer, n);
		if (at_byte < n) {
			*ret_not_zero = at + at_byte;
			return PML_MEDIA_NOT_ZERO;
		}
		report(b, phase, at + n);
	}
	return 0;
}

/* A descriptor that goes through the page cache would read back what it had written there. */
static int check(const PmlMediaRequest *req)
{
	int flags = fcntl(req->fd, F_GETFL);
	uint64_t size_bytes;

	if (flags < 0 || ioctl(req->fd, BLKGETSIZE64, &size_bytes) < 0)
		return -errno;
	if (!(flags & O_DIRECT))
		return -EINVAL;
	return size_bytes == req->size_bytes && size_bytes > 0 ? 0 : -ESTALE;
}

static int run(Block *b, PmlMediaResult *res)
{
	uint64_t begin = pml_now_usec(CLOCK_MONOTONIC), at = 0;
	int r = 0;

	if (b->req->scrub) {
		r = run_phase(b, PML_MEDIA_SCRUB, &at);
		/* Down to the device's media: its own cache is flushed, too. */
		if (r == 0 && fsync(b->req->fd) < 0)
			r = -errno;
		res->scrub_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	}
	if (r != 0)
		return r;
	begin = pml_now_usec(CLOCK_MONOTONIC);
	r = run_phase(b, PML_MEDIA_VERIFY, &at);
	res->verify_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	if (r == PML_MEDIA_NOT_ZERO) {
		res->bad_offset_bytes = at;
		res->bad_size_bytes = 1;
	}
	return r;
}

int media_block_run(const PmlMediaRequest *req, PmlMediaResult *ret)
{
	Block b = {.req = req};
	PmlMediaResult res = {0};
	void *buffer;
	int r;

	r = check(req);
	if (r < 0)
		return r;
	if (posix_memalign(&buffer, READ_ALIGN_BYTES, MEDIA_CHUNK_BYTES) != 0)
		return -ENOMEM;
	/* A tenant's bytes do not belong in a core file. */
	(void)madvise(buffer, MEDIA_CHUNK_BYTES, MADV_DONTDUMP);
	b.buffer = buffer;
	r = run(&b, &res);
	free(buffer);
	if (r >= 0)
		*ret = res;
	return r;
}

// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows that have the kernel refer to the memory itself, not to a mapping of it.
 */
#include "stale.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES 4096
/* Where the slow disk is slow. */
#define SLOW_OFFSET (6 << 20)

static void take_memory(void)
{
	uint32_t value;

	take_map(PROT_READ | PROT_WRITE);
	if (touch_read(&value) != ACCESS_DONE || touch_write(value) != ACCESS_DONE)
		die("the first access");
	close_fd(&holder.fd);
}

/* What is left is the reference alone. */
static void drop_map(void)
{
	munmap((void *)holder.map, holder.size_bytes);
	holder.map = NULL;
}

struct ring {
	int fd;
	struct io_uring_params params;
	unsigned char *sq;
	unsigned char *cq;
	struct io_uring_sqe *sqes;
	uint64_t buffer;
	int file_fd;
};

static struct ring ring = {.fd = -EBADF, .file_fd = -EBADF};

static void *ring_map(size_t size_bytes, off_t offset)
{
	void *address;

	address = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd,
		offset);
	if (address == MAP_FAILED)
		die("io_uring mmap");
	return address;
}

static void take_io_uring(void)
{
	struct iovec vector;

	take_memory();
	ring.fd = (int)syscall(SYS_io_uring_setup, 4, &ring.params);
	ring.file_fd = memfd_create("lab", MFD_CLOEXEC);
	if (ring.fd < 0 || ring.file_fd < 0 || ftruncate(ring.file_fd, BUFFER_BYTES) < 0)
		die("io_uring_setup");
	ring.sq = ring_map(ring.params.sq_off.array + ring.params.sq_entries * sizeof(uint32_t),
		IORING_OFF_SQ_RING);
	ring.cq = ring_map(
		ring.params.cq_off.cqes + ring.params.cq_entries * sizeof(struct io_uring_cqe),
		IORING_OFF_CQ_RING);
	ring.sqes = ring_map(ring.params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	vector.iov_base = (void *)holder.map;
	vector.iov_len = BUFFER_BYTES;
	ring.buffer = (uintptr_t)holder.map;
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &vector, 1) < 0)
		die("IORING_REGISTER_BUFFERS");
	drop_map();
}

/* One operation on the registered buffer, from its submission to its end. */
static int ring_operate(uint8_t operation)
{
	uint32_t *sq_tail = (uint32_t *)(ring.sq + ring.params.sq_off.tail);
	uint32_t *cq_head = (uint32_t *)(ring.cq + ring.params.cq_off.head);
	uint32_t mask = *(uint32_t *)(ring.sq + ring.params.sq_off.ring_mask);
	uint32_t slot = *sq_tail & mask;
	struct io_uring_cqe *cqes = (struct io_uring_cqe *)(ring.cq + ring.params.cq_off.cqes);
	int result;

	ring.sqes[slot] = (struct io_uring_sqe){
		.opcode = operation,
		.fd = ring.file_fd,
		.addr = ring.buffer,
		.len = sizeof(uint32_t),
		.buf_index = 0,
	};
	((uint32_t *)(ring.sq + ring.params.sq_off.array))[slot] = slot;
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	hang_timer(HANG_SECONDS);
	result = (int)syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	hang_timer(0);
	if (result < 0)
		return errno == EINTR ? ACCESS_HANG : -errno;
	result = cqes[*cq_head & (ring.params.cq_entries - 1)].res;
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	if (result < 0)
		return result;
	return result == sizeof(uint32_t) ? ACCESS_DONE : -EIO;
}

static int ring_read(uint32_t *ret_value)
{
	uint32_t value = 0;
	int result;

	result = ring_operate(IORING_OP_WRITE_FIXED);
	if (result == ACCESS_DONE && pread(ring.file_fd, &value, sizeof(value), 0) != sizeof(value))
		return -EIO;
	if (result == ACCESS_DONE)
		*ret_value = value;
	return result;
}

static int ring_write(uint32_t value)
{
	if (pwrite(ring.file_fd, &value, sizeof(value), 0) != sizeof(value))
		return -EIO;
	return ring_operate(IORING_OP_READ_FIXED);
}

static void ring_release(void)
{
	(void)syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	close_fd(&ring.fd);
}

static int pipe_fds[2] = {-EBADF, -EBADF};

static void take_vmsplice(void)
{
	struct iovec vector;

	take_memory();
	vector.iov_base = (void *)holder.map;
	vector.iov_len = BUFFER_BYTES;
	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0 ||
		vmsplice(pipe_fds[1], &vector, 1, 0) != BUFFER_BYTES)
		die("vmsplice");
	drop_map();
}

static int pipe_read(uint32_t *ret_value)
{
	uint32_t value;
	ssize_t bytes;

	bytes = read(pipe_fds[0], &value, sizeof(value));
	if (bytes < 0)
		return -errno;
	if (bytes != sizeof(value))
		return -EIO;
	*ret_value = value;
	return ACCESS_DONE;
}

static void pipe_release(void)
{
	close_fd(&pipe_fds[0]);
	close_fd(&pipe_fds[1]);
}

static aio_context_t aio_context;

/* A read from a slow disk into the device's memory, which has begun when this returns. */
static void take_direct(void)
{
	const char *disk = getenv("LAB_SLOW_DISK");
	struct iocb block = {.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_nbytes = BUFFER_BYTES,
		.aio_offset = SLOW_OFFSET};
	struct iocb *blocks[] = {&block};
	int fd;

	take_memory();
	fd = disk ? open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;
	if (fd < 0)
		die("LAB_SLOW_DISK");
	block.aio_fildes = (uint32_t)fd;
	block.aio_buf = (uintptr_t)holder.map;
	if (syscall(SYS_io_setup, 1, &aio_context) < 0 ||
		syscall(SYS_io_submit, aio_context, 1, blocks) != 1)
		die("io_submit");
	drop_map();
}

/* What ended before it was asked for ended before the event did, and is no access after it. */
static int direct_read(uint32_t *ret_value)
{
	struct timespec now = {}, long_time = {.tv_sec = 20};
	struct io_event event;
	long count;

	count = syscall(SYS_io_getevents, aio_context, 1, 1, &event, &now);
	if (count == 1)
		return event.res < 0 ? (int)event.res : -EALREADY;
	count = syscall(SYS_io_getevents, aio_context, 1, 1, &event, &long_time);
	if (count < 0)
		return -errno;
	if (count == 0)
		return ACCESS_HANG;
	*ret_value = 0;
	return event.res < 0 ? (int)event.res : ACCESS_DONE;
}

static void direct_release(void)
{
	(void)syscall(SYS_io_destroy, aio_context);
}

const struct row pin_rows[] = {
	{"io-uring", take_io_uring, ring_read, ring_write, ring_release, NULL},
	{"vmsplice", take_vmsplice, pipe_read, NULL, pipe_release, NULL},
	{"o-direct", take_direct, direct_read, NULL, direct_release, NULL},
	{},
};

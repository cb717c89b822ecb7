// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows that have a descriptor, and make their mapping when they first use it.
 */
#include "stale.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int sockets[2] = {-EBADF, -EBADF};

static int mapped_read(uint32_t *ret_value)
{
	int result = try_map();

	return result < 0 ? result : touch_read(ret_value);
}

static int mapped_write(uint32_t value)
{
	int result = try_map();

	return result < 0 ? result : touch_write(value);
}

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static void send_away(void)
{
	union control control = {};
	struct iovec vector = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets) < 0)
		die("socketpair");
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &holder.fd, sizeof(int));
	if (sendmsg(sockets[0], &message, 0) != 1)
		die("sendmsg");
	close_fd(&holder.fd);
}

static int receive(void)
{
	union control control = {};
	char byte;
	struct iovec vector = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;

	if (recvmsg(sockets[1], &message, MSG_CMSG_CLOEXEC) != 1)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -ENODATA;
	memcpy(&holder.fd, CMSG_DATA(header), sizeof(int));
	return 0;
}

/* Received over a socket at once: no process that opened the device has it any more. */
static void take_passed(void)
{
	take_fd();
	send_away();
	if (receive() < 0)
		die("recvmsg");
}

static void take_in_flight(void)
{
	take_fd();
	send_away();
}

static int received_read(uint32_t *ret_value)
{
	int result = holder.fd < 0 ? receive() : 0;

	return result < 0 ? result : mapped_read(ret_value);
}

static int received_write(uint32_t value)
{
	int result = holder.fd < 0 ? receive() : 0;

	return result < 0 ? result : mapped_write(value);
}

/*
 * A second descriptor, opened when the device is gone, and at no other time: who opens it when it
 * is back is the next tenant. The first one keeps the inode, and with it what the inode remembers
 * of the character device; it is opened through it, because its name may be gone as well.
 */
static int reopen(void)
{
	static int result = 1;
	char path[32];
	int fd;

	if (result <= 0)
		return result;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", holder.fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	result = fd < 0 ? -errno : 0;
	if (fd >= 0) {
		close_fd(&holder.fd);
		holder.fd = fd;
	}
	return result;
}

static int reopened_read(uint32_t *ret_value)
{
	int result = reopen();

	return result < 0 ? result : mapped_read(ret_value);
}

static int reopened_write(uint32_t value)
{
	int result = reopen();

	return result < 0 ? result : mapped_write(value);
}

const struct row fd_rows[] = {
	{"fd-late-map", take_fd, mapped_read, mapped_write, NULL, NULL},
	{"fd-passed", take_passed, mapped_read, mapped_write, NULL, NULL},
	{"fd-in-flight", take_in_flight, received_read, received_write, NULL, NULL},
	{"reopened", take_fd, reopened_read, reopened_write, NULL, reopen},
	{},
};

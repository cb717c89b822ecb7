// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * holder MODE DEVICE: a process that holds on to a device-dax in one of the ways that exist:
 *
 *	map		a mapping and the descriptor
 *	fd-closed	a mapping alone, never touched before the first command
 *	fork		a mapping alone, in a child; its parent, which made it, has let go
 *	passed-fd	a descriptor alone, received over a socket; the sender has let go
 *	pinned		no descriptor and no mapping, but pages that the kernel holds for it: a
 *			buffer registered with io_uring
 *	in-flight	a descriptor on its way over a socket pair, which no process has open
 *
 * Prints "pid N" for each process that holds, then "ready". Then, a line of input each:
 *
 *	touch [OFFSET]		value X | SIGBUS | error NAME (a read of eight bytes)
 *	write X [OFFSET]	ok | SIGBUS | error NAME
 *	release			lets go and ends, as the end of input does
 *
 * passed-fd and in-flight make their mapping at the first touch or write.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int device_fd = -EBADF, receive_fd = -EBADF;
static volatile uint64_t *map;
static size_t map_bytes;
static sigjmp_buf sigbus_jump;

static void sigbus_handler(int signal)
{
	siglongjmp(sigbus_jump, signal);
}

static _Noreturn void die(const char *what)
{
	printf("error %s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
}

/* The size of a character device is known to sysfs alone, also while the device is unbound. */
static size_t device_size(int fd)
{
	char path[128];
	struct stat st;
	size_t size;
	FILE *file;

	if (fstat(fd, &st) < 0)
		die("stat");
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/size", major(st.st_rdev),
		minor(st.st_rdev));
	file = fopen(path, "re");
	if (!file || fscanf(file, "%zu", &size) != 1)
		die(path);
	fclose(file);
	return size;
}

static int map_device(void)
{
	void *address;

	address = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device_fd, 0);
	if (address == MAP_FAILED)
		return -errno;
	map = address;
	return 0;
}

/* The first pages, for as long as the ring lives. */
static void pin(void)
{
	struct iovec buffer = {.iov_base = (void *)map, .iov_len = 65536};
	struct io_uring_params params = {};
	int ring_fd;

	ring_fd = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring_fd < 0)
		die("io_uring_setup");
	if (syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_BUFFERS, &buffer, 1) < 0)
		die("io_uring_register");
	munmap((void *)map, map_bytes);
	map = NULL;
}

static void send_fd(int socket_fd, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec vector = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	if (sendmsg(socket_fd, &message, 0) != 1)
		die("sendmsg");
}

static int receive(int socket_fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	char byte;
	struct iovec vector = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) != 1)
		die("recvmsg");
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		die("no descriptor");
	memcpy(&fd, CMSG_DATA(header), sizeof(int));
	return fd;
}

/* Returns in the process that holds; a parent that has only prepared it waits for its end. */
static void hold(const char *mode, const char *device)
{
	int sockets[2] = {-EBADF, -EBADF};
	pid_t pid = 0;

	device_fd = open(device, O_RDWR | O_CLOEXEC);
	if (device_fd < 0)
		die("open");
	map_bytes = device_size(device_fd);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets) < 0)
		die("socketpair");
	if (strcmp(mode, "map") == 0 || strcmp(mode, "fd-closed") == 0 ||
		strcmp(mode, "fork") == 0 || strcmp(mode, "pinned") == 0) {
		if (map_device() < 0)
			die("mmap");
	}
	if (strcmp(mode, "pinned") == 0)
		pin();
	if (strcmp(mode, "passed-fd") == 0 || strcmp(mode, "in-flight") == 0) {
		send_fd(sockets[0], device_fd);
		receive_fd = sockets[1];
	}
	if (strcmp(mode, "map") != 0)
		close_fd(&device_fd);
	if (strcmp(mode, "fork") == 0 || strcmp(mode, "passed-fd") == 0)
		pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0) {
		if (map)
			munmap((void *)map, map_bytes);
		close(sockets[0]);
		close(sockets[1]);
		close(STDIN_FILENO);
		waitpid(pid, NULL, 0);
		exit(0);
	}
	if (strcmp(mode, "passed-fd") == 0) {
		device_fd = receive(receive_fd);
		close_fd(&receive_fd);
	}
}

static bool usable(void)
{
	int result;

	if (map)
		return true;
	if (device_fd < 0 && receive_fd >= 0) {
		device_fd = receive(receive_fd);
		close_fd(&receive_fd);
	}
	result = map_device();
	if (result < 0)
		printf("error %s\n", strerrorname_np(-result));
	return result == 0;
}

static void obey(char *line)
{
	uint64_t value = 0, offset = 0;
	bool writing;

	writing = sscanf(line, "write %li %li", &value, &offset) >= 1;
	if (!writing && strncmp(line, "touch", 5) != 0) {
		printf("error unknown-command\n");
		return;
	}
	if (!writing)
		(void)sscanf(line, "touch %li", &offset);
	if (!usable())
		return;
	if (sigsetjmp(sigbus_jump, 1)) {
		printf("SIGBUS\n");
		return;
	}
	if (writing) {
		map[offset / sizeof(*map)] = value;
		printf("ok\n");
	} else {
		printf("value %#lx\n", map[offset / sizeof(*map)]);
	}
}

int main(int argc, char **argv)
{
	static const char *const modes[] = {
		"map", "fd-closed", "fork", "passed-fd", "pinned", "in-flight"};
	struct sigaction action = {.sa_handler = sigbus_handler, .sa_flags = SA_NODEFER};
	bool known = false;
	char line[128];

	for (size_t i = 0; argc == 3 && i < sizeof(modes) / sizeof(modes[0]); i++)
		known = known || strcmp(argv[1], modes[i]) == 0;
	if (!known) {
		fprintf(stderr,
			"usage: holder map|fd-closed|fork|passed-fd|pinned|in-flight DEVICE\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGBUS, &action, NULL);
	hold(argv[1], argv[2]);
	printf("pid %d\nready\n", getpid());
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "release\n") != 0)
		obey(line);
	return 0;
}

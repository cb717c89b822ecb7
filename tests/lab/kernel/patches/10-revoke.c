// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory is taken away from those who have opened the device in one binding:
 * from all of them, for ever, and from nobody else.
 */
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "daxtest.h"

#define TIMEOUT_PARAMETER "/sys/module/device_dax/parameters/revoke_timeout_ms"

static size_t align;

static volatile uint8_t *map(int fd)
{
	void *address = mmap(NULL, align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (address == MAP_FAILED)
		die("mmap");
	return address;
}

static int revoke_generation(uint64_t generation)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)generation);
	return dax_write("revoke", text);
}

/* Waits by poll() until revoke_state is @state; the last one is in @ret. */
static bool wait_for_state(const char *state, char *ret, size_t size, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	char path[256];
	struct pollfd p = {.events = POLLPRI};
	ssize_t n;

	dax_attribute_path(path, sizeof(path), "revoke_state");
	p.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p.fd < 0)
		die("revoke_state");
	for (;;) {
		n = pread(p.fd, ret, size - 1, 0);
		if (n <= 0)
			die("read revoke_state");
		ret[n - 1] = '\0';
		if (!strcmp(ret, state) || now_ms() >= end)
			break;
		if (poll(&p, 1, end - now_ms()) < 0)
			die("poll");
	}
	close(p.fd);
	return !strcmp(ret, state);
}

static pid_t idle_mapper(volatile uint8_t *address)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (touch(address, 1))
		_exit(1);
	for (;;)
		pause();
}

static void test_revoke(void)
{
	volatile uint8_t *touched, *untouched, *tenant;
	int fd = dax_open(), fd_new, status;
	uint64_t generation, next;
	char state[32];
	void *again;
	pid_t idle;

	if (fd < 0)
		die("open");
	touched = map(fd);
	untouched = map(fd);
	generation = dax_read_u64("generation");
	idle = idle_mapper(touched);
	ksft_check(generation > 0, "the binding has a generation (%llu)",
		(unsigned long long)generation);
	ksft_check(revoke_generation(generation + 1) == -ESTALE &&
			   revoke_generation(generation - 1) == -ESTALE,
		"another generation is stale");
	ksft_check(touch(touched, 1) == 0, "and harms nobody");
	ksft_check(revoke_generation(generation) == 0, "the generation is revoked");
	ksft_check(wait_for_state("revoked", state, sizeof(state), 10000), "in time (%s)", state);
	ksft_check(touch(touched, 1) == BUS_MCEERR_AR, "touched before: a machine check");
	ksft_check(touch(untouched, 1) == BUS_MCEERR_AR, "never touched: a machine check");
	ksft_check(dax_open() == -ENXIO, "it opens no more");
	again = mmap(NULL, align, PROT_READ, MAP_SHARED, fd, 0);
	ksft_check(again == MAP_FAILED && errno == ENXIO, "and maps no more");
	ksft_check(revoke_generation(generation) == 0, "revoked twice is revoked");
	ksft_check(waitpid(idle, &status, WNOHANG) == 0, "who does not touch it lives on");
	kill(idle, SIGKILL);
	waitpid(idle, &status, 0);

	ksft_check(dax_unbind() == 0, "unbound");
	ksft_check(touch(touched, 1) == BUS_MCEERR_AR, "still a machine check");
	if (dax_bind())
		die("bind");
	next = dax_read_u64("generation");
	ksft_check(next > generation, "the next binding has another generation");
	fd_new = dax_open();
	if (fd_new < 0)
		die("open again");
	tenant = map(fd_new);
	ksft_check(touch(tenant, 2) == 0, "the new tenant has access");
	ksft_check(touch(touched, 1) == BUS_MCEERR_AR && touch(untouched, 1) == BUS_MCEERR_AR,
		"the old one does not");
	ksft_check(revoke_generation(generation) == -ESTALE && touch(tenant, 2) == 0,
		"the old generation does not name the new tenant");
	close(fd);
	if (dax_unbind())
		die("unbind");
	ksft_check(touch(tenant, 2) == BUS_ADRERR, "unbound without revocation: SIGBUS as ever");
	if (dax_bind())
		die("bind");
	close(fd_new);
	munmap((void *)touched, align);
	munmap((void *)untouched, align);
	munmap((void *)tenant, align);
}

static void test_held(void)
{
	struct io_uring_params params = {};
	char state[32], timeout[32];
	volatile uint8_t *address;
	struct iovec iov;
	int fd, ring;

	fd = dax_open();
	if (fd < 0)
		die("open");
	address = map(fd);
	if (touch(address, 1))
		die("touch");
	ring = syscall(__NR_io_uring_setup, 4, &params);
	if (ring < 0)
		return;
	iov = (struct iovec){.iov_base = (void *)address, .iov_len = align};
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1))
		die("register buffers");
	if (read_file(TIMEOUT_PARAMETER, timeout, sizeof(timeout)) ||
		write_file(TIMEOUT_PARAMETER, "200"))
		die(TIMEOUT_PARAMETER);
	ksft_check(revoke_generation(dax_read_u64("generation")) == 0,
		"revoked while a page is pinned");
	ksft_check(wait_for_state("held", state, sizeof(state), 10000),
		"it is held, and says so (%s)", state);
	ksft_check(dax_read_u64("revoke_held") > 0, "by a number of references");
	ksft_check(touch(address, 1) == BUS_MCEERR_AR, "but has no mapping any more");
	if (syscall(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
		die("unregister buffers");
	close(ring);
	ksft_check(wait_for_state("revoked", state, sizeof(state), 10000),
		"unpinned, it is revoked by itself (%s)", state);
	ksft_check(dax_read_u64("revoke_held") == 0, "and nothing is held");
	write_file(TIMEOUT_PARAMETER, timeout);
	close(fd);
	munmap((void *)address, align);
	ksft_check(dax_unbind() == 0 && dax_bind() == 0, "unbound and bound");
}

/* The work may run at any point of the unbinding. */
static void test_race(void)
{
	volatile uint8_t *address;
	int i, fd;

	for (i = 0; i < 100; i++) {
		fd = dax_open();
		if (fd < 0)
			break;
		address = map(fd);
		if (touch(address, 1) || revoke_generation(dax_read_u64("generation")))
			break;
		if (dax_unbind() || touch(address, 1) != BUS_MCEERR_AR || dax_bind())
			break;
		munmap((void *)address, align);
		close(fd);
	}
	ksft_check(i == 100, "unbound while it is revoked, a hundred times (%d)", i);
}

int main(int argc, char **argv)
{
	char text[64];

	dax_test_init(argc, argv);
	if (dax_read("generation", text, sizeof(text)))
		ksft_skip("this kernel can not revoke");
	align = dax_align();
	test_revoke();
	test_held();
	test_race();
	return ksft_finish();
}

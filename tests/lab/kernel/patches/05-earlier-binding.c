// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device is unbound and bound again, for the next tenant. What was mapped or
 * opened before does not give access to it.
 */
#include "daxtest.h"

#define OLD 0x11
#define NEW 0x22

static size_t align;

static volatile uint8_t *map(int fd)
{
	void *address = mmap(NULL, align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (address == MAP_FAILED)
		die("mmap");
	return address;
}

static int tell(int fd)
{
	char c = 0;

	return write(fd, &c, 1) == 1 ? 0 : -errno;
}

static int hear(int fd)
{
	char c;

	return read(fd, &c, 1) == 1 ? 0 : -EPIPE;
}

int main(int argc, char **argv)
{
	volatile uint8_t *touched, *untouched, *closed, *moved, *tenant;
	int fd, fd_closed, fd_new, go[2], status;
	void *again;
	pid_t child;

	dax_test_init(argc, argv);
	align = dax_align();
	fd = dax_open();
	fd_closed = dax_open();
	if (fd < 0 || fd_closed < 0 || pipe(go))
		die("open");
	touched = map(fd);
	untouched = map(fd);
	closed = map(fd_closed);
	moved = map(fd);
	close(fd_closed);
	if (touch(touched, OLD) || touch(closed, OLD) || touch(moved, OLD))
		die("first touch");
	again = mmap(NULL, align * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	again = (void *)(((uintptr_t)again + align - 1) & ~(align - 1));
	child = fork();
	if (!child) {
		close(go[1]);
		_exit(hear(go[0]) ? 255 : touch(touched, OLD));
	}
	close(go[0]);

	if (dax_unbind())
		die("unbind");
	ksft_check(touch(touched, OLD) == BUS_ADRERR, "unbound: SIGBUS");
	if (dax_bind())
		die("bind");
	fd_new = dax_open();
	if (fd_new < 0)
		die("open again");
	tenant = map(fd_new);
	ksft_check(touch(tenant, NEW) == 0, "the new tenant has access");

	ksft_check(touch(touched, OLD) == BUS_ADRERR, "mapped before: no access");
	ksft_check(touch(untouched, OLD) == BUS_ADRERR, "mapped before, never touched: no access");
	ksft_check(touch(closed, OLD) == BUS_ADRERR, "mapped before, descriptor closed: no access");
	moved = mremap((void *)moved, align, align, MREMAP_MAYMOVE | MREMAP_FIXED, again);
	ksft_check(moved != MAP_FAILED && touch(moved, OLD) == BUS_ADRERR,
		"mapped before, moved now: no access");
	if (tell(go[1]))
		die("pipe");
	status = wait_for(child, 10000);
	ksft_check(WIFEXITED(status) && WEXITSTATUS(status) == BUS_ADRERR,
		"mapped before, in a child: no access");
	errno = 0;
	again = mmap(NULL, align, PROT_READ, MAP_SHARED, fd, 0);
	ksft_check(again == MAP_FAILED && errno == ENXIO, "the old descriptor maps nothing: ENXIO");
	ksft_check(*tenant == NEW, "what the new tenant wrote is still there");
	return ksft_finish();
}

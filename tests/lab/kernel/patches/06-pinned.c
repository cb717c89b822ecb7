// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page is pinned for long, as a registered buffer of io_uring, and the
 * device is unbound: the unbinding ends when the pin does, not before.
 */
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "daxtest.h"

int main(int argc, char **argv)
{
	struct io_uring_params params = {};
	size_t align;
	struct iovec iov;
	void *address;
	int fd, ring, status;
	pid_t pid;

	dax_test_init(argc, argv);
	align = dax_align();
	fd = dax_open();
	if (fd < 0)
		die("open");
	address = mmap(NULL, align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (address == MAP_FAILED || touch(address, 1))
		die("mmap");
	ring = syscall(__NR_io_uring_setup, 4, &params);
	if (ring < 0)
		ksft_skip("no io_uring");
	iov = (struct iovec){.iov_base = address, .iov_len = align};
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1))
		die("register buffers");

	pid = fork();
	if (!pid) {
		close(ring);
		_exit(dax_unbind() ? 1 : 0);
	}
	status = wait_for(pid, 3000);
	ksft_check(status == -ETIMEDOUT, "a pinned page holds up the unbinding");
	ksft_check(touch(address, 2) == BUS_ADRERR, "which has taken the mapping away already");
	ksft_check(dax_open() == -ENXIO, "and opens nothing any more");

	/* on a kernel that did not wait, this looks at a memmap that is gone */
	if (syscall(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
		die("unregister buffers");
	if (status == -ETIMEDOUT)
		status = wait_for(pid, 10000);
	ksft_check(status == 0, "and lets it go when it is unpinned");
	ksft_check(dax_bind() == 0, "bound again");
	munmap(address, align);
	close(fd);
	fd = dax_open();
	address = mmap(NULL, align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ksft_check(address != MAP_FAILED && touch(address, 3) == 0, "and usable");
	return ksft_finish();
}

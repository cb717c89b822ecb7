// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device without a driver is opened, while an old descriptor keeps its
 * character device known: the open fails. It must not give a file that kills
 * who maps it.
 */
#include "daxtest.h"

static int open_and_map(void)
{
	size_t align = dax_align();
	int fd = dax_open();

	if (fd < 0)
		return -fd;
	(void)!mmap(NULL, align, PROT_READ, MAP_SHARED, fd, 0);
	return 0;
}

int main(int argc, char **argv)
{
	int old, status;
	pid_t pid;

	dax_test_init(argc, argv);
	old = dax_open();
	if (old < 0)
		die("open");
	if (dax_unbind())
		die("unbind");
	pid = fork();
	if (!pid)
		_exit(open_and_map());
	status = wait_for(pid, 10000);
	ksft_check(WIFEXITED(status), "who opens a dead device survives it (status %#x)", status);
	ksft_check(WIFEXITED(status) && WEXITSTATUS(status) == ENXIO, "the open says ENXIO");
	close(old);
	ksft_check(dax_open() == -ENXIO, "and also when no other descriptor is left");
	ksft_check(dax_bind() == 0, "the device is bound again");
	ksft_check(dax_open() >= 0, "and can be opened again");
	return ksft_finish();
}

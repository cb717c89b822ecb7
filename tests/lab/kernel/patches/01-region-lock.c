// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attributes of a device of a dynamic region are used while the devices they
 * belong to are deleted: neither side may wait for the other for ever.
 *
 * Needs a region whose devices can be resized, such as one of dax_hmem
 * (memmap=1G%4G-1+0xefffffff on the command line of a machine with more than
 * 5 GiB makes one).
 */
#include <limits.h>

#include "daxtest.h"

#define ROUNDS 200

/* Runs until it is killed: one process that uses an attribute again and again. */
static pid_t use_attribute(const char *path, const char *text)
{
	char buffer[64];
	pid_t pid = fork();

	if (pid)
		return pid;
	for (;;) {
		if (text)
			write_file(path, text);
		else
			read_file(path, buffer, sizeof(buffer));
	}
}

static pid_t resize(const char *size)
{
	pid_t pid = fork();
	int i;

	if (pid)
		return pid;
	for (i = 0; i < ROUNDS; i++) {
		if (dax_write("size", "0") || dax_write("size", size))
			_exit(KSFT_FAIL);
	}
	_exit(KSFT_PASS);
}

static pid_t rebind_region(const char *driver, const char *device)
{
	char unbind[PATH_MAX + 16], bind[PATH_MAX + 16];
	pid_t pid = fork();
	int i;

	if (pid)
		return pid;
	snprintf(unbind, sizeof(unbind), "%s/unbind", driver);
	snprintf(bind, sizeof(bind), "%s/bind", driver);
	for (i = 0; i < 20; i++) {
		if (write_file(unbind, device) || write_file(bind, device))
			_exit(KSFT_FAIL);
	}
	_exit(KSFT_PASS);
}

static void run(const char *what, pid_t worker, pid_t *users, int n)
{
	int status = wait_for(worker, 60000);

	ksft_check(status != -ETIMEDOUT, "%s: comes to an end", what);
	/* A fatal signal interrupts the wait for the lock, and ends the deadlock with it. */
	while (n--) {
		kill(users[n], SIGKILL);
		waitpid(users[n], NULL, 0);
	}
	if (status == -ETIMEDOUT)
		status = wait_for(worker, 60000);
	ksft_check(status == 0, "%s: each step succeeds", what);
}

int main(int argc, char **argv)
{
	char path[256], size[64], region[PATH_MAX], driver[PATH_MAX], parent[PATH_MAX + 16];
	struct stat st;
	pid_t users[3];
	int i;

	dax_test_init(argc, argv);
	dax_attribute_path(path, sizeof(path), "size");
	if (stat(path, &st) || !(st.st_mode & 0200))
		ksft_skip("the region is not a dynamic one");
	if (dax_read("size", size, sizeof(size)))
		die("size");

	dax_unbind();
	dax_attribute_path(path, sizeof(path), "mapping0/start");
	for (i = 0; i < 3; i++)
		users[i] = use_attribute(path, NULL);
	run("mapping0/start is read while the device shrinks", resize(size), users, 3);

	dax_attribute_path(path, sizeof(path), "..");
	if (!realpath(path, region))
		die("region");
	snprintf(parent, sizeof(parent), "%s/driver", region);
	if (!realpath(parent, driver))
		die("driver of the region");
	dax_attribute_path(path, sizeof(path), "size");
	for (i = 0; i < 3; i++)
		users[i] = use_attribute(path, size);
	run("size is written while the region is unbound",
		rebind_region(driver, strrchr(region, '/') + 1), users, 3);
	return ksft_finish();
}

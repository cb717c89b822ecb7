// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows that have a mapping. Which size of page a mapping is of, the device's alignment says.
 */
#include "stale.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void take_touched(void)
{
	uint32_t value;

	take_map(PROT_READ | PROT_WRITE);
	if (touch_read(&value) != ACCESS_DONE || touch_write(value) != ACCESS_DONE)
		die("the first access");
}

static void take_untouched(void)
{
	take_map(PROT_READ | PROT_WRITE);
}

static void take_fd_closed(void)
{
	take_touched();
	close_fd(&holder.fd);
}

/* The child holds; its parent, which made the mapping, has let go. */
static void take_forked(void)
{
	pid_t pid;

	take_fd_closed();
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	munmap((void *)holder.map, holder.size_bytes);
	close(STDIN_FILENO);
	waitpid(pid, NULL, 0);
	exit(0);
}

/* Elsewhere in the address space, as aligned as before. */
static int move(void)
{
	size_t room = holder.size_bytes + holder.align_bytes;
	uintptr_t start;
	void *reserved, *address;

	reserved = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return -errno;
	start = ((uintptr_t)reserved + holder.align_bytes - 1) & ~(holder.align_bytes - 1);
	address = mremap((void *)holder.map, holder.size_bytes, holder.size_bytes,
		MREMAP_MAYMOVE | MREMAP_FIXED, (void *)start);
	if (address == MAP_FAILED)
		return -errno;
	holder.map = address;
	return 0;
}

static int moved_read(uint32_t *ret_value)
{
	int result = move();

	return result < 0 ? result : touch_read(ret_value);
}

static int moved_write(uint32_t value)
{
	int result = move();

	return result < 0 ? result : touch_write(value);
}

static void take_protected(void)
{
	take_touched();
	if (mprotect((void *)holder.map, holder.size_bytes, PROT_NONE) < 0)
		die("mprotect");
}

static int unprotect(void)
{
	return mprotect((void *)holder.map, holder.size_bytes, PROT_READ | PROT_WRITE) < 0 ? -errno
											   : 0;
}

static int unprotected_read(uint32_t *ret_value)
{
	int result = unprotect();

	return result < 0 ? result : touch_read(ret_value);
}

static int unprotected_write(uint32_t value)
{
	int result = unprotect();

	return result < 0 ? result : touch_write(value);
}

const struct row map_rows[] = {
	{"map-4k", take_touched, touch_read, touch_write, NULL, NULL},
	{"map-2m", take_touched, touch_read, touch_write, NULL, NULL},
	{"map-1g", take_touched, touch_read, touch_write, NULL, NULL},
	{"untouched", take_untouched, touch_read, touch_write, NULL, NULL},
	{"fd-closed", take_fd_closed, touch_read, touch_write, NULL, NULL},
	{"forked", take_forked, touch_read, touch_write, NULL, NULL},
	{"mremap", take_touched, moved_read, moved_write, NULL, NULL},
	{"mprotect", take_protected, unprotected_read, unprotected_write, NULL, NULL},
	{},
};

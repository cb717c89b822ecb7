// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows that reach the memory through another process's mapping.
 */
#include "stale.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;
static void *remote;

static void take_remote(void)
{
	uint32_t value;

	take_map(PROT_READ | PROT_WRITE);
	if (touch_read(&value) != ACCESS_DONE)
		die("the first access");
	close_fd(&holder.fd);
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	remote = (void *)holder.map;
	munmap(remote, holder.size_bytes);
	holder.map = NULL;
}

static void take_traced(void)
{
	take_remote();
	if (ptrace(PTRACE_ATTACH, child, NULL, NULL) < 0 || waitpid(child, NULL, 0) < 0)
		die("PTRACE_ATTACH");
}

static int vm_access(uint32_t *value, int writing)
{
	struct iovec here = {.iov_base = value, .iov_len = sizeof(*value)};
	struct iovec there = {.iov_base = remote, .iov_len = sizeof(*value)};
	ssize_t bytes;

	bytes = writing ? process_vm_writev(child, &here, 1, &there, 1, 0)
			: process_vm_readv(child, &here, 1, &there, 1, 0);
	return bytes < 0 ? -errno : ACCESS_DONE;
}

static int vm_read(uint32_t *ret_value)
{
	return vm_access(ret_value, 0);
}

static int vm_write(uint32_t value)
{
	return vm_access(&value, 1);
}

static int traced_read(uint32_t *ret_value)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, child, remote, NULL);
	if (errno)
		return -errno;
	*ret_value = (uint32_t)word;
	return ACCESS_DONE;
}

static int traced_write(uint32_t value)
{
	return ptrace(PTRACE_POKEDATA, child, remote, (void *)(uintptr_t)value) < 0 ? -errno
										    : ACCESS_DONE;
}

static void let_go(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

const struct row remote_rows[] = {
	{"process-vm", take_remote, vm_read, vm_write, let_go, NULL},
	{"ptrace", take_traced, traced_read, traced_write, let_go, NULL},
	{},
};

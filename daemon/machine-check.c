/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "machine-check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "process.h"
#include "util.h"

#define CMDLINE_MAX ((size_t)256 * 1024)

/* The value of QEMU's -cpu in a command line of zero-terminated words; NULL: none. */
static const char *cpu_of(const char *words, size_t n)
{
	const char *end = words + n;

	for (const char *w = words; w < end; w += strlen(w) + 1)
		if (strcmp(w, "-cpu") == 0 && w + strlen(w) + 1 < end)
			return w + strlen(w) + 1;
	return NULL;
}

static bool has_flag(const char *cpu, const char *flag)
{
	char on[64];

	/* libvirt writes "flag=on"; "+flag" is QEMU's older way */
	snprintf(on, sizeof(on), ",%s=on", flag);
	if (strstr(cpu, on))
		return true;
	snprintf(on, sizeof(on), ",+%s", flag);
	return strstr(cpu, on);
}

static bool is_amd(int proc_fd)
{
	char text[4096];

	return process_read_at(proc_fd, "cpuinfo", text, sizeof(text)) > 0 &&
	       strstr(text, "AuthenticAMD");
}

int machine_check_recovers(int proc_fd, int pid_fd)
{
	_cleanup_free_ char *words = malloc(CMDLINE_MAX);
	const char *cpu;
	ssize_t n;

	if (!words)
		return -ENOMEM;
	n = process_read_at(pid_fd, "cmdline", words, CMDLINE_MAX);
	if (n < 0)
		return (int)n;
	cpu = cpu_of(words, (size_t)n);
	if (cpu && (strstr(cpu, ",mca=off") || strstr(cpu, ",-mca")))
		return 0;
	if (!is_amd(proc_fd))
		return 1;
	return cpu && has_flag(cpu, "succor") && has_flag(cpu, "overflow-recov");
}

int machine_check_recovers_pid(pid_t pid, uint64_t start_ticks)
{
	_cleanup_close_ int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int pid_fd = -EBADF;
	int r;

	if (proc_fd < 0)
		return -errno;
	r = process_open(proc_fd, pid, start_ticks, &pid_fd);
	return r < 0 ? r : machine_check_recovers(proc_fd, pid_fd);
}

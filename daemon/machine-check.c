/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "machine-check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "util.h"

#define CMDLINE_MAX ((size_t)256 * 1024)

ssize_t proc_read_at(int dir_fd, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	while (n < size - 1 && (got = read(fd, buf + n, size - 1 - n)) != 0) {
		if (got < 0)
			return -errno;
		n += (size_t)got;
	}
	buf[n] = '\0';
	return (ssize_t)n;
}

/* proc(5): the 22nd field of stat; the second one, a name, may hold anything. */
bool proc_is_process(int pid_fd, uint64_t start_ticks)
{
	char text[1024], *field;
	uint64_t start;

	if (proc_read_at(pid_fd, "stat", text, sizeof(text)) < 0)
		return false;
	field = strrchr(text, ')');
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	return field && sscanf(field, "%" SCNu64, &start) == 1 && start == start_ticks;
}

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

	return proc_read_at(proc_fd, "cpuinfo", text, sizeof(text)) > 0 &&
	       strstr(text, "AuthenticAMD");
}

int machine_check_recovers(int proc_fd, int pid_fd)
{
	_cleanup_free_ char *words = malloc(CMDLINE_MAX);
	const char *cpu;
	ssize_t n;

	if (!words)
		return -ENOMEM;
	n = proc_read_at(pid_fd, "cmdline", words, CMDLINE_MAX);
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
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", (int)pid);
	if (proc_fd >= 0)
		pid_fd = openat(proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (pid_fd < 0)
		return -errno;
	return proc_is_process(pid_fd, start_ticks) ? machine_check_recovers(proc_fd, pid_fd)
						    : -ESRCH;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "util.h"

ssize_t process_read_at(int dir_fd, const char *name, char *buf, size_t size)
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

int process_stat_at(int pid_fd, int field, uint64_t *ret)
{
	char text[1024], *p;
	ssize_t n = process_read_at(pid_fd, "stat", text, sizeof(text));

	if (n < 0)
		return (int)n;
	/* The second field, a name, may hold blanks and brackets. */
	p = strrchr(text, ')');
	for (int i = 2; p && i < field; i++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%" SCNu64, ret) == 1 ? 0 : -ESRCH;
}

int process_open(int proc_fd, pid_t pid, uint64_t start_ticks, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	uint64_t start;
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", (int)pid);
	fd = openat(proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	if (process_stat_at(fd, PROCESS_STAT_START_TICKS, &start) < 0 || start != start_ticks)
		return -ESRCH;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

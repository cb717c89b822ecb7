/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process's directory in /proc. A number is used again: a process is its number and its start. */

#include <stdint.h>
#include <sys/types.h>

/* Blocks as the file does. At most size - 1 bytes, zero-terminated; the length, or negative errno.
 */
ssize_t process_read_at(int dir_fd, const char *name, char *buf, size_t size);

/* Fields of stat that are numbers (proc(5)). */
#define PROCESS_STAT_MINOR_FAULTS 10
#define PROCESS_STAT_START_TICKS  22
/* pid_fd: the directory. 0 or negative errno. */
int process_stat_at(int pid_fd, int field, uint64_t *ret);

/* proc_fd: of /proc. *ret_fd is the caller's: the directory (O_PATH) of the process that began
 * then; -ESRCH where there is none. */
int process_open(int proc_fd, pid_t pid, uint64_t start_ticks, int *ret_fd);

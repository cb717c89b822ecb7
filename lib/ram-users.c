/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who has memory bound to a NUMA node, by /proc/PID/numa_maps: its policy, and where its pages
 * lie. */

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "parse.h"
#include "proof-internal.h"
#include "ram-internal.h"

/* The kernel pins this many pages for one call at most (Linux mm/process_vm_access.c
 * PVM_MAX_KMALLOC_PAGES). */
#define TOUCH_STEP_BYTES (1024 * 4096ULL)

typedef struct Users {
	int node;
	const char *proc;
	PmlRamUser *list;
	size_t n;
	unsigned n_denied;
} Users;

/* --- one line --- */

/* "1", "0-3,5": has it this node? */
static bool list_has(const char *list, int node)
{
	uint64_t first, last;

	while (parse_digits(&list, &first) == 0) {
		last = first;
		if (*list == '-') {
			list++;
			if (parse_digits(&list, &last) < 0)
				return false;
		}
		if ((uint64_t)node >= first && (uint64_t)node <= last)
			return true;
		if (*list == ',')
			list++;
	}
	return false;
}

/* Linux mm/mempolicy.c mpol_to_str(): "bind:1", "bind=static:1", or "bind=relative:0". */
static bool is_bound_to(const char *policy, int node)
{
	const char *nodes;

	if (strncmp(policy, "bind", 4) != 0 || (policy[4] != ':' && policy[4] != '='))
		return false;
	nodes = policy + strcspn(policy, ": \n");
	return *nodes == ':' && list_has(nodes + 1, node);
}

bool ram_parse_line(const char *line, int node, uint64_t *ret_start, uint64_t *ret_present_bytes)
{
	uint64_t pages = 0, page_kib = 4, start;
	char key[24], *end;
	const char *p;

	start = strtoull(line, &end, 16);
	if (end == line || *end != ' ' || !is_bound_to(end + 1, node))
		return false;
	(void)snprintf(key, sizeof(key), " N%d=", node);
	p = strstr(end, key);
	if (p)
		pages = strtoull(p + strlen(key), NULL, 10);
	p = strstr(end, " kernelpagesize_kB=");
	if (p)
		page_kib = strtoull(p + strlen(" kernelpagesize_kB="), NULL, 10);
	*ret_start = start;
	*ret_present_bytes = pages * page_kib * 1024;
	return true;
}

/* --- one process --- */

static FILE *open_in(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "re");

	if (fd >= 0 && !f)
		close(fd);
	return f;
}

/* The size of the mapping that begins there. 0: there is none any more. */
static uint64_t mapping_bytes(int dir_fd, uint64_t start)
{
	_cleanup_fclose_ FILE *f = open_in(dir_fd, "maps");
	_cleanup_free_ char *line = NULL;
	uint64_t from, to;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2 && from == start)
			return to - from;
	return 0;
}

static bool has_argument(int dir_fd, const char *argument)
{
	_cleanup_fclose_ FILE *f = open_in(dir_fd, "cmdline");
	_cleanup_free_ char *word = NULL;
	size_t size = 0;

	while (f && getdelim(&word, &size, '\0', f) > 0)
		if (pml_streq(word, argument))
			return true;
	return false;
}

typedef int (*OnMapping)(void *data, uint64_t start, uint64_t size_bytes, uint64_t present_bytes);

/* Every mapping that is bound to the node. -ENOENT: it has ended. */
static int foreach_bound(int dir_fd, int node, OnMapping on_mapping, void *data)
{
	_cleanup_fclose_ FILE *f = open_in(dir_fd, "numa_maps");
	_cleanup_free_ char *line = NULL;
	uint64_t start, present;
	size_t size = 0;
	int r = 0;

	if (!f)
		return errno == ESRCH ? -ENOENT : -errno;
	while (r == 0 && getline(&line, &size, f) > 0)
		if (ram_parse_line(line, node, &start, &present))
			r = on_mapping(data, start, mapping_bytes(dir_fd, start), present);
	return r;
}

static int count(void *data, uint64_t start, uint64_t size_bytes, uint64_t present_bytes)
{
	PmlRamUser *u = data;

	u->n_mappings++;
	u->mapped_bytes += size_bytes;
	u->present_bytes += present_bytes;
	return 0;
}

static int add_process(Users *users, const char *name, const char *argument)
{
	_cleanup_close_ int dir_fd = -EBADF;
	PmlRamUser u = {}, *bigger;
	char path[300];
	ProofStat st;
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", users->proc, name);
	dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || proof_read_stat(dir_fd, &st) < 0 ||
		(argument && !has_argument(dir_fd, argument)))
		return 0;
	u.pid = (pid_t)strtol(name, NULL, 10);
	u.start_ticks = st.start_ticks;
	r = foreach_bound(dir_fd, users->node, count, &u);
	if (r == -EACCES || r == -EPERM) {
		users->n_denied++;
		return 0;
	}
	if (r == -ENOENT || (r == 0 && u.n_mappings == 0))
		return 0;
	if (r < 0)
		return r;
	bigger = reallocarray(users->list, users->n + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	users->list = bigger;
	users->list[users->n++] = u;
	return 0;
}

int ram_users(const char *proc, int node, const char *argument, uint64_t deadline_usec,
	PmlRamUser **ret, size_t *ret_n, unsigned *ret_n_denied)
{
	Users users = {.node = node, .proc = proc};
	struct dirent *de;
	int r = 0;
	DIR *d;

	d = opendir(proc);
	if (!d)
		return -errno;
	while (r == 0 && (de = readdir(d))) {
		if (!isdigit((unsigned char)de->d_name[0]))
			continue;
		r = pml_now_usec(CLOCK_MONOTONIC) < deadline_usec
			    ? add_process(&users, de->d_name, argument)
			    : -ETIMEDOUT;
	}
	closedir(d);
	if (r < 0) {
		free(users.list);
		return r;
	}
	*ret = users.list;
	*ret_n = users.n;
	*ret_n_denied = users.n_denied;
	return 0;
}

/* --- touching --- */

typedef struct Touch {
	pid_t pid;
	void *nowhere;
	uint64_t deadline_usec;
} Touch;

/*
 * The kernel faults the remote pages in for writing and holds them before it looks at what is to be
 * written (Linux mm/process_vm_access.c process_vm_rw_single_vec()); that lies where nothing can be
 * read, so the call fails with EFAULT then, and no byte of the guest's has changed. Nothing else
 * makes another process's anonymous memory present without a write that could race with its own.
 */
static int touch_mapping(void *data, uint64_t start, uint64_t size_bytes, uint64_t present_bytes)
{
	const Touch *t = data;

	for (uint64_t at = 0; at < size_bytes; at += TOUCH_STEP_BYTES) {
		size_t n = size_bytes - at < TOUCH_STEP_BYTES ? size_bytes - at : TOUCH_STEP_BYTES;
		struct iovec local = {.iov_base = t->nowhere, .iov_len = n};
		struct iovec remote = {.iov_base = (void *)(uintptr_t)(start + at), .iov_len = n};

		if (pml_now_usec(CLOCK_MONOTONIC) >= t->deadline_usec)
			return -ETIMEDOUT;
		if (process_vm_writev(t->pid, &local, 1, &remote, 1, 0) < 0 && errno != EFAULT)
			return -errno;
	}
	return 0;
}

int ram_touch(int node, pid_t pid, uint64_t start_ticks, uint64_t deadline_usec)
{
	Touch t = {.pid = pid, .deadline_usec = deadline_usec};
	_cleanup_close_ int dir_fd = -EBADF;
	char path[32];
	ProofStat st;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || proof_read_stat(dir_fd, &st) < 0 || st.start_ticks != start_ticks)
		return -ESRCH;
	t.nowhere = mmap(NULL, TOUCH_STEP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t.nowhere == MAP_FAILED)
		return -errno;
	r = foreach_bound(dir_fd, node, touch_mapping, &t);
	(void)munmap(t.nowhere, TOUCH_STEP_BYTES);
	return r == -ENOENT ? -ESRCH : r;
}

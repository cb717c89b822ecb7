/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/vfs.h>

#include "cgroup.h"
#include "cgroup-internal.h"
#include "util.h"

#define CGROUP_DEFAULT_MOUNT "/sys/fs/cgroup"

static bool has_suffix(const char *s, size_t n, const char *suffix)
{
	size_t m = strlen(suffix);

	return n > m && memcmp(s + n - m, suffix, m) == 0;
}

static bool has_prefix(const char *s, size_t n, const char *prefix)
{
	size_t m = strlen(prefix);

	return n > m && memcmp(s, prefix, m) == 0;
}

static bool equals(const char *s, size_t n, const char *other)
{
	return n == strlen(other) && memcmp(s, other, n) == 0;
}

/*
 * The cgroup that is one machine's own is named by systemd-machined (a scope "machine-…", in
 * whatever slice), is the first unit below machine.slice, or has libvirt's suffix where libvirt
 * runs without systemd (libvirt src/util/vircgroup.c virCgroupNewMachineManual() and
 * docs/cgroups.rst). Cutting right behind it takes off whatever libvirt or the machine's manager
 * made inside.
 */
int cgroup_cut_to_machine(const char *path, char **ret)
{
	bool in_machine_slice = false, in_machine = false;
	size_t end = 0;

	for (const char *p = path; *p == '/';) {
		size_t n = strcspn(++p, "/");
		bool slice = has_suffix(p, n, ".slice");

		if (n == 0 || equals(p, n, "..") || equals(p, n, "."))
			return -ENODATA; /* the root, or outside of what our cgroup namespace shows
					  */
		if ((has_prefix(p, n, "machine-") && has_suffix(p, n, ".scope")) ||
			(in_machine_slice && !slice) ||
			(in_machine && has_suffix(p, n, ".libvirt-qemu"))) {
			end = (size_t)(p + n - path);
			break;
		}
		in_machine_slice |= equals(p, n, "machine.slice");
		in_machine |= equals(p, n, "machine");
		p += n;
	}
	if (end == 0)
		return -ENODATA;
	*ret = strndup(path, end);
	return *ret ? 0 : -ENOMEM;
}

int pml_cgroup_of_machine(pid_t pid, char **ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char name[64];
	size_t size = 0;

	(void)snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	f = fopen(name, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	/* "0::" is the unified hierarchy; the others cannot be frozen with cgroup.freeze. */
	while (getline(&line, &size, f) > 0) {
		if (strncmp(line, "0::", 3) != 0)
			continue;
		line[strcspn(line, "\n")] = 0;
		return cgroup_cut_to_machine(line + 3, ret);
	}
	return ferror(f) ? -ESRCH : -ENODATA;
}

/* mountinfo writes blank, tab, line end and backslash as three octal digits (Linux
 * fs/proc_namespace.c mangle()). */
static void decode_octal(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
			s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* Fills mount (of size bytes) when the line is a mount of the whole unified hierarchy. */
static bool parse_mount(char *line, char *mount, size_t size)
{
	char *type = strstr(line, " - cgroup2 "), *save = NULL, *field = NULL, *root = NULL;

	if (!type)
		return false;
	*type = 0;
	/* mount id, parent id, device, root, mount point */
	for (int i = 0; i < 5; i++) {
		field = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (!field)
			return false;
		if (i == 3)
			root = field;
	}
	if (!pml_streq(root, "/"))
		return false;
	decode_octal(field);
	return pml_strcpy(mount, size, field) == 0;
}

static int open_mount(void)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char mount[PATH_MAX] = "";
	struct statfs fs;
	size_t size = 0;
	int fd;

	if (statfs(CGROUP_DEFAULT_MOUNT, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC) {
		fd = open(CGROUP_DEFAULT_MOUNT, O_PATH | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	/* A hybrid host has it elsewhere, by custom in unified/. */
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0)
		if (parse_mount(line, mount, sizeof(mount)))
			break;
	if (!mount[0])
		return -EOPNOTSUPP;
	fd = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A component ".." must never lead to another's cgroup; the root has no cgroup.freeze. */
static bool is_valid(const char *cgroup)
{
	if (cgroup[0] != '/' || !cgroup[1])
		return false;
	for (const char *p = cgroup; (p = strchr(p, '/'));) {
		size_t n = strcspn(++p, "/");

		if (equals(p, n, ".") || equals(p, n, ".."))
			return false;
	}
	return true;
}

static int open_cgroup(const char *cgroup)
{
	_cleanup_close_ int mount = -EBADF;
	int fd;

	if (!is_valid(cgroup))
		return -EINVAL;
	mount = open_mount();
	if (mount < 0)
		return mount;
	fd = openat(mount, cgroup + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The kernel answers ENODEV on files of a cgroup that was removed after they were opened. */
static int errno_of_cgroup(void)
{
	return errno == ENODEV ? -ENOENT : -errno;
}

static int write_freeze(int dir_fd, const char *value)
{
	_cleanup_close_ int fd = openat(dir_fd, "cgroup.freeze", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno_of_cgroup();
	return write(fd, value, 1) == 1 ? 0 : errno_of_cgroup();
}

static int read_frozen(int events_fd, bool *ret)
{
	char buf[256], *p;
	ssize_t n = pread(events_fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return errno_of_cgroup();
	buf[n] = 0;
	p = strstr(buf, "frozen ");
	if (!p)
		return -EOPNOTSUPP; /* before Linux 5.2 */
	*ret = p[7] == '1';
	return 0;
}

static int open_events(int dir_fd)
{
	int fd = openat(dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? errno_of_cgroup() : fd;
}

int pml_cgroup_freeze(const char *cgroup, uint64_t deadline_usec)
{
	_cleanup_close_ int dir_fd = open_cgroup(cgroup), events = -EBADF;
	bool frozen = false;
	int r;

	if (dir_fd < 0)
		return dir_fd;
	/* Opened before the write: the first read then arms poll, and no change is missed. */
	events = open_events(dir_fd);
	if (events < 0)
		return events;
	r = write_freeze(dir_fd, "1");
	if (r < 0)
		return r;
	for (;;) {
		struct pollfd p = {.fd = events, .events = POLLPRI};
		uint64_t now, left;
		struct timespec ts;

		r = read_frozen(events, &frozen);
		if (r < 0 || frozen)
			return r;
		now = pml_now_usec(CLOCK_MONOTONIC);
		if (now >= deadline_usec)
			return -ETIMEDOUT;
		left = deadline_usec - now;
		ts.tv_sec = left / USEC_PER_SEC > INT_MAX ? INT_MAX : (time_t)(left / USEC_PER_SEC);
		ts.tv_nsec = (long)(left % USEC_PER_SEC) * 1000;
		if (ppoll(&p, 1, &ts, NULL) < 0 && errno != EINTR)
			return -errno;
	}
}

int pml_cgroup_thaw(const char *cgroup)
{
	_cleanup_close_ int dir_fd = open_cgroup(cgroup);

	return dir_fd < 0 ? dir_fd : write_freeze(dir_fd, "0");
}

int pml_cgroup_frozen(const char *cgroup, bool *ret)
{
	_cleanup_close_ int dir_fd = open_cgroup(cgroup), events = -EBADF;

	if (dir_fd < 0)
		return dir_fd;
	events = open_events(dir_fd);
	return events < 0 ? events : read_frozen(events, ret);
}

typedef struct Members {
	pid_t pid;
	bool has_it;
	bool has_others;
} Members;

static int read_members(int dir_fd, Members *m)
{
	int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;

	if (!f) {
		int r = errno_of_cgroup();

		closep(&fd);
		return r;
	}
	/* A threaded cgroup's processes are told by the one above it (EOPNOTSUPP here). */
	while (fscanf(f, "%d", &pid) == 1)
		if (pid == m->pid)
			m->has_it = true;
		else
			m->has_others = true;
	return 0;
}

/* Below a machine's cgroup are libvirt's, and those of its threads. */
#define DEPTH_MAX 4

static int walk_members(int dir_fd, unsigned depth, Members *m)
{
	int r = read_members(dir_fd, m), fd;
	struct dirent *e;
	DIR *dir;

	if (r < 0 || depth == DEPTH_MAX)
		return r < 0 ? r : -EXDEV;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		r = errno_of_cgroup();
		closep(&fd);
		return r;
	}
	while (r == 0 && (e = readdir(dir))) {
		_cleanup_close_ int sub = -EBADF;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(fd, e->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = sub < 0 ? errno_of_cgroup() : walk_members(sub, depth + 1, m);
	}
	(void)closedir(dir);
	return r;
}

int pml_cgroup_faults(const char *cgroup, pid_t pid, uint64_t *ret_all, uint64_t *ret_major)
{
	_cleanup_close_ int dir_fd = open_cgroup(cgroup);
	Members members = {.pid = pid};
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	unsigned long long all = 0, major = 0, n;
	int fd, r, found = 0;
	size_t size = 0;

	if (dir_fd < 0)
		return dir_fd;
	r = walk_members(dir_fd, 0, &members);
	if (r == 0 && (members.has_others || !members.has_it))
		r = -EXDEV;
	if (r < 0)
		return r;
	fd = openat(dir_fd, "memory.stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno_of_cgroup();
	f = fdopen(fd, "r");
	if (!f) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	while (getline(&line, &size, f) > 0)
		if (sscanf(line, "pgfault %llu", &n) == 1) {
			all = n;
			found++;
		} else if (sscanf(line, "pgmajfault %llu", &n) == 1) {
			major = n;
			found++;
		}
	if (found != 2)
		return ferror(f) ? -EIO : -ENOENT;
	*ret_all = all;
	*ret_major = major;
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One pass over /proc: every open file of a device-dax character device, as a descriptor or as a
 * mapping.
 *
 * Which mappings are looked at: those of a file that are shared (VM_MAYSHARE). Nothing else can be
 * device-dax, which refuses a mapping without it (Linux drivers/dax/device.c check_vma()); of a
 * block device, which can be mapped privately, all those of a file. Neither the path nor the device
 * number that the kernel shows of a mapping is believed: the device is the st_rdev behind
 * /proc/PID/map_files. A process has a handful of shared mappings at most, so that a pass costs a
 * look at its list of mappings and one stat for each open descriptor.
 *
 * Everything of a process is read below one descriptor of its /proc directory, which stays with
 * that process when the pid is used again.
 */

#include <dirent.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "proof-internal.h"
#include "util.h"

#define PROOF_PF_KTHREAD                                                                           \
	0x00200000U /* Linux include/linux/sched.h PF_KTHREAD, shown in stat field 9 */
#define PROOF_PROCESS_RETRIES 5
#define PROOF_BUFFER_BYTES    (64U << 10)
#define PROOF_MAX_FILES                                                                            \
	(1U << 20) /* more open device-dax files than this is not a host we can judge */

typedef struct Scan {
	const ProofHooks *hooks;
	dev_t own;
	uint64_t deadline_usec;
	ProofPass *pass;
	int proc_fd;
	char *maps; /* buffers of PROOF_BUFFER_BYTES, one set for the whole pass */
	char *dents;
	char *tasks;
	bool denied; /* of the process being looked at */
	bool changed;
} Scan;

typedef struct Task {
	pid_t pid;
	pid_t tid;
	uint64_t start_ticks;
	int dir_fd; /* /proc/TID or /proc/PID/task/TID, borrowed */
} Task;

typedef struct InTask {
	Scan *scan;
	Task task;
} InTask;

static bool is_dax_major(const ProofHooks *hooks, dev_t rdev)
{
	return hooks->dax_major > 0 && major(rdev) == hooks->dax_major;
}

/*
 * All device-dax nodes share one major number, registered under this name (Linux
 * drivers/dax/super.c dax_core_init()), and only the device_dax driver adds character devices
 * there. Other than a look into /sys/dev/char this also knows files of a device that is gone.
 */
unsigned proof_dax_major(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/devices", "re");
	unsigned number, found = 0;
	char line[128], name[64];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Block", 5) == 0)
			break;
		if (sscanf(line, "%u %63s", &number, name) == 2 && strcmp(name, "dax") == 0)
			found = number;
	}
	return found;
}

static bool has_ended(int e)
{
	return e == ENOENT || e == ESRCH;
}

static bool is_refusal(int e)
{
	return e == EACCES || e == EPERM;
}

int proof_read_stat(int dir_fd, ProofStat *ret)
{
	_cleanup_close_ int fd = openat(dir_fd, "stat", O_RDONLY | O_CLOEXEC);
	unsigned long long start;
	unsigned flags, n_threads;
	int session;
	char buf[1024], *open_paren, *close_paren, state;
	ProofStat st = {0};
	ssize_t n;

	if (fd < 0)
		return has_ended(errno) ? -ESRCH : -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	/* The name may itself contain parentheses, blanks and line ends. */
	open_paren = strchr(buf, '(');
	close_paren = strrchr(buf, ')');
	if (!open_paren || !close_paren || close_paren < open_paren)
		return -ESRCH;
	if (sscanf(close_paren + 1,
		    " %c %*d %*d %d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %u %*d %llu",
		    &state, &session, &flags, &n_threads, &start) != 5)
		return -EBADMSG;
	*close_paren = 0;
	(void)snprintf(st.comm, sizeof(st.comm), "%s", open_paren + 1);
	/* Any 15 bytes, often a cut sequence. */
	pml_make_printable(st.comm);
	st.state = state;
	st.flags = flags;
	st.session = session;
	st.n_threads = n_threads;
	st.start_ticks = start;
	*ret = st;
	return 0;
}

static int add_file(Scan *s, const ProofFile *f)
{
	ProofPass *pass = s->pass;

	if (pass->n_files == pass->n_allocated) {
		size_t n = pass->n_allocated ? pass->n_allocated * 2 : 64;
		ProofFile *files;

		if (n > PROOF_MAX_FILES)
			return -EOVERFLOW;
		files = reallocarray(pass->files, n, sizeof(*files));
		if (!files)
			return -ENOMEM;
		pass->files = files;
		pass->n_allocated = n;
	}
	pass->files[pass->n_files++] = *f;
	return 0;
}

/*
 * 1: a device that matters, *ret says which; 0: something else. What the kernel has in memory is
 * enough: without AT_STATX_DONT_SYNC somebody's descriptor on a dead network file system could stop
 * the proof.
 */
static int stat_entry(Scan *s, int dir_fd, const char *name, ProofFile *ret)
{
	struct statx stx;
	dev_t rdev;

	if (statx(dir_fd, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO,
		    &stx) < 0)
		return -errno;
	if (!(s->hooks->block ? S_ISBLK(stx.stx_mode) : S_ISCHR(stx.stx_mode)))
		return 0;
	rdev = makedev(stx.stx_rdev_major, stx.stx_rdev_minor);
	if (rdev != s->own && (s->hooks->block || !s->hooks->is_dax(s->hooks, rdev)))
		return 0;
	ret->rdev = rdev;
	ret->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	ret->ino = (ino_t)stx.stx_ino;
	return 1;
}

static int look_at_mapping(Scan *s, const Task *t, uint64_t start, uint64_t end, bool readable)
{
	ProofFile f = {
		.pid = t->pid,
		.tid = t->tid,
		.start_ticks = t->start_ticks,
		.fd = -1,
		.vm_start = start,
		.vm_end = end,
		.readable = readable,
	};
	char name[64];
	int r;

	(void)snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, start, end);
	r = stat_entry(s, t->dir_fd, name, &f);
	if (r > 0)
		return add_file(s, &f);
	if (is_refusal(-r))
		s->denied = true;
	else if (r < 0)
		/* Unmapped, moved or merged since its line was read. */
		s->changed = true;
	return 0;
}

static int on_mapping(void *userdata, uint64_t start, uint64_t end, bool readable)
{
	InTask *in = userdata;

	return look_at_mapping(in->scan, &in->task, start, end, readable);
}

static int scan_maps(Scan *s, const Task *t)
{
	const ProofHooks *hooks = s->hooks;
	InTask in = {.scan = s, .task = *t};
	int r = proof_foreach_file_mapping(&(ProofMaps){
		.dir_fd = t->dir_fd,
		.private_too = hooks->private_mappings,
		.text_only = hooks->maps_as_text,
		.buf = s->maps,
		.buf_bytes = PROOF_BUFFER_BYTES,
		.userdata = &in,
		.on_mapping = on_mapping,
	});

	if (is_refusal(-r)) {
		s->denied = true;
		return 0;
	}
	return has_ended(-r) ? 0 : r;
}

/* An unreadable answer counts as O_PATH: then the descriptor explains no reference. */
static bool is_path_only(int dir_fd, const char *fd_name)
{
	_cleanup_close_ int fd = -EBADF;
	char name[64], buf[256], *flags;
	ssize_t n;

	(void)snprintf(name, sizeof(name), "fdinfo/%.20s", fd_name);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return true;
	buf[n] = 0;
	flags = strstr(buf, "flags:");
	return !flags || (strtoull(flags + 6, NULL, 8) & O_PATH) != 0;
}

static int look_at_descriptor(Scan *s, const Task *t, int fds, const char *name)
{
	ProofFile f = {.pid = t->pid, .tid = t->tid, .start_ticks = t->start_ticks};
	int r;

	r = stat_entry(s, fds, name, &f);
	if (r <= 0) {
		if (is_refusal(-r))
			s->denied = true;
		return 0;
	}
	/* The lease's own claim, and the descriptor that this proof drops the cache by. */
	if (s->hooks->block && t->pid == getpid())
		return 0;
	f.fd = (int)strtol(name, NULL, 10);
	f.path_only = is_path_only(t->dir_fd, name);
	return add_file(s, &f);
}

/* Calls fn for every entry whose name is a number. */
static int foreach_number(
	int dir, char *buf, void *userdata, int (*fn)(void *userdata, int dir, const char *name))
{
	for (;;) {
		ssize_t n = getdents64(dir, buf, PROOF_BUFFER_BYTES);

		if (n < 0)
			return has_ended(errno) ? 0 : -errno;
		if (n == 0)
			return 0;
		for (ssize_t i = 0; i < n;) {
			const struct dirent64 *d = (const struct dirent64 *)(const void *)(buf + i);
			int r;

			i += d->d_reclen;
			if (d->d_name[0] < '0' || d->d_name[0] > '9')
				continue;
			r = fn(userdata, dir, d->d_name);
			if (r < 0)
				return r;
		}
	}
}

static int on_descriptor(void *userdata, int dir, const char *name)
{
	InTask *in = userdata;

	return look_at_descriptor(in->scan, &in->task, dir, name);
}

static int scan_descriptors(Scan *s, const Task *t)
{
	_cleanup_close_ int fds = openat(t->dir_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	InTask in = {.scan = s, .task = *t};
	int r;

	if (fds < 0) {
		if (is_refusal(errno))
			s->denied = true;
		else if (!has_ended(errno))
			return -errno;
		return 0;
	}
	r = foreach_number(fds, s->dents, &in, on_descriptor);
	if (is_refusal(-r)) {
		s->denied = true;
		return 0;
	}
	return r;
}

/*
 * A thread shares memory with its process, but not always the table of descriptors (clone() without
 * CLONE_FILES, unshare()). Where the kernel does not say that it is the same, it is read.
 */
static int on_thread(void *userdata, int dir, const char *name)
{
	InTask *in = userdata;
	pid_t tid = (pid_t)strtol(name, NULL, 10);
	_cleanup_close_ int dir_fd = -EBADF;
	Task t = in->task;
	int r;

	if (tid == in->task.tid)
		return 0;
	if (in->task.tid != 0 && syscall(SYS_kcmp, in->task.tid, tid, KCMP_FILES, 0UL, 0UL) == 0)
		return 0;
	if (in->task.tid != 0)
		dir_fd = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	else
		/* Only the directory in /proc itself has map_files; it can be opened for any
		 * thread. */
		dir_fd = openat(in->scan->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return has_ended(errno) ? 0 : -errno;
	t.tid = tid;
	t.dir_fd = dir_fd;
	if (in->task.tid == 0) {
		ProofStat st;

		r = proof_read_stat(dir_fd, &st);
		if (r < 0 || st.state == 'Z' || st.state == 'X')
			return r == -ESRCH ? 0 : r;
		r = scan_maps(in->scan, &t);
		if (r < 0)
			return r;
		in->task.tid = tid;
	}
	return in->scan->pass->maps_only ? 0 : scan_descriptors(in->scan, &t);
}

static int scan_tasks(Scan *s, int dir_fd, pid_t pid, const ProofStat *st)
{
	Task t = {.pid = pid, .tid = pid, .start_ticks = st->start_ticks, .dir_fd = dir_fd};
	/* The first thread may have ended before the others: it then shows no memory and no
	 * descriptors. */
	bool leader_lives = st->state != 'Z' && st->state != 'X';
	_cleanup_close_ int tasks = -EBADF;
	InTask in = {.scan = s, .task = t};
	int r;

	if (leader_lives) {
		r = scan_maps(s, &t);
		if (r < 0 || s->pass->maps_only)
			return r;
		r = scan_descriptors(s, &t);
		if (r < 0)
			return r;
	} else {
		in.task.tid = 0;
	}
	if (st->n_threads <= 1)
		return 0;
	tasks = openat(dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tasks < 0)
		return has_ended(errno) ? 0 : -errno;
	return foreach_number(tasks, s->tasks, &in, on_thread);
}

/* What is longer than the buffer, or cannot be read, may have it: it is looked at. */
static bool may_have_argument(Scan *s, int dir_fd, const char *cmdline, const char *argument)
{
	_cleanup_close_ int fd = openat(dir_fd, cmdline, O_RDONLY | O_CLOEXEC);
	const char *end = s->maps, *p = s->maps;
	ssize_t n;

	if (fd < 0)
		return !has_ended(errno);
	do {
		n = read(fd, s->maps + (end - s->maps),
			PROOF_BUFFER_BYTES - 1 - (size_t)(end - s->maps));
		end += n > 0 ? n : 0;
	} while (n > 0);
	if (n < 0 || end == s->maps + PROOF_BUFFER_BYTES - 1)
		return true;
	s->maps[end - s->maps] = 0;
	for (; p < end; p += strlen(p) + 1)
		if (strcmp(p, argument) == 0)
			return true;
	return false;
}

static int on_process(void *userdata, int dir, const char *name)
{
	pid_t pid = (pid_t)strtol(name, NULL, 10);
	Scan *s = userdata;
	size_t before = s->pass->n_files;
	_cleanup_close_ int dir_fd = -EBADF;
	const char *argument = s->pass->argument;
	char cmdline[32];
	ProofStat st = {0};
	int r;

	if (pml_now_usec(CLOCK_MONOTONIC) >= s->deadline_usec) {
		s->pass->overtaken = true;
		return -ETIMEDOUT;
	}
	/* Most have not, and are not worth their directory. */
	(void)snprintf(cmdline, sizeof(cmdline), "%.20s/cmdline", name);
	if (argument && !may_have_argument(s, dir, cmdline, argument))
		return 0;
	dir_fd = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return has_ended(errno) ? 0 : -errno;
	if (argument && !may_have_argument(s, dir_fd, "cmdline", argument))
		return 0;
	for (int i = 0; i < PROOF_PROCESS_RETRIES; i++) {
		s->pass->n_files = before;
		s->denied = s->changed = false;
		r = proof_read_stat(dir_fd, &st);
		if (r == -ESRCH || (r == 0 && (st.flags & PROOF_PF_KTHREAD)))
			return 0;
		if (r == 0 && s->hooks->session != 0 && st.session != s->hooks->session)
			return 0;
		if (r == 0)
			r = scan_tasks(s, dir_fd, pid, &st);
		if (r < 0)
			return r;
		if (!s->changed)
			break;
	}
	/* What ended while it was looked at holds nothing. */
	if (s->pass->n_files > before && proof_read_stat(dir_fd, &st) == -ESRCH) {
		s->pass->n_files = before;
		return 0;
	}
	s->pass->disturbed |= s->changed;
	s->pass->n_denied += s->denied;
	s->pass->n_processes++;
	return 0;
}

int proof_scan(const ProofHooks *hooks, dev_t own, uint64_t deadline_usec, ProofPass *pass)
{
	static const ProofHooks real = {.is_dax = is_dax_major};
	ProofHooks with_major = hooks ? *hooks : real;
	_cleanup_close_ int proc_fd = -EBADF;
	_cleanup_free_ char *buffers = NULL, *dents = NULL;
	Scan s = {.hooks = &with_major, .own = own, .deadline_usec = deadline_usec, .pass = pass};
	int r;

	if (!hooks)
		with_major.dax_major = proof_dax_major();
	buffers = malloc(3 * (size_t)PROOF_BUFFER_BYTES);
	dents = malloc(PROOF_BUFFER_BYTES);
	if (!buffers || !dents)
		return -ENOMEM;
	s.maps = buffers;
	s.dents = buffers + PROOF_BUFFER_BYTES;
	s.tasks = buffers + 2 * (size_t)PROOF_BUFFER_BYTES;
	proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0)
		return -errno;
	s.proc_fd = proc_fd;
	pass->n_files = pass->n_processes = pass->n_denied = 0;
	pass->disturbed = pass->overtaken = false;
	r = foreach_number(proc_fd, dents, &s, on_process);
	return r == -ETIMEDOUT ? 0 : r;
}

ProofPass *proof_pass_new(void)
{
	ProofPass *pass = calloc(1, sizeof(*pass));

	if (pass)
		atomic_init(&pass->n_refs, 1);
	return pass;
}

ProofPass *proof_pass_ref(ProofPass *pass)
{
	atomic_fetch_add(&pass->n_refs, 1);
	return pass;
}

ProofPass *proof_pass_unref(ProofPass *pass)
{
	if (pass && atomic_fetch_sub(&pass->n_refs, 1) == 1) {
		free(pass->files);
		free(pass);
	}
	return NULL;
}

bool proof_pass_equal(const ProofPass *a, const ProofPass *b)
{
	if (a->disturbed || b->disturbed || a->overtaken || b->overtaken)
		return false;
	if (a->n_files != b->n_files)
		return false;
	for (size_t i = 0; i < a->n_files; i++) {
		const ProofFile *x = &a->files[i], *y = &b->files[i];

		if (x->pid != y->pid || x->tid != y->tid || x->start_ticks != y->start_ticks ||
			x->fd != y->fd || x->path_only != y->path_only || x->rdev != y->rdev ||
			x->dev != y->dev || x->ino != y->ino || x->vm_start != y->vm_start ||
			x->vm_end != y->vm_end || x->readable != y->readable)
			return false;
	}
	return true;
}

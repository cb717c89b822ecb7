/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ram-internal.h"
#include "util.h"

#define KMEM_DRIVER "kmem"
/* Pages of the host are moved away, which takes its time; one that is pinned would take for ever.
 */
#define OFFLINE_BLOCK_USEC (10 * USEC_PER_SEC)
#define KILL_WAIT_MSEC	   5000
/* What is not lent: 4 MiB and 1/200, above the high watermark of a movable zone, which is 1/500 by
 * default (Linux mm/page_alloc.c __setup_per_zone_wmarks()). */
#define RESERVE_BYTES	(4ULL << 20)
#define RESERVE_DIVISOR 200

static const PmlRam nothing = {.node = -1};

/* --- looking --- */

static int read_text(const char *sysfs, char *buf, size_t size, const char *format, ...)
	_printf_(4, 5);
static int read_text(const char *sysfs, char *buf, size_t size, const char *format, ...)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX];
	va_list ap;
	ssize_t n;
	int k;

	k = snprintf(path, sizeof(path), "%s/", sysfs);
	va_start(ap, format);
	k += vsnprintf(path + k, sizeof(path) - (size_t)k, format, ap);
	va_end(ap);
	if (k >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

static int read_block_bytes(const char *sysfs, uint64_t *ret)
{
	char buf[64];
	int r = read_text(sysfs, buf, sizeof(buf), "devices/system/memory/block_size_bytes");

	if (r < 0)
		return r;
	*ret = strtoull(buf, NULL, 16);
	return *ret ? 0 : -EBADMSG;
}

/* Bytes of one line of a node's meminfo: "Node 1 MemFree:  917104 kB". */
static uint64_t kib_of(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	return p ? strtoull(p + strlen(key), NULL, 10) * 1024 : 0;
}

static int read_meminfo(const char *sysfs, PmlRam *ram)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX], buf[8192];
	ssize_t n;

	(void)snprintf(
		path, sizeof(path), "%s/devices/system/node/node%d/meminfo", sysfs, ram->node);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	ram->total_bytes = kib_of(buf, " MemTotal:");
	ram->free_bytes = kib_of(buf, " MemFree:");
	ram->anon_bytes = kib_of(buf, " AnonPages:");
	ram->file_bytes = kib_of(buf, " FilePages:");
	ram->kernel_bytes =
		kib_of(buf, " Slab:") + kib_of(buf, " PageTables:") + kib_of(buf, " KernelStack:");
	return 0;
}

/* Blocks of the node, its links memoryN. */
static unsigned count_node_blocks(const char *sysfs, int node)
{
	char path[PATH_MAX];
	unsigned n = 0, id;
	struct dirent *de;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/devices/system/node/node%d", sysfs, node);
	d = opendir(path);
	if (!d)
		return 0;
	while ((de = readdir(d)))
		n += sscanf(de->d_name, "memory%u", &id) == 1;
	closedir(d);
	return n;
}

int ram_look(const char *sysfs, int node, uint64_t start, uint64_t size_bytes, PmlRam *ret)
{
	PmlRam ram = nothing;
	uint64_t first, behind;
	char buf[128];
	int r;

	ram.node = node;
	r = read_block_bytes(sysfs, &ram.block_bytes);
	if (r < 0)
		return r;
	/* Linux drivers/dax/kmem.c dax_kmem_range(): what is no whole block is left out. */
	first = (start + ram.block_bytes - 1) / ram.block_bytes;
	behind = (start + size_bytes) / ram.block_bytes;
	for (uint64_t id = first; id < behind; id++) {
		r = read_text(sysfs, buf, sizeof(buf), "devices/system/memory/memory%llu/state",
			(unsigned long long)id);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		ram.n_blocks++;
		if (!pml_streq(buf, "online"))
			continue;
		ram.n_online++;
		if (read_text(sysfs, buf, sizeof(buf),
			    "devices/system/memory/memory%llu/valid_zones",
			    (unsigned long long)id) == 0 &&
			pml_streq(buf, "Movable"))
			ram.n_movable++;
	}
	if (read_text(sysfs, buf, sizeof(buf), "devices/system/memory/auto_online_blocks") == 0)
		ram.auto_online = pml_streq(buf, "online") || pml_streq(buf, "online_kernel");
	if (read_text(sysfs, buf, sizeof(buf), "kernel/mm/numa/demotion_enabled") == 0)
		ram.demotion = pml_streq(buf, "true") || pml_streq(buf, "1");
	if (node >= 0) {
		ram.shared = count_node_blocks(sysfs, node) > ram.n_blocks;
		if (read_text(sysfs, buf, sizeof(buf), "devices/system/node/node%d/cpulist",
			    node) == 0 &&
			buf[0])
			ram.shared = true;
		r = read_meminfo(sysfs, &ram);
		if (r < 0)
			return r;
	}
	*ret = ram;
	return 0;
}

uint32_t pml_ram_obstacles(const PmlRam *ram)
{
	uint32_t o = 0;

	if (ram->node < 0 || ram->shared)
		o |= PML_OBSTACLE_SHARED_NODE;
	if (ram->n_blocks == 0 || ram->n_movable < ram->n_blocks)
		o |= PML_OBSTACLE_NOT_MOVABLE;
	if (ram->auto_online)
		o |= PML_OBSTACLE_AUTO_ONLINE;
	if (ram->demotion)
		o |= PML_OBSTACLE_DEMOTION;
	return o;
}

uint64_t pml_ram_usable_bytes(const PmlRam *ram)
{
	uint64_t reserve = RESERVE_BYTES + ram->total_bytes / RESERVE_DIVISOR;

	if (ram->free_bytes <= reserve)
		return 0;
	return (ram->free_bytes - reserve) / PML_RAM_GRAIN_BYTES * PML_RAM_GRAIN_BYTES;
}

int ram_ram(void *userdata, const PmlRegion *r, PmlRam *ret)
{
	uint64_t start = pml_region_phys_start(r);

	if (start == UINT64_MAX)
		return -ENODATA;
	return ram_look(dax_roots_of(userdata)->sysfs, pml_region_target_node(r), start,
		pml_region_size_bytes(r), ret);
}

/* --- offline --- */

static int wait_child(pid_t pid, int pidfd, int timeout_msec)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	siginfo_t info = {};
	int n;

	do
		n = poll(&p, 1, timeout_msec);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	if (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0)
		return -errno;
	return info.si_code == CLD_EXITED ? -info.si_status : -EINTR;
}

/*
 * Linux mm/memory_hotplug.c offline_pages() tries until it succeeds or a signal is pending, so the
 * write is a process's of its own, which can be killed.
 */
static int write_killable(const PmlDaxRoots *roots, int dir_fd, const char *path, const char *text)
{
	pid_t pid = fork();
	int pidfd, r;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		sigset_t none;

		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		_exit(-roots->write_attr(dir_fd, path, text) & 0xff);
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
	if (pidfd < 0) {
		r = -errno;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	r = wait_child(pid, pidfd, (int)(OFFLINE_BLOCK_USEC / USEC_PER_MSEC));
	if (r == -ETIMEDOUT) {
		(void)kill(pid, SIGKILL);
		(void)wait_child(pid, pidfd, KILL_WAIT_MSEC);
		r = -EBUSY;
	}
	close(pidfd);
	return r;
}

typedef int (*BlockWrite)(const PmlDaxRoots *roots, int dir_fd, const char *path, const char *text);

static int write_direct(const PmlDaxRoots *roots, int dir_fd, const char *path, const char *text)
{
	return roots->write_attr(dir_fd, path, text);
}

/* Every block of the region that is not there yet. The first error ends it. */
static int blocks_set(const PmlDaxRoots *roots, const PmlRegion *r, const PmlRam *ram,
	const char *from, const char *to, BlockWrite write_state)
{
	uint64_t start = pml_region_phys_start(r), id, behind;
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX], buf[64];
	int k = 0;

	(void)snprintf(path, sizeof(path), "%s/devices/system/memory", roots->sysfs);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	id = (start + ram->block_bytes - 1) / ram->block_bytes;
	behind = (start + pml_region_size_bytes(r)) / ram->block_bytes;
	for (; id < behind && k == 0; id++) {
		(void)snprintf(path, sizeof(path), "memory%llu/state", (unsigned long long)id);
		k = dax_read_attr(fd, path, buf, sizeof(buf));
		if (k == -ENODEV || (k == 0 && !pml_streq(buf, from)))
			k = 0;
		else if (k == 0)
			k = write_state(roots, fd, path, to);
	}
	return k;
}

/*
 * Linux drivers/dax/kmem.c dev_dax_kmem_remove() reports success with memory online, and the range
 * is lost until reboot: so the driver is taken away only from what is offline to the last block.
 */
int ram_unbind(const PmlDaxRoots *roots, int device_fd, const PmlRegion *r, bool emptied)
{
	_cleanup_free_ PmlRamUser *users = NULL;
	PmlBinding binding = _PML_BINDING_INVALID;
	PmlRam ram = nothing;
	unsigned n_denied = 0;
	size_t n_users = 0;
	int k;

	k = ram_ram((void *)roots, r, &ram);
	if (k < 0)
		return k;
	/* Offlining would move the guest's memory into the host's, instead of refusing. */
	k = ram_users(roots->proc, ram.node, NULL,
		pml_now_usec(CLOCK_MONOTONIC) + OFFLINE_BLOCK_USEC, &users, &n_users, &n_denied);
	if (k < 0)
		return k;
	for (size_t i = 0; i < n_users; i++)
		if (!emptied || users[i].present_bytes > 0)
			return -EBUSY;
	if (n_denied > 0)
		return -EACCES;
	k = blocks_set(roots, r, &ram, "online", "offline", write_killable);
	if (k < 0)
		return k == -EAGAIN || k == -EINTR ? -EBUSY : k;
	k = ram_ram((void *)roots, r, &ram);
	if (k < 0)
		return k;
	if (ram.n_online > 0)
		return -EBUSY;
	(void)roots->write_attr(device_fd, "driver/unbind", pml_region_name(r));
	k = dax_read_binding(device_fd, &binding);
	if (k < 0)
		return k;
	if (binding != PML_BINDING_NONE)
		return -EBUSY;
	k = ram_ram((void *)roots, r, &ram);
	if (k < 0)
		return k;
	return ram.n_blocks == 0 ? 0 : -EUCLEAN;
}

/* --- online --- */

static int bind_kmem(const PmlDaxRoots *roots, const PmlRegion *r)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX];
	int k;

	(void)snprintf(path, sizeof(path), "%s/bus/dax/drivers/" KMEM_DRIVER, roots->sysfs);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	k = roots->write_attr(fd, "bind", pml_region_name(r));
	/* Linux drivers/dax/bus.c: this driver takes devices by name alone, once they were named.
	 */
	if (k == -ENODEV)
		k = roots->write_attr(fd, "new_id", pml_region_name(r));
	return k;
}

int ram_bind(void *userdata, const PmlRegion *r)
{
	const PmlDaxRoots *roots = dax_roots_of(userdata);
	_cleanup_close_ int fd = -EBADF;
	PmlBinding binding = _PML_BINDING_INVALID;
	PmlRam ram = nothing;
	int k, written = 0;

	k = dax_open_device(roots, r, &fd);
	if (k >= 0)
		k = dax_read_binding(fd, &binding);
	if (k >= 0)
		k = ram_ram(userdata, r, &ram);
	if (k < 0)
		return k;
	if (ram.auto_online)
		return -EPERM;
	if (binding == PML_BINDING_OTHER)
		return -EBUSY;
	if (binding == PML_BINDING_DEVICE_DAX) {
		k = pml_dax_ops.unbind(userdata, r);
		if (k < 0)
			return k;
	}
	if (binding != PML_BINDING_KMEM)
		written = bind_kmem(roots, r);
	k = dax_read_binding(fd, &binding);
	if (k < 0)
		return k;
	if (binding != PML_BINDING_KMEM)
		return written < 0 ? written : -EBUSY;
	k = blocks_set(roots, r, &ram, "offline", "online_movable", write_direct);
	if (k >= 0)
		k = ram_ram(userdata, r, &ram);
	if (k < 0)
		return k;
	return ram.n_blocks > 0 && ram.n_movable == ram.n_blocks ? 0 : -EIO;
}

int ram_populate(
	void *userdata, const PmlRegion *r, pid_t pid, uint64_t start_ticks, uint64_t deadline_usec)
{
	return ram_touch(pml_region_target_node(r), pid, start_ticks, deadline_usec);
}

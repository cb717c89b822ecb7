/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "util.h"
#include "withdraw.h"

/* Below the one that means "none given", and given to nobody (systemd's docs/UIDS-GIDS.md). */
#define UID_OF_NONE	((uid_t)-2)
#define GID_OF_NONE	((gid_t)-2)
#define DISOWN_ATTEMPTS 3

static bool has_ended(const PmlHolder *h)
{
	struct pollfd p = {.fd = h->pidfd, .events = POLLIN};

	return h->pidfd >= 0 && poll(&p, 1, 0) > 0;
}

/* Its /dev, whatever its root is. */
static int open_dev(const PmlHolder *h, int *ret)
{
	_cleanup_close_ int fd = -EBADF;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/root/dev", (int)h->pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

/*
 * A descriptor of the node opens it anew by /proc/self/fd, where the node's owner and mode let the
 * process; one of O_PATH does, too. So the node gets an owner that no process is, and a mode that
 * lets nobody. The mode only an owner changes, and a QEMU that libvirt runs as root is root as we
 * are: hence what it is in the end is looked at.
 */
static int disown(int node_fd)
{
	struct stat st;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", node_fd);
	for (int i = 0; i < DISOWN_ATTEMPTS; i++) {
		if (fchownat(node_fd, "", 0, 0, AT_EMPTY_PATH) < 0 || chmod(path, 0) < 0 ||
			fchownat(node_fd, "", UID_OF_NONE, GID_OF_NONE, AT_EMPTY_PATH) < 0 ||
			fstat(node_fd, &st) < 0)
			return -errno;
		if ((st.st_mode & 07777) == 0 && st.st_uid == UID_OF_NONE)
			return 0;
	}
	return -EPERM;
}

static bool is_node(const PmlRegion *host, const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == pml_region_devno(host);
}

static int withdraw_name(const PmlRegion *host, int dev_fd)
{
	const char *name = pml_region_name(host);
	_cleanup_close_ int node_fd = -EBADF;
	struct stat st;
	int r;

	node_fd = openat(dev_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (node_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(node_fd, &st) < 0)
		return -errno;
	/* What else has the name there is none of ours. */
	if (!is_node(host, &st))
		return 0;
	r = disown(node_fd);
	if (r < 0)
		return r;
	return unlinkat(dev_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* The node behind a descriptor, which may have no name any more, or one in another process's /dev.
 */
static int withdraw_descriptor(const PmlRegion *host, int fds_fd, const char *name, dev_t own_dev)
{
	_cleanup_close_ int node_fd = -EBADF;
	struct stat st;

	/* Not opened before it is known to be the node: this follows the descriptor. */
	if (fstatat(fds_fd, name, &st, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!is_node(host, &st))
		return 0;
	if (st.st_dev == own_dev)
		return -EXDEV;
	node_fd = openat(fds_fd, name, O_PATH | O_CLOEXEC);
	if (node_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(node_fd, &st) < 0)
		return -errno;
	return is_node(host, &st) && st.st_dev != own_dev ? disown(node_fd) : 0;
}

static int withdraw_descriptors(const PmlRegion *host, const PmlHolder *h, dev_t own_dev)
{
	struct dirent *de;
	char path[64];
	int r = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)h->pid);
	d = opendir(path);
	if (!d)
		return -errno;
	/* As with its /dev: the number may be another process's by now. */
	if (has_ended(h)) {
		(void)closedir(d);
		return 0;
	}
	while (r >= 0 && (de = readdir(d)))
		if (de->d_name[0] != '.')
			r = withdraw_descriptor(host, dirfd(d), de->d_name, own_dev);
	(void)closedir(d);
	return r;
}

static int withdraw_from(const PmlRegion *host, const PmlHolder *h)
{
	_cleanup_close_ int dev_fd = -EBADF;
	struct stat own, dev;
	int r;

	r = open_dev(h, &dev_fd);
	/* Looked at after it was opened: the number was still its own then. */
	if (has_ended(h))
		return 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (stat("/dev", &own) < 0 || fstat(dev_fd, &dev) < 0)
		return -errno;
	if (own.st_dev == dev.st_dev)
		return -EXDEV;
	r = withdraw_name(host, dev_fd);
	if (r >= 0)
		r = withdraw_descriptors(host, h, own.st_dev);
	return r < 0 && has_ended(h) ? 0 : r;
}

int withdraw_nodes(const PmlRegion *host, const PmlProof *proof)
{
	const PmlHolder *h;
	size_t i;

	pml_proof_foreach_holder (proof, i, h) {
		int r = withdraw_from(host, h);

		if (r < 0)
			return r;
	}
	return 0;
}

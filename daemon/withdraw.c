/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "util.h"
#include "withdraw.h"

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

static int withdraw_from(const PmlRegion *host, const PmlHolder *h)
{
	const char *name = pml_region_name(host);
	_cleanup_close_ int dev_fd = -EBADF;
	struct stat own, dev, node;
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
	if (fstatat(dev_fd, name, &node, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	/* What else has the name there is none of ours. */
	if (!S_ISCHR(node.st_mode) || node.st_rdev != pml_region_devno(host))
		return 0;
	return unlinkat(dev_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
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

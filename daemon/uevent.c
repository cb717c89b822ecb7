/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <linux/netlink.h>
#include <sys/socket.h>

#include "log.h"
#include "uevent.h"
#include "util.h"
#include "wanted.h"

#define KERNEL_GROUP 1

bool uevent_concerns_us(const char *buf, size_t n, bool block)
{
	static const char key[] = "SUBSYSTEM=";
	const char *end = buf + n;

	/* "ACTION@DEVPATH", then KEY=VALUE, each with its end (Linux lib/kobject_uevent.c,
	 * kobject_uevent_env()). */
	if (n == 0 || buf[n - 1] != '\0' || !strchr(buf, '@'))
		return false;
	for (const char *s = buf; s < end; s += strlen(s) + 1)
		if (strncmp(s, key, sizeof(key) - 1) == 0)
			return strcmp(s + sizeof(key) - 1, "dax") == 0 ||
			       strcmp(s + sizeof(key) - 1, "nd") == 0 ||
			       (block && strcmp(s + sizeof(key) - 1, "block") == 0);
	return false;
}

/* Only the kernel has port 0, and its credentials say uid 0, pid 0: another process could send to
 * our port. */
static bool from_kernel(const struct msghdr *h, const struct sockaddr_nl *from)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(h);
	const struct ucred *cred;

	if (from->nl_pid != 0 || !c || c->cmsg_level != SOL_SOCKET ||
		c->cmsg_type != SCM_CREDENTIALS)
		return false;
	cred = (const struct ucred *)CMSG_DATA(c);
	return cred->pid == 0 && cred->uid == 0;
}

static int on_uevent(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	Manager *m = userdata;
	bool wanted = false;

	for (;;) {
		char buf[8192], control[CMSG_SPACE(sizeof(struct ucred))];
		struct sockaddr_nl from = {};
		struct iovec iov = {buf, sizeof(buf)};
		struct msghdr h = {
			.msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		ssize_t n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			log_notice("Events of the kernel were lost; the host is scanned instead.");
			wanted = true;
			continue;
		}
		if (n < 0)
			break;
		if (from_kernel(&h, &from) && !(h.msg_flags & MSG_TRUNC) &&
			uevent_concerns_us(buf, (size_t)n, wanted_any(m)))
			wanted = true;
	}
	if (wanted)
		(void)manager_rescan(m, NULL, NULL);
	return 0;
}

int uevent_start(Manager *m)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
	_cleanup_close_ int fd = -EBADF;
	int one = 1, size = 1 << 20, r;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (fd < 0)
		return -errno;
	/* A storm that does not fit is an overflow, which is handled; without CAP_NET_ADMIN the
	 * limit is the system's. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	r = sd_event_add_io(m->event, &m->uevent_source, fd, EPOLLIN, on_uevent, m);
	if (r < 0)
		return r;
	m->uevent_fd = TAKE_FD(fd);
	return 0;
}

void uevent_stop(Manager *m)
{
	m->uevent_source = sd_event_source_disable_unref(m->uevent_source);
	closep(&m->uevent_fd);
	m->uevent_fd = -EBADF;
}

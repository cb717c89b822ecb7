/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The interface of a kernel that can revoke: Documentation/ABI/testing/sysfs-bus-dax of the
 * patches. What a kernel can do is asked of the device and its driver, never of a version. */

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>

#include "dax-internal.h"
#include "util.h"

static const char *const pml_revoke_state_table[_PML_REVOKE_STATE_MAX] = {
	[PML_REVOKE_LIVE] = "live",
	[PML_REVOKE_REVOKING] = "revoking",
	[PML_REVOKE_HELD] = "held",
	[PML_REVOKE_REVOKED] = "revoked",
	[PML_REVOKE_UNBOUND] = "unbound",
};

DEFINE_STRING_TABLE(pml_revoke_state, PmlRevokeState)

/* Of an unbound device the attributes of its binding are gone; the driver's own parameter is not.
 */
bool dax_driver_can_revoke(const PmlDaxRoots *roots)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/module/device_dax/parameters/revoke_timeout_ms",
		roots->sysfs);
	return access(path, F_OK) == 0;
}

static int read_state(int state_fd, PmlRevokeState *ret)
{
	char buf[32];
	ssize_t n = pread(state_fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return errno == ENODEV ? -ENODEV : -errno;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	*ret = pml_revoke_state_from_string(buf);
	return (int)*ret < 0 || *ret == PML_REVOKE_UNBOUND ? -EBADMSG : 0;
}

/* With patches that do not know quarantine, unbinding has waited for every reference. */
static void read_unbound(int dir_fd, PmlRevocation *ret)
{
	uint64_t quarantined = 0;

	(void)dax_read_u64(dir_fd, "quarantined", &quarantined);
	*ret = (PmlRevocation){.state = PML_REVOKE_UNBOUND, .held = quarantined};
}

/* -ENODEV: the binding has ended meanwhile. */
static int read_bound(int dir_fd, PmlRevocation *ret)
{
	_cleanup_close_ int state_fd = openat(dir_fd, "revoke_state", O_RDONLY | O_CLOEXEC);
	PmlRevocation v = {0};
	int r;

	if (state_fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	r = read_state(state_fd, &v.state);
	if (r == 0)
		r = dax_read_u64(dir_fd, "generation", &v.generation);
	if (r == 0 && v.state == PML_REVOKE_HELD) {
		r = dax_read_u64(dir_fd, "revoke_held", &v.held);
		/* Held is held, whatever it counted last. */
		if (r == 0 && v.held == 0)
			v.held = 1;
	}
	if (r == 0)
		*ret = v;
	return r;
}

static int read_revocation(const PmlDaxRoots *roots, int dir_fd, PmlRevocation *ret)
{
	PmlBinding binding;
	int r;

	if (!dax_driver_can_revoke(roots))
		return -EOPNOTSUPP;
	/* Bound and unbound look alike for a moment to who asks twice. */
	for (int i = 0; i < 3; i++) {
		r = dax_read_binding(dir_fd, &binding);
		if (r < 0)
			return r;
		if (binding == PML_BINDING_NONE) {
			read_unbound(dir_fd, ret);
			return 0;
		}
		if (binding != PML_BINDING_DEVICE_DAX)
			return -EOPNOTSUPP;
		r = read_bound(dir_fd, ret);
		if (r != -ENODEV)
			return r;
	}
	return -EAGAIN;
}

int dax_revocation(void *userdata, const PmlRegion *r, PmlRevocation *ret)
{
	const PmlDaxRoots *roots = dax_roots_of(userdata);
	_cleanup_close_ int fd = -EBADF;
	int k;

	k = dax_open_device(roots, r, &fd);
	return k < 0 ? k : read_revocation(roots, fd, ret);
}

bool dax_was_revoked(int dir_fd)
{
	PmlRevocation v;

	return read_bound(dir_fd, &v) == 0 && v.state != PML_REVOKE_LIVE;
}

/* Until the state is another one than `revoking`, or the time is over. -ENODEV: the binding ended.
 */
static int wait_state(int state_fd, uint64_t timeout_usec)
{
	uint64_t now = pml_now_usec(CLOCK_MONOTONIC), end;

	if (__builtin_add_overflow(now, timeout_usec, &end))
		end = UINT64_MAX;
	for (;;) {
		struct pollfd p = {.fd = state_fd, .events = POLLPRI};
		PmlRevokeState state = _PML_REVOKE_STATE_INVALID;
		uint64_t left_msec;
		int r;

		/* Read before each wait: only what changes after a read wakes the wait. */
		r = read_state(state_fd, &state);
		if (r < 0)
			return r;
		if (state != PML_REVOKE_REVOKING && state != PML_REVOKE_LIVE)
			return 0;
		now = pml_now_usec(CLOCK_MONOTONIC);
		if (now >= end)
			return -ETIMEDOUT;
		left_msec = (end - now) / USEC_PER_MSEC + 1;
		if (poll(&p, 1, left_msec > INT_MAX ? INT_MAX : (int)left_msec) < 0 &&
			errno != EINTR)
			return -errno;
	}
}

/*
 * The number is read and written behind one directory that was checked. Where somebody binds anew
 * in between, the kernel refuses the number (ESTALE), and what was meant to be revoked is no more.
 */
int dax_revoke(void *userdata, const PmlRegion *r, uint64_t timeout_usec, PmlRevocation *ret)
{
	const PmlDaxRoots *roots = dax_roots_of(userdata);
	_cleanup_close_ int fd = -EBADF, state_fd = -EBADF;
	PmlRevocation v = {0};
	char number[32];
	int k;

	k = dax_open_device(roots, r, &fd);
	if (k == 0)
		k = read_revocation(roots, fd, &v);
	if (k < 0)
		return k;
	if (v.state != PML_REVOKE_UNBOUND) {
		state_fd = openat(fd, "revoke_state", O_RDONLY | O_CLOEXEC);
		if (state_fd < 0 && errno != ENOENT)
			return -errno;
		(void)snprintf(number, sizeof(number), "%" PRIu64, v.generation);
		k = state_fd < 0 ? -ENODEV : roots->write_attr(fd, "revoke", number);
		/* Another binding than that whose number was read: revoked is that one, too. */
		if (k == -ESTALE)
			return -EAGAIN;
		if (k == 0)
			k = wait_state(state_fd, timeout_usec);
		if (k < 0 && k != -ENODEV && k != -ENOENT && k != -ETIMEDOUT)
			return k;
	}
	if (k == -ETIMEDOUT) {
		(void)read_revocation(roots, fd, ret);
		return k;
	}
	return read_revocation(roots, fd, ret);
}

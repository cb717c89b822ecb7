/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cgroup.h"
#include "fence.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include "util.h"

/* A killed process may be in the middle of a read of its disk. */
#define DESTROY_WAIT_USEC (5 * USEC_PER_SEC)
#define UNPLUG_WAIT_USEC  USEC_PER_SEC
#define UNPLUG_AGAIN_MSEC 10

static const char *const pml_fence_level_table[_PML_FENCE_LEVEL_MAX] = {
	[PML_FENCE_NONE] = "none",
	[PML_FENCE_UNPLUG] = "unplug",
	[PML_FENCE_DESTROY] = "destroy",
	[PML_FENCE_UNBIND] = "unbind",
	[PML_FENCE_REVOKE] = "revoke",
};

DEFINE_STRING_TABLE(pml_fence_level, PmlFenceLevel)

/*
 * One way to fence. supported() says whether this system can take it for this region, without
 * touching anything. run() does it, checks the result, and fills *res as it goes.
 */
typedef struct Rung {
	PmlFenceLevel level;
	bool (*supported)(const PmlRegion *r, const PmlDaxOps *dax);
	int (*run)(const PmlFenceRequest *req, PmlFenceResult *res);
} Rung;

/*
 * 1: we froze it now; 0: not frozen, or by somebody else before, who will also thaw it. No failure
 * stops the fence: a guest that runs on only burns its processor at the removed pages.
 */
static int freeze_machine(const PmlFenceRequest *req, PmlFenceResult *res)
{
	uint64_t begin = pml_now_usec(CLOCK_MONOTONIC), deadline;
	bool before = false;
	int r;

	if (!req->machine_cgroup)
		return 0;
	if (__builtin_add_overflow(begin, req->freeze_timeout_usec, &deadline))
		deadline = UINT64_MAX;
	r = pml_cgroup_frozen(req->machine_cgroup, &before);
	if (r == 0)
		r = pml_cgroup_freeze(req->machine_cgroup, deadline);
	res->freeze_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	res->frozen = r == 0 || r == -ETIMEDOUT;
	if (r < 0)
		pml_debug("%s: freezing %s: %s", pml_region_name(req->region), req->machine_cgroup,
			strerrordesc_np(-r));
	return res->frozen && !before;
}

static bool unbind_supported(const PmlRegion *r, const PmlDaxOps *dax)
{
	return pml_region_kind(r) == PML_KIND_DEVDAX && dax && dax->binding && dax->unbind;
}

static int unbind_checked(const PmlFenceRequest *req)
{
	const PmlDaxOps *dax = req->dax;
	PmlBinding binding;
	int r;

	r = req->emptied && dax->unbind_emptied ? dax->unbind_emptied(dax->userdata, req->region)
						: dax->unbind(dax->userdata, req->region);
	if (r < 0)
		return r;
	r = dax->binding(dax->userdata, req->region, &binding);
	if (r < 0)
		return r;
	return binding == PML_BINDING_NONE ? 0 : -EBUSY;
}

/*
 * Freezing comes first: once the pages are gone, a processor of the guest that touches one never
 * leaves KVM's retries on a stock kernel, and a frozen one touches nothing.
 */
static int unbind_run(const PmlFenceRequest *req, PmlFenceResult *res)
{
	const PmlDaxOps *dax = req->dax;
	PmlBinding binding;
	uint64_t begin;
	int r, froze;

	/* Another device of that name, or memory that is the kernel's own now, is none of the
	 * machine's business. */
	r = dax->binding(dax->userdata, req->region, &binding);
	if (r == -ESTALE)
		return r;
	/*
	 * Linux drivers/dax/kmem.c dev_dax_kmem_remove() reports success with memory still online,
	 * and the range is then lost until reboot. No file of device-dax reaches a region that is
	 * bound so.
	 */
	if (r == 0 && binding == PML_BINDING_KMEM)
		return -EBUSY;
	froze = freeze_machine(req, res);
	begin = pml_now_usec(CLOCK_MONOTONIC);
	r = unbind_checked(req);
	res->unmap_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	if (r == -ENODEV) {
		res->region_gone = true;
		r = 0;
	}
	if (r == -ESTALE && froze) {
		int t = pml_cgroup_thaw(req->machine_cgroup);

		/* Left frozen is for the caller to know. */
		res->frozen = t < 0 && t != -ENOENT;
	}
	return r;
}

static bool revoke_supported(const PmlRegion *r, const PmlDaxOps *dax)
{
	return pml_region_can_revoke(r) && dax && dax->revoke && unbind_supported(r, dax);
}

/*
 * The guest runs on: what it touches of this memory is a machine check. The driver is taken from
 * the device afterwards, which is quick then, so that nobody opens it before it is proved; files of
 * the revoked binding are refused in every later one. While the kernel holds references, unbinding
 * would wait for them, or burn the range.
 */
static int revoke_run(const PmlFenceRequest *req, PmlFenceResult *res)
{
	const PmlDaxOps *dax = req->dax;
	uint64_t begin = pml_now_usec(CLOCK_MONOTONIC);
	PmlRevocation v = {0};
	PmlBinding binding;
	int r;

	r = dax->binding(dax->userdata, req->region, &binding);
	if (r == 0 && binding != PML_BINDING_DEVICE_DAX)
		/* Somebody unbound it: its guest gets errors, not machine checks. */
		return -EOPNOTSUPP;
	if (r == 0)
		r = dax->revoke(dax->userdata, req->region, req->revoke_timeout_usec, &v);
	/* Bound anew by somebody in the middle: that binding is not to live either. */
	if (r == -EAGAIN)
		r = dax->revoke(dax->userdata, req->region, req->revoke_timeout_usec, &v);
	res->held = v.held;
	if (r == 0)
		r = v.held > 0 ? -EBUSY : unbind_checked(req);
	else if (r == -ETIMEDOUT)
		r = -EBUSY;
	res->unmap_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	if (r == -ENODEV) {
		res->region_gone = true;
		r = 0;
	}
	return r;
}

static bool destroy_supported(const PmlRegion *r, const PmlDaxOps *dax)
{
	return pml_region_kind(r) == PML_KIND_BDEV;
}

/* 0: the process has ended; -ETIMEDOUT. */
static int wait_end(int pidfd, uint64_t timeout_usec)
{
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + timeout_usec, now;
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	do {
		int n;

		now = pml_now_usec(CLOCK_MONOTONIC);
		n = poll(&p, 1, now >= end ? 0 : (int)((end - now) / USEC_PER_MSEC) + 1);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	} while (now < end);
	return -ETIMEDOUT;
}

/*
 * No driver can be taken from a block device whose pages are mapped: the process goes. Its end is
 * what makes its mappings, descriptors and rings go, and is waited for; what it had handed on is
 * left to the proof.
 */
static int destroy_run(const PmlFenceRequest *req, PmlFenceResult *res)
{
	uint64_t begin = pml_now_usec(CLOCK_MONOTONIC);
	int r;

	if (req->machine_pidfd < 0)
		return 0;
	r = wait_end(req->machine_pidfd, req->ask_timeout_usec);
	if (r == -ETIMEDOUT) {
		r = 0;
		if (syscall(SYS_pidfd_send_signal, req->machine_pidfd, SIGKILL, NULL, 0U) < 0 &&
			errno != ESRCH)
			r = -errno;
		if (r == 0)
			r = wait_end(req->machine_pidfd, DESTROY_WAIT_USEC);
	}
	res->unmap_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	res->destroyed = r == 0;
	return r == -ETIMEDOUT ? -EBUSY : r;
}

static bool unplug_supported(const PmlRegion *r, const PmlDaxOps *dax)
{
	return pml_region_kind(r) == PML_KIND_SYSRAM && dax && dax->binding && dax->unbind;
}

/*
 * Memory of the host: what a guest has given back is taken offline and unbound; what it keeps is
 * left to it, since the kernel would only move it into the host's own memory. QEMU frees a
 * backend's memory a moment after libvirt has told of its removal.
 */
static int unplug_run(const PmlFenceRequest *req, PmlFenceResult *res)
{
	uint64_t begin = pml_now_usec(CLOCK_MONOTONIC);
	int r;

	if (req->machine_pidfd >= 0) {
		r = destroy_run(req, res);
		if (r < 0)
			return r;
	}
	do
		r = unbind_checked(req);
	while (r == -EBUSY && pml_now_usec(CLOCK_MONOTONIC) - begin < UNPLUG_WAIT_USEC &&
		poll(NULL, 0, UNPLUG_AGAIN_MSEC) == 0);
	res->unmap_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	if (r == -ENODEV) {
		res->region_gone = true;
		r = 0;
	}
	return r;
}

/* Best first. */
static const Rung rungs[] = {
	{PML_FENCE_REVOKE, revoke_supported, revoke_run},
	{PML_FENCE_UNBIND, unbind_supported, unbind_run},
	{PML_FENCE_DESTROY, destroy_supported, destroy_run},
	{PML_FENCE_UNPLUG, unplug_supported, unplug_run},
};

static const Rung *best_rung(const PmlRegion *r, const PmlDaxOps *dax)
{
	for (size_t i = 0; i < ELEMENTSOF(rungs); i++)
		if (rungs[i].supported(r, dax))
			return &rungs[i];
	return NULL;
}

PmlFenceLevel pml_fence_level(const PmlRegion *r, const PmlDaxOps *dax)
{
	const Rung *rung = best_rung(r, dax);

	return rung ? rung->level : PML_FENCE_NONE;
}

int pml_fence_run(const PmlFenceRequest *req, PmlFenceResult *ret)
{
	int r = -EOPNOTSUPP;

	*ret = (PmlFenceResult){.level = PML_FENCE_NONE};
	/* One that finds at its try that it cannot be taken leaves the region to the next. */
	for (size_t i = 0; i < ELEMENTSOF(rungs) && r == -EOPNOTSUPP; i++) {
		if (!rungs[i].supported(req->region, req->dax))
			continue;
		ret->level = rungs[i].level;
		r = rungs[i].run(req, ret);
	}
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The fence ladder: making every mapping of a region unreachable by force. A table of rungs, best
 * first; the first one that the running system supports for a region is taken, named, and no more
 * is claimed than it gives.
 */

#include <stdbool.h>
#include <stdint.h>

#include "dax.h"
#include "region.h"

typedef enum PmlFenceLevel {
	PML_FENCE_NONE,	  /* nothing can be guaranteed for this region */
	PML_FENCE_UNPLUG, /* memory of the host, once its guest has given it back */
	PML_FENCE_DESTROY,
	PML_FENCE_UNBIND,
	PML_FENCE_REVOKE,
	_PML_FENCE_LEVEL_MAX,
	_PML_FENCE_LEVEL_INVALID = -22,
} PmlFenceLevel;

const char *pml_fence_level_to_string(PmlFenceLevel v);
PmlFenceLevel pml_fence_level_from_string(const char *s);

typedef struct PmlFenceRequest {
	PmlRegion *region;
	const PmlDaxOps *dax;
	/*
	 * The machine to freeze before an `unbind`: its guest would spin in KVM at the first touch.
	 * NULL: nothing is frozen (the guest let go by itself, or is gone).
	 */
	const char *machine_cgroup;
	/*
	 * Of `destroy`, and of `unplug` where the lease allows it: the machine to be ended,
	 * borrowed; -EBADF: it has ended, or nobody had the region. Somebody else was asked to end
	 * it (libvirt): that is waited for this long before it is killed.
	 */
	int machine_pidfd;
	uint64_t ask_timeout_usec;
	/* Of `unplug`: libvirt has said that the guest has nothing of it any more. The machine may
	 * keep its place; whoever asks sees to it that nothing is bound again before that goes. */
	bool emptied;
	uint64_t
		revoke_timeout_usec; /* after it what the kernel still holds is left to the proof */
	uint64_t freeze_timeout_usec; /* after it the unbind goes on all the same: a fence never
					 waits for the guest */
} PmlFenceRequest;

typedef struct PmlFenceResult {
	PmlFenceLevel level;
	bool frozen;	/* the machine's cgroup is frozen, or was asked to: thaw it once libvirt has
			   paused the machine */
	bool destroyed; /* the machine was there, and has ended */
	uint64_t held;	/* references that the kernel still had after a `revoke` */
	bool region_gone; /* the device vanished before or meanwhile: nothing maps it any more */
	uint64_t freeze_usec;
	uint64_t unmap_usec;
} PmlFenceResult;

/* The best rung for this region on this system. */
PmlFenceLevel pml_fence_level(const PmlRegion *r, const PmlDaxOps *dax);

/*
 * Climbs the ladder once: freezes, unmaps by the best rung, checks the result. Blocks in the kernel
 * for as long as zapping takes. Idempotent: a region that is already unbound or gone is fenced.
 * Needs no libvirt, no bus, no disk. 0; -EOPNOTSUPP: no rung; -ESTALE: the name is another device
 * now, nothing was touched; -EBUSY: the kernel did not do it, or holds references on the memory for
 * somebody (`revoke`: nobody has it mapped any more, and it stays bound until they are gone), or
 * the memory is the kernel's own by now (dax_kmem), which is left alone: unbinding that loses the
 * range until reboot. *ret is filled on failure too, with what was frozen.
 */
int pml_fence_run(const PmlFenceRequest *req, PmlFenceResult *ret);

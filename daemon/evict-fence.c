/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Mark, fence, prove: the part of an eviction that begins when its deadline passes, whatever
 * libvirt, the guest, the ledger's disk or the bus are doing. Nothing here may call any of them.
 */

#include <poll.h>

#include "evict.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

/* How long a machine may be looked for whose process was never learnt (its attach was still going
 * on). */
#define FIND_MACHINE_USEC USEC_PER_SEC
/* How long libvirt has to end a machine before it is killed. */
#define FENCE_AGAIN_USEC (100 * USEC_PER_MSEC)
#define ASK_DESTROY_USEC (2 * USEC_PER_SEC)

int evict_mark_run(void *userdata)
{
	EvictData *d = userdata;
	PmlMark mark = {
		.state = PML_LEASE_FENCING,
		.frozen = !d->released && !d->ram,
		.released = d->released,
	};
	int r;

	d->ran = true;
	if (!d->leased)
		return 0;
	(void)PML_STRCPY(mark.lease, d->rec.id);
	r = pml_mark_write(d->marks_fd, &mark);
	/* The ledger has the intent: without the mark a restart fences again, which is right too.
	 */
	if (r < 0)
		log_warning("Could not mark the fence of lease %s in /run: %s. Going on.",
			d->rec.id, strerror(-r));
	return 0;
}

static void take_machine(EvictData *d, const PmlProof *proof)
{
	_cleanup_free_ char *cgroup = NULL;
	const PmlHolder *h;
	size_t i;

	pml_proof_foreach_holder (proof, i, h) {
		if (cgroup || pml_cgroup_of_machine(h->pid, &cgroup) < 0)
			continue;
		if (PML_STRCPY(d->rec.vmm_cgroup, cgroup) < 0)
			continue;
		d->rec.vmm_pid = h->pid;
		d->rec.vmm_start = h->start_ticks;
	}
}

static void machine_of_holders(EvictData *d)
{
	PmlProof *proof = NULL;

	if (op_find_holders(d->manager, d->host, NULL, FIND_MACHINE_USEC, &proof) < 0)
		return;
	take_machine(d, proof);
	pml_proof_free(proof);
}

/* The pidfd is held over the fence, so that the pid stays what was checked. */
static int machine_to_freeze(EvictData *d, char **ret_cgroup)
{
	_cleanup_free_ char *cgroup = NULL;
	_cleanup_close_ int fd = -EBADF;

	if (!d->leased)
		return -EBADF;
	if (d->rec.vmm_pid == 0)
		machine_of_holders(d);
	if (op_pidfd_open(d->rec.vmm_pid, d->rec.vmm_start, &fd) < 0) {
		d->vmm_gone = d->rec.vmm_pid != 0;
		return -EBADF;
	}
	if (pml_cgroup_of_machine(d->rec.vmm_pid, &cgroup) >= 0) {
		(void)PML_STRCPY(d->rec.vmm_cgroup, cgroup);
		*ret_cgroup = TAKE_PTR(cgroup);
	}
	return TAKE_FD(fd);
}

int evict_fence_run(void *userdata)
{
	EvictData *d = userdata;
	_cleanup_free_ char *cgroup = NULL;
	_cleanup_close_ int pidfd = -EBADF;
	PmlFenceRequest req;

	d->ran = true;
	if (!d->host) {
		d->fence.region_gone = true;
		return 0;
	}
	pidfd = machine_to_freeze(d, &cgroup);
	req = (PmlFenceRequest){
		.region = d->host,
		.dax = d->manager->dax,
		/* A guest that has let go touches nothing of it, and runs on. */
		.machine_cgroup = d->released || d->ram ? NULL : cgroup,
		.machine_pidfd = d->ram && !d->asked ? -EBADF : pidfd,
		.ask_timeout_usec = d->asked ? ASK_DESTROY_USEC : 0,
		.revoke_timeout_usec = d->proof_timeout_usec,
		.emptied = d->emptied,
		.freeze_timeout_usec = d->freeze_timeout_usec,
	};
	d->fence_r = pml_fence_run(&req, &d->fence);
	d->vmm_gone = d->vmm_gone || d->fence.destroyed;
	lie_begin(d);
	return d->fence_r;
}

/*
 * Unreachable and unexplained count as proved behind a fence that succeeded: what is unbound can be
 * reached through no descriptor, seen or in flight. It stays unbound until the last one is
 * explained, which settle sees to.
 */
static bool proof_suffices(const EvictData *d, const PmlProof *proof)
{
	switch (pml_proof_verdict(proof)) {
	case PML_PROOF_CLEAR:
		return true;
	case PML_PROOF_REVOKED:
	case PML_PROOF_UNREACHABLE:
	case PML_PROOF_UNEXPLAINED:
		return d->fence_r == 0;
	case PML_PROOF_REACHABLE:
	case _PML_PROOF_VERDICT_MAX:
	case _PML_PROOF_VERDICT_INVALID:
		break;
	}
	return false;
}

static void fence_again(EvictData *d)
{
	PmlFenceRequest req = {
		.region = d->host,
		.dax = d->manager->dax,
		.machine_pidfd = -EBADF,
		.emptied = d->emptied,
		.revoke_timeout_usec = FENCE_AGAIN_USEC,
	};
	PmlFenceResult result;

	/* The machine stays as the first fence left it. */
	d->fence_r = pml_fence_run(&req, &result);
	if (d->fence_r == 0)
		d->fence.level = result.level;
}

/* Proves once. A look that had no time left to settle says less than the one before, of who has
 * it, too. */
static int look_once(EvictData *d, uint64_t timeout_usec)
{
	PmlProof *proof;
	int r;

	r = op_prove(d->manager, d->host, pml_fence_level_to_string(d->fence.level), true,
		timeout_usec, &proof);
	if (r < 0)
		return r;
	d->proved = proof_suffices(d, proof);
	if (d->proof && !d->proved && !pml_proof_settled(proof)) {
		pml_proof_free(proof);
		return 0;
	}
	pml_proof_free(d->proof);
	d->proof = proof;
	return 0;
}

int evict_prove_run(void *userdata)
{
	EvictData *d = userdata;
	uint64_t now = pml_now_usec(CLOCK_MONOTONIC), end = now + d->proof_timeout_usec;
	PmlMark mark = {
		.state = PML_LEASE_STUCK,
		.frozen = d->fence.frozen,
		.released = d->released,
	};
	int r = -ENODEV;

	d->ran = true;
	d->proved = false;
	d->proof = pml_proof_free(d->proof);
	for (uint64_t pause_msec = 20; d->host && now < end;
		now = pml_now_usec(CLOCK_MONOTONIC), pause_msec *= 2) {
		r = look_once(d, end - now);
		if (r >= 0 && d->proved)
			break;
		fence_again(d);
		/* Nobody announces that a page has gone from a table; the first repetitions come
		 * quickly. */
		(void)poll(NULL, 0, (int)(pause_msec < 1000 ? pause_msec : 1000));
	}
	if (d->proof)
		(void)pml_proof_to_json(d->proof, &d->proof_json);
	/* Invariant 3: a proof that cannot be written down is none. */
	d->proved = d->proved && d->proof_json;

	lie_look(d);
	/* An attach that was still going on when the fence began has got hold of a dead device. */
	if (d->leased && d->rec.vmm_pid == 0 && d->proof)
		take_machine(d, d->proof);
	if (d->leased) {
		(void)PML_STRCPY(mark.lease, d->rec.id);
		mark.state = d->proved ? PML_LEASE_FENCED : PML_LEASE_STUCK;
		mark.proof_json = d->proof_json;
		r = pml_mark_write(d->marks_fd, &mark);
		if (r < 0)
			log_warning("Could not mark the proof of lease %s in /run: %s.", d->rec.id,
				strerror(-r));
	}
	return 0;
}

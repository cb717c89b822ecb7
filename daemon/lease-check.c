/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a lease looks at outside of the main thread: who holds the region before, and what QEMU
 * really maps after. */

#include <poll.h>
#include <sys/stat.h>

#include "lease-job.h"
#include "log.h"
#include "machine-check.h"
#include "ops-internal.h"
#include "util.h"

/* For how long references that nobody explains are looked at again, before they are a refusal. */
#define LOOK_AGAIN_USEC (2 * USEC_PER_SEC)

LeaseData *lease_data_new(Manager *m, Region *region)
{
	LeaseData *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->manager = m;
	d->region = region;
	d->claim_fd = -EBADF;
	d->dax = m->dax;
	d->ops = m->virt_ops;
	d->virt = m->virt;
	d->proof_timeout_usec = m->config.proof_timeout_usec;
	if (region->host)
		d->host = pml_region_ref(region->host);
	return d;
}

void lease_data_free(void *userdata)
{
	LeaseData *d = userdata;

	ledger_change_clear(&d->change);
	sd_event_source_disable_unref(d->timer);
	pml_region_unref(d->host);
	pml_proof_free(d->proof);
	closep(&d->claim_fd);
	free(d->replaced_why);
	free(d->why);
	free(d);
}

int lease_change_run(void *userdata)
{
	LeaseData *d = userdata;

	return ledger_change_run(&d->change);
}

static bool is_block(const PmlRegion *host)
{
	return pml_region_kind(host) == PML_KIND_BDEV;
}

void lease_take_claim(Job *job)
{
	LeaseData *d = job->data;

	if (d->claim_fd < 0 || !job->lease)
		return;
	closep(&job->lease->claim_fd);
	job->lease->claim_fd = TAKE_FD(d->claim_fd);
}

/* 0: claimed, or of a kind that needs none; -EBUSY: the host uses it. */
static int claim(LeaseData *d)
{
	if (!is_block(d->host) || !d->dax->claim || d->claim_fd >= 0)
		return 0;
	return d->dax->claim(d->dax->userdata, d->host, &d->claim_fd);
}

int lease_node_check(const LeaseData *d)
{
	PmlBinding binding;
	struct stat st;
	int r;

	r = d->dax->binding(d->dax->userdata, d->host, &binding);
	if (r < 0)
		return r;
	if (d->mem.ram)
		return binding == PML_BINDING_KMEM ? 0 : -ENXIO;
	if (binding != PML_BINDING_DEVICE_DAX && binding != PML_BINDING_BLOCK)
		return -ENXIO;
	/* Looked at by the open() of it. */
	if (is_block(d->host))
		return 0;
	/* libvirt opens by path: not through a symbolic link that somebody put there, nor a node
	 * that means another device. */
	if (lstat(pml_region_path(d->host), &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != pml_region_devno(d->host))
		return -ESTALE;
	return 0;
}

/*
 * References that no process explains, while others of our own jobs begin and end: their count is
 * one of all devices, and a file that was open when it was read, both times, need not have been
 * open when the processes were looked at. Such a one is gone at the next look, or at one soon
 * after; a descriptor that really is in flight is not.
 */
static bool may_pass(const PmlProof *proof)
{
	return !pml_proof_frees(pml_proof_verdict(proof)) &&
	       pml_proof_module_refs(proof) != UINT64_MAX && pml_proof_unexplained_refs(proof) != 0;
}

static int prove_free(LeaseData *d)
{
	uint64_t now = pml_now_usec(CLOCK_MONOTONIC), end = now + LOOK_AGAIN_USEC;
	int r;

	for (int pause_msec = 20;; pause_msec *= 2) {
		d->proof = pml_proof_free(d->proof);
		r = op_prove(d->manager, d->host, "none", false, d->proof_timeout_usec, &d->proof);
		if (r < 0)
			return r;
		now = pml_now_usec(CLOCK_MONOTONIC);
		if (!may_pass(d->proof) || now >= end)
			return pml_proof_frees(pml_proof_verdict(d->proof)) ? 0 : 1;
		(void)poll(NULL, 0, pause_msec);
	}
}

int lease_holders_run(void *userdata)
{
	LeaseData *d = userdata;
	uint64_t refs, per_file;
	int r;

	r = lease_node_check(d);
	if (r == 0 && d->mem.ram)
		return lease_ram_look(d);
	if (r < 0)
		return r;
	/* Every open file of a device-dax device, and every mapping by its file, is a reference.
	 * Where there is none at all, nobody has this one either. */
	if (!is_block(d->host) && d->dax->module_refs(d->dax->userdata, &refs, &per_file) == 0 &&
		refs == 0)
		return 0;
	/* Before the look, so that nobody comes in between. */
	if (d->claims) {
		r = claim(d);
		if (r < 0)
			return r;
	}
	return prove_free(d);
}

/* Is it what was lent? Fills `mapped`. */
static bool is_whole(const LeaseData *d, const PmlHolder *h)
{
	/* After a restart it is not known how much of the node was free then. */
	if (d->mem.ram)
		return h->mapped_bytes > 0 && (!d->ram_bytes || h->mapped_bytes >= d->ram_bytes);
	return h->mapped_bytes >= pml_region_size_bytes(d->host);
}

int lease_check_run(void *userdata)
{
	LeaseData *d = userdata;
	const PmlHolder *h;
	size_t i;
	int r;

	d->mapped = d->panics = false;
	if (!d->host)
		return -ENODEV;
	/* After a restart of the daemon. Who took the device meanwhile is seen by nobody's
	 * exclusion: the machine keeps it, and the operator hears of it. */
	if (d->checked_active && claim(d) < 0)
		log_full(LOG_WARNING, &(LogFields){.lease = d->rec.id, .region = d->rec.region},
			"%s is lent, and could not be claimed again: the host may be using it.",
			pml_region_path(d->host));
	d->proof = pml_proof_free(d->proof);
	r = op_find_holders(d->manager, d->host, d->rec.domain, d->proof_timeout_usec, &d->proof);
	if (r < 0)
		return r;
	pml_proof_foreach_holder (d->proof, i, h) {
		_cleanup_free_ char *cgroup = NULL;
		bool another = d->checked_active &&
			       (h->pid != d->rec.vmm_pid || h->start_ticks != d->rec.vmm_start);

		if (another || !is_whole(d, h)) {
			log_full(LOG_WARNING,
				&(LogFields){.lease = d->rec.id, .region = d->rec.region},
				"Process %d (%s) holds region %s as well.", (int)h->pid, h->command,
				d->rec.region);
			continue;
		}
		d->mapped = true;
		d->panics =
			pml_region_can_revoke(d->host) &&
			(d->manager->recovers ? d->manager->recovers : machine_check_recovers_pid)(
				h->pid, h->start_ticks) == 0;
		if (d->checked_active)
			continue;
		d->rec.vmm_pid = h->pid;
		d->rec.vmm_start = h->start_ticks;
		if (pml_cgroup_of_machine(h->pid, &cgroup) < 0 ||
			PML_STRCPY(d->rec.vmm_cgroup, cgroup) < 0)
			d->rec.vmm_cgroup[0] = 0;
	}
	return d->mapped && d->mem.ram && !d->checked_active ? lease_ram_populate(d) : 0;
}

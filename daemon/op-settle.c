/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What was fenced stays unbound until its last holder is gone. Every end of a holder begins these
 * steps again. The lease is released first; the region is free only when it is bound, so that a
 * crash in between leaves `evicted` without a lease, which is finished at the next start.
 */

#include "log.h"
#include "ops-internal.h"
#include "plugged.h"
#include "settle.h"
#include "util.h"
#include "withdraw.h"

#define RETRY_MIN_USEC USEC_PER_SEC
#define RETRY_MAX_USEC (60 * USEC_PER_SEC)

typedef struct RescanFor {
	Manager *manager;
	char region[PML_NAME_LEN];
} RescanFor;

SettleData *settle_data_new(Manager *m, Region *region, bool readmit)
{
	SettleData *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->manager = m;
	d->readmit = readmit;
	d->dax = m->dax;
	d->ops = m->virt_ops;
	d->proof_timeout_usec = m->config.proof_timeout_usec;
	/* Of a device that has gone, its number is what an old holder is found by. */
	d->host = pml_region_ref(region->host ? region->host : region->last);
	if (region->lease && region->lease->record.virtio_mem) {
		d->virtio_mem = true;
		d->emptied = region->lease->record.plugged_bytes == 0;
	}
	return d;
}

void settle_data_free(void *userdata)
{
	SettleData *d = userdata;

	ledger_change_clear(&d->change);
	pml_region_unref(d->host);
	pml_proof_free(d->proof);
	free(d->proof_json);
	free(d->why);
	free(d);
}

/* --- when --- */

static bool waits_for_settling(const Region *region)
{
	const Lease *lease = region->lease;

	if (lease)
		return !lease->marked && (lease->record.state == PML_LEASE_FENCED ||
						 lease->record.state == PML_LEASE_STUCK);
	return region->record.use == PML_USE_EVICTED && !region->record.reason[0] &&
	       !op_bytes_are_lent(region);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata)
{
	Region *region = userdata;

	sd_event_source_disable_unref(region->retry);
	region->retry = NULL;
	settle_kick(region);
	return 0;
}

void settle_retry_later(Region *region)
{
	int r;

	region->retry_usec = region->retry_usec ? region->retry_usec * 2 : RETRY_MIN_USEC;
	if (region->retry_usec > RETRY_MAX_USEC)
		region->retry_usec = RETRY_MAX_USEC;
	sd_event_source_disable_unref(region->retry);
	region->retry = NULL;
	r = sd_event_add_time_relative(region->manager->event, &region->retry, CLOCK_BOOTTIME,
		region->retry_usec, USEC_PER_SEC / 10, on_retry, region);
	if (r < 0)
		log_error(
			"Could not set a timer for region %s: %s. `pmemlease readmit` proves it again.",
			region_label(region), strerror(-r));
}

int op_settle_kick(Region *region)
{
	const Lease *lease = region->lease;
	SettleData *d;
	int r;

	/* A region that was missing when the host came up is back. */
	if (lease && lease->recorded && region->host && !region->job &&
		lease->record.state <= PML_LEASE_FENCING &&
		lease->record.state != PML_LEASE_RESERVED &&
		!pml_streq(lease->record.boot_id, region->manager->boot_id))
		return evict_force(region, "the host has restarted");
	if (!waits_for_settling(region))
		return 0;
	if (region->job) {
		if (region->job->kind == &op_settle_kind || region->job->kind == &op_readmit_kind)
			((SettleData *)region->job->data)->again = true;
		return 0;
	}
	if (!region->host && (!region->last || !lease)) {
		settle_retry_later(region);
		return 0;
	}
	d = settle_data_new(region->manager, region, false);
	if (!d)
		return -ENOMEM;
	r = job_start(region->manager, &op_settle_kind, region, region->lease, 0, d, NULL);
	return r;
}

void settle_kick(Region *region)
{
	int r;

	r = op_settle_kick(region);
	if (r < 0) {
		log_error(
			"Could not prove region %s again: %s.", region_label(region), strerror(-r));
		settle_retry_later(region);
	}
}

bool settle_waits(const Region *region)
{
	return region->presence == PML_PRESENCE_OFFLINE && region->lease &&
	       lease_state(region->lease) == PML_LEASE_FENCED && watch_any(region, true);
}

/* --- prove --- */

/* Somebody bound it behind our back while holders are left: invariant 6 is kept by taking it away
 * again. */
static void unbind_again(SettleData *d)
{
	PmlFenceRequest req = {
		.region = d->host,
		.dax = d->dax,
		.machine_pidfd = -EBADF,
		.revoke_timeout_usec = USEC_PER_SEC,
	};
	PmlFenceResult result;

	d->rebound = true;
	(void)pml_fence_run(&req, &result);
}

/* Its old holders live on. What they have is dead; the name by which they could open it anew is
 * taken from them. */
static bool cannot_open_by_name(const SettleData *d)
{
	int r = d->manager->withdraw ? d->manager->withdraw(d->host, d->proof)
				     : withdraw_nodes(d->host, d->proof);

	if (r < 0)
		log_info(
			"Region %s waits for the end of its old holders: one of them could open it again (%s).",
			pml_region_name(d->host),
			r == -EXDEV ? "it has the host's own /dev" : strerror(-r));
	return r == 0;
}

/* Memory of the host, which its guest may have given back since its fence: nobody else takes it
 * offline. */
static void take_back(SettleData *d)
{
	PmlFenceRequest req = {
		.region = d->host,
		.dax = d->dax,
		.machine_pidfd = -EBADF,
		.emptied = d->emptied,
	};
	PmlFenceResult result;
	PmlBinding binding;

	if (d->dax->binding(d->dax->userdata, d->host, &binding) == 0 &&
		binding == PML_BINDING_KMEM)
		(void)pml_fence_run(&req, &result);
}

static int prove_once(SettleData *d)
{
	PmlBinding binding;
	PmlProofVerdict verdict;
	int r;

	d->proof = pml_proof_free(d->proof);
	free(d->proof_json);
	d->proof_json = NULL;
	take_back(d);
	r = op_prove(d->manager, d->host,
		pml_fence_level_to_string(pml_fence_level(d->host, d->dax)), true,
		d->proof_timeout_usec, &d->proof);
	if (r < 0)
		return r;
	verdict = pml_proof_verdict(d->proof);
	d->clear = verdict == PML_PROOF_CLEAR ||
		   (verdict == PML_PROOF_REVOKED && cannot_open_by_name(d));
	if (d->clear) {
		d->proved = true;
		return pml_proof_to_json(d->proof, &d->proof_json);
	}
	r = d->dax->binding(d->dax->userdata, d->host, &binding);
	if (r == 0 && binding != PML_BINDING_NONE && binding != PML_BINDING_BLOCK &&
		binding != PML_BINDING_KMEM)
		unbind_again(d);
	d->proved = r == 0 && binding == PML_BINDING_NONE &&
		    (verdict == PML_PROOF_UNREACHABLE || verdict == PML_PROOF_UNEXPLAINED ||
			    verdict == PML_PROOF_REVOKED);
	return pml_proof_to_json(d->proof, &d->proof_json);
}

static JobNext prove_prepare(Job *job)
{
	job_set_progress(job, "looking for holders", 0.1);
	return JOB_NEXT;
}

static int prove_run(void *userdata)
{
	return prove_once(userdata);
}

void settle_wait(Region *region, const PmlProof *proof)
{
	bool blind;

	(void)watch_holders(region, proof, settle_kick, &blind);
	if (blind)
		settle_retry_later(region);
}

static JobNext held(Job *job)
{
	const SettleData *d = job->data;

	if (d->rebound)
		log_full(LOG_WARNING, &(LogFields){.region = job->region->id},
			"Region %s was bound while old holders are left; it was unbound again.",
			region_label(job->region));
	settle_wait(job->region, d->proof);
	if (!d->readmit)
		return JOB_DONE;
	job_set_error(job, PML_ERROR_HELD,
		"Region %s stays offline: %.300s. End what holds it, then readmit it.",
		region_label(job->region), pml_proof_summary(d->proof));
	return JOB_FAIL;
}

static bool cancelled(Job *job)
{
	SettleData *d = job->data;

	if (!job->cancelled)
		return false;
	/* What the daemon began by itself was not his to end. */
	d->again = d->again || d->joined;
	job_set_error(job, PML_ERROR_CANCELLED,
		"Region %s was not readmitted; nothing was changed.", region_label(job->region));
	return true;
}

static JobNext prove_done(Job *job, int r)
{
	if (cancelled(job))
		return JOB_FAIL;
	if (r < 0) {
		settle_retry_later(job->region);
		return op_fail(job, r, "prove that nobody holds the region");
	}
	return JOB_NEXT;
}

/* --- proved: what was stuck is fenced now --- */

static int change_run(void *userdata)
{
	SettleData *d = userdata;

	return ledger_change_run(&d->change);
}

static JobNext change_done(Job *job, int r)
{
	SettleData *d = job->data;

	ledger_change_done(&d->change, r);
	if (r == 0)
		return JOB_NEXT;
	job_set_ledger_error(job, r, d->change.why);
	settle_retry_later(job->region);
	return JOB_FAIL;
}

static JobNext begin_change(Job *job, PmlTxn *txn, int r)
{
	SettleData *d = job->data;

	if (r < 0) {
		pml_txn_free(txn);
		settle_retry_later(job->region);
		return op_fail(job, r, "write down what was proved");
	}
	ledger_change_clear(&d->change);
	ledger_change_init(&d->change, job->manager, txn);
	return JOB_NEXT;
}

/* The quarantine that this lease was stuck for ends with it; any other one stays. */
static int end_own_quarantine(Job *job, PmlTxn *txn, const PmlLeaseRecord *rec)
{
	const char *id = job->region->id;
	int r;

	if (!op_quarantined_by(job->manager, rec))
		return 0;
	r = pml_txn_use_step(
		txn, id, &rec->extent, PML_USE_EV_LIFT, "the fence was proved after all");
	if (r >= 0)
		r = pml_txn_use_step(txn, id, &rec->extent, PML_USE_EV_EVICT, NULL);
	if (r >= 0)
		r = pml_txn_use_step(txn, id, &rec->extent, PML_USE_EV_FENCED,
			rec->keep_offline ? "kept offline: evicted" : NULL);
	return r;
}

static JobNext proved_prepare(Job *job)
{
	SettleData *d = job->data;
	PmlLeaseRecord rec;
	PmlTxn *txn;
	int r;

	if (!job->lease || job->lease->record.state != PML_LEASE_STUCK || !d->proved) {
		if (!d->clear || (job->lease && job->lease->record.state == PML_LEASE_STUCK))
			return held(job);
		job->skip = true;
		return JOB_NEXT;
	}
	rec = job->lease->record;
	txn = op_txn_new_job(job, false);
	r = txn ? pml_txn_lease_step(txn, &rec, PML_LEASE_EV_PROVED, pml_proof_summary(d->proof))
		: -ENOMEM;
	if (r >= 0)
		r = pml_txn_proof(txn, rec.id, job->region->id, d->proof_json);
	if (r >= 0)
		r = end_own_quarantine(job, txn, &rec);
	return begin_change(job, txn, r);
}

static JobNext proved_done(Job *job, int r)
{
	const SettleData *d = job->data;
	JobNext next = change_done(job, r);

	return next == JOB_NEXT && !d->clear ? held(job) : next;
}

/* --- gate: libvirt may still be about to attach what was fenced in the middle of it; or the
 * machine has a place for it --- */

/*
 * A machine that keeps the empty place of its virtio-mem could be told to fill it, by libvirt's
 * other clients: with the memory of whoever has the node by then. Of the process nothing tells of
 * it: Linux binds what was bound to a node that has gone to others (mm/mempolicy.c
 * mpol_rebind_nodemask()).
 */
static bool may_have_place(const Lease *lease)
{
	return lease->record.virtio_mem &&
	       op_process_alive(lease->record.vmm_pid, lease->record.vmm_start);
}

/* Until it is unplugged, which is asked for again, or its machine ends. */
static JobNext wait_for_place(Job *job)
{
	const SettleData *d = job->data;
	Lease *lease = job->lease;
	int fd;

	plugged_ask(lease, 0);
	watch_drop(job->region, true);
	if (op_pidfd_open(lease->record.vmm_pid, lease->record.vmm_start, &fd) >= 0)
		(void)watch_add(job->region, fd, true, settle_kick);
	settle_retry_later(job->region);
	if (!d->readmit)
		return JOB_DONE;
	job_set_error(job, PML_ERROR_HELD,
		"Region %s stays offline: domain %s has given it back, and keeps an empty virtio-mem for it, which could be "
		"filled again (virsh detach-device-alias %s %s). End that or the domain, then readmit it.",
		region_label(job->region), d->rec.domain_name, d->rec.domain_name, d->rec.alias);
	return JOB_FAIL;
}

static JobNext gate_prepare(Job *job)
{
	SettleData *d = job->data;
	const Lease *lease = job->lease;

	if (lease_attach_outstanding(job->region)) {
		/* Its return begins this again. */
		if (!d->readmit)
			return JOB_DONE;
		job_set_error(job, PML_ERROR_BUSY,
			"libvirt has not answered the attach of region %s yet. Restart libvirt's daemon (libvirtd or virtqemud), or wait.",
			region_label(job->region));
		return JOB_FAIL;
	}
	if (!lease || (lease->record.vmm_pid > 0 && !may_have_place(lease)) || lease->start_over ||
		!pml_streq(lease->record.boot_id, job->manager->boot_id)) {
		job->skip = true;
		return JOB_NEXT;
	}
	if (!job->manager->libvirt_connected) {
		if (!d->readmit)
			return JOB_DONE;
		job_set_error(job, PML_ERROR_NO_LIBVIRT,
			"libvirt has to say whether the lease's machine has region %s, and was lost. Start libvirt's daemon "
			"(libvirtd or virtqemud), so that it can be asked.",
			region_label(job->region));
		return JOB_FAIL;
	}
	d->virt = job->manager->virt;
	d->rec = lease->record;
	(void)op_memory(job->region, &lease->record, &d->mem);
	return JOB_NEXT;
}

static int gate_run(void *userdata)
{
	SettleData *d = userdata;

	free(d->why);
	d->why = NULL;
	return d->ops->has_device(d->virt, d->rec.domain, &d->mem, &d->has_device, &d->why);
}

static JobNext gate_done(Job *job, int r)
{
	const SettleData *d = job->data;

	if (r == 0 && d->virtio_mem && d->has_device)
		return wait_for_place(job);
	if (r == 0 || r == VIRT_NO_DOMAIN || r == VIRT_NOT_RUNNING)
		return JOB_NEXT;
	settle_retry_later(job->region);
	job_set_error(job, PML_ERROR_NO_LIBVIRT,
		"libvirt could not say whether domain %s has region %s: %s. Trying again.",
		d->rec.domain_name, region_label(job->region), d->why ? d->why : "no reason given");
	return JOB_FAIL;
}

/* --- cleared: the lease ends --- */

/*
 * The lease's consent to destroy its owner's data must not end before the scrub is on the disk, and
 * only a free region is scrubbed: such a lease ends in the step `free`, or when its region is
 * readmitted.
 */
static bool ends_with_scrub(const Region *region)
{
	const Lease *lease = region->lease;

	return lease && lease->record.on_end == PML_ON_END_SCRUB &&
	       region->record.use != PML_USE_QUARANTINED &&
	       region->record.content == PML_CONTENT_RETAINED &&
	       pml_streq(region->record.owner, lease->record.owner);
}

static int end_lease(Job *job, PmlTxn *txn)
{
	const SettleData *d = job->data;
	int r;

	r = pml_txn_lease_step(txn, &job->lease->record, PML_LEASE_EV_CLEARED, NULL);
	return r < 0 ? r
		     : pml_txn_proof(txn, job->lease->record.id, job->region->id, d->proof_json);
}

static JobNext cleared_prepare(Job *job)
{
	PmlTxn *txn;
	int r;

	if (!job->lease || ends_with_scrub(job->region)) {
		job->skip = true;
		return JOB_NEXT;
	}
	txn = op_txn_new_job(job, false);
	r = txn ? end_lease(job, txn) : -ENOMEM;
	return begin_change(job, txn, r);
}

static JobNext cleared_done(Job *job, int r)
{
	JobNext next = change_done(job, r);

	if (next == JOB_NEXT)
		watch_drop(job->region, true);
	return next;
}

/* --- bind, free --- */

static bool stays_offline(const Region *region, const SettleData *d)
{
	switch (region->record.use) {
	case PML_USE_FREE: /* a quarantine was lifted */
		return false;
	case PML_USE_EVICTED:
		return !d->readmit && region->record.reason[0];
	case PML_USE_LEASED:
	case PML_USE_EVICTING:
	case PML_USE_QUARANTINED:
	case _PML_USE_MAX:
	case _PML_USE_INVALID:
		break;
	}
	return true;
}

static JobNext bind_prepare(Job *job)
{
	/* One that has gone is bound when it is back. */
	if (stays_offline(job->region, job->data) || !job->region->host)
		return JOB_DONE;
	/* It is overwritten as a device-dax first; the scrub makes memory of it again. As what the
	 * last scan saw it counts less than what is owed: the kernel binds all of them as
	 * device-dax at a boot. */
	((SettleData *)job->data)->ram = (job->region->record.ram || region_is_ram(job->region)) &&
					 !job->manager->config.ram_returns_devdax &&
					 !ends_with_scrub(job->region);
	job_set_progress(job, "binding", 0.7);
	return JOB_NEXT;
}

/* Where references were held when it was fenced, it is still bound, and revoked: nobody can open
 * that binding any more. */
static bool is_revoked(const SettleData *d)
{
	PmlRevocation revocation;

	return d->dax->revocation &&
	       d->dax->revocation(d->dax->userdata, d->host, &revocation) == 0 &&
	       revocation.state != PML_REVOKE_LIVE && revocation.state != PML_REVOKE_UNBOUND;
}

static int bind_run(void *userdata)
{
	SettleData *d = userdata;
	PmlBinding binding;
	int r;

	/* Invariant 6: looked at again right before, since writing took time. */
	r = prove_once(d);
	if (r < 0)
		return r;
	if (!d->clear)
		return 1;
	r = d->dax->binding(d->dax->userdata, d->host, &binding);
	if (r == 0 && binding == PML_BINDING_DEVICE_DAX && is_revoked(d)) {
		r = d->dax->unbind(d->dax->userdata, d->host);
		binding = PML_BINDING_NONE;
	}
	if (r < 0 || binding == PML_BINDING_DEVICE_DAX || binding == PML_BINDING_BLOCK)
		return r;
	if (d->ram)
		return d->dax->bind_ram ? d->dax->bind_ram(d->dax->userdata, d->host) : -EOPNOTSUPP;
	return d->dax->bind(d->dax->userdata, d->host);
}

static JobNext bind_done(Job *job, int r)
{
	if (r > 0)
		return held(job);
	if (r == -EPERM) {
		settle_retry_later(job->region);
		job_set_error(job, PML_ERROR_NOT_LEASABLE,
			"Region %s stays offline: as memory of the host it would not be movable. %s",
			region_label(job->region), pml_obstacle_explain(PML_OBSTACLE_AUTO_ONLINE));
		return JOB_FAIL;
	}
	if (r == -ENOENT && ((const SettleData *)job->data)->ram) {
		settle_retry_later(job->region);
		job_set_error(job, PML_ERROR_FAILED,
			"Region %s stays offline: to be memory of the host again it needs the driver kmem, which is not loaded. "
			"Load it (modprobe kmem), and at every start (/etc/modules-load.d).",
			region_label(job->region));
		return JOB_FAIL;
	}
	if (r < 0) {
		settle_retry_later(job->region);
		return op_fail(job, r, "bind the region again");
	}
	return JOB_NEXT;
}

static JobNext free_prepare(Job *job)
{
	Region *region = job->region;
	bool scrub = ends_with_scrub(region);
	PmlTxn *txn;
	int r = 0;

	if (region->record.use != PML_USE_EVICTED && !scrub) {
		job->skip = true;
		return JOB_NEXT;
	}
	txn = op_txn_new_job(job, false);
	if (!txn)
		r = -ENOMEM;
	if (r >= 0 && scrub)
		r = end_lease(job, txn);
	if (r >= 0 && region->record.use == PML_USE_EVICTED)
		r = pml_txn_use_step(txn, region->id, &region->extent, PML_USE_EV_CLEARED, NULL);
	/* From here on what it is bound to says what it is. */
	if (r >= 0 && (((SettleData *)job->data)->ram ||
			      (region->record.ram && job->manager->config.ram_returns_devdax)))
		r = pml_txn_ram(txn, region->id, &region->extent, false);
	if (r >= 0 && scrub)
		r = pml_txn_content_step(txn, region->id, &region->extent,
			PML_CONTENT_EV_SCRUB_BEGIN, region->record.owner);
	return begin_change(job, txn, r);
}

/* The policy on-end=scrub, by what the ledger has: the scan before knows the region as it is bound
 * now. */
static void on_rescanned(void *userdata, int r)
{
	RescanFor *f = userdata;
	Region *region;

	if (r >= 0 && manager_find_region(f->manager, f->region, &region) == 0 && !region->job &&
		!region->lease && region->record.use == PML_USE_FREE &&
		region->record.content == PML_CONTENT_SCRUBBING) {
		r = scrub_continue(region);
		if (r < 0)
			log_warning("Region %s could not be scrubbed: %s.", region_label(region),
				strerror(-r));
	}
	free(f);
}

/* Under other bounds, the same bytes may wait for the end of this region's lease. */
static void kick_others(const Region *region)
{
	Region *other;

	LIST_FOREACH (other, &region->manager->regions, regions)
		if (other != region && pml_extent_overlaps(&other->extent, &region->extent))
			settle_kick(other);
}

void settle_finished(Job *job, bool success)
{
	const SettleData *d = job->data;
	Region *region = job->region;
	RescanFor *f;

	if (success && !region->lease)
		kick_others(region);
	/* One that came back with the host was bound by the kernel. */
	if (success && d->clear && region_is_kept_offline(region) &&
		region->presence == PML_PRESENCE_OFFLINE)
		region->was_offline = true;

	if (!success || region->record.use != PML_USE_FREE || region->lease) {
		if (d->again)
			settle_kick(region);
		return;
	}
	region->retry_usec = 0;
	f = calloc(1, sizeof(*f));
	if (f) {
		f->manager = job->manager;
		(void)PML_STRCPY(f->region, region->id);
	}
	if (!f || manager_rescan(job->manager, on_rescanned, f) < 0) {
		free(f);
		log_warning("The host could not be scanned after region %s was bound.",
			region_label(region));
	}
}

#define STEP(step, executor, runs, ends, may_skip)                                                 \
	{                                                                                          \
		.name = #step, .prepare = step##_prepare, .where = (executor), .run = (runs),      \
		.done = (ends), .optional_skip = (may_skip)                                        \
	}
/* Those up to the end of the lease, and those behind it. */
#define STEPS_CLEAR                                                                                \
	STEP(prove, EXEC_WORK, prove_run, prove_done, false),                                      \
		STEP(proved, EXEC_LEDGER, change_run, proved_done, true),                          \
		STEP(gate, EXEC_VIRT, gate_run, gate_done, true),                                  \
		STEP(cleared, EXEC_LEDGER, change_run, cleared_done, true)
#define STEPS_BIND                                                                                 \
	STEP(bind, EXEC_WORK, bind_run, bind_done, false),                                         \
		STEP(free, EXEC_LEDGER, change_run, cleared_done, true)

const JobStep readmit_steps[READMIT_N_STEPS] = {
	STEPS_CLEAR,
	STEP(recall, EXEC_LEDGER, recall_run, recall_done, true),
	STEPS_BIND,
};

static const JobStep settle_steps[] = {STEPS_CLEAR, STEPS_BIND};

const JobKind op_settle_kind = {
	.name = "settle",
	.steps = settle_steps,
	.n_steps = ELEMENTSOF(settle_steps),
	.data_free = settle_data_free,
	.finished = settle_finished,
	.internal = true,
};

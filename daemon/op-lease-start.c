/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a lease is refused for before a job begins. */

#include <inttypes.h>

#include "lease-job.h"
#include "ops-internal.h"
#include "util.h"

static unsigned leases_of(const Manager *m, uint32_t uid)
{
	const Lease *l;
	unsigned n = 0;

	LIST_FOREACH (l, &m->leases, leases)
		if (!l->gone && l->record.creator_uid == uid)
			n++;
	return n;
}

static int refuse(Manager *m, Region *region, uint32_t uid, OpError *err)
{
	const Lease *lease = region->lease;

	/* Of a lease whose fence is behind it, region_leasable() tells who is left. */
	if (lease && lease_state(lease) != PML_LEASE_FENCED &&
		lease_state(lease) != PML_LEASE_STUCK)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is leased already: to domain %s (lease %s, %s). Release that lease first.",
			region_label(region),
			lease->record.domain_name[0] ? lease->record.domain_name
						     : "that is being looked up",
			lease->record.id, pml_lease_state_to_string(lease_state(lease)));
	if (region->job)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is busy with job %" PRIu64 " (%s). Wait for it.",
			region_label(region), region->job->id, region->job->kind->name);
	if (region_leasable(region, err) != 0)
		return 1;
	if (uid != m->config.trusted_uid && leases_of(m, uid) >= m->config.max_leases_per_uid)
		return op_error(err, PML_ERROR_LIMIT,
			"User %u has %u leases, the most one may have. Release one first.", uid,
			m->config.max_leases_per_uid);
	return 0;
}

int lease_fill_record(LeaseData *d, const Manager *m, const Region *region, const char *domain,
	const char *owner, uint32_t uid, OpError *err)
{
	PmlLeaseRecord *rec = &d->rec;
	int r;

	r = lease_new_id(rec->id);
	if (r < 0)
		return r;
	if (PML_STRCPY(d->domain_arg, domain) < 0 || !domain[0])
		return op_error(err, PML_ERROR_INVALID,
			"A domain is named by its name or UUID, of 1 to %d bytes.",
			PML_NAME_LEN - 1);
	/* Several owners are listed with commas when data is discarded. */
	if (owner && (PML_STRCPY(rec->owner, owner) < 0 || !owner[0] || strchr(owner, ',')))
		return op_error(err, PML_ERROR_INVALID,
			"An owner's name has 1 to %d bytes and no comma.", PML_NAME_LEN - 1);
	d->owner_given = owner != NULL;
	(void)snprintf(rec->alias, sizeof(rec->alias), PML_ALIAS_PREFIX "%s", rec->id);
	(void)PML_STRCPY(rec->region, region->id);
	(void)PML_STRCPY(rec->region_name, region->name);
	op_lease_stamp(region, rec);
	rec->extent = region->extent;
	rec->state = PML_LEASE_RESERVED;
	rec->creator_uid = uid;
	rec->since_usec = pml_now_usec(CLOCK_REALTIME);
	rec->drain = m->config.drain;
	rec->on_refusal = m->config.on_refusal;
	rec->grace_usec = PML_DEADLINE_DEFAULT;

	return op_memory(region, rec, &d->mem);
}

void op_lease_drain(Job *job, const DrainPolicy *policy)
{
	LeaseData *d = job->data;

	d->rec.drain = policy->drain;
	d->rec.on_refusal = policy->on_refusal;
	d->rec.grace_usec = policy->grace_usec;
	job->lease->record = d->rec;
}

void op_lease_restore(Job *job)
{
	LeaseData *d = job->data;

	d->rec.restore = true;
	job->lease->record = d->rec;
}

void op_lease_virtio_mem(Job *job)
{
	LeaseData *d = job->data;

	d->rec.virtio_mem = d->mem.virtio_mem = true;
	job->lease->record = d->rec;
}

void op_lease_persist(Job *job)
{
	((LeaseData *)job->data)->persistent = true;
}

int op_lease_start(Manager *m, Region *region, const char *domain, const char *owner,
	PmlOnEnd on_end, PmlAfterFence after_fence, bool may_destroy, uint32_t uid,
	Lease **ret_lease, Job **ret_job, OpError *err)
{
	LeaseData *d;
	Lease *lease;
	int r;

	r = refuse(m, region, uid, err);
	if (r == 0 && pml_region_kind(region->host) == PML_KIND_BDEV && !may_destroy)
		r = op_error(err, PML_ERROR_NO_FENCE,
			"Region %s is a block device: on this kernel it can be taken back by force only by destroying its "
			"domain. Allow that when you lease it (pmemlease lease --allow-destroy), or lease a device-dax.",
			region_label(region));
	if (r != 0)
		return r;
	/* No other end of a fence is left to this kind. */
	if (pml_region_kind(region->host) == PML_KIND_BDEV)
		after_fence = PML_AFTER_FENCE_DESTROY;
	d = lease_data_new(m, region);
	if (!d)
		return -ENOMEM;
	r = lease_fill_record(d, m, region, domain, owner, uid, err);
	d->rec.on_end = on_end;
	d->rec.after_fence = after_fence;
	if (r == 0)
		r = lease_new(m, region, &d->rec, false, &lease);
	if (r != 0) {
		lease_data_free(d);
		return r;
	}
	r = job_start(m, &op_lease_kind, region, lease, uid, d, ret_job);
	if (r < 0) {
		lease_drop(lease);
		leases_collect(m);
		if (r == -EDQUOT)
			return op_error(err, PML_ERROR_LIMIT,
				"Too many jobs are running. Wait for one to end.");
		return r;
	}
	*ret_lease = lease;
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Bringing back a region that was kept offline. */

#include <inttypes.h>

#include "layout.h"
#include "ops-internal.h"
#include "settle.h"
#include "util.h"

static int refuse(const Region *region, OpError *err)
{
	switch (region->record.use) {
	case PML_USE_EVICTED:
		return 0;
	case PML_USE_FREE:
		if (region->presence == PML_PRESENCE_OFFLINE)
			return 0;
		return op_error(err, PML_ERROR_INVALID,
			"Region %s is online already; there is nothing to readmit.",
			region_label(region));
	case PML_USE_QUARANTINED:
		return op_error(err, PML_ERROR_QUARANTINED,
			"Region %s is quarantined: %s. Lift the quarantine with a reason first.",
			region_label(region), region->record.reason);
	case PML_USE_LEASED:
	case PML_USE_EVICTING:
	case _PML_USE_MAX:
	case _PML_USE_INVALID:
		break;
	}
	return op_error(err, PML_ERROR_BUSY, "Region %s is leased; it was never taken offline.",
		region_label(region));
}

/*
 * The daemon is about to do the most of it by itself, or somebody has asked before: that job is
 * his, too. One that is kept offline is bound behind the step `recall`, which no job of the
 * daemon's own gets beyond of such a region.
 */
static int join(Job *job, uint32_t uid)
{
	SettleData *d = job->data;
	int r;

	if (job->kind == &op_readmit_kind)
		return 0;
	r = job_promote(job, &op_readmit_kind, uid);
	if (r == 0)
		d->readmit = d->joined = true;
	return r;
}

int op_readmit_start(Manager *m, Region *region, uint32_t uid, Job **ret_job, OpError *err)
{
	Job *running = region->job;
	SettleData *d;
	int r;

	if (!region->host)
		return op_error(err, PML_ERROR_NO_SUCH_REGION,
			"Region %s is missing. Put its memory back, then readmit it.",
			region_label(region));
	if (running && running->kind != &op_settle_kind && running->kind != &op_readmit_kind)
		return op_error(err, PML_ERROR_BUSY,
			"Region %s is busy with job %" PRIu64 " (%s). Wait for it.",
			region_label(region), running->id, running->kind->name);
	r = refuse(region, err);
	if (r != 0)
		return r;
	if (op_bytes_are_lent(region))
		return op_error(err, PML_ERROR_BUSY,
			"Some bytes of region %s are lent under another region's name; see `pmemlease leases`.",
			region_label(region));
	if (running) {
		r = join(running, uid);
		if (r == 0)
			*ret_job = running;
	} else {
		d = settle_data_new(m, region, true);
		if (!d)
			return -ENOMEM;
		r = job_start(m, &op_readmit_kind, region, region->lease, uid, d, ret_job);
	}
	if (r == -EDQUOT)
		return op_error(
			err, PML_ERROR_LIMIT, "Too many jobs are running. Wait for one to end.");
	return r;
}

/*
 * What is known of bytes is known by where they lie. In the place of a part that was taken out,
 * another may have come that has the same address: only the readmission of the whole part forgets
 * what was there.
 */
JobNext recall_prepare(Job *job)
{
	job->skip = job->region->is_awaited || job->region->record.use != PML_USE_EVICTED;
	return JOB_NEXT;
}

int recall_run(void *data)
{
	SettleData *d = data;
	char **all;
	int r;

	r = pml_ledger_layouts(d->manager->ledger, &all);
	if (r != 0)
		return r;
	for (char **json = all; *json; json++) {
		Layout l = {};

		if (r == 0)
			r = layout_parse(*json, &l);
		if (r == 0 && layout_has_another(
				      &l, pml_region_extent(d->host), pml_region_uuid(d->host)))
			d->another = true;
		layout_clear(&l);
		free(*json);
	}
	free(all);
	return r;
}

JobNext recall_done(Job *job, int r)
{
	const SettleData *d = job->data;

	if (r < 0)
		return op_fail(job, r, "recall how its device was laid out");
	if (!d->another)
		return JOB_NEXT;
	job_set_error(job, PML_ERROR_NOT_RESTORED,
		"Region %s is not the namespace that lay there when its device was taken out, so whose its bytes are is not known. Readmit the DIMM, interleave set or node as a whole: `pmemlease readmit --device=`.",
		region_label(job->region));
	return JOB_FAIL;
}

static int readmit_cancel(Job *job)
{
	return pml_streq(job->kind->steps[job->step].name, "prove") ? 0 : -EBUSY;
}

const JobKind op_readmit_kind = {
	.name = "readmit",
	.steps = readmit_steps,
	.n_steps = READMIT_N_STEPS,
	.data_free = settle_data_free,
	.cancel = readmit_cancel,
	.finished = settle_finished,
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "announce.h"
#include "bus.h"
#include "change.h"
#include "ops.h"
#include "util.h"

static int append_extent(sd_bus_message *reply, const Region *r)
{
	_cleanup_free_ char *s = NULL;

	if (r->extent.size_bytes == 0)
		return sd_bus_message_append(reply, "s", "");
	return pml_extent_format(&r->extent, &s) < 0 ? -ENOMEM
						     : sd_bus_message_append(reply, "s", s);
}

static int append_dimms(sd_bus_message *reply, const Region *r)
{
	const char *const *dimms = r->host ? pml_region_dimms(r->host) : NULL;
	int e = sd_bus_message_open_container(reply, 'a', "s");

	for (; e >= 0 && dimms && *dimms; dimms++)
		e = sd_bus_message_append(reply, "s", *dimms);
	return e < 0 ? e : sd_bus_message_close_container(reply);
}

static int append_obstacles(sd_bus_message *reply, const Region *r)
{
	char **l;
	int e = region_obstacles(r, &l);

	if (e < 0)
		return e;
	e = sd_bus_message_append_strv(reply, l);
	region_obstacles_free(l);
	return e;
}

static const char *fence_level(const Region *r)
{
	return pml_fence_level_to_string(
		r->host ? pml_fence_level(r->host, r->manager->dax) : PML_FENCE_NONE);
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

#define REGION_GETTER(name, append)                                                                \
	static int get_##name(sd_bus *bus, const char *path, const char *interface,                \
		const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)  \
	{                                                                                          \
		const Region *r = userdata;                                                        \
                                                                                                   \
		return append;                                                                     \
	}
#define HOST(r, get, otherwise) ((r)->host ? get((r)->host) : (otherwise))

REGION_GETTER(id, sd_bus_message_append(reply, "s", r->id))
REGION_GETTER(name, sd_bus_message_append(reply, "s", r->name))
REGION_GETTER(kind,
	sd_bus_message_append(reply, "s",
		pml_kind_to_string(region_is_ram(r) ? PML_KIND_SYSRAM
						    : HOST(r, pml_region_kind, PML_KIND_DEVDAX))))
REGION_GETTER(path, sd_bus_message_append(reply, "s", or_empty(HOST(r, pml_region_path, ""))))
REGION_GETTER(uuid, sd_bus_message_append(reply, "s", or_empty(HOST(r, pml_region_uuid, ""))))
REGION_GETTER(extent, append_extent(reply, r))
REGION_GETTER(size,
	sd_bus_message_append(reply, "t", HOST(r, pml_region_size_bytes, r->extent.size_bytes)))
REGION_GETTER(
	align, sd_bus_message_append(reply, "t", HOST(r, pml_region_align_bytes, UINT64_C(0))))
REGION_GETTER(numa_node, sd_bus_message_append(reply, "i", HOST(r, pml_region_numa_node, -1)))
REGION_GETTER(dimms, append_dimms(reply, r))
REGION_GETTER(presence, sd_bus_message_append(reply, "s", pml_presence_to_string(r->presence)))
REGION_GETTER(use, sd_bus_message_append(reply, "s", pml_use_to_string(r->record.use)))
REGION_GETTER(content, sd_bus_message_append(reply, "s", pml_content_to_string(r->record.content)))
REGION_GETTER(owner, sd_bus_message_append(reply, "s", r->record.owner))
REGION_GETTER(reason, sd_bus_message_append(reply, "s", r->record.reason))
REGION_GETTER(obstacles, append_obstacles(reply, r))
REGION_GETTER(fence_level, sd_bus_message_append(reply, "s", fence_level(r)))
REGION_GETTER(
	binding, sd_bus_message_append(reply, "s",
			 pml_binding_to_string(HOST(r, pml_region_binding, PML_BINDING_NONE))))
REGION_GETTER(lease, sd_bus_message_append(reply, "o", r->lease ? r->lease->path : "/"))
REGION_GETTER(job, sd_bus_message_append(reply, "o", r->job && r->job->path ? r->job->path : "/"))

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable region_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Evict", SD_BUS_ARGS("t", deadline_usec, "a{sv}", options),
		SD_BUS_RESULT("o", job), bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Scrub", SD_BUS_ARGS("s", discard_owner), SD_BUS_RESULT("o", job),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Adopt", SD_BUS_ARGS("s", owner), SD_BUS_NO_RESULT, bouncer_method,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Readmit", SD_BUS_NO_ARGS, SD_BUS_RESULT("o", job), bouncer_method,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Verify", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{sv}", result),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("LiftQuarantine", SD_BUS_ARGS("s", reason), SD_BUS_NO_RESULT,
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetProof", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", proof),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL_WITH_ARGS("Resized", SD_BUS_ARGS("t", old_size, "t", new_size), 0),
	SD_BUS_PROPERTY("Id", "s", get_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Name", "s", get_name, 0, CHANGES),
	SD_BUS_PROPERTY("Kind", "s", get_kind, 0, CHANGES),
	SD_BUS_PROPERTY("Path", "s", get_path, 0, CHANGES),
	SD_BUS_PROPERTY("Uuid", "s", get_uuid, 0, CHANGES),
	SD_BUS_PROPERTY("Extent", "s", get_extent, 0, CHANGES),
	SD_BUS_PROPERTY("Size", "t", get_size, 0, CHANGES),
	SD_BUS_PROPERTY("Align", "t", get_align, 0, CHANGES),
	SD_BUS_PROPERTY("NumaNode", "i", get_numa_node, 0, CHANGES),
	SD_BUS_PROPERTY("Dimms", "as", get_dimms, 0, CHANGES),
	SD_BUS_PROPERTY("Presence", "s", get_presence, 0, CHANGES),
	SD_BUS_PROPERTY("Use", "s", get_use, 0, CHANGES),
	SD_BUS_PROPERTY("Content", "s", get_content, 0, CHANGES),
	SD_BUS_PROPERTY("Owner", "s", get_owner, 0, CHANGES),
	SD_BUS_PROPERTY("Reason", "s", get_reason, 0, CHANGES),
	SD_BUS_PROPERTY("Obstacles", "as", get_obstacles, 0, CHANGES),
	SD_BUS_PROPERTY("FenceLevel", "s", get_fence_level, 0, CHANGES),
	SD_BUS_PROPERTY("Binding", "s", get_binding, 0, CHANGES),
	SD_BUS_PROPERTY("Lease", "o", get_lease, 0, CHANGES),
	SD_BUS_PROPERTY("Job", "o", get_job, 0, CHANGES),
	SD_BUS_VTABLE_END,
};

void region_announce(Region *r)
{
	if (!r->manager->bus || r->on_bus)
		return;
	r->on_bus = true;
	(void)sd_bus_emit_interfaces_added(r->manager->bus, r->path, PML_IF_REGION, NULL);
}

void region_withdraw(Region *r)
{
	if (r->changed)
		region_emit_changed(r);
	if (r->manager->bus && r->on_bus)
		(void)sd_bus_emit_interfaces_removed(r->manager->bus, r->path, PML_IF_REGION, NULL);
	r->on_bus = false;
}

void region_changed(Region *r)
{
	r->changed = true;
	announce_later(r->manager);
}

void region_emit_changed(Region *r)
{
	r->changed = false;
	if (r->manager->bus && r->on_bus)
		(void)sd_bus_emit_properties_changed(r->manager->bus, r->path, PML_IF_REGION,
			"Name", "Kind", "Path", "Uuid", "Extent", "Size", "Align", "NumaNode",
			"Dimms", "Presence", "Use", "Content", "Owner", "Reason", "Obstacles",
			"FenceLevel", "Binding", "Lease", "Job", NULL);
}

void region_resized(Region *r, uint64_t old_bytes, uint64_t new_bytes)
{
	if (r->manager->bus && r->on_bus)
		(void)sd_bus_emit_signal(r->manager->bus, r->path, PML_IF_REGION, "Resized", "tt",
			old_bytes, new_bytes);
}

static Region *find(Manager *m, sd_bus_message *call, sd_bus_error *error)
{
	Region *r = bus_region_of(m, sd_bus_message_get_path(call));

	if (!r)
		(void)bus_error(error, PML_ERROR_NO_SUCH_REGION,
			"The region has gone; pmemlease regions lists those there are.");
	return r;
}

static int reply_job(
	sd_bus_message *call, int r, const Job *job, const OpError *err, sd_bus_error *error)
{
	return r != 0 ? bus_op_error(error, r, err)
		      : sd_bus_reply_method_return(call, "o", job->path);
}

int region_bus_evict(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	DrainPolicy how = DRAIN_AS_LEASED;
	BusPolicy given = {};
	bool keep_offline = false;
	const BusOption options[] = {
		{"keep-offline", BUS_OPTION_BOOL, &keep_offline},
		BUS_POLICY_EVICT(&given),
		{},
	};
	PmlAfterFence policy = _PML_AFTER_FENCE_INVALID;
	Region *region = find(m, call, error);
	uint64_t deadline_usec;
	OpError err = {};
	Job *job = NULL;
	int r;

	if (!region)
		return -ENOENT;
	r = sd_bus_message_read(call, "t", &deadline_usec);
	if (r >= 0)
		r = bus_read_options(call, options, error);
	if (r >= 0)
		r = bus_parse_policy(&given, NULL, &policy, &how.drain, &how.on_refusal, error);
	if (r < 0)
		return r;
	r = op_evict_start_with(
		m, region, "evict", deadline_usec, keep_offline, policy, &how, uid, &job, &err);
	return reply_job(call, r, job, &err, error);
}

int region_bus_scrub(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	Region *region = find(m, call, error);
	OpError err = {};
	const char *owner;
	Job *job = NULL;
	int r;

	if (!region)
		return -ENOENT;
	r = sd_bus_message_read(call, "s", &owner);
	if (r >= 0)
		r = bus_check_text(error, "owner", owner, PML_OWNERS_LEN - 1, true);
	if (r < 0)
		return r;
	r = op_scrub_start(m, region, owner, uid, &job, &err);
	return reply_job(call, r, job, &err, error);
}

int region_bus_readmit(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	Region *region = find(m, call, error);
	OpError err = {};
	Job *job = NULL;
	int r;

	if (!region)
		return -ENOENT;
	r = op_readmit_start(m, region, uid, &job, &err);
	return reply_job(call, r, job, &err, error);
}

static PmlTxn *txn_of(uint32_t uid)
{
	char actor[32];

	(void)snprintf(actor, sizeof(actor), "uid %" PRIu32, uid);
	return pml_txn_new(actor);
}

int region_bus_adopt(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	Region *region = find(m, call, error);
	const char *owner;
	PmlTxn *txn;
	int r;

	if (!region)
		return -ENOENT;
	r = sd_bus_message_read(call, "s", &owner);
	if (r >= 0)
		r = bus_check_text(error, "owner", owner, PML_NAME_LEN - 1, false);
	if (r < 0)
		return r;
	if (strchr(owner, ','))
		return bus_error(error, PML_ERROR_INVALID,
			"An owner's name has no comma: it separates owners.");
	if (region->extent.size_bytes == 0)
		return bus_error(error, PML_ERROR_NOT_LEASABLE,
			"Where the region's bytes lie cannot be told, so nothing can be recorded about them.");
	if (region->lease || region->job)
		return bus_error(error, PML_ERROR_BUSY,
			"The region is lent, or an operation has it; wait for its end.");
	if (region->record.content != PML_CONTENT_FOREIGN || region->record.owner[0])
		return bus_error(error, PML_ERROR_NOT_CLEAN,
			"The region's content is %s%s%s; only what nobody knows can be adopted.",
			pml_content_to_string(region->record.content),
			region->record.owner[0] ? " of " : "", region->record.owner);
	txn = txn_of(uid);
	if (!txn)
		return -ENOMEM;
	r = pml_txn_content_step(txn, region->id, &region->extent, PML_CONTENT_EV_ADOPT, owner);
	if (r < 0) {
		pml_txn_free(txn);
		return r;
	}
	return change_start(m, region, NULL, uid, txn, call, error);
}

int region_bus_lift_quarantine(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	Region *region = find(m, call, error);
	const char *reason;
	OpError err = {};
	PmlTxn *txn;
	int r;

	if (!region)
		return -ENOENT;
	r = sd_bus_message_read(call, "s", &reason);
	if (r >= 0)
		r = bus_check_text(error, "reason", reason, PML_REASON_MAX - 1, false);
	if (r < 0)
		return r;
	if (region->record.use != PML_USE_QUARANTINED)
		return bus_error(error, PML_ERROR_INVALID, "The region is not quarantined.");
	if (region->job || (region->lease && region->lease->marked))
		return bus_error(
			error, PML_ERROR_BUSY, "An operation has the region; wait for its end.");
	r = op_lift_refuse(region, &err);
	if (r != 0)
		return bus_op_error(error, r, &err);
	txn = txn_of(uid);
	if (!txn)
		return -ENOMEM;
	r = pml_txn_use_step(txn, region->id, &region->extent, PML_USE_EV_LIFT, reason);
	if (r >= 0 && region->lease && region->lease->record.state == PML_LEASE_STUCK)
		r = pml_txn_lease_step(
			txn, &region->lease->record, PML_LEASE_EV_OPERATOR_RELEASE, reason);
	if (r < 0) {
		pml_txn_free(txn);
		return r;
	}
	return change_start(m, region, region->lease, uid, txn, call, error);
}

/* --- proofs --- */

typedef struct ProofWork {
	BusWork work;
	PmlRegion *host;
	char region[PML_NAME_LEN];
	bool fenced;
	uint64_t timeout_usec;
	PmlProof *proof;
	char *json;
} ProofWork;

static void proof_clear(BusWork *work)
{
	ProofWork *w = (ProofWork *)work;

	pml_region_unref(w->host);
	pml_proof_free(w->proof);
	free(w->json);
}

static int verify_run(BusWork *work)
{
	ProofWork *w = (ProofWork *)work;
	const PmlDaxOps *dax = work->manager->dax;
	PmlProofRequest request = {
		.region = w->host,
		.dax = dax,
		.rung = w->fenced ? pml_fence_level_to_string(pml_fence_level(w->host, dax))
				  : "none",
		.probe = w->fenced,
		.deadline_usec = pml_now_usec(CLOCK_MONOTONIC) + w->timeout_usec,
	};
	int r = work->manager->prove ? work->manager->prove(&request, &w->proof)
				     : pml_proof_collect(&request, &w->proof);

	return r < 0 ? r : pml_proof_to_json(w->proof, &w->json);
}

static int verify_reply(BusWork *work, int r, sd_bus_error *error)
{
	ProofWork *w = (ProofWork *)work;
	Region *region = NULL;

	if (r < 0)
		return bus_error(
			error, PML_ERROR_FAILED, "Nothing could be concluded: %s.", strerror(-r));
	r = sd_bus_reply_method_return(work->call, "a{sv}", 3, "verdict", "s",
		pml_proof_verdict_to_string(pml_proof_verdict(w->proof)), "summary", "s",
		pml_proof_summary(w->proof), "proof", "s", w->json);
	/* Whoever asks has perhaps just ended a holder that no pidfd could be had of. */
	if (pml_proof_frees(pml_proof_verdict(w->proof)) &&
		manager_find_region(work->manager, w->region, &region) == 0 && !region->job)
		(void)op_settle_kick(region);
	return r;
}

static ProofWork *proof_work(Manager *m, sd_bus_message *call, uint32_t uid, const Region *region)
{
	ProofWork *w = bus_work_new(sizeof(*w), m, call, uid);

	if (!w)
		return NULL;
	w->work.clear = proof_clear;
	(void)PML_STRCPY(w->region, region->id);
	return w;
}

int region_bus_verify(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	Region *region = find(m, call, error);
	ProofWork *w;
	int r;

	if (!region)
		return -ENOENT;
	if (!region->host)
		return bus_error(error, PML_ERROR_NOT_LEASABLE,
			"The region is not there, so nothing can be verified.");
	w = proof_work(m, call, uid, region);
	if (!w)
		return -ENOMEM;
	w->host = pml_region_ref(region->host);
	w->fenced = (region->lease && (lease_state(region->lease) == PML_LEASE_FENCED ||
					      lease_state(region->lease) == PML_LEASE_STUCK)) ||
		    region->record.use == PML_USE_EVICTED;
	w->timeout_usec = m->config.proof_timeout_usec;
	w->work.run = verify_run;
	w->work.reply = verify_reply;
	r = bus_work_submit(&w->work, EXEC_WORK, NULL);
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

static int get_proof_run(BusWork *work)
{
	ProofWork *w = (ProofWork *)work;

	return pml_ledger_proof(work->manager->ledger, NULL, w->region, &w->json);
}

static int get_proof_reply(BusWork *work, int r, sd_bus_error *error)
{
	ProofWork *w = (ProofWork *)work;

	if (r == -ENOENT)
		return bus_error(error, PML_ERROR_INVALID,
			"No proof was recorded for this region: it was never fenced.");
	if (r < 0)
		return bus_error(
			error, PML_ERROR_LEDGER, "The ledger cannot be read: %s.", strerror(-r));
	return sd_bus_reply_method_return(work->call, "s", w->json);
}

int region_bus_get_proof(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	Region *region = find(m, call, error);
	ProofWork *w;
	int r;

	if (!region)
		return -ENOENT;
	w = proof_work(m, call, uid, region);
	if (!w)
		return -ENOMEM;
	w->work.run = get_proof_run;
	w->work.reply = get_proof_reply;
	r = bus_work_submit(&w->work, EXEC_LEDGER, NULL);
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

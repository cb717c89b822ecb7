/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The two calls that ask for a lease: of a region that is named, and of whichever is best. */

#include <inttypes.h>

#include "bus.h"
#include "choose.h"
#include "node.h"
#include "ops-internal.h"
#include "util.h"

/* What both may be told beside the domain. Strings are the message's. */
typedef struct LeaseOptions {
	const char *owner, *consent, *kind, *model;
	BusPolicy given;
	bool persistent, restore;
	int32_t node;
	/* As read from the strings. */
	PmlOnEnd on_end_policy;
	PmlAfterFence after_fence_policy;
	DrainPolicy drain_policy;
	PmlKind of_kind;
} LeaseOptions;

static int options_check(LeaseOptions *o, sd_bus_error *error)
{
	int r = 0;

	if (o->owner)
		r = bus_check_text(error, "owner", o->owner, PML_NAME_LEN - 1, false);
	if (r >= 0 && o->owner && strchr(o->owner, ','))
		r = bus_error(error, PML_ERROR_INVALID,
			"An owner's name has no comma: it separates owners.");
	if (r >= 0)
		r = bus_parse_policy(&o->given, &o->on_end_policy, &o->after_fence_policy,
			&o->drain_policy.drain, &o->drain_policy.on_refusal, error);
	/* A start by itself is of the domain's own data: nobody is there to be asked for another's.
	 */
	if (r >= 0 && o->persistent && o->owner)
		r = bus_error(error, PML_ERROR_INVALID,
			"A persistent lease is of the domain's own data: leave the owner out.");
	if (r >= 0 && o->consent && strcmp(o->consent, "destroy") != 0)
		r = bus_error(error, PML_ERROR_INVALID,
			"The option consent is \"destroy\", or left out.");
	if (r >= 0 && o->model && strcmp(o->model, "dimm") != 0 &&
		strcmp(o->model, "virtio-mem") != 0)
		r = bus_error(error, PML_ERROR_INVALID, "The option model is dimm or virtio-mem.");
	if (r >= 0 && o->kind) {
		o->of_kind = pml_kind_from_string(o->kind);
		if (o->of_kind < 0)
			r = bus_error(error, PML_ERROR_INVALID,
				"The option kind is devdax, bdev or sysram.");
	}
	if (r >= 0 && (o->node < -1 || o->node >= PML_NODES_MAX))
		r = bus_error(error, PML_ERROR_INVALID,
			"The option node is a NUMA node's number, or -1 for any.");
	return r;
}

/* The rest of a call that has been read up to its options. chosen: those of LeaseBySize, too. */
static int options_read(
	const Manager *m, sd_bus_message *call, bool chosen, LeaseOptions *ret, sd_bus_error *error)
{
	LeaseOptions o = {
		.node = -1,
		.on_end_policy = m->config.on_end,
		.after_fence_policy = m->config.after_fence,
		.drain_policy = {m->config.drain, m->config.on_refusal, PML_DEADLINE_DEFAULT},
		.of_kind = _PML_KIND_INVALID,
	};
	const BusOption options[] = {
		{"persistent", BUS_OPTION_BOOL, &o.persistent},
		{"restore", BUS_OPTION_BOOL, &o.restore},
		{"owner", BUS_OPTION_STRING, &o.owner},
		{"on-end", BUS_OPTION_STRING, &o.given.on_end},
		BUS_POLICY_EVICT(&o.given),
		{"deadline", BUS_OPTION_UINT64, &o.drain_policy.grace_usec},
		{"consent", BUS_OPTION_STRING, &o.consent},
		{"model", BUS_OPTION_STRING, &o.model},
		{chosen ? "kind" : NULL, BUS_OPTION_STRING, &o.kind},
		{"node", BUS_OPTION_INT, &o.node},
		{},
	};
	int r;

	r = bus_read_options(call, options, error);
	if (r >= 0)
		r = options_check(&o, error);
	if (r >= 0)
		*ret = o;
	return r;
}

static int lease_begin(Manager *m, sd_bus_message *call, uint32_t uid, Region *region,
	const char *domain, const LeaseOptions *o, sd_bus_error *error)
{
	bool ram = region_is_ram(region);
	OpError err = {};
	Lease *lease;
	Job *job;
	int r;

	/* At the next start nobody could be asked for the consent. */
	if (o->persistent && region->host && pml_region_kind(region->host) == PML_KIND_BDEV)
		return bus_error(error, PML_ERROR_NO_FENCE,
			"A block device is not leased for the next start, too: leave persistent out.");
	if (o->model && !ram)
		return bus_error(error, PML_ERROR_INVALID,
			"Region %s is no memory of the host (system-ram): leave the model out.",
			region_label(region));
	if (ram && o->persistent)
		return bus_error(error, PML_ERROR_INVALID,
			"Memory of the host (system-ram) is not leased for the next start, too, since its NUMA node may not be known to "
			"libvirt's daemon by then, and how much of it is free is known only when it is lent: leave persistent out, and "
			"lease it again when the domain runs.");
	if (ram && o->drain_policy.drain == PML_DRAIN_FORCE &&
		o->after_fence_policy != PML_AFTER_FENCE_DESTROY)
		return bus_error(error, PML_ERROR_NO_FENCE, OP_RAM_NO_FORCE, region_label(region));
	r = op_deadline_check(m, o->drain_policy.grace_usec, &err);
	if (r != 0)
		return bus_op_error(error, r, &err);
	/* What it holds is not to be kept, and the next one to have it sees the bytes of this one
	 * where it becomes a device-dax. */
	r = op_lease_start(m, region, domain, o->owner,
		ram && !o->given.on_end ? PML_ON_END_SCRUB : o->on_end_policy,
		o->after_fence_policy, o->consent != NULL, uid, &lease, &job, &err);
	if (r != 0)
		return bus_op_error(error, r, &err);
	op_lease_drain(job, &o->drain_policy);
	if (o->model && strcmp(o->model, "virtio-mem") == 0)
		op_lease_virtio_mem(job);
	if (o->persistent)
		op_lease_persist(job);
	if (o->restore)
		op_lease_restore(job);
	return sd_bus_reply_method_return(call, "oo", lease->path, job->path);
}

static int check_domain(const char *domain, sd_bus_error *error)
{
	return bus_check_text(error, "domain", domain, PML_NAME_LEN - 1, false);
}

/* --- Lease --- */

static int lease_found(
	Manager *m, sd_bus_message *call, uint32_t uid, Region *region, sd_bus_error *error)
{
	const char *name, *domain;
	LeaseOptions o;
	int r;

	r = sd_bus_message_rewind(call, true);
	if (r >= 0)
		r = sd_bus_message_read(call, "ss", &name, &domain);
	if (r >= 0)
		r = check_domain(domain, error);
	if (r >= 0)
		r = options_read(m, call, false, &o, error);
	if (r < 0)
		return r;
	return region ? lease_begin(m, call, uid, region, domain, &o, error) : -ENOENT;
}

int manager_bus_lease(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	const char *name;
	int r = sd_bus_message_read(call, "s", &name);

	return r < 0 ? r : bus_find_region(m, call, uid, name, lease_found, error);
}

/* --- LeaseBySize --- */

/* Whose data counts is known when the domain's UUID is; only then is chosen. */
typedef struct ChooseWork {
	BusWork work;
	uint64_t size_bytes;
	const char *domain; /* the message's, as those in options */
	LeaseOptions options;
	Virt *virt;
	const VirtOps *virt_ops;
	VirtDomain found;
	char *why;
	uint8_t distances[PML_NODES_MAX];
	int distances_error;
} ChooseWork;

static int choose_run(BusWork *work)
{
	ChooseWork *w = (ChooseWork *)work;

	if (w->options.node >= 0)
		w->distances_error = pml_node_distances(w->options.node, w->distances);
	return w->virt_ops->find(w->virt, w->domain, &w->found, &w->why);
}

static int choose_reply(BusWork *work, int r, sd_bus_error *error)
{
	ChooseWork *w = (ChooseWork *)work;
	const LeaseOptions *o = &w->options;
	const ChooseRequest q = {
		.size_bytes = w->size_bytes,
		.kind = o->of_kind,
		.node = o->node,
		.distances = w->distances,
		.owner = o->owner ? o->owner : w->found.uuid,
		.may_destroy = o->consent != NULL,
	};
	OpError err = {};
	Region *region;

	if (r > 0)
		r = op_virt_error(&err, r, w->domain, w->why);
	if (r == 0 && w->distances_error == -ENOENT)
		return bus_error(error, PML_ERROR_INVALID,
			"There is no NUMA node %d; numactl --hardware lists them.", o->node);
	if (r == 0)
		r = w->distances_error;
	if (r == 0)
		r = choose_region(work->manager, &q, &region, &err);
	if (r != 0)
		return bus_op_error(error, r, &err);
	return lease_begin(work->manager, work->call, work->uid, region, w->found.uuid, o, error);
}

static void choose_clear(BusWork *work)
{
	free(((ChooseWork *)work)->why);
}

int manager_bus_lease_by_size(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	ChooseWork *w = bus_work_new(sizeof(*w), m, call, uid);
	char key[32];
	int r = w ? 0 : -ENOMEM;

	if (r >= 0)
		r = sd_bus_message_read(call, "ts", &w->size_bytes, &w->domain);
	if (r >= 0)
		r = check_domain(w->domain, error);
	if (r >= 0 && w->size_bytes == 0)
		r = bus_error(error, PML_ERROR_INVALID,
			"A size of 0 is none: say how many bytes are wanted.");
	if (r >= 0)
		r = options_read(m, call, true, &w->options, error);
	if (r < 0) {
		if (w)
			bus_work_free(&w->work);
		return r;
	}
	w->virt = m->virt;
	w->virt_ops = m->virt_ops;
	w->work.run = choose_run;
	w->work.reply = choose_reply;
	w->work.clear = choose_clear;
	/* One at a time for each user, so that nobody fills the pool while libvirt hangs. */
	(void)snprintf(key, sizeof(key), "choose/%" PRIu32, uid);
	r = bus_work_submit(&w->work, EXEC_VIRT, key);
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

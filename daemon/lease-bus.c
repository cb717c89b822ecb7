/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "announce.h"
#include "askable.h"
#include "bus.h"
#include "change.h"
#include "deprived.h"
#include "machine-check.h"
#include "ops-internal.h"
#include "util.h"

static int append_policy(sd_bus_message *reply, const Lease *l)
{
	return sd_bus_message_append(reply, "a{sv}", 6, "on-end", "s",
		pml_on_end_to_string(l->record.on_end), "after-fence", "s",
		pml_after_fence_to_string(l->record.after_fence), "drain", "s",
		pml_drain_to_string(l->record.drain), "on-refusal", "s",
		pml_on_refusal_to_string(l->record.on_refusal), "deadline", "t",
		l->record.grace_usec, "restore", "b", (int)l->record.restore);
}

/* Of memory of the host, what was free when it was lent. */
static uint64_t lease_size(const Lease *l)
{
	return l->record.lent_bytes ? l->record.lent_bytes : l->record.extent.size_bytes;
}

/* The proof itself names processes, and is not for everybody: Region.GetProof has it. */
static int append_proof(sd_bus_message *reply, const Lease *l)
{
	char number[24] = "";

	if (l->record.proof > 0)
		(void)snprintf(number, sizeof(number), "%lld", (long long)l->record.proof);
	return sd_bus_message_append(reply, "s", number);
}

static int append_unasked(sd_bus_message *reply, const Lease *l)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text,
		    "The guest could not be asked to let go, so the region would be taken by force: %s",
		    l->unasked) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return sd_bus_message_append(reply, "s", text);
}

static int append_warnings(sd_bus_message *reply, const Lease *l)
{
	int r = sd_bus_message_open_container(reply, 'a', "s");

	if (r >= 0 && l->marked)
		r = sd_bus_message_append(reply, "s",
			"The ledger's disk is behind: this state is marked in memory until it is written.");
	if (r >= 0 && lease_state(l) == PML_LEASE_STUCK)
		r = sd_bus_message_append(
			reply, "s", "The fence could not be proved: the region is quarantined.");
	if (r >= 0 && (lease_state(l) == PML_LEASE_FENCED || lease_state(l) == PML_LEASE_STUCK) &&
		!region_is_ram(l->region) &&
		op_process_alive(l->record.vmm_pid, l->record.vmm_start))
		r = sd_bus_message_append(reply, "s", DEPRIVED_WARNING);
	if (r >= 0 && l->unpersisted)
		r = sd_bus_message_append(reply, "s", l->unpersisted);
	if (r >= 0 && region_is_block(l->region) && lease_state(l) == PML_LEASE_ACTIVE)
		r = sd_bus_message_append(reply, "s",
			"A block device is taken back by destroying the machine, and in no other way.");
	if (r >= 0 && l->panics)
		r = sd_bus_message_append(reply, "s",
			"The machine: " MACHINE_CHECK_PANICS " Mend: " MACHINE_CHECK_MEND);
	if (r >= 0 && l->unasked && askable_matters(l))
		r = append_unasked(reply, l);
	if (r >= 0 && l->pinned)
		r = sd_bus_message_append(reply, "s", l->pinned);
	if (r >= 0 && l->region->lease == l && l->region->intruder)
		r = sd_bus_message_append(reply, "s",
			"The region is held by others than the machine, too: see its obstacles.");
	if (r >= 0 && l->record.frozen)
		r = sd_bus_message_append(reply, "s",
			"The machine is, or may be, frozen until libvirt has paused it.");
	if (r >= 0 && l->region->presence != PML_PRESENCE_ONLINE &&
		lease_state(l) == PML_LEASE_ACTIVE)
		r = sd_bus_message_append(reply, "s", "The region is lent, and not there.");
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

#define LEASE_GETTER(name, append)                                                                 \
	static int get_##name(sd_bus *bus, const char *path, const char *interface,                \
		const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)  \
	{                                                                                          \
		const _unused_ Lease *l = userdata;                                                \
                                                                                                   \
		return append;                                                                     \
	}

LEASE_GETTER(id, sd_bus_message_append(reply, "s", l->record.id))
LEASE_GETTER(region, sd_bus_message_append(reply, "o", l->region->path))
LEASE_GETTER(domain, sd_bus_message_append(reply, "s", l->record.domain))
LEASE_GETTER(domain_name, sd_bus_message_append(reply, "s", l->record.domain_name))
LEASE_GETTER(owner, sd_bus_message_append(reply, "s", l->record.owner))
LEASE_GETTER(alias, sd_bus_message_append(reply, "s", l->record.alias))
LEASE_GETTER(model, sd_bus_message_append(reply, "s",
			    region_is_block(l->region) ? "virtio-pmem"
			    : l->record.virtio_mem     ? "virtio-mem"
			    : region_is_ram(l->region) ? "dimm"
						       : "nvdimm"))
LEASE_GETTER(size, sd_bus_message_append(reply, "t", lease_size(l)))
LEASE_GETTER(plugged, sd_bus_message_append(reply, "t",
			      l->record.virtio_mem ? l->record.plugged_bytes : lease_size(l)))
LEASE_GETTER(state, sd_bus_message_append(reply, "s", pml_lease_state_to_string(lease_state(l))))
LEASE_GETTER(policy, append_policy(reply, l))
LEASE_GETTER(deadline, sd_bus_message_append(reply, "t",
			       lease_state(l) == PML_LEASE_DRAINING ? l->record.deadline_usec : 0))
LEASE_GETTER(proof, append_proof(reply, l))
LEASE_GETTER(since, sd_bus_message_append(reply, "t", l->record.since_usec))
LEASE_GETTER(warnings, append_warnings(reply, l))

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable lease_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("t", deadline_usec), SD_BUS_RESULT("o", job),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ReleaseWithOptions",
		SD_BUS_ARGS("t", deadline_usec, "a{sv}", options), SD_BUS_RESULT("o", job),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Revoke", SD_BUS_NO_ARGS, SD_BUS_RESULT("o", job), bouncer_method,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("SetPolicy", SD_BUS_ARGS("a{sv}", policy), SD_BUS_NO_RESULT,
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Id", "s", get_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Region", "o", get_region, 0, CHANGES),
	SD_BUS_PROPERTY("Domain", "s", get_domain, 0, CHANGES),
	SD_BUS_PROPERTY("DomainName", "s", get_domain_name, 0, CHANGES),
	SD_BUS_PROPERTY("Owner", "s", get_owner, 0, CHANGES),
	SD_BUS_PROPERTY("Alias", "s", get_alias, 0, CHANGES),
	SD_BUS_PROPERTY("Model", "s", get_model, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Size", "t", get_size, 0, CHANGES),
	SD_BUS_PROPERTY("Plugged", "t", get_plugged, 0, CHANGES),
	SD_BUS_PROPERTY("State", "s", get_state, 0, CHANGES),
	SD_BUS_PROPERTY("Policy", "a{sv}", get_policy, 0, CHANGES),
	SD_BUS_PROPERTY("Deadline", "t", get_deadline, 0, CHANGES),
	SD_BUS_PROPERTY("Proof", "s", get_proof, 0, CHANGES),
	SD_BUS_PROPERTY("Since", "t", get_since, 0, CHANGES),
	SD_BUS_PROPERTY("Warnings", "as", get_warnings, 0, CHANGES),
	SD_BUS_VTABLE_END,
};

void lease_announce(Lease *l)
{
	if (!l->manager->bus || l->on_bus)
		return;
	l->on_bus = true;
	(void)sd_bus_emit_interfaces_added(l->manager->bus, l->path, PML_IF_LEASE, NULL);
}

void lease_withdraw(Lease *l)
{
	if (l->changed)
		lease_emit_changed(l);
	if (l->manager->bus && l->on_bus)
		(void)sd_bus_emit_interfaces_removed(l->manager->bus, l->path, PML_IF_LEASE, NULL);
	l->on_bus = false;
}

void lease_changed(Lease *l)
{
	l->changed = true;
	announce_later(l->manager);
}

void lease_emit_changed(Lease *l)
{
	l->changed = false;
	if (l->manager->bus && l->on_bus)
		(void)sd_bus_emit_properties_changed(l->manager->bus, l->path, PML_IF_LEASE,
			"Region", "Domain", "DomainName", "Owner", "Alias", "State", "Policy",
			"Deadline", "Proof", "Since", "Warnings", "Size", "Plugged", NULL);
}

static Lease *find(Manager *m, sd_bus_message *call, sd_bus_error *error)
{
	Lease *l = bus_lease_of(m, sd_bus_message_get_path(call));

	if (!l || l->gone) {
		(void)bus_error(error, PML_ERROR_NO_SUCH_LEASE,
			"The lease has ended; pmemlease leases lists those there are.");
		return NULL;
	}
	return l;
}

static int give_back(Manager *m, sd_bus_message *call, uint32_t uid, const char *kind,
	uint64_t deadline_usec, const DrainPolicy *how, sd_bus_error *error)
{
	Lease *l = find(m, call, error);
	OpError err = {};
	Job *job;
	int r;

	if (!l)
		return -ENOENT;
	r = op_evict_start_with(m, l->region, kind, deadline_usec, false, _PML_AFTER_FENCE_INVALID,
		how, uid, &job, &err);
	if (r != 0)
		return bus_op_error(error, r, &err);
	return sd_bus_reply_method_return(call, "o", job->path);
}

int lease_bus_release(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	uint64_t deadline_usec;
	int r = sd_bus_message_read(call, "t", &deadline_usec);

	return r < 0 ? r
		     : give_back(m, call, uid, "release", deadline_usec, &DRAIN_AS_LEASED, error);
}

/* What becomes of its machine by force is for the lease's policy to say, which wants the privilege
 * `lease`. */
int lease_bus_release_with_options(
	Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	DrainPolicy how = DRAIN_AS_LEASED;
	BusPolicy given = {};
	const BusOption options[] = {
		{"drain", BUS_OPTION_STRING, &given.drain},
		{"on-refusal", BUS_OPTION_STRING, &given.on_refusal},
		{},
	};
	uint64_t deadline_usec;
	int r;

	r = sd_bus_message_read(call, "t", &deadline_usec);
	if (r >= 0)
		r = bus_read_options(call, options, error);
	if (r >= 0)
		r = bus_parse_policy(&given, NULL, NULL, &how.drain, &how.on_refusal, error);
	return r < 0 ? r : give_back(m, call, uid, "release", deadline_usec, &how, error);
}

int lease_bus_revoke(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	return give_back(m, call, uid, "evict", 0, &DRAIN_AS_LEASED, error);
}

int lease_bus_set_policy(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	BusPolicy given = {};
	uint64_t grace_usec;
	bool restore;
	const BusOption options[] = {
		{"on-end", BUS_OPTION_STRING, &given.on_end},
		BUS_POLICY_EVICT(&given),
		{"deadline", BUS_OPTION_UINT64, &grace_usec},
		{"restore", BUS_OPTION_BOOL, &restore},
		{},
	};
	Lease *l = find(m, call, error);
	PmlLeaseRecord rec;
	OpError err = {};
	char actor[64];
	PmlTxn *txn;
	int r;

	if (!l)
		return -ENOENT;
	rec = l->record;
	grace_usec = rec.grace_usec;
	restore = rec.restore;
	r = bus_read_options(call, options, error);
	if (r >= 0)
		r = bus_parse_policy(
			&given, &rec.on_end, &rec.after_fence, &rec.drain, &rec.on_refusal, error);
	if (r < 0)
		return r;
	r = op_deadline_check(m, grace_usec, &err);
	if (r != 0)
		return bus_op_error(error, r, &err);
	rec.grace_usec = grace_usec;
	rec.restore = restore;
	if (region_is_block(l->region) && rec.after_fence != PML_AFTER_FENCE_DESTROY)
		return bus_error(error, PML_ERROR_NO_FENCE,
			"A block device is taken back by destroying its domain, and in no other way.");
	if (l->marked || !l->recorded)
		return bus_error(
			error, PML_ERROR_BUSY, "An operation has the lease; wait for its end.");

	(void)snprintf(actor, sizeof(actor), "uid %" PRIu32, uid);
	txn = pml_txn_new(actor);
	if (!txn)
		return -ENOMEM;
	r = pml_txn_lease_update(txn, &rec);
	if (r < 0) {
		pml_txn_free(txn);
		return r;
	}
	return change_start(m, l->region, l, uid, txn, call, error);
}

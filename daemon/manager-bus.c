/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus.h"
#include "ops.h"
#include "util.h"
#include "wanted.h"

#define HISTORY_MAX 1000

static unsigned fence_levels(const Manager *m)
{
	const Region *r;
	unsigned levels = 0;

	LIST_FOREACH (r, &m->regions, regions)
		if (r->host)
			levels |= 1U << pml_fence_level(r->host, m->dax);
	return levels & ~(1U << PML_FENCE_NONE);
}

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	return sd_bus_message_append(reply, "s", PML_VERSION);
}

static int get_fence_levels(sd_bus *bus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	unsigned levels = fence_levels(userdata);
	int r = sd_bus_message_open_container(reply, 'a', "s");

	/* Best first. */
	for (int l = _PML_FENCE_LEVEL_MAX - 1; l >= 0 && r >= 0; l--)
		if (levels & (1U << l))
			r = sd_bus_message_append(
				reply, "s", pml_fence_level_to_string((PmlFenceLevel)l));
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_kernel_revoke(sd_bus *bus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	return sd_bus_message_append(
		reply, "b", (int)((fence_levels(userdata) >> PML_FENCE_REVOKE) & 1));
}

static int get_libvirt_connected(sd_bus *bus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const Manager *m = userdata;

	return sd_bus_message_append(reply, "b", (int)m->libvirt_connected);
}

const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Lease", SD_BUS_ARGS("s", region, "s", domain, "a{sv}", options),
		SD_BUS_RESULT("o", lease, "o", job), bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("LeaseBySize",
		SD_BUS_ARGS("t", size_bytes, "s", domain, "a{sv}", options),
		SD_BUS_RESULT("o", lease, "o", job), bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("EvictDevice",
		SD_BUS_ARGS("s", device, "t", deadline_usec, "a{sv}", options),
		SD_BUS_RESULT("o", job), bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("DescribeDevice", SD_BUS_ARGS("s", device),
		SD_BUS_RESULT("s", kind, "a(ss)", dimms, "a(ssstbsssss)", namespaces),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("DescribeLayout", SD_BUS_ARGS("s", device),
		SD_BUS_RESULT("a(sssttusbb)", namespaces), bouncer_method,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ReadmitDevice", SD_BUS_ARGS("s", device, "a{sv}", options),
		SD_BUS_RESULT("o", job), bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetRegion", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", region),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetLease", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", lease),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListRegions", SD_BUS_NO_ARGS,
		SD_BUS_RESULT("a(ssstsssso)", regions), bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListLeases", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(ssssssso)", leases),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListJobs", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(tsosdo)", jobs),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("History", SD_BUS_ARGS("s", id, "x", before, "u", max),
		SD_BUS_RESULT("a(xtssssss)", rows), bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Diagnose", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(ssss)", findings),
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("AddBlockDevice", SD_BUS_ARGS("s", path), SD_BUS_NO_RESULT,
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bouncer_method,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Grant", SD_BUS_ARGS("s", domain_xml, "s", phase), SD_BUS_NO_RESULT,
		bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL_WITH_ARGS("JobNew", SD_BUS_ARGS("t", id, "o", job, "s", kind), 0),
	SD_BUS_SIGNAL_WITH_ARGS("JobRemoved",
		SD_BUS_ARGS("t", id, "o", job, "o", subject, "s", result, "s", error, "s", message),
		0),
	SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	/* They follow from the regions, whose own signals say so. */
	SD_BUS_PROPERTY("FenceLevels", "as", get_fence_levels, 0, 0),
	SD_BUS_PROPERTY("KernelRevoke", "b", get_kernel_revoke, 0, 0),
	SD_BUS_PROPERTY("LibvirtConnected", "b", get_libvirt_connected, 0,
		SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

void manager_changed(Manager *m)
{
	if (m->bus)
		(void)sd_bus_emit_properties_changed(
			m->bus, PML_BUS_PATH, PML_IF_MANAGER, "LibvirtConnected", NULL);
}

static int get_region_found(
	Manager *m, sd_bus_message *call, uint32_t uid, Region *region, sd_bus_error *error)
{
	return region ? sd_bus_reply_method_return(call, "o", region->path) : -ENOENT;
}

int manager_bus_get_region(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	const char *name;
	int r = sd_bus_message_read(call, "s", &name);

	return r < 0 ? r : bus_find_region(m, call, uid, name, get_region_found, error);
}

static int get_lease_found(
	Manager *m, sd_bus_message *call, uint32_t uid, Region *region, sd_bus_error *error)
{
	if (!region) {
		/* Neither a lease nor a region has the name: the caller wanted a lease. */
		if (sd_bus_error_has_name(error, PML_ERROR_NO_SUCH_REGION)) {
			sd_bus_error_free(error);
			return bus_error(error, PML_ERROR_NO_SUCH_LEASE,
				"There is no lease and no region of that name; pmemlease leases lists them.");
		}
		return -ENOENT;
	}
	if (!region->lease)
		return bus_error(error, PML_ERROR_NO_SUCH_LEASE, "The region %s is not lent.",
			region->name[0] ? region->name : region->id);
	return sd_bus_reply_method_return(call, "o", region->lease->path);
}

int manager_bus_get_lease(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	const char *name;
	Lease *l;
	int r = sd_bus_message_read(call, "s", &name);

	if (r < 0)
		return r;
	l = manager_find_lease(m, name);
	if (l && !l->gone)
		return sd_bus_reply_method_return(call, "o", l->path);
	return bus_find_region(m, call, uid, name, get_lease_found, error);
}

static int reply_list(sd_bus_message *call, const char *type,
	int (*append)(sd_bus_message *reply, const void *data), const void *data)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(call, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', type);
	if (r >= 0)
		r = append(reply, data);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int append_regions(sd_bus_message *reply, const void *data)
{
	const Manager *m = data;
	const Region *region;
	int r = 0;

	LIST_FOREACH (region, &m->regions, regions)
		if (r >= 0)
			r = sd_bus_message_append(reply, "(ssstsssso)", region->id, region->name,
				pml_kind_to_string(region->host ? pml_region_kind(region->host)
								: PML_KIND_DEVDAX),
				region->host ? pml_region_size_bytes(region->host)
					     : region->extent.size_bytes,
				pml_presence_to_string(region->presence),
				pml_use_to_string(region->record.use),
				pml_content_to_string(region->record.content), region->record.owner,
				region->path);
	return r;
}

static int append_leases(sd_bus_message *reply, const void *data)
{
	const Manager *m = data;
	const Lease *l;
	int r = 0;

	LIST_FOREACH (l, &m->leases, leases)
		if (r >= 0 && !l->gone)
			r = sd_bus_message_append(reply, "(ssssssso)", l->record.id, l->region->id,
				l->region->name, l->record.domain, l->record.domain_name,
				l->record.owner, pml_lease_state_to_string(lease_state(l)),
				l->path);
	return r;
}

static int append_jobs(sd_bus_message *reply, const void *data)
{
	const Manager *m = data;
	int r = 0;

	for (const Job *j = m->jobs; j && r >= 0; j = j->next)
		if (j->path)
			r = sd_bus_message_append(reply, "(tsosdo)", j->id, j->kind->name,
				j->lease    ? j->lease->path
				: j->region ? j->region->path
					    : PML_BUS_PATH,
				j->phase, j->progress, j->path);
	return r;
}

int manager_bus_list_regions(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	return reply_list(call, "(ssstsssso)", append_regions, m);
}

int manager_bus_list_leases(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	return reply_list(call, "(ssssssso)", append_leases, m);
}

int manager_bus_list_jobs(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	return reply_list(call, "(tsosdo)", append_jobs, m);
}

typedef struct HistoryWork {
	BusWork work;
	char id[PML_NAME_LEN];
	int64_t before;
	uint32_t max;
	PmlHistoryRecord *rows;
	size_t n_rows;
} HistoryWork;

static int history_run(BusWork *work)
{
	HistoryWork *w = (HistoryWork *)work;

	return pml_ledger_history(work->manager->ledger, w->id[0] ? w->id : NULL, w->before, w->max,
		&w->rows, &w->n_rows);
}

static int append_history(sd_bus_message *reply, const void *data)
{
	const HistoryWork *w = data;
	int r = 0;

	for (size_t i = 0; i < w->n_rows && r >= 0; i++) {
		const PmlHistoryRecord *h = &w->rows[i];

		r = sd_bus_message_append(reply, "(xtssssss)", h->seq, h->time_usec, h->subject,
			h->id, h->from, h->to, h->detail ? h->detail : "", h->actor);
	}
	return r;
}

static int history_reply(BusWork *work, int r, sd_bus_error *error)
{
	if (r < 0)
		return bus_error(
			error, PML_ERROR_LEDGER, "The ledger cannot be read: %s.", strerror(-r));
	return reply_list(work->call, "(xtssssss)", append_history, work);
}

static void history_clear(BusWork *work)
{
	HistoryWork *w = (HistoryWork *)work;

	pml_history_free(w->rows, w->n_rows);
}

int manager_bus_history(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	HistoryWork *w;
	const char *id;
	int64_t before;
	uint32_t max;
	int r;

	r = sd_bus_message_read(call, "sxu", &id, &before, &max);
	if (r >= 0)
		r = bus_check_text(error, "id", id, PML_NAME_LEN - 1, true);
	if (r < 0)
		return r;
	if (before < 0 || max < 1 || max > HISTORY_MAX)
		return bus_error(error, PML_ERROR_INVALID,
			"Ask for 1 to %d rows, below a sequence number or 0.", HISTORY_MAX);
	w = bus_work_new(sizeof(*w), m, call, uid);
	if (!w)
		return -ENOMEM;
	(void)PML_STRCPY(w->id, id);
	w->before = before;
	w->max = max;
	w->work.run = history_run;
	w->work.reply = history_reply;
	w->work.clear = history_clear;
	r = bus_work_submit(&w->work, EXEC_LEDGER, NULL);
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

static void reload_done(void *userdata, int r, const ConfigErrors *errors)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct Pending *p = userdata;
	sd_bus_message *call = pending_call(p);

	if (r == 0) {
		(void)sd_bus_reply_method_return(call, NULL);
	} else if (r > 0) {
		const ConfigError *e = &errors->list[0];

		r = bus_error(&error, PML_ERROR_CONFIGURATION, "%s:%u: %s%s", e->file, e->line,
			e->reason,
			errors->n > 1 ? " There is more of it in the journal."
				      : " Everything stays as it was.");
		bus_reply_failure(call, r, &error);
	} else {
		r = bus_error(
			&error, PML_ERROR_FAILED, "The host cannot be scanned: %s.", strerror(-r));
		bus_reply_failure(call, r, &error);
	}
	pending_remove(p);
}

int manager_bus_reload(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	struct Pending *p;
	int r;

	r = pending_add(m, call, &p);
	if (r < 0)
		return bus_op_error(error, r, NULL);
	r = pending_set_uid(p, uid);
	if (r >= 0)
		r = manager_reload(m, reload_done, p);
	if (r < 0) {
		pending_remove(p);
		return bus_op_error(error, r, NULL);
	}
	return 0;
}

static void added(void *userdata, int r)
{
	reload_done(userdata, r < 0 ? r : 0, NULL);
}

int manager_bus_add_block_device(
	Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	const char *path;
	struct Pending *p;
	int r;

	r = sd_bus_message_read(call, "s", &path);
	if (r >= 0)
		r = bus_check_text(error, "path", path, CONFIG_DEVICE_MAX - 1, false);
	if (r < 0)
		return r;
	r = wanted_name(m, path);
	if (r == -EINVAL)
		return bus_error(error, PML_ERROR_INVALID,
			"A block device is named by its path below /dev.");
	if (r == -EDQUOT)
		return bus_error(error, PML_ERROR_LIMIT,
			"Too many block devices were named. List them in BlockDevices= of pmemleased.conf.");
	if (r >= 0)
		r = pending_add(m, call, &p);
	if (r < 0)
		return bus_op_error(error, r, NULL);
	r = pending_set_uid(p, uid);
	if (r >= 0)
		r = manager_rescan(m, added, p);
	if (r < 0) {
		pending_remove(p);
		return bus_op_error(error, r, NULL);
	}
	return 0;
}

static void grant_done(void *userdata, const OpError *err)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct Pending *p = userdata;

	if (err)
		bus_reply_failure(pending_call(p), bus_op_error(&error, 1, err), &error);
	else
		(void)sd_bus_reply_method_return(pending_call(p), NULL);
	pending_remove(p);
}

int manager_bus_grant(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	const char *xml, *phase;
	struct Pending *p;
	int r;

	r = sd_bus_message_read(call, "ss", &xml, &phase);
	if (r >= 0)
		r = bus_check_text(error, "phase", phase, 64, false);
	if (r < 0)
		return r;
	r = pending_add(m, call, &p);
	if (r < 0)
		return bus_op_error(error, r, NULL);
	r = pending_set_uid(p, uid);
	if (r >= 0)
		r = op_grant(m, xml, phase, grant_done, p);
	if (r < 0) {
		pending_remove(p);
		return bus_op_error(error, r, NULL);
	}
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who may do what: the one table of all methods, and the way a call takes through it. A method that
 * is not in the table is refused. The bus is asked who the caller is, then polkit whether he may;
 * both without waiting for them.
 */

#include "bus.h"
#include "log.h"
#include "util.h"

/* A person needs time to type a password. */
#define POLKIT_INTERACTIVE_USEC (120 * USEC_PER_SEC)
#define POLKIT_USEC		(25 * USEC_PER_SEC)
#define ACTIONS_MAX		3

/* In the place of an action: nobody is asked, and nobody but root may. */
#define ROOT_ONLY "root"

typedef struct Actions {
	const char *list[ACTIONS_MAX];
	unsigned n;
} Actions;

typedef struct Entry {
	const char *interface;
	const char *member;
	const char *action; /* NULL: everybody whom the bus policy lets through */
	bool anonymous;	    /* not even asked who he is: answers at once and takes nothing */
	BusHandler handler;
	/* What more, or else, is needed for these arguments. NULL: action alone. */
	int (*actions)(Manager *m, sd_bus_message *call, Actions *ret);
} Entry;

struct Pending {
	struct Pending *next;
	Manager *manager;
	sd_bus_message *call;
	const Entry *entry; /* NULL: counted only */
	uint32_t uid;
	bool uid_known;
	Actions actions;
	unsigned action; /* the one that is asked for */
	sd_bus_slot *slot;
};

static int lease_actions(Manager *m, sd_bus_message *call, Actions *ret);
static int policy_actions(Manager *m, sd_bus_message *call, Actions *ret);
static int job_actions(Manager *m, sd_bus_message *call, Actions *ret);
static int device_actions(Manager *m, sd_bus_message *call, Actions *ret);
static int return_actions(Manager *m, sd_bus_message *call, Actions *ret);

static const Entry entries[] = {
	{PML_IF_MANAGER, "Lease", PML_ACTION_LEASE, false, manager_bus_lease, lease_actions},
	{PML_IF_MANAGER, "LeaseBySize", PML_ACTION_LEASE, false, manager_bus_lease_by_size,
		lease_actions},
	{PML_IF_MANAGER, "EvictDevice", PML_ACTION_EVICT, false, manager_bus_evict_device,
		device_actions},
	{PML_IF_MANAGER, "DescribeDevice", PML_ACTION_INSPECT, false, manager_bus_describe_device,
		NULL},
	{PML_IF_MANAGER, "DescribeLayout", PML_ACTION_INSPECT, false, manager_bus_describe_layout,
		NULL},
	{PML_IF_MANAGER, "ReadmitDevice", PML_ACTION_READMIT, false, manager_bus_readmit_device,
		return_actions},
	{PML_IF_MANAGER, "GetRegion", NULL, false, manager_bus_get_region, NULL},
	{PML_IF_MANAGER, "GetLease", NULL, false, manager_bus_get_lease, NULL},
	{PML_IF_MANAGER, "ListRegions", NULL, true, manager_bus_list_regions, NULL},
	{PML_IF_MANAGER, "ListLeases", NULL, true, manager_bus_list_leases, NULL},
	{PML_IF_MANAGER, "ListJobs", NULL, true, manager_bus_list_jobs, NULL},
	{PML_IF_MANAGER, "History", PML_ACTION_INSPECT, false, manager_bus_history, NULL},
	{PML_IF_MANAGER, "Diagnose", PML_ACTION_INSPECT, false, manager_bus_diagnose, NULL},
	{PML_IF_MANAGER, "AddBlockDevice", PML_ACTION_ADOPT, false, manager_bus_add_block_device,
		NULL},
	{PML_IF_MANAGER, "Reload", PML_ACTION_MANAGE, false, manager_bus_reload, NULL},
	{PML_IF_MANAGER, "Grant", ROOT_ONLY, false, manager_bus_grant, NULL},
	{PML_IF_REGION, "Evict", PML_ACTION_EVICT, false, region_bus_evict, NULL},
	{PML_IF_REGION, "Scrub", PML_ACTION_SCRUB, false, region_bus_scrub, NULL},
	{PML_IF_REGION, "Adopt", PML_ACTION_ADOPT, false, region_bus_adopt, NULL},
	{PML_IF_REGION, "Readmit", PML_ACTION_READMIT, false, region_bus_readmit, NULL},
	{PML_IF_REGION, "Verify", PML_ACTION_INSPECT, false, region_bus_verify, NULL},
	{PML_IF_REGION, "LiftQuarantine", PML_ACTION_QUARANTINE, false, region_bus_lift_quarantine,
		NULL},
	{PML_IF_REGION, "GetProof", PML_ACTION_INSPECT, false, region_bus_get_proof, NULL},
	{PML_IF_LEASE, "Release", PML_ACTION_RELEASE, false, lease_bus_release, NULL},
	{PML_IF_LEASE, "ReleaseWithOptions", PML_ACTION_RELEASE, false,
		lease_bus_release_with_options, NULL},
	{PML_IF_LEASE, "Revoke", PML_ACTION_EVICT, false, lease_bus_revoke, NULL},
	{PML_IF_LEASE, "SetPolicy", PML_ACTION_LEASE, false, lease_bus_set_policy, policy_actions},
	{PML_IF_JOB, "Cancel", PML_ACTION_MANAGE, false, job_bus_cancel, job_actions},
};

bool bouncer_entry(
	size_t i, const char **ret_interface, const char **ret_member, const char **ret_action)
{
	if (i >= ELEMENTSOF(entries))
		return false;
	*ret_interface = entries[i].interface;
	*ret_member = entries[i].member;
	*ret_action = entries[i].action;
	return true;
}

/* Looks into an a{sv} of options; types are judged by the handler. */
static int options_peek(sd_bus_message *call, const char *key, const char **ret_value)
{
	const char *value = NULL;
	int r;

	r = sd_bus_message_enter_container(call, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(call, 'e', "sv")) > 0) {
		const char *k, *type;
		char kind;

		r = sd_bus_message_read(call, "s", &k);
		if (r >= 0)
			r = sd_bus_message_peek_type(call, &kind, &type);
		if (r >= 0 && strcmp(k, key) == 0 && strcmp(type, "s") == 0)
			r = sd_bus_message_read(call, "v", "s", &value);
		else if (r >= 0)
			r = sd_bus_message_skip(call, "v");
		if (r >= 0 && strcmp(k, key) == 0 && !value)
			value = "";
		if (r >= 0)
			r = sd_bus_message_exit_container(call);
	}
	if (r >= 0)
		*ret_value = value;
	return r;
}

/* Naming whose data it is to be is a privilege of its own; so is agreeing to its end. */
static int lease_actions(Manager *m, sd_bus_message *call, Actions *ret)
{
	const char *before = sd_bus_message_has_signature(call, "tsa{sv}") ? "ts" : "ss",
		   *owner = NULL, *on_end = NULL;
	int r;

	r = sd_bus_message_skip(call, before);
	if (r >= 0)
		r = options_peek(call, "owner", &owner);
	if (r >= 0)
		r = sd_bus_message_rewind(call, true);
	if (r >= 0)
		r = sd_bus_message_skip(call, before);
	if (r >= 0)
		r = options_peek(call, "on-end", &on_end);
	if (r < 0)
		return r;
	ret->list[ret->n++] = owner ? PML_ACTION_LEASE_OTHER : PML_ACTION_LEASE;
	if (on_end && strcmp(on_end, "keep") != 0)
		ret->list[ret->n++] = PML_ACTION_SCRUB;
	return 0;
}

static int policy_actions(Manager *m, sd_bus_message *call, Actions *ret)
{
	const char *on_end = NULL;
	int r = options_peek(call, "on-end", &on_end);

	if (r < 0)
		return r;
	ret->list[ret->n++] = PML_ACTION_LEASE;
	if (on_end && strcmp(on_end, "keep") != 0)
		ret->list[ret->n++] = PML_ACTION_SCRUB;
	return 0;
}

/* What nobody has a lease of is disabled with the rest: that is the administrator's. */
static int device_actions(Manager *m, sd_bus_message *call, Actions *ret)
{
	ret->list[ret->n++] = PML_ACTION_EVICT;
	ret->list[ret->n++] = PML_ACTION_MANAGE;
	return 0;
}

/* Leases are made of it that others had asked for; and what is on another medium may be
 * overwritten.
 */
static int return_actions(Manager *m, sd_bus_message *call, Actions *ret)
{
	const char *scrub = NULL;
	int r = sd_bus_message_skip(call, "s");

	if (r >= 0)
		r = options_peek(call, "scrub", &scrub);
	if (r < 0)
		return r;
	ret->list[ret->n++] = PML_ACTION_READMIT;
	ret->list[ret->n++] = PML_ACTION_MANAGE;
	if (scrub)
		ret->list[ret->n++] = PML_ACTION_SCRUB;
	return 0;
}

/* Who may begin it may stop it. */
static int job_actions(Manager *m, sd_bus_message *call, Actions *ret)
{
	static const struct {
		const char *kind, *action;
	} of_kind[] = {
		{"lease", PML_ACTION_LEASE},
		{"evict", PML_ACTION_EVICT},
		{"release", PML_ACTION_RELEASE},
		{"scrub", PML_ACTION_SCRUB},
		{"readmit", PML_ACTION_READMIT},
		{"readmit-device", PML_ACTION_READMIT},
		{"evict-device", PML_ACTION_EVICT},
	};
	const Job *job = bus_job_of(m, sd_bus_message_get_path(call));
	const char *action = PML_ACTION_MANAGE;

	for (size_t i = 0; job && i < ELEMENTSOF(of_kind); i++)
		if (strcmp(job->kind->name, of_kind[i].kind) == 0)
			action = of_kind[i].action;
	ret->list[ret->n++] = action;
	return 0;
}

static const Entry *entry_find(sd_bus_message *call)
{
	const char *interface = sd_bus_message_get_interface(call),
		   *member = sd_bus_message_get_member(call);

	/* Without an interface the first of that name is called (D-Bus specification); no member is
	 * in two of ours. */
	for (size_t i = 0; member && i < ELEMENTSOF(entries); i++)
		if (strcmp(entries[i].member, member) == 0 &&
			(!interface || strcmp(entries[i].interface, interface) == 0))
			return &entries[i];
	return NULL;
}

int pending_add(Manager *m, sd_bus_message *call, struct Pending **ret)
{
	const char *sender = sd_bus_message_get_sender(call);
	unsigned of_sender = 0;
	struct Pending *p;

	for (p = m->pending; p; p = p->next)
		if (pml_streq(sd_bus_message_get_sender(p->call), sender))
			of_sender++;
	if (m->n_pending >= m->config.max_pending || of_sender >= m->config.max_pending_per_uid)
		return -EDQUOT;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->manager = m;
	p->call = sd_bus_message_ref(call);
	p->next = m->pending;
	m->pending = p;
	m->n_pending++;
	*ret = p;
	return 0;
}

int pending_set_uid(struct Pending *p, uint32_t uid)
{
	unsigned n = 0;

	for (const struct Pending *o = p->manager->pending; o; o = o->next)
		if (o != p && o->uid_known && o->uid == uid)
			n++;
	/* Of root, each hook of a host that starts many machines at once is one. */
	if (uid != p->manager->config.trusted_uid && n >= p->manager->config.max_pending_per_uid)
		return -EDQUOT;
	p->uid = uid;
	p->uid_known = true;
	return 0;
}

sd_bus_message *pending_call(struct Pending *p)
{
	return p->call;
}

void pending_remove(struct Pending *p)
{
	Manager *m;

	if (!p)
		return;
	m = p->manager;
	for (struct Pending **i = &m->pending; *i; i = &(*i)->next)
		if (*i == p) {
			*i = p->next;
			m->n_pending--;
			break;
		}
	sd_bus_slot_unref(p->slot);
	sd_bus_message_unref(p->call);
	free(p);
}

void bouncer_drop_all(Manager *m)
{
	struct Pending *next;

	for (struct Pending *p = m->pending; p; p = next) {
		next = p->next;
		if (p->entry)
			pending_remove(p);
	}
}

static void refuse(struct Pending *p, int r, sd_bus_error *error)
{
	bus_reply_failure(p->call, r, error);
	pending_remove(p);
}

static int too_many(sd_bus_error *error)
{
	return bus_error(error, PML_ERROR_LIMIT,
		"Too many calls of yours wait for an answer; wait for some of them.");
}

static void handle(struct Pending *p)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = sd_bus_message_ref(p->call);
	Manager *m = p->manager;
	BusHandler handler = p->entry->handler;
	uint32_t uid = p->uid;
	int r;

	/* What waits from here on is counted by the handler's own work. */
	pending_remove(p);
	r = handler(m, call, uid, &error);
	if (r < 0)
		bus_reply_failure(call, r, &error);
}

static void ask(struct Pending *p);

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct Pending *p = userdata;
	const char *action = p->actions.list[p->action];
	int authorized = 0, challenge = 0, r;

	if (sd_bus_message_is_method_error(reply, NULL)) {
		const sd_bus_error *e = sd_bus_message_get_error(reply);

		log_notice("polkit did not answer for %s: %s", action,
			e->message ? e->message : e->name);
		r = bus_error(&error, SD_BUS_ERROR_ACCESS_DENIED,
			"polkit could not be asked for %s (%s), so only root may do this.", action,
			e->message ? e->message : e->name);
		refuse(p, r, &error);
		return 0;
	}
	r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
	if (r >= 0)
		r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
	if (r < 0 || !authorized) {
		r = challenge
			    ? bus_error(&error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
				      "This needs an authorization for %s; call again and allow that you are asked.",
				      action)
			    : bus_error(&error, SD_BUS_ERROR_ACCESS_DENIED,
				      "You are not authorized for %s.", action);
		refuse(p, r, &error);
		return 0;
	}
	p->action++;
	ask(p);
	return 0;
}

static int ask_polkit(struct Pending *p)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *msg = NULL;
	int interactive = sd_bus_message_get_allow_interactive_authorization(p->call);
	int r;

	r = sd_bus_message_new_method_call(p->manager->bus, &msg, PML_POLKIT_NAME, PML_POLKIT_PATH,
		PML_POLKIT_IF, "CheckAuthorization");
	if (r >= 0)
		r = sd_bus_message_append(msg, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name",
			"s", sd_bus_message_get_sender(p->call), p->actions.list[p->action], 0,
			(uint32_t)(interactive > 0), "");
	if (r >= 0)
		r = sd_bus_call_async(p->manager->bus, &p->slot, msg, on_polkit, p,
			interactive > 0 ? POLKIT_INTERACTIVE_USEC : POLKIT_USEC);
	return r;
}

static void ask(struct Pending *p)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	if (p->uid == p->manager->config.trusted_uid || p->action >= p->actions.n) {
		handle(p);
		return;
	}
	if (strcmp(p->actions.list[p->action], ROOT_ONLY) == 0) {
		r = bus_error(&error, SD_BUS_ERROR_ACCESS_DENIED,
			"Only root's libvirt (qemu:///system) may ask for a machine's memory: domains of qemu:///session are not lent "
			"any.");
		refuse(p, r, &error);
		return;
	}
	p->slot = sd_bus_slot_unref(p->slot);
	r = ask_polkit(p);
	if (r < 0)
		refuse(p, r, &error);
}

static int actions_one(const char *action, Actions *ret)
{
	ret->list[ret->n++] = action;
	return 0;
}

static int on_uid(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct Pending *p = userdata;
	uint32_t uid;
	int r;

	if (sd_bus_message_is_method_error(reply, NULL) ||
		sd_bus_message_read(reply, "u", &uid) < 0) {
		refuse(p,
			bus_error(&error, SD_BUS_ERROR_ACCESS_DENIED,
				"The bus does not know who you are."),
			&error);
		return 0;
	}
	if (pending_set_uid(p, uid) < 0) {
		refuse(p, too_many(&error), &error);
		return 0;
	}
	if (p->entry->actions)
		r = p->entry->actions(p->manager, p->call, &p->actions);
	else if (p->entry->action)
		r = actions_one(p->entry->action, &p->actions);
	else
		r = 0;
	if (r >= 0)
		r = sd_bus_message_rewind(p->call, true);
	if (r < 0) {
		refuse(p, r, &error);
		return 0;
	}
	ask(p);
	return 0;
}

_Static_assert(offsetof(Region, manager) == 0 && offsetof(Lease, manager) == 0 &&
		       offsetof(Job, manager) == 0,
	"bouncer_method() takes the manager from the front of each object");

int bouncer_method(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const Entry *entry = entry_find(call);
	struct Pending *p;
	Manager *m;
	int r;

	if (!entry)
		return bus_error(
			error, SD_BUS_ERROR_ACCESS_DENIED, "Nobody is allowed this method.");
	m = strcmp(entry->interface, PML_IF_MANAGER) == 0 ? userdata : *(Manager **)userdata;
	if (entry->anonymous) {
		r = entry->handler(m, call, UINT32_MAX, error);
		return r < 0 ? r : 1;
	}
	r = pending_add(m, call, &p);
	if (r == -EDQUOT)
		return too_many(error);
	if (r < 0)
		return r;
	p->entry = entry;
	r = sd_bus_call_method_async(m->bus, &p->slot, "org.freedesktop.DBus",
		"/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixUser", on_uid, p,
		"s", sd_bus_message_get_sender(call));
	if (r < 0) {
		pending_remove(p);
		return r;
	}
	return 1;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "model.h"
#include "names.h"

/*
 * One row says where a property goes; the type is the one of the contract. An unknown property is
 * skipped (a newer daemon), a missing one stays empty (an older daemon).
 */
typedef struct Field {
	const char *property;
	char type; /* s, o, t, i, b; A: as */
	size_t offset;
} Field;

#define FIELD(type, property, code, member)                                                        \
	{                                                                                          \
		property, code, offsetof(type, member)                                             \
	}

static const Field region_fields[] = {
	FIELD(RegionInfo, "Id", 's', id),
	FIELD(RegionInfo, "Name", 's', name),
	FIELD(RegionInfo, "Kind", 's', kind),
	FIELD(RegionInfo, "Path", 's', path),
	FIELD(RegionInfo, "Uuid", 's', uuid),
	FIELD(RegionInfo, "Extent", 's', extent),
	FIELD(RegionInfo, "Presence", 's', presence),
	FIELD(RegionInfo, "Use", 's', use),
	FIELD(RegionInfo, "Content", 's', content),
	FIELD(RegionInfo, "Owner", 's', owner),
	FIELD(RegionInfo, "Reason", 's', reason),
	FIELD(RegionInfo, "FenceLevel", 's', fence_level),
	FIELD(RegionInfo, "Binding", 's', binding),
	FIELD(RegionInfo, "Lease", 'o', lease_object),
	FIELD(RegionInfo, "Job", 'o', job_object),
	FIELD(RegionInfo, "Size", 't', size_bytes),
	FIELD(RegionInfo, "Align", 't', align_bytes),
	FIELD(RegionInfo, "NumaNode", 'i', numa_node),
	FIELD(RegionInfo, "Dimms", 'A', dimms),
	FIELD(RegionInfo, "Obstacles", 'A', obstacles),
};

static const Field lease_fields[] = {
	FIELD(LeaseInfo, "Id", 's', id),
	FIELD(LeaseInfo, "Region", 'o', region_object),
	FIELD(LeaseInfo, "Domain", 's', domain),
	FIELD(LeaseInfo, "DomainName", 's', domain_name),
	FIELD(LeaseInfo, "Owner", 's', owner),
	FIELD(LeaseInfo, "Alias", 's', alias),
	FIELD(LeaseInfo, "Model", 's', model),
	FIELD(LeaseInfo, "State", 's', state),
	FIELD(LeaseInfo, "Size", 't', size_bytes),
	FIELD(LeaseInfo, "Plugged", 't', plugged_bytes),
	FIELD(LeaseInfo, "Deadline", 't', deadline_usec),
	FIELD(LeaseInfo, "Since", 't', since_usec),
	FIELD(LeaseInfo, "Warnings", 'A', warnings),
};

static const Field manager_fields[] = {
	FIELD(ManagerInfo, "Version", 's', version),
	FIELD(ManagerInfo, "FenceLevels", 'A', fence_levels),
	FIELD(ManagerInfo, "KernelRevoke", 'b', kernel_revoke),
	FIELD(ManagerInfo, "LibvirtConnected", 'b', libvirt_connected),
};

static int set_string(char **field, const char *value)
{
	char *copy = strdup(value ? value : "");

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static void strv_clear(char ***v)
{
	for (char **s = *v; s && *s; s++)
		free(*s);
	free(*v);
	*v = NULL;
}

static int read_variant(sd_bus_message *m, const Field *f, void *into)
{
	void *field = (char *)into + f->offset;
	const char *s;
	char **list = NULL;
	int r, truth;

	switch (f->type) {
	case 's':
	case 'o':
		r = sd_bus_message_read(m, "v", f->type == 's' ? "s" : "o", &s);
		return r < 0 ? r : set_string(field, s);
	case 't':
		return sd_bus_message_read(m, "v", "t", field);
	case 'i':
		return sd_bus_message_read(m, "v", "i", field);
	case 'b':
		r = sd_bus_message_read(m, "v", "b", &truth);
		if (r >= 0)
			*(bool *)field = truth;
		return r;
	case 'A':
		r = sd_bus_message_enter_container(m, 'v', "as");
		if (r >= 0)
			r = sd_bus_message_read_strv(m, &list);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r < 0) {
			strv_clear(&list);
			return r;
		}
		strv_clear(field);
		*(char ***)field = list;
		return 0;
	default:
		return -EINVAL;
	}
}

static char **policy_word(LeaseInfo *l, const char *key)
{
	return strcmp(key, "on-end") == 0	 ? &l->on_end
	       : strcmp(key, "after-fence") == 0 ? &l->after_fence
	       : strcmp(key, "drain") == 0	 ? &l->drain
	       : strcmp(key, "on-refusal") == 0	 ? &l->on_refusal
						 : NULL;
}

/* Policy is a dictionary of its own. */
static int read_policy(sd_bus_message *m, LeaseInfo *l)
{
	const char *key, *value;
	int r, restore = 0;

	r = sd_bus_message_enter_container(m, 'v', "a{sv}");
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &key);
		if (r < 0)
			return r;
		if (policy_word(l, key)) {
			r = sd_bus_message_read(m, "v", "s", &value);
			if (r >= 0)
				r = set_string(policy_word(l, key), value);
		} else if (strcmp(key, "deadline") == 0) {
			r = sd_bus_message_read(m, "v", "t", &l->grace_usec);
		} else if (strcmp(key, "restore") == 0) {
			r = sd_bus_message_read(m, "v", "b", &restore);
			l->restore = restore;
		} else {
			r = sd_bus_message_skip(m, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_properties(
	sd_bus_message *m, const Field *fields, size_t n, void *into, LeaseInfo *policy)
{
	const char *key;
	size_t i;
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &key);
		if (r < 0)
			return r;
		for (i = 0; i < n && strcmp(fields[i].property, key) != 0; i++)
			;
		if (i < n)
			r = read_variant(m, &fields[i], into);
		else if (policy && strcmp(key, "Policy") == 0)
			r = read_policy(m, policy);
		else
			r = sd_bus_message_skip(m, "v");
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* No string is NULL afterwards, whatever the daemon left out. */
static int fill_strings(const Field *fields, size_t n, void *into)
{
	for (size_t i = 0; i < n; i++) {
		char **field = (char **)(void *)((char *)into + fields[i].offset);

		if ((fields[i].type == 's' || fields[i].type == 'o') && !*field) {
			*field = strdup(fields[i].type == 'o' ? "/" : "");
			if (!*field)
				return -ENOMEM;
		}
	}
	return 0;
}

static ExitCode load_object(sd_bus *bus, const Options *o, const char *object,
	const char *interface, const Field *fields, size_t n, void *into, LeaseInfo *policy,
	bool *ret_gone)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	ExitCode code;
	int r;

	code = bus_get_all(bus, o, object, interface, &reply, ret_gone);
	if (code != EXIT_DONE || !reply)
		return code;
	r = read_properties(reply, fields, n, into, policy);
	if (r >= 0)
		r = fill_strings(fields, n, into);
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

static ExitCode load_lease(sd_bus *bus, const Options *o, LeaseInfo *l, bool *ret_gone)
{
	static const char *const words[] = {"on-end", "after-fence", "drain", "on-refusal"};
	ExitCode code;

	l->grace_usec = PML_DEADLINE_DEFAULT;
	code = load_object(bus, o, l->object, PML_IF_LEASE, lease_fields, ELEMENTSOF(lease_fields),
		l, l, ret_gone);
	for (size_t i = 0; code == EXIT_DONE && i < ELEMENTSOF(words); i++) {
		char **word = policy_word(l, words[i]);

		if (!*word && set_string(word, "") < 0)
			return report_errno(o, -ENOMEM, "Cannot read the daemon's answer");
	}
	return code;
}

ExitCode model_manager(sd_bus *bus, const Options *o, ManagerInfo *ret)
{
	return load_object(bus, o, PML_BUS_PATH, PML_IF_MANAGER, manager_fields,
		ELEMENTSOF(manager_fields), ret, NULL, NULL);
}

/* The lease of a region is shown by its domain; a lease that ended between the two calls is no
 * error. */
static int region_add_lease(RegionInfo *r, const LeaseList *leases)
{
	for (size_t i = 0; leases && i < leases->n; i++)
		if (strcmp(leases->items[i].object, r->lease_object) == 0) {
			int k = set_string(&r->lease_id, leases->items[i].id);

			return k < 0 ? k
				     : set_string(&r->lease_domain, leases->items[i].domain_name);
		}
	if (set_string(&r->lease_id, "") < 0 || set_string(&r->lease_domain, "") < 0)
		return -ENOMEM;
	return 0;
}

static ExitCode load_region(sd_bus *bus, const Options *o, const char *object,
	const LeaseList *leases, RegionInfo *ret, bool *ret_gone)
{
	ExitCode code;
	int r = set_string(&ret->object, object);

	ret->numa_node = -1;
	if (r < 0)
		return report_errno(o, r, "Cannot read the daemon's answer");
	code = load_object(bus, o, object, PML_IF_REGION, region_fields, ELEMENTSOF(region_fields),
		ret, NULL, ret_gone);
	if (code != EXIT_DONE || (ret_gone && *ret_gone))
		return code;
	r = region_add_lease(ret, leases);
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

ExitCode model_region_object(
	sd_bus *bus, const Options *o, const char *object, RegionInfo *ret, LeaseInfo *ret_lease)
{
	bool gone = false;
	ExitCode code = load_region(bus, o, object, NULL, ret, NULL);

	if (code != EXIT_DONE || strcmp(ret->lease_object, "/") == 0)
		return code;
	if (set_string(&ret_lease->object, ret->lease_object) < 0 ||
		set_string(&ret_lease->region_id, ret->id) < 0 ||
		set_string(&ret_lease->region_name, ret->name) < 0)
		return report_errno(o, -ENOMEM, "Cannot read the daemon's answer");
	code = load_lease(bus, o, ret_lease, &gone);
	if (gone)
		lease_info_clear(ret_lease);
	if (code != EXIT_DONE || gone)
		return code;
	if (set_string(&ret->lease_id, ret_lease->id) < 0 ||
		set_string(&ret->lease_domain, ret_lease->domain_name) < 0)
		return report_errno(o, -ENOMEM, "Cannot read the daemon's answer");
	return EXIT_DONE;
}

ExitCode model_region(
	sd_bus *bus, const Options *o, const char *name, RegionInfo *ret, LeaseInfo *ret_lease)
{
	_cleanup_free_ char *object = NULL;
	ExitCode code = model_find(bus, o, "GetRegion", name, &object);

	return code == EXIT_DONE ? model_region_object(bus, o, object, ret, ret_lease) : code;
}

/* Room for one more; the new item is zeroed. */
static void *list_grow(void *items, size_t *n, size_t item_size)
{
	char *grown = reallocarray(items, *n + 1, item_size);

	if (!grown)
		return NULL;
	memset(grown + *n * item_size, 0, item_size);
	(*n)++;
	return grown;
}

#define LIST_GROW(list)                                                                            \
	({                                                                                         \
		void *_grown = list_grow((list)->items, &(list)->n, sizeof((list)->items[0]));     \
		if (_grown)                                                                        \
			(list)->items = _grown;                                                    \
		_grown ? 0 : -ENOMEM;                                                              \
	})

ExitCode model_regions(sd_bus *bus, const Options *o, RegionList *ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_leases_ LeaseList leases = {};
	ExitCode code;
	int r;

	code = model_leases(bus, o, &leases);
	if (code == EXIT_DONE)
		code = bus_call(bus, o, PML_BUS_PATH, PML_IF_MANAGER, "ListRegions", &reply, "");
	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_enter_container(reply, 'a', "(ssstsssso)");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'r', "ssstsssso")) > 0) {
		const char *object;
		bool gone = false;

		r = sd_bus_message_skip(reply, "ssstssss");
		if (r >= 0)
			r = sd_bus_message_read(reply, "o", &object);
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
		if (r >= 0)
			r = LIST_GROW(ret);
		if (r < 0)
			break;
		code = load_region(bus, o, object, &leases, &ret->items[ret->n - 1], &gone);
		if (code != EXIT_DONE)
			return code;
		if (gone)
			region_info_clear(&ret->items[--ret->n]);
	}
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

/* What only the list says: the region by id and name. */
static int read_lease_row(sd_bus_message *m, LeaseInfo *l)
{
	const char *id, *region, *region_name, *domain, *domain_name, *owner, *state, *object;
	int r = sd_bus_message_read(m, "(ssssssso)", &id, &region, &region_name, &domain,
		&domain_name, &owner, &state, &object);

	if (r <= 0)
		return r;
	if (set_string(&l->object, object) < 0 || set_string(&l->region_id, region) < 0 ||
		set_string(&l->region_name, region_name) < 0)
		return -ENOMEM;
	return 1;
}

ExitCode model_leases(sd_bus *bus, const Options *o, LeaseList *ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	ExitCode code;
	int r;

	code = bus_call(bus, o, PML_BUS_PATH, PML_IF_MANAGER, "ListLeases", &reply, "");
	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_enter_container(reply, 'a', "(ssssssso)");
	while (r >= 0 && !sd_bus_message_at_end(reply, 0)) {
		bool gone = false;

		r = LIST_GROW(ret);
		if (r >= 0)
			r = read_lease_row(reply, &ret->items[ret->n - 1]);
		if (r <= 0)
			break;
		code = load_lease(bus, o, &ret->items[ret->n - 1], &gone);
		if (code != EXIT_DONE)
			return code;
		if (gone)
			lease_info_clear(&ret->items[--ret->n]);
	}
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

ExitCode model_lease_object(sd_bus *bus, const Options *o, const char *object, LeaseInfo *ret)
{
	_cleanup_region_ RegionInfo region = {};
	bool gone = false;
	ExitCode code;

	if (set_string(&ret->object, object) < 0)
		return report_errno(o, -ENOMEM, "Cannot read the daemon's answer");
	code = load_lease(bus, o, ret, &gone);
	if (code == EXIT_DONE && !gone)
		code = load_region(bus, o, ret->region_object, NULL, &region, &gone);
	if (code != EXIT_DONE)
		return code;
	if (gone)
		return report_error(o, PML_ERROR_NO_SUCH_LEASE, "The lease has ended meanwhile.");
	ret->region_id = TAKE_PTR(region.id);
	ret->region_name = TAKE_PTR(region.name);
	return EXIT_DONE;
}

ExitCode model_lease(sd_bus *bus, const Options *o, const char *name, LeaseInfo *ret)
{
	_cleanup_free_ char *object = NULL;
	ExitCode code = model_find(bus, o, "GetLease", name, &object);

	return code == EXIT_DONE ? model_lease_object(bus, o, object, ret) : code;
}

ExitCode model_jobs(sd_bus *bus, const Options *o, JobList *ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *kind, *subject, *phase, *object;
	uint64_t id;
	double progress;
	ExitCode code;
	int r;

	code = bus_call(bus, o, PML_BUS_PATH, PML_IF_MANAGER, "ListJobs", &reply, "");
	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_enter_container(reply, 'a', "(tsosdo)");
	while (r >= 0 && (r = sd_bus_message_read(reply, "(tsosdo)", &id, &kind, &subject, &phase,
				  &progress, &object)) > 0) {
		JobInfo *j;

		r = LIST_GROW(ret);
		if (r < 0)
			break;
		j = &ret->items[ret->n - 1];
		j->id = id;
		j->progress = progress;
		j->subject = model_object_label(subject);
		if (!j->subject || set_string(&j->kind, kind) < 0 ||
			set_string(&j->phase, phase) < 0 || set_string(&j->object, object) < 0)
			r = -ENOMEM;
	}
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

static int read_history_row(sd_bus_message *m, HistoryInfo *h)
{
	const char *kind, *id, *from, *to, *detail, *actor;
	int r = sd_bus_message_read(
		m, "(xtssssss)", &h->seq, &h->time_usec, &kind, &id, &from, &to, &detail, &actor);

	if (r <= 0)
		return r;
	if (set_string(&h->kind, kind) < 0 || set_string(&h->id, id) < 0 ||
		set_string(&h->from, from) < 0 || set_string(&h->to, to) < 0 ||
		set_string(&h->detail, detail) < 0 || set_string(&h->actor, actor) < 0)
		return -ENOMEM;
	return 1;
}

ExitCode model_history(sd_bus *bus, const Options *o, const char *id, HistoryList *ret)
{
	int64_t before = 0;

	/* the daemon hands out at most 1000 rows at a time */
	while (ret->n < o->lines) {
		_cleanup_message_ sd_bus_message *reply = NULL;
		uint64_t want = o->lines - ret->n, got = 0;
		ExitCode code;
		int r;

		want = want > 1000 ? 1000 : want;
		code = bus_call(bus, o, PML_BUS_PATH, PML_IF_MANAGER, "History", &reply, "sxu", id,
			before, (uint32_t)want);
		if (code != EXIT_DONE)
			return code;
		r = sd_bus_message_enter_container(reply, 'a', "(xtssssss)");
		for (; r >= 0 && !sd_bus_message_at_end(reply, 0); got++) {
			r = LIST_GROW(ret);
			if (r >= 0)
				r = read_history_row(reply, &ret->items[ret->n - 1]);
		}
		if (r < 0)
			return report_errno(o, r, "Cannot read the daemon's answer");
		if (got < want)
			break;
		before = ret->items[ret->n - 1].seq;
	}
	return EXIT_DONE;
}

static void clear_fields(const Field *fields, size_t n, void *from)
{
	for (size_t i = 0; i < n; i++) {
		void *field = (char *)from + fields[i].offset;

		if (fields[i].type == 'A') {
			strv_clear(field);
		} else if (fields[i].type == 's' || fields[i].type == 'o') {
			free(*(char **)field);
			*(char **)field = NULL;
		}
	}
}

void region_info_clear(RegionInfo *r)
{
	clear_fields(region_fields, ELEMENTSOF(region_fields), r);
	free(r->object);
	free(r->lease_id);
	free(r->lease_domain);
	*r = (RegionInfo){};
}

void lease_info_clear(LeaseInfo *l)
{
	clear_fields(lease_fields, ELEMENTSOF(lease_fields), l);
	free(l->object);
	free(l->region_id);
	free(l->region_name);
	free(l->on_end);
	free(l->after_fence);
	free(l->drain);
	free(l->on_refusal);
	*l = (LeaseInfo){};
}

void manager_info_clear(ManagerInfo *m)
{
	clear_fields(manager_fields, ELEMENTSOF(manager_fields), m);
}

void region_list_clear(RegionList *l)
{
	for (size_t i = 0; i < l->n; i++)
		region_info_clear(&l->items[i]);
	free(l->items);
	*l = (RegionList){};
}

void lease_list_clear(LeaseList *l)
{
	for (size_t i = 0; i < l->n; i++)
		lease_info_clear(&l->items[i]);
	free(l->items);
	*l = (LeaseList){};
}

void job_list_clear(JobList *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].object);
		free(l->items[i].kind);
		free(l->items[i].subject);
		free(l->items[i].phase);
	}
	free(l->items);
	*l = (JobList){};
}

void history_list_clear(HistoryList *l)
{
	for (size_t i = 0; i < l->n; i++) {
		HistoryInfo *h = &l->items[i];

		free(h->kind);
		free(h->id);
		free(h->from);
		free(h->to);
		free(h->detail);
		free(h->actor);
	}
	free(l->items);
	*l = (HistoryList){};
}

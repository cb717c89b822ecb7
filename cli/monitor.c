/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `pmemlease monitor`: everything that the daemon signals, until Ctrl-C. What is known of each
 * object is kept, so that a signal can be said as what was and what is; when the daemon was away,
 * what changed meanwhile is found by comparing.
 */

#include <signal.h>
#include <systemd/sd-event.h>

#include "act.h"
#include "format.h"
#include "json.h"
#include "monitor.h"
#include "names.h"

typedef struct Monitor {
	sd_bus *bus;
	sd_event *event;
	const Options *options;
	sd_bus_slot *signals, *owner, *lost, *asked_manager, *asked_objects;
	struct json_object *objects; /* bus path → property → value */
	struct json_object *manager; /* what the daemon itself answered, until all is loaded */
	/* What comes before the answer is in the answer: the bus keeps the order. */
	bool loaded;
	bool known; /* objects are those of an earlier answer, not of none */
	bool waiting, ended;
	ExitCode code;
} Monitor;

static int end(Monitor *w, ExitCode code)
{
	w->ended = true;
	w->code = code;
	return 0;
}

static int ended_by(Monitor *w, int r)
{
	return r < 0 ? end(w, report_errno(w->options, r, "Cannot write")) : 0;
}

static int tell(Monitor *w, const char *event, const char *object, const char *text,
	struct json_object *more)
{
	const Note note = {.event = event, .object = object, .text = text, .more = more};

	return monitor_say(stdout, w->options, w->objects, &note);
}

/* --- what the daemon sends --- */

/* "a{sa{sv}}": the properties of our interfaces; those of all objects (Peer, …) have none. */
static int read_interfaces(sd_bus_message *m, struct json_object **ret)
{
	_cleanup_json_ struct json_object *props = json_object_new_object();
	const char *interface;
	int r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
		r = sd_bus_message_read(m, "s", &interface);
		if (r >= 0)
			r = bus_read_properties(m, props);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r >= 0)
		*ret = TAKE_PTR(props);
	return r;
}

static struct json_object *object_at(struct json_object *objects, const char *path)
{
	struct json_object *j = NULL;

	(void)json_object_object_get_ex(objects, path, &j);
	return j;
}

static int tell_added(Monitor *w, const char *path)
{
	struct json_object *props = object_at(w->objects, path);
	_cleanup_free_ char *text = NULL;
	const char *kind = monitor_kind(path);
	int r;

	if (strcmp(kind, "job") == 0)
		return tell(w, "added", path, "started", NULL);
	if (strcmp(kind, "lease") == 0)
		r = asprintf(&text, "new, %s", json_get_str(props, "State"));
	else
		r = asprintf(&text, "new: %s, %s, content %s", json_get_str(props, "Presence"),
			json_get_str(props, "Use"), json_get_str(props, "Content"));
	return r < 0 ? -ENOMEM : tell(w, "added", path, text, NULL);
}

static int on_added(Monitor *w, sd_bus_message *m)
{
	struct json_object *props;
	const char *path;
	int r;

	r = sd_bus_message_read(m, "o", &path);
	if (r >= 0)
		r = read_interfaces(m, &props);
	/* a signal that cannot be read costs its line, not the monitor */
	if (r < 0)
		return 0;
	json_object_object_add(w->objects, path, props);
	return tell_added(w, path);
}

static int on_removed(Monitor *w, sd_bus_message *m)
{
	const char *path;
	int r;

	if (sd_bus_message_read(m, "o", &path) < 0 || !object_at(w->objects, path))
		return 0;
	r = tell(w, "removed", path, "gone", NULL);
	json_object_object_del(w->objects, path);
	return r;
}

static int on_changed(Monitor *w, sd_bus_message *m)
{
	_cleanup_json_ struct json_object *before = NULL;
	struct json_object *after, *known;
	const char *interface, *path = sd_bus_message_get_path(m);
	int r;

	r = sd_bus_message_read(m, "s", &interface);
	if (r < 0 || strncmp(interface, PML_BUS_NAME ".", strlen(PML_BUS_NAME) + 1) != 0)
		return 0;
	after = json_object_new_object();
	known = object_at(w->objects, path);
	before = json_object_get(known);
	if (known) {
		json_object_object_foreach(known, key, value)
		{
			json_object_object_add(after, key, json_object_get(value));
		}
	}
	r = bus_read_properties(m, after);
	json_object_object_add(w->objects, path, after);
	return r < 0 ? 0 : monitor_say_changes(stdout, w->options, w->objects, path, before, after);
}

static int on_job_removed(Monitor *w, sd_bus_message *m)
{
	_cleanup_json_ struct json_object *more = json_object_new_object();
	_cleanup_free_ char *text = NULL;
	const char *path, *subject, *result, *error, *message;
	uint64_t id;
	int r;

	r = sd_bus_message_read(m, "toosss", &id, &path, &subject, &result, &error, &message);
	if (r < 0)
		return 0;
	json_add_string(more, "result", result);
	json_add_string(more, "error", error);
	json_add_string(more, "message", message);
	if (asprintf(&text, "%s%s%s", result, *message ? ": " : "", message) < 0)
		return -ENOMEM;
	r = tell(w, "ended", path, text, more);
	json_object_object_del(w->objects, path);
	return r;
}

static int on_resized(Monitor *w, sd_bus_message *m)
{
	_cleanup_json_ struct json_object *more = json_object_new_object();
	_cleanup_free_ char *text = NULL;
	char was[FORMAT_MAX], is[FORMAT_MAX];
	uint64_t old_size, new_size;

	if (sd_bus_message_read(m, "tt", &old_size, &new_size) < 0)
		return 0;
	json_add_u64(more, "from_bytes", old_size);
	json_add_u64(more, "to_bytes", new_size);
	if (asprintf(&text, "resized from %s to %s", format_size(was, old_size, w->options->bytes),
		    format_size(is, new_size, w->options->bytes)) < 0)
		return -ENOMEM;
	return tell(w, "resized", sd_bus_message_get_path(m), text, more);
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	static const struct {
		const char *member;
		int (*fn)(Monitor *w, sd_bus_message *m);
	} handlers[] = {
		{"InterfacesAdded", on_added},
		{"InterfacesRemoved", on_removed},
		{"PropertiesChanged", on_changed},
		{"JobRemoved", on_job_removed},
		{"Resized", on_resized},
	};
	const char *member = sd_bus_message_get_member(m);
	Monitor *w = userdata;

	for (size_t i = 0; w->loaded && i < ELEMENTSOF(handlers); i++)
		if (pml_streq(handlers[i].member, member))
			return ended_by(w, handlers[i].fn(w, m));
	return 0;
}

/* --- what it answers at the start, and when it is back --- */

static size_t count(struct json_object *objects, const char *kind)
{
	size_t n = 0;

	json_object_object_foreach(objects, path, value)
	{
		if (value && strcmp(monitor_kind(path), kind) == 0)
			n++;
	}
	return n;
}

static int tell_watching(Monitor *w)
{
	_cleanup_json_ struct json_object *more = json_object_new_object();
	_cleanup_free_ char *text = NULL;
	size_t regions = count(w->objects, "region"), leases = count(w->objects, "lease"),
	       jobs = count(w->objects, "job");
	const char *version = json_get_str(object_at(w->objects, PML_BUS_PATH), "Version");

	json_add_string(more, "version", version);
	json_add_u64(more, "regions", regions);
	json_add_u64(more, "leases", leases);
	json_add_u64(more, "jobs", jobs);
	if (asprintf(&text, "%sversion %s; watching regions: %zu, leases: %zu, jobs: %zu",
		    w->known ? "is back, " : "", version, regions, leases, jobs) < 0)
		return -ENOMEM;
	return tell(w, "watching", PML_BUS_PATH, text, more);
}

/* What happened while nobody could tell. */
static int tell_difference(Monitor *w, struct json_object *before)
{
	int r = 0;

	json_object_object_foreach(before, path, was)
	{
		struct json_object *is = object_at(w->objects, path);
		/* what has no object any more is called as it was */
		const Note gone = {.event = "removed", .object = path, .text = "gone"};

		if (r < 0)
			continue;
		if (is)
			r = monitor_say_changes(stdout, w->options, w->objects, path, was, is);
		else
			r = monitor_say(stdout, w->options, before, &gone);
	}
	json_object_object_foreach(w->objects, added, props)
	{
		if (r >= 0 && props && !object_at(before, added))
			r = tell_added(w, added);
	}
	return r;
}

static int read_objects(sd_bus_message *m, struct json_object *objects)
{
	const char *path;
	int r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
		struct json_object *props = NULL;

		r = sd_bus_message_read(m, "o", &path);
		if (r >= 0)
			r = read_interfaces(m, &props);
		if (r >= 0)
			json_object_object_add(objects, path, props);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

static int tell_waiting(Monitor *w, const char *text)
{
	int r;

	if (w->waiting)
		return 0;
	w->waiting = true;
	r = tell(w, "waiting", PML_BUS_PATH, text, NULL);
	return ended_by(w, r);
}

/* An error: 1 and what it means was done. */
static int failed(Monitor *w, sd_bus_message *m)
{
	const sd_bus_error *e = sd_bus_message_get_error(m);

	if (!sd_bus_message_is_method_error(m, NULL))
		return 0;
	/* it is not there, or went away before it answered: NameOwnerChanged tells of its coming */
	if (bus_error_exit_code(e->name) == EXIT_NO_DAEMON)
		(void)tell_waiting(w, "does not run; waiting for it");
	else
		(void)end(w, report_error(w->options, e->name, e->message));
	return 1;
}

static int on_manager(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	Monitor *w = userdata;

	if (failed(w, m))
		return 0;
	json_putp(&w->manager);
	w->manager = json_object_new_object();
	(void)bus_read_properties(m, w->manager);
	return 0;
}

static int on_objects(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_json_ struct json_object *before = NULL;
	Monitor *w = userdata;
	int r;

	if (failed(w, m))
		return 0;
	before = w->objects;
	w->objects = json_object_new_object();
	json_object_object_add(w->objects, PML_BUS_PATH,
		w->manager ? TAKE_PTR(w->manager) : json_object_new_object());
	r = read_objects(m, w->objects);
	if (r < 0)
		return end(w, report_errno(w->options, r, "Cannot read the daemon's answer"));
	r = tell_watching(w);
	if (r >= 0 && w->known)
		r = tell_difference(w, before);
	w->loaded = w->known = true;
	w->waiting = false;
	return ended_by(w, r);
}

/* Asks without starting it: who watches must not be what brings it up. */
static int ask(Monitor *w, const char *interface, const char *member, const char *argument,
	sd_bus_message_handler_t fn, sd_bus_slot **slot)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r;

	*slot = sd_bus_slot_unref(*slot);
	r = sd_bus_message_new_method_call(
		w->bus, &m, PML_BUS_NAME, PML_BUS_PATH, interface, member);
	if (r >= 0 && argument)
		r = sd_bus_message_append(m, "s", argument);
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, false);
	return r < 0 ? r : sd_bus_call_async(w->bus, slot, m, fn, w, 0);
}

static int load(Monitor *w)
{
	int r;

	w->loaded = false;
	r = ask(w, "org.freedesktop.DBus.Properties", "GetAll", PML_IF_MANAGER, on_manager,
		&w->asked_manager);
	if (r >= 0)
		r = ask(w, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL,
			on_objects, &w->asked_objects);
	return r;
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name, *old_owner, *new_owner;
	Monitor *w = userdata;
	int r;

	if (sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) < 0)
		return 0;
	if (!*new_owner) {
		w->loaded = false;
		return tell_waiting(w, "has gone; waiting for it to come back");
	}
	r = load(w);
	return r < 0 ? end(w, report_errno(w->options, r, "Cannot ask the daemon")) : 0;
}

static int on_lost(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	Monitor *w = userdata;

	return end(w, report_error(w->options, SD_BUS_ERROR_DISCONNECTED,
			      "The connection to the bus was lost."));
}

/* Ctrl-C is how it ends: done, not interrupted. */
static int on_interrupt(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	return end(userdata, EXIT_DONE);
}

static int subscribe(Monitor *w)
{
	int r;

	r = sd_bus_add_match_async(w->bus, &w->owner,
		"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
		"member='NameOwnerChanged',arg0='" PML_BUS_NAME "'",
		on_owner, NULL, w);
	if (r >= 0)
		r = sd_bus_add_match_async(w->bus, &w->signals,
			"type='signal',sender='" PML_BUS_NAME "',path_namespace='" PML_BUS_PATH "'",
			on_signal, NULL, w);
	if (r >= 0)
		r = sd_bus_match_signal_async(w->bus, &w->lost, "org.freedesktop.DBus.Local",
			"/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
			on_lost, NULL, w);
	return r < 0 ? r : load(w);
}

static int watch(Monitor *w)
{
	sigset_t signals;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	r = sd_event_new(&w->event);
	if (r >= 0)
		r = sd_event_add_signal(w->event, NULL, SIGINT, on_interrupt, w);
	if (r >= 0)
		r = sd_event_add_signal(w->event, NULL, SIGTERM, on_interrupt, w);
	if (r >= 0)
		r = sd_bus_attach_event(w->bus, w->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = subscribe(w);
	while (r >= 0 && !w->ended)
		r = sd_event_run(w->event, UINT64_MAX);
	return r;
}

ExitCode verb_monitor(sd_bus *bus, const Options *o, char *const *args)
{
	Monitor w = {.bus = bus, .options = o, .objects = json_object_new_object()};
	int r = w.objects ? watch(&w) : -ENOMEM;
	sd_bus_slot *const slots[] = {w.signals, w.owner, w.lost, w.asked_manager, w.asked_objects};

	for (size_t i = 0; i < ELEMENTSOF(slots); i++)
		sd_bus_slot_unref(slots[i]);
	(void)sd_bus_detach_event(bus);
	sd_event_unref(w.event);
	json_putp(&w.objects);
	json_putp(&w.manager);
	return r < 0 ? report_errno(o, r, "Cannot watch") : w.code;
}

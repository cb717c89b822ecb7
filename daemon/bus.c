/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus.h"
#include "log.h"
#include "util.h"

#define RETRY_MIN_USEC (100 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (5 * USEC_PER_SEC)

static int bus_connect(Manager *m);

static void bus_ready(Manager *m)
{
	void (*on_ready)(Manager * m) = m->on_ready;

	m->on_ready = NULL;
	if (on_ready)
		on_ready(m);
}

static void bus_drop(Manager *m)
{
	Region *r;
	Lease *l;

	bouncer_drop_all(m);
	m->bus_ready = false;
	LIST_FOREACH (r, &m->regions, regions)
		r->on_bus = false;
	LIST_FOREACH (l, &m->leases, leases)
		l->on_bus = false;
	if (!m->bus)
		return;
	sd_bus_close(m->bus);
	m->bus = sd_bus_unref(m->bus);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata)
{
	Manager *m = userdata;

	(void)bus_connect(m);
	return 0;
}

static void bus_retry(Manager *m)
{
	uint64_t delay = m->bus_retry_usec ? m->bus_retry_usec : RETRY_MIN_USEC;
	int r;

	m->bus_retry_usec = delay * 2 > RETRY_MAX_USEC ? RETRY_MAX_USEC : delay * 2;
	if (!m->bus_retry)
		r = sd_event_add_time_relative(
			m->event, &m->bus_retry, CLOCK_MONOTONIC, delay, 0, on_retry, m);
	else
		r = sd_event_source_set_time_relative(m->bus_retry, delay);
	if (r >= 0)
		r = sd_event_source_set_enabled(m->bus_retry, SD_EVENT_ONESHOT);
	if (r < 0)
		log_error("Cannot try the bus again: %s.", strerror(-r));
	/* Nobody who waits for the daemon is helped by waiting for the bus. */
	bus_ready(m);
}

static int on_disconnected(sd_bus_message *msg, void *userdata, sd_bus_error *error)
{
	Manager *m = userdata;

	log_warning(
		"The connection to the bus is lost; deadlines and fences go on, the bus is tried again.");
	/* Dropped by the timer: this runs inside the connection that is to be freed. */
	bus_retry(m);
	return 0;
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	Manager *m = userdata;
	uint32_t result = 0;

	if (sd_bus_message_is_method_error(reply, NULL)) {
		log_error("Cannot have the name %s on the bus: %s", PML_BUS_NAME,
			sd_bus_message_get_error(reply)->message);
		bus_retry(m);
		return 0;
	}
	if (sd_bus_message_read(reply, "u", &result) < 0 || (result != 1 && result != 4)) {
		log_error("The name %s on the bus belongs to another process.", PML_BUS_NAME);
		bus_retry(m);
		return 0;
	}
	m->bus_ready = true;
	m->bus_retry_usec = 0;
	bus_ready(m);
	return 0;
}

static int find_region(sd_bus *bus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error)
{
	*ret_found = bus_region_of(userdata, path);
	return *ret_found != NULL;
}

static int find_lease(sd_bus *bus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error)
{
	*ret_found = bus_lease_of(userdata, path);
	return *ret_found != NULL;
}

static int find_job(sd_bus *bus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error)
{
	*ret_found = bus_job_of(userdata, path);
	return *ret_found != NULL;
}

static int nodes_add(char ***nodes, size_t *n, const char *path)
{
	char **l = reallocarray(*nodes, *n + 2, sizeof(*l));

	if (!l)
		return -ENOMEM;
	*nodes = l;
	l[*n] = strdup(path);
	if (!l[*n])
		return -ENOMEM;
	l[++*n] = NULL;
	return 0;
}

static int nodes_return(char **nodes, int r, char ***ret)
{
	if (r >= 0) {
		*ret = nodes;
		return 0;
	}
	for (char **s = nodes; s && *s; s++)
		free(*s);
	free(nodes);
	return r;
}

static int list_regions(
	sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error)
{
	Manager *m = userdata;
	char **nodes = NULL;
	size_t n = 0;
	Region *region;
	int r = 0;

	LIST_FOREACH (region, &m->regions, regions)
		if (r >= 0)
			r = nodes_add(&nodes, &n, region->path);
	return nodes_return(nodes, r, ret);
}

static int list_leases(
	sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error)
{
	Manager *m = userdata;
	char **nodes = NULL;
	size_t n = 0;
	Lease *lease;
	int r = 0;

	LIST_FOREACH (lease, &m->leases, leases)
		if (r >= 0)
			r = nodes_add(&nodes, &n, lease->path);
	return nodes_return(nodes, r, ret);
}

static int list_jobs(
	sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error)
{
	Manager *m = userdata;
	char **nodes = NULL;
	size_t n = 0;
	int r = 0;

	for (Job *job = m->jobs; job; job = job->next)
		if (r >= 0 && job->path)
			r = nodes_add(&nodes, &n, job->path);
	return nodes_return(nodes, r, ret);
}

static int bus_add_objects(Manager *m)
{
	static const struct {
		const char *path, *interface;
		const sd_bus_vtable *vtable;
		sd_bus_object_find_t find;
		sd_bus_node_enumerator_t list;
	} objects[] = {
		{PML_PATH_REGION, PML_IF_REGION, region_vtable, find_region, list_regions},
		{PML_PATH_LEASE, PML_IF_LEASE, lease_vtable, find_lease, list_leases},
		{PML_PATH_JOB, PML_IF_JOB, job_vtable, find_job, list_jobs},
	};
	int r;

	r = sd_bus_add_object_manager(m->bus, NULL, PML_BUS_PATH);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			m->bus, NULL, PML_BUS_PATH, PML_IF_MANAGER, manager_vtable, m);
	for (size_t i = 0; i < ELEMENTSOF(objects) && r >= 0; i++) {
		r = sd_bus_add_fallback_vtable(m->bus, NULL, objects[i].path, objects[i].interface,
			objects[i].vtable, objects[i].find, m);
		if (r >= 0)
			r = sd_bus_add_node_enumerator(
				m->bus, NULL, objects[i].path, objects[i].list, m);
	}
	return r;
}

static int bus_open(Manager *m)
{
	Region *region;
	Lease *lease;
	int r;

	/* Nothing here waits: the socket is connected, and everything else is answered on the loop.
	 */
	r = sd_bus_open_system_with_description(&m->bus, "pmemleased");
	if (r >= 0)
		r = sd_bus_match_signal(m->bus, NULL, "org.freedesktop.DBus.Local",
			"/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
			on_disconnected, m);
	if (r >= 0)
		r = bus_add_objects(m);
	if (r >= 0)
		r = sd_bus_attach_event(m->bus, m->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = sd_bus_request_name_async(m->bus, NULL, PML_BUS_NAME, 0, on_name, m);
	if (r < 0)
		return r;
	/* Who comes to a new connection reads what is there; only what changes from now on is
	 * signalled. */
	LIST_FOREACH (region, &m->regions, regions) {
		region->on_bus = true;
		region->changed = false;
	}
	LIST_FOREACH (lease, &m->leases, leases) {
		lease->on_bus = true;
		lease->changed = false;
	}
	return 0;
}

static int bus_connect(Manager *m)
{
	int r;

	bus_drop(m);
	r = bus_open(m);
	if (r >= 0)
		return 0;
	log_debug("Cannot open the bus: %s.", strerror(-r));
	bus_drop(m);
	bus_retry(m);
	return r;
}

int bus_start(Manager *m)
{
	int r = bus_connect(m);

	if (r < 0)
		log_warning("The bus cannot be reached (%s); it is tried again.", strerror(-r));
	return 0;
}

void bus_stop(Manager *m)
{
	m->bus_retry = sd_event_source_disable_unref(m->bus_retry);
	if (m->bus)
		(void)sd_bus_flush(m->bus);
	bus_drop(m);
}

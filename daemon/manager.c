/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <sys/stat.h>

#include "ask.h"
#include "askable.h"
#include "behind.h"
#include "bus.h"
#include "deprived.h"
#include "log.h"
#include "manager.h"
#include "memory-failure.h"
#include "ops.h"
#include "plugged.h"
#include "uevent.h"
#include "util.h"
#include "wanted.h"

typedef struct RescanWaiter {
	struct RescanWaiter *next;
	void (*done)(void *data, int r);
	void *data;
} RescanWaiter;

int op_error(OpError *err, const char *error, const char *format, ...)
{
	va_list ap;

	(void)snprintf(err->error, sizeof(err->error), "%s", error);
	va_start(ap, format);
	(void)vsnprintf(err->message, sizeof(err->message), format, ap);
	pml_make_printable(err->message);
	va_end(ap);
	return 1;
}

int manager_new(sd_event *event, const Config *config, Manager **ret)
{
	Manager *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->event = sd_event_ref(event);
	m->dax = &pml_device_ops;
	m->scan = pml_inventory_scan;
	m->marks_fd = -EBADF;
	m->uevent_fd = -EBADF;
	LIST_INIT(&m->regions);
	LIST_INIT(&m->leases);
	r = config_copy(&m->config, config);
	if (r >= 0)
		r = executors_new(event, &m->exec);
	if (r < 0) {
		manager_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

static RescanWaiter *waiters_call(RescanWaiter *list, int r)
{
	while (list) {
		RescanWaiter *w = list;

		list = w->next;
		w->done(w->data, r);
		free(w);
	}
	return NULL;
}

static void rescan_free(struct Scan *s);

Manager *manager_free(Manager *m)
{
	bool busy;

	if (!m)
		return NULL;
	/* libvirt's threads post to the executors, so they end first. Then the ledger's
	 * transactions are brought to their end. */
	if (m->virt)
		m->virt = m->virt_ops->free(m->virt);
	busy = m->exec && executors_close(m->exec);
	m->exec = executors_free(m->exec);
	grants_free_all(m);
	behind_stop(m);
	persist_free_all(m, busy);
	ask_free_all(m, busy);
	plugged_free_all(m, busy);
	deprived_free_all(m);
	uevent_stop(m);
	sd_event_source_disable_unref(m->read_again);
	if (!busy)
		rescan_free(m->rescan_running);
	m->rescan_waiters = waiters_call(m->rescan_waiters, -ECANCELED);
	m->rescan_waiters_next = waiters_call(m->rescan_waiters_next, -ECANCELED);
	bus_stop(m);
	after_fence_free_all(m, busy);
	jobs_free(m);
	while (LIST_FIRST(&m->leases))
		lease_free(LIST_FIRST(&m->leases));
	while (LIST_FIRST(&m->regions))
		region_free(LIST_FIRST(&m->regions));
	pml_inventory_free(m->inventory);
	wanted_free(m);
	pml_ledger_close(m->ledger);
	closep(&m->marks_fd);
	free(m->extents);
	config_clear(&m->config);
	free(m->managed);
	/* Last of the sources: what is freed above is still announced. */
	sd_event_source_disable_unref(m->announce);
	sd_event_unref(m->event);
	/* A fence or a proof goes on to the process's end, by what it finds here. */
	if (!busy)
		free(m);
	return NULL;
}

int manager_find_region(Manager *m, const char *name, Region **ret)
{
	Region *r, *found = NULL;

	LIST_FOREACH (r, &m->regions, regions)
		if (strcmp(r->id, name) == 0) {
			*ret = r;
			return 0;
		}
	LIST_FOREACH (r, &m->regions, regions) {
		const char *uuid = r->host ? pml_region_uuid(r->host) : NULL;

		/* A missing region's last name may be another's by now: it is found by its id
		 * alone. */
		if (!r->host || (strcmp(r->name, name) != 0 && !(uuid && strcmp(uuid, name) == 0)))
			continue;
		if (found)
			return -ENOTUNIQ;
		found = r;
	}
	if (!found)
		return -ENOENT;
	*ret = found;
	return 0;
}

Region *manager_find_region_by_devno(Manager *m, dev_t devno)
{
	Region *r;

	LIST_FOREACH (r, &m->regions, regions)
		if (r->host && devno != 0 && pml_region_devno(r->host) == devno)
			return r;
	return NULL;
}

Region *manager_find_region_by_extent(Manager *m, const PmlExtent *e)
{
	Region *r;

	LIST_FOREACH (r, &m->regions, regions)
		if (pml_extent_equal(&r->extent, e))
			return r;
	return NULL;
}

Lease *manager_find_lease(Manager *m, const char *id)
{
	Lease *l;

	LIST_FOREACH (l, &m->leases, leases)
		if (strcmp(l->record.id, id) == 0)
			return l;
	return NULL;
}

struct Scan {
	Manager *manager;
	int (*scan)(PmlInventory **ret);
	Wanted wanted;
	PmlInventory *inventory;
};

static int scan_host(int (*scan)(PmlInventory **ret), const Wanted *wanted, PmlInventory **ret)
{
	PmlInventory *inv = NULL;
	int r;

	r = scan(&inv);
	if (r >= 0)
		r = wanted_scan(wanted, inv);
	if (r < 0)
		pml_inventory_free(inv);
	else
		*ret = inv;
	return r;
}

static int scan_run(void *userdata)
{
	struct Scan *s = userdata;

	return scan_host(s->scan, &s->wanted, &s->inventory);
}

/*
 * A lease by which a machine of this boot may reach its region. What was lent before the host
 * restarted has nobody left who could: at a boot such regions come one by one, and their leases end
 * when they are there.
 */
static bool is_lent(const Manager *m, const Lease *lease)
{
	PmlLeaseState s = lease ? lease_state(lease) : PML_LEASE_RELEASED;

	return (s == PML_LEASE_ATTACHING || s == PML_LEASE_ACTIVE || s == PML_LEASE_DRAINING) &&
	       pml_streq(lease->record.boot_id, m->boot_id);
}

/* What a scan found that somebody must act on: a lent region that is lent no more, one that came
 * back. */
static void regions_react(Manager *m)
{
	Region *r, *next;

	for (r = LIST_FIRST(&m->regions); r; r = next) {
		bool lent = is_lent(m, r->lease);

		next = LIST_NEXT(r, regions);
		/* One that comes back is bound by the kernel, as at a boot. */
		r->was_offline = region_is_kept_offline(r) && !r->returned &&
				 (r->was_offline || r->presence == PML_PRESENCE_OFFLINE);
		if (lent && r->presence == PML_PRESENCE_ONLINE && region_is_cut(r)) {
			manager_region_lost(r);
			continue;
		}
		if (lent && r->presence != PML_PRESENCE_ONLINE && !r->job)
			log_full(LOG_WARNING,
				&(LogFields){.lease = r->lease->record.id,
					.region = r->id,
					.domain = r->lease->record.domain,
					.message_id = PML_MESSAGE_REGION_LOST},
				"Region %s is lent and was %s behind our back; its machine is fenced.",
				r->name,
				r->presence == PML_PRESENCE_MISSING ? "removed" : "unbound");
		if (lent && r->presence != PML_PRESENCE_ONLINE)
			manager_region_lost(r);
		else if (region_is_kept_offline(r) && r->presence == PML_PRESENCE_ONLINE && !r->job)
			(void)guard_start(r);
		else if (r->presence_moved && !r->job && r->record.use != PML_USE_FREE &&
			 !settle_waits(r))
			(void)op_settle_kick(r);
		else if (r->returned && !r->job)
			(void)recover_region(r);
	}
}

static int take_inventory(Manager *m, PmlInventory *inv, bool at_start)
{
	int r;

	pml_inventory_free(m->inventory);
	m->inventory = inv;
	r = regions_merge(m, inv);
	if (r >= 0)
		managed_update(m, at_start);
	return r;
}

static void rescan_free(struct Scan *s)
{
	if (!s)
		return;
	pml_inventory_free(s->inventory);
	wanted_clear(&s->wanted);
	free(s);
}

static int scan_begin(Manager *m);

static void scan_done(void *userdata, int r)
{
	struct Scan *s = userdata;
	Manager *m = s->manager;
	RescanWaiter *waiters = TAKE_PTR(m->rescan_waiters);

	m->rescan_running = NULL;
	if (r >= 0)
		r = take_inventory(m, TAKE_PTR(s->inventory), false);
	rescan_free(s);
	if (r < 0)
		log_error("Cannot scan the host: %s.", strerror(-r));
	else
		regions_react(m);
	(void)waiters_call(waiters, r);
	if (!m->rescan_again)
		return;
	m->rescan_again = false;
	m->rescan_waiters = TAKE_PTR(m->rescan_waiters_next);
	r = scan_begin(m);
	if (r < 0)
		m->rescan_waiters = waiters_call(m->rescan_waiters, r);
}

static int scan_begin(Manager *m)
{
	struct Scan *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->manager = m;
	s->scan = m->scan;
	r = wanted_new(m, &s->wanted);
	if (r >= 0)
		r = exec_submit(m->exec, EXEC_WORK, "scan", scan_run, scan_done, s);
	if (r < 0) {
		rescan_free(s);
		return r;
	}
	m->rescan_running = s;
	return 0;
}

int manager_rescan(Manager *m, void (*done)(void *data, int r), void *data)
{
	RescanWaiter **list = m->rescan_running ? &m->rescan_waiters_next : &m->rescan_waiters;
	RescanWaiter *w = NULL;
	int r;

	if (done) {
		w = calloc(1, sizeof(*w));
		if (!w)
			return -ENOMEM;
		w->done = done;
		w->data = data;
	}
	if (m->rescan_running) {
		m->rescan_again = true;
	} else {
		r = scan_begin(m);
		if (r < 0) {
			free(w);
			return r;
		}
	}
	if (w) {
		w->next = *list;
		*list = w;
	}
	return 0;
}

static int open_marks(Manager *m)
{
	_cleanup_free_ char *dir = NULL;

	if (asprintf(&dir, "%s/%s", m->config.runtime_dir, PML_MARKS_DIR) < 0)
		return -ENOMEM;
	/* systemd makes them for the service; a daemon started by hand makes the last part itself.
	 */
	if ((mkdir(m->config.runtime_dir, 0755) < 0 && errno != EEXIST) ||
		(mkdir(dir, 0700) < 0 && errno != EEXIST))
		return -errno;
	m->marks_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return m->marks_fd < 0 ? -errno : 0;
}

static int open_ledger(Manager *m)
{
	_cleanup_free_ char *path = NULL, *why = NULL;
	int r;

	if (mkdir(m->config.state_dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (asprintf(&path, "%s/%s", m->config.state_dir, PML_LEDGER_FILE) < 0)
		return -ENOMEM;
	r = pml_ledger_open(path, &m->ledger, &why);
	if (r == 0)
		m->ledger_checked_usec = pml_now_usec(CLOCK_REALTIME);
	if (r <= 0)
		return r;
	log_full(LOG_CRIT, &(LogFields){.message_id = PML_MESSAGE_REFUSED_START},
		"The ledger %s %s, so nothing is started and nothing was changed: %s", path,
		r == PML_LEDGER_NEWER ? "was made by a newer version" : "is corrupt",
		why ? why : "no details.");
	return -EUCLEAN;
}

static int read_boot_id(Manager *m)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f)
		return -errno;
	if (!fgets(m->boot_id, sizeof(m->boot_id), f))
		return -EIO;
	m->boot_id[strcspn(m->boot_id, "\n")] = '\0';
	return 0;
}

/* The loop does not run yet, and no thread has the ledger: what later goes through executors is
 * called here directly. */
static int load(Manager *m)
{
	LedgerChange change;
	PmlInventory *inv = NULL;
	PmlHistoryRecord *last = NULL;
	size_t n = 0;
	Wanted wanted;
	int r;

	/* What is older, an earlier daemon has told the journal. */
	r = pml_ledger_history(m->ledger, NULL, 0, 1, &last, &n);
	if (r < 0)
		return r;
	m->history_seq = n > 0 ? last[0].seq : 0;
	pml_history_free(last, n);
	ledger_change_init(&change, m, NULL);
	r = ledger_change_run(&change);
	ledger_change_done(&change, r);
	ledger_change_clear(&change);
	if (r < 0)
		return r;
	r = wanted_new(m, &wanted);
	if (r < 0)
		return r;
	r = scan_host(m->scan, &wanted, &inv);
	wanted_clear(&wanted);
	if (r < 0) {
		log_error("Cannot scan the host: %s.", strerror(-r));
		return r;
	}
	return take_inventory(m, inv, true);
}

static void on_virt(void *userdata, const VirtEvent *ev)
{
	Manager *m = userdata;

	switch (ev->type) {
	case VIRT_EV_CONNECTED:
		log_full(LOG_INFO, &(LogFields){.message_id = PML_MESSAGE_LIBVIRT_BACK},
			"Connected to libvirt.");
		m->libvirt_connected = true;
		manager_changed(m);
		manager_libvirt_connected(m);
		/* What happened meanwhile brings no events. */
		behind_ask(m, "");
		askable_look(m, "");
		behind_kick(m);
		ask_connected(m);
		deprived_connected(m);
		break;
	case VIRT_EV_DISCONNECTED:
		if (m->libvirt_connected)
			log_full(LOG_WARNING, &(LogFields){.message_id = PML_MESSAGE_LIBVIRT_LOST},
				"The connection to libvirt is lost; deadlines and fences go on without it.");
		m->libvirt_connected = false;
		manager_changed(m);
		break;
	case VIRT_EV_DOMAIN_STARTED:
		deprived_event(m, ev);
		/* What its networks have become is in no XML that the hook was given. */
		behind_ask(m, ev->domain);
		askable_look(m, ev->domain);
		behind_kick(m);
		break;
	case VIRT_EV_AGENT:
		askable_look(m, ev->domain);
		break;
	case VIRT_EV_DOMAIN_RESET:
	case VIRT_EV_DOMAIN_RESUMED:
		deprived_event(m, ev);
		break;
	case VIRT_EV_DOMAIN_RENAMED:
		leases_rename(m, ev->domain, ev->detail);
		break;
	case VIRT_EV_DEVICE_ADDED:
		/* Our own, no more than what a lease's job looks at. */
		if (strncmp(ev->alias, PML_ALIAS_PREFIX, strlen(PML_ALIAS_PREFIX)) == 0)
			break;
		behind_ask(m, ev->domain);
		behind_kick(m);
		break;
	case VIRT_EV_DOMAIN_STOPPED:
		deprived_event(m, ev);
		manager_domain_stopped(m, ev->domain);
		break;
	case VIRT_EV_REMOVAL_FAILED:
		ask_refused(m, ev->domain, ev->alias);
		break;
	case VIRT_EV_MEMORY_RESIZED:
		lease_jobs_resized(m, ev->domain, ev->alias);
		ask_resized(m, ev->domain, ev->alias);
		break;
	case VIRT_EV_DEVICE_REMOVED:
		ask_look(m, ev->domain, ev->alias);
		behind_ask(m, ev->domain);
		log_full(LOG_NOTICE, &(LogFields){.domain = ev->domain},
			"libvirt: device removed of domain %s %s %s", ev->domain, ev->alias,
			ev->detail);
		break;
	case VIRT_EV_MEMORY_FAILURE:
		memory_failure_event(m, ev);
		break;
	}
}

int manager_start(Manager *m)
{
	int r;

	r = open_ledger(m);
	if (r < 0)
		return r;
	r = read_boot_id(m);
	if (r >= 0)
		r = open_marks(m);
	if (r < 0)
		return r;
	/* Before the scan: what happens during it is heard. */
	r = uevent_start(m);
	if (r < 0)
		log_warning(
			"Cannot listen to the kernel's events (%s): changes of devices are seen at a reload only.",
			strerror(-r));
	r = load(m);
	if (r >= 0)
		r = recover(m);
	if (r < 0)
		return r;
	r = m->virt_ops->start(
		m->virt_ops->userdata, m->exec, m->config.libvirt_uri, on_virt, m, &m->virt);
	if (r >= 0)
		r = behind_start(m);
	if (r < 0)
		return r;
	return bus_start(m);
}

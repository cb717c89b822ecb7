/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What libvirt's hook asks: may this machine start? Decided from the XML alone. The machine's
 * memory devices are matched with the regions, each is looked at as a lease would be, and when all
 * may be had, each gets a job (op-grant.c). A region that is on its way to be free (the machine
 * was shut off a moment ago; the host has just come up) is waited for, within a bound.
 */

#include <sys/stat.h>

#include "grant.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

/* What the hook's operations mean to us. */
typedef enum Phase {
	PHASE_PREPARE, /* before the process is made; it may still be refused */
	PHASE_LOOK,    /* the machine will come here; refused where the start would be */
	PHASE_STARTED,
	PHASE_OVER,
	PHASE_NOTHING,
} Phase;

typedef struct Item {
	StartDevice device;
	dev_t devno; /* of what the path names; 0: nothing, or no device */
	bool block;
	Region *region; /* found anew at each try: valid within one */
} Item;

struct Grant {
	Grant *next;
	Manager *manager;
	Phase phase;
	char *xml;
	void (*done)(void *data, const OpError *err);
	void *data;
	uint64_t deadline_usec;
	sd_event_source *timer;
	sd_event_source *post; /* something has happened: looked at again */
	bool running;	       /* EXEC_WORK has what is below */
	bool gone;	       /* answered meanwhile */

	StartDomain domain;
	Item *items;
	size_t n_items;

	Job **jobs;
	size_t n_jobs, n_gathered, n_attaching;
};

static Phase phase_from_string(const char *s)
{
	static const struct {
		const char *name;
		Phase phase;
	} phases[] = {
		{"prepare", PHASE_PREPARE},
		{"migrate", PHASE_LOOK},
		{"restore", PHASE_LOOK},
		{"started", PHASE_STARTED},
		{"stopped", PHASE_OVER},
		{"release", PHASE_OVER},
	};

	for (size_t i = 0; i < ELEMENTSOF(phases); i++)
		if (pml_streq(phases[i].name, s))
			return phases[i].phase;
	return PHASE_NOTHING;
}

static void grant_free(Grant *g)
{
	for (Grant **p = &g->manager->grants; *p; p = &(*p)->next)
		if (*p == g) {
			*p = g->next;
			break;
		}
	sd_event_source_disable_unref(g->timer);
	sd_event_source_disable_unref(g->post);
	start_domain_clear(&g->domain);
	free(g->items);
	free(g->jobs);
	free(g->xml);
	free(g);
}

/* The end of g. Its jobs go on where err is NULL, and end where it is not. */
static void answer(Grant *g, const OpError *err)
{
	for (size_t i = 0; i < g->n_jobs; i++) {
		LeaseData *d = g->jobs[i]->data;

		d->grant = NULL;
		if (!err || g->phase != PHASE_PREPARE)
			continue;
		d->refused = true;
		job_set_error(g->jobs[i], err->error, "%s", err->message);
		job_resume(g->jobs[i]);
	}
	g->n_jobs = 0;
	if (g->done)
		g->done(g->data, err);
	g->done = NULL;
	if (g->running)
		g->gone = true;
	else
		grant_free(g);
}

static void answer_errno(Grant *g, int r)
{
	OpError err;

	(void)op_error(&err, PML_ERROR_FAILED,
		"It could not be found out whether the machine may have its memory: %s. Try again; the daemon's log has more.",
		strerror(-r));
	answer(g, &err);
}

/* --- one device and its region --- */

static bool may_become_ours(const Item *i)
{
	const char *path = i->device.path;

	return strncmp(i->device.alias, PML_ALIAS_PREFIX, strlen(PML_ALIAS_PREFIX)) == 0 ||
	       strncmp(path, "/dev/dax", strlen("/dev/dax")) == 0 || (i->devno && !i->block);
}

/* 0: the region, NULL where the device is none of ours; 1: one that was meant is not there (yet).
 */
static int match(Manager *m, Item *i)
{
	Region *r;

	i->region = NULL;
	LIST_FOREACH (r, &m->regions, regions)
		if (r->host && pml_region_path(r->host) &&
			pml_streq(pml_region_path(r->host), i->device.path))
			i->region = r;
	if (!i->region && i->devno)
		i->region = manager_find_region_by_devno(m, i->devno);
	if (i->region)
		return 0;
	LIST_FOREACH (r, &m->regions, regions)
		if (!r->host && r->last && pml_streq(pml_region_path(r->last), i->device.path))
			return 1;
	return may_become_ours(i) ? 1 : 0;
}

static bool twice(const Grant *g, const Item *item)
{
	for (const Item *i = g->items; i < item; i++)
		if (i->region && i->region == item->region)
			return true;
	return false;
}

/* What no waiting mends. */
static int check_device(const Grant *g, const Item *i, OpError *err)
{
	const Region *region = i->region;
	const StartDevice *dev = &i->device;
	const char *name = region_label(region), *path = pml_region_path(region->host);
	uint64_t size = pml_region_size_bytes(region->host);

	if (twice(g, i))
		return op_error(err, PML_ERROR_INVALID,
			"The domain names region %s twice. Take one of the two memory devices out.",
			name);
	if (pml_region_kind(region->host) == PML_KIND_BDEV)
		return op_error(err, PML_ERROR_NO_FENCE,
			"Region %s is a block device, which can be taken back only by destroying its domain, and a "
			"domain's XML cannot consent to that. Take it out, and lease it to the running domain with "
			"pmemlease lease --allow-destroy.",
			name);
	if (region_is_ram(region))
		return op_error(err, PML_ERROR_NOT_LEASABLE,
			"Region %s is memory of the host (system-ram), which is lent to a running domain alone: take it out of the "
			"domain's XML, and lease it with pmemlease lease.",
			name);
	/* Other names may mean another device when QEMU opens them. */
	if (pml_region_kind(region->host) == PML_KIND_DEVDAX && !pml_streq(path, dev->path))
		return op_error(err, PML_ERROR_INVALID,
			"The domain names region %s by %s. Name it by %s.", name, dev->path,
			path ? path : "its device");
	if (pml_region_kind(region->host) == PML_KIND_DEVDAX &&
		(!pml_streq(dev->model, "nvdimm") || !dev->shared))
		return op_error(err, PML_ERROR_DOMAIN_UNSUITED,
			"The domain has region %s as <memory model='%s'%s>. A device-dax is mapped as <memory model='nvdimm' "
			"access='shared'> only: change it with virsh edit.",
			name, dev->model, dev->shared ? " access='shared'" : "");
	if (dev->size_bytes != size)
		return op_error(err, PML_ERROR_DOMAIN_UNSUITED,
			"The domain's memory device for region %s has %llu KiB, the region has %llu KiB. Write "
			"<target><size unit='KiB'>%llu</size>… with virsh edit.",
			name, (unsigned long long)(dev->size_bytes / 1024),
			(unsigned long long)(size / 1024), (unsigned long long)(size / 1024));
	if (!g->domain.kvm)
		return op_error(err, PML_ERROR_DOMAIN_UNSUITED,
			"The domain runs without KVM, where a memory failure ends QEMU: define it with <domain type='kvm'>.");
	if (g->domain.pinned_by &&
		pml_fence_level(region->host, g->manager->dax) != PML_FENCE_REVOKE)
		return op_error(err, PML_ERROR_PINNED,
			"The domain has %s, so region %s could not be taken back by force. Start it without, or lend the region to "
			"another domain.",
			g->domain.pinned_by, name);
	return 0;
}

/* Will this end by itself, and soon? */
static bool passes(const Grant *g, const Region *region)
{
	const Lease *lease = region->lease;

	/* A machine that is being started has no process: an older lease of its is on its way out.
	 */
	if (lease && pml_streq(lease->record.domain, g->domain.uuid))
		return true;
	if (lease && lease_state(lease) <= PML_LEASE_ACTIVE &&
		pml_streq(lease->record.boot_id, g->manager->boot_id))
		return false;
	return region->job ||
	       (region->record.use == PML_USE_EVICTED && !region->record.reason[0]) ||
	       (region->record.use == PML_USE_FREE && region->presence != PML_PRESENCE_ONLINE);
}

/* 0: it may be had; 1: not, *err says why; 2: not yet. */
static int look_at(const Grant *g, Item *i, OpError *err)
{
	Region *region;
	int r;

	if (match(g->manager, i) > 0) {
		(void)op_error(err, PML_ERROR_NO_SUCH_REGION,
			"The domain has memory at %s, which is no region of this host now. `pmemlease regions` lists those there "
			"are.",
			i->device.path);
		return 2;
	}
	region = i->region;
	if (!region)
		return 0;
	r = check_device(g, i, err);
	if (r != 0)
		return r;
	r = region_leasable(region, err);
	if (r < 0)
		return r;
	if (r > 0)
		return passes(g, region) ? 2 : 1;
	return lease_check_owner(region, g->domain.uuid, err);
}

/*
 * Memory of the host is lent to a machine that runs; one that takes the memory of a lent node by
 * its own XML takes it from that lease, and keeps it from being given back. Of a node that is not
 * lent it may have what it wants, as any process. As look_at().
 */
static int look_at_nodes(const Grant *g, OpError *err)
{
	const Region *region;
	int r = 0;

	LIST_FOREACH (region, &g->manager->regions, regions) {
		const PmlRegion *host = region->host ? region->host : region->last;
		int node = host ? pml_region_target_node(host) : -1;

		if (!region->lease || !region_is_ram(region) || node < 0 || node >= PML_NODES_MAX ||
			!g->domain.nodes[node] || r == 1)
			continue;
		(void)op_error(err, PML_ERROR_NOT_LEASABLE,
			"The domain has memory of NUMA node %d, which is region %s and lent to domain %s: take it out of the "
			"domain's XML, or start it when that lease has ended. pmemlease lease lends such memory to a domain that runs.",
			node, region_label(region), region->lease->record.domain_name);
		r = passes(g, region) ? 2 : 1;
	}
	return r;
}

/* --- the jobs --- */

static int start_job(Grant *g, Item *i, OpError *err)
{
	LeaseData *d = lease_data_new(g->manager, i->region);
	Lease *lease;
	Job *job;
	int r;

	if (!d)
		return -ENOMEM;
	r = lease_fill_record(d, g->manager, i->region, g->domain.uuid, g->domain.uuid, 0, err);
	(void)PML_STRCPY(d->rec.domain, g->domain.uuid);
	(void)PML_STRCPY(d->rec.domain_name, g->domain.name);
	/* "": libvirt names it when it starts it. */
	(void)PML_STRCPY(d->rec.alias, i->device.alias);
	(void)PML_STRCPY(d->mem.alias, i->device.alias);
	d->rec.on_end = g->manager->config.on_end;
	d->rec.after_fence = g->manager->config.after_fence;
	if (r == 0)
		r = lease_new(g->manager, i->region, &d->rec, false, &lease);
	if (r != 0) {
		lease_data_free(d);
		return r;
	}
	d->grant = g;
	r = job_start(g->manager, &op_grant_kind, i->region, lease, 0, d, &job);
	if (r < 0) {
		lease_drop(lease);
		leases_collect(g->manager);
		return r;
	}
	g->jobs[g->n_jobs++] = job;
	return 0;
}

static void start_jobs(Grant *g)
{
	const Config *c = &g->manager->config;
	OpError err;
	int r;

	/* The ledger's disk may hang; libvirt must have an answer. */
	r = sd_event_source_set_time(g->timer,
		pml_now_usec(CLOCK_BOOTTIME) + c->proof_timeout_usec + c->reserve_timeout_usec);
	if (r >= 0)
		r = sd_event_source_set_enabled(g->timer, SD_EVENT_ONESHOT);
	g->post = sd_event_source_disable_unref(g->post);
	g->jobs = calloc(g->n_items + 1, sizeof(Job *));
	if (!g->jobs)
		r = -ENOMEM;
	r = r < 0 ? r : 0;
	for (size_t i = 0; i < g->n_items && r == 0; i++)
		if (g->items[i].region)
			r = start_job(g, &g->items[i], &err);
	if (r < 0)
		answer_errno(g, r);
	else if (r > 0 || g->n_jobs == 0)
		answer(g, r > 0 ? &err : NULL);
}

bool grant_gathered(Grant *g)
{
	if (++g->n_gathered < g->n_jobs)
		return false;
	for (size_t i = 0; i < g->n_jobs; i++)
		job_resume(g->jobs[i]);
	return true;
}

void grant_attaching(Grant *g)
{
	if (++g->n_attaching == g->n_jobs)
		answer(g, NULL);
}

void grant_job_ended(Grant *g, Job *job, bool success)
{
	OpError err;

	for (size_t i = 0; i < g->n_jobs; i++)
		if (g->jobs[i] == job) {
			g->jobs[i] = g->jobs[--g->n_jobs];
			break;
		}
	if (!success) {
		(void)op_error(&err, job->error, "%s", job->message);
		answer(g, &err);
	} else if (g->n_jobs == 0) {
		answer(g, NULL);
	}
}

/* --- prepare, migrate, restore --- */

static void try(Grant *g)
{
	bool late = pml_now_usec(CLOCK_BOOTTIME) >= g->deadline_usec;
	OpError err;
	int r = look_at_nodes(g, &err);

	for (size_t i = 0; i < g->n_items; i++) {
		OpError e = {};
		int x = look_at(g, &g->items[i], &e);

		/* What is refused for good goes before what is not there yet. */
		if (x != 0 && (r == 0 || r == 2)) {
			r = x;
			err = e;
		}
	}
	if (r < 0)
		answer_errno(g, r);
	else if (r == 1 || (r == 2 && late && g->phase == PHASE_PREPARE))
		answer(g, &err);
	else if (g->phase == PHASE_LOOK)
		answer(g, NULL);
	else if (r == 0)
		start_jobs(g);
}

static int on_post(sd_event_source *s, void *userdata)
{
	try(userdata);
	return 0;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *userdata)
{
	Grant *g = userdata;
	OpError err;

	if (g->phase == PHASE_STARTED) {
		/* It runs; what it maps is looked at without libvirt's waiting. */
		answer(g, NULL);
	} else if (g->n_jobs == 0) {
		try(g);
	} else {
		(void)op_error(&err, PML_ERROR_BUSY,
			"The regions of domain %s could not be reserved in time: see the journal of pmemleased, then start it again.",
			g->domain.name);
		answer(g, &err);
	}
	return 0;
}

static int set_deadline(Grant *g)
{
	return sd_event_add_time(g->manager->event, &g->timer, CLOCK_BOOTTIME, g->deadline_usec,
		USEC_PER_MSEC, on_deadline, g);
}

static void begin(Grant *g)
{
	int r;

	r = sd_event_add_post(g->manager->event, &g->post, on_post, g);
	if (r >= 0)
		r = set_deadline(g);
	if (r < 0) {
		answer_errno(g, r);
		return;
	}
	for (size_t i = 0; i < g->n_items; i++)
		if (match(g->manager, &g->items[i]) > 0 || !g->items[i].region) {
			/* A device that the last scan did not see. */
			(void)manager_rescan(g->manager, NULL, NULL);
			break;
		}
	try(g);
}

/* --- started, stopped, release --- */

static void started(Grant *g)
{
	Lease *l;
	size_t n = 0;
	int r;

	LIST_FOREACH (l, &g->manager->leases, leases)
		n++;
	g->jobs = calloc(n + 1, sizeof(Job *));
	r = g->jobs ? set_deadline(g) : -ENOMEM;
	if (r < 0) {
		answer_errno(g, r);
		return;
	}
	LIST_FOREACH (l, &g->manager->leases, leases) {
		Job *job = l->region->lease == l ? l->region->job : NULL;

		if (!job || !pml_streq(l->record.domain, g->domain.uuid) ||
			!grant_awaits_start(job))
			continue;
		((LeaseData *)job->data)->grant = g;
		g->jobs[g->n_jobs++] = job;
	}
	for (size_t i = 0; i < g->n_jobs; i++)
		grant_started(g->jobs[i]);
	if (g->n_jobs == 0)
		answer(g, NULL);
}

static void over(Grant *g)
{
	Manager *m = g->manager;
	Grant *other, *next;
	OpError err;
	Lease *l;

	(void)op_error(&err, PML_ERROR_CANCELLED, "libvirt has given up the start of domain %s.",
		g->domain.name);
	for (other = m->grants; other; other = next) {
		next = other->next;
		if (other != g && !other->running && !other->gone &&
			pml_streq(other->domain.uuid, g->domain.uuid))
			answer(other, other->phase == PHASE_PREPARE ? &err : NULL);
	}
	LIST_FOREACH (l, &m->leases, leases)
		if (pml_streq(l->record.domain, g->domain.uuid)) {
			l->start_over = true;
			settle_kick(l->region);
		}
	manager_domain_stopped(m, g->domain.uuid);
	answer(g, NULL);
}

/* --- reading the XML --- */

/* Looks at what a path names now; nothing is opened by this look later. */
static void resolve(Item *i)
{
	_cleanup_close_ int fd = open(i->device.path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
		return;
	i->devno = st.st_rdev;
	i->block = S_ISBLK(st.st_mode);
}

static int read_run(void *userdata)
{
	Grant *g = userdata;
	int r;

	r = start_xml_read(g->xml, &g->domain);
	if (r < 0)
		return r;
	g->items = calloc(g->domain.n_devices + 1, sizeof(Item));
	if (!g->items)
		return -ENOMEM;
	g->n_items = g->domain.n_devices;
	for (size_t i = 0; i < g->n_items; i++) {
		g->items[i].device = g->domain.devices[i];
		if (g->phase == PHASE_PREPARE || g->phase == PHASE_LOOK)
			resolve(&g->items[i]);
	}
	return 0;
}

static void read_done(void *userdata, int r)
{
	Grant *g = userdata;
	OpError err;

	g->running = false;
	if (g->gone) {
		grant_free(g);
		return;
	}
	if (r == -EBADMSG) {
		(void)op_error(&err, PML_ERROR_INVALID,
			"What libvirt's hook brought is no domain's XML that can be read; nothing is granted by it.");
		answer(g, &err);
		return;
	}
	if (r < 0) {
		answer_errno(g, r);
		return;
	}
	switch (g->phase) {
	case PHASE_PREPARE:
	case PHASE_LOOK:
		begin(g);
		break;
	case PHASE_STARTED:
		started(g);
		break;
	case PHASE_OVER:
		over(g);
		break;
	case PHASE_NOTHING:
		answer(g, NULL);
		break;
	}
}

int op_grant(Manager *m, const char *domain_xml, const char *phase,
	void (*done)(void *data, const OpError *err), void *data)
{
	Grant *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->manager = m;
	g->phase = phase_from_string(phase);
	g->deadline_usec = pml_now_usec(CLOCK_BOOTTIME) + m->config.grant_timeout_usec;
	g->done = done;
	g->data = data;
	g->xml = strdup(domain_xml);
	g->next = m->grants;
	m->grants = g;
	/* One after the other: the end of a start must find the start. */
	r = g->xml ? exec_submit(m->exec, EXEC_WORK, "grant", read_run, read_done, g) : -ENOMEM;
	if (r < 0) {
		grant_free(g);
		return r;
	}
	g->running = true;
	return 0;
}

void grants_free_all(Manager *m)
{
	OpError err;
	Grant *g, *next;

	(void)op_error(&err, PML_ERROR_CANCELLED, "The daemon is being stopped. Try again.");
	for (g = m->grants; g; g = next) {
		next = g->next;
		answer(g, &err);
	}
}

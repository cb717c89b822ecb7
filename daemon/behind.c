/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Processes that hold a region which is not lent to them: attached to another domain with virsh,
 * started behind the hook, or opened by a program. Each look takes one region, once through all
 * processes; where the module says that nothing at all is open, none. What is found is an obstacle
 * of the region as long as it lasts, so that it is neither lent nor scrubbed, and its end is heard.
 * And what libvirt is asked about a machine that has a lease: devices that pin its memory and came
 * later, and the name that it has now.
 */

#include "askable.h"
#include "behind.h"
#include "block-watch.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

#define NAMED_MAX 4

struct Behind {
	sd_event_source *timer;
	bool running;
	char last[PML_NAME_LEN]; /* the region that the clock had last */
};

typedef struct Look {
	Manager *manager;
	char region[PML_NAME_LEN];
	PmlRegion *host;
	uint64_t timeout_usec;
	PmlProof *proof;
} Look;

static void next_look(Manager *m);

static void look_free(Look *l)
{
	pml_region_unref(l->host);
	pml_proof_free(l->proof);
	free(l);
}

static int look_run(void *userdata)
{
	Look *l = userdata;

	return op_find_holders(l->manager, l->host, NULL, l->timeout_usec, &l->proof);
}

/* The fence and settle have regions of their own business, and prove them in full. */
static bool can_be_looked_at(const Region *r)
{
	PmlLeaseState s = r->lease ? lease_state(r->lease) : PML_LEASE_ACTIVE;

	return r->host && !r->job && r->presence == PML_PRESENCE_ONLINE && s == PML_LEASE_ACTIVE &&
	       pml_region_kind(r->host) == PML_KIND_DEVDAX;
}

/* The machine that it is lent to; and we ourselves, who open it to find out what it is. */
static bool may_have_it(const Region *r, const PmlHolder *h)
{
	/* What it has of an earlier binding gives it nothing. */
	if (h->n_revoked > 0 && h->n_revoked == h->n_descriptors + h->n_mappings)
		return true;
	return h->pid == getpid() || (r->lease && h->pid == r->lease->record.vmm_pid &&
					     h->start_ticks == r->lease->record.vmm_start);
}

/* "" where nobody holds it who should not. NULL: out of memory. */
static char *intruders(const Region *r, const PmlProof *proof)
{
	char *text = NULL;
	size_t size = 0, i, n = 0;
	FILE *f = open_memstream(&text, &size);
	const PmlHolder *h;

	if (!f)
		return NULL;
	if (proof)
		pml_proof_foreach_holder (proof, i, h)
			if (!may_have_it(r, h) && n++ < NAMED_MAX)
				(void)fprintf(f, "%s%s (pid %d%s%s)", n > 1 ? ", " : "", h->command,
					(int)h->pid, h->unit[0] ? ", " : "", h->unit);
	if (n > NAMED_MAX)
		(void)fprintf(f, " and %zu more", n - NAMED_MAX);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static void on_intruder_end(Region *region)
{
	region->look = true;
	next_look(region->manager);
}

static void watch_intruders(Region *r, const PmlProof *proof)
{
	const PmlHolder *h;
	size_t i;
	int fd;

	watch_drop(r, true);
	if (!proof)
		return;
	pml_proof_foreach_holder (proof, i, h)
		if (!may_have_it(r, h) && op_pidfd_open(h->pid, h->start_ticks, &fd) >= 0)
			(void)watch_add(r, fd, true, on_intruder_end);
}

static void take_over(Region *r, const PmlProof *proof)
{
	char *who = intruders(r, proof);

	if (!who)
		return;
	if (!who[0]) {
		free(who);
		who = NULL;
	}
	watch_intruders(r, who ? proof : NULL);
	if (pml_streq(who, r->intruder)) {
		free(who);
		return;
	}
	if (who)
		log_full(LOG_WARNING,
			&(LogFields){.region = r->id,
				.lease = r->lease ? r->lease->record.id : NULL,
				.message_id = PML_MESSAGE_INTRUDER},
			"Region %s is held behind our back, by %s. It is neither lent nor scrubbed until that has ended.",
			region_label(r), who);
	else
		log_full(LOG_NOTICE, &(LogFields){.region = r->id},
			"Region %s is held behind our back no more.", region_label(r));
	free(r->intruder);
	r->intruder = who;
	region_changed(r);
	if (r->lease)
		lease_changed(r->lease);
}

static void look_done(void *userdata, int r)
{
	Look *l = userdata;
	Manager *m = l->manager;
	Region *region;

	m->behind->running = false;
	m->background--;
	if (r < 0)
		log_debug("Region %s could not be looked at: %s.", l->region, strerror(-r));
	else if (manager_find_region(m, l->region, &region) == 0 && can_be_looked_at(region))
		take_over(region, l->proof);
	look_free(l);
	next_look(m);
}

/* No device-dax file is open anywhere; a number that the kernel has at hand. */
static bool nothing_is_open(const Manager *m)
{
	uint64_t refs, per_file;

	return m->dax->module_refs(m->dax->userdata, &refs, &per_file) == 0 && refs == 0;
}

static Region *to_be_looked_at(Manager *m)
{
	bool nothing = nothing_is_open(m);
	Region *r;

	LIST_FOREACH (r, &m->regions, regions) {
		if (!r->look || !can_be_looked_at(r))
			continue;
		r->look = false;
		if (!nothing)
			return r;
		take_over(r, NULL);
	}
	return NULL;
}

static void next_look(Manager *m)
{
	Region *r;
	Look *l;

	if (!m->behind || m->behind->running)
		return;
	r = to_be_looked_at(m);
	if (!r)
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	l->manager = m;
	(void)PML_STRCPY(l->region, r->id);
	l->host = pml_region_ref(r->host);
	l->timeout_usec = m->config.proof_timeout_usec;
	m->behind->running = true;
	m->background++;
	if (exec_submit(m->exec, EXEC_WORK, "behind", look_run, look_done, l) < 0) {
		m->behind->running = false;
		m->background--;
		look_free(l);
	}
}

void behind_kick(Manager *m)
{
	Region *r;

	LIST_FOREACH (r, &m->regions, regions)
		r->look = true;
	next_look(m);
}

/* One region a time, in the order of the list. */
static Region *whose_turn(Manager *m)
{
	Region *r, *first = NULL;
	bool next = false;

	LIST_FOREACH (r, &m->regions, regions) {
		if (!can_be_looked_at(r))
			continue;
		if (next)
			return r;
		if (!first)
			first = r;
		next = strcmp(r->id, m->behind->last) == 0;
	}
	return first;
}

static int on_pace(sd_event_source *s, uint64_t usec, void *userdata)
{
	Manager *m = userdata;
	Region *r = whose_turn(m);

	block_watch_look(m);
	if (r) {
		(void)PML_STRCPY(m->behind->last, r->id);
		r->look = true;
		/* An agent that hung and does so no more says nothing. */
		if (r->lease && r->lease->unasked)
			askable_look(m, r->lease->record.domain);
	}
	/* Who only closes it is heard by nobody. */
	LIST_FOREACH (r, &m->regions, regions)
		r->look = r->look || r->intruder;
	next_look(m);
	if (sd_event_source_set_time_relative(s, m->config.look_usec) < 0)
		return 0;
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

int behind_start(Manager *m)
{
	m->behind = calloc(1, sizeof(*m->behind));
	if (!m->behind)
		return -ENOMEM;
	return sd_event_add_time_relative(m->event, &m->behind->timer, CLOCK_BOOTTIME,
		m->config.look_usec, 5 * USEC_PER_SEC, on_pace, m);
}

void behind_repace(Manager *m)
{
	if (m->behind && m->behind->timer)
		(void)sd_event_source_set_time_relative(m->behind->timer, m->config.look_usec);
}

void behind_stop(Manager *m)
{
	if (m->behind)
		sd_event_source_disable_unref(m->behind->timer);
	free(m->behind);
	m->behind = NULL;
}

/* --- asking libvirt: pinned after the lease was made, renamed while nobody listened --- */

typedef struct Ask {
	Manager *manager;
	const VirtOps *ops;
	Virt *virt;
	char domain[PML_ID_MAX];
	char name[PML_NAME_LEN];
	char *why;
} Ask;

static int ask_run(void *userdata)
{
	Ask *a = userdata;

	return a->ops->pinned(a->virt, a->domain, a->name, &a->why);
}

static void set_pinned(Lease *l, const char *why)
{
	char *text = why ? strdup(why) : NULL;

	if (pml_streq(l->pinned, why) || (why && !text))
		return free(text);
	if (why)
		log_full(LOG_WARNING,
			&(LogFields){.lease = l->record.id,
				.region = l->record.region,
				.domain = l->record.domain,
				.message_id = PML_MESSAGE_PINNED},
			"Region %s is lent to domain %s, and can no longer be taken back with a proof: %s",
			region_label(l->region), l->record.domain_name, why);
	free(l->pinned);
	l->pinned = text;
	lease_changed(l);
}

static void ask_done(void *userdata, int r)
{
	Ask *a = userdata;
	Lease *l;

	a->manager->background--;
	if ((r == 0 || r == VIRT_PINNED) && a->name[0])
		leases_rename(a->manager, a->domain, a->name);

	LIST_FOREACH (l, &a->manager->leases, leases) {
		if (l->gone || lease_state(l) != PML_LEASE_ACTIVE ||
			!pml_streq(l->record.domain, a->domain))
			continue;
		if (r == 0)
			set_pinned(l, NULL);
		else if (r == VIRT_PINNED && l->region->host &&
			 pml_fence_level(l->region->host, a->manager->dax) != PML_FENCE_REVOKE)
			set_pinned(l, a->why ? a->why : "a device of the machine pins its memory.");
	}
	free(a->why);
	free(a);
}

static void ask(Manager *m, const char *uuid)
{
	Ask *a = calloc(1, sizeof(*a));

	if (!a)
		return;
	a->manager = m;
	a->ops = m->virt_ops;
	a->virt = m->virt;
	(void)PML_STRCPY(a->domain, uuid);
	if (exec_submit(m->exec, EXEC_VIRT, a->domain, ask_run, ask_done, a) < 0)
		free(a);
	else
		m->background++;
}

void behind_ask(Manager *m, const char *uuid)
{
	const Lease *l, *other;

	LIST_FOREACH (l, &m->leases, leases) {
		if (l->gone || (uuid[0] && !pml_streq(l->record.domain, uuid)))
			continue;
		/* One question a domain. */
		LIST_FOREACH (other, &m->leases, leases)
			if (other == l || pml_streq(other->record.domain, l->record.domain))
				break;
		if (other == l)
			ask(m, l->record.domain);
	}
}

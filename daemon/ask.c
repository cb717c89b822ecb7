/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "ask.h"
#include "log.h"
#include "ops-internal.h"
#include "plugged.h"
#include "shrink.h"
#include "util.h"

/* A guest lets go in a moment or in minutes: looked at soon first, then seldom. */
#define LOOK_MIN_USEC (100 * USEC_PER_MSEC)
#define LOOK_MAX_USEC USEC_PER_SEC
/* What refused once may have ended what it was busy with; an agent may come up. */
#define AGAIN_MIN_USEC USEC_PER_SEC
#define AGAIN_MAX_USEC (15 * USEC_PER_SEC)
/* A guest that says nothing to its memory being unplugged is told again: it may have been booting.
 */
#define TELL_AGAIN_MIN_USEC (30 * USEC_PER_SEC)
#define TELL_AGAIN_MAX_USEC (300 * USEC_PER_SEC)
/* What a guest has of a virtio-mem is told as it changes; libvirt may have lost that. */
#define PARTS_LOOK_USEC USEC_PER_SEC
/* One that gives nothing for so long has stopped; asked by Linux, it tries some seconds for each
 * part (mm/page_alloc.c alloc_contig_range()). */
#define STALL_USEC (10 * USEC_PER_SEC)
/* The place of an empty virtio-mem goes in a moment, or its guest does not see to it; it holds
 * nothing by then. */
#define PLACE_USEC (10 * USEC_PER_SEC)

struct Ask {
	struct Ask *next;
	Manager *manager;
	Job *job; /* NULL: it goes on without us */
	sd_event_source *timer;
	bool running;
	uint64_t begin_usec; /* CLOCK_BOOTTIME */
	uint64_t look_usec, again_usec;
	bool removed;		       /* of a dimm: libvirt has said so */
	uint64_t told_usec, tell_usec; /* of a dimm: when, and how long that is waited for */
	Shrink shrink;		       /* of a virtio-mem */
	bool unplug;		       /* … that is empty: its place is asked for */
	uint64_t lent_bytes, empty_usec;
	unsigned kept_place; /* times that QEMU refused that */
	bool refused;	     /* … its guest has said no, while libvirt was being asked */

	/* --- read and written by run --- */
	const VirtOps *ops;
	Virt *virt;
	char domain[PML_ID_MAX];
	VirtMemory mem;
	uint64_t timeout_usec;
	VirtRelease release;
	uint64_t want_bytes;
	VirtPlugged plugged;
	char *why;
};

static void ask_free(struct Ask *a)
{
	for (struct Ask **p = &a->manager->asks; *p; p = &(*p)->next)
		if (*p == a) {
			*p = a->next;
			break;
		}
	sd_event_source_disable_unref(a->timer);
	free(a->why);
	free(a);
}

void ask_free_all(Manager *m, bool busy)
{
	struct Ask *next;

	for (struct Ask *a = m->asks; a; a = next) {
		next = a->next;
		if (!busy || !a->running)
			ask_free(a);
	}
}

void ask_end(Job *job)
{
	EvictData *d = job->data;
	struct Ask *a = d->ask;

	d->ask = NULL;
	if (!a)
		return;
	if (a->unplug && !d->released)
		d->emptied = true;
	/* One that may keep what it has is not pressed for it any more; of one that may not, what
	 * it gives later is taken, too. */
	else if (a->mem.virtio_mem && !d->released && job->lease)
		plugged_ask(job->lease, job->cancelled ? VIRT_RESIZE_STAY : 0);
	a->job = NULL;
	if (!a->running)
		ask_free(a);
}

/* --- what was answered --- */

static void keep_answer(Job *job, const char *error, const char *why)
{
	char answer[sizeof(((EvictData *)NULL)->answer)];
	EvictData *d = job->data;
	size_t n;

	(void)snprintf(answer, sizeof(answer), "%s", why ? why : "no reason was given");
	pml_make_printable(answer);
	/* It becomes part of sentences. */
	for (n = strlen(answer); n > 0 && answer[n - 1] == '.'; n--)
		answer[n - 1] = '\0';
	/* It is asked again and again, and mostly says the same. */
	if (strcmp(answer, d->answer) != 0)
		log_full(LOG_INFO,
			&(LogFields){.lease = job->lease->record.id,
				.domain = job->lease->record.domain},
			"The guest of domain %s does not let go of region %s: %s.",
			job->lease->record.domain_name, region_label(job->region), answer);
	(void)PML_STRCPY(d->answer_error, error);
	(void)PML_STRCPY(d->answer, answer);
}

static const char *error_of(int r)
{
	switch (r) {
	case VIRT_NO_AGENT:
		return PML_ERROR_NO_AGENT;
	case VIRT_AGENT_BLOCKED:
		return PML_ERROR_AGENT_BLOCKED;
	case VIRT_AGENT_SILENT:
		return PML_ERROR_GUEST_SILENT;
	case VIRT_UNAVAILABLE:
		return PML_ERROR_NO_LIBVIRT;
	}
	return PML_ERROR_FAILED;
}

static void on_record(void *data, int r, const char *why)
{
	if (r != 0)
		log_warning(
			"That a guest has let go could not be recorded (%s); it holds while this daemon runs.",
			why ? why : strerror(r < 0 ? -r : EIO));
}

/*
 * A block device's pages cannot be taken from QEMU, and nothing is destroyed that let go by itself:
 * the region is free when its machine ends. Whoever cannot wait evicts again, with a deadline.
 */
static void wait_for_end(Job *job)
{
	EvictData *d = job->data;
	PmlLeaseRecord rec = job->lease->record;
	PmlTxn *txn = op_txn_new_job(job, d->own);
	int r;

	d->deadline_usec = rec.deadline_usec = PML_DEADLINE_INFINITY;
	(void)evict_arm_deadline(job);
	r = txn ? pml_txn_lease_update(txn, &rec) : -ENOMEM;
	if (r >= 0)
		r = pml_txn_note(txn, "lease", rec.id,
			"its guest let go; the region is free when the machine ends");
	if (r >= 0)
		r = manager_apply(job->manager, TAKE_PTR(txn), on_record, NULL);
	pml_txn_free(txn);
	if (r < 0)
		on_record(NULL, r, NULL);
	job_set_progress(job, "the guest let go; waiting for its end", DRAIN_SHARE);
}

static void released(Job *job)
{
	EvictData *d = job->data;

	d->released = true;
	d->answer_error[0] = '\0';
	log_full(LOG_INFO,
		&(LogFields){.lease = job->lease->record.id, .domain = job->lease->record.domain},
		"The guest of domain %s let go of region %s.", job->lease->record.domain_name,
		region_label(job->region));
	if (region_is_block(job->region)) {
		wait_for_end(job);
		return;
	}
	d->past_drain = true;
	job_resume(job);
}

/* The cancellation is ours; it goes the way of every other one. */
static void keep_lease(Job *job)
{
	EvictData *d = job->data;

	d->kept = true;
	job->cancelled = true;
	job_resume(job);
}

static double progress(const struct Ask *a, const EvictData *d)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME), whole = d->deadline_usec - a->begin_usec;

	if (a->mem.virtio_mem)
		return a->plugged.attached && a->plugged.current_bytes < a->lent_bytes
			       ? PARTS_SHARE * (1 - (double)a->plugged.current_bytes /
							       (double)a->lent_bytes)
			       : 0;

	if (d->deadline_usec == PML_DEADLINE_INFINITY || d->deadline_usec <= a->begin_usec)
		return 0;
	return DRAIN_SHARE * (double)(now - a->begin_usec) / (double)whole;
}

static void tell(struct Ask *a, const char *what, const char *more)
{
	char phase[64];

	(void)snprintf(phase, sizeof(phase), "%s%s", what, more);
	/* It may have been cut within a character. */
	pml_make_printable(phase);
	job_set_progress(a->job, phase, progress(a, a->job->data));
}

/* --- the calls --- */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata);

static int call_later(struct Ask *a, uint64_t usec)
{
	a->timer = sd_event_source_disable_unref(a->timer);
	return sd_event_add_time_relative(
		a->manager->event, &a->timer, CLOCK_BOOTTIME, usec, 1, on_timer, a);
}

static uint64_t doubled(uint64_t *usec, uint64_t min, uint64_t max)
{
	*usec = *usec ? *usec * 2 : min;
	if (*usec > max)
		*usec = max;
	return *usec;
}

static PmlOnRefusal on_refusal(const Job *job)
{
	const EvictData *d = job->data;

	if (d->must)
		return PML_ON_REFUSAL_FORCE;
	return (int)d->how.on_refusal >= 0 ? d->how.on_refusal : job->lease->record.on_refusal;
}

/* What was told may have been told to nobody. */
static void tell_again(struct Ask *a)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);

	if (!a->mem.ram)
		return;
	if (a->told_usec == 0) {
		a->told_usec = now;
		a->tell_usec = TELL_AGAIN_MIN_USEC;
	} else if (now - a->told_usec >= a->tell_usec) {
		a->told_usec = now;
		(void)doubled(&a->tell_usec, TELL_AGAIN_MIN_USEC, TELL_AGAIN_MAX_USEC);
		a->release.pid = 0;
	}
}

/* --- a virtio-mem is given back in parts --- */

static void say_given(const struct Ask *a, char *buf, size_t size)
{
	uint64_t left = a->plugged.current_bytes;

	(void)snprintf(buf, size, "given back %" PRIu64 " of %" PRIu64 " MiB",
		(uint64_t)((a->lent_bytes > left ? a->lent_bytes - left : 0) / MIB),
		(uint64_t)(a->lent_bytes / MIB));
}

/* Its guest has nothing of it any more, and its machine keeps the place. */
static bool place_is_kept(struct Ask *a)
{
	((EvictData *)a->job->data)->emptied = true;
	released(a->job);
	return false;
}

static bool stopped(struct Ask *a)
{
	char given[64], why[160];

	say_given(a, given, sizeof(given));
	(void)snprintf(why, sizeof(why),
		"it has %s, and gives no more now (its kernel's log says why)", given);
	keep_answer(a->job, PML_ERROR_GUEST_REFUSED, why);
	if (on_refusal(a->job) == PML_ON_REFUSAL_KEEP) {
		plugged_ask(a->job->lease, VIRT_RESIZE_STAY);
		keep_lease(a->job);
		return false;
	}
	return call_later(a, doubled(&a->again_usec, AGAIN_MIN_USEC, AGAIN_MAX_USEC)) >= 0;
}

/* As take_answer. */
static bool take_plugged(struct Ask *a)
{
	const Manager *m = a->manager;
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME), had = a->shrink.plugged_bytes;
	char phase[64];

	a->want_bytes = VIRT_RESIZE_LOOK;
	if (!a->plugged.attached) {
		released(a->job);
		return false;
	}
	plugged_note(a->manager, a->job->lease->record.id, a->plugged.current_bytes);
	say_given(a, phase, sizeof(phase));
	tell(a, phase, "");
	switch (shrink_next(&a->shrink, &a->plugged, now,
		m->stall_usec ? m->stall_usec : STALL_USEC, &a->want_bytes)) {
	case SHRINK_WAIT:
		break;
	case SHRINK_ASK:
		if (a->plugged.current_bytes < had)
			a->again_usec = 0;
		return call_later(a, 0) >= 0;
	case SHRINK_STOPPED:
		return stopped(a);
	case SHRINK_EMPTY:
		a->unplug = true;
		a->empty_usec = now;
		return call_later(a, 0) >= 0;
	}
	return call_later(a, PARTS_LOOK_USEC) >= 0;
}

/* What came of asking for the place of an empty one. True: *ret is what take_answer() returns. */
static bool take_place(struct Ask *a, int r, bool *ret)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);

	if (r == 0 && a->release.over && a->release.released)
		return false;
	if (r == VIRT_REFUSED && ++a->kept_place < 2) {
		/* Its guest may have been reset, and have taken some of it again. */
		a->unplug = false;
		a->release = (VirtRelease){};
		*ret = call_later(a, AGAIN_MIN_USEC) >= 0;
		return true;
	}
	if (r == VIRT_REFUSED || a->refused || (r == 0 && now - a->empty_usec >= PLACE_USEC)) {
		*ret = place_is_kept(a);
		return true;
	}
	return false;
}

/* False: there is nothing to wait for. */
static bool take_answer(struct Ask *a, int r)
{
	const EvictData *d = a->job->data;
	bool next;

	/* It has gone, or its machine has, or that has been given nothing. */
	if (a->mem.ram && (a->removed || r == VIRT_NO_DOMAIN || r == VIRT_NOT_RUNNING)) {
		r = 0;
		a->release.over = a->release.released = true;
	}
	if (a->mem.virtio_mem && !a->release.released) {
		if (r == 0 && !a->unplug)
			return take_plugged(a);
		if (a->unplug && take_place(a, r, &next))
			return next;
	}
	if (r == 0 && !a->release.over && a->refused) {
		a->release.over = true;
		(void)PML_STRCPY(a->release.reason,
			"it could not free that memory, or would not (its kernel's log says why)");
	}
	a->refused = false;
	if (r == 0 && !a->release.over) {
		tell(a, "the guest is letting go", "");
		tell_again(a);
		return call_later(a, doubled(&a->look_usec, LOOK_MIN_USEC, LOOK_MAX_USEC)) >= 0;
	}
	if (r == 0 && a->release.released) {
		released(a->job);
		return false;
	}
	if (r == 0) {
		keep_answer(a->job, PML_ERROR_GUEST_REFUSED, a->release.reason);
		tell(a, "refused: ", d->answer);
	} else {
		keep_answer(a->job, error_of(r), r < 0 ? strerror(-r) : a->why);
		tell(a, "waiting for the guest", "");
	}
	a->release = (VirtRelease){};
	a->look_usec = a->told_usec = 0;
	if (r == 0 && on_refusal(a->job) == PML_ON_REFUSAL_KEEP) {
		keep_lease(a->job);
		return false;
	}
	return call_later(a, doubled(&a->again_usec, AGAIN_MIN_USEC, AGAIN_MAX_USEC)) >= 0;
}

static int ask_run(void *userdata)
{
	struct Ask *a = userdata;

	free(a->why);
	a->why = NULL;
	if (a->mem.virtio_mem && !a->unplug)
		return a->ops->resize(
			a->virt, a->domain, &a->mem, a->want_bytes, &a->plugged, &a->why);
	return a->ops->release(a->virt, a->domain, &a->mem, a->timeout_usec, &a->release, &a->why);
}

static void ask_done(void *userdata, int r)
{
	struct Ask *a = userdata;
	Job *job = a->job;

	a->running = false;
	a->manager->background--;
	if (job && take_answer(a, r))
		return;
	if (job)
		((EvictData *)job->data)->ask = NULL;
	ask_free(a);
}

/* The guest's program gives up in time and undoes what it did, rather than being fenced half way.
 */
static uint64_t time_left(const EvictData *d)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);

	if (d->deadline_usec == PML_DEADLINE_INFINITY)
		return 0;
	return d->deadline_usec > now ? d->deadline_usec - now : 1;
}

static int submit(struct Ask *a)
{
	/* Not behind the domain's other calls, which may hang with libvirt's job on it; an agent's
	 * command needs none. */
	char key[PML_ID_MAX + 8];
	int r;

	(void)snprintf(key, sizeof(key), "agent/%s", a->domain);
	a->timeout_usec = time_left(a->job->data);
	a->virt = a->manager->virt;
	r = exec_submit(a->manager->exec, EXEC_VIRT, key, ask_run, ask_done, a);
	if (r < 0)
		return r;
	a->running = true;
	a->manager->background++;
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct Ask *a = userdata;

	a->timer = sd_event_source_disable_unref(a->timer);
	return submit(a) < 0 ? call_later(a, AGAIN_MAX_USEC) : 0;
}

void ask_begin(Job *job)
{
	Manager *m = job->manager;
	EvictData *d = job->data;
	const PmlLeaseRecord *rec = &job->lease->record;
	const Region *region = job->region;
	/* Of memory of the host nothing else ends a lease that its guest has. */
	PmlDrain drain = d->must && region_is_ram(region) ? PML_DRAIN_ASK
			 : (int)d->how.drain >= 0	  ? d->how.drain
							  : rec->drain;
	struct Ask *a;
	int r;

	if (d->ask || d->released || drain != PML_DRAIN_ASK || !m->virt_ops->release ||
		!region->last || (rec->virtio_mem && !m->virt_ops->resize))
		return;
	a = calloc(1, sizeof(*a));
	if (!a)
		return;
	a->manager = m;
	a->job = job;
	a->ops = m->virt_ops;
	a->begin_usec = pml_now_usec(CLOCK_BOOTTIME);
	(void)PML_STRCPY(a->domain, rec->domain);
	(void)op_memory(region, rec, &a->mem);
	a->lent_bytes = rec->lent_bytes;
	a->want_bytes = VIRT_RESIZE_LOOK;
	d->in_parts = rec->virtio_mem;
	a->next = m->asks;
	m->asks = a;
	d->ask = a;
	d->asked_guest = true;
	tell(a, "asking the guest", "");
	/* It has answered already, and the disk has not taken it. */
	r = d->answer_error[0] ? call_later(a, AGAIN_MIN_USEC) : submit(a);
	if (r < 0)
		ask_end(job);
}

static struct Ask *find(Manager *m, const char *domain, const char *alias)
{
	struct Ask *a;

	for (a = m->asks; a; a = a->next)
		if (a->job && pml_streq(a->domain, domain) && pml_streq(a->mem.alias, alias))
			return a;
	return NULL;
}

/* Now, instead of when its turn comes. */
static void look_now(struct Ask *a)
{
	if (a->running)
		return;
	a->timer = sd_event_source_disable_unref(a->timer);
	if (submit(a) < 0)
		(void)call_later(a, LOOK_MAX_USEC);
}

void ask_look(Manager *m, const char *domain, const char *alias)
{
	struct Ask *a = find(m, domain, alias);
	Lease *lease;

	if (a && a->mem.ram) {
		/* libvirt tells it when QEMU has dropped the memory, and has nothing to add. */
		a->removed = true;
		a->timer = sd_event_source_disable_unref(a->timer);
		if (!a->running) {
			(void)take_answer(a, 0);
			ask_end(a->job);
		}
	}
	LIST_FOREACH (lease, &m->leases, leases) {
		if (lease->gone || !lease->region || lease->region->lease != lease ||
			!pml_streq(lease->record.domain, domain) ||
			!pml_streq(lease->record.alias, alias))
			continue;
		/* Behind its deadline; or nobody asked for it, or does any more. */
		if (lease_state(lease) == PML_LEASE_ACTIVE && !lease->region->job)
			(void)evict_force(lease->region, "its machine gave it back");
		else
			settle_kick(lease->region);
	}
}

void ask_resized(Manager *m, const char *domain, const char *alias)
{
	struct Ask *a = find(m, domain, alias);
	Lease *l;

	if (a && !a->unplug) {
		look_now(a);
		return;
	}
	LIST_FOREACH (l, &m->leases, leases)
		if (!l->gone && l->record.virtio_mem && pml_streq(l->record.domain, domain) &&
			pml_streq(l->record.alias, alias))
			plugged_ask(l, VIRT_RESIZE_LOOK);
}

void ask_connected(Manager *m)
{
	Lease *l;

	LIST_FOREACH (l, &m->leases, leases)
		if (!l->gone && l->recorded && l->record.virtio_mem &&
			pml_streq(l->record.boot_id, m->boot_id))
			ask_resized(m, l->record.domain, l->record.alias);
}

void ask_refused(Manager *m, const char *domain, const char *alias)
{
	struct Ask *a = find(m, domain, alias);

	if (!a || a->release.pid == 0)
		return;
	a->refused = true;
	look_now(a);
}

/* --- afterwards --- */

const char *ask_summary(const EvictData *d)
{
	if (d->emptied)
		return "its guest gave all of it back";
	if (d->released)
		return "its guest let go";
	if (!d->asked_guest)
		return NULL;
	return d->answer_error[0] ? d->answer : "its guest was asked, and has not answered";
}

void ask_note(Job *job)
{
	const EvictData *d = job->data;

	/* What ended the wait was neither the guest's answer nor its deadline. */
	if (d->must && !d->released)
		return;
	if (d->emptied)
		job_set_note(job, PML_ERROR_PLACE_KEPT,
			"The guest gave all of it back, and runs on. Its machine keeps the empty place (QEMU unplugs a virtio-mem "
			"since 8.1, if the guest lets it), so the region stays offline until that goes: virsh "
			"detach-device-alias %s %s, or the machine's end.",
			d->rec.domain_name, d->rec.alias);
	else if (d->lied)
		job_set_note(job, PML_ERROR_GUEST_LIED,
			"The guest said that it had let go, and still uses the region. It is paused: it would spin.");
	else if (d->released)
		job_set_note(job, "",
			region_is_block(job->region) || d->vmm_gone
				? "The guest let go by itself."
				: "The guest let go by itself, and runs on.");
	else if (d->asked_guest && pml_streq(d->answer_error, PML_ERROR_GUEST_REFUSED))
		job_set_note(job, d->answer_error, "The guest refused: %s.", d->answer);
	else if (d->asked_guest && d->answer_error[0])
		job_set_note(job, d->answer_error, "The guest could not be asked: %s.", d->answer);
	else if (d->asked_guest)
		job_set_note(job, PML_ERROR_GUEST_SILENT,
			"The guest was asked, and did not answer by the deadline.");
}

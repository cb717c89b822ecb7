/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A guest that touches memory that was taken from it spins inside KVM, so the fence froze its
 * machine. Here libvirt is asked to pause it (or to destroy it, by the lease's policy), and it is
 * thawed in the moment in which libvirt has answered. A task a lease, outside of the eviction's
 * job: a libvirt that hangs keeps neither the proof off the disk nor the job from its end.
 */

#include "deprived.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

#define RETRY_MIN_USEC USEC_PER_SEC
#define RETRY_MAX_USEC (60 * USEC_PER_SEC)

typedef struct AfterFence AfterFence;

struct AfterFence {
	AfterFence *next;
	Manager *manager;
	char lease[PML_ID_MAX];
	sd_event_source *retry;
	uint64_t retry_usec;
	bool running; /* EXEC_URGENT has what is below */
	bool writing; /* the ledger is being told */
	bool over;    /* libvirt has done it, or the machine is gone */

	const VirtOps *ops;
	Virt *virt;
	PmlAfterFence policy;
	char domain[PML_ID_MAX];
	char domain_name[PML_NAME_LEN];
	char cgroup[PML_CGROUP_LEN];
	pid_t vmm_pid;
	uint64_t vmm_start;
	uint64_t freeze_timeout_usec;
	bool frozen;
	bool thawed;
	char *why;
};

static void after_fence_try(AfterFence *a);

static void after_fence_free(AfterFence *a)
{
	for (AfterFence **p = &a->manager->after_fence; *p; p = &(*p)->next)
		if (*p == a) {
			*p = a->next;
			break;
		}
	sd_event_source_disable_unref(a->retry);
	free(a->why);
	free(a);
}

static AfterFence *after_fence_find(Manager *m, const char *lease_id)
{
	for (AfterFence *a = m->after_fence; a; a = a->next)
		if (pml_streq(a->lease, lease_id))
			return a;
	return NULL;
}

static void thaw(void *data)
{
	AfterFence *a = data;

	if (a->cgroup[0])
		(void)pml_cgroup_thaw(a->cgroup);
	a->thawed = true;
}

/* EXEC_URGENT. */
static int after_fence_run(void *data)
{
	AfterFence *a = data;
	int r;

	a->thawed = false;
	if (a->vmm_pid > 0 && !op_process_alive(a->vmm_pid, a->vmm_start)) {
		/* What is left in its cgroup must be able to end. */
		thaw(a);
		return 0;
	}
	if (!a->virt)
		return VIRT_UNAVAILABLE;
	/* Before a destroy too: a paused QEMU answers the polite signal, one that spins waits for
	 * the impolite. */
	r = a->ops->pause(a->virt, a->domain, thaw, a, &a->why);
	if (a->policy == PML_AFTER_FENCE_DESTROY &&
		(r == 0 || r == VIRT_REFUSED || r == VIRT_AMBIGUOUS)) {
		free(a->why);
		a->why = NULL;
		r = a->ops->destroy(a->virt, a->domain, &a->why);
	}
	if (r == VIRT_NO_DOMAIN || r == VIRT_NOT_RUNNING)
		r = 0;
	if (r == 0 && !a->thawed)
		thaw(a);
	/* It runs, unpaused, with its memory gone. */
	if (r != 0 && a->thawed && a->frozen && a->cgroup[0])
		(void)pml_cgroup_freeze(
			a->cgroup, pml_now_usec(CLOCK_MONOTONIC) + a->freeze_timeout_usec);
	return r;
}

static int on_retry(sd_event_source *s, uint64_t usec, void *data)
{
	after_fence_try(data);
	return 0;
}

static void try_later(AfterFence *a)
{
	int r;

	a->retry_usec = a->retry_usec ? a->retry_usec * 2 : RETRY_MIN_USEC;
	if (a->retry_usec > RETRY_MAX_USEC)
		a->retry_usec = RETRY_MAX_USEC;
	sd_event_source_disable_unref(a->retry);
	a->retry = NULL;
	r = sd_event_add_time_relative(
		a->manager->event, &a->retry, CLOCK_BOOTTIME, a->retry_usec, 0, on_retry, a);
	if (r < 0)
		log_error("Could not set a timer for domain %s, which stays frozen: %s.",
			a->domain_name, strerror(-r));
}

static void on_written(void *data, int r, const char *why)
{
	AfterFence *a = data;

	a->writing = false;
	if (r == 0)
		after_fence_free(a);
	else
		try_later(a);
}

/* The ledger must not go on saying that the machine is frozen. */
static void write_thawed(AfterFence *a)
{
	Lease *lease = manager_find_lease(a->manager, a->lease);
	PmlLeaseRecord rec;
	PmlTxn *txn;
	int r;

	/* Not before the fence is recorded, as its record says how the machine was left. */
	if (lease && lease->marked)
		return;
	if (!lease || !lease->record.frozen) {
		after_fence_free(a);
		return;
	}
	rec = lease->record;
	rec.frozen = false;
	txn = op_txn_new_daemon();
	r = txn ? pml_txn_lease_update(txn, &rec) : -ENOMEM;
	if (r >= 0) {
		a->writing = true;
		r = manager_apply(a->manager, TAKE_PTR(txn), on_written, a);
	}
	pml_txn_free(txn);
	if (r < 0) {
		a->writing = false;
		try_later(a);
	}
}

static void on_run_done(void *data, int r)
{
	AfterFence *a = data;
	const LogFields fields = {
		.lease = a->lease, .domain = a->domain, .message_id = PML_MESSAGE_AFTER_FENCE};

	a->running = false;
	a->manager->background--;
	if (r == 0) {
		if (a->policy == PML_AFTER_FENCE_DESTROY)
			log_full(LOG_NOTICE, &fields,
				"Domain %s is destroyed after its memory was taken.",
				a->domain_name);
		else
			log_full(LOG_NOTICE, &fields,
				"Domain %s is paused after its memory was taken. " DEPRIVED_WARNING,
				a->domain_name);
		a->over = true;
		a->frozen = false;
		a->retry_usec = 0;
		write_thawed(a);
		return;
	}
	log_full(LOG_WARNING, &fields,
		"Domain %s could not be %s after its memory was taken%s: %s. Trying again.",
		a->domain_name, a->policy == PML_AFTER_FENCE_DESTROY ? "destroyed" : "paused",
		a->frozen ? ", and stays frozen" : "",
		a->why			? a->why
		: r < 0			? strerror(-r)
		: r == VIRT_UNAVAILABLE ? "libvirt is not connected"
					: "libvirt gave no reason");
	free(a->why);
	a->why = NULL;
	try_later(a);
}

static void after_fence_try(AfterFence *a)
{
	int r;

	if (a->running || a->writing)
		return;
	if (a->over) {
		write_thawed(a);
		return;
	}
	a->virt = a->manager->libvirt_connected ? a->manager->virt : NULL;
	a->running = true;
	a->manager->background++;
	r = exec_submit(a->manager->exec, EXEC_URGENT, NULL, after_fence_run, on_run_done, a);
	if (r < 0) {
		a->running = false;
		a->manager->background--;
		try_later(a);
	}
}

int after_fence_begin(Manager *m, const PmlLeaseRecord *rec, bool frozen)
{
	AfterFence *a = after_fence_find(m, rec->id);

	if (a) {
		a->frozen = a->frozen || frozen;
		if (a->over && frozen) {
			a->over = false;
			after_fence_try(a);
		}
		return 0;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->manager = m;
	a->ops = m->virt_ops;
	a->policy = rec->after_fence;
	a->vmm_pid = rec->vmm_pid;
	a->vmm_start = rec->vmm_start;
	a->freeze_timeout_usec = m->config.freeze_timeout_usec;
	a->frozen = frozen;
	(void)PML_STRCPY(a->lease, rec->id);
	(void)PML_STRCPY(a->domain, rec->domain);
	(void)PML_STRCPY(a->domain_name, rec->domain_name);
	(void)PML_STRCPY(a->cgroup, rec->vmm_cgroup);
	a->next = m->after_fence;
	m->after_fence = a;
	after_fence_try(a);
	return 0;
}

/* --- the rung destroy: one question, whose answer is the end of the process --- */

typedef struct Destroy {
	struct Destroy *next;
	Manager *manager;
	const VirtOps *ops;
	Virt *virt;
	char domain[PML_ID_MAX];
} Destroy;

static void destroy_free(Destroy *d)
{
	d->manager->background--;
	for (Destroy **p = &d->manager->destroys; *p; p = &(*p)->next)
		if (*p == d) {
			*p = d->next;
			break;
		}
	free(d);
}

static int destroy_run(void *data)
{
	Destroy *d = data;
	char *why = NULL;
	int r = d->ops->destroy(d->virt, d->domain, &why);

	free(why);
	return r;
}

static void destroy_done(void *data, int r)
{
	Destroy *d = data;

	if (r != 0)
		log_full(LOG_WARNING, &(LogFields){.domain = d->domain},
			"libvirt did not destroy domain %s; its process is killed by the fence itself.",
			d->domain);
	destroy_free(d);
}

int after_fence_destroy(Manager *m, const PmlLeaseRecord *rec)
{
	Destroy *d;
	int r;

	if (!m->libvirt_connected || !m->virt)
		return -ENOTCONN;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->manager = m;
	d->ops = m->virt_ops;
	d->virt = m->virt;
	d->next = m->destroys;
	m->destroys = d;
	m->background++;
	(void)PML_STRCPY(d->domain, rec->domain);
	r = exec_submit(m->exec, EXEC_URGENT, NULL, destroy_run, destroy_done, d);
	if (r < 0)
		destroy_free(d);
	return r;
}

void after_fence_retry(Manager *m)
{
	for (AfterFence *a = m->after_fence, *next; a; a = next) {
		next = a->next;
		a->retry_usec = 0;
		after_fence_try(a);
	}
}

bool after_fence_pending(Manager *m, const char *lease_id)
{
	const AfterFence *a = after_fence_find(m, lease_id);

	return a && !a->over;
}

void after_fence_poke(Manager *m)
{
	for (AfterFence *a = m->after_fence, *next; a; a = next) {
		next = a->next;
		if (a->over)
			after_fence_try(a);
	}
}

void after_fence_free_all(Manager *m, bool busy)
{
	while (!busy && m->destroys)
		destroy_free(m->destroys);
	/* One that a thread has is left to the end of the process, as whatever hangs in libvirt
	 * is. */
	for (AfterFence *a = m->after_fence, *next; a; a = next) {
		next = a->next;
		if (!busy || !a->running)
			after_fence_free(a);
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "plugged.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

/* So many writes may wait for the ledger's disk; each event brings another number. */
#define WRITES_MAX 8

typedef struct PluggedCall {
	struct PluggedCall *next;
	Manager *manager;
	char lease[PML_ID_MAX];
	bool again; /* libvirt has told of another size meanwhile */

	/* --- read and written by run --- */
	const VirtOps *ops;
	Virt *virt;
	char domain[PML_ID_MAX];
	VirtMemory mem;
	uint64_t want_bytes;
	VirtPlugged plugged;
	bool detach;
	VirtRelease release;
	char *why;
} PluggedCall;

static void call_free(PluggedCall *c)
{
	for (PluggedCall **p = &c->manager->plugged_calls; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			break;
		}
	free(c->why);
	free(c);
}

void plugged_free_all(Manager *m, bool busy)
{
	while (!busy && m->plugged_calls)
		call_free(m->plugged_calls);
}

static void on_noted(void *data, int r, const char *why)
{
	if (r != 0)
		log_warning("What a guest has of its virtio-mem could not be recorded (%s).",
			why ? why : strerror(r < 0 ? -r : EIO));
}

void plugged_note(Manager *m, const char *lease_id, uint64_t plugged_bytes)
{
	Lease *l = manager_find_lease(m, lease_id);
	PmlTxn *txn;
	int r;

	if (!l || !l->recorded || l->gone || !l->record.virtio_mem ||
		l->record.plugged_bytes == plugged_bytes || m->n_applies > WRITES_MAX)
		return;
	/* What is decided by it is decided now; towards less it is no promise to anybody. */
	l->record.plugged_bytes = plugged_bytes;
	lease_changed(l);
	txn = op_txn_new_daemon();
	r = txn ? pml_txn_plugged(txn, lease_id, plugged_bytes) : -ENOMEM;
	if (r >= 0)
		r = manager_apply(m, TAKE_PTR(txn), on_noted, NULL);
	pml_txn_free(txn);
	if (r < 0)
		on_noted(NULL, r, NULL);
}

static int call_run(void *userdata)
{
	PluggedCall *c = userdata;

	free(c->why);
	c->why = NULL;
	return c->detach ? c->ops->release(c->virt, c->domain, &c->mem, 0, &c->release, &c->why)
			 : c->ops->resize(c->virt, c->domain, &c->mem, c->want_bytes, &c->plugged,
				   &c->why);
}

static int submit(PluggedCall *c);

/* True: it is used once more. */
static bool go_on(PluggedCall *c, int r)
{
	const Lease *l = manager_find_lease(c->manager, c->lease);
	bool late = l && !l->gone &&
		    (lease_state(l) == PML_LEASE_STUCK || lease_state(l) == PML_LEASE_FENCED);

	if (r != 0 || c->detach)
		return false;
	/* One that is gone has nothing. */
	plugged_note(c->manager, c->lease, c->plugged.current_bytes);
	if (l && lease_state(l) == PML_LEASE_STUCK && c->plugged.current_bytes == 0)
		settle_kick(l->region);
	if (c->again) {
		c->again = false;
		c->want_bytes = VIRT_RESIZE_LOOK;
		return true;
	}
	c->detach = late && c->plugged.attached && c->plugged.current_bytes == 0 &&
		    c->plugged.requested_bytes == 0 && c->ops->release;
	return c->detach;
}

static void call_done(void *userdata, int r)
{
	PluggedCall *c = userdata;

	c->manager->background--;
	if (!go_on(c, r) || submit(c) < 0)
		call_free(c);
}

static int submit(PluggedCall *c)
{
	/* Behind what the guest was asked before (ask.c). */
	char key[PML_ID_MAX + 8];
	int r;

	(void)snprintf(key, sizeof(key), "agent/%s", c->domain);
	c->virt = c->manager->virt;
	r = exec_submit(c->manager->exec, EXEC_VIRT, key, call_run, call_done, c);
	if (r >= 0)
		c->manager->background++;
	return r;
}

void plugged_ask(Lease *lease, uint64_t want_bytes)
{
	Manager *m = lease->manager;
	PluggedCall *c;

	if (!m->virt_ops->resize || !lease->region->last || !m->virt)
		return;
	for (c = m->plugged_calls; c && want_bytes == VIRT_RESIZE_LOOK; c = c->next)
		if (pml_streq(c->lease, lease->record.id)) {
			c->again = true;
			return;
		}
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->manager = m;
	c->ops = m->virt_ops;
	c->want_bytes = want_bytes;
	(void)PML_STRCPY(c->lease, lease->record.id);
	(void)PML_STRCPY(c->domain, lease->record.domain);
	(void)op_memory(lease->region, &lease->record, &c->mem);
	c->next = m->plugged_calls;
	m->plugged_calls = c;
	if (submit(c) < 0)
		call_free(c);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "journal.h"
#include "log.h"
#include "manager.h"
#include "util.h"

#define READ_AGAIN_USEC (200 * USEC_PER_MSEC)

static void read_later(Manager *m);

void ledger_change_init(LedgerChange *c, Manager *m, PmlTxn *txn)
{
	*c = (LedgerChange){.manager = m, .txn = txn};
}

void ledger_change_clear(LedgerChange *c)
{
	pml_txn_free(c->txn);
	free(c->why);
	free(c->leases);
	free(c->extents);
	journal_rows_clear(&c->history);
	*c = (LedgerChange){};
}

int ledger_change_run(LedgerChange *c)
{
	PmlLedger *ledger = c->manager->ledger;
	int r = 0;

	free(c->why);
	c->why = NULL;
	if (c->txn)
		r = pml_ledger_apply(ledger, c->txn, &c->why);
	if (r != 0)
		return r;

	/* It is on the disk: what fails from here on must not be told as a refusal. Memory is
	 * refreshed later then. */
	r = pml_ledger_leases(ledger, false, &c->leases, &c->n_leases);
	if (r >= 0)
		r = pml_ledger_extents(ledger, &c->extents, &c->n_extents);
	if (r >= 0)
		r = journal_rows_read(ledger, c->manager->history_seq, &c->history);
	if (r >= 0 && c->history.n > 0)
		c->manager->history_seq = c->history.rows[0].seq;
	c->read = r >= 0;
	return c->txn ? 0 : r;
}

/* Of one lease's records: the fields that a lease keeps for its whole life are not looked at. */
static bool record_is_news(const PmlLeaseRecord *a, const PmlLeaseRecord *b)
{
	return a->state != b->state || a->on_end != b->on_end || a->after_fence != b->after_fence ||
	       a->drain != b->drain || a->on_refusal != b->on_refusal ||
	       a->grace_usec != b->grace_usec || a->restore != b->restore || a->devno != b->devno ||
	       a->dev_block != b->dev_block || a->plugged_bytes != b->plugged_bytes ||
	       a->keep_offline != b->keep_offline || a->frozen != b->frozen ||
	       a->deadline_usec != b->deadline_usec || a->since_usec != b->since_usec ||
	       a->vmm_pid != b->vmm_pid || a->vmm_start != b->vmm_start || a->proof != b->proof ||
	       strcmp(a->domain_name, b->domain_name) != 0 || strcmp(a->alias, b->alias) != 0 ||
	       strcmp(a->boot_id, b->boot_id) != 0 || strcmp(a->vmm_cgroup, b->vmm_cgroup) != 0;
}

static int take_lease(Manager *m, const PmlLeaseRecord *rec)
{
	Lease *l = manager_find_lease(m, rec->id);
	Region *region;
	int r;

	if (!l) {
		region = manager_find_region_by_extent(m, &rec->extent);
		if (!region) {
			r = region_new(m, rec->region, rec->region_name, &rec->extent, &region);
			if (r < 0)
				return r;
		}
		return lease_new(m, region, rec, true, &l);
	}
	if (l->recorded && !record_is_news(&l->record, rec))
		return 0;
	l->record = *rec;
	l->recorded = true;
	lease_changed(l);
	return 0;
}

static void take_released(Manager *m, const LedgerChange *c)
{
	Lease *l;

	LIST_FOREACH (l, &m->leases, leases) {
		bool found = false;

		for (size_t i = 0; i < c->n_leases && !found; i++)
			found = strcmp(c->leases[i].id, l->record.id) == 0;
		if (found || !l->recorded || l->gone)
			continue;
		l->record.state = PML_LEASE_RELEASED;
		l->record.deadline_usec = 0;
		l->marked = false;
		l->gone = true;
		if (l->region->lease == l)
			l->region->lease = NULL;
		lease_changed(l);
		region_changed(l->region);
	}
}

static int take_view(Manager *m, LedgerChange *c)
{
	Region *region;
	int r = 0;

	free(m->extents);
	m->extents = TAKE_PTR(c->extents);
	m->n_extents = c->n_extents;
	for (size_t i = 0; i < c->n_leases && r >= 0; i++)
		r = take_lease(m, &c->leases[i]);
	take_released(m, c);
	LIST_FOREACH (region, &m->regions, regions)
		if (region_refold(region))
			region_changed(region);
	/* Now every name in it is known, and what has ended is not yet forgotten. */
	journal_rows_write(m, &c->history);
	journal_rows_clear(&c->history);
	if (r >= 0)
		r = regions_show_missing(m);
	leases_collect(m);
	return r;
}

static int on_read_again(sd_event_source *s, uint64_t usec, void *userdata)
{
	Manager *m = userdata;

	m->read_again = sd_event_source_disable_unref(m->read_again);
	if (manager_apply(m, NULL, NULL, NULL) < 0)
		read_later(m);
	return 0;
}

static void read_later(Manager *m)
{
	int r;

	if (m->read_again)
		return;
	r = sd_event_add_time_relative(
		m->event, &m->read_again, CLOCK_BOOTTIME, READ_AGAIN_USEC, 1, on_read_again, m);
	if (r < 0)
		log_error("Cannot read the ledger again: %s.", strerror(-r));
}

void ledger_change_done(LedgerChange *c, int r)
{
	Manager *m = c->manager;

	if (r < 0)
		log_full(LOG_ERR, &(LogFields){.message_id = PML_MESSAGE_LEDGER_FAILED},
			"The ledger cannot be written: %s.", strerror(-r));
	if (r < 0 && !c->txn)
		read_later(m);
	if (r != 0)
		return;
	c->txn = pml_txn_free(c->txn);
	if (c->read)
		r = take_view(m, c);
	free(c->leases);
	free(c->extents);
	c->leases = NULL;
	c->extents = NULL;
	if (c->read && r >= 0)
		return;
	/* On the disk, and not in memory: read again until it is. */
	read_later(m);
}

typedef struct Apply {
	LedgerChange change;
	void (*done)(void *data, int r, const char *why);
	void *data;
} Apply;

static int apply_run(void *userdata)
{
	Apply *a = userdata;

	return ledger_change_run(&a->change);
}

static void apply_done(void *userdata, int r)
{
	Apply *a = userdata;

	a->change.manager->n_applies--;
	ledger_change_done(&a->change, r);
	if (a->done)
		a->done(a->data, r, a->change.why);
	ledger_change_clear(&a->change);
	free(a);
}

int manager_apply(
	Manager *m, PmlTxn *txn, void (*done)(void *data, int r, const char *why), void *data)
{
	Apply *a = calloc(1, sizeof(*a));
	int r;

	if (!a) {
		pml_txn_free(txn);
		return -ENOMEM;
	}
	ledger_change_init(&a->change, m, txn);
	a->done = done;
	a->data = data;
	r = exec_submit(m->exec, EXEC_LEDGER, NULL, apply_run, apply_done, a);
	if (r < 0) {
		ledger_change_clear(&a->change);
		free(a);
		return r;
	}
	m->n_applies++;
	return 0;
}

int ledger_op_error(OpError *err, int r, const char *why)
{
	switch (r) {
	case PML_LEDGER_OVERLAP:
		return op_error(err, PML_ERROR_BUSY, "%s",
			why ? why : "Another lease covers some of these bytes; release it first.");
	case PML_LEDGER_ILLEGAL:
		return op_error(err, PML_ERROR_BUSY, "%s",
			why ? why
			    : "The recorded state does not allow this; look at it with pmemlease status.");
	case -ENOSPC:
		return op_error(err, PML_ERROR_LEDGER,
			"The disk of the ledger is full, so nothing new is begun; make room in the state directory and repeat.");
	}
	return op_error(err, PML_ERROR_LEDGER,
		"The ledger cannot be written (%s), so nothing new is begun; mend the disk of the state directory and repeat.",
		strerror(r < 0 ? -r : EIO));
}

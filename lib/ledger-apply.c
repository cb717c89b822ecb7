/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A transaction against the disk: every change by the tables, then what must hold when all are
 * made. */

#include "ledger-internal.h"

int ledger_refuse(Apply *a, int outcome, const char *format, ...)
{
	char *why;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&why, format, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	free(a->why);
	a->why = why;
	return outcome;
}

static int bind_text(sqlite3_stmt *stmt, int rc, int column, const char *s)
{
	if (rc != SQLITE_OK)
		return rc;
	return s ? sqlite3_bind_text(stmt, column, s, -1, SQLITE_STATIC)
		 : sqlite3_bind_null(stmt, column);
}

static int bind_int(sqlite3_stmt *stmt, int rc, int column, int64_t v)
{
	return rc == SQLITE_OK ? sqlite3_bind_int64(stmt, column, v) : rc;
}

int ledger_history(Apply *a, const Change *c, const char *subject, const char *id, const char *from,
	const char *to, const char *detail)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc = SQLITE_OK;

	r = ledger_stmt(a->l, LEDGER_SQL_HISTORY_INSERT, &stmt);
	if (r != 0)
		return r;
	rc = bind_int(stmt, rc, 1, (int64_t)c->time_usec);
	rc = bind_text(stmt, rc, 2, subject);
	rc = bind_text(stmt, rc, 3, id);
	rc = bind_text(stmt, rc, 4, from);
	rc = bind_text(stmt, rc, 5, to);
	rc = bind_text(stmt, rc, 6, detail);
	rc = bind_text(stmt, rc, 7, a->t->actor);
	return rc == SQLITE_OK ? ledger_run(a->l, stmt) : ledger_errno(a->l->db, rc);
}

/* One numbering for INSERT and UPDATE, so that no field can be forgotten in one of them only. */
static int write_lease(PmlLedger *l, LedgerSql which, const PmlLeaseRecord *rec,
	PmlLeaseState state, uint64_t since)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	bool insert = which == LEDGER_SQL_LEASE_INSERT;
	int r, rc = SQLITE_OK;

	r = ledger_stmt(l, which, &stmt);
	if (r != 0)
		return r;
	rc = bind_text(stmt, rc, 1, rec->id);
	rc = bind_text(stmt, rc, 3, rec->region_name);
	rc = bind_text(stmt, rc, 8, rec->domain_name);
	rc = bind_text(stmt, rc, 9, rec->alias);
	rc = bind_text(stmt, rc, 11, pml_lease_state_to_string(state));
	rc = bind_text(stmt, rc, 12, pml_on_end_to_string(rec->on_end));
	rc = bind_text(stmt, rc, 13,
		pml_after_fence_to_string(rec->after_fence == PML_AFTER_FENCE_KEEP
						  ? PML_AFTER_FENCE_PAUSE
						  : rec->after_fence));
	rc = bind_int(stmt, rc, 14, rec->keep_offline);
	rc = bind_int(stmt, rc, 15, rec->frozen);
	rc = bind_int(stmt, rc, 16, (int64_t)rec->deadline_usec);
	rc = bind_text(stmt, rc, 17, rec->boot_id);
	rc = bind_int(stmt, rc, 18, (int64_t)since);
	rc = bind_int(stmt, rc, 20, rec->vmm_pid);
	rc = bind_int(stmt, rc, 21, (int64_t)rec->vmm_start);
	rc = bind_text(stmt, rc, 22, rec->vmm_cgroup);
	rc = bind_int(stmt, rc, 23, rec->after_fence == PML_AFTER_FENCE_KEEP);
	rc = bind_text(stmt, rc, 24, pml_drain_to_string(rec->drain));
	rc = bind_text(stmt, rc, 25, pml_on_refusal_to_string(rec->on_refusal));
	rc = bind_int(stmt, rc, 26, (int64_t)rec->grace_usec);
	rc = bind_int(stmt, rc, 27, rec->restore);
	rc = bind_int(stmt, rc, 28, major(rec->devno));
	rc = bind_int(stmt, rc, 29, minor(rec->devno));
	rc = bind_int(stmt, rc, 33, rec->dev_block);
	if (insert) {
		rc = bind_text(stmt, rc, 2, rec->region);
		rc = bind_text(stmt, rc, 4, rec->extent.medium);
		rc = bind_int(stmt, rc, 5, (int64_t)rec->extent.start_bytes);
		rc = bind_int(stmt, rc, 6, (int64_t)rec->extent.size_bytes);
		rc = bind_text(stmt, rc, 7, rec->domain);
		rc = bind_text(stmt, rc, 10, rec->owner);
		rc = bind_int(stmt, rc, 19, rec->creator_uid);
		rc = bind_int(stmt, rc, 30, rec->virtio_mem);
		rc = bind_int(stmt, rc, 31, (int64_t)rec->lent_bytes);
		rc = bind_int(stmt, rc, 32, (int64_t)rec->plugged_bytes);
	}
	return rc == SQLITE_OK ? ledger_run(l, stmt) : ledger_errno(l->db, rc);
}

static int apply_lease_new(Apply *a, const Change *c)
{
	const PmlLeaseRecord *rec = c->lease;
	_cleanup_free_ char *detail = NULL;
	LeaseRow other = {};
	int r;

	r = ledger_get_lease(a->l, rec->id, &other);
	if (r == 0)
		return ledger_refuse(a, PML_LEDGER_ILLEGAL, "there is a lease %s already", rec->id);
	if (r != -ENOENT)
		return r;
	r = ledger_find_overlap(a->l, &rec->extent, &other);
	if (r == 0)
		return ledger_refuse(a, PML_LEDGER_OVERLAP,
			"lease %s of domain %s is %s and covers bytes of region %s", other.rec.id,
			other.rec.domain_name[0] ? other.rec.domain_name : other.rec.domain,
			pml_lease_state_to_string(other.rec.state), rec->region);
	if (r != -ENOENT)
		return r;
	r = write_lease(a->l, LEDGER_SQL_LEASE_INSERT, rec, PML_LEASE_RESERVED, c->time_usec);
	if (r != 0)
		return r;
	if (asprintf(&detail, "region %s (%s) to domain %s (%s), owner %s", rec->region,
		    rec->region_name, rec->domain, rec->domain_name, rec->owner) < 0) {
		detail = NULL;
		return -ENOMEM;
	}
	return ledger_history(
		a, c, "lease", rec->id, "", pml_lease_state_to_string(PML_LEASE_RESERVED), detail);
}

/* The lease as the disk has it, which must be in the state that the caller thinks, and be the same
 * lease. */
static int get_same(Apply *a, const PmlLeaseRecord *rec, LeaseRow *ret)
{
	LeaseRow row = {};
	int r;

	r = ledger_get_lease(a->l, rec->id, &row);
	if (r == -ENOENT)
		return ledger_refuse(a, PML_LEDGER_ILLEGAL, "there is no lease %s", rec->id);
	if (r != 0)
		return r;
	if (row.rec.state != rec->state)
		return ledger_refuse(a, PML_LEDGER_ILLEGAL, "lease %s is %s, not %s", rec->id,
			pml_lease_state_to_string(row.rec.state),
			pml_lease_state_to_string(rec->state));
	if (strcmp(row.rec.region, rec->region) != 0 || strcmp(row.rec.domain, rec->domain) != 0 ||
		strcmp(row.rec.owner, rec->owner) != 0 || row.rec.creator_uid != rec->creator_uid ||
		!pml_extent_equal(&row.rec.extent, &rec->extent))
		return ledger_refuse(a, PML_LEDGER_ILLEGAL,
			"lease %s: its region, bytes, domain, owner and creator cannot change",
			rec->id);
	*ret = row;
	return 0;
}

static bool txn_has_proof(const PmlTxn *t, const char *lease_id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->changes[i].kind == CHANGE_PROOF &&
			pml_streq(t->changes[i].lease_id, lease_id))
			return true;
	return false;
}

static int lease_id_run(Apply *a, LedgerSql which, const char *id, int64_t value)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc = SQLITE_OK;

	r = ledger_stmt(a->l, which, &stmt);
	if (r != 0)
		return r;
	rc = bind_text(stmt, rc, 1, id);
	if (sqlite3_bind_parameter_count(stmt) > 1)
		rc = bind_int(stmt, rc, 2, value);
	return rc == SQLITE_OK ? ledger_run(a->l, stmt) : ledger_errno(a->l->db, rc);
}

static int apply_plugged(Apply *a, const Change *c)
{
	LeaseRow lease = {};
	int r = ledger_get_lease(a->l, c->lease_id, &lease);

	if (r == -ENOENT || (r == 0 && !lease.rec.virtio_mem))
		return ledger_refuse(a, PML_LEDGER_ILLEGAL,
			"there is no lease %s that its guest gives back in parts", c->lease_id);
	return r != 0 ? r
		      : lease_id_run(a, LEDGER_SQL_LEASE_SET_PLUGGED, c->lease_id,
				(int64_t)c->plugged_bytes);
}

static int apply_proof(Apply *a, const Change *c)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc = SQLITE_OK;
	LeaseRow lease = {};

	if (c->lease_id) {
		r = ledger_get_lease(a->l, c->lease_id, &lease);
		if (r == -ENOENT)
			return ledger_refuse(a, PML_LEDGER_ILLEGAL,
				"a proof for lease %s, which does not exist", c->lease_id);
		if (r != 0)
			return r;
	}
	r = ledger_stmt(a->l, LEDGER_SQL_PROOF_INSERT, &stmt);
	if (r != 0)
		return r;
	rc = bind_int(stmt, rc, 1, (int64_t)c->time_usec);
	rc = bind_text(stmt, rc, 2, c->lease_id);
	rc = bind_text(stmt, rc, 3, c->id);
	rc = bind_text(stmt, rc, 4, c->text);
	r = rc == SQLITE_OK ? ledger_run(a->l, stmt) : ledger_errno(a->l->db, rc);
	if (r != 0 || !c->lease_id)
		return r;
	return lease_id_run(
		a, LEDGER_SQL_LEASE_SET_PROOF, c->lease_id, sqlite3_last_insert_rowid(a->l->db));
}

/*
 * A proof of this lease that comes later in the transaction is written before its PROVED: the table
 * on disk knows no fenced lease without one, not even for a moment.
 */
static int proofs_first(Apply *a, const char *lease_id, size_t from, bool *done)
{
	for (size_t i = from; i < a->t->n; i++) {
		const Change *c = &a->t->changes[i];
		int r;

		if (done[i] || c->kind != CHANGE_PROOF || !pml_streq(c->lease_id, lease_id))
			continue;
		r = apply_proof(a, c);
		if (r != 0)
			return r;
		done[i] = true;
	}
	return 0;
}

static int apply_lease_step(Apply *a, const Change *c, size_t index, bool *done)
{
	const PmlLeaseRecord *rec = c->lease;
	PmlLeaseEvent ev = (PmlLeaseEvent)c->event;
	PmlLeaseState next;
	LeaseRow row = {};
	int r;

	if (ev == PML_LEASE_EV_PROVED) {
		r = proofs_first(a, rec->id, index, done);
		if (r != 0)
			return r;
	}
	r = get_same(a, rec, &row);
	if (r != 0)
		return r;
	if (pml_lease_step(row.rec.state, ev, &next) < 0)
		return ledger_refuse(a, PML_LEDGER_ILLEGAL,
			"lease %s is %s, which %s does not allow", rec->id,
			pml_lease_state_to_string(row.rec.state), pml_lease_event_to_string(ev));
	if (ev == PML_LEASE_EV_PROVED && row.rec.proof <= row.proof_spent &&
		!txn_has_proof(a->t, rec->id))
		return ledger_refuse(a, PML_LEDGER_ILLEGAL,
			"lease %s: no proof was recorded since its fence began", rec->id);
	/* What was recorded before a fence proves nothing about it. */
	if (ev == PML_LEASE_EV_FENCE && !txn_has_proof(a->t, rec->id)) {
		r = lease_id_run(a, LEDGER_SQL_LEASE_SPEND_PROOF, rec->id, 0);
		if (r != 0)
			return r;
	}
	r = write_lease(a->l, LEDGER_SQL_LEASE_UPDATE, rec, next, c->time_usec);
	if (r != 0)
		return r;
	return ledger_history(a, c, "lease", rec->id, pml_lease_state_to_string(row.rec.state),
		pml_lease_state_to_string(next), c->text);
}

static int apply_lease_update(Apply *a, const Change *c)
{
	LeaseRow row = {};
	int r;

	r = get_same(a, c->lease, &row);
	if (r != 0)
		return r;
	return write_lease(
		a->l, LEDGER_SQL_LEASE_UPDATE, c->lease, row.rec.state, row.rec.since_usec);
}

static int apply_layout(Apply *a, const Change *c)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc = SQLITE_OK;

	r = ledger_stmt(a->l, c->text ? LEDGER_SQL_LAYOUT_PUT : LEDGER_SQL_LAYOUT_DELETE, &stmt);
	if (r != 0)
		return r;
	rc = bind_text(stmt, rc, 1, c->id);
	if (c->text) {
		rc = bind_text(stmt, rc, 2, c->text);
		rc = bind_int(stmt, rc, 3, (int64_t)c->time_usec);
	}
	return rc == SQLITE_OK ? ledger_run(a->l, stmt) : ledger_errno(a->l->db, rc);
}

static int apply_change(Apply *a, size_t index, bool *done)
{
	const Change *c = &a->t->changes[index];

	if (done[index])
		return 0;
	switch (c->kind) {
	case CHANGE_LEASE_NEW:
		return apply_lease_new(a, c);
	case CHANGE_LEASE_STEP:
		return apply_lease_step(a, c, index, done);
	case CHANGE_LEASE_UPDATE:
		return apply_lease_update(a, c);
	case CHANGE_USE_STEP:
		return ledger_use_step(a, c);
	case CHANGE_CONTENT_STEP:
		return ledger_content_step(a, c);
	case CHANGE_RAM:
		return ledger_ram(a, c);
	case CHANGE_PLUGGED:
		return apply_plugged(a, c);
	case CHANGE_PROOF:
		return apply_proof(a, c);
	case CHANGE_NOTE:
		return ledger_history(a, c, c->subject, c->id, "", "", c->text);
	case CHANGE_LAYOUT:
		return apply_layout(a, c);
	}
	return -EINVAL;
}

/* Whether the bytes of a lease suit its new state. */
static int check_lease_bytes(Apply *a, const PmlLeaseRecord *rec, bool attached)
{
	_cleanup_free_ PmlExtentRecord *pieces = NULL;
	size_t n;
	int r;

	r = ledger_extent_pieces(a->l, &rec->extent, &pieces, &n);
	if (r != 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		const PmlExtentRecord *p = &pieces[i];

		if (rec->state == PML_LEASE_RELEASED) {
			if (p->use == PML_USE_LEASED)
				return ledger_refuse(a, PML_LEDGER_ILLEGAL,
					"lease %s is released, but region %s would stay %s",
					rec->id, rec->region, pml_use_to_string(p->use));
			continue;
		}
		if (p->use != PML_USE_LEASED)
			return ledger_refuse(a, PML_LEDGER_ILLEGAL,
				"lease %s: region %s is %s, not leased", rec->id, rec->region,
				pml_use_to_string(p->use));
		if (attached &&
			(p->content != PML_CONTENT_RETAINED || strcmp(p->owner, rec->owner) != 0))
			return ledger_refuse(a, PML_LEDGER_ILLEGAL,
				"lease %s: region %s is %s%s%s, not its owner's (%s)", rec->id,
				rec->region, pml_content_to_string(p->content),
				p->owner[0] ? " by " : "", p->owner, rec->owner);
	}
	return 0;
}

static int check_lease_after(Apply *a, const Change *c)
{
	LeaseRow row = {};
	int r;

	r = ledger_get_lease(a->l, c->lease->id, &row);
	if (r != 0)
		return r;
	if (c->kind == CHANGE_LEASE_STEP && c->event == PML_LEASE_EV_UNPROVED &&
		row.rec.state == PML_LEASE_STUCK)
		/* The evidence of a failure must not pass for a proof later. */
		return lease_id_run(a, LEDGER_SQL_LEASE_SPEND_PROOF, row.rec.id, 0);
	switch (row.rec.state) {
	case PML_LEASE_RESERVED:
		return c->kind == CHANGE_LEASE_NEW ? check_lease_bytes(a, &row.rec, false) : 0;
	case PML_LEASE_ATTACHING:
		return check_lease_bytes(a, &row.rec, true);
	case PML_LEASE_RELEASED:
		return check_lease_bytes(a, &row.rec, false);
	case PML_LEASE_ACTIVE:
	case PML_LEASE_DRAINING:
	case PML_LEASE_FENCING:
	case PML_LEASE_FENCED:
	case PML_LEASE_STUCK:
	case _PML_LEASE_STATE_MAX:
	case _PML_LEASE_STATE_INVALID:
		break;
	}
	return 0;
}

/* A byte that became free, or is overwritten, belongs to no lease any more. */
static int check_no_lease(Apply *a, const Change *c)
{
	LeaseRow row = {};
	int r;

	r = ledger_find_overlap(a->l, &c->extent, &row);
	if (r == 0)
		return ledger_refuse(a, PML_LEDGER_ILLEGAL,
			"region %s: lease %s of its bytes is %s, not released", c->id, row.rec.id,
			pml_lease_state_to_string(row.rec.state));
	return r == -ENOENT ? 0 : r;
}

static int check_scrub(Apply *a, const Change *c)
{
	_cleanup_free_ PmlExtentRecord *pieces = NULL;
	size_t n;
	int r;

	/* Consent to a scrub is recorded with a lease's end, before the region is free again. */
	r = check_no_lease(a, c);
	if (r != 0 || c->event == PML_CONTENT_EV_SCRUB_BEGIN)
		return r;
	r = ledger_extent_pieces(a->l, &c->extent, &pieces, &n);
	if (r != 0)
		return r;
	for (size_t i = 0; i < n; i++)
		/* An old holder could write between the reading back and the next lease. */
		if (pieces[i].use != PML_USE_FREE)
			return ledger_refuse(a, PML_LEDGER_ILLEGAL,
				"region %s is %s: old holders could have written after the scrub",
				c->id, pml_use_to_string(pieces[i].use));
	return 0;
}

static int check_after(Apply *a, const Change *c)
{
	switch (c->kind) {
	case CHANGE_LEASE_NEW:
	case CHANGE_LEASE_STEP:
		return check_lease_after(a, c);
	case CHANGE_USE_STEP:
		if (c->event == PML_USE_EV_CLEARED || c->event == PML_USE_EV_LEASE_UNDONE)
			return check_no_lease(a, c);
		return 0;
	case CHANGE_CONTENT_STEP:
		if (c->event == PML_CONTENT_EV_REPLACED)
			return check_no_lease(a, c);
		if (c->event == PML_CONTENT_EV_SCRUB_BEGIN ||
			c->event == PML_CONTENT_EV_SCRUB_VERIFIED)
			return check_scrub(a, c);
		return 0;
	case CHANGE_LEASE_UPDATE:
	case CHANGE_RAM:
	case CHANGE_PLUGGED:
	case CHANGE_PROOF:
	case CHANGE_NOTE:
	case CHANGE_LAYOUT:
		return 0;
	}
	return -EINVAL;
}

static int apply_all(Apply *a, bool *done)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->t->n; i++)
		r = apply_change(a, i, done);
	for (size_t i = 0; r == 0 && i < a->t->n; i++)
		r = check_after(a, &a->t->changes[i]);
	return r;
}

int pml_ledger_apply(PmlLedger *l, const PmlTxn *t, char **ret_why)
{
	Apply a = {.l = l, .t = t};
	bool *done;
	int r;

	if (t->error < 0)
		return t->error;
	if (t->n == 0)
		return 0;
	done = calloc(t->n, sizeof(*done));
	if (!done)
		return -ENOMEM;
	r = ledger_exec(l->db, "BEGIN IMMEDIATE");
	if (r == 0)
		r = apply_all(&a, done);
	free(done);
	if (r == 0)
		r = ledger_exec(l->db, "COMMIT");
	/* A rule of the tables themselves was broken: theirs is the only sentence. */
	if (r == PML_LEDGER_ILLEGAL && !a.why)
		r = ledger_refuse(&a, r, "the ledger refuses: %s", sqlite3_errmsg(l->db));
	if (r == -EUCLEAN)
		r = ledger_refuse(&a, PML_LEDGER_CORRUPT, "%s is damaged (%s)", l->path,
			sqlite3_errmsg(l->db));
	/* SQLite may have rolled back by itself already, after a failed write. */
	if (r != 0 && !sqlite3_get_autocommit(l->db))
		(void)ledger_exec(l->db, "ROLLBACK");
	if (r > 0 && ret_why)
		*ret_why = TAKE_PTR(a.why);
	free(a.why);
	return r;
}

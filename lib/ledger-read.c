/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From rows to records. Each row is checked as it is read; what does not fit is -EUCLEAN. */

#include "ledger-internal.h"

#define TEXT(stmt, column, field) column_text((stmt), (column), (field), sizeof(field))

static int column_text(sqlite3_stmt *stmt, int column, char *field, size_t size)
{
	const char *s = (const char *)sqlite3_column_text(stmt, column);

	if (!s)
		return -EUCLEAN;
	if (strlen(s) != (size_t)sqlite3_column_bytes(stmt, column) ||
		pml_strcpy(field, size, s) < 0)
		return -EUCLEAN;
	return 0;
}

static const char *column_word(sqlite3_stmt *stmt, int column)
{
	return (const char *)sqlite3_column_text(stmt, column);
}

static int column_extent(sqlite3_stmt *stmt, int first, PmlExtent *ret)
{
	if (TEXT(stmt, first, ret->medium) < 0)
		return -EUCLEAN;
	if (sqlite3_column_int64(stmt, first + 1) < 0 || sqlite3_column_int64(stmt, first + 2) <= 0)
		return -EUCLEAN;
	ret->start_bytes = (uint64_t)sqlite3_column_int64(stmt, first + 1);
	ret->size_bytes = (uint64_t)sqlite3_column_int64(stmt, first + 2);
	return pml_extent_validate(ret) < 0 ? -EUCLEAN : 0;
}

int ledger_read_lease(sqlite3_stmt *stmt, LeaseRow *ret)
{
	LeaseRow row = {};
	PmlLeaseRecord *rec = &row.rec;

	if (TEXT(stmt, 0, rec->id) < 0 || TEXT(stmt, 1, rec->region) < 0 ||
		TEXT(stmt, 2, rec->region_name) < 0 || column_extent(stmt, 3, &rec->extent) < 0 ||
		TEXT(stmt, 6, rec->domain) < 0 || TEXT(stmt, 7, rec->domain_name) < 0 ||
		TEXT(stmt, 8, rec->alias) < 0 || TEXT(stmt, 9, rec->owner) < 0 ||
		TEXT(stmt, 16, rec->boot_id) < 0 || TEXT(stmt, 21, rec->vmm_cgroup) < 0)
		return -EUCLEAN;
	rec->state = pml_lease_state_from_string(column_word(stmt, 10));
	rec->on_end = pml_on_end_from_string(column_word(stmt, 11));
	rec->after_fence = pml_after_fence_from_string(column_word(stmt, 12));
	rec->keep_offline = sqlite3_column_int(stmt, 13) != 0;
	rec->frozen = sqlite3_column_int(stmt, 14) != 0;
	rec->deadline_usec = (uint64_t)sqlite3_column_int64(stmt, 15);
	rec->since_usec = (uint64_t)sqlite3_column_int64(stmt, 17);
	rec->creator_uid = (uint32_t)sqlite3_column_int64(stmt, 18);
	rec->vmm_pid = (pid_t)sqlite3_column_int64(stmt, 19);
	rec->vmm_start = (uint64_t)sqlite3_column_int64(stmt, 20);
	rec->proof = sqlite3_column_int64(stmt, 22);
	row.proof_spent = sqlite3_column_int64(stmt, 23);
	if (sqlite3_column_int(stmt, 24) != 0 && rec->after_fence == PML_AFTER_FENCE_PAUSE)
		rec->after_fence = PML_AFTER_FENCE_KEEP;
	rec->drain = pml_drain_from_string(column_word(stmt, 25));
	rec->on_refusal = pml_on_refusal_from_string(column_word(stmt, 26));
	rec->grace_usec = (uint64_t)sqlite3_column_int64(stmt, 27);
	rec->restore = sqlite3_column_int(stmt, 28) != 0;
	rec->devno = makedev((unsigned int)sqlite3_column_int64(stmt, 29),
		(unsigned int)sqlite3_column_int64(stmt, 30));
	rec->virtio_mem = sqlite3_column_int(stmt, 31) != 0;
	rec->lent_bytes = (uint64_t)sqlite3_column_int64(stmt, 32);
	rec->plugged_bytes = (uint64_t)sqlite3_column_int64(stmt, 33);
	rec->dev_block = sqlite3_column_int(stmt, 34) != 0;
	if ((int)rec->state < 0 || (int)rec->on_end < 0 || (int)rec->after_fence < 0 ||
		(int)rec->drain < 0 || (int)rec->on_refusal < 0 || rec->id[0] == '\0' ||
		!owner_valid(rec->owner))
		return -EUCLEAN;
	/* Invariant 3, for a file that somebody edited. */
	if (rec->state == PML_LEASE_FENCED && rec->proof <= row.proof_spent)
		return -EUCLEAN;
	*ret = row;
	return 0;
}

int ledger_read_extent(sqlite3_stmt *stmt, PmlExtentRecord *ret)
{
	PmlExtentRecord rec = {};

	if (column_extent(stmt, 0, &rec.extent) < 0 || TEXT(stmt, 4, rec.owner) < 0 ||
		TEXT(stmt, 6, rec.reason) < 0)
		return -EUCLEAN;
	rec.content = pml_content_from_string(column_word(stmt, 3));
	rec.use = pml_use_from_string(column_word(stmt, 5));
	rec.ram = sqlite3_column_int(stmt, 7) != 0;
	if ((int)rec.use < 0)
		return -EUCLEAN;
	switch (rec.content) {
	case PML_CONTENT_FOREIGN:
	case PML_CONTENT_BLANK:
		if (rec.owner[0] != '\0')
			return -EUCLEAN;
		break;
	case PML_CONTENT_RETAINED:
		if (!owner_valid(rec.owner))
			return -EUCLEAN;
		break;
	case PML_CONTENT_SCRUBBING:
		if (rec.owner[0] != '\0' && !owner_valid(rec.owner))
			return -EUCLEAN;
		break;
	case _PML_CONTENT_MAX:
	case _PML_CONTENT_INVALID:
		return -EUCLEAN;
	}
	*ret = rec;
	return 0;
}

int ledger_bind_extent(sqlite3_stmt *stmt, int first, const PmlExtent *e)
{
	int rc = sqlite3_bind_text(stmt, first, e->medium, -1, SQLITE_STATIC);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, first + 1, (sqlite3_int64)e->start_bytes);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, first + 2, (sqlite3_int64)pml_extent_end(e));
	return rc;
}

static int one_lease(PmlLedger *l, sqlite3_stmt *stmt, LeaseRow *ret)
{
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_DONE)
		return -ENOENT;
	if (rc != SQLITE_ROW)
		return ledger_errno(l->db, rc);
	return ledger_read_lease(stmt, ret);
}

int ledger_get_lease(PmlLedger *l, const char *id, LeaseRow *ret)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc;

	r = ledger_stmt(l, LEDGER_SQL_LEASE_GET, &stmt);
	if (r != 0)
		return r;
	rc = sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
	if (rc != SQLITE_OK)
		return ledger_errno(l->db, rc);
	return one_lease(l, stmt, ret);
}

int ledger_find_overlap(PmlLedger *l, const PmlExtent *e, LeaseRow *ret)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc;

	r = ledger_stmt(l, LEDGER_SQL_LEASE_OVERLAP, &stmt);
	if (r != 0)
		return r;
	rc = ledger_bind_extent(stmt, 1, e);
	if (rc != SQLITE_OK)
		return ledger_errno(l->db, rc);
	return one_lease(l, stmt, ret);
}

/* Makes room for one more element of `size` bytes; doubles. */
static int grow(void *array, size_t n, size_t *allocated, size_t size)
{
	void **p = array, *bigger;
	size_t want;

	if (n < *allocated)
		return 0;
	want = *allocated ? *allocated * 2 : 8;
	bigger = reallocarray(*p, want, size);
	if (!bigger)
		return -ENOMEM;
	*p = bigger;
	*allocated = want;
	return 0;
}

int pml_ledger_leases(PmlLedger *l, bool with_released, PmlLeaseRecord **ret, size_t *ret_n)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_free_ PmlLeaseRecord *leases = NULL;
	size_t n = 0, allocated = 0;
	int r, rc;

	r = ledger_stmt(l, LEDGER_SQL_LEASE_LIST, &stmt);
	if (r != 0)
		return r;
	rc = sqlite3_bind_int(stmt, 1, with_released);
	if (rc != SQLITE_OK)
		return ledger_errno(l->db, rc);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		LeaseRow row;

		r = ledger_read_lease(stmt, &row);
		if (r == 0)
			r = grow(&leases, n, &allocated, sizeof(*leases));
		if (r < 0)
			return r;
		leases[n++] = row.rec;
	}
	if (rc != SQLITE_DONE)
		return ledger_errno(l->db, rc);
	*ret = TAKE_PTR(leases);
	*ret_n = n;
	return 0;
}

int pml_ledger_extents(PmlLedger *l, PmlExtentRecord **ret, size_t *ret_n)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_free_ PmlExtentRecord *rows = NULL;
	size_t n = 0, allocated = 0;
	int r, rc;

	r = ledger_stmt(l, LEDGER_SQL_EXTENT_LIST, &stmt);
	if (r != 0)
		return r;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		r = grow(&rows, n, &allocated, sizeof(*rows));
		if (r == 0)
			r = ledger_read_extent(stmt, &rows[n]);
		if (r < 0)
			return r;
		n++;
	}
	if (rc != SQLITE_DONE)
		return ledger_errno(l->db, rc);
	*ret = TAKE_PTR(rows);
	*ret_n = n;
	return 0;
}

int pml_ledger_lease(PmlLedger *l, const char *id, PmlLeaseRecord *ret)
{
	LeaseRow row;
	int r = ledger_get_lease(l, id, &row);

	if (r == 0)
		*ret = row.rec;
	return r;
}

/* The one text of a row that a statement finds by one text; or -ENOENT. */
static int read_text_by(PmlLedger *l, LedgerSql which, const char *key, char **ret)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	const char *text;
	int r, rc;

	r = ledger_stmt(l, which, &stmt);
	if (r != 0)
		return r;
	rc = sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	if (rc != SQLITE_OK)
		return ledger_errno(l->db, rc);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_DONE)
		return -ENOENT;
	if (rc != SQLITE_ROW)
		return ledger_errno(l->db, rc);
	text = column_word(stmt, 0);
	*ret = text ? strdup(text) : NULL;
	return *ret ? 0 : -ENOMEM;
}

int pml_ledger_proof(PmlLedger *l, const char *lease_id, const char *region_id, char **ret_json)
{
	if (!lease_id && !region_id)
		return -EINVAL;
	return read_text_by(l, lease_id ? LEDGER_SQL_PROOF_OF_LEASE : LEDGER_SQL_PROOF_OF_REGION,
		lease_id ? lease_id : region_id, ret_json);
}

int pml_ledger_layout(PmlLedger *l, const char *part, char **ret_json)
{
	return read_text_by(l, LEDGER_SQL_LAYOUT_GET, part, ret_json);
}

static char **texts_free(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
	return NULL;
}

int pml_ledger_layouts(PmlLedger *l, char ***ret_json)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	char **list = calloc(1, sizeof(*list)), **longer;
	size_t n = 0;
	int r, rc = SQLITE_DONE;

	r = list ? ledger_stmt(l, LEDGER_SQL_LAYOUT_LIST, &stmt) : -ENOMEM;
	while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *text = column_word(stmt, 0);

		longer = reallocarray(list, n + 2, sizeof(*list));
		if (!longer) {
			r = -ENOMEM;
			break;
		}
		list = longer;
		list[n + 1] = NULL;
		list[n] = text ? strdup(text) : NULL;
		if (!list[n++])
			r = -ENOMEM;
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = ledger_errno(l->db, rc);
	if (r != 0)
		list = texts_free(list);
	else
		*ret_json = list;
	return r;
}

static int read_history(sqlite3_stmt *stmt, PmlHistoryRecord *ret)
{
	PmlHistoryRecord rec = {
		.seq = sqlite3_column_int64(stmt, 0),
		.time_usec = (uint64_t)sqlite3_column_int64(stmt, 1),
	};
	const char *detail = column_word(stmt, 6);

	if (TEXT(stmt, 2, rec.subject) < 0 || TEXT(stmt, 3, rec.id) < 0 ||
		TEXT(stmt, 4, rec.from) < 0 || TEXT(stmt, 5, rec.to) < 0 ||
		TEXT(stmt, 7, rec.actor) < 0)
		return -EUCLEAN;
	if (detail) {
		rec.detail = strdup(detail);
		if (!rec.detail)
			return -ENOMEM;
	}
	*ret = rec;
	return 0;
}

int pml_ledger_history(PmlLedger *l, const char *id, int64_t before, size_t max,
	PmlHistoryRecord **ret, size_t *ret_n)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	PmlHistoryRecord *rows = NULL;
	size_t n = 0, allocated = 0;
	int r, rc;

	r = ledger_stmt(l, id ? LEDGER_SQL_HISTORY_OF : LEDGER_SQL_HISTORY_LIST, &stmt);
	if (r != 0)
		return r;
	rc = sqlite3_bind_int64(stmt, 1, before > 0 ? before : INT64_MAX);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, max < INT64_MAX ? (int64_t)max : INT64_MAX);
	if (rc == SQLITE_OK && id)
		rc = sqlite3_bind_text(stmt, 3, id, -1, SQLITE_STATIC);
	if (rc != SQLITE_OK)
		return ledger_errno(l->db, rc);
	while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		r = grow(&rows, n, &allocated, sizeof(*rows));
		if (r == 0)
			r = read_history(stmt, &rows[n]);
		if (r == 0)
			n++;
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = ledger_errno(l->db, rc);
	if (r != 0) {
		pml_history_free(rows, n);
		return r;
	}
	*ret = rows;
	*ret_n = n;
	return 0;
}

void pml_history_free(PmlHistoryRecord *rows, size_t n)
{
	for (size_t i = 0; rows && i < n; i++)
		free(rows[i].detail);
	free(rows);
}

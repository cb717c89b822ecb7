/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whether the file can be trusted: SQLite's own check, then every row, then the rules between rows.
 */

#include "ledger-internal.h"

static int damaged(char **ret_what, const char *format, ...) _printf_(2, 3);

static int damaged(char **ret_what, const char *format, ...)
{
	va_list ap;

	free(*ret_what);
	va_start(ap, format);
	if (vasprintf(ret_what, format, ap) < 0)
		*ret_what = NULL;
	va_end(ap);
	return -EUCLEAN;
}

/* Runs a query that finds faults; a row is a fault, named by its first column. "ok" is none. */
static int check_none(sqlite3 *db, const char *sql, const char *fault, char **ret_what)
{
	sqlite3_stmt *stmt;
	int rc, r = 0;

	rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	if (rc != SQLITE_OK) {
		/* A table that is not there: SQLite calls that a plain error. */
		if ((rc & 0xff) == SQLITE_ERROR)
			return damaged(ret_what, "%s", sqlite3_errmsg(db));
		return ledger_errno(db, rc);
	}
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		if (!pml_streq(text, "ok"))
			r = damaged(ret_what, "%s (%s)", fault, text ? text : "unnamed");
	} else if (rc != SQLITE_DONE) {
		r = ledger_errno(db, rc);
	}
	sqlite3_finalize(stmt);
	return r;
}

/* Walks a query's rows in order of their bytes: each must be readable, and none may share a byte
 * with one before. */
static int check_rows(PmlLedger *l, const char *sql, bool leases, bool exclusive, char **ret_what)
{
	sqlite3_stmt *stmt;
	PmlExtent last = {};
	int rc, r = 0;

	rc = sqlite3_prepare_v2(l->db, sql, -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return (rc & 0xff) == SQLITE_ERROR ? damaged(ret_what, "%s", sqlite3_errmsg(l->db))
						   : ledger_errno(l->db, rc);
	while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		PmlExtentRecord extent;
		const PmlExtent *e;
		LeaseRow lease;

		if (leases) {
			r = ledger_read_lease(stmt, &lease);
			e = &lease.rec.extent;
		} else {
			r = ledger_read_extent(stmt, &extent);
			e = &extent.extent;
		}
		if (r < 0) {
			const char *key = (const char *)sqlite3_column_text(stmt, 0);

			r = damaged(ret_what, "a row of table \"%s\" makes no sense (%s)",
				leases ? "lease" : "extent", key ? key : "unnamed");
			break;
		}
		if (!exclusive)
			continue;
		if (pml_extent_overlaps(&last, e))
			r = damaged(ret_what, "two rows of table \"%s\" cover byte 0x%llx of %s",
				leases ? "lease" : "extent", (unsigned long long)e->start_bytes,
				e->medium);
		last = *e;
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = ledger_errno(l->db, rc);
	sqlite3_finalize(stmt);
	return r;
}

int ledger_check_file(PmlLedger *l, char **ret_what)
{
	int r;

	r = check_none(l->db, "PRAGMA integrity_check(1)", "SQLite finds it damaged", ret_what);
	if (r != 0)
		return r;
	return check_none(l->db, "PRAGMA foreign_key_check",
		"a row refers to a row that is missing", ret_what);
}

int ledger_check_rows(PmlLedger *l, char **ret_what)
{
	static const struct {
		const char *sql;
		const char *fault;
	} queries[] = {
		{"SELECT n.column1 FROM (VALUES ('lease_final'), ('lease_no_delete'),"
		 " ('history_no_update'), ('history_no_delete'), ('proof_no_update'),"
		 " ('proof_no_delete')) AS n WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema AS s"
		 " WHERE s.type = 'trigger' AND s.name = n.column1)",
			"a guard of its tables was removed"},
		{"SELECT seq FROM history WHERE length(CAST(subject AS BLOB)) >= 16 OR length(CAST(id AS BLOB)) >= 128"
		 " OR length(CAST(from_state AS BLOB)) >= 48 OR length(CAST(to_state AS BLOB)) >= 32 OR length(CAST(actor AS BLOB)) >= 64",
			"a row of the history is too long"},
		{"SELECT lease.id FROM lease JOIN proof ON proof.seq = lease.proof"
		 " WHERE proof.lease IS NOT lease.id",
			"a lease refers to another lease's proof"},
	};
	int r;

	for (size_t i = 0; i < ELEMENTSOF(queries); i++) {
		r = check_none(l->db, queries[i].sql, queries[i].fault, ret_what);
		if (r != 0)
			return r;
	}
	r = check_rows(l, "SELECT " LEDGER_LEASE_COLUMNS " FROM lease WHERE state = 'released'",
		true, false, ret_what);
	if (r != 0)
		return r;
	r = check_rows(l,
		"SELECT " LEDGER_LEASE_COLUMNS
		" FROM lease WHERE state <> 'released' ORDER BY medium, start",
		true, true, ret_what);
	if (r != 0)
		return r;
	return check_rows(l, "SELECT " LEDGER_EXTENT_COLUMNS " FROM extent ORDER BY medium, start",
		false, true, ret_what);
}

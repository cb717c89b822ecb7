/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Rows that no ledger writes, as somebody with sqlite3 could have put them there: a row a line, its
 * table's letter and the values, tab-separated. What the check at the start lets through can be
 * read, and no transaction makes a ledger of it that the next start would refuse.
 */

#include "fuzz.h"
#include "ledger-internal.h"

#define MAX_ROWS    64
#define MAX_COLUMNS 35

static const struct {
	char letter;
	const char *sql;
	int columns;
} tables[] = {
	{'L',
		"INSERT INTO lease VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
		" ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, nullif(?23, ''), ?24,"
		" coalesce(nullif(?25, ''), 0), coalesce(nullif(?26, ''), 'never'),"
		" coalesce(nullif(?27, ''), 'force'), coalesce(nullif(?28, ''), -1),"
		" coalesce(nullif(?29, ''), 0),"
		" coalesce(nullif(?30, ''), 0),"
		" coalesce(nullif(?31, ''), 0),"
		" coalesce(nullif(?32, ''), 0),"
		" coalesce(nullif(?33, ''), 0),"
		" coalesce(nullif(?34, ''), 0),"
		" coalesce(nullif(?35, ''), 0))",
		35},
	{'E', "INSERT INTO extent VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)", 7},
	{'P', "INSERT INTO proof VALUES (NULL, ?1, nullif(?2, ''), ?3, ?4)", 4},
	{'H', "INSERT INTO history VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7)", 7},
};

static void insert(sqlite3 *db, char *line)
{
	sqlite3_stmt *stmt;

	for (size_t i = 0; i < ELEMENTSOF(tables); i++) {
		char *next = line + 1;

		if (line[0] != tables[i].letter)
			continue;
		if (sqlite3_prepare_v2(db, tables[i].sql, -1, &stmt, NULL) != SQLITE_OK)
			abort();
		for (int k = 1; k <= tables[i].columns; k++) {
			char *value = strsep(&next, "\t");

			(void)sqlite3_bind_text(stmt, k, value ? value : "", -1, SQLITE_TRANSIENT);
		}
		(void)sqlite3_step(stmt);
		(void)sqlite3_finalize(stmt);
	}
}

static void read_everything(PmlLedger *l)
{
	_cleanup_free_ PmlLeaseRecord *leases = NULL;
	_cleanup_free_ PmlExtentRecord *extents = NULL;
	PmlHistoryRecord *rows = NULL;
	PmlExtentRecord folded;
	size_t n = 0, n_rows = 0;

	FUZZ_CHECK(pml_ledger_leases(l, true, &leases, &n) == 0);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *json = NULL;

		(void)pml_ledger_proof(l, leases[i].id, NULL, &json);
	}
	FUZZ_CHECK(pml_ledger_extents(l, &extents, &n) == 0);
	for (size_t i = 0; i < n; i++) {
		PmlExtent all = extents[i].extent;

		all.start_bytes = 0;
		all.size_bytes = pml_extent_end(&extents[i].extent);
		pml_extent_records_fold(extents, n, &all, &folded);
		FUZZ_CHECK(pml_content_to_string(folded.content));
	}
	FUZZ_CHECK(pml_ledger_history(l, NULL, 0, 100, &rows, &n_rows) == 0);
	pml_history_free(rows, n_rows);
}

/* One of the steps that a daemon takes, over bytes that the rows may cover. */
static void step(PmlLedger *l, unsigned choice)
{
	PmlExtent e = {.medium = "iset:00000000000000aa",
		.start_bytes = (choice >> 3) * 4096ULL,
		.size_bytes = 8192};
	_cleanup_free_ char *what = NULL, *why = NULL;
	PmlTxn *t = pml_txn_new("fuzz");

	switch (choice & 7) {
	case 0:
		(void)pml_txn_content_step(t, "r", &e, PML_CONTENT_EV_ADOPT, "alice");
		break;
	case 1:
		(void)pml_txn_content_step(t, "r", &e, PML_CONTENT_EV_SCRUB_BEGIN, "alice");
		break;
	case 2:
		(void)pml_txn_content_step(t, "r", &e, PML_CONTENT_EV_SCRUB_VERIFIED, NULL);
		break;
	case 3:
		(void)pml_txn_use_step(t, "r", &e, PML_USE_EV_EVICT, NULL);
		break;
	case 4:
		(void)pml_txn_use_step(t, "r", &e, PML_USE_EV_QUARANTINE, "because");
		break;
	case 5:
		(void)pml_txn_use_step(t, "r", &e, PML_USE_EV_LIFT, "known");
		break;
	case 6:
		(void)pml_txn_use_step(t, "r", &e, PML_USE_EV_FENCED, NULL);
		break;
	case 7:
		(void)pml_txn_use_step(t, "r", &e, PML_USE_EV_CLEARED, NULL);
		break;
	}
	(void)pml_ledger_apply(l, t, &why);
	pml_txn_free(t);
	if (ledger_check_rows(l, &what) != 0) {
		(void)fprintf(stderr, "step %u: %s\n", choice & 7, what ? what : "");
		abort();
	}
}

/* Copied page by page: making the tables anew would be most of the time. */
static sqlite3 *new_db(void)
{
	static sqlite3 *empty;
	sqlite3_backup *copy;
	sqlite3 *db;

	if (!empty)
		FUZZ_CHECK(sqlite3_open(":memory:", &empty) == SQLITE_OK &&
			   ledger_schema_create(empty, NULL) == 0);
	FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
	copy = sqlite3_backup_init(db, "main", empty, "main");
	FUZZ_CHECK(copy && sqlite3_backup_step(copy, -1) == SQLITE_DONE);
	FUZZ_CHECK(sqlite3_backup_finish(copy) == SQLITE_OK);
	(void)sqlite3_extended_result_codes(db, 1);
	return db;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size), *what = NULL;
	PmlLedger *l = calloc(1, sizeof(*l));
	char *next = text;

	if (!l)
		abort();
	l->db = new_db();
	l->lock_fd = -EBADF;
	(void)sqlite3_exec(l->db, "PRAGMA ignore_check_constraints = ON", NULL, NULL, NULL);
	for (unsigned n = 0; *next && n < MAX_ROWS; n++)
		insert(l->db, fuzz_line(&next));
	(void)sqlite3_exec(l->db, "PRAGMA ignore_check_constraints = OFF", NULL, NULL, NULL);
	if (ledger_check_file(l, &what) == 0 && ledger_check_rows(l, &what) == 0) {
		read_everything(l);
		for (size_t i = 0; i < size && i < 4; i++)
			step(l, data[size - 1 - i]);
	}
	pml_ledger_close(l);
	return 0;
}

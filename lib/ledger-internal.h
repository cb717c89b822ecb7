/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the ledger's files share. Functions here return 0, a positive PML_LEDGER_… outcome or a
 * negative errno; -EUCLEAN is damage found in the file, which open and apply turn into
 * PML_LEDGER_CORRUPT.
 */

#include <sqlite3.h>

#include "ledger.h"
#include "util.h"

#define LEDGER_APPLICATION_ID 0x706d6c31 /* "pml1" */
#define LEDGER_VERSION	      8

/* One step of the schema: from `from` to `from + 1`, inside the upgrade's transaction. Returns an
 * SQLite code. */
typedef struct LedgerUpgrade {
	int from;
	int (*upgrade)(sqlite3 *db);
} LedgerUpgrade;

/* What tests put in the place of the real thing; NULL and 0 are the real thing. */
typedef struct LedgerHooks {
	const char *vfs; /* name of a registered SQLite VFS that every access to the file goes
			    through */
	int version;	 /* the schema version that is reached by `upgrades` */
	const LedgerUpgrade *upgrades;
	size_t n_upgrades;
} LedgerHooks;

#define LEDGER_LEASE_COLUMNS                                                                        \
	"id, region, region_name, medium, start, size, domain, domain_name, alias, owner, state, "  \
	"on_end, after_fence, keep_offline, frozen, deadline_usec, boot_id, since_usec, "           \
	"creator_uid, vmm_pid, vmm_start, vmm_cgroup, proof, proof_spent, keep_running, "           \
	"drain, on_refusal, grace_usec, restore, dev_major, dev_minor, virtio_mem, lent, plugged, " \
	"dev_block"

#define LEDGER_EXTENT_COLUMNS "medium, start, size, content, owner, use, reason, ram"

typedef enum LedgerSql {
	LEDGER_SQL_LEASE_GET,
	LEDGER_SQL_LEASE_LIST,
	LEDGER_SQL_LEASE_OVERLAP,
	LEDGER_SQL_LEASE_INSERT,
	LEDGER_SQL_LEASE_UPDATE,
	LEDGER_SQL_LEASE_SET_PROOF,
	LEDGER_SQL_LEASE_SET_PLUGGED,
	LEDGER_SQL_LEASE_SPEND_PROOF,
	LEDGER_SQL_EXTENT_LIST,
	LEDGER_SQL_EXTENT_TOUCHING,
	LEDGER_SQL_EXTENT_DELETE,
	LEDGER_SQL_EXTENT_INSERT,
	LEDGER_SQL_PROOF_INSERT,
	LEDGER_SQL_PROOF_OF_LEASE,
	LEDGER_SQL_PROOF_OF_REGION,
	LEDGER_SQL_HISTORY_INSERT,
	LEDGER_SQL_HISTORY_LIST,
	LEDGER_SQL_HISTORY_OF,
	LEDGER_SQL_LAYOUT_PUT,
	LEDGER_SQL_LAYOUT_DELETE,
	LEDGER_SQL_LAYOUT_GET,
	LEDGER_SQL_LAYOUT_LIST,
	_LEDGER_SQL_MAX,
} LedgerSql;

struct PmlLedger {
	sqlite3 *db;
	int lock_fd;
	char *path;
	sqlite3_stmt *stmts[_LEDGER_SQL_MAX];
};

typedef enum ChangeKind {
	CHANGE_LEASE_NEW,
	CHANGE_LEASE_STEP,
	CHANGE_LEASE_UPDATE,
	CHANGE_USE_STEP,
	CHANGE_CONTENT_STEP,
	CHANGE_RAM,
	CHANGE_PLUGGED,
	CHANGE_PROOF,
	CHANGE_NOTE,
	CHANGE_LAYOUT,
} ChangeKind;

typedef struct Change {
	ChangeKind kind;
	uint64_t time_usec; /* CLOCK_REALTIME when it was added: the ledger may hear of it later */
	PmlLeaseRecord *lease; /* of the lease kinds */
	PmlExtent extent;      /* of use and content */
	int event;
	char *id;	/* region id; of a note: what it is about; of a layout: the part */
	char *subject;	/* of a note */
	char *lease_id; /* of a proof, or NULL */
	uint64_t plugged_bytes;
	char *text; /* detail, reason, owner or JSON; or NULL */
} Change;

struct PmlTxn {
	char *actor;
	int error; /* a change could not be added: the rest must not be applied without it */
	Change *changes;
	size_t n;
	size_t allocated;
};

/* One application of a transaction: where refusals put their sentence. */
typedef struct Apply {
	PmlLedger *l;
	const PmlTxn *t;
	char *why;
} Apply;

/* ledger.c */
int ledger_open_hooked(const char *path, const LedgerHooks *hooks, PmlLedger **ret, char **ret_why);
int ledger_errno(sqlite3 *db, int rc);
int ledger_exec(sqlite3 *db, const char *sql);
int ledger_stmt(PmlLedger *l, LedgerSql which, sqlite3_stmt **ret);
/* Runs a statement that returns no rows. */
int ledger_run(PmlLedger *l, sqlite3_stmt *stmt);

static inline _unused_ void ledger_stmt_reset(sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}
DEFINE_CLEANUP(sqlite3_stmt *, ledger_stmt_reset)
#define _cleanup_stmt_ _cleanup_(ledger_stmt_resetp)

/* ledger-schema.c */
extern const char *const ledger_sql[_LEDGER_SQL_MAX];
int ledger_schema_create(sqlite3 *db, const LedgerHooks *hooks);
int ledger_schema_upgrade(sqlite3 *db, int from, const LedgerHooks *hooks);
int ledger_schema_version(const LedgerHooks *hooks);

/* ledger-check.c: -EUCLEAN and what is wrong. Of any schema; of the present one, every row and
 * every rule between rows. */
int ledger_check_file(PmlLedger *l, char **ret_what);
int ledger_check_rows(PmlLedger *l, char **ret_what);

/* ledger-read.c */
typedef struct LeaseRow {
	PmlLeaseRecord rec;
	int64_t proof_spent; /* proofs up to this one were used up: PROVED needs a newer one */
} LeaseRow;
int ledger_read_lease(sqlite3_stmt *stmt, LeaseRow *ret);
int ledger_read_extent(sqlite3_stmt *stmt, PmlExtentRecord *ret);
int ledger_get_lease(PmlLedger *l, const char *id, LeaseRow *ret); /* or -ENOENT */
/* A lease that is not released over a byte of e; -ENOENT when there is none. */
int ledger_find_overlap(PmlLedger *l, const PmlExtent *e, LeaseRow *ret);
int ledger_bind_extent(sqlite3_stmt *stmt, int first, const PmlExtent *e);

/* ledger-extents.c */
int ledger_use_step(Apply *a, const Change *c);
int ledger_content_step(Apply *a, const Change *c);
int ledger_ram(Apply *a, const Change *c);
/* Every byte of e in pieces of one state each, those that no row covers too; ordered. */
int ledger_extent_pieces(PmlLedger *l, const PmlExtent *e, PmlExtentRecord **ret, size_t *ret_n);

/* ledger-apply.c */
int ledger_refuse(Apply *a, int outcome, const char *format, ...) _printf_(3, 4);
int ledger_history(Apply *a, const Change *c, const char *subject, const char *id, const char *from,
	const char *to, const char *detail);

/* ledger-fold.c: comma-separated sets of owners */
bool owner_valid(const char *owner);
bool owners_contain(const char *list, const char *owner, size_t len);
bool owners_subset(const char *a, const char *b); /* every owner in a is in b */
void owners_add(char *list, size_t size, const char *owners);

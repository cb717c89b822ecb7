/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tables on disk, how older ones become them, and every statement that touches them. */

#include "ledger-internal.h"

/*
 * Numbers from 2^63 on are stored as negative ones. Extents are kept below that (ledger-txn.c), so
 * that SQL can compare them.
 */
static const char schema_1[] =
	"CREATE TABLE proof ("
	"  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  time_usec INTEGER NOT NULL,"
	"  lease TEXT REFERENCES lease (id),"
	"  region TEXT NOT NULL CHECK (region <> ''),"
	"  json TEXT NOT NULL CHECK (json <> '')"
	") STRICT;"
	"CREATE INDEX proof_lease ON proof (lease, seq);"
	"CREATE INDEX proof_region ON proof (region, seq);"

	"CREATE TABLE lease ("
	"  id TEXT PRIMARY KEY NOT NULL CHECK (id <> ''),"
	"  region TEXT NOT NULL,"
	"  region_name TEXT NOT NULL,"
	"  medium TEXT NOT NULL,"
	"  start INTEGER NOT NULL CHECK (start >= 0),"
	"  size INTEGER NOT NULL CHECK (size > 0 AND size <= 9223372036854775807 - start),"
	"  domain TEXT NOT NULL,"
	"  domain_name TEXT NOT NULL,"
	"  alias TEXT NOT NULL,"
	"  owner TEXT NOT NULL CHECK (owner <> ''),"
	"  state TEXT NOT NULL CHECK (state IN ('reserved', 'attaching', 'active', 'draining',"
	"    'fencing', 'fenced', 'stuck', 'released')),"
	"  on_end TEXT NOT NULL CHECK (on_end IN ('keep', 'scrub')),"
	"  after_fence TEXT NOT NULL CHECK (after_fence IN ('pause', 'destroy')),"
	"  keep_offline INTEGER NOT NULL CHECK (keep_offline IN (0, 1)),"
	"  frozen INTEGER NOT NULL CHECK (frozen IN (0, 1)),"
	"  deadline_usec INTEGER NOT NULL,"
	"  boot_id TEXT NOT NULL,"
	"  since_usec INTEGER NOT NULL,"
	"  creator_uid INTEGER NOT NULL,"
	"  vmm_pid INTEGER NOT NULL,"
	"  vmm_start INTEGER NOT NULL,"
	"  vmm_cgroup TEXT NOT NULL,"
	"  proof INTEGER REFERENCES proof (seq),"
	"  proof_spent INTEGER NOT NULL DEFAULT 0,"
	"  CHECK (state <> 'fenced' OR proof IS NOT NULL)"
	") STRICT;"
	"CREATE INDEX lease_bytes ON lease (medium, start) WHERE state <> 'released';"
	"CREATE TRIGGER lease_final BEFORE UPDATE OF state ON lease"
	"  WHEN OLD.state = 'released' AND NEW.state <> 'released'"
	"  BEGIN SELECT RAISE(ABORT, 'a released lease stays released'); END;"
	"CREATE TRIGGER lease_no_delete BEFORE DELETE ON lease"
	"  BEGIN SELECT RAISE(ABORT, 'leases are not deleted'); END;"

	"CREATE TABLE extent ("
	"  medium TEXT NOT NULL,"
	"  start INTEGER NOT NULL CHECK (start >= 0),"
	"  size INTEGER NOT NULL CHECK (size > 0 AND size <= 9223372036854775807 - start),"
	"  content TEXT NOT NULL"
	"    CHECK (content IN ('foreign', 'blank', 'retained', 'scrubbing')),"
	"  owner TEXT NOT NULL CHECK ((content <> 'retained' OR owner <> '')"
	"    AND (content NOT IN ('foreign', 'blank') OR owner = '')),"
	"  use TEXT NOT NULL"
	"    CHECK (use IN ('free', 'leased', 'evicting', 'evicted', 'quarantined')),"
	"  reason TEXT NOT NULL,"
	"  PRIMARY KEY (medium, start)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE history ("
	"  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  time_usec INTEGER NOT NULL,"
	"  subject TEXT NOT NULL,"
	"  id TEXT NOT NULL,"
	"  from_state TEXT NOT NULL,"
	"  to_state TEXT NOT NULL,"
	"  detail TEXT,"
	"  actor TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX history_id ON history (id, seq);"

	"CREATE TRIGGER history_no_update BEFORE UPDATE ON history"
	"  BEGIN SELECT RAISE(ABORT, 'the history is only appended to'); END;"
	"CREATE TRIGGER history_no_delete BEFORE DELETE ON history"
	"  BEGIN SELECT RAISE(ABORT, 'the history is only appended to'); END;"
	"CREATE TRIGGER proof_no_update BEFORE UPDATE ON proof"
	"  BEGIN SELECT RAISE(ABORT, 'proofs are only appended to'); END;"
	"CREATE TRIGGER proof_no_delete BEFORE DELETE ON proof"
	"  BEGIN SELECT RAISE(ABORT, 'proofs are only appended to'); END;";

/*
 * after_fence has two words since version 1; the third is this column beside "pause", which is what
 * a machine gets that cannot be kept running.
 */
static int to_version_2(sqlite3 *db)
{
	return sqlite3_exec(db,
		"ALTER TABLE lease ADD COLUMN keep_running INTEGER NOT NULL DEFAULT 0"
		" CHECK (keep_running IN (0, 1))",
		NULL, NULL, NULL);
}

/* Leases of before were never asked anything: they end as they were told they would. */
static int to_version_3(sqlite3 *db)
{
	return sqlite3_exec(db,
		"ALTER TABLE lease ADD COLUMN drain TEXT NOT NULL DEFAULT 'never'"
		" CHECK (drain IN ('ask', 'force', 'never'));"
		"ALTER TABLE lease ADD COLUMN on_refusal TEXT NOT NULL DEFAULT 'force'"
		" CHECK (on_refusal IN ('force', 'keep'));"
		"ALTER TABLE lease ADD COLUMN grace_usec INTEGER NOT NULL DEFAULT -1",
		NULL, NULL, NULL);
}

/* Before, nothing was lent as memory of the host. */
static int to_version_4(sqlite3 *db)
{
	return sqlite3_exec(db,
		"ALTER TABLE extent ADD COLUMN ram INTEGER NOT NULL DEFAULT 0 CHECK (ram IN (0, 1))",
		NULL, NULL, NULL);
}

/* layout: what lay on a part of the host that was to leave, so that it can be made again. */
static int to_version_5(sqlite3 *db)
{
	return sqlite3_exec(db,
		"ALTER TABLE lease ADD COLUMN restore INTEGER NOT NULL DEFAULT 0"
		" CHECK (restore IN (0, 1));"
		"CREATE TABLE layout ("
		"  part TEXT PRIMARY KEY NOT NULL CHECK (part <> ''),"
		"  time_usec INTEGER NOT NULL,"
		"  json TEXT NOT NULL CHECK (json <> '')"
		") STRICT, WITHOUT ROWID",
		NULL, NULL, NULL);
}

/* The number of the device that was lent, by which its holders are found when it has gone. */
static int to_version_6(sqlite3 *db)
{
	return sqlite3_exec(db,
		"ALTER TABLE lease ADD COLUMN dax_major INTEGER NOT NULL DEFAULT 0"
		" CHECK (dax_major BETWEEN 0 AND 4294967295);"
		"ALTER TABLE lease ADD COLUMN dax_minor INTEGER NOT NULL DEFAULT 0"
		" CHECK (dax_minor BETWEEN 0 AND 4294967295)",
		NULL, NULL, NULL);
}

/* Before, all memory of the host was lent as dimms, whose size nobody had to know. */
static int to_version_7(sqlite3 *db)
{
	return sqlite3_exec(db,
		"ALTER TABLE lease ADD COLUMN virtio_mem INTEGER NOT NULL DEFAULT 0"
		" CHECK (virtio_mem IN (0, 1));"
		"ALTER TABLE lease ADD COLUMN lent INTEGER NOT NULL DEFAULT 0 CHECK (lent >= 0);"
		"ALTER TABLE lease ADD COLUMN plugged INTEGER NOT NULL DEFAULT 0"
		" CHECK (plugged >= 0)",
		NULL, NULL, NULL);
}

/* Block devices that were lent have numbers, too. */
static int to_version_8(sqlite3 *db)
{
	return sqlite3_exec(db,
		"ALTER TABLE lease RENAME COLUMN dax_major TO dev_major;"
		"ALTER TABLE lease RENAME COLUMN dax_minor TO dev_minor;"
		"ALTER TABLE lease ADD COLUMN dev_block INTEGER NOT NULL DEFAULT 0"
		" CHECK (dev_block IN (0, 1))",
		NULL, NULL, NULL);
}

static const LedgerUpgrade upgrades[] = {
	{1, to_version_2},
	{2, to_version_3},
	{3, to_version_4},
	{4, to_version_5},
	{5, to_version_6},
	{6, to_version_7},
	{7, to_version_8},
};

static const LedgerUpgrade *upgrade_from(int version, const LedgerHooks *hooks)
{
	for (size_t i = 0; i < ELEMENTSOF(upgrades); i++)
		if (upgrades[i].from == version)
			return &upgrades[i];
	for (size_t i = 0; hooks && i < hooks->n_upgrades; i++)
		if (hooks->upgrades[i].from == version)
			return &hooks->upgrades[i];
	return NULL;
}

const char *const ledger_sql[_LEDGER_SQL_MAX] = {
	[LEDGER_SQL_LEASE_GET] = "SELECT " LEDGER_LEASE_COLUMNS " FROM lease WHERE id = ?1",
	[LEDGER_SQL_LEASE_LIST] = "SELECT " LEDGER_LEASE_COLUMNS
				  " FROM lease WHERE ?1 OR state <> 'released' ORDER BY rowid",
	/* ?2 is the first byte, ?3 the first one behind. */
	[LEDGER_SQL_LEASE_OVERLAP] = "SELECT " LEDGER_LEASE_COLUMNS
				     " FROM lease WHERE state <> 'released' AND medium = ?1"
				     " AND start < ?3 AND start + size > ?2 LIMIT 1",
	[LEDGER_SQL_LEASE_INSERT] =
		"INSERT INTO lease (" LEDGER_LEASE_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
		" ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, NULL, 0, ?23,"
		" ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33)",
	/* What a lease is (its region's bytes, its owner) and its proof are not written here. */
	[LEDGER_SQL_LEASE_UPDATE] =
		"UPDATE lease SET region_name = ?3, domain_name = ?8, alias = ?9, state = ?11,"
		" on_end = ?12, after_fence = ?13, keep_offline = ?14, frozen = ?15,"
		" deadline_usec = ?16, boot_id = ?17, since_usec = ?18, vmm_pid = ?20,"
		" vmm_start = ?21, vmm_cgroup = ?22, keep_running = ?23,"
		" drain = ?24, on_refusal = ?25, grace_usec = ?26, restore = ?27,"
		" dev_major = ?28, dev_minor = ?29, dev_block = ?33 WHERE id = ?1",
	[LEDGER_SQL_LEASE_SET_PROOF] = "UPDATE lease SET proof = ?2 WHERE id = ?1",
	[LEDGER_SQL_LEASE_SET_PLUGGED] = "UPDATE lease SET plugged = ?2 WHERE id = ?1",
	[LEDGER_SQL_LEASE_SPEND_PROOF] =
		"UPDATE lease SET proof_spent = coalesce(proof, 0) WHERE id = ?1",
	[LEDGER_SQL_EXTENT_LIST] =
		"SELECT " LEDGER_EXTENT_COLUMNS " FROM extent ORDER BY medium, start",
	[LEDGER_SQL_EXTENT_TOUCHING] =
		"SELECT " LEDGER_EXTENT_COLUMNS " FROM extent WHERE medium = ?1 AND start <= ?3"
		" AND start + size >= ?2 ORDER BY start",
	[LEDGER_SQL_EXTENT_DELETE] = "DELETE FROM extent WHERE medium = ?1 AND start = ?2",
	[LEDGER_SQL_EXTENT_INSERT] = "INSERT INTO extent (" LEDGER_EXTENT_COLUMNS
				     ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[LEDGER_SQL_PROOF_INSERT] =
		"INSERT INTO proof (time_usec, lease, region, json) VALUES (?1, ?2, ?3, ?4)",
	[LEDGER_SQL_PROOF_OF_LEASE] =
		"SELECT json FROM proof WHERE lease = ?1 ORDER BY seq DESC LIMIT 1",
	[LEDGER_SQL_PROOF_OF_REGION] =
		"SELECT json FROM proof WHERE region = ?1 ORDER BY seq DESC LIMIT 1",
	[LEDGER_SQL_HISTORY_INSERT] =
		"INSERT INTO history (time_usec, subject, id, from_state, to_state, detail, actor)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[LEDGER_SQL_HISTORY_LIST] =
		"SELECT seq, time_usec, subject, id, from_state, to_state, detail, actor"
		" FROM history WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
	[LEDGER_SQL_HISTORY_OF] =
		"SELECT seq, time_usec, subject, id, from_state, to_state, detail, actor"
		" FROM history WHERE seq < ?1 AND (id = ?3 OR"
		"  (subject = 'lease' AND id IN (SELECT id FROM lease WHERE region = ?3)))"
		" ORDER BY seq DESC LIMIT ?2",
	[LEDGER_SQL_LAYOUT_PUT] =
		"INSERT OR REPLACE INTO layout (part, json, time_usec) VALUES (?1, ?2, ?3)",
	[LEDGER_SQL_LAYOUT_DELETE] = "DELETE FROM layout WHERE part = ?1",
	[LEDGER_SQL_LAYOUT_GET] = "SELECT json FROM layout WHERE part = ?1",
	[LEDGER_SQL_LAYOUT_LIST] = "SELECT json FROM layout ORDER BY part",
};

int ledger_schema_version(const LedgerHooks *hooks)
{
	return hooks && hooks->version ? hooks->version : LEDGER_VERSION;
}

/* The caller's transaction is open, and is rolled back by the caller when this fails. */
int ledger_schema_upgrade(sqlite3 *db, int from, const LedgerHooks *hooks)
{
	int target = ledger_schema_version(hooks);
	char pragma[64];

	for (int v = from; v < target; v++) {
		const LedgerUpgrade *u = upgrade_from(v, hooks);
		int rc;

		if (!u)
			return -EUCLEAN;
		rc = u->upgrade(db);
		if (rc != SQLITE_OK)
			return ledger_errno(db, rc);
	}
	(void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", target);
	return ledger_exec(db, pragma);
}

int ledger_schema_create(sqlite3 *db, const LedgerHooks *hooks)
{
	char pragma[64];
	int r;

	r = ledger_exec(db, "BEGIN IMMEDIATE");
	if (r != 0)
		return r;
	(void)snprintf(pragma, sizeof(pragma), "PRAGMA application_id = %d", LEDGER_APPLICATION_ID);
	r = ledger_exec(db, pragma);
	if (r != 0)
		return r;
	r = ledger_exec(db, schema_1);
	if (r != 0)
		return r;
	/* A new file goes the way of every older one: one description of the tables, one of each
	 * step. */
	r = ledger_schema_upgrade(db, 1, hooks);
	if (r != 0)
		return r;
	return ledger_exec(db, "COMMIT");
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ledger as a file: made, refused, upgraded, owned by one, and on a disk that fails. */

#include "failing-vfs.h"
#include "ledger-fixture.h"

#include <spawn.h>
#include <sys/wait.h>

static void put(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static char *get(const char *path, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *s;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	s = malloc((size_t)st.st_size + 1);
	assert_int_equal(read(fd, s, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_n = (size_t)st.st_size;
	return s;
}

static const char *beside(Fixture *f, const char *suffix)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s%s", f->path, suffix);
	return path;
}

/* Refused, with a sentence that names the file and the way out, and not a byte changed. */
static void assert_refused(Fixture *f, int want)
{
	_cleanup_free_ char *why = NULL, *before = NULL, *after = NULL;
	PmlLedger *l = NULL;
	size_t n, m;
	struct stat st;
	bool file = lstat(f->path, &st) == 0 && S_ISREG(st.st_mode);
	int r;

	if (file)
		before = get(f->path, &n);
	r = pml_ledger_open(f->path, &l, &why);
	if (r != want)
		fail_msg("%d, not %d (%s)", r, want, why ? why : "");
	assert_null(l);
	assert_non_null(strstr(why, f->path));
	assert_non_null(strstr(
		why, want == PML_LEDGER_NEWER ? "newer version" : "every region will be foreign"));
	if (file) {
		after = get(f->path, &m);
		assert_int_equal(n, m);
		assert_memory_equal(before, after, n);
	} else {
		assert_int_equal(lstat(f->path, &(struct stat){}), errno == ENOENT ? -1 : 0);
	}
	/* Nobody needs to take the sentence. */
	assert_int_equal(pml_ledger_open(f->path, &l, NULL), want);
}

/* Writes to a closed ledger as somebody with sqlite3 would, guards off. */
static void meddle(Fixture *f, const char *sql)
{
	char *error = NULL;
	sqlite3 *db;

	f->l = pml_ledger_close(f->l);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA ignore_check_constraints = ON", NULL, NULL, NULL);
	if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s: %s", sql, error);
	sqlite3_close(db);
}

static void test_new(void **state)
{
	Fixture *f = *state;
	mode_t old = umask(0);
	struct stat st;
	sqlite3 *db;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
		assert_extents(f, "");
		assert_int_equal(count_history(f), 0);
		adopt(f, 0, GIB);
		assert_int_equal(lstat(f->path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(lstat(beside(f, "-wal"), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(lstat(beside(f, ".lock"), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(lstat(beside(f, "-shm"), &st), -1);
		f->l = pml_ledger_close(f->l);
		/* A umask that takes the owner's own bits. */
		umask(0777);
		assert_int_equal(unlink(f->path), 0);
		assert_int_equal(unlink(beside(f, ".lock")), 0);
	}
	umask(0022);
	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	f->l = pml_ledger_close(f->l);
	/* A mode that somebody widened is taken back. */
	assert_int_equal(chmod(f->path, 0666), 0);
	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	f->l = pml_ledger_close(f->l);
	umask(old);

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(db, "SELECT * FROM lease, extent, proof, history", NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
}

/* A crash while the first file was being made. */
static void test_new_after_crash(void **state)
{
	Fixture *f = *state;

	put(beside(f, ".new"), "half", 4);
	put(beside(f, ".new-journal"), "half", 4);
	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	assert_int_equal(access(beside(f, ".new"), F_OK), -1);
	assert_int_equal(access(beside(f, ".new-journal"), F_OK), -1);
}

/* What a program gets that reads the file with SQLite; a new one, which inherits nothing of this
 * one's. */
static int stranger(Fixture *f)
{
	char *argv[] = {(char *)"stranger", f->path, NULL};
	int status;
	pid_t pid;

	assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int be_stranger(const char *path)
{
	sqlite3 *db;
	int rc = sqlite3_open(path, &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "SELECT * FROM lease", NULL, NULL, NULL);
	sqlite3_close(db);
	return rc;
}

static void test_exclusive(void **state)
{
	Fixture *f = *state;
	PmlLedger *second = NULL;
	_cleanup_free_ char *why = NULL;
	int status;
	pid_t pid;

	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	assert_int_equal(pml_ledger_open(f->path, &second, &why), -EBUSY);
	assert_null(why);
	pid = fork();
	if (pid == 0)
		_exit(pml_ledger_open(f->path, &second, NULL) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* The first is not harmed by the attempts, and strangers that know no lock of ours stay
	 * out. */
	adopt(f, 0, GIB);
	assert_int_equal(stranger(f), SQLITE_BUSY);
	reopen(f);
	assert_extents(f, "0+1 retained alice free");
}

/* Killed without closing: what was applied is there. */
static void test_killed(void **state)
{
	Fixture *f = *state;
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		if (pml_ledger_open(f->path, &f->l, NULL) != 0)
			_exit(1);
		adopt(f, 0, GIB);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	assert_extents(f, "0+1 retained alice free");
}

static void test_no_ledger_at_the_path(void **state)
{
	Fixture *f = *state;
	static const char text[] = "This is a text file that somebody put here.\n";
	char zeroes[8192] = "";
	sqlite3 *db;

	put(f->path, "", 0);
	assert_refused(f, PML_LEDGER_CORRUPT);
	put(f->path, text, strlen(text));
	assert_refused(f, PML_LEDGER_CORRUPT);
	put(f->path, zeroes, sizeof(zeroes));
	assert_refused(f, PML_LEDGER_CORRUPT);
	put(f->path, "SQLite format 3", 16);
	assert_refused(f, PML_LEDGER_CORRUPT);
	assert_int_equal(unlink(f->path), 0);

	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_refused(f, PML_LEDGER_CORRUPT);
	assert_int_equal(rmdir(f->path), 0);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_refused(f, PML_LEDGER_CORRUPT);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink("/nonexistent/ledger", f->path), 0);
	assert_refused(f, PML_LEDGER_CORRUPT);
	assert_int_equal(unlink(f->path), 0);

	/* The log of a ledger that is gone holds what was leased. */
	put(beside(f, "-wal"), text, strlen(text));
	assert_refused(f, PML_LEDGER_CORRUPT);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(unlink(beside(f, "-wal")), 0);

	/* Somebody else's database. */
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE lease (id)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_refused(f, PML_LEDGER_CORRUPT);
	assert_int_equal(unlink(f->path), 0);

	(void)snprintf(f->path, sizeof(f->path), "%s/missing/ledger.sqlite", f->dir);
	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), -ENOENT);
}

static void fill(Fixture *f)
{
	PmlLeaseRecord rec = lease(LEASE_A, 0, GIB);

	adopt(f, 0, 4 * GIB);
	assert_int_equal(content(f, 8 * GIB, GIB, PML_CONTENT_EV_ADOPT, "bob"), 0);
	assert_int_equal(reserve(f, &rec), 0);
	assert_int_equal(proof(f, LEASE_A, "{\"x\":1}"), 0);
}

static const char second_lease[] =
	"INSERT INTO lease SELECT 'other', region, region_name, medium, start + 5, size,"
	" domain, domain_name, alias, owner, state, on_end, after_fence, keep_offline,"
	" frozen, deadline_usec, boot_id, since_usec, creator_uid, vmm_pid, vmm_start,"
	" vmm_cgroup, NULL, 0, keep_running, drain, on_refusal, grace_usec, restore, dev_major,"
	" dev_minor, virtio_mem, lent, plugged, dev_block FROM lease";

/* Rows that no ledger writes: each is a refusal to start. */
static void test_rows_that_make_no_sense(void **state)
{
	static const char *const meddling[] = {
		"UPDATE lease SET state = 'lost'",
		"UPDATE lease SET state = ''",
		"UPDATE lease SET on_end = 'burn'",
		"UPDATE lease SET after_fence = 'ask'",
		"UPDATE lease SET drain = 'perhaps'",
		"UPDATE lease SET on_refusal = 'sulk'",
		"UPDATE lease SET restore = 2",
		"UPDATE lease SET dev_minor = -1",
		"UPDATE lease SET dev_block = 2",
		"UPDATE lease SET virtio_mem = 2",
		"UPDATE lease SET plugged = -1",
		"UPDATE lease SET owner = ''",
		"UPDATE lease SET owner = 'a,b'",
		"UPDATE lease SET medium = 'tape'",
		"UPDATE lease SET size = 0",
		"UPDATE lease SET size = -5",
		"UPDATE lease SET start = -4096",
		"UPDATE lease SET start = 9223372036854775807",
		"UPDATE lease SET domain = hex(zeroblob(100))",
		"UPDATE lease SET state = 'fenced', proof = NULL",
		"UPDATE lease SET state = 'fenced', proof_spent = proof",
		"UPDATE lease SET proof = 99",
		"UPDATE lease SET vmm_cgroup = char(65, 0, 66)",
		"UPDATE extent SET content = 'mine'",
		"UPDATE extent SET use = 'busy'",
		"UPDATE extent SET owner = ''",
		"UPDATE extent SET content = 'blank'",
		"UPDATE extent SET medium = 'phys2'",
		"UPDATE extent SET size = 100000000000 WHERE start = 0",
		"INSERT INTO extent VALUES ('iset:00c0ffee00c0ffee', 4096, 1, 'blank', '', 'free', '', 0)",
		second_lease,
		"DROP TRIGGER history_no_delete",
		"DROP TRIGGER proof_no_update",
		"DROP TABLE extent",
		"DROP TABLE history",
		"PRAGMA user_version = 0",
		"PRAGMA user_version = -1",
		"PRAGMA application_id = 5",
		"INSERT INTO history VALUES (99, 0, 'x', hex(zeroblob(100)), '', '', NULL, 'a')",
	};
	Fixture *f = *state;

	for (size_t i = 0; i < ELEMENTSOF(meddling); i++) {
		assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
		fill(f);
		meddle(f, meddling[i]);
		/* Foreign keys are off in meddle(), as they are in the sqlite3 command. */
		assert_refused(f, PML_LEDGER_CORRUPT);
		assert_int_equal(unlink(f->path), 0);
		(void)unlink(beside(f, "-wal"));
	}
}

/* Every truncation, and garbage in every page: refused, or (an unused byte) all of it is still
 * there. */
static void test_damaged(void **state)
{
	Fixture *f = *state;
	_cleanup_free_ char *good = NULL;
	size_t n, refused = 0;

	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	fill(f);
	/* A page that an upgrade has left unused may hold anything. */
	meddle(f, "VACUUM");
	good = get(f->path, &n);
	for (size_t at = 0; at < n; at += 1024) {
		put(f->path, good, at);
		assert_refused(f, PML_LEDGER_CORRUPT);
	}
	for (size_t at = 0; at < n; at += 4096) {
		char saved[64];

		memcpy(saved, good + at, sizeof(saved));
		memset(good + at, 0x5a, sizeof(saved));
		put(f->path, good, n);
		memcpy(good + at, saved, sizeof(saved));
		assert_refused(f, PML_LEDGER_CORRUPT);
		refused++;
	}
	assert_true(refused > 5);
	put(f->path, good, n);
	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	assert_extents(f, "0+1 retained alice leased; 1+3 retained alice free; "
			  "8+1 retained bob free");
}

static void test_newer(void **state)
{
	Fixture *f = *state;
	struct stat st;
	char pragma[64];
	sqlite3 *db;

	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	fill(f);
	(void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", LEDGER_VERSION + 1);
	meddle(f, pragma);
	assert_refused(f, PML_LEDGER_NEWER);
	/* Killed, that version left its last transactions in the log: they stay where they are. */
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE newer (x)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(stat(beside(f, "-wal"), &st), 0);
	assert_true(st.st_size > 0);
	assert_refused(f, PML_LEDGER_NEWER);
	assert_int_equal(stat(beside(f, "-wal"), &st), 0);
	assert_true(st.st_size > 0);
}

static int to_next(sqlite3 *db)
{
	return sqlite3_exec(
		db, "CREATE TABLE colour (lease TEXT, name TEXT) STRICT", NULL, NULL, NULL);
}

static int to_second(sqlite3 *db)
{
	return sqlite3_exec(db, "INSERT INTO colour SELECT id, 'red' FROM lease", NULL, NULL, NULL);
}

static int to_third_breaks_rows(sqlite3 *db)
{
	return sqlite3_exec(db, "UPDATE extent SET size = size * 100", NULL, NULL, NULL);
}

static int to_third_fails(sqlite3 *db)
{
	return sqlite3_exec(db, "INSERT INTO nowhere VALUES (1)", NULL, NULL, NULL);
}

static int query_int(Fixture *f, const char *sql)
{
	sqlite3_stmt *stmt;
	int v;

	assert_int_equal(sqlite3_prepare_v2(f->l->db, sql, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	v = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return v;
}

static void test_upgrade(void **state)
{
	Fixture *f = *state;
	LedgerUpgrade steps[] = {{LEDGER_VERSION + 1, to_second}, {LEDGER_VERSION, to_next},
		{LEDGER_VERSION + 2, to_third_breaks_rows}};
	LedgerHooks hooks = {.version = LEDGER_VERSION + 2, .upgrades = steps, .n_upgrades = 3};
	_cleanup_free_ char *why = NULL;
	PmlLedger *l;

	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	fill(f);
	f->l = pml_ledger_close(f->l);
	assert_int_equal(ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
	assert_int_equal(query_int(f, "PRAGMA user_version"), LEDGER_VERSION + 2);
	assert_int_equal(query_int(f, "SELECT count(*) FROM colour"), 1);
	f->l = pml_ledger_close(f->l);
	/* Once only. */
	assert_int_equal(ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
	assert_int_equal(query_int(f, "SELECT count(*) FROM colour"), 1);
	f->l = pml_ledger_close(f->l);

	/* An upgrade that fails or harms leaves the older file, which its own version still opens.
	 */
	hooks.version = LEDGER_VERSION + 3;
	assert_int_equal(ledger_open_hooked(f->path, &hooks, &l, &why), PML_LEDGER_CORRUPT);
	steps[2].upgrade = to_third_fails;
	assert_true(ledger_open_hooked(f->path, &hooks, &l, NULL) < 0);
	hooks.n_upgrades = 2;
	assert_int_equal(ledger_open_hooked(f->path, &hooks, &l, NULL), PML_LEDGER_CORRUPT);
	hooks.version = LEDGER_VERSION + 2;
	assert_int_equal(ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
	assert_extents(f, "0+1 retained alice leased; 1+3 retained alice free; "
			  "8+1 retained bob free");
	f->l = pml_ledger_close(f->l);

	/* A new file gets the present schema at once. */
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
	assert_int_equal(query_int(f, "PRAGMA user_version"), LEDGER_VERSION + 2);
	assert_int_equal(query_int(f, "SELECT count(*) FROM colour"), 0);
}

static PmlTxn *big_txn(const PmlLeaseRecord *rec)
{
	PmlTxn *t = pml_txn_new("uid 0");

	assert_int_equal(pml_txn_lease_new(t, rec), 0);
	assert_int_equal(pml_txn_use_step(t, REGION, &rec->extent, PML_USE_EV_LEASE, NULL), 0);
	assert_int_equal(
		pml_txn_content_step(t, REGION, &rec->extent, PML_CONTENT_EV_LENT, "alice"), 0);
	assert_int_equal(pml_txn_proof(t, rec->id, REGION, "{\"x\":1}"), 0);
	return t;
}

/* The disk fails at each of the operations of a transaction, for good or only once. */
static void test_disk_fails(void **state)
{
	static const struct {
		int error;
		int want;
	} kinds[] = {{SQLITE_FULL, -ENOSPC}, {SQLITE_IOERR, -EIO}};
	LedgerHooks hooks = {.vfs = FAILING_VFS};
	Fixture *f = *state;

	assert_int_equal(failing_vfs_register(), SQLITE_OK);
	for (size_t k = 0; k < ELEMENTSOF(kinds); k++)
		for (int at = 0;; at++) {
			PmlLeaseRecord rec = lease(LEASE_A, GIB, GIB), *rows;
			bool first = false;
			size_t n, before;
			PmlTxn *t;
			int r;

			failing_disk = (FailingDisk){.countdown = -1, .error = kinds[k].error};
			assert_int_equal(ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
			adopt(f, 0, 4 * GIB);
			before = count_history(f);
			t = big_txn(&rec);
			failing_disk.countdown = at;
			for (int again = 0; again < 3; again++) {
				r = pml_ledger_apply(f->l, t, NULL);
				first = again == 0 && r == 0;
				if (r == 0)
					break;
				/* A failed fsync is an I/O error on a full disk, too. */
				if (r != kinds[k].want && r != -EIO)
					fail_msg("operation %d: %d", at, r);
				/* Nothing of it is there, and reading works on. */
				assert_int_equal(count_history(f), before);
				assert_extents(f, "0+4 retained alice free");
				assert_int_equal(pml_ledger_leases(f->l, true, &rows, &n), 0);
				assert_int_equal(n, 0);
				free(rows);
				/* The disk is mended before the last try. */
				if (again == 1)
					failing_disk.countdown = -1;
			}
			assert_int_equal(r, 0);
			failing_disk.countdown = -1;
			pml_txn_free(t);
			f->l = pml_ledger_close(f->l);

			assert_int_equal(ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
			assert_int_equal(count_history(f), before + 3);
			assert_extents(f, "0+1 retained alice free; 1+1 retained alice leased; "
					  "2+2 retained alice free");
			f->l = pml_ledger_close(f->l);
			assert_int_equal(unlink(f->path), 0);
			if (failing_disk.counted == 0)
				fail_msg("the VFS is not used");
			/* The first try worked: all its operations were gone through. */
			if (first) {
				assert_true(at >= 4);
				break;
			}
		}
}

/* The disk fails while the ledger is made, opened or closed: an error, then everything is there. */
static void test_disk_fails_at_open(void **state)
{
	LedgerHooks hooks = {.vfs = FAILING_VFS};
	Fixture *f = *state;
	bool reached = false, all;

	assert_int_equal(failing_vfs_register(), SQLITE_OK);
	for (int fresh = 0; fresh < 2; fresh++)
		for (int at = 0;; at++) {
			int r;

			failing_disk = (FailingDisk){.countdown = -1, .error = SQLITE_FULL};
			(void)unlink(f->path);
			if (!fresh) {
				assert_int_equal(
					ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
				fill(f);
				/* Left in the log: what opens next finds work to do. */
				sqlite3_db_config(
					f->l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
				f->l = pml_ledger_close(f->l);
			}
			failing_disk.countdown = at;
			r = ledger_open_hooked(f->path, &hooks, &f->l, NULL);
			if (r == 0)
				f->l = pml_ledger_close(f->l);
			else
				assert_true(r == -ENOSPC || r == -EIO);
			reached |= r != 0;
			all = failing_disk.countdown > 0;
			failing_disk.countdown = -1;
			assert_int_equal(ledger_open_hooked(f->path, &hooks, &f->l, NULL), 0);
			assert_extents(f, fresh ? ""
						: "0+1 retained alice leased; 1+3 retained alice "
						  "free; 8+1 retained bob free");
			f->l = pml_ledger_close(f->l);
			if (all)
				break;
		}
	assert_true(reached);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, fixture_setup_closed, fixture_teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		WITH_DIR(test_new),
		WITH_DIR(test_new_after_crash),
		WITH_DIR(test_exclusive),
		WITH_DIR(test_killed),
		WITH_DIR(test_no_ledger_at_the_path),
		WITH_DIR(test_rows_that_make_no_sense),
		WITH_DIR(test_damaged),
		WITH_DIR(test_newer),
		WITH_DIR(test_upgrade),
		WITH_DIR(test_disk_fails),
		WITH_DIR(test_disk_fails_at_open),
	};

	if (argc == 2 && strcmp(argv[0], "stranger") == 0)
		return be_stranger(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

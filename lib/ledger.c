/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The ledger's file: who may have it open, how it is made, and what SQLite's errors are called
 * here.
 *
 * The file is built under another name and renamed, so a file at the ledger's own path always has
 * content: an empty one was damaged, and is refused like any other damage.
 */

#include <sys/file.h>
#include <sys/stat.h>

#include "ledger-internal.h"

static const char *const pml_on_end_table[_PML_ON_END_MAX] = {
	[PML_ON_END_KEEP] = "keep",
	[PML_ON_END_SCRUB] = "scrub",
};
DEFINE_STRING_TABLE(pml_on_end, PmlOnEnd)

static const char *const pml_after_fence_table[_PML_AFTER_FENCE_MAX] = {
	[PML_AFTER_FENCE_PAUSE] = "pause",
	[PML_AFTER_FENCE_DESTROY] = "destroy",
	[PML_AFTER_FENCE_KEEP] = "keep",
};
DEFINE_STRING_TABLE(pml_after_fence, PmlAfterFence)

static const char *const pml_drain_table[_PML_DRAIN_MAX] = {
	[PML_DRAIN_ASK] = "ask",
	[PML_DRAIN_FORCE] = "force",
	[PML_DRAIN_NEVER] = "never",
};
DEFINE_STRING_TABLE(pml_drain, PmlDrain)

static const char *const pml_on_refusal_table[_PML_ON_REFUSAL_MAX] = {
	[PML_ON_REFUSAL_FORCE] = "force",
	[PML_ON_REFUSAL_KEEP] = "keep",
};
DEFINE_STRING_TABLE(pml_on_refusal, PmlOnRefusal)

int ledger_errno(sqlite3 *db, int rc)
{
	int system = db ? sqlite3_system_errno(db) : 0;

	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_IOERR:
		if (rc == SQLITE_IOERR_NOMEM)
			return -ENOMEM;
		return system == EDQUOT || system == ENOSPC ? -ENOSPC : -EIO;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CANTOPEN:
		/* -EUCLEAN is the file system's own damage here, not the ledger's. */
		return system > 0 && system != EUCLEAN ? -system : -EIO;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CONSTRAINT:
		return PML_LEDGER_ILLEGAL;
	case SQLITE_TOOBIG:
		return -E2BIG;
	default: /* SQLite's enum, not ours */
		return -EIO;
	}
}

int ledger_exec(sqlite3 *db, const char *sql)
{
	return ledger_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int ledger_stmt(PmlLedger *l, LedgerSql which, sqlite3_stmt **ret)
{
	if (!l->stmts[which]) {
		int rc = sqlite3_prepare_v3(l->db, ledger_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
			&l->stmts[which], NULL);

		if (rc != SQLITE_OK)
			return ledger_errno(l->db, rc);
	}
	*ret = l->stmts[which];
	return 0;
}

int ledger_run(PmlLedger *l, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	return rc == SQLITE_DONE ? 0 : ledger_errno(l->db, rc);
}

/* The sentence of a refusal to start; what is consumed. Out of memory leaves the sentence out. */
static int corrupt(const char *path, char *what, char **why)
{
	if (asprintf(why,
		    "%s: %s. Restore the ledger from a backup, or move it away with its \"-wal\" "
		    "file: then every region will be foreign until it is adopted or scrubbed.",
		    path, what ? what : "the ledger is damaged") < 0)
		*why = NULL;
	free(what);
	return PML_LEDGER_CORRUPT;
}

static int corrupt_because(const char *path, const char *what, char **why)
{
	return corrupt(path, strdup(what), why);
}

static int path_with(const char *path, const char *suffix, char **ret)
{
	return asprintf(ret, "%s%s", path, suffix) < 0 ? -ENOMEM : 0;
}

/*
 * An advisory lock of its own file: SQLite's locks on the ledger would be lost whenever this
 * process closed any other descriptor of it (POSIX record locks).
 */
static int take_lock(PmlLedger *l)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -EBADF;
	int r;

	r = path_with(l->path, ".lock", &name);
	if (r < 0)
		return r;
	fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fchmod(fd, 0600) < 0)
		return -errno;
	l->lock_fd = TAKE_FD(fd);
	return 0;
}

static int db_open(const char *path, const LedgerHooks *hooks, sqlite3 **ret)
{
	sqlite3 *db = NULL;
	int rc, r;

	rc = sqlite3_open_v2(
		path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, hooks ? hooks->vfs : NULL);
	if (rc != SQLITE_OK) {
		r = ledger_errno(db, rc);
		sqlite3_close(db);
		return r;
	}
	sqlite3_extended_result_codes(db, 1);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	*ret = db;
	return 0;
}

static int sync_parent(const char *path)
{
	_cleanup_close_ int fd = -EBADF;
	char *dir;
	const char *slash = strrchr(path, '/');

	dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int fill_new(const char *name, const LedgerHooks *hooks)
{
	_cleanup_close_ int fd = -EBADF;
	sqlite3 *db;
	int r;

	fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* The umask may have taken the owner's bits too. */
	if (fchmod(fd, 0600) < 0)
		return -errno;
	r = db_open(name, hooks, &db);
	if (r != 0)
		return r;
	r = ledger_exec(db, "PRAGMA synchronous = FULL");
	if (r == 0)
		r = ledger_schema_create(db, hooks);
	sqlite3_close(db);
	if (r != 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

static int create(PmlLedger *l, const LedgerHooks *hooks)
{
	_cleanup_free_ char *name = NULL, *journal = NULL;
	int r;

	r = path_with(l->path, ".new", &name);
	if (r < 0)
		return r;
	r = path_with(name, "-journal", &journal);
	if (r < 0)
		return r;
	/* Left by a crash: never the ledger, or it would have been renamed. */
	if ((unlink(name) < 0 && errno != ENOENT) || (unlink(journal) < 0 && errno != ENOENT))
		return -errno;
	r = fill_new(name, hooks);
	if (r == 0 && rename(name, l->path) < 0)
		r = -errno;
	if (r != 0) {
		(void)unlink(name);
		(void)unlink(journal);
		return r > 0 ? -EIO : r;
	}
	return sync_parent(l->path);
}

/* What is at the path, before SQLite is let near it; makes the ledger where nothing is. */
static int prepare_file(PmlLedger *l, const LedgerHooks *hooks, char **why)
{
	static const char magic[16] = "SQLite format 3";
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *wal = NULL;
	char head[sizeof(magic)] = "";
	struct stat st;
	int r;

	fd = open(l->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		if (errno == EISDIR)
			return corrupt_because(l->path, "it is a directory", why);
		if (errno == ELOOP)
			return corrupt_because(l->path, "it is a symbolic link", why);
		if (errno != ENOENT)
			return -errno;
		r = path_with(l->path, "-wal", &wal);
		if (r < 0)
			return r;
		if (stat(wal, &st) == 0 && st.st_size > 0)
			return corrupt_because(l->path,
				"the file is missing, but its write-ahead log is there", why);
		return create(l, hooks);
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return corrupt_because(l->path, "it is no regular file", why);
	if (st.st_size == 0)
		return corrupt_because(l->path, "the file is empty, which no ledger ever is", why);
	if (pread(fd, head, sizeof(head), 0) < 0)
		return -errno;
	if (memcmp(head, magic, sizeof(magic)) != 0)
		return corrupt_because(l->path, "it is no SQLite database", why);
	if ((st.st_mode & 0777) != 0600 && fchmod(fd, 0600) < 0)
		return -errno;
	return 0;
}

static int pragma_int(sqlite3 *db, const char *sql, int *ret)
{
	sqlite3_stmt *stmt;
	int rc, value;

	rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return ledger_errno(db, rc);
	rc = sqlite3_step(stmt);
	value = rc == SQLITE_ROW ? sqlite3_column_int(stmt, 0) : 0;
	sqlite3_finalize(stmt);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? -EUCLEAN : ledger_errno(db, rc);
	*ret = value;
	return 0;
}

static int identify(PmlLedger *l, const LedgerHooks *hooks, int *ret_version, char **why)
{
	int r, app = 0, version = 0, known = ledger_schema_version(hooks);

	/* Before the first access: WAL then needs no shared memory, and a stray sqlite3 is kept
	 * out. */
	r = ledger_exec(l->db, "PRAGMA locking_mode = EXCLUSIVE");
	if (r != 0)
		return r;
	r = pragma_int(l->db, "PRAGMA application_id", &app);
	if (r != 0)
		return r;
	if (app != LEDGER_APPLICATION_ID)
		return corrupt_because(l->path, "it is an SQLite database, but not a ledger", why);
	r = pragma_int(l->db, "PRAGMA user_version", &version);
	if (r != 0)
		return r;
	if (version > known) {
		if (asprintf(why,
			    "%s: made by a newer version (schema %d, this one knows %d). Install "
			    "that version again; the file was not changed.",
			    l->path, version, known) < 0)
			*why = NULL;
		return PML_LEDGER_NEWER;
	}
	if (version < 1)
		return corrupt_because(l->path, "its schema has no version", why);
	*ret_version = version;
	return 0;
}

static int check_and_upgrade(PmlLedger *l, int version, const LedgerHooks *hooks, char **why)
{
	char *what = NULL;
	int r;

	r = ledger_exec(l->db, "PRAGMA cell_size_check = ON;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA foreign_keys = ON;"
			       "BEGIN IMMEDIATE");
	if (r != 0)
		return r;
	/* An upgrade of a damaged file would make it worse; an upgrade that damages it is not kept.
	 */
	r = ledger_check_file(l, &what);
	if (r == 0 && version != ledger_schema_version(hooks)) {
		r = ledger_schema_upgrade(l->db, version, hooks);
		if (r == 0)
			r = ledger_check_file(l, &what);
	}
	if (r == 0)
		r = ledger_check_rows(l, &what);
	if (r == 0)
		r = ledger_exec(l->db, "COMMIT");
	if (r == -EUCLEAN)
		return corrupt(l->path, what, why);
	free(what);
	return r;
}

static int use_wal(PmlLedger *l)
{
	sqlite3_stmt *stmt;
	const char *mode;
	int rc, r;

	rc = sqlite3_prepare_v2(l->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return ledger_errno(l->db, rc);
	rc = sqlite3_step(stmt);
	mode = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	if (rc != SQLITE_ROW)
		r = ledger_errno(l->db, rc);
	else
		r = mode && strcasecmp(mode, "wal") == 0 ? 0 : -EIO;
	sqlite3_finalize(stmt);
	return r;
}

static int open_checked(PmlLedger *l, const LedgerHooks *hooks, char **why)
{
	int r, version = 0;

	r = prepare_file(l, hooks, why);
	if (r != 0)
		return r;
	r = db_open(l->path, hooks, &l->db);
	if (r == 0)
		r = identify(l, hooks, &version, why);
	if (r == 0)
		r = check_and_upgrade(l, version, hooks, why);
	if (r == 0)
		r = use_wal(l);
	if (r == -EUCLEAN)
		return corrupt_because(l->path, sqlite3_errmsg(l->db), why);
	if (r == PML_LEDGER_ILLEGAL)
		return corrupt_because(l->path, "its rows break its own rules", why);
	return r;
}

int ledger_open_hooked(const char *path, const LedgerHooks *hooks, PmlLedger **ret, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	PmlLedger *l;
	int r;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->lock_fd = -EBADF;
	l->path = strdup(path);
	r = l->path ? take_lock(l) : -ENOMEM;
	if (r == 0)
		r = open_checked(l, hooks, &why);
	if (r != 0) {
		/* A refused file stays as it was: its log is not folded into it. */
		if (l->db)
			sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		pml_ledger_close(l);
		if (r > 0 && ret_why)
			*ret_why = TAKE_PTR(why);
		return r;
	}
	*ret = l;
	return 0;
}

int pml_ledger_open(const char *path, PmlLedger **ret, char **ret_why)
{
	return ledger_open_hooked(path, NULL, ret, ret_why);
}

PmlLedger *pml_ledger_close(PmlLedger *l)
{
	if (!l)
		return NULL;
	for (size_t i = 0; i < ELEMENTSOF(l->stmts); i++)
		sqlite3_finalize(l->stmts[i]);
	sqlite3_close(l->db);
	/* Last: the next owner must find the file at rest. */
	closep(&l->lock_fd);
	free(l->path);
	free(l);
	return NULL;
}

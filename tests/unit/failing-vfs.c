/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "failing-vfs.h"

#include <string.h>

FailingDisk failing_disk = {.countdown = -1};

typedef struct FailingFile {
	sqlite3_file base;
	sqlite3_file *real; /* right behind this structure */
} FailingFile;

static sqlite3_vfs *real_vfs(void)
{
	return sqlite3_vfs_find("unix");
}

static sqlite3_file *real_file(sqlite3_file *f)
{
	return ((FailingFile *)f)->real;
}

/* Nonzero when this operation fails, with its own code in the place of a plain SQLITE_IOERR. */
static int broken(int own)
{
	failing_disk.counted++;
	if (failing_disk.countdown < 0)
		return 0;
	if (failing_disk.countdown > 0) {
		failing_disk.countdown--;
		return 0;
	}
	return failing_disk.error == SQLITE_IOERR || own == SQLITE_IOERR_FSYNC ? own : SQLITE_FULL;
}

static int ff_close(sqlite3_file *f)
{
	return real_file(f)->pMethods->xClose(real_file(f));
}

static int ff_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 at)
{
	return real_file(f)->pMethods->xRead(real_file(f), buf, n, at);
}

static int ff_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
	int rc = broken(SQLITE_IOERR_WRITE);

	if (rc) {
		/* A disk may have taken half of it. */
		real_file(f)->pMethods->xWrite(real_file(f), buf, n / 2, at);
		return rc;
	}
	return real_file(f)->pMethods->xWrite(real_file(f), buf, n, at);
}

static int ff_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = broken(SQLITE_IOERR_TRUNCATE);

	return rc ? rc : real_file(f)->pMethods->xTruncate(real_file(f), size);
}

static int ff_sync(sqlite3_file *f, int flags)
{
	int rc = broken(SQLITE_IOERR_FSYNC);

	return rc ? rc : real_file(f)->pMethods->xSync(real_file(f), flags);
}

static int ff_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	return real_file(f)->pMethods->xFileSize(real_file(f), ret);
}

static int ff_lock(sqlite3_file *f, int how)
{
	return real_file(f)->pMethods->xLock(real_file(f), how);
}

static int ff_unlock(sqlite3_file *f, int how)
{
	return real_file(f)->pMethods->xUnlock(real_file(f), how);
}

static int ff_check(sqlite3_file *f, int *ret)
{
	return real_file(f)->pMethods->xCheckReservedLock(real_file(f), ret);
}

static int ff_control(sqlite3_file *f, int op, void *arg)
{
	return real_file(f)->pMethods->xFileControl(real_file(f), op, arg);
}

static int ff_sector(sqlite3_file *f)
{
	return real_file(f)->pMethods->xSectorSize(real_file(f));
}

static int ff_device(sqlite3_file *f)
{
	return real_file(f)->pMethods->xDeviceCharacteristics(real_file(f));
}

/* Version 1: without shared memory, which an exclusive ledger must not need. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = ff_close,
	.xRead = ff_read,
	.xWrite = ff_write,
	.xTruncate = ff_truncate,
	.xSync = ff_sync,
	.xFileSize = ff_size,
	.xLock = ff_lock,
	.xUnlock = ff_unlock,
	.xCheckReservedLock = ff_check,
	.xFileControl = ff_control,
	.xSectorSize = ff_sector,
	.xDeviceCharacteristics = ff_device,
};

static int fv_open(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, int flags, int *ret)
{
	FailingFile *ff = (FailingFile *)f;
	int rc;

	ff->base.pMethods = NULL;
	ff->real = (sqlite3_file *)(ff + 1);
	rc = real_vfs()->xOpen(real_vfs(), name, ff->real, flags, ret);
	if (rc == SQLITE_OK)
		ff->base.pMethods = &methods;
	return rc;
}

static int fv_delete(sqlite3_vfs *v, const char *name, int sync)
{
	int rc = broken(SQLITE_IOERR_DELETE);

	return rc ? rc : real_vfs()->xDelete(real_vfs(), name, sync);
}

int failing_vfs_register(void)
{
	static sqlite3_vfs vfs;

	/* All else (names, time, randomness) is the real one's. */
	vfs = *real_vfs();
	vfs.zName = FAILING_VFS;
	vfs.pNext = NULL;
	vfs.szOsFile = (int)sizeof(FailingFile) + real_vfs()->szOsFile;
	vfs.xOpen = fv_open;
	vfs.xDelete = fv_delete;
	return sqlite3_vfs_register(&vfs, 0);
}

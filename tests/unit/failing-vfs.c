/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "failing-vfs.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512

FailingDisk failing_disk = {.countdown = -1};

typedef struct Content {
	unsigned char *bytes;
	sqlite3_int64 size_bytes;
} Content;

typedef struct FailingFile {
	sqlite3_file base;
	sqlite3_file *real; /* right behind this structure */
	struct FailingFile *next;
	Content durable; /* when it was opened or synced last */
} FailingFile;

static FailingFile *files;

static sqlite3_vfs *real_vfs(void)
{
	return sqlite3_vfs_find("unix");
}

static sqlite3_file *real_file(sqlite3_file *f)
{
	return ((FailingFile *)f)->real;
}

static Content read_all(FailingFile *f)
{
	Content c = {};

	if (f->real->pMethods->xFileSize(f->real, &c.size_bytes) != SQLITE_OK)
		abort();
	c.bytes = calloc(1, (size_t)c.size_bytes + SECTOR_BYTES);
	if (!c.bytes ||
		f->real->pMethods->xRead(f->real, c.bytes, (int)c.size_bytes, 0) != SQLITE_OK)
		abort();
	return c;
}

static void is_durable(FailingFile *f)
{
	free(f->durable.bytes);
	f->durable = read_all(f);
}

/* The same for the same seed, so that a failure can be looked at again. */
static bool survives(unsigned seed, sqlite3_int64 sector, unsigned file)
{
	uint32_t x = seed * 2654435761U ^ (uint32_t)sector * 40503U ^ file * 97U;

	x ^= x >> 15;
	x *= 2246822519U;
	x ^= x >> 13;
	return seed != 0 && (x & 1);
}

void failing_disk_power_cut(unsigned seed)
{
	unsigned n = 0;

	for (FailingFile *f = files; f; f = f->next, n++) {
		Content now = read_all(f), *old = &f->durable;
		/* Its length is in one place of the disk, too. */
		bool new_size = survives(seed, -1, n);
		sqlite3_int64 end = new_size ? now.size_bytes : old->size_bytes;

		for (sqlite3_int64 at = 0; at < end; at += SECTOR_BYTES) {
			static const unsigned char nothing[SECTOR_BYTES];
			int length = end - at < SECTOR_BYTES ? (int)(end - at) : SECTOR_BYTES;
			const unsigned char *from =
				at < old->size_bytes ? old->bytes + at : nothing;

			if (at < now.size_bytes && survives(seed, at / SECTOR_BYTES, n))
				from = now.bytes + at;
			if (f->real->pMethods->xWrite(f->real, from, length, at) != SQLITE_OK)
				abort();
		}
		if (f->real->pMethods->xTruncate(f->real, end) != SQLITE_OK)
			abort();
		free(now.bytes);
	}
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
	if (failing_disk.once)
		failing_disk.countdown = -1;
	return failing_disk.error == SQLITE_IOERR || own == SQLITE_IOERR_FSYNC ? own : SQLITE_FULL;
}

static void end_here(void)
{
	if (failing_disk.end)
		failing_disk.end();
}

static int ff_close(sqlite3_file *f)
{
	for (FailingFile **i = &files; *i; i = &(*i)->next)
		if (&(*i)->base == f) {
			*i = (*i)->next;
			break;
		}
	free(((FailingFile *)f)->durable.bytes);
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
		end_here();
		return rc;
	}
	return real_file(f)->pMethods->xWrite(real_file(f), buf, n, at);
}

static int ff_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = broken(SQLITE_IOERR_TRUNCATE);

	if (rc)
		end_here();
	return rc ? rc : real_file(f)->pMethods->xTruncate(real_file(f), size);
}

static int ff_sync(sqlite3_file *f, int flags)
{
	int rc = broken(SQLITE_IOERR_FSYNC);

	if (rc)
		end_here();
	else
		rc = real_file(f)->pMethods->xSync(real_file(f), flags);
	if (rc == SQLITE_OK)
		is_durable((FailingFile *)f);
	return rc;
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
	if (rc != SQLITE_OK)
		return rc;
	ff->base.pMethods = &methods;
	ff->durable = (Content){};
	is_durable(ff);
	ff->next = files;
	files = ff;
	return SQLITE_OK;
}

static int fv_delete(sqlite3_vfs *v, const char *name, int sync)
{
	int rc = broken(SQLITE_IOERR_DELETE);

	if (rc)
		end_here();
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

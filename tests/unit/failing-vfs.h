/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An SQLite VFS over the real one whose disk fails on demand: operations that change the disk are
 * counted, and from a chosen one on each fails, as a full or a dead disk does.
 */

#include <sqlite3.h>

#define FAILING_VFS "failing"

typedef struct FailingDisk {
	int countdown; /* operations that still work; < 0: all */
	int error;     /* SQLITE_FULL, or SQLITE_IOERR: each operation's own extended code */
	int counted;
} FailingDisk;
extern FailingDisk failing_disk;

int failing_vfs_register(void);

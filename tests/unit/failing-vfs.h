/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An SQLite VFS over the real one whose disk fails on demand: operations that change the disk are
 * counted, and from a chosen one on each fails, as a full or a dead disk does; or the process ends
 * there, alone or with the machine that it runs on.
 */

#include <stdbool.h>

#include <sqlite3.h>

#define FAILING_VFS "failing"

typedef struct FailingDisk {
	int countdown; /* operations that still work; < 0: all */
	int error;     /* SQLITE_FULL, or SQLITE_IOERR: each operation's own extended code */
	int counted;
	bool once;	   /* only the chosen one fails */
	void (*end)(void); /* called in the place of failing; half of a write was done */
} FailingDisk;
extern FailingDisk failing_disk;

int failing_vfs_register(void);

/*
 * What a power cut leaves, put into the files that are open now: what was synced last, and of each
 * sector that was written since either the new or the old content. seed picks which; 0: all are the
 * old ones. Files are small: all of each is read.
 */
void failing_disk_power_cut(unsigned seed);

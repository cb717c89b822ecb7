/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Marks in /run: what the way towards the fence did while the ledger's disk was slow, full or gone.
 * A mark is a small file on tmpfs, written before the action it announces, and removed once the
 * ledger has caught up. After a daemon crash the marks tell what the ledger does not; after a
 * reboot there are none, and nothing survived that could hold a region.
 */

#include <stddef.h>
#include "ledger.h"

typedef struct PmlMark {
	char lease[PML_ID_MAX];
	PmlLeaseState state; /* FENCING, FENCED or STUCK: how far the fence went */
	bool frozen;	     /* the cgroup may be frozen by us */
	bool released;	     /* its guest had let go: nothing of it is frozen or paused */
	char *proof_json;    /* always with FENCED, maybe with STUCK; malloc-ed, or NULL */
} PmlMark;

/*
 * dir_fd: the daemon's own directory in /run (0700), which holds nothing but marks. Atomic for a
 * daemon that is killed (temporary file, rename); not synced, since /run does not outlive the
 * kernel. A mark that is there is replaced. 0, -EINVAL (no lease id, a state of before the fence,
 * FENCED without a proof) or negative errno.
 */
int pml_mark_write(int dir_fd, const PmlMark *m);
/* Removing what is not there is 0. */
int pml_mark_remove(int dir_fd, const char *lease_id);
/*
 * All marks, with temporary files of a killed writer removed. What cannot be read is an error,
 * never skipped: -EBADMSG (garbage, or another lease's name), -ELOOP (a symbolic link: never
 * followed), -EFBIG, or negative errno.
 */
int pml_mark_load(int dir_fd, PmlMark **ret, size_t *ret_n);
void pml_mark_free(PmlMark *marks, size_t n);

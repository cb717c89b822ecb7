/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where blocking work runs. The main thread never blocks: it hands a function and its data to an
 * executor, and gets the result back on the event loop. While a function runs, its data belongs to
 * it alone; before and after, to the main thread. That is the whole locking rule of the daemon.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Executors Executors;

typedef enum ExecWhere {
	EXEC_LEDGER, /* one thread: the only one that touches SQLite */
	EXEC_VIRT,   /* libvirt calls: a pool; calls with one key run in order */
	EXEC_URGENT, /* pause and destroy: never queues behind another call */
	EXEC_FENCE,  /* freeze, unbind, prove: one thread each on demand, never queues behind other
			work */
	EXEC_WORK,   /* everything else that blocks: scans, binds, proofs without a deadline */
	_EXEC_MAX,
} ExecWhere;

typedef int (*ExecRun)(void *data);	     /* in the executor's thread */
typedef void (*ExecDone)(void *data, int r); /* on the main thread, with run's result */

int executors_new(sd_event *event, Executors **ret);
/*
 * Before executors_free(): begins nothing new, and waits for what runs in EXEC_LEDGER. True:
 * something still runs elsewhere, so what it was given must stay.
 */
bool executors_close(Executors *x);
/* Closes. What hangs elsewhere (kernel, libvirt) is left to process
 * exit. */
Executors *executors_free(Executors *x);

/* key: calls of one executor with the same key run in order; NULL: no order. Copied. */
int exec_submit(
	Executors *x, ExecWhere where, const char *key, ExecRun run, ExecDone done, void *data);

/* From any thread: runs fn(data) on the main thread (events of libvirt, progress of a helper). */
int exec_post(Executors *x, void (*fn)(void *data), void *data);

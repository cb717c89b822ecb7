/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Machines whose process goes on without memory that was taken from it. libvirt runs no hook before
 * it resets, saves, dumps, resumes or migrates a machine away (11.3 src/qemu: virHookCall() is
 * there for prepare, start, started, restore, the incoming side of a migration, and what ends a
 * machine), and offers no other way to refuse one of these. So they are warned of while the lease
 * has the machine, and what came of one is told with its reason when libvirt tells of it.
 */

#include "manager.h"

#define DEPRIVED_WARNING                                                                           \
	"The machine has lost this memory: reset, saved, dumped or migrated now, it fails or "     \
	"QEMU ends. Destroy it (virsh destroy), and start it again."

/* The lease's fence is recorded; nothing where its machine has gone, or is known already. */
void deprived_add(const Lease *l);
/* libvirt is there again: of machines that ended meanwhile it tells nothing any more. */
void deprived_connected(Manager *m);
/* Reset, resumed, started or stopped; other events are nothing to this. */
void deprived_event(Manager *m, const VirtEvent *ev);
/* Of each lease whose memory this machine goes on without; true: there is one. region: its id. */
bool deprived_foreach(Manager *m, const char *domain,
	void (*fn)(Manager *m, const char *lease, const char *region, FailureCount *failures,
		const void *data),
	const void *data);
void deprived_free_all(Manager *m);

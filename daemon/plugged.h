/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the guests have of their virtio-mems: kept in the ledger as libvirt tells it, whether or not
 * an eviction runs; and what is said to a guest that no eviction waits for (any more). Main thread.
 */

#include "manager.h"

/* The lease's guest has so much of it. Nothing that fails here is more than a number that is late.
 */
void plugged_note(Manager *m, const char *lease_id, uint64_t plugged_bytes);
/*
 * Beside everything else, and not waited for: the guest is to have so much (VirtOps.resize), and
 * what it has is noted. Of a lease whose eviction is over the device is detached when it has
 * nothing left.
 */
void plugged_ask(Lease *lease, uint64_t want_bytes);
/* At the daemon's end. busy: calls still run in threads, and keep what they were given. */
void plugged_free_all(Manager *m, bool busy);

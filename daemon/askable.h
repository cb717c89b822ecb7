/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether a guest could be asked for what it was lent, looked at before it matters: when the lease
 * is made, when an agent comes or goes, and, while it could not, at the pace of behind.h. What is
 * in the way is Lease.unasked, a warning. Main thread.
 */

#include "manager.h"

/* It is lent, is to be asked for by its guest's agent, and libvirt can be asked about that. */
bool askable_matters(const Lease *lease);
/* r: what VirtOps.agent said, with its sentence; what is no word on the agent changes nothing. */
void askable_set(Lease *lease, int r, const char *why);
/* Asks libvirt in the background about the leases of this domain ("": of all). */
void askable_look(Manager *m, const char *uuid);

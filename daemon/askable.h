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
/* Asks libvirt in the background about the leases of this domain ("": of all). */
void askable_look(Manager *m, const char *uuid);
/* It has not answered yet. lease_looked_at() is called for each lease that it was about. */
bool askable_looking(const Manager *m, const char *uuid);

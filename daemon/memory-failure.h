/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * libvirt tells that a machine has met a memory error, and names neither the address nor the device
 * (VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE). A machine that goes on without a region that was taken from
 * it has met that: it is what a revocation looks like from inside. One that has leases, and lost
 * none, may have met bad media under any of them, or under its own memory; that is said of each.
 */

#include "manager.h"

/* Into the journal and into the lease's history: the first, and once a minute how many there were.
 * How often one comes is for the guest to choose. */
void memory_failure_event(Manager *m, const VirtEvent *ev);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A call that only changes what is recorded (adopt, lift a quarantine, set a policy): one step of
 * the ledger, as an internal job, so that it has the region to itself: an operation that begins
 * meanwhile would write back what it had read before.
 */

#include "bus.h"

/* Replies to call when it is on the disk. Takes txn, also on failure. As a BusHandler returns. */
int change_start(Manager *m, Region *region, Lease *lease, uint32_t uid, PmlTxn *txn,
	sd_bus_message *call, sd_bus_error *error);

extern const JobKind change_kind;

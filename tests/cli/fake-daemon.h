/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A small org.pmemlease1 on a private bus: two regions, one lease, jobs that end as the test asks.
 * It speaks the contract of dbus/ and remembers nothing between calls that a test does not need.
 *
 * What a call does is chosen by its arguments:
 *   Lease: domain "g1" works; "slow" goes on until it is cancelled; "unsuited" fails as a job;
 * "dies" ends the daemon meanwhile; "options" works only with owner=o1, on-end=scrub,
 * after-fence=destroy, drain=force, on-refusal=keep; any other is an error of that name. Evict of
 * dax0.0: deadline 0 ends as stuck, 1 s as done without a new proof, else as done.
 */

#include <sys/types.h>

typedef struct FakeBus FakeBus;

/* Starts a private dbus-daemon in a new directory below dir. */
FakeBus *fake_bus_new(void);
FakeBus *fake_bus_free(FakeBus *b);
const char *fake_bus_address(const FakeBus *b);

/* Starts and stops the service; start returns when the name is owned. */
void fake_daemon_start(FakeBus *b);
void fake_daemon_stop(FakeBus *b);

/* Waits until a client follows a job (has asked for its properties). */
void fake_daemon_wait_followed(FakeBus *b);

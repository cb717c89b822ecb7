/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What only root can see of the host's health, for `pmemlease doctor`. */

#include <sys/types.h>

#include "findings.h"

typedef struct Manager Manager;

/* A running machine that a region is lent to. */
typedef struct DiagnoseMachine {
	const char *name; /* as people call it; borrowed */
	pid_t pid;
	uint64_t start_ticks; /* so that a reused pid is not it */
} DiagnoseMachine;

/*
 * Its confinement, and whether its guest can live through a machine check. proc_fd: /proc. One that
 * has ended adds nothing.
 */
void diagnose_machine(int proc_fd, const DiagnoseMachine *m, Findings *l);

/* The ledger's file system, and what is in the file's head. dir_fd: the state directory.
 * checked_usec: CLOCK_REALTIME of the last check of all rows. */
void diagnose_ledger(int dir_fd, uint64_t checked_usec, Findings *l);

/* On the main thread: regions and leases that can be taken back only at a price, or not. */
void diagnose_regions(const Manager *m, Findings *l);

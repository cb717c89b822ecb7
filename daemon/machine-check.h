/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a revocation means to the guest: the kernel answers its access with SIGBUS, and QEMU makes a
 * machine check of that. KVM masks MCG_SER_P on AMD, so that a guest there takes each for fatal
 * unless its processor has succor and overflow-recov, which QEMU has had since 9.1.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MACHINE_CHECK_PANICS                                                                       \
	"its processor cannot recover from a machine check (on AMD: was not given succor and "     \
	"overflow-recov), so its guest panics where it touches a revoked page."
#define MACHINE_CHECK_MEND                                                                         \
	"QEMU 9.1 or newer, and in the domain's <cpu>: <feature policy='force' "                   \
	"name='succor'/> and the same for overflow-recov."

/* By the command line of QEMU: proc_fd of /proc, pid_fd of its directory in there. 1: its guest can
 * recover; 0: it cannot; negative errno: it cannot be told. */
int machine_check_recovers(int proc_fd, int pid_fd);
/* The same by number; also negative where the process is another one. */
int machine_check_recovers_pid(pid_t pid, uint64_t start_ticks);

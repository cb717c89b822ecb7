/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Freezing a virtual machine without libvirt and without any job lock: cgroup v2's freezer
 * (Linux Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze and cgroup.events).
 */

#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * The cgroup to freeze for a process: its own path with libvirt's inner parts ("/libvirt/emulator",
 * "/libvirt/vcpu0", "/emulator") cut off, so that all threads of the machine are in it. ret is
 * malloc-ed. -ENODATA: the process is in the root cgroup or in a unit that is not a machine's
 * (freezing it would freeze others).
 */
int pml_cgroup_of_machine(pid_t pid, char **ret);

/*
 * Freezes and waits (poll on cgroup.events, no sleeping) until the kernel says so, or the
 * CLOCK_MONOTONIC deadline. 0: frozen; -ETIMEDOUT: asked for, not yet there (it stays asked for);
 * -ENOENT: the cgroup is gone, so is the machine.
 */
int pml_cgroup_freeze(const char *cgroup, uint64_t deadline_usec);
int pml_cgroup_thaw(const char *cgroup); /* -ENOENT is for the caller to take as done */
int pml_cgroup_frozen(const char *cgroup, bool *ret);

/*
 * Page faults of the cgroup's memory since it was made: all of them, failed ones too (Linux
 * mm/memory.c mm_account_fault()), and those that waited for a disk. -ENOENT: the cgroup is gone,
 * or its memory is not accounted; -EXDEV: another process than this one is in it (libvirt puts a
 * machine's helpers there), or this one is not.
 */
int pml_cgroup_faults(const char *cgroup, pid_t pid, uint64_t *ret_all, uint64_t *ret_major);

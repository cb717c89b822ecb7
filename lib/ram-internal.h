/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What dax.c, the inventory and the proof use of memory in system-ram mode. */

#include "dax-internal.h"
#include "ram.h"

/* The state of the memory of a device that lies at [start, start + size). 0; negative errno. */
int ram_look(const char *sysfs, int node, uint64_t start, uint64_t size_bytes, PmlRam *ret);

/* As PmlDaxOps says. device_fd: the device's checked directory. */
int ram_ram(void *userdata, const PmlRegion *r, PmlRam *ret);
/* emptied: mappings that are bound to the node may stay, if no page of them lies there. */
int ram_unbind(const PmlDaxRoots *roots, int device_fd, const PmlRegion *r, bool emptied);
int ram_bind(void *userdata, const PmlRegion *r);
int ram_populate(void *userdata, const PmlRegion *r, pid_t pid, uint64_t start_ticks,
	uint64_t deadline_usec);

/*
 * ram-users.c: the processes that have memory bound to this node by a policy of their own; those
 * alone that were started with this argument, if it is not NULL. Pages that the kernel merely put
 * there are nobody's promise: it moves them when the memory goes. Reads the page tables of all
 * processes in that /proc. *ret is malloc-ed; *ret_n_denied: so many could not be looked into. 0;
 * -ETIMEDOUT.
 */
int ram_users(const char *proc, int node, const char *argument, uint64_t deadline_usec,
	PmlRamUser **ret, size_t *ret_n, unsigned *ret_n_denied);
/* Touches every page of that memory without changing it. 0; -ESRCH; -ETIMEDOUT. */
int ram_touch(int node, pid_t pid, uint64_t start_ticks, uint64_t deadline_usec);
/* One line of /proc/PID/numa_maps: is it bound to the node, and how much of it lies there. */
bool ram_parse_line(const char *line, int node, uint64_t *ret_start, uint64_t *ret_present_bytes);

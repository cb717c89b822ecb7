/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A guest that has let go runs on, and is believed nothing: what it reached is gone. One that still
 * touches it makes KVM try the same fault over and over, each of which fails; nothing announces
 * that, but the memory controller counts faults that failed and the process does not. Of a machine
 * that shares its cgroup with helpers nothing can be told.
 */

#include <fcntl.h>
#include <poll.h>
#include <sys/sysinfo.h>

#include "evict.h"
#include "ops-internal.h"
#include "process.h"
#include "util.h"

#define LOOK_USEC  (USEC_PER_SEC)
#define LOOK_EVERY (50 /* ms */)
/* The memory controller tells its counts when so many have come together on one of the processors
 * (Linux mm/memcontrol.c, MEMCG_CHARGE_BATCH). */
#define BATCH 64

/*
 * Of faults that wait for a disk some are made by the kernel's own threads, and counted as theirs:
 * they are left out on both sides.
 */
static int failed_faults(const PmlLeaseRecord *rec, int64_t *ret)
{
	_cleanup_close_ int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int pid_fd = -EBADF;
	uint64_t all, major, minor;
	int r = pml_cgroup_faults(rec->vmm_cgroup, rec->vmm_pid, &all, &major);

	if (r == 0)
		r = process_open(proc_fd, rec->vmm_pid, rec->vmm_start, &pid_fd);
	if (r == 0)
		r = process_stat_at(pid_fd, PROCESS_STAT_MINOR_FAULTS, &minor);
	if (r == 0)
		*ret = (int64_t)(all - major - minor);
	return r;
}

static int count(const EvictData *d, int64_t *ret)
{
	const Manager *m = d->manager;

	return m->failed_faults ? m->failed_faults(&d->rec, ret) : failed_faults(&d->rec, ret);
}

void lie_begin(EvictData *d)
{
	if (!d->released || d->vmm_gone || d->rec.vmm_pid <= 0 || d->fence_r < 0 ||
		d->fence.level != PML_FENCE_UNBIND)
		return;
	d->watched = count(d, &d->faults) == 0;
	d->fenced_usec = pml_now_usec(CLOCK_MONOTONIC);
}

void lie_look(EvictData *d)
{
	uint64_t end = d->fenced_usec + LOOK_USEC;
	int64_t now, enough = 4L * BATCH * get_nprocs();

	while (d->watched && count(d, &now) == 0) {
		d->lied = now - d->faults > enough;
		if (d->lied || pml_now_usec(CLOCK_MONOTONIC) >= end)
			break;
		/* Nobody announces a fault that fails. */
		(void)poll(NULL, 0, LOOK_EVERY);
	}
}

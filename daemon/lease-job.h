/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The data of a job that makes a lease, or that finishes or undoes one after a restart. */

#include "manager.h"

typedef struct LeaseData {
	Manager *manager;
	LedgerChange change;

	/* --- main thread --- */
	Region *region; /* also after an eviction took the job's place */
	bool replaced;	/* an eviction has the region: what comes back late is only cleaned up */
	char *replaced_why;
	bool orphan;	     /* … and could not be started */
	Job *evict;	     /* waits for the write that was running */
	bool attaching;	     /* libvirt has been asked and has not answered */
	bool checked_active; /* after a restart: an active lease, looked at again */
	sd_event_source *timer;
	uint64_t retry_usec;
	uint64_t plug_usec;  /* CLOCK_BOOTTIME: until then the guest may take a virtio-mem; 0: not
				begun */
	struct Grant *grant; /* of op_grant_kind: who waits for it, or NULL */
	bool persistent;     /* goes into the domain's definition, too */
	bool refused;	     /* the machine is not started: the job's error says why */
	bool started;	     /* libvirt says that the machine's process runs */

	/* --- read and written by the steps' run --- */
	char domain_arg[PML_NAME_LEN];
	bool owner_given;
	PmlLeaseRecord rec;
	PmlRegion *host;
	const PmlDaxOps *dax;
	const VirtOps *ops;
	Virt *virt;
	uint64_t proof_timeout_usec;
	VirtMemory mem;
	VirtPlugged plugged; /* of a virtio-mem */
	VirtDomain found;
	char *why;
	PmlProof *proof;
	bool moved; /* the device of this alias was other bytes when it was leased */
	bool has_device;
	bool mapped;
	bool panics;	    /* its guest, where it touches what was revoked: machine-check.h */
	bool claims;	    /* the step holders claims it, too */
	uint64_t ram_bytes; /* of memory of the host: how much is lent; 0: not known */
	int claim_fd;	    /* of a block device; -EBADF; becomes the lease's */
} LeaseData;

/* Steps that op_grant_kind has in common with op_lease_kind: op-lease.c. */
JobNext lease_step_holders_prepare(Job *job);
JobNext lease_step_holders_done(Job *job, int r);
JobNext lease_step_reserve_prepare(Job *job);
JobNext lease_step_write_done(Job *job, int r);
JobNext lease_step_attaching_prepare(Job *job);
JobNext lease_step_check_prepare(Job *job);
JobNext lease_step_check_done(Job *job, int r);
JobNext lease_step_active_done(Job *job, int r);
void lease_finished(Job *job, bool success);
/* It is known by now whether its guest could be asked for it, or nobody can tell. */
void lease_looked_at(Lease *lease);

/* May this owner have what lies in the region? 0, or 1 with *err. */
int lease_check_owner(const Region *region, const char *owner, OpError *err);
/* Fills the record of a new lease (all but its policies), and mem; owner NULL: given later. 0, 1
 * with *err, negative errno. */
int lease_fill_record(LeaseData *d, const Manager *m, const Region *region, const char *domain,
	const char *owner, uint32_t uid, OpError *err);

LeaseData *lease_data_new(Manager *m, Region *region);
void lease_data_free(void *data);

/* EXEC_WORK: what is really mapped, and by whom; fills vmm_pid, vmm_start, vmm_cgroup and `mapped`.
 */
int lease_check_run(void *data);
/* Main thread: what the run claimed is the lease's from here on. */
void lease_take_claim(Job *job);
/* EXEC_WORK: nobody holds the region, and its node is the device that was scanned. 0, 1: held;
 * negative errno. */
int lease_holders_run(void *data);
/* Any thread: the node at the region's path is the scanned device, bound to device_dax. 0, -ESTALE,
 * -ENODEV, -ENXIO (unbound). */
int lease_node_check(const LeaseData *d);
int lease_change_run(void *data);
/*
 * lease-ram.c, EXEC_WORK, of memory of the host. Before: is the node the region's alone and empty;
 * how much of it can be lent. 0, 1 with *why; negative errno. After: all of it is made present, on
 * that node; else `mapped` is false with *why. 0; negative errno.
 */
int lease_ram_look(LeaseData *d);
int lease_ram_populate(LeaseData *d);
/* Main thread: the step `active`, with what the check found. */
JobNext lease_active_prepare(Job *job);

/* True where an eviction has taken the region; the job's error is set. Every prepare and done asks
 * this first. */
bool lease_replaced(Job *job);
/* Behind a write: lets the eviction go on that waits for it. */
void lease_write_done(Job *job);
/* The lease's machine is watched; its end is the end of the lease. */
void lease_watch_vmm(Lease *lease);

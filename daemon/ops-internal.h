/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files op-*.c, recover.c, watch.c and after-fence.c owe each other. Main thread, unless
 * it says otherwise. */

#include "manager.h"
#include "ops.h"

/* --- op-util.c --- */

/* Who a transition is by: "uid 0". NULL: out of memory. */
PmlTxn *op_txn_new(uint32_t uid);
/* The daemon's own: a process ended, libvirt said so, a retry. */
PmlTxn *op_txn_new_daemon(void);
/* own: nobody asked for this job. */
PmlTxn *op_txn_new_job(const Job *job, bool own);
/* Fails the job for what nobody foresaw (out of memory); returns JOB_FAIL. */
JobNext op_fail(Job *job, int r, const char *what);
/* For prepare: goes on when the host has been looked at anew. */
JobNext op_rescan(Job *job);
/* Fills *err with what a positive outcome of libvirt (virt.h) means to who asked for a lease; why
 * may be NULL. Returns 1. */
int op_virt_error(OpError *err, int r, const char *domain, const char *why);
/* A region as the memory device of this lease. 0, -ENAMETOOLONG. */
int op_memory(const Region *region, const PmlLeaseRecord *rec, VirtMemory *ret);
/* The boot that a lease's deadline and device number are valid in becomes this one. */
void op_lease_stamp(const Region *region, PmlLeaseRecord *rec);
/* Memory of the host, with its region's name: what a wish for force is refused with. */
#define OP_RAM_NO_FORCE                                                                                           \
	"Region %s is memory of the host (system-ram), which only its guest can give back: by force it is taken " \
	"only with its domain's end. Ask the guest, with a deadline (drain=ask), or consent to that (after-fence=destroy)."
/* Any thread: a proof with the timeout counted from now. The manager's fields used are set once,
 * before threads start. */
int op_prove(Manager *m, PmlRegion *region, const char *rung, bool probe, uint64_t timeout_usec,
	PmlProof **ret);
/* Any thread: who has the region open or mapped, by one look; no evidence that nobody else does.
 * domain: only whether that one's machine has it mapped; NULL: anybody. */
int op_find_holders(
	Manager *m, PmlRegion *region, const char *domain, uint64_t timeout_usec, PmlProof **ret);
/*
 * Any thread. Opens a pidfd of the process that has this pid and this start time. Both are looked
 * at again behind the open descriptor, so a reused pid never passes. 0, or -ESRCH.
 */
int op_pidfd_open(pid_t pid, uint64_t start_ticks, int *ret_fd);
/* True while a process of that pid and start time is alive. */
bool op_process_alive(pid_t pid, uint64_t start_ticks);
/* "5.0 s", "2 min": for sentences. buf is returned. */
const char *op_span(char *buf, size_t size, uint64_t usec);

/*
 * The reason of the quarantine that a stuck lease causes ends with the lease, so that a later proof
 * of this lease ends that quarantine and no other: not one with another reason, nor one of another
 * lease over some of its bytes.
 */
void op_stuck_reason(char *buf, size_t size, const PmlLeaseRecord *rec, const char *what);
/* Every byte of the lease is quarantined, and for that reason alone. */
bool op_quarantined_by(const Manager *m, const PmlLeaseRecord *rec);

/* Some of the region's bytes are lent under another region's name. */
bool op_bytes_are_lent(const Region *region);

/* --- watch.c: pidfds of processes whose end means something to a region --- */

typedef void (*WatchFn)(Region *region);

/* Watches one process; fd is taken, also on failure. */
int watch_add(Region *region, int pidfd, bool holder, WatchFn fn);
/* Replaces the watches of holders by those of a proof. *ret_blind: something is left whose end
 * cannot be heard. */
int watch_holders(Region *region, const PmlProof *proof, WatchFn fn, bool *ret_blind);
bool watch_any(const Region *region, bool holder);
void watch_drop(Region *region, bool holder);

/* --- after-fence.c: what the guest gets when its memory was taken: paused (and thawed) or
 * destroyed --- */

/*
 * Begins, or does nothing where it has begun. Goes on in the background until libvirt has done it
 * or the machine is gone; a machine that is frozen stays so until then. frozen: thaw it, and put
 * that into the ledger.
 */
int after_fence_begin(Manager *m, const PmlLeaseRecord *rec, bool frozen);
/* Asks libvirt once to destroy the lease's domain, and does not wait. 0, -ENOTCONN: it is not
 * connected, or negative errno. */
int after_fence_destroy(Manager *m, const PmlLeaseRecord *rec);
/* libvirt is connected again: what waits for it is tried again. */
void after_fence_retry(Manager *m);
/*
 * True while the machine of this lease waits for libvirt: it is frozen, or, where that failed, runs
 * on with its memory gone. A record that says `frozen` has a later daemon begin this again.
 */
bool after_fence_pending(Manager *m, const char *lease_id);
/* The lease's record has moved: what only waited for that is written. */
void after_fence_poke(Manager *m);

/* --- op-lease.c --- */

/* A job that an eviction replaces: op_lease_kind and op_recover_kind. */
bool lease_job_replaceable(const Job *job);
/*
 * Takes the region away from a lease job for an evict job. False: the lease job waits for libvirt
 * or the kernel, its late result will be cleaned up and nothing else. True: it is in the middle of
 * a write, and will call evict_taken_over(evict) behind it.
 */
bool lease_job_yield(Job *job, const char *why);
void lease_job_set_successor(Job *job, Job *evict);
/* The region of a lease that libvirt may still be about to attach (its call has not returned). */
bool lease_attach_outstanding(const Region *region);
/* libvirt is there (again): jobs of op_recover_kind that wait for it go on. */
void lease_jobs_libvirt_connected(Manager *m);
int recover_lease_start(Lease *lease);

/* --- persist.c --- */

/* Takes the device of this lease out of the domain's definition, as soon as libvirt answers. */
void persist_remove(const Region *region, const PmlLeaseRecord *rec);

/* --- op-evict.c --- */

/* Takes the region back now, without asking the ledger or the guest: the domain ended, the device
 * was found unbound, a lease failed. */
int evict_force(Region *region, const char *why);
/* After a restart: the same of a region whose guest had let go: nothing of it is frozen. */
int evict_released(Region *region, const char *why);
/* After a restart: the deadline on the disk runs on. */
int evict_continue(Lease *lease);
/* After a restart: an eviction of a region without a lease goes on. */
int evict_continue_unleased(Region *region);
void evict_taken_over(Job *evict);

/* --- op-settle.c --- */

/* The attach's late return, a holder's end, a clock: prove again from the event loop. */
void settle_kick(Region *region);
/* The proof found holders: settle_kick() at the end of each. */
void settle_wait(Region *region, const PmlProof *proof);
/* Doubles from 1 s to 60 s. */
void settle_retry_later(Region *region);

/* --- op-scrub.c --- */

/* Overwrites what the ledger says is to be overwritten: the consent is on the disk. */
int scrub_continue(Region *region);
/* It was scrubbed as a device-dax, and is owed to be memory of the host again. */
int scrub_return(Region *region);

/* --- media-run.c: the helper process that overwrites and reads back --- */

typedef struct MediaRun MediaRun;

typedef enum MediaOutcome {
	MEDIA_OK,
	MEDIA_BAD_BLOCK,
	MEDIA_NOT_ZERO,
	MEDIA_CANCELLED,
	MEDIA_ERROR, /* an errno, or the helper died: see the sentence */
} MediaOutcome;

typedef struct MediaReport {
	MediaOutcome outcome;
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint64_t scrub_usec;
	uint64_t verify_usec;
	int error;  /* errno, 0 when the helper died of a signal */
	int signal; /* it died of this one */
	int exit_status;
} MediaReport;

/* fd: the checked device; taken, also on failure. done is called once, when the process has ended;
 * never after media_run_free(). */
int media_run_start(sd_event *event, const char *helper, int fd, unsigned n_threads,
	uint64_t size_bytes,
	void (*progress)(void *data, bool verify, uint64_t done_bytes, uint64_t total_bytes),
	void (*done)(void *data, const MediaReport *report), void *data, MediaRun **ret);
void media_run_cancel(MediaRun *run);
/* Kills a helper that still runs, and waits for its end. */
MediaRun *media_run_free(MediaRun *run);

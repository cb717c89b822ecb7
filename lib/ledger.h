/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What must not be forgotten: leases, what is known of each extent, proofs, and the history.
 *
 * One transition is one PmlTxn: built anywhere, applied by the one thread that owns the ledger, as
 * one SQLite transaction that is on the disk when pml_ledger_apply() returns (WAL,
 * synchronous=FULL). The ledger checks every transition again with the tables of state.h and
 * refuses two leases over one byte, so that no caller's mistake reaches the disk.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/sysmacros.h>
#include <sys/types.h>

#include "extent.h"
#include "state.h"

#define PML_ID_MAX     40   /* a UUID as text and its end */
#define PML_NAME_LEN   128  /* region ids, domain names, aliases, owners */
#define PML_OWNERS_LEN 1024 /* several owners, comma-separated */
#define PML_CGROUP_LEN 512
#define PML_REASON_MAX 256

typedef struct PmlLedger PmlLedger;
typedef struct PmlTxn PmlTxn;

typedef enum PmlOnEnd {
	PML_ON_END_KEEP,
	PML_ON_END_SCRUB,
	_PML_ON_END_MAX,
	_PML_ON_END_INVALID = -22,
} PmlOnEnd;

typedef enum PmlAfterFence {
	PML_AFTER_FENCE_PAUSE,
	PML_AFTER_FENCE_DESTROY,
	PML_AFTER_FENCE_KEEP, /* runs on where the fence lets it (`revoke`); else as PAUSE */
	_PML_AFTER_FENCE_MAX,
	_PML_AFTER_FENCE_INVALID = -22,
} PmlAfterFence;

/* What is done before the fence. */
typedef enum PmlDrain {
	PML_DRAIN_ASK,	 /* the guest is asked to let go; it has until the deadline */
	PML_DRAIN_FORCE, /* fenced at once, whatever deadline was named */
	PML_DRAIN_NEVER, /* the guest is not asked, and has until the deadline to end */
	_PML_DRAIN_MAX,
	_PML_DRAIN_INVALID = -22,
} PmlDrain;

/* A guest that was asked and said no. */
typedef enum PmlOnRefusal {
	PML_ON_REFUSAL_FORCE, /* is asked again, and fenced at the deadline */
	PML_ON_REFUSAL_KEEP,  /* keeps its memory: the eviction fails */
	_PML_ON_REFUSAL_MAX,
	_PML_ON_REFUSAL_INVALID = -22,
} PmlOnRefusal;

const char *pml_on_end_to_string(PmlOnEnd v);
PmlOnEnd pml_on_end_from_string(const char *s);
const char *pml_after_fence_to_string(PmlAfterFence v);
PmlAfterFence pml_after_fence_from_string(const char *s);
const char *pml_drain_to_string(PmlDrain v);
PmlDrain pml_drain_from_string(const char *s);
const char *pml_on_refusal_to_string(PmlOnRefusal v);
PmlOnRefusal pml_on_refusal_from_string(const char *s);

/* A lease, as the disk has it. A plain value. */
typedef struct PmlLeaseRecord {
	char id[PML_ID_MAX];
	char region[PML_NAME_LEN]; /* region id at lease time */
	char region_name[PML_NAME_LEN];
	PmlExtent extent;
	char domain[PML_ID_MAX]; /* libvirt domain UUID */
	char domain_name[PML_NAME_LEN];
	char alias[PML_NAME_LEN]; /* memory device: "ua-pmemlease-…", chosen before the attach */
	char owner[PML_NAME_LEN];
	PmlLeaseState state;
	PmlOnEnd on_end;
	PmlAfterFence after_fence;
	PmlDrain drain;
	PmlOnRefusal on_refusal;
	uint64_t grace_usec; /* the deadline of an eviction that names none, or PML_DEADLINE_… */
	/* Of memory of the host: whether it is lent as a virtio-mem, which is given back in parts,
	 * else as a dimm; how much it is; and how much of that its guest has. */
	bool virtio_mem;
	uint64_t lent_bytes;
	uint64_t plugged_bytes;
	bool restore;	   /* wanted again when its memory's part of the host comes back */
	bool keep_offline; /* an evict that takes the region offline until readmit */
	bool frozen; /* the machine waits to be paused or destroyed after its fence, its cgroup
			frozen by us or, where that failed, not: a restart goes on with it */
	uint64_t deadline_usec; /* CLOCK_BOOTTIME, or PML_DEADLINE_INFINITY; 0 = none is running;
				   valid in boot_id only */
	char boot_id[PML_ID_MAX];
	dev_t devno;	      /* of the device, in boot_id; 0: memory of the host, or unknown */
	bool dev_block;	      /* devno is a block device's */
	uint64_t since_usec;  /* CLOCK_REALTIME of the last transition */
	uint32_t creator_uid; /* who asked for the lease: caps count by it */
	pid_t vmm_pid;	      /* the QEMU process, 0 = unknown */
	uint64_t vmm_start;   /* its start time in clock ticks, so that a reused pid is not it */
	char vmm_cgroup[PML_CGROUP_LEN]; /* cgroup v2 path of the machine's scope,
					    "/machine.slice/…" */
	int64_t proof;			 /* rowid of the newest proof, 0 = none */
} PmlLeaseRecord;

/* What is known of one extent. Extents in the ledger never overlap; what no row covers is foreign
 * and free. */
typedef struct PmlExtentRecord {
	PmlExtent extent;
	PmlContent content;
	char owner[PML_OWNERS_LEN]; /* whose data; of scrubbing: whose is being discarded; a row has
				       one or "" */
	PmlUse use;
	char reason[PML_REASON_MAX]; /* of quarantine or of being kept offline, "" otherwise */
	bool ram; /* was memory of the host (dax_kmem) when it was lent, taken offline or
		     overwritten, and is to be that again */
} PmlExtentRecord;

typedef struct PmlHistoryRecord {
	int64_t seq;
	uint64_t time_usec; /* CLOCK_REALTIME when it happened; rows written after an outage are
			       later in seq */
	char subject[16];   /* "lease" "region" "content" "daemon" */
	char id[PML_NAME_LEN];
	char from[48]; /* of an extent in several states: all of them, comma-separated */
	char to[32];
	char *detail;	/* one sentence, or NULL */
	char actor[64]; /* "uid 0", "daemon", "kernel", "libvirt" */
} PmlHistoryRecord;

/* Documented outcomes of opening and applying. Positive; handled by the direct caller. */
enum {
	PML_LEDGER_CORRUPT = 1, /* damaged: do not start, nothing was changed in the file */
	PML_LEDGER_NEWER,	/* made by a newer version: do not start */
	PML_LEDGER_OVERLAP,	/* another lease that is not released covers one of these bytes */
	PML_LEDGER_ILLEGAL,	/* the disk's state does not allow this transition */
};

/*
 * Opens or creates the ledger (mode 0600, exclusive: a second opener gets -EBUSY). An older schema
 * is upgraded in one transaction. Runs integrity checks and validates every row. On a positive
 * outcome *ret_why (if asked for) is a sentence for the log; caller frees. Returns 0,
 * PML_LEDGER_CORRUPT, PML_LEDGER_NEWER or negative errno (-ENOSPC, -EIO, -EROFS, -EBUSY…).
 */
int pml_ledger_open(const char *path, PmlLedger **ret, char **ret_why);
PmlLedger *pml_ledger_close(PmlLedger *l); /* takes NULL, returns NULL */

/*
 * --- a transaction: filled by one thread, applied by the ledger's ---
 * Everything is copied. Each returns 0, -ENOMEM, -EINVAL (no such event, an extent that is none, an
 * owner that is empty or has a comma or a control character) or -ENAMETOOLONG. A transaction to
 * which a change could not be added stays refused with that error: pml_ledger_apply() never applies
 * the rest of it.
 */
PmlTxn *pml_txn_new(const char *actor); /* NULL: out of memory */
PmlTxn *pml_txn_free(PmlTxn *t);
/* New lease (state RESERVED; its id must be new). rec->proof and rec->since_usec are not read. */
int pml_txn_lease_new(PmlTxn *t, const PmlLeaseRecord *rec);
/*
 * Moves a lease by an event; *rec holds the new values of all other fields and its OLD state. What
 * a lease is (region, extent, domain, owner, creator_uid) never changes: another value is
 * PML_LEDGER_ILLEGAL. proof is written by pml_txn_proof() alone, since_usec is the time of this
 * call. A history row is made from it.
 */
int pml_txn_lease_step(PmlTxn *t, const PmlLeaseRecord *rec, PmlLeaseEvent ev, const char *detail);
/* Writes fields of a lease without moving its state (alias, pid, frozen…). rec->state is compared.
 */
int pml_txn_lease_update(PmlTxn *t, const PmlLeaseRecord *rec);
/*
 * Moves the use of every byte of an extent (rows are split at its edges; uncovered bytes count as
 * foreign and free). reason: must be given for QUARANTINE and LIFT; of EVICT and FENCED it is why
 * the region is kept offline, or NULL. A long one is cut in the extent's record, with "…" at its
 * end; the history has all of it.
 */
int pml_txn_use_step(
	PmlTxn *t, const char *region_id, const PmlExtent *e, PmlUseEvent ev, const char *reason);
/*
 * Moves the content. owner: for LENT and ADOPT the new owner (LENT over data of another owner is
 * refused as PML_LEDGER_ILLEGAL: invariant 2); for SCRUB_BEGIN the owner whose data is discarded,
 * which must name every owner that the extent holds, comma-separated in any order ("" when it holds
 * none); else NULL. REPLACED: the medium is another, and what is on it nobody here has seen. ADOPT
 * takes the foreign bytes: those of the same owner and blank ones stay as they are, if any is
 * foreign or already his.
 */
int pml_txn_content_step(PmlTxn *t, const char *region_id, const PmlExtent *e, PmlContentEvent ev,
	const char *owner);
/* As what these bytes are lent or taken offline: `ram` of each byte's record. */
int pml_txn_ram(PmlTxn *t, const char *region_id, const PmlExtent *e, bool ram);
/* How much its guest has now of what is lent as a virtio-mem. No other change of a lease writes
 * that. */
int pml_txn_plugged(PmlTxn *t, const char *lease_id, uint64_t plugged_bytes);
/* Records a proof (JSON text); lease_id may be NULL. The row's number is put in rec.proof of that
 * lease in the same transaction. */
int pml_txn_proof(PmlTxn *t, const char *lease_id, const char *region_id, const char *json);
/* A history row that is no transition. */
int pml_txn_note(PmlTxn *t, const char *subject, const char *id, const char *detail);

/* What lies on a part of the host that is to leave (JSON text), in the place of what was recorded
 * of it before; json NULL: forgotten. part: what stays the same when it comes back (part.h). */
int pml_txn_layout(PmlTxn *t, const char *part, const char *json);

/*
 * Applies all of it or nothing. 0: on the disk. PML_LEDGER_OVERLAP, PML_LEDGER_ILLEGAL: refused,
 * nothing written, *ret_why (if asked for) says which, caller frees; PML_LEDGER_CORRUPT: the file
 * was damaged while open, likewise. Negative errno: the disk failed (-ENOSPC, -EIO…), nothing
 * written; the same PmlTxn may be applied again later. (A crash right after -EIO may still find it
 * applied, when only the disk's answer was lost: what a start reads counts.)
 *
 * Changes are made in order; these are checked when all were made, so that their order does not
 * matter:
 * - a new lease has all its bytes `leased`; one that is attached also has them `retained` by its
 * owner;
 * - PROVED: a proof of that lease is in this transaction, or was recorded since FENCE, and since
 * UNPROVED if it was stuck;
 * - use CLEARED and LEASE_UNDONE: no lease over these bytes is left that is not released; and a
 *   lease that became released leaves no byte `leased`;
 * - REPLACED: no lease over these bytes is left that is not released;
 * - SCRUB_BEGIN and SCRUB_VERIFIED: no lease over these bytes is left that is not released; and for
 *   SCRUB_VERIFIED every byte is `free`, since an old holder could have written after the reading.
 */
int pml_ledger_apply(PmlLedger *l, const PmlTxn *t, char **ret_why);

/* --- reading; arrays are malloc-ed and the caller's (NULL when empty). 0 or negative errno;
 * -EUCLEAN: the file is damaged --- */
int pml_ledger_leases(PmlLedger *l, bool with_released, PmlLeaseRecord **ret, size_t *ret_n);
/* One lease, released ones too; -ENOENT. */
int pml_ledger_lease(PmlLedger *l, const char *id, PmlLeaseRecord *ret);
int pml_ledger_extents(PmlLedger *l, PmlExtentRecord **ret, size_t *ret_n);
/* The newest proof of a lease, or of a region where lease_id is NULL. 0 and malloc-ed JSON, or
 * -ENOENT. */
int pml_ledger_proof(PmlLedger *l, const char *lease_id, const char *region_id, char **ret_json);
/* 0 and malloc-ed JSON, or -ENOENT. */
int pml_ledger_layout(PmlLedger *l, const char *part, char **ret_json);
/* All of them, JSON each; a NULL-terminated list, all of it malloc-ed and the caller's. */
int pml_ledger_layouts(PmlLedger *l, char ***ret_json);
/*
 * Newest first, at most max rows with seq below before (0 = all), of one lease, or of one region
 * and its leases (NULL = all).
 */
int pml_ledger_history(PmlLedger *l, const char *id, int64_t before, size_t max,
	PmlHistoryRecord **ret, size_t *ret_n);
void pml_history_free(PmlHistoryRecord *rows, size_t n);

/*
 * Folds what rows say of one region's extent into one record: any quarantined byte quarantines all,
 * any byte not seen makes it foreign, one owner with the rest blank is that owner's, several owners
 * are foreign with all owners named comma-separated in owner. Pure; used by ledger and manager
 * alike.
 */
void pml_extent_records_fold(
	const PmlExtentRecord *rows, size_t n, const PmlExtent *e, PmlExtentRecord *ret);

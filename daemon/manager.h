/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Everything the daemon knows, owned by the main thread. Ledger first, memory second: a transition
 * is built as a PmlTxn, applied in EXEC_LEDGER, and taken over into these structures when it is on
 * the disk (towards the fence: when it is marked in /run).
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "config.h"
#include "exec.h"
#include "job.h"
#include "names.h"
#include "pmemlease.h"
#include "virt.h"

/* A named error (names.h) with a sentence that says what to do. */
typedef struct OpError {
	char error[64];
	char message[2048]; /* room for a list of owners that must be named */
} OpError;

/* Fills *err; returns 1, so that a starter can `return op_error(…)`. */
int op_error(OpError *err, const char *error, const char *format, ...)
	__attribute__((__format__(printf, 3, 4)));

/* A process that holds a fenced region: its pidfd is watched, its end is a reason to prove again.
 */
typedef struct Watch Watch;

/*
 * What the ledger's rows say of a region's bytes, folded. Most regions have no owner and no reason,
 * and a host may have very many regions: the two are allocated where there is something to say.
 */
typedef struct RegionRecord {
	PmlContent content;
	PmlUse use;
	const char *owner;  /* of several: comma-separated; "": nobody's */
	const char *reason; /* of quarantine or of being kept offline; "" otherwise */
	bool ram;	    /* is to be memory of the host when it is bound again */
	char *texts;	    /* where the two lie; NULL: they are constants */
} RegionRecord;

struct Region {
	Manager *manager;
	LIST_ENTRY(Region) regions;
	char id[PML_NAME_LEN];
	PmlRegion *host;  /* the newest scan's view; NULL while missing */
	PmlRegion *last;  /* as host, and kept while missing: what a fence and a proof of a vanished
			     device go by */
	PmlExtent extent; /* also while missing */
	PmlPresence presence;
	RegionRecord record;
	Lease *lease; /* the lease that is not released, or NULL */
	Job *job;     /* or NULL */
	Watch *watches;
	char *intruder;	  /* who holds it behind our back, for people; or NULL */
	bool was_offline; /* was proved or seen unbound while it was kept offline */
	bool is_awaited;  /* its device is being enabled by our own doing: op-readmit-device.c */
	bool look;	  /* its turn to be looked at: behind.c */
	char *held_by; /* what the newest proof of an eviction said of those that are left; or NULL
			*/
	sd_event_source *retry; /* proves again on a clock where no holder can be watched */
	uint64_t retry_usec;
	char *path;		     /* object path */
	char name[PML_NAME_LEN];     /* "dax0.0"; the last one known while missing */
	bool on_bus;		     /* InterfacesAdded was sent */
	bool changed;		     /* to be told on the bus: announce.c */
	bool presence_moved;	     /* by the last scan */
	bool returned;		     /* by the last scan: it was missing before */
	bool replaced;		     /* while lent: the block device is another one with its name */
	sd_event_source *disk_watch; /* of a partition: block-watch.c */
	dev_t disk_watched;	     /* for which device; 0: none */
};

/* What people call a region: its device's name; its id where it never had one. */
static inline const char *region_label(const Region *r)
{
	return r->name[0] ? r->name : r->id;
}

/* Also of one that is missing, if it was here since the daemon's start. */
static inline bool region_is_block(const Region *r)
{
	return r->last && pml_region_kind(r->last) == PML_KIND_BDEV;
}

/* Memory of the host, or unbound and to be that again. */
static inline bool region_is_ram(const Region *r)
{
	const PmlRegion *host = r->host ? r->host : r->last;
	PmlBinding binding = host ? pml_region_binding(host) : PML_BINDING_NONE;

	return binding == PML_BINDING_KMEM || (binding == PML_BINDING_NONE && r->record.ram);
}

/* Offline until somebody brings it back by name. */
static inline bool region_is_kept_offline(const Region *r)
{
	/* A block device has no driver that could be taken from it: the ledger alone keeps it. */
	return !r->lease && r->record.use == PML_USE_EVICTED && r->record.reason[0] &&
	       !(r->host && pml_region_kind(r->host) == PML_KIND_BDEV);
}

/* Memory errors that libvirt told of: memory-failure.h. */
typedef struct FailureCount {
	uint64_t n;
	uint64_t noted_usec; /* CLOCK_BOOTTIME: in the history; 0: not yet */
} FailureCount;

struct Lease {
	Manager *manager;
	LIST_ENTRY(Lease) leases;
	PmlLeaseRecord record;
	Region *region;
	sd_event_source *deadline; /* runs while DRAINING */
	char *path;
	bool recorded; /* the ledger has it; false until `reserve` is on the disk */
	/* Ahead of the ledger, by a mark in /run: lease_state() is the mark's, record.state the
	 * disk's. */
	bool marked;
	PmlLeaseState mark;
	char *unpersisted; /* why the next start of its machine will be without it; or NULL */
	char *unasked;	   /* why its guest could not be asked for it now, with the mend; or NULL */
	char *pinned;	   /* what pins its machine's memory by now, a sentence; or NULL */
	bool start_over; /* libvirt has said that the machine's process is gone: nothing of a start
			    is left that could reach the region */
	bool gone;	 /* released or never recorded: freed when no job has it */
	FailureCount failures;
	bool panics;  /* its guest does, where it touches what was revoked: machine-check.h */
	int claim_fd; /* of a block device: keeps the host from using it meanwhile; or -EBADF */
	bool on_bus;
	bool changed; /* to be told on the bus: announce.c */
};

struct Manager {
	sd_event *event;
	sd_bus *bus;
	Executors *exec;
	Config config;
	const PmlDaxOps *dax;
	const VirtOps *virt_ops;
	/* Replaced by tests: how the host is scanned. */
	int (*scan)(PmlInventory **ret);
	/* Replaced by tests: how a proof is made; NULL: pml_proof_collect(). */
	int (*prove)(const PmlProofRequest *req, PmlProof **ret);
	/* Replaced by tests: page faults of a machine that failed so far; NULL: lie.c. */
	int (*failed_faults)(const PmlLeaseRecord *rec, int64_t *ret);
	/* Replaced by tests: a guest that takes or gives back nothing for so long has stopped; 0:
	 * as op-lease.c and ask.c say. */
	uint64_t stall_usec;
	/* Replaced by tests: what a machine check does to a guest (machine-check.h); NULL:
	 * machine_check_recovers_pid(). */
	int (*recovers)(pid_t pid, uint64_t start_ticks);
	/* Replaced by tests: how old holders are kept from the next binding; NULL:
	 * withdraw_nodes(). */
	int (*withdraw)(const PmlRegion *host, const PmlProof *proof);
	/* Replaced by tests: the parts of the host (part.h); NULL: pml_part_scan(),
	 * pml_part_disable_namespace(), pml_part_enable_namespace(). */
	int (*scan_part)(const char *name, PmlPart **ret);
	int (*disable_namespace)(const PmlPartNamespace *seen);
	int (*enable_namespace)(const PmlPartNamespace *seen);
	Virt *virt;
	PmlLedger *ledger;	      /* EXEC_LEDGER's, once started */
	uint64_t ledger_checked_usec; /* CLOCK_REALTIME: when every row was checked */
	/* EXEC_LEDGER's, once started: up to here the journal has the history. */
	int64_t history_seq;
	int marks_fd;
	char boot_id[PML_ID_MAX];
	PmlInventory *inventory;
	char **named; /* block devices that an operator named: wanted.h; NULL-terminated, or NULL */
	LIST_HEAD(, Region) regions;
	LIST_HEAD(, Lease) leases;
	Job *jobs;
	uint64_t next_job_id;
	bool libvirt_connected;
	struct Scan *rescan_running;
	bool rescan_again;
	/* All rows of the ledger about extents, as the last view had them. */
	PmlExtentRecord *extents;
	size_t n_extents;
	sd_event_source *read_again;	     /* memory is behind the ledger: it could not be read */
	struct RescanWaiter *rescan_waiters; /* of the running scan */
	struct RescanWaiter *rescan_waiters_next;
	struct Pending *pending; /* bus calls that wait for an answer: bouncer.c */
	unsigned n_pending;
	sd_event_source *bus_retry;
	sd_event_source *announce;
	uint64_t bus_retry_usec;
	bool bus_ready; /* the name is ours */
	struct AfterFence
		*after_fence; /* machines that libvirt has yet to pause or destroy: after-fence.c */
	struct Destroy *destroys;      /* libvirt is being asked to: after-fence.c */
	char *managed;		       /* the list for libvirt's hook, as it was written last */
	unsigned background;	       /* looks and calls under way that are no job's */
	struct Undefine *undefines;    /* definitions that libvirt has yet to change: persist.c */
	struct Ask *asks;	       /* guests that are being asked: ask.c */
	struct AgentLook *agent_looks; /* … of which it is asked whether they could be: askable.c */
	struct PluggedCall *plugged_calls; /* … and asked beside that: plugged.c */
	struct Behind *behind;
	struct Deprived *deprived; /* machines that go on without their memory: deprived.c */
	struct Grant *grants;	   /* machines that wait to be started: grant.c */
	int uevent_fd;
	sd_event_source *uevent_source;
	void (*on_ready)(Manager *m); /* main.c: the bus name is there, or the bus is not */
	unsigned n_applies;	      /* manager_apply(): not yet done */
	unsigned n_reloads;	      /* that are under way */
	void (*on_reload)(Manager *m, bool over); /* main.c, may be NULL: the first begins, the last
						     is over */
};

/* --- manager.c --- */

/* Nothing is opened yet: virt_ops must be set, dax and scan may be replaced, before
 * manager_start(). The event is borrowed, config copied as config_copy() does. */
int manager_new(sd_event *event, const Config *config, Manager **ret);
/*
 * Opens the ledger (before anything else), loads it, the marks and the host, lets recover() decide,
 * and starts libvirt, uevents and the bus. -EUCLEAN: the ledger is corrupt or of a newer version,
 * logged, nothing was changed.
 */
int manager_start(Manager *m);
/* Releases nothing: what is leased stays leased. Waits for the ledger's last transaction. */
Manager *manager_free(Manager *m);

/*
 * Finds by region id, namespace UUID, device name, never by a path (a path may hang: bus-util.h
 * resolves those in EXEC_WORK). 0, -ENOENT, -ENOTUNIQ (a UUID that several carry).
 */
int manager_find_region(Manager *m, const char *name, Region **ret);
Region *manager_find_region_by_devno(Manager *m, dev_t devno);
Region *manager_find_region_by_extent(Manager *m, const PmlExtent *e); /* exactly these bytes */
/* By lease id, NULL if there is none. */
Lease *manager_find_lease(Manager *m, const char *id);

/* Scans the host soon, in EXEC_WORK; requests are coalesced. done (may be NULL) is called after a
 * scan that began after this call. */
int manager_rescan(Manager *m, void (*done)(void *data, int r), void *data);

/* --- reload.c --- */

/*
 * Reads the configuration again, in EXEC_WORK, and scans the host. done (may be NULL) is called
 * with 0; 1: the configuration is refused, everything stays as it was, why is in *errors (borrowed)
 * and in the journal; negative errno. -ENOMEM: not begun.
 */
typedef void (*ReloadDone)(void *data, int r, const ConfigErrors *errors);
int manager_reload(Manager *m, ReloadDone done, void *data);
/* Before anything else runs: the files over what the command line left open. -EUCLEAN: they are
 * refused, why was logged. */
int config_start(Config *c);
/* Each as a line of the journal. */
void config_errors_log(const ConfigErrors *errors, const char *consequence);

/*
 * A transition, and how memory follows it. One way for all:
 *
 *	step's prepare (main):      ledger_change_init(&d->change, m, txn);
 *	step's run in EXEC_LEDGER:  return ledger_change_run(&d->change);
 *	step's done (main):         ledger_change_done(&d->change, r);  and then looks at r and
 *d->change.why
 *
 * run applies the transaction and, when it is on the disk, reads all leases that are not released
 *and all extents again (few rows); done puts them into every Lease and Region, emits
 *PropertiesChanged and logs what moved. Views come back in the order in which the one ledger thread
 *made them, so memory never goes back. A lease that was recorded and is in the view no more is
 *released: its state becomes RELEASED, region->lease NULL, and it is freed when the last job that
 *has it ends.
 */
typedef struct JournalRows { /* journal.h */
	PmlHistoryRecord *rows;
	size_t n;
} JournalRows;

typedef struct LedgerChange {
	Manager *manager;
	PmlTxn *txn; /* NULL: only read again */
	char *why;   /* with a positive result: the ledger's sentence */
	PmlLeaseRecord *leases;
	size_t n_leases;
	PmlExtentRecord *extents;
	size_t n_extents;
	JournalRows history; /* what it added */
	bool read;
} LedgerChange;

void ledger_change_init(
	LedgerChange *c, Manager *m, PmlTxn *txn); /* takes txn; *c was zero or done */
int ledger_change_run(LedgerChange *c); /* 0, PML_LEDGER_OVERLAP, PML_LEDGER_ILLEGAL, negative
					   errno: repeat is possible */
void ledger_change_done(LedgerChange *c,
	int r); /* on success the txn is freed; on failure kept, so that run may be called again */
void ledger_change_clear(LedgerChange *c);
/* Outside of jobs: all of the above in one. why is borrowed. Takes txn, also on failure. */
int manager_apply(
	Manager *m, PmlTxn *txn, void (*done)(void *data, int r, const char *why), void *data);
/* The named error for a result of ledger_change_run() that is not 0. */
int ledger_op_error(OpError *err, int r, const char *why);
void job_set_ledger_error(Job *job, int r, const char *why);

/* --- region.c --- */

int region_new(Manager *m, const char *id, const char *name, const PmlExtent *extent, Region **ret);
Region *region_free(Region *r);
/* Folds the ledger's rows over the region's extent again; true if anything changed. */
bool region_refold(Region *r);
/* Takes a newest scan over (does not take inv), presence steps, identity by extent, missing ones.
 */
int regions_merge(Manager *m, const PmlInventory *inv);
/* A lent block device shrank below the lease's end, or is another one now. */
bool region_is_cut(const Region *r);
/* What the ledger knows of bytes that no present region covers is shown as missing regions; those
 * without a past are dropped. */
int regions_show_missing(Manager *m);
/* Why it cannot be leased now, a sentence each; NULL-terminated, free with region_obstacles_free().
 * Empty: it can. */
int region_obstacles(const Region *r, char ***ret);
char **region_obstacles_free(char **l);
/* 0, or 1 with the first obstacle as a named error; everything but the owner's question (NotClean)
 * is in it. */
int region_leasable(const Region *r, OpError *err);

/* --- managed.c --- */

/* After a scan: the list of devices that libvirt's hook keeps machines from while the daemon is
 * down. at_start: before there is a loop. */
void managed_update(Manager *m, bool at_start);

/* --- lease.c --- */

/* In memory only, with record as given (its id is new); region->lease is set. Announced on the bus.
 */
int lease_new(Manager *m, Region *region, const PmlLeaseRecord *record, bool recorded, Lease **ret);
Lease *lease_free(Lease *l);
PmlLeaseState lease_state(const Lease *l);
/* The mark was written (or, with clear, removed): what others see follows. */
void lease_set_mark(Lease *l, PmlLeaseState state);
void lease_clear_mark(Lease *l);
/* Was never recorded (undone): off the bus, freed when no job has it. */
void lease_drop(Lease *l);
/* Frees those that are gone and that no job has. */
void leases_collect(Manager *m);
int lease_new_id(char ret[PML_ID_MAX]);
/* The domain of this UUID has another name now: the leases that it has show it. */
void leases_rename(Manager *m, const char *domain, const char *name);

/* --- signals; each does nothing while there is no bus --- */
void region_changed(Region *r);
void region_resized(Region *r, uint64_t old_bytes, uint64_t new_bytes);
void lease_changed(Lease *l);
void region_emit_changed(Region *r); /* announce.c */
void lease_emit_changed(Lease *l);   /* announce.c */
void manager_changed(Manager *m);    /* LibvirtConnected */

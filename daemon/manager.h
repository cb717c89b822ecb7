/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Everything the daemon knows, owned by the main thread. Ledger first, memory second: a transition is built as a PmlTxn, applied
 * in EXEC_LEDGER, and taken over into these structures when it is on the disk (towards the fence: when it is marked in /run).
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "exec.h"
#include "job.h"
#include "names.h"
#include "pmemlease.h"
#include "virt.h"

/* A process that holds a fenced region: its pidfd is watched, its end is a reason to prove again. */
typedef struct Watch Watch;

struct Region {
	Manager *manager;
	LIST_ENTRY(Region) regions;
	char id[PML_NAME_LEN];
	PmlRegion *host;        /* the newest scan's view; NULL while missing */
	PmlExtent extent;       /* also while missing */
	PmlPresence presence;
	PmlExtentRecord record; /* folded view of the ledger: content, owner, use, reason */
	Lease *lease;           /* the lease that is not released, or NULL */
	Job *job;               /* or NULL */
	Watch *watches;
	sd_event_source *retry; /* proves again on a clock where no holder can be watched */
	uint64_t retry_usec;
	char *path;             /* object path */
};

struct Lease {
	Manager *manager;
	LIST_ENTRY(Lease) leases;
	PmlLeaseRecord record;
	Region *region;
	sd_event_source *deadline; /* runs while DRAINING */
	char *path;
};

typedef struct Config {
	const char *state_dir;   /* PML_STATE_DIR */
	const char *runtime_dir; /* PML_RUNTIME_DIR */
	const char *libvirt_uri; /* "qemu:///system" */
	const char *media_helper;
	uint64_t freeze_timeout_usec; /* 1 s */
	uint64_t proof_timeout_usec;  /* 10 s: no proof by then is `stuck` */
	uint64_t deadline_max_usec;   /* 1 day: a longer one is refused */
	unsigned max_leases_per_uid;
	unsigned max_jobs;
} Config;

struct Manager {
	sd_event *event;
	sd_bus *bus;
	Executors *exec;
	Config config;
	const PmlDaxOps *dax;
	const VirtOps *virt_ops;
	/* Replaced by tests: how the host is scanned. */
	int (*scan)(PmlInventory **ret);
	Virt *virt;
	PmlLedger *ledger; /* EXEC_LEDGER's, once started */
	int marks_fd;
	char boot_id[PML_ID_MAX];
	PmlInventory *inventory;
	LIST_HEAD(, Region) regions;
	LIST_HEAD(, Lease) leases;
	Job *jobs;
	uint64_t next_job_id;
	bool libvirt_connected;
	bool rescan_running, rescan_again;
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * libvirt, as the daemon sees it: a table of operations, so that tests put a fake in its place. The
 * one real table is in virt-domain.c. Everything here blocks and runs in EXEC_VIRT (key: the
 * domain's UUID) or EXEC_URGENT; nothing is called on the main thread but start, free and
 * connected.
 *
 * libvirt's objects do not leave virt*.c; its errors are turned into the outcomes below and a
 * sentence. When libvirt's daemon hangs, a call that waits for it fails as VIRT_UNAVAILABLE after
 * VIRT_KEEPALIVE_INTERVAL_SEC * (VIRT_KEEPALIVE_COUNT + 1) seconds, and later calls at once.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "exec.h"
#include "ledger.h"

#define VIRT_KEEPALIVE_INTERVAL_SEC 2
#define VIRT_KEEPALIVE_COUNT	    3
/* Of the connection that only brings events: libvirt's end is seen at once, that it hangs by the
 * next call, and by this if there is none. */
#define VIRT_EVENTS_KEEPALIVE_SEC 120

typedef struct Virt Virt;

/* Documented outcomes; positive. */
enum {
	VIRT_NO_DOMAIN = 1,
	VIRT_NOT_RUNNING,
	VIRT_UNSUITED,	    /* the machine cannot take an nvdimm: the sentence names the mend */
	VIRT_UNAVAILABLE,   /* not connected, or the connection broke during the call */
	VIRT_REFUSED,	    /* libvirt or QEMU said no: the sentence is theirs */
	VIRT_AMBIGUOUS,	    /* the connection broke during an attach: see has_device later */
	VIRT_BUSY,	    /* libvirt waited (30 s) for another operation on this domain and gave
			       up: nothing was done, try again. No event will say when */
	VIRT_NO_AGENT,	    /* of release: the guest has no agent, or no program for it to run */
	VIRT_AGENT_BLOCKED, /* … its agent may not run programs */
	VIRT_AGENT_SILENT,  /* … its agent does not answer */
	VIRT_NODE_UNKNOWN,  /* of suited: libvirt does not know the NUMA node of the memory */
	VIRT_PINNED,	    /* of suited: a device of the machine pins or hands on its memory */
};

typedef struct VirtDomain {
	char uuid[PML_ID_MAX];
	char name[PML_NAME_LEN];
	bool running; /* or paused: has a process */
} VirtDomain;

typedef enum VirtEventType {
	VIRT_EV_CONNECTED, /* (again): everything must be read again */
	VIRT_EV_DISCONNECTED,
	VIRT_EV_DOMAIN_STOPPED, /* its process is gone; detail: why, in a word or two */
	VIRT_EV_DOMAIN_STARTED,
	VIRT_EV_DOMAIN_RESET, /* by its guest or by somebody; its process goes on */
	VIRT_EV_DOMAIN_RESUMED,
	VIRT_EV_DOMAIN_RENAMED, /* detail: its name now */
	VIRT_EV_DEVICE_ADDED,	/* alias */
	VIRT_EV_DEVICE_REMOVED, /* alias */
	VIRT_EV_REMOVAL_FAILED, /* alias: the guest keeps the device */
	VIRT_EV_MEMORY_RESIZED, /* alias: the guest has another part of its virtio-mem than before
				 */
	VIRT_EV_MEMORY_FAILURE, /* detail: who was told, and what was done */
	VIRT_EV_AGENT,		/* somebody in the guest listens for an agent's commands, or no
				   longer does */
} VirtEventType;

typedef struct VirtEvent {
	VirtEventType type;
	char domain[PML_ID_MAX]; /* UUID */
	char alias[PML_NAME_LEN];
	char detail[256];
} VirtEvent;

/* One memory device as it goes to libvirt. */
typedef struct VirtMemory {
	char alias[PML_NAME_LEN];
	char path[PATH_MAX];
	uint64_t size_bytes;
	uint64_t align_bytes;
	bool block; /* a block device: virtio-pmem, not nvdimm */
	/* Memory of the host: a dimm of a NUMA node, which has neither path nor alignment. */
	bool ram;
	int node;
	/* … or a virtio-mem of it, which the guest gives back in parts. */
	bool virtio_mem;
	/* Of both, where it goes in the guest; has_place: else QEMU chooses. */
	bool has_place;
	uint64_t base_bytes;
	uint64_t slot;
} VirtMemory;

/* What a guest has of a virtio-mem. */
typedef struct VirtPlugged {
	bool attached; /* the machine has it; else the rest is 0 */
	uint64_t size_bytes;
	uint64_t requested_bytes; /* what the guest is to have */
	uint64_t current_bytes;	  /* what it has */
} VirtPlugged;

/* In the place of a size that it is to have: it is only looked at; it is to stay as it is now. */
#define VIRT_RESIZE_LOOK UINT64_MAX
#define VIRT_RESIZE_STAY (UINT64_MAX - 1)
/* In what a virtio-mem is divided: at least a huge page of x86-64 (libvirt formatdomain, "block").
 */
#define VIRT_BLOCK_BYTES (2ULL << 20)

/* A guest is asked to let go of a memory device. */
typedef struct VirtRelease {
	int64_t pid;	  /* of the program that does it, in the guest; 0: to be begun */
	bool over;	  /* it has ended, and has … */
	bool released;	  /* … or has not, */
	char reason[256]; /* for this reason: the guest's words, printable */
} VirtRelease;

/* libvirt itself, and what it says of the host. */
typedef struct VirtHost {
	unsigned version;   /* 11003000: 11.3.0 */
	char security[128]; /* its security drivers: "apparmor dac" */
} VirtHost;

/*
 * *ret_why is written with a positive outcome only: a malloc-ed sentence for people, or NULL when
 * there was no memory for one. uuid is the domain's, as suited gave it.
 */
typedef struct VirtOps {
	/*
	 * Starts threads, connects in the background, reconnects with back-off for ever. on_event
	 * runs on the main thread, first with CONNECTED, and never after free. x outlives the Virt.
	 */
	int (*start)(void *userdata, Executors *x, const char *uri,
		void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret);
	/* Does not wait: a call that is still in libvirt keeps what it needs until it returns. */
	Virt *(*free)(Virt *v);
	bool (*connected)(Virt *v);
	/*
	 * Finds the domain by UUID or name: both, and nothing else of *ret. 0, NO_DOMAIN,
	 * UNAVAILABLE, REFUSED.
	 */
	int (*find)(Virt *v, const char *domain, VirtDomain *ret, char **ret_why);
	/*
	 * Finds the domain by UUID or name, and says: can the running machine take this memory now:
	 * running, KVM, a NUMA cell, maxMemory, and nothing that pins its memory; of an nvdimm also
	 * nvdimm=on, a free slot and ACPI, of a virtio-pmem a free PCI port, of a dimm a slot, ACPI
	 * and that libvirt knows its node, of a virtio-mem a PCI port, ACPI and the same. 0,
	 * NO_DOMAIN, NOT_RUNNING, UNSUITED, NODE_UNKNOWN, PINNED, UNAVAILABLE, REFUSED.
	 */
	int (*suited)(Virt *v, const char *domain, const VirtMemory *mem, VirtDomain *ret,
		char **ret_why);
	/*
	 * Hot-plugs (live only). 0: the domain has it. UNAVAILABLE: nothing was asked of libvirt;
	 * AMBIGUOUS: it may have it, or get it yet. NO_DOMAIN, NOT_RUNNING, REFUSED, BUSY: it has
	 * it not. -EINVAL: a field that libvirt would change (virt-xml.h).
	 */
	int (*attach)(Virt *v, const char *uuid, const VirtMemory *mem, char **ret_why);
	/*
	 * Does the live XML have a memory device of this alias, and with this path: 0 and *ret,
	 * which is false when the domain is off or gone. UNAVAILABLE, REFUSED.
	 */
	int (*has_device)(
		Virt *v, const char *uuid, const VirtMemory *mem, bool *ret, char **ret_why);
	/*
	 * Puts mem into the domain's stored definition (on), or takes it out, where it is; the
	 * running machine is left alone. 0, NO_DOMAIN, UNAVAILABLE, REFUSED, BUSY, -EINVAL.
	 */
	int (*define)(Virt *v, const char *uuid, const VirtMemory *mem, bool on, char **ret_why);
	/*
	 * Does a device of the running machine pin its memory, or hand it to another process: 0,
	 * also when it is off or gone; PINNED. UNAVAILABLE, REFUSED. With the first two ret_name is
	 * what the domain is called now, empty when it is gone.
	 */
	int (*pinned)(
		Virt *v, const char *uuid, char ret_name[static PML_NAME_LEN], char **ret_why);
	/*
	 * Pauses. before(data) (may be NULL) is called in this thread when libvirt has answered
	 * that the machine is there, paused or not, right before the call that needs its main loop
	 * to run: the place to thaw its cgroup. 0 also when it is paused or gone already.
	 * UNAVAILABLE, BUSY, REFUSED: it may be running, also after before().
	 */
	int (*pause)(
		Virt *v, const char *uuid, void (*before)(void *data), void *data, char **ret_why);
	/* Ends the machine's process, frozen or not. 0 also when it is gone already. */
	int (*destroy)(Virt *v, const char *uuid, char **ret_why);
	/*
	 * Through the guest's agent: begins the program that lets go of mem (release->pid is 0; it
	 * is told how long it has, 0: no bound), or looks what has become of it. Waits for the
	 * agent's answer, some seconds at most, and never for the program. 0 and *release;
	 * NO_AGENT, AGENT_BLOCKED, AGENT_SILENT, NO_DOMAIN, NOT_RUNNING, UNAVAILABLE, BUSY,
	 * REFUSED. May be NULL: guests are not asked. A dimm needs no agent: libvirt is asked to
	 * detach it, and it has been released when the machine has it no more; that the guest
	 * refuses is told by REMOVAL_FAILED alone.
	 */
	int (*release)(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t timeout_usec,
		VirtRelease *release, char **ret_why);
	/*
	 * Could the guest be asked now, as release() does it by its agent: 0; NO_AGENT,
	 * AGENT_BLOCKED, AGENT_SILENT with what mends it; NO_DOMAIN, NOT_RUNNING, UNAVAILABLE,
	 * BUSY, REFUSED. Waits as release() does. May be NULL: it is not known.
	 */
	int (*agent)(Virt *v, const char *uuid, char **ret_why);
	/*
	 * Of a virtio-mem: what the guest has of it, and what it is to have from now on (in whole
	 * blocks, VIRT_RESIZE_LOOK, VIRT_RESIZE_STAY). It takes its time; MEMORY_RESIZED tells of
	 * each change, a second late at times (QEMU monitor/monitor.c). 0 and *ret, as it was
	 * before, with requested_bytes as they are now; NO_DOMAIN, NOT_RUNNING, UNAVAILABLE, BUSY,
	 * REFUSED. May be NULL: nothing is lent so.
	 */
	int (*resize)(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t want_bytes,
		VirtPlugged *ret, char **ret_why);
	/* 0, UNAVAILABLE; -EBADMSG. May be NULL: nothing is known then. */
	int (*host)(Virt *v, VirtHost *ret, char **ret_why);
	void *userdata; /* of start */
} VirtOps;

extern const VirtOps virt_libvirt_ops;

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * libvirt, as the daemon sees it: a table of operations, so that tests put a fake in its place. The one real table is in
 * virt.c. Everything here blocks and runs in EXEC_VIRT (key: the domain's UUID) or EXEC_URGENT; nothing here is called on the main thread but new, free and connected.
 *
 * libvirt's objects do not leave virt.c; its errors are turned into the outcomes below and a sentence.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "exec.h"
#include "ledger.h"

typedef struct Virt Virt;

/* Documented outcomes; positive. */
enum {
	VIRT_NO_DOMAIN = 1,
	VIRT_NOT_RUNNING,
	VIRT_UNSUITED,     /* the running machine cannot take an nvdimm: the sentence names what is missing and the mend */
	VIRT_UNAVAILABLE,  /* not connected, or the connection broke during the call */
	VIRT_REFUSED,      /* libvirt or QEMU said no: the sentence is theirs */
	VIRT_AMBIGUOUS,    /* connected, but the outcome of an attach is unknown (connection lost in between): look at virt_has_device() later */
};

typedef struct VirtDomain {
	char uuid[PML_ID_MAX];
	char name[PML_NAME_LEN];
	bool running; /* or paused: has a process */
	bool paused;
} VirtDomain;

typedef enum VirtEventType {
	VIRT_EV_CONNECTED, /* (again): everything must be read again */
	VIRT_EV_DISCONNECTED,
	VIRT_EV_DOMAIN_STOPPED,
	VIRT_EV_DEVICE_REMOVED,
	VIRT_EV_MEMORY_FAILURE,
} VirtEventType;

typedef struct VirtEvent {
	VirtEventType type;
	char domain[PML_ID_MAX];
	char alias[PML_NAME_LEN];
	char detail[256];
} VirtEvent;

/* One memory device as it goes to libvirt. */
typedef struct VirtMemory {
	char alias[PML_NAME_LEN];
	char path[PATH_MAX];
	uint64_t size_bytes;
	uint64_t align_bytes;
} VirtMemory;

typedef struct VirtOps {
	/* Starts threads, connects in the background, reconnects with back-off for ever. on_event runs on the main thread. */
	int (*start)(void *userdata, Executors *x, const char *uri, void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret);
	Virt *(*free)(Virt *v);
	bool (*connected)(Virt *v);
	/* By UUID or name. 0, VIRT_NO_DOMAIN, VIRT_UNAVAILABLE. *ret_why: sentence, malloc-ed, on any outcome. */
	int (*lookup)(Virt *v, const char *domain, VirtDomain *ret, char **ret_why);
	/* Can the running machine take this nvdimm now: running, KVM, nvdimm=on, a NUMA cell, maxMemory, a free slot, ACPI. 0, NOT_RUNNING, UNSUITED, … */
	int (*suited)(Virt *v, const char *uuid, const VirtMemory *mem, char **ret_why);
	/* Hot-plugs (live only). 0: libvirt said done. REFUSED, UNAVAILABLE, AMBIGUOUS… */
	int (*attach)(Virt *v, const char *uuid, const VirtMemory *mem, char **ret_why);
	/* Does the live XML have a memory device of this alias, and with this path. 0 and *ret. */
	int (*has_device)(Virt *v, const char *uuid, const VirtMemory *mem, bool *ret, char **ret_why);
	/*
	 * Pauses. before(data) is called when libvirt has answered that it is there, right before the call that needs the machine's main loop to run: the
	 * place to thaw its cgroup. 0 also when it is paused or gone already.
	 */
	int (*pause)(Virt *v, const char *uuid, void (*before)(void *data), void *data, char **ret_why);
	int (*destroy)(Virt *v, const char *uuid, char **ret_why);
	void *userdata;
} VirtOps;

extern const VirtOps virt_libvirt_ops;

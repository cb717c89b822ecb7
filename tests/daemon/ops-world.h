/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A host to run the operations on: one region, two domains whose machines are real processes, a
 * kernel and a libvirt made of flags. It lies in shared memory, so that it survives the daemon
 * being killed, as a real host does.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "manager.h"

#define WORLD_REGION	  "11111111-2222-3333-4444-555555555555"
#define WORLD_REGION_ANEW "66666666-7777-8888-9999-000000000000" /* made in its place */
#define WORLD_BYTES	  (64ULL << 20)
#define WORLD_A		  "aaaaaaaa-0000-0000-0000-000000000001"
#define WORLD_B		  "bbbbbbbb-0000-0000-0000-000000000002"

/* What the guests' agents do. */
enum {
	WORLD_AGENT_NONE,
	WORLD_AGENT_RELEASES,
	WORLD_AGENT_REFUSES,
	WORLD_AGENT_BLOCKED,
	WORLD_AGENT_SILENT,
	WORLD_AGENT_WORKS, /* its program does not end */
	WORLD_AGENT_HANGS, /* libvirt does not come back from it */
};

typedef struct WorldDomain {
	const char *uuid, *name;
	_Atomic pid_t pid;    /* 0: shut off */
	atomic_bool mapped;   /* holds the region, dead or alive */
	atomic_bool revoked;  /* … by a binding that the kernel refuses for ever */
	atomic_bool attached; /* libvirt's XML has the device */
	atomic_bool defined;  /* the device is in its stored definition */
	atomic_bool paused;
} WorldDomain;

typedef struct World {
	atomic_bool bound, missing;
	atomic_bool block;  /* the region is a block device */
	atomic_llong grown; /* … by so many bytes; negative: shrunk */
	atomic_bool ram;    /* the region is memory of the host, … */
	atomic_bool kmem;   /* … and is bound as that */
	atomic_bool demotion, auto_online;
	atomic_llong stray;    /* bytes of the host's own on its node */
	atomic_llong lent;     /* bytes of it that a machine was given */
	atomic_bool elsewhere; /* … that do not lie there */
	/* It is lent as a virtio-mem: what its guest is to have, and has; it gives back no more
	 * than down to …, and so much for each look; takes nothing; its QEMU cannot unplug it. */
	atomic_llong requested, plugged, floor, pace;
	atomic_bool virtio_mem, no_driver, place_stays;
	atomic_int unplugs; /* QEMU was told to */
	atomic_llong diskseq;
	atomic_int destroys; /* libvirt was asked to */
	atomic_int unbinds, binds;
	atomic_bool can_revoke; /* a kernel that numbers bindings */
	atomic_int kernel_refs; /* … and holds so many references for somebody */
	atomic_bool shares_dev; /* the machines have the host's /dev */
	atomic_int revokes, withdraws;
	atomic_int unbound_msec; /* CLOCK_BOOTTIME of the last unbind */
	atomic_int violations;	 /* bound while an old holder lived; two machines that reach the
				    memory */
	atomic_bool hang_attach; /* libvirt does not come back from an attach */
	atomic_bool hang_lookup;
	atomic_bool lies;	/* guests use what they have let go of */
	atomic_int agent;	/* WORLD_AGENT_… */
	atomic_int asks;	/* releases that guests were asked for */
	atomic_int agent_looks; /* … and times that it was asked whether they could be */
	atomic_int asked;	/* while it was so: */
	atomic_bool busy;	/* libvirt is in the middle of something with every domain */
	atomic_bool refuse_define;
	atomic_bool refuse_pinned; /* so, when a lease is made */
	atomic_int look_usec;	   /* how often a region is looked at; 0: not */
	atomic_bool pinned;	   /* a device of every machine pins its memory */
	atomic_bool hang_pause;
	atomic_bool libvirt_down;
	atomic_bool refuse_attach;
	atomic_bool attach_nothing; /* libvirt says done and gives other memory */
	atomic_bool hang_proof, in_proof;
	atomic_bool hold_proof;	     /* no proof of a fence succeeds */
	atomic_bool unexplained;     /* a descriptor in flight */
	atomic_bool binding_revoked; /* the binding that there is, so that nobody can open it */
	atomic_int settling;	     /* how many proofs settle before none does; 0: all do */
	atomic_int passing;	     /* how many proofs still see another's reference */
	atomic_int ledger_error;     /* errno of every write */
	atomic_int unreadable;	     /* so many times the ledger cannot be read */
	atomic_bool ledger_hangs;
	atomic_bool eager_guests; /* write as soon as they reach the memory */
	atomic_int hang_in_write; /* 1: the next write finds the disk hung, 2: the one after it */
	/* The part nmem0: the region's namespace, and one of the host's own. */
	atomic_bool disabled[2], mounted;
	atomic_bool emptied, replaced; /* another DIMM: without namespaces, with new ones */
	atomic_int recovery; /* of every machine's guest from a machine check, as machine-check.h */
	atomic_char bytes;   /* what the memory holds: 0, or a tenant's letter */
	WorldDomain domains[2];
} World;

extern World *world;

void world_new(void);	/* all memory of it; once */
void world_reset(void); /* bound, blank bytes, both domains running */
void world_end(void);
void world_domain_start(int i);
void world_domain_stop(int i); /* kills the machine and waits for its end */
bool world_holds(int i);
/* A guest writes: what it reaches now. */
void world_write(int i);

/* ops-world-ram.c: as PmlDaxOps has them. */
int world_ram(void *userdata, const PmlRegion *r, PmlRam *ret);
int world_unbind_emptied(void *userdata, const PmlRegion *r);
int world_resize(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t want_bytes,
	VirtPlugged *ret, char **ret_why);
/* QEMU is told to unplug a virtio-mem: 0, VIRT_REFUSED. */
int world_unplug_parts(char **ret_why);
int world_bind_ram(void *userdata, const PmlRegion *r);
int world_populate(
	void *userdata, const PmlRegion *r, pid_t pid, uint64_t start, uint64_t deadline_usec);

/* ops-world-part.c: as Manager has them. */
int world_scan_part(const char *name, PmlPart **ret);
int world_disable_namespace(const PmlPartNamespace *seen);
int world_enable_namespace(const PmlPartNamespace *seen);
/* Of what is in its slot. */
const char *world_region_uuid(void);

/* libvirt tells of something. */
void world_virt_event(const VirtEvent *ev);

int world_manager_new(sd_event *event, const char *dir, Manager **ret);

/* What became of a job. */
typedef struct WorldEnd {
	uint64_t id;
	char kind[32], result[16], error[64], message[2048];
} WorldEnd;
bool world_job_result(uint64_t id, WorldEnd *ret);

/* main()'s first line: this program is the media helper, too. */
void world_media_helper(int argc, char **argv);

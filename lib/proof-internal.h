/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of the proof share: one pass over /proc, and what is concluded from it. Not
 * installed. */

#include <stdatomic.h>

#include "proof.h"

/*
 * One open file of a device-dax character device as one process has it: a descriptor or a mapping.
 * Plain values in scan order, so that two passes that saw the same are equal element by element.
 */
typedef struct ProofFile {
	pid_t pid; /* the process */
	pid_t tid; /* the task whose tables show it: the process itself, unless its first thread has
		      ended */
	uint64_t start_ticks;
	int fd;		/* -1: a mapping */
	bool path_only; /* O_PATH: cannot be used, but can be opened again; holds no module
			   reference */
	dev_t rdev;
	dev_t dev; /* of the node's file system; with ino, the node that was opened */
	ino_t ino;
	uint64_t vm_start;
	uint64_t vm_end;
	bool readable; /* the mapping's protection allows it: a refused read says something */
} ProofFile;

/* Nothing of it changes once it is complete: several proofs may look at one. */
typedef struct ProofPass {
	atomic_uint n_refs;
	uint64_t number;      /* of those that are shared; 0: of a proof of its own */
	bool maps_only;	      /* asked for: descriptors are not looked at */
	const char *argument; /* asked for, or NULL: other processes are not looked at; borrowed */
	ProofFile *files;
	size_t n_files;
	size_t n_allocated;
	unsigned n_processes; /* examined, kernel threads not counted */
	unsigned n_denied;    /* processes that could not be looked into */
	bool disturbed; /* a process changed under the scan more often than it was worth repeating
			 */
	bool overtaken; /* the deadline passed in the middle */
} ProofPass;

/* What a test puts in the place of the host's device-dax devices. */
typedef struct ProofHooks {
	/* True if open files of this character device hold the module that is counted. */
	bool (*is_dax)(const struct ProofHooks *hooks, dev_t rdev);
	unsigned dax_major;    /* 0: no device-dax on this host */
	bool private_mappings; /* look at MAP_PRIVATE too, which device-dax refuses */
	bool block;	       /* the region is a block device, and it alone matters */
	bool maps_as_text;     /* as on a kernel without PROCMAP_QUERY */
	pid_t session;	       /* 0, or look at the processes of this session only */
} ProofHooks;

ProofPass *proof_pass_new(void);
ProofPass *proof_pass_ref(ProofPass *pass);
ProofPass *proof_pass_unref(ProofPass *pass);
int proof_scan(const ProofHooks *hooks, dev_t own, uint64_t deadline_usec, ProofPass *pass);
/* A pass for all device-dax devices that begins after this call, possibly another thread's. All
 * callers of a process use the same hooks. */
int proof_scan_shared(const ProofHooks *hooks, uint64_t deadline_usec, ProofPass **ret);
bool proof_pass_equal(const ProofPass *a, const ProofPass *b);
/* The major number of device-dax in /proc/devices; 0 when there is none. */
unsigned proof_dax_major(void);

/* A process of /proc by a descriptor of its directory, which cannot become another's. */
typedef struct ProofStat {
	char comm[64]; /* as printable UTF-8 */
	char state;
	uint32_t flags;
	pid_t session;
	unsigned n_threads;
	uint64_t start_ticks;
} ProofStat;

/* -ESRCH when the process has ended. */
int proof_read_stat(int dir_fd, ProofStat *ret);

/* The mappings of files of a process or thread, one after another. */
typedef struct ProofMaps {
	int dir_fd;	  /* its directory in /proc, borrowed */
	bool private_too; /* else those with VM_MAYSHARE alone */
	bool text_only;	  /* do not ask by ioctl() */
	char *buf;	  /* of buf_bytes, to work with; more than 4 * PATH_MAX */
	size_t buf_bytes;
	void *userdata;
	/* [start, end) in its address space; a negative errno ends it and is returned. */
	int (*on_mapping)(void *userdata, uint64_t start, uint64_t end, bool readable);
} ProofMaps;

/* -ENOENT or -ESRCH: it has ended; -EACCES or -EPERM: the kernel refuses the look. */
int proof_foreach_file_mapping(const ProofMaps *m);

/* How many different open files the pass proves, of the region (own) or of all other device-dax
 * devices. */
size_t proof_distinct_files(const ProofPass *pass, dev_t own, bool others);

/* Bytes of [start, end) that the page tables map. -ETIMEDOUT: the deadline passed first; -ESRCH:
 * has ended. */
int proof_present_bytes(
	int dir_fd, pid_t pid, const ProofFile *f, uint64_t deadline_usec, uint64_t *ret);
/* Reads one byte at three places from outside; adds to the holder. -ESRCH, or what forbids the
 * probe. */
int proof_probe(const ProofFile *f, PmlHolder *h);
/* The descriptor cannot be mapped, as the driver says of one of an earlier binding. False: it can,
 * or it could not be tried. bytes: how much to map, the device's alignment. */
bool proof_descriptor_is_dead(const ProofFile *f, int pidfd, uint64_t bytes);

struct PmlProof {
	PmlProofVerdict verdict;
	char *region;
	char *rung;
	char *binding; /* as found by the proof; "gone" when the device is no more */
	uint64_t realtime_usec;
	unsigned n_processes;
	unsigned n_denied;
	bool block;	    /* of a block device */
	uint64_t ram_bytes; /* of the region that the kernel has as memory of its own */
	bool settled;	    /* two passes in a row agreed before the deadline */
	bool pages_unknown; /* of some mapping it could not be said whether a page is present */
	bool probe_refused; /* some mapping could not be tried from outside */
	unsigned mappings_left;
	uint64_t module_refs;
	uint64_t unexplained_refs;
	bool refuses; /* the kernel refuses files of earlier bindings; the next two are known */
	uint64_t generation; /* of the binding; 0: unbound */
	PmlRevokeState revoke_state;
	uint64_t kernel_refs;
	uint64_t cached_bytes; /* of a block device: left in the page cache; UINT64_MAX: unknown */
	PmlHolder *holders;
	size_t n_holders;
	char **blind_spots; /* NULL-terminated, never NULL in a finished proof */
	size_t n_blind_spots;
	char *summary;
};

/* pml_proof_collect() with the host's devices replaced; hooks NULL: the real ones. */
int proof_collect_with(const PmlProofRequest *req, const ProofHooks *hooks, PmlProof **ret);
PmlProof *proof_new(void);
int proof_add_blind_spot(PmlProof *p, const char *format, ...)
	__attribute__((__format__(printf, 2, 3)));
/* Works out verdict and summary from everything else. */
int proof_conclude(PmlProof *p);

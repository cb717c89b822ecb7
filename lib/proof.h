/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The evidence that nobody can reach a region through an older binding, collected from the running
 * system and independent of how the fence was made.
 *
 * The device of a mapping or descriptor is the st_rdev behind each entry of /proc/PID/map_files and
 * /proc/PID/fd: the maps file shows the file system's device number, and libvirt gives QEMU a
 * private /dev. Scans of processes race with forks and cannot see descriptors in flight over
 * sockets or registered in io_uring; every open device-dax file holds references on its module, so
 * the module's count must be explained to the last one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dax.h"
#include "region.h"

typedef struct PmlProof PmlProof;

typedef enum PmlProofVerdict {
	PML_PROOF_CLEAR, /* no holder is left, every module reference is explained: may be bound and
			    lent (again) */
	PML_PROOF_REVOKED,     /* holders of earlier bindings are left, whose files and mappings the
				  kernel refuses for ever: may be bound and lent again */
	PML_PROOF_UNREACHABLE, /* fenced: no page is mapped and every probe failed, but holders are
				  left: keep it unbound */
	PML_PROOF_UNEXPLAINED, /* unbound, and no process of record; yet references are left that no
				  process explains, or they cannot be counted */
	PML_PROOF_REACHABLE,   /* somebody can reach the memory, or it could not be excluded; bound,
				  with anything held or unexplained */
	_PML_PROOF_VERDICT_MAX,
	_PML_PROOF_VERDICT_INVALID = -22,
} PmlProofVerdict;

const char *pml_proof_verdict_to_string(PmlProofVerdict v);
PmlProofVerdict pml_proof_verdict_from_string(const char *s);

/* Nobody who had it through an older binding can get at it in the next one. */
static inline bool pml_proof_frees(PmlProofVerdict v)
{
	return v == PML_PROOF_CLEAR || v == PML_PROOF_REVOKED;
}

typedef struct PmlProofRequest {
	PmlRegion *region;
	const PmlDaxOps *dax;
	const char *rung; /* fence rung to be recorded, "none" before a fence */
	bool probe; /* also try to read each mapping from outside (process_vm_readv): only after a
		       fence */
	bool once;  /* one look: who has it; nothing is settled by it, never CLEAR */
	const char *argument; /* with `once`: look only at processes that were started with exactly
				 this argument, and only at what they have mapped; NULL: at all */
	uint64_t deadline_usec; /* CLOCK_MONOTONIC; when passed, the verdict is what was found, at
				   best "could not be excluded" */
} PmlProofRequest;

/* One process that holds the region. Strings are the proof's. */
typedef struct PmlHolder {
	pid_t pid;
	uint64_t start_ticks; /* /proc/PID/stat field 22 */
	const char *command;  /* comm */
	const char *cgroup;   /* cgroup v2 path or "" */
	const char *unit;     /* last part of the cgroup that is a unit, or "" */
	unsigned n_descriptors;
	unsigned n_mappings;
	uint64_t mapped_bytes;
	uint64_t present_bytes; /* mapped by page tables now (PAGEMAP_SCAN, else pagemap); 0 after a
				   fence */
	unsigned n_probes;	/* accesses tried from outside … */
	unsigned n_probes_failed; /* … and refused (EFAULT): all of them after a fence */
	unsigned n_revoked; /* of descriptors and mappings: the kernel was seen to refuse them, on a
			       system that then does so for ever */
	int pidfd;	    /* borrowed; polls readable when the process has ended */
} PmlHolder;

/*
 * Collects. Reads all of /proc: some 50 ms for 300 processes; blocks; wants CAP_SYS_PTRACE and
 * CAP_SYS_ADMIN (or CAP_CHECKPOINT_RESTORE: Linux fs/proc/base.c proc_map_files_get_link()) and the
 * host's own pid namespace. A process that could not be looked into makes the verdict REACHABLE. A
 * holder that ends meanwhile is no holder; the scan is repeated until two passes in a row agree
 * with the module's count unmoved, or the deadline passes: then the verdict is REACHABLE. An O_PATH
 * descriptor makes a holder, too (the device can be opened again through it), but explains no
 * reference. Returns 0, or negative errno when nothing could be concluded: -ENODATA: the region has
 * no device number; -ESTALE: another device has its name.
 */
int pml_proof_collect(const PmlProofRequest *req, PmlProof **ret);
PmlProof *pml_proof_free(PmlProof *p); /* takes NULL, returns NULL; closes the pidfds */

PmlProofVerdict pml_proof_verdict(const PmlProof *p);
bool pml_proof_settled(const PmlProof *p); /* two looks in a row agreed, before the deadline */
const char *pml_proof_rung(const PmlProof *p);
size_t pml_proof_n_holders(const PmlProof *p);
const PmlHolder *pml_proof_holder(const PmlProof *p, size_t i);
unsigned pml_proof_mappings_left(const PmlProof *p); /* mappings with a page present */
/*
 * Module references: counted, and what of them neither files of other regions nor listed holders
 * explain. UINT64_MAX: uncountable; of the second also when more files were found than there are
 * references.
 */
uint64_t pml_proof_module_refs(const PmlProof *p);
uint64_t pml_proof_unexplained_refs(const PmlProof *p);
/* References that the kernel itself holds on the memory for somebody (io_uring, VFIO, RDMA);
 * UINT64_MAX: this kernel does not tell. */
uint64_t pml_proof_kernel_refs(const PmlProof *p);
/* What this proof could not see, a sentence each, NULL-terminated; never empty on a kernel that
 * cannot tell. */
const char *const *pml_proof_blind_spots(const PmlProof *p);
/* A sentence that says the verdict with the holders' names: for errors and logs. The proof's own.
 */
const char *pml_proof_summary(const PmlProof *p);

/* The whole evidence as JSON text (docs: org.pmemlease1(5)), and back for reading. ret is
 * malloc-ed. */
int pml_proof_to_json(const PmlProof *p, char **ret);
/* From JSON: no live pidfds (-EBADF), for showing only. -EBADMSG when it is none of ours. */
int pml_proof_from_json(const char *json, PmlProof **ret);

#define pml_proof_foreach_holder(p, i, h)                                                          \
	for ((i) = 0; (i) < pml_proof_n_holders(p) && ((h) = pml_proof_holder((p), (i)), 1); (i)++)

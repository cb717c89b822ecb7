/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The bytes themselves, through libpmem2: overwriting with zeroes and reading back.
 *
 * To be run in a process of its own (the daemon has one: pmemlease-media): a region that is unbound
 * or poisoned meanwhile gives SIGBUS, and a process that maps the region is itself a holder.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum PmlMediaPhase {
	PML_MEDIA_SCRUB,
	PML_MEDIA_VERIFY,
	_PML_MEDIA_PHASE_MAX,
} PmlMediaPhase;

typedef struct PmlMediaRequest {
	int fd;		     /* the opened and checked device, borrowed */
	uint64_t size_bytes; /* what it must have; else -ESTALE */
	unsigned n_threads;  /* 0: one per online CPU, at most 8 */
	bool scrub;	     /* false: verify only */
	atomic_bool *cancel; /* looked at every few MiB; NULL: never */
	/* Called from one thread at a time, at most about 20 times a second and once at the end of
	 * a phase. */
	void (*progress)(
		void *userdata, PmlMediaPhase phase, uint64_t done_bytes, uint64_t total_bytes);
	void *userdata;
} PmlMediaRequest;

typedef struct PmlMediaResult {
	uint64_t bad_offset_bytes; /* of a bad block or of the first byte that is not 0 */
	uint64_t bad_size_bytes;
	uint64_t scrub_usec;
	uint64_t verify_usec;
} PmlMediaResult;

/* Documented outcomes. */
enum {
	PML_MEDIA_BAD_BLOCK =
		1, /* known before it began, nothing was written; the result names the first */
	PML_MEDIA_NOT_ZERO,  /* the read-back found another byte than 0 */
	PML_MEDIA_CANCELLED, /* partly overwritten */
};

/* 0: every byte was overwritten (if asked), flushed to the media, and read back as 0. Else an
 * outcome above, or negative errno. */
int pml_media_run(const PmlMediaRequest *req, PmlMediaResult *ret);

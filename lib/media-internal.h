/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the two ways to the bytes share: mapped (media.c), and as a block device (media-block.c). */

#include "media.h"
#include "util.h"

#define MEDIA_CHUNK_BYTES (4 * MIB)
#define MEDIA_BLOCK_BYTES 64U /* compared at once: a cache line */

static inline _unused_ bool media_cancelled(const PmlMediaRequest *req)
{
	return req->cancel && atomic_load_explicit(req->cancel, memory_order_relaxed);
}

/* Offset of the first byte that is not 0, or n. Whole cache lines are or-ed together, which
 * compilers vectorize. */
static inline _unused_ uint64_t media_find_not_zero(const unsigned char *p, uint64_t n)
{
	uint64_t i = 0;

	for (; i + MEDIA_BLOCK_BYTES <= n; i += MEDIA_BLOCK_BYTES) {
		const uint64_t *w = (const uint64_t *)(const void *)(p + i);

		if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0)
			break;
	}
	while (i < n && p[i] == 0)
		i++;
	return i;
}

bool media_is_block(int fd);
int media_block_run(const PmlMediaRequest *req, PmlMediaResult *ret);

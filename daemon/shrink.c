/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "shrink.h"

/* The first step of a willing guest, and what is tried where the last one was too much, or was not:
 * QEMU tells of a change at most once a second, so each number that a willing guest waits for may
 * cost one. */
#define FIRST_PARTS 4
#define LESS_PARTS  4
#define MORE_TIMES  4

static uint64_t blocks(uint64_t bytes)
{
	return bytes / VIRT_BLOCK_BYTES * VIRT_BLOCK_BYTES;
}

static uint64_t less(uint64_t bytes, uint64_t step_bytes)
{
	return bytes > step_bytes ? blocks(bytes - step_bytes) : 0;
}

static uint64_t at_least_a_block(uint64_t bytes)
{
	return bytes < VIRT_BLOCK_BYTES ? VIRT_BLOCK_BYTES : blocks(bytes);
}

/*
 * A guest that gave up looks again only when the number changes (Linux drivers/virtio/virtio_mem.c
 * virtio_mem_config_changed(); by itself it tries again after 50 s and more): the same number is
 * never asked for twice. More than it has now it is never told to have.
 */
static uint64_t another(const Shrink *s, const VirtPlugged *p)
{
	uint64_t want = less(p->current_bytes, s->step_bytes);

	if (want < p->requested_bytes)
		return want;
	if (p->requested_bytes > 0)
		return less(p->requested_bytes, s->step_bytes);
	return p->current_bytes < VIRT_BLOCK_BYTES ? 0 : VIRT_BLOCK_BYTES;
}

ShrinkNext shrink_next(Shrink *s, const VirtPlugged *p, uint64_t now_usec, uint64_t stall_usec,
	uint64_t *ret_want_bytes)
{
	bool begin = s->step_bytes == 0 || s->stopped;
	bool moved = !begin && p->current_bytes < s->plugged_bytes;

	if (p->current_bytes == 0 && p->requested_bytes == 0)
		return SHRINK_EMPTY;
	if (s->step_bytes == 0)
		s->step_bytes = at_least_a_block(p->size_bytes / FIRST_PARTS);
	if (!begin && !moved && p->current_bytes > 0 && now_usec - s->moved_usec >= stall_usec) {
		s->stopped = true;
		s->step_bytes = at_least_a_block(s->step_bytes / LESS_PARTS);
		return SHRINK_STOPPED;
	}
	s->plugged_bytes = p->current_bytes;
	if (moved && s->step_bytes < p->size_bytes)
		s->step_bytes *= MORE_TIMES;
	if (begin || moved) {
		s->moved_usec = now_usec;
		s->stopped = false;
	}
	/* It was reset, and is not to take any of it again. */
	if (p->current_bytes == 0) {
		*ret_want_bytes = 0;
		return SHRINK_ASK;
	}
	if (begin)
		*ret_want_bytes = another(s, p);
	else if (moved && less(p->current_bytes, s->step_bytes) < p->requested_bytes)
		*ret_want_bytes = less(p->current_bytes, s->step_bytes);
	else
		return SHRINK_WAIT;
	return SHRINK_ASK;
}

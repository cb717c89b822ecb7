/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shrink.h"
#include "util.h"

#define STALL_USEC (10 * USEC_PER_SEC)

typedef struct Guest {
	VirtPlugged p;
	uint64_t now_usec, want_bytes;
	Shrink s;
} Guest;

static Guest guest_of(uint64_t size_bytes)
{
	return (Guest){.p = {.attached = true,
			       .size_bytes = size_bytes,
			       .requested_bytes = size_bytes,
			       .current_bytes = size_bytes},
		.now_usec = USEC_PER_SEC};
}

static ShrinkNext next(Guest *g)
{
	uint64_t before = g->p.requested_bytes;
	ShrinkNext n = shrink_next(&g->s, &g->p, g->now_usec, STALL_USEC, &g->want_bytes);

	if (n == SHRINK_ASK) {
		assert_int_equal(g->want_bytes % VIRT_BLOCK_BYTES, 0);
		/* The same again would not be heard, and more than it has would be taken. */
		assert_true(g->want_bytes != before);
		assert_true(g->want_bytes == 0 || g->want_bytes <= g->p.current_bytes);
		g->p.requested_bytes = g->want_bytes;
	}
	g->now_usec += USEC_PER_SEC / 10;
	return n;
}

/* One that does at once what it is asked for. */
static void test_willing(void **state)
{
	Guest g = guest_of(768 * MIB);
	int asked = 0;

	while (next(&g) == SHRINK_ASK) {
		asked++;
		g.p.current_bytes = g.p.requested_bytes;
	}
	assert_int_equal(next(&g), SHRINK_EMPTY);
	assert_int_equal(asked, 2);
}

/* One that is at it is not asked for more, nor told that it stopped. */
static void test_slow(void **state)
{
	Guest g = guest_of(1024ULL * 64 * MIB);

	assert_int_equal(next(&g), SHRINK_ASK);
	assert_int_equal(g.want_bytes, 1024ULL * 48 * MIB);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(next(&g), SHRINK_WAIT);
		g.now_usec += STALL_USEC / 2;
		g.p.current_bytes -= VIRT_BLOCK_BYTES;
		assert_int_not_equal(next(&g), SHRINK_STOPPED);
	}
}

/* One that cannot is asked for less and less, each time another number. */
static void test_stops(void **state)
{
	Guest g = guest_of(768 * MIB);
	uint64_t step = UINT64_MAX;

	assert_int_equal(next(&g), SHRINK_ASK);
	for (int i = 0; i < 8; i++) {
		g.now_usec += STALL_USEC;
		assert_int_equal(next(&g), SHRINK_STOPPED);
		assert_true(g.s.step_bytes <= step && g.s.step_bytes >= VIRT_BLOCK_BYTES);
		step = g.s.step_bytes;
		assert_int_equal(next(&g), SHRINK_ASK);
	}
	/* It has room again: it is asked for more again. */
	g.p.current_bytes = 100 * MIB;
	assert_int_equal(next(&g), SHRINK_ASK);
	g.p.requested_bytes = 0;
	g.now_usec += STALL_USEC;
	assert_int_equal(next(&g), SHRINK_STOPPED);
	/* Told to give everything, it is told otherwise, and then that again. */
	assert_int_equal(next(&g), SHRINK_ASK);
	assert_int_equal(g.want_bytes, VIRT_BLOCK_BYTES);
	g.p.current_bytes = 50 * MIB;
	assert_int_equal(next(&g), SHRINK_WAIT);
	g.p.current_bytes = VIRT_BLOCK_BYTES;
	assert_int_equal(next(&g), SHRINK_ASK);
	assert_int_equal(g.want_bytes, 0);
}

/* Reset: it has nothing, and would take again what it is to have. */
static void test_reset(void **state)
{
	Guest g = guest_of(768 * MIB);

	assert_int_equal(next(&g), SHRINK_ASK);
	g.p.current_bytes = 0;
	assert_int_equal(next(&g), SHRINK_ASK);
	assert_int_equal(g.want_bytes, 0);
	assert_int_equal(next(&g), SHRINK_EMPTY);

	/* It was quicker. */
	g = guest_of(768 * MIB);
	assert_int_equal(next(&g), SHRINK_ASK);
	g.p.current_bytes = 600 * MIB;
	assert_int_equal(next(&g), SHRINK_ASK);
	g.p.current_bytes = 768 * MIB;
	assert_int_equal(next(&g), SHRINK_WAIT);
	g.p.current_bytes = 700 * MIB;
	assert_int_not_equal(next(&g), SHRINK_STOPPED);
}

/* A block, and less than one. */
static void test_small(void **state)
{
	Guest g = guest_of(VIRT_BLOCK_BYTES);

	assert_int_equal(next(&g), SHRINK_ASK);
	assert_int_equal(g.want_bytes, 0);
	g = guest_of(VIRT_BLOCK_BYTES / 2);
	g.p.requested_bytes = 0;
	assert_int_equal(shrink_next(&g.s, &g.p, 1, STALL_USEC, &g.want_bytes), SHRINK_ASK);
	assert_int_equal(g.want_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_willing),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_stops),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

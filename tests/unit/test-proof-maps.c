/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which mappings a proof looks at, asked of the kernel in both ways. */

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "proof-internal.h"
#include "util.h"

#define MAX_SEEN  4096
#define MAP_BYTES (64U << 10)

typedef struct Seen {
	size_t n;
	uint64_t start[MAX_SEEN], end[MAX_SEEN];
	bool readable[MAX_SEEN];
} Seen;

static int on_mapping(void *userdata, uint64_t start, uint64_t end, bool readable)
{
	Seen *seen = userdata;

	if (seen->n == MAX_SEEN)
		return -E2BIG;
	seen->start[seen->n] = start;
	seen->readable[seen->n] = readable;
	seen->end[seen->n++] = end;
	return 0;
}

static int stop_at_first(void *userdata, uint64_t start, uint64_t end, bool readable)
{
	(void)on_mapping(userdata, start, end, readable);
	return -ECANCELED;
}

static char buf[64 << 10];

static ProofMaps of_ourselves(Seen *seen, bool private_too, bool text_only)
{
	*seen = (Seen){0};
	return (ProofMaps){
		.dir_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.private_too = private_too,
		.text_only = text_only,
		.buf = buf,
		.buf_bytes = sizeof(buf),
		.userdata = seen,
		.on_mapping = on_mapping,
	};
}

static void look(Seen *seen, bool private_too, bool text_only)
{
	ProofMaps m = of_ourselves(seen, private_too, text_only);

	assert_int_equal(proof_foreach_file_mapping(&m), 0);
	close(m.dir_fd);
}

static bool has_seen(const Seen *seen, const void *start, size_t bytes)
{
	for (size_t i = 0; i < seen->n; i++)
		if (seen->start[i] == (uintptr_t)start && seen->end[i] == (uintptr_t)start + bytes)
			return true;
	return false;
}

static void *map(int flags, int fd)
{
	void *p = mmap(NULL, MAP_BYTES, PROT_READ, flags, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Without room for text there is only the other way. */
static bool kernel_can_be_asked(void)
{
	static Seen seen;
	ProofMaps m = of_ourselves(&seen, true, false);

	m.buf_bytes = 1;
	assert_int_equal(proof_foreach_file_mapping(&m), 0);
	close(m.dir_fd);
	return seen.n > 0;
}

static void test_both_ways_see_the_same(void **state)
{
	void *shared = map(MAP_SHARED | MAP_ANONYMOUS, -1);
	static Seen asked, read_as_text;

	if (!kernel_can_be_asked()) {
		print_message("this kernel has no PROCMAP_QUERY\n");
		skip();
	}
	for (int private_too = 0; private_too < 2; private_too++) {
		look(&asked, private_too, false);
		look(&read_as_text, private_too, true);
		assert_true(asked.n > 0);
		assert_int_equal(asked.n, read_as_text.n);
		assert_memory_equal(asked.start, read_as_text.start, sizeof(asked.start));
		assert_memory_equal(asked.end, read_as_text.end, sizeof(asked.end));
		assert_memory_equal(asked.readable, read_as_text.readable, sizeof(asked.readable));
	}
	munmap(shared, MAP_BYTES);
}

static void test_what_is_looked_at(void **state)
{
	_cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC);
	size_t bytes = MAP_BYTES;
	static Seen seen;

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	void *shared = map(MAP_SHARED, fd), *private = map(MAP_PRIVATE, fd);
	void *anonymous = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (int text_only = 0; text_only < 2; text_only++) {
		look(&seen, false, text_only);
		assert_true(has_seen(&seen, shared, bytes));
		assert_false(has_seen(&seen, private, bytes));
		look(&seen, true, text_only);
		assert_true(has_seen(&seen, shared, bytes));
		assert_true(has_seen(&seen, private, bytes));
		assert_false(has_seen(&seen, anonymous, bytes));
	}
	munmap(shared, bytes);
	munmap(private, bytes);
	munmap(anonymous, bytes);
}

static void test_what_may_be_read(void **state)
{
	void *closed = map(MAP_SHARED | MAP_ANONYMOUS, -1),
	     *open = map(MAP_SHARED | MAP_ANONYMOUS, -1);
	static Seen seen;

	assert_int_equal(mprotect(closed, MAP_BYTES, PROT_NONE), 0);
	for (int text_only = 0; text_only < 2; text_only++) {
		unsigned n_closed = 0, n_open = 0;

		look(&seen, false, text_only);
		for (size_t i = 0; i < seen.n; i++) {
			n_closed += seen.start[i] == (uintptr_t)closed && !seen.readable[i];
			n_open += seen.start[i] == (uintptr_t)open && seen.readable[i];
		}
		assert_int_equal(n_closed, 1);
		assert_int_equal(n_open, 1);
	}
	munmap(closed, MAP_BYTES);
	munmap(open, MAP_BYTES);
}

static void test_it_ends_with_what_the_caller_says(void **state)
{
	static Seen seen;

	for (int text_only = 0; text_only < 2; text_only++) {
		ProofMaps m = of_ourselves(&seen, true, text_only);

		m.on_mapping = stop_at_first;
		assert_int_equal(proof_foreach_file_mapping(&m), -ECANCELED);
		assert_int_equal(seen.n, 1);
		close(m.dir_fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways_see_the_same),
		cmocka_unit_test(test_what_is_looked_at),
		cmocka_unit_test(test_what_may_be_read),
		cmocka_unit_test(test_it_ends_with_what_the_caller_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>

#include "mark.h"
#include "util.h"

#define ID  "5a0d3c52-6a8e-4f0e-9d0b-0c9e0a1d2f31"
#define ID2 "77777777-6a8e-4f0e-9d0b-0c9e0a1d2f32"

typedef struct Fixture {
	char path[64];
	int dir_fd;
} Fixture;

static int setup(void **state)
{
	Fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/test-mark-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir_fd >= 0);
	*state = f;
	return 0;
}

static size_t entries(Fixture *f, bool wipe)
{
	DIR *d = opendir(f->path);
	struct dirent *e;
	size_t n = 0;

	while ((e = readdir(d)))
		if (e->d_name[0] != '.' || strlen(e->d_name) > 2) {
			n++;
			if (wipe && unlinkat(f->dir_fd, e->d_name, 0) < 0)
				unlinkat(f->dir_fd, e->d_name, AT_REMOVEDIR);
		}
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	Fixture *f = *state;

	entries(f, true);
	close(f->dir_fd);
	rmdir(f->path);
	free(f);
	return 0;
}

static void put(Fixture *f, const char *name, const void *bytes, size_t n)
{
	int fd = openat(f->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static PmlMark mark(PmlLeaseState s, bool frozen, const char *proof)
{
	PmlMark m = {.lease = ID, .state = s, .frozen = frozen, .proof_json = (char *)proof};

	return m;
}

static void test_round_trip(void **state)
{
	static const char proof[] = "{\"holders\":[\"a \\\"b\\\" \xc3\xa9\"],\n\t\"x\":1}";
	Fixture *f = *state;
	PmlMark m = mark(PML_LEASE_FENCING, true, NULL), m2, *got;
	struct stat st;
	size_t n;

	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), 0);
	assert_int_equal(n, 0);
	free(got);

	assert_int_equal(pml_mark_write(f->dir_fd, &m), 0);
	m = mark(PML_LEASE_FENCED, false, proof);
	m.released = true;
	assert_int_equal(pml_mark_write(f->dir_fd, &m), 0);
	m2 = mark(PML_LEASE_STUCK, true, NULL);
	strcpy(m2.lease, ID2);
	assert_int_equal(pml_mark_write(f->dir_fd, &m2), 0);
	assert_int_equal(entries(f, false), 2);
	assert_int_equal(fstatat(f->dir_fd, ID ".mark", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), 0);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++)
		if (strcmp(got[i].lease, ID) == 0) {
			assert_int_equal(got[i].state, PML_LEASE_FENCED);
			assert_false(got[i].frozen);
			assert_true(got[i].released);
			assert_string_equal(got[i].proof_json, proof);
		} else {
			assert_string_equal(got[i].lease, ID2);
			assert_int_equal(got[i].state, PML_LEASE_STUCK);
			assert_true(got[i].frozen);
			assert_false(got[i].released);
			assert_null(got[i].proof_json);
		}
	pml_mark_free(got, n);

	assert_int_equal(pml_mark_remove(f->dir_fd, ID), 0);
	assert_int_equal(pml_mark_remove(f->dir_fd, ID), 0);
	assert_int_equal(entries(f, false), 1);
}

static void test_refused(void **state)
{
	Fixture *f = *state;
	static const char *const ids[] = {"", "../x", "a/b", ".", "a b", "a.mark"};
	PmlMark m;

	for (int s = 0; s < _PML_LEASE_STATE_MAX; s++) {
		m = mark((PmlLeaseState)s, false, NULL);
		if (s != PML_LEASE_FENCING && s != PML_LEASE_STUCK)
			assert_int_equal(pml_mark_write(f->dir_fd, &m), -EINVAL);
	}
	for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
		m = mark(PML_LEASE_FENCING, false, NULL);
		strcpy(m.lease, ids[i]);
		assert_int_equal(pml_mark_write(f->dir_fd, &m), -EINVAL);
		assert_int_equal(pml_mark_remove(f->dir_fd, ids[i]), -EINVAL);
	}
	assert_int_equal(entries(f, false), 0);
}

/* A writer that was killed leaves the old mark whole and a temporary file that means nothing. */
static void test_atomic(void **state)
{
	Fixture *f = *state;
	PmlMark m = mark(PML_LEASE_FENCING, true, NULL), *got;
	struct stat before, after;
	size_t n;
	int old;

	assert_int_equal(pml_mark_write(f->dir_fd, &m), 0);
	old = openat(f->dir_fd, ID ".mark", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(old, &before), 0);
	put(f, ID ".new", "{\"version\"", 10);
	put(f, ID2 ".new", "{\"version\"", 10);
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(got[0].state, PML_LEASE_FENCING);
	pml_mark_free(got, n);
	assert_int_equal(entries(f, false), 1);

	/* A new file takes the name; the old one is never written to. */
	put(f, ID ".new", "junk", 4);
	m = mark(PML_LEASE_FENCED, true, "{}");
	assert_int_equal(pml_mark_write(f->dir_fd, &m), 0);
	assert_int_equal(fstat(old, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_int_equal(after.st_nlink, 0);
	close(old);
	assert_int_equal(entries(f, false), 1);
}

static void test_garbage(void **state)
{
#define VALID "{\"version\":1,\"lease\":\"" ID "\",\"state\":\"fencing\",\"frozen\":true}"
	static const char *const junk[] = {
		"",
		"\n",
		"{",
		"[]",
		"null",
		"{}",
		VALID "x",
		VALID VALID,
		"{\"version\":2,\"lease\":\"" ID "\",\"state\":\"fencing\",\"frozen\":true}",
		"{\"version\":1,\"lease\":\"" ID2 "\",\"state\":\"fencing\",\"frozen\":true}",
		"{\"version\":1,\"lease\":\"../x\",\"state\":\"fencing\",\"frozen\":true}",
		"{\"version\":1,\"lease\":\"" ID "\",\"state\":\"active\",\"frozen\":true}",
		"{\"version\":1,\"lease\":\"" ID "\",\"state\":\"fenced\",\"frozen\":true}",
		"{\"version\":1,\"lease\":\"" ID "\",\"state\":\"nonsense\",\"frozen\":true}",
		"{\"version\":1,\"lease\":\"" ID "\",\"state\":\"fencing\",\"frozen\":1}",
		"{\"version\":1,\"lease\":\"" ID "\",\"state\":\"fencing\"}",
		"{\"version\":1,\"lease\":\"" ID
		"\",\"state\":\"fencing\",\"frozen\":true,\"proof\":5}",
	};
	Fixture *f = *state;
	PmlMark *got;
	size_t n;

	put(f, ID ".mark", VALID, strlen(VALID));
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), 0);
	assert_int_equal(n, 1);
	pml_mark_free(got, n);
	put(f, ID ".mark", VALID "\0", strlen(VALID) + 1);
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), -EBADMSG);
	for (size_t i = 0; i < ELEMENTSOF(junk); i++) {
		put(f, ID ".mark", junk[i], strlen(junk[i]));
		if (pml_mark_load(f->dir_fd, &got, &n) != -EBADMSG)
			fail_msg("taken for a mark: %s", junk[i]);
	}
	entries(f, true);
	put(f, "README", VALID, strlen(VALID));
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), -EBADMSG);
	entries(f, true);
	assert_int_equal(mkdirat(f->dir_fd, ID ".mark", 0700), 0);
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), -EBADMSG);
	entries(f, true);
	assert_int_equal(mkfifoat(f->dir_fd, ID ".mark", 0600), 0);
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), -EBADMSG);
}

static void test_symlinks(void **state)
{
	Fixture *f = *state;
	PmlMark m = mark(PML_LEASE_FENCING, true, NULL), *got;
	char target[] = "/tmp/test-mark-target-XXXXXX";
	struct stat st;
	size_t n;
	int fd;

	fd = mkstemp(target);
	assert_int_equal(write(fd, VALID, strlen(VALID)), strlen(VALID));

	assert_int_equal(symlinkat(target, f->dir_fd, ID ".mark"), 0);
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), -ELOOP);
	/* Writing replaces links, and never writes through them. */
	assert_int_equal(symlinkat(target, f->dir_fd, ID ".new"), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pml_mark_write(f->dir_fd, &m), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(pml_mark_load(f->dir_fd, &got, &n), 0);
	assert_int_equal(n, 1);
	pml_mark_free(got, n);
	close(fd);
	unlink(target);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_atomic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_symlinks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

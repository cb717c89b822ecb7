/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Media and its helper, on a file of tmpfs in the place of the device. The helper is at
 * $PMEMLEASE_MEDIA. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "media.h"
#include "util.h"

#define SIZE_BYTES (64 * MIB + 2 * MIB) /* no multiple of a chunk */

static int make_file(unsigned char fill)
{
	_cleanup_free_ unsigned char *block = malloc(MIB);
	int fd = memfd_create("media", MFD_CLOEXEC);

	assert_non_null(block);
	assert_true(fd >= 0);
	memset(block, fill, MIB);
	for (uint64_t done = 0; done < SIZE_BYTES; done += MIB)
		assert_int_equal(write(fd, block, MIB), MIB);
	return fd;
}

typedef struct Seen {
	uint64_t last[_PML_MEDIA_PHASE_MAX];
	unsigned n_ends[_PML_MEDIA_PHASE_MAX];
	unsigned n_calls;
	PmlMediaPhase phase;
	bool wrong;
	atomic_bool *cancel; /* set at the first call; NULL: never */
	atomic_int inside;
} Seen;

static void on_progress(void *userdata, PmlMediaPhase phase, uint64_t done, uint64_t total)
{
	Seen *s = userdata;

	s->wrong |= atomic_fetch_add(&s->inside, 1) != 0 || phase < s->phase ||
		    done < s->last[phase] || done > total || total != SIZE_BYTES;
	s->phase = phase;
	s->last[phase] = done;
	s->n_ends[phase] += done == total;
	s->n_calls++;
	if (s->cancel)
		atomic_store(s->cancel, true);
	atomic_fetch_sub(&s->inside, 1);
}

static void check_all_zero(int fd)
{
	const unsigned char *p = mmap(NULL, SIZE_BYTES, PROT_READ, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	for (uint64_t i = 0; i < SIZE_BYTES; i++)
		if (p[i] != 0)
			fail_msg("byte %llu is %u", (unsigned long long)i, p[i]);
	munmap((void *)p, SIZE_BYTES);
}

static void test_scrub(void **state)
{
	for (unsigned threads = 0; threads < 40; threads += 13) {
		_cleanup_close_ int fd = make_file(0xa5);
		Seen seen = {0};
		PmlMediaRequest req = {
			.fd = fd,
			.size_bytes = SIZE_BYTES,
			.n_threads = threads,
			.scrub = true,
			.progress = on_progress,
			.userdata = &seen,
		};
		PmlMediaResult res;

		assert_int_equal(pml_media_run(&req, &res), 0);
		assert_false(seen.wrong);
		for (int p = 0; p < _PML_MEDIA_PHASE_MAX; p++) {
			assert_int_equal(seen.n_ends[p], 1);
			assert_int_equal(seen.last[p], SIZE_BYTES);
		}
		assert_true(res.scrub_usec > 0 && res.verify_usec > 0);
		/* At most one call each 50 ms, and the two ends. */
		assert_true(seen.n_calls <=
			    4 + (res.scrub_usec + res.verify_usec) / (50 * USEC_PER_MSEC));
		check_all_zero(fd);
	}
}

static void test_verify_finds_the_first(void **state)
{
	static const uint64_t places[] = {
		0, 1, 63, 64, 4096 + 7, 4 * MIB - 1, 4 * MIB, 33 * MIB + 5, SIZE_BYTES - 1};

	for (size_t i = 0; i < ELEMENTSOF(places); i++) {
		_cleanup_close_ int fd = make_file(0);
		PmlMediaRequest req = {.fd = fd, .size_bytes = SIZE_BYTES, .n_threads = 5};
		PmlMediaResult res = {0};

		assert_int_equal(pwrite(fd, "\x80", 1, (off_t)places[i]), 1);
		/* Others behind it, for the other threads to find sooner. */
		for (uint64_t at = places[i]; at + 3 * MIB < SIZE_BYTES; at += 3 * MIB)
			assert_int_equal(pwrite(fd, "x", 1, (off_t)(at + 3 * MIB)), 1);
		assert_int_equal(pml_media_run(&req, &res), PML_MEDIA_NOT_ZERO);
		assert_int_equal(res.bad_offset_bytes, places[i]);
		assert_int_equal(res.bad_size_bytes, 1);
	}
}

static void test_verify_writes_nothing(void **state)
{
	_cleanup_close_ int fd = make_file(0x11);
	PmlMediaRequest req = {.fd = fd, .size_bytes = SIZE_BYTES};
	PmlMediaResult res;
	unsigned char byte = 0;

	assert_int_equal(pml_media_run(&req, &res), PML_MEDIA_NOT_ZERO);
	assert_int_equal(pread(fd, &byte, 1, (off_t)(SIZE_BYTES / 2)), 1);
	assert_int_equal(byte, 0x11);
}

static void test_cancel(void **state)
{
	_cleanup_close_ int fd = make_file(0xa5);
	atomic_bool cancel = true;
	PmlMediaRequest req = {.fd = fd,
		.size_bytes = SIZE_BYTES,
		.n_threads = 1,
		.scrub = true,
		.cancel = &cancel};
	PmlMediaResult res;
	Seen seen = {.cancel = &cancel};
	unsigned char byte = 0;

	/* Before it began. */
	assert_int_equal(pml_media_run(&req, &res), PML_MEDIA_CANCELLED);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 0xa5);
	/* In the middle: the first report comes after the first chunk. */
	atomic_store(&cancel, false);
	req.progress = on_progress;
	req.userdata = &seen;
	assert_int_equal(pml_media_run(&req, &res), PML_MEDIA_CANCELLED);
	assert_int_equal(seen.n_calls, 1);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(pread(fd, &byte, 1, SIZE_BYTES - 1), 1);
	assert_int_equal(byte, 0xa5);
}

static void test_wrong_size(void **state)
{
	static const uint64_t sizes[] = {SIZE_BYTES - 4096, SIZE_BYTES + 4096, 0};
	_cleanup_close_ int fd = make_file(0xa5);
	unsigned char byte = 0;

	for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
		PmlMediaRequest req = {.fd = fd, .size_bytes = sizes[i], .scrub = true};
		PmlMediaResult res;

		assert_int_equal(pml_media_run(&req, &res), -ESTALE);
	}
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 0xa5);
}

static void test_no_device(void **state)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	PmlMediaRequest req = {.fd = -1, .size_bytes = SIZE_BYTES, .scrub = true};
	PmlMediaResult res;

	assert_true(pml_media_run(&req, &res) < 0);
	req.fd = null;
	assert_true(pml_media_run(&req, &res) < 0);
}

/* The helper: a child that has the file as descriptor 3 and a pipe as its output. */
typedef struct Helper {
	pid_t pid;
	FILE *out;
	char last[256];
	char previous[256];
} Helper;

static Helper start(int fd, const char *size, const char *mode, const char *threads)
{
	const char *path = getenv("PMEMLEASE_MEDIA");
	char parent[16];
	int out[2];
	Helper h = {0};

	if (!path) {
		fail_msg("PMEMLEASE_MEDIA is not set");
		_exit(1);
	}
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	(void)snprintf(parent, sizeof(parent), "%d", getpid());
	h.pid = fork();
	assert_true(h.pid >= 0);
	if (h.pid == 0) {
		sigset_t all;

		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		if (fd == 3)
			fcntl(fd, F_SETFD, 0);
		else
			dup2(fd, 3);
		dup2(out[1], STDOUT_FILENO);
		execl(path, path, "--fd", "3", "--size", size, "--mode", mode, "--threads", threads,
			"--parent", parent, NULL);
		_exit(127);
	}
	close(out[1]);
	h.out = fdopen(out[0], "re");
	assert_non_null(h.out);
	return h;
}

static int finish(Helper *h)
{
	char line[256];
	int status;

	while (fgets(line, sizeof(line), h->out)) {
		memcpy(h->previous, h->last, sizeof(line));
		memcpy(h->last, line, sizeof(line));
	}
	fclose(h->out);
	assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static const char *size_string(void)
{
	static char s[32];

	(void)snprintf(s, sizeof(s), "%llu", (unsigned long long)SIZE_BYTES);
	return s;
}

static void test_helper_scrubs(void **state)
{
	_cleanup_close_ int fd = make_file(0xa5);
	Helper h = start(fd, size_string(), "scrub", "2");
	unsigned long long scrub, verify;
	char expected[128];

	assert_int_equal(finish(&h), 0);
	assert_int_equal(sscanf(h.last, "result ok %llu %llu\n", &scrub, &verify), 2);
	(void)snprintf(expected, sizeof(expected), "progress verify %s %s\n", size_string(),
		size_string());
	assert_string_equal(h.previous, expected);
	check_all_zero(fd);
}

static void test_helper_outcomes(void **state)
{
	_cleanup_close_ int fd = make_file(0);
	Helper h;

	assert_int_equal(pwrite(fd, "x", 1, 12345678), 1);
	h = start(fd, size_string(), "verify", "2");
	assert_int_equal(finish(&h), 1);
	assert_string_equal(h.last, "result not-zero 12345678\n");
	h = start(fd, "4096", "verify", "2");
	assert_int_equal(finish(&h), 1);
	assert_string_equal(h.last, "result error 116\n"); /* ESTALE */
	h = start(fd, size_string(), "polish", "2");
	assert_int_equal(finish(&h), 1);
	assert_string_equal(h.last, "result error 22\n");
	h = start(fd, "-1", "verify", "2");
	assert_int_equal(finish(&h), 1);
	assert_string_equal(h.last, "result error 22\n");
}

/*
 * Big and sparse, so that the helper is still at work when its first line has been read: touching
 * each page costs the kernel a page to clear.
 */
#define BIG_BYTES (4ULL << 30)

static Helper start_big(int *ret_fd)
{
	char line[256], size[32];
	Helper h;

	*ret_fd = memfd_create("big", MFD_CLOEXEC);
	assert_true(*ret_fd >= 0);
	assert_int_equal(ftruncate(*ret_fd, (off_t)BIG_BYTES), 0);
	(void)snprintf(size, sizeof(size), "%llu", BIG_BYTES);
	h = start(*ret_fd, size, "scrub", "1");
	assert_non_null(fgets(line, sizeof(line), h.out));
	assert_int_equal(strncmp(line, "progress scrub ", 15), 0);
	return h;
}

static void test_helper_is_cancelled(void **state)
{
	_cleanup_close_ int fd = -EBADF;
	Helper h = start_big(&fd);

	assert_int_equal(kill(h.pid, SIGTERM), 0);
	assert_int_equal(finish(&h), 1);
	assert_string_equal(h.last, "result cancelled\n");
}

static void test_helper_loses_the_region(void **state)
{
	_cleanup_close_ int fd = -EBADF;
	Helper h = start_big(&fd);

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(finish(&h), 1);
	assert_string_equal(h.last, "result error 5\n");
}

/* What it runs with, looked at from outside while it works. */
static void test_helper_drops_privileges(void **state)
{
	_cleanup_close_ int fd = -EBADF;
	Helper h = start_big(&fd);
	unsigned n_found = 0;
	char path[64], line[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", h.pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n_found += pml_streq(line, "CapEff:\t0000000000000000\n") ||
			   pml_streq(line, "CapPrm:\t0000000000000000\n") ||
			   pml_streq(line, "NoNewPrivs:\t1\n");
	fclose(f);
	kill(h.pid, SIGTERM);
	finish(&h);
	assert_int_equal(n_found, 3);
}

/*
 * Started from a process that is then killed. A third one goes on reading the helper's lines, so
 * that it is not the closed pipe that ends it, and tells of a result: there must be none.
 */
static void start_read_and_die(int to_test)
{
	char line[256];
	Helper h;
	int fd;

	h = start_big(&fd);
	if (fork() > 0)
		kill(getpid(), SIGKILL);
	while (fgets(line, sizeof(line), h.out))
		if (strncmp(line, "result", 6) == 0)
			(void)!write(to_test, "R", 1);
	_exit(0);
}

static void test_helper_dies_with_its_parent(void **state)
{
	int to_test[2];
	pid_t parent;
	char byte;

	assert_int_equal(pipe2(to_test, O_CLOEXEC), 0);
	parent = fork();
	if (parent == 0)
		start_read_and_die(to_test[1]);
	close(to_test[1]);
	assert_int_equal(waitpid(parent, NULL, 0), parent);
	assert_int_equal(read(to_test[0], &byte, 1), 0);
	close(to_test[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_verify_finds_the_first),
		cmocka_unit_test(test_verify_writes_nothing),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_wrong_size),
		cmocka_unit_test(test_no_device),
		cmocka_unit_test(test_helper_scrubs),
		cmocka_unit_test(test_helper_outcomes),
		cmocka_unit_test(test_helper_is_cancelled),
		cmocka_unit_test(test_helper_loses_the_region),
		cmocka_unit_test(test_helper_drops_privileges),
		cmocka_unit_test(test_helper_dies_with_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

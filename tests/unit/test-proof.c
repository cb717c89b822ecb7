/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The proof on the real /proc. In the place of the region stands a character device that can be
 * opened anywhere
 * (/dev/full: hardly anybody has it open; /dev/zero where a mapping is wanted: a private mapping
 * keeps its file), and the module's references are what the test says.
 */

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "proof-internal.h"
#include "region-internal.h"
#include "util.h"

#define DEV_REGION makedev(1, 7)    /* /dev/full */
#define DEV_OTHER  makedev(10, 235) /* /dev/autofs: as another device-dax */
#define DEV_MAPS   makedev(1, 5)    /* /dev/zero */

#define PER_FILE 2ULL

typedef struct Fake {
	int binding_result;
	PmlBinding binding;
	int refs_result;
	uint64_t refs;
	unsigned n_refs_calls;
	bool refs_move; /* another count at every look */
	bool once;
} Fake;

static int fake_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	Fake *f = userdata;

	if (f->binding_result == 0)
		*ret = f->binding;
	return f->binding_result;
}

static int fake_module_refs(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file)
{
	Fake *f = userdata;

	f->n_refs_calls++;
	if (f->refs_result == 0) {
		*ret_refs = f->refs + (f->refs_move ? f->n_refs_calls : 0);
		*ret_per_file = PER_FILE;
	}
	return f->refs_result;
}

static bool is_dax(const ProofHooks *hooks, dev_t rdev)
{
	return rdev == DEV_OTHER;
}

/* Only what this test started: others may use the stand-ins, or be closed to us. */
static ProofHooks hooks = {.is_dax = is_dax, .private_mappings = true};

static PmlProof *collect_until(Fake *f, dev_t devno, bool probe, uint64_t deadline_usec)
{
	const PmlDaxOps dax = {
		.binding = fake_binding, .module_refs = fake_module_refs, .userdata = f};
	const PmlRegionInfo info = {
		.name = "dax0.0",
		.path = "/dev/dax0.0",
		.uuid = "0f5c1d2e-0000-4000-8000-000000000001",
		.kind = PML_KIND_DEVDAX,
		.devno = devno,
		.size_bytes = 64 * MIB,
		.align_bytes = 2 * MIB,
		.phys_start = 1ULL << 32,
		.numa_node = -1,
		.target_node = -1,
	};
	PmlRegion *region = NULL;
	PmlProof *p = NULL;

	assert_int_equal(pml_region_new(&info, &region), 0);
	const PmlProofRequest req = {
		.region = region,
		.dax = &dax,
		.rung = "unbind",
		.probe = probe,
		.once = f->once,
		.deadline_usec = deadline_usec,
	};
	int r = proof_collect_with(&req, &hooks, &p);

	pml_region_unref(region);
	assert_true(r < 0 ? !p : !!p);
	return p;
}

static PmlProof *collect(Fake *f, dev_t devno)
{
	return collect_until(f, devno, true, pml_now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC);
}

static const PmlHolder *holder_of(const PmlProof *p, pid_t pid)
{
	const PmlHolder *h;
	size_t i;

	pml_proof_foreach_holder (p, i, h)
		if (h->pid == pid)
			return h;
	return NULL;
}

/* A child that does something, says that it is ready, and waits to be ended. */
typedef struct Child {
	pid_t pid;
	int ready;
} Child;

static Child start(void (*fn)(void *userdata), void *userdata)
{
	int ready[2];
	Child c = {0};
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fn)
			fn(userdata);
		(void)!write(ready[1], "x", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return c;
}

static void end(Child c)
{
	kill(c.pid, SIGKILL);
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
}

static int open_region(void)
{
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void test_clear(void **state)
{
	Fake f = {0};
	PmlProof *p;

	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_CLEAR);
	assert_string_equal(pml_proof_rung(p), "unbind");
	assert_int_equal(pml_proof_module_refs(p), 0);
	assert_int_equal(pml_proof_unexplained_refs(p), 0);
	assert_int_equal(pml_proof_mappings_left(p), 0);
	assert_non_null(pml_proof_blind_spots(p)[0]);
	assert_non_null(strstr(pml_proof_summary(p), "no process holds it"));
	assert_true(p->n_processes > 0);
	pml_proof_free(p);
	/* Also while it is bound, and when it is gone. */
	f.binding = PML_BINDING_DEVICE_DAX;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_CLEAR);
	pml_proof_free(p);
	f.binding_result = -ENODEV;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_CLEAR);
	pml_proof_free(p);
}

/* One look names who holds it, and is never taken for evidence that nobody does. */
static void test_one_look(void **state)
{
	Fake f = {.once = true};
	PmlProof *p = collect(&f, DEV_REGION);
	int fd;

	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	fd = open_region();
	f.refs = PER_FILE;
	p = collect(&f, DEV_REGION);
	assert_non_null(holder_of(p, getpid()));
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	close(fd);
}

static void test_nothing_to_conclude(void **state)
{
	Fake stale = {.binding_result = -ESTALE}, fine = {0};

	assert_null(collect(&stale, DEV_REGION));
	assert_null(collect(&fine, 0));
}

static void test_own_descriptor(void **state)
{
	_cleanup_close_ int fd = open_region();
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION);
	const PmlHolder *h = holder_of(p, getpid());
	char pid[32];

	assert_non_null(h);
	assert_int_equal(h->n_descriptors, 1);
	assert_int_equal(h->n_mappings, 0);
	assert_true(h->start_ticks > 0);
	assert_string_equal(h->command, "test-proof");
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_UNREACHABLE);
	assert_int_equal(pml_proof_unexplained_refs(p), 0);
	(void)snprintf(pid, sizeof(pid), "test-proof (pid %d", getpid());
	assert_non_null(strstr(pml_proof_summary(p), pid));
	pml_proof_free(p);
	f.binding = PML_BINDING_DEVICE_DAX;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
}

/* One file in three processes and under two numbers is still one: only its references are
 * explained. */
static void test_forked_and_duplicated_is_one_file(void **state)
{
	_cleanup_close_ int fd = open_region(), copy = dup(fd);
	Child a = start(NULL, NULL), b = start(NULL, NULL);
	Fake f = {.refs = 2 * PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION);

	assert_non_null(holder_of(p, getpid()));
	assert_int_equal(holder_of(p, getpid())->n_descriptors, 2);
	assert_non_null(holder_of(p, a.pid));
	assert_non_null(holder_of(p, b.pid));
	assert_int_equal(pml_proof_unexplained_refs(p), PER_FILE);
	pml_proof_free(p);
	end(a);
	end(b);
	assert_true(copy >= 0);
}

static void open_again(void *userdata)
{
	(void)open_region();
}

static void test_opened_twice_is_two_files(void **state)
{
	_cleanup_close_ int fd = open_region();
	Child c = start(open_again, NULL);
	Fake f = {.refs = 2 * PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION);

	assert_int_equal(holder_of(p, c.pid)->n_descriptors, 2);
	assert_int_equal(pml_proof_unexplained_refs(p), 0);
	pml_proof_free(p);
	end(c);
}

/* The count says one file less than there is: then it counts otherwise than is thought, and proves
 * nothing. */
static void test_more_files_than_references(void **state)
{
	_cleanup_close_ int fd = open_region();
	Fake f = {.refs = 0};
	PmlProof *p = collect(&f, DEV_REGION);

	assert_int_equal(pml_proof_unexplained_refs(p), UINT64_MAX);
	pml_proof_free(p);
}

static void send_descriptor(int sock, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	char byte = 'x';
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	assert_int_equal(sendmsg(sock, &m, 0), 1);
}

/* A descriptor in flight is in no process. Only the count shows it. */
static void test_in_flight(void **state)
{
	Fake f = {.refs = PER_FILE};
	int pair[2], fd;
	PmlProof *p;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fd = open_region();
	send_descriptor(pair[0], fd);
	close(fd);
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_n_holders(p), 0);
	assert_int_equal(pml_proof_unexplained_refs(p), PER_FILE);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_UNEXPLAINED);
	assert_non_null(strstr(pml_proof_summary(p), "in flight"));
	pml_proof_free(p);
	/* While the region is bound, whoever takes it out of the socket can map it. */
	f.binding = PML_BINDING_DEVICE_DAX;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	close(pair[0]);
	close(pair[1]);
}

static void test_passed_descriptor(void **state)
{
	int pair[2], fd = open_region();
	Fake f = {.refs = PER_FILE};
	PmlProof *p;
	Child c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	c = start(NULL, NULL);
	close(fd);
	p = collect(&f, DEV_REGION);
	assert_non_null(holder_of(p, c.pid));
	assert_null(holder_of(p, getpid()));
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_UNREACHABLE);
	assert_int_equal(
		poll(&(struct pollfd){.fd = holder_of(p, c.pid)->pidfd, .events = POLLIN}, 1, 0),
		0);
	end(c);
	assert_int_equal(
		poll(&(struct pollfd){.fd = holder_of(p, c.pid)->pidfd, .events = POLLIN}, 1, -1),
		1);
	pml_proof_free(p);
	close(pair[0]);
	close(pair[1]);
}

static void test_uncountable_is_never_clear(void **state)
{
	static const int errors[] = {-EOPNOTSUPP, -EACCES};

	for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
		Fake f = {.refs_result = errors[i]};
		PmlProof *p = collect(&f, DEV_REGION);

		assert_int_equal(pml_proof_verdict(p), PML_PROOF_UNEXPLAINED);
		assert_int_equal(pml_proof_module_refs(p), UINT64_MAX);
		assert_int_equal(pml_proof_unexplained_refs(p), UINT64_MAX);
		assert_non_null(pml_proof_blind_spots(p)[1]);
		assert_non_null(strstr(pml_proof_blind_spots(p)[1], "in flight"));
		pml_proof_free(p);
	}
}

/* O_PATH never opened the device: a holder, for it can be opened again, that explains nothing. */
static void test_path_descriptor(void **state)
{
	_cleanup_close_ int fd = open("/dev/full", O_PATH | O_CLOEXEC);
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION);

	assert_non_null(holder_of(p, getpid()));
	assert_int_equal(pml_proof_unexplained_refs(p), PER_FILE);
	pml_proof_free(p);
}

static void test_files_of_other_regions_explain(void **state)
{
	_cleanup_close_ int fd = open("/dev/autofs", O_RDONLY | O_CLOEXEC);
	Fake f = {.refs = PER_FILE};
	struct stat st;
	PmlProof *p;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_rdev != DEV_OTHER) {
		print_message("no /dev/autofs with its usual number to stand for another region\n");
		skip();
	}
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_n_holders(p), 0);
	assert_int_equal(pml_proof_unexplained_refs(p), 0);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_CLEAR);
	pml_proof_free(p);
}

static void test_moving_count_does_not_settle(void **state)
{
	Fake f = {.refs_move = true};
	PmlProof *p;

	p = collect_until(
		&f, DEV_REGION, true, pml_now_usec(CLOCK_MONOTONIC) + 300 * USEC_PER_MSEC);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	assert_non_null(strstr(pml_proof_summary(p), "could not be settled"));
	assert_true(f.n_refs_calls > 2);
	pml_proof_free(p);
	p = collect_until(&f, DEV_REGION, true, 0);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
}

#define MAP_BYTES (16 * 4096UL)

typedef struct Mapping {
	int protection;
	bool touch;
} Mapping;

static void map_it(void *userdata)
{
	const Mapping *m = userdata;
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	char *p = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		_exit(1);
	close(fd);
	if (m->touch)
		memset(p, 1, MAP_BYTES / 2);
	if (mprotect(p, MAP_BYTES, m->protection) < 0)
		_exit(1);
}

static void test_mapping_with_pages(void **state)
{
	Mapping m = {.protection = PROT_NONE, .touch = true};
	Child c = start(map_it, &m);
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_MAPS);
	const PmlHolder *h = holder_of(p, c.pid);

	assert_non_null(h);
	assert_int_equal(h->n_descriptors, 0);
	assert_int_equal(h->n_mappings, 1);
	assert_int_equal(h->mapped_bytes, MAP_BYTES);
	assert_int_equal(h->present_bytes, MAP_BYTES / 2);
	assert_true(pml_proof_mappings_left(p) >= 1);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	end(c);
}

/* Nothing is present, yet the probe brings a page in: it can be reached. */
static void test_mapping_that_can_be_faulted(void **state)
{
	Mapping m = {.protection = PROT_READ};
	Child c = start(map_it, &m);
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_MAPS);
	const PmlHolder *h = holder_of(p, c.pid);

	assert_non_null(h);
	assert_int_equal(h->n_probes, 3);
	assert_int_equal(h->n_probes_failed, 0);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	end(c);
}

/* What a fence leaves: a mapping without pages that refuses every access. */
static void test_mapping_that_is_fenced(void **state)
{
	Mapping m = {.protection = PROT_NONE};
	Child c = start(map_it, &m);
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_MAPS);
	const PmlHolder *h = holder_of(p, c.pid);

	assert_non_null(h);
	assert_int_equal(h->present_bytes, 0);
	assert_int_equal(h->n_probes, 3);
	assert_int_equal(h->n_probes_failed, 3);
	assert_int_equal(pml_proof_n_holders(p), 1);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_UNREACHABLE);
	assert_int_equal(pml_proof_unexplained_refs(p), 0);
	assert_non_null(strstr(pml_proof_summary(p),
		"1 mapping, 0 bytes present; 3 of 3 probes refused; 2 of 2 module references explained"));
	pml_proof_free(p);
	end(c);
}

/* Two mappings of one node may be of one file: only one file's references are explained. */
static void test_mappings_of_one_node_explain_once(void **state)
{
	Mapping m = {.protection = PROT_NONE};
	Child a = start(map_it, &m), b = start(map_it, &m);
	Fake f = {.refs = 2 * PER_FILE};
	PmlProof *p = collect(&f, DEV_MAPS);

	assert_non_null(holder_of(p, a.pid));
	assert_non_null(holder_of(p, b.pid));
	assert_int_equal(pml_proof_unexplained_refs(p), PER_FILE);
	pml_proof_free(p);
	end(a);
	end(b);
}

static void *wait_in_thread(void *userdata)
{
	int *ready = userdata;

	(void)!write(*ready, "x", 1);
	for (;;)
		pause();
	return NULL;
}

/* A thread that took a table of descriptors for itself and opened the device there. */
static void *hold_in_own_table(void *userdata)
{
	if (unshare(CLONE_FILES) < 0)
		_exit(1);
	(void)open("/dev/full", O_RDWR | O_CLOEXEC);
	return wait_in_thread(userdata);
}

static void thread_with_own_table(void *userdata)
{
	pthread_t t;
	int ready[2];
	char byte;

	if (pipe(ready) < 0 || pthread_create(&t, NULL, hold_in_own_table, &ready[1]) != 0 ||
		read(ready[0], &byte, 1) != 1)
		_exit(1);
}

static void test_thread_with_own_table(void **state)
{
	Child c = start(thread_with_own_table, NULL);
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION);

	assert_non_null(holder_of(p, c.pid));
	assert_int_equal(holder_of(p, c.pid)->n_descriptors, 1);
	pml_proof_free(p);
	end(c);
}

/* The first thread ends: /proc/PID then shows neither memory nor descriptors, which the other
 * thread still has. */
static void test_first_thread_has_ended(void **state)
{
	int ready[2], status;
	struct stat st;
	char byte, path[64];
	PmlProof *p;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		Mapping m = {.protection = PROT_NONE};
		pthread_t t;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)open("/dev/zero", O_RDWR | O_CLOEXEC);
		map_it(&m);
		if (pthread_create(&t, NULL, wait_in_thread, &ready[1]) != 0)
			_exit(1);
		/* Without the C library's cleaning up, which would wait for nobody but take locks.
		 */
		syscall(SYS_exit, 0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	/* It shows as a zombie when its memory and descriptors are no longer shown. */
	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	while (stat(path, &st) == 0)
		sched_yield();
	Fake f = {.refs = 2 * PER_FILE};
	p = collect(&f, DEV_MAPS);
	const PmlHolder *h = holder_of(p, pid);

	assert_non_null(h);
	assert_int_equal(h->n_descriptors, 1);
	assert_int_equal(h->n_mappings, 1);
	assert_int_equal(h->n_probes_failed, 3);
	pml_proof_free(p);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(ready[1]);
}

static void rename_oddly(void *userdata)
{
	prctl(PR_SET_NAME, "a) R 1 (\n\xc3");
	(void)open_region();
}

/* Who may not look into a process cannot say that it holds nothing. */
static void scan_as_nobody(void *userdata)
{
	Fake f = {0};
	PmlProof *p;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		_exit(1);
	p = collect(&f, DEV_REGION);
	if (pml_proof_verdict(p) != PML_PROOF_REACHABLE || p->n_denied == 0 ||
		!strstr(pml_proof_summary(p), "could not be looked into"))
		_exit(1);
	pml_proof_free(p);
}

static void test_what_is_closed_to_us(void **state)
{
	if (getuid() != 0) {
		print_message("not root: there is nothing to give up\n");
		skip();
	}
	end(start(scan_as_nobody, NULL));
}

/* Without hooks, on all of this host: whatever else there is, our own descriptor is seen. */
static void test_whole_host(void **state)
{
	_cleanup_close_ int fd = open_region();
	Fake f = {.refs = PER_FILE};
	const PmlDaxOps dax = {
		.binding = fake_binding, .module_refs = fake_module_refs, .userdata = &f};
	const PmlRegionInfo info = {.name = "dax0.0",
		.path = "/dev/dax0.0",
		.devno = DEV_REGION,
		.size_bytes = 64 * MIB,
		.align_bytes = 2 * MIB};
	PmlRegion *region = NULL;
	PmlProof *p = NULL;

	assert_int_equal(pml_region_new(&info, &region), 0);
	const PmlProofRequest req = {
		.region = region,
		.dax = &dax,
		.deadline_usec = pml_now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC,
	};
	assert_int_equal(pml_proof_collect(&req, &p), 0);
	pml_region_unref(region);
	assert_non_null(holder_of(p, getpid()));
	assert_string_equal(pml_proof_rung(p), "none");
	assert_true(p->n_processes > 1);
	assert_int_not_equal(pml_proof_verdict(p), PML_PROOF_CLEAR);
	pml_proof_free(p);
}

static void test_odd_names(void **state)
{
	Child c = start(rename_oddly, NULL);
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION);

	assert_non_null(holder_of(p, c.pid));
	assert_string_equal(holder_of(p, c.pid)->command, "a) R 1 (??");
	pml_proof_free(p);
	end(c);
}

static void test_printable(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"qemu", "qemu"},
		{"h\xc3\xa9llo", "h\xc3\xa9llo"},
		{"\xe2\x82\xac\xf0\x9f\x92\xbe", "\xe2\x82\xac\xf0\x9f\x92\xbe"},
		{"\x80", "?"},
		{"\xc0\xaf", "??"},
		{"\xe2\x82", "??"},
		{"\xed\xa0\x80", "???"},
		{"\xf5\x80\x80\x80", "????"},
		{"a\tb\x7f", "a?b?"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		char s[32];

		assert_int_equal(PML_STRCPY(s, cases[i].in), 0);
		pml_make_printable(s);
		assert_string_equal(s, cases[i].out);
	}
}

static void test_json_round_trip(void **state)
{
	_cleanup_close_ int fd = open_region();
	Mapping m = {.protection = PROT_NONE};
	Child c = start(map_it, &m);
	Fake f = {.refs_result = -EOPNOTSUPP};
	PmlProof *p = collect(&f, DEV_REGION), *q = NULL;
	_cleanup_free_ char *one = NULL, *two = NULL;

	assert_int_equal(pml_proof_to_json(p, &one), 0);
	assert_int_equal(pml_proof_from_json(one, &q), 0);
	assert_int_equal(pml_proof_to_json(q, &two), 0);
	assert_string_equal(one, two);
	assert_int_equal(pml_proof_verdict(q), pml_proof_verdict(p));
	assert_int_equal(pml_proof_module_refs(q), UINT64_MAX);
	assert_string_equal(pml_proof_summary(q), pml_proof_summary(p));
	assert_int_equal(pml_proof_n_holders(q), pml_proof_n_holders(p));
	assert_non_null(holder_of(q, getpid()));
	assert_int_equal(holder_of(q, getpid())->pidfd, -EBADF);
	assert_int_equal(holder_of(q, getpid())->start_ticks, holder_of(p, getpid())->start_ticks);
	pml_proof_free(p);
	pml_proof_free(q);
	end(c);
}

/* Every cut and every changed byte of a real proof gives a proof or -EBADMSG, never anything else.
 */
static void test_json_damaged(void **state)
{
	static const char *const others[] = {"", "null", "[]", "{}", "1", "{\"format\":1}",
		"{\"format\":2}", "{\"format\":1,\"verdict\":\"clear\"}"};
	_cleanup_close_ int fd = open_region();
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION), *q = NULL;
	_cleanup_free_ char *json = NULL;
	size_t n;

	assert_int_equal(pml_proof_to_json(p, &json), 0);
	pml_proof_free(p);
	for (size_t i = 0; i < ELEMENTSOF(others); i++)
		assert_int_equal(pml_proof_from_json(others[i], &q), -EBADMSG);
	n = strlen(json);
	for (size_t i = 0; i < n; i++) {
		static const char bytes[] = "\"{}[]:,-9n\\\x01\xff";
		char saved = json[i];

		json[i] = 0;
		assert_int_equal(pml_proof_from_json(json, &q), -EBADMSG);
		for (size_t j = 0; j < sizeof(bytes) - 1; j++) {
			int r;

			json[i] = bytes[j];
			r = pml_proof_from_json(json, &q);
			if (r == 0)
				q = pml_proof_free(q);
			else
				assert_int_equal(r, -EBADMSG);
		}
		json[i] = saved;
	}
}

static void test_verdict_strings(void **state)
{
	for (int v = 0; v < _PML_PROOF_VERDICT_MAX; v++)
		assert_int_equal(pml_proof_verdict_from_string(
					 pml_proof_verdict_to_string((PmlProofVerdict)v)),
			v);
	assert_int_equal(pml_proof_verdict_from_string("fine"), _PML_PROOF_VERDICT_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clear),
		cmocka_unit_test(test_one_look),
		cmocka_unit_test(test_nothing_to_conclude),
		cmocka_unit_test(test_own_descriptor),
		cmocka_unit_test(test_forked_and_duplicated_is_one_file),
		cmocka_unit_test(test_opened_twice_is_two_files),
		cmocka_unit_test(test_more_files_than_references),
		cmocka_unit_test(test_in_flight),
		cmocka_unit_test(test_passed_descriptor),
		cmocka_unit_test(test_uncountable_is_never_clear),
		cmocka_unit_test(test_path_descriptor),
		cmocka_unit_test(test_files_of_other_regions_explain),
		cmocka_unit_test(test_moving_count_does_not_settle),
		cmocka_unit_test(test_mapping_with_pages),
		cmocka_unit_test(test_mapping_that_can_be_faulted),
		cmocka_unit_test(test_mapping_that_is_fenced),
		cmocka_unit_test(test_mappings_of_one_node_explain_once),
		cmocka_unit_test(test_thread_with_own_table),
		cmocka_unit_test(test_first_thread_has_ended),
		cmocka_unit_test(test_what_is_closed_to_us),
		cmocka_unit_test(test_whole_host),
		cmocka_unit_test(test_odd_names),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_json_round_trip),
		cmocka_unit_test(test_json_damaged),
		cmocka_unit_test(test_verdict_strings),
	};

	hooks.session = setsid();
	if (hooks.session < 0)
		hooks.session = getsid(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

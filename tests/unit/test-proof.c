/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "proof-fixture.h"

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

/* One look says who has it mapped, and is never taken for evidence that nobody does. */
static void test_one_look(void **state)
{
	Mapping m = {.protection = PROT_NONE};
	Fake f = {.once = true};
	PmlProof *p = collect(&f, DEV_REGION);
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	Child c = start(map_it, &m);

	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	f.refs = PER_FILE;
	p = collect(&f, DEV_MAPS);
	assert_non_null(holder_of(p, c.pid));
	assert_int_equal(holder_of(p, c.pid)->mapped_bytes, MAP_BYTES);
	assert_int_equal(holder_of(p, getpid())->n_descriptors, 1);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);

	/* A fork is shown with our arguments. */
	f.argument = program_invocation_name;
	p = collect(&f, DEV_MAPS);
	assert_non_null(holder_of(p, c.pid));
	assert_null(holder_of(p, getpid()));
	pml_proof_free(p);
	f.argument = program_invocation_short_name;
	p = collect(&f, DEV_MAPS);
	assert_null(holder_of(p, c.pid));
	pml_proof_free(p);
	/* What is to be evidence looks at all. */
	f.once = false;
	p = collect(&f, DEV_MAPS);
	assert_non_null(holder_of(p, c.pid));
	pml_proof_free(p);
	end(c);
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
/* A kernel that ends bindings for ever: who is left from one that is over gives no access. */
static void test_revoked(void **state)
{
	_cleanup_close_ int fd = open_region();
	Fake f = {
		.refs = 3 * PER_FILE, .refuses = true, .revocation = {.state = PML_REVOKE_UNBOUND}};
	PmlProof *p = collect(&f, DEV_REGION);

	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REVOKED);
	assert_int_equal(pml_proof_kernel_refs(p), 0);
	assert_int_equal(pml_proof_n_holders(p), 1);
	assert_non_null(strstr(pml_proof_summary(p), "no access ever again"));
	/* Nothing that it could not see. */
	assert_null(pml_proof_blind_spots(p)[0]);
	pml_proof_free(p);

	f.binding = PML_BINDING_DEVICE_DAX;
	f.revocation = (PmlRevocation){.state = PML_REVOKE_REVOKED, .generation = 4};
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REVOKED);
	pml_proof_free(p);
	/* Somebody has it by io_uring, VFIO or RDMA. */
	f.revocation = (PmlRevocation){.state = PML_REVOKE_HELD, .generation = 4, .held = 2};
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	assert_int_equal(pml_proof_kernel_refs(p), 2);
	assert_non_null(strstr(pml_proof_summary(p), "holds 2 references"));
	pml_proof_free(p);
	f.revocation.state = PML_REVOKE_REVOKING;
	f.revocation.held = 0;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	/* The device has left, and with it who could be asked. */
	f.binding_result = -ENODEV;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_UNREACHABLE);
	pml_proof_free(p);
}

/* In a binding that lives each file is tried, and one that works is one of it. */
static bool faults_can_be_refused(void)
{
	void *p = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(refuse_faults(p) ? 0 : 1);
	(void)munmap(p, MAP_BYTES);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_old_and_new_holders(void **state)
{
	Mapping dead = {.protection = PROT_READ, .refused = true}, live = {.protection = PROT_READ},
		closed = {.protection = PROT_NONE};
	Fake f = {.binding = PML_BINDING_DEVICE_DAX,
		.refs = PER_FILE,
		.refuses = true,
		.revocation = {.state = PML_REVOKE_LIVE, .generation = 5}};
	_cleanup_close_ int fd = -EBADF;
	PmlProof *p;
	Child c;

	if (!faults_can_be_refused()) {
		print_message("no userfaultfd: a mapping that refuses cannot be made\n");
		skip();
	}
	c = start(map_it, &dead);
	p = collect(&f, DEV_MAPS);

	assert_int_equal(holder_of(p, c.pid)->n_revoked, 1);
	assert_int_equal(holder_of(p, c.pid)->n_descriptors, 0);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REVOKED);
	assert_int_equal(pml_proof_kernel_refs(p), UINT64_MAX);
	pml_proof_free(p);
	/* A reference more than is explained may be of this binding. */
	f.refs = 2 * PER_FILE;
	p = collect(&f, DEV_MAPS);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	/* A descriptor that can be mapped. */
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	p = collect(&f, DEV_MAPS);
	assert_int_equal(holder_of(p, getpid())->n_revoked, 0);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);
	end(c);
	closep(&fd);
	f.refs = PER_FILE;
	/* One that is of this binding; and one that is closed by its own protection, which its
	 * process can open again. */
	for (int i = 0; i < 2; i++) {
		c = start(map_it, i == 0 ? &live : &closed);
		p = collect(&f, DEV_MAPS);
		assert_int_equal(holder_of(p, c.pid)->n_revoked, 0);
		assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
		pml_proof_free(p);
		end(c);
	}
}

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

/* The descriptor that is in flight of a block device shows in nothing but the page cache. */
static void test_block(void **state)
{
	Fake f = {.binding = PML_BINDING_BLOCK, .block = true, .refs = 6};
	_cleanup_free_ char *json = NULL;
	PmlProof *p = collect(&f, DEV_REGION), *read_back = NULL;

	assert_int_equal(pml_proof_verdict(p), PML_PROOF_CLEAR);
	assert_int_equal(f.n_refs_calls, 0);
	assert_int_equal(pml_proof_to_json(p, &json), 0);
	assert_non_null(strstr(json, "\"cached_bytes\":0"));
	assert_null(strstr(json, "module_refs"));
	assert_int_equal(pml_proof_from_json(json, &read_back), 0);
	assert_string_equal(pml_proof_summary(read_back), pml_proof_summary(p));
	pml_proof_free(read_back);
	pml_proof_free(p);

	f.cached_bytes = 4096;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	assert_non_null(strstr(pml_proof_summary(p), "4096 bytes of it are in the page cache"));
	pml_proof_free(p);

	f.cache_result = -EIO;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_REACHABLE);
	pml_proof_free(p);

	/* Gone, or its number another's: what has it no longer leads to any device. */
	f.binding_result = -ESTALE;
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_verdict(p), PML_PROOF_CLEAR);
	pml_proof_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_clear),
		cmocka_unit_test(test_one_look),
		cmocka_unit_test(test_nothing_to_conclude),
		cmocka_unit_test(test_own_descriptor),
		cmocka_unit_test(test_forked_and_duplicated_is_one_file),
		cmocka_unit_test(test_opened_twice_is_two_files),
		cmocka_unit_test(test_more_files_than_references),
		cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_old_and_new_holders),
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
	};

	own_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

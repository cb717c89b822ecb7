/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "cgroup.h"
#include "cgroup-internal.h"
#include "util.h"

static void check_cut(const char *path, const char *expected)
{
	_cleanup_free_ char *got = NULL;
	int r = cgroup_cut_to_machine(path, &got);

	if (!expected) {
		assert_int_equal(r, -ENODATA);
		assert_null(got);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(got, expected);
}

static void test_cut(void **state)
{
	const char *scope = "/machine.slice/machine-qemu\\x2d1\\x2dg1.scope";

	check_cut("/machine.slice/machine-qemu\\x2d1\\x2dg1.scope", scope);
	check_cut("/machine.slice/machine-qemu\\x2d1\\x2dg1.scope/libvirt", scope);
	check_cut("/machine.slice/machine-qemu\\x2d1\\x2dg1.scope/libvirt/emulator", scope);
	check_cut("/machine.slice/machine-qemu\\x2d1\\x2dg1.scope/libvirt/vcpu12", scope);
	check_cut("/machine.slice/machine-qemu\\x2d1\\x2dg1.scope/emulator", scope);
	/* A scope in another slice (libvirt's <resource><partition>), and a slice below
	 * machine.slice. */
	check_cut("/production.slice/machine-qemu\\x2d2\\x2db.scope/libvirt/emulator",
		"/production.slice/machine-qemu\\x2d2\\x2db.scope");
	check_cut("/machine.slice/machine-prod.slice/machine-x.scope/libvirt",
		"/machine.slice/machine-prod.slice/machine-x.scope");
	check_cut("/machine.slice/systemd-nspawn@c.service/payload",
		"/machine.slice/systemd-nspawn@c.service");
	/* Without systemd. */
	check_cut("/machine/qemu-3-g1.libvirt-qemu/emulator", "/machine/qemu-3-g1.libvirt-qemu");
	check_cut("/machine/prod.partition/qemu-3-g1.libvirt-qemu/vcpu0",
		"/machine/prod.partition/qemu-3-g1.libvirt-qemu");
}

static void test_cut_refuses_what_is_shared(void **state)
{
	check_cut("/", NULL);
	check_cut("", NULL);
	check_cut("/init.scope", NULL);
	check_cut("/machine.slice", NULL);
	check_cut("/machine.slice/machine-prod.slice", NULL);
	check_cut("/machine", NULL);
	check_cut("/machine/prod.partition", NULL);
	check_cut("/system.slice/libvirtd.service", NULL);
	check_cut("/user.slice/user-1000.slice/session-2.scope", NULL);
	check_cut("/../machine.slice/machine-a.scope", NULL);
	check_cut("/machine.slice/../system.slice", NULL);
	check_cut("/machine.slice//x.scope", NULL);
	check_cut("machine.slice/machine-a.scope", NULL);
}

static void test_own_process_is_no_machine(void **state)
{
	_cleanup_free_ char *got = NULL;

	assert_int_equal(pml_cgroup_of_machine(getpid(), &got), -ENODATA);
	assert_int_equal(pml_cgroup_of_machine(INT32_MAX, &got), -ESRCH);
}

static void test_bad_paths(void **state)
{
	bool frozen;

	assert_int_equal(pml_cgroup_thaw("/"), -EINVAL);
	assert_int_equal(pml_cgroup_thaw("machine.slice"), -EINVAL);
	assert_int_equal(pml_cgroup_thaw("/machine.slice/../init.scope"), -EINVAL);
	assert_int_equal(pml_cgroup_frozen("/a/..", &frozen), -EINVAL);
}

/* A real cgroup with a child that does nothing; the path is relative to the hierarchy. */
typedef struct Box {
	char path[128];
	char dir[256];
	pid_t child;
} Box;

static bool make_box(Box *b)
{
	static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	char procs[300];
	FILE *f;

	(void)snprintf(b->path, sizeof(b->path), "/pmemlease-test-%d", getpid());
	for (size_t i = 0; i < ELEMENTSOF(mounts); i++) {
		(void)snprintf(procs, sizeof(procs), "%s/cgroup.procs", mounts[i]);
		if (access(procs, W_OK) < 0)
			continue;
		(void)snprintf(b->dir, sizeof(b->dir), "%s%s", mounts[i], b->path);
		if (mkdir(b->dir, 0700) < 0)
			continue;
		b->child = fork();
		if (b->child == 0) {
			for (;;)
				pause();
		}
		(void)snprintf(procs, sizeof(procs), "%s/cgroup.procs", b->dir);
		f = fopen(procs, "we");
		if (f) {
			fprintf(f, "%d", b->child);
			if (fclose(f) == 0)
				return true;
		}
		kill(b->child, SIGKILL);
		waitpid(b->child, NULL, 0);
		rmdir(b->dir);
	}
	return false;
}

static void drop_box(Box *b)
{
	kill(b->child, SIGKILL);
	waitpid(b->child, NULL, 0);
	while (rmdir(b->dir) < 0 && errno == EBUSY)
		;
}

static void test_freeze_and_thaw(void **state)
{
	uint64_t soon = pml_now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;
	bool frozen = true;
	Box b;

	if (!make_box(&b)) {
		print_message("no writable cgroup v2 hierarchy: real freezing not tested\n");
		skip();
	}
	assert_int_equal(pml_cgroup_frozen(b.path, &frozen), 0);
	assert_false(frozen);
	assert_int_equal(pml_cgroup_freeze(b.path, soon), 0);
	assert_int_equal(pml_cgroup_frozen(b.path, &frozen), 0);
	assert_true(frozen);
	/* Again is the same, even with no time left. */
	assert_int_equal(pml_cgroup_freeze(b.path, 0), 0);
	assert_int_equal(pml_cgroup_thaw(b.path), 0);
	assert_int_equal(pml_cgroup_frozen(b.path, &frozen), 0);
	assert_false(frozen);
	drop_box(&b);
	assert_int_equal(pml_cgroup_freeze(b.path, soon), -ENOENT);
	assert_int_equal(pml_cgroup_thaw(b.path), -ENOENT);
	assert_int_equal(pml_cgroup_frozen(b.path, &frozen), -ENOENT);
}

/* Touches memory in the box when told to, and stays in it. */
static pid_t start_member(const Box *b, int *ret_tell)
{
	char procs[300], byte;
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	(void)snprintf(procs, sizeof(procs), "%s/cgroup.procs", b->dir);
	pid = fork();
	if (pid == 0) {
		FILE *f = fopen(procs, "we");

		(void)alarm(60);
		(void)close(pair[0]);
		if (!f || fputs("0", f) < 0 || fclose(f) != 0)
			_exit(1);
		(void)!write(pair[1], "x", 1);
		while (read(pair[1], &byte, 1) == 1) {
			volatile char *p = malloc(64 << 20);

			for (size_t i = 0; p && i < 64 << 20; i += 4096)
				p[i] = 1;
			(void)!write(pair[1], "x", 1);
		}
		_exit(0);
	}
	(void)close(pair[1]);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	*ret_tell = pair[0];
	return pid;
}

static void end_member(pid_t pid, int tell)
{
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	if (tell >= 0)
		(void)close(tell);
}

static void test_faults(void **state)
{
	uint64_t all = 0, major = 0, before;
	int tell, r;
	pid_t pid;
	char byte;
	Box b;

	assert_int_equal(pml_cgroup_faults("/pmemlease-no-such", 1, &all, &major), -ENOENT);
	assert_int_equal(pml_cgroup_faults("/../x", 1, &all, &major), -EINVAL);
	/* The emulated host has it. */
	if (!make_box(&b)) {
		print_message("no writable cgroup v2 hierarchy: faults are not counted\n");
		return;
	}
	/* Of two nobody can tell whose they are. */
	pid = start_member(&b, &tell);
	assert_int_equal(pml_cgroup_faults(b.path, pid, &all, &major), -EXDEV);
	end_member(b.child, -EBADF);
	assert_int_equal(pml_cgroup_faults(b.path, getpid(), &all, &major), -EXDEV);
	r = pml_cgroup_faults(b.path, pid, &all, &major);
	if (r == 0) {
		before = all;
		assert_int_equal(write(tell, "x", 1), 1);
		assert_int_equal(read(tell, &byte, 1), 1);
		assert_int_equal(pml_cgroup_faults(b.path, pid, &all, &major), 0);
		assert_true(all > before);
	} else {
		print_message("memory is not accounted here: faults are not counted\n");
		assert_int_equal(r, -ENOENT);
	}
	end_member(pid, tell);
	assert_int_equal(pml_cgroup_faults(b.path, pid, &all, &major), -EXDEV);
	while (rmdir(b.dir) < 0 && errno == EBUSY)
		;
}

#define N_SPINNING 32

/* More running children than processors cannot all be frozen at once: asked with no time left, it
 * is not yet so. Who asks must not be made to wait by the children between asking and looking. */
static void test_freeze_deadline(void **state)
{
	const struct sched_param realtime = {.sched_priority = 1}, normal = {0};
	pid_t spinning[N_SPINNING];
	int r;
	char procs[300];
	Box b;

	if (!make_box(&b)) {
		print_message("no writable cgroup v2 hierarchy: the deadline is not tested\n");
		skip();
	}
	(void)snprintf(procs, sizeof(procs), "%s/cgroup.procs", b.dir);
	for (size_t i = 0; i < N_SPINNING; i++) {
		FILE *f;

		spinning[i] = fork();
		if (spinning[i] == 0) {
			for (volatile unsigned n = 0;; n++)
				;
		}
		f = fopen(procs, "we");
		assert_non_null(f);
		fprintf(f, "%d", spinning[i]);
		assert_int_equal(fclose(f), 0);
	}
	/* A container may forbid it; then there is some luck in it. */
	(void)sched_setscheduler(0, SCHED_FIFO, &realtime);
	r = pml_cgroup_freeze(b.path, 0);
	(void)sched_setscheduler(0, SCHED_OTHER, &normal);
	assert_int_equal(r, -ETIMEDOUT);
	/* It stays asked for. */
	assert_int_equal(
		pml_cgroup_freeze(b.path, pml_now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC), 0);
	for (size_t i = 0; i < N_SPINNING; i++) {
		kill(spinning[i], SIGKILL);
		waitpid(spinning[i], NULL, 0);
	}
	drop_box(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_cut_refuses_what_is_shared),
		cmocka_unit_test(test_own_process_is_no_machine),
		cmocka_unit_test(test_bad_paths),
		cmocka_unit_test(test_freeze_and_thaw),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_freeze_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "cgroup.h"
#include "fence.h"
#include "region-internal.h"
#include "util.h"

/* A device-dax whose answers the test sets, and which notes the order of what is asked of it. */
typedef struct Fake {
	int binding_result;
	PmlBinding binding;
	int unbind_result;
	bool stays_bound;
	unsigned busy;		  /* so many times nothing can be unbound yet */
	int binding_result_after; /* once unbind was called */
	unsigned n_unbinds;
	bool can_revoke;
	int revoke_result;
	PmlRevocation revocation; /* after it */
	unsigned n_revokes;
	const char *watched; /* cgroup, NULL: none */
	bool frozen_at_unbind;
} Fake;

static int fake_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	Fake *f = userdata;
	int result = f->n_unbinds > 0 ? f->binding_result_after : f->binding_result;

	if (result == 0)
		*ret = f->binding;
	return result;
}

static int fake_unbind(void *userdata, const PmlRegion *r)
{
	Fake *f = userdata;

	f->n_unbinds++;
	if (f->busy > 0) {
		f->busy--;
		return -EBUSY;
	}
	if (f->watched)
		assert_int_equal(pml_cgroup_frozen(f->watched, &f->frozen_at_unbind), 0);
	if (f->unbind_result == 0 && !f->stays_bound)
		f->binding = PML_BINDING_NONE;
	return f->unbind_result;
}

static int fake_revoke(
	void *userdata, const PmlRegion *r, uint64_t timeout_usec, PmlRevocation *ret)
{
	Fake *f = userdata;

	f->n_revokes++;
	*ret = f->revocation;
	return f->revoke_result;
}

static PmlRegion *make_revocable(PmlKind kind, bool can_revoke)
{
	const PmlRegionInfo info = {
		.name = "dax0.0",
		.path = "/dev/dax0.0",
		.kind = kind,
		.binding = PML_BINDING_DEVICE_DAX,
		.devno = makedev(1, 7),
		.size_bytes = 64 * MIB,
		.align_bytes = 2 * MIB,
		.phys_start = 1ULL << 32,
		.numa_node = -1,
		.target_node = -1,
		.can_revoke = can_revoke,
	};
	PmlRegion *r = NULL;

	assert_int_equal(pml_region_new(&info, &r), 0);
	return r;
}

static PmlRegion *make_region(PmlKind kind)
{
	return make_revocable(kind, false);
}

static int run(Fake *f, PmlKind kind, const char *cgroup, PmlFenceResult *res)
{
	const PmlDaxOps dax = {.binding = fake_binding,
		.unbind = fake_unbind,
		.revoke = fake_revoke,
		.userdata = f};
	PmlRegion *region = make_revocable(kind, f->can_revoke);
	PmlFenceRequest req = {
		.machine_pidfd = -EBADF,
		.region = region,
		.dax = &dax,
		.machine_cgroup = cgroup,
		.freeze_timeout_usec = 10 * USEC_PER_SEC,
	};
	int r = pml_fence_run(&req, res);

	pml_region_unref(region);
	return r;
}

static void test_levels(void **state)
{
	const PmlDaxOps dax = {.binding = fake_binding, .unbind = fake_unbind};
	PmlRegion *devdax = make_region(PML_KIND_DEVDAX), *sysram = make_region(PML_KIND_SYSRAM);

	assert_int_equal(pml_fence_level(devdax, &dax), PML_FENCE_UNBIND);
	assert_int_equal(pml_fence_level(devdax, NULL), PML_FENCE_NONE);
	assert_int_equal(pml_fence_level(sysram, &dax), PML_FENCE_UNPLUG);
	assert_int_equal(pml_fence_level(sysram, NULL), PML_FENCE_NONE);
	pml_region_unref(devdax);
	pml_region_unref(sysram);
	for (int l = 0; l < _PML_FENCE_LEVEL_MAX; l++)
		assert_int_equal(
			pml_fence_level_from_string(pml_fence_level_to_string((PmlFenceLevel)l)),
			l);
	assert_int_equal(pml_fence_level_from_string("moat"), _PML_FENCE_LEVEL_INVALID);
}

/* A process of ours, and its pidfd; deaf: only SIGKILL ends it. */
static pid_t start_machine(int *ret_pidfd)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGTERM, SIG_IGN);
		for (;;)
			(void)pause();
	}
	assert_true(pid > 0);
	*ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
	assert_true(*ret_pidfd >= 0);
	return pid;
}

static void test_destroys(void **state)
{
	const PmlDaxOps dax = {.binding = fake_binding, .unbind = fake_unbind};
	PmlRegion *region = make_region(PML_KIND_BDEV);
	PmlFenceResult res;
	int pidfd, status;
	pid_t pid = start_machine(&pidfd);
	PmlFenceRequest req = {.region = region, .dax = &dax, .machine_pidfd = pidfd};

	assert_int_equal(pml_fence_level(region, &dax), PML_FENCE_DESTROY);
	assert_int_equal(pml_fence_run(&req, &res), 0);
	assert_int_equal(res.level, PML_FENCE_DESTROY);
	assert_true(res.destroyed);
	assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);

	/* It has ended already: nothing is left to be done. */
	assert_int_equal(pml_fence_run(&req, &res), 0);
	req.machine_pidfd = -EBADF;
	assert_int_equal(pml_fence_run(&req, &res), 0);
	assert_false(res.destroyed);
	close(pidfd);
	pml_region_unref(region);
}

/* Whoever was asked first gets its time, and is not overtaken. */
static void test_destroy_waits_for_who_was_asked(void **state)
{
	const PmlDaxOps dax = {.binding = fake_binding, .unbind = fake_unbind};
	PmlRegion *region = make_region(PML_KIND_BDEV);
	PmlFenceResult res;
	int status, fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		char byte;

		_exit(read(fds[0], &byte, 1) == 1 ? 7 : 1);
	}
	PmlFenceRequest req = {
		.region = region,
		.dax = &dax,
		.machine_pidfd = (int)syscall(SYS_pidfd_open, pid, 0U),
		.ask_timeout_usec = 60 * USEC_PER_SEC,
	};
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(pml_fence_run(&req, &res), 0);
	assert_true(res.destroyed);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	close(req.machine_pidfd);
	close(fds[0]);
	close(fds[1]);
	pml_region_unref(region);
}

static void test_unbinds(void **state)
{
	Fake f = {.binding = PML_BINDING_DEVICE_DAX};
	PmlFenceResult res;

	assert_int_equal(run(&f, PML_KIND_DEVDAX, NULL, &res), 0);
	assert_int_equal(res.level, PML_FENCE_UNBIND);
	assert_false(res.frozen);
	assert_false(res.region_gone);
	assert_int_equal(f.n_unbinds, 1);
	/* Once more is the same. */
	assert_int_equal(run(&f, PML_KIND_DEVDAX, NULL, &res), 0);
	assert_int_equal(f.binding, PML_BINDING_NONE);
}

/* The machine is not frozen: it is to run on. */
static void test_revokes(void **state)
{
	Fake f = {.binding = PML_BINDING_DEVICE_DAX,
		.can_revoke = true,
		.revocation = {.state = PML_REVOKE_REVOKED, .generation = 7}};
	PmlFenceResult res;

	assert_int_equal(run(&f, PML_KIND_DEVDAX, "/no-such-machine.scope", &res), 0);
	assert_int_equal(res.level, PML_FENCE_REVOKE);
	assert_false(res.frozen);
	assert_int_equal(f.n_revokes, 1);
	/* So that nobody opens it before it is proved. */
	assert_int_equal(f.n_unbinds, 1);
	/* What is unbound has nothing to be revoked. */
	assert_int_equal(run(&f, PML_KIND_DEVDAX, NULL, &res), 0);
	assert_int_equal(res.level, PML_FENCE_UNBIND);
	assert_int_equal(f.n_revokes, 1);
}

/* Unbinding would wait for who holds references, or lose the range. */
static void test_revoke_that_is_held(void **state)
{
	Fake held = {.binding = PML_BINDING_DEVICE_DAX,
		.can_revoke = true,
		.revocation = {.state = PML_REVOKE_HELD, .held = 3}};
	Fake late = held;
	PmlFenceResult res;

	assert_int_equal(run(&held, PML_KIND_DEVDAX, NULL, &res), -EBUSY);
	assert_int_equal(res.level, PML_FENCE_REVOKE);
	assert_int_equal(res.held, 3);
	assert_int_equal(held.n_unbinds, 0);
	late.revoke_result = -ETIMEDOUT;
	late.revocation.state = PML_REVOKE_REVOKING;
	assert_int_equal(run(&late, PML_KIND_DEVDAX, NULL, &res), -EBUSY);
	assert_int_equal(late.n_unbinds, 0);
}

/* The kernel turns out to be unable when it is asked: the next rung. */
static void test_revoke_that_is_refused(void **state)
{
	Fake f = {.binding = PML_BINDING_DEVICE_DAX,
		.can_revoke = true,
		.revoke_result = -EOPNOTSUPP};
	PmlFenceResult res;

	assert_int_equal(run(&f, PML_KIND_DEVDAX, NULL, &res), 0);
	assert_int_equal(res.level, PML_FENCE_UNBIND);
	assert_int_equal(f.n_unbinds, 1);
	f = (Fake){.binding = PML_BINDING_DEVICE_DAX, .can_revoke = true, .revoke_result = -ENODEV};
	assert_int_equal(run(&f, PML_KIND_DEVDAX, NULL, &res), 0);
	assert_true(res.region_gone);
}

/* Memory of the host: QEMU drops what its guest gave back a moment behind libvirt's word; what the
 * guest keeps is left to it. */
static void test_unplugs(void **state)
{
	Fake f = {.binding = PML_BINDING_KMEM, .busy = 3};
	PmlFenceResult res;

	assert_int_equal(run(&f, PML_KIND_SYSRAM, "/machine.slice/machine-none.scope", &res), 0);
	assert_int_equal(res.level, PML_FENCE_UNPLUG);
	assert_int_equal(f.n_unbinds, 4);
	assert_int_equal(f.binding, PML_BINDING_NONE);
	assert_false(res.frozen);

	f = (Fake){.binding = PML_BINDING_KMEM, .unbind_result = -EBUSY};
	assert_int_equal(run(&f, PML_KIND_SYSRAM, NULL, &res), -EBUSY);
	assert_int_equal(res.level, PML_FENCE_UNPLUG);
	assert_int_equal(f.binding, PML_BINDING_KMEM);
	assert_true(res.unmap_usec >= USEC_PER_SEC);
	assert_true(res.unmap_usec < 5 * USEC_PER_SEC);
}

static void test_stale_is_untouched(void **state)
{
	Fake f = {.binding_result = -ESTALE};
	PmlFenceResult res;

	assert_int_equal(
		run(&f, PML_KIND_DEVDAX, "/machine.slice/machine-none.scope", &res), -ESTALE);
	assert_int_equal(f.n_unbinds, 0);
	assert_false(res.frozen);
}

static void test_kernel_memory_is_untouched(void **state)
{
	Fake f = {.binding = PML_BINDING_KMEM};
	PmlFenceResult res;

	assert_int_equal(run(&f, PML_KIND_DEVDAX, NULL, &res), -EBUSY);
	assert_int_equal(f.n_unbinds, 0);
}

static void test_gone_is_fenced(void **state)
{
	Fake before = {.binding_result = -ENODEV, .unbind_result = -ENODEV};
	Fake meanwhile = {.binding = PML_BINDING_DEVICE_DAX, .binding_result_after = -ENODEV};
	PmlFenceResult res;

	assert_int_equal(run(&before, PML_KIND_DEVDAX, NULL, &res), 0);
	assert_true(res.region_gone);
	assert_int_equal(run(&meanwhile, PML_KIND_DEVDAX, NULL, &res), 0);
	assert_true(res.region_gone);
}

static void test_kernel_says_yes_and_does_not(void **state)
{
	Fake lies = {.binding = PML_BINDING_DEVICE_DAX, .stays_bound = true};
	Fake refuses = {.binding = PML_BINDING_DEVICE_DAX, .unbind_result = -EBUSY};
	PmlFenceResult res;

	assert_int_equal(run(&lies, PML_KIND_DEVDAX, NULL, &res), -EBUSY);
	assert_int_equal(run(&refuses, PML_KIND_DEVDAX, NULL, &res), -EBUSY);
	assert_int_equal(res.level, PML_FENCE_UNBIND);
}

static void test_machine_that_is_gone(void **state)
{
	Fake f = {.binding = PML_BINDING_DEVICE_DAX};
	PmlFenceResult res;

	assert_int_equal(run(&f, PML_KIND_DEVDAX, "/no-such-machine.scope", &res), 0);
	assert_false(res.frozen);
	assert_int_equal(f.n_unbinds, 1);
}

/* A real cgroup; false where none can be made. */
static bool make_cgroup(char *path, char *dir, size_t size)
{
	static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

	(void)snprintf(path, size, "/pmemlease-fence-%d", getpid());
	for (size_t i = 0; i < ELEMENTSOF(mounts); i++) {
		char freeze[300];

		(void)snprintf(dir, size, "%s%s", mounts[i], path);
		if (mkdir(dir, 0700) < 0)
			continue;
		(void)snprintf(freeze, sizeof(freeze), "%s/cgroup.freeze", dir);
		if (access(freeze, W_OK) == 0)
			return true;
		rmdir(dir);
	}
	print_message("no writable cgroup v2 hierarchy: freezing not tested\n");
	return false;
}

static void test_freezes_before_it_unbinds(void **state)
{
	char path[128], dir[128];
	Fake f = {.binding = PML_BINDING_DEVICE_DAX};
	PmlFenceResult res;
	bool frozen;

	if (!make_cgroup(path, dir, sizeof(path)))
		skip();
	f.watched = path;
	assert_int_equal(run(&f, PML_KIND_DEVDAX, path, &res), 0);
	assert_true(f.frozen_at_unbind);
	assert_true(res.frozen);
	assert_int_equal(pml_cgroup_frozen(path, &frozen), 0);
	assert_true(frozen);
	rmdir(dir);
}

/* The device turns out to be another one only when it is about to be unbound. */
static void test_stale_late_is_thawed(void **state)
{
	char path[128], dir[128];
	Fake f = {.binding = PML_BINDING_DEVICE_DAX, .unbind_result = -ESTALE};
	PmlFenceResult res;
	bool frozen;

	if (!make_cgroup(path, dir, sizeof(path)))
		skip();
	f.watched = path;
	assert_int_equal(run(&f, PML_KIND_DEVDAX, path, &res), -ESTALE);
	assert_true(f.frozen_at_unbind);
	assert_false(res.frozen);
	assert_int_equal(pml_cgroup_frozen(path, &frozen), 0);
	assert_false(frozen);
	/* Whoever froze it before us thaws it. */
	assert_int_equal(pml_cgroup_freeze(path, UINT64_MAX), 0);
	assert_int_equal(run(&f, PML_KIND_DEVDAX, path, &res), -ESTALE);
	assert_int_equal(pml_cgroup_frozen(path, &frozen), 0);
	assert_true(frozen);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_destroys),
		cmocka_unit_test(test_destroy_waits_for_who_was_asked),
		cmocka_unit_test(test_unbinds),
		cmocka_unit_test(test_revokes),
		cmocka_unit_test(test_revoke_that_is_held),
		cmocka_unit_test(test_revoke_that_is_refused),
		cmocka_unit_test(test_unplugs),
		cmocka_unit_test(test_stale_is_untouched),
		cmocka_unit_test(test_kernel_memory_is_untouched),
		cmocka_unit_test(test_gone_is_fenced),
		cmocka_unit_test(test_kernel_says_yes_and_does_not),
		cmocka_unit_test(test_machine_that_is_gone),
		cmocka_unit_test(test_freezes_before_it_unbinds),
		cmocka_unit_test(test_stale_late_is_thawed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

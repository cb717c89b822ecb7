/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dax.c against a sysfs of plain files. */

#include "dax-fixture.h"

static int unbind(void)
{
	return pml_dax_ops.unbind(&fx.roots, fx.region);
}

static int bind_device(void)
{
	return pml_dax_ops.bind(&fx.roots, fx.region);
}

static int open_device(int *fd)
{
	return pml_dax_ops.open(&fx.roots, fx.region, fd);
}

static PmlBinding binding(void)
{
	PmlBinding b = _PML_BINDING_INVALID;

	assert_int_equal(pml_dax_ops.binding(&fx.roots, fx.region, &b), 0);
	return b;
}

static void test_binding(void **state)
{
	assert_int_equal(binding(), PML_BINDING_DEVICE_DAX);
	set_driver("kmem");
	assert_int_equal(binding(), PML_BINDING_KMEM);
	set_driver("fsdev_dax");
	assert_int_equal(binding(), PML_BINDING_OTHER);
	drop(DEVICE "/driver");
	assert_int_equal(binding(), PML_BINDING_NONE);
}

static void assert_all(int r)
{
	PmlBinding b = _PML_BINDING_INVALID;
	int fd = -EBADF;

	assert_int_equal(pml_dax_ops.binding(&fx.roots, fx.region, &b), r);
	assert_int_equal(unbind(), r);
	assert_int_equal(bind_device(), r);
	assert_int_equal(open_device(&fd), r);
	assert_int_equal(b, _PML_BINDING_INVALID);
	assert_int_equal(fd, -EBADF);
	assert_int_equal(n_writes, 0);
}

static void test_another_device_is_never_touched(void **state)
{
	put(DEVICE "/dev", "1:5\n");
	assert_all(-ESTALE);
	put(DEVICE "/dev", "1:3\n");
	put(DEVICE "/size", "67112960\n");
	assert_all(-ESTALE);
	put(DEVICE "/size", "67108864\n");
	put(DEVICE "/resource", "0x250000000\n");
	assert_all(-ESTALE);
	put(DEVICE "/resource", "garbage\n");
	assert_all(-EBADMSG);
}

static void test_a_device_that_left(void **state)
{
	drop(DEVICE "/dev");
	assert_all(-ENODEV);
	put(DEVICE "/dev", "1:3\n");
	pml_region_unref(fx.region);
	fx.region = make_region(0, SIZE, RESOURCE);
	assert_all(-ENODEV);
}

static void test_unknown_start_compares_the_rest(void **state)
{
	pml_region_unref(fx.region);
	fx.region = make_region(makedev(1, 3), SIZE, UINT64_MAX);
	drop(DEVICE "/resource");
	assert_int_equal(unbind(), 0);
	put(DEVICE "/size", "1\n");
	assert_int_equal(unbind(), -ESTALE);
}

static void test_unbind(void **state)
{
	assert_int_equal(unbind(), 0);
	assert_int_equal(n_writes, 1);
	assert_int_equal(binding(), PML_BINDING_NONE);
	assert_int_equal(unbind(), 0);
	assert_int_equal(n_writes, 1);

	/* Its memory would have to be taken offline, and of that nothing is known here. */
	set_driver("kmem");
	assert_true(unbind() < 0);
	assert_int_equal(binding(), PML_BINDING_KMEM);
}

static void test_unbind_believes_only_the_link(void **state)
{
	kernel = KERNEL_IGNORES;
	assert_int_equal(unbind(), -EBUSY);
	kernel = KERNEL_REFUSES;
	assert_int_equal(unbind(), -EIO);
	kernel = KERNEL_REMOVES_DEVICE;
	assert_int_equal(unbind(), -ENODEV);
}

static void test_unbind_by_somebody_else_meanwhile(void **state)
{
	kernel = KERNEL_WAS_FASTER;
	assert_int_equal(unbind(), 0);
	assert_int_equal(n_writes, 1);
}

static void test_bind(void **state)
{
	assert_int_equal(bind_device(), 0);
	assert_int_equal(n_writes, 0);
	drop(DEVICE "/driver");
	assert_int_equal(bind_device(), 0);
	assert_int_equal(binding(), PML_BINDING_DEVICE_DAX);
	drop(DEVICE "/driver");
	kernel = KERNEL_WAS_FASTER;
	assert_int_equal(bind_device(), 0);
}

static void test_bind_refused(void **state)
{
	set_driver("kmem");
	assert_int_equal(bind_device(), -EBUSY);
	assert_int_equal(n_writes, 0);

	drop(DEVICE "/driver");
	kernel = KERNEL_IGNORES;
	assert_int_equal(bind_device(), -EBUSY);
	kernel = KERNEL_REFUSES;
	assert_int_equal(bind_device(), -EIO);
	kernel = KERNEL_BINDS_OTHER_DRIVER;
	assert_int_equal(bind_device(), -EBUSY);
	drop(DEVICE "/driver");
	kernel = KERNEL_REMOVES_DEVICE;
	assert_int_equal(bind_device(), -ENODEV);
}

static void test_bind_without_the_driver(void **state)
{
	drop(DEVICE "/driver");
	drop(DRIVERS "/device_dax/bind");
	drop(DRIVERS "/device_dax/unbind");
	{
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "%s/" DRIVERS "/device_dax", fx.root);
		assert_int_equal(rmdir(path), 0);
	}
	assert_int_equal(bind_device(), -ENOENT);
}

static void *make_node_later(void *arg)
{
	struct timespec ts = {.tv_nsec = 50000000L};
	char path[PATH_MAX], temporary[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/null", fx.dev);
	(void)snprintf(temporary, sizeof(temporary), "%s/.null", fx.dev);
	/* So that the other side most likely waits by now; if not, the test still passes. */
	nanosleep(&ts, NULL);
	if (mknod(temporary, S_IFCHR | 0600, makedev(1, 3)) < 0 || rename(temporary, path) < 0)
		return (void *)(intptr_t)errno;
	return NULL;
}

static void test_bind_waits_for_the_node(void **state)
{
	uint64_t before = pml_now_usec(CLOCK_MONOTONIC);
	pthread_t thread;
	void *error;
	int r;

	fx.roots.dev = fx.dev;
	put("dev/null", "not a device");
	assert_int_equal(pthread_create(&thread, NULL, make_node_later, NULL), 0);
	r = bind_device();
	assert_int_equal(pthread_join(thread, &error), 0);
	if ((intptr_t)error == EPERM)
		skip();
	assert_null(error);
	assert_int_equal(r, 0);
	/* Told of it, that is, and not by a last look after the 2 s. */
	assert_in_range(pml_now_usec(CLOCK_MONOTONIC) - before, 0, 2 * USEC_PER_SEC - 1);
}

static void test_bind_gives_up_on_the_node(void **state)
{
	uint64_t before = pml_now_usec(CLOCK_MONOTONIC);

	fx.roots.dev = fx.dev;
	put("dev/null", "not a device");
	assert_int_equal(bind_device(), -ETIMEDOUT);
	assert_in_range(
		pml_now_usec(CLOCK_MONOTONIC) - before, 1 * USEC_PER_SEC, 10 * USEC_PER_SEC);
}

static void test_open(void **state)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	assert_int_equal(open_device(&fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_rdev, makedev(1, 3));
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void test_open_unbound(void **state)
{
	int fd = -EBADF;

	drop(DEVICE "/driver");
	assert_int_equal(open_device(&fd), -ENXIO);
	set_driver("kmem");
	assert_int_equal(open_device(&fd), -ENXIO);
	assert_int_equal(fd, -EBADF);
}

static void test_open_what_is_not_the_device(void **state)
{
	int fd = -EBADF;

	fx.roots.dev = fx.dev;
	put("dev/other", "");
	assert_int_equal(open_device(&fd), -ENODEV);
	put("dev/null", "a file");
	assert_int_equal(open_device(&fd), -ESTALE);
	/* Right in the end, but whoever owns the link can turn it. */
	put_link("dev/null", "/dev/null");
	assert_int_equal(open_device(&fd), -ESTALE);
	put_link("dev/null", "/dev/zero");
	assert_int_equal(open_device(&fd), -ESTALE);
	assert_int_equal(fd, -EBADF);
}

static void test_open_number_of_another_device(void **state)
{
	int fd = -EBADF;

	put("sys/bus/dax/devices/twin/dev", "1:3\n");
	put("sys/bus/dax/devices/twin/size", "67108864\n");
	put("sys/bus/dax/devices/twin/resource", "0x240000000\n");
	put_link("sys/dev/char/1:3", "../../bus/dax/devices/twin");
	assert_int_equal(open_device(&fd), -ESTALE);
	drop("sys/dev/char/1:3");
	assert_int_equal(open_device(&fd), -ENODEV);
	assert_int_equal(fd, -EBADF);
}

static void test_module_refs(void **state)
{
	uint64_t refs = 77, per_file = 77;

	assert_int_equal(pml_dax_ops.module_refs(&fx.roots, &refs, &per_file), -EOPNOTSUPP);
	put(MODULE "/parameters/x", "");
	assert_int_equal(pml_dax_ops.module_refs(&fx.roots, &refs, &per_file), -EOPNOTSUPP);
	put(MODULE "/refcnt", "5\n");
	put(MODULE "/holders/dax_pmem", "");
	assert_int_equal(pml_dax_ops.module_refs(&fx.roots, &refs, &per_file), 0);
	assert_int_equal(refs, 4);
	assert_int_equal(per_file, 2);

	refs = 77;
	put(MODULE "/refcnt", "0\n");
	assert_int_equal(pml_dax_ops.module_refs(&fx.roots, &refs, &per_file), -EAGAIN);
	put(MODULE "/refcnt", "-1\n");
	assert_int_equal(pml_dax_ops.module_refs(&fx.roots, &refs, &per_file), -EAGAIN);
	put(MODULE "/refcnt", "many\n");
	assert_int_equal(pml_dax_ops.module_refs(&fx.roots, &refs, &per_file), -EBADMSG);
	assert_int_equal(refs, 77);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_binding),
		test(test_another_device_is_never_touched),
		test(test_a_device_that_left),
		test(test_unknown_start_compares_the_rest),
		test(test_unbind),
		test(test_unbind_believes_only_the_link),
		test(test_unbind_by_somebody_else_meanwhile),
		test(test_bind),
		test(test_bind_refused),
		test(test_bind_without_the_driver),
		test(test_bind_waits_for_the_node),
		test(test_bind_gives_up_on_the_node),
		test(test_open),
		test(test_open_unbound),
		test(test_open_what_is_not_the_device),
		test(test_open_number_of_another_device),
		test(test_module_refs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

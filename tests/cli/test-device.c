/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands on a whole part of the host, against the fake daemon and an ndctl that only notes
 * what it was told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>

#include "names.h"
#include "run.h"
#include "util.h"

/* It has no room for the smaller namespace. */
static const char ndctl[] = "#!/bin/sh\n"
			    "echo \"$*\" >>\"${0%/*}/log\"\n"
			    "case \"$*\" in *sector*) echo 'no room' >&2; exit 1 ;; esac\n";

static char dir[32], script[64], log_path[64];
static char *old_path;

static int setup(void **state)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	(void)PML_STRCPY(dir, "/tmp/pmemlease-ndctl-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(script, sizeof(script), "%s/ndctl", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	fd = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, ndctl, sizeof(ndctl) - 1), sizeof(ndctl) - 1);
	close(fd);
	old_path = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	assert_non_null(old_path);
	assert_true(asprintf(&path, "%s:%s", dir, old_path) > 0);
	setenv("PATH", path, 1);
	fake_daemon_start(run_bus);
	return 0;
}

static int teardown(void **state)
{
	setenv("PATH", old_path, 1);
	free(old_path);
	unlink(log_path);
	unlink(script);
	rmdir(dir);
	return 0;
}

/* All that ndctl was told; the caller's. */
static char *told(void)
{
	char *text = calloc(1, 4096);
	FILE *f = fopen(log_path, "re");

	assert_non_null(text);
	if (f) {
		(void)!fread(text, 1, 4095, f);
		fclose(f);
	}
	return text;
}

static void test_device(void **state)
{
	_cleanup_run_ Run r = RUN("device", "nmem0");
	_cleanup_run_ Run json = RUN("--json", "device", "nmem4");
	_cleanup_run_ Run none = RUN("device", "nmem9");

	assert_int_equal(r.status, 0);
	contains(r.out, "Safe to remove: DIMM nmem0 (NVDIMM 0).\n");
	contains(r.out, "With it leaves the data of g1-uuid (dax0.0).\n");
	json_is(json.out, "namespaces.0.in_the_way", "it is mounted");
	json_is(json.out, "safe_to_remove", "false");
	assert_int_not_equal(none.status, 0);
	contains(none.err, "Nothing is called nmem9.");
}

static void test_evict(void **state)
{
	_cleanup_run_ Run r = RUN("evict", "--device=nmem0", "--deadline=5s");
	_cleanup_run_ Run left = RUN("evict", "--device=nmem4", "--deadline=5s");

	assert_int_equal(r.status, 0);
	contains(r.out, "Evicted nmem0 in ");
	contains(r.out, "Safe to remove: DIMM nmem0 (NVDIMM 0).\n");
	assert_int_not_equal(left.status, 0);
	contains(left.err, "It waited for 5000000 us.");
	contains(left.out, "Not safe to remove: DIMM nmem4");
	contains(left.out, "it is mounted");
}

static void test_as_it_was(void **state)
{
	_cleanup_run_ Run r = RUN("readmit", "--device=nmem0");
	_cleanup_run_ Run json = RUN("--json", "readmit", "--device=nmem0");
	_cleanup_free_ char *log = told();

	assert_int_equal(r.status, 0);
	contains(r.out, "Readmitted nmem0 in ");
	contains_not(r.out, "Note");
	contains(r.out, "LEASE");
	contains(r.out, "g1");
	json_is(json.out, "job.result", "done");
	json_is(json.out, "device.namespaces.0.lease", "g1");
	/* nothing is missing */
	assert_string_equal(log, "");
}

/* Made in the daemon's words; what ndctl cannot do is said, and the rest is done all the same. */
static void test_made_anew(void **state)
{
	_cleanup_run_ Run r = RUN("readmit", "--device=nmem1");
	_cleanup_free_ char *log = told();

	assert_int_equal(r.status, 0);
	assert_string_equal(log,
		"create-namespace --region=region1 --mode=devdax --size=536870912 --align=2097152 --map=dev\n"
		"create-namespace --region=region1 --mode=sector --size=268435456 --sector-size=4096\n");
	contains(r.err, "Making a devdax namespace of 512M on region1 (NVDIMM).\n");
	contains(r.err, "no room\n");
	contains(r.err, "ndctl did not make it.\n");
	contains(r.out, "Readmitted nmem1 in ");
}

/* Before anything is made on it, once. */
static void test_labels(void **state)
{
	_cleanup_run_ Run r = RUN("readmit", "--device=nmem2");
	_cleanup_free_ char *log = told();

	assert_int_equal(r.status, 0);
	contains(r.err, "Writing labels to nmem2, which has none.\n");
	contains(log, "disable-namespace namespace2.0\ndisable-region region2\n"
		      "init-labels nmem2\nenable-region region2\n"
		      "create-namespace --region=region2 ");
	assert_int_equal(strncmp(log, "disable-namespace", 17), 0);
	assert_null(strstr(strstr(log, "init-labels") + 1, "init-labels"));
}

static void test_not_restored(void **state)
{
	_cleanup_run_ Run r = RUN("readmit", "--device=nmem3");
	_cleanup_run_ Run json = RUN("--json", "readmit", "--device=nmem3");

	assert_int_not_equal(r.status, 0);
	contains(r.err, "There is none.");
	contains_not(r.out, "Readmitted");
	json_is(json.out, "error.name", PML_ERROR_NOT_RESTORED);
}

/* To overwrite takes a word of its own: that what is there is nobody's. */
static void test_discard(void **state)
{
	_cleanup_run_ Run r = RUN("readmit", "--device=nmem0", "--discard=");
	_cleanup_run_ Run owned = RUN("readmit", "--device=nmem0", "--discard=bob");
	_cleanup_run_ Run region = RUN("readmit", "dax0.0", "--discard=");

	assert_int_equal(r.status, 0);
	contains(r.out, "Note: It was overwritten.\n");
	assert_int_equal(owned.status, 2);
	assert_int_equal(region.status, 2);
}

/* It would be made on this host instead of that one. */
static void test_other_host(void **state)
{
	_cleanup_free_ char *log = NULL, *ssh = NULL;
	static const char bridge[] =
		"#!/bin/sh\nexec systemd-stdio-bridge --bus-path=\"$DBUS_SYSTEM_BUS_ADDRESS\"\n";
	int fd;

	if (access("/usr/bin/systemd-stdio-bridge", X_OK) < 0)
		skip();
	assert_true(asprintf(&ssh, "%s/ssh", dir) > 0);
	fd = open(ssh, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bridge, sizeof(bridge) - 1), sizeof(bridge) - 1);
	close(fd);

	_cleanup_run_ Run r = RUN("-H", "root@other", "readmit", "--device=nmem1");
	_cleanup_run_ Run whole = RUN("-H", "root@other", "readmit", "--device=nmem0");

	unlink(ssh);
	log = told();
	assert_int_equal(r.status, 2);
	contains(r.err, "made on its own host alone");
	assert_string_equal(log, "");
	assert_int_equal(whole.status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_device),
		T(test_evict),
		T(test_as_it_was),
		T(test_made_anew),
		T(test_labels),
		T(test_not_restored),
		T(test_discard),
		T(test_other_host),
	};
	int failed;

	run_program = getenv("PMEMLEASE");
	if (!run_program) {
		fputs("PMEMLEASE names the program to be tested\n", stderr);
		return 1;
	}
	run_bus = fake_bus_new();
	failed = cmocka_run_group_tests_name("device", tests, NULL, NULL);
	run_bus = fake_bus_free(run_bus);
	return failed;
}

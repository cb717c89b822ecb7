/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration: what is read from where, what is refused with which sentence, and a reload
 * that changes all or nothing. */

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "config.h"
#include "harness.h"

#define UUID_A "11111111-0000-4000-8000-000000000000"

static Harness h;

static ConfigErrors parse(Config *c, const char *text)
{
	ConfigErrors e = {};

	config_defaults(c);
	assert_int_equal(config_parse(c, "test.conf", text, strlen(text), &e), 0);
	return e;
}

static void accepted(Config *c, const char *text)
{
	ConfigErrors e = parse(c, text);

	if (e.n > 0)
		fail_msg("line %u: %s", e.list[0].line, e.list[0].reason);
}

/* One error, at this line, with this in its sentence. */
static void refused(const char *text, unsigned line, const char *what)
{
	Config c;
	ConfigErrors e = parse(&c, text);

	for (size_t i = 1; i < e.n; i++)
		fail_msg("also line %u: %s", e.list[i].line, e.list[i].reason);
	assert_int_equal(e.n, 1);
	assert_string_equal(e.list[0].file, "test.conf");
	assert_int_equal(e.list[0].line, line);
	if (!strstr(e.list[0].reason, what))
		fail_msg("%s is not in: %s", what, e.list[0].reason);
	config_errors_clear(&e);
	config_clear(&c);
}

static void test_values(void **state)
{
	Config c;

	accepted(&c,
		"# a comment\n; another\n\n[Lease]\n  OnEnd = scrub ; said here\nAfterFence=destroy\r\n"
		"Drain=never\nOnRefusal=keep\n"
		"[Evict]\nDeadline=0\nDeadlineMax=1h 30min\nFreezeTimeout=250ms\n[Proof]\nTimeout=1min\n"
		"[Scrub]\nThreads=3\n[Limits]\nLeasesPerUser=0\nJobs=2\nPendingPerUser=3\nPending=4\n"
		"[Log]\nLevel=debug\n[Libvirt]\nURI=qemu:///system?socket=/run/x\n");
	assert_int_equal(c.on_end, PML_ON_END_SCRUB);
	assert_int_equal(c.after_fence, PML_AFTER_FENCE_DESTROY);
	assert_int_equal(c.drain, PML_DRAIN_NEVER);
	assert_int_equal(c.on_refusal, PML_ON_REFUSAL_KEEP);
	assert_int_equal(c.deadline_usec, 0);
	assert_int_equal(c.deadline_max_usec, 5400 * USEC_PER_SEC);
	assert_int_equal(c.freeze_timeout_usec, 250 * USEC_PER_MSEC);
	assert_int_equal(c.proof_timeout_usec, 60 * USEC_PER_SEC);
	assert_int_equal(c.scrub_threads, 3);
	assert_int_equal(c.max_leases_per_uid, 0);
	assert_int_equal(c.max_jobs, 2);
	assert_int_equal(c.max_pending_per_uid, 3);
	assert_int_equal(c.max_pending, 4);
	assert_true(c.debug);
	assert_string_equal(c.libvirt_uri, "qemu:///system?socket=/run/x");
	config_clear(&c);
}

static void test_block_devices(void **state)
{
	Config c, copy;

	accepted(&c,
		"[Regions]\nBlockDevices=/dev/old\nBlockDevices=\n"
		"BlockDevices= /dev/disk/by-id/a\t/dev/loop0  /dev/loop0\n  BlockDevices=/dev/pmem0\n");
	assert_string_equal(c.block_devices[0], "/dev/disk/by-id/a");
	assert_string_equal(c.block_devices[1], "/dev/loop0");
	assert_string_equal(c.block_devices[2], "/dev/pmem0");
	assert_null(c.block_devices[3]);
	assert_int_equal(config_copy(&copy, &c), 0);
	config_clear(&c);
	assert_string_equal(copy.block_devices[2], "/dev/pmem0");
	config_clear(&copy);
	accepted(&c, "[Regions]\nBlockDevices=/dev/a\nBlockDevices=\n");
	assert_null(c.block_devices);
	refused("[Regions]\nBlockDevices=/dev/a b\n", 2, "not b");
	refused("[Regions]\nBlockDevices=/dev/../etc/shadow\n", 2, "below /dev");
	refused("[Regions]\nBlockDevices=/devil\n", 2, "below /dev");
}

static void test_refused(void **state)
{
	char big[600];

	refused("[Lease]\n\nOnEnd=burn\n", 3, "keep or scrub, not burn");
	refused("[Regions]\nSystemRamReturns=fsdax\n", 2, "system-ram or devdax, not fsdax");
	refused("[Lease]\nAfterFence=\n", 2, "pause or destroy");
	refused("[Lease]\nDrain=gently\n", 2, "ask, force or never");
	refused("[Lease]\nOnRefusal=\n", 2, "force or keep");
	refused("[Evict]\nDeadline=30\n", 2, "with its unit");
	refused("[Evict]\nDeadline=8d\n", 2, "604800 s");
	refused("[Evict]\nDeadlineMax=99999999999999999999d\n", 2, "from");
	refused("[Evict]\nFreezeTimeout=1ms\n", 2, "from 50 ms");
	refused("[Limits]\nJobs=0\n", 2, "from 1 to");
	refused("[Limits]\nJobs=-1\n", 2, "from 1 to");
	refused("[Limits]\nJobs=1x\n", 2, "from 1 to");
	refused("[Log]\nLevel=loud\n", 2, "info or debug");
	refused("[Libvirt]\nURI=qemu+ssh://far/system\n", 2, "qemu:///system");
	refused("[Libvirt]\nURI=qemu:///session\n", 2, "qemu:///system");
	refused("[Lease]\nonend=keep\n", 2, "There is no onend= in [Lease]");
	refused("[Least]\nOnEnd=keep\n", 2, "no section [Least]");
	refused("OnEnd=keep\n", 1, "before the first");
	refused("[Lease]\nOnEnd\n", 2, "neither");
	refused("[Lease]\n[Evict\n", 2, "neither");
	refused("[Lease]\nOnEnd=ke\xff\n", 2, "UTF-8");
	refused("[Lease]\n\n# \x1b[31m\n", 3, "UTF-8");
	(void)snprintf(big, sizeof(big), "[Regions]\nBlockDevices=/dev/%0400d\n", 1);
	refused(big, 2, "longer than");
	(void)snprintf(big, sizeof(big), "[Regions]\n#%0400d\nBlockDevices=/dev/x y\n", 1);
	refused(big, 3, "not y");
}

static void test_nul(void **state)
{
	ConfigErrors e = {};
	Config c;

	config_defaults(&c);
	assert_int_equal(config_parse(&c, "f", "[Lease]\nOn\0End=keep\n", 20, &e), 0);
	assert_int_equal(e.n, 1);
	assert_int_equal(e.list[0].line, 2);
	config_errors_clear(&e);
}

static void test_all_errors_are_told(void **state)
{
	ConfigErrors e;
	Config c;

	e = parse(&c, "[Limits]\nJobs=x\nPending=y\n[Lease]\nOnEnd=keep\nAfterFence=z\n");
	assert_int_equal(e.n, 3);
	assert_int_equal(e.list[2].line, 6);
	config_errors_clear(&e);
}

static char *slurp(const char *path, size_t *ret_size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char *text = calloc(1, 65536);

	assert_non_null(f);
	assert_non_null(text);
	*ret_size = fread(text, 1, 65535, f);
	return text;
}

/* What is installed shows every key with its default, and nothing else; the page has the same. */
static void test_installed_file(void **state)
{
	_cleanup_free_ char *text = NULL, *page = NULL;
	const char *name, *section;
	size_t size, n_keys = 0, n_shown = 0;
	ConfigErrors e = {};
	Config c, defaults;

	text = slurp(getenv("PMEMLEASED_CONF"), &size);
	page = slurp(getenv("PMEMLEASED_CONF_PAGE"), &n_keys);
	n_keys = 0;
	for (char *p = text; (p = strchr(p, '\n')); p++)
		if (p[1] == '#' && p[2] >= 'A' && p[2] <= 'Z' && strchr(p, '=')) {
			p[1] = ' ';
			n_shown++;
		}
	config_defaults(&c);
	config_defaults(&defaults);
	assert_int_equal(config_parse(&c, "installed", text, size, &e), 0);
	if (e.n > 0)
		fail_msg("line %u: %s", e.list[0].line, e.list[0].reason);
	assert_memory_equal(&c, &defaults, sizeof(c));
	for (; (name = config_key_name(n_keys, &section)); n_keys++) {
		char want[128];

		(void)snprintf(want, sizeof(want), "\n %s=", name);
		assert_non_null(strstr(text, want));
		(void)snprintf(want, sizeof(want), ".Ss [%s]\n", section);
		assert_non_null(strstr(page, want));
		(void)snprintf(want, sizeof(want), ".It Va %s Ns =\n", name);
		assert_non_null(strstr(strstr(page, ".Ss ["), want));
	}
	assert_int_equal(n_keys, n_shown);
	n_shown = 0;
	for (const char *p = page; (p = strstr(p, ".It Va ")); p++)
		n_shown++;
	assert_int_equal(n_keys, n_shown);
}

/* --- files --- */

static void mkdir_in(const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", h.dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static int load(Config *c, ConfigErrors *e)
{
	static char path[256];
	Config base;

	config_defaults(&base);
	(void)snprintf(path, sizeof(path), "%s/pmemleased.conf", h.dir);
	base.file = path;
	return config_load(c, &base, e);
}

static void test_drop_ins(void **state)
{
	ConfigErrors e = {};
	char path[256];
	Config c;

	harness_write(&h, "pmemleased.conf", "[Limits]\nJobs=1\n[Lease]\nOnEnd=scrub\n");
	mkdir_in("pmemleased.conf.d");
	harness_write(&h, "pmemleased.conf.d/20-b.conf", "[Limits]\nJobs=20\n");
	harness_write(&h, "pmemleased.conf.d/10-a.conf", "[Limits]\nJobs=10\nPending=100\n");
	harness_write(&h, "pmemleased.conf.d/30-not", "[Limits]\nJobs=30\n");
	harness_write(&h, "pmemleased.conf.d/.hidden.conf", "[Limits]\nJobs=40\n");
	(void)snprintf(path, sizeof(path), "%s/pmemleased.conf.d/99-z.conf", h.dir);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(load(&c, &e), 0);
	assert_int_equal(c.max_jobs, 20);
	assert_int_equal(c.max_pending, 100);
	assert_int_equal(c.on_end, PML_ON_END_SCRUB);
	config_clear(&c);
}

static void load_refused(const char *what)
{
	ConfigErrors e = {};
	Config c;

	assert_int_equal(load(&c, &e), 1);
	assert_true(e.n >= 1);
	if (!strstr(e.list[0].reason, what))
		fail_msg("%s is not in: %s", what, e.list[0].reason);
	config_errors_clear(&e);
}

static void test_files_that_are_none(void **state)
{
	char path[256];

	harness_remove(&h, "pmemleased.conf");
	load_refused("no such file");
	/* A reload must not hang on it. */
	harness_fifo(&h, "pmemleased.conf");
	load_refused("is no file");
	harness_remove(&h, "pmemleased.conf");
	mkdir_in("pmemleased.conf");
	load_refused("is no file");
	(void)snprintf(path, sizeof(path), "%s/pmemleased.conf", h.dir);
	assert_int_equal(rmdir(path), 0);
	harness_write(&h, "pmemleased.conf", "%*d\n", (int)CONFIG_FILE_MAX + 1, 1);
	load_refused("longer than");
}

static void test_what_does_not_go_together(void **state)
{
	harness_write(&h, "pmemleased.conf", "[Evict]\nDeadline=2h\nDeadlineMax=1h\n");
	load_refused("longer than DeadlineMax=");
	harness_write(&h, "pmemleased.conf", "[Limits]\nPending=1\n");
	load_refused("PendingPerUser=");
}

/* --- the daemon --- */

static char *region_path(void)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", UUID_A);
	const char *path;

	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "o", &path) > 0);
	return strdup(path);
}

static sd_bus_message *evict(uint64_t deadline_usec)
{
	_cleanup_free_ char *path = region_path();

	return harness_call(&h, path, PML_IF_REGION, "Evict", "ta{sv}", deadline_usec, 0);
}

static sd_bus_message *reload(void)
{
	return harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "Reload", NULL);
}

static void test_reload(void **state)
{
	_cleanup_message_ sd_bus_message *ok = NULL, *bad = NULL, *long_one = NULL, *still = NULL,
					 *again = NULL, *default_one = NULL;

	harness_daemon_start(&h, true, NULL);
	harness_write(&h, "pmemleased.conf", "[Evict]\nDeadlineMax=10s\nDeadline=1s\n");
	ok = reload();
	assert_success(ok);
	harness_wait_notify(&h, "RELOADING=1");
	harness_wait_notify(&h, "READY=1");
	long_one = evict(11 * USEC_PER_SEC);
	assert_error(long_one, PML_ERROR_INVALID);
	assert_non_null(strstr(sd_bus_message_get_error(long_one)->message, "10 s"));

	/* All of it is refused, with the place; what was there before stays. */
	harness_write(&h, "pmemleased.conf", "[Evict]\nDeadlineMax=1d\nDeadlin=1s\n");
	bad = reload();
	assert_error(bad, PML_ERROR_CONFIGURATION);
	assert_non_null(strstr(
		sd_bus_message_get_error(bad)->message, "pmemleased.conf:3: There is no Deadlin="));
	harness_wait_notify(&h, "READY=1");
	still = evict(11 * USEC_PER_SEC);
	assert_error(still, PML_ERROR_INVALID);

	/* By signal, too. */
	harness_write(&h, "pmemleased.conf", "%s", "");
	assert_int_equal(kill(h.daemon_pid, SIGHUP), 0);
	harness_wait_notify(&h, "READY=1");
	default_one = evict(PML_DEADLINE_DEFAULT);
	assert_success(default_one);
}

static void test_start_refused(void **state)
{
	char path[256];
	int status;

	harness_write(&h, "pmemleased.conf", "[Nothing]\nX=1\n");
	harness_daemon_exec(&h, true, NULL);
	status = harness_daemon_wait(&h);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_CONFIG);
	/* Before anything was touched. */
	(void)snprintf(path, sizeof(path), "%s/state", h.dir);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_lease_defaults(void **state)
{
	_cleanup_message_ sd_bus_message *deadline = NULL;

	harness_write(&h, "pmemleased.conf", "[Evict]\nDeadline=2s\nDeadlineMax=2s\n");
	harness_daemon_start(&h, true, NULL);
	deadline = evict(PML_DEADLINE_DEFAULT);
	assert_success(deadline);
}

static int setup(void **state)
{
	harness_new(&h);
	harness_write(&h, "regions", "dax0.0 %s 0 1073741824 250 0\n", UUID_A);
	return 0;
}

static int teardown(void **state)
{
	harness_free(&h);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_block_devices),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_all_errors_are_told),
		cmocka_unit_test(test_installed_file),
		cmocka_unit_test_setup_teardown(test_drop_ins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_does_not_go_together, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_start_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lease_defaults, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

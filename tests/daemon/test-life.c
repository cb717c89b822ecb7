/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The daemon's life: ready, watched, stopped, killed between two steps, and without its bus, its
 * libvirt or a ledger it can read. */

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "harness.h"

#define UUID_A "11111111-0000-4000-8000-000000000000"

static Harness h;

static char *region_path(void)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", UUID_A);
	const char *path;

	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "o", &path) > 0);
	return strdup(path);
}

static void assert_content(const char *want)
{
	_cleanup_free_ char *path = region_path();
	_cleanup_message_ sd_bus_message *reply = harness_call(
		&h, path, "org.freedesktop.DBus.Properties", "Get", "ss", PML_IF_REGION, "Content");
	const char *content;

	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "v", "s", &content) > 0);
	assert_string_equal(content, want);
}

static void adopt(void)
{
	_cleanup_free_ char *path = region_path();
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, path, PML_IF_REGION, "Adopt", "s", "somebody");

	assert_success(reply);
}

static void test_stop(void **state)
{
	int status;

	harness_daemon_start(&h, true, NULL);
	assert_int_equal(kill(h.daemon_pid, SIGTERM), 0);
	harness_wait_notify(&h, "STOPPING=1");
	status = harness_daemon_wait(&h);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_watchdog(void **state)
{
	static const char *const env[] = {"WATCHDOG_USEC=200000", NULL};

	harness_daemon_start(&h, true, env);
	harness_wait_notify(&h, "WATCHDOG=1");
	harness_wait_notify(&h, "WATCHDOG=1");
}

static void test_what_was_recorded_is_there_after_kill(void **state)
{
	harness_daemon_start(&h, true, NULL);
	adopt();
	harness_daemon_kill(&h);
	harness_daemon_start(&h, true, NULL);
	assert_content("retained");
	/* Also where the host has lost it meanwhile. */
	harness_daemon_kill(&h);
	harness_write(&h, "regions", "%s", "");
	harness_daemon_start(&h, true, NULL);
	_cleanup_message_ sd_bus_message *reply = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER,
		"GetRegion", "s", "iset:00000000000000aa+0x0/0x40000000");

	assert_success(reply);
}

static void crash_at(const char *point, const char *content)
{
	char env[128];
	const char *const list[] = {env, NULL};
	_cleanup_free_ char *path = NULL;
	int status;
	Call c;

	(void)snprintf(env, sizeof(env), PML_ENV_CRASH_AT "=%s", point);
	harness_daemon_start(&h, true, list);
	path = region_path();
	harness_call_async(&h, &c, path, PML_IF_REGION, "Adopt", "s", "somebody");
	harness_wait(&h, &c.done);
	/* The bus answers for the dead. */
	assert_true(sd_bus_message_is_method_error(c.reply, NULL));
	sd_bus_message_unref(c.reply);
	status = harness_daemon_wait(&h);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	harness_daemon_start(&h, true, NULL);
	assert_content(content);
	harness_daemon_kill(&h);
}

static void test_crash_points(void **state)
{
	crash_at("change/record/before", "foreign");
	crash_at("change/record/after", "retained");
}

static void test_bus_restarts(void **state)
{
	harness_daemon_start(&h, true, NULL);
	adopt();
	harness_disconnect(&h);
	harness_bus_kill(&h);
	harness_bus_start(&h);
	harness_connect(&h);
	/* Its name comes back by itself. */
	for (;;) {
		_cleanup_message_ sd_bus_message *reply = NULL;

		assert_true(sd_bus_call_method(h.client, "org.freedesktop.DBus",
				    "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner",
				    NULL, &reply, "s", PML_BUS_NAME) >= 0);
		int owned;

		assert_true(sd_bus_message_read(reply, "b", &owned) > 0);
		if (owned)
			break;
		assert_true(sd_event_run(h.event, 100 * USEC_PER_MSEC) >= 0);
	}
	assert_content("retained");
	assert_int_equal(kill(h.daemon_pid, 0), 0);
}

static void test_no_bus_at_all(void **state)
{
	harness_disconnect(&h);
	harness_bus_kill(&h);
	/* Deadlines must be kept whether there is a bus or not. */
	harness_daemon_start(&h, true, NULL);
	harness_bus_start(&h);
	harness_connect(&h);
	while (true) {
		_cleanup_message_ sd_bus_message *reply =
			harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "ListRegions", NULL);

		if (!sd_bus_message_is_method_error(reply, NULL))
			break;
		assert_true(sd_event_run(h.event, 100 * USEC_PER_MSEC) >= 0);
	}
}

static void test_second_daemon(void **state)
{
	pid_t first;
	int status;

	harness_daemon_start(&h, true, NULL);
	first = h.daemon_pid;
	harness_daemon_exec(&h, true, NULL);
	status = harness_daemon_wait(&h);
	h.daemon_pid = first;
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 0);
	assert_content("foreign");
}

static void test_corrupt_ledger_is_refused_and_kept(void **state)
{
	char path[256], before[64] = "this is no ledger, and it must stay as it is", after[64] = "";
	int status;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/state", h.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	harness_write(&h, "state/" PML_LEDGER_FILE, "%s", before);
	harness_daemon_exec(&h, true, NULL);
	status = harness_daemon_wait(&h);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_CONFIG);
	(void)snprintf(path, sizeof(path), "%s/state/" PML_LEDGER_FILE, h.dir);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(after, sizeof(after), f));
	fclose(f);
	assert_string_equal(before, after);
}

static void test_ready_before_libvirt(void **state)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	int connected;

	harness_write(&h, "down", "%s", "");
	harness_daemon_start(&h, true, NULL);
	reply = harness_call(&h, PML_BUS_PATH, "org.freedesktop.DBus.Properties", "Get", "ss",
		PML_IF_MANAGER, "LibvirtConnected");
	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "v", "b", &connected) > 0);
	assert_false(connected);
	{
		char path[256];
		_cleanup_close_ int fd = -EBADF;

		(void)snprintf(path, sizeof(path), "%s/events", h.dir);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, "connected\n", 10), 10);
	}
	harness_wait_signal(&h, "PropertiesChanged " PML_BUS_PATH);
}

static void test_real_program_lists_its_steps(void **state)
{
	char line[256], command[512];
	unsigned n = 0, lease = 0;
	FILE *p;

	(void)snprintf(command, sizeof(command), "%s --list-steps", getenv("PMEMLEASED"));
	p = popen(command, "re");
	assert_non_null(p);
	while (fgets(line, sizeof(line), p)) {
		n++;
		lease += strcmp(line, "lease/reserve/before\n") == 0 ||
			 strcmp(line, "lease/reserve/after\n") == 0;
	}
	assert_int_equal(pclose(p), 0);
	assert_true(n > 20);
	assert_int_equal(lease, 2);
}

static int setup(void **state)
{
	harness_new(&h);
	harness_write(&h, "regions", "dax0.0 " UUID_A " 0 0x40000000 1 7\n");
	return 0;
}

static int teardown(void **state)
{
	harness_free(&h);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stop),
		TEST(test_watchdog),
		TEST(test_what_was_recorded_is_there_after_kill),
		TEST(test_crash_points),
		TEST(test_bus_restarts),
		TEST(test_no_bus_at_all),
		TEST(test_second_daemon),
		TEST(test_corrupt_ledger_is_refused_and_kept),
		TEST(test_ready_before_libvirt),
		cmocka_unit_test(test_real_program_lists_its_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

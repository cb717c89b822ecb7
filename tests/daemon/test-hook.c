/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The program that libvirt runs, as libvirt runs it, with a daemon on a private bus and with none:
 * what it answers in which phase, and what reaches virsh. */

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "grant-xml.h"
#include "harness.h"

#define UUID	 "11111111-aaaa-4000-8000-000000000001"
#define DEVICE	 NVDIMM_XML("/dev/full", "1048576", "")
#define XML	 DOMAIN_XML("kvm", UUID, "vm1", DEVICE)
#define XML_NONE DOMAIN_XML("kvm", UUID, "vm1", "")

static char said[4096]; /* on stderr */

/* Its exit status. timeout_sec NULL: its own. */
static int hook(Harness *h, const char *op, const char *xml, const char *timeout_sec)
{
	int in[2], err[2], status;
	char state[160];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	(void)snprintf(state, sizeof(state), "%s/state", h->dir);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("DBUS_SYSTEM_BUS_ADDRESS", h->address, 1);
		setenv("PMEMLEASE_STATE_DIR", state, 1);
		if (timeout_sec)
			setenv("PMEMLEASE_HOOK_TIMEOUT_SEC", timeout_sec, 1);
		dup2(in[0], STDIN_FILENO);
		dup2(err[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		execl(getenv("PMEMLEASE_HOOK"), "pmemlease", "vm1", op, "begin", "-", NULL);
		_exit(127);
	}
	close(in[0]);
	close(err[1]);
	assert_int_equal(write(in[1], xml, strlen(xml)), (ssize_t)strlen(xml));
	close(in[1]);
	for (size_t k = 0; (n = read(err[0], said + k, sizeof(said) - 1 - k)) > 0;)
		said[k += (size_t)n] = '\0';
	close(err[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void passes(Harness *h, const char *op, const char *xml)
{
	said[0] = '\0';
	if (hook(h, op, xml, "10") != 0)
		fail_msg("%s: %s", op, said);
	/* Its standard output would be taken for another XML. */
	assert_string_equal(said, "");
}

static void refuses(Harness *h, const char *op, const char *xml, const char *word)
{
	said[0] = '\0';
	assert_int_not_equal(hook(h, op, xml, "1"), 0);
	assert_non_null(strstr(said, "vm1"));
	if (!strstr(said, word))
		fail_msg("'%s' is not in: %s", word, said);
}

static void region_call(Harness *h, const char *method, const char *arg)
{
	_cleanup_message_ sd_bus_message *region =
		harness_call(h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", "full");
	_cleanup_message_ sd_bus_message *done = NULL;
	const char *path;

	assert_success(region);
	assert_true(sd_bus_message_read(region, "o", &path) > 0);
	done = harness_call(h, path, PML_IF_REGION, method, "s", arg);
	assert_success(done);
}

static void assert_lease_state(Harness *h, const char *want)
{
	_cleanup_message_ sd_bus_message *m =
		harness_call(h, PML_BUS_PATH, PML_IF_MANAGER, "ListLeases", NULL);
	const char *id, *region, *name, *uuid, *domain, *owner, *state = "", *path;

	assert_success(m);
	assert_true(sd_bus_message_enter_container(m, 'a', "(ssssssso)") >= 0);
	if (sd_bus_message_read(m, "(ssssssso)", &id, &region, &name, &uuid, &domain, &owner,
		    &state, &path) > 0) {
		assert_string_equal(uuid, UUID);
		assert_string_equal(domain, "vm1");
		assert_string_equal(owner, UUID);
	}
	assert_string_equal(state, want);
}

static void test_granted(void **state)
{
	Harness *h = *state;

	refuses(h, "prepare", XML, "adopt");
	assert_lease_state(h, "");
	region_call(h, "Adopt", UUID);
	passes(h, "prepare", XML);
	assert_lease_state(h, "attaching");
	/* Another machine that wants it is told who has it. */
	refuses(h, "prepare",
		DOMAIN_XML("kvm", "22222222-aaaa-4000-8000-000000000001", "vm2", DEVICE),
		"lent to vm1");
	passes(h, "start", XML);
	passes(h, "prepare", XML_NONE);
	passes(h, "reconnect", XML);
	/* It maps nothing: a failure of this would kill what runs. */
	assert_int_equal(hook(h, "started", XML, "10"), 0);
	passes(h, "stopped", XML);
	passes(h, "release", XML);
}

static void test_daemon_is_down(void **state)
{
	Harness *h = *state;

	region_call(h, "Adopt", UUID);
	harness_daemon_kill(h);
	refuses(h, "prepare", XML, "pmemleased does not answer");
	assert_non_null(strstr(said, "/dev/full"));
	assert_non_null(strstr(said, "systemctl"));
	refuses(h, "start", XML, "pmemleased does not answer");
	refuses(h, "migrate", XML, "pmemleased does not answer");
	refuses(h, "restore", XML, "pmemleased does not answer");
	/* By another name: it is the device that counts. */
	refuses(h, "prepare",
		DOMAIN_XML("kvm", UUID, "vm1", NVDIMM_XML("/dev/../dev/full", "1048576", "")),
		"pmemleased does not answer");
	/* Every device-dax, also of after the last scan. */
	refuses(h, "prepare",
		DOMAIN_XML("kvm", UUID, "vm1", NVDIMM_XML("/dev/dax77.0", "1048576", "")),
		"pmemleased does not answer");
	/* All others start, and nothing that runs is ended. */
	passes(h, "prepare", XML_NONE);
	passes(h, "prepare", DOMAIN_XML("kvm", UUID, "vm1", NVDIMM_XML("/dev/null", "4", "")));
	passes(h, "started", XML);
	passes(h, "stopped", XML);
	passes(h, "release", XML);
	passes(h, "reconnect", XML);
	passes(h, "reconnect", "no XML");
	refuses(h, "prepare", "no XML", "cannot be read");

	/* No bus at all. */
	harness_disconnect(h);
	harness_bus_kill(h);
	refuses(h, "prepare", XML, "pmemleased does not answer");
	passes(h, "prepare", XML_NONE);
	passes(h, "reconnect", XML);
}

static void test_daemon_hangs(void **state)
{
	Harness *h = *state;

	region_call(h, "Adopt", UUID);
	assert_int_equal(kill(h->daemon_pid, SIGSTOP), 0);
	refuses(h, "prepare", XML, "pmemleased does not answer");
	said[0] = '\0';
	assert_int_equal(hook(h, "prepare", XML_NONE, "1"), 0);
	/* What it answers too late is taken back when libvirt gives up the start. */
	assert_int_equal(hook(h, "release", XML, "1"), 0);
	assert_int_equal(kill(h->daemon_pid, SIGCONT), 0);
	passes(h, "release", XML);
	for (int i = 0; i < 500; i++) {
		_cleanup_message_ sd_bus_message *m =
			harness_call(h, PML_BUS_PATH, PML_IF_MANAGER, "ListLeases", NULL);

		assert_success(m);
		assert_true(sd_bus_message_enter_container(m, 'a', "(ssssssso)") >= 0);
		if (sd_bus_message_at_end(m, false))
			return;
	}
	fail_msg("The lease of a start that was given up stays.");
}

/* All that libvirt asks in a start, of a machine that has nothing of ours. */
static void test_daemon_hangs_for_others(void **state)
{
	static const char *const ops[] = {"prepare", "start", "started"};
	uint64_t begin = pml_now_usec(CLOCK_MONOTONIC);
	Harness *h = *state;

	assert_int_equal(kill(h->daemon_pid, SIGSTOP), 0);
	for (size_t i = 0; i < ELEMENTSOF(ops); i++)
		assert_int_equal(hook(h, ops[i], XML_NONE, NULL), 0);
	assert_int_equal(kill(h->daemon_pid, SIGCONT), 0);
	assert_true(pml_now_usec(CLOCK_MONOTONIC) - begin < 8 * USEC_PER_SEC);
}

static void test_only_root(void **state)
{
	Harness *h = *state;
	_cleanup_message_ sd_bus_message *m = NULL;

	harness_daemon_kill(h);
	harness_daemon_start(h, false, NULL);
	harness_polkit(h, POLKIT_YES);
	m = harness_call(h, PML_BUS_PATH, PML_IF_MANAGER, "Grant", "ss", XML, "prepare");
	assert_error(m, SD_BUS_ERROR_ACCESS_DENIED);
	assert_non_null(strstr(sd_bus_message_get_error(m)->message, "qemu:///session"));
	assert_int_equal(h->polkit_asked, 0);
	refuses(h, "prepare", XML, "qemu:///session");
}

static int setup(void **state)
{
	static Harness h;

	harness_new(&h);
	harness_write(
		&h, "regions", "full 11111111-0000-4000-8000-000000000000 0 0x40000000 1 7\n");
	harness_write(&h, UUID, "vm1 off\n");
	harness_daemon_start(&h, true, NULL);
	*state = &h;
	return 0;
}

static int teardown(void **state)
{
	harness_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_granted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_daemon_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_daemon_hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_daemon_hangs_for_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_root, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

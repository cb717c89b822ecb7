/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who may do what: polkit is asked without waiting for it, by the right action, and without it only
 * root may. */

#include <sys/wait.h>

#include "harness.h"

#define PENDING_PER_UID 16

static Harness h;
static char region[256];

static sd_bus_message *adopt(const char *owner)
{
	return harness_call(&h, region, PML_IF_REGION, "Adopt", "s", owner);
}

static void assert_content(const char *want)
{
	_cleanup_message_ sd_bus_message *reply = harness_call(&h, region,
		"org.freedesktop.DBus.Properties", "Get", "ss", PML_IF_REGION, "Content");
	const char *content;

	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "v", "s", &content) > 0);
	assert_string_equal(content, want);
}

static void test_yes(void **state)
{
	_cleanup_message_ sd_bus_message *reply = NULL;

	harness_polkit(&h, POLKIT_YES);
	reply = adopt("somebody");
	assert_success(reply);
	assert_int_equal(h.polkit_asked, 1);
	assert_string_equal(h.polkit_action, PML_ACTION_ADOPT);
	assert_int_equal(h.polkit_flags, 0);
	assert_content("retained");
}

static void test_no(void **state)
{
	_cleanup_message_ sd_bus_message *reply = NULL;

	harness_polkit(&h, POLKIT_NO);
	reply = adopt("somebody");
	assert_error(reply, SD_BUS_ERROR_ACCESS_DENIED);
	assert_content("foreign");
}

static void test_challenge(void **state)
{
	_cleanup_message_ sd_bus_message *reply = NULL;

	harness_polkit(&h, POLKIT_CHALLENGE);
	reply = adopt("somebody");
	assert_error(reply, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED);
	assert_content("foreign");
}

static void test_interactive_flag_is_handed_on(void **state)
{
	_cleanup_message_ sd_bus_message *m = NULL;

	harness_polkit(&h, POLKIT_YES);
	assert_true(sd_bus_message_new_method_call(
			    h.client, &m, PML_BUS_NAME, region, PML_IF_REGION, "Adopt") >= 0);
	assert_true(sd_bus_message_append(m, "s", "somebody") >= 0);
	assert_true(sd_bus_message_set_allow_interactive_authorization(m, 1) >= 0);
	assert_true(sd_bus_send(h.client, m, NULL) >= 0);
	while (h.polkit_asked == 0)
		assert_true(sd_event_run(h.event, HARNESS_TIMEOUT_USEC) > 0);
	assert_int_equal(h.polkit_flags, 1);
}

static void test_absent(void **state)
{
	_cleanup_message_ sd_bus_message *reply = NULL, *list = NULL, *history = NULL;

	reply = adopt("somebody");
	assert_error(reply, SD_BUS_ERROR_ACCESS_DENIED);
	history =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "History", "sxu", "", (int64_t)0, 1);
	assert_error(history, SD_BUS_ERROR_ACCESS_DENIED);
	/* What everybody may see needs no polkit. */
	list = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "ListRegions", NULL);
	assert_success(list);
	assert_content("foreign");
}

static void test_trusted_is_not_asked(void **state)
{
	_cleanup_message_ sd_bus_message *reply = NULL;

	assert_true(WIFEXITED(harness_daemon_stop(&h)));
	harness_daemon_start(&h, true, NULL);
	reply = adopt("somebody");
	assert_success(reply);
	assert_content("retained");
}

static void test_slow_answer_holds_up_nobody(void **state)
{
	_cleanup_message_ sd_bus_message *list = NULL;
	Call slow;

	harness_polkit(&h, POLKIT_SILENT);
	harness_call_async(&h, &slow, region, PML_IF_REGION, "Adopt", "s", "somebody");
	while (h.n_held == 0)
		assert_true(sd_event_run(h.event, HARNESS_TIMEOUT_USEC) > 0);
	list = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "ListRegions", NULL);
	assert_success(list);
	assert_false(slow.done);
	assert_content("foreign");
	harness_polkit_answer(&h, true);
	harness_wait(&h, &slow.done);
	assert_success(slow.reply);
	sd_bus_message_unref(slow.reply);
	assert_content("retained");
}

/* What was true when polkit was asked need not be when it answers. */
static void test_state_is_checked_behind_the_answer(void **state)
{
	Call first, second;

	harness_polkit(&h, POLKIT_SILENT);
	harness_call_async(&h, &first, region, PML_IF_REGION, "Adopt", "s", "one");
	harness_call_async(&h, &second, region, PML_IF_REGION, "Adopt", "s", "two");
	while (h.n_held < 2)
		assert_true(sd_event_run(h.event, HARNESS_TIMEOUT_USEC) > 0);
	harness_polkit_answer(&h, true);
	harness_wait(&h, &first.done);
	harness_wait(&h, &second.done);
	assert_success(first.reply);
	assert_true(sd_bus_message_is_method_error(second.reply, NULL));
	sd_bus_message_unref(first.reply);
	sd_bus_message_unref(second.reply);
}

static void test_gone_behind_the_answer(void **state)
{
	Call slow;
	_cleanup_message_ sd_bus_message *reload = NULL;

	harness_polkit(&h, POLKIT_SILENT);
	harness_call_async(&h, &slow, region, PML_IF_REGION, "Adopt", "s", "one");
	while (h.n_held == 0)
		assert_true(sd_event_run(h.event, HARNESS_TIMEOUT_USEC) > 0);
	h.mode = POLKIT_YES;
	harness_write(&h, "regions", "%s", "");
	reload = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "Reload", NULL);
	assert_success(reload);
	assert_string_equal(h.polkit_action, PML_ACTION_MANAGE);
	harness_polkit_answer(&h, true);
	harness_wait(&h, &slow.done);
	assert_error(slow.reply, PML_ERROR_NO_SUCH_REGION);
	sd_bus_message_unref(slow.reply);
}

static void test_pending_calls_are_capped(void **state)
{
	Call calls[PENDING_PER_UID], more;
	sd_bus *first;
	_cleanup_message_ sd_bus_message *list = NULL;

	harness_polkit(&h, POLKIT_SILENT);
	for (size_t i = 0; i < PENDING_PER_UID; i++)
		harness_call_async(&h, &calls[i], region, PML_IF_REGION, "Scrub", "s", "");
	while (h.n_held < PENDING_PER_UID)
		assert_true(sd_event_run(h.event, HARNESS_TIMEOUT_USEC) > 0);
	harness_call_async(&h, &more, region, PML_IF_REGION, "Scrub", "s", "");
	harness_wait(&h, &more.done);
	assert_error(more.reply, PML_ERROR_LIMIT);
	sd_bus_message_unref(more.reply);
	list = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "ListRegions", NULL);
	assert_success(list);

	/* Another connection of the same user has no more to spend. */
	first = h.client;
	harness_connect(&h);
	harness_call_async(&h, &more, region, PML_IF_REGION, "Scrub", "s", "");
	harness_wait(&h, &more.done);
	assert_error(more.reply, PML_ERROR_LIMIT);
	sd_bus_message_unref(more.reply);
	sd_bus_close(h.client);
	sd_bus_unref(h.client);
	h.client = first;

	harness_polkit_answer(&h, false);
	for (size_t i = 0; i < PENDING_PER_UID; i++) {
		harness_wait(&h, &calls[i].done);
		assert_error(calls[i].reply, SD_BUS_ERROR_ACCESS_DENIED);
		sd_bus_message_unref(calls[i].reply);
	}
	/* Their places are free again. */
	harness_polkit(&h, POLKIT_NO);
	harness_call_async(&h, &more, region, PML_IF_REGION, "Scrub", "s", "");
	harness_wait(&h, &more.done);
	assert_error(more.reply, SD_BUS_ERROR_ACCESS_DENIED);
	sd_bus_message_unref(more.reply);
}

/* Arguments decide as well: naming whose data it is, and agreeing to its end, are privileges of
 * their own. */
static void test_arguments_decide_the_action(void **state)
{
	static const struct {
		const char *key, *value, *action;
	} cases[] = {
		{"after-fence", "pause", PML_ACTION_LEASE},
		{"owner", "somebody", PML_ACTION_LEASE_OTHER},
		{"on-end", "keep", PML_ACTION_LEASE},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_message_ sd_bus_message *reply = NULL;

		harness_polkit(&h, POLKIT_NO);
		reply = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "Lease", "ssa{sv}", "dax0.0",
			"vm", 1, cases[i].key, "s", cases[i].value);
		assert_error(reply, SD_BUS_ERROR_ACCESS_DENIED);
		assert_string_equal(h.polkit_action, cases[i].action);
		assert_int_equal(h.polkit_asked, 1);
	}
}

/* Yes to the first action of a call, no to the second; call: sent, polkit silent. */
static void assert_second_is_asked(Call *call, const char *first, const char *second)
{
	while (h.n_held == 0)
		assert_true(sd_event_run(h.event, HARNESS_TIMEOUT_USEC) > 0);
	assert_string_equal(h.polkit_action, first);
	h.mode = POLKIT_NO;
	harness_polkit_answer(&h, true);
	harness_wait(&h, &call->done);
	assert_string_equal(h.polkit_action, second);
	assert_error(call->reply, SD_BUS_ERROR_ACCESS_DENIED);
	sd_bus_message_unref(call->reply);
}

static void test_two_actions_are_both_asked_for(void **state)
{
	Call call;

	harness_polkit(&h, POLKIT_SILENT);
	harness_call_async(&h, &call, PML_BUS_PATH, PML_IF_MANAGER, "Lease", "ssa{sv}", "dax0.0",
		"vm", 1, "on-end", "s", "scrub");
	assert_second_is_asked(&call, PML_ACTION_LEASE, PML_ACTION_SCRUB);
	/* It disables what nobody has a lease of. */
	harness_polkit(&h, POLKIT_SILENT);
	harness_call_async(&h, &call, PML_BUS_PATH, PML_IF_MANAGER, "EvictDevice", "sta{sv}",
		"nmem0", UINT64_C(0), 0);
	assert_second_is_asked(&call, PML_ACTION_EVICT, PML_ACTION_MANAGE);
	/* Others' leases are made again by it. */
	harness_polkit(&h, POLKIT_SILENT);
	harness_call_async(
		&h, &call, PML_BUS_PATH, PML_IF_MANAGER, "ReadmitDevice", "sa{sv}", "nmem0", 0);
	assert_second_is_asked(&call, PML_ACTION_READMIT, PML_ACTION_MANAGE);
}

/* The daemon looks with root's eyes: it tells nobody else what it saw there. */
static void test_no_file_is_disclosed(void **state)
{
	static const char *const paths[] = {
		"/etc/passwd", "/etc/nowhere", "/dev/null", "/etc/passwd/x"};

	for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
		_cleanup_message_ sd_bus_message *reply =
			harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", paths[i]);
		const char *said;

		assert_error(reply, PML_ERROR_NO_SUCH_REGION);
		said = sd_bus_message_get_error(reply)->message;
		assert_int_equal(strncmp(said, paths[i], strlen(paths[i])), 0);
		assert_string_equal(said + strlen(paths[i]),
			" is no region's device node; pmemlease regions lists them.");
	}
}

static int setup(void **state)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *path;

	harness_new(&h);
	harness_write(
		&h, "regions", "dax0.0 11111111-0000-4000-8000-000000000000 0 0x40000000 1 7\n");
	harness_daemon_start(&h, false, NULL);
	reply = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", "dax0.0");
	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "o", &path) > 0);
	(void)snprintf(region, sizeof(region), "%s", path);
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
		cmocka_unit_test_setup_teardown(test_yes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no, setup, teardown),
		cmocka_unit_test_setup_teardown(test_challenge, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_interactive_flag_is_handed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trusted_is_not_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_answer_holds_up_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_state_is_checked_behind_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone_behind_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pending_calls_are_capped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arguments_decide_the_action, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_two_actions_are_both_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_file_is_disclosed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent.h"
#include "util.h"

static void test_asks(void **state)
{
	AgentDevice d = {.has_address = true, .address = 0x140000000, .size_bytes = 1 << 30};
	_cleanup_free_ char *with = agent_exec_command(&d, 1500 * USEC_PER_MSEC);
	_cleanup_free_ char *status = agent_status_command(77), *without = NULL;

	/* A program and its words; no shell, and nothing in it that somebody else has written. */
	assert_string_equal(with,
		"{\"arguments\":{\"path\":\"\\/usr\\/libexec\\/pmemlease\\/guest-release\",\"arg\":"
		"[\"--address=0x140000000\",\"--size=1073741824\",\"--timeout=2\"],"
		"\"capture-output\":true},\"execute\":\"guest-exec\"}");
	assert_string_equal(
		status, "{\"arguments\":{\"pid\":77},\"execute\":\"guest-exec-status\"}");
	d.has_address = false;
	without = agent_exec_command(&d, 0);
	assert_null(strstr(without, "address"));
	assert_null(strstr(without, "timeout"));
}

static void test_exec(void **state)
{
	static const char *const bad[] = {"", "null", "[]", "{}", "{\"return\":5}",
		"{\"return\":{}}", "{\"return\":{\"pid\":\"7\"}}", "{\"return\":{\"pid\":0}}",
		"{\"return\":{\"pid\":-3}}", "{\"return\":{\"pid\":7}"};
	int64_t pid = 0;

	assert_int_equal(agent_read_exec("{\"return\":{\"pid\":1234}}", &pid), 0);
	assert_int_equal(pid, 1234);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(agent_read_exec(bad[i], &pid), -EBADMSG);
	assert_int_equal(pid, 1234);
}

static VirtRelease status(const char *rest)
{
	VirtRelease v = {.pid = 9};
	char answer[512];

	(void)snprintf(answer, sizeof(answer), "{\"return\":{%s}}", rest);
	assert_int_equal(agent_read_status(answer, &v), 0);
	assert_int_equal(v.pid, 9);
	return v;
}

static void test_status(void **state)
{
	VirtRelease v = status("\"exited\":false");

	assert_false(v.over);
	/* {"result":"released"} */
	v = status(
		"\"exited\":true,\"exitcode\":0,\"out-data\":\"eyJyZXN1bHQiOiJyZWxlYXNlZCJ9Cg==\"");
	assert_true(v.over && v.released);
	assert_string_equal(v.reason, "");
	/* The same from a program that failed is no release. */
	v = status(
		"\"exited\":true,\"exitcode\":1,\"out-data\":\"eyJyZXN1bHQiOiJyZWxlYXNlZCJ9Cg==\"");
	assert_true(v.over && !v.released);
	assert_non_null(strstr(v.reason, "status 1"));
	v = status(
		"\"exited\":true,\"signal\":9,\"out-data\":\"eyJyZXN1bHQiOiJyZWxlYXNlZCJ9Cg==\"");
	assert_false(v.released);
	assert_non_null(strstr(v.reason, "signal 9"));
	/* {"result":"refused","reason":"busy\u001b[31m"} */
	v = status("\"exited\":true,\"exitcode\":1,\"out-data\":"
		   "\"eyJyZXN1bHQiOiJyZWZ1c2VkIiwicmVhc29uIjoiYnVzeVx1MDAxYlszMW0ifQ==\"");
	assert_false(v.released);
	assert_non_null(strstr(v.reason, "busy"));
	assert_null(strchr(v.reason, '\x1b'));
	/* What a program says that dies is the last line of its complaints: "a\nno such file\n" */
	v = status("\"exited\":true,\"exitcode\":127,\"err-data\":\"YQpubyBzdWNoIGZpbGUK\"");
	assert_string_equal(v.reason, "no such file");
}

static void test_status_is_hostile(void **state)
{
	static const char *const bad[] = {"", "{\"return\":{}}", "{\"return\":{\"exited\":1}}",
		"{\"return\":{\"exited\":\"true\"}}", "{\"return\":[]}"};
	static const char *const odd[] = {"\"exited\":true", "\"exited\":true,\"out-data\":\"%%%\"",
		"\"exited\":true,\"exitcode\":0,\"out-data\":\"bm90IGpzb24=\"",
		"\"exited\":true,\"exitcode\":0,\"out-data\":7",
		/* [] and {"result":5} */
		"\"exited\":true,\"exitcode\":0,\"out-data\":\"W10=\"",
		"\"exited\":true,\"exitcode\":0,\"out-data\":\"eyJyZXN1bHQiOjV9\"",
		"\"exited\":true,\"exitcode\":0,\"out-data\":\"=\"",
		"\"exited\":true,\"exitcode\":0,\"err-data\":\"Cg==\""};
	VirtRelease v = {};
	char *big;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(agent_read_status(bad[i], &v), -EBADMSG);
	for (size_t i = 0; i < ELEMENTSOF(odd); i++) {
		v = status(odd[i]);
		assert_true(v.over && !v.released);
		assert_true(strlen(v.reason) > 0);
	}
	assert_true(
		asprintf(&big,
			"{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":\"%0100000d\"}}",
			0) > 0);
	v = (VirtRelease){};
	assert_int_equal(agent_read_status(big, &v), 0);
	assert_false(v.released);
	free(big);
}

static void test_enabled(void **state)
{
	static const char info[] =
		"{\"return\":{\"version\":\"10.0\",\"supported_commands\":[7,"
		"{\"enabled\":true,\"name\":\"guest-ping\"},{\"enabled\":false,\"name\":\"guest-exec\"}]}}";
	bool enabled;

	assert_int_equal(agent_read_enabled(info, "guest-exec", &enabled), 0);
	assert_false(enabled);
	assert_int_equal(agent_read_enabled(info, "guest-ping", &enabled), 0);
	assert_true(enabled);
	assert_int_equal(agent_read_enabled(info, "guest-nothing", &enabled), 0);
	assert_false(enabled);
	assert_int_equal(agent_read_enabled("{\"return\":{}}", "x", &enabled), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asks),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_is_hostile),
		cmocka_unit_test(test_enabled),
	};

	return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}

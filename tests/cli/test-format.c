/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command's pure parts: spans, sizes, text, exit codes, progress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "bus.h"
#include "format.h"
#include "job-wait.h"
#include "names.h"

static void test_span(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t usec;
	} cases[] = {
		{"0", 0, 0},
		{"0s", 0, 0},
		{"500ms", 0, 500000},
		{"5s", 0, 5000000},
		{"2min", 0, 120000000},
		{"2m", 0, 120000000},
		{"1h", 0, 3600000000},
		{"1h30min", 0, 5400000000},
		{"1min 30s", 0, 90000000},
		{"1d", 0, 86400000000},
		{"10us", 0, 10},
		{"", -EINVAL, 0},
		{"5", -EINVAL, 0},
		{"00", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"-5s", -EINVAL, 0},
		{"+5s", -EINVAL, 0},
		{" 5s", -EINVAL, 0},
		{"5 s", -EINVAL, 0},
		{"5seconds", -EINVAL, 0},
		{"1.5s", -EINVAL, 0},
		{"s", -EINVAL, 0},
		{"5s5", -EINVAL, 0},
		{"18446744073709551616us", -ERANGE, 0},
		{"18446744073709551615s", -ERANGE, 0},
		{"18446744073709551615us1us", -ERANGE, 0},
		{"18446744073709551615us", 0, UINT64_MAX},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		uint64_t usec = 4711;
		int r = parse_span(cases[i].text, &usec);

		if (r != cases[i].r)
			fail_msg("\"%s\": %d", cases[i].text, r);
		/* not written on failure */
		assert_int_equal(usec, r < 0 ? 4711 : cases[i].usec);
	}
}

static void test_parse_size(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t bytes;
	} cases[] = {
		{"4096", 0, 4096},
		{"512M", 0, 512ULL << 20},
		{"64g", 0, 64ULL << 30},
		{"2TiB", 0, 2ULL << 40},
		{"15P", 0, 15ULL << 50},
		{"", -EINVAL, 0},
		{"G", -EINVAL, 0},
		{"-1G", -EINVAL, 0},
		{"1.5G", -EINVAL, 0},
		{"1 G", -EINVAL, 0},
		{"1GB", -EINVAL, 0},
		{"1X", -EINVAL, 0},
		{"16384P", -ERANGE, 0},
		{"18446744073709551616", -ERANGE, 0},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		uint64_t bytes = 0;

		assert_int_equal(parse_size(cases[i].text, &bytes), cases[i].r);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void test_number(void **state)
{
	uint64_t n = 4711;

	assert_int_equal(parse_number("0", 1, 10, &n), -ERANGE);
	assert_int_equal(parse_number("11", 1, 10, &n), -ERANGE);
	assert_int_equal(parse_number("-1", 1, 10, &n), -EINVAL);
	assert_int_equal(parse_number("", 0, 10, &n), -EINVAL);
	assert_int_equal(parse_number("1x", 0, 10, &n), -EINVAL);
	assert_int_equal(parse_number("99999999999999999999", 0, UINT64_MAX, &n), -ERANGE);
	assert_int_equal(n, 4711);
	assert_int_equal(parse_number("10", 1, 10, &n), 0);
	assert_int_equal(n, 10);
}

static void test_size(void **state)
{
	char buf[FORMAT_MAX];

	assert_string_equal(format_size(buf, 0, false), "0B");
	assert_string_equal(format_size(buf, 1023, false), "1023B");
	assert_string_equal(format_size(buf, 1024, false), "1K");
	assert_string_equal(format_size(buf, 1536, false), "1.5K");
	assert_string_equal(format_size(buf, 64ULL << 30, false), "64G");
	/* a byte less than 64G is not 64G */
	assert_string_equal(format_size(buf, (64ULL << 30) - 1, false), "63.9G");
	assert_string_equal(format_size(buf, 16ULL << 20, false), "16M");
	assert_string_equal(format_size(buf, UINT64_MAX, false), "15.9E");
	assert_string_equal(format_size(buf, UINT64_MAX, true), "18446744073709551615");
}

static void test_format_span(void **state)
{
	char buf[FORMAT_MAX];

	assert_string_equal(format_span(buf, 0), "0");
	assert_string_equal(format_span(buf, 999), "999us");
	assert_string_equal(format_span(buf, 35999), "35ms");
	assert_string_equal(format_span(buf, 5120000), "5.1s");
	assert_string_equal(format_span(buf, 123 * USEC_PER_SEC), "2min 3s");
	assert_string_equal(format_span(buf, 3720 * USEC_PER_SEC), "1h 2min");
}

static void test_printable(void **state)
{
	_cleanup_free_ char *safe = printable("a\033[2J\nb\tc\x7f\xc2\x9b ü");
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	assert_string_equal(safe, "a\\x1b[2J\\x0ab\\x09c\\x7f\\xc2\\x9b ü");
	say(f, "%s\nnext\n", "x\033y");
	fclose(f);
	assert_string_equal(text, "x\\x1by\nnext\n");
}

static void test_exit_codes(void **state)
{
	assert_int_equal(bus_error_exit_code(PML_ERROR_NO_SUCH_REGION), EXIT_NOT_FOUND);
	assert_int_equal(bus_error_exit_code(PML_ERROR_FOREIGN), EXIT_REFUSED);
	assert_int_equal(bus_error_exit_code(PML_ERROR_STUCK), EXIT_STUCK);
	assert_int_equal(bus_error_exit_code(SD_BUS_ERROR_ACCESS_DENIED), EXIT_DENIED);
	assert_int_equal(bus_error_exit_code("org.freedesktop.DBus.Error.Spawn.ChildExited"),
		EXIT_NO_DAEMON);
	assert_int_equal(
		bus_error_exit_code("org.freedesktop.systemd1.NoSuchUnit"), EXIT_NO_DAEMON);
	assert_int_equal(bus_error_exit_code("org.example.Unheard"), EXIT_FAILED);
	assert_int_equal(bus_error_exit_code(NULL), EXIT_FAILED);
}

static void test_job_id(void **state)
{
	assert_int_equal(job_id_of(PML_PATH_JOB "/12"), 12);
	/* as sd_bus_path_encode() writes a leading digit */
	assert_int_equal(job_id_of(PML_PATH_JOB "/_312"), 12);
	assert_int_equal(job_id_of("/elsewhere/12"), 0);
	assert_int_equal(job_id_of(PML_PATH_JOB "/x"), 0);
}

static void test_progress(void **state)
{
	_cleanup_free_ char *line = progress_line("overwriting", 0.421, 3 * USEC_PER_SEC);
	_cleanup_free_ char *still = progress_line("waiting for the guest", 0, 3 * USEC_PER_SEC);
	_cleanup_free_ char *bar = progress_bar("overwriting", 0.5, 3 * USEC_PER_SEC, 80);
	_cleanup_free_ char *narrow = progress_bar("overwriting", 2.0, 0, 20);
	_cleanup_free_ char *odd = progress_bar("x", -1, 0, 80);

	assert_string_equal(line, "overwriting, 42%, 3.0s");
	assert_string_equal(still, "waiting for the guest, 3.0s");
	assert_string_equal(
		bar, "[####################....................]  50%  3.0s  overwriting");
	assert_string_equal(narrow, "[##########] 100%  ");
	assert_string_equal(odd, "[........................................]   0%  0  x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_span),
		cmocka_unit_test(test_parse_size),
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_format_span),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_job_id),
		cmocka_unit_test(test_progress),
	};

	return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon sees of machines and of its ledger, on a made-up /proc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "diagnose.h"
#include "names.h"

static char dir[64];
static int dir_fd = -EBADF;

static const DiagnoseMachine machine = {.name = "g1", .pid = 42, .start_ticks = 7777};

static void put_bytes(const char *path, const char *bytes, size_t n)
{
	_cleanup_close_ int fd =
		openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
}

static void put(const char *path, const char *text)
{
	put_bytes(path, text, strlen(text));
}

#define CMDLINE(cpu) "qemu-system-x86_64\0-cpu\0" cpu "\0-m\0size=1G\0"

static int set_up(void **state)
{
	static const char cmdline[] = CMDLINE("EPYC,succor=on,overflow-recov=on");

	strcpy(dir, "/tmp/pmemlease-diagnose-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir_fd >= 0);
	assert_int_equal(mkdirat(dir_fd, "42", 0700), 0);
	assert_int_equal(mkdirat(dir_fd, "42/attr", 0700), 0);
	put("cpuinfo", "vendor_id\t: AuthenticAMD\n");
	/* a name that looks like more fields */
	put("42/stat", "42 (a) b 9 9) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 7777 20\n");
	put("42/attr/current", "libvirt-0a (enforce)\n");
	put_bytes("42/cmdline", cmdline, sizeof(cmdline) - 1);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = {
		"42/stat", "42/attr/current", "42/cmdline", "cpuinfo", PML_LEDGER_FILE};

	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		(void)unlinkat(dir_fd, files[i], 0);
	(void)unlinkat(dir_fd, "42/attr", AT_REMOVEDIR);
	(void)unlinkat(dir_fd, "42", AT_REMOVEDIR);
	close(TAKE_FD(dir_fd));
	return rmdir(dir);
}

static void expect(FindingLevel level, const char *check, const char *words)
{
	_cleanup_findings_ Findings l = {};

	diagnose_machine(dir_fd, &machine, &l);
	for (size_t i = 0; i < l.n; i++)
		if (l.items[i].level == level && strcmp(l.items[i].check, check) == 0 &&
			strstr(l.items[i].text, words))
			return;
	fail_msg("no %s %s: %s", finding_level_to_string(level), check, words);
}

static void test_machine(void **state)
{
	static const char host[] = CMDLINE("host,migratable=on"),
			  half[] = CMDLINE("EPYC,succor=on");

	expect(FINDING_OK, "machine.confined", "g1");
	expect(FINDING_OK, "machine.recovery", "can recover");
	put_bytes("42/cmdline", host, sizeof(host) - 1);
	expect(FINDING_WARN, "machine.recovery", "panics");
	put_bytes("42/cmdline", half, sizeof(half) - 1);
	expect(FINDING_WARN, "machine.recovery", "panics");
	put("42/cmdline", "");
	expect(FINDING_WARN, "machine.recovery", "panics");
	put("cpuinfo", "vendor_id\t: GenuineIntel\n");
	expect(FINDING_OK, "machine.recovery", "can recover");
}

static void test_confinement(void **state)
{
	put("42/attr/current", "libvirt-0a (complain)\n");
	expect(FINDING_WARN, "machine.confined", "(complain)");
	put("42/attr/current", "unconfined\n");
	expect(FINDING_WARN, "machine.confined", "unconfined");
	put("42/attr/current", "system_u:system_r:svirt_t:s0:c1,c2");
	expect(FINDING_OK, "machine.confined", "svirt_t");
}

/* Another process by now, or none: nothing is said of it. */
static void test_gone(void **state)
{
	_cleanup_findings_ Findings l = {};
	DiagnoseMachine other = machine;

	other.start_ticks = 7778;
	diagnose_machine(dir_fd, &other, &l);
	other.pid = 43;
	diagnose_machine(dir_fd, &other, &l);
	other.pid = 0;
	diagnose_machine(dir_fd, &other, &l);
	assert_int_equal(l.n, 0);
}

static void test_ledger(void **state)
{
	_cleanup_findings_ Findings l = {}, none = {};
	char head[100] = "SQLite format 3";

	diagnose_ledger(dir_fd, 1750000000000000, &none);
	assert_int_equal(none.items[0].level, FINDING_BAD);
	head[63] = 3;
	put_bytes(PML_LEDGER_FILE, head, sizeof(head));
	diagnose_ledger(dir_fd, 1750000000000000, &l);
	assert_int_equal(l.n, 2);
	assert_int_equal(l.items[0].level, FINDING_OK);
	assert_non_null(
		strstr(l.items[0].text, "schema 3, every row checked 2025-06-15 15:06 UTC"));
	assert_string_equal(l.items[1].check, "ledger.space");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_machine),
		T(test_confinement),
		T(test_gone),
		T(test_ledger),
	};

	return cmocka_run_group_tests_name("diagnose", tests, NULL, NULL);
}

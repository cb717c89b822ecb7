/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Regions on the bus: they come, leave, change, and are found; what comes from outside is checked
 * and refused by name. */

#include "harness.h"

#define UUID_A	"11111111-0000-4000-8000-000000000000"
#define UUID_B	"22222222-0000-4000-8000-000000000000"
#define UUID_VM "aaaaaaaa-0000-4000-8000-00000000000a"
#define GIB	"0x40000000"

static Harness h;

static void reload(void)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "Reload", NULL);

	assert_success(reply);
}

static char *region_path(const char *name)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", name);
	const char *path;

	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "o", &path) > 0);
	return strdup(path);
}

static char *property(const char *path, const char *name)
{
	_cleanup_message_ sd_bus_message *reply = harness_call(
		&h, path, "org.freedesktop.DBus.Properties", "Get", "ss", PML_IF_REGION, name);
	const char *value;

	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "v", "s", &value) > 0);
	return strdup(value);
}

static void assert_property(const char *path, const char *name, const char *want)
{
	_cleanup_free_ char *have = property(path, name);

	assert_string_equal(have, want);
}

static bool has_obstacle(const char *path, const char *words)
{
	_cleanup_message_ sd_bus_message *reply = harness_call(&h, path,
		"org.freedesktop.DBus.Properties", "Get", "ss", PML_IF_REGION, "Obstacles");
	bool found = false;
	const char *s;

	assert_success(reply);
	assert_true(sd_bus_message_enter_container(reply, 'v', "as") > 0);
	assert_true(sd_bus_message_enter_container(reply, 'a', "s") > 0);
	while (sd_bus_message_read(reply, "s", &s) > 0)
		found = found || strstr(s, words);
	return found;
}

static void adopt(const char *path, const char *owner)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, path, PML_IF_REGION, "Adopt", "s", owner);

	assert_success(reply);
}

static void test_finding(void **state)
{
	static const struct {
		const char *name, *error;
	} cases[] = {
		{"dax9.9", PML_ERROR_NO_SUCH_REGION},
		{"", PML_ERROR_INVALID},
		{"dax0.0\n", PML_ERROR_INVALID},
		{"/nonexistent", PML_ERROR_NO_SUCH_REGION},
		{"/etc/passwd", PML_ERROR_NO_SUCH_REGION},
		{"/dev/null", PML_ERROR_NO_SUCH_REGION},
	};
	_cleanup_free_ char *by_name = region_path("dax0.0"), *by_id = region_path(UUID_A),
			    *by_node = region_path("/dev/full");

	assert_string_equal(by_name, by_id);
	assert_string_equal(by_name, by_node);
	_cleanup_message_ sd_bus_message *lease =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "GetLease", "s", "dax0.0");

	assert_error(lease, PML_ERROR_NO_SUCH_LEASE);
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_message_ sd_bus_message *reply = harness_call(
			&h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", cases[i].name);

		assert_error(reply, cases[i].error);
	}
}

static void test_bad_arguments(void **state)
{
	_cleanup_free_ char *path = region_path("dax0.0");
	_cleanup_message_ sd_bus_message *unknown = NULL, *twice = NULL, *type = NULL, *word = NULL,
					 *year = NULL, *text = NULL, *rows = NULL, *lease = NULL;

	unknown = harness_call(
		&h, path, PML_IF_REGION, "Evict", "ta{sv}", (uint64_t)0, 1, "keep-online", "b", 1);
	assert_error(unknown, PML_ERROR_INVALID);
	assert_non_null(strstr(sd_bus_message_get_error(unknown)->message, "keep-online"));
	twice = harness_call(&h, path, PML_IF_REGION, "Evict", "ta{sv}", (uint64_t)0, 2,
		"keep-offline", "b", 1, "keep-offline", "b", 0);
	assert_error(twice, PML_ERROR_INVALID);
	type = harness_call(&h, path, PML_IF_REGION, "Evict", "ta{sv}", (uint64_t)0, 1,
		"keep-offline", "s", "yes");
	assert_error(type, PML_ERROR_INVALID);
	word = harness_call(&h, path, PML_IF_REGION, "Evict", "ta{sv}", (uint64_t)0, 1,
		"after-fence", "s", "explode");
	assert_error(word, PML_ERROR_INVALID);
	year = harness_call(
		&h, path, PML_IF_REGION, "Evict", "ta{sv}", 365ULL * 24 * 3600 * USEC_PER_SEC, 0);
	assert_error(year, PML_ERROR_INVALID);
	text = harness_call(&h, path, PML_IF_REGION, "Adopt", "s", "a\tb");
	assert_error(text, PML_ERROR_INVALID);
	rows = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "History", "sxu", "", (int64_t)0, 0);
	assert_error(rows, PML_ERROR_INVALID);
	lease = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "Lease", "ssa{sv}", "dax0.0", "vm",
		1, "size", "s", "1G");
	assert_error(lease, PML_ERROR_INVALID);
	assert_property(path, "Use", "free");
	assert_property(path, "Content", "foreign");
}

static void test_long_text(void **state)
{
	_cleanup_free_ char *path = region_path("dax0.0");
	_cleanup_message_ sd_bus_message *reply = NULL;
	char longest[300];

	memset(longest, 'x', sizeof(longest));
	longest[299] = '\0';
	reply = harness_call(&h, path, PML_IF_REGION, "Adopt", "s", longest);
	assert_error(reply, PML_ERROR_INVALID);
}

static void test_come_and_go(void **state)
{
	_cleanup_free_ char *b = NULL;

	harness_write(&h, "regions",
		"dax0.0 " UUID_A " 0 " GIB " 1 7\ndax1.0 " UUID_B " " GIB " " GIB " 1 8\n");
	reload();
	harness_wait_signal(&h, "InterfacesAdded");
	b = region_path("dax1.0");
	assert_property(b, "Presence", "online");

	/* It leaves without a past: nothing is left of it. */
	harness_write(&h, "regions", "dax0.0 " UUID_A " 0 " GIB " 1 7\n");
	reload();
	harness_wait_signal(&h, "InterfacesRemoved");
	_cleanup_message_ sd_bus_message *gone =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", "dax1.0");

	assert_error(gone, PML_ERROR_NO_SUCH_REGION);
}

/* A region that leaves does not forget whose data it holds, and whoever comes back over its bytes
 * inherits that. */
static void test_missing_keeps_its_past(void **state)
{
	_cleanup_free_ char *a = region_path("dax0.0");

	adopt(a, "somebody");
	harness_write(&h, "regions", "%s", "");
	reload();
	assert_property(a, "Presence", "missing");
	assert_property(a, "Owner", "somebody");
	assert_true(has_obstacle(a, "not there"));

	/* Under another name, UUID and with other bounds. */
	harness_write(&h, "regions", "dax7.0 " UUID_B " 0 0x20000000 1 7\n");
	reload();
	_cleanup_free_ char *b = region_path("dax7.0");

	assert_property(b, "Content", "retained");
	assert_property(b, "Owner", "somebody");
	/* The other half of the bytes is nobody's region, and is shown. */
	_cleanup_free_ char *rest = region_path("iset:00000000000000aa+0x20000000/0x20000000");

	assert_property(rest, "Presence", "missing");
	assert_property(rest, "Owner", "somebody");
}

static void test_renamed_is_the_same(void **state)
{
	_cleanup_free_ char *a = region_path("dax0.0");

	adopt(a, "somebody");
	harness_write(&h, "regions", "dax5.0 " UUID_A " 0 " GIB " 1 8\n");
	reload();
	_cleanup_free_ char *same = region_path("dax5.0");

	assert_string_equal(a, same);
	assert_property(a, "Name", "dax5.0");
	assert_property(a, "Owner", "somebody");
}

/* The name of one is another's now: the bytes decide, not the name. */
static void test_names_swapped(void **state)
{
	_cleanup_free_ char *a = region_path(UUID_A);

	harness_write(&h, "regions",
		"dax0.0 " UUID_A " 0 " GIB " 1 7\ndax1.0 " UUID_B " " GIB " " GIB " 1 8\n");
	reload();
	adopt(a, "somebody");
	harness_write(&h, "regions",
		"dax1.0 " UUID_A " 0 " GIB " 1 7\ndax0.0 " UUID_B " " GIB " " GIB " 1 8\n");
	reload();
	_cleanup_free_ char *was_b = region_path("dax0.0");

	assert_string_not_equal(a, was_b);
	assert_property(a, "Name", "dax1.0");
	assert_property(was_b, "Content", "foreign");
	assert_property(a, "Owner", "somebody");
}

static void test_unbound(void **state)
{
	_cleanup_free_ char *a = region_path("dax0.0");

	harness_write(&h, "dax0.0.binding", "none\n");
	reload();
	harness_wait_signal(&h, "PropertiesChanged");
	assert_property(a, "Presence", "offline");
	assert_property(a, "Binding", "none");
	harness_remove(&h, "dax0.0.binding");
	reload();
	assert_property(a, "Presence", "online");
}

static void test_adopt_and_history(void **state)
{
	_cleanup_free_ char *a = region_path("dax0.0");
	_cleanup_message_ sd_bus_message *again = NULL, *history = NULL;
	unsigned n = 0;

	assert_true(has_obstacle(a, "adopt"));
	adopt(a, "somebody");
	assert_property(a, "Content", "retained");
	assert_false(has_obstacle(a, "adopt"));
	harness_wait_signal(&h, "PropertiesChanged");
	again = harness_call(&h, a, PML_IF_REGION, "Adopt", "s", "another");
	assert_error(again, PML_ERROR_NOT_CLEAN);
	assert_property(a, "Owner", "somebody");

	history = harness_call(
		&h, PML_BUS_PATH, PML_IF_MANAGER, "History", "sxu", UUID_A, (int64_t)0, 100);
	assert_success(history);
	assert_true(sd_bus_message_enter_container(history, 'a', "(xtssssss)") > 0);
	while (sd_bus_message_skip(history, "(xtssssss)") > 0)
		n++;
	assert_true(n > 0);
}

/* What four owners left in one region can be destroyed by naming them all, however long that is. */
static void test_many_owners(void **state)
{
	_cleanup_message_ sd_bus_message *wrong = NULL, *scrub = NULL;
	_cleanup_free_ char *all = NULL, *owners = NULL;

	for (unsigned i = 0; i < 4; i++) {
		char name[32], owner[127];
		_cleanup_free_ char *path = NULL;

		(void)snprintf(name, sizeof(name), "dax%u.0", i + 1);
		harness_write(&h, "regions",
			"%s 3%07u-0000-4000-8000-000000000000 0x%x 0x10000000 1 7\n", name, i,
			i * 0x10000000U);
		reload();
		path = region_path(name);
		for (size_t k = 0; k < sizeof(owner) - 1; k += 3)
			memcpy(owner + k, "\xe2\x82\xac", 3);
		owner[sizeof(owner) - 1] = '\0';
		memcpy(owner, "of", 2);
		owner[2] = (char)('0' + i);
		adopt(path, owner);
	}
	harness_write(&h, "regions", "dax0.0 " UUID_A " 0 " GIB " 1 7\n");
	reload();
	all = region_path("dax0.0");
	owners = property(all, "Owner");
	assert_int_equal(strlen(owners), 4 * 126 + 3);
	wrong = harness_call(&h, all, PML_IF_REGION, "Scrub", "s", "of0");
	assert_error(wrong, PML_ERROR_WRONG_OWNER);
	assert_non_null(strstr(sd_bus_message_get_error(wrong)->message, owners));
	scrub = harness_call(&h, all, PML_IF_REGION, "Scrub", "s", owners);
	assert_success(scrub);
}

static void test_lift_wants_a_quarantine(void **state)
{
	_cleanup_free_ char *a = region_path("dax0.0");
	_cleanup_message_ sd_bus_message *lift = harness_call(&h, a, PML_IF_REGION,
						 "LiftQuarantine", "s", "because"),
					 *proof = NULL;

	assert_error(lift, PML_ERROR_INVALID);
	proof = harness_call(&h, a, PML_IF_REGION, "GetProof", NULL);
	assert_error(proof, PML_ERROR_INVALID);
}

/* The real proof, with this process as the holder of the region's device number. */
static void test_verify_names_holders(void **state)
{
	_cleanup_free_ char *a = region_path("dax0.0");
	_cleanup_close_ int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	_cleanup_message_ sd_bus_message *reply = NULL;
	bool named = false;
	const char *key, *value;

	assert_true(fd >= 0);
	reply = harness_call(&h, a, PML_IF_REGION, "Verify", NULL);
	assert_success(reply);
	assert_true(sd_bus_message_enter_container(reply, 'a', "{sv}") > 0);
	while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
		assert_true(sd_bus_message_read(reply, "sv", &key, "s", &value) > 0);
		if (strcmp(key, "verdict") == 0)
			assert_string_not_equal(value, "clear");
		if (strcmp(key, "proof") == 0) {
			char pid[32];

			(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
			named = strstr(value, pid) != NULL;
		}
		assert_true(sd_bus_message_exit_container(reply) >= 0);
	}
	assert_true(named);
}

/* "level check: text" of the daemon's lines about check; "" when there is none */
static char *diagnosis(const char *check)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "Diagnose", NULL);
	const char *level, *what, *text, *mend;
	char *line = NULL;

	assert_success(reply);
	assert_true(sd_bus_message_enter_container(reply, 'a', "(ssss)") > 0);
	while (sd_bus_message_read(reply, "(ssss)", &level, &what, &text, &mend) > 0) {
		/* what is wrong has a mend */
		assert_int_equal(strcmp(level, "ok") == 0, mend[0] == '\0');
		if (!line && strcmp(what, check) == 0)
			assert_true(asprintf(&line, "%s: %s", level, text) > 0);
	}
	return line ? line : strdup("");
}

static void assert_diagnosis(const char *check, const char *start)
{
	_cleanup_free_ char *line = diagnosis(check);

	if (strncmp(line, start, strlen(start)) != 0)
		fail_msg("%s: %s", check, line);
}

static void test_diagnose(void **state)
{
	assert_diagnosis("ledger", "ok: The ledger can be written; schema 8, every row checked 20");
	assert_diagnosis("ledger.space", "");
	assert_diagnosis("regions", "ok: Every region that is there can be fenced (1 known).");
	assert_diagnosis("libvirt.connection", "ok: libvirt 9.1.2 answers");
	assert_diagnosis("libvirt.security", "ok: libvirt confines machines (apparmor dac).");
	harness_write(&h, "host.result", "4 It sleeps.\n");
	assert_diagnosis("libvirt.connection", "bad: libvirt does not answer: It sleeps.");
	harness_remove(&h, "host.result");
}

/* The best region for a domain: whose data counts is the domain's UUID, whatever name it is asked
 * by. */
static void test_lease_by_size(void **state)
{
	_cleanup_message_ sd_bus_message *lease = NULL, *none = NULL, *nobody = NULL, *node = NULL,
					 *zero = NULL;
	_cleanup_free_ char *a = region_path("dax0.0"), *b = NULL;
	const char *path, *region;

	harness_write(&h, UUID_VM, "vm running\n");
	harness_write(&h, "regions",
		"dax0.0 " UUID_A " 0 " GIB " 1 7\ndax1.0 " UUID_B " " GIB " " GIB " 1 8\n");
	reload();
	b = region_path("dax1.0");
	adopt(a, "another");
	adopt(b, UUID_VM);
	harness_fifo(&h, "suited.hang");

	none = harness_call(
		&h, PML_BUS_PATH, PML_IF_MANAGER, "LeaseBySize", "tsa{sv}", 2ULL << 30, UUID_VM, 0);
	assert_error(none, PML_ERROR_NONE_SUITABLE);
	nobody = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "LeaseBySize", "tsa{sv}",
		1ULL << 20, "nobody", 0);
	assert_error(nobody, PML_ERROR_NO_SUCH_DOMAIN);
	node = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "LeaseBySize", "tsa{sv}", 1ULL << 20,
		UUID_VM, 1, "node", "i", 1023);
	assert_error(node, PML_ERROR_INVALID);
	zero = harness_call(
		&h, PML_BUS_PATH, PML_IF_MANAGER, "LeaseBySize", "tsa{sv}", 0ULL, UUID_VM, 0);
	assert_error(zero, PML_ERROR_INVALID);

	lease = harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "LeaseBySize", "tsa{sv}", 1ULL << 20,
		UUID_VM, 2, "kind", "s", "devdax", "node", "i", -1);
	assert_success(lease);
	assert_true(sd_bus_message_read(lease, "o", &path) > 0);
	_cleanup_message_ sd_bus_message *of = harness_call(
		&h, path, "org.freedesktop.DBus.Properties", "Get", "ss", PML_IF_LEASE, "Region");

	assert_success(of);
	assert_true(sd_bus_message_read(of, "v", "o", &region) > 0);
	assert_string_equal(region, b);
}

static int setup(void **state)
{
	harness_new(&h);
	harness_write(&h, "regions", "dax0.0 " UUID_A " 0 " GIB " 1 7\n");
	harness_daemon_start(&h, true, NULL);
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
		TEST(test_diagnose),
		TEST(test_finding),
		TEST(test_bad_arguments),
		TEST(test_long_text),
		TEST(test_come_and_go),
		TEST(test_missing_keeps_its_past),
		TEST(test_renamed_is_the_same),
		TEST(test_names_swapped),
		TEST(test_unbound),
		TEST(test_adopt_and_history),
		TEST(test_many_owners),
		TEST(test_lift_wants_a_quarantine),
		TEST(test_verify_names_holders),
		TEST(test_lease_by_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Every method of every object, as the daemon itself describes them, with arguments of the right
 * types and every kind of nonsense in them. Each call has an answer: a result, or a named error
 * with a sentence. PMEMLEASE_TEST_SECONDS and PMEMLEASE_TEST_SEED as in test-crowd.c.
 */

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-id128.h>

#include "crowd-host.h"
#include "harness.h"

#define MAX_OBJECTS 128

static Harness h;
static unsigned rng, n_calls, n_answers;
static char finding[512]; /* in a callback, out of which a test must not jump */

static unsigned pick(unsigned n)
{
	rng = rng * 1664525U + 1013904223U;
	return (rng >> 8) % n;
}

static const char *some_text(void)
{
	static const char machine[] =
		"<domain type='kvm'><name>x</name><uuid>aaaaaaaa-0000-4000-8000-000000000001</uuid>"
		"<devices><memory model='nvdimm' access='shared'><source><path>/dev/full</path></source>"
		"<target><size unit='MiB'>64</size></target></memory></devices></domain>";
	static char text[6001];
	static const char *const known[] = {"", "dax0.0", "dax15.0", "/dev/full", "/etc/passwd",
		"/dev/../proc/self/mem", "foreign", "org.pmemlease1.Region", "State", "keep",
		"scrub", "destroy", "owner", "on-end", "after-fence", "keep-offline", "drain",
		"on-refusal", "deadline", "force", "prepare", "release", "started", "reconnect",
		"%s%n%999999d", "a,b", "\x1b[31m", "\xc2\x9b", "\xe2\x82\xac", "<domain/>",
		"<!DOCTYPE a [<!ENTITY b 'c'>]><domain>&b;</domain>", machine};
	unsigned n;

	switch (pick(4)) {
	case 0:
		return crowd_region_uuid(pick(CROWD_REGIONS));
	case 1:
		return crowd_domain_uuid(pick(CROWD_DOMAINS));
	case 2:
		/* Never cut within a character: such a string cannot be sent. */
		n = pick(sizeof(text) / 3) * 3;
		for (unsigned i = 0; i < n; i += 3)
			memcpy(text + i, pick(2) ? "\xe2\x82\xac" : "a\n,", 3);
		text[n] = '\0';
		return text;
	}
	return known[pick(ELEMENTSOF(known))];
}

static uint64_t some_number(void)
{
	static const uint64_t known[] = {0, 1, 1000, USEC_PER_SEC, INT64_MAX, UINT64_MAX};

	return known[pick(ELEMENTSOF(known))];
}

static int append_options(sd_bus_message *m)
{
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	for (unsigned n = pick(4); r >= 0 && n > 0; n--) {
		switch (pick(4)) {
		case 0:
			r = sd_bus_message_append(m, "{sv}", some_text(), "b", (int)pick(2));
			break;
		case 1:
			r = sd_bus_message_append(m, "{sv}", some_text(), "t", some_number());
			break;
		case 2:
			r = sd_bus_message_append(m, "{sv}", some_text(), "as", 2, "x", "y");
			break;
		case 3: {
			/* The pool of texts has one buffer. */
			_cleanup_free_ char *key = strdup(some_text());

			r = sd_bus_message_append(m, "{sv}", key, "s", some_text());
			break;
		}
		}
	}
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append(sd_bus_message *m, const char *type)
{
	uint64_t v = some_number();

	if (pml_streq(type, "a{sv}"))
		return append_options(m);
	if (pml_streq(type, "o"))
		return sd_bus_message_append(m, "o", "/org/pmemlease1/region/x");
	if (pml_streq(type, "u"))
		return sd_bus_message_append(m, "u", (uint32_t)v);
	if (pml_streq(type, "b"))
		return sd_bus_message_append(m, "b", (int)pick(2));
	if (pml_streq(type, "t") || pml_streq(type, "x"))
		return sd_bus_message_append_basic(m, type[0], &v);
	if (!pml_streq(type, "s"))
		fail_msg("no argument of type %s is made up", type);
	return sd_bus_message_append(m, "s", some_text());
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	bool *done = userdata;
	const sd_bus_error *e = sd_bus_message_get_error(m);

	*done = true;
	n_answers++;
	if (!e)
		return 0;
	if (pml_streq(e->name, SD_BUS_ERROR_NO_REPLY) || pml_streq(e->name, SD_BUS_ERROR_TIMEOUT) ||
		pml_streq(e->name, SD_BUS_ERROR_FAILED) || !e->message || !strchr(e->message, ' '))
		(void)snprintf(finding, sizeof(finding), "%s: %s", e->name, e->message);
	for (const char *s = e->message; s && *s; s++)
		if ((unsigned char)*s < 0x20)
			(void)snprintf(
				finding, sizeof(finding), "%s has a control character", e->name);
	return 0;
}

static bool attribute_is(xmlNode *n, const char *name, const char *value)
{
	xmlChar *s = xmlGetProp(n, BAD_CAST name);
	bool is = s && pml_streq((const char *)s, value);

	xmlFree(s);
	return is;
}

static void call_method(const char *path, xmlNode *interface, xmlNode *method)
{
	xmlChar *iface = xmlGetProp(interface, BAD_CAST "name");
	xmlChar *name = xmlGetProp(method, BAD_CAST "name");
	_cleanup_message_ sd_bus_message *m = NULL;
	bool done = false;

	assert_true(sd_bus_message_new_method_call(h.client, &m, PML_BUS_NAME, path,
			    (const char *)iface, (const char *)name) >= 0);
	for (xmlNode *a = method->children; a; a = a->next) {
		xmlChar *type;

		if (!xmlStrEqual(a->name, BAD_CAST "arg") || attribute_is(a, "direction", "out"))
			continue;
		type = xmlGetProp(a, BAD_CAST "type");
		assert_true(append(m, (const char *)type) >= 0);
		xmlFree(type);
	}
	n_calls++;
	assert_true(sd_bus_call_async(h.client, NULL, m, on_answer, &done, 60 * USEC_PER_SEC) >= 0);
	harness_wait(&h, &done);
	if (finding[0])
		fail_msg("%s at %s: %s", (const char *)name, path, finding);
	xmlFree(iface);
	xmlFree(name);
}

/* A reload tells the service manager, which reads what it is told. */
static void read_notifications(void)
{
	char buf[1024];

	while (recv(h.notify_fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

/* One method of an object, by chance. */
/* sd-bus answers GetMachineId itself, and hangs up on a machine without an id, such as a bare root
 * directory. */
static bool is_callable(xmlNode *method)
{
	sd_id128_t id;

	return !attribute_is(method, "name", "GetMachineId") || sd_id128_get_machine(&id) >= 0;
}

static void call_any(const char *path)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, path, "org.freedesktop.DBus.Introspectable", "Introspect", NULL);
	xmlNode *interfaces[64], *methods[64];
	const char *xml;
	unsigned n = 0;
	xmlDoc *doc;

	read_notifications();
	/* A lease or a job may have ended since it was listed. */
	if (sd_bus_message_is_method_error(reply, NULL))
		return;
	assert_true(sd_bus_message_read(reply, "s", &xml) > 0);
	doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
	assert_non_null(doc);
	for (xmlNode *i = xmlDocGetRootElement(doc)->children; i; i = i->next)
		for (xmlNode *k = i->children; k && xmlStrEqual(i->name, BAD_CAST "interface");
			k = k->next)
			if (xmlStrEqual(k->name, BAD_CAST "method") && n < ELEMENTSOF(methods) &&
				!attribute_is(i, "name", "org.freedesktop.DBus.Properties") &&
				is_callable(k)) {
				interfaces[n] = i;
				methods[n++] = k;
			}
	if (n > 0) {
		unsigned which = pick(n);

		call_method(path, interfaces[which], methods[which]);
	}
	xmlFreeDoc(doc);
}

static unsigned list_objects(char **paths)
{
	_cleanup_message_ sd_bus_message *reply = harness_call(
		&h, PML_BUS_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL);
	const char *path;
	unsigned n = 0;

	assert_success(reply);
	paths[n++] = strdup(PML_BUS_PATH);
	assert_true(sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}") > 0);
	while (n < MAX_OBJECTS && sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}") > 0) {
		assert_true(sd_bus_message_read(reply, "o", &path) > 0);
		paths[n++] = strdup(path);
		assert_true(sd_bus_message_skip(reply, "a{sa{sv}}") > 0);
		assert_true(sd_bus_message_exit_container(reply) >= 0);
	}
	return n;
}

static unsigned number(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 10) : otherwise;
}

static void test_bus_fuzz(void **state)
{
	unsigned seconds = number("PMEMLEASE_TEST_SECONDS", 5);
	unsigned seed = number("PMEMLEASE_TEST_SEED", (unsigned)pml_now_usec(CLOCK_REALTIME));
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + seconds * USEC_PER_SEC;
	int status;

	rng = seed;
	print_message("# seed %u\n", seed);
	while (pml_now_usec(CLOCK_MONOTONIC) < end) {
		char *paths[MAX_OBJECTS];
		unsigned n = list_objects(paths);

		for (unsigned i = 0; i < 20; i++)
			call_any(paths[pick(4) == 0 ? 0 : pick(n)]);
		while (n > 0)
			free(paths[--n]);
		harness_signals_clear(&h);
	}
	print_message("# table: seed %u, %u s: %u calls, %u answers\n", seed, seconds, n_calls,
		n_answers);
	assert_int_equal(n_calls, n_answers);
	assert_true(n_calls > 50);
	status = harness_daemon_stop(&h);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int setup(void **state)
{
	harness_new(&h);
	assert_non_null(crowd_new(h.dir));
	harness_daemon_start(&h, true, NULL);
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
		cmocka_unit_test_setup_teardown(test_bus_fuzz, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The introspection files in dbus/ are the contract: the running daemon has exactly these members,
 * and the bouncer knows each method. */

#include <libxml/parser.h>

#include "bus.h"
#include "harness.h"

#define DOMAIN_UUID "5a3b1e0c-0000-4000-8000-000000000001"

typedef struct Members {
	char *list[128];
	size_t n;
} Members;

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void attr(xmlNode *node, const char *name, char *buf, size_t size)
{
	xmlChar *value = xmlGetProp(node, (const xmlChar *)name);

	(void)snprintf(buf, size, "%s", value ? (const char *)value : "-");
	xmlFree(value);
}

/* "method Lease in:region:s in:domain:s out:lease:o" */
static void member_add(Members *m, xmlNode *node)
{
	char name[64], type[64], direction[16];
	char text[512];
	size_t len;

	attr(node, "name", name, sizeof(name));
	len = (size_t)snprintf(text, sizeof(text), "%s %s", (const char *)node->name, name);
	if (xmlStrEqual(node->name, (const xmlChar *)"property")) {
		attr(node, "type", type, sizeof(type));
		attr(node, "access", direction, sizeof(direction));
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %s %s", type, direction);
	}
	for (xmlNode *arg = node->children; arg; arg = arg->next) {
		if (!xmlStrEqual(arg->name, (const xmlChar *)"arg"))
			continue;
		attr(arg, "name", name, sizeof(name));
		attr(arg, "type", type, sizeof(type));
		attr(arg, "direction", direction, sizeof(direction));
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, " %s:%s:%s", direction, name, type);
	}
	assert_true(len < sizeof(text) && m->n < ELEMENTSOF(m->list));
	m->list[m->n] = strdup(text);
	assert_non_null(m->list[m->n++]);
}

static void members_of(xmlDoc *doc, const char *interface, Members *m)
{
	*m = (Members){};
	assert_non_null(doc);
	for (xmlNode *i = xmlDocGetRootElement(doc)->children; i; i = i->next) {
		char name[64];

		if (!xmlStrEqual(i->name, (const xmlChar *)"interface"))
			continue;
		attr(i, "name", name, sizeof(name));
		for (xmlNode *n = i->children; n && strcmp(name, interface) == 0; n = n->next)
			if (n->type == XML_ELEMENT_NODE &&
				!xmlStrEqual(n->name, (const xmlChar *)"annotation"))
				member_add(m, n);
	}
	xmlFreeDoc(doc);
	qsort(m->list, m->n, sizeof(m->list[0]), compare);
}

static void members_free(Members *m)
{
	while (m->n > 0)
		free(m->list[--m->n]);
}

static xmlDoc *contract(const char *interface)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s.xml", getenv("DBUS_INTERFACES"), interface);
	return xmlReadFile(path, NULL, XML_PARSE_NONET);
}

static void check_interface(Harness *h, const char *path, const char *interface)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(h, path, "org.freedesktop.DBus.Introspectable", "Introspect", NULL);
	Members want, have;
	const char *xml;

	assert_success(reply);
	assert_true(sd_bus_message_read(reply, "s", &xml) > 0);
	members_of(contract(interface), interface, &want);
	members_of(xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET), interface,
		&have);
	for (size_t i = 0; i < want.n && i < have.n; i++)
		assert_string_equal(have.list[i], want.list[i]);
	assert_int_equal(have.n, want.n);
	assert_true(want.n > 0);
	members_free(&want);
	members_free(&have);
}

static void test_introspection(void **state)
{
	Harness *h = *state;
	_cleanup_message_ sd_bus_message *region = NULL, *lease = NULL;
	const char *region_path, *lease_path, *job_path;

	region = harness_call(h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", "dax0.0");
	assert_success(region);
	assert_true(sd_bus_message_read(region, "o", &region_path) > 0);
	check_interface(h, PML_BUS_PATH, PML_IF_MANAGER);
	check_interface(h, region_path, PML_IF_REGION);

	/* A lease and a job are there for as long as libvirt does not answer. */
	lease = harness_call(
		h, PML_BUS_PATH, PML_IF_MANAGER, "Lease", "ssa{sv}", "dax0.0", DOMAIN_UUID, 0);
	assert_success(lease);
	assert_true(sd_bus_message_read(lease, "oo", &lease_path, &job_path) > 0);
	check_interface(h, lease_path, PML_IF_LEASE);
	check_interface(h, job_path, PML_IF_JOB);
}

/* Every property can be read: a getter of the wrong type would end the whole reply. */
static void test_properties_are_readable(void **state)
{
	Harness *h = *state;
	_cleanup_message_ sd_bus_message *reply = NULL;
	unsigned n = 0;
	int r;

	reply = harness_call(
		h, PML_BUS_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL);
	assert_success(reply);
	assert_true(sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}") > 0);
	while ((r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0) {
		const char *path;

		assert_true(sd_bus_message_read(reply, "o", &path) > 0);
		assert_true(sd_bus_message_skip(reply, "a{sa{sv}}") >= 0);
		assert_true(sd_bus_message_exit_container(reply) >= 0);
		n++;
	}
	assert_int_equal(r, 0);
	/* manager, region, lease, job, and the three directories' own objects at most */
	assert_true(n >= 3);
}

static void test_bouncer_knows_every_method(void **state)
{
	static const char *const interfaces[] = {
		PML_IF_MANAGER, PML_IF_REGION, PML_IF_LEASE, PML_IF_JOB};
	const char *interface, *member, *action;
	size_t n_methods = 0, n_entries = 0;

	for (size_t i = 0; i < ELEMENTSOF(interfaces); i++) {
		Members m;

		members_of(contract(interfaces[i]), interfaces[i], &m);
		for (size_t k = 0; k < m.n; k++) {
			char name[64];
			bool found = false;

			if (sscanf(m.list[k], "method %63s", name) != 1)
				continue;
			n_methods++;
			for (size_t e = 0; bouncer_entry(e, &interface, &member, &action); e++)
				found = found || (strcmp(interface, interfaces[i]) == 0 &&
							 strcmp(member, name) == 0);
			if (!found)
				fail_msg(
					"%s.%s is not in the bouncer's table", interfaces[i], name);
		}
		members_free(&m);
	}
	while (bouncer_entry(n_entries, &interface, &member, &action))
		n_entries++;
	assert_int_equal(n_methods, n_entries);
}

static int setup(void **state)
{
	static Harness h;

	harness_new(&h);
	harness_write(
		&h, "regions", "dax0.0 11111111-0000-4000-8000-000000000000 0 0x40000000 1 7\n");
	harness_daemon_start(&h, true, NULL);
	/* Adopted, so that it can be lent. */
	sd_bus_message *region = harness_call(
			       &h, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", "s", "dax0.0"),
		       *adopt;
	const char *path;

	assert_success(region);
	assert_true(sd_bus_message_read(region, "o", &path) > 0);
	adopt = harness_call(&h, path, PML_IF_REGION, "Adopt", "s", DOMAIN_UUID);
	assert_success(adopt);
	sd_bus_message_unref(region);
	sd_bus_message_unref(adopt);
	harness_write(&h, DOMAIN_UUID, "vm1 running\n");
	harness_fifo(&h, "suited.hang");
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
		cmocka_unit_test(test_introspection),
		cmocka_unit_test(test_properties_are_readable),
		cmocka_unit_test(test_bouncer_knows_every_method),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

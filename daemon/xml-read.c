/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>
#include <pthread.h>

#include "xml-read.h"

#define KIB UINT64_C(1024)

void xml_setup(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, xmlInitParser);
}

int xml_parse(const char *text, const char *name, xmlDoc **ret_doc, xmlNode **ret_root)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	size_t n = strlen(text);
	xmlNode *root;

	xml_setup();
	if (n > INT_MAX)
		return -EBADMSG;
	doc = xmlReadMemory(text, (int)n, NULL, NULL,
		XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (!doc)
		return -EBADMSG;
	/* libvirt writes no DOCTYPE; one can only be there to declare entities. */
	if (xmlGetIntSubset(doc))
		return -EBADMSG;
	root = xmlDocGetRootElement(doc);
	if (!root || root->ns || !xmlStrEqual(root->name, (const xmlChar *)name))
		return -EBADMSG;
	*ret_doc = TAKE_PTR(doc);
	*ret_root = root;
	return 0;
}

int xml_parse_domain(const char *text, xmlDoc **ret_doc, xmlNode **ret_root)
{
	return xml_parse(text, "domain", ret_doc, ret_root);
}

bool xml_is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && !n->ns && xmlStrEqual(n->name, (const xmlChar *)name);
}

static xmlNode *next_named(xmlNode *n, const char *name)
{
	while (n && !xml_is(n, name))
		n = n->next;
	return n;
}

xmlNode *xml_child(const xmlNode *parent, const char *name)
{
	return parent ? next_named(parent->children, name) : NULL;
}

xmlNode *xml_sibling(const xmlNode *n, const char *name)
{
	return next_named(n->next, name);
}

xmlChar *xml_attribute(xmlNode *n, const char *name)
{
	return n ? xmlGetNoNsProp(n, (const xmlChar *)name) : NULL;
}

bool xml_attribute_is(xmlNode *n, const char *name, const char *value)
{
	_cleanup_xmlstr_ xmlChar *v = xml_attribute(n, name);

	return v && xmlStrEqual(v, (const xmlChar *)value);
}

bool xml_text_is(xmlNode *n, const char *value)
{
	_cleanup_xmlstr_ xmlChar *v = n ? xmlNodeGetContent(n) : NULL;

	return v && xmlStrEqual(v, (const xmlChar *)value);
}

/*
 * Only a running machine has an id. Asking for a live XML gives the stored definition when the
 * machine stops in between, and that one may name devices that nobody maps.
 */
bool xml_is_live(xmlNode *root)
{
	return xmlHasProp(root, (const xmlChar *)"id");
}

int xml_read_number(const xmlChar *text, uint64_t *ret)
{
	const char *s = (const char *)text;
	uint64_t v = 0;

	if (!s)
		return -EBADMSG;
	s += strspn(s, " \t\r\n");
	if (*s < '0' || *s > '9')
		return -EBADMSG;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10U, &v) ||
			__builtin_add_overflow(v, (unsigned)(*s - '0'), &v))
			return -EBADMSG;
	if (s[strspn(s, " \t\r\n")])
		return -EBADMSG;
	*ret = v;
	return 0;
}

/* libvirt's units (formatdomain, "memory"); what it writes itself is always KiB. */
static int read_unit(const xmlChar *unit, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} units[] = {
		{"b", 1},
		{"bytes", 1},
		{"k", KIB},
		{"KiB", KIB},
		{"KB", 1000},
		{"M", MIB},
		{"MiB", MIB},
		{"MB", 1000000},
		{"G", 1ULL << 30},
		{"GiB", 1ULL << 30},
		{"GB", 1000000000},
		{"T", 1ULL << 40},
		{"TiB", 1ULL << 40},
		{"TB", 1000000000000},
	};

	if (!unit) {
		*ret = KIB;
		return 0;
	}
	for (size_t i = 0; i < ELEMENTSOF(units); i++)
		if (pml_streq((const char *)unit, units[i].name)) {
			*ret = units[i].bytes;
			return 0;
		}
	return -EBADMSG;
}

int xml_read_bytes(const xmlChar *text, const xmlChar *unit, uint64_t *ret)
{
	uint64_t v, factor;
	int r;

	r = xml_read_number(text, &v);
	if (r < 0)
		return r;
	r = read_unit(unit, &factor);
	if (r < 0)
		return r;
	return __builtin_mul_overflow(v, factor, ret) ? -EBADMSG : 0;
}

int xml_read_size(xmlNode *n, uint64_t *ret)
{
	_cleanup_xmlstr_ xmlChar *text = n ? xmlNodeGetContent(n) : NULL;
	_cleanup_xmlstr_ xmlChar *unit = xml_attribute(n, "unit");

	return xml_read_bytes(text, unit, ret);
}

const char *xml_pinned_by(xmlNode *devices)
{
	const char *by = NULL;

	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next) {
		if (xml_is(n, "hostdev") && !xml_attribute_is(n, "type", "usb"))
			by = "a <hostdev> (VFIO pins all of the guest's memory)";
		else if (xml_is(n, "interface") && xml_attribute_is(n, "type", "hostdev"))
			by = "an <interface type='hostdev'> (VFIO pins all of the "
			     "guest's memory)";
		else if (xml_is(n, "interface") && xml_attribute_is(n, "type", "vdpa"))
			by = "an <interface type='vdpa'> (vhost-vdpa pins all of the "
			     "guest's memory)";
		else if (xml_is(n, "disk") && xml_attribute_is(n, "type", "vhostvdpa"))
			by = "a <disk type='vhostvdpa'> (vhost-vdpa pins all of the "
			     "guest's memory)";
		else if ((xml_is(n, "interface") || xml_is(n, "disk")) &&
			 xml_attribute_is(n, "type", "vhostuser"))
			by = "a vhost-user device (its process maps all of the "
			     "guest's memory)";
		else if (xml_is(n, "filesystem") &&
			 xml_attribute_is(xml_child(n, "driver"), "type", "virtiofs"))
			by = "a virtiofs <filesystem> (virtiofsd maps all of the "
			     "guest's memory)";
		else if (xml_is(n, "video") &&
			 xml_attribute_is(xml_child(n, "driver"), "name", "vhostuser"))
			by = "a vhost-user <video> (its process maps all of the "
			     "guest's memory)";
	}
	return by;
}

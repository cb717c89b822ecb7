/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>
#include <pthread.h>

#include "xml-read.h"

#define KIB	       UINT64_C(1024)
#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

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

bool xml_is_qemu(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && n->ns &&
	       xmlStrEqual(n->ns->href, (const xmlChar *)QEMU_NAMESPACE) &&
	       xmlStrEqual(n->name, (const xmlChar *)name);
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

/* Without a type it is "pci"; "usb" and "scsi" give requests to the kernel, not memory. */
static bool is_vfio(xmlNode *hostdev)
{
	return !xml_attribute_is(hostdev, "type", "usb") &&
	       !xml_attribute_is(hostdev, "type", "scsi");
}

static const char *device_pins(xmlNode *n)
{
	if (xml_is(n, "hostdev") && is_vfio(n))
		return "a <hostdev> (VFIO pins all of the guest's memory)";
	if (xml_is(n, "interface") && xml_attribute_is(n, "type", "hostdev"))
		return "an <interface type='hostdev'> (VFIO pins all of the guest's memory)";
	if (xml_is(n, "interface") && xml_attribute_is(n, "type", "vdpa"))
		return "an <interface type='vdpa'> (vhost-vdpa pins all of the guest's memory)";
	if (xml_is(n, "disk") && xml_attribute_is(n, "type", "vhostvdpa"))
		return "a <disk type='vhostvdpa'> (vhost-vdpa pins all of the guest's memory)";
	if ((xml_is(n, "interface") || xml_is(n, "disk")) &&
		xml_attribute_is(n, "type", "vhostuser"))
		return "a vhost-user device (its process maps all of the guest's memory)";
	if (xml_is(n, "filesystem") && xml_attribute_is(xml_child(n, "driver"), "type", "virtiofs"))
		return "a virtiofs <filesystem> (virtiofsd maps all of the guest's memory)";
	if (xml_is(n, "video") && xml_attribute_is(xml_child(n, "driver"), "name", "vhostuser"))
		return "a vhost-user <video> (its process maps all of the guest's memory)";
	return NULL;
}

/* QEMU's names of these devices and backends have this in common. */
static bool argument_pins(xmlNode *arg)
{
	static const char *const parts[] = {"vfio", "vhost-user", "vhost-vdpa"};
	_cleanup_xmlstr_ xmlChar *value = xml_attribute(arg, "value");

	for (size_t i = 0; value && i < ELEMENTSOF(parts); i++)
		if (strstr((const char *)value, parts[i]))
			return true;
	return false;
}

static const char *command_line_pins(xmlNode *root)
{
	for (xmlNode *line = root->children; line; line = line->next)
		for (xmlNode *n = xml_is_qemu(line, "commandline") ? line->children : NULL; n;
			n = n->next)
			if (xml_is_qemu(n, "arg") && argument_pins(n))
				return "a device of VFIO, vhost-user or vhost-vdpa in its <qemu:commandline> (which pins or maps all "
				       "of the guest's memory)";
	return NULL;
}

const char *xml_pinned_by(xmlNode *root)
{
	xmlNode *devices = xml_child(root, "devices"),
		*security = xml_child(root, "launchSecurity");
	const char *by = NULL;

	for (xmlNode *n = devices ? devices->children : NULL; n && !by; n = n->next)
		by = device_pins(n);
	if (!by && (xml_attribute_is(security, "type", "sev") ||
			   xml_attribute_is(security, "type", "sev-snp")))
		by = "a <launchSecurity> of SEV (the kernel pins all of the guest's memory)";
	return by ? by : command_line_pins(root);
}

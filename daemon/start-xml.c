/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "start-xml.h"
#include "xml-read.h"

#define UUID_LEN 36

static int copy(char *field, size_t size, xmlChar *text)
{
	_cleanup_xmlstr_ xmlChar *t = text;

	return t && pml_strcpy(field, size, (const char *)t) < 0 ? -EBADMSG : 0;
}

static int copy_content(char *field, size_t size, xmlNode *n)
{
	return n ? copy(field, size, xmlNodeGetContent(n)) : 0;
}

static int read_uuid(StartDomain *d, xmlNode *root)
{
	int r = copy_content(d->uuid, sizeof(d->uuid), xml_child(root, "uuid"));

	if (r < 0 || strlen(d->uuid) != UUID_LEN ||
		strspn(d->uuid, "0123456789abcdef-") != UUID_LEN)
		return -EBADMSG;
	return 0;
}

/* libvirt prints its own bitmap, as the kernel does ("0-1,4"). */
static int read_nodes(StartDomain *d, xmlNode *memory)
{
	xmlNode *mask = xml_child(xml_child(memory, "source"), "nodemask");
	_cleanup_xmlstr_ xmlChar *list = mask ? xmlNodeGetContent(mask) : NULL;
	uint8_t nodes[PML_NODES_MAX];

	if (!list)
		return 0;
	if (pml_node_list_parse((const char *)list, nodes) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < PML_NODES_MAX; i++)
		d->nodes[i] = d->nodes[i] || nodes[i];
	return 0;
}

/* 1: it has no path, so none of the host's devices is meant. */
static int read_device(StartDevice *dev, xmlNode *n)
{
	xmlNode *path = xml_child(xml_child(n, "source"), "path");
	xmlNode *size = xml_child(xml_child(n, "target"), "size");
	int r;

	if (!path)
		return 1;
	r = copy_content(dev->path, sizeof(dev->path), path);
	if (r == 0)
		r = copy(dev->model, sizeof(dev->model), xml_attribute(n, "model"));
	/* A name that is longer than ours is none of ours. */
	if (r == 0 && copy(dev->alias, sizeof(dev->alias),
			      xml_attribute(xml_child(n, "alias"), "name")) < 0)
		dev->alias[0] = '\0';
	if (r == 0 && dev->path[0] != '/')
		r = -EBADMSG;
	dev->shared = xml_attribute_is(n, "access", "shared");
	return r == 0 && size ? xml_read_size(size, &dev->size_bytes) : r;
}

static int read_devices(StartDomain *d, xmlNode *devices)
{
	for (xmlNode *n = xml_child(devices, "memory"); n; n = xml_sibling(n, "memory")) {
		StartDevice *list;
		int r;

		if (d->n_devices == START_DEVICES_MAX)
			return -EBADMSG;
		list = reallocarray(d->devices, d->n_devices + 1, sizeof(*list));
		if (!list)
			return -ENOMEM;
		d->devices = list;
		list[d->n_devices] = (StartDevice){0};
		r = read_device(&list[d->n_devices], n);
		if (r == 1 && read_nodes(d, n) < 0)
			return -EBADMSG;
		if (r < 0)
			return r;
		if (r == 0)
			d->n_devices++;
	}
	return 0;
}

int start_xml_read(const char *text, StartDomain *ret)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	StartDomain d = {0};
	xmlNode *root;
	int r;

	if (strnlen(text, START_XML_MAX) == START_XML_MAX)
		return -EBADMSG;
	r = xml_parse_domain(text, &doc, &root);
	if (r == 0)
		r = read_uuid(&d, root);
	if (r == 0)
		r = copy_content(d.name, sizeof(d.name), xml_child(root, "name"));
	if (r == 0)
		r = read_devices(&d, xml_child(root, "devices"));
	if (r < 0) {
		start_domain_clear(&d);
		return r;
	}
	d.kvm = xml_attribute_is(root, "type", "kvm");
	d.pinned_by = xml_pinned_by(root);
	*ret = d;
	return 0;
}

void start_domain_clear(StartDomain *d)
{
	free(d->devices);
	*d = (StartDomain){0};
}

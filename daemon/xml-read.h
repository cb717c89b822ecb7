/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reading a domain's XML with libxml2: what virt-xml.c, start-xml.c and the hook share. The text is
 * partly what the domain's owner wrote, hence hostile input: nothing is loaded from outside, and a
 * document that declares entities is refused.
 */

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

static inline _unused_ void xml_doc_freep(xmlDoc **doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}

static inline _unused_ void xml_buffer_freep(xmlBuffer **b)
{
	if (*b)
		xmlBufferFree(*b);
}

static inline _unused_ void xml_str_freep(xmlChar **s)
{
	if (*s)
		xmlFree(*s);
}

#define _cleanup_doc_	 _cleanup_(xml_doc_freep)
#define _cleanup_buffer_ _cleanup_(xml_buffer_freep)
#define _cleanup_xmlstr_ _cleanup_(xml_str_freep)

/* libxml2's parser must be set up by one thread before several use it. */
void xml_setup(void);

/* The root is borrowed from the document, which is the caller's. 0, -EBADMSG. */
int xml_parse_domain(const char *text, xmlDoc **ret_doc, xmlNode **ret_root);
/* The same for a document whose root has another name. */
int xml_parse(const char *text, const char *name, xmlDoc **ret_doc, xmlNode **ret_root);

bool xml_is(const xmlNode *n, const char *name);
/* … in libvirt's namespace for what it hands on to QEMU unread. */
bool xml_is_qemu(const xmlNode *n, const char *name);
/* The first child of this name; NULL for a NULL parent, so that calls can be nested. */
xmlNode *xml_child(const xmlNode *parent, const char *name);
xmlNode *xml_sibling(const xmlNode *n, const char *name);
/* The caller's; NULL when there is none, or no node. */
xmlChar *xml_attribute(xmlNode *n, const char *name);
bool xml_attribute_is(xmlNode *n, const char *name, const char *value);
bool xml_text_is(xmlNode *n, const char *value);
bool xml_is_live(xmlNode *root);

/* 0, or -EBADMSG for what is no number, or does not fit. */
int xml_read_number(const xmlChar *text, uint64_t *ret);
int xml_read_bytes(const xmlChar *text, const xmlChar *unit, uint64_t *ret);
/* Of an element that holds a number and may name its unit. */
int xml_read_size(xmlNode *n, uint64_t *ret);

/*
 * What in a domain takes long-term references on guest memory, or hands it to another process: on
 * a kernel without revoke, removing the region under it leaves what nobody can prove (and a pinned
 * page outlives its struct page). Of SEV the kernel pins all memory slots (Linux
 * arch/x86/kvm/svm/sev.c sev_mem_enc_register_region()). What hands single requests to the kernel,
 * as SCSI passthrough and vhost-net do, holds pages no longer than these last. A network may turn
 * out to be a <hostdev> when the machine runs: only its live XML says so. Static text; NULL:
 * nothing does.
 */
const char *xml_pinned_by(xmlNode *root);

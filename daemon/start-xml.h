/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a machine that is about to start wants, read from the XML that libvirt gives its hooks.
 * Pure, as virt-xml.h is, and shared with the hook itself.
 */

#include <limits.h>

#include "ledger.h"
#include "node.h"

/* More than any machine has slots for (QEMU: 256); a longer list is no machine's. */
#define START_DEVICES_MAX 256

/* Longer than any domain that libvirt accepts over its own protocol by far. */
#define START_XML_MAX ((size_t)4 * 1024 * 1024)

/* A memory device with a path; its fields are as the XML has them, "" and 0 where it has none. */
typedef struct StartDevice {
	char path[PATH_MAX];
	char model[24];
	char alias[PML_NAME_LEN];
	bool shared; /* access='shared' */
	uint64_t size_bytes;
} StartDevice;

typedef struct StartDomain {
	char uuid[PML_ID_MAX]; /* as libvirt prints them, in lower case */
	char name[PML_NAME_LEN];
	bool kvm;
	const char *pinned_by; /* static text, or NULL: xml_pinned_by() */
	StartDevice *devices;
	size_t n_devices;
	/* 1: a memory device (dimm, virtio-mem) is to lie on this node of the host. */
	uint8_t nodes[PML_NODES_MAX];
} StartDomain;

/*
 * 0 and *ret, to be cleared by the caller; -EBADMSG: no domain's XML, or a field of ours that makes
 * no sense (a path that is not absolute or too long, a size that is no number); -ENOMEM.
 */
int start_xml_read(const char *text, StartDomain *ret);
void start_domain_clear(StartDomain *d);

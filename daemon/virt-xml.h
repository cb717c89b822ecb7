/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * libvirt's XML, made and read with libxml2. Pure: no connection, no libvirt; so that every shape
 * of a domain can be tried in a test. A domain's XML is partly what its owner wrote, hence hostile
 * input: nothing is loaded from outside, and a document that declares entities is refused.
 */

#include <stdbool.h>

#include "agent.h"
#include "virt.h"

/*
 * The <memory model='nvdimm' access='shared'> element for an attach, on NUMA cell 0; *ret is
 * malloc-ed.
 *
 * access='shared': QEMU maps a device-dax in no other way. The alias must begin with "ua-" and hold
 * letters, digits, '-' and '_' only: libvirt drops any other one without a word
 * (conf/domain_conf.c, virDomainDeviceInfoParseXML). The size must be a multiple of 1 MiB: libvirt
 * rounds up (qemu/qemu_domain.c, qemuDomainMemoryDeviceAlignSize), past the end of the region.
 * Returns 0, -EINVAL for a field that libvirt would change or refuse, -ENOMEM.
 */
int virt_xml_make_memory(const VirtMemory *mem, char **ret);

/*
 * Where a dimm or a virtio-mem goes in the running machine that this live XML describes: a free
 * slot, and an address behind all that it has, which a guest can take whole (Linux
 * mm/memory_hotplug.c check_hotplug_memory_range() refuses what is not aligned to its memory
 * blocks, and QEMU aligns to its own pages alone). Fills mem. 0, -EBADMSG.
 */
int virt_xml_place(const char *text, VirtMemory *mem);

/* What the guest of the running machine has of this virtio-mem; not attached where that is off, or
 * has it not. 0, -EBADMSG. */
int virt_xml_plugged(const char *text, const VirtMemory *mem, VirtPlugged *ret);

/* The element of this virtio-mem in this live XML, with another size that the guest is to have:
 * what libvirt changes it by, which must be all else as it is. 0, -EBADMSG, -ENOMEM. */
int virt_xml_resized(const char *text, const VirtMemory *mem, uint64_t want_bytes, char **ret);

/* *ret: libvirt's capabilities list this NUMA node of the host. 0, -EBADMSG. */
int virt_xml_has_node(const char *capabilities, int node, bool *ret);

/*
 * Can the running machine that this live XML describes take mem? Returns 0, VIRT_UNSUITED with
 * *ret_why naming everything that is missing and the XML that mends it, VIRT_PINNED with the
 * device that would pin the memory, VIRT_NOT_RUNNING (no sentence) when text is the definition of a
 * machine that is off, -EBADMSG when text is no domain's XML, -ENOMEM.
 */
int virt_xml_suited(const char *text, const VirtMemory *mem, char **ret_why);

/*
 * The security drivers of a host, from libvirt's capabilities: their models, separated by spaces;
 * what does not fit is left out. Returns 0, -EBADMSG.
 */
int virt_xml_security(const char *capabilities, char *ret, size_t size);

/* *ret: this definition of a machine, running or not, has a memory device of this alias and path.
 * As virt_xml_has_device() otherwise. */
int virt_xml_defines(const char *text, const VirtMemory *mem, bool *ret);

/*
 * 0: nothing pins the memory of the running machine that this live XML describes, or it is off;
 * VIRT_PINNED and what does; -EBADMSG, -ENOMEM.
 */
int virt_xml_pinned(const char *text, char **ret_why);

/*
 * Where the guest of the running machine has mem (NULL: only the rest), and whether somebody in it
 * listens for an agent's commands. Returns 0, -ENOENT (it is off, or has no such device), -EBADMSG,
 * -ENOMEM.
 */
int virt_xml_agent(const char *text, const VirtMemory *mem, AgentDevice *ret);

/*
 * *ret: a memory device has this alias ("": any) and this path; false for the definition of a
 * machine that is off. Returns 0, -EBADMSG, -ENOMEM.
 */
int virt_xml_has_device(const char *text, const VirtMemory *mem, bool *ret);

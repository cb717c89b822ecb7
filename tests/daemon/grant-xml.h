/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A domain as libvirt gives it to its hooks, as little as counts. */

#define DOMAIN_XML(type, uuid, name, devices)                                                      \
	"<domain type='" type "'><name>" name "</name><uuid>" uuid "</uuid>"                       \
	"<memory unit='KiB'>65536</memory><devices>" devices "</devices></domain>"

#define NVDIMM_XML(path, kib, more)                                                                  \
	"<memory model='nvdimm' access='shared'><source><path>" path                                 \
	"</path><alignsize unit='KiB'>2048</alignsize><pmem/></source><target><size unit='KiB'>" kib \
	"</size><node>0</node></target>" more "</memory>"

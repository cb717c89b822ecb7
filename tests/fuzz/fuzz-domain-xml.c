/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A domain's XML, which its owner has written in part: as libvirt shows it, and as the hook gets
 * it.
 */

#include "fuzz.h"
#include "start-xml.h"
#include "virt-xml.h"
#include "xml-read.h"

static const VirtMemory memory = {
	.path = "/dev/dax0.0",
	.alias = "ua-pmemlease-1",
	.size_bytes = 64 * MIB,
	.align_bytes = 2 * MIB,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size), *why = NULL;
	StartDomain start;
	bool has = false;
	int r;

	xml_setup();
	r = virt_xml_suited(text, &memory, &why);
	FUZZ_CHECK(r <= 0 || r == VIRT_NOT_RUNNING || why);
	(void)virt_xml_has_device(text, &memory, &has);
	r = start_xml_read(text, &start);
	if (r == 0) {
		FUZZ_CHECK(start.n_devices <= START_DEVICES_MAX);
		for (size_t i = 0; i < start.n_devices; i++)
			FUZZ_CHECK(start.devices[i].path[0] == '/');
		start_domain_clear(&start);
	}
	return 0;
}

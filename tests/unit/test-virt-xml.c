/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libxml/parser.h>
#include <libxml/xpath.h>

#include "util.h"
#include "virt-xml.h"

#define GIB (1ULL << 30)

static const VirtMemory region = {
	.alias = "ua-pmemlease-1234",
	.path = "/dev/dax0.0",
	.size_bytes = GIB,
	.align_bytes = 2 * MIB,
};

/* A domain's live XML, of parts that each test replaces. */
typedef struct Parts {
	const char *prolog, *attributes, *max, *features, *cpu, *devices, *tail;
} Parts;

#define TINY                                                                                       \
	"<memory model='nvdimm' access='shared'><source><path>/run/tiny</path></source>"           \
	"<target><size unit='KiB'>2048</size><node>0</node></target>"                              \
	"<alias name='nvdimm0'/></memory>"
#define MAX_4G	 "<maxMemory slots='4' unit='KiB'>4194304</maxMemory>"
#define CPU	 "<cpu><numa><cell id='0' cpus='0-1' memory='524288' unit='KiB'/></numa></cpu>"
#define QEMU	 "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
#define QEMU_END "</q:commandline>"

static const Parts good = {
	.prolog = "",
	.attributes = "type='kvm' id='3'",
	.max = MAX_4G,
	.features = "<features><acpi/></features>",
	.cpu = CPU,
	.devices = TINY,
	.tail = "",
};

static char *domain(const Parts *p)
{
	char *s;

	assert_true(asprintf(&s,
			    "%s<domain %s><name>a</name>%s<memory unit='KiB'>526336</memory>"
			    "<vcpu placement='static'>2</vcpu>%s%s"
			    "<devices><emulator>/usr/bin/qemu</emulator>%s</devices>%s</domain>",
			    p->prolog, p->attributes, p->max, p->features, p->cpu, p->devices,
			    p->tail) > 0);
	return s;
}

static int suited(const Parts *p, const VirtMemory *mem, char **ret_why)
{
	_cleanup_free_ char *text = domain(p);

	return virt_xml_suited(text, mem, ret_why);
}

/* Refused, with both texts in the sentence. */
static void assert_unsuited(const Parts *p, const VirtMemory *mem, const char *a, const char *b)
{
	_cleanup_free_ char *why = NULL;

	assert_int_equal(suited(p, mem, &why), VIRT_UNSUITED);
	assert_non_null(why);
	if (!strstr(why, a) || !strstr(why, b))
		fail_msg("neither '%s' nor '%s' may be missing in: %s", a, b, why);
}

static void assert_suited(const Parts *p, const VirtMemory *mem)
{
	_cleanup_free_ char *why = NULL;
	int r = suited(p, mem, &why);

	if (r != 0)
		fail_msg("%d: %s", r, why ? why : "");
	assert_null(why);
}

/* --- making --- */

static char *query(const char *xml, const char *xpath)
{
	xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	xmlXPathContext *context;
	xmlXPathObject *o;
	char *s;

	assert_non_null(doc);
	context = xmlXPathNewContext(doc);
	o = xmlXPathEvalExpression((const xmlChar *)xpath, context);
	assert_non_null(o);
	s = (char *)xmlXPathCastToString(o);
	xmlXPathFreeObject(o);
	xmlXPathFreeContext(context);
	xmlFreeDoc(doc);
	return s;
}

static void assert_query(const char *xml, const char *xpath, const char *expected)
{
	_cleanup_free_ char *s = query(xml, xpath);

	assert_string_equal(s, expected);
}

static void test_make(void **state)
{
	_cleanup_free_ char *xml = NULL;

	assert_int_equal(virt_xml_make_memory(&region, &xml), 0);
	assert_query(xml, "name(/*)", "memory");
	assert_query(xml, "string(/memory/@model)", "nvdimm");
	assert_query(xml, "string(/memory/@access)", "shared");
	assert_query(xml, "string(/memory/source/path)", "/dev/dax0.0");
	assert_query(xml, "string(/memory/source/alignsize)", "2048");
	assert_query(xml, "string(/memory/source/alignsize/@unit)", "KiB");
	assert_query(xml, "string(count(/memory/source/pmem))", "1");
	assert_query(xml, "string(/memory/target/size)", "1048576");
	assert_query(xml, "string(/memory/target/size/@unit)", "KiB");
	assert_query(xml, "string(/memory/target/node)", "0");
	assert_query(xml, "string(/memory/alias/@name)", "ua-pmemlease-1234");
}

static void test_make_hostile(void **state)
{
	static const char path[] = "/dev/a&amp;'\"</path><path>/dev/sda</path><!--]]>";
	_cleanup_free_ char *xml = NULL;
	VirtMemory mem = region;

	assert_int_equal(PML_STRCPY(mem.path, path), 0);
	assert_int_equal(virt_xml_make_memory(&mem, &xml), 0);
	assert_query(xml, "string(count(/memory/source/path))", "1");
	assert_query(xml, "string(/memory/source/path)", path);
}

/* What libvirt refuses of a virtio-pmem must not be in it. */
static void test_make_block(void **state)
{
	_cleanup_free_ char *xml = NULL;
	VirtMemory mem = region;

	mem.block = true;
	assert_int_equal(PML_STRCPY(mem.path, "/dev/loop0"), 0);
	assert_int_equal(virt_xml_make_memory(&mem, &xml), 0);
	assert_query(xml, "string(/memory/@model)", "virtio-pmem");
	assert_query(xml, "string(/memory/@access)", "shared");
	assert_query(xml, "string(/memory/source/path)", "/dev/loop0");
	assert_query(xml, "string(count(/memory/source/*))", "1");
	assert_query(xml, "string(/memory/target/size)", "1048576");
	assert_query(xml, "string(count(/memory/target/*))", "1");
	assert_query(xml, "string(/memory/alias/@name)", "ua-pmemlease-1234");
	mem.size_bytes += 512;
	free(xml);
	xml = NULL;
	assert_int_equal(virt_xml_make_memory(&mem, &xml), -EINVAL);
}

static void test_make_refuses(void **state)
{
	static const char *const aliases[] = {
		"", "ua-", "nvdimm0", "UA-x", "ua-x y", "ua-x'", "ua-\xc3\xa9", "ua-x&amp;"};
	static const char *const paths[] = {
		"", "dev/dax0.0", "/dev/\x01", "/dev/a\nb", "/dev/\xff"};
	static const uint64_t sizes[][2] = {{0, 2 * MIB}, {GIB + 4096, 4096}, {GIB + MIB, 2 * MIB},
		{GIB, 0}, {GIB, 3 * MIB}, {GIB, 512}, {MIB / 2, 4096}};
	char *xml = NULL;

	for (size_t i = 0; i < ELEMENTSOF(aliases); i++) {
		VirtMemory mem = region;

		assert_int_equal(PML_STRCPY(mem.alias, aliases[i]), 0);
		assert_int_equal(virt_xml_make_memory(&mem, &xml), -EINVAL);
	}
	for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
		VirtMemory mem = region;

		assert_int_equal(PML_STRCPY(mem.path, paths[i]), 0);
		assert_int_equal(virt_xml_make_memory(&mem, &xml), -EINVAL);
	}
	for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
		VirtMemory mem = region;

		mem.size_bytes = sizes[i][0];
		mem.align_bytes = sizes[i][1];
		assert_int_equal(virt_xml_make_memory(&mem, &xml), -EINVAL);
	}
	assert_null(xml);
}

/* --- suited --- */

static void test_suited(void **state)
{
	Parts p = good;

	assert_suited(&p, &region);
	/* What is there says that nvdimm=on, hot-plugged or not; so does a command line. */
	p.devices = "";
	p.tail = QEMU "<q:arg value='-machine'/><q:arg value='x=y,nvdimm=on'/>" QEMU_END;
	assert_suited(&p, &region);
}

static void test_off(void **state)
{
	char *why = NULL;
	Parts p = good;

	p.attributes = "type='kvm'";
	assert_int_equal(suited(&p, &region, &why), VIRT_NOT_RUNNING);
	assert_null(why);
}

static void test_kvm_acpi_cell(void **state)
{
	Parts p = good;

	p.attributes = "type='qemu' id='3'";
	assert_unsuited(&p, &region, "without KVM", "<domain type='kvm'>");
	p = good;
	p.features = "<features><apic/></features>";
	assert_unsuited(&p, &region, "ACPI", "<features><acpi/></features>");
	p.features = "";
	assert_unsuited(&p, &region, "ACPI", "<features><acpi/></features>");
	p = good;
	p.cpu = "<cpu mode='host-passthrough'/>";
	assert_unsuited(&p, &region, "NUMA",
		"<cpu><numa><cell id='0' cpus='0-1' memory='526336' unit='KiB'/></numa></cpu>");
}

static void test_slots(void **state)
{
	VirtMemory mem = region;
	Parts p = good;

	p.max = "";
	assert_unsuited(
		&p, &region, "no slots", "<maxMemory slots='5' unit='KiB'>1574912</maxMemory>");
	p.max = "<maxMemory slots='1' unit='KiB'>4194304</maxMemory>";
	assert_unsuited(
		&p, &region, "1 of its 1 ", "<maxMemory slots='2' unit='KiB'>4194304</maxMemory>");
	/* Devices on PCI have no slot, but take of the space. */
	p.max = "<maxMemory slots='2' unit='KiB'>4194304</maxMemory>";
	p.devices = TINY "<memory model='virtio-mem'><target><size unit='KiB'>1024</size></target>"
			 "</memory>";
	assert_suited(&p, &region);
	p.devices = TINY TINY;
	assert_unsuited(&p, &region, "2 of its 2 ", "slots='3'");

	/* 512 MiB of cells, 2 MiB of device: what is left of 4 GiB fits to the byte. */
	p = good;
	mem.size_bytes = 4 * GIB - 514 * MIB;
	assert_suited(&p, &mem);
	mem.size_bytes += 2 * MIB;
	assert_unsuited(&p, &mem, "4196352 KiB are needed",
		"<maxMemory slots='4' unit='KiB'>4196352</maxMemory>");
	p.max = "<maxMemory slots='4' unit='GiB'>5</maxMemory>";
	assert_suited(&p, &mem);
	mem.size_bytes = UINT64_MAX - 2 * MIB + 1;
	assert_unsuited(&p, &mem, "are needed", "maxMemory is 5242880 KiB");
}

static void test_nvdimm_support(void **state)
{
	static const char *const tails[] = {
		"",
		/* not QEMU's namespace, not -machine's value, not that option, taken back */
		"<commandline><arg value='-machine'/><arg value='nvdimm=on'/></commandline>",
		QEMU "<q:arg value='-name'/><q:arg value='nvdimm=on'/>" QEMU_END,
		QEMU "<q:arg value='-machine'/><q:arg value='nvdimm=only'/>" QEMU_END,
		QEMU "<q:arg value='-machine'/><q:arg value='x-nvdimm=on'/>" QEMU_END,
		QEMU "<q:arg value='-M'/><q:arg value='nvdimm=on,nvdimm=off'/>" QEMU_END,
		QEMU "<q:arg value='-machine'/>" QEMU_END QEMU
		     "<q:arg value='nvdimm=on'/>" QEMU_END,
		QEMU "<q:arg/><q:arg value=''/>" QEMU_END,
	};
	Parts p = good;

	p.devices = "<memory model='dimm'><target><size unit='KiB'>2048</size></target></memory>";
	for (size_t i = 0; i < ELEMENTSOF(tails); i++) {
		p.tail = tails[i];
		assert_unsuited(&p, &region, "without nvdimm support",
			"<memory model='nvdimm' access='shared'>");
	}
}

static void test_region(void **state)
{
	VirtMemory mem = region;
	Parts p = good;

	mem.size_bytes = GIB + 4096;
	mem.align_bytes = 4096;
	assert_unsuited(&p, &mem, "multiple of 1 MiB", "1073745920 bytes");
	mem = region;
	assert_int_equal(PML_STRCPY(mem.path, "/run/tiny"), 0);
	assert_unsuited(&p, &mem, "uses /run/tiny already", "");
	mem = region;
	assert_int_equal(PML_STRCPY(mem.alias, "nvdimm0"), 0);
	assert_unsuited(&p, &mem, "named nvdimm0 already", "");
	mem = region;
	mem.align_bytes = 3 * MIB;
	assert_unsuited(&p, &mem, "alignment (3145728 bytes)", "");
}

/* Everything that is missing is said at once. */
static void test_all_missing(void **state)
{
	Parts p = good;

	p.attributes = "type='qemu' id='1'";
	p.max = p.features = p.cpu = p.devices = "";
	assert_unsuited(&p, &region, "without KVM", "<acpi/>");
	assert_unsuited(&p, &region, "<cell ", "<maxMemory slots='4'");
	assert_unsuited(&p, &region, "without nvdimm", "virsh edit");
}

static void test_pinned(void **state)
{
	static const char *const devices[] = {
		TINY "<hostdev mode='subsystem' type='pci' managed='yes'/>",
		TINY "<hostdev mode='subsystem' type='mdev' model='vfio-pci'/>",
		TINY "<interface type='hostdev'/>",
		TINY "<interface type='vdpa'/>",
		TINY "<interface type='vhostuser'/>",
		TINY "<disk type='vhostuser'/>",
		TINY "<disk type='vhostvdpa'/>",
		TINY "<filesystem type='mount'><driver type='virtiofs'/></filesystem>",
		TINY "<video><driver name='vhostuser'/><model type='virtio'/></video>",
		TINY "</devices><launchSecurity type='sev'/><devices>",
		TINY
		"</devices><q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
		"<q:arg value='-device'/><q:arg value='vfio-pci,host=01:00.0'/></q:commandline><devices>",
		TINY
		"</devices><q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
		"<q:arg value='-device'/><q:arg value='vhost-user-fs-pci,chardev=c'/></q:commandline><devices>",
	};
	Parts p = good;

	for (size_t i = 0; i < ELEMENTSOF(devices); i++) {
		_cleanup_free_ char *why = NULL;

		p.devices = devices[i];
		if (suited(&p, &region, &why) != VIRT_PINNED)
			fail_msg("%s", devices[i]);
		assert_non_null(strstr(why, "taken back"));
	}
	p.devices = TINY
		"<hostdev mode='subsystem' type='usb'/><hostdev mode='subsystem' type='scsi'/>"
		"<interface type='network'/><filesystem type='mount'><driver type='path'/></filesystem>"
		"</devices><commandline><arg value='vfio-pci'/></commandline>"
		"<launchSecurity type='tdx'/><devices>";
	assert_suited(&p, &region);
}

/* --- reading what is broken or hostile --- */

static void assert_bad(const char *text)
{
	char *why = NULL;
	bool has = true;

	if (virt_xml_suited(text, &region, &why) != -EBADMSG)
		fail_msg("suited: %s", text);
	assert_null(why);
	assert_int_equal(virt_xml_has_device(text, &region, &has), -EBADMSG);
	assert_true(has);
}

static void test_no_domain(void **state)
{
	static const char *const texts[] = {"", " ", "<", "<domain", "<domain id='1'>",
		"<network/>", "<domain id='1'/><domain/>", "<x:domain xmlns:x='u' id='1'/>",
		"\xff\xfe", "no XML", "<domain id='1'>&undeclared;</domain>"};

	for (size_t i = 0; i < ELEMENTSOF(texts); i++)
		assert_bad(texts[i]);
}

static void test_entities(void **state)
{
	static const char *const prologs[] = {
		"<!DOCTYPE domain [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>",
		"<!DOCTYPE domain [<!ENTITY a 'x'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]>",
		"<!DOCTYPE domain SYSTEM 'http://127.0.0.1:1/d.dtd'>",
		"<!DOCTYPE domain>",
	};
	Parts p = good;

	for (size_t i = 0; i < ELEMENTSOF(prologs); i++) {
		_cleanup_free_ char *text = NULL;

		p.prolog = prologs[i];
		text = domain(&p);
		assert_bad(text);
	}
}

static void test_numbers(void **state)
{
	static const char *const bad[] = {
		"<maxMemory slots='4' unit='KiB'>99999999999999999999999999</maxMemory>",
		"<maxMemory slots='4' unit='TiB'>18446744073709551615</maxMemory>",
		"<maxMemory slots='4' unit='parsec'>1</maxMemory>",
		"<maxMemory slots='4' unit='KiB'>-1</maxMemory>",
		"<maxMemory slots='4' unit='KiB'>0x10</maxMemory>",
		"<maxMemory slots='4' unit='KiB'></maxMemory>",
		"<maxMemory slots='4' unit='KiB'>12 34</maxMemory>",
		"<maxMemory slots='-1' unit='KiB'>4194304</maxMemory>",
		"<maxMemory unit='KiB'>4194304</maxMemory>",
	};
	VirtMemory mem = region;
	Parts p = good;
	char *why = NULL;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		p.max = bad[i];
		if (suited(&p, &mem, &why) != -EBADMSG)
			fail_msg("%s", bad[i]);
	}
	p = good;
	p.max = "<maxMemory slots='4' unit='KiB'>\n 4194304\t</maxMemory>";
	assert_suited(&p, &mem);
	/* Sums that no counter holds. */
	p = good;
	p.cpu = "<cpu><numa><cell memory='16777215' unit='TiB'/>"
		"<cell memory='16777215' unit='TiB'/></numa></cpu>";
	assert_int_equal(suited(&p, &mem, &why), -EBADMSG);
	p = good;
	p.devices = TINY "<memory model='dimm'><target/></memory>";
	assert_int_equal(suited(&p, &mem, &why), -EBADMSG);
	assert_null(why);
}

/* --- has_device --- */

#define DEVICE(alias, path)                                                                        \
	"<memory model='nvdimm'><source><path>" path "</path></source>"                            \
	"<target><size unit='KiB'>1048576</size></target><alias name='" alias "'/></memory>"

static void assert_has(const char *attributes, const char *devices, bool expected)
{
	_cleanup_free_ char *text = NULL;
	Parts p = good;
	bool has = !expected;

	p.attributes = attributes;
	p.devices = devices;
	text = domain(&p);
	assert_int_equal(virt_xml_has_device(text, &region, &has), 0);
	if (has != expected)
		fail_msg("%s", devices);
}

static void test_has_device(void **state)
{
	static const char live[] = "type='kvm' id='1'";

	assert_has(live, DEVICE("ua-pmemlease-1234", "/dev/dax0.0"), true);
	assert_has(live, TINY DEVICE("ua-pmemlease-1234", "&#x2f;dev/dax0.0"), true);
	assert_has(live, "", false);
	assert_has(live, TINY, false);
	assert_has(live, DEVICE("ua-pmemlease-1234", "/dev/dax0.1"), false);
	assert_has(live, DEVICE("ua-pmemlease-123", "/dev/dax0.0"), false);
	/* two devices that have one half each */
	assert_has(
		live, DEVICE("ua-pmemlease-1234", "/dev/x") DEVICE("ua-x", "/dev/dax0.0"), false);
	assert_has(live, "<disk><memory/></disk><memory/>", false);
	/* the stored definition of a machine that is off says nothing of what is mapped */
	assert_has("type='kvm'", DEVICE("ua-pmemlease-1234", "/dev/dax0.0"), false);
}

static void test_security(void **state)
{
	char models[128];

	assert_int_equal(
		virt_xml_security("<capabilities><host>"
				  "<secmodel><model>apparmor</model><doi>0</doi></secmodel>"
				  "<secmodel><model>dac</model></secmodel>"
				  "<secmodel/></host></capabilities>",
			models, sizeof(models)),
		0);
	assert_string_equal(models, "apparmor dac");
	assert_int_equal(virt_xml_security("<capabilities/>", models, sizeof(models)), 0);
	assert_string_equal(models, "");
	assert_int_equal(virt_xml_security("<domain/>", models, sizeof(models)), -EBADMSG);
	assert_int_equal(virt_xml_security("", models, sizeof(models)), -EBADMSG);
}

static const VirtMemory dimm = {
	.alias = "ua-pmemlease-1234",
	.path = "/dev/dax0.0",
	.size_bytes = 768 * MIB,
	.align_bytes = 2 * MIB,
	.ram = true,
	.node = 3,
};

#define DIMM_AT(alias, node, slot, base)                                                           \
	"<memory model='dimm'><source><nodemask>" node "</nodemask></source><target>"              \
	"<size unit='KiB'>786432</size><node>0</node></target><alias name='" alias "'/>"           \
	"<address type='dimm' slot='" slot "' base='" base "'/></memory>"

static void test_dimm(void **state)
{
	_cleanup_free_ char *xml = NULL, *placed = NULL;
	VirtMemory mem = dimm;

	assert_int_equal(virt_xml_make_memory(&dimm, &xml), 0);
	assert_query(xml, "string(/memory/@model)", "dimm");
	assert_query(xml, "string(/memory/source/nodemask)", "3");
	/* libvirt would ignore it, and give the guest other memory. */
	assert_query(xml, "count(/memory/source/path)", "0");
	assert_query(xml, "count(/memory/@access)", "0");
	assert_query(xml, "string(/memory/target/size)", "786432");
	assert_query(xml, "string(/memory/alias/@name)", "ua-pmemlease-1234");
	assert_query(xml, "count(/memory/address)", "0");

	mem.has_place = true;
	mem.base_bytes = 0x140000000;
	mem.slot = 2;
	assert_int_equal(virt_xml_make_memory(&mem, &placed), 0);
	assert_query(placed, "string(/memory/address/@base)", "0x140000000");
	assert_query(placed, "string(/memory/address/@slot)", "2");
	mem.node = -1;
	assert_int_equal(virt_xml_make_memory(&mem, &placed), -EINVAL);
}

static void test_dimm_suited(void **state)
{
	Parts p = good;

	p.devices = "";
	assert_suited(&p, &dimm);
	p.features = "";
	assert_unsuited(&p, &dimm, "dimm", "<acpi/>");
	p.features = good.features;
	p.max = "";
	assert_unsuited(&p, &dimm, "<maxMemory", "slots");
}

static void test_place(void **state)
{
	VirtMemory mem = dimm;
	Parts p = good;
	char *text;

	p.devices = "";
	text = domain(&p);
	assert_int_equal(virt_xml_place(text, &mem), 0);
	assert_false(mem.has_place);
	free(text);

	/* Behind a small one, where a guest could not take it, it goes to the next GiB. */
	p.devices = "<memory model='nvdimm'><target><size unit='KiB'>2048</size></target>"
		    "<address type='dimm' slot='0' base='0x100000000'/></memory>" DIMM_AT(
			    "ua-x", "1", "2", "0x140000000");
	text = domain(&p);
	assert_int_equal(virt_xml_place(text, &mem), 0);
	assert_true(mem.has_place);
	assert_int_equal(mem.base_bytes, 0x180000000);
	assert_int_equal(mem.slot, 1);
	free(text);
}

static void test_has_dimm(void **state)
{
	static const struct {
		const char *devices;
		bool has;
	} cases[] = {
		{DIMM_AT("ua-pmemlease-1234", "3", "0", "0x100000000"), true},
		{DIMM_AT("ua-pmemlease-1234", "1", "0", "0x100000000"), false},
		{DIMM_AT("ua-other", "3", "0", "0x100000000"), false},
		{TINY, false},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		Parts p = good;
		_cleanup_free_ char *text = NULL;
		bool has = !cases[i].has;

		p.devices = cases[i].devices;
		text = domain(&p);
		assert_int_equal(virt_xml_has_device(text, &dimm, &has), 0);
		assert_int_equal(has, cases[i].has);
	}
}

static const VirtMemory parts = {
	.alias = "ua-pmemlease-1234",
	.size_bytes = 768 * MIB,
	.ram = true,
	.virtio_mem = true,
	.node = 3,
};

#define PARTS(alias, node, requested, current)                                                     \
	"<memory model='virtio-mem'><source><nodemask>" node "</nodemask></source><target>"        \
	"<size unit='KiB'>786432</size><node>0</node><block unit='KiB'>2048</block>"               \
	"<requested unit='MiB'>" requested "</requested><current unit='KiB'>" current              \
	"</current><address base='0x140000000'/></target><alias name='" alias "'/>"                \
	"<address type='pci' bus='0x02'/></memory>"

static void test_virtio_mem(void **state)
{
	_cleanup_free_ char *xml = NULL, *placed = NULL;
	VirtMemory mem = parts;

	assert_int_equal(virt_xml_make_memory(&parts, &xml), 0);
	assert_query(xml, "string(/memory/@model)", "virtio-mem");
	assert_query(xml, "string(/memory/source/nodemask)", "3");
	assert_query(xml, "string(/memory/target/size)", "786432");
	assert_query(xml, "string(/memory/target/requested)", "786432");
	assert_query(xml, "string(/memory/target/block)", "2048");
	assert_query(xml, "count(/memory/target/address)", "0");

	/* Its own address is a PCI one; where the memory lies is its target's. */
	mem.has_place = true;
	mem.base_bytes = 0x140000000;
	assert_int_equal(virt_xml_make_memory(&mem, &placed), 0);
	assert_query(placed, "string(/memory/target/address/@base)", "0x140000000");
	assert_query(placed, "count(/memory/address)", "0");
}

static void test_virtio_mem_suited(void **state)
{
	Parts p = good;

	p.devices = "<controller type='pci' index='1' model='pcie-root-port'/>";
	assert_suited(&p, &parts);
	p.devices = "<controller type='pci' index='0' model='pcie-root'/>";
	assert_unsuited(&p, &parts, "virtio-mem", "pcie-root-port");
}

/* What is on PCI takes its place as a dimm does. */
static void test_place_behind_parts(void **state)
{
	VirtMemory mem = parts;
	Parts p = good;
	char *text;

	p.devices = PARTS("ua-x", "1", "0", "0");
	text = domain(&p);
	assert_int_equal(virt_xml_place(text, &mem), 0);
	assert_true(mem.has_place);
	assert_int_equal(mem.base_bytes, 0x180000000);
	assert_int_equal(mem.slot, 0);
	free(text);
}

static void test_plugged(void **state)
{
	_cleanup_free_ char *text = NULL, *device = NULL;
	VirtPlugged got = {};
	VirtMemory other = parts;
	Parts p = good;
	bool has = false;

	p.devices = PARTS("ua-pmemlease-1234", "3", "512", "600064");
	text = domain(&p);
	assert_int_equal(virt_xml_plugged(text, &parts, &got), 0);
	assert_true(got.attached);
	assert_int_equal(got.size_bytes, 768 * MIB);
	assert_int_equal(got.requested_bytes, 512 * MIB);
	assert_int_equal(got.current_bytes, 600064ULL * 1024);
	assert_int_equal(virt_xml_has_device(text, &parts, &has), 0);
	assert_true(has);
	/* No dimm of that name. */
	assert_int_equal(virt_xml_has_device(text, &dimm, &has), 0);
	assert_false(has);

	/* libvirt wants everything else as it is. */
	assert_int_equal(virt_xml_resized(text, &parts, 256 * MIB, &device), 0);
	assert_query(device, "string(/memory/target/requested)", "262144");
	assert_query(device, "string(/memory/target/requested/@unit)", "KiB");
	assert_query(device, "string(/memory/target/address/@base)", "0x140000000");
	assert_query(device, "string(/memory/address/@bus)", "0x02");
	assert_query(device, "string(/memory/alias/@name)", "ua-pmemlease-1234");
	assert_query(device, "string(/memory/source/nodemask)", "3");

	other.node = 1;
	assert_int_equal(virt_xml_plugged(text, &other, &got), 0);
	assert_false(got.attached);
	assert_int_equal(virt_xml_resized(text, &other, 0, &device), -EBADMSG);
	assert_int_equal(virt_xml_plugged("<domain", &parts, &got), -EBADMSG);
}

static void test_has_node(void **state)
{
	const char caps[] = "<capabilities><host><topology><cells num='2'><cell id='0'/>"
			    "<cell id='13'/></cells></topology></host></capabilities>";
	bool has = false;

	assert_int_equal(virt_xml_has_node(caps, 13, &has), 0);
	assert_true(has);
	assert_int_equal(virt_xml_has_node(caps, 1, &has), 0);
	assert_false(has);
	assert_int_equal(virt_xml_has_node("<capabilities/>", 0, &has), 0);
	assert_false(has);
	assert_int_equal(virt_xml_has_node("<domain/>", 0, &has), -EBADMSG);
}

/* Where its guest has a device, and whether an agent listens there. */
static void test_agent(void **state)
{
#define CHANNEL(name, more)                                                                        \
	"<channel type='unix'><target type='virtio' name='" name "'" more "/></channel>"
	static const struct {
		const char *devices;
		bool channel, connected;
	} cases[] = {
		{"", false, false},
		{CHANNEL("com.example", " state='connected'"), false, false},
		{CHANNEL("org.qemu.guest_agent.0", ""), true, false},
		{CHANNEL("org.qemu.guest_agent.0", " state='disconnected'"), true, false},
		{CHANNEL("com.example", "") CHANNEL("org.qemu.guest_agent.0", " state='connected'"),
			true, true},
	};
	Parts p = good;
	AgentDevice d;

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *xml = NULL;

		p.devices = cases[i].devices;
		xml = domain(&p);
		assert_int_equal(virt_xml_agent(xml, NULL, &d), 0);
		assert_int_equal(d.channel, cases[i].channel);
		assert_int_equal(d.connected, cases[i].connected);
		assert_int_equal(virt_xml_agent(xml, &region, &d), -ENOENT);
	}
	p.attributes = "type='kvm'";
	_cleanup_free_ char *off = domain(&p);

	assert_int_equal(virt_xml_agent(off, NULL, &d), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_make_hostile),
		cmocka_unit_test(test_make_block),
		cmocka_unit_test(test_make_refuses),
		cmocka_unit_test(test_suited),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_kvm_acpi_cell),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_nvdimm_support),
		cmocka_unit_test(test_region),
		cmocka_unit_test(test_all_missing),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_no_domain),
		cmocka_unit_test(test_entities),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_has_device),
		cmocka_unit_test(test_security),
		cmocka_unit_test(test_dimm),
		cmocka_unit_test(test_dimm_suited),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_has_dimm),
		cmocka_unit_test(test_has_node),
		cmocka_unit_test(test_virtio_mem),
		cmocka_unit_test(test_virtio_mem_suited),
		cmocka_unit_test(test_place_behind_parts),
		cmocka_unit_test(test_plugged),
		cmocka_unit_test(test_agent),
	};

	return cmocka_run_group_tests_name("virt-xml", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "virt-xml.h"
#include "xml-read.h"

#define KIB	    UINT64_C(1024)
#define ALIAS_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

/* --- making --- */

/* A text that XML can carry unchanged: UTF-8 without control characters. */
static bool text_valid(const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			return false;
	return xmlCheckUTF8((const xmlChar *)s);
}

static bool memory_valid(const VirtMemory *mem)
{
	if (strncmp(mem->alias, "ua-", 3) != 0 || !mem->alias[3] ||
		mem->alias[strspn(mem->alias, ALIAS_CHARS)])
		return false;
	if (mem->ram)
		return mem->node >= 0 && mem->size_bytes > 0 && mem->size_bytes % MIB == 0;
	if (mem->path[0] != '/' || !text_valid(mem->path))
		return false;
	if (mem->block)
		return mem->size_bytes > 0 && mem->size_bytes % MIB == 0;
	if (mem->align_bytes < KIB || (mem->align_bytes & (mem->align_bytes - 1)))
		return false;
	return mem->size_bytes > 0 && mem->size_bytes % MIB == 0 &&
	       mem->size_bytes % mem->align_bytes == 0;
}

/* xmlNewTextChild() escapes its text, xmlNewChild() would not. */
static xmlNode *add_text(xmlNode *parent, const char *name, const char *text)
{
	return xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

static xmlNode *add(xmlNode *parent, const char *name)
{
	return add_text(parent, name, NULL);
}

static bool add_kib(xmlNode *parent, const char *name, uint64_t bytes)
{
	char text[32];
	xmlNode *n;

	(void)snprintf(text, sizeof(text), "%" PRIu64, bytes / KIB);
	n = add_text(parent, name, text);
	return n && xmlNewProp(n, (const xmlChar *)"unit", (const xmlChar *)"KiB");
}

static bool set(xmlNode *n, const char *name, const char *value)
{
	return xmlNewProp(n, (const xmlChar *)name, (const xmlChar *)value);
}

static bool fill_source(xmlNode *source, const VirtMemory *mem)
{
	if (!source || !add_text(source, "path", mem->path))
		return false;
	/* libvirt refuses both of a virtio-pmem, as it does a NUMA node (conf/domain_validate.c).
	 */
	return mem->block ||
	       (add_kib(source, "alignsize", mem->align_bytes) && add(source, "pmem"));
}

static bool fill_address(xmlNode *address, const VirtMemory *mem)
{
	char slot[32], base[32];

	(void)snprintf(slot, sizeof(slot), "%" PRIu64, mem->slot);
	(void)snprintf(base, sizeof(base), "0x%" PRIx64, mem->base_bytes);
	return address && set(address, "type", "dimm") && set(address, "slot", slot) &&
	       set(address, "base", base);
}

/* All of it is asked of the guest at once; where it lies is told to libvirt since 9.4, and ignored
 * by an older one. */
static bool fill_virtio_mem(xmlNode *target, const VirtMemory *mem)
{
	xmlNode *address;
	char base[32];

	if (!add_kib(target, "block", VIRT_BLOCK_BYTES) ||
		!add_kib(target, "requested", mem->size_bytes))
		return false;
	if (!mem->has_place)
		return true;
	(void)snprintf(base, sizeof(base), "0x%" PRIx64, mem->base_bytes);
	address = add(target, "address");
	return address && set(address, "base", base);
}

static const char *model_of(const VirtMemory *mem)
{
	return mem->virtio_mem ? "virtio-mem"
	       : mem->ram      ? "dimm"
	       : mem->block    ? "virtio-pmem"
			       : "nvdimm";
}

static bool fill_ram(xmlNode *root, const VirtMemory *mem)
{
	xmlNode *target, *alias, *source;
	char node[16];

	(void)snprintf(node, sizeof(node), "%d", mem->node);
	source = set(root, "model", model_of(mem)) ? add(root, "source") : NULL;
	if (!source || !add_text(source, "nodemask", node))
		return false;
	target = add(root, "target");
	if (!target || !add_kib(target, "size", mem->size_bytes) || !add_text(target, "node", "0"))
		return false;
	if (mem->virtio_mem && !fill_virtio_mem(target, mem))
		return false;
	alias = add(root, "alias");
	if (!alias || !set(alias, "name", mem->alias))
		return false;
	return mem->virtio_mem || !mem->has_place || fill_address(add(root, "address"), mem);
}

static bool fill_memory(xmlNode *root, const VirtMemory *mem)
{
	xmlNode *target, *alias;

	if (mem->ram)
		return fill_ram(root, mem);

	if (!set(root, "model", model_of(mem)) || !set(root, "access", "shared") ||
		!fill_source(add(root, "source"), mem))
		return false;
	target = add(root, "target");
	if (!target || !add_kib(target, "size", mem->size_bytes) ||
		(!mem->block && !add_text(target, "node", "0")))
		return false;
	alias = add(root, "alias");
	return alias && set(alias, "name", mem->alias);
}

int virt_xml_make_memory(const VirtMemory *mem, char **ret)
{
	_cleanup_buffer_ xmlBuffer *buffer = NULL;
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root;
	char *text;

	xml_setup();
	if (!memory_valid(mem))
		return -EINVAL;
	doc = xmlNewDoc((const xmlChar *)"1.0");
	buffer = xmlBufferCreate();
	if (!doc || !buffer)
		return -ENOMEM;
	root = xmlNewDocNode(doc, NULL, (const xmlChar *)"memory", NULL);
	if (!root)
		return -ENOMEM;
	xmlDocSetRootElement(doc, root);
	if (!fill_memory(root, mem) || xmlNodeDump(buffer, doc, root, 0, 0) < 0)
		return -ENOMEM;
	text = strdup((const char *)xmlBufferContent(buffer));
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

/* --- what a machine has --- */

typedef struct Machine {
	bool kvm;
	bool acpi;
	unsigned cells;
	uint64_t initial_bytes; /* of the cells: what is there without memory devices */
	uint64_t memory_bytes;
	uint64_t vcpus;
	bool max_memory;
	uint64_t max_bytes;
	uint64_t slots;
	uint64_t slots_used;
	uint64_t devices_bytes;
	bool nvdimm;
	bool alias_used;
	bool path_used;
	bool no_port;	       /* every PCI port that something can be plugged into has it */
	const char *pinned_by; /* static text */
} Machine;

/* dimm and nvdimm have slots; the virtio models sit on PCI. */
static bool has_slot(xmlNode *memory)
{
	return xml_attribute_is(memory, "model", "dimm") ||
	       xml_attribute_is(memory, "model", "nvdimm");
}

static int read_memory_device(Machine *m, xmlNode *n, const VirtMemory *mem)
{
	uint64_t size;
	int r;

	r = xml_read_size(xml_child(xml_child(n, "target"), "size"), &size);
	if (r < 0)
		return r;
	if (__builtin_add_overflow(m->devices_bytes, size, &m->devices_bytes))
		return -EBADMSG;
	if (has_slot(n))
		m->slots_used++;
	/* A hot-plugged one proves as much as a cold one: QEMU would have refused it otherwise. */
	if (xml_attribute_is(n, "model", "nvdimm"))
		m->nvdimm = true;
	if (xml_attribute_is(xml_child(n, "alias"), "name", mem->alias))
		m->alias_used = true;
	if (!mem->ram && xml_text_is(xml_child(xml_child(n, "source"), "path"), mem->path))
		m->path_used = true;
	return 0;
}

static int read_cells(Machine *m, xmlNode *root)
{
	xmlNode *numa = xml_child(xml_child(root, "cpu"), "numa");

	for (xmlNode *n = xml_child(numa, "cell"); n; n = xml_sibling(n, "cell")) {
		_cleanup_xmlstr_ xmlChar *memory = xml_attribute(n, "memory");
		_cleanup_xmlstr_ xmlChar *unit = xml_attribute(n, "unit");
		uint64_t bytes;
		int r;

		r = xml_read_bytes(memory, unit, &bytes);
		if (r < 0)
			return r;
		if (__builtin_add_overflow(m->initial_bytes, bytes, &m->initial_bytes))
			return -EBADMSG;
		m->cells++;
	}
	return 0;
}

/* Is there "nvdimm=on" or "nvdimm=off" among the options of one -machine? The last one counts. */
static void read_machine_options(Machine *m, const char *options)
{
	for (const char *s = options; *s;) {
		size_t n = strcspn(s, ",");

		if (n == strlen("nvdimm=on") && strncmp(s, "nvdimm=on", n) == 0)
			m->nvdimm = true;
		else if (n == strlen("nvdimm=off") && strncmp(s, "nvdimm=off", n) == 0)
			m->nvdimm = false;
		s += n;
		s += *s == ',';
	}
}

/* Arguments that the operator added to QEMU's; they come after libvirt's own, so they win. */
static void read_command_line(Machine *m, xmlNode *root)
{
	for (xmlNode *line = root->children; line; line = line->next) {
		bool machine = false;

		if (!xml_is_qemu(line, "commandline"))
			continue;
		for (xmlNode *n = line->children; n; n = n->next) {
			_cleanup_xmlstr_ xmlChar *value = NULL;
			const char *s;

			if (!xml_is_qemu(n, "arg"))
				continue;
			value = xml_attribute(n, "value");
			s = value ? (const char *)value : "";
			if (machine)
				read_machine_options(m, s);
			machine = pml_streq(s, "-machine") || pml_streq(s, "--machine") ||
				  pml_streq(s, "-M") || pml_streq(s, "--M");
		}
	}
}

/* Is there a device behind the port whose bus has this number? */
static bool bus_is_used(const xmlNode *devices, uint64_t bus)
{
	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next)
		for (xmlNode *a = xml_child(n, "address"); a; a = xml_sibling(a, "address")) {
			_cleanup_xmlstr_ xmlChar *at = xml_attribute(a, "bus");

			if (xml_attribute_is(a, "type", "pci") && at &&
				strtoull((const char *)at, NULL, 0) == bus)
				return true;
		}
	return false;
}

/* A machine with plain PCI has slots on its root; one with PCI Express takes devices in root ports
 * only. */
static bool has_no_port(xmlNode *devices)
{
	for (xmlNode *n = xml_child(devices, "controller"); n; n = xml_sibling(n, "controller")) {
		_cleanup_xmlstr_ xmlChar *index = xml_attribute(n, "index");
		uint64_t bus;

		if (xml_attribute_is(n, "model", "pci-root"))
			return false;
		if (xml_attribute_is(n, "model", "pcie-root-port") &&
			xml_read_number(index, &bus) == 0 && !bus_is_used(devices, bus))
			return false;
	}
	return true;
}

static int read_machine(xmlNode *root, const VirtMemory *mem, Machine *ret)
{
	xmlNode *max = xml_child(root, "maxMemory"), *devices = xml_child(root, "devices");
	_cleanup_xmlstr_ xmlChar *slots = xml_attribute(max, "slots");
	_cleanup_xmlstr_ xmlChar *vcpus = NULL;
	xmlNode *vcpu = xml_child(root, "vcpu");
	Machine m = {
		.kvm = xml_attribute_is(root, "type", "kvm"),
		.acpi = xml_child(xml_child(root, "features"), "acpi"),
		.max_memory = max,
	};
	int r;

	r = xml_read_size(xml_child(root, "memory"), &m.memory_bytes);
	if (r < 0)
		return r;
	if (vcpu) {
		vcpus = xmlNodeGetContent(vcpu);
		if (xml_read_number(vcpus, &m.vcpus) < 0)
			return -EBADMSG;
	}
	r = read_cells(&m, root);
	if (r < 0)
		return r;
	if (max && (xml_read_size(max, &m.max_bytes) < 0 || xml_read_number(slots, &m.slots) < 0))
		return -EBADMSG;
	for (xmlNode *n = xml_child(devices, "memory"); n; n = xml_sibling(n, "memory")) {
		r = read_memory_device(&m, n, mem);
		if (r < 0)
			return r;
	}
	read_command_line(&m, root);
	m.no_port = has_no_port(devices);
	m.pinned_by = xml_pinned_by(root);
	*ret = m;
	return 0;
}

/* --- what it lacks --- */

static uint64_t with_room(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static void lack_memory_space(FILE *f, const Machine *m, const VirtMemory *mem)
{
	uint64_t initial = m->cells ? m->initial_bytes : m->memory_bytes;
	/* As read from here; the alignment of a dimm is room that QEMU adds for each slot. */
	uint64_t wanted = with_room(with_room(initial, m->devices_bytes), mem->size_bytes);
	uint64_t slots = m->slots_used < m->slots ? m->slots : m->slots_used + 1;

	if (!m->max_memory)
		fprintf(f,
			" It has no slots for memory devices: add <maxMemory slots='%" PRIu64
			"' unit='KiB'>%" PRIu64 "</maxMemory>.",
			m->slots_used + 4, wanted / KIB);
	else if ((m->slots_used >= m->slots && !mem->block && !mem->virtio_mem) ||
		 wanted > m->max_bytes)
		fprintf(f,
			" %" PRIu64 " of its %" PRIu64 " memory slots are used, and %" PRIu64
			" KiB are needed where maxMemory is %" PRIu64
			" KiB: change it to <maxMemory slots='%" PRIu64 "' unit='KiB'>%" PRIu64
			"</maxMemory>.",
			m->slots_used, m->slots, wanted / KIB, m->max_bytes / KIB, slots,
			(wanted > m->max_bytes ? wanted : m->max_bytes) / KIB);
}

static void lack_machine(FILE *f, const Machine *m, const VirtMemory *mem)
{
	if (!m->kvm)
		fprintf(f, " It runs without KVM, where a memory failure ends QEMU: "
			   "define it with <domain type='kvm'>.");
	if (!m->acpi && !mem->block)
		fprintf(f, " It has no ACPI: add <features><acpi/></features>.");
	if (!m->cells)
		fprintf(f,
			" It has no NUMA cell: add <cpu><numa><cell id='0' cpus='0-%" PRIu64
			"' memory='%" PRIu64 "' unit='KiB'/></numa></cpu>.",
			m->vcpus ? m->vcpus - 1 : 0, m->memory_bytes / KIB);
	if ((mem->block || mem->virtio_mem) && m->no_port)
		fprintf(f,
			" It has no free PCI port: add <controller type='pci' model='pcie-root-port'/>.");
	if (!m->nvdimm && !mem->block && !mem->ram)
		fprintf(f,
			" It was started without nvdimm support: add a small nvdimm, which turns "
			"it on, with a 2 MiB file of its own: "
			"<memory model='nvdimm' access='shared'><source><path>FILE</path></source>"
			"<target><size unit='MiB'>2</size><node>0</node></target></memory>.");
}

/* What no other definition of the machine mends. */
static void lack_region(FILE *f, const Machine *m, const VirtMemory *mem)
{
	if (m->path_used)
		fprintf(f, " A memory device of it uses %s already.", mem->path);
	if (m->alias_used)
		fprintf(f, " A memory device of it is named %s already.", mem->alias);
	if (mem->size_bytes % MIB || !mem->size_bytes)
		fprintf(f,
			" The region has %" PRIu64 " bytes, which is no multiple of 1 MiB: "
			"libvirt would round up past its end. Make it again with a size that is.",
			mem->size_bytes);
	else if (!memory_valid(mem))
		fprintf(f,
			" The region's path, alignment (%" PRIu64
			" bytes) or alias is nothing that libvirt could be given unchanged.",
			mem->align_bytes);
}

static int lacks(const Machine *m, const VirtMemory *mem, char **ret)
{
	_cleanup_free_ char *mend = NULL, *final = NULL;
	size_t n_mend = 0, n_final = 0;
	char *why;
	FILE *f;

	f = open_memstream(&mend, &n_mend);
	if (!f)
		return -ENOMEM;
	lack_machine(f, m, mem);
	lack_memory_space(f, m, mem);
	if (fclose(f) != 0)
		return -ENOMEM;
	f = open_memstream(&final, &n_final);
	if (!f)
		return -ENOMEM;
	lack_region(f, m, mem);
	if (fclose(f) != 0)
		return -ENOMEM;
	if (!n_mend && !n_final)
		return 0;
	if (asprintf(&why, "The running machine cannot take this %s.%s%s%s", model_of(mem), final,
		    mend,
		    n_mend ? " (virsh edit, then shut the machine off and start it again.)" : "") <
		0)
		return -ENOMEM;
	*ret = why;
	return VIRT_UNSUITED;
}

static int pinned(const char *by, char **ret_why)
{
	char *why;

	if (asprintf(&why,
		    "The machine has %s, so the region could not be taken back by force: "
		    "lease it to a machine without.",
		    by) < 0)
		return -ENOMEM;
	*ret_why = why;
	return VIRT_PINNED;
}

int virt_xml_suited(const char *text, const VirtMemory *mem, char **ret_why)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root;
	Machine m = {0};
	int r;

	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	if (!xml_is_live(root))
		return VIRT_NOT_RUNNING;
	r = read_machine(root, mem, &m);
	if (r < 0)
		return r;
	r = lacks(&m, mem, ret_why);
	if (r != 0 || !m.pinned_by)
		return r;
	return pinned(m.pinned_by, ret_why);
}

static bool is_of(xmlNode *memory, const VirtMemory *mem)
{
	xmlNode *source = xml_child(memory, "source");
	char node[16];

	if (!mem->ram)
		return xml_text_is(xml_child(source, "path"), mem->path);
	(void)snprintf(node, sizeof(node), "%d", mem->node);
	return xml_attribute_is(memory, "model", model_of(mem)) &&
	       xml_text_is(xml_child(source, "nodemask"), node);
}

static xmlNode *find_device(xmlNode *root, const VirtMemory *mem)
{
	xmlNode *devices = xml_child(root, "devices");

	for (xmlNode *n = xml_child(devices, "memory"); n; n = xml_sibling(n, "memory"))
		if ((!mem->alias[0] ||
			    xml_attribute_is(xml_child(n, "alias"), "name", mem->alias)) &&
			is_of(n, mem))
			return n;
	return NULL;
}

static bool has_device(xmlNode *root, const VirtMemory *mem)
{
	return find_device(root, mem) != NULL;
}

/* --- its agent --- */

/* libvirt writes guest-physical addresses in hexadecimal (conf/domain_conf.c). */
static bool read_base(xmlNode *address, uint64_t *ret)
{
	_cleanup_xmlstr_ xmlChar *base = xml_attribute(address, "base");
	char *end;

	if (!base || strncmp((const char *)base, "0x", 2) != 0)
		return false;
	errno = 0;
	*ret = strtoull((const char *)base, &end, 16);
	return errno == 0 && !*end;
}

/* org.qemu.guest_agent.0 is the name that libvirt and the agent have agreed on
 * (libvirt formatdomain, "Channel"). */
static void read_channel(xmlNode *root, AgentDevice *d)
{
	xmlNode *devices = xml_child(root, "devices");

	for (xmlNode *n = xml_child(devices, "channel"); n; n = xml_sibling(n, "channel")) {
		xmlNode *target = xml_child(n, "target");

		if (!xml_attribute_is(target, "name", "org.qemu.guest_agent.0"))
			continue;
		d->channel = true;
		d->connected = xml_attribute_is(target, "state", "connected");
	}
}

int virt_xml_agent(const char *text, const VirtMemory *mem, AgentDevice *ret)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	AgentDevice d = {.size_bytes = mem ? mem->size_bytes : 0};
	xmlNode *root, *device;
	int r;

	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	device = mem ? find_device(root, mem) : NULL;
	if (!xml_is_live(root) || (mem && !device))
		return -ENOENT;
	/* Of an nvdimm its slot's; of a virtio-pmem its memory's, which libvirt tells since 9.4. */
	d.has_address = read_base(xml_child(device, "address"), &d.address) ||
			read_base(xml_child(xml_child(device, "target"), "address"), &d.address);
	read_channel(root, &d);
	*ret = d;
	return 0;
}

/* --- where a dimm goes --- */

/* QEMU reserves as much behind each slot for alignment (hw/i386/pc.c, device memory); guests of
 * less than 64 GiB have blocks of 128 MiB, and no known one more than 2 GiB. */
#define PLACE_ALIGN_BYTES (1ULL << 30)

int virt_xml_place(const char *text, VirtMemory *mem)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	uint64_t used = 0, end = 0;
	xmlNode *root, *devices;
	int r;

	mem->has_place = false;
	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	devices = xml_child(root, "devices");
	for (xmlNode *n = xml_child(devices, "memory"); n; n = xml_sibling(n, "memory")) {
		xmlNode *address = xml_child(n, "address"), *target = xml_child(n, "target");
		_cleanup_xmlstr_ xmlChar *text_slot = xml_attribute(address, "slot");
		uint64_t base, size, slot = 0;

		/* Those on PCI have it at their target, since libvirt 9.4. */
		if (!read_base(has_slot(n) ? address : xml_child(target, "address"), &base))
			continue;
		if (xml_read_size(xml_child(target, "size"), &size) < 0)
			return -EBADMSG;
		if (has_slot(n) && (xml_read_number(text_slot, &slot) < 0 || slot >= 64))
			return -EBADMSG;
		if (has_slot(n))
			used |= 1ULL << slot;
		if (with_room(base, size) > end)
			end = with_room(base, size);
	}
	if (end == 0)
		/* The first one lies at the beginning, which QEMU has aligned. */
		return 0;
	if (end > UINT64_MAX - PLACE_ALIGN_BYTES || used == UINT64_MAX)
		return -EBADMSG;
	mem->base_bytes = (end + PLACE_ALIGN_BYTES - 1) / PLACE_ALIGN_BYTES * PLACE_ALIGN_BYTES;
	mem->slot = (uint64_t)__builtin_ctzll(~used);
	mem->has_place = true;
	return 0;
}

/* --- what a guest has of a virtio-mem --- */

static int read_plugged(xmlNode *device, VirtPlugged *ret)
{
	xmlNode *target = xml_child(device, "target");
	VirtPlugged p = {.attached = true};

	if (xml_read_size(xml_child(target, "size"), &p.size_bytes) < 0 ||
		xml_read_size(xml_child(target, "requested"), &p.requested_bytes) < 0 ||
		xml_read_size(xml_child(target, "current"), &p.current_bytes) < 0)
		return -EBADMSG;
	*ret = p;
	return 0;
}

int virt_xml_plugged(const char *text, const VirtMemory *mem, VirtPlugged *ret)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root, *device;
	int r;

	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	device = xml_is_live(root) ? find_device(root, mem) : NULL;
	if (device)
		return read_plugged(device, ret);
	*ret = (VirtPlugged){};
	return 0;
}

int virt_xml_resized(const char *text, const VirtMemory *mem, uint64_t want_bytes, char **ret)
{
	_cleanup_buffer_ xmlBuffer *buffer = NULL;
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root, *device, *requested;
	char kib[32], *copy;
	int r;

	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	device = find_device(root, mem);
	requested = xml_child(xml_child(device, "target"), "requested");
	if (!requested)
		return -EBADMSG;
	(void)snprintf(kib, sizeof(kib), "%" PRIu64, want_bytes / KIB);
	xmlNodeSetContent(requested, (const xmlChar *)kib);
	buffer = xmlBufferCreate();
	if (!buffer ||
		xmlSetProp(requested, (const xmlChar *)"unit", (const xmlChar *)"KiB") == NULL ||
		xmlNodeDump(buffer, doc, device, 0, 0) < 0)
		return -ENOMEM;
	copy = strdup((const char *)xmlBufferContent(buffer));
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

int virt_xml_has_node(const char *capabilities, int node, bool *ret)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root, *cells;
	char id[16];
	int r;

	r = xml_parse(capabilities, "capabilities", &doc, &root);
	if (r < 0)
		return r;
	(void)snprintf(id, sizeof(id), "%d", node);
	cells = xml_child(xml_child(xml_child(root, "host"), "topology"), "cells");
	*ret = false;
	for (xmlNode *n = xml_child(cells, "cell"); n; n = xml_sibling(n, "cell"))
		*ret = *ret || xml_attribute_is(n, "id", id);
	return 0;
}

int virt_xml_has_device(const char *text, const VirtMemory *mem, bool *ret)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root;
	int r;

	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	*ret = xml_is_live(root) && has_device(root, mem);
	return 0;
}

int virt_xml_defines(const char *text, const VirtMemory *mem, bool *ret)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root;
	int r;

	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	*ret = has_device(root, mem);
	return 0;
}

int virt_xml_security(const char *capabilities, char *ret, size_t size)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	xmlNode *root, *secmodel;
	char models[256] = "";
	int r;

	r = xml_parse(capabilities, "capabilities", &doc, &root);
	if (r < 0)
		return r;
	for (secmodel = xml_child(xml_child(root, "host"), "secmodel"); secmodel;
		secmodel = xml_sibling(secmodel, "secmodel")) {
		xmlNode *model = xml_child(secmodel, "model");
		_cleanup_xmlstr_ xmlChar *name = model ? xmlNodeGetContent(model) : NULL;
		size_t n = strlen(models);

		if (!name || !*name || n + strlen((const char *)name) + 2 > sizeof(models))
			continue;
		(void)snprintf(
			models + n, sizeof(models) - n, "%s%s", n ? " " : "", (const char *)name);
	}
	(void)snprintf(ret, size, "%s", models);
	return 0;
}

int virt_xml_pinned(const char *text, char **ret_why)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	const char *by;
	xmlNode *root;
	int r;

	r = xml_parse_domain(text, &doc, &root);
	if (r < 0)
		return r;
	by = xml_is_live(root) ? xml_pinned_by(root) : NULL;
	return by ? pinned(by, ret_why) : 0;
}

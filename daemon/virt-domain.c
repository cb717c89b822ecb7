/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The calls on domains, and what libvirt's errors mean. Each call uses one connection from its
 * beginning to its end.
 */

#include "util.h"
#include "virt-internal.h"
#include "virt-xml.h"

void virt_call_end(VirtCall *c)
{
	if (c->dom)
		(void)virDomainFree(c->dom);
	virt_return(&c->loan);
}

int virt_outcome(int r, char **ret_why, const char *format, ...)
{
	char *why = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&why, format, ap) < 0)
		why = NULL;
	va_end(ap);
	*ret_why = why;
	return r;
}

int virt_call_error(VirtCall *c, char **ret_why)
{
	virErrorPtr e = virSaveLastError();
	const char *message = e && e->message ? e->message : "unknown error";
	int code = e ? e->code : VIR_ERR_OK, r;

	if (virConnectIsAlive(c->loan.conn) == 0 || (e && e->domain == VIR_FROM_RPC) ||
		code == VIR_ERR_INVALID_CONN || code == VIR_ERR_NO_CONNECT) {
		virt_broken(&c->loan);
		r = virt_outcome(
			VIRT_UNAVAILABLE, ret_why, "The connection to libvirt broke: %s.", message);
	} else if (code == VIR_ERR_NO_DOMAIN) {
		r = virt_outcome(
			VIRT_NO_DOMAIN, ret_why, "libvirt knows no such domain: %s.", message);
	} else if (code == VIR_ERR_OPERATION_TIMEOUT) {
		r = virt_outcome(VIRT_BUSY, ret_why,
			"libvirt waited for another operation on the domain, and gave up: %s. "
			"Try again.",
			message);
	} else {
		r = virt_outcome(VIRT_REFUSED, ret_why, "libvirt refused: %s.", message);
	}
	virFreeError(e);
	return r;
}

static int call_connect(VirtCall *c, Virt *v, char **ret_why)
{
	if (virt_borrow(v, &c->loan))
		return 0;
	return virt_outcome(VIRT_UNAVAILABLE, ret_why,
		"libvirt is not connected. Is its daemon (libvirtd or virtqemud) running? "
		"It is connected to as soon as it answers.");
}

int virt_call_begin(VirtCall *c, Virt *v, const char *uuid, char **ret_why)
{
	int r;

	r = call_connect(c, v, ret_why);
	if (r != 0)
		return r;
	c->dom = virDomainLookupByUUIDString(c->loan.conn, uuid);
	return c->dom ? 0 : virt_call_error(c, ret_why);
}

int virt_not_running(char **ret_why)
{
	return virt_outcome(
		VIRT_NOT_RUNNING, ret_why, "The domain is not running: start it (virsh start).");
}

int virt_call_xml(VirtCall *c, char **ret_xml, char **ret_why)
{
	char *xml = virDomainGetXMLDesc(c->dom, 0);

	if (!xml)
		return virt_call_error(c, ret_why);
	*ret_xml = xml;
	return 0;
}

int virt_unreadable(char **ret_why)
{
	return virt_outcome(VIRT_REFUSED, ret_why,
		"libvirt's description of the domain cannot be read (virsh dumpxml shows it).");
}

/* --- which domain --- */

static bool looks_like_uuid(const char *s)
{
	for (size_t i = 0; i < VIR_UUID_STRING_BUFLEN - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !strchr("0123456789abcdefABCDEF", s[i]) || !s[i])
			return false;
	}
	return !s[VIR_UUID_STRING_BUFLEN - 1];
}

/* A domain may be named like another's UUID: the UUID goes first, as everywhere in libvirt. */
static int find(VirtCall *c, const char *domain, char **ret_why)
{
	if (looks_like_uuid(domain)) {
		c->dom = virDomainLookupByUUIDString(c->loan.conn, domain);
		if (c->dom)
			return 0;
		if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN)
			return virt_call_error(c, ret_why);
	}
	c->dom = virDomainLookupByName(c->loan.conn, domain);
	return c->dom ? 0 : virt_call_error(c, ret_why);
}

/* Finds it, and fills its name and UUID in. */
static int call_find(VirtCall *c, Virt *v, const char *domain, VirtDomain *ret, char **ret_why)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	int r;

	if (!*domain || strlen(domain) >= PML_NAME_LEN)
		return virt_outcome(VIRT_NO_DOMAIN, ret_why,
			"A domain's name or UUID has 1 to %d bytes.", PML_NAME_LEN - 1);
	r = call_connect(c, v, ret_why);
	if (r != 0)
		return r;
	r = find(c, domain, ret_why);
	if (r != 0)
		return r;
	if (virDomainGetUUIDString(c->dom, uuid) < 0)
		return virt_call_error(c, ret_why);
	if (PML_STRCPY(ret->uuid, uuid) < 0 || PML_STRCPY(ret->name, virDomainGetName(c->dom)) < 0)
		return virt_outcome(VIRT_REFUSED, ret_why,
			"The domain's name has more than %d bytes: rename it (virsh domrename).",
			PML_NAME_LEN - 1);
	return 0;
}

static int virt_find(Virt *v, const char *domain, VirtDomain *ret, char **ret_why)
{
	_cleanup_virt_call_ VirtCall c = {0};

	return call_find(&c, v, domain, ret, ret_why);
}

/* --- memory devices --- */

/* libnuma reads the host's nodes when libvirt's daemon starts, and never again. */
static int call_knows_node(VirtCall *c, const VirtMemory *mem, char **ret_why)
{
	_cleanup_free_ char *xml = NULL;
	bool known = false;
	int r;

	if (!mem->ram)
		return 0;
	xml = virConnectGetCapabilities(c->loan.conn);
	if (!xml)
		return virt_call_error(c, ret_why);
	r = virt_xml_has_node(xml, mem->node, &known);
	if (r == -EBADMSG)
		return virt_unreadable(ret_why);
	if (r < 0 || known)
		return r;
	return virt_outcome(VIRT_NODE_UNKNOWN, ret_why,
		"libvirt does not know NUMA node %d, which came after its daemon was started. Restart libvirtd or "
		"virtqemud (systemctl restart libvirtd: machines run on), then lease again.",
		mem->node);
}

static int virt_suited(
	Virt *v, const char *domain, const VirtMemory *mem, VirtDomain *ret, char **ret_why)
{
	_cleanup_free_ char *xml = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	int r;

	r = call_find(&c, v, domain, ret, ret_why);
	/* Its state is in the description: libvirt is asked as seldom as can be, since a guest's
	 * owner waits. */
	if (r == 0)
		r = virt_call_xml(&c, &xml, ret_why);
	if (r != 0)
		return r;
	r = virt_xml_suited(xml, mem, ret_why);
	ret->running = r != VIRT_NOT_RUNNING;
	if (r == 0)
		r = call_knows_node(&c, mem, ret_why);
	if (r == VIRT_NOT_RUNNING)
		return virt_not_running(ret_why);
	return r == -EBADMSG ? virt_unreadable(ret_why) : r;
}

int virt_call_has_device(VirtCall *c, const VirtMemory *mem, bool *ret, char **ret_why)
{
	_cleanup_free_ char *xml = NULL;
	int r;

	r = virt_call_xml(c, &xml, ret_why);
	if (r != 0)
		return r;
	r = virt_xml_has_device(xml, mem, ret);
	return r == -EBADMSG ? virt_unreadable(ret_why) : r;
}

int virt_call_idle(VirtCall *c, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	virDomainControlInfo info;
	int r;

	if (virDomainGetControlInfo(c->dom, &info, 0) < 0) {
		r = virt_call_error(c, &why);
		/* A machine that is off has no job, and is refused the question. */
		if (r == VIRT_REFUSED && virDomainIsActive(c->dom) == 0)
			return 0;
		*ret_why = TAKE_PTR(why);
		return r;
	}
	if (info.state == VIR_DOMAIN_CONTROL_OK || info.state == VIR_DOMAIN_CONTROL_ERROR)
		return 0;
	return virt_outcome(VIRT_AMBIGUOUS, ret_why,
		"libvirt is still busy with another operation on this domain.");
}

static int virt_has_device(
	Virt *v, const char *uuid, const VirtMemory *mem, bool *ret, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	int r;

	r = virt_call_begin(&c, v, uuid, &why);
	if (r == 0)
		r = virt_call_idle(&c, &why);
	if (r == 0)
		r = virt_call_has_device(&c, mem, ret, &why);
	if (r == VIRT_NO_DOMAIN) {
		*ret = false;
		return 0;
	}
	if (r > 0)
		*ret_why = TAKE_PTR(why);
	return r;
}

/*
 * After an error that libvirt answered: does the machine have the device nevertheless? Takes the
 * sentence of that error.
 */
static int attach_failed(VirtCall *c, const VirtMemory *mem, int failed, char **why, char **ret_why)
{
	_cleanup_free_ char *why_not = NULL;
	bool present = false;
	int r;

	r = virt_call_has_device(c, mem, &present, &why_not);
	if (r < 0)
		return r;
	if (r == 0 && present)
		return 0;
	if (r != 0 && r != VIRT_NO_DOMAIN)
		return virt_outcome(VIRT_AMBIGUOUS, ret_why,
			"It is unknown whether the machine has the memory. %s Then: %s",
			*why ? *why : "", why_not ? why_not : "");
	if (r == VIRT_NO_DOMAIN || virDomainIsActive(c->dom) == 0)
		return virt_not_running(ret_why);
	*ret_why = TAKE_PTR(*why);
	return failed;
}

static int make_device(VirtCall *c, const VirtMemory *mem, char **ret_device, char **ret_why)
{
	_cleanup_free_ char *xml = NULL;
	VirtMemory placed = *mem;
	int r;

	if (mem->ram) {
		r = virt_call_xml(c, &xml, ret_why);
		if (r == 0)
			r = virt_xml_place(xml, &placed);
		if (r != 0)
			return r == -EBADMSG ? virt_unreadable(ret_why) : r;
	}
	return virt_xml_make_memory(&placed, ret_device);
}

static int virt_attach(Virt *v, const char *uuid, const VirtMemory *mem, char **ret_why)
{
	_cleanup_free_ char *device = NULL, *why = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	int r;

	r = virt_call_begin(&c, v, uuid, ret_why);
	if (r == 0)
		r = make_device(&c, mem, &device, ret_why);
	if (r != 0)
		return r;
	if (virDomainAttachDeviceFlags(c.dom, device, VIR_DOMAIN_AFFECT_LIVE) == 0)
		return 0;
	r = virt_call_error(&c, &why);
	if (r == VIRT_UNAVAILABLE)
		return virt_outcome(VIRT_AMBIGUOUS, ret_why,
			"It is unknown whether the machine has the memory. %s", why ? why : "");
	return attach_failed(&c, mem, r, &why, ret_why);
}

/* Is it in the stored definition? */
static int call_defines(VirtCall *c, const VirtMemory *mem, bool *ret, char **ret_why)
{
	_cleanup_free_ char *xml = virDomainGetXMLDesc(c->dom, VIR_DOMAIN_XML_INACTIVE);
	int r;

	if (!xml)
		return virt_call_error(c, ret_why);
	r = virt_xml_defines(xml, mem, ret);
	return r == -EBADMSG ? virt_unreadable(ret_why) : r;
}

static int virt_define(Virt *v, const char *uuid, const VirtMemory *mem, bool on, char **ret_why)
{
	_cleanup_free_ char *device = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	bool defined = false;
	int r;

	r = virt_xml_make_memory(mem, &device);
	if (r < 0)
		return r;
	r = virt_call_begin(&c, v, uuid, ret_why);
	if (r == 0 && virDomainIsPersistent(c.dom) == 0)
		return on ? virt_outcome(VIRT_REFUSED, ret_why,
				    "The domain is transient: libvirt keeps no definition of it.")
			  : 0;
	if (r == 0)
		r = call_defines(&c, mem, &defined, ret_why);
	if (r != 0 || defined == on)
		return r;
	r = on ? virDomainAttachDeviceFlags(c.dom, device, VIR_DOMAIN_AFFECT_CONFIG)
	       : virDomainDetachDeviceFlags(c.dom, device, VIR_DOMAIN_AFFECT_CONFIG);
	return r < 0 ? virt_call_error(&c, ret_why) : 0;
}

static int virt_pinned(
	Virt *v, const char *uuid, char ret_name[static PML_NAME_LEN], char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	_cleanup_free_ char *xml = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	int r;

	r = virt_call_begin(&c, v, uuid, &why);
	if (r == 0)
		r = virt_call_xml(&c, &xml, &why);
	if (r == VIRT_NO_DOMAIN) {
		ret_name[0] = '\0';
		return 0;
	}
	if (r != 0) {
		*ret_why = TAKE_PTR(why);
		return r;
	}
	r = virt_xml_pinned(xml, ret_why);
	if (r == -EBADMSG)
		return virt_unreadable(ret_why);
	/* One that is too long for us is no name. */
	if ((r == 0 || r == VIRT_PINNED) &&
		pml_strcpy(ret_name, PML_NAME_LEN, virDomainGetName(c.dom)) < 0)
		ret_name[0] = '\0';
	return r;
}

/* --- pause and destroy --- */

/* Is there no process (any more), or none whose processors run? Errors say nothing. */
static bool at_rest(VirtCall *c, bool paused_too)
{
	int state;

	if (virDomainGetState(c->dom, &state, NULL, 0) < 0)
		return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
	return state == VIR_DOMAIN_SHUTOFF || (paused_too && state == VIR_DOMAIN_PAUSED);
}

static int virt_pause(
	Virt *v, const char *uuid, void (*before)(void *data), void *data, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	int r;

	r = virt_call_begin(&c, v, uuid, &why);
	if (r == 0) {
		if (at_rest(&c, false))
			return 0;
		/* The state is a call of its own: libvirt may have gone silent since. */
		if (virGetLastErrorCode() != VIR_ERR_OK)
			r = virt_call_error(&c, &why);
	}
	if (r == VIRT_NO_DOMAIN)
		return 0;
	if (r == 0) {
		if (before)
			before(data);
		if (virDomainSuspend(c.dom) == 0)
			return 0;
		r = virt_call_error(&c, &why);
		if (r != VIRT_UNAVAILABLE && at_rest(&c, true))
			return 0;
	}
	*ret_why = TAKE_PTR(why);
	return r;
}

static int virt_destroy(Virt *v, const char *uuid, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	int r;

	r = virt_call_begin(&c, v, uuid, &why);
	if (r == 0) {
		if (virDomainDestroyFlags(c.dom, VIR_DOMAIN_DESTROY_DEFAULT) == 0)
			return 0;
		r = virt_call_error(&c, &why);
		if (r != VIRT_UNAVAILABLE && at_rest(&c, false))
			return 0;
	}
	if (r == VIRT_NO_DOMAIN)
		return 0;
	*ret_why = TAKE_PTR(why);
	return r;
}

const VirtOps virt_libvirt_ops = {
	.start = virt_start,
	.free = virt_free,
	.connected = virt_connected,
	.find = virt_find,
	.suited = virt_suited,
	.attach = virt_attach,
	.has_device = virt_has_device,
	.define = virt_define,
	.pinned = virt_pinned,
	.pause = virt_pause,
	.destroy = virt_destroy,
	.release = virt_release,
	.agent = virt_agent,
	.resize = virt_resize,
	.host = virt_host,
};

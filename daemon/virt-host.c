/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What libvirt says of itself and of the host. */

#include "util.h"
#include "virt-internal.h"
#include "virt-xml.h"

static int failed(VirtLoan *loan, char **ret_why)
{
	virErrorPtr e = virGetLastError();

	*ret_why = strdup(e && e->message ? e->message : "unknown error");
	if (virConnectIsAlive(loan->conn) == 0)
		virt_broken(loan);
	return VIRT_UNAVAILABLE;
}

int virt_host(Virt *v, VirtHost *ret, char **ret_why)
{
	_cleanup_(virt_return) VirtLoan loan = {};
	_cleanup_free_ char *capabilities = NULL;
	VirtHost host = {};
	unsigned long version;
	int r;

	*ret_why = NULL;
	if (!virt_borrow(v, &loan))
		return VIRT_UNAVAILABLE;
	/* of the daemon at the other end, not of the library here */
	if (virConnectGetLibVersion(loan.conn, &version) < 0)
		return failed(&loan, ret_why);
	host.version = (unsigned)version;
	capabilities = virConnectGetCapabilities(loan.conn);
	if (!capabilities)
		return failed(&loan, ret_why);
	r = virt_xml_security(capabilities, host.security, sizeof(host.security));
	if (r < 0)
		return r;
	*ret = host;
	return 0;
}

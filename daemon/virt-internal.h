/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What virt.c (connections and events) gives to virt-domain.c (calls on domains); for virt*.c only.
 *
 * One connection brings the events; it alone decides what is CONNECTED. Calls are made on others,
 * each by one thread at a time, for two reasons. libvirt's daemon stops reading from a client that
 * has max_client_requests unanswered (libvirtd.conf; 5), and an attach to a frozen machine is not
 * answered: a pause would queue behind five of those. And when keepalive finds the daemon dead,
 * only one of the threads that wait on a connection is woken (libvirt 9.0 to 11.3,
 * rpc/virnetclient.c: who is passed the buck sleeps in g_main_loop_run() without a timeout).
 */

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "virt.h"

int virt_start(void *userdata, Executors *x, const char *uri,
	void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret);
Virt *virt_free(Virt *v);
bool virt_connected(Virt *v);
int virt_host(Virt *v, VirtHost *ret, char **ret_why); /* virt-host.c */

/* A connection that is lent to one call. */
typedef struct VirtLoan {
	Virt *virt; /* counted: a call in libvirt outlives virt_free() */
	virConnectPtr conn;
	uint64_t generation; /* of the events' connection that it was lent under */
} VirtLoan;

/* False: not connected. Waits only while another connection is being made, and not for long. */
bool virt_borrow(Virt *v, VirtLoan *ret);

/* Takes an empty loan, and leaves one. */
void virt_return(VirtLoan *loan);

/*
 * A call found its connection broken. Everything is connected anew, so that DISCONNECTED and
 * CONNECTED follow on every VIRT_UNAVAILABLE.
 */
void virt_broken(VirtLoan *loan);

/* One call on one domain. Its parts go in reverse order; all may be missing. */
typedef struct VirtCall {
	VirtLoan loan;
	virDomainPtr dom;
} VirtCall;

void virt_call_end(VirtCall *c);
#define _cleanup_virt_call_ _cleanup_(virt_call_end)
/* Fills in the domain of this UUID. Each of these: 0, a positive outcome and its sentence, negative
 * errno. */
int virt_call_begin(VirtCall *c, Virt *v, const char *uuid, char **ret_why);
/* *ret_xml: its live description, malloc-ed. */
int virt_call_xml(VirtCall *c, char **ret_xml, char **ret_why);
int virt_call_has_device(VirtCall *c, const VirtMemory *mem, bool *ret, char **ret_why);
/*
 * An attach of an earlier connection may still be running inside libvirt, and is not in the XML
 * before its end; it has the domain's job (libvirt src/qemu/qemu_driver.c
 * qemuDomainGetControlInfo()). To be asked before the XML is read. VIRT_AMBIGUOUS: it is.
 */
int virt_call_idle(VirtCall *c, char **ret_why);
/*
 * What the last error of this thread means. An error of libvirt's RPC layer leaves open what
 * became of the call, whether or not the connection has been found dead yet.
 */
int virt_call_error(VirtCall *c, char **ret_why);
int virt_not_running(char **ret_why);
int virt_unreadable(char **ret_why);
/* r, with a sentence; one that could not be made is NULL: the outcome matters more. */
int virt_outcome(int r, char **ret_why, const char *format, ...)
	__attribute__((__format__(printf, 3, 4)));

/* virt-release.c: as VirtOps has them. */
int virt_release(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t timeout_usec,
	VirtRelease *release, char **ret_why);
int virt_agent(Virt *v, const char *uuid, char **ret_why);
int virt_resize(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t want_bytes,
	VirtPlugged *ret, char **ret_why);

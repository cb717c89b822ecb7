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

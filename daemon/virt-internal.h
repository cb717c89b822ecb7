/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What virt.c (connections and events) gives to virt-domain.c (calls on domains); for virt*.c only.
 *
 * There are two connections. libvirt's daemon stops reading from a client that has as many
 * requests unanswered as max_client_requests (5 by default, libvirtd.conf), and an attach to a
 * frozen machine is not answered: pause and destroy would queue behind five of those. They have a
 * connection of their own.
 */

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "virt.h"

typedef enum VirtLinkKind {
	VIRT_LINK_MAIN, /* its events are the daemon's; it alone is CONNECTED and DISCONNECTED */
	VIRT_LINK_URGENT,
	_VIRT_LINK_MAX,
} VirtLinkKind;

int virt_start(void *userdata, Executors *x, const char *uri,
	void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret);
Virt *virt_free(Virt *v);
bool virt_connected(Virt *v);

/* A call in libvirt outlives its Virt's virt_free(). */
Virt *virt_ref(Virt *v);
Virt *virt_unref(Virt *v);

/* The connection, with a reference for the caller to give back by virConnectClose(); or NULL. */
virConnectPtr virt_link_get(Virt *v, VirtLinkKind kind);

/* A call has found the connection broken: it is given up and made again. */
void virt_link_lost(Virt *v, virConnectPtr conn);

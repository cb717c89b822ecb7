/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel's own uevents (netlink group 1), not udevd's: a removal is heard when it happens, not
 * behind udevd's queue. Any event of the subsystems dax and nd has the host scanned again, of block
 * too where block devices are regions; a lost one (overflow) too.
 */

#include "manager.h"

int uevent_start(Manager *m);
void uevent_stop(Manager *m);
/* Is this message one that the host must be scanned for. Pure; buf is the datagram as the kernel
 * sends it. block: block devices are regions here. */
bool uevent_concerns_us(const char *buf, size_t n, bool block);

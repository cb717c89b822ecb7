/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "proof.h"

/*
 * The kernel refuses the files of an earlier binding, but who can open the device anew gets the
 * next one: libvirt gives each machine a /dev of its own with a node of its device. Takes that node
 * away from every process that the proof names. EXEC_WORK.
 *
 * A descriptor that a process keeps still leads to the node, by /proc/self/fd: that way is not
 * closed here.
 *
 * 0: none of them can open it by that name again. -EXDEV: one of them uses the host's own /dev,
 * whose node stays; other errno: one could not be looked at.
 */
int withdraw_nodes(const PmlRegion *host, const PmlProof *proof);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "proof.h"

/*
 * The kernel refuses the files of an earlier binding, but who can open the device anew gets the
 * next one: libvirt gives each machine a /dev of its own with a node of its device. Takes that node
 * away from every process that the proof names, and from itself: a descriptor that a process keeps
 * leads back to the node (proc(5), /proc/PID/fd), so it becomes nobody's, with mode 0. That holds
 * for descriptors of it that nobody has seen, too. EXEC_WORK.
 *
 * 0: none of them can open it again, but one with capabilities that no QEMU is given. -EXDEV: one
 * of them uses the host's own /dev, whose node stays; other errno: one could not be looked at.
 */
int withdraw_nodes(const PmlRegion *host, const PmlProof *proof);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A libvirt that is a directory, so that a test scripts it from outside:
 *   UUID           a domain: NAME running|paused|off
 *   UUID.devices   the aliases that it has, a line each
 *   OP.result      what the call OP answers: a number (VIRT_… or -errno) and a sentence
 *   OP.hang        a FIFO: the call waits until somebody opens it for writing
 *   calls          the calls made, a line each (written here)
 *   events         a FIFO that is read here: "connected", "disconnected", "stopped UUID"
 * OP: find suited attach has_device define undefine pinned pause destroy release agent. A libvirt
 * without the file `down` is connected from the start.
 */

#include "virt.h"

extern const VirtOps fake_virt_ops;
void fake_virt_use(sd_event *event, const char *dir);

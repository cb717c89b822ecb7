/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A host that is a directory, so that a test changes it from outside:
 *   regions        a region a line: NAME UUID START SIZE MAJOR MINOR (numbers as C writes them)
 *   NAME.binding   the driver; not there: device_dax
 * The device number may be one of a real character device: a process that has that open is then a
 * holder, for the real proof.
 */

#include "dax.h"
#include "inventory.h"

void fake_host_use(const char *dir);
int fake_host_scan(PmlInventory **ret);
extern const PmlDaxOps fake_dax_ops;

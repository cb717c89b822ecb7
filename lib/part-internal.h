/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Of part.c, for its test. */

#include "part.h"

/* "nmem0" "region0" "node1"; *ret_node -1 but for a node. 0 or -EINVAL. */
int part_parse(const char *name, PmlPartKind *ret_kind, int *ret_node);

/* The locator of the memory device with this SMBIOS handle, below a directory as
 * /sys/firmware/dmi/entries; *ret is malloc-ed. 0, -ENOENT, or what open() says. */
int part_slot(int entries_fd, uint16_t handle, char **ret);

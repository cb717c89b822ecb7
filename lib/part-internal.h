/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Of part.c, for its test. */

#include "part.h"
#include "util.h"

struct ndctl_ctx;

/* "nmem0" "region0" "node1"; *ret_node -1 but for a node. 0 or -EINVAL. */
int part_parse(const char *name, PmlPartKind *ret_kind, int *ret_node);

/* The locator of the memory device with this SMBIOS handle, below a directory as
 * /sys/firmware/dmi/entries; *ret is malloc-ed. 0, -ENOENT, or what open() says. */
int part_slot(int entries_fd, uint16_t handle, char **ret);

/* A context of libndctl that says nothing by itself; the caller's. 0 or negative errno. */
int part_context(struct ndctl_ctx **ret);
struct ndctl_ctx *ndctl_unref(struct ndctl_ctx *ctx); /* libndctl.h's */
DEFINE_CLEANUP(struct ndctl_ctx *, ndctl_unref)
#define _cleanup_ndctl_ _cleanup_(ndctl_unrefp)

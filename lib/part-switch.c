/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Disabling and enabling one namespace, which is found again by who it is. */

#include <daxctl/libdaxctl.h>
#include <ndctl/libndctl.h>
#include <string.h>

#include "part-internal.h"
#include "util.h"

/* Names are given again. */
static bool is_same_namespace(struct ndctl_namespace *ndns, const PmlPartNamespace *seen)
{
	uuid_t uuid = {};

	ndctl_namespace_get_uuid(ndns, uuid);
	return memcmp(uuid, seen->uuid, sizeof(seen->uuid)) == 0 &&
	       ndctl_namespace_get_size(ndns) == seen->size_bytes &&
	       ndctl_namespace_get_resource(ndns) == seen->start_bytes;
}

static bool has_bound_dax(struct ndctl_namespace *ndns)
{
	struct ndctl_dax *dax = ndctl_namespace_get_dax(ndns);
	struct daxctl_region *region = dax ? ndctl_dax_get_daxctl_region(dax) : NULL;
	struct daxctl_dev *dev;

	if (!region)
		return false;
	daxctl_dev_foreach(region, dev)
	{
		if (daxctl_dev_is_enabled(dev))
			return true;
	}
	return false;
}

static int disable(struct ndctl_namespace *ndns)
{
	int r;

	if (has_bound_dax(ndns))
		return -EBUSY;
	r = ndctl_namespace_disable_safe(ndns);
	/* Positive: it was disabled already. */
	return r > 0 ? 0 : r;
}

static int enable(struct ndctl_namespace *ndns)
{
	int r = ndctl_namespace_enable(ndns);

	/* Positive: the device that the kernel made of it has it now. */
	return r > 0 ? 0 : r;
}

static int with_namespace(const PmlPartNamespace *seen, int (*act)(struct ndctl_namespace *ndns))
{
	_cleanup_ndctl_ struct ndctl_ctx *ctx = NULL;
	struct ndctl_namespace *ndns;
	struct ndctl_region *region;
	struct ndctl_bus *bus;
	int r;

	r = part_context(&ctx);
	if (r < 0)
		return r;
	ndctl_bus_foreach(ctx, bus) ndctl_region_foreach(bus, region)
		ndctl_namespace_foreach(region, ndns)
	{
		if (strcmp(ndctl_namespace_get_devname(ndns), seen->name) == 0)
			return is_same_namespace(ndns, seen) ? act(ndns) : -ESTALE;
	}
	return -ENODEV;
}

int pml_part_disable_namespace(const PmlPartNamespace *seen)
{
	return with_namespace(seen, disable);
}

int pml_part_enable_namespace(const PmlPartNamespace *seen)
{
	return with_namespace(seen, enable);
}

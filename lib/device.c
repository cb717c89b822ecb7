/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The operations of dax.h for regions of every kind: each by what its kind is. */

#include "bdev.h"
#include "dax.h"
#include "util.h"

static bool is_block(const PmlRegion *r)
{
	return pml_region_kind(r) == PML_KIND_BDEV;
}

static int device_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	return is_block(r) ? pml_bdev_binding(r, ret) : pml_dax_ops.binding(userdata, r, ret);
}

static int device_unbind(void *userdata, const PmlRegion *r)
{
	return is_block(r) ? -EOPNOTSUPP : pml_dax_ops.unbind(userdata, r);
}

static int device_unbind_emptied(void *userdata, const PmlRegion *r)
{
	return is_block(r) ? -EOPNOTSUPP : pml_dax_ops.unbind_emptied(userdata, r);
}

static int device_bind(void *userdata, const PmlRegion *r)
{
	PmlBinding binding;

	return is_block(r) ? pml_bdev_binding(r, &binding) : pml_dax_ops.bind(userdata, r);
}

static int device_open(void *userdata, const PmlRegion *r, int *ret_fd)
{
	return is_block(r) ? pml_bdev_open(r, ret_fd) : pml_dax_ops.open(userdata, r, ret_fd);
}

static int device_module_refs(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file)
{
	return pml_dax_ops.module_refs(userdata, ret_refs, ret_per_file);
}

static int device_revocation(void *userdata, const PmlRegion *r, PmlRevocation *ret)
{
	return is_block(r) ? -EOPNOTSUPP : pml_dax_ops.revocation(userdata, r, ret);
}

static int device_revoke(
	void *userdata, const PmlRegion *r, uint64_t timeout_usec, PmlRevocation *ret)
{
	return is_block(r) ? -EOPNOTSUPP : pml_dax_ops.revoke(userdata, r, timeout_usec, ret);
}

static int device_claim(void *userdata, const PmlRegion *r, int *ret_fd)
{
	return is_block(r) ? pml_bdev_claim(r, ret_fd) : -EOPNOTSUPP;
}

static int device_drop_cache(void *userdata, const PmlRegion *r, uint64_t *ret_left_bytes)
{
	return is_block(r) ? pml_bdev_drop_cache(r, ret_left_bytes) : -EOPNOTSUPP;
}

static int device_ram(void *userdata, const PmlRegion *r, PmlRam *ret)
{
	return is_block(r) ? -ENODATA : pml_dax_ops.ram(userdata, r, ret);
}

static int device_bind_ram(void *userdata, const PmlRegion *r)
{
	return is_block(r) ? -EOPNOTSUPP : pml_dax_ops.bind_ram(userdata, r);
}

static int device_populate(
	void *userdata, const PmlRegion *r, pid_t pid, uint64_t start_ticks, uint64_t deadline_usec)
{
	return is_block(r) ? -EOPNOTSUPP
			   : pml_dax_ops.populate(userdata, r, pid, start_ticks, deadline_usec);
}

const PmlDaxOps pml_device_ops = {
	.binding = device_binding,
	.unbind = device_unbind,
	.unbind_emptied = device_unbind_emptied,
	.bind = device_bind,
	.open = device_open,
	.module_refs = device_module_refs,
	.revocation = device_revocation,
	.revoke = device_revoke,
	.claim = device_claim,
	.drop_cache = device_drop_cache,
	.ram = device_ram,
	.bind_ram = device_bind_ram,
	.populate = device_populate,
};

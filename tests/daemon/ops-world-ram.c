/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The world's memory of the host: four blocks, all movable. */

#include <stdlib.h>

#include "ops-world.h"
#include "util.h"

int world_ram(void *userdata, const PmlRegion *r, PmlRam *ret)
{
	unsigned n = world->kmem ? 4 : 0;

	*ret = (PmlRam){.node = 1,
		.block_bytes = 128 * MIB,
		.n_blocks = n,
		.n_online = n,
		.n_movable = n,
		.auto_online = world->auto_online,
		.demotion = world->demotion,
		.total_bytes = (uint64_t)n * 128 * MIB,
		.free_bytes = (uint64_t)n * 128 * MIB,
		.file_bytes = (uint64_t)world->stray};
	return world->ram ? 0 : -ENODATA;
}

int world_unbind_emptied(void *userdata, const PmlRegion *r)
{
	for (int i = 0; i < 2; i++)
		if (world_holds(i) && world->plugged > 0)
			return -EBUSY;
	world->bound = world->kmem = false;
	world->unbinds++;
	return 0;
}

int world_resize(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t want_bytes,
	VirtPlugged *ret, char **ret_why)
{
	WorldDomain *d = strcmp(uuid, WORLD_A) == 0 ? &world->domains[0] : &world->domains[1];
	long long least;

	if (world->libvirt_down)
		return VIRT_UNAVAILABLE;
	if (d->pid == 0)
		return VIRT_NOT_RUNNING;
	if (want_bytes == VIRT_RESIZE_STAY)
		want_bytes = (uint64_t)world->plugged;
	if (want_bytes != VIRT_RESIZE_LOOK && (long long)want_bytes != world->requested) {
		world->asks++;
		world->requested = (long long)want_bytes;
	}
	least = world->requested > world->floor ? world->requested : world->floor;
	if (world->plugged < world->requested && !world->no_driver)
		world->plugged = (long long)world->requested;
	else if (world->plugged > least && world->plugged - least > world->pace && world->pace)
		world->plugged -= world->pace;
	else if (world->plugged > least)
		world->plugged = least;
	*ret = (VirtPlugged){.attached = d->attached};
	if (d->attached) {
		ret->size_bytes = (uint64_t)world->lent;
		ret->requested_bytes = (uint64_t)world->requested;
		ret->current_bytes = (uint64_t)world->plugged;
	}
	return 0;
}

int world_unplug_parts(char **ret_why)
{
	/* QEMU hw/virtio/virtio-mem.c: not while it has a size, or is to get one. */
	if (world->place_stays || world->plugged > 0 || world->requested > 0) {
		*ret_why = strdup("virtio based memory devices cannot be unplugged.");
		return VIRT_REFUSED;
	}
	world->unplugs++;
	return 0;
}

int world_bind_ram(void *userdata, const PmlRegion *r)
{
	if (world->auto_online)
		return -EPERM;
	if (world->kmem)
		return 0;
	for (int i = 0; i < 2; i++)
		if (world_holds(i))
			world->violations++;
	world->bound = false;
	world->kmem = true;
	world->binds++;
	return 0;
}

int world_populate(
	void *userdata, const PmlRegion *r, pid_t pid, uint64_t start, uint64_t deadline_usec)
{
	return 0;
}

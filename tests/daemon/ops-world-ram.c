/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The world's memory of the host: four blocks, all movable. */

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

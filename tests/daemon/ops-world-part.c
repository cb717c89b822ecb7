/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The world's one DIMM: the region's namespace, and one of the host's own. */

#include <assert.h>

#include "ops-world.h"
#include "util.h"

static char *copy(const char *s)
{
	char *c = strdup(s);

	assert(c);
	return c;
}

const char *world_region_uuid(void)
{
	return world->replaced ? WORLD_REGION_ANEW : WORLD_REGION;
}

int world_scan_part(const char *name, PmlPart **ret)
{
	static const char *const modes[] = {"devdax", "fsdax"}, *const devices[] = {
									"dax0.0", "pmem0.1"};
	PmlPart *p;

	if (strcmp(name, "nmem0") != 0)
		return -ENODEV;
	p = calloc(1, sizeof(*p));
	assert(p);
	*p = (PmlPart){.kind = PML_PART_DIMM, .name = copy(name), .numa_node = -1};
	p->dimms = calloc(1, sizeof(*p->dimms));
	p->namespaces = calloc(2, sizeof(*p->namespaces));
	assert(p->dimms && p->namespaces);
	p->dimms[p->n_dimms++] = (PmlPartDimm){.name = copy(name), .slot = copy("DIMM 3")};
	for (int i = 0; i < 2 && !world->emptied; i++) {
		PmlPartNamespace *ns = &p->namespaces[p->n_namespaces++];

		*ns = (PmlPartNamespace){
			.name = copy(i == 0 ? "namespace0.0" : "namespace0.1"),
			.nd_region = copy("region0"),
			.set = copy("DIMM 3"),
			.map = "",
			.mode = copy(modes[i]),
			.device = copy(world->disabled[i] ? "" : devices[i]),
			.size_bytes = WORLD_BYTES,
			.enabled = !world->disabled[i],
			.obstacles = i == 1 && world->mounted ? PML_OBSTACLE_MOUNTED : 0,
		};
		(void)snprintf(ns->label_id, sizeof(ns->label_id), "%s-%d",
			world->replaced ? "new" : "old", i);
		if (i == 0 && ns->enabled)
			(void)PML_STRCPY(ns->data_id, world_region_uuid());
	}
	*ret = p;
	return 0;
}

int world_disable_namespace(const PmlPartNamespace *seen)
{
	int i = strcmp(seen->name, "namespace0.1") == 0;

	if (i == 1 && world->mounted)
		return -EBUSY;
	/* Nobody is to reach it by then. */
	if (i == 0 && world->bound)
		world->violations++;
	world->disabled[i] = true;
	return 0;
}

int world_enable_namespace(const PmlPartNamespace *seen)
{
	int i = strcmp(seen->name, "namespace0.1") == 0;

	world->disabled[i] = false;
	/* The kernel binds what is there. */
	if (i == 0)
		world->bound = true;
	return 0;
}

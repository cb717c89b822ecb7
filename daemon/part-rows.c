/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "part-rows.h"

#include <inttypes.h>

#include "ops-internal.h"
#include "util.h"

static Region *find_region(Manager *m, const PmlPartNamespace *ns)
{
	Region *r;

	LIST_FOREACH (r, &m->regions, regions)
		if (r->host &&
			(pml_streq(pml_region_namespace(r->host), ns->name) ||
				(ns->device[0] && pml_streq(pml_region_name(r->host), ns->device))))
			return r;
	return NULL;
}

bool part_lease_is_over(const Region *r)
{
	return !r->lease || lease_state(r->lease) == PML_LEASE_FENCED ||
	       lease_state(r->lease) == PML_LEASE_RELEASED;
}

/* *ret NULL: nothing. */
static int region_in_the_way(const Region *r, char **ret)
{
	int n = 0;

	*ret = NULL;
	if (!part_lease_is_over(r) && lease_state(r->lease) != PML_LEASE_STUCK)
		n = asprintf(ret, "%s is leased to domain %s (%s)", region_label(r),
			r->lease->record.domain_name,
			pml_lease_state_to_string(lease_state(r->lease)));
	else if (!part_lease_is_over(r))
		n = asprintf(ret, "%s is stuck: %s", region_label(r), r->record.reason);
	else if (r->record.use == PML_USE_QUARANTINED)
		n = asprintf(ret, "%s is quarantined: %s", region_label(r), r->record.reason);
	else if (r->intruder)
		n = asprintf(ret, "%s is held by %s", region_label(r), r->intruder);
	else if (pml_region_obstacles(r->host) & PML_OBSTACLE_SYSTEM_RAM)
		n = asprintf(ret, "%s is memory of the host itself (system-ram)", region_label(r));
	else if (r->job && r->job->kind != &op_settle_kind)
		n = asprintf(ret, "%s is busy with job %" PRIu64 " (%s)", region_label(r),
			r->job->id, r->job->kind->name);
	return n < 0 ? -ENOMEM : 0;
}

static int namespace_in_the_way(const PmlPartNamespace *ns, char **ret)
{
	static const struct {
		uint32_t obstacle;
		const char *what;
	} table[] = {
		{PML_OBSTACLE_MOUNTED, "is mounted (findmnt shows where)"},
		{PML_OBSTACLE_SWAP, "is swapped on"},
		{PML_OBSTACLE_STACKED, "is below the device mapper or md (lsblk shows it)"},
		{PML_OBSTACLE_EXCLUSIVE, "is in use (lsblk and fuser show by whom)"},
	};

	*ret = NULL;
	if (!ns->enabled)
		return 0;
	for (size_t i = 0; i < ELEMENTSOF(table); i++)
		if (ns->obstacles & table[i].obstacle)
			return asprintf(ret, "%s (%s, /dev/%s) %s", ns->name, ns->mode, ns->device,
				       table[i].what) < 0
				       ? -ENOMEM
				       : 0;
	return asprintf(ret, "%s (%s%s%s) is enabled", ns->name, ns->mode,
		       ns->device[0] ? ", /dev/" : "", ns->device) < 0
		       ? -ENOMEM
		       : 0;
}

static int device_in_the_way(const Region *r, char **ret)
{
	*ret = NULL;
	if (region_is_kept_offline(r) || (r->lease && part_lease_is_over(r)))
		return 0;
	return asprintf(ret, "%s is online", region_label(r)) < 0 ? -ENOMEM : 0;
}

static int add_row(PartRow **rows, size_t *n, const PmlPartNamespace *ns, Region *region)
{
	PartRow *list = reallocarray(*rows, *n + 1, sizeof(*list)), *row;
	int r = 0;

	if (!list)
		return -ENOMEM;
	*rows = list;
	row = &list[(*n)++];
	*row = (PartRow){.ns = ns, .region = region};
	if (region)
		r = region_in_the_way(region, &row->in_the_way);
	if (r >= 0 && !row->in_the_way && ns)
		r = namespace_in_the_way(ns, &row->in_the_way);
	else if (r >= 0 && !row->in_the_way && region)
		r = device_in_the_way(region, &row->in_the_way);
	return r;
}

/* Memory that no nd bus has: CXL's, or what the firmware set aside. */
static bool is_bare(const PmlPart *part, const Region *r)
{
	return part->kind == PML_PART_NODE && r->host && !pml_region_nd_region(r->host) &&
	       pml_region_kind(r->host) != PML_KIND_BDEV &&
	       (pml_region_numa_node(r->host) == part->numa_node ||
		       pml_region_target_node(r->host) == part->numa_node);
}

int part_rows(Manager *m, const PmlPart *part, PartRow **ret, size_t *ret_n)
{
	PartRow *rows = NULL;
	size_t n = 0;
	Region *region;
	int r = 0;

	for (size_t i = 0; i < part->n_namespaces && r >= 0; i++)
		r = add_row(&rows, &n, &part->namespaces[i], find_region(m, &part->namespaces[i]));
	LIST_FOREACH (region, &m->regions, regions)
		if (r >= 0 && is_bare(part, region))
			r = add_row(&rows, &n, NULL, region);
	if (r < 0) {
		part_rows_free(rows, n);
		return r;
	}
	*ret = rows;
	*ret_n = n;
	return 0;
}

void part_rows_free(PartRow *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(rows[i].in_the_way);
	free(rows);
}

char *part_label(const PmlPart *part)
{
	char *s = NULL;
	int n = -1;

	switch (part->kind) {
	case PML_PART_DIMM:
		n = asprintf(&s, "DIMM %s (%s)", part->name,
			part->n_dimms > 0 ? part->dimms[0].slot : "no slot");
		break;
	case PML_PART_SET:
		n = asprintf(&s, "interleave set %s", part->name);
		break;
	case PML_PART_NODE:
		n = asprintf(&s, "node %d", part->numa_node);
		break;
	case _PML_PART_KIND_MAX:
	case _PML_PART_KIND_INVALID:
		break;
	}
	return n < 0 ? NULL : s;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "format.h"
#include "json.h"
#include "show.h"
#include "table.h"

static bool is_alarming(const RegionInfo *r)
{
	return strcmp(r->use, "quarantined") == 0 || strcmp(r->presence, "missing") == 0;
}

struct json_object *region_to_json(const RegionInfo *r)
{
	struct json_object *j = json_object_new_object();

	json_add_string(j, "id", r->id);
	json_add_string(j, "name", r->name);
	json_add_string(j, "kind", r->kind);
	json_add_string(j, "path", r->path);
	json_add_string(j, "uuid", r->uuid);
	json_add_string(j, "extent", r->extent);
	json_add_u64(j, "size_bytes", r->size_bytes);
	json_add_u64(j, "align_bytes", r->align_bytes);
	json_object_object_add(j, "numa_node", json_object_new_int(r->numa_node));
	json_add_strings(j, "dimms", r->dimms);
	json_add_string(j, "presence", r->presence);
	json_add_string(j, "use", r->use);
	json_add_string(j, "content", r->content);
	json_add_string(j, "owner", r->owner);
	json_add_string(j, "reason", r->reason);
	json_add_strings(j, "obstacles", r->obstacles);
	json_add_string(j, "fence_level", r->fence_level);
	json_add_string(j, "binding", r->binding);
	json_add_string(j, "lease", r->lease_id && *r->lease_id ? r->lease_id : NULL);
	return j;
}

int show_regions(FILE *f, const Options *o, const RegionList *regions)
{
	static const Column columns[] = {
		{.name = "NAME"},
		{.name = "ID", .may_shrink = true},
		{.name = "SIZE", .right = true},
		{.name = "NODE", .right = true},
		{.name = "PRESENCE"},
		{.name = "USE"},
		{.name = "CONTENT"},
		{.name = "OWNER", .may_shrink = true},
		{.name = "LEASE"},
	};
	_cleanup_table_ Table *t = NULL;
	int r;

	if (o->json) {
		struct json_object *doc = json_object_new_object(), *all = json_object_new_array();

		for (size_t i = 0; i < regions->n; i++)
			json_object_array_add(all, region_to_json(&regions->items[i]));
		json_object_object_add(doc, "regions", all);
		json_print(f, doc);
		return 0;
	}
	r = table_new(o, f, columns, ELEMENTSOF(columns), &t);
	for (size_t i = 0; i < regions->n && r == 0; i++) {
		const RegionInfo *g = &regions->items[i];
		char size[FORMAT_MAX], node[FORMAT_MAX] = "";

		if (g->numa_node >= 0)
			snprintf(node, sizeof(node), "%" PRId32, g->numa_node);
		r = table_add(t,
			(const char *const[]){g->name, g->id,
				format_size(size, g->size_bytes, o->bytes), node, g->presence,
				g->use, g->content, g->owner, g->lease_domain},
			is_alarming(g));
	}
	if (r == 0)
		r = table_print(t);
	if (r == 0 && regions->n == 0 && !o->no_legend)
		fputs("No regions: a region is a namespace in devdax mode "
		      "(`ndctl create-namespace -m devdax`).\n",
			f);
	return r;
}

static void line(FILE *f, const char *key, const char *value)
{
	_cleanup_free_ char *safe = printable(value ? value : "");

	if (safe && *safe)
		fprintf(f, "%14s: %s\n", key, safe);
}

static void lines(FILE *f, const char *key, char *const *values)
{
	for (; values && *values; values++, key = "")
		if (*key)
			line(f, key, *values);
		else
			say(f, "%16s%s\n", "", *values);
}

static void show_region_lease(FILE *f, const Options *o, const LeaseInfo *l)
{
	char has[FORMAT_MAX], lent[FORMAT_MAX];
	char since[FORMAT_MAX], span[FORMAT_MAX], grace[FORMAT_MAX + 16] = "";

	say(f, "%14s: %s, to domain %s (%s)\n", "Lease", l->state, l->domain_name, l->domain);
	line(f, "Lease id", l->id);
	line(f, "Since", format_time(since, l->since_usec));
	line(f, "Device", l->alias);
	if (l->plugged_bytes < l->size_bytes)
		say(f, "%14s: %s of %s\n", "Guest has",
			format_size(has, l->plugged_bytes, o->bytes),
			format_size(lent, l->size_bytes, o->bytes));
	say(f, "%14s: on end %s, after a fence %s%s\n", "Policy", l->on_end, l->after_fence,
		l->restore ? ", made again when its memory comes back" : "");
	if (l->grace_usec == PML_DEADLINE_INFINITY)
		(void)snprintf(grace, sizeof(grace), ", without a deadline");
	else if (l->grace_usec != PML_DEADLINE_DEFAULT)
		(void)snprintf(
			grace, sizeof(grace), ", within %s", format_span(span, l->grace_usec));
	say(f, "%14s: %s, on a refusal %s%s\n", "Drain", l->drain, l->on_refusal, grace);
	lines(f, "Warnings", l->warnings);
}

int show_region(FILE *f, const Options *o, const RegionInfo *r, const LeaseInfo *lease)
{
	char size[FORMAT_MAX], align[FORMAT_MAX], node[FORMAT_MAX] = "";

	if (o->json) {
		struct json_object *doc = json_object_new_object();

		json_object_object_add(doc, "region", region_to_json(r));
		json_object_object_add(
			doc, "lease", lease && lease->id ? lease_to_json(lease) : NULL);
		json_print(f, doc);
		return 0;
	}
	say(f, "%s - %s\n", r->name, r->id);
	if (r->numa_node >= 0)
		snprintf(node, sizeof(node), ", node %" PRId32, r->numa_node);
	say(f, "%14s: %s, %s, aligned to %s%s\n", "Memory", r->kind,
		format_size(size, r->size_bytes, o->bytes),
		format_size(align, r->align_bytes, o->bytes), node);
	line(f, "Path", r->path);
	line(f, "Extent", r->extent);
	lines(f, "DIMMs", r->dimms);
	say(f, "%14s: %s, bound to %s\n", "Presence", r->presence, r->binding);
	line(f, "Use", r->use);
	line(f, "Reason", r->reason);
	say(f, "%14s: %s%s%s\n", "Content", r->content, *r->owner ? ", of " : "", r->owner);
	line(f, "Fence", r->fence_level);
	if (lease && lease->id)
		show_region_lease(f, o, lease);
	lines(f, "Not leasable", r->obstacles);
	return 0;
}

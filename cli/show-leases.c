/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "format.h"
#include "json.h"
#include "show.h"
#include "table.h"

struct json_object *lease_to_json(const LeaseInfo *l)
{
	struct json_object *j = json_object_new_object(), *policy = json_object_new_object();

	json_add_string(j, "id", l->id);
	json_add_string(j, "region", l->region_id);
	json_add_string(j, "region_name", l->region_name);
	json_add_string(j, "domain", l->domain);
	json_add_string(j, "domain_name", l->domain_name);
	json_add_string(j, "owner", l->owner);
	json_add_string(j, "alias", l->alias);
	json_add_string(j, "model", l->model);
	json_add_u64(j, "size_bytes", l->size_bytes);
	json_add_u64(j, "plugged_bytes", l->plugged_bytes);
	json_add_string(j, "state", l->state);
	json_add_string(policy, "on_end", l->on_end);
	json_add_string(policy, "after_fence", l->after_fence);
	json_add_string(policy, "drain", l->drain);
	json_add_string(policy, "on_refusal", l->on_refusal);
	/* null: none of its own, or none at all; "drain" tells what is done then */
	if (l->grace_usec == PML_DEADLINE_DEFAULT)
		json_object_object_add(policy, "deadline_usec", NULL);
	else
		json_add_u64(policy, "deadline_usec", l->grace_usec);
	json_object_object_add(policy, "restore", json_object_new_boolean(l->restore));
	json_object_object_add(j, "policy", policy);
	json_add_u64(j, "deadline_usec", l->deadline_usec);
	json_add_u64(j, "since_usec", l->since_usec);
	json_add_strings(j, "warnings", l->warnings);
	return j;
}

int show_leases(FILE *f, const Options *o, const LeaseList *leases)
{
	static const Column columns[] = {
		{.name = "REGION"},
		{.name = "DOMAIN"},
		{.name = "STATE"},
		{.name = "SINCE"},
		{.name = "OWNER", .may_shrink = true},
		{.name = "ID", .may_shrink = true},
	};
	_cleanup_table_ Table *t = NULL;
	int r;

	if (o->json) {
		struct json_object *doc = json_object_new_object(), *all = json_object_new_array();

		for (size_t i = 0; i < leases->n; i++)
			json_object_array_add(all, lease_to_json(&leases->items[i]));
		json_object_object_add(doc, "leases", all);
		json_print(f, doc);
		return 0;
	}
	r = table_new(o, f, columns, ELEMENTSOF(columns), &t);
	for (size_t i = 0; i < leases->n && r == 0; i++) {
		const LeaseInfo *l = &leases->items[i];
		char since[FORMAT_MAX];

		r = table_add(t,
			(const char *const[]){l->region_name, l->domain_name, l->state,
				format_time(since, l->since_usec), l->owner, l->id},
			strcmp(l->state, "stuck") == 0);
	}
	if (r == 0)
		r = table_print(t);
	if (r == 0 && leases->n == 0 && !o->no_legend)
		fputs("No leases.\n", f);
	return r;
}

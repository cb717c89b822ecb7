/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layout.h"

#include <json-c/json.h>

#include "part-rows.h"
#include "util.h"

static void strings_free(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}

static void entry_clear(LayoutEntry *e)
{
	free(e->set);
	free(e->mode);
	free(e->map);
	free(e->label_id);
	free(e->data_id);
	strings_free(e->leases);
	*e = (LayoutEntry){};
}

void layout_clear(Layout *l)
{
	for (size_t i = 0; i < l->n; i++)
		entry_clear(&l->entries[i]);
	free(l->entries);
	*l = (Layout){};
}

char *layout_key(const PmlPart *part)
{
	char *key = NULL;
	int n = -1;

	switch (part->kind) {
	case PML_PART_DIMM:
		n = asprintf(&key, "dimm %s", part->n_dimms > 0 ? part->dimms[0].slot : part->name);
		break;
	case PML_PART_SET:
		n = asprintf(&key, "set %s",
			part->sets && part->sets[0] && part->sets[0][0] ? part->sets[0]
									: part->name);
		break;
	case PML_PART_NODE:
		n = asprintf(&key, "node %d", part->numa_node);
		break;
	case _PML_PART_KIND_MAX:
	case _PML_PART_KIND_INVALID:
		break;
	}
	return n < 0 ? NULL : key;
}

/* --- of the host --- */

static LayoutEntry *layout_add(Layout *l)
{
	LayoutEntry *list = reallocarray(l->entries, l->n + 1, sizeof(*list));

	if (!list)
		return NULL;
	l->entries = list;
	l->entries[l->n] = (LayoutEntry){};
	return &l->entries[l->n++];
}

static int copy(char **ret, const char *s)
{
	*ret = strdup(s ? s : "");
	return *ret ? 0 : -ENOMEM;
}

static int copy_names(LayoutEntry *e, const char *set, const char *mode, const char *map,
	const char *label_id, const char *data_id)
{
	int r = copy(&e->set, set);

	if (r >= 0)
		r = copy(&e->mode, mode);
	if (r >= 0)
		r = copy(&e->map, map);
	if (r >= 0)
		r = copy(&e->label_id, label_id);
	return r >= 0 ? copy(&e->data_id, data_id) : r;
}

static int add_lease(LayoutEntry *e, const char *id)
{
	size_t n = 0;
	char **list;

	while (e->leases && e->leases[n])
		n++;
	list = reallocarray(e->leases, n + 2, sizeof(*list));
	if (!list)
		return -ENOMEM;
	e->leases = list;
	list[n + 1] = NULL;
	return copy(&list[n], id);
}

static bool is_wanted_again(const Region *r)
{
	return r && r->lease && r->lease->record.restore && !part_lease_is_over(r);
}

int layout_of(Manager *m, const PmlPart *part, Layout *ret)
{
	Layout l = {};
	PartRow *rows;
	size_t n;
	int r;

	r = part_rows(m, part, &rows, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++) {
		const PmlPartNamespace *ns = rows[i].ns;
		LayoutEntry *e;

		if (!ns)
			continue;
		e = layout_add(&l);
		if (!e) {
			r = -ENOMEM;
			break;
		}
		e->size_bytes = ns->size_bytes;
		e->align_bytes = ns->align_bytes;
		e->sector_bytes = ns->sector_bytes;
		r = copy_names(e, ns->set, ns->mode, ns->map, ns->label_id, ns->data_id);
		if (rows[i].region)
			e->extent = rows[i].region->extent;
		if (r >= 0 && is_wanted_again(rows[i].region))
			r = add_lease(e, rows[i].region->lease->record.id);
	}
	part_rows_free(rows, n);
	if (r < 0)
		layout_clear(&l);
	else
		*ret = l;
	return r;
}

static bool same_id(const char *a, const char *b)
{
	return a[0] && strcmp(a, b) == 0;
}

/* One without a label has no name at all while it is disabled: its place is all there is. */
static bool is_entry_of(const LayoutEntry *e, const LayoutEntry *old)
{
	if (same_id(e->label_id, old->label_id) || same_id(e->data_id, old->data_id))
		return true;
	return !e->label_id[0] && !e->data_id[0] && !old->label_id[0] &&
	       strcmp(e->set, old->set) == 0 && e->size_bytes == old->size_bytes;
}

int layout_take_over(Layout *l, const Layout *before)
{
	int r = 0;

	for (size_t i = 0; i < l->n && r >= 0; i++)
		for (size_t k = 0; k < before->n && r >= 0; k++) {
			const LayoutEntry *old = &before->entries[k];
			LayoutEntry *e = &l->entries[i];

			if (!is_entry_of(e, old))
				continue;
			if (!e->data_id[0]) {
				/* Disabled: how it was made cannot be read now. */
				free(e->mode);
				e->mode = NULL;
				r = copy(&e->mode, old->mode);
				e->align_bytes = old->align_bytes;
				e->sector_bytes = old->sector_bytes;
				free(e->map);
				e->map = NULL;
				if (r >= 0)
					r = copy(&e->map, old->map);
				free(e->data_id);
				e->data_id = NULL;
				if (r >= 0)
					r = copy(&e->data_id, old->data_id);
			}
			if (e->extent.size_bytes == 0)
				e->extent = old->extent;
			for (char **id = old->leases; r >= 0 && !e->leases && id && *id; id++)
				r = add_lease(e, *id);
		}
	return r;
}

/* --- as text --- */

static struct json_object *entry_to_json(const LayoutEntry *e)
{
	struct json_object *o = json_object_new_object(), *leases = json_object_new_array();
	_cleanup_free_ char *extent = NULL;

	json_object_object_add(o, "set", json_object_new_string(e->set));
	json_object_object_add(o, "mode", json_object_new_string(e->mode));
	json_object_object_add(o, "map", json_object_new_string(e->map));
	json_object_object_add(o, "label", json_object_new_string(e->label_id));
	json_object_object_add(o, "data", json_object_new_string(e->data_id));
	json_object_object_add(o, "size", json_object_new_int64((int64_t)e->size_bytes));
	json_object_object_add(o, "align", json_object_new_int64((int64_t)e->align_bytes));
	json_object_object_add(o, "sector", json_object_new_int64((int64_t)e->sector_bytes));
	for (char **id = e->leases; id && *id; id++)
		json_object_array_add(leases, json_object_new_string(*id));
	json_object_object_add(o, "leases", leases);
	if (e->extent.size_bytes > 0 && pml_extent_format(&e->extent, &extent) == 0)
		json_object_object_add(o, "extent", json_object_new_string(extent));
	return o;
}

char *layout_format(const Layout *l)
{
	struct json_object *list = json_object_new_array();
	char *s;

	for (size_t i = 0; list && i < l->n; i++)
		json_object_array_add(list, entry_to_json(&l->entries[i]));
	s = list ? strdup(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PLAIN)) : NULL;
	json_object_put(list);
	return s;
}

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string)
		       ? json_object_get_string(v)
		       : NULL;
}

static bool number_of(struct json_object *o, const char *key, uint64_t *ret)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int) ||
		json_object_get_int64(v) < 0)
		return false;
	*ret = (uint64_t)json_object_get_int64(v);
	return true;
}

static int parse_leases(struct json_object *o, LayoutEntry *e)
{
	struct json_object *list;
	int r = 0;

	if (!json_object_object_get_ex(o, "leases", &list) ||
		!json_object_is_type(list, json_type_array))
		return -EUCLEAN;
	for (size_t i = 0; i < json_object_array_length(list) && r >= 0; i++) {
		struct json_object *id = json_object_array_get_idx(list, i);

		r = json_object_is_type(id, json_type_string)
			    ? add_lease(e, json_object_get_string(id))
			    : -EUCLEAN;
	}
	return r;
}

static int parse_entry(struct json_object *o, LayoutEntry *e)
{
	const char *text[] = {text_of(o, "set"), text_of(o, "mode"), text_of(o, "map"),
		text_of(o, "label"), text_of(o, "data")};
	const char *extent = text_of(o, "extent");
	int r;

	for (size_t i = 0; i < ELEMENTSOF(text); i++)
		if (!text[i])
			return -EUCLEAN;
	/* Older ones have none. */
	if (extent && pml_extent_parse(extent, &e->extent) < 0)
		return -EUCLEAN;
	if (!number_of(o, "size", &e->size_bytes) || !number_of(o, "align", &e->align_bytes) ||
		!number_of(o, "sector", &e->sector_bytes))
		return -EUCLEAN;
	r = copy_names(e, text[0], text[1], text[2], text[3], text[4]);
	return r < 0 ? r : parse_leases(o, e);
}

int layout_parse(const char *json, Layout *ret)
{
	struct json_object *list = json_tokener_parse(json);
	Layout l = {};
	int r = json_object_is_type(list, json_type_array) ? 0 : -EUCLEAN;

	for (size_t i = 0; r >= 0 && i < json_object_array_length(list); i++) {
		LayoutEntry *e = layout_add(&l);

		r = e ? parse_entry(json_object_array_get_idx(list, i), e) : -ENOMEM;
	}
	json_object_put(list);
	if (r < 0)
		layout_clear(&l);
	else
		*ret = l;
	return r;
}

/* --- found again --- */

static bool is_taken(const size_t *index, size_t n, size_t ns)
{
	for (size_t i = 0; i < n; i++)
		if (index[i] == ns)
			return true;
	return false;
}

static bool has_form_of(const PmlPartNamespace *ns, const LayoutEntry *e)
{
	return strcmp(ns->set, e->set) == 0 && strcmp(ns->mode, e->mode) == 0 &&
	       ns->size_bytes == e->size_bytes && ns->align_bytes == e->align_bytes &&
	       ns->sector_bytes == e->sector_bytes;
}

bool layout_has_another(const Layout *l, const PmlExtent *extent, const char *uuid)
{
	bool another = false;

	for (size_t i = 0; i < l->n; i++) {
		const LayoutEntry *e = &l->entries[i];

		if (!pml_extent_overlaps(&e->extent, extent))
			continue;
		if (uuid && (same_id(e->data_id, uuid) || same_id(e->label_id, uuid)))
			return false;
		another = true;
	}
	return another;
}

void layout_match(const Layout *l, const PmlPart *part, size_t *index, bool *same)
{
	for (size_t i = 0; i < l->n; i++) {
		index[i] = SIZE_MAX;
		for (size_t k = 0; k < part->n_namespaces && index[i] == SIZE_MAX; k++)
			if (same_id(l->entries[i].label_id, part->namespaces[k].label_id) ||
				same_id(l->entries[i].data_id, part->namespaces[k].data_id))
				index[i] = k;
		same[i] = index[i] != SIZE_MAX;
	}
	/* Behind those: of what was made anew, the first that fits. */
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < part->n_namespaces && index[i] == SIZE_MAX; k++)
			if (!is_taken(index, l->n, k) &&
				has_form_of(&part->namespaces[k], &l->entries[i]))
				index[i] = k;
}

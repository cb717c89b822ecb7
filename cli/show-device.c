/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "format.h"
#include "json.h"
#include "show.h"
#include "table.h"

static bool is_safe(const DeviceInfo *d)
{
	for (size_t i = 0; i < d->n_rows; i++)
		if (*d->rows[i].in_the_way)
			return false;
	return true;
}

static struct json_object *device_to_json(const DeviceInfo *d)
{
	struct json_object *j = json_object_new_object(), *dimms = json_object_new_array(),
			   *rows = json_object_new_array();

	json_add_string(j, "name", d->name);
	json_add_string(j, "kind", d->kind);
	for (size_t i = 0; i < d->n_dimms; i++) {
		struct json_object *one = json_object_new_object();

		json_add_string(one, "name", d->dimms[i].name);
		json_add_string(one, "slot", d->dimms[i].slot);
		json_object_array_add(dimms, one);
	}
	for (size_t i = 0; i < d->n_rows; i++) {
		const DeviceRow *row = &d->rows[i];
		struct json_object *one = json_object_new_object();

		json_add_string(one, "namespace", row->name);
		json_add_string(one, "mode", row->mode);
		json_add_string(one, "device", row->device);
		json_add_u64(one, "size_bytes", row->size_bytes);
		json_object_object_add(one, "enabled", json_object_new_boolean(row->enabled));
		json_add_string(one, "region", *row->region ? row->region : NULL);
		json_add_string(one, "content", *row->content ? row->content : NULL);
		json_add_string(one, "owner", *row->owner ? row->owner : NULL);
		json_add_string(one, "lease", *row->lease ? row->lease : NULL);
		json_add_string(one, "in_the_way", *row->in_the_way ? row->in_the_way : NULL);
		json_object_array_add(rows, one);
	}
	json_object_object_add(j, "dimms", dimms);
	json_object_object_add(j, "namespaces", rows);
	json_object_object_add(j, "safe_to_remove", json_object_new_boolean(is_safe(d)));
	return j;
}

static void say_label(FILE *f, const DeviceInfo *d)
{
	const bool dimm = strcmp(d->kind, "dimm") == 0;

	say(f, "%s %s", dimm ? "DIMM" : d->kind, d->name);
	if (dimm && d->n_dimms > 0)
		say(f, " (%s)", d->dimms[0].slot);
}

/* Of an interleave set or a node: which parts are to be taken out. */
static void show_dimms(FILE *f, const DeviceInfo *d)
{
	if (strcmp(d->kind, "dimm") == 0 || d->n_dimms == 0)
		return;
	fputs("DIMMs:", f);
	for (size_t i = 0; i < d->n_dimms; i++)
		say(f, "%s %s (%s)", i > 0 ? "," : "", d->dimms[i].name, d->dimms[i].slot);
	fputc('\n', f);
}

/* One column is another's: what is in the way of its leaving, or who has it when it is back. */
static int show_rows(FILE *f, const Options *o, const DeviceInfo *d, bool leaving)
{
	const Column columns[] = {
		{.name = "NAMESPACE"},
		{.name = "MODE"},
		{.name = "DEVICE"},
		{.name = "SIZE", .right = true},
		{.name = "CONTENT"},
		{.name = "OWNER", .may_shrink = true},
		{.name = leaving ? "IN THE WAY" : "LEASE", .may_shrink = true},
	};
	_cleanup_table_ Table *t = NULL;
	int r = table_new(o, f, columns, ELEMENTSOF(columns), &t);

	for (size_t i = 0; i < d->n_rows && r == 0; i++) {
		const DeviceRow *row = &d->rows[i];
		char size[FORMAT_MAX];

		r = table_add(t,
			(const char *const[]){row->name, row->mode, row->device,
				format_size(size, row->size_bytes, o->bytes), row->content,
				row->owner, leaving ? row->in_the_way : row->lease},
			leaving && *row->in_the_way);
	}
	return r < 0 ? r : table_print(t);
}

/* What leaves with it, and whose it is: the last chance to think of it. */
static void show_what_leaves(FILE *f, const DeviceInfo *d)
{
	for (size_t i = 0; i < d->n_rows; i++) {
		const DeviceRow *row = &d->rows[i];
		const char *what = *row->device ? row->device : row->name;

		if (strcmp(row->content, "blank") == 0)
			continue;
		if (*row->owner)
			say(f, "With it leaves the data of %s (%s).\n", row->owner, what);
		else
			say(f, "With it leaves what is on %s: nothing is known of it here.\n",
				what);
	}
}

static int show(FILE *f, const Options *o, const DeviceInfo *d)
{
	int r = show_rows(f, o, d, true);

	if (r < 0)
		return r;
	show_dimms(f, d);
	if (d->n_rows == 0)
		fputs("Nothing lies on it.\n", f);
	if (is_safe(d)) {
		fputs("Safe to remove: ", f);
		say_label(f, d);
		fputs(".\n", f);
		show_what_leaves(f, d);
	} else {
		fputs("Not safe to remove: ", f);
		say_label(f, d);
		say(f, ". `pmemlease evict --device=%s` takes back what is lent, and disables what nobody uses.\n",
			d->name);
	}
	return 0;
}

int show_device(FILE *f, const Options *o, const DeviceInfo *d)
{
	if (!o->json)
		return show(f, o, d);
	json_print(f, device_to_json(d));
	return 0;
}

static struct json_object *outcome_to_json(const DeviceInfo *d, const JobOutcome *job)
{
	struct json_object *doc = json_object_new_object();

	/* also of a job that is done, with something left to be told */
	if (*job->error)
		json_object_object_add(doc, "error", error_to_json(job->error, job->message));
	json_object_object_add(doc, "job", job_outcome_to_json(job));
	json_object_object_add(doc, "device", device_to_json(d));
	return doc;
}

int show_device_evicted(FILE *f, const Options *o, const DeviceInfo *d, const JobOutcome *job)
{
	char span[FORMAT_MAX];

	if (o->json) {
		json_print(f, outcome_to_json(d, job));
		return 0;
	}
	if (strcmp(job->result, "done") == 0)
		say(f, "Evicted %s in %s.\n", d->name, format_span(span, job->elapsed_usec));
	return show(f, o, d);
}

int show_device_readmitted(FILE *f, const Options *o, const DeviceInfo *d, const JobOutcome *job)
{
	char span[FORMAT_MAX];

	if (o->json) {
		json_print(f, outcome_to_json(d, job));
		return 0;
	}
	if (strcmp(job->result, "done") == 0)
		say(f, "Readmitted %s in %s.\n", d->name, format_span(span, job->elapsed_usec));
	if (strcmp(job->result, "done") == 0 && *job->message)
		say(f, "Note: %s\n", job->message);
	return show_rows(f, o, d, false);
}

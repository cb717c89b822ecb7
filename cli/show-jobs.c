/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "format.h"
#include "json.h"
#include "show.h"
#include "table.h"

static struct json_object *jobs_to_json(const JobList *jobs)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < jobs->n; i++) {
		const JobInfo *job = &jobs->items[i];
		struct json_object *j = json_object_new_object();

		json_add_u64(j, "id", job->id);
		json_add_string(j, "kind", job->kind);
		json_add_string(j, "subject", job->subject);
		json_add_string(j, "phase", job->phase);
		json_object_object_add(j, "progress", json_object_new_double(job->progress));
		json_object_array_add(all, j);
	}
	return all;
}

int show_jobs(FILE *f, const Options *o, const JobList *jobs)
{
	static const Column columns[] = {
		{.name = "JOB", .right = true},
		{.name = "KIND"},
		{.name = "SUBJECT", .may_shrink = true},
		{.name = "DONE", .right = true},
		{.name = "PHASE"},
	};
	_cleanup_table_ Table *t = NULL;
	int r;

	if (o->json) {
		struct json_object *doc = json_object_new_object();

		json_object_object_add(doc, "jobs", jobs_to_json(jobs));
		json_print(f, doc);
		return 0;
	}
	r = table_new(o, f, columns, ELEMENTSOF(columns), &t);
	for (size_t i = 0; i < jobs->n && r == 0; i++) {
		const JobInfo *j = &jobs->items[i];
		char id[FORMAT_MAX], done[FORMAT_MAX];

		snprintf(id, sizeof(id), "%" PRIu64, j->id);
		snprintf(done, sizeof(done), "%d%%", (int)(j->progress * 100));
		r = table_add(
			t, (const char *const[]){id, j->kind, j->subject, done, j->phase}, false);
	}
	if (r == 0)
		r = table_print(t);
	if (r == 0 && jobs->n == 0 && !o->no_legend)
		fputs("No jobs.\n", f);
	return r;
}

static struct json_object *history_to_json(const HistoryList *rows)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = rows->n; i-- > 0;) {
		const HistoryInfo *h = &rows->items[i];
		struct json_object *j = json_object_new_object();

		json_object_object_add(j, "seq", json_object_new_int64(h->seq));
		json_add_u64(j, "time_usec", h->time_usec);
		json_add_string(j, "kind", h->kind);
		json_add_string(j, "id", h->id);
		json_add_string(j, "from", h->from);
		json_add_string(j, "to", h->to);
		json_add_string(j, "detail", h->detail);
		json_add_string(j, "actor", h->actor);
		json_object_array_add(all, j);
	}
	return all;
}

/* The daemon hands out the newest first; a story is read from its beginning. */
int show_history(FILE *f, const Options *o, const HistoryList *rows)
{
	static const Column columns[] = {
		{.name = "TIME"},
		{.name = "KIND"},
		{.name = "ID", .may_shrink = true},
		{.name = "FROM"},
		{.name = "TO"},
		{.name = "ACTOR"},
		{.name = "DETAIL"},
	};
	_cleanup_table_ Table *t = NULL;
	int r;

	if (o->json) {
		struct json_object *doc = json_object_new_object();

		json_object_object_add(doc, "history", history_to_json(rows));
		json_print(f, doc);
		return 0;
	}
	r = table_new(o, f, columns, ELEMENTSOF(columns), &t);
	for (size_t i = rows->n; i-- > 0 && r == 0;) {
		const HistoryInfo *h = &rows->items[i];
		char time[FORMAT_MAX];

		r = table_add(t,
			(const char *const[]){format_time(time, h->time_usec), h->kind, h->id,
				h->from, h->to, h->actor, h->detail},
			strcmp(h->to, "quarantined") == 0 || strcmp(h->to, "stuck") == 0);
	}
	if (r == 0)
		r = table_print(t);
	if (r == 0 && rows->n == 0 && !o->no_legend)
		fputs("Nothing is recorded.\n", f);
	return r;
}

static int status_to_json(FILE *f, const ManagerInfo *m, const RegionList *regions,
	const LeaseList *leases, const JobList *jobs)
{
	struct json_object *doc = json_object_new_object(), *daemon = json_object_new_object();
	struct json_object *all_regions = json_object_new_array();
	struct json_object *all_leases = json_object_new_array();

	json_add_string(daemon, "version", m->version);
	json_add_strings(daemon, "fence_levels", m->fence_levels);
	json_add_bool(daemon, "kernel_revoke", m->kernel_revoke);
	json_add_bool(daemon, "libvirt_connected", m->libvirt_connected);
	for (size_t i = 0; i < regions->n; i++)
		json_object_array_add(all_regions, region_to_json(&regions->items[i]));
	for (size_t i = 0; i < leases->n; i++)
		json_object_array_add(all_leases, lease_to_json(&leases->items[i]));
	json_object_object_add(doc, "daemon", daemon);
	json_object_object_add(doc, "regions", all_regions);
	json_object_object_add(doc, "leases", all_leases);
	json_object_object_add(doc, "jobs", jobs_to_json(jobs));
	json_print(f, doc);
	return 0;
}

int show_status(FILE *f, const Options *o, const ManagerInfo *m, const RegionList *regions,
	const LeaseList *leases, const JobList *jobs)
{
	int r;

	if (o->json)
		return status_to_json(f, m, regions, leases, jobs);
	say(f, "pmemleased %s\n", m->version);
	say(f, "%14s: %s\n", "libvirt",
		m->libvirt_connected
			? "connected"
			: "not connected: nothing can be leased; evictions work all the same");
	fprintf(f, "%14s:", "Fences");
	for (char **level = m->fence_levels; level && *level; level++)
		say(f, " %s", *level);
	if (!m->fence_levels || !m->fence_levels[0])
		fputs(" none", f);
	if (!m->kernel_revoke)
		fputs("; no revoke in this kernel: a fenced guest is paused, and its region is lent "
		      "again only when it is gone",
			f);
	fputs("\n\n", f);
	r = show_regions(f, o, regions);
	if (r == 0 && leases->n) {
		fputc('\n', f);
		r = show_leases(f, o, leases);
	}
	if (r == 0 && jobs->n) {
		fputc('\n', f);
		r = show_jobs(f, o, jobs);
	}
	for (size_t i = 0; i < regions->n && r == 0; i++)
		if (strcmp(regions->items[i].use, "quarantined") == 0)
			say(f, "\n%s is quarantined: %s\n", regions->items[i].name,
				regions->items[i].reason);
	return r;
}

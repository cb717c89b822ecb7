/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "format.h"
#include "json.h"
#include "show.h"

static void show_phases(FILE *f, const JobOutcome *job)
{
	char span[FORMAT_MAX];

	for (size_t i = 0; i < job->n_phases; i++)
		say(f, "%18s  %s: %s\n", "", job->phases[i].name,
			format_span(span, job->phases[i].usec));
}

/* Who must end before the region can be lent again. */
static void show_holders_to_end(FILE *f, const Eviction *e)
{
	struct json_object *holders;
	size_t n = json_get_array(e->proof, "holders", &holders);

	for (size_t i = 0; i < n; i++) {
		struct json_object *h = json_object_array_get_idx(holders, i);
		_cleanup_free_ char *command = printable(json_get_str(h, "command"));
		const char *unit = json_get_str(h, "unit");

		say(f, "%20s- PID %llu, %s%s%s\n", "", (unsigned long long)json_get_u64(h, "pid"),
			command ? command : "", *unit ? ", of " : "", unit);
	}
}

static void show_evicted(FILE *f, const Eviction *e)
{
	struct json_object *holders;
	bool revoked = strcmp(json_get_str(e->proof, "verdict"), "revoked") == 0;
	bool held = !revoked && json_get_array(e->proof, "holders", &holders) > 0;

	if (revoked && !e->keep_offline) {
		fprintf(f,
			"It is bound again at once: what its old holders have of it is refused for ever.\n");
	} else if (held) {
		fprintf(f,
			"It is lent again when its old holders are gone, which is noticed by itself:\n");
		show_holders_to_end(f, e);
		if (e->lease && e->lease->id)
			say(f, "%20sDomain %s: `virsh destroy %s` ends it.\n", "",
				e->lease->domain_name, e->lease->domain_name);
	} else if (!e->keep_offline) {
		fprintf(f, "It is bound again as soon as the proof is clear.\n");
	}
	if (e->keep_offline)
		say(f, "%s`pmemlease readmit %s` brings it back; until then it stays unbound.\n",
			held ? "                    " : "", e->before->name);
}

static void show_left_to_do(FILE *f, const Eviction *e)
{
	const RegionInfo *now = e->after;

	if (!now || !now->id)
		return;
	fprintf(f, "%18s: ", "Left to do");
	if (strcmp(now->use, "quarantined") == 0)
		say(f, "The region is quarantined (%s). `pmemlease verify %s` looks again.\n",
			now->reason, now->name);
	else if (strcmp(now->use, "evicted") == 0)
		show_evicted(f, e);
	else if (strcmp(now->content, "retained") == 0)
		say(f, "Nothing. It is %s, with the data of %s on it: another owner needs a scrub.\n",
			now->use, now->owner);
	else
		say(f, "Nothing. It is %s, its content %s.\n", now->use, now->content);
}

static void eviction_to_json(FILE *f, const Eviction *e)
{
	struct json_object *doc = json_object_new_object();

	if (strcmp(e->job->result, "done") != 0)
		json_object_object_add(doc, "error", error_to_json(e->job->error, e->job->message));
	json_object_object_add(doc, "job", job_outcome_to_json(e->job));
	json_object_object_add(
		doc, "region", region_to_json(e->after && e->after->id ? e->after : e->before));
	json_object_object_add(
		doc, "lease", e->lease && e->lease->id ? lease_to_json(e->lease) : NULL);
	json_object_object_add(doc, "proof", json_object_get(e->proof));
	json_print(f, doc);
}

void show_eviction(FILE *f, const Options *o, const Eviction *e)
{
	char span[FORMAT_MAX];

	if (o->json) {
		eviction_to_json(f, e);
		return;
	}
	if (strcmp(e->job->result, "done") == 0) {
		say(f, "%s %s", e->verb, e->before->name);
		if (e->lease && e->lease->id)
			say(f, " from domain %s", e->lease->domain_name);
		say(f, " in %s.\n", format_span(span, e->job->elapsed_usec));
	}
	show_phases(f, e->job);
	if (strcmp(e->job->result, "done") == 0 && e->job->message && *e->job->message)
		say(f, "%18s: %s\n", "Asked", e->job->message);
	if (e->proof) {
		say(f, "%18s: %s\n", "Fenced by", json_get_str(e->proof, "rung"));
		show_proof_summary(f, e->proof);
	}
	show_left_to_do(f, e);
}

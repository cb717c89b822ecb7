/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "format.h"
#include "json.h"
#include "show.h"
#include "table.h"

typedef struct Totals {
	uint64_t mappings, probes, refused;
} Totals;

static Totals add_up(struct json_object *proof)
{
	struct json_object *holders;
	size_t n = json_get_array(proof, "holders", &holders);
	Totals sum = {};

	for (size_t i = 0; i < n; i++) {
		struct json_object *h = json_object_array_get_idx(holders, i);

		sum.mappings += json_get_u64(h, "mappings");
		sum.probes += json_get_u64(h, "probes");
		sum.refused += json_get_u64(h, "probes_refused");
	}
	return sum;
}

static int add_holder(Table *t, const Options *o, struct json_object *h)
{
	char pid[FORMAT_MAX], fds[FORMAT_MAX], mappings[FORMAT_MAX], mapped[FORMAT_MAX];
	char present[FORMAT_MAX], probes[FORMAT_MAX] = "";
	uint64_t n_probes = json_get_u64(h, "probes");

	snprintf(pid, sizeof(pid), "%" PRIu64, json_get_u64(h, "pid"));
	snprintf(fds, sizeof(fds), "%" PRIu64, json_get_u64(h, "descriptors"));
	snprintf(mappings, sizeof(mappings), "%" PRIu64, json_get_u64(h, "mappings"));
	if (n_probes)
		snprintf(probes, sizeof(probes), "%" PRIu64 " of %" PRIu64,
			json_get_u64(h, "probes_refused"), n_probes);
	return table_add(t,
		(const char *const[]){pid, json_get_str(h, "command"), json_get_str(h, "unit"), fds,
			mappings, format_size(mapped, json_get_u64(h, "mapped_bytes"), o->bytes),
			format_size(present, json_get_u64(h, "present_bytes"), o->bytes), probes},
		false);
}

static int show_holders(FILE *f, const Options *o, struct json_object *proof)
{
	static const Column columns[] = {
		{.name = "PID", .right = true},
		{.name = "COMMAND"},
		{.name = "UNIT", .may_shrink = true},
		{.name = "FILES", .right = true},
		{.name = "MAPPINGS", .right = true},
		{.name = "MAPPED", .right = true},
		{.name = "PRESENT", .right = true},
		{.name = "REFUSED", .right = true},
	};
	_cleanup_table_ Table *t = NULL;
	struct json_object *holders;
	size_t n = json_get_array(proof, "holders", &holders);
	int r = table_new(o, f, columns, ELEMENTSOF(columns), &t);

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_holder(t, o, json_object_array_get_idx(holders, i));
	if (r == 0 && n > 0) {
		fputc('\n', f);
		r = table_print(t);
		fputc('\n', f);
	}
	return r;
}

/* "4, 4 of them explained", or that it cannot be counted */
static void show_references(FILE *f, struct json_object *proof)
{
	struct json_object *refs, *unexplained;
	uint64_t total, rest;

	if (json_object_object_get_ex(proof, "cached_bytes", &refs)) {
		fprintf(f, "%18s: ", "Page cache");
		if (json_object_is_type(refs, json_type_int))
			fprintf(f, "%" PRIu64 " bytes left\n", json_object_get_uint64(refs));
		else
			fputs("could not be dropped\n", f);
		return;
	}
	if (!json_object_object_get_ex(proof, "module_refs", &refs))
		return;
	fprintf(f, "%18s: ", "Module references");
	if (!json_object_is_type(refs, json_type_int)) {
		fputs("cannot be counted on this kernel\n", f);
		return;
	}
	total = json_object_get_uint64(refs);
	fprintf(f, "%" PRIu64, total);
	if (json_object_object_get_ex(proof, "unexplained_refs", &unexplained) &&
		json_object_is_type(unexplained, json_type_int)) {
		rest = json_object_get_uint64(unexplained);
		if (rest)
			fprintf(f, ", %" PRIu64 " of them explained by no process", rest);
		else if (total)
			fputs(", all explained", f);
	}
	fputc('\n', f);
}

/* What the kernel itself holds, where it tells. */
static void show_kernel_references(FILE *f, struct json_object *proof)
{
	struct json_object *refs;

	if (json_object_object_get_ex(proof, "kernel_refs", &refs) &&
		json_object_is_type(refs, json_type_int))
		fprintf(f, "%18s: %" PRIu64 "\n", "Held by the kernel",
			json_object_get_uint64(refs));
}

void show_proof_summary(FILE *f, struct json_object *proof)
{
	struct json_object *holders;
	_cleanup_free_ char *summary = printable(json_get_str(proof, "summary"));
	Totals sum = add_up(proof);

	say(f, "%18s: %s\n", "Proof", json_get_str(proof, "verdict"));
	if (summary && *summary)
		fprintf(f, "%20s%s\n", "", summary);
	fprintf(f, "%18s: %zu\n", "Holders left", json_get_array(proof, "holders", &holders));
	fprintf(f, "%18s: %" PRIu64 " of %" PRIu64 " with a page present\n", "Mappings left",
		json_get_u64(proof, "mappings_left"), sum.mappings);
	if (sum.probes)
		fprintf(f, "%18s: %" PRIu64 " of %" PRIu64 " accesses from outside refused\n",
			"Probes", sum.refused, sum.probes);
	show_references(f, proof);
	show_kernel_references(f, proof);
}

int show_proof(FILE *f, const Options *o, struct json_object *proof)
{
	struct json_object *spots;
	size_t n_spots = json_get_array(proof, "blind_spots", &spots);
	char when[FORMAT_MAX];
	int r;

	if (o->json) {
		json_print(f, json_object_get(proof));
		return 0;
	}
	show_proof_summary(f, proof);
	say(f, "%18s: %s\n", "Rung", json_get_str(proof, "rung"));
	if (json_get_u64(proof, "realtime_usec"))
		say(f, "%18s: %s\n", "Made",
			format_time(when, json_get_u64(proof, "realtime_usec")));
	r = show_holders(f, o, proof);
	if (n_spots)
		fputs("What this proof could not see:\n", f);
	for (size_t i = 0; i < n_spots; i++) {
		struct json_object *spot = json_object_array_get_idx(spots, i);
		_cleanup_free_ char *safe = printable(spot ? json_object_get_string(spot) : "");

		fprintf(f, "  - %s\n", safe ? safe : "");
	}
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is shown of fixed data: stories by state, and documents that are not what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "json.h"
#include "show.h"

static void contains(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" is not in: %s", what, text);
}

static void contains_not(const char *text, const char *what)
{
	if (strstr(text, what))
		fail_msg("\"%s\" is in: %s", what, text);
}

/* A proof of an older or newer daemon, or none at all, costs lines and nothing more. */
static void test_odd_proofs(void **state)
{
	static const char *const proofs[] = {
		"{}",
		"{\"holders\":7,\"blind_spots\":{}}",
		"{\"holders\":[1,null,\"x\",[],{}],\"blind_spots\":[null,1,{}]}",
		"{\"holders\":[{\"pid\":\"x\",\"command\":3,\"probes\":-1,\"mapped_bytes\":1e300}]}",
		"{\"module_refs\":\"many\",\"unexplained_refs\":[]}",
		"{\"module_refs\":-5,\"unexplained_refs\":-6,\"realtime_usec\":-1}",
		"{\"verdict\":{},\"summary\":null,\"rung\":9}",
	};
	const Options table = {}, json = {.json = true};
	RegionInfo region = {.name = (char *)"r", .id = (char *)"r", .use = (char *)"evicted"};
	JobOutcome job = {.result = (char *)"done"};

	for (size_t i = 0; i < ELEMENTSOF(proofs); i++) {
		_cleanup_json_ struct json_object *proof = json_tokener_parse(proofs[i]);
		_cleanup_free_ char *text = NULL;
		size_t n;
		FILE *f = open_memstream(&text, &n);

		assert_non_null(proof);
		assert_int_equal(show_proof(f, &table, proof), 0);
		assert_int_equal(show_proof(f, &json, proof), 0);
		show_eviction(f, &table,
			&(Eviction){.verb = "Evicted",
				.before = &region,
				.after = &region,
				.job = &job,
				.proof = proof});
		fclose(f);
		contains(text, "Evicted r");
	}
}

static char *story(const char *use, const char *content, const char *proof_text, bool keep_offline)
{
	_cleanup_json_ struct json_object *proof =
		proof_text ? json_tokener_parse(proof_text) : NULL;
	RegionInfo region = {.name = (char *)"dax0.0",
		.id = (char *)"dax0.0",
		.use = (char *)use,
		.content = (char *)content,
		.owner = (char *)"o1",
		.reason = (char *)"why"};
	JobOutcome job = {.result = (char *)"done", .elapsed_usec = 5100000};
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	show_eviction(f, &(Options){},
		&(Eviction){.verb = "Evicted",
			.before = &region,
			.after = &region,
			.job = &job,
			.proof = proof,
			.keep_offline = keep_offline});
	fclose(f);
	return text;
}

static void test_left_to_do(void **state)
{
	_cleanup_free_ char *clear = story("free", "retained", NULL, false);
	_cleanup_free_ char *blank = story("free", "blank", NULL, false);
	_cleanup_free_ char *offline = story("evicted", "retained", "{\"holders\":[]}", true);
	_cleanup_free_ char *held =
		story("evicted", "retained", "{\"holders\":[{\"pid\":5}]}", true);
	_cleanup_free_ char *bad = story("quarantined", "retained", NULL, false);

	contains(clear, "Evicted dax0.0 in 5.1s.");
	contains(clear, "with the data of o1 on it");
	contains(blank, "its content blank");
	contains(offline, "pmemlease readmit dax0.0");
	contains_not(offline, "old holders");
	contains(held, "PID 5");
	contains(held, "pmemlease readmit dax0.0");
	contains(bad, "quarantined (why)");
}

/* Counts that cannot be made are not shown as 0. */
static void test_references(void **state)
{
	_cleanup_json_ struct json_object *none =
		json_tokener_parse("{\"module_refs\":null,\"unexplained_refs\":null}");
	_cleanup_json_ struct json_object *some =
		json_tokener_parse("{\"module_refs\":6,\"unexplained_refs\":2}");
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	show_proof_summary(f, none);
	fflush(f);
	contains(text, "cannot be counted");
	show_proof_summary(f, some);
	fclose(f);
	contains(text, "6, 2 of them explained by no process");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_odd_proofs),
		cmocka_unit_test(test_left_to_do),
		cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests_name("show", tests, NULL, NULL);
}

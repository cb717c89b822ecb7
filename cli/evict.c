/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act.h"
#include "json.h"
#include "names.h"
#include "show.h"

typedef struct TakeBack {
	RegionInfo before, after;
	LeaseInfo lease;
	char *proof_before, *proof_after;
	sd_bus_slot *asked;
	JobOutcome outcome;
} TakeBack;

static void take_back_clear(TakeBack *t)
{
	sd_bus_slot_unref(t->asked);
	region_info_clear(&t->before);
	region_info_clear(&t->after);
	lease_info_clear(&t->lease);
	free(t->proof_before);
	free(t->proof_after);
	job_outcome_clear(&t->outcome);
}

/*
 * The region, its lease, and its newest proof, so that an old one is not taken for this fence's.
 * The proof is asked for and not waited for: the daemon reads it before it records another.
 */
static ExitCode look_before(sd_bus *bus, const Options *o, const char *region, TakeBack *t)
{
	ExitCode code = model_region(bus, o, region, &t->before, &t->lease);
	int r;

	if (code != EXIT_DONE || o->no_wait)
		return code;
	r = model_proof_async(bus, t->before.object, &t->asked, &t->proof_before);
	return r < 0 ? report_errno(o, r, "Cannot ask the daemon") : EXIT_DONE;
}

static ExitCode tell(sd_bus *bus, const Options *o, const char *verb, TakeBack *t)
{
	_cleanup_json_ struct json_object *proof = NULL;
	_cleanup_lease_ LeaseInfo left = {};
	const bool done = strcmp(t->outcome.result, "done") == 0;
	Options quiet = *o;
	ExitCode code = EXIT_DONE;

	model_proof(bus, t->before.object, &t->proof_after);
	if (t->proof_after && !pml_streq(t->proof_before, t->proof_after))
		proof = json_tokener_parse(t->proof_after);
	if (!json_object_is_type(proof, json_type_object)) {
		json_object_put(proof);
		proof = NULL;
	}
	/* what is shown afterwards is an extra: its failure adds no second document */
	quiet.json = false;
	if (model_region_object(bus, &quiet, t->before.object, &t->after, &left) != EXIT_DONE)
		region_info_clear(&t->after);
	if (!done) {
		Options said = *o;

		said.json = false;
		code = report_outcome(&said, &t->outcome);
	}
	if (o->json || done || proof)
		show_eviction(stdout, o,
			&(Eviction){
				.verb = verb,
				.before = &t->before,
				.lease = &t->lease,
				.job = &t->outcome,
				.proof = proof,
				.after = &t->after,
				.keep_offline = o->keep_offline,
			});
	return code;
}

static ExitCode follow(sd_bus *bus, const Options *o, JobWatch *watch, sd_bus_message *m,
	const char *verb, TakeBack *t)
{
	ExitCode code = follow_job(bus, o, watch, m, &t->outcome);

	return code != EXIT_DONE || o->no_wait ? code : tell(bus, o, verb, t);
}

static int evict_message(sd_bus *bus, const Options *o, const char *object, sd_bus_message **ret)
{
	int r = sd_bus_message_new_method_call(
		bus, ret, PML_BUS_NAME, object, PML_IF_REGION, "Evict");

	if (r >= 0)
		r = sd_bus_message_append(*ret, "t", o->deadline_usec);
	if (r >= 0)
		r = sd_bus_message_open_container(*ret, 'a', "{sv}");
	if (r >= 0 && o->keep_offline)
		r = sd_bus_message_append(*ret, "{sv}", "keep-offline", "b", 1);
	if (r >= 0)
		r = append_evict_options(*ret, o);
	return r < 0 ? r : sd_bus_message_close_container(*ret);
}

ExitCode verb_evict(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_(take_back_clear) TakeBack t = {};
	_cleanup_message_ sd_bus_message *m = NULL;
	_cleanup_watch_ JobWatch *watch = NULL;
	ExitCode code;
	int r;

	if (!o->device != !!args[0]) {
		fputs("pmemlease: It is `pmemlease evict REGION`, or `pmemlease evict --device=DEVICE`.\n",
			stderr);
		return EXIT_USAGE;
	}
	if (o->device)
		return evict_device(bus, o);
	code = look_before(bus, o, args[0], &t);
	if (code != EXIT_DONE)
		return code;
	r = job_watch_new(bus, o, &watch);
	if (r >= 0)
		r = evict_message(bus, o, t.before.object, &m);
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	return follow(bus, o, watch, m, "Evicted", &t);
}

/* A daemon that is older than the options is asked as ever, where there are none. */
static int release_message(sd_bus *bus, const Options *o, const char *object, sd_bus_message **ret)
{
	bool with = o->drain || o->on_refusal;
	int r = sd_bus_message_new_method_call(bus, ret, PML_BUS_NAME, object, PML_IF_LEASE,
		with ? "ReleaseWithOptions" : "Release");

	if (r >= 0)
		r = sd_bus_message_append(*ret, "t", o->deadline_usec);
	if (r < 0 || !with)
		return r;
	r = sd_bus_message_open_container(*ret, 'a', "{sv}");
	if (r >= 0)
		r = append_evict_options(*ret, o);
	return r < 0 ? r : sd_bus_message_close_container(*ret);
}

static int revoke_message(sd_bus *bus, const Options *o, const char *object, sd_bus_message **ret)
{
	return sd_bus_message_new_method_call(
		bus, ret, PML_BUS_NAME, object, PML_IF_LEASE, "Revoke");
}

static ExitCode lease_taken_back(sd_bus *bus, const Options *o, const char *name,
	int (*message)(sd_bus *bus, const Options *o, const char *object, sd_bus_message **ret),
	const char *verb)
{
	_cleanup_(take_back_clear) TakeBack t = {};
	_cleanup_message_ sd_bus_message *m = NULL;
	_cleanup_watch_ JobWatch *watch = NULL;
	_cleanup_lease_ LeaseInfo lease = {};
	ExitCode code = model_lease(bus, o, name, &lease);
	int r;

	if (code == EXIT_DONE)
		code = look_before(bus, o, lease.region_id, &t);
	if (code != EXIT_DONE)
		return code;
	r = job_watch_new(bus, o, &watch);
	if (r >= 0)
		r = message(bus, o, lease.object, &m);
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	return follow(bus, o, watch, m, verb, &t);
}

ExitCode verb_release(sd_bus *bus, const Options *o, char *const *args)
{
	return lease_taken_back(bus, o, args[0], release_message, "Released");
}

ExitCode verb_revoke(sd_bus *bus, const Options *o, char *const *args)
{
	return lease_taken_back(bus, o, args[0], revoke_message, "Revoked");
}

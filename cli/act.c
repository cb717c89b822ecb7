/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "act.h"
#include "format.h"
#include "json.h"
#include "names.h"
#include "show.h"

ExitCode report_outcome(const Options *o, const JobOutcome *outcome)
{
	if (pml_streq(outcome->result, "done"))
		return EXIT_DONE;
	if (pml_streq(outcome->result, "cancelled") && !*outcome->error)
		return report_error(o, PML_ERROR_CANCELLED,
			*outcome->message ? outcome->message : "It was cancelled.");
	return report_error(o, outcome->error, outcome->message);
}

ExitCode report_started(const Options *o, const char *job_object)
{
	if (o->json) {
		struct json_object *doc = json_object_new_object(), *job = json_object_new_object();

		json_add_u64(job, "id", job_id_of(job_object));
		json_object_object_add(doc, "job", job);
		json_print(stdout, doc);
	} else {
		printf("job %" PRIu64 "\n", job_id_of(job_object));
	}
	return EXIT_DONE;
}

ExitCode follow_started(const Options *o, JobWatch *watch, const char *job_object, JobOutcome *ret)
{
	return o->no_wait ? report_started(o, job_object) : job_watch_wait(watch, job_object, ret);
}

ExitCode follow_job(
	sd_bus *bus, const Options *o, JobWatch *watch, sd_bus_message *m, JobOutcome *ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *job_object;
	ExitCode code = bus_send(bus, o, m, &reply);
	int r;

	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_read(reply, "o", &job_object);
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer")
		     : follow_started(o, watch, job_object, ret);
}

static int append_option(sd_bus_message *m, const char *key, const char *value)
{
	return value ? sd_bus_message_append(m, "{sv}", key, "s", value) : 0;
}

int append_evict_options(sd_bus_message *m, const Options *o)
{
	int r = append_option(m, "after-fence", o->after_fence);

	if (r >= 0)
		r = append_option(m, "drain", o->drain);
	if (r >= 0)
		r = append_option(m, "on-refusal", o->on_refusal);
	return r;
}

static int lease_message(sd_bus *bus, const Options *o, char *const *args, sd_bus_message **ret)
{
	bool choose = o->size_bytes > 0;
	int r = sd_bus_message_new_method_call(bus, ret, PML_BUS_NAME, PML_BUS_PATH, PML_IF_MANAGER,
		choose ? "LeaseBySize" : "Lease");

	if (r >= 0)
		r = choose ? sd_bus_message_append(*ret, "ts", o->size_bytes, args[0])
			   : sd_bus_message_append(*ret, "ss", args[0], args[1]);
	if (r >= 0)
		r = sd_bus_message_open_container(*ret, 'a', "{sv}");
	if (r >= 0)
		r = append_option(*ret, "kind", o->kind);
	if (r >= 0 && o->node >= 0)
		r = sd_bus_message_append(*ret, "{sv}", "node", "i", o->node);
	if (r >= 0)
		r = append_option(*ret, "model", o->model);
	if (r >= 0)
		r = append_option(*ret, "owner", o->owner);
	if (r >= 0)
		r = append_option(*ret, "on-end", o->on_end);
	if (r >= 0)
		r = append_evict_options(*ret, o);
	if (r >= 0 && o->given & OPT_DEADLINE)
		r = sd_bus_message_append(*ret, "{sv}", "deadline", "t", o->deadline_usec);
	if (r >= 0 && o->persistent)
		r = sd_bus_message_append(*ret, "{sv}", "persistent", "b", 1);
	if (r >= 0 && o->restore)
		r = sd_bus_message_append(*ret, "{sv}", "restore", "b", 1);
	if (r >= 0)
		r = append_option(*ret, "consent", o->allow_destroy ? "destroy" : NULL);
	return r < 0 ? r : sd_bus_message_close_container(*ret);
}

static void show_leased(const Options *o, const LeaseInfo *l, const JobOutcome *outcome)
{
	char span[FORMAT_MAX];

	if (o->json) {
		struct json_object *doc = json_object_new_object();

		json_object_object_add(doc, "job", job_outcome_to_json(outcome));
		json_object_object_add(doc, "lease", lease_to_json(l));
		json_print(stdout, doc);
		return;
	}
	say(stdout, "Leased %s to domain %s in %s, lease %s.\n", l->region_name, l->domain_name,
		format_span(span, outcome->elapsed_usec), l->id);
	for (char **warning = l->warnings; warning && *warning; warning++)
		say(stdout, "Note: %s\n", *warning);
}

ExitCode verb_lease(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
	_cleanup_watch_ JobWatch *watch = NULL;
	_cleanup_outcome_ JobOutcome outcome = {};
	_cleanup_lease_ LeaseInfo lease = {};
	const char *lease_object, *job_object;
	ExitCode code;
	int r;

	if ((o->size_bytes > 0) != !args[1]) {
		fputs("pmemlease: It is `pmemlease lease REGION DOMAIN`, or `pmemlease lease --size=SIZE DOMAIN`.\n",
			stderr);
		return EXIT_USAGE;
	}
	if (o->given & OPT_CHOOSE && o->size_bytes == 0) {
		fputs("pmemlease: --node and --kind choose among regions: say --size=, too.\n",
			stderr);
		return EXIT_USAGE;
	}
	r = job_watch_new(bus, o, &watch);
	if (r >= 0)
		r = lease_message(bus, o, args, &m);
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	code = bus_send(bus, o, m, &reply);
	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_read(reply, "oo", &lease_object, &job_object);
	if (r < 0)
		return report_errno(o, r, "Cannot read the daemon's answer");
	code = follow_started(o, watch, job_object, &outcome);
	if (code != EXIT_DONE || o->no_wait)
		return code;
	code = report_outcome(o, &outcome);
	if (code != EXIT_DONE)
		return code;
	code = model_lease_object(bus, o, lease_object, &lease);
	if (code == EXIT_DONE)
		show_leased(o, &lease, &outcome);
	return code;
}

static ExitCode region_call(sd_bus *bus, const Options *o, const char *region, const char *method,
	const char *argument, const char *done)
{
	_cleanup_free_ char *object = NULL;
	ExitCode code = model_find(bus, o, "GetRegion", region, &object);

	if (code == EXIT_DONE)
		code = bus_call(bus, o, object, PML_IF_REGION, method, NULL, "s", argument);
	if (code != EXIT_DONE)
		return code;
	if (o->json) {
		_cleanup_region_ RegionInfo info = {};
		_cleanup_lease_ LeaseInfo lease = {};

		code = model_region(bus, o, region, &info, &lease);
		if (code == EXIT_DONE)
			(void)show_region(stdout, o, &info, &lease);
		return code;
	}
	say(stdout, "%s %s.\n", region, done);
	return EXIT_DONE;
}

ExitCode verb_adopt(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_free_ char *done = NULL;

	if (asprintf(&done, "now holds the data of %s", args[1]) < 0)
		return report_errno(o, -ENOMEM, "Cannot ask the daemon");
	/* A path may be of a block device that nobody has named yet; of any other it changes
	 * nothing. */
	if (strncmp(args[0], "/dev/", 5) == 0) {
		_cleanup_message_ sd_bus_message *reply = NULL;
		ExitCode code = bus_call(bus, o, PML_BUS_PATH, PML_IF_MANAGER, "AddBlockDevice",
			&reply, "s", args[0]);

		if (code != EXIT_DONE)
			return code;
	}
	return region_call(bus, o, args[0], "Adopt", args[1], done);
}

ExitCode verb_lift_quarantine(sd_bus *bus, const Options *o, char *const *args)
{
	if (!o->reason || !*o->reason) {
		fputs("pmemlease: A quarantine is lifted with a reason, which is recorded: --reason=TEXT.\n",
			stderr);
		return EXIT_USAGE;
	}
	return region_call(
		bus, o, args[0], "LiftQuarantine", o->reason, "is no longer quarantined");
}

/* A job on a region that needs no story: scrub, readmit. argument: NULL where the method takes
 * none. */
static ExitCode region_job(sd_bus *bus, const Options *o, const char *name, const char *method,
	const char *argument, JobOutcome *ret_outcome, RegionInfo *ret_region)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	_cleanup_watch_ JobWatch *watch = NULL;
	_cleanup_lease_ LeaseInfo lease = {};
	_cleanup_free_ char *object = NULL;
	ExitCode code = model_find(bus, o, "GetRegion", name, &object);
	int r;

	if (code != EXIT_DONE)
		return code;
	r = job_watch_new(bus, o, &watch);
	if (r >= 0)
		r = sd_bus_message_new_method_call(
			bus, &m, PML_BUS_NAME, object, PML_IF_REGION, method);
	if (r >= 0 && argument)
		r = sd_bus_message_append(m, "s", argument);
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	code = follow_job(bus, o, watch, m, ret_outcome);
	if (code != EXIT_DONE || o->no_wait)
		return code;
	code = report_outcome(o, ret_outcome);
	return code != EXIT_DONE ? code : model_region(bus, o, name, ret_region, &lease);
}

static void show_region_job(const Options *o, const JobOutcome *outcome, const RegionInfo *region)
{
	struct json_object *doc = json_object_new_object();

	json_object_object_add(doc, "job", job_outcome_to_json(outcome));
	json_object_object_add(doc, "region", region_to_json(region));
	json_print(stdout, doc);
}

ExitCode verb_scrub(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_outcome_ JobOutcome outcome = {};
	_cleanup_region_ RegionInfo region = {};
	char size[FORMAT_MAX], span[FORMAT_MAX];
	ExitCode code;

	if (!o->discard) {
		say(stderr,
			"pmemlease: A scrub destroys data, so it names whose: --discard=OWNER, or --discard= "
			"where it has no owner.\n           `pmemlease status %s` says who that is.\n",
			args[0]);
		return EXIT_USAGE;
	}
	code = region_job(bus, o, args[0], "Scrub", o->discard, &outcome, &region);
	if (code != EXIT_DONE || o->no_wait)
		return code;
	if (o->json)
		show_region_job(o, &outcome, &region);
	else
		say(stdout,
			"Scrubbed %s in %s: %s overwritten, and read back as zeroes. It is %s.\n",
			region.name, format_span(span, outcome.elapsed_usec),
			format_size(size, region.size_bytes, o->bytes), region.content);
	return EXIT_DONE;
}

ExitCode verb_readmit(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_outcome_ JobOutcome outcome = {};
	_cleanup_region_ RegionInfo region = {};
	ExitCode code;

	if (!o->device != !!args[0] || (o->discard && (!o->device || *o->discard))) {
		fputs("pmemlease: It is `pmemlease readmit REGION`, or `pmemlease readmit --device=DEVICE [--discard=]`.\n",
			stderr);
		return EXIT_USAGE;
	}
	if (o->device)
		return readmit_device(bus, o);
	code = region_job(bus, o, args[0], "Readmit", NULL, &outcome, &region);
	if (code != EXIT_DONE || o->no_wait)
		return code;
	if (o->json)
		show_region_job(o, &outcome, &region);
	else
		say(stdout, "%s is back: %s, %s.\n", region.name, region.presence, region.use);
	return EXIT_DONE;
}

static ExitCode find_job(sd_bus *bus, const Options *o, const char *number, char **ret_object)
{
	_cleanup_jobs_ JobList jobs = {};
	uint64_t id;
	ExitCode code;

	if (parse_number(number, 1, UINT64_MAX, &id) < 0) {
		say(stderr,
			"pmemlease: \"%s\" is no number of a job; `pmemlease jobs` lists them.\n",
			number);
		return EXIT_USAGE;
	}
	code = model_jobs(bus, o, &jobs);
	if (code != EXIT_DONE)
		return code;
	for (size_t i = 0; i < jobs.n; i++)
		if (jobs.items[i].id == id) {
			*ret_object = TAKE_PTR(jobs.items[i].object);
			return EXIT_DONE;
		}
	return report_error(o, SD_BUS_ERROR_UNKNOWN_OBJECT, "No job of this number is under way.");
}

ExitCode verb_cancel(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_free_ char *object = NULL;
	ExitCode code = find_job(bus, o, args[0], &object);

	if (code == EXIT_DONE)
		code = bus_call(bus, o, object, PML_IF_JOB, "Cancel", NULL, "");
	if (code != EXIT_DONE)
		return code;
	if (o->json)
		return report_started(o, object);
	printf("Job %s stops at its next safe point.\n", args[0]);
	return EXIT_DONE;
}

ExitCode verb_wait(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_watch_ JobWatch *watch = NULL;
	_cleanup_outcome_ JobOutcome outcome = {};
	_cleanup_free_ char *object = NULL;
	ExitCode code;
	int r;

	/* subscribed before it is looked for: an end in between is heard */
	r = job_watch_new(bus, o, &watch);
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	code = find_job(bus, o, args[0], &object);
	if (code == EXIT_DONE)
		code = job_watch_wait(watch, object, &outcome);
	if (code == EXIT_DONE)
		code = report_outcome(o, &outcome);
	if (code != EXIT_DONE)
		return code;
	if (o->json) {
		struct json_object *doc = json_object_new_object();

		json_object_object_add(doc, "job", job_outcome_to_json(&outcome));
		json_print(stdout, doc);
	} else {
		printf("Job %s is done.\n", args[0]);
	}
	return EXIT_DONE;
}

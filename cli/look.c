/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act.h"
#include "json.h"
#include "names.h"
#include "show.h"

static ExitCode shown(const Options *o, int r)
{
	return r < 0 ? report_errno(o, r, "Cannot show it") : EXIT_DONE;
}

static ExitCode status_of_region(sd_bus *bus, const Options *o, const char *name)
{
	_cleanup_region_ RegionInfo region = {};
	_cleanup_lease_ LeaseInfo lease = {};
	ExitCode code = model_region(bus, o, name, &region, &lease);

	return code != EXIT_DONE ? code : shown(o, show_region(stdout, o, &region, &lease));
}

ExitCode verb_status(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_manager_ ManagerInfo manager = {};
	_cleanup_regions_ RegionList regions = {};
	_cleanup_leases_ LeaseList leases = {};
	_cleanup_jobs_ JobList jobs = {};
	ExitCode code;

	if (args[0])
		return status_of_region(bus, o, args[0]);
	code = model_manager(bus, o, &manager);
	if (code == EXIT_DONE)
		code = model_regions(bus, o, &regions);
	if (code == EXIT_DONE)
		code = model_leases(bus, o, &leases);
	if (code == EXIT_DONE)
		code = model_jobs(bus, o, &jobs);
	if (code != EXIT_DONE)
		return code;
	return shown(o, show_status(stdout, o, &manager, &regions, &leases, &jobs));
}

ExitCode verb_regions(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_regions_ RegionList regions = {};
	ExitCode code = model_regions(bus, o, &regions);

	return code != EXIT_DONE ? code : shown(o, show_regions(stdout, o, &regions));
}

ExitCode verb_leases(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_leases_ LeaseList leases = {};
	ExitCode code = model_leases(bus, o, &leases);

	return code != EXIT_DONE ? code : shown(o, show_leases(stdout, o, &leases));
}

ExitCode verb_jobs(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_jobs_ JobList jobs = {};
	ExitCode code = model_jobs(bus, o, &jobs);

	return code != EXIT_DONE ? code : shown(o, show_jobs(stdout, o, &jobs));
}

/* A region by any of its names, a lease by its id; what is gone has a history all the same, by its
 * id. */
ExitCode verb_history(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_history_ HistoryList rows = {};
	_cleanup_free_ char *id = NULL;
	ExitCode code = EXIT_DONE;

	if (args[0])
		code = model_region_id(bus, o, args[0], &id);
	if (code == EXIT_DONE)
		code = model_history(bus, o, id ? id : args[0] ? args[0] : "", &rows);
	if (code != EXIT_DONE)
		return code;
	if (args[0] && !id && rows.n == 0)
		return report_error(o, PML_ERROR_NO_SUCH_REGION,
			"Nothing of this name is there, nor recorded. What is gone is found by its id.");
	return shown(o, show_history(stdout, o, &rows));
}

static ExitCode show_proof_text(const Options *o, const char *text)
{
	_cleanup_json_ struct json_object *proof = json_tokener_parse(text);

	if (!json_object_is_type(proof, json_type_object))
		return report_error(o, PML_ERROR_FAILED, "The daemon's proof is no JSON object.");
	return shown(o, show_proof(stdout, o, proof));
}

static int read_verify(sd_bus_message *m, const char **ret_proof)
{
	const char *key;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	*ret_proof = "";
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &key);
		if (r < 0)
			return r;
		/* verdict and summary are in the proof, too */
		if (strcmp(key, "proof") == 0)
			r = sd_bus_message_read(m, "v", "s", ret_proof);
		else
			r = sd_bus_message_skip(m, "v");
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

ExitCode verb_verify(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *object = NULL;
	const char *proof;
	ExitCode code = model_find(bus, o, "GetRegion", args[0], &object);
	int r;

	if (code == EXIT_DONE)
		code = bus_call(bus, o, object, PML_IF_REGION, "Verify", &reply, "");
	if (code != EXIT_DONE)
		return code;
	r = read_verify(reply, &proof);
	if (r < 0)
		return report_errno(o, r, "Cannot read the daemon's answer");
	return show_proof_text(o, proof);
}

ExitCode verb_proof(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *object = NULL;
	const char *proof;
	ExitCode code = model_find(bus, o, "GetRegion", args[0], &object);
	int r;

	if (code == EXIT_DONE)
		code = bus_call(bus, o, object, PML_IF_REGION, "GetProof", &reply, "");
	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_read(reply, "s", &proof);
	if (r < 0)
		return report_errno(o, r, "Cannot read the daemon's answer");
	return show_proof_text(o, proof);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From names to objects of the bus, and back. */
#include "model.h"
#include "names.h"

ExitCode model_find(sd_bus *bus, const Options *o, const char *method, const char *name, char **ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *object;
	ExitCode code;
	int r;

	code = bus_call(bus, o, PML_BUS_PATH, PML_IF_MANAGER, method, &reply, "s", name);
	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_read(reply, "o", &object);
	if (r >= 0 && !(*ret = strdup(object)))
		r = -ENOMEM;
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

ExitCode model_region_id(sd_bus *bus, const Options *o, const char *name, char **ret)
{
	_cleanup_message_ sd_bus_message *found = NULL;
	_cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *object;
	int r;

	r = sd_bus_call_method(bus, PML_BUS_NAME, PML_BUS_PATH, PML_IF_MANAGER, "GetRegion", &error,
		&found, "s", name);
	if (r < 0 && bus_error_exit_code(error.name) == EXIT_NOT_FOUND)
		return EXIT_DONE;
	if (r < 0 && sd_bus_error_is_set(&error))
		return report_error(o, error.name, error.message);
	if (r >= 0)
		r = sd_bus_message_read(found, "o", &object);
	if (r >= 0)
		r = sd_bus_get_property_string(
			bus, PML_BUS_NAME, object, PML_IF_REGION, "Id", NULL, ret);
	return r < 0 ? report_errno(o, r, "The daemon did not answer") : EXIT_DONE;
}

void model_proof(sd_bus *bus, const char *region_object, char **ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *text;
	/* an extra is not worth a password */
	int interactive = sd_bus_get_allow_interactive_authorization(bus);

	(void)sd_bus_set_allow_interactive_authorization(bus, false);
	if (sd_bus_call_method(bus, PML_BUS_NAME, region_object, PML_IF_REGION, "GetProof", NULL,
		    &reply, "") >= 0 &&
		sd_bus_message_read(reply, "s", &text) >= 0)
		*ret = strdup(text);
	(void)sd_bus_set_allow_interactive_authorization(bus, interactive > 0);
}

char *model_object_label(const char *object)
{
	static const char *const parents[] = {PML_PATH_REGION, PML_PATH_LEASE, PML_PATH_JOB};
	char *label = NULL;

	for (size_t i = 0; i < ELEMENTSOF(parents); i++)
		if (sd_bus_path_decode(object, parents[i], &label) > 0)
			return label;
	return strdup(object);
}

static int on_proof(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	char **ret = userdata;
	const char *text;

	if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "s", &text) >= 0)
		*ret = strdup(text);
	return 0;
}

int model_proof_async(sd_bus *bus, const char *region_object, sd_bus_slot **ret_slot, char **ret)
{
	int interactive = sd_bus_get_allow_interactive_authorization(bus);
	int r;

	(void)sd_bus_set_allow_interactive_authorization(bus, false);
	r = sd_bus_call_method_async(bus, ret_slot, PML_BUS_NAME, region_object, PML_IF_REGION,
		"GetProof", on_proof, ret, "");
	(void)sd_bus_set_allow_interactive_authorization(bus, interactive > 0);
	return r;
}

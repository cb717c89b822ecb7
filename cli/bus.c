/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus.h"
#include "format.h"
#include "json.h"
#include "names.h"

/* A person may have to type a password while a call waits. */
#define CALL_TIMEOUT_USEC (120 * USEC_PER_SEC)

static const struct {
	const char *name;
	ExitCode code;
	const char *hint;
} meanings[] = {
	{PML_ERROR_NO_SUCH_REGION, EXIT_NOT_FOUND, "`pmemlease regions` lists them."},
	{PML_ERROR_AMBIGUOUS, EXIT_NOT_FOUND,
		"Name it by its device, as `pmemlease regions` does."},
	{PML_ERROR_NONE_SUITABLE, EXIT_REFUSED,
		"`pmemlease regions` lists them; `pmemlease status REGION` has all that is in the way of one."},
	{PML_ERROR_NO_SUCH_LEASE, EXIT_NOT_FOUND, "`pmemlease leases` lists them."},
	{PML_ERROR_NO_SUCH_DOMAIN, EXIT_NOT_FOUND, "`virsh list --all` lists domains."},
	{SD_BUS_ERROR_UNKNOWN_OBJECT, EXIT_NOT_FOUND,
		"It has gone meanwhile; `pmemlease history` says how it ended."},
	{PML_ERROR_NO_SUCH_DEVICE, EXIT_NOT_FOUND, "`ndctl list -DR` lists DIMMs and regions."},
	{PML_ERROR_NOT_RESTORED, EXIT_REFUSED,
		"`pmemlease readmit --device=DEVICE` makes what is missing, where ndctl can, and goes on."},
	{PML_ERROR_NOT_SAFE, EXIT_REFUSED, "`pmemlease device DEVICE` looks again."},
	{PML_ERROR_BUSY, EXIT_REFUSED,
		"`pmemlease jobs` shows what is under way, `pmemlease leases` who has it."},
	{PML_ERROR_HELD, EXIT_REFUSED, "`pmemlease verify` names every holder."},
	{PML_ERROR_DOMAIN_NOT_RUNNING, EXIT_REFUSED, "`virsh start` it first."},
	{PML_ERROR_DOMAIN_UNSUITED, EXIT_REFUSED,
		"pmemlease(1), \"What a domain needs\", has an example."},
	{PML_ERROR_NOT_LEASABLE, EXIT_REFUSED,
		"`pmemlease status REGION` lists what is in the way."},
	{PML_ERROR_NOT_PLUGGED, EXIT_REFUSED, NULL},
	{PML_ERROR_NOT_CLEAN, EXIT_REFUSED,
		"Its data goes only by `pmemlease scrub REGION --discard=OWNER`, which names whose it is."},
	{PML_ERROR_FOREIGN, EXIT_REFUSED,
		"Say whose data it is (`pmemlease adopt REGION OWNER`), or destroy it (`pmemlease scrub "
		"REGION --discard=`)."},
	{PML_ERROR_QUARANTINED, EXIT_REFUSED,
		"`pmemlease status REGION` says why; `pmemlease lift-quarantine` is an operator's word "
		"that it is safe."},
	{PML_ERROR_STALE, EXIT_REFUSED, "Look again with `pmemlease regions`."},
	{PML_ERROR_WRONG_OWNER, EXIT_REFUSED, "Nothing was destroyed."},
	{PML_ERROR_GUEST_REFUSED, EXIT_REFUSED,
		"`pmemlease evict --on-refusal=force` goes on to the deadline all the same."},
	{PML_ERROR_NO_FENCE, EXIT_REFUSED, NULL},
	{PML_ERROR_PINNED, EXIT_REFUSED, NULL},
	{PML_ERROR_NODE_UNKNOWN, EXIT_REFUSED,
		"A restart of libvirt's daemon leaves running domains alone."},
	{PML_ERROR_LIMIT, EXIT_REFUSED, NULL},
	{PML_ERROR_STUCK, EXIT_STUCK,
		"`pmemlease proof REGION` shows what was seen; it is tried again whenever a holder ends."},
	{PML_ERROR_INVALID, EXIT_USAGE, NULL},
	{SD_BUS_ERROR_INVALID_ARGS, EXIT_USAGE, NULL},
	{SD_BUS_ERROR_ACCESS_DENIED, EXIT_DENIED,
		"Ask as root, or as somebody whom polkit's rules allow it (org.pmemlease1(5))."},
	{SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, EXIT_DENIED,
		"A password is wanted: leave --no-ask-password out, or ask as root."},
	{SD_BUS_ERROR_AUTH_FAILED, EXIT_DENIED, NULL},
	{SD_BUS_ERROR_SERVICE_UNKNOWN, EXIT_NO_DAEMON,
		"`systemctl status pmemleased` says why it does not run."},
	{SD_BUS_ERROR_NAME_HAS_NO_OWNER, EXIT_NO_DAEMON,
		"`systemctl status pmemleased` says why it does not run."},
	{SD_BUS_ERROR_NO_SERVER, EXIT_NO_DAEMON, NULL},
	{SD_BUS_ERROR_DISCONNECTED, EXIT_NO_DAEMON, NULL},
	{SD_BUS_ERROR_TIMEOUT, EXIT_NO_DAEMON, NULL},
	{SD_BUS_ERROR_NO_REPLY, EXIT_NO_DAEMON,
		"It may have been accepted: `pmemlease jobs` shows what is under way."},
	{PML_ERROR_NO_LIBVIRT, EXIT_FAILED,
		"`systemctl status libvirtd virtqemud`; evictions work without it all the same."},
	{PML_ERROR_LEDGER, EXIT_FAILED, "`journalctl -u pmemleased` has the disk's error."},
	{PML_ERROR_BAD_BLOCK, EXIT_FAILED, "`ndctl list -M` lists bad blocks."},
	{PML_ERROR_CONFIGURATION, EXIT_FAILED, NULL},
	{PML_ERROR_CANCELLED, EXIT_FAILED, NULL},
	{PML_ERROR_FAILED, EXIT_FAILED, NULL},
};

ExitCode bus_error_exit_code(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(meanings); i++)
		if (pml_streq(meanings[i].name, name))
			return meanings[i].code;
	/* the bus could not start the daemon: a family of names */
	if (name && strncmp(name, "org.freedesktop.DBus.Error.Spawn.", 33) == 0)
		return EXIT_NO_DAEMON;
	if (name && strncmp(name, "org.freedesktop.systemd1.", 25) == 0)
		return EXIT_NO_DAEMON;
	return EXIT_FAILED;
}

const char *bus_error_hint(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(meanings); i++)
		if (pml_streq(meanings[i].name, name))
			return meanings[i].hint;
	return NULL;
}

static const char *error_sentence(const char *name, const char *message)
{
	if (message && *message)
		return message;
	return name && *name ? name : "It failed, and no reason was given.";
}

struct json_object *error_to_json(const char *name, const char *message)
{
	struct json_object *error = json_object_new_object();

	json_add_string(error, "name", name ? name : "");
	json_add_string(error, "message", error_sentence(name, message));
	json_add_u64(error, "exit_code", bus_error_exit_code(name));
	return error;
}

ExitCode say_error(const char *name, const char *message)
{
	const char *hint = bus_error_hint(name);

	say(stderr, "pmemlease: %s\n", error_sentence(name, message));
	/* a sentence that names a command has said it already, with the right names */
	if (hint && !(message && strstr(message, "pmemlease ")))
		say(stderr, "           %s\n", hint);
	return bus_error_exit_code(name);
}

ExitCode report_error(const Options *o, const char *name, const char *message)
{
	if (o->json) {
		struct json_object *doc = json_object_new_object();

		json_object_object_add(doc, "error", error_to_json(name, message));
		json_print(stdout, doc);
	}
	return say_error(name, message);
}

ExitCode report_errno(const Options *o, int r, const char *what)
{
	_cleanup_free_ char *message = NULL;

	if (asprintf(&message, "%s: %s", what, strerror(-r)) < 0)
		message = NULL;
	switch (-r) {
	case ECONNRESET:
	case ENOTCONN:
	case ECONNREFUSED:
	case EPIPE:
	case ESHUTDOWN:
		return report_error(o, SD_BUS_ERROR_DISCONNECTED, message);
	case ETIMEDOUT:
		return report_error(o, SD_BUS_ERROR_NO_REPLY, message);
	default:
		return report_error(o, PML_ERROR_FAILED, message);
	}
}

int bus_connect(const Options *o, sd_bus **ret)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	const char *name;
	int r;

	if (o->host) {
		r = sd_bus_open_system_remote(&bus, o->host);
		/* waits for the other bus's greeting: what ssh cannot do is known now */
		if (r >= 0)
			r = sd_bus_get_unique_name(bus, &name);
	} else {
		r = sd_bus_open_system(&bus);
	}
	if (r < 0)
		return r;
	(void)sd_bus_set_allow_interactive_authorization(bus, !o->no_ask_password);
	(void)sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT_USEC);
	*ret = TAKE_PTR(bus);
	return 0;
}

int bus_open(const Options *o, sd_bus **ret, ExitCode *ret_exit)
{
	_cleanup_free_ char *message = NULL;
	int r = bus_connect(o, ret);

	if (r >= 0)
		return 0;
	if (o->host)
		r = asprintf(&message,
			"Cannot reach the system bus of %s: %s. Try `ssh %s systemd-stdio-bridge "
			"--help`.",
			o->host, strerror(-r), o->host);
	else
		r = asprintf(&message, "Cannot reach the system bus: %s.", strerror(-r));
	if (r < 0)
		message = NULL;
	*ret_exit = report_error(o, SD_BUS_ERROR_NO_SERVER, message);
	return -EIO;
}

ExitCode bus_send(sd_bus *bus, const Options *o, sd_bus_message *m, sd_bus_message **ret)
{
	_cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_call(bus, m, 0, &error, &reply);
	if (r < 0) {
		if (sd_bus_error_is_set(&error))
			return report_error(o, error.name, error.message);
		return report_errno(o, r, "The daemon did not answer");
	}
	if (ret)
		*ret = TAKE_PTR(reply);
	return EXIT_DONE;
}

ExitCode bus_call(sd_bus *bus, const Options *o, const char *path, const char *interface,
	const char *member, sd_bus_message **ret, const char *in_types, ...)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	va_list ap;
	int r;

	r = sd_bus_message_new_method_call(bus, &m, PML_BUS_NAME, path, interface, member);
	if (r >= 0) {
		va_start(ap, in_types);
		r = sd_bus_message_appendv(m, in_types, ap);
		va_end(ap);
	}
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	return bus_send(bus, o, m, ret);
}

ExitCode bus_get_all(sd_bus *bus, const Options *o, const char *object, const char *interface,
	sd_bus_message **ret, bool *ret_gone)
{
	_cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	r = sd_bus_call_method(bus, PML_BUS_NAME, object, "org.freedesktop.DBus.Properties",
		"GetAll", &error, ret, "s", interface);
	if (r >= 0)
		return EXIT_DONE;
	/* sd-bus answers for a path without an object with any of these, depending on what is
	 * beside it */
	if (ret_gone && (sd_bus_error_has_name(&error, SD_BUS_ERROR_UNKNOWN_OBJECT) ||
				sd_bus_error_has_name(&error, SD_BUS_ERROR_UNKNOWN_INTERFACE) ||
				sd_bus_error_has_name(&error, SD_BUS_ERROR_UNKNOWN_METHOD))) {
		*ret_gone = true;
		return EXIT_DONE;
	}
	if (sd_bus_error_is_set(&error))
		return report_error(o, error.name, error.message);
	return report_errno(o, r, "The daemon did not answer");
}

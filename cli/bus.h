/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The connection to the daemon, and what its errors mean to a script and to a person. */

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "options.h"
#include "util.h"

#define _cleanup_bus_	  _cleanup_(sd_bus_flush_close_unrefp)
#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)
#define _cleanup_error_	  _cleanup_(sd_bus_error_free)

/* Opens the system bus, here or by ssh on o->host. */
int bus_connect(const Options *o, sd_bus **ret);
/* The same. On failure says why and gives the exit code. */
int bus_open(const Options *o, sd_bus **ret, ExitCode *ret_exit);

/*
 * Calls the daemon. in_types, …: the arguments, as for sd_bus_message_append(). 0 and *ret (the
 * caller's), or the exit code after the error was reported; *ret may be NULL where no answer is
 * read.
 */
ExitCode bus_call(sd_bus *bus, const Options *o, const char *path, const char *interface,
	const char *member, sd_bus_message **ret, const char *in_types, ...);
/* The same with a message made by the caller. */
ExitCode bus_send(sd_bus *bus, const Options *o, sd_bus_message *m, sd_bus_message **ret);

/* All properties of an object. With ret_gone, an object that does not exist (any more) is no error:
 * *ret_gone tells. */
ExitCode bus_get_all(sd_bus *bus, const Options *o, const char *object, const char *interface,
	sd_bus_message **ret, bool *ret_gone);

/* Reads a variant of any type the contract has; what is of another type is null. *ret is the
 * caller's, and may be NULL (null). */
int bus_read_variant(sd_bus_message *m, struct json_object **ret);
/* Reads an a{sv} into an object; members of the same name are replaced. */
int bus_read_properties(sd_bus_message *m, struct json_object *into);

/* What a script learns of an error. Pure. */
ExitCode bus_error_exit_code(const char *name);
/* What to do next, where the client knows more than the daemon's sentence says; or NULL. Pure. */
const char *bus_error_hint(const char *name);

/* The error as the member "error" of a document has it. */
struct json_object *error_to_json(const char *name, const char *message);
/* The sentence and the hint on stderr, nothing on stdout. Returns the exit code. */
ExitCode say_error(const char *name, const char *message);
/* The same, with a document on stdout if --json asks for one. */
ExitCode report_error(const Options *o, const char *name, const char *message);
/* The same for a local failure (negative errno). */
ExitCode report_errno(const Options *o, int r, const char *what);

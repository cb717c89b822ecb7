/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What `pmemlease monitor` prints: one line, or with --json one object on one line, for each thing
 * that happens. No bus here. */

#include <json-c/json.h>
#include <stdio.h>

#include "options.h"

typedef struct Note {
	const char *event;	  /* "changed", "added", …: pmemlease(1) */
	const char *object;	  /* bus path */
	const char *text;	  /* what a person reads behind the subject */
	struct json_object *more; /* further members of the document, borrowed; or NULL */
} Note;

/* "region", "lease", "job", or "daemon" for all other paths. */
const char *monitor_kind(const char *path);

/*
 * objects: what is known of all objects, bus path → property → value. Returns 0, or -EIO when f
 * took it not.
 */
int monitor_say(FILE *f, const Options *o, struct json_object *objects, const Note *note);

/*
 * Says of each property that differs what it was and what it is. Those that follow from others
 * (which lease, which job, since when) are not said. before may be NULL: then nothing is.
 */
int monitor_say_changes(FILE *f, const Options *o, struct json_object *objects, const char *path,
	struct json_object *before, struct json_object *after);

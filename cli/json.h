/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writing and reading JSON documents; the documents themselves are described in pmemlease(1). */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <json-c/json.h>

#include "util.h"

static inline _unused_ void json_putp(struct json_object **j)
{
	if (*j)
		json_object_put(*j);
}
#define _cleanup_json_ _cleanup_(json_putp)

/* NULL becomes null. What comes over the bus is UTF-8 already: the bus drops who sends anything
 * else. */
void json_add_string(struct json_object *j, const char *key, const char *value);
void json_add_u64(struct json_object *j, const char *key, uint64_t value);
void json_add_bool(struct json_object *j, const char *key, bool value);
void json_add_strings(struct json_object *j, const char *key, char *const *values);

/* Prints the document and a newline, and drops it. */
void json_print(FILE *f, struct json_object *doc);

/* Readers that never fail: what is missing or of another type is "", 0, false. */
const char *json_get_str(struct json_object *j, const char *key);
uint64_t json_get_u64(struct json_object *j, const char *key);
/* Length of an array and the array; 0 and NULL where there is none. */
size_t json_get_array(struct json_object *j, const char *key, struct json_object **ret);

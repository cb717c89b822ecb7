/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

void json_add_string(struct json_object *j, const char *key, const char *value)
{
	json_object_object_add(j, key, value ? json_object_new_string(value) : NULL);
}

void json_add_u64(struct json_object *j, const char *key, uint64_t value)
{
	json_object_object_add(j, key, json_object_new_uint64(value));
}

void json_add_bool(struct json_object *j, const char *key, bool value)
{
	json_object_object_add(j, key, json_object_new_boolean(value));
}

void json_add_strings(struct json_object *j, const char *key, char *const *values)
{
	struct json_object *array = json_object_new_array();

	for (; values && *values; values++)
		json_object_array_add(array, json_object_new_string(*values));
	json_object_object_add(j, key, array);
}

void json_print(FILE *f, struct json_object *doc)
{
	fputs(json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PRETTY |
							  JSON_C_TO_STRING_SPACED |
							  JSON_C_TO_STRING_NOSLASHESCAPE),
		f);
	fputc('\n', f);
	json_object_put(doc);
}

const char *json_get_str(struct json_object *j, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(j, key, &v) || !json_object_is_type(v, json_type_string))
		return "";
	return json_object_get_string(v);
}

uint64_t json_get_u64(struct json_object *j, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(j, key, &v) || !json_object_is_type(v, json_type_int))
		return 0;
	return json_object_get_uint64(v);
}

size_t json_get_array(struct json_object *j, const char *key, struct json_object **ret)
{
	struct json_object *v;

	*ret = NULL;
	/* json_object_array_length() ends the program for what is no array */
	if (!json_object_object_get_ex(j, key, &v) || !json_object_is_type(v, json_type_array))
		return 0;
	*ret = v;
	return json_object_array_length(v);
}

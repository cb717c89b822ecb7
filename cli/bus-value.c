/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of the bus as JSON. */
#include "bus.h"
#include "json.h"

static int read_value(sd_bus_message *m, struct json_object **ret);

static int read_string(sd_bus_message *m, char type, struct json_object **ret)
{
	const char *s;
	int r = sd_bus_message_read_basic(m, type, &s);

	if (r >= 0)
		*ret = json_object_new_string(s);
	return r;
}

static int read_number(sd_bus_message *m, char type, struct json_object **ret)
{
	union {
		uint64_t t;
		int64_t x;
		uint32_t u;
		int32_t i;
		double d;
		int b;
	} v;
	int r = sd_bus_message_read_basic(m, type, &v);

	if (r < 0)
		return r;
	switch (type) {
	case SD_BUS_TYPE_UINT64:
		*ret = json_object_new_uint64(v.t);
		break;
	case SD_BUS_TYPE_INT64:
		*ret = json_object_new_int64(v.x);
		break;
	case SD_BUS_TYPE_UINT32:
		*ret = json_object_new_uint64(v.u);
		break;
	case SD_BUS_TYPE_INT32:
		*ret = json_object_new_int(v.i);
		break;
	case SD_BUS_TYPE_DOUBLE:
		*ret = json_object_new_double(v.d);
		break;
	case SD_BUS_TYPE_BOOLEAN:
		*ret = json_object_new_boolean(v.b);
		break;
	}
	return r;
}

int bus_read_properties(sd_bus_message *m, struct json_object *into)
{
	const char *key;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		struct json_object *value = NULL;

		r = sd_bus_message_read(m, "s", &key);
		if (r >= 0)
			r = bus_read_variant(m, &value);
		if (r >= 0)
			json_object_object_add(into, key, value);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_dictionary(sd_bus_message *m, struct json_object **ret)
{
	_cleanup_json_ struct json_object *j = json_object_new_object();
	int r = bus_read_properties(m, j);

	if (r >= 0)
		*ret = TAKE_PTR(j);
	return r;
}

static int read_array(sd_bus_message *m, const char *contents, struct json_object **ret)
{
	_cleanup_json_ struct json_object *j = json_object_new_array();
	int r = sd_bus_message_enter_container(m, 'a', contents);

	while (r >= 0 && (r = sd_bus_message_at_end(m, false)) == 0) {
		struct json_object *value = NULL;

		r = read_value(m, &value);
		if (r >= 0)
			json_object_array_add(j, value);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r >= 0)
		*ret = TAKE_PTR(j);
	return r;
}

static int read_value(sd_bus_message *m, struct json_object **ret)
{
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r < 0)
		return r;
	*ret = NULL;
	switch (type) {
	case SD_BUS_TYPE_STRING:
	case SD_BUS_TYPE_OBJECT_PATH:
	case SD_BUS_TYPE_SIGNATURE:
		return read_string(m, type, ret);
	case SD_BUS_TYPE_UINT64:
	case SD_BUS_TYPE_INT64:
	case SD_BUS_TYPE_UINT32:
	case SD_BUS_TYPE_INT32:
	case SD_BUS_TYPE_DOUBLE:
	case SD_BUS_TYPE_BOOLEAN:
		return read_number(m, type, ret);
	case SD_BUS_TYPE_ARRAY:
		if (strcmp(contents, "{sv}") == 0)
			return read_dictionary(m, ret);
		return read_array(m, contents, ret);
	default:
		return sd_bus_message_skip(m, NULL);
	}
}

int bus_read_variant(sd_bus_message *m, struct json_object **ret)
{
	struct json_object *value = NULL;
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'v', contents);
	if (r >= 0)
		r = read_value(m, &value);
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0) {
		json_putp(&value);
		return r;
	}
	*ret = value;
	return 0;
}

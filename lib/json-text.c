/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>

#include "json-text.h"
#include "util.h"

int json_text_object(const char *text, size_t n, int flags, struct json_object **ret)
{
	struct json_tokener *tokener;
	struct json_object *o;
	bool whole;

	if (n > INT_MAX)
		return -EBADMSG;
	tokener = json_tokener_new();
	if (!tokener)
		return -ENOMEM;
	json_tokener_set_flags(tokener, flags);
	o = json_tokener_parse_ex(tokener, text, (int)n);
	whole = json_tokener_get_error(tokener) == json_tokener_success &&
		json_tokener_get_parse_end(tokener) == n;
	json_tokener_free(tokener);
	if (!whole || !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return -EBADMSG;
	}
	*ret = o;
	return 0;
}

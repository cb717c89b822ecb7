/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

/*
 * The object that text is, from its first byte to its n-th; flags as of json_tokener_set_flags().
 * JSON_TOKENER_STRICT is not for us: json-c 0.18, which is Debian 13's, takes every byte of a
 * character beyond ASCII for a control character then (json-c issue 892). -EBADMSG: it is none.
 */
int json_text_object(const char *text, size_t n, int flags, struct json_object **ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <json-c/json.h>

#include "agent.h"
#include "util.h"

/* A program's answer is one line; one that says more is not ours. */
#define ANSWER_MAX 16384

typedef struct json_object *JsonObject;
DEFINE_CLEANUP(JsonObject, json_object_put)
#define _cleanup_json_ _cleanup_(json_object_putp)

static struct json_object *member(struct json_object *o, const char *key, json_type type)
{
	struct json_object *value;

	if (!json_object_is_type(o, json_type_object) ||
		!json_object_object_get_ex(o, key, &value) || !json_object_is_type(value, type))
		return NULL;
	return value;
}

/* --- asking --- */

static int add_string(struct json_object *array, const char *format, ...) _printf_(2, 3);
static int add_string(struct json_object *array, const char *format, ...)
{
	struct json_object *s;
	char text[64];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	s = json_object_new_string(text);
	if (s && json_object_array_add(array, s) == 0)
		return 0;
	json_object_put(s);
	return -ENOMEM;
}

static int add(struct json_object *o, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

static char *command(const char *name, struct json_object *arguments)
{
	_cleanup_json_ struct json_object *o = json_object_new_object();
	const char *text;

	if (!o || !arguments) {
		json_object_put(arguments);
		return NULL;
	}
	if (add(o, "arguments", arguments) < 0 ||
		add(o, "execute", json_object_new_string(name)) < 0)
		return NULL;
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	return text ? strdup(text) : NULL;
}

char *agent_exec_command(const AgentDevice *device, uint64_t timeout_usec)
{
	struct json_object *o = json_object_new_object(), *words = json_object_new_array();
	int r = o && words ? 0 : -ENOMEM;

	if (r == 0 && device->has_address)
		r = add_string(words, "--address=0x%" PRIx64, device->address);
	if (r == 0)
		r = add_string(words, "--size=%" PRIu64, device->size_bytes);
	if (r == 0 && timeout_usec > 0)
		r = add_string(words, "--timeout=%" PRIu64,
			(uint64_t)((timeout_usec + USEC_PER_SEC - 1) / USEC_PER_SEC));
	if (r == 0)
		r = add(o, "path", json_object_new_string(AGENT_PROGRAM));
	if (r == 0)
		r = add(o, "arg", json_object_get(words));
	if (r == 0)
		r = add(o, "capture-output", json_object_new_boolean(true));
	json_object_put(words);
	if (r < 0) {
		json_object_put(o);
		return NULL;
	}
	return command("guest-exec", o);
}

char *agent_status_command(int64_t pid)
{
	struct json_object *o = json_object_new_object();

	if (o && add(o, "pid", json_object_new_int64(pid)) < 0) {
		json_object_put(o);
		return NULL;
	}
	return command("guest-exec-status", o);
}

/* --- what comes back --- */

/* The member "return", of the caller's document. */
static int read_return(const char *answer, struct json_object **ret_doc, struct json_object **ret)
{
	struct json_object *o = json_tokener_parse(answer), *value;

	if (!json_object_is_type(o, json_type_object) ||
		!json_object_object_get_ex(o, "return", &value)) {
		json_object_put(o);
		return -EBADMSG;
	}
	*ret_doc = o;
	*ret = value;
	return 0;
}

int agent_read_exec(const char *answer, int64_t *ret_pid)
{
	_cleanup_json_ struct json_object *doc = NULL;
	struct json_object *o, *pid;
	int r;

	r = read_return(answer, &doc, &o);
	if (r < 0)
		return r;
	pid = member(o, "pid", json_type_int);
	if (!pid || json_object_get_int64(pid) <= 0)
		return -EBADMSG;
	*ret_pid = json_object_get_int64(pid);
	return 0;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* As text, NUL-terminated; what is behind the padding is not looked at. */
static char *base64_text(const char *s, size_t n)
{
	char *text = malloc(n / 4 * 3 + 4), *p = text;
	unsigned bits = 0, have = 0;

	for (size_t i = 0; text && i < n && s[i] != '='; i++) {
		int v = base64_value(s[i]);

		if (v < 0) {
			free(text);
			return NULL;
		}
		bits = bits << 6 | (unsigned)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			*p++ = (char)(bits >> have & 0xff);
		}
	}
	if (text)
		*p = '\0';
	return text;
}

/* What the program printed, as far as it is worth reading; the caller's, or NULL. */
static char *output(struct json_object *o, const char *key)
{
	struct json_object *data = member(o, key, json_type_string);
	size_t n = data ? (size_t)json_object_get_string_len(data) : 0;

	return n > 0 && n <= ANSWER_MAX ? base64_text(json_object_get_string(data), n) : NULL;
}

static void take_reason(VirtRelease *r, const char *text)
{
	(void)snprintf(r->reason, sizeof(r->reason), "%s", text);
	pml_make_printable(r->reason);
}

/* The last line of it: what a program says that dies. */
static void take_last_line(VirtRelease *r, char *text)
{
	size_t n = strlen(text);
	char *line;

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	line = strrchr(text, '\n');
	take_reason(r, line ? line + 1 : text);
}

static void read_answer(struct json_object *o, VirtRelease *r)
{
	struct json_object *code = member(o, "exitcode", json_type_int);
	struct json_object *by = member(o, "signal", json_type_int);
	_cleanup_json_ struct json_object *said = NULL;
	_cleanup_free_ char *out = output(o, "out-data"), *err = output(o, "err-data");
	struct json_object *result, *reason;
	char text[64];

	said = out ? json_tokener_parse(out) : NULL;
	result = member(said, "result", json_type_string);
	reason = member(said, "reason", json_type_string);
	if (result && strcmp(json_object_get_string(result), "released") == 0 && code &&
		json_object_get_int(code) == 0) {
		r->released = true;
		return;
	}
	if (result && reason && *json_object_get_string(reason)) {
		take_reason(r, json_object_get_string(reason));
		return;
	}
	if (err)
		take_last_line(r, err);
	if (r->reason[0])
		return;
	(void)snprintf(text, sizeof(text), "its program ended with %s %d and no answer",
		by ? "signal" : "status",
		by     ? json_object_get_int(by)
		: code ? json_object_get_int(code)
		       : -1);
	take_reason(r, text);
}

int agent_read_status(const char *answer, VirtRelease *ret)
{
	_cleanup_json_ struct json_object *doc = NULL;
	struct json_object *o, *exited;
	VirtRelease v = {.pid = ret->pid};
	int r;

	r = read_return(answer, &doc, &o);
	if (r < 0)
		return r;
	exited = member(o, "exited", json_type_boolean);
	if (!exited)
		return -EBADMSG;
	v.over = json_object_get_boolean(exited);
	if (v.over)
		read_answer(o, &v);
	*ret = v;
	return 0;
}

int agent_read_enabled(const char *answer, const char *name, bool *ret)
{
	_cleanup_json_ struct json_object *doc = NULL;
	struct json_object *o, *list;
	size_t n;
	int r;

	r = read_return(answer, &doc, &o);
	if (r < 0)
		return r;
	list = member(o, "supported_commands", json_type_array);
	if (!list)
		return -EBADMSG;
	*ret = false;
	n = json_object_array_length(list);
	for (size_t i = 0; i < n; i++) {
		struct json_object *c = json_object_array_get_idx(list, i);
		struct json_object *word = member(c, "name", json_type_string);
		struct json_object *enabled = member(c, "enabled", json_type_boolean);

		if (word && enabled && strcmp(json_object_get_string(word), name) == 0)
			*ret = json_object_get_boolean(enabled);
	}
	return 0;
}

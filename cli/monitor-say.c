/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <math.h>

#include "format.h"
#include "json.h"
#include "model.h"
#include "monitor.h"
#include "names.h"

/* How a property is called in documents and in lines. */
typedef struct Shown {
	const char *kind, *property, *key, *label;
} Shown;

static const Shown shown[] = {
	{"daemon", "LibvirtConnected", "libvirt_connected", "connected to libvirt"},
	{"region", "Name", "name", "name"},
	{"region", "Path", "path", "path"},
	{"region", "Extent", "extent", "extent"},
	{"region", "Size", "size_bytes", "size"},
	{"region", "Dimms", "dimms", "DIMMs"},
	{"region", "Presence", "presence", "presence"},
	{"region", "Use", "use", "use"},
	{"region", "Content", "content", "content"},
	{"region", "Owner", "owner", "owner"},
	{"region", "Reason", "reason", "reason"},
	{"region", "FenceLevel", "fence_level", "fence"},
	{"region", "Binding", "binding", "binding"},
	{"lease", "Domain", "domain", "domain's UUID"},
	{"lease", "DomainName", "domain_name", "domain"},
	{"lease", "Owner", "owner", "owner"},
	{"lease", "State", "state", "state"},
	{"lease", "Policy", "policy", "policy"},
	{"lease", "Deadline", "deadline_usec", "deadline"},
	{"lease", "Warnings", "warnings", "warnings"},
	{"job", "Phase", "phase", "phase"},
	{"job", "Progress", "progress", "progress"},
};

const char *monitor_kind(const char *path)
{
	static const struct {
		const char *prefix, *kind;
	} kinds[] = {
		{PML_PATH_REGION "/", "region"},
		{PML_PATH_LEASE "/", "lease"},
		{PML_PATH_JOB "/", "job"},
	};

	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (strncmp(path, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
			return kinds[i].kind;
	return "daemon";
}

static struct json_object *object_at(struct json_object *objects, const char *path)
{
	struct json_object *j = NULL;

	(void)json_object_object_get_ex(objects, path, &j);
	return j;
}

/* The name that people know it by; malloc-ed. */
static char *label(struct json_object *objects, const char *path)
{
	const char *name = json_get_str(object_at(objects, path), "Name");

	return *name ? strdup(name) : model_object_label(path);
}

/* "region dax0.0", "lease of dax0.0 to g1", "job 7 (evict dax0.0)"; malloc-ed. */
static char *subject(struct json_object *objects, const char *path)
{
	struct json_object *it = object_at(objects, path);
	const char *kind = monitor_kind(path);
	_cleanup_free_ char *name = label(objects, path), *of = NULL;
	char *s;
	int r;

	if (strcmp(kind, "lease") == 0 && it) {
		of = label(objects, json_get_str(it, "Region"));
		r = asprintf(&s, "lease of %s to %s", of ? of : "", json_get_str(it, "DomainName"));
	} else if (strcmp(kind, "job") == 0 && it) {
		of = label(objects, json_get_str(it, "Subject"));
		r = asprintf(&s, "job %s (%s %s)", name ? name : "", json_get_str(it, "Kind"),
			of ? of : "");
	} else if (strcmp(kind, "daemon") == 0) {
		r = asprintf(&s, "daemon");
	} else {
		r = asprintf(&s, "%s %s", kind, name ? name : "");
	}
	return r < 0 ? NULL : s;
}

static void add_subject(struct json_object *doc, struct json_object *objects, const char *path)
{
	struct json_object *it = object_at(objects, path);
	const char *kind = monitor_kind(path);
	_cleanup_free_ char *id = model_object_label(path), *of = NULL;

	json_add_string(doc, "kind", kind);
	json_add_string(doc, "object", path);
	if (strcmp(kind, "region") == 0) {
		json_add_string(doc, "region", id);
		json_add_string(doc, "region_name", json_get_str(it, "Name"));
	} else if (strcmp(kind, "lease") == 0) {
		of = label(objects, json_get_str(it, "Region"));
		json_add_string(doc, "lease", id);
		json_add_string(doc, "region_name", of);
		json_add_string(doc, "domain_name", json_get_str(it, "DomainName"));
	} else if (strcmp(kind, "job") == 0) {
		json_add_u64(doc, "job", id ? strtoull(id, NULL, 10) : 0);
		json_add_string(doc, "job_kind", json_get_str(it, "Kind"));
		json_add_string(doc, "subject", json_get_str(it, "Subject"));
	}
}

static int say_document(FILE *f, struct json_object *objects, const Note *note)
{
	_cleanup_json_ struct json_object *doc = json_object_new_object();

	json_add_u64(doc, "time_usec", pml_now_usec(CLOCK_REALTIME));
	json_add_string(doc, "event", note->event);
	add_subject(doc, objects, note->object);
	if (note->more) {
		json_object_object_foreach(note->more, key, value)
		{
			json_object_object_add(doc, key, json_object_get(value));
		}
	}
	fprintf(f, "%s\n",
		json_object_to_json_string_ext(
			doc, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	return fflush(f) == 0 ? 0 : -EIO;
}

int monitor_say(FILE *f, const Options *o, struct json_object *objects, const Note *note)
{
	_cleanup_free_ char *who = NULL, *line = NULL, *safe = NULL;
	char when[FORMAT_MAX];

	if (o->json)
		return say_document(f, objects, note);
	who = subject(objects, note->object);
	if (asprintf(&line, "%s: %s", who ? who : "", note->text) < 0)
		line = NULL;
	/* one event, one line: also where somebody's name has a newline in it */
	safe = line ? printable(line) : NULL;
	fprintf(f, "%s %s\n", format_time_msec(when, pml_now_usec(CLOCK_REALTIME)),
		safe ? safe : "");
	return fflush(f) == 0 ? 0 : -EIO;
}

static void append(char **text, const char *separator, const char *key, const char *value)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s%s%s", *text ? *text : "", *text ? separator : "",
		    key ? key : "", key ? "=" : "", value) < 0)
		return;
	free(*text);
	*text = longer;
}

static char *deadline_text(const Options *o, uint64_t deadline_usec)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);
	char span[FORMAT_MAX], *s;

	if (deadline_usec == 0)
		return strdup("none");
	/* another host's clock is not ours */
	if (o->host)
		return strdup("running");
	if (deadline_usec <= now)
		return strdup("now");
	return asprintf(&s, "in %s", format_span(span, deadline_usec - now)) < 0 ? NULL : s;
}

/* malloc-ed */
static char *value_text(const Options *o, const Shown *what, struct json_object *value)
{
	char buf[FORMAT_MAX], *text = NULL;

	switch (json_object_get_type(value)) {
	case json_type_boolean:
		return strdup(json_object_get_boolean(value) ? "yes" : "no");
	case json_type_double:
		snprintf(buf, sizeof(buf), "%d%%", (int)(json_object_get_double(value) * 100));
		return strdup(buf);
	case json_type_int:
		if (strcmp(what->property, "Deadline") == 0)
			return deadline_text(o, json_object_get_uint64(value));
		return strdup(format_size(buf, json_object_get_uint64(value), o->bytes));
	case json_type_array:
		for (size_t i = 0; i < json_object_array_length(value); i++)
			append(&text, "; ", NULL,
				json_object_get_string(json_object_array_get_idx(value, i)));
		return text ? text : strdup("none");
	case json_type_object: {
		json_object_object_foreach(value, key, member)
		{
			append(&text, ", ", key, member ? json_object_get_string(member) : "");
		}
		return text ? text : strdup("none");
	}
	case json_type_string:
		if (json_object_get_string_len(value) > 0)
			return strdup(json_object_get_string(value));
		break;
	case json_type_null:
		break;
	}
	return strdup("none");
}

/* A bar that creeps is no event for a person: whole tenths are. */
static bool worth_a_line(const Shown *what, struct json_object *from, struct json_object *to)
{
	if (strcmp(what->property, "Progress") != 0)
		return true;
	return floor(json_object_get_double(from) * 10) < floor(json_object_get_double(to) * 10);
}

static int say_change(FILE *f, const Options *o, struct json_object *objects, const char *path,
	const Shown *what, struct json_object *from, struct json_object *to)
{
	_cleanup_json_ struct json_object *more = json_object_new_object();
	_cleanup_free_ char *was = value_text(o, what, from), *is = value_text(o, what, to);
	_cleanup_free_ char *text = NULL;
	Note note = {.event = "changed", .object = path, .more = more};
	int r;

	if (!o->json && !worth_a_line(what, from, to))
		return 0;
	json_add_string(more, "property", what->key);
	json_object_object_add(more, "from", json_object_get(from));
	json_object_object_add(more, "to", json_object_get(to));
	if (strcmp(what->kind, "job") == 0)
		r = asprintf(&text, "%s", is ? is : "");
	else
		r = asprintf(&text, "%s %s -> %s", what->label, was ? was : "", is ? is : "");
	if (r < 0)
		return -ENOMEM;
	note.text = text;
	return monitor_say(f, o, objects, &note);
}

int monitor_say_changes(FILE *f, const Options *o, struct json_object *objects, const char *path,
	struct json_object *before, struct json_object *after)
{
	const char *kind = monitor_kind(path);
	int r = 0;

	for (size_t i = 0; before && i < ELEMENTSOF(shown) && r == 0; i++) {
		struct json_object *from = NULL, *to = NULL;

		if (strcmp(shown[i].kind, kind) != 0 ||
			!json_object_object_get_ex(after, shown[i].property, &to))
			continue;
		(void)json_object_object_get_ex(before, shown[i].property, &from);
		if (!json_object_equal(from, to))
			r = say_change(f, o, objects, path, &shown[i], from, to);
	}
	return r;
}

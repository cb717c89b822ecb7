/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The proof as it is kept: one flat JSON object. Numbers that could not be counted are null.
 * Reading is for showing an old proof: it believes nothing that does not have the type and range
 * that writing gives it.
 */

#include <limits.h>

#include "json-text.h"
#include "proof-internal.h"
#include "util.h"

#define JSON_FORMAT	 1
#define JSON_MAX_BYTES	 (16U << 20)
#define JSON_MAX_ENTRIES 65536

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(PmlProof *, pml_proof_free)

static int add(json_object *to, const char *key, json_object *value)
{
	if (!value)
		return -ENOMEM;
	if (json_object_object_add(to, key, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

static int add_string(json_object *to, const char *key, const char *value)
{
	return add(to, key, json_object_new_string(value));
}

static int add_number(json_object *to, const char *key, uint64_t value)
{
	return add(to, key, json_object_new_uint64(value));
}

static int add_countable(json_object *to, const char *key, uint64_t value)
{
	if (value != UINT64_MAX)
		return add_number(to, key, value);
	return json_object_object_add(to, key, NULL) < 0 ? -ENOMEM : 0;
}

static int add_bool(json_object *to, const char *key, bool value)
{
	return add(to, key, json_object_new_boolean(value));
}

static int append(json_object *array, json_object *value)
{
	if (!value)
		return -ENOMEM;
	if (json_object_array_add(array, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

/* Each step only if all before it went well: r is 0 or the first error. */
#define STEP(r, call)                                                                              \
	do {                                                                                       \
		if ((r) == 0)                                                                      \
			(r) = (call);                                                              \
	} while (0)

static int holder_to_json(const PmlHolder *h, json_object **ret)
{
	_cleanup_(json_object_putp) json_object *o = json_object_new_object();
	int r = o ? 0 : -ENOMEM;

	STEP(r, add_number(o, "pid", (uint64_t)h->pid));
	STEP(r, add_number(o, "start_ticks", h->start_ticks));
	STEP(r, add_string(o, "command", h->command));
	STEP(r, add_string(o, "cgroup", h->cgroup));
	STEP(r, add_string(o, "unit", h->unit));
	STEP(r, add_number(o, "descriptors", h->n_descriptors));
	STEP(r, add_number(o, "mappings", h->n_mappings));
	STEP(r, add_number(o, "mapped_bytes", h->mapped_bytes));
	STEP(r, add_number(o, "present_bytes", h->present_bytes));
	STEP(r, add_number(o, "probes", h->n_probes));
	STEP(r, add_number(o, "probes_refused", h->n_probes_failed));
	STEP(r, add_number(o, "revoked", h->n_revoked));
	if (r == 0)
		*ret = TAKE_PTR(o);
	return r;
}

static int arrays_to_json(const PmlProof *p, json_object *o)
{
	json_object *holders = json_object_new_array(), *spots = json_object_new_array();
	int r;

	/* Owned by o from here on, or freed. */
	r = add(o, "holders", holders);
	if (r < 0) {
		json_object_put(spots);
		return r;
	}
	r = add(o, "blind_spots", spots);
	for (size_t i = 0; i < p->n_holders && r == 0; i++) {
		json_object *h = NULL;

		r = holder_to_json(&p->holders[i], &h);
		STEP(r, append(holders, h));
	}
	for (size_t i = 0; i < p->n_blind_spots && r == 0; i++)
		r = append(spots, json_object_new_string(p->blind_spots[i]));
	return r;
}

int pml_proof_to_json(const PmlProof *p, char **ret)
{
	_cleanup_(json_object_putp) json_object *o = json_object_new_object();
	const char *text;
	char *copy;
	int r = o ? 0 : -ENOMEM;

	STEP(r, add_number(o, "format", JSON_FORMAT));
	STEP(r, add_string(o, "verdict", pml_proof_verdict_to_string(p->verdict)));
	STEP(r, add_string(o, "summary", p->summary));
	STEP(r, add_string(o, "region", p->region));
	STEP(r, add_string(o, "rung", p->rung));
	STEP(r, add_string(o, "binding", p->binding));
	STEP(r, add_number(o, "realtime_usec", p->realtime_usec));
	STEP(r, add_bool(o, "settled", p->settled));
	STEP(r, add_number(o, "processes", p->n_processes));
	STEP(r, add_number(o, "processes_denied", p->n_denied));
	STEP(r, add_number(o, "mappings_left", p->mappings_left));
	if (p->block) {
		STEP(r, add_countable(o, "cached_bytes", p->cached_bytes));
	} else {
		STEP(r, add_countable(o, "module_refs", p->module_refs));
		STEP(r, add_countable(o, "unexplained_refs", p->unexplained_refs));
		STEP(r, add_countable(o, "kernel_refs", p->kernel_refs));
		STEP(r, add_number(o, "generation", p->generation));
	}
	STEP(r, arrays_to_json(p, o));
	if (r < 0)
		return r;
	text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	copy = text ? strdup(text) : NULL;
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

static int get(json_object *o, const char *key, json_type type, json_object **ret)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, type))
		return -EBADMSG;
	*ret = v;
	return 0;
}

/* ret is malloc-ed; a string with a NUL inside is none of ours. */
static int copy_string(json_object *v, char **ret)
{
	const char *s;
	char *copy;

	if (!json_object_is_type(v, json_type_string))
		return -EBADMSG;
	s = json_object_get_string(v);
	if (strlen(s) != (size_t)json_object_get_string_len(v))
		return -EBADMSG;
	copy = strdup(s);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

static int get_string(json_object *o, const char *key, char **ret)
{
	json_object *v;
	int r = get(o, key, json_type_string, &v);

	return r < 0 ? r : copy_string(v, ret);
}

static int get_number(json_object *o, const char *key, uint64_t max, uint64_t *ret)
{
	json_object *v;
	int r = get(o, key, json_type_int, &v);

	if (r < 0)
		return r;
	if (json_object_get_int64(v) < 0 || json_object_get_uint64(v) > max)
		return -EBADMSG;
	*ret = json_object_get_uint64(v);
	return 0;
}

static int get_unsigned(json_object *o, const char *key, unsigned *ret)
{
	uint64_t n = 0;
	int r = get_number(o, key, UINT_MAX, &n);

	if (r == 0)
		*ret = (unsigned)n;
	return r;
}

static int get_countable(json_object *o, const char *key, uint64_t *ret)
{
	json_object *v;

	if (json_object_object_get_ex(o, key, &v) && !v) {
		*ret = UINT64_MAX;
		return 0;
	}
	return get_number(o, key, UINT64_MAX - 1, ret);
}

static int holder_from_json(json_object *o, PmlHolder *h)
{
	uint64_t pid = 0;
	int r = json_object_is_type(o, json_type_object) ? 0 : -EBADMSG;

	h->pidfd = -EBADF;
	STEP(r, get_number(o, "pid", INT_MAX, &pid));
	STEP(r, get_number(o, "start_ticks", UINT64_MAX, &h->start_ticks));
	STEP(r, get_string(o, "command", (char **)&h->command));
	STEP(r, get_string(o, "cgroup", (char **)&h->cgroup));
	STEP(r, get_string(o, "unit", (char **)&h->unit));
	STEP(r, get_unsigned(o, "descriptors", &h->n_descriptors));
	STEP(r, get_unsigned(o, "mappings", &h->n_mappings));
	STEP(r, get_number(o, "mapped_bytes", UINT64_MAX, &h->mapped_bytes));
	STEP(r, get_number(o, "present_bytes", UINT64_MAX, &h->present_bytes));
	STEP(r, get_unsigned(o, "probes", &h->n_probes));
	STEP(r, get_unsigned(o, "probes_refused", &h->n_probes_failed));
	if (json_object_object_get_ex(o, "revoked", NULL))
		STEP(r, get_unsigned(o, "revoked", &h->n_revoked));
	h->pid = (pid_t)pid;
	return r;
}

static int arrays_from_json(json_object *o, PmlProof *p)
{
	json_object *holders = NULL, *spots = NULL;
	int r = 0;

	STEP(r, get(o, "holders", json_type_array, &holders));
	STEP(r, get(o, "blind_spots", json_type_array, &spots));
	if (r < 0)
		return r;
	if (json_object_array_length(holders) > JSON_MAX_ENTRIES ||
		json_object_array_length(spots) > JSON_MAX_ENTRIES)
		return -EBADMSG;
	p->holders = calloc(json_object_array_length(holders) + 1, sizeof(*p->holders));
	if (!p->holders)
		return -ENOMEM;
	for (size_t i = 0; i < json_object_array_length(holders) && r == 0; i++)
		r = holder_from_json(
			json_object_array_get_idx(holders, i), &p->holders[p->n_holders++]);
	for (size_t i = 0; i < json_object_array_length(spots) && r == 0; i++) {
		_cleanup_free_ char *sentence = NULL;

		r = copy_string(json_object_array_get_idx(spots, i), &sentence);
		STEP(r, proof_add_blind_spot(p, "%s", sentence));
	}
	return r;
}

static int proof_from_object(json_object *o, PmlProof *p)
{
	_cleanup_free_ char *verdict = NULL;
	json_object *settled = NULL;
	uint64_t format = 0;
	int r = json_object_is_type(o, json_type_object) ? 0 : -EBADMSG;

	STEP(r, get_number(o, "format", UINT64_MAX, &format));
	if (r == 0 && format != JSON_FORMAT)
		r = -EBADMSG;
	STEP(r, get_string(o, "verdict", &verdict));
	STEP(r, get_string(o, "summary", &p->summary));
	STEP(r, get_string(o, "region", &p->region));
	STEP(r, get_string(o, "rung", &p->rung));
	STEP(r, get_string(o, "binding", &p->binding));
	STEP(r, get_number(o, "realtime_usec", UINT64_MAX, &p->realtime_usec));
	STEP(r, get(o, "settled", json_type_boolean, &settled));
	STEP(r, get_unsigned(o, "processes", &p->n_processes));
	STEP(r, get_unsigned(o, "processes_denied", &p->n_denied));
	STEP(r, get_unsigned(o, "mappings_left", &p->mappings_left));
	p->block = json_object_object_get_ex(o, "cached_bytes", NULL);
	if (p->block) {
		STEP(r, get_countable(o, "cached_bytes", &p->cached_bytes));
	} else {
		STEP(r, get_countable(o, "module_refs", &p->module_refs));
		STEP(r, get_countable(o, "unexplained_refs", &p->unexplained_refs));
		/* Proofs of before there was a kernel that tells have neither. */
		if (json_object_object_get_ex(o, "kernel_refs", NULL))
			STEP(r, get_countable(o, "kernel_refs", &p->kernel_refs));
		if (json_object_object_get_ex(o, "generation", NULL))
			STEP(r, get_number(o, "generation", UINT64_MAX, &p->generation));
	}
	STEP(r, arrays_from_json(o, p));
	if (r < 0)
		return r;
	p->settled = json_object_get_boolean(settled);
	p->verdict = pml_proof_verdict_from_string(verdict);
	return (int)p->verdict < 0 ? -EBADMSG : 0;
}

int pml_proof_from_json(const char *json, PmlProof **ret)
{
	_cleanup_(json_object_putp) json_object *o = NULL;
	_cleanup_(pml_proof_freep) PmlProof *p = NULL;
	size_t size = strlen(json);
	int r;

	if (size > JSON_MAX_BYTES)
		return -EBADMSG;
	r = json_text_object(json, size, JSON_TOKENER_VALIDATE_UTF8, &o);
	if (r < 0)
		return r;
	p = proof_new();
	if (!p)
		return -ENOMEM;
	r = proof_from_object(o, p);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

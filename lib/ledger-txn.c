/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A transaction in memory: a list of changes, checked for what can be checked without the disk. */

#include "ledger-internal.h"

#define ACTOR_LEN   (sizeof(((PmlHistoryRecord *)NULL)->actor))
#define SUBJECT_LEN (sizeof(((PmlHistoryRecord *)NULL)->subject))

static void change_clear(Change *c)
{
	free(c->lease);
	free(c->id);
	free(c->subject);
	free(c->lease_id);
	free(c->text);
}

PmlTxn *pml_txn_new(const char *actor)
{
	PmlTxn *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->actor = strndup(actor, ACTOR_LEN - 1);
	if (!t->actor)
		return pml_txn_free(t);
	return t;
}

PmlTxn *pml_txn_free(PmlTxn *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		change_clear(&t->changes[i]);
	free(t->changes);
	free(t->actor);
	free(t);
	return NULL;
}

static int fail(PmlTxn *t, int error)
{
	if (t->error == 0)
		t->error = error;
	return error;
}

/* An empty change at the end of the list, or NULL. */
static Change *add(PmlTxn *t, ChangeKind kind)
{
	Change *c;

	if (t->n == t->allocated) {
		size_t want = t->allocated ? t->allocated * 2 : 4;
		Change *bigger = reallocarray(t->changes, want, sizeof(*bigger));

		if (!bigger)
			return NULL;
		t->changes = bigger;
		t->allocated = want;
	}
	c = &t->changes[t->n++];
	*c = (Change){.kind = kind, .time_usec = pml_now_usec(CLOCK_REALTIME)};
	return c;
}

static int copy(char **field, const char *s)
{
	if (!s)
		return 0;
	*field = strdup(s);
	return *field ? 0 : -ENOMEM;
}

static bool terminated(const char *field, size_t size)
{
	return memchr(field, '\0', size) != NULL;
}
#define TERMINATED(field) terminated((field), sizeof(field))

/* SQL compares addresses as signed numbers. */
static int check_extent(const PmlExtent *e)
{
	int r = pml_extent_validate(e);

	if (r < 0)
		return r;
	return pml_extent_end(e) > INT64_MAX ? -EINVAL : 0;
}

static int check_lease(const PmlLeaseRecord *rec)
{
	if (!TERMINATED(rec->id) || !TERMINATED(rec->region) || !TERMINATED(rec->region_name) ||
		!TERMINATED(rec->domain) || !TERMINATED(rec->domain_name) ||
		!TERMINATED(rec->alias) || !TERMINATED(rec->owner) || !TERMINATED(rec->boot_id) ||
		!TERMINATED(rec->vmm_cgroup))
		return -EINVAL;
	if (rec->id[0] == '\0' || rec->region[0] == '\0' || !owner_valid(rec->owner))
		return -EINVAL;
	if (!pml_lease_state_to_string(rec->state) || !pml_on_end_to_string(rec->on_end) ||
		!pml_after_fence_to_string(rec->after_fence) || !pml_drain_to_string(rec->drain) ||
		!pml_on_refusal_to_string(rec->on_refusal))
		return -EINVAL;
	return check_extent(&rec->extent);
}

static int add_lease(
	PmlTxn *t, ChangeKind kind, const PmlLeaseRecord *rec, int ev, const char *detail)
{
	Change *c;
	int r;

	r = check_lease(rec);
	if (r < 0)
		return fail(t, r);
	c = add(t, kind);
	if (!c)
		return fail(t, -ENOMEM);
	c->event = ev;
	c->lease = malloc(sizeof(*c->lease));
	if (!c->lease || copy(&c->text, detail) < 0)
		return fail(t, -ENOMEM);
	*c->lease = *rec;
	return 0;
}

int pml_txn_lease_new(PmlTxn *t, const PmlLeaseRecord *rec)
{
	if (rec->state != PML_LEASE_RESERVED)
		return fail(t, -EINVAL);
	return add_lease(t, CHANGE_LEASE_NEW, rec, 0, NULL);
}

int pml_txn_lease_step(PmlTxn *t, const PmlLeaseRecord *rec, PmlLeaseEvent ev, const char *detail)
{
	if (!pml_lease_event_to_string(ev))
		return fail(t, -EINVAL);
	return add_lease(t, CHANGE_LEASE_STEP, rec, (int)ev, detail);
}

int pml_txn_lease_update(PmlTxn *t, const PmlLeaseRecord *rec)
{
	return add_lease(t, CHANGE_LEASE_UPDATE, rec, 0, NULL);
}

static int add_extent(PmlTxn *t, ChangeKind kind, const char *region_id, const PmlExtent *e, int ev,
	const char *text)
{
	Change *c;
	int r;

	r = check_extent(e);
	if (r < 0)
		return fail(t, r);
	if (region_id[0] == '\0')
		return fail(t, -EINVAL);
	if (strlen(region_id) >= PML_NAME_LEN)
		return fail(t, -ENAMETOOLONG);
	c = add(t, kind);
	if (!c)
		return fail(t, -ENOMEM);
	c->event = ev;
	c->extent = *e;
	if (copy(&c->id, region_id) < 0 || copy(&c->text, text) < 0)
		return fail(t, -ENOMEM);
	return 0;
}

int pml_txn_use_step(
	PmlTxn *t, const char *region_id, const PmlExtent *e, PmlUseEvent ev, const char *reason)
{
	bool given = reason && reason[0] != '\0';

	switch (ev) {
	case PML_USE_EV_QUARANTINE:
	case PML_USE_EV_LIFT:
		if (!given)
			return fail(t, -EINVAL);
		break;
	case PML_USE_EV_LEASE:
	case PML_USE_EV_LEASE_UNDONE:
	case PML_USE_EV_EVICT:
	case PML_USE_EV_EVICT_CANCELLED:
	case PML_USE_EV_FENCED:
	case PML_USE_EV_CLEARED:
		break;
	case _PML_USE_EV_MAX:
		return fail(t, -EINVAL);
	}
	if (!pml_use_event_to_string(ev))
		return fail(t, -EINVAL);
	return add_extent(t, CHANGE_USE_STEP, region_id, e, (int)ev, given ? reason : NULL);
}

int pml_txn_content_step(
	PmlTxn *t, const char *region_id, const PmlExtent *e, PmlContentEvent ev, const char *owner)
{
	switch (ev) {
	case PML_CONTENT_EV_LENT:
	case PML_CONTENT_EV_ADOPT:
		if (!owner)
			return fail(t, -EINVAL);
		if (strlen(owner) >= PML_NAME_LEN)
			return fail(t, -ENAMETOOLONG);
		if (!owner_valid(owner))
			return fail(t, -EINVAL);
		break;
	case PML_CONTENT_EV_SCRUB_BEGIN:
		if (!owner)
			return fail(t, -EINVAL);
		break;
	case PML_CONTENT_EV_SCRUB_VERIFIED:
	case PML_CONTENT_EV_REPLACED:
		break;
	case _PML_CONTENT_EV_MAX:
		return fail(t, -EINVAL);
	}
	if (!pml_content_event_to_string(ev))
		return fail(t, -EINVAL);
	return add_extent(t, CHANGE_CONTENT_STEP, region_id, e, (int)ev, owner);
}

int pml_txn_ram(PmlTxn *t, const char *region_id, const PmlExtent *e, bool ram)
{
	return add_extent(t, CHANGE_RAM, region_id, e, ram, NULL);
}

int pml_txn_plugged(PmlTxn *t, const char *lease_id, uint64_t plugged_bytes)
{
	Change *c;

	if (lease_id[0] == '\0' || plugged_bytes > INT64_MAX)
		return fail(t, -EINVAL);
	if (strlen(lease_id) >= PML_ID_MAX)
		return fail(t, -ENAMETOOLONG);
	c = add(t, CHANGE_PLUGGED);
	if (!c)
		return fail(t, -ENOMEM);
	c->plugged_bytes = plugged_bytes;
	return copy(&c->lease_id, lease_id) < 0 ? fail(t, -ENOMEM) : 0;
}

int pml_txn_proof(PmlTxn *t, const char *lease_id, const char *region_id, const char *json)
{
	Change *c;

	if (region_id[0] == '\0' || json[0] == '\0')
		return fail(t, -EINVAL);
	if (strlen(region_id) >= PML_NAME_LEN || (lease_id && strlen(lease_id) >= PML_ID_MAX))
		return fail(t, -ENAMETOOLONG);
	c = add(t, CHANGE_PROOF);
	if (!c)
		return fail(t, -ENOMEM);
	if (copy(&c->id, region_id) < 0 || copy(&c->lease_id, lease_id) < 0 ||
		copy(&c->text, json) < 0)
		return fail(t, -ENOMEM);
	return 0;
}

int pml_txn_note(PmlTxn *t, const char *subject, const char *id, const char *detail)
{
	Change *c;

	if (strlen(subject) >= SUBJECT_LEN || strlen(id) >= PML_NAME_LEN)
		return fail(t, -ENAMETOOLONG);
	c = add(t, CHANGE_NOTE);
	if (!c)
		return fail(t, -ENOMEM);
	if (copy(&c->subject, subject) < 0 || copy(&c->id, id) < 0 || copy(&c->text, detail) < 0)
		return fail(t, -ENOMEM);
	return 0;
}

int pml_txn_layout(PmlTxn *t, const char *part, const char *json)
{
	Change *c;

	if (part[0] == '\0' || (json && json[0] == '\0'))
		return fail(t, -EINVAL);
	c = add(t, CHANGE_LAYOUT);
	if (!c)
		return fail(t, -ENOMEM);
	return copy(&c->id, part) < 0 || copy(&c->text, json) < 0 ? fail(t, -ENOMEM) : 0;
}

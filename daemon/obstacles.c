/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Why a region cannot be leased now: one list, for the property, and, by its first entry, for the
 * refusal. */

#include <inttypes.h>
#include <stdarg.h>

#include "manager.h"
#include "util.h"

typedef struct Obstacle {
	const char *error;
	char *text;
} Obstacle;

typedef struct Obstacles {
	Obstacle *list;
	size_t n;
	int r; /* -ENOMEM once, for ever */
} Obstacles;

static void add(Obstacles *o, const char *error, const char *format, ...) _printf_(3, 4);

static void add(Obstacles *o, const char *error, const char *format, ...)
{
	Obstacle *list;
	va_list ap;
	int n;

	if (o->r < 0)
		return;
	list = reallocarray(o->list, o->n + 1, sizeof(*list));
	if (!list) {
		o->r = -ENOMEM;
		return;
	}
	o->list = list;
	list[o->n].error = error;
	va_start(ap, format);
	n = vasprintf(&list[o->n].text, format, ap);
	va_end(ap);
	if (n < 0)
		o->r = -ENOMEM;
	else
		o->n++;
}

static void obstacles_clear(Obstacles *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->list[i].text);
	free(o->list);
}

static void add_lease(Obstacles *o, const Region *region, const Lease *l)
{
	const char *held_by =
		region->held_by ? region->held_by : "processes that pmemlease verify names";
	const char *domain = l->record.domain_name[0] ? l->record.domain_name : l->record.domain;

	switch (lease_state(l)) {
	case PML_LEASE_RESERVED:
	case PML_LEASE_ATTACHING:
	case PML_LEASE_ACTIVE:
	case PML_LEASE_DRAINING:
	case PML_LEASE_FENCING:
		add(o, PML_ERROR_BUSY,
			"It is lent to %s (lease %s, %s); release or evict it first.",
			domain[0] ? domain : "a machine", l->record.id,
			pml_lease_state_to_string(lease_state(l)));
		break;
	case PML_LEASE_FENCED:
		add(o, PML_ERROR_HELD,
			"It was taken back from %s, and is still held by %s. It is free by itself when the last of them has ended.",
			domain, held_by);
		break;
	case PML_LEASE_STUCK:
		add(o, PML_ERROR_STUCK,
			"It could not be proved that %s lost it; end the processes that pmemlease verify names, or lift the quarantine "
			"with a reason.",
			domain);
		break;
	case PML_LEASE_RELEASED:
	case _PML_LEASE_STATE_MAX:
	case _PML_LEASE_STATE_INVALID:
		break;
	}
}

static void add_use(Obstacles *o, const Region *r)
{
	const RegionRecord *rec = &r->record;

	switch (rec->use) {
	case PML_USE_QUARANTINED:
		add(o, PML_ERROR_QUARANTINED,
			"It is quarantined (%s); when that is mended, lift the quarantine with a reason.",
			rec->reason[0] ? rec->reason : "no reason recorded");
		break;
	case PML_USE_EVICTED:
		if (r->watches)
			add(o, PML_ERROR_HELD,
				"Processes that had it before are left; it is free when the last of them has ended "
				"(pmemlease verify names them).");
		else if (!r->lease)
			add(o, PML_ERROR_NOT_LEASABLE, "It is kept offline%s%s; readmit it first.",
				rec->reason[0] ? ": " : "", rec->reason);
		break;
	case PML_USE_LEASED:
	case PML_USE_EVICTING:
		if (!r->lease)
			add(o, PML_ERROR_BUSY,
				"Some of its bytes are %s under another region's name; see pmemlease leases.",
				rec->use == PML_USE_LEASED ? "lent" : "being taken back");
		break;
	case PML_USE_FREE:
	case _PML_USE_MAX:
	case _PML_USE_INVALID:
		break;
	}
}

static void add_content(Obstacles *o, const Region *r)
{
	const RegionRecord *rec = &r->record;

	switch (rec->content) {
	case PML_CONTENT_FOREIGN:
		if (rec->owner[0])
			add(o, PML_ERROR_FOREIGN,
				"It holds data of several owners (%s); scrub it, naming them all.",
				rec->owner);
		else
			add(o, PML_ERROR_FOREIGN,
				"Nobody knows whose data it holds; adopt it for its owner, or scrub it.");
		break;
	case PML_CONTENT_SCRUBBING:
		add(o, PML_ERROR_NOT_CLEAN,
			"A scrub of it was begun and has not ended; scrub it again.");
		break;
	case PML_CONTENT_BLANK:
	case PML_CONTENT_RETAINED: /* whether it is the lease's owner's is asked when that is known
				    */
	case _PML_CONTENT_MAX:
	case _PML_CONTENT_INVALID:
		break;
	}
}

static void build(const Region *r, Obstacles *o)
{
	uint32_t bits = r->host ? pml_region_obstacles(r->host) : 0;

	if (!r->host)
		add(o, PML_ERROR_NOT_LEASABLE,
			"It is not there: its device has left, or its namespace is disabled; bring it back first.");
	if (r->record.use == PML_USE_QUARANTINED)
		add_use(o, r);
	if (r->intruder)
		add(o, PML_ERROR_HELD,
			"It is held behind our back, by %s; end that, which is noticed.",
			r->intruder);
	if (r->lease)
		add_lease(o, r, r->lease);
	if (r->job)
		add(o, PML_ERROR_BUSY,
			"The operation %s (job %" PRIu64
			") has it; wait for its end, or cancel it.",
			r->job->kind->name, r->job->id);
	if (r->record.use != PML_USE_QUARANTINED)
		add_use(o, r);
	/* Unbound by ourselves is said above, with the reason. */
	if (r->record.use != PML_USE_FREE)
		bits &= ~(uint32_t)(PML_OBSTACLE_UNBOUND | PML_OBSTACLE_NO_NODE);
	/* The exclusive opener is the lease. */
	if (r->lease && r->lease->claim_fd >= 0)
		bits &= ~(uint32_t)PML_OBSTACLE_EXCLUSIVE;
	for (unsigned i = 0; i < _PML_OBSTACLE_BITS; i++)
		if (bits & (1U << i))
			add(o,
				(1U << i) == PML_OBSTACLE_DUPLICATE_UUID ? PML_ERROR_AMBIGUOUS
									 : PML_ERROR_NOT_LEASABLE,
				"%s", pml_obstacle_explain((PmlObstacle)(1U << i)));
	add_content(o, r);
}

int region_obstacles(const Region *r, char ***ret)
{
	Obstacles o = {};
	char **l;
	int e;

	build(r, &o);
	l = o.r < 0 ? NULL : calloc(o.n + 1, sizeof(*l));
	e = l ? 0 : -ENOMEM;
	for (size_t i = 0; l && i < o.n; i++)
		l[i] = TAKE_PTR(o.list[i].text);
	obstacles_clear(&o);
	if (e == 0)
		*ret = l;
	return e;
}

char **region_obstacles_free(char **l)
{
	for (char **s = l; s && *s; s++)
		free(*s);
	free(l);
	return NULL;
}

int region_leasable(const Region *r, OpError *err)
{
	Obstacles o = {};
	int e;

	build(r, &o);
	e = o.r;
	if (e == 0 && o.n > 0)
		e = op_error(err, o.list[0].error, "%s: %s", r->name[0] ? r->name : r->id,
			o.list[0].text);
	obstacles_clear(&o);
	return e;
}

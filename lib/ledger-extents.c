/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is known of bytes, kept as rows that never overlap. A step cuts the rows at its own edges,
 * moves every piece inside by the tables of state.h, and joins what is equal again; bytes that are
 * foreign and free need no row.
 */

#include "ledger-internal.h"

typedef struct Pieces {
	PmlExtentRecord *rows;
	size_t n;
	size_t allocated;
} Pieces;

static void pieces_clear(Pieces *p)
{
	free(p->rows);
}
#define _cleanup_pieces_ _cleanup_(pieces_clear)

static int pieces_add(Pieces *p, const PmlExtentRecord *row, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	if (p->n == p->allocated) {
		size_t want = p->allocated ? p->allocated * 2 : 8;
		PmlExtentRecord *bigger = reallocarray(p->rows, want, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		p->rows = bigger;
		p->allocated = want;
	}
	p->rows[p->n] = *row;
	p->rows[p->n].extent.start_bytes = start;
	p->rows[p->n].extent.size_bytes = end - start;
	p->n++;
	return 0;
}

/* The rows that overlap e or lie next to it, in order. */
static int read_touching(PmlLedger *l, const PmlExtent *e, Pieces *ret)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc;

	r = ledger_stmt(l, LEDGER_SQL_EXTENT_TOUCHING, &stmt);
	if (r != 0)
		return r;
	rc = ledger_bind_extent(stmt, 1, e);
	if (rc != SQLITE_OK)
		return ledger_errno(l->db, rc);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		PmlExtentRecord row;

		r = ledger_read_extent(stmt, &row);
		if (r == 0)
			r = pieces_add(
				ret, &row, row.extent.start_bytes, pml_extent_end(&row.extent));
		if (r < 0)
			return r;
	}
	return rc == SQLITE_DONE ? 0 : ledger_errno(l->db, rc);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Cuts rows at the edges of e, and fills its gaps; what lies outside of e stays in the list. */
static int cut(const Pieces *rows, const PmlExtent *e, Pieces *ret)
{
	const PmlExtentRecord gap = {
		.extent = *e, .content = PML_CONTENT_FOREIGN, .use = PML_USE_FREE};
	uint64_t first = e->start_bytes, behind = pml_extent_end(e), at = first;
	int r = 0;

	for (size_t i = 0; r == 0 && i < rows->n; i++) {
		const PmlExtentRecord *row = &rows->rows[i];
		uint64_t start = row->extent.start_bytes, end = pml_extent_end(&row->extent);

		r = pieces_add(ret, &gap, at, min_u64(start, behind));
		if (r == 0)
			r = pieces_add(ret, row, start, min_u64(end, first));
		if (r == 0)
			r = pieces_add(ret, row, max_u64(start, first), min_u64(end, behind));
		if (r == 0 && end > behind) {
			at = behind;
			r = pieces_add(ret, row, max_u64(start, behind), end);
		}
		at = max_u64(at, min_u64(end, behind));
	}
	return r == 0 ? pieces_add(ret, &gap, at, behind) : r;
}

int ledger_extent_pieces(PmlLedger *l, const PmlExtent *e, PmlExtentRecord **ret, size_t *ret_n)
{
	_cleanup_pieces_ Pieces rows = {}, pieces = {}, inside = {};
	int r;

	r = read_touching(l, e, &rows);
	if (r == 0)
		r = cut(&rows, e, &pieces);
	for (size_t i = 0; r == 0 && i < pieces.n; i++)
		if (pml_extent_overlaps(&pieces.rows[i].extent, e))
			r = pieces_add(&inside, &pieces.rows[i], pieces.rows[i].extent.start_bytes,
				pml_extent_end(&pieces.rows[i].extent));
	if (r != 0)
		return r;
	*ret = TAKE_PTR(inside.rows);
	*ret_n = inside.n;
	return 0;
}

static bool same_state(const PmlExtentRecord *a, const PmlExtentRecord *b)
{
	return a->content == b->content && a->use == b->use && a->ram == b->ram &&
	       strcmp(a->owner, b->owner) == 0 && strcmp(a->reason, b->reason) == 0;
}

static bool needs_row(const PmlExtentRecord *p)
{
	return p->content != PML_CONTENT_FOREIGN || p->use != PML_USE_FREE ||
	       p->reason[0] != '\0' || p->ram;
}

static int delete_row(PmlLedger *l, const PmlExtent *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc;

	r = ledger_stmt(l, LEDGER_SQL_EXTENT_DELETE, &stmt);
	if (r != 0)
		return r;
	rc = sqlite3_bind_text(stmt, 1, e->medium, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, (sqlite3_int64)e->start_bytes);
	return rc == SQLITE_OK ? ledger_run(l, stmt) : ledger_errno(l->db, rc);
}

static int insert_row(PmlLedger *l, const PmlExtentRecord *p)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r, rc;

	r = ledger_stmt(l, LEDGER_SQL_EXTENT_INSERT, &stmt);
	if (r != 0)
		return r;
	rc = sqlite3_bind_text(stmt, 1, p->extent.medium, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, (sqlite3_int64)p->extent.start_bytes);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 3, (sqlite3_int64)p->extent.size_bytes);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(
			stmt, 4, pml_content_to_string(p->content), -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 5, p->owner, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 6, pml_use_to_string(p->use), -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 7, p->reason, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int(stmt, 8, p->ram);
	return rc == SQLITE_OK ? ledger_run(l, stmt) : ledger_errno(l->db, rc);
}

/* Puts the pieces in the place of the rows they were cut from. */
static int write_back(PmlLedger *l, const Pieces *rows, const Pieces *pieces)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < rows->n; i++)
		r = delete_row(l, &rows->rows[i].extent);
	for (size_t i = 0; r == 0 && i < pieces->n;) {
		PmlExtentRecord joined = pieces->rows[i++];

		while (i < pieces->n && same_state(&joined, &pieces->rows[i]) &&
			pml_extent_end(&joined.extent) == pieces->rows[i].extent.start_bytes)
			joined.extent.size_bytes += pieces->rows[i++].extent.size_bytes;
		if (needs_row(&joined))
			r = insert_row(l, &joined);
	}
	return r;
}

/* Copies a reason into a record; a long one is cut between two characters, visibly. */
static void put_reason(char *field, const char *reason)
{
	static const char more[] = "\xe2\x80\xa6";
	size_t n = strlen(reason);

	if (n < PML_REASON_MAX) {
		(void)snprintf(field, PML_REASON_MAX, "%s", reason);
		return;
	}
	n = PML_REASON_MAX - sizeof(more);
	while (n > 0 && ((unsigned char)reason[n] & 0xc0) == 0x80)
		n--;
	(void)snprintf(field, PML_REASON_MAX, "%.*s%s", (int)n, reason, more);
}

static int refuse_piece(
	Apply *a, const Change *c, const PmlExtentRecord *p, const char *state, const char *event)
{
	_cleanup_free_ char *where = NULL;

	if (pml_extent_format(&p->extent, &where) < 0)
		return -ENOMEM;
	return ledger_refuse(a, PML_LEDGER_ILLEGAL,
		"region %s: %s is %s%s%s, which %s does not allow", c->id, where, state,
		p->owner[0] ? " by " : "", p->owner, event);
}

static int use_piece(Apply *a, const Change *c, PmlExtentRecord *p)
{
	PmlUse next;

	if (pml_use_step(p->use, (PmlUseEvent)c->event, &next) < 0)
		return refuse_piece(a, c, p, pml_use_to_string(p->use),
			pml_use_event_to_string((PmlUseEvent)c->event));
	p->use = next;
	if (next == PML_USE_FREE || next == PML_USE_LEASED)
		p->reason[0] = '\0';
	else if (c->text)
		put_reason(p->reason, c->text);
	return 0;
}

static int content_piece(Apply *a, const Change *c, PmlExtentRecord *p)
{
	PmlContentEvent ev = (PmlContentEvent)c->event;
	bool others = p->owner[0] != '\0' && !pml_streq(p->owner, c->text);
	PmlContent next;

	if (ev == PML_CONTENT_EV_ADOPT && ((p->content == PML_CONTENT_RETAINED && !others) ||
						  p->content == PML_CONTENT_BLANK))
		return 0;
	if (pml_content_step(p->content, ev, &next) < 0 || (next == PML_CONTENT_RETAINED && others))
		return refuse_piece(a, c, p, pml_content_to_string(p->content),
			pml_content_event_to_string(ev));
	p->content = next;
	switch (ev) {
	case PML_CONTENT_EV_LENT:
	case PML_CONTENT_EV_ADOPT:
		return PML_STRCPY(p->owner, c->text);
	case PML_CONTENT_EV_SCRUB_BEGIN:
		/* Each piece keeps whose it was: a scrub that is begun again must name them again.
		 */
		return 0;
	case PML_CONTENT_EV_SCRUB_VERIFIED:
	case PML_CONTENT_EV_REPLACED:
		p->owner[0] = '\0';
		return 0;
	case _PML_CONTENT_EV_MAX:
		break;
	}
	return -EINVAL;
}

/* "leased,free": what the history says the extent was. At most every state once, which fits. */
static void state_add(char *list, size_t size, const char *state)
{
	size_t n = strlen(list);

	if (!owners_contain(list, state, strlen(state)))
		(void)snprintf(list + n, size - n, "%s%s", n ? "," : "", state);
}

static int extent_step(Apply *a, const Change *c, const Pieces *rows, Pieces *pieces)
{
	bool use = c->kind == CHANGE_USE_STEP;
	char from[sizeof(((PmlHistoryRecord *)NULL)->from)] = "", to[sizeof(from)] = "";
	_cleanup_free_ char *where = NULL, *detail = NULL;
	int r;

	for (size_t i = 0; i < pieces->n; i++) {
		PmlExtentRecord *p = &pieces->rows[i];

		if (!pml_extent_overlaps(&p->extent, &c->extent))
			continue;
		state_add(from, sizeof(from),
			use ? pml_use_to_string(p->use) : pml_content_to_string(p->content));
		r = use ? use_piece(a, c, p) : content_piece(a, c, p);
		if (r != 0)
			return r;
		state_add(to, sizeof(to),
			use ? pml_use_to_string(p->use) : pml_content_to_string(p->content));
	}
	r = write_back(a->l, rows, pieces);
	if (r != 0)
		return r;
	r = pml_extent_format(&c->extent, &where);
	if (r < 0)
		return r;
	if (asprintf(&detail, "%s %s%s%s",
		    use ? pml_use_event_to_string((PmlUseEvent)c->event)
			: pml_content_event_to_string((PmlContentEvent)c->event),
		    where, c->text && c->text[0] ? ": " : "", c->text ? c->text : "") < 0) {
		detail = NULL;
		return -ENOMEM;
	}
	return ledger_history(a, c, use ? "region" : "content", c->id, from, to, detail);
}

int ledger_use_step(Apply *a, const Change *c)
{
	_cleanup_pieces_ Pieces rows = {}, pieces = {};
	int r;

	r = read_touching(a->l, &c->extent, &rows);
	if (r == 0)
		r = cut(&rows, &c->extent, &pieces);
	return r == 0 ? extent_step(a, c, &rows, &pieces) : r;
}

/* The rules of a content step that look at all pieces at once. */
static int check_content(Apply *a, const Change *c, const Pieces *pieces)
{
	bool any = false, named = true;

	for (size_t i = 0; i < pieces->n; i++) {
		const PmlExtentRecord *p = &pieces->rows[i];

		if (!pml_extent_overlaps(&p->extent, &c->extent))
			continue;
		any |= p->content != PML_CONTENT_BLANK;
		if (c->event == PML_CONTENT_EV_SCRUB_BEGIN)
			named &= owners_subset(p->owner, c->text);
	}
	if (c->event == PML_CONTENT_EV_ADOPT && !any)
		return ledger_refuse(a, PML_LEDGER_ILLEGAL,
			"region %s is blank: there is nothing to adopt", c->id);
	if (c->event != PML_CONTENT_EV_SCRUB_BEGIN)
		return 0;
	/* The other way round: every owner that was named has data here. */
	for (const char *o = c->text; named && *o;) {
		size_t n = strcspn(o, ",");
		bool found = false;

		for (size_t i = 0; !found && i < pieces->n; i++)
			found = pml_extent_overlaps(&pieces->rows[i].extent, &c->extent) &&
				owners_contain(pieces->rows[i].owner, o, n);
		named &= found;
		o += n;
		if (*o == ',')
			o++;
	}
	if (!named) {
		PmlExtentRecord fold;

		pml_extent_records_fold(pieces->rows, pieces->n, &c->extent, &fold);
		return ledger_refuse(a, PML_LEDGER_ILLEGAL,
			"region %s holds data of \"%s\", the scrub was to discard that of \"%s\"",
			c->id, fold.owner, c->text);
	}
	return 0;
}

int ledger_content_step(Apply *a, const Change *c)
{
	_cleanup_pieces_ Pieces rows = {}, pieces = {};
	int r;

	r = read_touching(a->l, &c->extent, &rows);
	if (r == 0)
		r = cut(&rows, &c->extent, &pieces);
	if (r == 0)
		r = check_content(a, c, &pieces);
	return r == 0 ? extent_step(a, c, &rows, &pieces) : r;
}

/* No transition, hence no row of the history: what a lease of these bytes was says it. */
int ledger_ram(Apply *a, const Change *c)
{
	_cleanup_pieces_ Pieces rows = {}, pieces = {};
	int r;

	r = read_touching(a->l, &c->extent, &rows);
	if (r == 0)
		r = cut(&rows, &c->extent, &pieces);
	for (size_t i = 0; r == 0 && i < pieces.n; i++)
		if (pml_extent_overlaps(&pieces.rows[i].extent, &c->extent))
			pieces.rows[i].ram = c->event != 0;
	return r == 0 ? write_back(a->l, &rows, &pieces) : r;
}

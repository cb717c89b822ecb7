/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sets of owners as text, and one record from the rows of a region. No disk here. */

#include "ledger-internal.h"

/* Ends a list that had no room for all; no owner is called that, so a scrub that repeats the list
 * is refused. */
#define MORE	    "\xe2\x80\xa6"
#define OWNERS_MORE "," MORE

bool owner_valid(const char *owner)
{
	size_t n = strnlen(owner, PML_NAME_LEN);

	if (n == 0 || n == PML_NAME_LEN)
		return false;
	for (size_t i = 0; i < n; i++)
		if (owner[i] == ',' || (unsigned char)owner[i] < 0x20 || owner[i] == 0x7f)
			return false;
	return strcmp(owner, MORE) != 0;
}

bool owners_contain(const char *list, const char *owner, size_t len)
{
	while (*list) {
		size_t n = strcspn(list, ",");

		if (n == len && memcmp(list, owner, n) == 0)
			return true;
		list += n;
		if (*list == ',')
			list++;
	}
	return false;
}

bool owners_subset(const char *a, const char *b)
{
	while (*a) {
		size_t n = strcspn(a, ",");

		if (n > 0 && !owners_contain(b, a, n))
			return false;
		a += n;
		if (*a == ',')
			a++;
	}
	return true;
}

void owners_add(char *list, size_t size, const char *owners)
{
	while (*owners) {
		size_t n = strcspn(owners, ","), used = strlen(list);

		if (n > 0 && !owners_contain(list, owners, n)) {
			if (used + 1 + n + sizeof(OWNERS_MORE) > size) {
				if (!owners_contain(list, MORE, strlen(MORE)))
					memcpy(list + used, OWNERS_MORE, sizeof(OWNERS_MORE));
				return;
			}
			if (used > 0)
				list[used++] = ',';
			memcpy(list + used, owners, n);
			list[used + n] = '\0';
		}
		owners += n;
		if (*owners == ',')
			owners++;
	}
}

/* How much a use forbids: what keeps the most away wins. */
static int use_weight(PmlUse use)
{
	switch (use) {
	case PML_USE_FREE:
		return 0;
	case PML_USE_LEASED:
		return 1;
	case PML_USE_EVICTED:
		return 2;
	case PML_USE_EVICTING:
		return 3;
	case PML_USE_QUARANTINED:
		return 4;
	case _PML_USE_MAX:
	case _PML_USE_INVALID:
		break;
	}
	/* Not a state that the ledger lets in; never lend on its account. */
	return 5;
}

void pml_extent_records_fold(
	const PmlExtentRecord *rows, size_t n, const PmlExtent *e, PmlExtentRecord *ret)
{
	bool scrubbing = false, foreign = false, retained = false;
	PmlExtentRecord fold = {.extent = *e, .content = PML_CONTENT_FOREIGN, .use = PML_USE_FREE};
	uint64_t covered = 0;

	for (size_t i = 0; i < n; i++) {
		const PmlExtent *x = &rows[i].extent;
		uint64_t start, end;

		if (!pml_extent_overlaps(x, e))
			continue;
		start = x->start_bytes > e->start_bytes ? x->start_bytes : e->start_bytes;
		end = pml_extent_end(x) < pml_extent_end(e) ? pml_extent_end(x) : pml_extent_end(e);
		covered += end - start;

		fold.ram |= rows[i].ram;
		scrubbing |= rows[i].content == PML_CONTENT_SCRUBBING;
		retained |= rows[i].content == PML_CONTENT_RETAINED;
		foreign |= rows[i].content == PML_CONTENT_FOREIGN;
		owners_add(fold.owner, sizeof(fold.owner), rows[i].owner);

		if (use_weight(rows[i].use) > use_weight(fold.use)) {
			fold.use = rows[i].use;
			memcpy(fold.reason, rows[i].reason, sizeof(fold.reason));
		} else if (rows[i].use == fold.use && fold.reason[0] == '\0') {
			memcpy(fold.reason, rows[i].reason, sizeof(fold.reason));
		}
	}

	/* Rows never overlap, so what they do not add up to is a gap. */
	if (covered < e->size_bytes || e->size_bytes == 0)
		foreign = true;
	if (scrubbing)
		fold.content = PML_CONTENT_SCRUBBING;
	else if (foreign || strchr(fold.owner, ','))
		fold.content = PML_CONTENT_FOREIGN;
	else if (retained)
		fold.content = PML_CONTENT_RETAINED;
	else
		fold.content = PML_CONTENT_BLANK;
	*ret = fold;
}

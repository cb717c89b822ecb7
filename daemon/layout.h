/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How a part of the host was laid out before it left: its namespaces, and the leases on them whose
 * owners want them again. It is known by the slots, which stay where they are; names of DIMMs and
 * interleave sets are given anew at each boot.
 */

#include "manager.h"
#include "part.h"

typedef struct LayoutEntry {
	char *set; /* slots, as PmlPartNamespace has them */
	char *mode, *map;
	char *label_id, *data_id; /* "" where there was none */
	uint64_t size_bytes, align_bytes, sector_bytes;
	PmlExtent extent; /* of its region; size 0: none was seen */
	char **leases;	  /* ids; NULL-terminated, or NULL */
} LayoutEntry;

typedef struct Layout {
	LayoutEntry *entries;
	size_t n;
} Layout;

void layout_clear(Layout *l);

/* What it is known by in the ledger; malloc-ed, NULL: out of memory. */
char *layout_key(const PmlPart *part);

/* Main thread: what lies there now, with the leases that are to be restored. 0 or -ENOMEM. */
int layout_of(Manager *m, const PmlPart *part, Layout *ret);
/* What is not seen any more (a namespace that is disabled, a lease that has ended) is taken from
 * what was recorded before. 0 or -ENOMEM. */
int layout_take_over(Layout *l, const Layout *before);

char *layout_format(const Layout *l); /* JSON; malloc-ed, NULL: out of memory */
/* 0, -ENOMEM; -EUCLEAN: it is none. */
int layout_parse(const char *json, Layout *ret);

/*
 * Whether what has these bytes now lies where a namespace was recorded, and is not that one. uuid:
 * the region's, or NULL.
 */
bool layout_has_another(const Layout *l, const PmlExtent *extent, const char *uuid);

/*
 * Which namespace of the part each entry is now: *ret[entry] is an index, or SIZE_MAX. same[entry]:
 * by its UUID, with what was on it; else one of the same form that was made in its place. Both
 * arrays are the caller's, of l->n.
 */
void layout_match(const Layout *l, const PmlPart *part, size_t *index, bool *same);

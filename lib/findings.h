/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What `pmemlease doctor` found: lines made by the command and by the daemon alike. Not part of the
 * library's interface. */

#include "util.h"

typedef enum FindingLevel {
	FINDING_OK,
	FINDING_WARN, /* works, and guarantees less than it could */
	FINDING_BAD,  /* something that pmemlease is for does not work */
	_FINDING_LEVEL_MAX,
} FindingLevel;

static inline _unused_ const char *finding_level_to_string(FindingLevel level)
{
	static const char *const words[] = {"ok", "warn", "bad"};

	return words[level];
}

typedef struct Finding {
	FindingLevel level;
	char *check; /* what was looked at: "kernel.revoke" */
	char *text;  /* a sentence */
	char *mend;  /* what to do about it; "" for ok */
} Finding;

typedef struct Findings {
	Finding *items;
	size_t n;
	int r; /* -ENOMEM once, for ever */
} Findings;

static inline _unused_ void findings_clear(Findings *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].check);
		free(l->items[i].text);
		free(l->items[i].mend);
	}
	free(l->items);
	*l = (Findings){};
}
#define _cleanup_findings_ _cleanup_(findings_clear)

/* mend may be NULL. */
static inline _unused_ _printf_(5, 6) void finding_add(Findings *l, FindingLevel level,
	const char *check, const char *mend, const char *format, ...)
{
	Finding *items = reallocarray(l->items, l->n + 1, sizeof(*items)), *f;
	va_list ap;

	if (!items) {
		l->r = -ENOMEM;
		return;
	}
	l->items = items;
	f = &items[l->n];
	*f = (Finding){.level = level, .check = strdup(check), .mend = strdup(mend ? mend : "")};
	va_start(ap, format);
	if (vasprintf(&f->text, format, ap) < 0)
		f->text = NULL;
	va_end(ap);
	/* counted also when half built, so that it is freed */
	l->n++;
	if (!f->check || !f->mend || !f->text)
		l->r = -ENOMEM;
}

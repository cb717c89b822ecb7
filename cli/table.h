/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Aligned tables, by libsmartcols. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "options.h"
#include "util.h"

typedef struct Table Table;

typedef struct Column {
	const char *name;
	bool right;
	bool may_shrink; /* cut on a narrow terminal; never when the output is no terminal */
} Column;

/* columns are borrowed. */
int table_new(const Options *o, FILE *f, const Column *columns, size_t n_columns, Table **ret);
/* One cell a column, copied. alarm: red on a terminal. Empty cells are shown as "-". */
int table_add(Table *t, const char *const *cells, bool alarm);
/* Prints, unless there are no rows. */
int table_print(Table *t);
Table *table_free(Table *t); /* takes NULL, returns NULL */

DEFINE_CLEANUP(Table *, table_free)
#define _cleanup_table_ _cleanup_(table_freep)

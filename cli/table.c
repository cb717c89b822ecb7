/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <libsmartcols/libsmartcols.h>

#include "table.h"

struct Table {
	struct libscols_table *table;
	size_t n_columns, n_rows;
	bool colour;
};

static int add_columns(struct libscols_table *tb, const Column *columns, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int flags = (columns[i].right ? SCOLS_FL_RIGHT : 0) |
			    (columns[i].may_shrink ? SCOLS_FL_TRUNC : 0);

		struct libscols_column *column = scols_table_new_column(
			tb, columns[i].name, columns[i].may_shrink ? 0.1 : 1, flags);

		/* What could harm a terminal is escaped before it comes here; a unit's name has
		 * backslashes of its own. */
		if (!column || scols_column_set_safechars(column, "\\") < 0)
			return -ENOMEM;
	}
	return 0;
}

static int set_up(Table *t, const Options *o, FILE *f, const Column *columns)
{
	int r;

	t->table = scols_new_table();
	if (!t->table)
		return -ENOMEM;
	/* a stream without a descriptor is somebody's memory */
	t->colour = fileno(f) >= 0 && isatty(fileno(f)) && !getenv("NO_COLOR");
	r = scols_table_set_stream(t->table, f);
	if (r == 0)
		r = scols_table_enable_noheadings(t->table, o->no_legend);
	if (r == 0)
		r = scols_table_enable_colors(t->table, t->colour);
	return r < 0 ? r : add_columns(t->table, columns, t->n_columns);
}

int table_new(const Options *o, FILE *f, const Column *columns, size_t n_columns, Table **ret)
{
	Table *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->n_columns = n_columns;
	r = set_up(t, o, f, columns);
	if (r < 0) {
		table_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

int table_add(Table *t, const char *const *cells, bool alarm)
{
	struct libscols_line *line = scols_table_new_line(t->table, NULL);
	int r = line ? 0 : -ENOMEM;

	for (size_t i = 0; i < t->n_columns && r == 0; i++)
		r = scols_line_set_data(line, i, cells[i] && *cells[i] ? cells[i] : "-");
	if (r == 0 && alarm && t->colour)
		r = scols_line_set_color(line, "red");
	t->n_rows++;
	return r;
}

int table_print(Table *t)
{
	return t->n_rows ? scols_print_table(t->table) : 0;
}

Table *table_free(Table *t)
{
	if (!t)
		return NULL;
	scols_unref_table(t->table);
	free(t);
	return NULL;
}

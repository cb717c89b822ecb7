/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What lies on a part that is to leave the host, and what is still in the way of that. Nothing is:
 * no namespace of it is enabled, and every region of it was taken back with a proof, or never lent.
 */

#include "manager.h"
#include "part.h"

typedef struct PartRow {
	const PmlPartNamespace *ns; /* borrowed; NULL: a dax device that no namespace is behind */
	Region *region;		    /* of ours; or NULL */
	char *in_the_way;	    /* a clause that names it; NULL: nothing */
} PartRow;

/* Main thread, until the next turn of the loop. 0 or -ENOMEM; rows are freed with
 * part_rows_free(). */
int part_rows(Manager *m, const PmlPart *part, PartRow **ret, size_t *ret_n);
void part_rows_free(PartRow *rows, size_t n);

/* No lease, or one that is proved to be fenced. */
bool part_lease_is_over(const Region *r);

/* "DIMM nmem0 in slot DIMM 3", "interleave set region0", "node 1"; malloc-ed, NULL: out of memory.
 */
char *part_label(const PmlPart *part);

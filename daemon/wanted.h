/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which block devices a scan looks for, as a value of its own that another thread may have. */

#include "manager.h"

typedef struct Wanted {
	char **paths;
	PmlExtent *known;
	size_t n_known;
} Wanted;

/* Main thread: what the configuration names, and what the ledger knows. *ret is cleared by
 * wanted_clear(). 0, -ENOMEM. */
int wanted_new(const Manager *m, Wanted *ret);
void wanted_clear(Wanted *w);
/* Any thread: adds them to a scan. */
int wanted_scan(const Wanted *w, PmlInventory *inv);
/* An operator named this device until the daemon ends, or for good if what is recorded of its bytes
 * says so by then. 0; -EINVAL: no absolute path below /dev; -EDQUOT: too many; -ENOMEM. */
int wanted_name(Manager *m, const char *path);
void wanted_free(Manager *m);
/* Are there block devices to be heard of? */
bool wanted_any(const Manager *m);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What others do with regions behind our back: seen on events, and at a slow pace without any. */

#include "manager.h"

/* The clock for it. 0 or negative errno. */
int behind_start(Manager *m);
void behind_stop(Manager *m);
/* The configuration has another pace, which holds from now on. */
void behind_repace(Manager *m);
/* Something has happened that may have opened a region: all are looked at soon, one by one. */
void behind_kick(Manager *m);
/* A device was added to this domain, or libvirt is there again ("": every domain with a lease). */
void behind_ask(Manager *m, const char *uuid);

/* A region that is kept offline is bound: unbinds it again, and quarantines it where it was seen
 * unbound before. */
int guard_start(Region *region);
extern const JobKind op_guard_kind;

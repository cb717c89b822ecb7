/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Asking the guest of a lease that is being drained. Beside the job, which waits for its deadline
 * whatever comes of it: a call in libvirt may hang for as long as libvirt does. Main thread.
 */

#include "evict.h"

/* The share of the job that is the guest's; of one that gives its memory back in parts. */
#define DRAIN_SHARE 0.25
#define PARTS_SHARE 0.9

/* Begins, where the lease's policy says so and it has not begun. Nothing that fails here is more
 * than a guest that was not asked. */
void ask_begin(Job *job);
/* libvirt tells that the guest keeps a device, or that it has gone. */
void ask_refused(Manager *m, const char *domain, const char *alias);
void ask_look(Manager *m, const char *domain, const char *alias);
/* … that a guest has another part of its virtio-mem than before. */
void ask_resized(Manager *m, const char *domain, const char *alias);
/* It is connected again: what each guest has of its virtio-mem is looked at. */
void ask_connected(Manager *m);
/* The job waits for no answer any more; one that comes is not looked at. */
void ask_end(Job *job);
/* The note that the job's end carries: what the guest has answered. */
void ask_note(Job *job);
/* For the history: what came of asking; NULL: nobody was asked, or the lease was not drained. */
const char *ask_summary(const EvictData *d);

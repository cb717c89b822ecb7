/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "job.h"

/* Announcing jobs; each does nothing for internal kinds and while there is no bus. */
void job_bus_new(Job *job);
void job_bus_changed(Job *job);
void job_bus_emit_changed(Job *job); /* announce.c */
/* result: done, failed, cancelled */
void job_bus_removed(Job *job, const char *result);

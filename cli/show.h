/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the command prints: tables and stories for people, documents for programs. No bus here: all
 * of it is made from what model.h and job-wait.h loaded, and goes to the stream that is given. 0 or
 * negative errno.
 */

#include <json-c/json.h>
#include <stdio.h>

#include "job-wait.h"
#include "model.h"
#include "options.h"

int show_regions(FILE *f, const Options *o, const RegionList *regions);
int show_region(FILE *f, const Options *o, const RegionInfo *r, const LeaseInfo *lease);
int show_leases(FILE *f, const Options *o, const LeaseList *leases);
int show_jobs(FILE *f, const Options *o, const JobList *jobs);
int show_history(FILE *f, const Options *o, const HistoryList *rows);
int show_status(FILE *f, const Options *o, const ManagerInfo *m, const RegionList *regions,
	const LeaseList *leases, const JobList *jobs);

int show_device(FILE *f, const Options *o, const DeviceInfo *d);
/* The same after everything on it was taken back, or was not. */
int show_device_evicted(FILE *f, const Options *o, const DeviceInfo *d, const JobOutcome *job);
int show_device_readmitted(FILE *f, const Options *o, const DeviceInfo *d, const JobOutcome *job);

struct json_object *region_to_json(const RegionInfo *r);
struct json_object *lease_to_json(const LeaseInfo *l);

/* A proof as org.pmemlease1(5) describes it: verdict, counts, a table of holders, what it could not
 * see. */
int show_proof(FILE *f, const Options *o, struct json_object *proof);
/* The proof in three lines, for the middle of a story. */
void show_proof_summary(FILE *f, struct json_object *proof);

/* What is known after an eviction, a release or a revocation. */
typedef struct Eviction {
	const char *verb; /* "Evicted", "Released", "Revoked" */
	const RegionInfo *before;
	const LeaseInfo *lease; /* id NULL: there was none */
	const JobOutcome *job;
	struct json_object *proof; /* the one of this fence; or NULL */
	const RegionInfo *after;   /* id NULL: unknown */
	bool keep_offline;
} Eviction;

void show_eviction(FILE *f, const Options *o, const Eviction *e);

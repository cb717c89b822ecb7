/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the daemon says, as plain structures: loaded from the bus here, shown by show-*.c. Strings
 * are malloc-ed and never NULL once loaded; states stay words, so that a newer daemon's are shown
 * as they are.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"

typedef struct RegionInfo {
	char *object; /* bus path */
	char *id, *name, *kind, *path, *uuid, *extent;
	char *presence, *use, *content, *owner, *reason, *fence_level, *binding;
	char *lease_object, *job_object; /* "/" when there is none */
	char *lease_id, *lease_domain;	 /* of its lease that is not released, or "" */
	char **dimms, **obstacles;
	uint64_t size_bytes, align_bytes;
	int32_t numa_node;
} RegionInfo;

typedef struct LeaseInfo {
	char *object, *region_object;
	char *id, *region_id, *region_name, *domain, *domain_name, *owner, *alias, *model, *state;
	char *on_end, *after_fence, *drain, *on_refusal;
	bool restore;
	uint64_t grace_usec; /* of its policy; PML_DEADLINE_DEFAULT, PML_DEADLINE_INFINITY */
	char **warnings;
	uint64_t deadline_usec, since_usec;
	uint64_t size_bytes, plugged_bytes;
} LeaseInfo;

typedef struct JobInfo {
	uint64_t id;
	char *object, *kind, *subject, *phase;
	double progress;
} JobInfo;

typedef struct HistoryInfo {
	int64_t seq;
	uint64_t time_usec;
	char *kind, *id, *from, *to, *detail, *actor;
} HistoryInfo;

typedef struct ManagerInfo {
	char *version;
	char **fence_levels;
	bool kernel_revoke, libvirt_connected;
} ManagerInfo;

/* A part of the host that leaves as a whole: org.pmemlease1(5), DescribeDevice. */
typedef struct DeviceDimm {
	char *name, *slot;
} DeviceDimm;

typedef struct DeviceRow {
	char *name, *mode, *device, *region, *content, *owner, *lease;
	char *in_the_way; /* "": nothing */
	uint64_t size_bytes;
	bool enabled;
} DeviceRow;

typedef struct DeviceInfo {
	const char *name; /* borrowed */
	char *kind;	  /* "dimm" "interleave-set" "node" */
	DeviceDimm *dimms;
	size_t n_dimms;
	DeviceRow *rows;
	size_t n_rows;
} DeviceInfo;

typedef struct RegionList {
	RegionInfo *items;
	size_t n;
} RegionList;

typedef struct LeaseList {
	LeaseInfo *items;
	size_t n;
} LeaseList;

typedef struct JobList {
	JobInfo *items;
	size_t n;
} JobList;

typedef struct HistoryList {
	HistoryInfo *items;
	size_t n;
} HistoryList;

/* Each reports its own error and returns the exit code of it; EXIT_DONE and a filled *ret else. */
ExitCode model_manager(sd_bus *bus, const Options *o, ManagerInfo *ret);
ExitCode model_regions(sd_bus *bus, const Options *o, RegionList *ret);
/* ret_lease: its lease that is not released, if there is one (id is NULL else). Both are zero
 * before, and to be cleared by the caller, also after a failure. */
ExitCode model_region(
	sd_bus *bus, const Options *o, const char *name, RegionInfo *ret, LeaseInfo *ret_lease);
/* The same by its bus path. */
ExitCode model_region_object(
	sd_bus *bus, const Options *o, const char *object, RegionInfo *ret, LeaseInfo *ret_lease);
ExitCode model_leases(sd_bus *bus, const Options *o, LeaseList *ret);
/* By lease id or its region's name. */
ExitCode model_lease(sd_bus *bus, const Options *o, const char *name, LeaseInfo *ret);
ExitCode model_lease_object(sd_bus *bus, const Options *o, const char *object, LeaseInfo *ret);
ExitCode model_jobs(sd_bus *bus, const Options *o, JobList *ret);
/* The newest o->lines rows of id ("" = all), newest first. */
ExitCode model_history(sd_bus *bus, const Options *o, const char *id, HistoryList *ret);

/* Bus path of a region or lease. */
ExitCode model_find(
	sd_bus *bus, const Options *o, const char *method, const char *name, char **ret);
/* The id under which the ledger has a region of this name; NULL in *ret when there is none now (no
 * error is reported). */
ExitCode model_region_id(sd_bus *bus, const Options *o, const char *name, char **ret);
/* The newest recorded proof of a region as text; NULL in *ret when there is none (no error is
 * reported). */
void model_proof(sd_bus *bus, const char *region_object, char **ret);
/* The same without waiting: the answer comes when the bus is processed next. *ret must live as long
 * as the slot. */
int model_proof_async(sd_bus *bus, const char *region_object, sd_bus_slot **ret_slot, char **ret);
/* "/org/pmemlease1/region/dax0_2e0" → "dax0.0"; what is no path of ours is returned as it is.
 * malloc-ed, or NULL. */
char *model_object_label(const char *object);

void region_info_clear(RegionInfo *r);
void lease_info_clear(LeaseInfo *l);
void region_list_clear(RegionList *l);
void lease_list_clear(LeaseList *l);
void job_list_clear(JobList *l);
void history_list_clear(HistoryList *l);
void manager_info_clear(ManagerInfo *m);

#define _cleanup_region_  _cleanup_(region_info_clear)
#define _cleanup_lease_	  _cleanup_(lease_info_clear)
#define _cleanup_regions_ _cleanup_(region_list_clear)
#define _cleanup_leases_  _cleanup_(lease_list_clear)
#define _cleanup_jobs_	  _cleanup_(job_list_clear)
#define _cleanup_history_ _cleanup_(history_list_clear)
#define _cleanup_manager_ _cleanup_(manager_info_clear)

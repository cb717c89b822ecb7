/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "announce.h"
#include "bus.h"
#include "job-bus.h"
#include "util.h"

static const char *job_subject(const Job *job)
{
	return job->lease && job->lease->path ? job->lease->path
	       : job->region		      ? job->region->path
					      : PML_BUS_PATH;
}

#define JOB_GETTER(name, type, value)                                                              \
	static int get_##name(sd_bus *bus, const char *path, const char *interface,                \
		const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)  \
	{                                                                                          \
		const Job *job = userdata;                                                         \
                                                                                                   \
		return sd_bus_message_append(reply, type, value);                                  \
	}

JOB_GETTER(id, "t", job->id)
JOB_GETTER(kind, "s", job->kind->name)
JOB_GETTER(subject, "o", job_subject(job))
JOB_GETTER(phase, "s", job->phase)
JOB_GETTER(progress, "d", job->progress)
JOB_GETTER(cancellable, "b", (int)job_cancellable(job))

const sd_bus_vtable job_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Cancel", "", "", bouncer_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Id", "t", get_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Kind", "s", get_kind, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Subject", "o", get_subject, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Phase", "s", get_phase, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Progress", "d", get_progress, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY(
		"Cancellable", "b", get_cancellable, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

void job_bus_new(Job *job)
{
	sd_bus *bus = job->manager->bus;

	if (!bus || !job->path)
		return;
	(void)sd_bus_emit_interfaces_added(bus, job->path, PML_IF_JOB, NULL);
	(void)sd_bus_emit_signal(bus, PML_BUS_PATH, PML_IF_MANAGER, "JobNew", "tos", job->id,
		job->path, job->kind->name);
}

void job_bus_changed(Job *job)
{
	job->changed = true;
	announce_later(job->manager);
}

void job_bus_emit_changed(Job *job)
{
	job->changed = false;
	if (job->manager->bus && job->path)
		(void)sd_bus_emit_properties_changed(job->manager->bus, job->path, PML_IF_JOB,
			"Phase", "Progress", "Cancellable", NULL);
}

void job_bus_removed(Job *job, const char *result)
{
	sd_bus *bus = job->manager->bus;
	bool tells = strcmp(result, "done") != 0 || job->noted;

	if (!bus || !job->path)
		return;
	announce_now(job->manager);
	(void)sd_bus_emit_signal(bus, PML_BUS_PATH, PML_IF_MANAGER, "JobRemoved", "toosss", job->id,
		job->path, job_subject(job), result, tells ? job->error : "",
		tells ? job->message : "");
	(void)sd_bus_emit_interfaces_removed(bus, job->path, PML_IF_JOB, NULL);
}

int job_bus_cancel(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	Job *job = bus_job_of(m, sd_bus_message_get_path(call));
	int r;

	if (!job)
		return bus_error(error, SD_BUS_ERROR_UNKNOWN_OBJECT, "The job has ended.");
	r = job_cancel(job);
	if (r == -EOPNOTSUPP)
		return bus_error(error, PML_ERROR_BUSY, "The operation %s cannot be cancelled.",
			job->kind->name);
	if (r == -EBUSY)
		return bus_error(error, PML_ERROR_BUSY, "It is too late to cancel: %s.",
			job->phase[0] ? job->phase : job->kind->name);
	return r < 0 ? r : sd_bus_reply_method_return(call, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A part of the host that is to leave: what lies on it, and taking all of it back. */

#include "act.h"
#include "model.h"
#include "show.h"

void device_info_clear(DeviceInfo *d)
{
	for (size_t i = 0; i < d->n_dimms; i++) {
		free(d->dimms[i].name);
		free(d->dimms[i].slot);
	}
	for (size_t i = 0; i < d->n_rows; i++) {
		DeviceRow *row = &d->rows[i];
		char *const strings[] = {row->name, row->mode, row->device, row->region,
			row->content, row->owner, row->lease, row->in_the_way};

		for (size_t k = 0; k < ELEMENTSOF(strings); k++)
			free(strings[k]);
	}
	free(d->dimms);
	free(d->rows);
	free(d->kind);
}

static int copy(char **ret, const char *s)
{
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

static int read_dimms(sd_bus_message *m, DeviceInfo *d)
{
	const char *name, *slot;
	int r = sd_bus_message_enter_container(m, 'a', "(ss)");

	while (r >= 0 && (r = sd_bus_message_read(m, "(ss)", &name, &slot)) > 0) {
		DeviceDimm *list = reallocarray(d->dimms, d->n_dimms + 1, sizeof(*list));

		if (!list)
			return -ENOMEM;
		d->dimms = list;
		list[d->n_dimms] = (DeviceDimm){};
		r = copy(&list[d->n_dimms].name, name);
		if (r >= 0)
			r = copy(&list[d->n_dimms].slot, slot);
		d->n_dimms++;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_row(sd_bus_message *m, DeviceRow *row)
{
	const char *s[8] = {};
	char **const to[] = {&row->name, &row->mode, &row->device, &row->region, &row->content,
		&row->owner, &row->lease, &row->in_the_way};
	int enabled = 0;
	int r = sd_bus_message_read(m, "(ssstbsssss)", &s[0], &s[1], &s[2], &row->size_bytes,
		&enabled, &s[3], &s[4], &s[5], &s[6], &s[7]);

	if (r <= 0)
		return r;
	row->enabled = enabled;
	for (size_t i = 0; i < ELEMENTSOF(to); i++)
		if (copy(to[i], s[i]) < 0)
			return -ENOMEM;
	return 1;
}

static int read_rows(sd_bus_message *m, DeviceInfo *d)
{
	int r = sd_bus_message_enter_container(m, 'a', "(ssstbsssss)");

	while (r >= 0) {
		DeviceRow *list = reallocarray(d->rows, d->n_rows + 1, sizeof(*list));

		if (!list)
			return -ENOMEM;
		d->rows = list;
		list[d->n_rows++] = (DeviceRow){};
		r = read_row(m, &list[d->n_rows - 1]);
		if (r == 0) {
			d->n_rows--;
			break;
		}
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

ExitCode load_device(sd_bus *bus, const Options *o, const char *name, DeviceInfo *ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	ExitCode code =
		bus_call(bus, o, PML_BUS_PATH, PML_IF_MANAGER, "DescribeDevice", &reply, "s", name);
	const char *kind;
	int r;

	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_read(reply, "s", &kind);
	if (r >= 0)
		r = copy(&ret->kind, kind);
	if (r >= 0)
		r = read_dimms(reply, ret);
	if (r >= 0)
		r = read_rows(reply, ret);
	ret->name = name;
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

ExitCode verb_device(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_(device_info_clear) DeviceInfo device = {};
	ExitCode code = load_device(bus, o, args[0], &device);
	int r;

	if (code != EXIT_DONE)
		return code;
	r = show_device(stdout, o, &device);
	return r < 0 ? report_errno(o, r, "Cannot show the device") : EXIT_DONE;
}

static int evict_device_message(sd_bus *bus, const Options *o, sd_bus_message **ret)
{
	int r = sd_bus_message_new_method_call(
		bus, ret, PML_BUS_NAME, PML_BUS_PATH, PML_IF_MANAGER, "EvictDevice");

	if (r >= 0)
		r = sd_bus_message_append(*ret, "st", o->device, o->deadline_usec);
	if (r >= 0)
		r = sd_bus_message_open_container(*ret, 'a', "{sv}");
	if (r >= 0)
		r = append_evict_options(*ret, o);
	return r < 0 ? r : sd_bus_message_close_container(*ret);
}

/* What there is to say of it is said whether it went well or not. */
ExitCode tell_device(sd_bus *bus, const Options *o, const JobOutcome *outcome, ShowDeviceFn show)
{
	_cleanup_(device_info_clear) DeviceInfo device = {};
	Options quiet = *o;
	ExitCode code = EXIT_DONE;

	quiet.json = false;
	if (strcmp(outcome->result, "done") != 0)
		code = report_outcome(&quiet, outcome);
	if (load_device(bus, &quiet, o->device, &device) == EXIT_DONE)
		(void)show(stdout, o, &device, outcome);
	return code;
}

ExitCode evict_device(sd_bus *bus, const Options *o)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	_cleanup_outcome_ JobOutcome outcome = {};
	_cleanup_watch_ JobWatch *watch = NULL;
	ExitCode code;
	int r;

	r = job_watch_new(bus, o, &watch);
	if (r >= 0)
		r = evict_device_message(bus, o, &m);
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	code = follow_job(bus, o, watch, m, &outcome);
	return code != EXIT_DONE || o->no_wait ? code
					       : tell_device(bus, o, &outcome, show_device_evicted);
}

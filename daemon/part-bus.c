/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The methods of the manager that are about a part of the host: a DIMM, an interleave set, a node.
 */

#include "bus.h"
#include "layout.h"
#include "ops.h"
#include "part-rows.h"
#include "util.h"

#define NAME_MAX_LEN 32

int manager_bus_evict_device(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	DrainPolicy how = DRAIN_AS_LEASED;
	BusPolicy given = {};
	const BusOption options[] = {
		BUS_POLICY_EVICT(&given),
		{},
	};
	PmlAfterFence policy = _PML_AFTER_FENCE_INVALID;
	uint64_t deadline_usec;
	OpError err = {};
	const char *name;
	Job *job = NULL;
	int r;

	r = sd_bus_message_read(call, "st", &name, &deadline_usec);
	if (r >= 0)
		r = bus_check_text(error, "device", name, NAME_MAX_LEN, false);
	if (r >= 0)
		r = bus_read_options(call, options, error);
	if (r >= 0)
		r = bus_parse_policy(&given, NULL, &policy, &how.drain, &how.on_refusal, error);
	if (r < 0)
		return r;
	r = op_evict_device_start(m, name, deadline_usec, policy, &how, uid, &job, &err);
	return r != 0 ? bus_op_error(error, r, &err)
		      : sd_bus_reply_method_return(call, "o", job->path);
}

typedef struct DescribeWork {
	BusWork work;
	char name[NAME_MAX_LEN + 1];
	int (*scan)(const char *name, PmlPart **ret);
	PmlPart *part;
} DescribeWork;

static int describe_run(BusWork *work)
{
	DescribeWork *w = (DescribeWork *)work;

	return w->scan(w->name, &w->part);
}

static void describe_clear(BusWork *work)
{
	DescribeWork *w = (DescribeWork *)work;

	w->part = pml_part_free(w->part);
}

static int look_error(const DescribeWork *w, int r, sd_bus_error *error)
{
	if (r == -ENODEV || r == -EINVAL)
		return bus_error(error, PML_ERROR_NO_SUCH_DEVICE,
			"This host has no %s. Name a DIMM (nmem0), an interleave set (region0) or a node (node1).",
			w->name);
	return bus_error(
		error, PML_ERROR_FAILED, "The device cannot be looked at: %s.", strerror(-r));
}

static int append_dimms(sd_bus_message *reply, const PmlPart *part)
{
	int r = sd_bus_message_open_container(reply, 'a', "(ss)");

	for (size_t i = 0; i < part->n_dimms && r >= 0; i++)
		r = sd_bus_message_append(reply, "(ss)", part->dimms[i].name, part->dimms[i].slot);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static const char *row_device(const PartRow *row)
{
	return row->region ? region_label(row->region) : row->ns ? row->ns->device : "";
}

/* What is on it is the owner's, wherever it lies. */
static int append_rows(sd_bus_message *reply, const PartRow *rows, size_t n)
{
	int r = sd_bus_message_open_container(reply, 'a', "(ssstbsssss)");

	for (size_t i = 0; i < n && r >= 0; i++) {
		const PmlPartNamespace *ns = rows[i].ns;
		const Region *g = rows[i].region;

		r = sd_bus_message_append(reply, "(ssstbsssss)", ns ? ns->name : "",
			ns ? ns->mode : "devdax", row_device(&rows[i]),
			ns ? ns->size_bytes : g->extent.size_bytes,
			(int)(ns ? ns->enabled : g->presence == PML_PRESENCE_ONLINE),
			g ? g->id : "", g ? pml_content_to_string(g->record.content) : "",
			g ? g->record.owner : "", g && g->lease ? g->lease->record.id : "",
			rows[i].in_the_way ? rows[i].in_the_way : "");
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int describe_reply(BusWork *work, int r, sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	DescribeWork *w = (DescribeWork *)work;
	PartRow *rows;
	size_t n;

	if (r < 0)
		return look_error(w, r, error);
	r = part_rows(work->manager, w->part, &rows, &n);
	if (r < 0)
		return r;
	r = sd_bus_message_new_method_return(work->call, &reply);
	if (r >= 0)
		r = sd_bus_message_append(reply, "s", pml_part_kind_to_string(w->part->kind));
	if (r >= 0)
		r = append_dimms(reply, w->part);
	if (r >= 0)
		r = append_rows(reply, rows, n);
	part_rows_free(rows, n);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* reply: on the main thread, when the part was looked at. */
static int look(Manager *m, sd_bus_message *call, uint32_t uid,
	int (*reply)(BusWork *w, int r, sd_bus_error *error), sd_bus_error *error)
{
	DescribeWork *w;
	const char *name;
	int r;

	r = sd_bus_message_read(call, "s", &name);
	if (r >= 0)
		r = bus_check_text(error, "device", name, NAME_MAX_LEN, false);
	if (r < 0)
		return r;
	w = bus_work_new(sizeof(*w), m, call, uid);
	if (!w)
		return -ENOMEM;
	(void)PML_STRCPY(w->name, name);
	w->scan = m->scan_part ? m->scan_part : pml_part_scan;
	w->work.run = describe_run;
	w->work.reply = reply;
	w->work.clear = describe_clear;
	/* One at a time: who asks often waits for himself. */
	r = bus_work_submit(&w->work, EXEC_WORK, "describe-device");
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

int manager_bus_describe_device(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	return look(m, call, uid, describe_reply, error);
}

/* --- how it was laid out --- */

typedef struct LayoutWork {
	BusWork work;
	PmlPart *part;
	char *key;
	Layout layout;
} LayoutWork;

static int layout_run(BusWork *work)
{
	LayoutWork *w = (LayoutWork *)work;
	_cleanup_free_ char *json = NULL;
	int r = pml_ledger_layout(work->manager->ledger, w->key, &json);

	/* None was recorded: there is nothing to be made anew. */
	return r == -ENOENT ? 0 : r < 0 ? r : layout_parse(json, &w->layout);
}

static void layout_work_clear(BusWork *work)
{
	LayoutWork *w = (LayoutWork *)work;

	(void)pml_part_free(w->part);
	layout_clear(&w->layout);
	free(w->key);
}

/* What the set is called now; "": it is not there. */
static const char *nd_region_of(const PmlPart *part, const char *set)
{
	for (size_t i = 0; part->sets && part->sets[i]; i++)
		if (strcmp(part->sets[i], set) == 0)
			return part->nd_regions[i];
	return "";
}

static int append_layout(sd_bus_message *reply, const LayoutWork *w, const size_t *index)
{
	int r = sd_bus_message_open_container(reply, 'a', "(sssttusbb)");

	for (size_t i = 0; i < w->layout.n && r >= 0; i++) {
		const LayoutEntry *e = &w->layout.entries[i];

		r = sd_bus_message_append(reply, "(sssttusbb)", nd_region_of(w->part, e->set),
			e->mode, e->map, e->size_bytes, e->align_bytes, (uint32_t)e->sector_bytes,
			e->set, (int)(index[i] != SIZE_MAX), (int)(e->label_id[0] != 0));
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int layout_reply(BusWork *work, int r, sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_free_ size_t *index = NULL;
	_cleanup_free_ bool *same = NULL;
	LayoutWork *w = (LayoutWork *)work;

	if (r < 0)
		return bus_error(
			error, PML_ERROR_FAILED, "The ledger cannot be read: %s.", strerror(-r));
	index = calloc(w->layout.n + 1, sizeof(*index));
	same = calloc(w->layout.n + 1, sizeof(*same));
	if (!index || !same)
		return -ENOMEM;
	layout_match(&w->layout, w->part, index, same);
	r = sd_bus_message_new_method_return(work->call, &reply);
	if (r >= 0)
		r = append_layout(reply, w, index);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* What is there is known: now what the ledger has of it. */
static int layout_looked(BusWork *work, int r, sd_bus_error *error)
{
	DescribeWork *looked = (DescribeWork *)work;
	LayoutWork *w;

	if (r < 0)
		return look_error(looked, r, error);
	w = bus_work_new(sizeof(*w), work->manager, work->call, work->uid);
	if (!w)
		return -ENOMEM;
	w->part = TAKE_PTR(looked->part);
	w->work.run = layout_run;
	w->work.reply = layout_reply;
	w->work.clear = layout_work_clear;
	w->key = layout_key(w->part);
	if (!w->key) {
		bus_work_free(&w->work);
		return -ENOMEM;
	}
	r = bus_work_submit(&w->work, EXEC_LEDGER, NULL);
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

int manager_bus_describe_layout(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	return look(m, call, uid, layout_looked, error);
}

int manager_bus_readmit_device(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	bool scrub = false;
	const BusOption options[] = {
		{"scrub", BUS_OPTION_BOOL, &scrub},
		{},
	};
	OpError err = {};
	const char *name;
	Job *job = NULL;
	int r;

	r = sd_bus_message_read(call, "s", &name);
	if (r >= 0)
		r = bus_check_text(error, "device", name, NAME_MAX_LEN, false);
	if (r >= 0)
		r = bus_read_options(call, options, error);
	if (r < 0)
		return r;
	r = op_readmit_device_start(m, name, scrub, uid, &job, &err);
	return r != 0 ? bus_op_error(error, r, &err)
		      : sd_bus_reply_method_return(call, "o", job->path);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdarg.h>

#include "choose.h"
#include "lease-job.h"
#include "node.h"
#include "util.h"

/* Unknown is farther than anything known: SLIT has 255 for what cannot be reached. */
#define FAR 256

static unsigned distance(const ChooseRequest *q, const Region *region)
{
	int node = pml_region_numa_node(region->host);

	if (q->node < 0)
		return 0;
	if (node < 0 || node >= PML_NODES_MAX || q->distances[node] == 0)
		return FAR;
	return q->distances[node];
}

static bool holds_data_of(const Region *region, const char *owner)
{
	return region->record.content == PML_CONTENT_RETAINED &&
	       pml_streq(region->record.owner, owner);
}

static bool better(const ChooseRequest *q, const Region *a, const Region *b)
{
	bool a_own = holds_data_of(a, q->owner), b_own = holds_data_of(b, q->owner);
	uint64_t a_bytes = pml_region_size_bytes(a->host), b_bytes = pml_region_size_bytes(b->host);
	unsigned a_far = distance(q, a), b_far = distance(q, b);

	if (a_own != b_own)
		return a_own;
	if (a_far != b_far)
		return a_far < b_far;
	if (a_bytes != b_bytes)
		return a_bytes < b_bytes;
	/* The same question has the same answer, whatever order the host was scanned in. */
	return strverscmp(a->name, b->name) < 0;
}

/* 0, or 1 with the reason. */
static int refuse(const ChooseRequest *q, const Region *region, OpError *err)
{
	if (region->host && pml_region_kind(region->host) == PML_KIND_BDEV && !q->may_destroy)
		return op_error(err, PML_ERROR_NO_FENCE,
			"%s: It is a block device, which wants consent to be taken back by force (--allow-destroy).",
			region_label(region));
	if (region->host && pml_region_kind(region->host) == PML_KIND_SYSRAM &&
		q->kind != PML_KIND_SYSRAM)
		return op_error(err, PML_ERROR_INVALID,
			"%s: It is memory of the host (system-ram), which is lent when it is asked for (--kind=sysram).",
			region_label(region));
	if (region_leasable(region, err) != 0)
		return 1;
	return lease_check_owner(region, q->owner, err);
}

/* --- what stood in the way, for people --- */

typedef struct Report {
	char *text;
	size_t n_smaller, n_other_kind, n_untold;
	uint64_t biggest_bytes;
} Report;

static void tell(Report *report, const char *format, ...) _printf_(2, 3);
static void tell(Report *report, const char *format, ...)
{
	_cleanup_free_ char *line = NULL, *before = report->text;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&line, format, ap);
	va_end(ap);
	report->text = NULL;
	if (n < 0)
		line = NULL;
	if (asprintf(&report->text, "%s %s", before ? before : "", line ? line : "?") < 0)
		report->text = NULL;
}

static int none(const ChooseRequest *q, Report *report, size_t n, OpError *err)
{
	char node[32] = "";

	if (q->node >= 0)
		(void)snprintf(node, sizeof(node), " on or near node %d", q->node);
	if (report->n_smaller > 0)
		tell(report, "%zu smaller, the biggest of %" PRIu64 " MiB.", report->n_smaller,
			(uint64_t)(report->biggest_bytes / MIB));
	if (report->n_other_kind > 0)
		tell(report, "%zu of another kind.", report->n_other_kind);
	if (report->n_untold > 0)
		tell(report, "%zu more: see pmemlease regions.", report->n_untold);
	return op_error(err, PML_ERROR_NONE_SUITABLE,
		"None of %zu regions can be lent to %s now, of %" PRIu64 " MiB or more%s%s%s.%s%s",
		n, q->owner, (uint64_t)(q->size_bytes / MIB), q->kind >= 0 ? ", of kind " : "",
		q->kind >= 0 ? pml_kind_to_string(q->kind) : "", node,
		report->text ? " What stands in the way:" : "", report->text ? report->text : "");
}

int choose_region(Manager *m, const ChooseRequest *q, Region **ret, OpError *err)
{
	Region *region, *best = NULL;
	Report report = {};
	OpError why;
	size_t n = 0;
	int r = 0;

	LIST_FOREACH (region, &m->regions, regions) {
		uint64_t bytes = region->host ? pml_region_size_bytes(region->host)
					      : region->extent.size_bytes;

		n++;
		if (q->kind >= 0 && region->last && pml_region_kind(region->last) != q->kind) {
			report.n_other_kind++;
		} else if (bytes < q->size_bytes) {
			report.n_smaller++;
			if (bytes > report.biggest_bytes)
				report.biggest_bytes = bytes;
		} else if ((r = refuse(q, region, &why)) < 0) {
			break;
		} else if (r > 0) {
			/* An error of the bus is read by people. */
			if (report.text && strlen(report.text) > sizeof(err->message) / 2)
				report.n_untold++;
			else
				tell(&report, "%s", why.message);
		} else if (!best || better(q, region, best)) {
			best = region;
		}
	}
	if (r >= 0) {
		*ret = best;
		r = best ? 0 : none(q, &report, n, err);
	}
	free(report.text);
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "part-job.h"

#include "ops-internal.h"
#include "util.h"

int part_job_init(PartJob *p, Manager *m, const char *name)
{
	p->manager = m;
	p->scan = m->scan_part ? m->scan_part : pml_part_scan;
	p->name = strdup(name);
	return p->name ? 0 : -ENOMEM;
}

void part_job_clear(PartJob *p)
{
	ledger_change_clear(&p->change);
	children_clear(&p->children);
	layout_clear(&p->layout);
	(void)pml_part_free(p->part);
	free(p->key);
	free(p->name);
}

int part_job_look(void *data)
{
	PartJob *p = data;

	p->part = pml_part_free(p->part);
	return p->scan(p->name, &p->part);
}

JobNext part_job_looked(Job *job, int r)
{
	const PartJob *p = job->data;

	if (r == -ENODEV || r == -EINVAL) {
		job_set_error(job, PML_ERROR_NO_SUCH_DEVICE,
			"This host has no %s. Name a DIMM (nmem0), an interleave set (region0) or a node (node1), as `ndctl "
			"list -DR` and `numactl -H` show them.",
			p->name);
		return JOB_FAIL;
	}
	return r < 0 ? op_fail(job, r, "look at the device") : JOB_NEXT;
}

int part_job_change(void *data)
{
	return ledger_change_run(&((PartJob *)data)->change);
}

JobNext part_job_changed(Job *job, int r)
{
	PartJob *p = job->data;

	ledger_change_done(&p->change, r);
	if (r == 0)
		return JOB_NEXT;
	job_set_ledger_error(job, r, p->change.why);
	return JOB_FAIL;
}

void part_job_child(Job *job, Job *child, bool ended)
{
	children_moved(&((PartJob *)job->data)->children, job, ended);
}

void part_job_cancel_children(Job *job)
{
	for (Job *j = job->manager->jobs; j; j = j->next)
		if (j->parent == job)
			(void)job_cancel(j);
}

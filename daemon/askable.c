/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "askable.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

typedef struct Look {
	Manager *manager;
	const VirtOps *ops;
	Virt *virt;
	char domain[PML_ID_MAX];
	char *why;
} Look;

/* Memory of the host is unplugged by the guest's kernel, which needs no agent. */
bool askable_matters(const Lease *l)
{
	PmlLeaseState state = lease_state(l);

	return !l->gone && l->manager->virt_ops->agent && !region_is_ram(l->region) &&
	       l->record.drain == PML_DRAIN_ASK &&
	       (state == PML_LEASE_ATTACHING || state == PML_LEASE_ACTIVE) &&
	       pml_streq(l->record.boot_id, l->manager->boot_id);
}

void askable_set(Lease *l, int r, const char *why)
{
	bool lacks = r == VIRT_NO_AGENT || r == VIRT_AGENT_BLOCKED || r == VIRT_AGENT_SILENT;
	char *text;

	if ((!lacks && r != 0) || pml_streq(l->unasked, lacks ? why : NULL))
		return;
	text = lacks ? strdup(why ? why : "libvirt gives no reason.") : NULL;
	if (lacks && !text)
		return;
	if (text)
		log_full(LOG_INFO,
			&(LogFields){.lease = l->record.id,
				.region = l->record.region,
				.domain = l->record.domain},
			"The guest of domain %s could not be asked for region %s now: %s",
			l->record.domain_name, region_label(l->region), text);
	free(l->unasked);
	l->unasked = text;
	lease_changed(l);
}

static int look_run(void *userdata)
{
	Look *a = userdata;

	return a->ops->agent(a->virt, a->domain, &a->why);
}

static void look_done(void *userdata, int r)
{
	Look *a = userdata;
	Lease *l;

	a->manager->background--;
	LIST_FOREACH (l, &a->manager->leases, leases)
		if (askable_matters(l) && pml_streq(l->record.domain, a->domain))
			askable_set(l, r, a->why);
	free(a->why);
	free(a);
}

static void look(Manager *m, const char *uuid)
{
	Look *a = calloc(1, sizeof(*a));
	char key[PML_ID_MAX + 8];

	if (!a)
		return;
	a->manager = m;
	a->ops = m->virt_ops;
	a->virt = m->virt;
	(void)PML_STRCPY(a->domain, uuid);
	/* Behind what an agent is asked otherwise, and in nobody's way who needs libvirt alone. */
	(void)snprintf(key, sizeof(key), "agent/%s", uuid);
	if (exec_submit(m->exec, EXEC_VIRT, key, look_run, look_done, a) < 0)
		free(a);
	else
		m->background++;
}

void askable_look(Manager *m, const char *uuid)
{
	const Lease *l, *other;

	LIST_FOREACH (l, &m->leases, leases) {
		if (!askable_matters(l) || (uuid[0] && !pml_streq(l->record.domain, uuid)))
			continue;
		/* One question a domain. */
		LIST_FOREACH (other, &m->leases, leases)
			if (other == l || (askable_matters(other) && pml_streq(other->record.domain,
									     l->record.domain)))
				break;
		if (other == l)
			look(m, l->record.domain);
	}
}

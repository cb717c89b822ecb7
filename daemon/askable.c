/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "askable.h"
#include "lease-job.h"
#include "log.h"
#include "ops-internal.h"
#include "util.h"

typedef struct AgentLook {
	struct AgentLook *next;
	Manager *manager;
	const VirtOps *ops;
	Virt *virt;
	char domain[PML_ID_MAX];
	char *why;
} AgentLook;

/* Memory of the host is unplugged by the guest's kernel, which needs no agent. */
bool askable_matters(const Lease *l)
{
	PmlLeaseState state = lease_state(l);

	return !l->gone && l->manager->virt_ops->agent && !region_is_ram(l->region) &&
	       l->record.drain == PML_DRAIN_ASK &&
	       (state == PML_LEASE_ATTACHING || state == PML_LEASE_ACTIVE) &&
	       pml_streq(l->record.boot_id, l->manager->boot_id);
}

static void set(Lease *l, int r, const char *why)
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
	AgentLook *a = userdata;

	return a->ops->agent(a->virt, a->domain, &a->why);
}

static void look_done(void *userdata, int r)
{
	AgentLook *a = userdata;
	Manager *m = a->manager;
	Lease *l;

	m->background--;
	for (AgentLook **p = &m->agent_looks; *p; p = &(*p)->next)
		if (*p == a) {
			*p = a->next;
			break;
		}
	LIST_FOREACH (l, &m->leases, leases)
		if (pml_streq(l->record.domain, a->domain)) {
			if (askable_matters(l))
				set(l, r, a->why);
			lease_looked_at(l);
		}
	free(a->why);
	free(a);
}

static void look(Manager *m, const char *uuid)
{
	AgentLook *a = calloc(1, sizeof(*a));
	char key[PML_ID_MAX + 8];

	if (!a)
		return;
	a->manager = m;
	a->ops = m->virt_ops;
	a->virt = m->virt;
	(void)PML_STRCPY(a->domain, uuid);
	/* Behind what an agent is asked otherwise, and in nobody's way who needs libvirt alone. */
	(void)snprintf(key, sizeof(key), "agent/%s", uuid);
	if (exec_submit(m->exec, EXEC_VIRT, key, look_run, look_done, a) < 0) {
		free(a);
		return;
	}
	m->background++;
	a->next = m->agent_looks;
	m->agent_looks = a;
}

bool askable_looking(const Manager *m, const char *uuid)
{
	const AgentLook *a;

	for (a = m->agent_looks; a && !pml_streq(a->domain, uuid); a = a->next)
		;
	return a != NULL;
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

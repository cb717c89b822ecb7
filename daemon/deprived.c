/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "deprived.h"

#include "log.h"
#include "ops-internal.h"
#include "util.h"

/* The lease may have ended by the time libvirt says how its machine did: what is to be said is kept
 * apart from it. */
typedef struct Deprived {
	struct Deprived *next;
	char lease[PML_ID_MAX], domain[PML_ID_MAX], name[PML_NAME_LEN];
	char region[PML_NAME_LEN], label[PML_NAME_LEN];
	pid_t vmm_pid;
	uint64_t vmm_start;
	FailureCount failures;
} Deprived;

void deprived_add(const Lease *l)
{
	const PmlLeaseRecord *rec = &l->record;
	Manager *m = l->manager;
	Deprived *d;

	for (d = m->deprived; d; d = d->next)
		if (pml_streq(d->lease, rec->id))
			return;
	if (!op_process_alive(rec->vmm_pid, rec->vmm_start))
		return;
	d = calloc(1, sizeof(*d));
	if (!d)
		return;
	(void)PML_STRCPY(d->lease, rec->id);
	(void)PML_STRCPY(d->domain, rec->domain);
	(void)PML_STRCPY(d->name, rec->domain_name);
	(void)PML_STRCPY(d->region, l->region->id);
	(void)PML_STRCPY(d->label, region_label(l->region));
	d->vmm_pid = rec->vmm_pid;
	d->vmm_start = rec->vmm_start;
	d->next = m->deprived;
	m->deprived = d;
}

static void remove_at(Deprived **p)
{
	Deprived *d = *p;

	*p = d->next;
	free(d);
}

void deprived_connected(Manager *m)
{
	for (Deprived **p = &m->deprived; *p;)
		if (op_process_alive((*p)->vmm_pid, (*p)->vmm_start))
			p = &(*p)->next;
		else
			remove_at(p);
}

/* Ended as somebody wished who knew it: after a fence the machine is to be destroyed. */
static bool is_expected(const char *how)
{
	return pml_streq(how, "destroyed") || pml_streq(how, "shut down");
}

static void tell(const Deprived *d, const VirtEvent *ev)
{
	const LogFields fields = {.lease = d->lease,
		.region = d->region,
		.domain = d->domain,
		.message_id = PML_MESSAGE_DEPRIVED};

	if (ev->type == VIRT_EV_DOMAIN_RESET)
		log_full(LOG_WARNING, &fields,
			"Domain %s was reset without region %s, which was taken from it: that memory does not come back by a reset. "
			"Destroy it (virsh destroy), and start it again.",
			d->name, d->label);
	else if (ev->type == VIRT_EV_DOMAIN_RESUMED)
		log_full(LOG_WARNING, &fields,
			"Domain %s was resumed without region %s, which was taken from it: where its guest touches that memory, it fails "
			"or spins. Destroy it (virsh destroy), and start it again.",
			d->name, d->label);
	else if (ev->type == VIRT_EV_DOMAIN_STOPPED && !is_expected(ev->detail))
		log_full(LOG_WARNING, &fields,
			"Domain %s ended (%s) after region %s had been taken from it: without it, QEMU ends where it is saved, dumped or "
			"migrated, and may where it is reset. Start it again.",
			d->name, ev->detail, d->label);
}

void deprived_event(Manager *m, const VirtEvent *ev)
{
	bool over = ev->type == VIRT_EV_DOMAIN_STOPPED || ev->type == VIRT_EV_DOMAIN_STARTED;

	for (Deprived **p = &m->deprived; *p;) {
		if (!pml_streq((*p)->domain, ev->domain)) {
			p = &(*p)->next;
			continue;
		}
		tell(*p, ev);
		if (over)
			remove_at(p);
		else
			p = &(*p)->next;
	}
}

bool deprived_foreach(Manager *m, const char *domain,
	void (*fn)(Manager *m, const char *lease, const char *region, FailureCount *failures,
		const void *data),
	const void *data)
{
	bool any = false;

	for (Deprived *d = m->deprived; d; d = d->next) {
		if (!pml_streq(d->domain, domain))
			continue;
		any = true;
		fn(m, d->lease, d->region, &d->failures, data);
	}
	return any;
}

void deprived_free_all(Manager *m)
{
	while (m->deprived)
		remove_at(&m->deprived);
}

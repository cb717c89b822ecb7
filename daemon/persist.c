/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A lease that was asked for as persistent has its memory device in the domain's stored definition,
 * too, so that the next start asks for the region again (grant.c). Who takes the region back takes
 * it out of there: beside the eviction, since libvirt may hang, and again until libvirt has
 * answered. Lost with the daemon, it leaves a device whose start the hook decides about.
 */

#include "log.h"
#include "ops-internal.h"
#include "util.h"

#define RETRY_MIN_USEC USEC_PER_SEC
#define RETRY_MAX_USEC (60 * USEC_PER_SEC)

struct Undefine {
	struct Undefine *next;
	Manager *manager;
	const VirtOps *ops;
	Virt *virt;
	sd_event_source *retry;
	uint64_t retry_usec;
	bool running;
	char domain[PML_ID_MAX];
	char domain_name[PML_NAME_LEN];
	VirtMemory mem;
	char *why;
};

static void undefine_free(struct Undefine *u)
{
	for (struct Undefine **p = &u->manager->undefines; *p; p = &(*p)->next)
		if (*p == u) {
			*p = u->next;
			break;
		}
	sd_event_source_disable_unref(u->retry);
	free(u->why);
	free(u);
}

static int undefine_run(void *userdata)
{
	struct Undefine *u = userdata;

	free(u->why);
	u->why = NULL;
	return u->ops->define(u->virt, u->domain, &u->mem, false, &u->why);
}

static void undefine_try(struct Undefine *u);

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata)
{
	undefine_try(userdata);
	return 0;
}

static void undefine_done(void *userdata, int r)
{
	struct Undefine *u = userdata;

	u->running = false;
	u->manager->background--;
	if (r == VIRT_UNAVAILABLE || r == VIRT_BUSY) {
		u->retry_usec = u->retry_usec ? u->retry_usec * 2 : RETRY_MIN_USEC;
		if (u->retry_usec > RETRY_MAX_USEC)
			u->retry_usec = RETRY_MAX_USEC;
		u->retry = sd_event_source_disable_unref(u->retry);
		if (sd_event_add_time_relative(u->manager->event, &u->retry, CLOCK_BOOTTIME,
			    u->retry_usec, USEC_PER_SEC / 10, on_retry, u) >= 0)
			return;
	}
	if (r != 0 && r != VIRT_NO_DOMAIN)
		log_full(LOG_WARNING, &(LogFields){.domain = u->domain},
			"Domain %s keeps %s in its definition (%s): take it out with virsh edit.",
			u->domain_name, u->mem.path,
			u->why	? u->why
			: r < 0 ? strerror(-r)
				: "no reason given");
	undefine_free(u);
}

static void undefine_try(struct Undefine *u)
{
	if (exec_submit(u->manager->exec, EXEC_VIRT, u->domain, undefine_run, undefine_done, u) <
		0) {
		undefine_free(u);
		return;
	}
	u->running = true;
	u->manager->background++;
}

void persist_remove(const Region *region, const PmlLeaseRecord *rec)
{
	struct Undefine *u;

	/* What has another name somebody wrote himself. */
	if (!region->last || region->record.ram ||
		strncmp(rec->alias, PML_ALIAS_PREFIX, strlen(PML_ALIAS_PREFIX)) != 0)
		return;
	u = calloc(1, sizeof(*u));
	if (!u)
		return;
	u->manager = region->manager;
	u->ops = region->manager->virt_ops;
	u->virt = region->manager->virt;
	(void)PML_STRCPY(u->domain, rec->domain);
	(void)PML_STRCPY(u->domain_name, rec->domain_name);
	(void)op_memory(region, rec, &u->mem);
	u->next = region->manager->undefines;
	region->manager->undefines = u;
	undefine_try(u);
}

void persist_free_all(Manager *m, bool busy)
{
	struct Undefine *next;

	for (struct Undefine *u = m->undefines; u; u = next) {
		next = u->next;
		if (!busy || !u->running)
			undefine_free(u);
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "memory-failure.h"

#include <inttypes.h>

#include "deprived.h"
#include "log.h"
#include "util.h"

#define NOTE_INTERVAL_USEC (60 * USEC_PER_SEC)

static void note(Manager *m, const char *lease, const char *region, FailureCount *count,
	const VirtEvent *ev, const char *why)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);
	_cleanup_free_ char *text = NULL;
	PmlTxn *txn;

	count->n++;
	if (count->noted_usec != 0 && now < count->noted_usec + NOTE_INTERVAL_USEC)
		return;
	count->noted_usec = now;
	log_full(LOG_WARNING,
		&(LogFields){.lease = lease,
			.region = region,
			.domain = ev->domain,
			.message_id = PML_MESSAGE_MEMORY_FAILURE},
		"Domain %s has met a memory error (%s), %" PRIu64 " in all: %s.", ev->domain,
		ev->detail, count->n, why);
	txn = pml_txn_new("libvirt");
	if (txn &&
		asprintf(&text, "memory error (%s), %" PRIu64 " in all: %s", ev->detail, count->n,
			why) >= 0 &&
		pml_txn_note(txn, "lease", lease, text) >= 0)
		(void)manager_apply(m, TAKE_PTR(txn), NULL, NULL);
	(void)pml_txn_free(txn);
}

static void note_deprived(
	Manager *m, const char *lease, const char *region, FailureCount *count, const void *data)
{
	note(m, lease, region, count, data,
		"its machine goes on without the region, which was taken from it");
}

void memory_failure_event(Manager *m, const VirtEvent *ev)
{
	bool attributed = deprived_foreach(m, ev->domain, note_deprived, ev), leased = false;
	Lease *l;

	LIST_FOREACH (l, &m->leases, leases) {
		if (attributed || !pml_streq(l->record.domain, ev->domain) || l->gone)
			continue;
		leased = true;
		note(m, l->record.id, l->region->id, &l->failures, ev,
			"the memory of this lease, of another, or the machine's own");
	}
	if (!attributed && !leased)
		log_full(LOG_WARNING,
			&(LogFields){
				.domain = ev->domain, .message_id = PML_MESSAGE_MEMORY_FAILURE},
			"libvirt: memory failure of domain %s, which has no lease: %s", ev->domain,
			ev->detail);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What moved is told to the journal from the rows of the history, so that the two have one story.
 */

#include "journal.h"
#include "log.h"
#include "util.h"

#define PAGE_ROWS 64

typedef struct Kind {
	const char *subject;
	const char *to; /* NULL: any other */
	const char *message_id;
	int priority;
	const char *begin; /* of the sentence */
} Kind;

/* The first that fits. */
static const Kind kinds[] = {
	{"lease", "reserved", PML_MESSAGE_LEASE_MADE, LOG_INFO, "Lease"},
	{"lease", "draining", PML_MESSAGE_EVICT_ACCEPTED, LOG_NOTICE, "Lease"},
	{"lease", "fenced", PML_MESSAGE_FENCED, LOG_NOTICE, "Lease"},
	{"lease", "stuck", PML_MESSAGE_STUCK, LOG_ERR, "Lease"},
	{"lease", "released", PML_MESSAGE_LEASE_ENDED, LOG_INFO, "Lease"},
	{"lease", NULL, PML_MESSAGE_LEASE_STATE, LOG_INFO, "Lease"},
	{"region", "quarantined", PML_MESSAGE_QUARANTINED, LOG_WARNING, "Region"},
	{"region", NULL, PML_MESSAGE_REGION_STATE, LOG_INFO, "Region"},
	{"content", "scrubbing", PML_MESSAGE_SCRUB_BEGUN, LOG_NOTICE, "The content of region"},
	{"content", "blank", PML_MESSAGE_SCRUBBED, LOG_NOTICE, "The content of region"},
	{"content", NULL, PML_MESSAGE_CONTENT, LOG_INFO, "The content of region"},
	{NULL, NULL, PML_MESSAGE_NOTE, LOG_INFO, "Noted of"},
};

static const Kind *kind_of(const PmlHistoryRecord *h)
{
	const Kind *k = kinds;

	while (k->subject &&
		(strcmp(k->subject, h->subject) != 0 || (k->to && strcmp(k->to, h->to) != 0)))
		k++;
	return k;
}

/* Takes what is in the first n, not the page. */
static int add_page(JournalRows *j, const PmlHistoryRecord *page, size_t n)
{
	PmlHistoryRecord *more;

	if (n == 0)
		return 0;
	more = realloc(j->rows, (j->n + n) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	memcpy(more + j->n, page, n * sizeof(*more));
	j->rows = more;
	j->n += n;
	return 0;
}

int journal_rows_read(PmlLedger *ledger, int64_t after, JournalRows *ret)
{
	JournalRows j = {};
	int64_t before = 0;
	bool more = true;

	while (more) {
		PmlHistoryRecord *page;
		size_t n, news = 0;
		int r = pml_ledger_history(ledger, NULL, before, PAGE_ROWS, &page, &n);

		if (r < 0) {
			journal_rows_clear(&j);
			return r;
		}
		while (news < n && page[news].seq > after)
			news++;
		more = n == PAGE_ROWS && news == n;
		r = add_page(&j, page, news);
		if (r < 0) {
			pml_history_free(page, n);
			journal_rows_clear(&j);
			return r;
		}
		for (size_t i = news; i < n; i++)
			free(page[i].detail);
		free(page);
		if (more)
			before = j.rows[j.n - 1].seq;
	}
	*ret = j;
	return 0;
}

void journal_rows_clear(JournalRows *j)
{
	pml_history_free(j->rows, j->n);
	*j = (JournalRows){};
}

static void write_row(Manager *m, const PmlHistoryRecord *h)
{
	const Kind *k = kind_of(h);
	const Lease *l = strcmp(h->subject, "lease") == 0 ? manager_find_lease(m, h->id) : NULL;
	LogFields f = {
		.message_id = k->message_id,
		.state_old = h->from,
		.state_new = h->to,
		.actor = h->actor,
		.subject = h->subject,
		.history_seq = h->seq,
	};
	const char *detail = h->detail && h->detail[0] ? h->detail : NULL;
	const char *was = h->from[0] ? ", was " : "";
	Region *region = NULL;

	if (l) {
		f.lease = l->record.id;
		f.region = l->record.region;
		f.domain = l->record.domain;
		log_full(k->priority, &f, "Lease of %s to %s is %s%s%s (%s)%s%s.",
			l->record.region_name,
			l->record.domain_name[0] ? l->record.domain_name : l->record.domain, h->to,
			was, h->from, h->actor, detail ? ": " : "", detail ? detail : "");
		return;
	}
	if (strcmp(h->subject, "lease") == 0)
		f.lease = h->id;
	else
		f.region = h->id;
	(void)manager_find_region(m, h->id, &region);
	log_full(k->priority, &f, "%s %s%s%s%s%s (%s)%s%s.", k->begin,
		region ? region_label(region) : h->id, h->to[0] ? " is " : "", h->to, was, h->from,
		h->actor, detail ? ": " : "", detail ? detail : "");
}

void journal_rows_write(Manager *m, const JournalRows *j)
{
	/* The ledger gives the newest first. */
	for (size_t i = j->n; i > 0; i--)
		write_row(m, &j->rows[i - 1]);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The journal and the history tell the same story: every row of the one is a line of the other, in
 * the same order, with the same states, and with the message that it is to have. */

#include "ops-fixture.h"

typedef struct Line {
	int64_t seq;
	char subject[16], id[PML_NAME_LEN], from[48], to[32], actor[64], message_id[40];
} Line;

static Line lines[512];
static size_t n_lines;
static char last_ids[64][40]; /* of lines that are no row */
static size_t n_last;
static char deprived[8][256];
static size_t n_deprived;

void __wrap_log_full(int priority, const LogFields *f, const char *format, ...) _printf_(3, 4);

void __wrap_log_full(int priority, const LogFields *f, const char *format, ...)
{
	Line *l = &lines[n_lines];

	if (f && f->history_seq == 0 && f->message_id && n_last < ELEMENTSOF(last_ids)) {
		(void)PML_STRCPY(last_ids[n_last], f->message_id);
		n_last++;
	}
	if (f && pml_streq(f->message_id, PML_MESSAGE_DEPRIVED) &&
		n_deprived < ELEMENTSOF(deprived)) {
		va_list ap;

		va_start(ap, format);
		(void)vsnprintf(deprived[n_deprived], sizeof(deprived[0]), format, ap);
		va_end(ap);
		n_deprived++;
		assert_string_equal(f->domain, WORLD_A);
		assert_string_equal(f->region, WORLD_REGION);
	}
	if (!f || f->history_seq == 0)
		return;
	assert_true(n_lines < ELEMENTSOF(lines));
	n_lines++;
	l->seq = f->history_seq;
	(void)PML_STRCPY(l->subject, f->subject);
	(void)PML_STRCPY(l->id, strcmp(f->subject, "lease") == 0 ? f->lease : f->region);
	(void)PML_STRCPY(l->from, f->state_old);
	(void)PML_STRCPY(l->to, f->state_new);
	(void)PML_STRCPY(l->actor, f->actor);
	(void)PML_STRCPY(l->message_id, f->message_id);
	/* A lease's line has what it is about, also after its end. */
	if (strcmp(f->subject, "lease") == 0) {
		assert_string_equal(f->region, WORLD_REGION);
		assert_non_null(f->domain);
	}
}

static bool said(const char *message_id, const char *to)
{
	for (size_t i = 0; i < n_lines; i++)
		if (strcmp(lines[i].message_id, message_id) == 0 && strcmp(lines[i].to, to) == 0)
			return true;
	for (size_t i = 0; i < n_last; i++)
		if (strcmp(last_ids[i], message_id) == 0)
			return true;
	return false;
}

/* All that the ledger has, oldest first, is what was logged. */
static void same_story(size_t at_least)
{
	PmlHistoryRecord *rows;
	size_t n;

	UNTIL(!m->jobs);
	stop();
	{
		_cleanup_free_ char *path = NULL, *why = NULL;
		PmlLedger *ledger;

		assert_true(asprintf(&path, "%s/state/" PML_LEDGER_FILE, dir) > 0);
		assert_int_equal(pml_ledger_open(path, &ledger, &why), 0);
		assert_int_equal(pml_ledger_history(ledger, NULL, 0, 1000, &rows, &n), 0);
		pml_ledger_close(ledger);
	}
	assert_true(n >= at_least);
	assert_int_equal(n, n_lines);
	for (size_t i = 0; i < n; i++) {
		const PmlHistoryRecord *h = &rows[n - 1 - i];

		assert_int_equal(lines[i].seq, h->seq);
		assert_string_equal(lines[i].subject, h->subject);
		assert_string_equal(lines[i].id, h->id);
		assert_string_equal(lines[i].from, h->from);
		assert_string_equal(lines[i].to, h->to);
		assert_string_equal(lines[i].actor, h->actor);
	}
	pml_history_free(rows, n);
	start();
}

static void test_a_whole_life(void **state)
{
	adopt("a");
	scrub("a");
	lend(WORLD_A);
	assert_string_equal(evict(0).result, "done");
	world_domain_stop(0);
	UNTIL(region()->record.use == PML_USE_FREE);
	same_story(12);
	assert_true(said(PML_MESSAGE_SCRUB_BEGUN, "scrubbing"));
	assert_true(said(PML_MESSAGE_SCRUBBED, "blank"));
	assert_true(said(PML_MESSAGE_LEASE_MADE, "reserved"));
	assert_true(said(PML_MESSAGE_LEASE_STATE, "active"));
	assert_true(said(PML_MESSAGE_EVICT_ACCEPTED, "draining"));
	assert_true(said(PML_MESSAGE_FENCED, "fenced"));
	assert_true(said(PML_MESSAGE_LEASE_ENDED, "released"));
	assert_true(said(PML_MESSAGE_LIBVIRT_BACK, ""));
	assert_true(said(PML_MESSAGE_AFTER_FENCE, ""));
	assert_false(said(PML_MESSAGE_STUCK, "stuck"));

	/* A daemon that starts does not tell again what an earlier one told. */
	n_lines = 0;
	UNTIL(m->libvirt_connected);
	UNTIL(!m->jobs);
	assert_int_equal(n_lines, 0);
}

static void test_stuck_and_quarantined(void **state)
{
	adopt(WORLD_A);
	lend(WORLD_A);
	world->hold_proof = true;
	(void)evict(0);
	assert_true(said(PML_MESSAGE_STUCK, "stuck"));
	assert_true(said(PML_MESSAGE_QUARANTINED, "quarantined"));
	world->hold_proof = false;
	world_domain_stop(0);
	UNTIL(region()->record.use == PML_USE_FREE);
	same_story(8);
}

static void test_bad_media(void **state)
{
	(void)setenv("WORLD_MEDIA", "bad", 1);
	adopt("a");
	assert_int_equal(op_scrub_start(m, region(), "a", 0, &job, &err), 0);
	assert_string_equal(finish(job->id).error, PML_ERROR_BAD_BLOCK);
	assert_true(said(PML_MESSAGE_BAD_MEDIA, ""));
	assert_false(said(PML_MESSAGE_JOB_FAILED, ""));
}

static size_t told(const char *what)
{
	size_t n = 0;

	for (size_t i = 0; i < n_deprived; i++)
		n += strstr(deprived[i], what) != NULL;
	n_deprived = 0;
	return n;
}

static void tell(VirtEventType type, const char *domain, const char *detail)
{
	VirtEvent ev = {.type = type};

	(void)PML_STRCPY(ev.domain, domain);
	(void)PML_STRCPY(ev.detail, detail);
	world_virt_event(&ev);
}

/* What is done to a machine that has lost its memory is told with the reason, also by a later
 * daemon, and when the lease has ended before libvirt says how the machine did. */
static void test_deprived(void **state)
{
	adopt(WORLD_A);
	lend(WORLD_A);
	tell(VIRT_EV_DOMAIN_RESET, WORLD_A, "");
	tell(VIRT_EV_DOMAIN_RESUMED, WORLD_A, "");
	assert_int_equal(n_deprived, 0);
	(void)evict(0);
	UNTIL(said(PML_MESSAGE_AFTER_FENCE, ""));
	tell(VIRT_EV_DOMAIN_RESET, WORLD_B, "");
	assert_int_equal(n_deprived, 0);
	tell(VIRT_EV_DOMAIN_RESET, WORLD_A, "");
	assert_int_equal(told("Domain a was reset without region"), 1);
	tell(VIRT_EV_DOMAIN_RESUMED, WORLD_A, "");
	assert_int_equal(told("was resumed without region"), 1);
	stop();
	start();
	UNTIL(m->libvirt_connected);
	tell(VIRT_EV_DOMAIN_RESET, WORLD_A, "");
	assert_int_equal(told("Domain a was reset without region"), 1);

	world_domain_stop(0);
	UNTIL(region()->record.use == PML_USE_FREE);
	tell(VIRT_EV_DOMAIN_STOPPED, WORLD_A, "failed");
	assert_int_equal(told("ended (failed) after region"), 1);
	tell(VIRT_EV_DOMAIN_STOPPED, WORLD_A, "failed");
	assert_int_equal(n_deprived, 0);
}

/* Whoever does what he was told to is told nothing more. */
static void test_deprived_is_destroyed(void **state)
{
	adopt(WORLD_A);
	lend(WORLD_A);
	(void)evict(0);
	UNTIL(said(PML_MESSAGE_AFTER_FENCE, ""));
	world_domain_stop(0);
	tell(VIRT_EV_DOMAIN_STOPPED, WORLD_A, "destroyed");
	world_domain_start(0);
	tell(VIRT_EV_DOMAIN_STARTED, WORLD_A, "");
	tell(VIRT_EV_DOMAIN_RESET, WORLD_A, "");
	assert_int_equal(n_deprived, 0);
	UNTIL(region()->record.use == PML_USE_FREE);
}

static int begin(void **state)
{
	n_lines = 0;
	n_last = 0;
	n_deprived = 0;
	return setup(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_whole_life, begin, teardown),
		cmocka_unit_test_setup_teardown(test_stuck_and_quarantined, begin, teardown),
		cmocka_unit_test_setup_teardown(test_bad_media, begin, teardown),
		cmocka_unit_test_setup_teardown(test_deprived, begin, teardown),
		cmocka_unit_test_setup_teardown(test_deprived_is_destroyed, begin, teardown),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

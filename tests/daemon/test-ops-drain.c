/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Asking the guest first: what it answers, what it does not, and that the deadline is met all the
 * same. */

#include "diagnose.h"
#include "ops-fixture.h"

#define SHORT_USEC (400 * USEC_PER_MSEC)
#define LONG_USEC  (60 * USEC_PER_SEC)

static int setup_drain(void **state)
{
	int r = setup(state);

	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	return r;
}

static void lend_with(PmlDrain drain, PmlOnRefusal on_refusal, uint64_t grace_usec)
{
	const DrainPolicy policy = {drain, on_refusal, grace_usec};

	assert_int_equal(try_lease("a", NULL), 0);
	op_lease_drain(job, &policy);
	assert_string_equal(finish(job->id).result, "done");
	assert_int_equal(region()->lease->record.drain, drain);
}

static int evict_with(uint64_t deadline_usec, const DrainPolicy *how)
{
	return op_evict_start_with(m, region(), "evict", deadline_usec, false,
		_PML_AFTER_FENCE_INVALID, how, 0, &job, &err);
}

static void restart(void)
{
	stop();
	start();
	UNTIL(m->libvirt_connected);
}

static void until_draining(void)
{
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING && region()->job &&
		region()->job->waiting);
}

/* The newest row of the lease's history that leads to a fence. */
static void assert_fenced_because(const char *part)
{
	PmlHistoryRecord *rows;
	size_t n, i;

	assert_int_equal(
		pml_ledger_history(m->ledger, region()->lease->record.id, 0, 50, &rows, &n), 0);
	for (i = 0; i < n && !pml_streq(rows[i].to, "fencing"); i++)
		;
	assert_true(i < n);
	assert_non_null(rows[i].detail);
	if (!strstr(rows[i].detail, part))
		fail_msg("\"%s\" is not in: %s", part, rows[i].detail);
	pml_history_free(rows, n);
}

/* --- */

static void test_released(void **state)
{
	uint64_t begin = pml_now_usec(CLOCK_BOOTTIME);
	WorldEnd e;

	world->agent = WORLD_AGENT_RELEASES;
	lend("a");
	world_write(0);
	e = evict(LONG_USEC);
	assert_string_equal(e.result, "done");
	assert_true(pml_now_usec(CLOCK_BOOTTIME) - begin < LONG_USEC / 4);
	assert_string_equal(e.error, "");
	assert_non_null(strstr(e.message, "runs on"));
	assert_false(world->bound);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	assert_false(region()->lease->record.frozen);
	assert_fenced_because("let go");
	for (int i = 0; i < 10; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	assert_false(world->domains[0].paused);
	assert_true(world_holds(0));
	world_domain_stop(0);
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE && world->bound);
	assert_int_equal(world->bytes, 'a');
}

/* The memory is gone for it as for anybody; it is paused, since it would spin. */
static void test_lied(void **state)
{
	WorldEnd e;

	world->agent = WORLD_AGENT_RELEASES;
	world->lies = true;
	lend("a");
	e = evict(LONG_USEC);
	assert_string_equal(e.result, "done");
	assert_string_equal(e.error, PML_ERROR_GUEST_LIED);
	assert_false(world->bound);
	UNTIL(world->domains[0].paused);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
}

static void test_force_asks_nobody(void **state)
{
	uint64_t begin;

	world->agent = WORLD_AGENT_RELEASES;
	lend_with(PML_DRAIN_FORCE, PML_ON_REFUSAL_FORCE, PML_DEADLINE_DEFAULT);
	begin = pml_now_usec(CLOCK_BOOTTIME);
	assert_string_equal(evict(LONG_USEC).result, "done");
	assert_true(pml_now_usec(CLOCK_BOOTTIME) - begin < LONG_USEC / 4);
	assert_int_equal(world->asks, 0);
	UNTIL(world->domains[0].paused);
}

static void test_never_waits(void **state)
{
	uint64_t begin;

	world->agent = WORLD_AGENT_RELEASES;
	lend_with(PML_DRAIN_NEVER, PML_ON_REFUSAL_FORCE, PML_DEADLINE_DEFAULT);
	begin = pml_now_usec(CLOCK_BOOTTIME);
	assert_string_equal(evict(SHORT_USEC).result, "done");
	assert_true(pml_now_usec(CLOCK_BOOTTIME) - begin >= SHORT_USEC);
	assert_int_equal(world->asks, 0);
	UNTIL(world->domains[0].paused);
}

static void test_refused_is_forced(void **state)
{
	uint64_t begin;
	WorldEnd e;

	world->agent = WORLD_AGENT_REFUSES;
	lend("a");
	begin = pml_now_usec(CLOCK_BOOTTIME);
	e = evict(1500 * USEC_PER_MSEC);
	assert_string_equal(e.result, "done");
	assert_true(pml_now_usec(CLOCK_BOOTTIME) - begin >= 1500 * USEC_PER_MSEC);
	assert_string_equal(e.error, PML_ERROR_GUEST_REFUSED);
	assert_non_null(strstr(e.message, "a database is on it"));
	assert_fenced_because("a database is on it");
	/* It might have changed its mind. */
	assert_true(world->asks >= 2);
	UNTIL(world->domains[0].paused);
}

static void test_changes_its_mind(void **state)
{
	char phase[64] = "";

	world->agent = WORLD_AGENT_REFUSES;
	lend("a");
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->asks == 1 && strstr(job->phase, "refused: a database"));
	(void)PML_STRCPY(phase, job->phase);
	pml_make_printable(phase);
	assert_string_equal(job->phase, phase);
	world->agent = WORLD_AGENT_RELEASES;
	assert_non_null(strstr(finish(job->id).message, "let go"));
	assert_false(world->domains[0].paused);
}

static void test_refused_is_kept(void **state)
{
	const DrainPolicy force = {_PML_DRAIN_INVALID, PML_ON_REFUSAL_FORCE, 0};
	const DrainPolicy kept = {_PML_DRAIN_INVALID, PML_ON_REFUSAL_KEEP, 0};
	WorldEnd e;

	world->agent = WORLD_AGENT_REFUSES;
	lend_with(PML_DRAIN_ASK, PML_ON_REFUSAL_KEEP, PML_DEADLINE_DEFAULT);
	e = evict(LONG_USEC);
	assert_string_equal(e.result, "failed");
	assert_string_equal(e.error, PML_ERROR_GUEST_REFUSED);
	assert_non_null(strstr(e.message, "a database is on it"));
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_int_equal(region()->record.use, PML_USE_LEASED);
	assert_true(world->bound);

	/* What this one says holds for it alone; the lease's own policy is as it was. */
	assert_int_equal(evict_with(LONG_USEC, &kept), 0);
	assert_string_equal(finish(job->id).error, PML_ERROR_GUEST_REFUSED);
	restart();
	UNTIL(!region()->job);
	assert_int_equal(region()->lease->record.on_refusal, PML_ON_REFUSAL_KEEP);

	assert_int_equal(evict_with(SHORT_USEC, &force), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_string_equal(e.error, PML_ERROR_GUEST_REFUSED);
	assert_false(world->bound);
}

/* One that is running already is told to use force. */
static void test_refusal_is_overruled(void **state)
{
	const DrainPolicy force = {_PML_DRAIN_INVALID, PML_ON_REFUSAL_FORCE, 0};

	world->agent = WORLD_AGENT_WORKS;
	lend_with(PML_DRAIN_ASK, PML_ON_REFUSAL_KEEP, PML_DEADLINE_DEFAULT);
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	until_draining();
	assert_int_equal(evict_with(USEC_PER_SEC, &force), 0);
	UNTIL(region()->lease->record.on_refusal == PML_ON_REFUSAL_FORCE);
	world->agent = WORLD_AGENT_REFUSES;
	assert_string_equal(finish(job->id).error, PML_ERROR_GUEST_REFUSED);
	assert_false(world->bound);
}

static void test_silence_of_every_kind(void **state)
{
	static const struct {
		int agent;
		const char *error;
	} cases[] = {
		{WORLD_AGENT_NONE, PML_ERROR_NO_AGENT},
		{WORLD_AGENT_BLOCKED, PML_ERROR_AGENT_BLOCKED},
		{WORLD_AGENT_SILENT, PML_ERROR_GUEST_SILENT},
		{WORLD_AGENT_WORKS, PML_ERROR_GUEST_SILENT},
		{WORLD_AGENT_HANGS, PML_ERROR_GUEST_SILENT},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		uint64_t begin;
		WorldEnd e;

		UNTIL(region()->record.use == PML_USE_FREE && !region()->job &&
			region()->presence == PML_PRESENCE_ONLINE);
		world->agent = cases[i].agent;
		lend("a");
		begin = pml_now_usec(CLOCK_BOOTTIME);
		e = evict(SHORT_USEC);
		assert_string_equal(e.result, "done");
		assert_string_equal(e.error, cases[i].error);
		assert_true(strlen(e.message) > 20);
		assert_in_range(pml_now_usec(CLOCK_BOOTTIME) - begin, SHORT_USEC,
			SHORT_USEC + 5 * USEC_PER_SEC);
		UNTIL(world->domains[0].paused);
		world->agent = WORLD_AGENT_NONE;
		world_domain_stop(0);
		UNTIL(!region()->lease);
		world_domain_start(0);
	}
}

/* Its end is the answer. */
static void test_ends_meanwhile(void **state)
{
	WorldEnd e;

	world->agent = WORLD_AGENT_WORKS;
	lend("a");
	assert_int_equal(try_evict(PML_DEADLINE_INFINITY, false), 0);
	until_draining();
	UNTIL(world->asks == 1);
	world_domain_stop(0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_string_equal(e.error, "");
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE);
}

static void test_infinity(void **state)
{
	uint64_t begin;
	Job *first;

	world->agent = WORLD_AGENT_REFUSES;
	lend_with(PML_DRAIN_ASK, PML_ON_REFUSAL_FORCE, PML_DEADLINE_INFINITY);
	assert_int_equal(try_evict(PML_DEADLINE_DEFAULT, false), 0);
	until_draining();
	assert_int_equal(region()->lease->record.deadline_usec, PML_DEADLINE_INFINITY);
	assert_null(region()->lease->deadline);
	refused(try_evict(PML_DEADLINE_INFINITY, false), PML_ERROR_BUSY);

	/* A restart goes on waiting, and asks again. */
	UNTIL(world->asks >= 1);
	world->asks = 0;
	restart();
	until_draining();
	assert_int_equal(region()->lease->record.deadline_usec, PML_DEADLINE_INFINITY);
	UNTIL(world->asks >= 1);

	first = region()->job;
	begin = pml_now_usec(CLOCK_BOOTTIME);
	assert_int_equal(try_evict(SHORT_USEC, false), 0);
	assert_ptr_equal(job, first);
	assert_string_equal(finish(job->id).result, "done");
	assert_in_range(
		pml_now_usec(CLOCK_BOOTTIME) - begin, SHORT_USEC, SHORT_USEC + 5 * USEC_PER_SEC);
}

static void test_own_deadline(void **state)
{
	uint64_t begin;

	lend_with(PML_DRAIN_NEVER, PML_ON_REFUSAL_FORCE, SHORT_USEC);
	begin = pml_now_usec(CLOCK_BOOTTIME);
	assert_string_equal(evict(PML_DEADLINE_DEFAULT).result, "done");
	assert_in_range(
		pml_now_usec(CLOCK_BOOTTIME) - begin, SHORT_USEC, SHORT_USEC + 5 * USEC_PER_SEC);
	assert_int_equal(op_deadline_check(m, m->config.deadline_max_usec + 1, &err), 1);
	assert_int_equal(op_deadline_check(m, PML_DEADLINE_INFINITY, &err), 0);
}

static void test_progress(void **state)
{
	double before;

	world->agent = WORLD_AGENT_WORKS;
	lend("a");
	assert_int_equal(try_evict(2 * USEC_PER_SEC, false), 0);
	UNTIL(strstr(job->phase, "letting go"));
	before = job->progress;
	UNTIL(job->progress > before);
	assert_true(job->progress <= 0.25);
	assert_string_equal(finish(job->id).result, "done");
}

static void test_cancelled_while_asking(void **state)
{
	world->agent = WORLD_AGENT_HANGS;
	lend("a");
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	until_draining();
	UNTIL(world->asks == 1);
	assert_int_equal(job_cancel(job), 0);
	assert_string_equal(finish(job->id).result, "cancelled");
	/* What comes late is nobody's answer. */
	world->agent = WORLD_AGENT_RELEASES;
	for (int i = 0; i < 30; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_true(world->bound);
	assert_null(m->asks);
}

/* The disk is full when a refusal is to be written down: it is asked again, with a pause. */
static void test_kept_on_a_full_disk(void **state)
{
	int asks;

	world->agent = WORLD_AGENT_REFUSES;
	lend_with(PML_DRAIN_ASK, PML_ON_REFUSAL_KEEP, PML_DEADLINE_DEFAULT);
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	until_draining();
	world->ledger_error = ENOSPC;
	UNTIL(world->asks >= 2);
	asks = world->asks;
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	assert_true(world->asks <= asks + 1);
	world->ledger_error = 0;
	assert_string_equal(finish(job->id).error, PML_ERROR_GUEST_REFUSED);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
}

/* The daemon ended in the middle of the fence of a guest that had let go. */
static void test_restart_in_the_fence(void **state)
{
	world->agent = WORLD_AGENT_RELEASES;
	lend("a");
	world->hang_proof = true;
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->in_proof && region()->lease->record.state == PML_LEASE_FENCING);
	assert_false(region()->lease->record.frozen);
	world->hang_proof = false;
	assert_string_equal(finish(job->id).result, "done");
	assert_false(world->domains[0].paused);
}

/* --- a block device --- */

static int setup_block(void **state)
{
	int r = setup(state);

	stop();
	world->block = true;
	world->diskseq = 7;
	start();
	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	world->agent = WORLD_AGENT_RELEASES;
	assert_int_equal(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP,
				 PML_AFTER_FENCE_PAUSE, true, 0, &lease, &job, &err),
		0);
	assert_string_equal(finish(job->id).result, "done");
	return r;
}

static void test_block_waits_for_the_end(void **state)
{
	assert_int_equal(try_evict(SHORT_USEC, false), 0);
	UNTIL(region()->lease->record.deadline_usec == PML_DEADLINE_INFINITY);
	assert_non_null(strstr(job->phase, "waiting for its end"));
	/* Its deadline passes, also in another life of the daemon, and nothing is destroyed. */
	restart();
	for (int i = 0; i < 60; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	assert_int_equal(world->destroys, 0);
	assert_true(world_holds(0));
	world_domain_stop(0);
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE);
	assert_int_equal(world->destroys, 0);
}

static void test_block_is_destroyed_by_request(void **state)
{
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(region()->lease->record.deadline_usec == PML_DEADLINE_INFINITY);
	assert_int_equal(evict_with(0, &DRAIN_AS_LEASED), 0);
	assert_string_equal(finish(job->id).result, "done");
	assert_int_equal(world->destroys, 1);
	assert_false(world_holds(0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_drain, teardown)

static int release_with(const char *option, const char *value, sd_bus_error *error)
{
	sd_bus_error_free(error);
	return handle(lease_bus_release_with_options, region()->lease->path, error, "ta{sv}",
		LONG_USEC, 1, option, "s", value);
}

/* A tenant says how his guest is treated, for this once; not what becomes of its machine. */
static void test_release_with_options(void **state)
{
	uint64_t begin = pml_now_usec(CLOCK_BOOTTIME);
	sd_bus_error error = SD_BUS_ERROR_NULL;

	world->agent = WORLD_AGENT_REFUSES;
	lend("a");
	assert_true(release_with("after-fence", "destroy", &error) < 0);
	assert_string_equal(error.name, PML_ERROR_INVALID);
	assert_true(release_with("drain", "gently", &error) < 0);
	assert_string_equal(error.name, PML_ERROR_INVALID);
	assert_null(region()->job);

	assert_true(release_with("on-refusal", "keep", &error) >= 0);
	assert_string_equal(region()->job->kind->name, "release");
	assert_string_equal(finish(region()->job->id).error, PML_ERROR_GUEST_REFUSED);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_int_equal(region()->lease->record.on_refusal, PML_ON_REFUSAL_FORCE);

	world->asks = 0;
	assert_true(release_with("drain", "force", &error) >= 0);
	assert_string_equal(finish(region()->job->id).result, "done");
	assert_int_equal(world->asks, 0);
	assert_true(pml_now_usec(CLOCK_BOOTTIME) - begin < LONG_USEC / 4);
	assert_false(world->bound);
	sd_bus_error_free(&error);
}

static void tell_of_agent(void)
{
	VirtEvent ev = {.type = VIRT_EV_AGENT};

	(void)PML_STRCPY(ev.domain, WORLD_A);
	world_virt_event(&ev);
}

static bool doctor_lists(const char *check, const char *part)
{
	Findings found = {};
	bool listed = false;

	diagnose_regions(m, &found);
	for (size_t i = 0; i < found.n; i++)
		listed = listed || (pml_streq(found.items[i].check, check) &&
					   strstr(found.items[i].text, part));
	findings_clear(&found);
	return listed;
}

/* That the guest will not be asked is known before it matters. */
static void test_cannot_be_asked(void **state)
{
	lend("a");
	assert_non_null(region()->lease->unasked);
	assert_non_null(strstr(region()->lease->unasked, "No agent runs"));
	assert_true(doctor_lists("leases.agent", "No agent runs"));
	assert_int_equal(world->asks, 0);

	/* Its agent comes, is forbidden, and is let again. */
	world->agent = WORLD_AGENT_WORKS;
	tell_of_agent();
	UNTIL(!region()->lease->unasked);
	assert_false(doctor_lists("leases.agent", ""));
	world->agent = WORLD_AGENT_BLOCKED;
	tell_of_agent();
	UNTIL(region()->lease->unasked && strstr(region()->lease->unasked, "may not run"));
	/* A libvirt that does not answer says nothing of it. */
	world->libvirt_down = true;
	tell_of_agent();
	UNTIL(!m->background);
	assert_non_null(region()->lease->unasked);
	world->libvirt_down = false;

	/* While nobody listened; and an agent that hung says nothing when it does so no more. */
	world->agent = WORLD_AGENT_SILENT;
	restart();
	UNTIL(region()->lease->unasked && strstr(region()->lease->unasked, "does not answer"));
	world->agent = WORLD_AGENT_RELEASES;
	m->config.look_usec = 50000;
	behind_repace(m);
	UNTIL(!region()->lease->unasked);
}

/* Who is not to be asked has no need of an agent. */
static void test_need_not_be_asked(void **state)
{
	lend_with(PML_DRAIN_NEVER, PML_ON_REFUSAL_FORCE, PML_DEADLINE_DEFAULT);
	tell_of_agent();
	UNTIL(!m->background && !m->jobs);
	assert_int_equal(world->agent_looks, 0);
	assert_null(region()->lease->unasked);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_released),
		TEST(test_release_with_options),
		TEST(test_cannot_be_asked),
		TEST(test_need_not_be_asked),
		TEST(test_lied),
		TEST(test_force_asks_nobody),
		TEST(test_never_waits),
		TEST(test_refused_is_forced),
		TEST(test_changes_its_mind),
		TEST(test_refused_is_kept),
		TEST(test_refusal_is_overruled),
		TEST(test_silence_of_every_kind),
		TEST(test_ends_meanwhile),
		TEST(test_infinity),
		TEST(test_own_deadline),
		TEST(test_progress),
		TEST(test_cancelled_while_asking),
		TEST(test_kept_on_a_full_disk),
		TEST(test_restart_in_the_fence),
		cmocka_unit_test_setup_teardown(
			test_block_waits_for_the_end, setup_block, teardown),
		cmocka_unit_test_setup_teardown(
			test_block_is_destroyed_by_request, setup_block, teardown),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The operations on a made-up host: what they grant and refuse, and that a deadline is met whatever
 * hangs. */

#include <dirent.h>

#include "ops-fixture.h"

/* --- */

static void test_main_job(void **state)
{
	WorldEnd e;

	scrub("");
	lend("a");
	world_write(0);
	e = evict(0);
	assert_string_equal(e.result, "done");
	assert_false(world->bound);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	UNTIL(world->domains[0].paused);

	/* The old holder lives: nobody gets it, and it stays unbound. */
	UNTIL(!region()->job && region()->watches);
	refused(try_lease("b", NULL), PML_ERROR_HELD);
	assert_int_equal(world->binds, 0);

	/* Its end is noticed; then the data is still a's. */
	world_domain_stop(0);
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE && world->bound &&
		!region()->job);
	UNTIL(region()->presence == PML_PRESENCE_ONLINE);
	assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);
	assert_int_equal(try_lease("b", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_NOT_CLEAN);
	refused(op_scrub_start(m, region(), WORLD_B, 0, &job, &err), PML_ERROR_WRONG_OWNER);

	scrub(WORLD_A);
	lend("b");
	assert_int_equal(world->bytes, 0);
}

static void test_refused(void **state)
{
	WorldEnd e;

	UNTIL(m->libvirt_connected);
	refused(try_lease("a", NULL), PML_ERROR_FOREIGN);
	refused(op_scrub_start(m, region(), "somebody", 0, &job, &err), PML_ERROR_WRONG_OWNER);
	refused(try_evict(m->config.deadline_max_usec + 1, false), PML_ERROR_INVALID);
	refused(op_evict_start(
			m, region(), "release", 0, false, _PML_AFTER_FENCE_INVALID, 0, &job, &err),
		PML_ERROR_NO_SUCH_LEASE);
	refused(op_readmit_start(m, region(), 0, &job, &err), PML_ERROR_INVALID);
	scrub("");

	assert_int_equal(try_lease("nobody", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_NO_SUCH_DOMAIN);
	assert_null(region()->lease);
	assert_int_equal(region()->record.use, PML_USE_FREE);

	world_domain_stop(1);
	assert_int_equal(try_lease("b", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_DOMAIN_NOT_RUNNING);

	refused(try_lease("a", "one,two"), PML_ERROR_INVALID);

	/* Held by somebody who has no lease. */
	world->domains[0].mapped = true;
	assert_int_equal(try_lease("a", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_HELD);
	world->domains[0].mapped = false;

	/* A region twice. */
	lend("a");
	refused(try_lease("a", NULL), PML_ERROR_BUSY);
	assert_non_null(strstr(err.message, region()->lease->record.id));
	refused(op_scrub_start(m, region(), WORLD_A, 0, &job, &err), PML_ERROR_BUSY);
}

static void test_caps(void **state)
{
	scrub("");
	m->config.max_leases_per_uid = 0;
	assert_int_equal(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP,
				 PML_AFTER_FENCE_PAUSE, false, 1000, &lease, &job, &err),
		1);
	assert_string_equal(err.error, PML_ERROR_LIMIT);
}

static void test_evict_twice(void **state)
{
	Job *first;
	uint64_t id, begin;
	WorldEnd e;

	scrub("");
	lend("a");
	assert_int_equal(try_evict(60 * USEC_PER_SEC, false), 0);
	first = job;
	id = job->id;
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING);
	assert_int_equal(region()->record.use, PML_USE_EVICTING);
	refused(try_evict(90 * USEC_PER_SEC, false), PML_ERROR_BUSY);
	begin = pml_now_usec(CLOCK_BOOTTIME);
	assert_int_equal(try_evict(0, true), 0);
	assert_ptr_equal(job, first);
	e = finish(id);
	assert_string_equal(e.result, "done");
	assert_true(pml_now_usec(CLOCK_BOOTTIME) - begin < 5 * USEC_PER_SEC);
	assert_true(region()->lease->record.keep_offline);
	refused(try_evict(0, false), PML_ERROR_BUSY);

	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_false(world->bound);
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_true(world->bound);
	assert_int_equal(region()->record.use, PML_USE_FREE);
}

static void test_deadline_waits(void **state)
{
	uint64_t begin;
	int msec;

	scrub("");
	lend("a");
	begin = pml_now_usec(CLOCK_BOOTTIME) / 1000;
	(void)evict(300 * USEC_PER_MSEC);
	msec = world->unbound_msec - (int)begin;
	assert_in_range(msec, 295, 2000);
}

static void test_cancel_drain(void **state)
{
	WorldEnd e;
	uint64_t id;

	scrub("");
	lend("a");
	assert_int_equal(try_evict(60 * USEC_PER_SEC, false), 0);
	id = job->id;
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING && job->waiting);
	assert_int_equal(job_cancel(job), 0);
	e = finish(id);
	assert_string_equal(e.result, "cancelled");
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_int_equal(region()->record.use, PML_USE_LEASED);
	assert_true(world->bound);

	/* The disk hangs while a cancellation is written: the deadline is met. */
	assert_int_equal(try_evict(USEC_PER_SEC, false), 0);
	id = job->id;
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING && job->waiting);
	world->ledger_hangs = true;
	assert_int_equal(job_cancel(job), 0);
	UNTIL(!world->bound);
	world->ledger_hangs = false;
	e = finish(id);
	assert_string_equal(e.result, "done");
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
}

static void test_ledger_full(void **state)
{
	WorldEnd e;
	uint64_t id;

	scrub("");
	lend("a");
	world->ledger_error = ENOSPC;
	e = evict(0);
	assert_string_equal(e.error, PML_ERROR_LEDGER);
	assert_true(world->bound);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	world->ledger_error = 0;

	/* Accepted, and full from then on: fenced and proved in time, recorded when there is room.
	 */
	assert_int_equal(try_evict(400 * USEC_PER_MSEC, false), 0);
	id = job->id;
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING);
	world->ledger_error = ENOSPC;
	UNTIL(!world->bound && lease_state(region()->lease) == PML_LEASE_FENCED);
	UNTIL(world->domains[0].paused);
	assert_int_equal(region()->lease->record.state, PML_LEASE_DRAINING);
	world->ledger_error = 0;
	e = finish(id);
	assert_string_equal(e.result, "done");
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);

	/* Found unbound with a full disk: nobody is asked. */
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job && region()->presence == PML_PRESENCE_ONLINE);
	world_domain_start(0);
	lend("a");
	world->ledger_error = EIO;
	world->bound = false;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(lease_state(region()->lease) == PML_LEASE_FENCED);
	world->ledger_error = 0;
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED);
}

static void test_ledger_hangs(void **state)
{
	scrub("");
	lend("a");
	assert_int_equal(try_evict(400 * USEC_PER_MSEC, false), 0);
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING);
	world->ledger_hangs = true;
	UNTIL(!world->bound && lease_state(region()->lease) == PML_LEASE_FENCED &&
		world->domains[0].paused);
	world->ledger_hangs = false;
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED);
}

static void test_hung_attach(void **state)
{
	WorldEnd e;
	uint64_t lease_job, id;

	scrub("");
	UNTIL(m->libvirt_connected);
	world->hang_attach = true;
	assert_int_equal(try_lease("a", NULL), 0);
	lease_job = job->id;
	UNTIL(region()->lease->record.state == PML_LEASE_ATTACHING && job->running);
	assert_int_equal(try_evict(200 * USEC_PER_MSEC, false), 0);
	id = job->id;
	e = finish(id);
	assert_string_equal(e.result, "done");
	assert_false(world->bound);
	assert_false(world_job_result(lease_job, &e));

	/* Not bound again while libvirt may still attach. */
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	assert_int_equal(world->binds, 0);
	assert_non_null(region()->lease);

	world->hang_attach = false;
	e = finish(lease_job);
	assert_string_equal(e.result, "cancelled");
	UNTIL(world->bound && !region()->lease);
	assert_false(world->domains[0].mapped);
	assert_false(world->domains[0].paused);
}

static void test_hung_pause(void **state)
{
	WorldEnd e;

	scrub("");
	lend("a");
	world->hang_pause = true;
	e = evict(0);
	assert_string_equal(e.result, "done");
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	assert_false(world->domains[0].paused);
	world->hang_pause = false;
	UNTIL(world->domains[0].paused);
}

static void test_attach_fails(void **state)
{
	WorldEnd e;

	scrub("");
	UNTIL(m->libvirt_connected);
	world->refuse_attach = true;
	assert_int_equal(try_lease("a", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "failed");
	assert_non_null(strstr(e.message, "no slot"));
	UNTIL(!region()->lease && world->bound && region()->record.use == PML_USE_FREE &&
		!region()->job);
	assert_int_equal(world->unbinds, 1);
	assert_false(world->domains[0].paused);
	UNTIL(region()->presence == PML_PRESENCE_ONLINE);

	/* libvirt says done, and the machine maps something else. */
	world->refuse_attach = false;
	world->attach_nothing = true;
	assert_int_equal(try_lease("a", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "failed");
	UNTIL(!region()->lease && world->bound && !region()->job);
}

static void test_cancel_lease(void **state)
{
	WorldEnd e;
	uint64_t id;

	scrub("");
	UNTIL(m->libvirt_connected);
	assert_int_equal(try_lease("a", NULL), 0);
	assert_int_equal(job_cancel(job), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "cancelled");
	assert_null(region()->lease);
	assert_int_equal(world->unbinds, 0);

	world->hang_attach = true;
	assert_int_equal(try_lease("a", NULL), 0);
	id = job->id;
	UNTIL(region()->lease->record.state == PML_LEASE_ATTACHING && job->running);
	assert_int_equal(job_cancel(job), 0);
	UNTIL(!world->bound);
	world->hang_attach = false;
	e = finish(id);
	assert_string_equal(e.result, "cancelled");
	UNTIL(!region()->lease && world->bound && !region()->job);
}

static void test_stuck(void **state)
{
	WorldEnd e;

	scrub("");
	lend("a");
	world->hold_proof = true;
	e = evict(0);
	assert_string_equal(e.error, PML_ERROR_STUCK);
	assert_int_equal(region()->lease->record.state, PML_LEASE_STUCK);
	assert_int_equal(region()->record.use, PML_USE_QUARANTINED);
	refused(try_evict(0, false), PML_ERROR_STUCK);
	world->hold_proof = false;
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	/* The later proof ends the lease, and the quarantine that was for its sake. */
	UNTIL(region()->record.use == PML_USE_FREE && world->bound && !region()->job);
	UNTIL(region()->presence == PML_PRESENCE_ONLINE);
	assert_string_equal(region()->record.owner, WORLD_A);
}

static void test_stuck_keep_offline(void **state)
{
	scrub("");
	lend("a");
	world->hold_proof = true;
	assert_int_equal(try_evict(0, true), 0);
	(void)finish(job->id);
	world->hold_proof = false;
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_non_null(strstr(region()->record.reason, "offline"));
	assert_false(world->bound);
}

/* Of a stuck lease that is proved, a quarantine with another reason stays, if only of some of its
 * bytes. */
static void test_stuck_other_quarantine(void **state)
{
	PmlTxn *txn = pml_txn_new("test");
	PmlExtent part;

	scrub("");
	lend("a");
	world->hold_proof = true;
	(void)evict(0);
	part = region()->extent;
	part.size_bytes /= 2;
	assert_int_equal(pml_txn_use_step(txn, WORLD_REGION, &part, PML_USE_EV_QUARANTINE,
				 "somebody's reason"),
		0);
	assert_int_equal(manager_apply(m, txn, NULL, NULL), 0);
	UNTIL(m->n_extents == 2);
	world->hold_proof = false;
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	assert_int_equal(region()->record.use, PML_USE_QUARANTINED);
	assert_false(world->bound);
	refused(try_lease("b", NULL), PML_ERROR_QUARANTINED);
	refused(op_readmit_start(m, region(), 0, &job, &err), PML_ERROR_QUARANTINED);
}

static void test_unexplained(void **state)
{
	scrub("");
	lend("a");
	world->unexplained = true;
	(void)evict(0);
	world_domain_stop(0);
	UNTIL(!region()->job && region()->retry);
	assert_int_equal(world->binds, 0);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	world->unexplained = false;
	UNTIL(world->bound && !region()->lease);
}

static void test_domain_ends(void **state)
{
	scrub("");
	lend("a");
	world_write(0);
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job && world->bound &&
		region()->record.use == PML_USE_FREE);
	assert_int_equal(world->unbinds, 1);
	assert_string_equal(region()->record.owner, WORLD_A);
	assert_int_equal(world->bytes, 'a');
}

static void test_on_end_scrub(void **state)
{
	WorldEnd e;

	scrub("");
	UNTIL(m->libvirt_connected);
	assert_int_equal(op_lease_start(m, region(), "a", NULL, PML_ON_END_SCRUB,
				 PML_AFTER_FENCE_DESTROY, false, 0, &lease, &job, &err),
		0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	(void)evict(0);
	UNTIL(!region()->lease && region()->record.content == PML_CONTENT_BLANK && !region()->job);
	assert_true(world->bound);
}

/* How many descriptors of this process are of the fake region's device. */
static unsigned opened_here(void)
{
	char target[64], path[300];
	struct dirent *de;
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");

	assert_non_null(d);
	while ((de = readdir(d))) {
		ssize_t len;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%s", de->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		n += strcmp(target, "/dev/full") == 0;
	}
	(void)closedir(d);
	return n;
}

static Region *other_region(const char *name)
{
	Region *r;

	assert_int_equal(manager_find_region(m, name, &r), 0);
	return r;
}

/* Region I behind the world's own, with the same device. */
static Region *region_beside(unsigned i)
{
	PmlExtent e = region()->extent;
	Region *other;
	char name[8];

	(void)snprintf(name, sizeof(name), "dax%u.0", i);
	e.start_bytes += i * e.size_bytes;
	assert_int_equal(region_new(m, name, name, &e, &other), 0);
	other->host = pml_region_ref(region()->host);
	other->presence = PML_PRESENCE_ONLINE;
	return other;
}

/* They go one by one, and each can be cancelled while it waits. */
static void test_scrub_in_turn(void **state)
{
	Job *first, *second, *third;
	uint64_t ids[2];

	(void)region_beside(1);
	(void)region_beside(2);
	adopt("carol");
	assert_int_equal(setenv("WORLD_MEDIA", "wait", 1), 0);
	assert_int_equal(op_scrub_start(m, region(), "carol", 0, &first, &err), 0);
	assert_int_equal(op_scrub_start(m, other_region("dax1.0"), "", 0, &second, &err), 0);
	assert_int_equal(op_scrub_start(m, other_region("dax2.0"), "", 0, &third, &err), 0);
	ids[0] = second->id;
	ids[1] = third->id;
	UNTIL(first->progress > 0.1 && second->waiting && third->waiting);
	assert_string_equal(second->phase, "waiting for another scrub");
	assert_int_equal(opened_here(), 1);

	assert_int_equal(job_cancel(second), 0);
	assert_string_equal(finish(ids[0]).result, "cancelled");
	assert_int_equal(other_region("dax1.0")->record.content, PML_CONTENT_FOREIGN);
	assert_true(third->waiting);
	assert_int_equal(unsetenv("WORLD_MEDIA"), 0);
	assert_int_equal(job_cancel(first), 0);
	assert_string_equal(finish(ids[1]).result, "done");
	assert_int_equal(other_region("dax2.0")->record.content, PML_CONTENT_BLANK);
}

/* One that gets no further keeps nobody. */
static void test_scrub_stalls(void **state)
{
	Job *first, *second;
	uint64_t id;

	Region *other = region_beside(1);
	adopt("carol");
	assert_int_equal(setenv("WORLD_MEDIA", "wait", 1), 0);
	m->config.turn_timeout_usec = 300 * USEC_PER_MSEC;
	assert_int_equal(op_scrub_start(m, region(), "carol", 0, &first, &err), 0);
	assert_int_equal(op_scrub_start(m, other, "", 0, &second, &err), 0);
	id = second->id;
	UNTIL(first->progress > 0.1);
	assert_true(second->waiting);
	assert_int_equal(unsetenv("WORLD_MEDIA"), 0);
	assert_string_equal(finish(id).result, "done");
	assert_int_equal(other->record.content, PML_CONTENT_BLANK);
	assert_string_equal(first->phase, "overwriting");
	id = first->id;
	assert_int_equal(job_cancel(first), 0);
	assert_string_equal(finish(id).result, "cancelled");
}

/* Of another's device, that was opened and closed again while this one was proved; and one that
 * stays. */
static void test_scrub_among_others(void **state)
{
	WorldEnd e;

	adopt("carol");
	world->passing = 3;
	scrub("carol");
	assert_int_equal(world->passing, 0);

	world->passing = INT_MAX;
	assert_int_equal(op_scrub_start(m, region(), "", 0, &job, &err), 0);
	e = finish(job->id);
	world->passing = 0;
	assert_string_equal(e.error, PML_ERROR_HELD);
	assert_int_equal(region()->record.content, PML_CONTENT_BLANK);
}

static void test_scrub_ends_badly(void **state)
{
	WorldEnd e;

	adopt("carol");
	assert_int_equal(setenv("WORLD_MEDIA", "wait", 1), 0);
	assert_int_equal(op_scrub_start(m, region(), "carol", 0, &job, &err), 0);
	refused(try_evict(0, false), PML_ERROR_BUSY);
	UNTIL(job->progress > 0.1);
	/* Nobody else's proof may find it unexplained, when the helper is only half there. */
	assert_int_equal(opened_here(), 1);
	assert_int_equal(job_cancel(job), 0);
	e = finish(job->id);
	assert_int_equal(opened_here(), 0);
	assert_string_equal(e.result, "cancelled");
	assert_non_null(strstr(e.message, "scrubbed to the end"));
	assert_int_equal(region()->record.content, PML_CONTENT_SCRUBBING);
	refused(try_lease("a", "carol"), PML_ERROR_NOT_CLEAN);

	assert_int_equal(setenv("WORLD_MEDIA", "bad", 1), 0);
	assert_int_equal(op_scrub_start(m, region(), "carol", 0, &job, &err), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_BAD_BLOCK);
	assert_non_null(strstr(e.message, "4096"));

	assert_int_equal(setenv("WORLD_MEDIA", "die", 1), 0);
	assert_int_equal(op_scrub_start(m, region(), "carol", 0, &job, &err), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_FAILED);
	assert_int_equal(region()->record.content, PML_CONTENT_SCRUBBING);

	assert_int_equal(unsetenv("WORLD_MEDIA"), 0);
	scrub("carol");
}

static void test_unleased(void **state)
{
	WorldEnd e;

	adopt("carol");
	e = evict(0);
	assert_string_equal(e.result, "done");
	assert_false(world->bound);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_true(region()->record.reason[0]);
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	/* a proof may take its time: what is waited for is said */
	UNTIL(job->phase[0]);
	assert_string_equal(job->phase, "looking for holders");
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_string_equal(region()->record.owner, "carol");
}

static void test_bound_by_somebody(void **state)
{
	scrub("");
	lend("a");
	(void)evict(0);
	UNTIL(!region()->job && region()->watches);
	world->bound = true;
	assert_int_equal(op_settle_kick(region()), 0);
	UNTIL(!region()->job);
	assert_false(world->bound);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
}

static void test_libvirt_down_at_restart(void **state)
{
	scrub("");
	lend("a");
	stop();
	world->libvirt_down = true;
	start();
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	(void)evict(0);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	assert_false(world->bound);
}

static void test_hung_lookup(void **state)
{
	WorldEnd e;
	uint64_t lease_job;

	scrub("");
	UNTIL(m->libvirt_connected);
	world->hang_lookup = true;
	assert_int_equal(try_lease("a", NULL), 0);
	lease_job = job->id;
	UNTIL(job->running);
	/* Nothing was lent: the lease is forgotten, and the region is as it was. */
	e = evict(0);
	assert_string_equal(e.result, "done");
	assert_null(region()->lease);
	assert_int_equal(region()->record.use, PML_USE_FREE);
	assert_int_equal(world->unbinds, 0);
	world->hang_lookup = false;
	e = finish(lease_job);
	assert_string_equal(e.result, "cancelled");
	lend("b");
}

static void test_evict_in_a_write(void **state)
{
	WorldEnd e;
	uint64_t lease_job;

	scrub("");
	UNTIL(m->libvirt_connected);
	/* Once in the reservation's write, once in the one that says `attaching`. */
	for (int i = 0; i < 2; i++) {
		const char *step = i == 0 ? "reserve" : "attaching";

		world->hang_in_write = i + 1;
		assert_int_equal(try_lease("a", NULL), 0);
		lease_job = job->id;
		UNTIL(world->ledger_hangs);
		assert_string_equal(job->kind->steps[job->step].name, step);
		assert_int_equal(try_evict(0, false), 0);
		world->ledger_hangs = false;
		e = finish(job->id);
		assert_string_equal(e.result, "done");
		e = finish(lease_job);
		assert_string_equal(e.result, "cancelled");
		UNTIL(!region()->lease && !region()->job && region()->record.use == PML_USE_FREE &&
			world->bound);
		UNTIL(region()->presence == PML_PRESENCE_ONLINE && !m->rescan_running);
		assert_false(world->domains[0].mapped);
	}
}

static void test_too_late(void **state)
{
	scrub("");
	lend("a");
	world->hold_proof = true;
	assert_int_equal(try_evict(0, false), 0);
	UNTIL(lease_state(region()->lease) == PML_LEASE_FENCING);
	assert_int_equal(job_cancel(job), -EBUSY);
	refused(try_evict(0, false), PML_ERROR_BUSY);
	world->hold_proof = false;
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED);
}

static void test_unbound_in_a_drain(void **state)
{
	WorldEnd e;

	scrub("");
	lend("a");
	assert_int_equal(try_evict(3600ULL * USEC_PER_SEC, false), 0);
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING && job->waiting);
	world->missing = true;
	world->bound = false;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	world_domain_stop(0);
	world->missing = false;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!region()->lease && world->bound);
}

static void test_reboot(void **state)
{
	scrub("");
	for (int missing = 0; missing < 2; missing++) {
		lend("a");
		world_write(0);
		age_lease();
		world_domain_stop(0);
		world->missing = missing;
		/* libvirt and the pidfd would say so; after a reboot nobody does. */
		m = manager_free(m);
		event = sd_event_unref(event);
		start();
		if (missing) {
			/* A scan that finds it still missing is no sign that somebody took it away.
			 */
			assert_int_equal(manager_rescan(m, NULL, NULL), 0);
			UNTIL(!m->jobs && !m->rescan_running);
			assert_int_equal(LIST_FIRST(&m->leases)->record.state, PML_LEASE_ACTIVE);
			world->missing = false;
			assert_int_equal(manager_rescan(m, NULL, NULL), 0);
		}
		UNTIL(!LIST_FIRST(&m->leases) && world->bound && !m->jobs && !m->rescan_running);
		assert_int_equal(region()->record.use, PML_USE_FREE);
		assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);
		assert_string_equal(region()->record.owner, WORLD_A);
		world_domain_start(0);
		UNTIL(region()->presence == PML_PRESENCE_ONLINE);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_main_job),
		T(test_refused),
		T(test_caps),
		T(test_evict_twice),
		T(test_deadline_waits),
		T(test_cancel_drain),
		T(test_ledger_full),
		T(test_ledger_hangs),
		T(test_hung_attach),
		T(test_hung_pause),
		T(test_attach_fails),
		T(test_cancel_lease),
		T(test_stuck),
		T(test_stuck_keep_offline),
		T(test_stuck_other_quarantine),
		T(test_unexplained),
		T(test_domain_ends),
		T(test_on_end_scrub),
		T(test_scrub_in_turn),
		T(test_scrub_stalls),
		T(test_scrub_among_others),
		T(test_scrub_ends_badly),
		T(test_unleased),
		T(test_bound_by_somebody),
		T(test_libvirt_down_at_restart),
		T(test_hung_lookup),
		T(test_evict_in_a_write),
		T(test_too_late),
		T(test_unbound_in_a_drain),
		T(test_reboot),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

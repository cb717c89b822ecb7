/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The operations where something goes away, or fails, at a bad moment: between two starts, in a
 * write, in a thread. */

#include <sched.h>
#include <sys/stat.h>

#include "ops-fixture.h"

/* What happened while nobody listened is found at the start: a dead mapping looks like a live one.
 */
static void test_unbound_while_away(void **state)
{
	scrub("");
	lend("a");
	stop();
	world->bound = false;
	start();
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED && world->domains[0].paused);
	world_domain_stop(0);
	UNTIL(!region()->lease && world->bound && !region()->job);

	UNTIL(region()->presence == PML_PRESENCE_ONLINE);
	world_domain_start(0);
	lend("a");
	assert_int_equal(try_evict(60 * USEC_PER_SEC, false), 0);
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING);
	stop();
	world->bound = false;
	start();
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED);
}

/* libvirt was away when the fence was over, and nothing had frozen the machine: it runs on with its
 * memory gone, which a new daemon must know. */
static void test_pause_after_a_restart(void **state)
{
	scrub("");
	lend("a");
	stop();
	world->libvirt_down = true;
	start();
	(void)evict(0);
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED && !region()->lease->marked);
	assert_false(world->domains[0].paused);
	stop();
	world->libvirt_down = false;
	start();
	UNTIL(world->domains[0].paused);
	/* done once: what an operator does with the machine then is his */
	UNTIL(!region()->lease->record.frozen);
	world->domains[0].paused = false;
	stop();
	start();
	UNTIL(m->libvirt_connected && !region()->job);
	assert_false(world->domains[0].paused);
}

/* The last holder ends while a policy is being written: that is heard, and remembered. */
static void test_holder_ends_during_change(void **state)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	PmlLeaseRecord rec;
	PmlTxn *txn;

	scrub("");
	lend("a");
	(void)evict(0);
	UNTIL(!region()->job && region()->watches && !region()->lease->record.frozen);
	txn = pml_txn_new("test");
	rec = region()->lease->record;
	rec.after_fence = PML_AFTER_FENCE_DESTROY;
	assert_int_equal(pml_txn_lease_update(txn, &rec), 0);
	world->ledger_hangs = true;
	assert_int_equal(change_start(m, region(), region()->lease, 0, txn, NULL, &error), 0);
	UNTIL(region()->job && region()->job->running);
	world_domain_stop(0);
	UNTIL(!region()->watches);
	world->ledger_hangs = false;
	UNTIL(!region()->lease && world->bound && !region()->job);
}

static bool at_step(const Job *j, const char *step)
{
	return j && pml_streq(j->kind->steps[j->step].name, step);
}

/* A thread that is on its way out may have a lock of the allocator's, which a child of then would
 * wait for without end. */
static pid_t fork_alone(void)
{
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;
	struct stat st;

	do
		assert_int_equal(stat("/proc/self/task", &st), 0);
	while (st.st_nlink > 3 && sched_yield() == 0 && pml_now_usec(CLOCK_MONOTONIC) < end);
	return fork();
}

/* In a process of its own, that is killed in the middle of the attach. */
static void end_in_attach(void)
{
	start();
	UNTIL(m->libvirt_connected);
	world->hang_attach = true;
	(void)try_lease("a", NULL);
	UNTIL(region()->lease->record.state == PML_LEASE_ATTACHING && at_step(job, "attach"));
	_exit(0);
}

/* libvirt goes on with an attach whose asker was killed: it is waited for, and the tenant has his
 * lease. */
static void test_attach_outlives_the_daemon(void **state)
{
	pid_t pid;

	scrub("");
	stop();
	pid = fork_alone();
	if (pid == 0)
		end_in_attach();
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	world->hang_attach = false;
	world->busy = true;
	start();
	UNTIL(world->asked == 2 || !world->bound);
	assert_true(world->bound);
	world->domains[0].attached = world->domains[0].mapped = true;
	world->busy = false;
	UNTIL(!region()->job);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_int_equal(world->unbinds, 0);
}

/* The last look has no time: who has it is still what the one before has seen. */
static void test_last_look(void **state)
{
	WorldEnd e;

	scrub("");
	lend("a");
	world->hold_proof = true;
	world->settling = 2;
	m->config.proof_timeout_usec = 300 * USEC_PER_MSEC;
	e = evict(0);
	assert_string_equal(e.error, PML_ERROR_STUCK);
	assert_non_null(strstr(e.message, "made up: reachable"));
	assert_int_equal(world->settling, -1);
	world->settling = 0;
	world->hold_proof = false;
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
}

/* A device that went away for good does not keep its lease for ever: that its holders are gone is
 * provable. */
static void test_lease_of_a_lost_device(void **state)
{
	scrub("");
	lend("a");
	world->bound = false;
	world->missing = true;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED && !region()->job &&
		region()->watches);
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_int_equal(world->binds, 0);
	world->missing = false;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(region()->record.use == PML_USE_FREE && world->bound && !region()->job);
	assert_string_equal(region()->record.owner, WORLD_A);
}

/* The same while no daemon ran: what is left to find its holders by is the number in the ledger. */
static void test_device_lost_while_away(void **state)
{
	for (int known = 0; known < 2; known++) {
		scrub(known ? WORLD_A : "");
		lend("a");
		if (!known) {
			PmlLeaseRecord rec = region()->lease->record;

			assert_int_not_equal(rec.devno, 0);
			rec.devno = 0;
			change_lease(&rec);
		}
		stop();
		world->bound = false;
		world->missing = true;
		start();
		UNTIL(region()->lease->record.state >= PML_LEASE_FENCED && !region()->job);
		assert_int_equal(
			region()->lease->record.state, known ? PML_LEASE_FENCED : PML_LEASE_STUCK);
		world_domain_stop(0);
		if (known)
			UNTIL(!region()->lease && !region()->job);
		world->missing = false;
		assert_int_equal(manager_rescan(m, NULL, NULL), 0);
		UNTIL(!region()->lease && region()->record.use == PML_USE_FREE && world->bound &&
			!region()->job);
		world_domain_start(0);
	}
}

/* The namespace was made anew with other bounds: its bytes are not bound before the lease over them
 * has ended. */
static void test_other_bounds(void **state)
{
	PmlExtent half;
	Region *other;

	scrub("");
	lend("a");
	(void)evict(0);
	UNTIL(!region()->job && region()->watches);
	half = region()->extent;
	half.size_bytes /= 2;
	assert_int_equal(region_new(m, "other", "dax9.0", &half, &other), 0);
	other->host = pml_region_ref(region()->host);
	assert_int_equal(other->record.use, PML_USE_EVICTED);
	assert_int_equal(op_settle_kick(other), 0);
	assert_null(other->job);
	refused(op_readmit_start(m, other, 0, &job, &err), PML_ERROR_BUSY);
	(void)region_free(other);
}

/* Nor is the word of an operator taken for them under another name, as long as a lease is stuck. */
static void test_lift_under_another_name(void **state)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	PmlExtent half;
	Region *other;

	scrub("");
	lend("a");
	world->hold_proof = true;
	(void)evict(0);
	assert_int_equal(region()->lease->record.state, PML_LEASE_STUCK);
	half = region()->extent;
	half.size_bytes /= 2;
	assert_int_equal(region_new(m, "other", "dax9.0", &half, &other), 0);
	assert_int_equal(other->record.use, PML_USE_QUARANTINED);
	assert_true(handle(region_bus_lift_quarantine, other->path, &error, "s", "known") < 0);
	assert_string_equal(error.name, PML_ERROR_BUSY);
	/* says under which it is */
	assert_non_null(strstr(error.message, region_label(region())));
	sd_bus_error_free(&error);
	(void)region_free(other);
	/* there it ends both */
	UNTIL(!region()->job);
	assert_true(handle(region_bus_lift_quarantine, region()->path, &error, "s", "known") >= 0);
	UNTIL(!region()->lease && !region()->job);
	assert_int_equal(region()->record.use, PML_USE_FREE);
}

/* Written, and not read again: memory follows when it can. */
static void test_ledger_unreadable(void **state)
{
	PmlTxn *txn = pml_txn_new("test");

	assert_int_equal(pml_txn_content_step(txn, WORLD_REGION, &region()->extent,
				 PML_CONTENT_EV_ADOPT, "carol"),
		0);
	world->unreadable = 3;
	assert_int_equal(manager_apply(m, txn, NULL, NULL), 0);
	UNTIL(world->unreadable == 0);
	UNTIL(region()->record.content == PML_CONTENT_RETAINED);
}

/* In a process of its own: what runs when the daemon ends is left to the process's end. */
static void end_in_proof(void)
{
	start();
	lend("a");
	m->config.proof_timeout_usec = 20 * USEC_PER_SEC;
	world->hang_proof = world->hold_proof = true;
	assert_int_equal(try_evict(0, false), 0);
	UNTIL(world->in_proof);
	m = manager_free(m);
	/* It is not proved, so it fences again and again, by what the manager said. */
	world->hang_proof = false;
	while (world->unbinds < 3)
		(void)poll(NULL, 0, 5);
	_exit(0);
}

static void test_end_in_proof(void **state)
{
	int status;
	pid_t pid;

	scrub("");
	stop();
	pid = fork_alone();
	if (pid == 0)
		end_in_proof();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	world->hold_proof = false;
	start();
	UNTIL(region()->lease->record.state == PML_LEASE_FENCED);
}

/* The bus throws out who sends a string that is not UTF-8, such as one that was cut. */
static void test_sentences_are_text(void **state)
{
	char many[3 * sizeof(err.message)];
	Job cut = {};

	for (size_t i = 0; i + 3 < sizeof(many); i += 3)
		memcpy(many + i, "\xe2\x82\xac", 4);
	for (int i = 0; i < 3; i++) {
		OpError e;

		(void)op_error(&e, PML_ERROR_FAILED, "%.*s%s", i, "xx", many);
		job_set_error(&cut, PML_ERROR_FAILED, "%.*s%s", i, "xx", many);
		for (const char *s = e.message, *t = cut.message; *s;
			s += pml_utf8_length((const unsigned char *)s)) {
			assert_true(pml_utf8_length((const unsigned char *)s) > 0);
			assert_int_equal(*s, *t);
			t += pml_utf8_length((const unsigned char *)t);
		}
	}
	job_set_error(&cut, PML_ERROR_FAILED, "%s", "of QEMU:\n\x1b[31mred\xff\xc2\x9b");
	assert_string_equal(cut.message, "of QEMU:??[31mred???");
}

/* More owners than one has room for by name. */
static void test_scrub_of_many(void **state)
{
	char owner[PML_NAME_LEN];

	for (unsigned i = 0; i < 4; i++) {
		PmlTxn *txn = pml_txn_new("test");
		PmlExtent part = region()->extent;

		part.size_bytes /= 4;
		part.start_bytes += i * part.size_bytes;
		memset(owner, (char)('a' + i), sizeof(owner) - 1);
		owner[sizeof(owner) - 1] = 0;
		assert_int_equal(
			pml_txn_content_step(txn, WORLD_REGION, &part, PML_CONTENT_EV_ADOPT, owner),
			0);
		assert_int_equal(manager_apply(m, txn, NULL, NULL), 0);
	}
	UNTIL(strlen(region()->record.owner) == 4 * (PML_NAME_LEN - 1) + 3);
	scrub(strdupa(region()->record.owner));
}

/* An interrupted scrub goes on when its region is there, also when that comes late; and over no
 * byte more than it was for. */
static void test_scrub_goes_on(void **state)
{
	PmlRegion *host;
	PmlExtent wide;
	Region *other;

	adopt("carol");
	host = pml_region_ref(region()->host);
	assert_int_equal(setenv("WORLD_MEDIA", "wait", 1), 0);
	assert_int_equal(op_scrub_start(m, region(), "carol", 0, &job, &err), 0);
	UNTIL(job->progress > 0.1);
	stop();
	assert_int_equal(unsetenv("WORLD_MEDIA"), 0);
	world->missing = true;
	start();
	UNTIL(!m->jobs && !m->rescan_running);
	assert_int_equal(LIST_FIRST(&m->regions)->record.content, PML_CONTENT_SCRUBBING);

	wide = LIST_FIRST(&m->regions)->extent;
	wide.size_bytes *= 2;
	assert_int_equal(region_new(m, "other", "dax9.0", &wide, &other), 0);
	other->host = host;
	other->presence = PML_PRESENCE_ONLINE;
	assert_int_equal(recover_region(other), 0);
	assert_null(other->job);
	(void)region_free(other);

	world->missing = false;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!m->rescan_running && LIST_FIRST(&m->regions)->record.content == PML_CONTENT_BLANK &&
		!m->jobs);
}

/* The daemon is looking for itself whether the region can be had again. */
static void until_settling(void)
{
	world->hang_proof = true;
	world->in_proof = false;
	assert_int_equal(op_settle_kick(region()), 0);
	UNTIL(region()->job && world->in_proof);
	assert_ptr_equal(region()->job->kind, &op_settle_kind);
	assert_null(region()->job->path);
}

/* Who asks for it then need not ask again. */
static void test_readmit_joins_settle(void **state)
{
	Job *first;
	WorldEnd e;

	scrub("");
	lend("a");
	assert_int_equal(try_evict(0, true), 0);
	assert_string_equal(finish(job->id).result, "done");
	UNTIL(!region()->job);

	/* Its old machine lives: named to him who asked. */
	until_settling();
	assert_int_equal(op_readmit_start(m, region(), 7, &job, &err), 0);
	assert_ptr_equal(job, region()->job);
	assert_string_equal(job->kind->name, "readmit");
	assert_non_null(job->path);
	assert_int_equal(job->uid, 7);
	first = job;
	assert_int_equal(op_readmit_start(m, region(), 8, &job, &err), 0);
	assert_ptr_equal(job, first);
	world->hang_proof = false;
	e = finish(job->id);
	assert_string_equal(e.kind, "readmit");
	assert_string_equal(e.error, PML_ERROR_HELD);
	assert_false(world->bound);

	/* What the daemon does by itself is done also where he thinks better of it. */
	world->hang_proof = true;
	world->in_proof = false;
	world_domain_stop(0);
	UNTIL(region()->job && world->in_proof);
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	assert_int_equal(job_cancel(job), 0);
	world->hang_proof = false;
	assert_string_equal(finish(job->id).result, "cancelled");
	UNTIL(!region()->lease && !region()->job);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_false(world->bound);
}

static void test_readmit_joined_binds(void **state)
{
	scrub("");
	lend("a");
	assert_int_equal(try_evict(0, true), 0);
	assert_string_equal(finish(job->id).result, "done");
	UNTIL(!region()->job);
	world->hang_proof = true;
	world->in_proof = false;
	world_domain_stop(0);
	UNTIL(region()->job && world->in_proof);
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	world->hang_proof = false;
	assert_string_equal(finish(job->id).result, "done");
	assert_null(region()->lease);
	assert_int_equal(region()->record.use, PML_USE_FREE);
	assert_true(world->bound);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_unbound_while_away),
		T(test_pause_after_a_restart),
		T(test_holder_ends_during_change),
		T(test_attach_outlives_the_daemon),
		T(test_ledger_unreadable),
		T(test_last_look),
		T(test_lease_of_a_lost_device),
		T(test_device_lost_while_away),
		T(test_other_bounds),
		T(test_lift_under_another_name),
		T(test_end_in_proof),
		T(test_sentences_are_text),
		T(test_scrub_of_many),
		T(test_scrub_goes_on),
		T(test_readmit_joins_settle),
		T(test_readmit_joined_binds),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

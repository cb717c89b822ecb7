/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Taking a region back on a kernel that revokes: the machine lives on, and the region with it. */

#include "machine-check.h"
#include "ops-fixture.h"

static int setup_patched(void **state)
{
	int r = setup(state);

	world->can_revoke = true;
	stop();
	start();
	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	return r;
}

static int try_lease_keeping(const char *domain, PmlAfterFence after_fence)
{
	return op_lease_start(m, region(), domain, NULL, PML_ON_END_KEEP, after_fence, false, 0,
		&lease, &job, &err);
}

static void lend_keeping(void)
{
	assert_int_equal(try_lease_keeping("a", PML_AFTER_FENCE_KEEP), 0);
	assert_string_equal(finish(job->id).result, "done");
	assert_true(world->domains[0].mapped);
}

/* It is lent again while the old machine runs with its dead device, and that never reaches it. */
static void test_lent_again_at_once(void **state)
{
	lend_keeping();
	assert_int_equal(pml_fence_level(region()->host, m->dax), PML_FENCE_REVOKE);
	assert_string_equal(evict(0).result, "done");
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE && !region()->job);
	assert_int_equal(world->revokes, 1);
	assert_true(world->withdraws > 0);
	assert_true(world_holds(0));
	assert_false(world->domains[0].paused);
	UNTIL(region()->presence == PML_PRESENCE_ONLINE);

	assert_int_equal(try_lease("b", NULL), 0);
	assert_string_equal(finish(job->id).error, PML_ERROR_NOT_CLEAN);
	scrub(WORLD_A);
	lend("b");
	world_write(1);
	world_write(0);
	assert_int_equal(world->bytes, 'b');
	assert_string_equal(evict(0).result, "done");
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE);
}

static void memory_failure(void)
{
	VirtEvent ev = {.type = VIRT_EV_MEMORY_FAILURE};

	(void)PML_STRCPY(ev.domain, WORLD_A);
	(void)PML_STRCPY(ev.detail, "memory of the guest: injected into the guest");
	world_virt_event(&ev);
	for (int i = 0; i < 3; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
}

/* What the guest meets is told of the lease that it has lost, though that has ended; and a guest
 * that meets it over and over fills no disk. */
static void test_memory_errors_are_the_lease_s(void **state)
{
	char id[PML_ID_MAX];

	lend_keeping();
	(void)PML_STRCPY(id, region()->lease->record.id);
	memory_failure();
	assert_int_equal(in_history(id, "of another, or the machine's own"), 1);
	assert_string_equal(evict(0).result, "done");
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE && !region()->job);
	for (int i = 0; i < 50; i++)
		memory_failure();
	assert_int_equal(in_history(id, "which was taken from it"), 1);
	assert_int_equal(in_history(id, "memory error"), 2);
}

/* What a revocation would do to the guest is known from the lease on, also to the next daemon. */
static void test_who_panics_is_known(void **state)
{
	static const int of[] = {1, 0, -ESRCH};

	for (size_t i = 0; i < ELEMENTSOF(of); i++) {
		world->recovery = of[i];
		lend_keeping();
		assert_int_equal(region()->lease->panics, of[i] == 0);
		stop();
		start();
		UNTIL(m->libvirt_connected && !m->jobs);
		assert_int_equal(region()->lease->panics, of[i] == 0);
		assert_string_equal(evict(0).result, "done");
		UNTIL(!region()->lease && !region()->job);
	}
}

/* A number that another process has by now says nothing of this one. */
static void test_a_process_is_its_start_too(void **state)
{
	assert_int_equal(machine_check_recovers_pid(getpid(), 1), -ESRCH);
}

static void test_paused_where_that_was_wanted(void **state)
{
	assert_int_equal(try_lease_keeping("a", PML_AFTER_FENCE_PAUSE), 0);
	assert_string_equal(finish(job->id).result, "done");
	assert_string_equal(evict(0).result, "done");
	UNTIL(world->domains[0].paused);
}

/* `keep` is no promise that this kernel could not hold. */
static void test_keep_without_revoke_pauses(void **state)
{
	world->can_revoke = false;
	stop();
	start();
	UNTIL(m->libvirt_connected);
	lend_keeping();
	assert_string_equal(evict(0).result, "done");
	UNTIL(world->domains[0].paused);
	assert_int_equal(world->revokes, 0);
	assert_true(world_holds(0));
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
}

/* What the kernel holds for somebody is no proof: stuck, quarantined, and proved when it has gone.
 */
static void test_held_by_the_kernel(void **state)
{
	WorldEnd e;

	lend_keeping();
	world->kernel_refs = 3;
	e = evict(0);
	assert_string_equal(e.error, PML_ERROR_STUCK);
	assert_int_equal(region()->record.use, PML_USE_QUARANTINED);
	assert_int_equal(region()->lease->record.state, PML_LEASE_STUCK);
	/* Unbinding would wait for them. */
	assert_true(world->bound);
	/* Its machine is watched, and lives: that nobody else is seen must not be all that is
	 * waited for. */
	UNTIL(!region()->job);
	world->kernel_refs = 0;
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE);
	/* And can be opened by its next owner. */
	assert_true(world->bound && !world->binding_revoked);
}

/* A machine that has the host's own /dev could open the next binding. */
static void test_shared_dev_waits(void **state)
{
	world->shares_dev = true;
	lend_keeping();
	assert_string_equal(evict(0).result, "done");
	UNTIL(!region()->job);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	assert_false(world->bound);
	world_domain_stop(0);
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE);
}

static void test_kept_offline(void **state)
{
	lend_keeping();
	assert_int_equal(try_evict(0, true), 0);
	assert_string_equal(finish(job->id).result, "done");
	UNTIL(!region()->lease && !region()->job);
	assert_false(world->bound);
	assert_true(world_holds(0));
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	assert_string_equal(finish(job->id).result, "done");
	assert_true(world->bound);
	assert_true(world_holds(0));
}

/* Its policy is on the disk. */
static void test_policy_survives(void **state)
{
	lend_keeping();
	stop();
	start();
	UNTIL(m->libvirt_connected);
	assert_int_equal(region()->lease->record.after_fence, PML_AFTER_FENCE_KEEP);
	UNTIL(!region()->job);
	assert_string_equal(evict(0).result, "done");
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE);
	assert_false(world->domains[0].paused);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_patched, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lent_again_at_once),
		TEST(test_paused_where_that_was_wanted),
		TEST(test_keep_without_revoke_pauses),
		TEST(test_held_by_the_kernel),
		TEST(test_shared_dev_waits),
		TEST(test_kept_offline),
		TEST(test_policy_survives),
		TEST(test_memory_errors_are_the_lease_s),
		TEST(test_who_panics_is_known),
		TEST(test_a_process_is_its_start_too),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

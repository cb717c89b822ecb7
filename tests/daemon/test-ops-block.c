/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A block device: the consent, the rung destroy, a resize. The machines are real processes. */

#include "diagnose.h"
#include "ops-fixture.h"

static int setup_block(void **state)
{
	int r = setup(state);

	/* Once more, from a start that finds a block device. */
	stop();
	world->block = true;
	world->diskseq = 7;
	start();
	return r;
}

static int try_lease_block(const char *domain, bool may_destroy)
{
	return op_lease_start(m, region(), domain, NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE,
		may_destroy, 0, &lease, &job, &err);
}

static void lend_block(void)
{
	WorldEnd e;

	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	assert_int_equal(try_lease_block("a", true), 0);
	e = finish(job->id);
	assert_string_equal(e.message, "");
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
}

static bool machine_lives(int i)
{
	return world->domains[i].pid != 0 && kill(world->domains[i].pid, 0) == 0 &&
	       waitpid(world->domains[i].pid, NULL, WNOHANG) == 0;
}

static void rescan(void)
{
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!m->rescan_running);
}

static void test_consent(void **state)
{
	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	refused(try_lease_block("a", false), PML_ERROR_NO_FENCE);
	assert_non_null(strstr(err.message, "--allow-destroy"));
	assert_null(region()->lease);
	lend_block();
	assert_int_equal(region()->lease->record.after_fence, PML_AFTER_FENCE_DESTROY);
	/* Nobody on the host takes it meanwhile. */
	assert_true(region()->lease->claim_fd >= 0);
}

static void test_evict(void **state)
{
	WorldEnd e;

	lend_block();
	/* Nobody is told that the machine would only be paused. */
	refused(op_evict_start(
			m, region(), "evict", 0, false, PML_AFTER_FENCE_PAUSE, 0, &job, &err),
		PML_ERROR_NO_FENCE);
	assert_true(machine_lives(0));
	e = evict(0);
	assert_string_equal(e.result, "done");
	assert_false(machine_lives(0));
	assert_true(machine_lives(1));
	assert_int_equal(world->destroys, 1);
	assert_int_equal(world->unbinds, 0);
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease);
	assert_string_equal(region()->record.owner, WORLD_A);
	refused(try_lease_block("a", false), PML_ERROR_NO_FENCE);
}

/* libvirt hangs: its time passes, and the process is killed. */
static void test_evict_without_libvirt(void **state)
{
	uint64_t begin;
	WorldEnd e;

	lend_block();
	world->hang_pause = true;
	begin = pml_now_usec(CLOCK_MONOTONIC);
	e = evict(0);
	assert_string_equal(e.result, "done");
	assert_in_range(pml_now_usec(CLOCK_MONOTONIC) - begin, USEC_PER_SEC, 8 * USEC_PER_SEC);
	assert_false(machine_lives(0));
	UNTIL(region()->record.use == PML_USE_FREE);
	world->hang_pause = false;
}

/* A lease that libvirt refused is taken back, and no machine pays for it. */
static void test_refused_attach_destroys_nothing(void **state)
{
	WorldEnd e;

	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	world->refuse_attach = true;
	assert_int_equal(try_lease_block("a", true), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "failed");
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease);
	assert_true(machine_lives(0));
	assert_int_equal(world->destroys, 0);
}

static void test_grows(void **state)
{
	lend_block();
	world->grown = 16 * MIB;
	rescan();
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_int_equal(region()->extent.size_bytes, WORLD_BYTES);
	assert_int_equal(pml_region_size_bytes(region()->host), WORLD_BYTES + 16 * MIB);
	assert_true(machine_lives(0));

	/* When the lease has ended, the region is what the device is: of its end nobody knows. */
	assert_string_equal(evict(0).result, "done");
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease && !region()->job);
	rescan();
	assert_int_equal(region()->extent.size_bytes, WORLD_BYTES + 16 * MIB);
	assert_int_equal(region()->record.content, PML_CONTENT_FOREIGN);
	assert_string_equal(region()->record.owner, WORLD_A);
}

static void test_shrinks(void **state)
{
	lend_block();
	world->grown = -(16 * (long long)MIB);
	rescan();
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease && !region()->job);
	assert_false(machine_lives(0));
	assert_int_equal(world->destroys, 1);
	rescan();
	assert_int_equal(region()->extent.size_bytes, WORLD_BYTES - 16 * MIB);
	assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);
}

static void test_vanishes(void **state)
{
	lend_block();
	world->missing = true;
	rescan();
	UNTIL(!machine_lives(0));
	world->missing = false;
	rescan();
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease);
}

/* The same while no daemon ran: the machine ends, and the proof does not wait for the device. */
static void test_vanishes_while_away(void **state)
{
	lend_block();
	assert_int_not_equal(region()->lease->record.devno, 0);
	assert_true(region()->lease->record.dev_block);
	stop();
	world->missing = true;
	start();
	UNTIL(!machine_lives(0));
	UNTIL(!region()->lease && !region()->job);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	world->missing = false;
	rescan();
	UNTIL(region()->record.use == PML_USE_FREE);
}

static void test_another_device(void **state)
{
	lend_block();
	world->diskseq = 8;
	rescan();
	UNTIL(!machine_lives(0));
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease);
}

static void test_restart(void **state)
{
	lend_block();
	stop();
	start();
	UNTIL(m->libvirt_connected && region()->lease && !region()->job);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_true(region()->lease->claim_fd >= 0);
	assert_true(machine_lives(0));
	assert_string_equal(evict(0).result, "done");
	UNTIL(region()->record.use == PML_USE_FREE);
	assert_false(machine_lives(0));
}

/* Before anything goes wrong: what an eviction will cost, and what it cannot. */
static void test_diagnosis(void **state)
{
	const char *said[] = {"Of the regions 1 are block devices", "destroys that machine",
		"cannot be taken back from a with a proof: VFIO"};
	const char *checks[] = {"regions.block", "leases.destroy", "leases.pinned"};
	Findings l = {};
	size_t n = 0;

	lend_block();
	region()->lease->pinned = strdup("VFIO has it.");
	diagnose_regions(m, &l);
	assert_int_equal(l.r, 0);
	for (size_t i = 0; i < l.n; i++)
		for (size_t k = 0; k < ELEMENTSOF(checks); k++)
			if (strcmp(l.items[i].check, checks[k]) == 0) {
				assert_non_null(strstr(l.items[i].text, said[k]));
				assert_int_equal(
					l.items[i].level, k == 2 ? FINDING_BAD : FINDING_WARN);
				assert_string_not_equal(l.items[i].mend, "");
				n++;
			}
	assert_int_equal(n, 3);
	findings_clear(&l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_block, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_consent),
		TEST(test_evict),
		TEST(test_evict_without_libvirt),
		TEST(test_refused_attach_destroys_nothing),
		TEST(test_grows),
		TEST(test_shrinks),
		TEST(test_vanishes),
		TEST(test_vanishes_while_away),
		TEST(test_another_device),
		TEST(test_restart),
		TEST(test_diagnosis),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

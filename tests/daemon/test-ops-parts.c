/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Memory of the host, lent as a virtio-mem: its guest gives it back in parts, or a part of it. */

#include "ops-fixture.h"

#define LONG_USEC  (60 * USEC_PER_SEC)
#define STALL_USEC (300 * USEC_PER_MSEC)
#define LENT	   (384 * MIB)

static const DrainPolicy ask_keep = {PML_DRAIN_ASK, PML_ON_REFUSAL_KEEP, PML_DEADLINE_DEFAULT};

static void begin(void)
{
	start();
	m->stall_usec = STALL_USEC;
	UNTIL(m->libvirt_connected);
}

static int setup_parts(void **state)
{
	int r = setup(state);

	stop();
	world->ram = world->kmem = true;
	world->bound = false;
	world->agent = WORLD_AGENT_RELEASES;
	begin();
	adopt(WORLD_A);
	return r;
}

static int teardown_parts(void **state)
{
	world->place_stays = false;
	world->floor = 0;
	world->ram = world->kmem = false;
	world->bound = true;
	return teardown(state);
}

static void restart(void)
{
	/* To find that memory is still held takes longer than stop() waits. */
	UNTIL(!region()->job || region()->job->waiting);
	stop();
	begin();
}

static WorldEnd try_lend(const DrainPolicy *policy)
{
	assert_int_equal(try_lease("a", NULL), 0);
	op_lease_virtio_mem(job);
	if (policy)
		op_lease_drain(job, policy);
	return finish(job->id);
}

static void lend_parts(const DrainPolicy *policy)
{
	WorldEnd e = try_lend(policy);

	assert_string_equal(e.message, "");
	assert_true(region()->lease->record.virtio_mem);
	assert_int_equal(region()->lease->record.lent_bytes, LENT);
	UNTIL(region()->lease->record.plugged_bytes == LENT);
}

static void turn(int times)
{
	for (int i = 0; i < times; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
}

/* Given back in parts, of which the job tells; and then its device goes. */
static void test_given_back(void **state)
{
	double last = 0;
	WorldEnd e;

	world->pace = 16 * MIB;
	lend_parts(NULL);
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->asks > 0);
	for (int i = 0; !world_job_result(job->id, &e) && i < 1000; i++) {
		tell_of_memory(VIRT_EV_MEMORY_RESIZED);
		if (world_job_result(job->id, &e))
			break;
		assert_true(job->progress >= last);
		last = job->progress;
		if (world->plugged > 0 && world->plugged < (long long)LENT / 2) {
			assert_true(last > 0.3 && last < 0.91);
			assert_non_null(strstr(job->phase, "of 384 MiB"));
		}
		turn(1);
		if (!region()->lease)
			break;
	}
	e = finish(job->id);
	assert_string_equal(e.message, "The guest let go by itself, and runs on.");
	assert_true(last > 0.5);
	/* Not all at once. */
	assert_true(world->asks >= 3);
	assert_false(world->domains[0].attached);
	assert_true(world->domains[0].pid != 0);
	until_free();
}

/* libvirt tells that it has gone, before it is looked at again. */
static void test_removed(void **state)
{
	world->agent = WORLD_AGENT_WORKS;
	lend_parts(NULL);
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->unplugs > 0);
	turn(5);
	world->domains[0].attached = world->domains[0].mapped = false;
	tell_of_memory(VIRT_EV_DEVICE_REMOVED);
	assert_string_equal(finish(job->id).message, "The guest let go by itself, and runs on.");
	until_free();
}

/* Under pressure it stops; what it gave is kept, said, and remembered; later it goes on. */
static void test_partial(void **state)
{
	WorldEnd e;

	lend_parts(&ask_keep);
	world->floor = 192 * MIB;
	e = evict(LONG_USEC);
	assert_string_equal(e.error, PML_ERROR_GUEST_REFUSED);
	assert_non_null(strstr(e.message, "given back 192 of 384 MiB"));
	assert_non_null(strstr(e.message, "It keeps the rest"));
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	UNTIL(region()->lease->record.plugged_bytes == 192 * MIB);
	/* Nobody presses it any more. */
	UNTIL(world->requested == 192 * MIB);
	UNTIL(m->n_applies == 0);
	assert_true(in_history(region()->lease->record.id, "given back 192 of 384 MiB") > 0);
	assert_true(world->kmem);

	restart();
	UNTIL(region()->lease && !region()->job);
	assert_int_equal(region()->lease->record.plugged_bytes, 192 * MIB);
	world->floor = 64 * MIB;
	assert_non_null(strstr(evict(LONG_USEC).message, "given back 320 of 384 MiB"));
	UNTIL(region()->lease->record.plugged_bytes == 64 * MIB);
	world->floor = 0;
	assert_string_equal(evict(LONG_USEC).result, "done");
	until_free();
}

/* A refusal is not the end where force is wished: it is asked again. */
static void test_asked_again(void **state)
{
	int asks;

	lend_parts(NULL);
	world->floor = 192 * MIB;
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(strstr(job->phase, "given back 192") && world->plugged == 192 * MIB);
	asks = world->asks;
	UNTIL(world->asks > asks + 1);
	world->floor = 0;
	assert_string_equal(finish(job->id).result, "done");
	until_free();
}

/* What is left at the deadline is stuck, with what was given; and is taken when it comes. */
static void test_stuck(void **state)
{
	WorldEnd e;

	lend_parts(NULL);
	world->floor = 128 * MIB;
	e = evict(2 * USEC_PER_SEC);
	assert_string_equal(e.error, PML_ERROR_STUCK);
	assert_non_null(strstr(e.message, "given back 256 of 384 MiB"));
	assert_int_equal(region()->lease->record.state, PML_LEASE_STUCK);
	assert_true(world->kmem);
	UNTIL(world->requested == 0);
	restart();
	UNTIL(region()->lease && !region()->job);
	assert_int_equal(region()->lease->record.plugged_bytes, 128 * MIB);

	world->floor = 0;
	tell_of_memory(VIRT_EV_MEMORY_RESIZED);
	UNTIL(world->unplugs > 0);
	world->domains[0].attached = world->domains[0].mapped = false;
	tell_of_memory(VIRT_EV_DEVICE_REMOVED);
	until_free();
	assert_true(world->domains[0].pid != 0);
}

/*
 * QEMU before 8.1: all is given back, and the place stays. The memory leaves the host; but nobody
 * has it again, to whom the old machine could then come by growing.
 */
static void test_place_stays(void **state)
{
	WorldEnd e;

	world->place_stays = true;
	lend_parts(NULL);
	e = evict(LONG_USEC);
	assert_string_equal(e.result, "done");
	assert_string_equal(e.error, PML_ERROR_PLACE_KEPT);
	assert_non_null(strstr(e.message, "detach-device-alias a ua-pmemlease-"));
	assert_false(world->kmem);
	turn(30);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	assert_false(world->kmem);
	/* Also while the daemon is looking for itself. */
	world->hang_proof = true;
	UNTIL(region()->job || op_settle_kick(region()) < 0);
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	world->hang_proof = false;
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_HELD);
	assert_non_null(strstr(e.message, "keeps an empty virtio-mem"));
	restart();
	turn(30);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	assert_false(world->kmem || world->bound);

	world_domain_stop(0);
	until_free();
}

/* Its guest does not answer to the device being unplugged; it has nothing of it at the deadline. */
static void test_place_at_deadline(void **state)
{
	WorldEnd e;

	world->agent = WORLD_AGENT_WORKS;
	lend_parts(NULL);
	e = evict(2 * USEC_PER_SEC);
	assert_string_equal(e.result, "done");
	assert_string_equal(e.error, PML_ERROR_PLACE_KEPT);
	assert_false(world->kmem);
	turn(20);
	assert_int_equal(region()->lease->record.state, PML_LEASE_FENCED);
	world->domains[0].attached = world->domains[0].mapped = false;
	tell_of_memory(VIRT_EV_DEVICE_REMOVED);
	until_free();
}

/* A guest that is reset has nothing at first, and would take again what it is to have. */
static void test_reset(void **state)
{
	lend_parts(NULL);
	world->floor = 192 * MIB;
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->plugged == 192 * MIB);
	/* It has taken everything anew, before it heard what it is to have. */
	world->plugged = LENT;
	tell_of_memory(VIRT_EV_MEMORY_RESIZED);
	UNTIL(region()->lease->record.plugged_bytes == LENT || world->plugged < (long long)LENT);
	world->plugged = 0;
	world->floor = 0;
	tell_of_memory(VIRT_EV_MEMORY_RESIZED);
	assert_string_equal(finish(job->id).result, "done");
	assert_int_equal(world->requested, 0);
	until_free();
}

/* Events are lost while libvirt is away; nothing else is. */
static void test_libvirt_restarts(void **state)
{
	world->floor = 192 * MIB;
	lend_parts(NULL);
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->plugged == 192 * MIB);
	world->libvirt_down = true;
	world_virt_event(&(VirtEvent){.type = VIRT_EV_DISCONNECTED});
	turn(20);
	assert_int_equal(region()->lease->record.state, PML_LEASE_DRAINING);
	world->floor = 0;
	world->libvirt_down = false;
	world_virt_event(&(VirtEvent){.type = VIRT_EV_CONNECTED});
	assert_string_equal(finish(job->id).result, "done");
	until_free();
}

static void test_cancelled(void **state)
{
	lend_parts(NULL);
	world->floor = 256 * MIB;
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->plugged == 256 * MIB && job->waiting);
	assert_int_equal(job_cancel(job), 0);
	assert_string_equal(finish(job->id).result, "cancelled");
	UNTIL(world->requested == 256 * MIB);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	UNTIL(region()->lease->record.plugged_bytes == 256 * MIB);
}

static void test_machine_ends(void **state)
{
	lend_parts(NULL);
	world->floor = 192 * MIB;
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->plugged == 192 * MIB);
	world_domain_stop(0);
	assert_string_equal(finish(job->id).result, "done");
	until_free();
}

/* No driver: what nobody uses is not lent. */
static void test_not_plugged(void **state)
{
	WorldEnd e;

	world->no_driver = true;
	e = try_lend(NULL);
	assert_string_equal(e.error, PML_ERROR_NOT_PLUGGED);
	assert_non_null(strstr(e.message, "0 of 384 MiB"));
	until_free();
	assert_false(world->domains[0].attached);
}

static void until_plugging(void)
{
	m->stall_usec = LONG_USEC;
	world->no_driver = true;
	assert_int_equal(try_lease("a", NULL), 0);
	op_lease_virtio_mem(job);
	UNTIL(job->waiting && strstr(job->phase, "take it"));
}

/* Nobody who wants it back waits for a guest to take it first. */
static void test_evicted_while_plugging(void **state)
{
	uint64_t lease_job;

	until_plugging();
	lease_job = job->id;
	assert_string_equal(evict(LONG_USEC).result, "done");
	assert_string_equal(finish(lease_job).error, PML_ERROR_CANCELLED);
	until_free();
	assert_false(world->domains[0].attached);
}

static void test_cancelled_while_plugging(void **state)
{
	until_plugging();
	assert_int_equal(job_cancel(job), 0);
	assert_string_equal(finish(job->id).result, "cancelled");
	until_free();
	assert_false(world->domains[0].attached);
}

/* Somebody resizes it by virsh: the lease tells. */
static void test_resized_behind_our_back(void **state)
{
	lend_parts(NULL);
	world->requested = world->plugged = 128 * MIB;
	tell_of_memory(VIRT_EV_MEMORY_RESIZED);
	UNTIL(region()->lease->record.plugged_bytes == 128 * MIB);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_string_equal(evict(LONG_USEC).result, "done");
	until_free();
}

#define PARTS_TEST(name) cmocka_unit_test_setup_teardown(name, setup_parts, teardown_parts)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		PARTS_TEST(test_given_back),
		PARTS_TEST(test_removed),
		PARTS_TEST(test_partial),
		PARTS_TEST(test_asked_again),
		PARTS_TEST(test_stuck),
		PARTS_TEST(test_place_stays),
		PARTS_TEST(test_place_at_deadline),
		PARTS_TEST(test_reset),
		PARTS_TEST(test_libvirt_restarts),
		PARTS_TEST(test_cancelled),
		PARTS_TEST(test_machine_ends),
		PARTS_TEST(test_not_plugged),
		PARTS_TEST(test_evicted_while_plugging),
		PARTS_TEST(test_cancelled_while_plugging),
		PARTS_TEST(test_resized_behind_our_back),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Memory of the host, lent by its node: only its guest, or the end of its machine, gives it back.
 */

#include "diagnose.h"
#include "ops-fixture.h"

static const DrainPolicy lease_s_own = {_PML_DRAIN_INVALID, _PML_ON_REFUSAL_INVALID, 0};
#define SHORT_USEC (400 * USEC_PER_MSEC)
#define LONG_USEC  (60 * USEC_PER_SEC)

static int setup_ram(void **state)
{
	int r = setup(state);

	/* Once more, from a start that finds it so. */
	stop();
	world->ram = world->kmem = true;
	world->bound = false;
	world->agent = WORLD_AGENT_RELEASES;
	start();
	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	return r;
}

static int teardown_ram(void **state)
{
	world->ram = world->kmem = world->demotion = world->auto_online = world->elsewhere = false;
	world->stray = 0;
	world->bound = true;
	return teardown(state);
}

static void restart(void)
{
	stop();
	start();
	UNTIL(m->libvirt_connected);
}

static void test_given_back(void **state)
{
	WorldEnd e;

	lend("a");
	assert_int_equal(world->lent, 384 * MIB);
	assert_true(region()->record.ram);
	assert_int_equal(try_evict(LONG_USEC, true), 0);
	e = finish(job->id);
	assert_string_equal(e.message, "The guest let go by itself, and runs on.");
	assert_false(world->kmem);
	assert_false(world->bound);
	assert_false(world->domains[0].paused);
	assert_true(world->domains[0].pid != 0);
	UNTIL(!region()->lease);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);

	/* What it was is on the disk, and no accident of this daemon's memory. */
	restart();
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	assert_string_equal(finish(job->id).result, "done");
	until_free();
	assert_false(world->bound);
}

static void test_scrubbed(void **state)
{
	assert_int_equal(op_lease_start(m, region(), "a", NULL, PML_ON_END_SCRUB,
				 PML_AFTER_FENCE_PAUSE, false, 0, &lease, &job, &err),
		0);
	assert_string_equal(finish(job->id).result, "done");
	world->bytes = 'a';
	assert_string_equal(evict(LONG_USEC).result, "done");
	UNTIL(region()->record.content == PML_CONTENT_BLANK);
	assert_int_equal(world->bytes, 0);
	until_free();

	/* By hand, of what is bound to kmem. */
	world->bytes = 'x';
	scrub("");
	until_free();
}

/* Where the host is not to have it again. */
static void test_returns_devdax(void **state)
{
	m->config.ram_returns_devdax = true;
	lend("a");
	assert_string_equal(evict(LONG_USEC).result, "done");
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease && !region()->job &&
		world->bound && region()->presence == PML_PRESENCE_ONLINE);
	assert_false(world->kmem);
	UNTIL(!region()->record.ram);
	/* Nor is it owed after a restart. */
	restart();
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	assert_true(world->bound && !world->kmem);
}

static void test_scrubbed_returns_devdax(void **state)
{
	m->config.ram_returns_devdax = true;
	assert_int_equal(op_lease_start(m, region(), "a", NULL, PML_ON_END_SCRUB,
				 PML_AFTER_FENCE_PAUSE, false, 0, &lease, &job, &err),
		0);
	assert_string_equal(finish(job->id).result, "done");
	assert_string_equal(evict(LONG_USEC).result, "done");
	UNTIL(region()->record.content == PML_CONTENT_BLANK && !region()->job);
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	assert_true(world->bound && !world->kmem);
	assert_false(region()->record.ram);
}

/* Somebody has memory bound to the node: nothing is overwritten, and it is what it was. */
static void test_scrub_of_held(void **state)
{
	WorldEnd e;

	world->domains[0].mapped = true;
	assert_int_equal(op_scrub_start(m, region(), WORLD_A, 0, &job, &err), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_HELD);
	world->domains[0].mapped = false;
	until_free();
	UNTIL(!region()->record.ram);
	assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);
}

static void test_refused(void **state)
{
	WorldEnd e;

	world->agent = WORLD_AGENT_WORKS;
	assert_int_equal(try_lease("a", NULL), 0);
	op_lease_drain(job, &(DrainPolicy){PML_DRAIN_ASK, PML_ON_REFUSAL_KEEP, 0});
	assert_string_equal(finish(job->id).result, "done");
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->asks > 0 && region()->lease->record.state == PML_LEASE_DRAINING);
	for (int i = 0; i < 10; i++)
		assert_true(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);
	tell_of_memory(VIRT_EV_REMOVAL_FAILED);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_GUEST_REFUSED);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_true(world->kmem);
	assert_true(world->domains[0].attached);
}

/* A refusal is not the end where force is wished: it is asked again, and gives it back then. */
static void test_asked_again(void **state)
{
	int asks;

	world->agent = WORLD_AGENT_WORKS;
	lend("a");
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	UNTIL(world->asks > 0 && region()->lease->record.state == PML_LEASE_DRAINING);
	for (int i = 0; i < 10; i++)
		assert_true(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);
	asks = world->asks;
	tell_of_memory(VIRT_EV_REMOVAL_FAILED);
	UNTIL(world->asks > asks);
	world->agent = WORLD_AGENT_RELEASES;
	assert_string_equal(finish(job->id).result, "done");
	until_free();
}

/* libvirt's word is enough: it is not asked again what it has just told. */
static void test_removed(void **state)
{
	uint64_t begin, id;
	WorldEnd e;

	world->agent = WORLD_AGENT_WORKS;
	lend("a");
	assert_int_equal(try_evict(LONG_USEC, false), 0);
	id = job->id;
	UNTIL(world->asks > 0 && region()->lease->record.state == PML_LEASE_DRAINING);
	for (int i = 0; i < 100; i++)
		assert_true(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);
	begin = pml_now_usec(CLOCK_MONOTONIC);
	world->domains[0].mapped = false;
	world->libvirt_down = true;
	tell_of_memory(VIRT_EV_DEVICE_REMOVED);
	UNTIL(world_job_result(id, &e));
	world->libvirt_down = false;
	assert_string_equal(e.result, "done");
	assert_true(pml_now_usec(CLOCK_MONOTONIC) - begin < 5 * USEC_PER_SEC);
	until_free();
}

static void test_silent(void **state)
{
	WorldEnd e;

	world->agent = WORLD_AGENT_WORKS;
	lend("a");
	e = evict(SHORT_USEC);
	assert_string_equal(e.error, PML_ERROR_STUCK);
	assert_non_null(strstr(e.message, "has not answered"));
	assert_non_null(strstr(e.message, "virsh detach-device-alias a ua-pmemlease-"));
	assert_int_equal(region()->lease->record.state, PML_LEASE_STUCK);
	assert_int_equal(region()->record.use, PML_USE_QUARANTINED);
	/* Nothing was done to its guest. */
	assert_true(world->kmem);
	assert_true(world_holds(0));
	for (int i = 0; i < 10; i++)
		assert_true(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);
	assert_false(world->domains[0].paused);

	/* It gives it back in its own time. */
	world->domains[0].attached = world->domains[0].mapped = false;
	tell_of_memory(VIRT_EV_DEVICE_REMOVED);
	until_free();
}

static void test_destroyed(void **state)
{
	WorldEnd e;

	world->agent = WORLD_AGENT_WORKS;
	world->destroys = 0;
	lend("a");
	assert_int_equal(op_evict_start_with(m, region(), "evict", SHORT_USEC, false,
				 PML_AFTER_FENCE_DESTROY, &lease_s_own, 0, &job, &err),
		0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_true(world->destroys > 0);
	assert_false(world_holds(0));
	until_free();
}

/* Who gives it back is not destroyed for it. */
static void test_not_destroyed(void **state)
{
	world->destroys = 0;
	lend("a");
	assert_int_equal(op_evict_start_with(m, region(), "evict", LONG_USEC, false,
				 PML_AFTER_FENCE_DESTROY, &lease_s_own, 0, &job, &err),
		0);
	assert_string_equal(finish(job->id).result, "done");
	assert_int_equal(world->destroys, 0);
	assert_true(world->domains[0].pid != 0);
}

/* By virsh, or by a guest that was asked and answers when nobody waits any more. */
static void test_unasked(void **state)
{
	lend("a");
	world->domains[0].attached = world->domains[0].mapped = false;
	tell_of_memory(VIRT_EV_DEVICE_REMOVED);
	until_free();
	assert_int_equal(world->destroys, 0);
	assert_true(world->domains[0].pid != 0);
}

static void test_machine_ends(void **state)
{
	world->agent = WORLD_AGENT_HANGS;
	lend("a");
	world_domain_stop(0);
	until_free();
}

/* What is not on the node is no lease; and the machine has to give that back, too. */
static void test_elsewhere(void **state)
{
	WorldEnd e;

	world->elsewhere = true;
	assert_int_equal(try_lease("a", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "failed");
	assert_non_null(strstr(e.message, "numatune"));
	until_free();
	assert_false(world->domains[0].attached);
	assert_true(world->domains[0].pid != 0);
}

static void test_not_leasable(void **state)
{
	WorldEnd e;

	world->stray = 64 * MIB;
	assert_int_equal(try_lease("a", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_NOT_LEASABLE);
	assert_non_null(strstr(e.message, "65536 KiB of page cache"));
	world->stray = 0;

	/* Since the host was scanned. */
	world->demotion = true;
	assert_int_equal(try_lease("a", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_NOT_LEASABLE);
	assert_non_null(strstr(e.message, "demotion_enabled"));
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE);
	world->demotion = false;
	lend("a");
}

static void test_force(void **state)
{
	DrainPolicy force = {PML_DRAIN_FORCE, _PML_ON_REFUSAL_INVALID, 0};

	lend("a");
	refused(op_evict_start_with(m, region(), "evict", 0, false, _PML_AFTER_FENCE_INVALID,
			&force, 0, &job, &err),
		PML_ERROR_NO_FENCE);
	/* Nor is a guest asked that has no time to answer. */
	refused(try_evict(0, false), PML_ERROR_NO_FENCE);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
}

/* A host that would put it online as its own keeps it offline instead, and says so. */
static void test_auto_online(void **state)
{
	lend("a");
	world->auto_online = true;
	assert_string_equal(evict(LONG_USEC).result, "done");
	UNTIL(!region()->lease && !region()->job);
	assert_false(world->kmem);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	world->auto_online = false;
	UNTIL(region()->record.use == PML_USE_FREE);
	until_free();
}

static void test_unleased(void **state)
{
	assert_int_equal(try_evict(0, true), 0);
	assert_string_equal(finish(job->id).result, "done");
	assert_false(world->kmem);
	restart();
	assert_true(region()->record.ram);
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	assert_string_equal(finish(job->id).result, "done");
	until_free();
}

/* Said before anybody has to wait for a guest. */
static void test_diagnosis(void **state)
{
	Findings l = {};
	size_t n = 0;

	diagnose_regions(m, &l);
	assert_int_equal(l.r, 0);
	for (size_t i = 0; i < l.n; i++)
		if (strcmp(l.items[i].check, "regions.sysram") == 0) {
			assert_non_null(strstr(l.items[i].text, "1 region is memory of the host"));
			assert_int_equal(l.items[i].level, FINDING_WARN);
			assert_non_null(strstr(l.items[i].mend, "--after-fence=destroy"));
			n++;
		}
	assert_int_equal(n, 1);
	findings_clear(&l);
}

/* A restart finds the lease as it was: what the guest has is looked at again, and not touched. */
static void test_restart(void **state)
{
	lend("a");
	restart();
	UNTIL(region()->lease && !region()->job);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_true(world_holds(0));
	assert_string_equal(evict(LONG_USEC).result, "done");
	until_free();
}

/* The kernel binds it as a device-dax when the host comes back; what it was is on the disk. */
static void cut_power(void)
{
	age_lease();
	world_domain_stop(0);
	m = manager_free(m);
	event = sd_event_unref(event);
	world->kmem = false;
	world->bound = true;
	start();
	UNTIL(m->libvirt_connected);
}

static void test_power_cut(void **state)
{
	lend("a");
	cut_power();
	until_free();
	assert_false(world->bound);
	UNTIL(!region()->record.ram);
	assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);
}

/* Its bytes may have survived: they are overwritten as it was promised. */
static void test_power_cut_scrubs(void **state)
{
	assert_int_equal(op_lease_start(m, region(), "a", NULL, PML_ON_END_SCRUB,
				 PML_AFTER_FENCE_PAUSE, false, 0, &lease, &job, &err),
		0);
	assert_string_equal(finish(job->id).result, "done");
	world->bytes = 'a';
	cut_power();
	UNTIL(region()->record.content == PML_CONTENT_BLANK);
	assert_int_equal(world->bytes, 0);
	until_free();
}

static void test_power_cut_draining(void **state)
{
	world->agent = WORLD_AGENT_WORKS;
	lend("a");
	assert_int_equal(try_evict(LONG_USEC, true), 0);
	UNTIL(world->asks > 0 && region()->lease->record.state == PML_LEASE_DRAINING);
	cut_power();
	UNTIL(!region()->lease && !region()->job && !world->bound);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_false(world->kmem);
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	assert_string_equal(finish(job->id).result, "done");
	until_free();
}

#define RAM_TEST(name) cmocka_unit_test_setup_teardown(name, setup_ram, teardown_ram)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RAM_TEST(test_given_back),
		RAM_TEST(test_scrubbed),
		RAM_TEST(test_returns_devdax),
		RAM_TEST(test_scrubbed_returns_devdax),
		RAM_TEST(test_scrub_of_held),
		RAM_TEST(test_refused),
		RAM_TEST(test_asked_again),
		RAM_TEST(test_removed),
		RAM_TEST(test_silent),
		RAM_TEST(test_destroyed),
		RAM_TEST(test_not_destroyed),
		RAM_TEST(test_unasked),
		RAM_TEST(test_machine_ends),
		RAM_TEST(test_elsewhere),
		RAM_TEST(test_not_leasable),
		RAM_TEST(test_force),
		RAM_TEST(test_auto_online),
		RAM_TEST(test_unleased),
		RAM_TEST(test_diagnosis),
		RAM_TEST(test_restart),
		RAM_TEST(test_power_cut),
		RAM_TEST(test_power_cut_scrubs),
		RAM_TEST(test_power_cut_draining),
	};

	int failed;

	world_media_helper(argc, argv);
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", 1);
	log_setup(getenv("WORLD_DEBUG") != NULL);
	world_new();
	failed = cmocka_run_group_tests_name("ops-ram", tests, NULL, NULL);
	world_end();
	return failed;
}

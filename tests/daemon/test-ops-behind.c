/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What others do behind our back, and what comes after a lease was made. */

#include "ops-fixture.h"

static void event_of(VirtEventType type, const char *domain, const char *alias)
{
	VirtEvent ev = {.type = type};

	(void)PML_STRCPY(ev.domain, domain);
	(void)PML_STRCPY(ev.alias, alias);
	world_virt_event(&ev);
}

static bool obstacle(const char *word)
{
	char **l;
	bool found = false;

	assert_int_equal(region_obstacles(region(), &l), 0);
	for (char **o = l; *o; o++)
		found = found || strstr(*o, word);
	region_obstacles_free(l);
	return found;
}

static bool is_calm(void)
{
	return !m->background && !m->jobs && !m->rescan_running;
}

/* A domain gets the region with virsh, whose event tells; its end is heard. */
static void test_attached_by_somebody(void **state)
{
	scrub("");
	UNTIL(is_calm() && region()->presence == PML_PRESENCE_ONLINE);
	world->domains[1].mapped = true;
	event_of(VIRT_EV_DEVICE_ADDED, WORLD_B, "nvdimm7");
	UNTIL(region()->intruder);
	assert_true(obstacle("behind our back"));
	refused(try_lease("a", NULL), PML_ERROR_HELD);
	if (op_scrub_start(m, region(), "", 0, &job, &err) == 0)
		assert_string_equal(finish(job->id).result, "failed");
	assert_int_equal(region()->record.content, PML_CONTENT_BLANK);
	world_domain_stop(1);
	UNTIL(!region()->intruder);
	assert_false(obstacle("behind our back"));

	/* Beside the machine that has the lease. */
	UNTIL(is_calm());
	lend("a");
	world_domain_start(1);
	UNTIL(is_calm());
	world->domains[1].mapped = true;
	event_of(VIRT_EV_DOMAIN_STARTED, WORLD_B, "");
	UNTIL(region()->intruder);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_null(strstr(region()->intruder, ","));
	world->domains[1].mapped = false;
	event_of(VIRT_EV_DOMAIN_STARTED, WORLD_B, "");
	UNTIL(!region()->intruder);
}

/* Without any event, the clock finds it. */
static void test_opened_by_somebody(void **state)
{
	stop();
	m = NULL;
	world->look_usec = 50000;
	start();
	scrub("");
	UNTIL(is_calm());
	world->domains[1].mapped = true;
	UNTIL(region()->intruder);
	world->domains[1].mapped = false;
	UNTIL(!region()->intruder);
	world->look_usec = 0;
}

/* A shorter pace does not wait for the end of the longer one. */
static void test_pace_is_changed(void **state)
{
	scrub("");
	UNTIL(is_calm());
	world->domains[1].mapped = true;
	m->config.look_usec = 50000;
	behind_repace(m);
	UNTIL(region()->intruder);
}

static void test_kept_offline_is_bound(void **state)
{
	WorldEnd e;

	scrub("");
	UNTIL(is_calm());
	assert_int_equal(try_evict(0, true), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(is_calm() && region()->presence == PML_PRESENCE_OFFLINE);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);

	world->bound = true;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!world->bound && region()->record.use == PML_USE_QUARANTINED);
	assert_non_null(strstr(region()->record.reason, "bound"));
	UNTIL(is_calm());
	refused(op_readmit_start(m, region(), 0, &job, &err), PML_ERROR_QUARANTINED);
}

/* Faster than any scan. */
static void test_kept_offline_is_bound_at_once(void **state)
{
	scrub("");
	UNTIL(is_calm());
	assert_int_equal(try_evict(0, true), 0);
	assert_string_equal(finish(job->id).result, "done");
	world->bound = true;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!world->bound && region()->record.use == PML_USE_QUARANTINED);
	UNTIL(is_calm());
}

/* The name that is shown follows, also on the disk. */
static void test_renamed(void **state)
{
	VirtEvent ev = {.type = VIRT_EV_DOMAIN_RENAMED, .detail = "z"};

	scrub("");
	lend("a");
	(void)evict(0);
	UNTIL(is_calm() && !m->n_applies && !region()->lease->marked && region()->watches);
	(void)PML_STRCPY(ev.domain, WORLD_B);
	world_virt_event(&ev);
	(void)PML_STRCPY(ev.domain, WORLD_A);
	world_virt_event(&ev);
	UNTIL(pml_streq(region()->lease->record.domain_name, "z") && !m->n_applies);
	stop();
	start();
	assert_string_equal(region()->lease->record.domain_name, "z");
	assert_string_equal(region()->lease->record.domain, WORLD_A);
}

/* … also one that it got while nobody listened. */
static void test_renamed_unheard(void **state)
{
	scrub("");
	lend("a");
	(void)evict(0);
	UNTIL(is_calm() && !m->n_applies && !region()->lease->marked && region()->watches);
	stop();
	world->domains[0].name = "z";
	start();
	assert_string_equal(region()->lease->record.domain_name, "a");
	UNTIL(pml_streq(region()->lease->record.domain_name, "z"));
	UNTIL(!m->jobs && !m->n_applies);
}

static void test_pinned(void **state)
{
	WorldEnd e;

	scrub("");
	UNTIL(is_calm());
	world->refuse_pinned = true;
	UNTIL(m->libvirt_connected);
	assert_int_equal(try_lease("a", NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_PINNED);
	assert_non_null(strstr(e.message, "hostdev"));
	assert_null(region()->lease);
	world->refuse_pinned = false;

	lend("a");
	assert_null(region()->lease->pinned);
	world->pinned = true;
	event_of(VIRT_EV_DEVICE_ADDED, WORLD_B, "hostdev0");
	event_of(VIRT_EV_DEVICE_ADDED, WORLD_A, "hostdev0");
	UNTIL(region()->lease->pinned);
	assert_non_null(strstr(region()->lease->pinned, "hostdev"));
	world->pinned = false;
	event_of(VIRT_EV_DEVICE_REMOVED, WORLD_A, "hostdev0");
	UNTIL(!region()->lease->pinned);

	/* What the XML of its start did not show. */
	world->pinned = true;
	event_of(VIRT_EV_DOMAIN_STARTED, WORLD_A, "");
	UNTIL(region()->lease->pinned);
	world->pinned = false;
	event_of(VIRT_EV_DEVICE_REMOVED, WORLD_A, "hostdev0");
	UNTIL(!region()->lease->pinned);

	/* While the events could not be heard. */
	world->pinned = true;
	stop();
	start();
	UNTIL(region()->lease && region()->lease->pinned);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_attached_by_somebody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opened_by_somebody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pace_is_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_offline_is_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_kept_offline_is_bound_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renamed_unheard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pinned, setup, teardown),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

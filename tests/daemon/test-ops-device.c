/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A DIMM is to leave: everything on it is taken back, or it is said what is in the way. */

#include "ops-fixture.h"
#include "part-rows.h"

static WorldEnd evict_device(const char *name)
{
	assert_int_equal(op_evict_device_start(m, name, 0, _PML_AFTER_FENCE_INVALID,
				 &DRAIN_AS_LEASED, 0, &job, &err),
		0);
	return finish(job->id);
}

static int setup_lent(void **state)
{
	int r = setup(state);

	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	lend("a");
	return r;
}

static void test_safe(void **state)
{
	WorldEnd e = evict_device("nmem0");

	assert_string_equal(e.message, "");
	assert_string_equal(e.result, "done");
	assert_true(world->disabled[0] && world->disabled[1]);
	assert_false(world->bound);
	assert_true(region_is_kept_offline(region()) || region()->lease);
	world_write(0);
	assert_int_equal(world->bytes, 0);

	/* Again: there is nothing left to do, and that is said, too. */
	e = evict_device("nmem0");
	assert_string_equal(e.result, "done");
	/* The machine's end does not bring it back. */
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	assert_false(world->bound);
}

/* What somebody uses stays, and is named; what was lent is taken back all the same. */
static void test_mounted(void **state)
{
	WorldEnd e;

	world->mounted = true;
	e = evict_device("nmem0");
	assert_string_equal(e.result, "failed");
	assert_string_equal(e.error, PML_ERROR_NOT_SAFE);
	assert_non_null(strstr(e.message, "DIMM 3"));
	assert_non_null(strstr(e.message, "/dev/pmem0.1) is mounted"));
	assert_null(strstr(e.message, "dax0.0"));
	assert_false(world->disabled[1]);
	assert_true(world->disabled[0]);
	assert_false(world->bound);

	world->mounted = false;
	assert_string_equal(evict_device("nmem0").result, "done");
}

/* A fence that is not proved is no leave to take the DIMM out. */
static void test_stuck(void **state)
{
	WorldEnd e;

	world->hold_proof = true;
	m->config.proof_timeout_usec = 200 * USEC_PER_MSEC;
	e = evict_device("nmem0");
	assert_string_equal(e.error, PML_ERROR_NOT_SAFE);
	assert_non_null(strstr(e.message, "dax0.0 is stuck"));
	assert_false(world->disabled[0]);

	world->hold_proof = false;
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	assert_string_equal(evict_device("nmem0").result, "done");
	assert_true(world->disabled[0]);
}

/* What is to be done is on the disk before, and is not done where it cannot be written. */
static void test_recorded_before(void **state)
{
	assert_int_equal(op_evict_start(m, region(), "evict", 0, true, _PML_AFTER_FENCE_INVALID, 0,
				 &job, &err),
		0);
	assert_string_equal(finish(job->id).result, "done");
	UNTIL(!region()->job);
	world->ledger_error = EIO;
	assert_string_equal(evict_device("nmem0").result, "failed");
	assert_true(!world->disabled[0] && !world->disabled[1]);

	world->ledger_error = 0;
	assert_string_equal(evict_device("nmem0").result, "done");
	assert_int_equal(in_history("nmem0", "disabling namespace0.0, namespace0.1"), 1);
}

static void test_refused(void **state)
{
	assert_string_equal(evict_device("nmem7").error, PML_ERROR_NO_SUCH_DEVICE);
	assert_int_equal(op_evict_device_start(m, "nmem0", 60 * USEC_PER_SEC,
				 _PML_AFTER_FENCE_INVALID, &DRAIN_AS_LEASED, 0, &job, &err),
		0);
	refused(op_evict_device_start(
			m, "nmem0", 0, _PML_AFTER_FENCE_INVALID, &DRAIN_AS_LEASED, 0, NULL, &err),
		PML_ERROR_BUSY);
	UNTIL(region()->lease->record.state == PML_LEASE_DRAINING);
	/* It is the guest's time until then; what it does with it is shown, and it can be left. */
	assert_int_equal(job_cancel(job), 0);
	assert_string_equal(finish(job->id).result, "cancelled");
	UNTIL(!region()->job);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_true(world->bound && !world->disabled[0] && !world->disabled[1]);
}

/* --- it comes back --- */

static WorldEnd readmit_device(bool scrub)
{
	assert_int_equal(op_readmit_device_start(m, "nmem0", scrub, 0, &job, &err), 0);
	return finish(job->id);
}

/* Lent, with the wish to have it again; taken away with its DIMM; the machine is another by then.
 */
static void leave(void)
{
	assert_int_equal(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP,
				 PML_AFTER_FENCE_PAUSE, false, 0, &lease, &job, &err),
		0);
	op_lease_drain(job, &(DrainPolicy){PML_DRAIN_NEVER, PML_ON_REFUSAL_KEEP, USEC_PER_SEC});
	op_lease_restore(job);
	assert_string_equal(finish(job->id).result, "done");
	world_write(0);
	assert_string_equal(evict_device("nmem0").result, "done");
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	world_domain_start(0);
}

static int setup_adopted(void **state)
{
	int r = setup(state);

	UNTIL(m->libvirt_connected);
	adopt(WORLD_A);
	return r;
}

static void test_back(void **state)
{
	leave();
	/* Asked once more, when there is nothing left of the lease: that it was wanted is known. */
	assert_string_equal(evict_device("nmem0").result, "done");
	assert_string_equal(readmit_device(false).message, "");
	assert_true(world->bound && !world->disabled[0] && !world->disabled[1]);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_true(region()->lease->record.restore);
	assert_int_equal(region()->lease->record.on_refusal, PML_ON_REFUSAL_KEEP);
	assert_int_equal(region()->lease->record.grace_usec, USEC_PER_SEC);
	assert_int_equal(world->bytes, 'a');
	/* Nothing is wanted any more. */
	assert_string_equal(evict(0).result, "done");
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	world_domain_start(0);
	assert_string_equal(readmit_device(false).result, "done");
	assert_null(region()->lease);
}

/* Whoever's the bytes were, they are nobody's on another medium, and are lent when they are clean.
 */
static void test_replaced(void **state)
{
	WorldEnd e;

	leave();
	world->replaced = true;
	world->bytes = 'x';
	world->disabled[0] = world->disabled[1] = false;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!m->jobs && !m->rescan_running && strcmp(region()->id, WORLD_REGION_ANEW) == 0);
	/* Alone it would come back with its last owner's name. */
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	e = finish(job->id);
	assert_string_equal(e.error, PML_ERROR_NOT_RESTORED);
	assert_non_null(strstr(e.message, "`pmemlease readmit --device=`"));
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_false(world->bound);
	e = readmit_device(false);
	assert_string_equal(e.result, "done");
	assert_string_equal(e.error, PML_ERROR_NOT_RESTORED);
	assert_non_null(strstr(e.message, "Not leased again: dax0.0 to domain a"));
	assert_int_equal(region()->record.content, PML_CONTENT_FOREIGN);
	assert_string_equal(region()->record.owner, "");
	assert_int_equal(world->bytes, 'x');

	assert_string_equal(readmit_device(true).message, "");
	assert_int_equal(world->bytes, 0);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_string_equal(region()->record.owner, WORLD_A);
}

/* What the ledger knows does not hang on the wish to be told: a DIMM that is empty is said to be.
 */
static void test_emptied(void **state)
{
	WorldEnd e;

	leave();
	world->emptied = true;
	e = readmit_device(true);
	assert_string_equal(e.error, PML_ERROR_NOT_RESTORED);
	assert_non_null(strstr(e.message, "there is no devdax namespace of"));
	assert_non_null(strstr(e.message, "there is no fsdax namespace of"));
	assert_null(region()->lease);
	/* Made meanwhile. */
	world->emptied = false;
	assert_string_equal(readmit_device(false).message, "");
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
}

/* Switched off and on: what comes back is bound by the kernel, and was nobody's intrusion. */
static void test_bound_by_the_kernel(void **state)
{
	lend("a");
	assert_string_equal(evict_device("nmem0").result, "done");
	age_lease();
	stop();
	world_domain_stop(0);
	world->missing = true;
	start();
	UNTIL(m->libvirt_connected && !m->jobs);
	assert_non_null(region()->lease);
	world->missing = false;
	world->bound = true;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!region()->lease && !m->jobs && !m->rescan_running);
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(!m->jobs && !m->rescan_running);
	assert_int_equal(region()->record.use, PML_USE_EVICTED);
	assert_false(world->bound);
	assert_string_equal(readmit_device(false).message, "");
	assert_true(world->bound);
}

/* The machine is not there: the rest is back, and it can be asked for again. */
static void test_nobody_there(void **state)
{
	leave();
	world_domain_stop(0);
	assert_non_null(strstr(readmit_device(false).message, "Not leased again"));
	assert_true(world->bound);
	assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);
	world_domain_start(0);
	assert_string_equal(readmit_device(false).message, "");
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_safe, setup_lent, teardown),
		cmocka_unit_test_setup_teardown(test_mounted, setup_lent, teardown),
		cmocka_unit_test_setup_teardown(test_stuck, setup_lent, teardown),
		cmocka_unit_test_setup_teardown(test_recorded_before, setup_lent, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup_lent, teardown),
		cmocka_unit_test_setup_teardown(test_back, setup_adopted, teardown),
		cmocka_unit_test_setup_teardown(test_replaced, setup_adopted, teardown),
		cmocka_unit_test_setup_teardown(test_emptied, setup_adopted, teardown),
		cmocka_unit_test_setup_teardown(test_bound_by_the_kernel, setup_adopted, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_there, setup_adopted, teardown),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The interface of a kernel that can revoke, as files. */

#include "dax-fixture.h"

static int setup_patched(void **state)
{
	int r = setup(state);

	revoke_ability = true;
	state_after_revoke = "revoked\n";
	put(MODULE "/parameters/revoke_timeout_ms", "5000\n");
	put_binding();
	return r;
}

static PmlRevocation now(void)
{
	PmlRevocation v = {.state = _PML_REVOKE_STATE_INVALID};

	assert_int_equal(pml_dax_ops.revocation(&fx.roots, fx.region, &v), 0);
	return v;
}

static int revoke_it(PmlRevocation *ret)
{
	*ret = (PmlRevocation){.state = _PML_REVOKE_STATE_INVALID};
	return pml_dax_ops.revoke(&fx.roots, fx.region, 50 * USEC_PER_MSEC, ret);
}

static void test_unable(void **state)
{
	PmlRevocation v;

	drop(MODULE "/parameters/revoke_timeout_ms");
	assert_int_equal(pml_dax_ops.revocation(&fx.roots, fx.region, &v), -EOPNOTSUPP);
	assert_int_equal(revoke_it(&v), -EOPNOTSUPP);
	assert_int_equal(n_writes, 0);
}

static void test_another_driver(void **state)
{
	PmlRevocation v;

	set_driver("kmem");
	assert_int_equal(pml_dax_ops.revocation(&fx.roots, fx.region, &v), -EOPNOTSUPP);
	assert_int_equal(revoke_it(&v), -EOPNOTSUPP);
}

static void test_another_device(void **state)
{
	PmlRevocation v;

	put(DEVICE "/dev", "1:5\n");
	assert_int_equal(revoke_it(&v), -ESTALE);
	assert_int_equal(n_writes, 0);
	drop(DEVICE "/dev");
	assert_int_equal(revoke_it(&v), -ENODEV);
	assert_int_equal(n_writes, 0);
}

static void test_revoke(void **state)
{
	PmlRevocation v = now();

	assert_int_equal(v.state, PML_REVOKE_LIVE);
	assert_int_equal(v.generation, generation);
	assert_int_equal(revoke_it(&v), 0);
	assert_int_equal(v.state, PML_REVOKE_REVOKED);
	assert_int_equal(v.generation, generation);
	assert_int_equal(v.held, 0);
	assert_int_equal(now().state, PML_REVOKE_REVOKED);
}

static void test_held(void **state)
{
	PmlRevocation v;

	state_after_revoke = "held\n";
	put(DEVICE "/revoke_held", "7\n");
	assert_int_equal(revoke_it(&v), 0);
	assert_int_equal(v.state, PML_REVOKE_HELD);
	assert_int_equal(v.held, 7);
	/* It went and was not counted again yet: held all the same. */
	put(DEVICE "/revoke_held", "0\n");
	assert_int_equal(now().held, 1);
}

static void test_not_in_time(void **state)
{
	PmlRevocation v;

	state_after_revoke = "revoking\n";
	assert_int_equal(revoke_it(&v), -ETIMEDOUT);
	assert_int_equal(v.state, PML_REVOKE_REVOKING);
}

static void test_unknown_state(void **state)
{
	PmlRevocation v;

	state_after_revoke = "perhaps\n";
	assert_int_equal(revoke_it(&v), -EBADMSG);
	put(DEVICE "/revoke_state", "unbound\n");
	assert_int_equal(pml_dax_ops.revocation(&fx.roots, fx.region, &v), -EBADMSG);
}

static void test_unbound(void **state)
{
	PmlRevocation v;

	assert_int_equal(pml_dax_ops.unbind(&fx.roots, fx.region), 0);
	v = now();
	assert_int_equal(v.state, PML_REVOKE_UNBOUND);
	assert_int_equal(v.generation, 0);
	assert_int_equal(v.held, 0);
	assert_int_equal(revoke_it(&v), 0);
	assert_int_equal(v.state, PML_REVOKE_UNBOUND);
	put(DEVICE "/quarantined", "1\n");
	assert_int_equal(now().held, 1);
}

/* Somebody bound it again between the look and the write. */
static void test_other_generation(void **state)
{
	PmlRevocation v;

	generation++;
	assert_int_equal(revoke_it(&v), -EAGAIN);
	assert_int_equal(now().state, PML_REVOKE_LIVE);
}

/* Nobody can open what was revoked: binding begins another binding. */
static void test_bind_after_revoke(void **state)
{
	int before = generation;
	PmlRevocation v;

	assert_int_equal(pml_dax_ops.bind(&fx.roots, fx.region), 0);
	assert_int_equal(generation, before);
	assert_int_equal(revoke_it(&v), 0);
	assert_int_equal(pml_dax_ops.bind(&fx.roots, fx.region), 0);
	assert_int_equal(generation, before + 1);
	assert_int_equal(now().state, PML_REVOKE_LIVE);
}

/* With the patches, the core's module holds the device's own reference. */
static void test_references(void **state)
{
	uint64_t refs, per_file;

	put(MODULE "/refcnt", "3\n");
	put(MODULE "/holders/.keep", "");
	assert_int_equal(pml_dax_ops.module_refs(&fx.roots, &refs, &per_file), 0);
	assert_int_equal(refs, 3);
	assert_int_equal(per_file, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unable, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_another_driver, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_another_device, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_revoke, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_held, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_not_in_time, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_state, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_unbound, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_other_generation, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_bind_after_revoke, setup_patched, teardown),
		cmocka_unit_test_setup_teardown(test_references, setup_patched, teardown),
	};

	return cmocka_run_group_tests_name("dax-revoke", tests, NULL, NULL);
}

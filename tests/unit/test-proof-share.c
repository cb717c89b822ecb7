/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Proofs that are made at the same time share their passes, and none gets one that is too old. */

#include "proof-fixture.h"

#define N_THREADS 16
#define N_ROUNDS  25U

typedef struct Prover {
	pthread_t thread;
	uint64_t first, last; /* numbers of the passes it was given */
	unsigned n_missed;
} Prover;

static bool is_full(const ProofHooks *h, dev_t rdev)
{
	return rdev == DEV_REGION;
}

static bool pass_has(const ProofPass *pass, int fd)
{
	for (size_t i = 0; i < pass->n_files; i++)
		if (pass->files[i].pid == getpid() && pass->files[i].fd == fd)
			return true;
	return false;
}

/* What is open before the question is in the answer, and what is closed is not. */
static void *prove_often(void *userdata)
{
	Prover *p = userdata;

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		int fd = open("/dev/full", O_PATH | O_CLOEXEC);
		ProofPass *pass = NULL;
		int r = proof_scan_shared(
			&hooks, pml_now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC, &pass);

		if (fd < 0 || r < 0 || !pass_has(pass, fd))
			p->n_missed++;
		if (r == 0 && p->first == 0)
			p->first = pass->number;
		if (r == 0)
			p->last = pass->number;
		proof_pass_unref(pass);
		close(fd);
	}
	return NULL;
}

static void test_shared_and_never_too_old(void **state)
{
	Prover provers[N_THREADS] = {0};
	uint64_t first = UINT64_MAX, last = 0;

	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(
			pthread_create(&provers[i].thread, NULL, prove_often, &provers[i]), 0);
	for (size_t i = 0; i < N_THREADS; i++) {
		pthread_join(provers[i].thread, NULL);
		assert_int_equal(provers[i].n_missed, 0);
		first = provers[i].first < first ? provers[i].first : first;
		last = provers[i].last > last ? provers[i].last : last;
	}
	/* As many as there were questions would be no sharing at all. */
	assert_true(last - first < (uint64_t)N_THREADS * N_ROUNDS / 2);
}

static void test_each_has_its_own_deadline(void **state)
{
	ProofPass *pass = NULL;

	assert_int_equal(proof_scan_shared(&hooks, pml_now_usec(CLOCK_MONOTONIC), &pass), 0);
	assert_true(pass->overtaken);
	proof_pass_unref(pass);
	/* Nobody is given what was cut off. */
	assert_int_equal(
		proof_scan_shared(&hooks, pml_now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC, &pass),
		0);
	assert_false(pass->overtaken);
	proof_pass_unref(pass);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_and_never_too_old),
		cmocka_unit_test(test_each_has_its_own_deadline),
	};

	own_session();
	hooks.is_dax = is_full;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

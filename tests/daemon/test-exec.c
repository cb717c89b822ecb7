/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <cmocka.h>

#include "exec.h"
#include "util.h"

typedef struct Task {
	sem_t *gate; /* waited for in run, or NULL */
	atomic_int *order;
	int ran_as; /* what *order was */
	pthread_t thread;
	bool done;
	int result;
} Task;

static int run_task(void *data)
{
	Task *t = data;

	t->thread = pthread_self();
	if (t->gate)
		sem_wait(t->gate);
	if (t->order)
		t->ran_as = atomic_fetch_add(t->order, 1);
	return 42;
}

static void task_done(void *data, int r)
{
	Task *t = data;

	t->done = true;
	t->result = r;
}

static void wait_for(sd_event *event, const bool *flag)
{
	while (!*flag)
		if (sd_event_run(event, 10 * USEC_PER_SEC) <= 0)
			fail_msg("Nothing came back.");
}

typedef struct Fixture {
	sd_event *event;
	Executors *x;
} Fixture;

static int setup(void **state)
{
	static Fixture f;

	assert_true(sd_event_new(&f.event) >= 0);
	assert_int_equal(executors_new(f.event, &f.x), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	Fixture *f = *state;

	executors_free(f->x);
	sd_event_unref(f->event);
	return 0;
}

static void test_result_comes_back_on_the_loop(void **state)
{
	Fixture *f = *state;
	Task t = {};

	for (int where = 0; where < _EXEC_MAX; where++) {
		t = (Task){};
		assert_int_equal(
			exec_submit(f->x, (ExecWhere)where, NULL, run_task, task_done, &t), 0);
		wait_for(f->event, &t.done);
		assert_int_equal(t.result, 42);
		assert_false(pthread_equal(t.thread, pthread_self()));
	}
}

static void test_one_key_is_in_order(void **state)
{
	Fixture *f = *state;
	atomic_int order = 0;
	Task t[20] = {}, other = {.order = NULL};
	sem_t gate;

	sem_init(&gate, 0, 0);
	for (size_t i = 0; i < ELEMENTSOF(t); i++) {
		t[i].order = &order;
		t[i].gate = i == 0 ? &gate : NULL;
		assert_int_equal(
			exec_submit(f->x, EXEC_VIRT, "domain-a", run_task, task_done, &t[i]), 0);
	}
	/* Another domain does not wait for this one. */
	assert_int_equal(exec_submit(f->x, EXEC_VIRT, "domain-b", run_task, task_done, &other), 0);
	wait_for(f->event, &other.done);
	assert_int_equal(atomic_load(&order), 0);
	sem_post(&gate);
	wait_for(f->event, &t[ELEMENTSOF(t) - 1].done);
	for (size_t i = 0; i < ELEMENTSOF(t); i++)
		assert_int_equal(t[i].ran_as, i);
	sem_destroy(&gate);
}

/* A fence or a destroy begins whatever hangs, also in its own executor. */
static void test_fence_and_urgent_never_queue(void **state)
{
	static const ExecWhere wheres[] = {EXEC_FENCE, EXEC_URGENT};
	Fixture *f = *state;

	for (size_t w = 0; w < ELEMENTSOF(wheres); w++) {
		Task hung[60] = {}, late = {};
		sem_t gate;

		sem_init(&gate, 0, 0);
		for (size_t i = 0; i < ELEMENTSOF(hung); i++) {
			hung[i].gate = &gate;
			assert_int_equal(
				exec_submit(f->x, wheres[w], NULL, run_task, task_done, &hung[i]),
				0);
		}
		assert_int_equal(exec_submit(f->x, wheres[w], NULL, run_task, task_done, &late), 0);
		wait_for(f->event, &late.done);
		for (size_t i = 0; i < ELEMENTSOF(hung); i++) {
			assert_false(hung[i].done);
			sem_post(&gate);
		}
		for (size_t i = 0; i < ELEMENTSOF(hung); i++)
			wait_for(f->event, &hung[i].done);
		sem_destroy(&gate);
	}
}

static void test_ledger_is_one_thread(void **state)
{
	Fixture *f = *state;
	atomic_int order = 0;
	Task t[10] = {};

	for (size_t i = 0; i < ELEMENTSOF(t); i++) {
		t[i].order = &order;
		assert_int_equal(
			exec_submit(f->x, EXEC_LEDGER, NULL, run_task, task_done, &t[i]), 0);
	}
	wait_for(f->event, &t[9].done);
	for (size_t i = 0; i < ELEMENTSOF(t); i++) {
		assert_int_equal(t[i].ran_as, i);
		assert_true(pthread_equal(t[i].thread, t[0].thread));
	}
}

static void test_free_waits_for_the_ledger_alone(void **state)
{
	static Task ledger[5], hung;
	static atomic_int order;
	static sem_t gate;
	Executors *x;
	sd_event *event;

	/* Static: what hangs outlives the test. */
	sem_init(&gate, 0, 0);
	hung.gate = &gate;
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(executors_new(event, &x), 0);
	assert_int_equal(exec_submit(x, EXEC_WORK, NULL, run_task, task_done, &hung), 0);
	for (size_t i = 0; i < ELEMENTSOF(ledger); i++) {
		ledger[i].order = &order;
		assert_int_equal(
			exec_submit(x, EXEC_LEDGER, NULL, run_task, task_done, &ledger[i]), 0);
	}
	assert_null(executors_free(x));
	assert_int_equal(atomic_load(&order), ELEMENTSOF(ledger));
	assert_false(hung.done);
	sem_post(&gate);
	sd_event_unref(event);
}

static void posted(void *data)
{
	*(bool *)data = true;
}

static void *poster(void *data)
{
	void **args = data;

	assert_int_equal(exec_post(args[0], posted, args[1]), 0);
	return NULL;
}

static void test_post_from_any_thread(void **state)
{
	Fixture *f = *state;
	bool flag = false;
	void *args[] = {f->x, &flag};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, poster, args), 0);
	pthread_join(thread, NULL);
	assert_false(flag);
	wait_for(f->event, &flag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_result_comes_back_on_the_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_key_is_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fence_and_urgent_never_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ledger_is_one_thread, setup, teardown),
		cmocka_unit_test(test_free_waits_for_the_ledger_alone),
		cmocka_unit_test_setup_teardown(test_post_from_any_thread, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

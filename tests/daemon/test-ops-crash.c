/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The daemon is killed before and after every step of every kind of job (the steps are those that
 * it lists itself), and started again on what is left. The host and its machines live on meanwhile,
 * as they do in life.
 */

#include <signal.h>
#include <sys/wait.h>

#include "log.h"
#include "ops-internal.h"
#include "ops-world.h"
#include "util.h"

static sd_event *event;
static Manager *m;
static char dir[64];
static Job *job;
static Lease *lease;
static OpError err;

/* In a child: cmocka's assertions would jump back into the parent's stack. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "# line %d: not %s\n", __LINE__, #condition);        \
			_exit(3);                                                                  \
		}                                                                                  \
	} while (0)

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = pml_now_usec(CLOCK_MONOTONIC) + 20 * USEC_PER_SEC;                 \
		while (!(condition)) {                                                             \
			CHECK(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);                       \
			if (pml_now_usec(CLOCK_MONOTONIC) > end_) {                                \
				(void)fprintf(                                                     \
					stderr, "# line %d: never %s\n", __LINE__, #condition);    \
				_exit(3);                                                          \
			}                                                                          \
		}                                                                                  \
	} while (0)

static void start(void)
{
	CHECK(sd_event_new(&event) == 0);
	CHECK(world_manager_new(event, dir, &m) == 0);
}

static Region *region(void)
{
	Region *r;

	CHECK(manager_find_region(m, WORLD_REGION, &r) == 0);
	return r;
}

static WorldEnd finish(uint64_t id)
{
	WorldEnd e;

	UNTIL(world_job_result(id, &e));
	return e;
}

static bool quiet(void)
{
	return !m->jobs && !m->rescan_running;
}

/* Nothing is done any more, and nothing begins within a moment. */
static void settle(void)
{
	for (int i = 0; i < 5; i++) {
		UNTIL(quiet());
		CHECK(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
		if (!quiet())
			i = 0;
	}
}

static void lend(const char *domain)
{
	WorldEnd e;

	UNTIL(m->libvirt_connected && region()->presence == PML_PRESENCE_ONLINE);
	settle();
	CHECK(op_lease_start(m, region(), domain, NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE, 0,
		      &lease, &job, &err) == 0);
	e = finish(job->id);
	if (!pml_streq(e.result, "done"))
		(void)fprintf(stderr, "# %s\n", e.message);
	CHECK(pml_streq(e.result, "done"));
	world_write(pml_streq(domain, "a") ? 0 : 1);
}

static void scrub(const char *owner)
{
	settle();
	CHECK(op_scrub_start(m, region(), owner, 0, &job, &err) == 0);
	CHECK(pml_streq(finish(job->id).result, "done"));
}

static uint64_t take_back(const char *kind, uint64_t deadline_usec)
{
	settle();
	CHECK(op_evict_start(m, region(), kind, deadline_usec, false, _PML_AFTER_FENCE_INVALID, 0,
		      &job, &err) == 0);
	return job->id;
}

static void until_free(void)
{
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE && quiet());
}

/* Everything that the daemon does, once. */
static void scenario(void)
{
	start();
	UNTIL(m->libvirt_connected);
	scrub("");
	lend("a");
	settle();
	m = manager_free(m);
	event = sd_event_unref(event);
	start();
	settle();
	(void)take_back("evict", 60 * USEC_PER_SEC);
	UNTIL(job->waiting && region()->lease->record.state == PML_LEASE_DRAINING);
	CHECK(job_cancel(job) == 0);
	UNTIL(region()->lease->record.state == PML_LEASE_ACTIVE && quiet());
	(void)finish(take_back("evict", 50 * USEC_PER_MSEC));
	world_domain_stop(0);
	until_free();
	world_domain_start(0);
	lend("a");
	(void)finish(take_back("release", 50 * USEC_PER_MSEC));
	world_domain_stop(0);
	until_free();
	(void)finish(take_back("evict", 0));
	settle();
	CHECK(op_readmit_start(m, region(), 0, &job, &err) == 0);
	(void)finish(job->id);
	scrub(WORLD_A);
	lend("b");
}

static void check_invariants(void)
{
	const Region *r = region();
	const PmlExtentRecord *rec = &r->record;
	const Lease *l;
	unsigned n = 0;

	CHECK(world->violations == 0);
	LIST_FOREACH (l, &m->leases, leases)
		if (!l->gone)
			n++;
	CHECK(n <= 1);
	if (world->bytes == 'a')
		CHECK((rec->content == PML_CONTENT_RETAINED ||
			      rec->content == PML_CONTENT_SCRUBBING) &&
			pml_streq(rec->owner, WORLD_A));
	for (int i = 0; i < 2; i++) {
		if (!world_holds(i))
			continue;
		CHECK(r->lease && pml_streq(r->lease->record.domain, world->domains[i].uuid));
		CHECK(rec->use != PML_USE_FREE);
		CHECK(!world->bound || r->lease->record.state == PML_LEASE_ACTIVE);
	}
	if (r->lease && r->lease->record.state == PML_LEASE_ACTIVE)
		CHECK(world->bound && (world_holds(0) || world_holds(1)));
}

/* Whatever was left, the region can be had again, and another tenant finds nothing of the first. */
static void finish_all(void)
{
	if (region()->lease && region()->lease->record.state == PML_LEASE_ACTIVE)
		(void)finish(take_back("evict", 0));
	check_invariants();
	world_domain_stop(0);
	world_domain_stop(1);
	UNTIL(!region()->lease);
	settle();
	if (region()->record.use == PML_USE_EVICTED) {
		CHECK(op_readmit_start(m, region(), 0, &job, &err) == 0);
		CHECK(pml_streq(finish(job->id).result, "done"));
	}
	CHECK(region()->record.use == PML_USE_FREE && world->bound);
	UNTIL(region()->presence == PML_PRESENCE_ONLINE);
	check_invariants();
	if (region()->record.content != PML_CONTENT_BLANK)
		scrub(region()->record.owner);
	CHECK(world->bytes == 0);
	world_domain_start(1);
	lend("b");
	CHECK(world->violations == 0);
}

static void restart(void)
{
	start();
	UNTIL(m->libvirt_connected);
	settle();
	if (region()->lease && region()->lease->record.state == PML_LEASE_DRAINING)
		CHECK(region()->job);
	check_invariants();
	finish_all();
}

/* A wait of 60 s that survived the crash is an eviction that goes on: hurry it. */
static void restart_draining(void)
{
	start();
	UNTIL(m->libvirt_connected);
	for (int i = 0; i < 20; i++)
		CHECK(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	if (region()->lease && region()->lease->record.state == PML_LEASE_DRAINING) {
		CHECK(op_evict_start(m, region(), "evict", 0, false, _PML_AFTER_FENCE_INVALID, 0,
			      &job, &err) == 0);
		(void)finish(job->id);
	}
	settle();
	check_invariants();
	finish_all();
}

/* 1: killed at its point; 0: ended by itself; -1: a check failed. */
static int in_child(const char *crash_at, void (*fn)(void))
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)alarm(120);
		if (crash_at)
			(void)setenv(PML_ENV_CRASH_AT, crash_at, 1);
		if (!getenv("WORLD_DEBUG")) {
			/* The checks' own lines begin with "#". */
			log_setup(false);
		}
		fn();
		_exit(0);
	}
	(void)waitpid(pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return 1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static unsigned n_tests, n_failed;

static void report(bool ok, const char *name, const char *note)
{
	(void)printf("%s %u - %s%s\n", ok ? "ok" : "not ok", ++n_tests, name, note);
	(void)fflush(stdout);
	n_failed += !ok;
}

static void begin(void)
{
	world_reset();
	(void)snprintf(dir, sizeof(dir), "/tmp/pmemlease-crash-XXXXXX");
	if (!mkdtemp(dir))
		abort();
}

static void end(void)
{
	char command[128];

	world_end();
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		abort();
}

/* first: what brings about the state in which `at` is reached at the next start; NULL: the scenario
 * reaches it. */
static void crash(const char *first, const char *at)
{
	int r = 1;
	bool ok;

	begin();
	if (first)
		r = in_child(first, scenario);
	ok = r == 1;
	if (ok)
		r = in_child(at, first ? restart : scenario);
	ok = ok && r >= 0;
	if (r == 1)
		ok = in_child(NULL, restart_draining) == 0;
	report(ok, at, r == 0 ? " # SKIP not reached" : "");
	end();
}

int main(int argc, char **argv)
{
	world_media_helper(argc, argv);
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", 1);
	world_new();
	for (const JobKind *const *k = job_kinds; *k; k++)
		for (size_t i = 0; i < (*k)->n_steps; i++)
			for (int after = 0; after < 2; after++) {
				const char *step = (*k)->steps[i].name, *first = NULL;
				char at[128];

				(void)snprintf(at, sizeof(at), "%s/%s/%s", (*k)->name, step,
					after ? "after" : "before");
				if (argc > 1 && !strstr(at, argv[1]))
					continue;
				if (*k == &op_recover_kind)
					first = pml_streq(step, "undo") ? "lease/reserve/after"
									: "lease/attach/after";
				crash(first, at);
			}
	(void)printf("1..%u\n", n_tests);
	return n_failed ? 1 : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests share in which the daemon ends at a bad moment: each of its lives is a process,
 * the host and its machines live on. */

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

static _unused_ void start(void)
{
	CHECK(sd_event_new(&event) == 0);
	CHECK(world_manager_new(event, dir, &m) == 0);
}

static _unused_ Region *region(void)
{
	Region *r;

	CHECK(manager_find_region(m, WORLD_REGION, &r) == 0);
	return r;
}

static _unused_ WorldEnd finish(uint64_t id)
{
	WorldEnd e;

	UNTIL(world_job_result(id, &e));
	return e;
}

static _unused_ bool quiet(void)
{
	return !m->jobs && !m->rescan_running;
}

/* Nothing is done any more, and nothing begins within a moment. */
static _unused_ void settle(void)
{
	for (int i = 0; i < 5; i++) {
		UNTIL(quiet());
		CHECK(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
		if (!quiet())
			i = 0;
	}
}

static _unused_ void lend(const char *domain)
{
	WorldEnd e;

	UNTIL(m->libvirt_connected && region()->presence == PML_PRESENCE_ONLINE);
	settle();
	CHECK(op_lease_start(m, region(), domain, NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE,
		      false, 0, &lease, &job, &err) == 0);
	e = finish(job->id);
	if (!pml_streq(e.result, "done"))
		(void)fprintf(stderr, "# %s\n", e.message);
	CHECK(pml_streq(e.result, "done"));
	world_write(pml_streq(domain, "a") ? 0 : 1);
}

static _unused_ void scrub(const char *owner)
{
	settle();
	CHECK(op_scrub_start(m, region(), owner, 0, &job, &err) == 0);
	CHECK(pml_streq(finish(job->id).result, "done"));
}

static _unused_ uint64_t take_back_now(const char *how, uint64_t deadline_usec, bool keep_offline)
{
	CHECK(op_evict_start(m, region(), how, deadline_usec, keep_offline,
		      _PML_AFTER_FENCE_INVALID, 0, &job, &err) == 0);
	return job->id;
}

static _unused_ uint64_t take_back(const char *how, uint64_t deadline_usec)
{
	settle();
	return take_back_now(how, deadline_usec, false);
}

static _unused_ void readmit(void)
{
	CHECK(op_readmit_start(m, region(), 0, &job, &err) == 0);
	CHECK(pml_streq(finish(job->id).result, "done"));
}

static _unused_ void until_free(void)
{
	UNTIL(!region()->lease && region()->record.use == PML_USE_FREE && quiet());
}

/* Bound, as whatever it is. */
static _unused_ bool served(void)
{
	return world->bound || world->kmem;
}

/* --- what must be so after a crash --- */

static _unused_ void check_invariants(void)
{
	const Region *r = region();
	const RegionRecord *rec = &r->record;
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
		CHECK(!served() || r->lease->record.state == PML_LEASE_ACTIVE);
	}
	if (r->lease && r->lease->record.state == PML_LEASE_ACTIVE)
		CHECK(served() && (world_holds(0) || world_holds(1)));
}

/* Whatever was left, the region can be had again, and another tenant finds nothing of the first. */
static _unused_ void finish_all(void)
{
	if (region()->lease && region()->lease->record.state == PML_LEASE_ACTIVE)
		(void)finish(take_back("evict", world->ram ? 60 * USEC_PER_SEC : 0));
	check_invariants();
	world_domain_stop(0);
	world_domain_stop(1);
	UNTIL(!region()->lease);
	settle();
	if (region()->record.use == PML_USE_EVICTED)
		readmit();
	CHECK(region()->record.use == PML_USE_FREE && served());
	UNTIL(region()->presence == PML_PRESENCE_ONLINE);
	check_invariants();
	if (region()->record.content != PML_CONTENT_BLANK)
		scrub(region()->record.owner);
	CHECK(world->bytes == 0);
	world_domain_start(1);
	lend("b");
	CHECK(world->violations == 0);
}

/* 1: killed at its point; 0: ended by itself; -1: a check failed. */
static _unused_ int in_child(const char *crash_at, void (*fn)(void))
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

static _unused_ void report(bool ok, const char *at, const char *way)
{
	(void)printf("%s %u - %s, %s\n", ok ? "ok" : "not ok", ++n_tests, at, way);
	(void)fflush(stdout);
	n_failed += !ok;
}

static _unused_ void begin(void)
{
	world_reset();
	/* Where syncing costs nothing: what is lost by a power cut is another test's. */
	(void)snprintf(dir, sizeof(dir), "%s/pmemlease-crash-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir))
		abort();
}

static _unused_ void end(void)
{
	char command[128];

	world_end();
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		abort();
}

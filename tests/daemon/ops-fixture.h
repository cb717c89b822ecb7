/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of the operations share: a daemon in this process, and what is done to it over and
 * over. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "behind.h"
#include "bus.h"
#include "change.h"
#include "log.h"
#include "ops-internal.h"
#include "ops-world.h"
#include "util.h"

static sd_event *event;
static Manager *m;
static char dir[64];

static _unused_ void start(void)
{
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(world_manager_new(event, dir, &m), 0);
}

static _unused_ void stop(void)
{
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + USEC_PER_SEC;

	/* What runs in a thread when the daemon ends is left to the process's end, which ASan would
	 * call a leak. */
	while ((m->jobs || m->rescan_running || m->n_applies > 0 || m->background) &&
		pml_now_usec(CLOCK_MONOTONIC) < end)
		(void)sd_event_run(event, 10 * USEC_PER_MSEC);
	m = manager_free(m);
	event = sd_event_unref(event);
}

static _unused_ int setup(void **state)
{
	world_reset();
	(void)unsetenv("WORLD_MEDIA");
	(void)snprintf(dir, sizeof(dir), "/tmp/pmemlease-ops-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	start();
	return 0;
}

static _unused_ int teardown(void **state)
{
	char command[128];

	world->hang_lookup = world->hang_attach = world->hang_pause = false;
	world->hang_proof = world->ledger_hangs = false;
	world->agent = WORLD_AGENT_NONE;
	assert_int_equal(world->violations, 0);
	if (m)
		stop();
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static _unused_ Region *region(void)
{
	Region *r;

	if (manager_find_region(m, WORLD_REGION, &r) != 0)
		assert_int_equal(manager_find_region(m, WORLD_REGION_ANEW, &r), 0);
	return r;
}

/* Turns the loop until the condition holds; fails after 10 s. */
#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = pml_now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;                 \
		while (!(condition)) {                                                             \
			assert_true(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);                 \
			if (pml_now_usec(CLOCK_MONOTONIC) > end_)                                  \
				fail_msg("never: %s", #condition);                                 \
		}                                                                                  \
	} while (0)

static _unused_ WorldEnd finish(uint64_t id)
{
	WorldEnd e;

	UNTIL(world_job_result(id, &e));
	return e;
}

static _unused_ Job *job;
static _unused_ Lease *lease;
static _unused_ OpError err;

static _unused_ int try_lease(const char *domain, const char *owner)
{
	return op_lease_start(m, region(), domain, owner, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE,
		false, 0, &lease, &job, &err);
}

static _unused_ void adopt(const char *owner)
{
	PmlTxn *txn = pml_txn_new("test");

	assert_int_equal(pml_txn_content_step(
				 txn, WORLD_REGION, &region()->extent, PML_CONTENT_EV_ADOPT, owner),
		0);
	assert_int_equal(manager_apply(m, txn, NULL, NULL), 0);
	UNTIL(region()->record.content == PML_CONTENT_RETAINED);
}

static _unused_ void scrub(const char *owner)
{
	WorldEnd e;

	assert_int_equal(op_scrub_start(m, region(), owner, 0, &job, &err), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_int_equal(region()->record.content, PML_CONTENT_BLANK);
	assert_int_equal(world->bytes, 0);
}

static _unused_ void change_lease(const PmlLeaseRecord *rec)
{
	PmlTxn *txn = pml_txn_new("test");

	assert_int_equal(pml_txn_lease_update(txn, rec), 0);
	assert_int_equal(manager_apply(m, txn, NULL, NULL), 0);
	UNTIL(strcmp(region()->lease->record.boot_id, rec->boot_id) == 0 &&
		region()->lease->record.devno == rec->devno);
}

/* As if the lease were of the boot before. */
static _unused_ void age_lease(void)
{
	PmlLeaseRecord rec = region()->lease->record;

	(void)PML_STRCPY(rec.boot_id, "99999999-0000-0000-0000-000000000000");
	change_lease(&rec);
}

static _unused_ void lend(const char *domain)
{
	WorldEnd e;

	UNTIL(m->libvirt_connected);
	assert_int_equal(try_lease(domain, NULL), 0);
	e = finish(job->id);
	assert_string_equal(e.message, "");
	assert_string_equal(e.result, "done");
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
}

static _unused_ int try_evict(uint64_t deadline_usec, bool keep_offline)
{
	return op_evict_start(m, region(), "evict", deadline_usec, keep_offline,
		_PML_AFTER_FENCE_INVALID, 0, &job, &err);
}

static _unused_ WorldEnd evict(uint64_t deadline_usec)
{
	assert_int_equal(try_evict(deadline_usec, false), 0);
	return finish(job->id);
}

static _unused_ void refused(int r, const char *error)
{
	assert_int_equal(r, 1);
	assert_string_equal(err.error, error);
	assert_true(strlen(err.message) > 20);
}

/* How many rows about it have such a detail. */
static _unused_ unsigned in_history(const char *id, const char *detail)
{
	PmlHistoryRecord *rows;
	unsigned found = 0;
	size_t n;

	UNTIL(m->n_applies == 0);
	assert_int_equal(pml_ledger_history(m->ledger, id, 0, 100, &rows, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (rows[i].detail && strstr(rows[i].detail, detail))
			found++;
	pml_history_free(rows, n);
	return found;
}

/* argv[1]: a filter of names. */
static _unused_ int ops_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
	int failed;

	world_media_helper(argc, argv);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", 1);
	log_setup(getenv("WORLD_DEBUG") != NULL);
	world_new();
	failed = _cmocka_run_group_tests(basename(argv[0]), tests, n, NULL, NULL);
	world_end();
	return failed;
}

/* A handler as the bus calls it, with nobody at the other end: what it returns. */
static _unused_ int handle(
	BusHandler handler, const char *path, sd_bus_error *error, const char *types, ...)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	_cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
	int fds[2], result;
	va_list ap;

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(sd_bus_new(&bus), 0);
	assert_true(sd_bus_set_fd(bus, fds[0], fds[0]) >= 0 && sd_bus_start(bus) >= 0);
	assert_true(sd_bus_message_new_method_call(
			    bus, &message, NULL, path, "org.example.Test", "Test") >= 0);
	va_start(ap, types);
	assert_true(sd_bus_message_appendv(message, types, ap) >= 0);
	va_end(ap);
	assert_true(sd_bus_message_seal(message, 1, 0) >= 0);
	result = handler(m, message, 0, error);
	close(fds[1]);
	return result;
}

/* libvirt tells of the lease's memory. */
static _unused_ void tell_of_memory(VirtEventType type)
{
	VirtEvent ev = {.type = type};

	(void)PML_STRCPY(ev.domain, region()->lease->record.domain);
	(void)PML_STRCPY(ev.alias, region()->lease->record.alias);
	world_virt_event(&ev);
}

/* It is nobody's, and memory of the host again. */
static _unused_ void until_free(void)
{
	UNTIL(region()->record.use == PML_USE_FREE && !region()->lease && !region()->job &&
		world->kmem && region()->presence == PML_PRESENCE_ONLINE);
}

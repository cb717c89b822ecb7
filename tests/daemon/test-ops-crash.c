/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The daemon is killed before and after every step of every kind of job (the steps are those that
 * it lists itself), and started again on what is left. A step that nothing here reaches is a
 * failure. The host and its machines live on meanwhile, as they do in life.
 */

#include <sys/socket.h>

#include "bus.h"
#include "grant-xml.h"
#include "ops-lives.h"

static char kind[32]; /* of the job that is killed */

static void start_connected(void)
{
	start();
	UNTIL(m->libvirt_connected);
}

static void start_blank(void)
{
	start_connected();
	scrub("");
	settle();
}

/* Everything that the daemon does, once. */
static void scenario(void)
{
	start_connected();
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
	readmit();
	scrub(WORLD_A);
	lend("b");
}

/* --- what the scenario does not come by --- */

static void lend_first(void)
{
	start_blank();
	lend("a");
	settle();
}

/* A lease job loses its region while it is in its nth write. */
static void take_over(int nth, const char *step)
{
	const Job *lease_job;

	start_blank();
	UNTIL(region()->presence == PML_PRESENCE_ONLINE);
	world->hang_in_write = nth;
	CHECK(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE, false,
		      0, &lease, &job, &err) == 0);
	lease_job = job;
	UNTIL(world->ledger_hangs);
	CHECK(pml_streq(lease_job->kind->steps[lease_job->step].name, step));
	(void)take_back_now(kind, 0, false);
	/* What has been written by then is taken over without waiting. */
	UNTIL(job->waiting);
	world->ledger_hangs = false;
	CHECK(pml_streq(finish(job->id).result, "done"));
	until_free();
}

static void take_over_reserve(void)
{
	take_over(1, "reserve");
}

static void take_over_attaching(void)
{
	take_over(2, "attaching");
}

static bool answered;

static void on_grant(void *data, const OpError *e)
{
	CHECK(!e);
	answered = true;
}

static void ask_grant(const char *phase)
{
	answered = false;
	CHECK(op_grant(m, DOMAIN_XML("kvm", WORLD_A, "a", NVDIMM_XML("/dev/full", "65536", "")),
		      phase, on_grant, NULL) == 0);
	UNTIL(answered);
}

/* A machine that has the region from its start: its process is made when the hook has its answer.
 */
static void start_machine(void)
{
	start_connected();
	scrub("");
	world_domain_stop(0);
	settle();
	ask_grant("prepare");
	world_domain_start(0);
	world->domains[0].mapped = world->domains[0].attached = true;
	world_write(0);
	ask_grant("started");
	settle();
}

/* Through the handler that the bus calls. Nobody is at the other end of this bus. */
static void call(BusHandler handler, const char *path, const char *types, const char *text)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *message;
	int fds[2];
	sd_bus *bus;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	CHECK(sd_bus_new(&bus) == 0 && sd_bus_set_fd(bus, fds[0], fds[0]) >= 0);
	CHECK(sd_bus_start(bus) >= 0);
	CHECK(sd_bus_message_new_method_call(
		      bus, &message, NULL, path, "org.example.Test", "Test") >= 0);
	CHECK((pml_streq(types, "s") ? sd_bus_message_append(message, "s", text)
				     : sd_bus_message_append(
					       message, types, 1, "on-end", "s", text)) >= 0);
	CHECK(sd_bus_message_seal(message, 1, 0) >= 0);
	CHECK(handler(m, message, 0, &error) >= 0);
	sd_bus_message_unref(message);
	settle();
}

/* The guest lets go, and whatever comes then, its machine runs on. */
static void evict_asked(void)
{
	world->agent = WORLD_AGENT_RELEASES;
	lend_first();
	(void)finish(take_back(kind, 60 * USEC_PER_SEC));
	settle();
	CHECK(!world->domains[0].paused);
}

static void check_asked(bool after)
{
	UNTIL(!region()->lease || region()->lease->record.state == PML_LEASE_FENCED);
	settle();
	CHECK(!world->domains[0].paused && !world->bound);
}

/* It is asked, says no, and keeps its memory; or another life of the daemon asks it again. */
static void evict_refused(void)
{
	const DrainPolicy keep = {PML_DRAIN_ASK, PML_ON_REFUSAL_KEEP, PML_DEADLINE_DEFAULT};

	world->agent = WORLD_AGENT_REFUSES;
	start_blank();
	CHECK(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE, false,
		      0, &lease, &job, &err) == 0);
	op_lease_drain(job, &keep);
	CHECK(pml_streq(finish(job->id).result, "done"));
	CHECK(pml_streq(finish(take_back(kind, 60 * USEC_PER_SEC)).error, PML_ERROR_GUEST_REFUSED));
}

static void check_refused(bool after)
{
	UNTIL(region()->lease->record.state == PML_LEASE_ACTIVE);
	settle();
	CHECK(region()->record.use == PML_USE_LEASED && world->bound && world_holds(0));
}

static void lend_persistent(void)
{
	start_blank();
	CHECK(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE, false,
		      0, &lease, &job, &err) == 0);
	op_lease_persist(job);
	CHECK(pml_streq(finish(job->id).result, "done"));
	CHECK(world->domains[0].defined);
	settle();
}

/* Somebody binds what is kept offline. */
static void bind_behind_our_back(void)
{
	start_connected();
	settle();
	(void)finish(take_back_now("evict", 0, true));
	CHECK(manager_rescan(m, NULL, NULL) == 0);
	settle();
	world->bound = true;
	CHECK(manager_rescan(m, NULL, NULL) == 0);
	settle();
}

static void check_guarded(bool after)
{
	settle();
	CHECK(!world->bound);
	CHECK(region()->record.use == PML_USE_QUARANTINED ||
		region()->record.use == PML_USE_EVICTED);
	if (region()->record.use == PML_USE_QUARANTINED)
		call(region_bus_lift_quarantine, region()->path, "s", "known");
	readmit();
}

static void cancel_drain(void)
{
	lend_first();
	(void)take_back(kind, 60 * USEC_PER_SEC);
	UNTIL(job->waiting && region()->lease->record.state == PML_LEASE_DRAINING);
	CHECK(job_cancel(job) == 0);
	CHECK(pml_streq(finish(job->id).result, "cancelled"));
}

/* A cancellation that was not written down never was; one that was, is not forgotten. */
static void check_cancel(bool after)
{
	if (!after) {
		CHECK(region()->lease->record.state == PML_LEASE_DRAINING && region()->job);
		return;
	}
	settle();
	CHECK(region()->lease->record.state == PML_LEASE_ACTIVE);
	CHECK(region()->record.use == PML_USE_LEASED && world->bound && world_holds(0));
}

/* Nothing can be proved, and the machine is gone: proved again on a timer. */
static void get_stuck(void)
{
	lend_first();
	world->hold_proof = true;
	(void)finish(take_back("evict", 0));
	settle();
	world_domain_stop(0);
	CHECK(region()->lease->record.state == PML_LEASE_STUCK);
	CHECK(region()->record.use == PML_USE_QUARANTINED);
	settle();
}

static void prove_stuck(void)
{
	get_stuck();
	world->hold_proof = false;
	until_free();
}

/* The quarantine of the same bytes was lifted under another region's name (a namespace with other
 * bounds), which leaves the lease stuck in a region that is not quarantined. */
static void readmit_stuck(void)
{
	PmlTxn *txn = pml_txn_new("test");

	get_stuck();
	CHECK(pml_txn_use_step(txn, WORLD_REGION, &region()->extent, PML_USE_EV_LIFT, "known") ==
		0);
	CHECK(manager_apply(m, txn, NULL, NULL) == 0);
	CHECK(manager_rescan(m, NULL, NULL) == 0);
	UNTIL(region()->record.use == PML_USE_FREE && region()->presence == PML_PRESENCE_OFFLINE);
	settle();
	world->hold_proof = false;
	readmit();
	until_free();
}

/* Its daemon died in the attach, so that its machine was never learnt; libvirt cannot tell at first
 * what became of it. */
static void readmit_lost_attach(void)
{
	world->busy = true;
	start_connected();
	CHECK(region()->lease->record.state == PML_LEASE_ATTACHING);
	(void)finish(take_back_now("evict", 0, false));
	UNTIL(world->asked > 0);
	settle();
	CHECK(region()->lease->record.state == PML_LEASE_FENCED && !world->bound);
	world->busy = false;
	readmit();
	until_free();
}

/* Asked before the daemon has heard that the holder is gone. */
static void readmit_kept_offline(void)
{
	lend_first();
	(void)finish(take_back_now("evict", 0, true));
	settle();
	CHECK(region()->lease->record.state == PML_LEASE_FENCED);
	world_domain_stop(0);
	readmit();
	until_free();
}

/* The holder's end is known, and still nobody but an operator brings the region back. */
static void check_kept_offline(bool after)
{
	settle();
	CHECK(!region()->lease && !world->bound);
	CHECK(region()->record.use == PML_USE_EVICTED && region()->record.reason[0]);
}

static void change_policy(void)
{
	lend_first();
	call(lease_bus_set_policy, region()->lease->path, "a{sv}", "scrub");
}

static void check_policy(bool after)
{
	settle();
	CHECK(region()->lease->record.state == PML_LEASE_ACTIVE);
	CHECK(region()->lease->record.on_end == (after ? PML_ON_END_SCRUB : PML_ON_END_KEEP));
}

static void adopt(void)
{
	start_connected();
	settle();
	call(region_bus_adopt, region()->path, "s", "carol");
}

static void check_adopted(bool after)
{
	settle();
	CHECK(region()->record.content == (after ? PML_CONTENT_RETAINED : PML_CONTENT_FOREIGN));
	CHECK(pml_streq(region()->record.owner, after ? "carol" : ""));
}

static void lift(void)
{
	get_stuck();
	call(region_bus_lift_quarantine, region()->path, "s", "known");
}

/* The operator's word ends lease and quarantine, and binds nothing. */
static void check_lifted(bool after)
{
	settle();
	CHECK(!region()->lease && region()->record.use == PML_USE_FREE);
	CHECK(world->bound == !after);
	if (after)
		readmit();
}

static void restart(void)
{
	start_connected();
	settle();
	if (region()->lease && region()->lease->record.state == PML_LEASE_DRAINING)
		CHECK(region()->job);
	check_invariants();
	finish_all();
}

static void evict_device(void)
{
	lend_first();
	CHECK(op_evict_device_start(m, "nmem0", 0, _PML_AFTER_FENCE_INVALID, &DRAIN_AS_LEASED, 0,
		      &job, &err) == 0);
	CHECK(strcmp(finish(job->id).result, "done") == 0);
}

/* Taken away with its DIMM and brought back, with its lease. */
static void readmit_device(void)
{
	start_blank();
	CHECK(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE, false,
		      0, &lease, &job, &err) == 0);
	op_lease_restore(job);
	CHECK(pml_streq(finish(job->id).result, "done"));
	settle();
	CHECK(op_evict_device_start(m, "nmem0", 0, _PML_AFTER_FENCE_INVALID, &DRAIN_AS_LEASED, 0,
		      &job, &err) == 0);
	CHECK(pml_streq(finish(job->id).result, "done"));
	world_domain_stop(0);
	UNTIL(!region()->lease && !region()->job);
	world_domain_start(0);
	CHECK(op_readmit_device_start(m, "nmem0", false, 0, &job, &err) == 0);
	CHECK(pml_streq(finish(job->id).result, "done"));
	settle();
}

/* Asked again, it is all done. */
static void check_readmitted(bool after)
{
	settle();
	CHECK(op_readmit_device_start(m, "nmem0", false, 0, &job, &err) == 0);
	CHECK(pml_streq(finish(job->id).result, "done"));
	settle();
	CHECK(region()->lease && region()->lease->record.state == PML_LEASE_ACTIVE);
}

static void (*check)(bool after);
static bool killed_after;

/* A wait of 60 s that survived the crash is an eviction that goes on: hurry it. */
static void restart_draining(void)
{
	start_connected();
	for (int i = 0; i < 20; i++)
		CHECK(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
	if (check)
		check(killed_after);
	if (region()->lease && region()->lease->record.state == PML_LEASE_DRAINING)
		(void)finish(take_back_now("evict", 0, false));
	settle();
	check_invariants();
	finish_all();
}

static void ram_blank(void)
{
	world->ram = world->kmem = true;
	world->bound = false;
	world->agent = WORLD_AGENT_RELEASES;
	start();
	UNTIL(m->libvirt_connected);
	scrub("");
	UNTIL(world->kmem && region()->presence == PML_PRESENCE_ONLINE);
	settle();
}

/* Memory of the host, lent, given back by its guest, overwritten as its lease says, and memory
 * again.
 */
static void ram_scrubbed(void)
{
	ram_blank();
	CHECK(op_lease_start(m, region(), "a", NULL, PML_ON_END_SCRUB, PML_AFTER_FENCE_PAUSE, false,
		      0, &lease, &job, &err) == 0);
	CHECK(pml_streq(finish(job->id).result, "done"));
	(void)finish(take_back("evict", 60 * USEC_PER_SEC));
	UNTIL(region()->record.content == PML_CONTENT_BLANK);
	settle();
}

/* The same as a virtio-mem, which is given back in parts. */
static void ram_in_parts(void)
{
	ram_blank();
	CHECK(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE, false,
		      0, &lease, &job, &err) == 0);
	op_lease_virtio_mem(job);
	CHECK(pml_streq(finish(job->id).result, "done"));
	(void)finish(take_back("evict", 60 * USEC_PER_SEC));
	until_free();
}

static void check_ram(bool after)
{
	settle();
	/* What is free is memory again, and nothing is owed that would be done behind a later
	 * change. */
	if (region()->record.use == PML_USE_FREE)
		CHECK(world->kmem && !world->bound && !region()->record.ram);
	CHECK(!world->domains[0].paused);
}

/*
 * How the points are reached that the scenario does not come by: each of those whose name begins
 * so. first: where the scenario is killed before, so that the next start is in the state to begin
 * from.
 */
static const struct Way {
	const char *points, *name, *first;
	void (*run)(void);
	void (*check)(bool after); /* what the next start must have found */
} ways[] = {
	{"guard/", "bound by somebody", NULL, bind_behind_our_back, check_guarded},
	{"lease/persist/", "persistent", NULL, lend_persistent, NULL},
	{"lease/plug/", "virtio-mem", NULL, ram_in_parts, check_ram},
	{"grant/", "a machine starts", NULL, start_machine, NULL},
	{"evict/takeover/", "of a reservation", NULL, take_over_reserve, NULL},
	{"evict/takeover/", "of an attach", NULL, take_over_attaching, NULL},
	{"release/takeover/", "of a reservation", NULL, take_over_reserve, NULL},
	{"release/takeover/", "of an attach", NULL, take_over_attaching, NULL},
	{"evict/cancel/", "draining", NULL, cancel_drain, check_cancel},
	{"release/cancel/", "draining", NULL, cancel_drain, check_cancel},
	{"settle/proved/", "stuck", NULL, prove_stuck, NULL},
	{"settle/gate/", "attach lost", "lease/attach/before", restart, NULL},
	{"readmit/proved/", "stuck", NULL, readmit_stuck, NULL},
	{"readmit/gate/", "attach lost", "lease/attach/before", readmit_lost_attach, NULL},
	{"readmit/cleared/", "kept offline", NULL, readmit_kept_offline, check_kept_offline},
	{"evict-device/", "leased", NULL, evict_device, NULL},
	{"readmit-device/", "leased", NULL, readmit_device, check_readmitted},
	{"recover/undo/", "reserved", "lease/reserve/after", restart, NULL},
	{"recover/ask/", "attached", "lease/attach/after", restart, NULL},
	{"recover/check/", "attached", "lease/attach/after", restart, NULL},
	{"recover/active/", "attached", "lease/attach/after", restart, NULL},
	{"scrub/return", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"scrub/owe/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"scrub/take/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"change/record/", "policy", NULL, change_policy, check_policy},
	{"change/record/", "adopt", NULL, adopt, check_adopted},
	{"change/record/", "lift quarantine", NULL, lift, check_lifted},
};

/* Steps that the scenario comes by, in another way, too. */
static const struct Way others[] = {
	{"evict/drain/", "released", NULL, evict_asked, check_asked},
	{"evict/mark/", "released", NULL, evict_asked, check_asked},
	{"evict/fence/", "released", NULL, evict_asked, check_asked},
	{"evict/prove/", "released", NULL, evict_asked, check_asked},
	{"evict/pause/", "released", NULL, evict_asked, check_asked},
	{"evict/record/", "released", NULL, evict_asked, check_asked},
	{"lease/reserve/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"lease/check/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"evict/drain/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"evict/fence/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"evict/record/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"lease/attach/", "virtio-mem", NULL, ram_in_parts, check_ram},
	{"lease/active/", "virtio-mem", NULL, ram_in_parts, check_ram},
	{"evict/drain/", "virtio-mem", NULL, ram_in_parts, check_ram},
	{"evict/fence/", "virtio-mem", NULL, ram_in_parts, check_ram},
	{"evict/record/", "virtio-mem", NULL, ram_in_parts, check_ram},
	{"settle/bind/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"settle/free/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"scrub/verified/", "memory of the host", NULL, ram_scrubbed, check_ram},
	{"evict/cancel/", "refused", NULL, evict_refused, check_refused},
};

static const struct Way usual = {"", "all", NULL, scenario, NULL};

static bool killed_at(const char *at, void (*run)(void))
{
	int r = in_child(at, run);

	if (r == 0)
		(void)fprintf(stderr, "# %s was not reached\n", at);
	return r == 1;
}

static void crash(const struct Way *way, const char *at, bool after)
{
	bool ok;

	begin();
	(void)snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(at, "/"), at);
	check = way->check;
	killed_after = after;
	ok = (!way->first || killed_at(way->first, scenario)) && killed_at(at, way->run);
	/* What was in the way has passed when the daemon is back. */
	world->ledger_hangs = world->hold_proof = world->busy = false;
	ok = ok && in_child(NULL, restart_draining) == 0;
	report(ok, at, way->name);
	end();
}

static void crash_in_all_ways(const char *at, bool after)
{
	bool any = false;

	for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
		if (strncmp(at, ways[i].points, strlen(ways[i].points)) != 0)
			continue;
		crash(&ways[i], at, after);
		any = true;
	}
	if (!any)
		crash(&usual, at, after);
	for (size_t i = 0; i < ELEMENTSOF(others); i++)
		if (strncmp(at, others[i].points, strlen(others[i].points)) == 0)
			crash(&others[i], at, after);
}

int main(int argc, char **argv)
{
	world_media_helper(argc, argv);
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", 1);
	world_new();
	for (const JobKind *const *k = job_kinds; *k; k++)
		for (size_t i = 0; i < (*k)->n_steps; i++)
			for (int after = 0; after < 2; after++) {
				char at[128];

				(void)snprintf(at, sizeof(at), "%s/%s/%s", (*k)->name,
					(*k)->steps[i].name, after ? "after" : "before");
				if (argc <= 1 || strstr(at, argv[1]))
					crash_in_all_ways(at, after);
			}
	(void)printf("1..%u\n", n_tests);
	return n_failed ? 1 : 0;
}

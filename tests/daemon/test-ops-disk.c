/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Every operation that changes the ledger's disk while a region is lent, taken back, scrubbed or
 * readmitted, and what may happen to the disk or the daemon at each: the daemon is killed, the host
 * loses its power (with what was not synced lost, or torn between sectors), the disk is full or
 * fails. Then the daemon starts again, and what the project promises must hold.
 *
 * The points are counted by the disk itself, not listed here. PMEMLEASE_TEST_STRIDE=1 goes through
 * all of them; without it a sample is.
 */

#include <sys/mman.h>

#include "../unit/failing-vfs.h"
#include "ledger-internal.h"
#include "ops-lives.h"

#define LATE_MSEC 5000 /* a busy machine's delay; a fence that waits for a disk waits for ever */

/* What outlives the daemon, as its client's memory would. */
static struct Memory {
	atomic_bool reached; /* the point */
	atomic_bool acked;   /* the daemon has said that the operation is done */
	atomic_int due_msec; /* CLOCK_BOOTTIME of an accepted deadline; 0: none */
	atomic_int boots;
} * memory;

typedef enum Fault {
	FAULT_KILL,
	FAULT_POWER,
	FAULT_POWER_TORN,
	FAULT_FULL,
	FAULT_FULL_KILL,
	FAULT_IO,
	FAULT_IO_KILL,
	FAULT_IO_ONCE,
	_FAULT_MAX,
} Fault;

static const char *const fault_names[_FAULT_MAX] = {
	[FAULT_KILL] = "kill -9",
	[FAULT_POWER] = "power cut, unsynced writes lost",
	[FAULT_POWER_TORN] = "power cut, writes torn at sectors",
	[FAULT_FULL] = "full disk, mended",
	[FAULT_FULL_KILL] = "full disk, then kill -9",
	[FAULT_IO] = "I/O error, mended",
	[FAULT_IO_KILL] = "I/O error, then kill -9",
	[FAULT_IO_ONCE] = "I/O error of one write",
};

static Fault fault;
static int point;

static bool is_power_cut(void)
{
	return fault == FAULT_POWER || fault == FAULT_POWER_TORN;
}

/* --- the disk and the boot, as the daemon sees them --- */

int __wrap_pml_ledger_open(const char *path, PmlLedger **ret, char **ret_why);

int __wrap_pml_ledger_open(const char *path, PmlLedger **ret, char **ret_why)
{
	static const LedgerHooks hooks = {.vfs = FAILING_VFS};

	return ledger_open_hooked(path, &hooks, ret, ret_why);
}

/* What fopen() is called where files have 64-bit sizes, as meson has it everywhere. */
FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);

/* Another boot has another id. */
FILE *__wrap_fopen64(const char *path, const char *mode)
{
	char here[128];

	if (memory->boots == 0 || !pml_streq(path, "/proc/sys/kernel/random/boot_id"))
		return __real_fopen64(path, mode);
	(void)snprintf(here, sizeof(here), "%s/boot_id", dir);
	return __real_fopen64(here, mode);
}

static void end_here(void)
{
	memory->reached = true;
	if (is_power_cut())
		failing_disk_power_cut(fault == FAULT_POWER ? 0 : (unsigned)point + 1);
	(void)kill(getpid(), SIGKILL);
}

static void arm(void)
{
	bool ends = fault == FAULT_KILL || is_power_cut();
	bool full = fault == FAULT_FULL || fault == FAULT_FULL_KILL;

	failing_disk = (FailingDisk){
		.countdown = point,
		.error = full ? SQLITE_FULL : SQLITE_IOERR,
		.once = fault == FAULT_IO_ONCE,
		.end = ends ? end_here : NULL,
	};
}

/* --- the operations --- */

/* Nothing is done but to wait until the disk can be written. */
static bool at_rest(void)
{
	for (const Job *j = m->jobs; j; j = j->next)
		if (!j->waiting || !pml_streq(j->phase, "waiting for the ledger's disk"))
			return false;
	return !m->rescan_running;
}

static void rest(void)
{
	for (int i = 0; i < 3; i++) {
		UNTIL(at_rest());
		CHECK(sd_event_run(event, 4 * USEC_PER_MSEC) >= 0);
		if (!at_rest())
			i = 0;
	}
}

static bool ended_well(uint64_t id)
{
	WorldEnd e;

	return world_job_result(id, &e) && pml_streq(e.result, "done");
}

static void be_ready(void)
{
	UNTIL(m->libvirt_connected && region()->presence == PML_PRESENCE_ONLINE && quiet());
}

static void lease_act(void)
{
	uint64_t id;

	CHECK(op_lease_start(m, region(), "a", NULL, PML_ON_END_KEEP, PML_AFTER_FENCE_PAUSE, false,
		      0, &lease, &job, &err) == 0);
	id = job->id;
	rest();
	memory->acked = ended_well(id);
}

static void lease_check(void)
{
	const Lease *l = region()->lease;

	if (!memory->acked)
		return;
	/* What was said to be lent is lent, until the host is another one. */
	CHECK(pml_streq(region()->record.owner, WORLD_A));
	CHECK(is_power_cut() || (l && l->record.state == PML_LEASE_ACTIVE && world_holds(0)));
}

static void lent(void)
{
	be_ready();
	lend("a");
	settle();
}

static void take_back_act(const char *how)
{
	uint64_t id = take_back_now(how, 40 * USEC_PER_MSEC, false);
	WorldEnd e;

	UNTIL(region()->lease->record.state != PML_LEASE_ACTIVE || world_job_result(id, &e));
	if (region()->lease->record.state != PML_LEASE_ACTIVE)
		memory->due_msec = (int)(region()->lease->record.deadline_usec / 1000);
	rest();
	/* It was accepted: whatever the disk does, the region is not within reach any more. */
	CHECK(memory->due_msec == 0 || !world->bound);
	memory->acked = ended_well(id);
	if (!memory->acked)
		return;
	/* Its holder ends: that is written down, too, as soon as it can be. */
	world_domain_stop(0);
	UNTIL(!region()->watches);
	rest();
	UNTIL((!region()->lease && region()->record.use == PML_USE_FREE) ||
		failing_disk.countdown == 0);
	rest();
}

static void evict_act(void)
{
	take_back_act("evict");
}

static void release_act(void)
{
	take_back_act("release");
}

static void taken_back_check(void)
{
	const Lease *l = region()->lease;

	if (memory->due_msec == 0)
		return;
	CHECK(!l || l->record.state == PML_LEASE_FENCED);
	CHECK(is_power_cut() || world->unbound_msec <= memory->due_msec + LATE_MSEC);
}

static void scrub_act(void)
{
	uint64_t id;

	CHECK(op_scrub_start(m, region(), WORLD_A, 0, &job, &err) == 0);
	id = job->id;
	rest();
	memory->acked = ended_well(id);
}

static void scrub_check(void)
{
	/* Nobody's bytes are gone without the ledger knowing; what was consented to is ended. */
	if (world->bytes == 0)
		CHECK(region()->record.content == PML_CONTENT_BLANK);
	CHECK(world->bytes == 0 || !memory->acked);
}

static void kept_offline(void)
{
	lent();
	(void)finish(take_back_now("evict", 0, true));
	world_domain_stop(0);
	UNTIL(!region()->lease && quiet());
}

static void readmit_act(void)
{
	uint64_t id;

	CHECK(op_readmit_start(m, region(), 0, &job, &err) == 0);
	id = job->id;
	rest();
	memory->acked = ended_well(id);
}

static void readmit_check(void)
{
	if (memory->acked)
		CHECK(region()->record.use == PML_USE_FREE && world->bound);
	CHECK(pml_streq(region()->record.owner, WORLD_A));
}

static const struct Operation {
	const char *name;
	bool owned;	 /* the region is a's and free; else it is blank */
	unsigned stride; /* of the usual sample: long operations have many points */
	void (*before)(void);
	void (*act)(void);
	void (*check)(void);
} operations[] = {
	{"lease", false, 6, be_ready, lease_act, lease_check},
	{"evict", false, 9, lent, evict_act, taken_back_check},
	{"release", false, 9, lent, release_act, taken_back_check},
	{"scrub", true, 3, be_ready, scrub_act, scrub_check},
	{"readmit", false, 3, kept_offline, readmit_act, readmit_check},
};

static const struct Operation *operation;

/* --- the daemon's lives --- */

static void first_life(void)
{
	start();
	be_ready();
	if (operation->owned) {
		PmlTxn *txn = pml_txn_new("test");

		CHECK(pml_txn_content_step(txn, WORLD_REGION, &region()->extent,
			      PML_CONTENT_EV_ADOPT, WORLD_A) == 0);
		CHECK(manager_apply(m, txn, NULL, NULL) == 0);
		UNTIL(region()->record.content == PML_CONTENT_RETAINED);
	} else {
		scrub("");
	}
	settle();
	m = manager_free(m);
}

static void second_life(void)
{
	start();
	operation->before();
	if (operation->owned)
		world->bytes = 'a';
	arm();
	operation->act();
	if (failing_disk.counted > point)
		memory->reached = true;
	if (is_power_cut()) {
		/* What was acknowledged was synced. */
		failing_disk_power_cut(fault == FAULT_POWER ? 0 : (unsigned)point + 1);
		return;
	}
	check_invariants();
	if (fault != FAULT_FULL && fault != FAULT_IO && fault != FAULT_IO_ONCE)
		return;
	failing_disk.countdown = -1;
	settle();
	check_invariants();
}

static void third_life(void)
{
	start();
	UNTIL(m->libvirt_connected);
	settle();
	check_invariants();
	operation->check();
	finish_all();
}

static void run_shell(const char *format, ...) _printf_(1, 2);

static void run_shell(const char *format, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	if (system(command) != 0)
		abort();
}

static void host_restarts(void)
{
	memory->boots++;
	for (int i = 0; i < 2; i++) {
		world_domain_stop(i);
		world_domain_start(i);
	}
	world->bound = true;
	run_shell("rm -rf %s/run && echo another-boot >%s/boot_id", dir, dir);
}

static bool try_point(void)
{
	world_reset();
	world->eager_guests = true;
	memset(memory, 0, sizeof(*memory));
	run_shell("rm -rf %s/state %s/run && cp -a %s/kept %s/state", dir, dir, dir, dir);
	if (in_child(NULL, second_life) < 0)
		return false;
	if (is_power_cut())
		host_restarts();
	return in_child(NULL, third_life) == 0;
}

static void try_fault(unsigned stride)
{
	unsigned n = 0, bad = 0;

	/* Each fault has its own sample. The last one tried lies behind the last point. */
	for (point = (int)((unsigned)fault % stride);; point += (int)stride) {
		bool ok = try_point();

		if (!ok)
			(void)fprintf(stderr, "# %s, %s: point %d failed\n", operation->name,
				fault_names[fault], point);
		n++;
		bad += !ok;
		if (!memory->reached || bad > 5)
			break;
	}
	(void)printf("# table: %-8s x %-34s %3u points, %3u ok\n", operation->name,
		fault_names[fault], n, n - bad);
	report(bad == 0 && (stride > 1 || n > 5), operation->name, fault_names[fault]);
}

int main(int argc, char **argv)
{
	const char *stride = getenv("PMEMLEASE_TEST_STRIDE"),
		   *only = getenv("PMEMLEASE_TEST_POINT");

	world_media_helper(argc, argv);
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", 1);
	memory = mmap(
		NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || failing_vfs_register() != SQLITE_OK)
		abort();
	world_new();
	for (size_t i = 0; i < ELEMENTSOF(operations); i++) {
		operation = &operations[i];
		if (argc > 1 && !pml_streq(argv[1], operation->name))
			continue;
		begin();
		fault = FAULT_KILL;
		if (in_child(NULL, first_life) != 0)
			abort();
		run_shell("mv %s/state %s/kept", dir, dir);
		for (fault = 0; fault < _FAULT_MAX; fault++) {
			if (argc > 2 && atoi(argv[2]) != (int)fault)
				continue;
			if (only) {
				point = atoi(only);
				report(try_point(), operation->name, fault_names[fault]);
				continue;
			}
			try_fault(stride ? (unsigned)atoi(stride) : operation->stride);
		}
		end();
	}
	(void)printf("1..%u\n", n_tests);
	return n_failed ? 1 : 0;
}

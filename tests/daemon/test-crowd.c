/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Eight clients do what they like to sixteen regions, while machines die and start at random. After
 * every step the promises are checked without trusting the daemon: by what the host really is, by
 * the ledger's file (a copy, opened with all its checks) and by what the bus shows.
 *
 * PMEMLEASE_TEST_SECONDS: how long (15). PMEMLEASE_TEST_SEED: the same choices again; what the
 * threads of a daemon make of them depends on time as well.
 */

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "crowd-host.h"
#include "harness.h"
#include "ledger.h"
#include "ops-internal.h"

#define N_CLIENTS 8
/* After a deadline: time for fence, proof and record on a busy machine. */
#define SLACK_USEC (8 * USEC_PER_SEC)

static Harness h;
static Crowd *host;
static unsigned rng, n_calls, n_refused, n_done, n_failed, n_deaths, n_checks;
static int events_fd = -EBADF;
static char finding[512]; /* in a callback, out of which a test must not jump */

typedef struct Client {
	sd_bus *bus;
	bool busy;	/* a call or its job is under way */
	uint64_t since; /* CLOCK_BOOTTIME */
	uint64_t due;	/* when the job must have ended; 0: it has no bound */
	char job[64];
	char what[160];
} Client;

static Client clients[N_CLIENTS];

static unsigned pick(unsigned n)
{
	rng = rng * 1664525U + 1013904223U;
	return (rng >> 8) % n;
}

/* --- machines --- */

static uint64_t start_ticks(pid_t pid)
{
	char path[64], line[1024] = "", *p;
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long long ticks = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f) && (p = strrchr(line, ')')))
		(void)sscanf(p + 1,
			" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			&ticks);
	return ticks;
}

static void domain_start(unsigned i)
{
	char name[80], path[64];
	pid_t pid;

	(void)snprintf(name, sizeof(name), "%s", crowd_domain_uuid(i));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(900);
		(void)execl("/bin/sleep", name, "900", NULL);
		_exit(1);
	}
	/* The daemon knows it by its arguments: they are there when exec is through. */
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	for (;;) {
		char text[128] = "";
		_cleanup_fclose_ FILE *f = fopen(path, "re");

		if (f && fread(text, 1, sizeof(text) - 1, f) > 0 && pml_streq(text, name))
			break;
		(void)poll(NULL, 0, 1);
	}
	host->domains[i].attached = 0;
	host->domains[i].paused = false;
	host->domains[i].start_ticks = start_ticks(pid);
	host->domains[i].pid = pid;
}

/* It was killed, by the test or by the daemon: libvirt says so. */
static void domain_ended(unsigned i)
{
	char line[64];

	(void)waitpid(host->domains[i].pid, NULL, 0);
	for (unsigned k = 0; k < CROWD_REGIONS; k++)
		host->regions[k].mapped[i] = 0;
	host->domains[i].pid = 0;
	(void)snprintf(line, sizeof(line), "%s\n", crowd_domain_uuid(i));
	assert_int_equal(write(events_fd, line, strlen(line)), strlen(line));
}

static void domain_kill(unsigned i)
{
	(void)kill(host->domains[i].pid, SIGKILL);
	domain_ended(i);
	n_deaths++;
}

static void domains_look(void)
{
	for (unsigned i = 0; i < CROWD_DOMAINS; i++) {
		siginfo_t info = {};

		if (host->domains[i].pid != 0 &&
			waitid(P_PID, (id_t)host->domains[i].pid, &info,
				WEXITED | WNOHANG | WNOWAIT) == 0 &&
			info.si_pid != 0)
			domain_ended(i);
	}
}

/* --- what must be so --- */

typedef struct Truth {
	pid_t holder[CROWD_REGIONS]; /* of a region that can be reached; 0: none */
	int domain[CROWD_REGIONS];
	char bytes[CROWD_REGIONS];
} Truth;

static void look(Truth *t)
{
	if (host->violations > 0)
		fail_msg("%s", host->what);
	for (unsigned k = 0; k < CROWD_REGIONS; k++) {
		bool bound = host->regions[k].bound;

		t->holder[k] = 0;
		t->domain[k] = -1;
		t->bytes[k] = host->regions[k].bytes;
		for (unsigned i = 0; i < CROWD_DOMAINS; i++) {
			if (!crowd_holds(host, k, i) || !bound || !host->regions[k].bound)
				continue;
			if (t->holder[k] != 0)
				fail_msg("dax%u.0 is within reach of two machines", k);
			t->holder[k] = host->domains[i].pid;
			t->domain[k] = (int)i;
		}
	}
}

static int copy_file(const char *from, const char *to)
{
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char buf[65536];
	ssize_t n;

	if (in < 0 || out < 0)
		return -errno;
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			return -EIO;
	return n < 0 ? -errno : 0;
}

/* The daemon's own file, as it is between two of its writes: nothing of it moved while it was
 * copied. */
static PmlLedger *ledger_copy(void)
{
	char from[256], to[256], wal[300], to_wal[300], lock[300];
	PmlLedger *l = NULL;

	(void)snprintf(from, sizeof(from), "%s/state/" PML_LEDGER_FILE, h.dir);
	(void)snprintf(to, sizeof(to), "%s/copy", h.dir);
	(void)snprintf(wal, sizeof(wal), "%s-wal", from);
	(void)snprintf(to_wal, sizeof(to_wal), "%s-wal", to);
	(void)snprintf(lock, sizeof(lock), "%s.lock", to);
	for (int i = 0; i < 500; i++) {
		struct stat a, b, wa = {}, wb = {};
		char *why = NULL;
		int r;

		(void)unlink(to);
		(void)unlink(to_wal);
		(void)unlink(lock);
		assert_int_equal(stat(from, &a), 0);
		(void)stat(wal, &wa);
		r = copy_file(from, to);
		if (r == 0)
			r = copy_file(wal, to_wal);
		assert_int_equal(stat(from, &b), 0);
		(void)stat(wal, &wb);
		if (r < 0 || a.st_mtim.tv_nsec != b.st_mtim.tv_nsec ||
			wa.st_mtim.tv_nsec != wb.st_mtim.tv_nsec || wa.st_size != wb.st_size)
			continue;
		r = pml_ledger_open(to, &l, &why);
		if (r != 0)
			fail_msg("the ledger would be refused at a start: %d, %s", r,
				why ? why : "");
		return l;
	}
	fail_msg("the ledger never rests");
	return NULL;
}

static PmlExtent extent_of(unsigned k)
{
	PmlExtent e = {.medium = "iset:00000000000000cc",
		.start_bytes = CROWD_BYTES * 2 * k,
		.size_bytes = CROWD_BYTES + 2 * MIB * k};

	return e;
}

static void check_region(unsigned k, const Truth *before, const Truth *after,
	const PmlLeaseRecord *leases, size_t n_leases, const PmlExtentRecord *rows, size_t n_rows)
{
	PmlExtent e = extent_of(k);
	const PmlLeaseRecord *lease = NULL;
	PmlExtentRecord rec;
	const char *owner;

	for (size_t i = 0; i < n_leases; i++)
		if (pml_extent_overlaps(&leases[i].extent, &e)) {
			if (lease)
				fail_msg("dax%u.0 has two leases", k);
			lease = &leases[i];
		}
	pml_extent_records_fold(rows, n_rows, &e, &rec);
	/* Within reach of a machine all the time while the ledger was read: it says so. */
	if (before->holder[k] != 0 && before->holder[k] == after->holder[k]) {
		if (!lease ||
			!pml_streq(lease->domain, crowd_domain_uuid((unsigned)before->domain[k])))
			fail_msg("dax%u.0 is lent to domain %d, and the ledger does not know", k,
				before->domain[k]);
		if (rec.use == PML_USE_FREE)
			fail_msg("dax%u.0 is lent and free", k);
	}
	/* Somebody's bytes are there, and the ledger says whose. */
	if (before->bytes[k] == 0 || before->bytes[k] != after->bytes[k])
		return;
	owner = crowd_domain_uuid((unsigned)(before->bytes[k] - 'a'));
	if ((rec.content != PML_CONTENT_RETAINED && rec.content != PML_CONTENT_SCRUBBING) ||
		!pml_streq(rec.owner, owner))
		fail_msg("dax%u.0 has bytes of %s, and is %s of '%s'", k, owner,
			pml_content_to_string(rec.content), rec.owner);
}

static void check_ledger(void)
{
	_cleanup_free_ PmlLeaseRecord *leases = NULL;
	_cleanup_free_ PmlExtentRecord *rows = NULL;
	size_t n_leases = 0, n_rows = 0;
	Truth before, after;
	PmlLedger *l;

	look(&before);
	l = ledger_copy();
	assert_int_equal(pml_ledger_leases(l, false, &leases, &n_leases), 0);
	assert_int_equal(pml_ledger_extents(l, &rows, &n_rows), 0);
	pml_ledger_close(l);
	look(&after);
	for (unsigned k = 0; k < CROWD_REGIONS; k++)
		check_region(k, &before, &after, leases, n_leases, rows, n_rows);
}

static void check_deadlines(void)
{
	uint64_t now = pml_now_usec(CLOCK_BOOTTIME);

	for (unsigned i = 0; i < N_CLIENTS; i++)
		if (clients[i].busy && clients[i].due != 0 && now > clients[i].due)
			fail_msg("client %u: %s did not end in time", i, clients[i].what);
}

static void check_bus(void)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, "ListLeases", NULL);
	char seen[CROWD_REGIONS][PML_NAME_LEN] = {};
	const char *id, *region, *domain, *name, *state, *a, *b, *path;
	size_t n = 0;

	assert_success(reply);
	assert_true(sd_bus_message_enter_container(reply, 'a', "(ssssssso)") > 0);
	while (sd_bus_message_read(reply, "(ssssssso)", &id, &region, &domain, &name, &state, &a,
		       &b, &path) > 0) {
		for (size_t i = 0; i < n; i++)
			if (pml_streq(seen[i], region))
				fail_msg("the bus shows two leases of %s", region);
		assert_true(n < CROWD_REGIONS);
		assert_int_equal(PML_STRCPY(seen[n], region), 0);
		n++;
	}
}

static void check_all(void)
{
	if (finding[0])
		fail_msg("%s", finding);
	domains_look();
	check_deadlines();
	check_ledger();
	check_bus();
	n_checks++;
}

/* --- the clients --- */

static void client_idle(Client *c)
{
	c->busy = false;
	c->due = 0;
	c->job[0] = '\0';
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *job, *subject, *result, *name, *text;
	Client *c = userdata;
	uint64_t id;

	if (sd_bus_message_read(m, "toosss", &id, &job, &subject, &result, &name, &text) < 0 ||
		!pml_streq(job, c->job))
		return 0;
	if (pml_streq(result, "done"))
		n_done++;
	else
		n_failed++;
	if (pml_streq(result, "failed") && (!name[0] || !strchr(text, ' ')))
		(void)snprintf(finding, sizeof(finding), "%s failed without a reason", c->what);
	client_idle(c);
	return 0;
}

/* Any named error is an answer; anything else is a finding. */
static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *path = NULL, *job = NULL, *types = sd_bus_message_get_signature(m, true);
	Client *c = userdata;

	if (sd_bus_message_is_method_error(m, NULL)) {
		const sd_bus_error *e = sd_bus_message_get_error(m);

		if (strncmp(e->name, "org.pmemlease1.Error.", 21) != 0 &&
			!pml_streq(e->name, SD_BUS_ERROR_UNKNOWN_OBJECT))
			(void)snprintf(finding, sizeof(finding), "%s: %s: %s", c->what, e->name,
				e->message);
		n_refused++;
		client_idle(c);
		return 0;
	}
	if (pml_streq(types, "oo"))
		assert_true(sd_bus_message_read(m, "oo", &path, &job) > 0);
	else if (pml_streq(types, "o"))
		assert_true(sd_bus_message_read(m, "o", &job) > 0);
	if (!job) {
		n_done++;
		client_idle(c);
		return 0;
	}
	assert_int_equal(PML_STRCPY(c->job, job), 0);
	return 0;
}

static void call(Client *c, const char *path, const char *interface, const char *member,
	const char *types, ...)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	va_list ap;

	assert_true(sd_bus_message_new_method_call(
			    c->bus, &m, PML_BUS_NAME, path, interface, member) >= 0);
	va_start(ap, types);
	assert_true(!types || sd_bus_message_appendv(m, types, ap) >= 0);
	va_end(ap);
	c->busy = true;
	c->since = pml_now_usec(CLOCK_BOOTTIME);
	n_calls++;
	assert_true(sd_bus_call_async(c->bus, NULL, m, on_answer, c, HARNESS_TIMEOUT_USEC) >= 0);
}

static char *object_of(const char *method, const char *name)
{
	_cleanup_message_ sd_bus_message *reply =
		harness_call(&h, PML_BUS_PATH, PML_IF_MANAGER, method, "s", name);
	const char *path;

	if (sd_bus_message_is_method_error(reply, NULL))
		return NULL;
	assert_true(sd_bus_message_read(reply, "o", &path) > 0);
	return strdup(path);
}

static void take_back(Client *c, unsigned k, bool release, const char *region)
{
	_cleanup_free_ char *lease = object_of("GetLease", crowd_region_uuid(k));
	uint64_t deadline = pick(4) == 0 ? 0 : pick(1500) * USEC_PER_MSEC;
	bool keep = pick(4) == 0;

	if (release && !lease)
		return;
	(void)snprintf(c->what, sizeof(c->what), "%s of dax%u.0 in %u ms%s",
		release ? "release" : "evict", k, (unsigned)(deadline / 1000),
		keep ? ", kept" : "");
	if (release)
		call(c, lease, PML_IF_LEASE, "Release", "t", deadline);
	else if (keep)
		call(c, region, PML_IF_REGION, "Evict", "ta{sv}", deadline, 1, "keep-offline", "b",
			1);
	else
		call(c, region, PML_IF_REGION, "Evict", "ta{sv}", deadline, 0);
	c->due = c->since + deadline + SLACK_USEC;
}

static void act(Client *c)
{
	unsigned k = pick(CROWD_REGIONS), d = pick(CROWD_DOMAINS), what = pick(20);
	_cleanup_free_ char *region = object_of("GetRegion", crowd_region_uuid(k));
	char owner[PML_NAME_LEN] = "";

	assert_non_null(region);
	/* What a client knows of a region: mostly right. */
	if (host->regions[k].bytes != 0 && pick(8) != 0)
		(void)PML_STRCPY(
			owner, crowd_domain_uuid((unsigned)(host->regions[k].bytes - 'a')));
	(void)snprintf(c->what, sizeof(c->what), "operation %u of dax%u.0, domain %u", what, k, d);
	if (what < 8) {
		/* Often a tenant who finds his own data. */
		if (owner[0] && pick(2))
			d = (unsigned)(host->regions[k].bytes - 'a');
		call(c, PML_BUS_PATH, PML_IF_MANAGER, "Lease", "ssa{sv}", crowd_region_uuid(k),
			crowd_domain_uuid(d), 1, "on-end", "s", pick(4) ? "keep" : "scrub");
	} else if (what < 12) {
		take_back(c, k, false, region);
	} else if (what < 14) {
		take_back(c, k, true, region);
	} else if (what < 17) {
		call(c, region, PML_IF_REGION, "Scrub", "s", owner);
	} else if (what < 19) {
		call(c, region, PML_IF_REGION, "Readmit", NULL);
	} else {
		const Client *other = &clients[pick(N_CLIENTS)];

		if (other->job[0])
			call(c, other->job, PML_IF_JOB, "Cancel", NULL);
	}
}

static void client_connect(Client *c)
{
	assert_true(sd_bus_new(&c->bus) >= 0);
	assert_true(sd_bus_set_address(c->bus, h.address) >= 0);
	assert_true(sd_bus_set_bus_client(c->bus, 1) >= 0);
	assert_true(sd_bus_start(c->bus) >= 0);
	assert_true(sd_bus_attach_event(c->bus, h.event, 0) >= 0);
	assert_true(sd_bus_match_signal(c->bus, NULL, NULL, PML_BUS_PATH, PML_IF_MANAGER,
			    "JobRemoved", on_job_removed, c) >= 0);
}

static void machines_change(void)
{
	unsigned i = pick(CROWD_DOMAINS);

	if (host->domains[i].pid == 0)
		domain_start(i);
	else if (pick(3) == 0)
		domain_kill(i);
}

static void turn(uint64_t usec)
{
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + usec, now;

	while ((now = pml_now_usec(CLOCK_MONOTONIC)) < end)
		assert_true(sd_event_run(h.event, end - now) >= 0);
}

static bool any_busy(void)
{
	for (unsigned i = 0; i < N_CLIENTS; i++)
		if (clients[i].busy)
			return true;
	return false;
}

/*
 * A lease whose data is to be scrubbed at its end keeps its tenant's consent until it is, and what
 * is kept offline is scrubbed only when it is brought back.
 */
static bool waits_for_readmit(const PmlLeaseRecord *lease)
{
	return lease->state == PML_LEASE_FENCED && lease->keep_offline &&
	       lease->on_end == PML_ON_END_SCRUB;
}

/* Leases that wait for nothing but the daemon; *ret_waiting: a region of the others, or NULL. */
static size_t still_lent(char **ret_waiting)
{
	_cleanup_free_ PmlLeaseRecord *leases = NULL;
	PmlLedger *l = ledger_copy();
	size_t n = 0, lent = 0;

	*ret_waiting = NULL;
	assert_int_equal(pml_ledger_leases(l, false, &leases, &n), 0);
	pml_ledger_close(l);
	for (size_t i = 0; i < n; i++)
		if (!waits_for_readmit(&leases[i]))
			lent++;
		else if (!*ret_waiting)
			*ret_waiting = strdup(leases[i].region);
	return lent;
}

/* Without a machine nothing stays lent, but for what an operator has to bring back first. */
static void come_to_rest(void)
{
	/* Longer than the daemon's longest pause between two proofs. */
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + 90 * USEC_PER_SEC;
	Client *operator= & clients[0];

	for (unsigned i = 0; i < CROWD_DOMAINS; i++)
		if (host->domains[i].pid != 0)
			domain_kill(i);
	for (;;) {
		_cleanup_free_ char *waiting = NULL, *region = NULL;
		size_t lent;

		turn(50 * USEC_PER_MSEC);
		check_all();
		lent = still_lent(&waiting);
		if (lent == 0 && !waiting && !any_busy())
			return;
		if (pml_now_usec(CLOCK_MONOTONIC) > end)
			fail_msg("it does not come to rest%s",
				lent > 0 ? ": a lease without a machine" : "");
		if (lent > 0 || any_busy() || !waiting)
			continue;
		region = object_of("GetRegion", waiting);
		assert_non_null(region);
		(void)snprintf(operator->what, sizeof(operator->what), "readmit of %s", waiting);
		call(operator, region, PML_IF_REGION, "Readmit", NULL);
	}
}

static unsigned number(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 10) : otherwise;
}

static void test_crowd(void **state)
{
	unsigned seconds = number("PMEMLEASE_TEST_SECONDS", 15);
	unsigned seed = number("PMEMLEASE_TEST_SEED", (unsigned)pml_now_usec(CLOCK_REALTIME));
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + seconds * USEC_PER_SEC;
	int status;

	rng = seed;
	print_message("# seed %u\n", seed);
	while (pml_now_usec(CLOCK_MONOTONIC) < end) {
		Client *c = &clients[pick(N_CLIENTS)];

		domains_look();
		if (pick(5) == 0)
			machines_change();
		if (!c->busy)
			act(c);
		turn(pick(30) * USEC_PER_MSEC);
		check_all();
	}
	come_to_rest();
	print_message(
		"# table: seed %u, %u s: %u operations (%u done, %u ended otherwise, %u refused), "
		"%u machines died, %u checks\n",
		seed, seconds, n_calls, n_done, n_failed, n_refused, n_deaths, n_checks);
	assert_true(n_done > 20);
	status = harness_daemon_stop(&h);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int setup(void **state)
{
	char path[256];

	harness_new(&h);
	host = crowd_new(h.dir);
	assert_non_null(host);
	(void)snprintf(path, sizeof(path), "%s/events", h.dir);
	events_fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	assert_true(events_fd >= 0);
	for (unsigned i = 0; i < CROWD_DOMAINS; i++)
		domain_start(i);
	harness_daemon_start(&h, true, NULL);
	for (unsigned i = 0; i < N_CLIENTS; i++)
		client_connect(&clients[i]);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		sd_bus_close(clients[i].bus);
		clients[i].bus = sd_bus_unref(clients[i].bus);
	}
	for (unsigned i = 0; i < CROWD_DOMAINS; i++)
		if (host->domains[i].pid != 0)
			(void)kill(host->domains[i].pid, SIGKILL);
	closep(&events_fd);
	harness_free(&h);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_crowd, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

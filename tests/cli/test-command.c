/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command as it is run, against a small fake of the daemon on a private bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <json-c/json.h>
#include <limits.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>

#include "names.h"
#include "run.h"
#include "util.h"

static int setup(void **state)
{
	fake_daemon_start(run_bus);
	return 0;
}

static void test_regions(void **state)
{
	_cleanup_run_ Run r = RUN("regions");
	_cleanup_run_ Run bare = RUN("regions", "--no-legend", "--bytes");
	_cleanup_run_ Run json = RUN("regions", "--json");
	struct json_object *j = json_parse(json.out);

	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	contains(r.out, "NAME");
	contains(r.out, "256M");
	contains(r.out, "64G");
	contains(r.out, "quarantined");
	/* no colour where no terminal is */
	contains_not(r.out, "\033");
	contains_not(r.out, "gone");
	contains_not(bare.out, "NAME");
	contains(bare.out, "268435456");
	assert_int_equal(json_object_array_length(json_at(j, "regions")), 2);
	json_is(json.out, "regions.0.size_bytes", "268435456");
	json_is(json.out, "regions.0.lease", "lease-1");
	json_is(json.out, "regions.0.dimms.1", "nmem1");
	json_is(json.out, "regions.1.numa_node", "-1");
	assert_null(json_at(j, "regions.1.lease"));
	json_object_put(j);
}

static void test_status(void **state)
{
	_cleanup_run_ Run all = RUN("status");
	_cleanup_run_ Run one = RUN("status", "dax0.0");
	_cleanup_run_ Run json = RUN("--json", "status");
	_cleanup_run_ Run none = RUN("status", "nosuch");

	assert_int_equal(all.status, 0);
	contains(all.out, "dax1.0 is quarantined: The fence could not be proved.");
	contains(all.out, "unbind destroy");
	assert_int_equal(one.status, 0);
	contains(one.out, "active, to domain g1");
	contains(one.out, "on end keep, after a fence pause");
	contains(one.out, "Drain: ask, on a refusal force, without a deadline");
	contains(one.out, "It is leased to g1.");
	json_is(json.out, "daemon.libvirt_connected", "true");
	json_is(json.out, "leases.0.policy.after_fence", "pause");
	json_is(json.out, "leases.0.policy.drain", "ask");
	json_is(json.out, "leases.0.policy.on_refusal", "force");
	json_is(json.out, "leases.0.size_bytes", "3221225472");
	json_is(json.out, "leases.0.plugged_bytes", "1073741824");
	json_is(json.out, "leases.0.policy.deadline_usec", "18446744073709551614");
	assert_int_equal(none.status, 3);
	contains(none.err, "No region is called nosuch.");
	contains(none.err, "`pmemlease regions` lists them.");
}

static void test_leases_and_jobs(void **state)
{
	_cleanup_run_ Run leases = RUN("leases");
	_cleanup_run_ Run jobs = RUN("jobs");
	_cleanup_run_ Run json = RUN("jobs", "--json");

	assert_int_equal(leases.status, 0);
	contains(leases.out, "2025-06-15 15:06:40");
	assert_int_equal(jobs.status, 0);
	assert_string_equal(jobs.out, "No jobs.\n");
	json_is(json.out, "jobs", "[ ]");
}

static void test_history(void **state)
{
	_cleanup_run_ Run few = RUN("history", "dax0.0", "-n", "2", "--json");
	_cleanup_run_ Run many = RUN("history", "--lines=2200", "--json");
	_cleanup_run_ Run none = RUN("history", "nosuch");
	struct json_object *j = json_parse(many.out);

	/* oldest first */
	json_is(few.out, "history.0.seq", "2499");
	json_is(few.out, "history.1.seq", "2500");
	assert_int_equal(json_object_array_length(json_at(j, "history")), 2200);
	json_is(many.out, "history.0.seq", "301");
	json_object_put(j);
	assert_int_equal(none.status, 3);
}

static void test_lease(void **state)
{
	_cleanup_run_ Run r = RUN("lease", "dax0.0", "g1");
	_cleanup_run_ Run json = RUN("lease", "dax0.0", "g1", "--json");
	_cleanup_run_ Run options = RUN("lease", "dax0.0", "options", "--owner=o1",
		"--on-end=scrub", "--after-fence", "destroy", "--drain=force", "--on-refusal=keep");
	_cleanup_run_ Run without = RUN("lease", "dax0.0", "options");
	_cleanup_run_ Run started = RUN("lease", "dax0.0", "slow", "--no-wait");

	assert_int_equal(r.status, 0);
	contains(r.out, "Leased dax0.0 to domain g1 in ");
	assert_string_equal(r.err, "");
	json_is(json.out, "lease.id", "lease-1");
	json_is(json.out, "job.result", "done");
	json_is(json.out, "job.id", "7");
	assert_int_equal(options.status, 0);
	assert_int_equal(without.status, 2);
	assert_int_equal(started.status, 0);
	assert_string_equal(started.out, "job 7\n");
}

static void test_lease_by_size(void **state)
{
	_cleanup_run_ Run r = RUN("lease", "--size=64G", "--kind=devdax", "--node=1", "g1");

	assert_int_equal(r.status, 4);
	contains(r.err, "68719476736 bytes for g1, kind devdax, node 1.");
}

static void test_error_codes(void **state)
{
	static const struct {
		const char *name;
		int status;
	} cases[] = {
		{PML_ERROR_NO_SUCH_DOMAIN, 3},
		{PML_ERROR_BUSY, 4},
		{PML_ERROR_HELD, 4},
		{PML_ERROR_NOT_CLEAN, 4},
		{PML_ERROR_QUARANTINED, 4},
		{"org.freedesktop.DBus.Error.AccessDenied", 5},
		{"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", 5},
		{PML_ERROR_STUCK, 7},
		{PML_ERROR_INVALID, 2},
		{PML_ERROR_LEDGER, 1},
		{"org.example.Unheard", 1},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_run_ Run r = RUN("lease", "dax0.0", cases[i].name);
		_cleanup_run_ Run json = RUN("lease", "dax0.0", cases[i].name, "--json");

		assert_int_equal(r.status, cases[i].status);
		contains(r.err, "pmemlease: Said about dax0.0.");
		assert_string_equal(r.out, "");
		assert_int_equal(json.status, cases[i].status);
		json_is(json.out, "error.name", cases[i].name);
		json_is(json.out, "error.message", "Said about dax0.0.");
	}
}

static void test_failed_job(void **state)
{
	_cleanup_run_ Run r = RUN("lease", "dax0.0", "unsuited");

	assert_int_equal(r.status, 4);
	contains(r.err, "The domain has no memory slots.");
	assert_string_equal(r.out, "");
}

static void test_usage(void **state)
{
	static const char *const wrong[][5] = {
		{"regions", "too-many"},
		{"lease", "dax0.0"},
		{"lease", "dax0.0", "g1", "--size=1G"},
		{"lease", "dax0.0", "g1", "--node=1"},
		{"lease", "g1", "--size=1.5G"},
		{"lease", "g1", "--size=0"},
		{"lease", "g1", "--size=16777216P"},
		{"lease", "g1", "--size=1G", "--kind=disk"},
		{"lease", "g1", "--size=1G", "--node=1024"},
		{"nosuch"},
		{"regions", "--deadline=5s"},
		{"evict", "dax0.0", "--deadline=soon"},
		{"evict", "dax0.0", "--deadline=-1"},
		{"evict", "dax0.0", "--deadline=5"},
		{"evict", "dax0.0", "--after-fence=shout"},
		{"evict", "dax0.0", "--drain=gently"},
		{"evict", "dax0.0", "--on-refusal=sulk"},
		{"evict", "dax0.0", "--deadline=infinite"},
		{"release", "dax0.0", "--drain=gently"},
		{"release", "dax0.0", "--after-fence=destroy"},
		{"revoke", "dax0.0", "--drain=ask"},
		{"scrub", "dax0.0"},
		{"readmit"},
		{"readmit", "dax0.0", "--device=nmem0"},
		{"readmit", "dax0.0", "--discard="},
		{"readmit", "--device=nmem0", "--discard=bob"},
		{"evict", "dax0.0", "--restore"},
		{"lift-quarantine", "dax0.0", "--reason="},
		{"history", "-n", "0"},
		{"cancel", "seven"},
		{"--nosuch"},
		{NULL},
	};

	for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
		_cleanup_run_ Run r = run_args(wrong[i]);

		if (r.status != 2)
			fail_msg("case %zu: %d", i, r.status);
		assert_string_equal(r.out, "");
		assert_int_not_equal(strlen(r.err), 0);
	}
}

static void test_evict_story(void **state)
{
	_cleanup_run_ Run r = RUN("evict", "dax0.0", "--deadline=5s");

	assert_int_equal(r.status, 0);
	contains(r.out, "Evicted dax0.0 from domain g1 in ");
	contains(r.out, "waiting for the guest: ");
	contains(r.out, "Fenced by: unbind");
	contains(r.out, "Holders left: 2");
	contains(r.out, "Mappings left: 0 of 4");
	contains(r.out, "4 of 4 accesses from outside refused");
	contains(r.out, "PID 4242, qemu-system-x86, of g1.scope");
	contains(r.out, "virsh destroy g1");
	/* a process's name neither paints nor breaks lines */
	contains_not(r.out, "\033");
	contains(r.out, "Held by evil\\x1b[31m\\x0aname.");
}

/* What the guest has answered is told, of an eviction that is done, too. */
static void test_evict_answer(void **state)
{
	_cleanup_run_ Run r = RUN("evict", "dax0.0", "--deadline=infinity");
	_cleanup_run_ Run json = RUN("evict", "dax0.0", "--deadline=infinity", "--json");

	assert_int_equal(r.status, 0);
	contains(r.out, "Asked: The guest refused: \\x1bbusy.");
	json_is(json.out, "job.result", "done");
	json_is(json.out, "job.error", PML_ERROR_GUEST_REFUSED);
}

static void test_evict_json(void **state)
{
	_cleanup_run_ Run r = RUN("evict", "dax0.0", "--json", "--keep-offline");

	assert_int_equal(r.status, 0);
	json_is(r.out, "proof.verdict", "unreachable");
	json_is(r.out, "proof.holders.0.pid", "4242");
	json_is(r.out, "region.use", "evicted");
	json_is(r.out, "job.phases.1.name", "fencing");
}

static void test_evict_stuck(void **state)
{
	_cleanup_run_ Run r = RUN("evict", "dax0.0", "--deadline=0");

	assert_int_equal(r.status, 7);
	contains(r.err, "The fence could not be proved.");
	contains(r.out, "quarantined");
	contains_not(r.out, "Evicted");
}

static void test_evict_stuck_json(void **state)
{
	_cleanup_run_ Run r = RUN("evict", "dax0.0", "--deadline=0", "--json");

	assert_int_equal(r.status, 7);
	json_is(r.out, "error.name", PML_ERROR_STUCK);
	json_is(r.out, "proof.rung", "unbind");
}

/* The proof of an earlier fence is not this one's. */
static void test_evict_old_proof(void **state)
{
	_cleanup_run_ Run r = RUN("evict", "dax0.0", "--deadline=1s", "--json");
	_cleanup_run_ Run proof = RUN("proof", "dax0.0", "--json");
	struct json_object *j = json_parse(r.out);

	assert_int_equal(r.status, 0);
	assert_null(json_at(j, "proof"));
	json_object_put(j);
	json_is(proof.out, "summary", "An old proof.");
}

static void test_release_and_revoke(void **state)
{
	_cleanup_run_ Run by_region = RUN("release", "dax0.0");
	_cleanup_run_ Run by_lease = RUN("revoke", "lease-1");
	_cleanup_run_ Run none = RUN("release", "dax1.0");

	assert_int_equal(by_region.status, 0);
	contains(by_region.out, "Released dax0.0 from domain g1");
	assert_int_equal(by_lease.status, 0);
	contains(by_lease.out, "Revoked dax0.0");
	assert_int_equal(none.status, 3);
	/* the daemon's sentence says what to do: nothing is said twice */
	assert_string_equal(
		none.err, "pmemlease: No lease of dax1.0; pmemlease leases lists them.\n");
}

static void test_release_with_options(void **state)
{
	_cleanup_run_ Run both = RUN("release", "dax0.0", "--drain=never", "--on-refusal=keep");
	_cleanup_run_ Run one = RUN("release", "lease-1", "--on-refusal=keep");

	assert_int_equal(both.status, 4);
	contains(both.err, "given: drain=never on-refusal=keep");
	assert_int_equal(one.status, 4);
	contains(one.err, "given: on-refusal=keep");
}

static void test_verify(void **state)
{
	_cleanup_run_ Run r = RUN("verify", "dax0.0");
	_cleanup_run_ Run json = RUN("verify", "dax0.0", "--json");

	assert_int_equal(r.status, 0);
	contains(r.out, "unreachable");
	contains(r.out, "4242");
	contains(r.out, "3 of 3");
	contains(r.out, "  - Pages pinned by the kernel cannot be seen.");
	json_is(json.out, "verdict", "unreachable");
}

static void test_operator_verbs(void **state)
{
	_cleanup_run_ Run adopt = RUN("adopt", "dax1.0", "me");
	_cleanup_run_ Run wrong = RUN("scrub", "dax0.0", "--discard=g2-uuid");
	_cleanup_run_ Run scrub = RUN("scrub", "dax0.0", "--discard=g1-uuid");
	_cleanup_run_ Run lift = RUN("lift-quarantine", "dax1.0", "--reason=looked at it");
	_cleanup_run_ Run readmit = RUN("readmit", "dax0.0");

	assert_int_equal(adopt.status, 0);
	assert_int_equal(wrong.status, 4);
	contains(wrong.err, "Nothing was destroyed.");
	assert_int_equal(scrub.status, 0);
	contains(scrub.out, "256M overwritten");
	assert_int_equal(lift.status, 0);
	assert_int_equal(readmit.status, 0);
}

static void test_interrupt(void **state)
{
	_cleanup_run_ Run r = run_begin((const char *const[]){"lease", "dax0.0", "slow", NULL});

	fake_daemon_wait_followed(run_bus);
	kill(r.pid, SIGINT);
	run_end(&r);
	assert_int_equal(r.status, 130);
	contains(r.err, "`pmemlease cancel 7`");
	contains(r.err, "`pmemlease wait 7`");
	{
		_cleanup_run_ Run jobs = RUN("jobs");

		contains(jobs.out, "overwriting");
		contains(jobs.out, "50%");
		contains(jobs.out, "dax0.0");
	}
}

static void test_cancel(void **state)
{
	_cleanup_run_ Run r = run_begin((const char *const[]){"lease", "dax0.0", "slow", NULL});
	_cleanup_run_ Run none = {}, cancel = {}, waiting = {};

	fake_daemon_wait_followed(run_bus);
	waiting = run_begin((const char *const[]){"wait", "7", NULL});
	fake_daemon_wait_followed(run_bus);
	cancel = RUN("cancel", "7");
	run_end(&r);
	run_end(&waiting);
	none = RUN("cancel", "99999");
	assert_int_equal(cancel.status, 0);
	assert_int_equal(r.status, 1);
	contains(r.err, "It was cancelled.");
	assert_int_equal(waiting.status, 1);
	assert_int_equal(none.status, 3);
}

static void test_daemon_dies(void **state)
{
	_cleanup_run_ Run r = RUN("lease", "dax0.0", "dies");

	assert_int_equal(r.status, 6);
	contains(r.err, "The daemon ended while it worked on this.");
}

static void test_no_daemon(void **state)
{
	fake_daemon_stop(run_bus);
	{
		_cleanup_run_ Run r = RUN("regions");
		_cleanup_run_ Run json = RUN("regions", "--json");

		assert_int_equal(r.status, 6);
		contains(r.err, "systemctl status pmemleased");
		json_is(json.out, "error.exit_code", "6");
	}
}

/* Reads what the command writes to fd until what is in it. */
static void wait_for_text(int fd, const char *what)
{
	char text[8192] = "";
	size_t n = 0;

	while (!strstr(text, what)) {
		ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);

		if (got <= 0)
			fail_msg("\"%s\" never came: %s", what, text);
		n += (size_t)got;
		text[n] = '\0';
	}
}

static void follow_slow(int parent_fd, int child_fd, const char *what)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		run_child(
			child_fd, child_fd, (const char *const[]){"lease", "dax0.0", "slow", NULL});
	close(child_fd);
	wait_for_text(parent_fd, what);
	{
		_cleanup_run_ Run cancel = RUN("cancel", "7");

		assert_int_equal(cancel.status, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 1);
	close(parent_fd);
}

static void test_progress_lines(void **state)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	follow_slow(fds[0], fds[1], "overwriting, 50%, 2.");
}

static void test_progress_bar(void **state)
{
	struct winsize size = {.ws_col = 100, .ws_row = 25};
	int parent_fd, child_fd;

	assert_int_equal(openpty(&parent_fd, &child_fd, NULL, NULL, &size), 0);
	follow_slow(parent_fd, child_fd, "\r\033[K[####################....................]  50%");
}

static void test_colour_on_a_terminal(void **state)
{
	struct winsize size = {.ws_col = 200, .ws_row = 25};
	int parent_fd, child_fd, status;
	pid_t pid;

	assert_int_equal(openpty(&parent_fd, &child_fd, NULL, NULL, &size), 0);
	pid = fork();
	if (pid == 0) {
		setenv("TERM", "xterm", 1);
		unsetenv("NO_COLOR");
		run_child(child_fd, child_fd, (const char *const[]){"regions", NULL});
	}
	close(child_fd);
	wait_for_text(parent_fd, "\033[31m");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(parent_fd);
}

typedef struct Watcher {
	pid_t pid;
	FILE *out;
	char *line;
	size_t size;
} Watcher;

/* Starts the command, its output to be read as it comes. */
static Watcher watch(const char *const *args)
{
	Watcher w = {};
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	w.pid = fork();
	assert_true(w.pid >= 0);
	if (w.pid == 0)
		run_child(fds[1], STDERR_FILENO, args);
	close(fds[1]);
	w.out = fdopen(fds[0], "r");
	assert_non_null(w.out);
	return w;
}

static const char *next_line(Watcher *w)
{
	return getline(&w->line, &w->size, w->out) > 0 ? w->line : NULL;
}

static void line_with(Watcher *w, const char *what)
{
	const char *line;

	while ((line = next_line(w)))
		if (strstr(line, what))
			return;
	fail_msg("\"%s\" never came", what);
}

static void end_watch(Watcher *w, int signal_number)
{
	int status;

	kill(w->pid, signal_number);
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	fclose(w->out);
	free(w->line);
}

static void test_monitor(void **state)
{
	Watcher w = watch((const char *const[]){"monitor", NULL});
	_cleanup_run_ Run evict = {};

	line_with(&w, "daemon: version 0.1.0; watching regions: 2, leases: 1, jobs: 0\n");
	evict = RUN("evict", "dax0.0", "--deadline=5s");
	assert_int_equal(evict.status, 0);
	line_with(&w, "job 7 (evict dax0.0): started\n");
	line_with(&w, "job 7 (evict dax0.0): fencing\n");
	line_with(&w, "region dax0.0: use leased -> evicted\n");
	line_with(&w, "job 7 (evict dax0.0): done\n");
	fake_daemon_stop(run_bus);
	line_with(&w, "daemon: has gone; waiting for it to come back\n");
	fake_daemon_start(run_bus);
	line_with(&w, "daemon: is back, version 0.1.0");
	/* what changed while it was away */
	line_with(&w, "region dax0.0: use evicted -> leased\n");
	end_watch(&w, SIGINT);
}

static void test_monitor_waits_for_the_daemon(void **state)
{
	Watcher w;

	fake_daemon_stop(run_bus);
	w = watch((const char *const[]){"monitor", NULL});
	line_with(&w, "daemon: does not run; waiting for it\n");
	fake_daemon_start(run_bus);
	line_with(&w, "daemon: version 0.1.0; watching regions: 2");
	end_watch(&w, SIGTERM);
}

/* One object a line, each complete when it is there. */
static void test_monitor_json(void **state)
{
	Watcher w = watch((const char *const[]){"monitor", "--json", NULL});
	_cleanup_free_ char *changed = NULL, *ended = NULL;
	_cleanup_run_ Run evict = {};
	const char *line = next_line(&w);

	json_is(line, "event", "watching");
	json_is(line, "regions", "2");
	evict = RUN("evict", "dax0.0", "--deadline=0");
	while (!ended && (line = next_line(&w))) {
		struct json_object *j = json_parse(line), *property = NULL;

		assert_true(json_object_get_uint64(json_at(j, "time_usec")) > 0);
		(void)json_object_object_get_ex(j, "property", &property);
		if (property && strcmp(json_object_get_string(property), "use") == 0)
			changed = strdup(line);
		if (strcmp(json_object_get_string(json_at(j, "event")), "ended") == 0 &&
			json_object_get_int(json_at(j, "job")) == 7)
			ended = strdup(line);
		json_object_put(j);
	}
	json_is(changed, "region_name", "dax0.0");
	json_is(changed, "from", "leased");
	json_is(changed, "to", "quarantined");
	json_is(ended, "result", "failed");
	json_is(ended, "error", PML_ERROR_STUCK);
	json_is(ended, "job_kind", "evict");
	end_watch(&w, SIGINT);
}

/* The host's own lines are what they are here; the daemon's are these. */
static void test_doctor(void **state)
{
	_cleanup_run_ Run r = RUN("doctor"), json = RUN("doctor", "--json"), down = {};
	struct json_object *j = json_parse(json.out), *checks = json_at(j, "checks");
	bool later = false;

	assert_true(r.status == 0 || r.status == 1);
	assert_string_equal(r.err, "");
	contains(r.out, "ok   daemon               pmemleased runs and answers.\n");
	contains(r.out, "ok   ledger               It can be written.\n");
	contains(r.out, " => Update.\n");
	for (size_t i = 0; i < json_object_array_length(checks); i++) {
		struct json_object *one = json_object_array_get_idx(checks, i);

		if (strcmp(json_object_get_string(json_at(one, "check")), "later") == 0)
			later = strcmp(json_object_get_string(json_at(one, "level")), "warn") == 0;
	}
	assert_true(later);
	json_object_put(j);
	fake_daemon_stop(run_bus);
	down = RUN("doctor");
	assert_int_equal(down.status, 1);
	contains(down.out, "bad  daemon               pmemleased does not run");
	contains(down.out, "kernel.freezer");
}

/* An ssh that goes nowhere: the other host's bus is the private one. */
static const char ssh[] = "#!/bin/sh\n"
			  "echo \"$*\" >\"$0.log\"\n"
			  "case \"$*\" in *nosuch*) exit 255 ;; esac\n"
			  "exec systemd-stdio-bridge --bus-path=\"$DBUS_SYSTEM_BUS_ADDRESS\"\n";

static void put_ssh(const char *dir, char path[static PATH_MAX])
{
	int fd;

	snprintf(path, PATH_MAX, "%s/ssh", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, ssh, sizeof(ssh) - 1), sizeof(ssh) - 1);
	close(fd);
}

static void test_other_host(void **state)
{
	char dir[] = "/tmp/pmemlease-ssh-XXXXXX", script[PATH_MAX], log[PATH_MAX + 8], said[128];
	const char *old_path = getenv("PATH");
	_cleanup_free_ char *path = NULL, *restore = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_run_ Run r = {}, evict = {}, none = {};

	if (access("/usr/bin/systemd-stdio-bridge", X_OK) < 0)
		skip();
	restore = strdup(old_path ? old_path : "/usr/bin:/bin");
	assert_non_null(restore);
	assert_non_null(mkdtemp(dir));
	put_ssh(dir, script);
	assert_true(asprintf(&path, "%s:%s", dir, restore) > 0);
	setenv("PATH", path, 1);
	none = RUN("-H", "root@nosuch", "regions");
	/* jobs are followed there, too */
	evict = RUN("--host=root@other", "evict", "dax0.0", "--deadline=5s");
	r = RUN("-H", "root@other", "regions");
	setenv("PATH", restore, 1);
	assert_int_equal(r.status, 0);
	contains(r.out, "dax0.0");
	assert_int_equal(evict.status, 0);
	contains(evict.out, "Evicted dax0.0 from domain g1");
	assert_int_equal(none.status, 6);
	contains(none.err, "root@nosuch");
	snprintf(log, sizeof(log), "%s.log", script);
	f = fopen(log, "re");
	assert_non_null(f);
	assert_non_null(fgets(said, sizeof(said), f));
	contains(said, "root@other");
	unlink(log);
	unlink(script);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_regions, setup),
		cmocka_unit_test_setup(test_status, setup),
		cmocka_unit_test_setup(test_leases_and_jobs, setup),
		cmocka_unit_test_setup(test_history, setup),
		cmocka_unit_test_setup(test_lease, setup),
		cmocka_unit_test_setup(test_lease_by_size, setup),
		cmocka_unit_test_setup(test_error_codes, setup),
		cmocka_unit_test_setup(test_failed_job, setup),
		cmocka_unit_test_setup(test_usage, setup),
		cmocka_unit_test_setup(test_evict_story, setup),
		cmocka_unit_test_setup(test_evict_answer, setup),
		cmocka_unit_test_setup(test_evict_json, setup),
		cmocka_unit_test_setup(test_evict_stuck, setup),
		cmocka_unit_test_setup(test_evict_stuck_json, setup),
		cmocka_unit_test_setup(test_evict_old_proof, setup),
		cmocka_unit_test_setup(test_release_and_revoke, setup),
		cmocka_unit_test_setup(test_release_with_options, setup),
		cmocka_unit_test_setup(test_verify, setup),
		cmocka_unit_test_setup(test_operator_verbs, setup),
		cmocka_unit_test_setup(test_interrupt, setup),
		cmocka_unit_test_setup(test_cancel, setup),
		cmocka_unit_test_setup(test_daemon_dies, setup),
		cmocka_unit_test_setup(test_no_daemon, setup),
		cmocka_unit_test_setup(test_progress_lines, setup),
		cmocka_unit_test_setup(test_progress_bar, setup),
		cmocka_unit_test_setup(test_colour_on_a_terminal, setup),
		cmocka_unit_test_setup(test_monitor, setup),
		cmocka_unit_test_setup(test_monitor_waits_for_the_daemon, setup),
		cmocka_unit_test_setup(test_monitor_json, setup),
		cmocka_unit_test_setup(test_doctor, setup),
		cmocka_unit_test_setup(test_other_host, setup),
	};
	int failed;

	run_program = getenv("PMEMLEASE");
	if (!run_program) {
		fputs("PMEMLEASE names the program to be tested\n", stderr);
		return 1;
	}
	run_bus = fake_bus_new();
	failed = cmocka_run_group_tests_name("command", tests, NULL, NULL);
	run_bus = fake_bus_free(run_bus);
	return failed;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "harness.h"

static void path_of(const Harness *h, char *path, size_t size, const char *name)
{
	(void)snprintf(path, size, "%s/%s", h->dir, name);
}

void harness_write(Harness *h, const char *name, const char *format, ...)
{
	char path[256], tmp[300];
	va_list ap;
	FILE *f;

	path_of(h, path, sizeof(path), name);
	(void)snprintf(tmp, sizeof(tmp), "%s.new", path);
	f = fopen(tmp, "we");
	assert_non_null(f);
	va_start(ap, format);
	assert_true(vfprintf(f, format, ap) >= 0);
	va_end(ap);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(tmp, path), 0);
}

void harness_remove(Harness *h, const char *name)
{
	char path[256];

	path_of(h, path, sizeof(path), name);
	assert_int_equal(unlink(path), 0);
}

void harness_fifo(Harness *h, const char *name)
{
	char path[256];

	path_of(h, path, sizeof(path), name);
	assert_int_equal(mkfifo(path, 0600), 0);
}

void harness_bus_start(Harness *h)
{
	char path[256], line[256];
	int fds[2];

	harness_write(h, "bus.conf",
		"<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\""
		" \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
		"<busconfig><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth><policy context=\"default\">"
		"<allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/><allow send_type=\"method_call\"/>"
		"<allow receive_type=\"signal\"/><allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>"
		"<allow receive_type=\"error\"/></policy></busconfig>\n",
		h->dir);
	path_of(h, path, sizeof(path), "bus");
	(void)unlink(path);
	path_of(h, path, sizeof(path), "bus.conf");
	assert_int_equal(pipe2(fds, 0), 0);
	h->bus_pid = fork();
	assert_true(h->bus_pid >= 0);
	if (h->bus_pid == 0) {
		char config[300], print[64];

		/* A test that is killed leaves nobody behind who keeps its output open. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)snprintf(config, sizeof(config), "--config-file=%s", path);
		(void)snprintf(print, sizeof(print), "--print-address=%d", fds[1]);
		close(fds[0]);
		execlp("dbus-daemon", "dbus-daemon", config, "--nofork", "--nopidfile",
			"--nosyslog", print, NULL);
		_exit(127);
	}
	close(fds[1]);
	/* The address comes when it listens. */
	assert_true(read(fds[0], line, sizeof(line)) > 0);
	close(fds[0]);
}

void harness_bus_kill(Harness *h)
{
	assert_int_equal(kill(h->bus_pid, SIGKILL), 0);
	assert_int_equal(waitpid(h->bus_pid, NULL, 0), h->bus_pid);
	h->bus_pid = 0;
}

static sd_bus *bus_new(Harness *h)
{
	sd_bus *bus;

	assert_true(sd_bus_new(&bus) >= 0);
	assert_true(sd_bus_set_address(bus, h->address) >= 0);
	assert_true(sd_bus_set_bus_client(bus, 1) >= 0);
	assert_true(sd_bus_start(bus) >= 0);
	assert_true(sd_bus_attach_event(bus, h->event, 0) >= 0);
	return bus;
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	Harness *h = userdata;
	const char *first = "";
	char type;

	/* An id may come before what tells the objects apart. */
	if (sd_bus_message_peek_type(m, &type, NULL) > 0 && type == 't')
		(void)sd_bus_message_skip(m, "t");
	if (sd_bus_message_peek_type(m, &type, NULL) > 0 && (type == 's' || type == 'o'))
		(void)sd_bus_message_read_basic(m, type, &first);
	if (h->n_signals < ELEMENTSOF(h->signals) &&
		asprintf(&h->signals[h->n_signals], "%s %s %s", sd_bus_message_get_member(m),
			sd_bus_message_get_path(m), first) > 0)
		h->n_signals++;
	return 0;
}

void harness_connect(Harness *h)
{
	h->client = bus_new(h);
	assert_true(sd_bus_add_match(h->client, NULL,
			    "type='signal',path_namespace='" PML_BUS_PATH "'", on_signal, h) >= 0);
}

void harness_disconnect(Harness *h)
{
	if (h->client)
		sd_bus_close(h->client);
	h->client = sd_bus_unref(h->client);
	if (h->polkit)
		sd_bus_close(h->polkit);
	h->polkit = sd_bus_unref(h->polkit);
}

static void polkit_reply(sd_bus_message *m, bool yes, bool challenge)
{
	assert_true(sd_bus_reply_method_return(m, "(bba{ss})", (int)yes, (int)challenge, 0) >= 0);
}

static int on_check(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *kind, *name, *sender, *action, *cancel;
	Harness *h = userdata;

	assert_true(sd_bus_message_read(m, "(sa{sv})sa{ss}us", &kind, 1, &name, "s", &sender,
			    &action, 0, &h->polkit_flags, &cancel) > 0);
	assert_string_equal(kind, "system-bus-name");
	assert_string_equal(name, "name");
	h->polkit_asked++;
	assert_int_equal(PML_STRCPY(h->polkit_action, action), 0);
	switch (h->mode) {
	case POLKIT_YES:
		polkit_reply(m, true, false);
		break;
	case POLKIT_NO:
		polkit_reply(m, false, false);
		break;
	case POLKIT_CHALLENGE:
		polkit_reply(m, false, true);
		break;
	case POLKIT_SILENT:
		assert_true(h->n_held < ELEMENTSOF(h->held));
		h->held[h->n_held++] = sd_bus_message_ref(m);
		break;
	case POLKIT_ABSENT:
		fail();
	}
	return 1;
}

static const sd_bus_vtable polkit_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_check,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

void harness_polkit(Harness *h, PolkitMode mode)
{
	h->mode = mode;
	h->polkit_asked = 0;
	h->polkit_action[0] = '\0';
	if (mode == POLKIT_ABSENT || h->polkit)
		return;
	h->polkit = bus_new(h);
	assert_true(sd_bus_add_object_vtable(h->polkit, NULL, PML_POLKIT_PATH, PML_POLKIT_IF,
			    polkit_vtable, h) >= 0);
	assert_true(sd_bus_request_name(h->polkit, PML_POLKIT_NAME, 0) >= 0);
}

void harness_polkit_answer(Harness *h, bool yes)
{
	for (size_t i = 0; i < h->n_held; i++) {
		polkit_reply(h->held[i], yes, false);
		sd_bus_message_unref(h->held[i]);
	}
	h->n_held = 0;
}

void harness_new(Harness *h)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	*h = (Harness){.dir = "/tmp/pmemlease-test-XXXXXX", .notify_fd = -EBADF};
	assert_non_null(mkdtemp(h->dir));
	(void)snprintf(h->address, sizeof(h->address), "unix:path=%s/bus", h->dir);
	assert_true(sd_event_new(&h->event) >= 0);
	h->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(h->notify_fd >= 0);
	assert_true((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%.64s/notify", h->dir) <
		    sizeof(addr.sun_path));
	assert_int_equal(bind(h->notify_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	harness_fifo(h, "events");
	harness_write(h, "pmemleased.conf", "%s", "");
	harness_bus_start(h);
	harness_connect(h);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void harness_free(Harness *h)
{
	if (!h)
		return;
	if (h->daemon_pid > 0)
		harness_daemon_kill(h);
	for (size_t i = 0; i < h->n_held; i++)
		sd_bus_message_unref(h->held[i]);
	harness_disconnect(h);
	harness_signals_clear(h);
	if (h->bus_pid > 0)
		harness_bus_kill(h);
	closep(&h->notify_fd);
	sd_event_unref(h->event);
	(void)nftw(h->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void harness_daemon_exec(Harness *h, bool trusted, const char *const *env)
{
	const char *exe = getenv("PMEMLEASED_FAKE");
	char config[256], state[256], run[256], notify[256], uid[32];

	assert_non_null(exe);
	(void)snprintf(config, sizeof(config), "--config=%s/pmemleased.conf", h->dir);
	(void)snprintf(state, sizeof(state), "--state-dir=%s/state", h->dir);
	(void)snprintf(run, sizeof(run), "--runtime-dir=%s/run", h->dir);
	(void)snprintf(notify, sizeof(notify), "%s/notify", h->dir);
	(void)snprintf(uid, sizeof(uid), "%u", trusted ? getuid() : 4242);
	h->daemon_pid = fork();
	assert_true(h->daemon_pid >= 0);
	if (h->daemon_pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", h->address, 1);
	setenv("NOTIFY_SOCKET", notify, 1);
	setenv("PMEMLEASE_FAKE_DIR", h->dir, 1);
	setenv("PMEMLEASE_FAKE_TRUSTED_UID", uid, 1);
	for (; env && *env; env++)
		putenv(strdup(*env));
	execl(exe, exe, config, state, run, NULL);
	_exit(127);
}

void harness_daemon_start(Harness *h, bool trusted, const char *const *env)
{
	harness_daemon_exec(h, trusted, env);
	harness_wait_notify(h, "READY=1");
}

int harness_daemon_wait(Harness *h)
{
	int status;

	assert_int_equal(waitpid(h->daemon_pid, &status, 0), h->daemon_pid);
	h->daemon_pid = 0;
	return status;
}

int harness_daemon_stop(Harness *h)
{
	assert_int_equal(kill(h->daemon_pid, SIGTERM), 0);
	return harness_daemon_wait(h);
}

void harness_daemon_kill(Harness *h)
{
	assert_int_equal(kill(h->daemon_pid, SIGKILL), 0);
	(void)harness_daemon_wait(h);
}

void harness_wait_notify(Harness *h, const char *line)
{
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + HARNESS_TIMEOUT_USEC;

	for (;;) {
		struct pollfd p = {.fd = h->notify_fd, .events = POLLIN};
		uint64_t now = pml_now_usec(CLOCK_MONOTONIC);
		char buf[1024];
		ssize_t n;

		if (now >= end || poll(&p, 1, (int)((end - now) / 1000)) <= 0)
			fail_msg("The daemon did not say %s.", line);
		n = recv(h->notify_fd, buf, sizeof(buf) - 1, 0);
		assert_true(n >= 0);
		buf[n] = '\0';
		if (strstr(buf, line))
			return;
	}
}

void harness_wait(Harness *h, bool *flag)
{
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + HARNESS_TIMEOUT_USEC;

	while (!*flag) {
		uint64_t now = pml_now_usec(CLOCK_MONOTONIC);

		if (now >= end)
			fail_msg("No answer.");
		assert_true(sd_event_run(h->event, end - now) >= 0);
	}
}

void harness_settle(Harness *h)
{
	while (sd_event_run(h->event, 0) > 0)
		;
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	Call *c = userdata;

	c->reply = sd_bus_message_ref(m);
	c->done = true;
	return 0;
}

static void call_v(Harness *h, Call *c, const char *path, const char *interface, const char *member,
	const char *types, va_list ap)
{
	_cleanup_message_ sd_bus_message *m = NULL;

	*c = (Call){};
	assert_true(sd_bus_message_new_method_call(
			    h->client, &m, PML_BUS_NAME, path, interface, member) >= 0);
	assert_true(!types || sd_bus_message_appendv(m, types, ap) >= 0);
	assert_true(sd_bus_call_async(h->client, NULL, m, on_reply, c, HARNESS_TIMEOUT_USEC) >= 0);
}

void harness_call_async(Harness *h, Call *c, const char *path, const char *interface,
	const char *member, const char *types, ...)
{
	va_list ap;

	va_start(ap, types);
	call_v(h, c, path, interface, member, types, ap);
	va_end(ap);
}

sd_bus_message *harness_call(Harness *h, const char *path, const char *interface,
	const char *member, const char *types, ...)
{
	va_list ap;
	Call c;

	va_start(ap, types);
	call_v(h, &c, path, interface, member, types, ap);
	va_end(ap);
	harness_wait(h, &c.done);
	return c.reply;
}

static bool signal_seen(const Harness *h, const char *prefix)
{
	for (size_t i = 0; i < h->n_signals; i++)
		if (strncmp(h->signals[i], prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

void harness_wait_signal(Harness *h, const char *prefix)
{
	uint64_t end = pml_now_usec(CLOCK_MONOTONIC) + HARNESS_TIMEOUT_USEC;

	while (!signal_seen(h, prefix)) {
		uint64_t now = pml_now_usec(CLOCK_MONOTONIC);

		if (now >= end)
			fail_msg("No signal %s", prefix);
		assert_true(sd_event_run(h->event, end - now) >= 0);
	}
}

void harness_signals_clear(Harness *h)
{
	while (h->n_signals > 0)
		free(h->signals[--h->n_signals]);
}

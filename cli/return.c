/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A part of the host is back, or another in its slot. The namespaces that are not there any more
 * are made by ndctl, with the rights of who calls this; then the daemon does the rest.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <sys/wait.h>

#include "act.h"
#include "format.h"
#include "show.h"

#define ARGS_MAX 10

extern char **environ;

typedef struct Missing {
	const char *nd_region, *mode, *map, *set; /* the message's */
	uint64_t size_bytes, align_bytes;
	uint32_t sector_bytes;
} Missing;

/* Takes s, also on failure; NULL ends the words. */
static int add_word(char **argv, size_t *n, char *s)
{
	if (!s || *n + 1 >= ARGS_MAX) {
		free(s);
		return -ENOMEM;
	}
	argv[(*n)++] = s;
	argv[*n] = NULL;
	return 0;
}

static char *_printf_(1, 2) word(const char *format, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, format);
	n = vasprintf(&s, format, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

static int make_words(const Missing *w, char **argv)
{
	size_t n = 0;
	int r = add_word(argv, &n, strdup("ndctl"));

	if (r >= 0)
		r = add_word(argv, &n, strdup("create-namespace"));
	if (r >= 0)
		r = add_word(argv, &n, word("--region=%s", w->nd_region));
	if (r >= 0)
		r = add_word(argv, &n, word("--mode=%s", w->mode));
	if (r >= 0)
		r = add_word(argv, &n, word("--size=%" PRIu64, w->size_bytes));
	if (r >= 0 && w->align_bytes > 0)
		r = add_word(argv, &n, word("--align=%" PRIu64, w->align_bytes));
	if (r >= 0 && *w->map)
		r = add_word(argv, &n, word("--map=%s", w->map));
	if (r >= 0 && w->sector_bytes > 0)
		r = add_word(argv, &n, word("--sector-size=%" PRIu32, w->sector_bytes));
	return r;
}

/* Its errors are on stderr; what it made, the daemon will tell. 0, or negative errno. */
static int run(char *const *argv)
{
	posix_spawn_file_actions_t actions;
	int status, r;
	pid_t pid;

	r = posix_spawn_file_actions_init(&actions);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(
			&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static void say_failed(int r, const char *what)
{
	/* ndctl has said why itself */
	say(stderr, "pmemlease: ndctl did not %s%s%s.\n", what, r == -EIO ? "" : ": ",
		r == -EIO ? "" : strerror(-r));
}

static void make(const Options *o, const Missing *w)
{
	char *argv[ARGS_MAX] = {}, size[FORMAT_MAX];
	int r = make_words(w, argv);

	if (r >= 0) {
		say(stderr, "Making a %s namespace of %s on %s (%s).\n", w->mode,
			format_size(size, w->size_bytes, o->bytes), w->nd_region, w->set);
		r = run(argv);
	}
	for (char **s = argv; *s; s++)
		free(*s);
	/* The daemon will say what is missing, and the rest can be had all the same. */
	if (r < 0)
		say_failed(r, "make it");
}

static int ndctl(const char *what, const char *device)
{
	char *const argv[] = {(char *)"ndctl", (char *)what, (char *)device, NULL};

	return run(argv);
}

/* Nothing but what the kernel makes of a DIMM without labels, and nobody has that. */
static bool is_unlabelled(const DeviceInfo *d)
{
	for (size_t i = 0; i < d->n_rows; i++)
		if (strcmp(d->rows[i].mode, "raw") != 0 || *d->rows[i].region)
			return false;
	return d->n_rows > 0;
}

/*
 * A DIMM that is new has no labels, and without them its interleave set is one namespace.
 * ndctl-init-labels(1) leaves those alone that are there.
 */
static ExitCode write_labels(sd_bus *bus, const Options *o, const char *nd_region)
{
	_cleanup_(device_info_clear) DeviceInfo device = {};
	ExitCode code = load_device(bus, o, o->device, &device);
	int r = 0;

	if (code != EXIT_DONE || !is_unlabelled(&device))
		return code;
	say(stderr, "Writing labels to %s, which has none.\n", o->device);
	/* This refuses what is in use; disabling the set would not. */
	for (size_t i = 0; i < device.n_rows && r >= 0; i++)
		if (device.rows[i].enabled)
			r = ndctl("disable-namespace", device.rows[i].name);
	if (r >= 0)
		r = ndctl("disable-region", nd_region);
	for (size_t i = 0; i < device.n_dimms && r >= 0; i++)
		r = ndctl("init-labels", device.dimms[i].name);
	if (r >= 0)
		r = ndctl("enable-region", nd_region);
	else
		(void)ndctl("enable-region", nd_region);
	if (r < 0)
		say_failed(r, "label it");
	return EXIT_DONE;
}

static ExitCode make_missing(sd_bus *bus, const Options *o)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	ExitCode code = bus_call(
		bus, o, PML_BUS_PATH, PML_IF_MANAGER, "DescribeLayout", &reply, "s", o->device);
	int r, there = 0, labelled = 0;
	bool looked = false;
	Missing w;

	if (code != EXIT_DONE)
		return code;
	r = sd_bus_message_enter_container(reply, 'a', "(sssttusbb)");
	while (r >= 0 && (r = sd_bus_message_read(reply, "(sssttusbb)", &w.nd_region, &w.mode,
				  &w.map, &w.size_bytes, &w.align_bytes, &w.sector_bytes, &w.set,
				  &there, &labelled)) > 0) {
		if (there || !*w.nd_region)
			continue;
		if (o->host) {
			say(stderr,
				"pmemlease: A namespace of %s is missing, and is made on its own host alone: call this there.\n",
				o->device);
			return EXIT_USAGE;
		}
		if (labelled && !looked)
			code = write_labels(bus, o, w.nd_region);
		if (code != EXIT_DONE)
			return code;
		looked = true;
		make(o, &w);
	}
	return r < 0 ? report_errno(o, r, "Cannot read the daemon's answer") : EXIT_DONE;
}

static int message(sd_bus *bus, const Options *o, sd_bus_message **ret)
{
	int r = sd_bus_message_new_method_call(
		bus, ret, PML_BUS_NAME, PML_BUS_PATH, PML_IF_MANAGER, "ReadmitDevice");

	if (r >= 0)
		r = sd_bus_message_append(*ret, "s", o->device);
	if (r >= 0)
		r = sd_bus_message_open_container(*ret, 'a', "{sv}");
	if (r >= 0 && o->discard)
		r = sd_bus_message_append(*ret, "{sv}", "scrub", "b", 1);
	return r < 0 ? r : sd_bus_message_close_container(*ret);
}

ExitCode readmit_device(sd_bus *bus, const Options *o)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	_cleanup_outcome_ JobOutcome outcome = {};
	_cleanup_watch_ JobWatch *watch = NULL;
	ExitCode code = make_missing(bus, o);
	int r;

	if (code != EXIT_DONE)
		return code;
	r = job_watch_new(bus, o, &watch);
	if (r >= 0)
		r = message(bus, o, &m);
	if (r < 0)
		return report_errno(o, r, "Cannot ask the daemon");
	code = follow_job(bus, o, watch, m, &outcome);
	return code != EXIT_DONE || o->no_wait
		       ? code
		       : tell_device(bus, o, &outcome, show_device_readmitted);
}

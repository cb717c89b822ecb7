/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <systemd/sd-event.h>

#include "format.h"
#include "job-wait.h"
#include "json.h"
#include "names.h"

#define REDRAW_USEC (250 * USEC_PER_MSEC)
#define LINE_USEC   (2 * USEC_PER_SEC)

struct JobWatch {
	sd_bus *bus;
	sd_event *event;
	const Options *options;
	sd_bus_slot *removed, *changed, *owner, *lost, *asked;
	sd_event_source *interrupt, *tick;
	char *object;
	JobOutcome outcome;
	uint64_t started_usec, phase_usec;
	double progress;
	char *printed;
	ExitCode code;
	bool tty, ended;
};

uint64_t job_id_of(const char *object)
{
	_cleanup_free_ char *label = NULL;
	uint64_t id;

	if (sd_bus_path_decode(object, PML_PATH_JOB, &label) <= 0 ||
		parse_number(label, 1, UINT64_MAX, &id) < 0)
		return 0;
	return id;
}

char *progress_line(const char *phase, double progress, uint64_t elapsed_usec)
{
	char span[FORMAT_MAX];
	char *line;
	int r;

	format_span(span, elapsed_usec);
	if (progress > 0)
		r = asprintf(&line, "%s, %d%%, %s", phase, (int)(progress * 100), span);
	else
		r = asprintf(&line, "%s, %s", phase, span);
	return r < 0 ? NULL : line;
}

char *progress_bar(const char *phase, double progress, uint64_t elapsed_usec, unsigned width)
{
	char span[FORMAT_MAX], bar[41];
	size_t filled, room = sizeof(bar) - 1;
	char *line;

	if (!(progress >= 0))
		progress = 0;
	if (progress > 1)
		progress = 1;
	/* "[bar] 100%  1min 30s  phase": the phase is what gives way on a narrow terminal */
	if (width < 60)
		room = 10;
	filled = (size_t)(progress * (double)room);
	memset(bar, '#', filled);
	memset(bar + filled, '.', room - filled);
	bar[room] = '\0';
	if (asprintf(&line, "[%s] %3d%%  %s  %s", bar, (int)(progress * 100),
		    format_span(span, elapsed_usec), phase) < 0)
		return NULL;
	if (strlen(line) >= width && width > 0)
		line[width - 1] = '\0';
	return line;
}

static const char *phase_now(const JobWatch *w)
{
	return w->outcome.n_phases ? w->outcome.phases[w->outcome.n_phases - 1].name : "waiting";
}

static uint64_t elapsed(const JobWatch *w)
{
	return pml_now_usec(CLOCK_MONOTONIC) - w->started_usec;
}

static void draw(JobWatch *w)
{
	struct winsize size = {.ws_col = 80};
	_cleanup_free_ char *line = NULL;

	if (w->tty) {
		(void)ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
		line = progress_bar(phase_now(w), w->progress, elapsed(w), size.ws_col);
		if (line) {
			_cleanup_free_ char *safe = printable(line);

			fprintf(stderr, "\r\033[K%s", safe ? safe : "");
			fflush(stderr);
		}
		return;
	}
	/* without the clock: a line that only says that time passes is none */
	if (asprintf(&line, "%s %d", phase_now(w), (int)(w->progress * 100)) < 0) {
		line = NULL;
		return;
	}
	if (pml_streq(line, w->printed))
		return;
	free(w->printed);
	w->printed = TAKE_PTR(line);
	line = progress_line(phase_now(w), w->progress, elapsed(w));
	if (line)
		say(stderr, "%s\n", line);
}

static void erase(const JobWatch *w)
{
	if (w->tty)
		fputs("\r\033[K", stderr);
}

/* Not sd_event_exit(): it would close the bus, which is needed for what is shown afterwards. */
static int end(JobWatch *w, ExitCode code)
{
	w->ended = true;
	w->code = code;
	return 0;
}

static void enter_phase(JobWatch *w, const char *phase)
{
	JobOutcome *j = &w->outcome;
	uint64_t now = pml_now_usec(CLOCK_MONOTONIC);

	if (j->n_phases && strcmp(phase_now(w), phase) == 0)
		return;
	if (j->n_phases)
		j->phases[j->n_phases - 1].usec = now - w->phase_usec;
	w->phase_usec = now;
	if (!*phase || j->n_phases == JOB_PHASES_MAX)
		return;
	j->phases[j->n_phases].name = strdup(phase);
	if (j->phases[j->n_phases].name)
		j->n_phases++;
}

/* A dictionary of properties: what GetAll answers and what PropertiesChanged carries. */
static int read_changes(JobWatch *w, sd_bus_message *m)
{
	const char *key, *phase;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &key);
		if (r < 0)
			return r;
		if (strcmp(key, "Phase") == 0) {
			r = sd_bus_message_read(m, "v", "s", &phase);
			if (r >= 0)
				enter_phase(w, phase);
		} else if (strcmp(key, "Progress") == 0) {
			r = sd_bus_message_read(m, "v", "d", &w->progress);
		} else {
			r = sd_bus_message_skip(m, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	JobWatch *w = userdata;
	const char *interface;
	int r;

	if (!pml_streq(sd_bus_message_get_path(m), w->object))
		return 0;
	r = sd_bus_message_read(m, "s", &interface);
	if (r < 0 || strcmp(interface, PML_IF_JOB) != 0)
		return 0;
	/* a malformed signal costs the progress, not the outcome */
	if (read_changes(w, m) >= 0 && w->tty)
		draw(w);
	return 0;
}

static int on_asked(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	/* an error means that the job has ended: JobRemoved is on its way */
	if (!sd_bus_message_is_method_error(m, NULL))
		(void)read_changes(userdata, m);
	return 0;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	JobWatch *w = userdata;
	const char *object, *subject, *result, *name, *message;
	uint64_t id;
	int r;

	r = sd_bus_message_read(m, "toosss", &id, &object, &subject, &result, &name, &message);
	if (r < 0 || strcmp(object, w->object) != 0)
		return 0;
	enter_phase(w, "");
	w->outcome.id = id;
	w->outcome.result = strdup(result);
	w->outcome.error = strdup(name);
	w->outcome.message = strdup(message);
	w->outcome.elapsed_usec = elapsed(w);
	if (!w->outcome.result || !w->outcome.error || !w->outcome.message)
		return end(w, report_errno(w->options, -ENOMEM, "Cannot read the daemon's answer"));
	erase(w);
	return end(w, EXIT_DONE);
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	JobWatch *w = userdata;
	const char *name, *old_owner, *new_owner;

	if (sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) < 0 || !*old_owner)
		return 0;
	erase(w);
	return end(w,
		report_error(w->options, SD_BUS_ERROR_NO_REPLY,
			"The daemon ended while it worked on this. It finishes or undoes it when it "
			"starts again; nothing is lost."));
}

static int on_lost(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	JobWatch *w = userdata;

	erase(w);
	return end(
		w, report_error(w->options, SD_BUS_ERROR_DISCONNECTED,
			   "The connection to the bus was lost. The daemon goes on with the job."));
}

static int on_interrupt(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	JobWatch *w = userdata;
	uint64_t id = job_id_of(w->object);

	erase(w);
	fprintf(stderr,
		"pmemlease: Job %" PRIu64 " goes on without us. `pmemlease wait %" PRIu64
		"` watches it again,\n           `pmemlease cancel %" PRIu64 "` stops it.\n",
		id, id, id);
	return end(w, EXIT_INTERRUPTED);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *userdata)
{
	JobWatch *w = userdata;
	int r;

	draw(w);
	r = sd_event_source_set_time_relative(s, w->tty ? REDRAW_USEC : LINE_USEC);
	return r < 0 ? r : sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

int job_watch_new(sd_bus *bus, const Options *o, JobWatch **ret)
{
	_cleanup_watch_ JobWatch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->bus = sd_bus_ref(bus);
	w->options = o;
	w->tty = isatty(STDERR_FILENO);
	w->started_usec = pml_now_usec(CLOCK_MONOTONIC);
	/* without waiting for the bus, which takes these before the call that comes next: an
	 * eviction is in a hurry */
	r = sd_bus_match_signal_async(bus, &w->removed, PML_BUS_NAME, PML_BUS_PATH, PML_IF_MANAGER,
		"JobRemoved", on_removed, NULL, w);
	if (r >= 0)
		/* a job's, not what its steps change of regions and leases: each signal that is
		 * not for us wakes us all the same */
		r = sd_bus_add_match_async(bus, &w->changed,
			"type='signal',sender='" PML_BUS_NAME "',"
			"interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',"
			"path_namespace='" PML_PATH_JOB "',arg0='" PML_IF_JOB "'",
			on_changed, NULL, w);
	if (r >= 0)
		r = sd_bus_add_match_async(bus, &w->owner,
			"type='signal',sender='org.freedesktop.DBus',"
			"interface='org.freedesktop.DBus',member='NameOwnerChanged',"
			"arg0='" PML_BUS_NAME "'",
			on_owner, NULL, w);
	if (r >= 0)
		r = sd_bus_match_signal_async(bus, &w->lost, "org.freedesktop.DBus.Local",
			"/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
			on_lost, NULL, w);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

JobWatch *job_watch_free(JobWatch *w)
{
	if (!w)
		return NULL;
	sd_bus_slot_unref(w->asked);
	sd_bus_slot_unref(w->removed);
	sd_bus_slot_unref(w->changed);
	sd_bus_slot_unref(w->owner);
	sd_bus_slot_unref(w->lost);
	sd_event_source_unref(w->interrupt);
	sd_event_source_unref(w->tick);
	if (w->event)
		(void)sd_bus_detach_event(w->bus);
	sd_event_unref(w->event);
	sd_bus_unref(w->bus);
	job_outcome_clear(&w->outcome);
	free(w->object);
	free(w->printed);
	free(w);
	return NULL;
}

static int watch_run(JobWatch *w)
{
	sigset_t interrupt;
	int r;

	r = sd_event_new(&w->event);
	if (r < 0)
		return r;
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	if (sigprocmask(SIG_BLOCK, &interrupt, NULL) < 0)
		return -errno;
	r = sd_event_add_signal(w->event, &w->interrupt, SIGINT, on_interrupt, w);
	if (r >= 0)
		r = sd_event_add_time_relative(w->event, &w->tick, CLOCK_MONOTONIC,
			w->tty ? REDRAW_USEC : LINE_USEC, 0, on_tick, w);
	if (r >= 0)
		r = sd_bus_attach_event(w->bus, w->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = sd_bus_call_method_async(w->bus, &w->asked, PML_BUS_NAME, w->object,
			"org.freedesktop.DBus.Properties", "GetAll", on_asked, w, "s", PML_IF_JOB);
	if (r >= 0)
		while (!w->ended && (r = sd_event_run(w->event, UINT64_MAX)) >= 0)
			;
	(void)sigprocmask(SIG_UNBLOCK, &interrupt, NULL);
	return r;
}

ExitCode job_watch_wait(JobWatch *w, const char *object, JobOutcome *ret)
{
	int r;

	w->object = strdup(object);
	r = w->object ? watch_run(w) : -ENOMEM;
	if (r < 0)
		return report_errno(w->options, r, "Cannot wait for the job; it goes on");
	if (w->code == EXIT_DONE) {
		*ret = w->outcome;
		w->outcome = (JobOutcome){};
	}
	return w->code;
}

void job_outcome_clear(JobOutcome *j)
{
	free(j->result);
	free(j->error);
	free(j->message);
	for (size_t i = 0; i < j->n_phases; i++)
		free(j->phases[i].name);
	*j = (JobOutcome){};
}

struct json_object *job_outcome_to_json(const JobOutcome *j)
{
	struct json_object *doc = json_object_new_object(), *phases = json_object_new_array();

	json_add_u64(doc, "id", j->id);
	json_add_string(doc, "result", j->result);
	json_add_string(doc, "error", j->error);
	json_add_string(doc, "message", j->message);
	json_add_u64(doc, "elapsed_usec", j->elapsed_usec);
	for (size_t i = 0; i < j->n_phases; i++) {
		struct json_object *phase = json_object_new_object();

		json_add_string(phase, "name", j->phases[i].name);
		json_add_u64(phase, "usec", j->phases[i].usec);
		json_object_array_add(phases, phase);
	}
	json_object_object_add(doc, "phases", phases);
	return doc;
}

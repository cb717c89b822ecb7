/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `pmemlease doctor`: what this host can and cannot guarantee, before anything goes wrong. Lines of
 * what anybody sees are made here, those of what only root sees by the daemon; when it is down, the
 * first are said all the same.
 */
#include "act.h"
#include "doctor.h"
#include "format.h"
#include "json.h"
#include "names.h"

static FindingLevel level_of(const char *word)
{
	for (int i = 0; i < _FINDING_LEVEL_MAX; i++)
		if (strcmp(finding_level_to_string((FindingLevel)i), word) == 0)
			return (FindingLevel)i;
	/* a newer daemon's word: nothing that it has to say is hidden */
	return FINDING_WARN;
}

static int read_findings(sd_bus_message *m, Findings *l)
{
	const char *level, *check, *text, *mend;
	int r = sd_bus_message_enter_container(m, 'a', "(ssss)");

	while (r >= 0 && (r = sd_bus_message_read(m, "(ssss)", &level, &check, &text, &mend)) > 0)
		finding_add(l, level_of(level), check, mend, "%s", text);
	return r;
}

static int call_diagnose(sd_bus *bus, sd_bus_message **ret, sd_bus_error *error)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		bus, &m, PML_BUS_NAME, PML_BUS_PATH, PML_IF_MANAGER, "Diagnose");

	/* a doctor does not start what he looks at */
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, false);
	return r < 0 ? r : sd_bus_call(bus, m, 0, error, ret);
}

static void ask_daemon(const Options *o, Findings *l)
{
	_cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_bus_ sd_bus *bus = NULL;
	int r = bus_connect(o, &bus);

	if (r < 0) {
		finding_add(l, FINDING_BAD, "daemon", "systemctl status dbus.service",
			"The system bus%s%s cannot be reached: %s.", o->host ? " of " : "",
			o->host ? o->host : "", strerror(-r));
		return;
	}
	r = call_diagnose(bus, &reply, &error);
	if (r >= 0) {
		finding_add(l, FINDING_OK, "daemon", NULL, "pmemleased runs and answers.");
		r = read_findings(reply, l);
		if (r < 0)
			finding_add(l, FINDING_BAD, "daemon", "Install one version of both.",
				"The daemon's answer cannot be read.");
	} else if (bus_error_exit_code(error.name) == EXIT_NO_DAEMON) {
		finding_add(l, FINDING_BAD, "daemon",
			"systemctl enable --now pmemleased; systemctl status pmemleased says why it "
			"does not run.",
			"pmemleased does not run: nothing is lent, and nothing is taken back.");
	} else {
		finding_add(l, FINDING_WARN, "daemon", bus_error_hint(error.name),
			"The daemon runs, and does not say how it is: %s",
			error.message ? error.message : strerror(-r));
	}
}

static struct json_object *findings_to_json(const Findings *l, FindingLevel worst)
{
	struct json_object *doc = json_object_new_object(), *all = json_object_new_array();

	for (size_t i = 0; i < l->n; i++) {
		struct json_object *one = json_object_new_object();

		json_add_string(one, "level", finding_level_to_string(l->items[i].level));
		json_add_string(one, "check", l->items[i].check);
		json_add_string(one, "message", l->items[i].text);
		json_add_string(one, "mend", l->items[i].mend);
		json_object_array_add(all, one);
	}
	json_object_object_add(doc, "checks", all);
	json_add_string(doc, "worst", finding_level_to_string(worst));
	return doc;
}

static void show_findings(const Options *o, const Findings *l)
{
	static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
	bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	size_t of[_FINDING_LEVEL_MAX] = {};

	for (size_t i = 0; i < l->n; i++) {
		const Finding *f = &l->items[i];
		_cleanup_free_ char *text = printable(f->text), *mend = printable(f->mend);

		of[f->level]++;
		printf("%s%-4s%s %-20s %s\n", colour ? colours[f->level] : "",
			finding_level_to_string(f->level), colour ? "\033[0m" : "", f->check,
			text ? text : "");
		if (mend && *mend)
			printf("%-25s => %s\n", "", mend);
	}
	if (!o->no_legend)
		printf("\n%zu checks: %zu ok, %zu warn, %zu bad\n", l->n, of[FINDING_OK],
			of[FINDING_WARN], of[FINDING_BAD]);
}

ExitCode verb_doctor(sd_bus *bus, const Options *o, char *const *args)
{
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_findings_ Findings found = {};
	FindingLevel worst = FINDING_OK;

	if (o->host)
		finding_add(&found, FINDING_WARN, "host", "Run pmemlease doctor there.",
			"Of another host, only what its daemon sees is looked at.");
	else
		doctor_host(&(Root){.fd = fd, .path = ""}, &found);
	ask_daemon(o, &found);
	if (found.r < 0)
		return report_errno(o, found.r, "Cannot look at everything");
	for (size_t i = 0; i < found.n; i++)
		if (found.items[i].level > worst)
			worst = found.items[i].level;
	if (o->json)
		json_print(stdout, findings_to_json(&found, worst));
	else
		show_findings(o, &found);
	return worst == FINDING_BAD ? EXIT_FAILED : EXIT_DONE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who else binds device-dax devices when they come. daxctl's package has a rule that starts
 * `daxctl reconfigure-device --check-config` for each, which does what a section
 * [reconfigure-device NAME] of /etc/daxctl.conf.d/ with the namespace's UUID says
 * (daxctl-reconfigure-device(1)), and nothing without one.
 */

#include <ctype.h>
#include <limits.h>

#include "doctor.h"

/* A file of an earlier directory hides one of the same name in a later (udev(7)). */
static const char *const rule_dirs[] = {
	"etc/udev/rules.d",
	"run/udev/rules.d",
	"usr/local/lib/udev/rules.d",
	"usr/lib/udev/rules.d",
	"lib/udev/rules.d",
};

typedef enum RuleKind { RULE_NONE, RULE_DAXCTL, RULE_OTHER } RuleKind;

static bool hidden(const Root *root, size_t dir, const char *name)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < dir; i++) {
		snprintf(path, sizeof(path), "%s/%s", rule_dirs[i], name);
		/* also a link to /dev/null */
		if (faccessat(root->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

static char *skip_blanks(char *s)
{
	while (isblank((unsigned char)*s))
		s++;
	return s;
}

/* Joins lines that end in a backslash, in place. */
static void join_lines(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] == '\n') {
			from++;
			continue;
		}
		*to++ = *from;
	}
	*to = '\0';
}

static RuleKind rule_kind(char *text)
{
	RuleKind kind = RULE_NONE;
	char *save = NULL;

	join_lines(text);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line = skip_blanks(line);
		if (*line == '#' || !strstr(line, "SUBSYSTEM==\"dax\""))
			continue;
		if (strstr(line, "daxdev-reconfigure@"))
			kind = RULE_DAXCTL;
		else if (strstr(line, "RUN") || strstr(line, "SYSTEMD_WANTS"))
			return RULE_OTHER;
	}
	return kind;
}

static bool unit_masked(const Root *root)
{
	_cleanup_free_ char *target =
		root_link_name(root, "etc/systemd/system/daxdev-reconfigure@.service");

	return pml_streq(target, "null");
}

/* "nvdimm.uuid = X" in a section [reconfigure-device …]: is it a namespace of this host? Says so
 * then. */
static size_t check_config(const Root *root, const char *path, char *const *uuids, Findings *l)
{
	_cleanup_free_ char *text = root_text(root, path);
	bool wanted = false;
	size_t found = 0;
	char *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
		line = strtok_r(NULL, "\n", &save)) {
		line = skip_blanks(line);
		if (*line == '[')
			wanted = strncmp(line, "[reconfigure-device", 19) == 0;
		if (!wanted || strncmp(line, "nvdimm.uuid", 11) != 0)
			continue;
		for (char *const *u = uuids; u && *u; u++)
			if (strcasestr(line, *u)) {
				finding_add(l, FINDING_BAD, "udev",
					"Take its section out of that file.",
					"/%s has daxctl bind the namespace %s as memory of the host "
					"whenever it comes, also while it is fenced.",
					path, *u);
				found++;
			}
	}
	return found;
}

/* UUIDs of the namespaces in devdax mode; NULL-terminated. */
static char **dax_uuids(const Root *root)
{
	char **names = root_names(root, "sys/bus/nd/devices");
	size_t n = 0;

	for (char **d = names; d && *d; d++) {
		char path[256], *uuid = NULL;

		if (strncmp(*d, "dax", 3) == 0) {
			snprintf(path, sizeof(path), "sys/bus/nd/devices/%.64s/uuid", *d);
			uuid = root_text(root, path);
		}
		free(TAKE_PTR(*d));
		/* a seed has none */
		if (uuid && strlen(uuid) == 36)
			names[n++] = uuid;
		else
			free(uuid);
	}
	return names;
}

static size_t check_configs(const Root *root, Findings *l)
{
	_cleanup_names_ char **uuids = dax_uuids(root);
	_cleanup_names_ char **files = root_names(root, "etc/daxctl.conf.d");
	size_t found = check_config(root, "etc/daxctl.conf", uuids, l);

	for (char **f = files; f && *f; f++) {
		size_t n = strlen(*f);
		char path[PATH_MAX];

		if (n < 6 || strcmp(*f + n - 5, ".conf") != 0)
			continue;
		snprintf(path, sizeof(path), "etc/daxctl.conf.d/%s", *f);
		found += check_config(root, path, uuids, l);
	}
	return found;
}

void doctor_udev(const Root *root, Findings *l)
{
	size_t bad = 0;
	bool daxctl = false;

	for (size_t i = 0; i < ELEMENTSOF(rule_dirs); i++) {
		_cleanup_names_ char **names = root_names(root, rule_dirs[i]);

		for (char **n = names; n && *n; n++) {
			_cleanup_free_ char *text = NULL;
			char path[PATH_MAX];
			RuleKind kind;

			if (hidden(root, i, *n))
				continue;
			snprintf(path, sizeof(path), "%s/%s", rule_dirs[i], *n);
			text = root_text(root, path);
			kind = text ? rule_kind(text) : RULE_NONE;
			daxctl = daxctl || kind == RULE_DAXCTL;
			if (kind != RULE_OTHER)
				continue;
			bad++;
			finding_add(l, FINDING_WARN, "udev",
				"Look at what it runs; if it binds or configures devices, take it away.",
				"/%s runs something whenever a device-dax device comes.", path);
		}
	}
	if (daxctl && !unit_masked(root))
		bad += check_configs(root, l);
	if (bad == 0)
		finding_add(l, FINDING_OK, "udev", NULL, "No udev rule binds regions by itself%s.",
			daxctl ? " (daxctl's has nothing to do with them)" : "");
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/wait.h>

#include "run.h"
#include "util.h"

FakeBus *run_bus;
const char *run_program;

void run_child(int out_fd, int err_fd, const char *const *args)
{
	const char *argv[24] = {"pmemlease"};
	size_t n = 1;

	while (*args && n < ELEMENTSOF(argv) - 1)
		argv[n++] = *args++;
	dup2(out_fd, STDOUT_FILENO);
	dup2(err_fd, STDERR_FILENO);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", fake_bus_address(run_bus), 1);
	setenv("LC_ALL", "C", 1);
	setenv("TZ", "UTC", 1);
	execv(run_program, (char *const *)(void *)argv);
	_exit(126);
}

static char *slurp(FILE *f)
{
	char *text = calloc(1, 1 << 20);

	assert_non_null(text);
	rewind(f);
	(void)!fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	return text;
}

void run_clear(Run *r)
{
	free(r->out);
	free(r->err);
}

Run run_begin(const char *const *args)
{
	Run r = {.out_file = tmpfile(), .err_file = tmpfile(), .err_fd = -EBADF};

	assert_non_null(r.out_file);
	assert_non_null(r.err_file);
	fflush(NULL);
	r.pid = fork();
	assert_true(r.pid >= 0);
	if (r.pid == 0)
		run_child(fileno(r.out_file), fileno(r.err_file), args);
	return r;
}

void run_end(Run *r)
{
	int status;

	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFEXITED(status));
	r->status = WEXITSTATUS(status);
	r->out = slurp(r->out_file);
	r->err = slurp(r->err_file);
}

Run run_args(const char *const *args)
{
	Run r = run_begin(args);

	run_end(&r);
	return r;
}

void contains(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" is not in: %s", what, text);
}

void contains_not(const char *text, const char *what)
{
	if (strstr(text, what))
		fail_msg("\"%s\" is in: %s", what, text);
}

struct json_object *json_parse(const char *text)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *j;

	j = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
	if (json_tokener_get_error(tokener) != json_tokener_success)
		fail_msg("no JSON: %s", text);
	json_tokener_free(tokener);
	return j;
}

/* "a.b.0.c" */
struct json_object *json_at(struct json_object *j, const char *path)
{
	char *copy = strdup(path), *save = NULL;

	for (char *key = strtok_r(copy, ".", &save); key; key = strtok_r(NULL, ".", &save)) {
		if (json_object_is_type(j, json_type_array))
			j = json_object_array_get_idx(j, (size_t)atoi(key));
		else if (!json_object_object_get_ex(j, key, &j))
			fail_msg("no %s in %s", key, path);
	}
	free(copy);
	return j;
}

void json_is(const char *text, const char *path, const char *value)
{
	struct json_object *j = json_parse(text);

	assert_string_equal(json_object_get_string(json_at(j, path)), value);
	json_object_put(j);
}

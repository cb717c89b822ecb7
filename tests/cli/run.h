/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command, run as a program, and what it printed. */

#include <json-c/json.h>
#include <stdio.h>
#include <sys/types.h>

#include "fake-daemon.h"

typedef struct Run {
	pid_t pid;
	int err_fd;
	FILE *out_file, *err_file;
	char *out, *err;
	int status;
} Run;

/* Set by main(). */
extern FakeBus *run_bus;
extern const char *run_program;

/* In the child: becomes the command. args ends with NULL. */
void run_child(int out_fd, int err_fd, const char *const *args);
Run run_begin(const char *const *args);
void run_end(Run *r); /* waits for its end */
Run run_args(const char *const *args);
#define RUN(...) run_args((const char *const[]){__VA_ARGS__, NULL})
void run_clear(Run *r);
#define _cleanup_run_ _cleanup_(run_clear)

void contains(const char *text, const char *what);
void contains_not(const char *text, const char *what);

struct json_object *json_parse(const char *text);
/* path: "a.b.0.c" */
struct json_object *json_at(struct json_object *j, const char *path);
void json_is(const char *text, const char *path, const char *value);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Numbers and text as people write and read them. Pure; no bus. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "parse.h"

#define FORMAT_MAX 64

/* Each fills buf (FORMAT_MAX bytes) and returns it. */
const char *format_span(char *buf, uint64_t usec);	      /* "35ms", "5.1s", "2min 3s" */
const char *format_size(char *buf, uint64_t bytes, bool raw); /* "64G", "1.5G"; raw: the number */
const char *format_time(char *buf, uint64_t realtime_usec);   /* local time, "-" for 0 */
const char *format_time_msec(char *buf, uint64_t realtime_usec); /* with milliseconds */

/*
 * fprintf for text that may carry names chosen by others (a process may call itself anything):
 * control characters are written as \xNN, so that nobody paints on the operator's terminal.
 * Newlines pass.
 */
void say(FILE *f, const char *format, ...) __attribute__((__format__(printf, 2, 3)));
/* The same for one name, newlines escaped too; malloc-ed, NULL when out of memory. */
char *printable(const char *s);

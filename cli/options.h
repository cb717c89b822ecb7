/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the command line said. One struct, filled once, read by every verb. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "names.h"

/* Documented in pmemlease(1): scripts rely on them. */
typedef enum ExitCode {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_FOUND = 3,
	EXIT_REFUSED = 4,
	EXIT_DENIED = 5,
	EXIT_NO_DAEMON = 6,
	EXIT_STUCK = 7,
	EXIT_INTERRUPTED = 130,
} ExitCode;

/* Options that belong to some verbs only; bits, so that a verb can name those that it takes. */
typedef enum OptionBit {
	OPT_OWNER = 1 << 0,
	OPT_ON_END = 1 << 1,
	OPT_AFTER_FENCE = 1 << 2,
	OPT_DEADLINE = 1 << 3,
	OPT_KEEP_OFFLINE = 1 << 4,
	OPT_DISCARD = 1 << 5,
	OPT_REASON = 1 << 6,
	OPT_LINES = 1 << 7,
	OPT_NO_WAIT = 1 << 8,
	OPT_BYTES = 1 << 9,
	OPT_PERSISTENT = 1 << 10,
	OPT_ALLOW_DESTROY = 1 << 11,
	OPT_CHOOSE = 1 << 12, /* --size, --node, --kind */
	OPT_DRAIN = 1 << 13,  /* --drain, --on-refusal */
	OPT_DEVICE = 1 << 14,
	OPT_RESTORE = 1 << 15,
	OPT_MODEL = 1 << 16,
} OptionBit;

typedef struct Options {
	bool json;
	bool no_legend;
	bool bytes;
	bool no_wait;
	bool no_ask_password;
	bool keep_offline;
	bool persistent;
	bool restore;
	bool allow_destroy;
	const char *host;
	const char *owner;
	const char *on_end;
	const char *after_fence;
	const char *drain;
	const char *on_refusal;
	const char *discard;
	const char *reason;
	const char *kind;
	const char *model;
	const char *device;
	uint64_t size_bytes; /* 0: not given */
	int node;	     /* -1: not given */
	uint64_t deadline_usec;
	uint64_t lines;
	unsigned given; /* OptionBit */
} Options;

#define DEADLINE_DEFAULT_USEC PML_DEADLINE_DEFAULT
#define LINES_DEFAULT	      20
#define LINES_MAX	      100000
#define NODE_MAX	      1023

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What an operator can tune: the defaults, what the files say (pmemleased.conf(5)), and what the
 * command line says over them. The table in config.c has each key once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"

#define CONFIG_NAME	    "pmemlease/pmemleased.conf"
#define CONFIG_DROPIN_DIR   CONFIG_NAME ".d"
#define CONFIG_URI_MAX	    256
#define CONFIG_DEVICE_MAX   256 /* bytes of a block device's path */
#define CONFIG_DEVICES_MAX  1024
#define CONFIG_FILE_MAX	    ((size_t)256 * 1024)
#define CONFIG_DEADLINE_MAX (7ULL * 24 * 3600 * 1000000)

typedef struct Config {
	/* From the command line alone; borrowed. */
	const char *state_dir;	 /* PML_STATE_DIR */
	const char *runtime_dir; /* PML_RUNTIME_DIR */
	const char *media_helper;
	const char *file;	/* NULL: pmemleased.conf where systemd's programs have theirs */
	bool debug_forced;	/* --debug: the files cannot take it back */
	const char *uri_forced; /* --libvirt-uri, or NULL */
	uint32_t
		trusted_uid; /* is allowed everything without asking polkit: 0; tests set another */

	/* Of machines that start. libvirt's hook waits for longer than the first two and a proof
	 * together (hook/hook.c). */
	uint64_t grant_timeout_usec;   /* 20 s: for a region that is on its way to be free */
	uint64_t reserve_timeout_usec; /* 5 s: and for the ledger */
	uint64_t start_timeout_usec;   /* 60 s: how long a machine is taken to be starting */
	uint64_t turn_timeout_usec;    /* 30 s: of a scrub that gets no further while others wait */

	/* From the files. */
	char libvirt_uri[CONFIG_URI_MAX]; /* "qemu:///system"; a change wants a restart */
	bool debug;
	bool ram_returns_devdax;      /* memory of the host that was taken back: as device-dax */
	PmlOnEnd on_end;	      /* of a lease that names none: keep */
	PmlAfterFence after_fence;    /* likewise: pause */
	PmlDrain drain;		      /* likewise: ask */
	PmlOnRefusal on_refusal;      /* likewise: force */
	uint64_t deadline_usec;	      /* 30 s: of an evict or release that names none */
	uint64_t deadline_max_usec;   /* 1 day: a longer one is refused */
	uint64_t freeze_timeout_usec; /* 1 s */
	uint64_t proof_timeout_usec;  /* 10 s: no proof by then is `stuck` */
	uint64_t look_usec;	      /* 30 s: between looks at who holds a region */
	unsigned scrub_threads;	      /* 0: as many as the library finds right */
	unsigned max_leases_per_uid;
	unsigned max_jobs;	      /* asked for by others than root */
	unsigned max_pending_per_uid; /* calls that wait for an authorization, a proof or the ledger
				       */
	unsigned max_pending;
	/* Absolute paths below /dev, in the order of the files, each once; NULL-terminated, NULL
	 * where there are none. Owned. A reload replaces the list: what looks at it in another
	 * thread has a copy. */
	char **block_devices;
} Config;

/* A value, line or file that is refused. */
typedef struct ConfigError {
	char *file;
	unsigned line; /* from 1; 0: the file as a whole */
	char *reason;  /* a sentence, printable */
} ConfigError;

typedef struct ConfigErrors {
	ConfigError *list;
	size_t n;
} ConfigErrors;

void config_defaults(Config *c);
/* Frees what is owned; *c is unusable then. */
void config_clear(Config *c);
/* *ret is its own; what src borrows, it borrows too. 0, -ENOMEM. */
int config_copy(Config *ret, const Config *src);

/*
 * Reads the files over the defaults; what base has from the command line stays. Without a file
 * named there, as systemd reads its own: the first pmemleased.conf of /etc, /run, /usr/local/lib
 * and /usr/lib, then every *.conf of the four pmemleased.conf.d, sorted by name, of equal names the
 * first; an empty one or a link to /dev/null takes its namesakes away. With one: that, which must
 * be there, and FILE.d/. May block (EXEC_WORK, once threads run). 0; 1: refused, why is in
 * *ret_errors, all that could be found at once; negative errno. *ret only on 0.
 */
int config_load(Config *ret, const Config *base, ConfigErrors *ret_errors);
void config_errors_clear(ConfigErrors *e);

/* --- between config.c and config-file.c; for tests and fuzzing --- */

/* Adds a sentence; it is made printable. 0, -ENOMEM. */
int config_error_add(ConfigErrors *e, const char *file, unsigned line, const char *format, ...)
	__attribute__((__format__(printf, 4, 5)));
/* One assignment. 0; 1: refused, the reason in *ret_why (malloc-ed); -ENOMEM. */
int config_set(Config *c, const char *section, const char *key, const char *value, char **ret_why);
/* What no single value tells. 0; 1: refused, as above. */
int config_check(const Config *c, char **ret_why);
/* The text of one file, NUL-terminated at data[size], over *c. 0 (errors are added to *e), -ENOMEM.
 */
int config_parse(Config *c, const char *file, const char *data, size_t size, ConfigErrors *e);
/* The keys as "Section Key", for tests that compare them with what is documented; NULL at the end.
 */
const char *config_key_name(size_t i, const char **ret_section);

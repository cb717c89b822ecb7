/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A private bus, a daemon on it (pmemleased-fake), a client, and a polkit that says what the test
 * wants. All in one directory that is removed at the end.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "names.h"
#include "util.h"

#define HARNESS_TIMEOUT_USEC (20 * USEC_PER_SEC)

typedef enum PolkitMode {
	POLKIT_ABSENT,
	POLKIT_YES,
	POLKIT_NO,
	POLKIT_CHALLENGE,
	POLKIT_SILENT, /* keeps the calls until harness_polkit_answer() */
} PolkitMode;

typedef struct Call {
	bool done;
	sd_bus_message *reply; /* an error too */
} Call;

typedef struct Harness {
	char dir[128];
	char address[192];
	pid_t bus_pid, daemon_pid;
	int notify_fd;
	sd_event *event;
	sd_bus *client, *polkit;
	PolkitMode mode;
	unsigned polkit_asked;
	char polkit_action[64];
	uint32_t polkit_flags;
	sd_bus_message *held[64];
	size_t n_held;
	char *signals[256]; /* "MEMBER PATH first-string-or-path" */
	size_t n_signals;
} Harness;

/* Everything but the daemon. */
void harness_new(Harness *h);
void harness_free(Harness *h);

void harness_bus_start(Harness *h);
void harness_bus_kill(Harness *h);
void harness_connect(Harness *h);
void harness_disconnect(Harness *h);
void harness_polkit(Harness *h, PolkitMode mode);
void harness_polkit_answer(Harness *h, bool yes);

/* env: NAME=VALUE…, ends with NULL. Waits until it is READY. trusted: the test's own uid is allowed
 * everything. */
void harness_daemon_start(Harness *h, bool trusted, const char *const *env);
/* The same, without waiting for READY. */
void harness_daemon_exec(Harness *h, bool trusted, const char *const *env);
/* Waits for its end, returns its wait status. */
int harness_daemon_wait(Harness *h);
int harness_daemon_stop(Harness *h); /* SIGTERM and wait */
void harness_daemon_kill(Harness *h);
/* Waits for a datagram of sd_notify with this line in it. */
void harness_wait_notify(Harness *h, const char *line);

void harness_write(Harness *h, const char *name, const char *format, ...) _printf_(3, 4);
void harness_remove(Harness *h, const char *name);
void harness_fifo(Harness *h, const char *name);

/* Calls and waits for the reply, whatever it is; the message is the caller's. */
sd_bus_message *harness_call(Harness *h, const char *path, const char *interface,
	const char *member, const char *types, ...);
void harness_call_async(Harness *h, Call *c, const char *path, const char *interface,
	const char *member, const char *types, ...);
void harness_wait(Harness *h, bool *flag);
void harness_wait_signal(Harness *h, const char *prefix);
void harness_signals_clear(Harness *h);
/* Turns the loop until nothing more is there to be done at once. */
void harness_settle(Harness *h);

#define assert_success(m)                                                                          \
	do {                                                                                       \
		if (sd_bus_message_is_method_error((m), NULL))                                     \
			fail_msg("%s: %s", sd_bus_message_get_error(m)->name,                      \
				sd_bus_message_get_error(m)->message);                             \
	} while (0)
#define assert_error(m, error_name)                                                                \
	do {                                                                                       \
		assert_true(sd_bus_message_is_method_error((m), NULL));                            \
		assert_string_equal(sd_bus_message_get_error(m)->name, (error_name));              \
		/* A sentence that says what to do, not a code. */                                 \
		assert_non_null(strchr(sd_bus_message_get_error(m)->message, ' '));                \
	} while (0)

static inline void message_freep(sd_bus_message **m)
{
	sd_bus_message_unref(*m);
}
#define _cleanup_message_ _cleanup_(message_freep)

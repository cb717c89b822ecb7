/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* Names of our functions say nothing in the journal, and the fields would be this file's. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "log.h"
#include "pmemlease.h"
#include "util.h"

static bool to_journal;
static atomic_int max_priority = LOG_INFO; /* a reload changes it under the other threads */

static void log_library(void *userdata, int priority, const char *func, const char *message)
{
	log_full(priority, NULL, "%s: %s", func, message);
}

void log_setup(bool debug)
{
	/* sd_journal_sendv() is silent where there is no journal; systemd tells services by this
	 * variable. */
	to_journal = getenv("JOURNAL_STREAM") != NULL;
	max_priority = debug ? LOG_DEBUG : LOG_INFO;
	pml_set_log_fn(debug ? log_library : NULL, NULL);
}

static size_t add_field(
	struct iovec *iov, size_t n, char *buf, size_t size, const char *name, const char *value)
{
	int len;

	if (!value || !value[0])
		return n;
	len = snprintf(buf, size, "%s=%s", name, value);
	if (len < 0 || (size_t)len >= size)
		return n;
	iov[n] = (struct iovec){buf, (size_t)len};
	return n + 1;
}

static const char *number(char *buf, size_t size, int64_t value)
{
	(void)snprintf(buf, size, "%" PRIi64, value);
	return value != 0 ? buf : NULL;
}

void log_full(int priority, const LogFields *f, const char *format, ...)
{
	static const LogFields none = {};
	char message[1024], prio[16], seq[32], line[32], text[1024 + 16], field[12][192];
	struct iovec iov[13];
	size_t n = 0;
	va_list ap;

	if (priority > max_priority)
		return;
	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);

	if (!to_journal) {
		(void)fprintf(stderr, "%s\n", message);
		return;
	}
	if (!f)
		f = &none;
	(void)snprintf(prio, sizeof(prio), "%d", priority);
	const struct {
		const char *name;
		const char *value;
	} fields[] = {
		{"PRIORITY", prio},
		{"MESSAGE_ID", f->message_id},
		{"LEASE", f->lease},
		{"REGION", f->region},
		{"DOMAIN", f->domain},
		{"STATE_OLD", f->state_old},
		{"STATE_NEW", f->state_new},
		{"ACTOR", f->actor},
		{"SUBJECT", f->subject},
		{"HISTORY_SEQ", number(seq, sizeof(seq), f->history_seq)},
		{"CONFIG_FILE", f->config_file},
		{"CONFIG_LINE", number(line, sizeof(line), f->config_line)},
	};

	_Static_assert(ELEMENTSOF(fields) == ELEMENTSOF(field), "a buffer for each field");
	n = add_field(iov, n, text, sizeof(text), "MESSAGE", message);
	for (size_t i = 0; i < ELEMENTSOF(fields); i++)
		n = add_field(iov, n, field[i], sizeof(field[i]), fields[i].name, fields[i].value);
	(void)sd_journal_sendv(iov, (int)n);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

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

void log_full(int priority, const LogFields *f, const char *format, ...)
{
	char message[1024], prio[16], text[1024 + 16], line[16] = "", field[9][192];
	struct iovec iov[10];
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
	(void)snprintf(prio, sizeof(prio), "%d", priority);
	n = add_field(iov, n, text, sizeof(text), "MESSAGE", message);
	n = add_field(iov, n, field[0], sizeof(field[0]), "PRIORITY", prio);
	if (f) {
		n = add_field(iov, n, field[1], sizeof(field[1]), "LEASE", f->lease);
		n = add_field(iov, n, field[2], sizeof(field[2]), "REGION", f->region);
		n = add_field(iov, n, field[3], sizeof(field[3]), "DOMAIN", f->domain);
		n = add_field(iov, n, field[4], sizeof(field[4]), "STATE_OLD", f->state_old);
		n = add_field(iov, n, field[5], sizeof(field[5]), "STATE_NEW", f->state_new);
		n = add_field(iov, n, field[6], sizeof(field[6]), "MESSAGE_ID", f->message_id);
		n = add_field(iov, n, field[7], sizeof(field[7]), "CONFIG_FILE", f->config_file);
		if (f->config_line > 0)
			(void)snprintf(line, sizeof(line), "%u", f->config_line);
		n = add_field(iov, n, field[8], sizeof(field[8]), "CONFIG_LINE", line);
	}
	(void)sd_journal_sendv(iov, (int)n);
}

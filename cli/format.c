/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <inttypes.h>

#include "format.h"
#include "util.h"

const char *format_span(char *buf, uint64_t usec)
{
	uint64_t seconds = usec / USEC_PER_SEC;

	if (usec == 0)
		snprintf(buf, FORMAT_MAX, "0");
	else if (usec < USEC_PER_MSEC)
		snprintf(buf, FORMAT_MAX, "%" PRIu64 "us", usec);
	else if (usec < USEC_PER_SEC)
		snprintf(buf, FORMAT_MAX, "%" PRIu64 "ms", (uint64_t)(usec / USEC_PER_MSEC));
	else if (seconds < 60)
		snprintf(buf, FORMAT_MAX, "%" PRIu64 ".%" PRIu64 "s", seconds,
			(uint64_t)(usec % USEC_PER_SEC / 100000));
	else if (seconds < 3600)
		snprintf(
			buf, FORMAT_MAX, "%" PRIu64 "min %" PRIu64 "s", seconds / 60, seconds % 60);
	else
		snprintf(buf, FORMAT_MAX, "%" PRIu64 "h %" PRIu64 "min", seconds / 3600,
			seconds % 3600 / 60);
	return buf;
}

const char *format_size(char *buf, uint64_t bytes, bool raw)
{
	static const char letters[] = "BKMGTPE";
	unsigned power = 0;
	uint64_t unit = 1, tenths;

	while (power + 2 < sizeof(letters) && bytes / unit >= 1024) {
		unit *= 1024;
		power++;
	}
	if (raw || power == 0) {
		snprintf(buf, FORMAT_MAX, "%" PRIu64 "%s", bytes, raw ? "" : "B");
		return buf;
	}
	/* rounded down: a region is never said to be larger than it is */
	tenths = bytes % unit / (unit / 1024) * 10 / 1024;
	if (tenths)
		snprintf(buf, FORMAT_MAX, "%" PRIu64 ".%" PRIu64 "%c", bytes / unit, tenths,
			letters[power]);
	else
		snprintf(buf, FORMAT_MAX, "%" PRIu64 "%c", bytes / unit, letters[power]);
	return buf;
}

const char *format_time(char *buf, uint64_t realtime_usec)
{
	time_t t = (time_t)(realtime_usec / USEC_PER_SEC);
	struct tm tm;

	if (realtime_usec == 0 || !localtime_r(&t, &tm) ||
		strftime(buf, FORMAT_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(buf, FORMAT_MAX, "-");
	return buf;
}

const char *format_time_msec(char *buf, uint64_t realtime_usec)
{
	size_t n = strlen(format_time(buf, realtime_usec));

	snprintf(buf + n, FORMAT_MAX - n, ".%03u",
		(unsigned)(realtime_usec % USEC_PER_SEC / USEC_PER_MSEC));
	return buf;
}

/* Also U+0080 to U+009F, which some terminals obey as they do the escape character. */
static bool is_control(const char *s)
{
	unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];

	return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next <= 0x9f);
}

static char *escape(const char *s, bool newlines)
{
	char *out = malloc(strlen(s) * 4 + 1), *p = out;

	if (!out)
		return NULL;
	while (*s) {
		size_t n = (unsigned char)*s == 0xc2 && is_control(s) ? 2 : 1;

		if (is_control(s) && (*s != '\n' || newlines))
			for (; n > 0; n--)
				p += sprintf(p, "\\x%02x", (unsigned char)*s++);
		else
			*p++ = *s++;
	}
	*p = '\0';
	return out;
}

char *printable(const char *s)
{
	return escape(s, true);
}

void say(FILE *f, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	char *safe;
	va_list ap;
	int r;

	va_start(ap, format);
	r = vasprintf(&text, format, ap);
	va_end(ap);
	if (r < 0)
		return;
	safe = escape(text, false);
	if (safe)
		fputs(safe, f);
	free(safe);
}

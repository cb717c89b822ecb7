/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "pmemlease.h"
#include "util.h"

typedef void (*LogFn)(void *userdata, int priority, const char *func, const char *message);

/* A daemon may change its level while other threads log. */
static _Atomic(LogFn) log_fn;
static _Atomic(void *) log_userdata;

void pml_set_log_fn(void (*fn)(void *userdata, int priority, const char *func, const char *message),
	void *userdata)
{
	log_userdata = userdata;
	log_fn = fn;
}

void pml_log_internal(int priority, const char *func, const char *format, ...)
{
	char message[512];
	LogFn fn = log_fn;
	va_list ap;

	if (!fn)
		return;
	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	fn(log_userdata, priority, func, message);
}

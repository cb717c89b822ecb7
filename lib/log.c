/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "pmemlease.h"
#include "util.h"

static void (*log_fn)(void *userdata, int priority, const char *func, const char *message);
static void *log_userdata;

void pml_set_log_fn(void (*fn)(void *userdata, int priority, const char *func, const char *message),
	void *userdata)
{
	log_fn = fn;
	log_userdata = userdata;
}

void pml_log_internal(int priority, const char *func, const char *format, ...)
{
	char message[512];
	va_list ap;

	if (!log_fn)
		return;
	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	log_fn(log_userdata, priority, func, message);
}

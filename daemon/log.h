/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Structured messages for the journal (fields LEASE=, REGION=, DOMAIN=, STATE_OLD=, STATE_NEW=,
 * MESSAGE_ID=); plain lines on stderr where stderr is not connected to the journal.
 */

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

typedef struct LogFields {
	const char *lease; /* ids; any may be NULL */
	const char *region;
	const char *domain;
	const char *state_old;
	const char *state_new;
	const char *message_id; /* PML_MESSAGE_… */
	const char *actor;
	const char *subject; /* of a row of the history: lease, region, content, daemon */
	int64_t history_seq; /* its number; 0: none */
	const char *config_file;
	unsigned config_line; /* 0: none */
} LogFields;

/* May be called again: a reload changes the level. */
void log_setup(bool debug);
void log_full(int priority, const LogFields *fields, const char *format, ...)
	__attribute__((__format__(printf, 3, 4)));

#define log_error(...)	 log_full(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...)	 log_full(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...)	 log_full(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...)	 log_full(LOG_DEBUG, NULL, __VA_ARGS__)

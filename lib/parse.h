/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Numbers and time spans as people write them, for the command and the configuration; static, as
 * util.h is. */

#include <ctype.h>

#include "util.h"

static inline _unused_ int parse_span_unit(const char **p, uint64_t *ret_usec)
{
	static const struct {
		const char *name;
		uint64_t usec;
	} units[] = {
		{"us", 1},
		{"ms", USEC_PER_MSEC},
		{"s", USEC_PER_SEC},
		{"sec", USEC_PER_SEC},
		{"m", 60 * USEC_PER_SEC},
		{"min", 60 * USEC_PER_SEC},
		{"h", 3600 * USEC_PER_SEC},
		{"d", 86400 * USEC_PER_SEC},
	};
	size_t len = 0;

	while (isalpha((unsigned char)(*p)[len]))
		len++;
	for (size_t i = 0; i < ELEMENTSOF(units); i++)
		if (strlen(units[i].name) == len && strncmp(units[i].name, *p, len) == 0) {
			*p += len;
			*ret_usec = units[i].usec;
			return 0;
		}
	return -EINVAL;
}

/* Digits alone: strtoull() would take a sign and blanks. */
static inline _unused_ int parse_digits(const char **p, uint64_t *ret)
{
	uint64_t number = 0;

	if (!isdigit((unsigned char)**p))
		return -EINVAL;
	for (; isdigit((unsigned char)**p); (*p)++)
		if (__builtin_mul_overflow(number, (uint64_t)10, &number) ||
			__builtin_add_overflow(number, (uint64_t)(**p - '0'), &number))
			return -ERANGE;
	*ret = number;
	return 0;
}

/*
 * Reads a time span: "0", "500ms", "5s", "2min", "1h30min", "1d". A number without a unit is
 * refused unless it is 0: a deadline must not be misunderstood. 0; -EINVAL: not a span; -ERANGE:
 * more than fits.
 */
static inline _unused_ int parse_span(const char *s, uint64_t *ret_usec)
{
	uint64_t total = 0;

	if (strcmp(s, "0") == 0) {
		*ret_usec = 0;
		return 0;
	}
	if (!*s)
		return -EINVAL;
	while (*s) {
		uint64_t number, usec;
		int r = parse_digits(&s, &number);

		if (r >= 0)
			r = parse_span_unit(&s, &usec);
		if (r < 0)
			return r;
		if (__builtin_mul_overflow(number, usec, &usec) ||
			__builtin_add_overflow(total, usec, &total))
			return -ERANGE;
		while (*s == ' ')
			s++;
	}
	*ret_usec = total;
	return 0;
}

/*
 * Reads a size in bytes: "512M", "64G", "1T", "4096"; K, M, G, T and P are powers of 1024, as lsblk
 * and ndctl have them. 0; -EINVAL: not a size; -ERANGE: more than fits.
 */
static inline _unused_ int parse_size(const char *s, uint64_t *ret_bytes)
{
	static const char units[] = "KMGTP";
	const char *unit;
	uint64_t bytes;
	int r = parse_digits(&s, &bytes);

	if (r < 0)
		return r;
	if (*s) {
		unit = strchr(units, toupper((unsigned char)*s));
		if (!unit || (s[1] && strcmp(s + 1, "iB") != 0))
			return -EINVAL;
		if (__builtin_mul_overflow(bytes, 1ULL << (10 * (unit - units + 1)), &bytes))
			return -ERANGE;
	}
	*ret_bytes = bytes;
	return 0;
}

/* A whole decimal number, nothing else, within [min, max]. 0, -EINVAL or -ERANGE. */
static inline _unused_ int parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t number;
	int r = parse_digits(&s, &number);

	if (r < 0)
		return r;
	if (*s)
		return -EINVAL;
	if (number < min || number > max)
		return -ERANGE;
	*ret = number;
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small helpers shared by library, daemon and command; static, so that none is part of the
 * library's interface. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((__cleanup__(f)))
#define _printf_(a, b) __attribute__((__format__(printf, a, b)))
#define _unused_       __attribute__((__unused__))

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) _taken = (p);                                                        \
		(p) = NULL;                                                                        \
		_taken;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int _taken_fd = (fd);                                                              \
		(fd) = -EBADF;                                                                     \
		_taken_fd;                                                                         \
	})

/* Defines x_freep() for _cleanup_ from a destructor that takes NULL. */
#define DEFINE_CLEANUP(type, func)                                                                 \
	static inline _unused_ void func##p(type *p)                                               \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))
#define USEC_PER_SEC  1000000ULL
#define USEC_PER_MSEC 1000ULL
#define MIB	      (1ULL << 20)

static inline _unused_ void freep(void *p)
{
	free(*(void **)p);
}

static inline _unused_ void closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

static inline _unused_ void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_	 _cleanup_(freep)
#define _cleanup_close_	 _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

static inline _unused_ uint64_t pml_now_usec(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* Copies a string into a fixed field; 0, or -ENAMETOOLONG with the field unchanged (never a silent
 * cut). */
static inline _unused_ int pml_strcpy(char *field, size_t size, const char *s)
{
	size_t n = strlen(s);

	if (n >= size)
		return -ENAMETOOLONG;
	memcpy(field, s, n + 1);
	return 0;
}
#define PML_STRCPY(field, s) pml_strcpy((field), sizeof(field), (s))

/* Length of the UTF-8 sequence at s, 0 if it is none. */
static inline _unused_ size_t pml_utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fU >> n);
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

	if (n > 1 && (s[0] < 0xc2 || s[0] > 0xf4))
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c >= least[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? n : 0;
}

/*
 * Makes UTF-8 without control characters of whatever is there, in place. For text of others (a
 * command's name, libvirt's sentence) and for what was cut to a length: a bus daemon disconnects
 * who sends it anything else.
 */
static inline _unused_ void pml_make_printable(char *s)
{
	unsigned char *u = (unsigned char *)s;

	while (*u) {
		size_t n = pml_utf8_length(u);

		if (n == 0 || *u < 0x20 || *u == 0x7f || (*u == 0xc2 && u[1] < 0xa0)) {
			*u++ = '?';
			continue;
		}
		u += n;
	}
}

static inline _unused_ bool pml_streq(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/*
 * String tables of enums: DEFINE_STRING_TABLE(pml_use, PmlUse) wants a table
 * pml_use_table[_PML_USE_MAX]; an unknown string gives -EINVAL as the enum's _INVALID.
 */
#define DEFINE_STRING_TABLE(prefix, type)                                                          \
	const char *prefix##_to_string(type v)                                                     \
	{                                                                                          \
		if ((int)v < 0 || (size_t)v >= ELEMENTSOF(prefix##_table))                         \
			return NULL;                                                               \
		return prefix##_table[v];                                                          \
	}                                                                                          \
	type prefix##_from_string(const char *s)                                                   \
	{                                                                                          \
		for (size_t i = 0; s && i < ELEMENTSOF(prefix##_table); i++)                       \
			if (prefix##_table[i] && strcmp(prefix##_table[i], s) == 0)                \
				return (type)i;                                                    \
		return (type)-EINVAL;                                                              \
	}

/* Debug messages of the library (pmemlease.h: pml_set_log_fn). */
void pml_log_internal(int priority, const char *func, const char *format, ...) _printf_(3, 4);
#define pml_debug(...) pml_log_internal(7 /* LOG_DEBUG */, __func__, __VA_ARGS__)

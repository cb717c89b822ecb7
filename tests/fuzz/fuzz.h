/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the fuzz targets share. A target is one function; libFuzzer calls it with what it makes up,
 * or replay.c with the corpus alone, where there is no clang. A finding is a crash, a sanitizer's
 * complaint, or FUZZ_CHECK: what must hold for any input.
 */

#include <ftw.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition);  \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static inline _unused_ char *fuzz_dir(void)
{
	static char dir[] = "/dev/shm/fuzz-XXXXXX";

	return dir;
}

static inline _unused_ int fuzz_remove(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline _unused_ void fuzz_clean(void)
{
	(void)nftw(fuzz_dir(), fuzz_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* An empty directory, once a target; what ends in a finding leaves it behind. */
static inline _unused_ const char *fuzz_dir_new(void)
{
	FUZZ_CHECK(mkdtemp(fuzz_dir()) && atexit(fuzz_clean) == 0);
	return fuzz_dir();
}

/* The input as text; freed by the caller. */
static inline _unused_ char *fuzz_text(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);

	if (!s)
		abort();
	if (size > 0)
		memcpy(s, data, size);
	s[size] = '\0';
	return s;
}

/* Cuts the next line off; "" when there is none left. */
static inline _unused_ char *fuzz_line(char **text)
{
	char *s = *text, *end = strchr(s, '\n');

	*text = end ? end + 1 : s + strlen(s);
	if (end)
		*end = '\0';
	return s;
}

/* A sentence for people: UTF-8 without control characters, so that the bus takes it and any
 * terminal can show it. */
static inline _unused_ void fuzz_check_sentence(const char *s)
{
	size_t n;

	for (; s && *s; s += n) {
		n = pml_utf8_length((const unsigned char *)s);
		FUZZ_CHECK(n > 0 && (unsigned char)*s >= 0x20 && *s != 0x7f);
	}
}

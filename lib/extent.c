/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "extent.h"

#include <ctype.h>
#include <inttypes.h>

#include "util.h"

static const char iset_prefix[] = "iset:";
#define COOKIE_DIGITS 16
#define NAME_CHARS    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:"

uint64_t pml_extent_end(const PmlExtent *e)
{
	if (e->size_bytes > UINT64_MAX - e->start_bytes)
		return UINT64_MAX;
	return e->start_bytes + e->size_bytes;
}

bool pml_extent_overlaps(const PmlExtent *a, const PmlExtent *b)
{
	if (a->size_bytes == 0 || b->size_bytes == 0)
		return false;
	if (strncmp(a->medium, b->medium, PML_MEDIUM_MAX) != 0)
		return false;
	return a->start_bytes < pml_extent_end(b) && b->start_bytes < pml_extent_end(a);
}

bool pml_extent_equal(const PmlExtent *a, const PmlExtent *b)
{
	return strncmp(a->medium, b->medium, PML_MEDIUM_MAX) == 0 &&
	       a->start_bytes == b->start_bytes && a->size_bytes == b->size_bytes;
}

static bool is_block_medium(const char *medium)
{
	static const char *const kinds[] = {"disk:", "dm:", "file:"};

	for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
		const char *name = medium + strlen(kinds[i]);

		if (strncmp(medium, kinds[i], strlen(kinds[i])) != 0)
			continue;
		return *name && name[strspn(name, NAME_CHARS)] == '\0';
	}
	return false;
}

static bool medium_known(const char *medium)
{
	const char *cookie = medium + sizeof(iset_prefix) - 1;

	if (is_block_medium(medium))
		return true;
	if (strcmp(medium, "phys") == 0)
		return true;
	if (strncmp(medium, iset_prefix, sizeof(iset_prefix) - 1) != 0)
		return false;
	if (strlen(cookie) != COOKIE_DIGITS)
		return false;
	/* Only one spelling may exist: media are compared as text, here and in the ledger. */
	for (size_t i = 0; i < COOKIE_DIGITS; i++)
		if (!isdigit((unsigned char)cookie[i]) && (cookie[i] < 'a' || cookie[i] > 'f'))
			return false;
	/* libndctl's "no cookie": many unrelated regions would share it. */
	return strspn(cookie, "0") != COOKIE_DIGITS;
}

int pml_extent_validate(const PmlExtent *e)
{
	if (!memchr(e->medium, '\0', sizeof(e->medium)))
		return -EINVAL;
	if (!medium_known(e->medium))
		return -EINVAL;
	if (e->size_bytes == 0)
		return -EINVAL;
	if (e->size_bytes > UINT64_MAX - e->start_bytes)
		return -EINVAL;
	return 0;
}

int pml_extent_format(const PmlExtent *e, char **ret)
{
	char *s;

	if (asprintf(&s, "%.*s+0x%" PRIx64 "/0x%" PRIx64, PML_MEDIUM_MAX - 1, e->medium,
		    e->start_bytes, e->size_bytes) < 0)
		return -ENOMEM;
	*ret = s;
	return 0;
}

/* strtoull() would take signs, blanks and a missing prefix, and wrap instead of failing. */
static int parse_hex(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;
	size_t digits = 0;

	if (strncmp(p, "0x", 2) != 0)
		return -EINVAL;
	for (p += 2; isxdigit((unsigned char)*p); p++, digits++) {
		int c = tolower((unsigned char)*p);

		if (digits >= 16)
			return -EINVAL;
		v = v << 4 | (uint64_t)(isdigit(c) ? c - '0' : c - 'a' + 10);
	}
	if (digits == 0)
		return -EINVAL;
	*s = p;
	*ret = v;
	return 0;
}

int pml_extent_parse(const char *s, PmlExtent *ret)
{
	PmlExtent e = {};
	const char *plus = strchr(s, '+');
	size_t n = plus ? (size_t)(plus - s) : 0;
	int r;

	if (!plus || n >= sizeof(e.medium))
		return -EINVAL;
	memcpy(e.medium, s, n);

	s = plus + 1;
	r = parse_hex(&s, &e.start_bytes);
	if (r < 0)
		return r;
	if (*s++ != '/')
		return -EINVAL;
	r = parse_hex(&s, &e.size_bytes);
	if (r < 0)
		return r;
	if (*s != '\0')
		return -EINVAL;

	r = pml_extent_validate(&e);
	if (r < 0)
		return r;
	*ret = e;
	return 0;
}

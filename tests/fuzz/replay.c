/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a target over the files of a directory, and over each of them cut off in several places: a
 * few seconds of fuzzing without a fuzzer. */

#include <dirent.h>

#include "fuzz.h"

static int replay(const char *dir, const char *name)
{
	static uint8_t data[1 << 20];
	char path[1024];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f)
		return -1;
	n = fread(data, 1, sizeof(data), f);
	(void)fclose(f);
	for (size_t part = 0; part <= 16; part++) {
		size_t size = n * part / 16;
		uint8_t *exact = malloc(size + 1);

		if (!exact)
			return -1;
		/* Where it ends, so that reading past the end is seen. */
		exact = realloc(exact, size ? size : 1);
		memcpy(exact, data, size);
		(void)LLVMFuzzerTestOneInput(exact, size);
		free(exact);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	if (argc != 2 || !(d = opendir(argv[1])))
		return 1;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			n++;
			(void)printf("%s %u - %s\n",
				replay(argv[1], e->d_name) == 0 ? "ok" : "not ok", n, e->d_name);
			(void)fflush(stdout);
		}
	(void)closedir(d);
	(void)printf("1..%u\n", n);
	return n == 0;
}

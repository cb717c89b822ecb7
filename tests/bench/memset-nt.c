// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The peer that a scrub is measured against: memset-nt DEVICE writes zeroes to the whole mapping
 * with non-temporal stores, by as many threads as there are processors, and prints the microseconds
 * that it took (without opening and mapping).
 */
#include <emmintrin.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

struct part {
	pthread_t thread;
	char *start;
	size_t size_bytes;
};

static void *set(void *data)
{
	struct part *part = data;
	__m128i zero = _mm_setzero_si128();

	for (size_t i = 0; i < part->size_bytes; i += sizeof(zero))
		_mm_stream_si128((__m128i *)(part->start + i), zero);
	_mm_sfence();
	return NULL;
}

static uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static size_t device_size(int fd)
{
	char path[64];
	unsigned long long size = 0;
	struct stat st;
	FILE *f;

	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return 0;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/size", major(st.st_rdev),
		minor(st.st_rdev));
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &size) != 1)
		size = 0;
	fclose(f);
	return size;
}

int main(int argc, char **argv)
{
	struct part parts[8];
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t begun;
	size_t size;
	char *map;
	int fd;

	if (argc != 2)
		return 2;
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	size = fd < 0 ? 0 : device_size(fd);
	if (size == 0)
		return 1;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return 1;
	if (n < 1)
		n = 1;
	if (n > 8)
		n = 8;
	begun = now_usec();
	for (long i = 0; i < n; i++) {
		parts[i].start = map + size / (size_t)n * (size_t)i;
		parts[i].size_bytes = size / (size_t)n;
		if (pthread_create(&parts[i].thread, NULL, set, &parts[i]) != 0)
			return 1;
	}
	for (long i = 0; i < n; i++)
		pthread_join(parts[i].thread, NULL);
	printf("%llu\n", (unsigned long long)(now_usec() - begun));
	return 0;
}

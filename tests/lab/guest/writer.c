// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A busy program with data that it cares about.
 *
 *	writer FILE ACKNOWLEDGED
 *		writes record after record into FILE, round and round, and each one's number to
 *		ACKNOWLEDGED once it is on the medium; ends well on SIGTERM
 *	writer --check FILE NUMBER
 *		says "ok LAST" when FILE has every record up to NUMBER that no later one has
 *		replaced, whole
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD	4096
#define RECORDS 2048

static volatile sig_atomic_t over;

static void on_term(int signal)
{
	over = signal;
}

static void fill(uint64_t *record, uint64_t number)
{
	uint64_t value = (number + 1) * 0x9e3779b97f4a7c15UL;

	record[0] = number;
	for (size_t i = 1; i < RECORD / sizeof(*record); i++, value += 0xbf58476d1ce4e5b9UL)
		record[i] = value;
}

static int run(const char *path, const char *acknowledged)
{
	static _Alignas(RECORD) uint64_t record[RECORD / sizeof(uint64_t)];
	int fd = open(path, O_RDWR | O_CREAT | O_DSYNC | O_CLOEXEC, 0600);
	int out = open(acknowledged, O_WRONLY | O_CLOEXEC);
	char line[32];

	if (fd < 0 || out < 0) {
		perror("writer");
		return 1;
	}
	for (uint64_t number = 1; !over; number++) {
		int n;

		fill(record, number);
		if (pwrite(fd, record, RECORD, (off_t)(number % RECORDS * RECORD)) != RECORD) {
			perror("writer");
			return 1;
		}
		n = snprintf(line, sizeof(line), "%lu\n", number);
		if (write(out, line, (size_t)n) != n) {
			perror("writer: acknowledging");
			return 1;
		}
	}
	return 0;
}

static int check(const char *path, uint64_t wanted)
{
	uint64_t record[RECORD / sizeof(uint64_t)], expected[RECORD / sizeof(uint64_t)], last = 0;
	FILE *f = fopen(path, "re");

	if (!f) {
		perror("writer");
		return 1;
	}
	while (fread(record, RECORD, 1, f) == 1)
		if (record[0] > last)
			last = record[0];
	if (last < wanted) {
		printf("lost: the last record is %lu, and %lu was acknowledged\n", last, wanted);
		return 1;
	}
	for (uint64_t number = last > RECORDS ? last - RECORDS + 1 : 1; number <= last; number++) {
		fill(expected, number);
		if (fseeko(f, (off_t)(number % RECORDS * RECORD), SEEK_SET) < 0 ||
			fread(record, RECORD, 1, f) != 1 || memcmp(record, expected, RECORD) != 0) {
			printf("lost: record %lu of %lu\n", number, last);
			return 1;
		}
	}
	printf("ok %lu\n", last);
	return 0;
}

int main(int argc, char *argv[])
{
	if (argc == 4 && strcmp(argv[1], "--check") == 0)
		return check(argv[2], strtoull(argv[3], NULL, 10));
	if (argc != 3)
		return 2;
	(void)signal(SIGTERM, on_term);
	return run(argv[1], argv[2]);
}

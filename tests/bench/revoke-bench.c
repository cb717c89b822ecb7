// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * revoke-bench DEVICE ROUNDS: how long it takes to take a mapping of a whole device-dax away, by a
 * munmap of its owner, an unbind and (where the kernel has it) a revoke, in turn; how long a
 * first touch of its pages takes; and how long it takes to tell its owner, who has asked for early
 * notice: of all of it by revoke_notify, and of a page by hard_offline_page, as whoever has no
 * revoke_notify would for each. A line of JSON for each measurement: {"name":…,"nsec":…}.
 *
 * The device is bound to device_dax, held by nobody, and is so again at the end, with pages in it
 * that the kernel takes for broken.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define REVOKE_TIMEOUT_MSEC 120000
/* 64 GiB of 2 MiB. Of more pages the kernel maps the rest by itself, which is faster. */
#define TOUCHED_PAGES 32768
#define OFFLINE_PAGE  "/sys/devices/system/memory/hard_offline_page"

static const char *name;
/* A signal is waited for by nobody: it arrives when the system call that sends it returns. */
static volatile sig_atomic_t notices;

struct mapping {
	int fd;
	volatile char *start;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "revoke-bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_nsec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void report(const char *what, uint64_t nsec)
{
	printf("{\"name\":\"%s\",\"nsec\":%llu}\n", what, (unsigned long long)nsec);
}

static int open_for_order(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

/* From the start of the file each time: an attribute takes each as an order of its own. */
static void order(int fd, const char *text)
{
	if (pwrite(fd, text, strlen(text), 0) < 0)
		die(text);
}

static void write_to(const char *path, const char *text)
{
	int fd = open_for_order(path);

	order(fd, text);
	close(fd);
}

static void attribute_path(const char *attribute, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "/sys/bus/dax/devices/%s/%s", name, attribute);
}

/* The text without its newline; from the start again each time, as poll() of sysfs wants it. */
static void attribute_read(int fd, char *ret_text, size_t size)
{
	ssize_t n = pread(fd, ret_text, size - 1, 0);

	if (n < 0)
		die("reading an attribute");
	ret_text[n] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
}

static int attribute_open(const char *attribute)
{
	char path[128];
	int fd;

	attribute_path(attribute, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

static void attribute_get(const char *attribute, char *ret_text, size_t size)
{
	int fd = attribute_open(attribute);

	attribute_read(fd, ret_text, size);
	close(fd);
}

static size_t attribute_number(const char *attribute)
{
	char text[32];

	attribute_get(attribute, text, sizeof(text));
	return strtoull(text, NULL, 0);
}

/* Maps all of the device, each of its pages. */
static struct mapping take(size_t size_bytes, size_t align_bytes)
{
	size_t pages = size_bytes / align_bytes, touched = pages;
	struct mapping mapping;
	char path[64];
	uint64_t begun;
	void *address;

	snprintf(path, sizeof(path), "/dev/%s", name);
	mapping.fd = open(path, O_RDWR | O_CLOEXEC);
	if (mapping.fd < 0)
		die(path);
	address = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.fd, 0);
	if (address == MAP_FAILED)
		die("mmap");
	mapping.start = address;
	if (touched > TOUCHED_PAGES)
		touched = TOUCHED_PAGES;
	begun = now_nsec();
	for (size_t i = 0; i < touched; i++)
		mapping.start[i * align_bytes] = 1;
	if (touched > 0)
		report("fault", (now_nsec() - begun) / touched);
	if (touched < pages && madvise(address, size_bytes, MADV_POPULATE_WRITE) < 0)
		die("MADV_POPULATE_WRITE");
	return mapping;
}

static void drop(struct mapping *mapping, size_t size_bytes)
{
	munmap((void *)mapping->start, size_bytes);
	close(mapping->fd);
}

static void driver(const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/dax/drivers/device_dax/%s", what);
	write_to(path, name);
}

/*
 * From the order to the kernel's word that nobody reaches the memory any more. To find the file
 * that takes the order is no part of it, here and below: a munmap has its mapping at hand as well.
 */
static uint64_t revoke_timed(void)
{
	char path[128], generation[32], state[32];
	struct pollfd state_poll = {.fd = attribute_open("revoke_state"), .events = POLLPRI};
	uint64_t begun, taken;
	int fd;

	attribute_path("revoke", path, sizeof(path));
	fd = open_for_order(path);
	attribute_get("generation", generation, sizeof(generation));
	attribute_read(state_poll.fd, state, sizeof(state));
	begun = now_nsec();
	order(fd, generation);
	for (;;) {
		attribute_read(state_poll.fd, state, sizeof(state));
		if (strcmp(state, "revoked") == 0)
			break;
		if (poll(&state_poll, 1, REVOKE_TIMEOUT_MSEC) <= 0) {
			errno = ETIMEDOUT;
			die(state);
		}
	}
	taken = now_nsec() - begun;
	close(state_poll.fd);
	close(fd);
	return taken;
}

static void on_notice(int number)
{
	(void)number;
	notices++;
}

/* One order for all of a mapping, after its revocation. */
static void notify_timed(const char *generation)
{
	char path[128];
	uint64_t begun;
	int before = notices, fd;

	attribute_path("revoke_notify", path, sizeof(path));
	if (access(path, F_OK) < 0)
		return;
	fd = open_for_order(path);
	begun = now_nsec();
	order(fd, generation);
	report("notify", now_nsec() - begun);
	close(fd);
	if (notices != before + 1) {
		errno = ENOMSG;
		die("revoke_notify");
	}
}

/* An order for each page, of as many as there are rounds. */
static void offline_timed(size_t size_bytes, size_t align_bytes, int rounds)
{
	struct mapping mapping = take(size_bytes, align_bytes);
	size_t start = attribute_number("resource");
	int before, fd = open_for_order(OFFLINE_PAGE);
	char address[32];
	uint64_t begun;

	for (int i = 0; i < rounds && (size_t)i < size_bytes / align_bytes; i++) {
		before = notices;
		snprintf(address, sizeof(address), "%#zx", start + (size_t)i * align_bytes);
		begun = now_nsec();
		order(fd, address);
		report("offline_page", now_nsec() - begun);
		if (notices != before + 1) {
			errno = ENOMSG;
			die(OFFLINE_PAGE);
		}
	}
	close(fd);
	drop(&mapping, size_bytes);
}

/* Whether there is such a thing. */
static bool revoke_round(size_t size_bytes, size_t align_bytes)
{
	struct mapping mapping;
	char path[128], generation[32];

	attribute_path("revoke", path, sizeof(path));
	if (access(path, F_OK) < 0)
		return false;
	attribute_get("generation", generation, sizeof(generation));
	mapping = take(size_bytes, align_bytes);
	report("revoke", revoke_timed());
	notify_timed(generation);
	drop(&mapping, size_bytes);
	driver("unbind");
	driver("bind");
	return true;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_notice, .sa_flags = SA_RESTART};
	size_t size_bytes, align_bytes;
	struct mapping mapping;
	bool revokes = false;
	uint64_t begun;
	int rounds;

	if (argc != 3 || (rounds = atoi(argv[2])) <= 0) {
		fprintf(stderr, "usage: revoke-bench DEVICE ROUNDS\n");
		return 2;
	}
	name = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	size_bytes = attribute_number("size");
	align_bytes = attribute_number("align");
	if (align_bytes == 0 || size_bytes < align_bytes) {
		errno = EINVAL;
		die("the device's size and align");
	}
	sigaction(SIGBUS, &action, NULL);
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	for (int i = 0; i < rounds; i++) {
		mapping = take(size_bytes, align_bytes);
		begun = now_nsec();
		munmap((void *)mapping.start, size_bytes);
		report("munmap", now_nsec() - begun);
		close(mapping.fd);

		mapping = take(size_bytes, align_bytes);
		begun = now_nsec();
		driver("unbind");
		report("unbind", now_nsec() - begun);
		drop(&mapping, size_bytes);
		driver("bind");

		revokes = revoke_round(size_bytes, align_bytes);
	}
	if (revokes) {
		offline_timed(size_bytes, align_bytes, rounds);
		/* What is broken is so until then. */
		driver("unbind");
		driver("bind");
	}
	return 0;
}

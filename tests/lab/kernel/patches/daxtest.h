/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of device-dax share. Each program takes the name of a
 * device ("dax0.0") that is bound to device_dax, prints TAP, and returns as
 * kselftest programs do: 0 pass, 1 fail, 4 skip.
 */
#ifndef DAXTEST_H
#define DAXTEST_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KSFT_PASS 0
#define KSFT_FAIL 1
#define KSFT_SKIP 4

static const char *dax_name = "dax0.0";
static unsigned int ksft_count, ksft_failed;

static inline __attribute__((format(printf, 2, 3))) bool ksft_check(
	bool ok, const char *format, ...)
{
	va_list args;

	ksft_count++;
	if (!ok)
		ksft_failed++;
	printf("%sok %u - ", ok ? "" : "not ", ksft_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	return ok;
}

static inline int ksft_finish(void)
{
	printf("1..%u\n", ksft_count);
	fflush(stdout);
	return ksft_failed ? KSFT_FAIL : KSFT_PASS;
}

static inline __attribute__((noreturn)) void ksft_skip(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	exit(KSFT_SKIP);
}

/* The test itself can not go on: its surroundings are not as they must be. */
static inline __attribute__((noreturn)) void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(KSFT_FAIL);
}

static inline int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static inline void pause_ms(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

/* 0 or a negative errno */
static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static inline int read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		rc = -errno;
	else
		text[n] = '\0';
	close(fd);
	if (!rc && n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	return rc;
}

static inline void dax_attribute_path(char *path, size_t size, const char *attribute)
{
	snprintf(path, size, "/sys/bus/dax/devices/%s/%s", dax_name, attribute);
}

static inline int dax_write(const char *attribute, const char *text)
{
	char path[256];

	dax_attribute_path(path, sizeof(path), attribute);
	return write_file(path, text);
}

static inline int dax_read(const char *attribute, char *text, size_t size)
{
	char path[256];

	dax_attribute_path(path, sizeof(path), attribute);
	return read_file(path, text, size);
}

static inline uint64_t dax_read_u64(const char *attribute)
{
	char text[64];
	int rc = dax_read(attribute, text, sizeof(text));

	if (rc) {
		errno = -rc;
		die(attribute);
	}
	return strtoull(text, NULL, 0);
}

static inline int dax_unbind(void)
{
	return write_file("/sys/bus/dax/drivers/device_dax/unbind", dax_name);
}

static inline int dax_bind(void)
{
	return write_file("/sys/bus/dax/drivers/device_dax/bind", dax_name);
}

static inline int dax_open(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", dax_name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static inline size_t dax_align(void)
{
	return dax_read_u64("align");
}

static sigjmp_buf touch_return;
static volatile sig_atomic_t touch_code;

static inline void touch_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	touch_code = info->si_code;
	siglongjmp(touch_return, 1);
}

/*
 * Writes a byte and reads it back. 0, or the si_code of the SIGBUS: BUS_ADRERR
 * for memory that is gone, BUS_MCEERR_AR for memory that was revoked.
 */
static inline int touch(volatile uint8_t *address, uint8_t value)
{
	struct sigaction action = {.sa_sigaction = touch_signal, .sa_flags = SA_SIGINFO}, old;
	int rc = 0;

	sigaction(SIGBUS, &action, &old);
	if (sigsetjmp(touch_return, 1)) {
		rc = touch_code;
	} else {
		*address = value;
		if (*address != value)
			rc = -1;
	}
	sigaction(SIGBUS, &old, NULL);
	return rc;
}

/* The status of waitpid(), or -ETIMEDOUT. */
static inline int wait_for(pid_t pid, int64_t timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	int status;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
		if (now_ms() >= end)
			return -ETIMEDOUT;
		pause_ms(10);
	}
	return got < 0 ? -errno : status;
}

static inline void dax_test_init(int argc, char **argv)
{
	char text[64];

	if (argc > 1)
		dax_name = argv[1];
	if (dax_read("size", text, sizeof(text)))
		ksft_skip("no such device-dax");
	printf("TAP version 13\n");
	fflush(stdout);
}

#endif

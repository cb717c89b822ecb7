// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * stale ROW DEVICE: a holder of a device-dax, for the stale-access matrix; stale --rows lists them.
 *
 * Prints "ready" once it holds. Then, a line of input each:
 *
 *	read		value X | SIGBUS | MCE | hang | cannot | error NAME
 *	write X		ok | the same
 *	away		the same: the device is gone, and may come back
 *	release		lets go and ends, as the end of input does
 */
#include "stale.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

struct holder holder = {.fd = -EBADF};

static sigjmp_buf sigbus_jump;
static volatile sig_atomic_t sigbus_caught;

static const struct row *const tables[] = {map_rows, fd_rows, pin_rows, kvm_rows, remote_rows};

static void sigbus_handler(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (!sigbus_caught)
		_exit(3);
	siglongjmp(sigbus_jump, info->si_code == BUS_MCEERR_AR ? ACCESS_MCE : ACCESS_SIGBUS);
}

static void alarm_handler(int number)
{
	(void)number;
}

_Noreturn void die(const char *what)
{
	printf("error %s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
}

/* Sizes of a character device are known to sysfs alone, also while the device is unbound. */
static size_t device_attribute(const struct stat *st, const char *name)
{
	char path[128];
	size_t value;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/%s", major(st->st_rdev),
		minor(st->st_rdev), name);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%zu", &value) != 1)
		die(path);
	fclose(file);
	return value;
}

void take_fd(void)
{
	struct stat st;

	holder.fd = open(holder.device, O_RDWR | O_CLOEXEC);
	if (holder.fd < 0 || fstat(holder.fd, &st) < 0)
		die("open");
	holder.size_bytes = device_attribute(&st, "size");
	holder.align_bytes = device_attribute(&st, "align");
}

static int map_fd(int protection)
{
	void *address;

	address = mmap(NULL, holder.size_bytes, protection, MAP_SHARED, holder.fd, 0);
	if (address == MAP_FAILED)
		return -errno;
	holder.map = address;
	return 0;
}

int try_map(void)
{
	return holder.map ? 0 : map_fd(PROT_READ | PROT_WRITE);
}

void take_map(int protection)
{
	take_fd();
	if (map_fd(protection) < 0)
		die("mmap");
}

void hang_timer(unsigned int seconds)
{
	/* Again and again: one signal alone could come just before the system call. */
	struct itimerval timer = {
		.it_value.tv_sec = seconds,
		.it_interval.tv_usec = seconds ? 100000 : 0,
	};

	setitimer(ITIMER_REAL, &timer, NULL);
}

int guarded(int (*fn)(void *), void *data)
{
	int result;

	result = sigsetjmp(sigbus_jump, 1);
	if (result == 0) {
		sigbus_caught = 1;
		result = fn(data);
	}
	sigbus_caught = 0;
	hang_timer(0);
	return result;
}

static int load(void *data)
{
	*(uint32_t *)data = holder.map[0];
	return ACCESS_DONE;
}

static int store(void *data)
{
	holder.map[0] = *(uint32_t *)data;
	return ACCESS_DONE;
}

int touch_read(uint32_t *ret_value)
{
	uint32_t value = 0;
	int result;

	result = guarded(load, &value);
	if (result == ACCESS_DONE)
		*ret_value = value;
	return result;
}

int touch_write(uint32_t value)
{
	return guarded(store, &value);
}

static void answer(int result, const char *done)
{
	if (result < 0) {
		printf("error %s\n", strerrorname_np(-result));
		return;
	}
	switch ((enum access)result) {
	case ACCESS_DONE:
		printf("%s\n", done);
		break;
	case ACCESS_SIGBUS:
		printf("SIGBUS\n");
		break;
	case ACCESS_MCE:
		printf("MCE\n");
		break;
	case ACCESS_HANG:
		printf("hang\n");
		break;
	case ACCESS_CANNOT:
		printf("cannot\n");
		break;
	}
}

static void obey(const struct row *row, const char *line)
{
	char done[32] = "ok";
	uint32_t value = 0;
	int result;

	if (sscanf(line, "write %i", (int *)&value) == 1) {
		answer(row->write ? row->write(value) : ACCESS_CANNOT, done);
	} else if (strcmp(line, "read\n") == 0) {
		result = row->read(&value);
		snprintf(done, sizeof(done), "value %#x", value);
		answer(result, done);
	} else if (strcmp(line, "away\n") == 0) {
		answer(row->away ? row->away() : ACCESS_CANNOT, done);
	} else {
		printf("error unknown-command\n");
	}
}

static const struct row *find(const char *name)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		for (const struct row *row = tables[i]; row->name; row++) {
			if (!name)
				printf("%s\n", row->name);
			else if (strcmp(row->name, name) == 0)
				return row;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction sigbus = {
		.sa_sigaction = sigbus_handler, .sa_flags = SA_SIGINFO | SA_NODEFER};
	struct sigaction alarm = {.sa_handler = alarm_handler};
	const struct row *row;
	char line[64];

	if (argc == 2 && strcmp(argv[1], "--rows") == 0) {
		find(NULL);
		return 0;
	}
	row = argc == 3 ? find(argv[1]) : NULL;
	if (!row) {
		fprintf(stderr, "usage: stale ROW DEVICE; stale --rows\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGBUS, &sigbus, NULL);
	sigaction(SIGALRM, &alarm, NULL);
	holder.device = argv[2];
	row->take();
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "release\n") != 0)
		obey(row, line);
	if (row->release)
		row->release();
	return 0;
}

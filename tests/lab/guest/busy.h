/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A part of worker.c, which includes it behind what it stands on: who is busy with all devices of a
 * guest at once, and notes whatever it reads that it has not written. */

/* A machine check takes a guest longer than a touch. */
#define SIGBUS_PAUSE_NSEC 20000000

/* Of who is busy with all devices; in memory that the two processes share. */
struct busy {
	uint64_t rounds, sigbus, foreign;
	uint64_t foreign_at, foreign_value;
	size_t devices, readable, foreign_device;
};

static volatile struct busy *busy;

static struct {
	uint64_t *map;
	uint64_t size_bytes;
	bool written;
} busy_maps[DEVICES_MAX];

/* Each word of each device has another value, and no two seeds have one in common. */
static uint64_t busy_value(uint64_t seed, size_t device, uint64_t word)
{
	return (0x5000 | (seed & 0xfff)) << 48 | (uint64_t)device << 40 | word;
}

static void busy_page(uint64_t seed, size_t device, uint64_t at, bool check, bool write)
{
	uint64_t *words = busy_maps[device].map, word = at / sizeof(*words);
	uint64_t end = word + PAGE / sizeof(*words), value;

	for (; word < end; word++) {
		value = check ? ((volatile uint64_t *)words)[word] : 0;
		if (check && value != busy_value(seed, device, word)) {
			if (busy->foreign == 0) {
				busy->foreign_device = device;
				busy->foreign_at = word * sizeof(*words);
				busy->foreign_value = value;
			}
			busy->foreign++;
		}
		if (write)
			((volatile uint64_t *)words)[word] = busy_value(seed, device, word);
	}
}

/* Where it is; what a SIGBUS must not lose. */
static volatile size_t busy_device;
static volatile uint64_t busy_at;
static volatile bool busy_readable;

/* A touch that fails costs the rest of the page that the guest has it by. */
static void busy_walk(uint64_t seed, bool check, bool write)
{
	const struct timespec pause = {.tv_nsec = SIGBUS_PAUSE_NSEC};

	busy_at = 0;
	busy_readable = true;
	if (sigsetjmp(sigbus_jump, 1)) {
		busy->sigbus++;
		busy_readable = false;
		nanosleep(&pause, NULL);
		busy_at = (busy_at / ALIGN_BYTES + 1) * ALIGN_BYTES;
	}
	for (; busy_at < busy_maps[busy_device].size_bytes; busy_at += PAGE)
		busy_page(seed, busy_device, busy_at, check, write);
}

static _Noreturn void be_busy(uint64_t seed, bool guarding)
{
	size_t readable;

	for (;;) {
		readable = 0;
		for (busy_device = 0; busy_device < busy->devices; busy_device++) {
			bool *written = &busy_maps[busy_device].written;

			busy_walk(seed, *written, !guarding || !*written);
			*written = true;
			readable += busy_readable;
		}
		busy->readable = readable;
		busy->rounds++;
	}
}

/*
 * Each machine check is five lines on an emulated serial line, half a minute behind after sixty of
 * them; and a guest that prints for that long is ended by the emulation of SVM now and then: seen
 * in the host's trace as a shutdown behind the outb of io_serial_out(), 26 s after the last machine
 * check. A panic is printed all the same, since it raises the level again.
 */
static void quiet_kernel(void)
{
	int fd = open("/proc/sys/kernel/printk", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		console("worker: the kernel cannot be quieted: %m\n");
	close(fd);
}

static void command_busy(bool guarding, uint64_t seed, size_t devices, char *answer, size_t size)
{
	struct device found[DEVICES_MAX];
	const char *error = NULL;
	void *address;
	size_t i;

	if (spinner_pid > 0)
		error = "error busy";
	else if (devices == 0 || devices > DEVICES_MAX)
		error = "error devices";
	else if (!wait_devices(devices, found))
		error = "error no-device";
	for (i = 0; !error && i < devices; i++) {
		error = map_one(&found[i], &address);
		if (error)
			break;
		busy_maps[i].map = address;
		busy_maps[i].size_bytes = found[i].size_bytes;
	}
	if (!error) {
		quiet_kernel();
		*busy = (struct busy){.devices = devices};
		spinner_pid = fork();
		if (spinner_pid == 0)
			be_busy(seed, guarding);
	}
	/* They are the other process's now. */
	for (; i > 0; i--)
		munmap(busy_maps[i - 1].map, busy_maps[i - 1].size_bytes);
	snprintf(answer, size, "%s", error ? error : spinner_pid > 0 ? "ok" : "error fork");
}

static void command_rounds(char *answer, size_t size)
{
	int length;

	length = snprintf(answer, size, "%lu %zu %zu %lu %lu", busy->rounds, busy->devices,
		busy->readable, busy->sigbus, busy->foreign);
	if (busy->foreign > 0 && (size_t)length < size)
		snprintf(answer + length, size - (size_t)length, " %zu:%#lx:%#lx",
			busy->foreign_device, busy->foreign_at, busy->foreign_value);
}

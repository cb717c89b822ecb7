// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The only program of the small guests: their init. It takes commands from the second serial line,
 * one a line ("ID WORD..."), and answers each with one line ("ID ANSWER"). It works on the guest's
 * hot-plugged NVDIMM, which it waits for and of which it makes a device-dax by sysfs alone, as the
 * guest has no ndctl. Nothing in it answers a request to unplug.
 *
 *	ping			pong
 *	info			DEVICE SIZE
 *	zero			ok | nonzero OFFSET (the raw device, without writing to it)
 *	write SEED		ok | error write OFFSET (the raw device, and flushes it)
 *	compare SEED		ok | differ OFFSET (the raw device, past the page cache)
 *	fill SEED		ok | sigbus OFFSET
 *	check SEED		ok | differ OFFSET | sigbus OFFSET
 *	spin SEED		ok: from now on a process writes to all of the device, over and over
 *	spun			COUNT running|sigbus|none: pages written so far
 *	stop			ok COUNT: the spinner, or who is busy, is gone
 *	memory			KIB: what the guest's kernel has of memory
 *	hog MIB			ok: from now on a process writes to as much memory of the guest's
 *				own, and checks what it wrote the time before
 *	hogged			COUNT ok|differ|none: times that it has been through all of it
 *	unhog			ok COUNT
 *	clutter COUNT		ok: so many files in memory: what the guest's kernel cannot move
 *	deaf 0|1		ok: with 1 the guest hears of no device that is plugged in or out
 *	busy SEED [DEVICES]	ok: a process writes SEED's bytes to all of so many devices
 *				and reads them back, over and over, whatever a touch gives
 *	guard SEED [DEVICES]	ok: the same, but it writes once and then only reads
 *	rounds			ROUNDS DEVICES READABLE SIGBUS FOREIGN [DEVICE:OFFSET:VALUE]:
 *				times it was through with all devices, those it could read to
 *				their end the last time, touches that gave SIGBUS, values that
 *				it read and had not written, the first of them
 *	poweroff, reboot	nothing
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>

#define ND	    "/sys/bus/nd/devices"
#define DAX	    "/sys/bus/dax/devices"
#define PAGE	    4096UL
#define ALIGN_BYTES (2UL << 20)
#define WAIT_MSEC   30000
/* The machine boots with a tiny NVDIMM, without which libvirt plugs none in later. */
#define TINY_BYTES (16UL << 20)
/* Above this the struct pages go to the device: they would not fit into a small guest. */
#define MEMMAP_IN_RAM_BYTES (2UL << 30)
#define DEVICES_MAX	    32

struct device {
	int region; /* of libnvdimm, in the guest */
	bool dax;   /* else a raw block device */
	char path[64];
	uint64_t size_bytes;
};

struct spinner {
	uint64_t count;
	uint32_t sigbus;
};

struct hog {
	uint64_t count;
	uint32_t differs;
};

static int line_fd = -1, uevent_fd = -1;
static volatile struct hog *hog;
static pid_t hog_pid;
static volatile struct spinner *spinner;
static pid_t spinner_pid;
static sigjmp_buf sigbus_jump;

/* What is mapped at the moment; the device is opened anew for each command. */
static uint64_t *map;
static uint64_t map_bytes;

static void sigbus_handler(int signal)
{
	siglongjmp(sigbus_jump, signal);
}

static void console(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	fflush(stdout);
}

static int read_attribute(char *value, size_t size, const char *format, ...)
{
	char path[PATH_MAX];
	va_list arguments;
	ssize_t got;
	int fd;

	va_start(arguments, format);
	vsnprintf(path, sizeof(path), format, arguments);
	va_end(arguments);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = read(fd, value, size - 1);
	close(fd);
	if (got < 0)
		return -EIO;
	value[got] = 0;
	value[strcspn(value, "\n")] = 0;
	return 0;
}

static int write_attribute(const char *value, const char *format, ...)
{
	char path[PATH_MAX];
	va_list arguments;
	int fd, result = 0;

	va_start(arguments, format);
	vsnprintf(path, sizeof(path), format, arguments);
	va_end(arguments);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0) {
		result = -errno;
		console("worker: %s to %s: %s\n", value, path, strerror(-result));
	}
	close(fd);
	return result;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The numbers of the regions that are no tiny ones, the lowest first. */
static size_t find_regions(int numbers[static DEVICES_MAX])
{
	struct dirent *entry;
	char value[32];
	size_t count = 0;
	int number;
	DIR *dir;

	dir = opendir(ND);
	if (!dir)
		return 0;
	while (count < DEVICES_MAX && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, "region%d", &number) != 1)
			continue;
		if (read_attribute(value, sizeof(value), ND "/%s/size", entry->d_name) < 0)
			continue;
		if (strtoull(value, NULL, 0) >= TINY_BYTES)
			numbers[count++] = number;
	}
	closedir(dir);
	qsort(numbers, count, sizeof(*numbers), by_number);
	return count;
}

/* Whether the region has a usable device by now. */
static bool device_of(int region, struct device *ret_device)
{
	struct device device = {.region = region};
	char value[32];
	uint64_t size;
	int fd;

	if (read_attribute(value, sizeof(value), DAX "/dax%d.0/size", region) == 0) {
		device.size_bytes = strtoull(value, NULL, 0);
		device.dax = true;
		snprintf(device.path, sizeof(device.path), "/dev/dax%d.0", region);
		if (device.size_bytes == 0 || access(device.path, F_OK) < 0)
			return false;
		*ret_device = device;
		return true;
	}
	snprintf(device.path, sizeof(device.path), "/dev/pmem%d", region);
	fd = open(device.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (ioctl(fd, BLKGETSIZE64, &size) < 0)
		size = 0;
	close(fd);
	device.size_bytes = size;
	if (size == 0)
		return false;
	*ret_device = device;
	return true;
}

/* Whether there are so many usable devices by now: the first ones. */
static bool find_devices(size_t count, struct device *ret_devices)
{
	int numbers[DEVICES_MAX];
	size_t there = find_regions(numbers), i;

	if (there < count)
		return false;
	for (i = 0; i < count; i++) {
		if (!device_of(numbers[i], &ret_devices[i]))
			return false;
	}
	return true;
}

static int64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The kernel tells of each new device, also of those that this program does not look at. */
static bool wait_devices(size_t count, struct device *ret_devices)
{
	int64_t deadline_msec = now_msec() + WAIT_MSEC, left;
	struct pollfd poll_fd = {.fd = uevent_fd, .events = POLLIN};
	char event[4096];

	if (uevent_fd < 0)
		return false;
	while (!find_devices(count, ret_devices)) {
		left = deadline_msec - now_msec();
		if (left <= 0)
			return false;
		if (poll(&poll_fd, 1, (int)left) > 0)
			(void)recv(uevent_fd, event, sizeof(event), MSG_DONTWAIT);
	}
	return true;
}

static bool wait_device(struct device *ret_device)
{
	return wait_devices(1, ret_device);
}

/* Turns the raw namespace into a device-dax, as "ndctl create-namespace -m devdax" does. */
static int make_dax(struct device *device)
{
	char seed[64], namespace[32], uuid[40];
	int result;

	snprintf(namespace, sizeof(namespace), "namespace%d.0", device->region);
	snprintf(uuid, sizeof(uuid), "11111111-2222-3333-4444-%012d", device->region);
	result = read_attribute(seed, sizeof(seed), ND "/region%d/dax_seed", device->region);
	if (result < 0)
		return result;
	result = write_attribute(namespace, "/sys/bus/nd/drivers/nd_pmem/unbind");
	if (result < 0)
		return result;
	if (write_attribute(uuid, ND "/%s/uuid", seed) < 0 ||
		write_attribute("2097152", ND "/%s/align", seed) < 0 ||
		write_attribute(device->size_bytes > MEMMAP_IN_RAM_BYTES ? "pmem" : "ram",
			ND "/%s/mode", seed) < 0 ||
		write_attribute(namespace, ND "/%s/namespace", seed) < 0 ||
		write_attribute(seed, "/sys/bus/nd/drivers/dax_pmem/bind") < 0)
		return -EIO;
	/* Bound, and devtmpfs has its node, before the write is over. */
	return device_of(device->region, device) && device->dax ? 0 : -ENODEV;
}

static void unmap_device(void)
{
	if (map)
		munmap(map, map_bytes);
	map = NULL;
}

/* A device-dax, made where there is none. NULL, or what to answer. */
static const char *map_one(struct device *device, void **ret_address)
{
	void *address;
	int fd;

	if (!device->dax && make_dax(device) < 0)
		return "error no-devdax";
	fd = open(device->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "error open";
	address = mmap(NULL, device->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (address == MAP_FAILED)
		return "error mmap";
	*ret_address = address;
	return NULL;
}

static const char *map_device(void)
{
	struct device device;
	const char *error;
	void *address;

	if (!wait_device(&device))
		return "error no-device";
	error = map_one(&device, &address);
	if (error)
		return error;
	unmap_device();
	map = address;
	map_bytes = device.size_bytes;
	return NULL;
}

static uint64_t pattern_start(uint64_t seed)
{
	seed = (seed + 1) * 0x9e3779b97f4a7c15UL;
	return seed ^ (seed >> 29);
}

#define PATTERN_STEP 0xbf58476d1ce4e5b9UL

/* Where in the mapping the program is; of interest when a SIGBUS has taken it away from there. */
static volatile uint64_t touching;

static int64_t fill(uint64_t seed)
{
	uint64_t value = pattern_start(seed), end, i;

	for (touching = 0; touching < map_bytes; touching += PAGE) {
		end = (touching + PAGE) / sizeof(*map);
		for (i = touching / sizeof(*map); i < end; i++, value += PATTERN_STEP)
			map[i] = value;
	}
	return -1;
}

/* The offset of the first difference, or -1. */
static int64_t check(uint64_t seed)
{
	uint64_t value = pattern_start(seed), end, i;

	for (touching = 0; touching < map_bytes; touching += PAGE) {
		end = (touching + PAGE) / sizeof(*map);
		for (i = touching / sizeof(*map); i < end; i++, value += PATTERN_STEP) {
			if (map[i] != value)
				return (int64_t)(i * sizeof(*map));
		}
	}
	return -1;
}

static void walk(int64_t (*step)(uint64_t), uint64_t seed, char *answer, size_t size)
{
	int64_t differ;

	if (sigsetjmp(sigbus_jump, 1)) {
		snprintf(answer, size, "sigbus %lu", touching);
		return;
	}
	differ = step(seed);
	if (differ < 0)
		snprintf(answer, size, "ok");
	else
		snprintf(answer, size, "differ %ld", differ);
}

static void command_fill(uint64_t seed, char *answer, size_t size)
{
	walk(fill, seed, answer, size);
}

static void command_check(uint64_t seed, char *answer, size_t size)
{
	walk(check, seed, answer, size);
}

/*
 * A raw device is read past the page cache, whose pages a small guest has no room for. Where the
 * namespace is a device-dax from the beginning, somebody's info block is on it.
 */
static void command_zero(char *answer, size_t size)
{
	static uint64_t zeroes[(1 << 20) / sizeof(uint64_t)];
	struct device device;
	uint64_t *buffer, at, i;
	ssize_t got;
	int fd;

	if (!wait_device(&device)) {
		snprintf(answer, size, "error no-device");
		return;
	}
	if (device.dax) {
		snprintf(answer, size, "nonzero %lu", PAGE);
		return;
	}
	fd = open(device.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	buffer = mmap(
		NULL, sizeof(zeroes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	snprintf(answer, size, "ok");
	for (at = 0; at < device.size_bytes; at += (uint64_t)got) {
		got = pread(fd, buffer, sizeof(zeroes), (off_t)at);
		if (got <= 0) {
			snprintf(answer, size, "error read %lu", at);
			break;
		}
		if (memcmp(buffer, zeroes, (size_t)got) == 0)
			continue;
		for (i = 0; buffer[i] == 0; i++)
			;
		snprintf(answer, size, "nonzero %lu", at + i * sizeof(*buffer));
		break;
	}
	munmap(buffer, sizeof(zeroes));
	close(fd);
}

/* The raw device in pieces: written and flushed, or read past the page cache and compared. */
static void walk_raw(bool writing, uint64_t seed, char *answer, size_t size)
{
	const size_t piece = 1 << 20;
	struct device device;
	uint64_t *buffer, at, i;
	int fd;

	if (!wait_device(&device) || device.dax) {
		snprintf(answer, size, "error no-block-device");
		return;
	}
	fd = open(device.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	buffer = mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	snprintf(answer, size, "ok");
	for (at = 0; at + piece <= device.size_bytes; at += piece) {
		for (i = 0; writing && i < piece / sizeof(*buffer); i++)
			buffer[i] = seed + at + i;
		if ((writing ? pwrite(fd, buffer, piece, (off_t)at)
			     : pread(fd, buffer, piece, (off_t)at)) != (ssize_t)piece) {
			snprintf(answer, size, "error io %lu", at);
			break;
		}
		for (i = 0; i < piece / sizeof(*buffer) && buffer[i] == seed + at + i; i++)
			;
		if (i < piece / sizeof(*buffer)) {
			snprintf(answer, size, "differ %lu", at + i * sizeof(*buffer));
			break;
		}
	}
	if (writing && fsync(fd) < 0)
		snprintf(answer, size, "error flush");
	munmap(buffer, piece);
	close(fd);
}

static _Noreturn void spin(uint64_t seed)
{
	for (touching = 0;; touching = touching + PAGE < map_bytes ? touching + PAGE : 0) {
		((volatile uint64_t *)map)[touching / sizeof(*map)] = seed + spinner->count;
		spinner->count++;
	}
}

static void command_spin(uint64_t seed, char *answer, size_t size)
{
	if (spinner_pid > 0) {
		snprintf(answer, size, "error spinning");
		return;
	}
	spinner->count = 0;
	spinner->sigbus = 0;
	spinner_pid = fork();
	if (spinner_pid == 0) {
		if (sigsetjmp(sigbus_jump, 1)) {
			spinner->sigbus = 1;
			_exit(0);
		}
		spin(seed);
	}
	snprintf(answer, size, spinner_pid > 0 ? "ok" : "error fork");
}

#include "busy.h"

static void command_stop(char *answer, size_t size)
{
	if (spinner_pid <= 0) {
		snprintf(answer, size, "error not-spinning");
		return;
	}
	kill(spinner_pid, SIGKILL);
	waitpid(spinner_pid, NULL, 0);
	spinner_pid = 0;
	snprintf(answer, size, "ok %lu", spinner->count);
}

#define CACHE_LINE 64UL

static void command_memory(char *answer, size_t size)
{
	FILE *f = fopen("/proc/meminfo", "re");
	uint64_t kib = 0;

	if (f && fscanf(f, "MemTotal: %lu", &kib) != 1)
		kib = 0;
	if (f)
		fclose(f);
	snprintf(answer, size, kib ? "%lu" : "error meminfo", kib);
}

static void run_hog(uint64_t bytes)
{
	uint64_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	for (uint64_t round = 0;; round++) {
		for (uint64_t i = 0; i < bytes / sizeof(*p); i += CACHE_LINE / sizeof(*p)) {
			if (p[i] != (round ? round * i : 0))
				hog->differs = 1;
			p[i] = (round + 1) * i;
		}
		hog->count = round + 1;
	}
}

static void command_hog(uint64_t mib, char *answer, size_t size)
{
	hog->count = 0;
	hog->differs = 0;
	hog_pid = fork();
	if (hog_pid == 0)
		run_hog(mib << 20);
	snprintf(answer, size, hog_pid > 0 ? "ok" : "error fork");
}

static void command_unhog(char *answer, size_t size)
{
	if (hog_pid > 0) {
		kill(hog_pid, SIGKILL);
		waitpid(hog_pid, NULL, 0);
	}
	hog_pid = 0;
	snprintf(answer, size, "ok %lu", hog->count);
}

static void command_clutter(uint64_t n, char *answer, size_t size)
{
	char path[64];

	for (uint64_t i = 0; i < n; i++) {
		int fd;

		snprintf(path, sizeof(path), "/clutter-%lu", i);
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0) {
			snprintf(answer, size, "error clutter %d", errno);
			return;
		}
		close(fd);
	}
	snprintf(answer, size, "ok");
}

/* QEMU tells of PCI devices by this one (its _E01, for q35 as for pc). */
static void command_deaf(uint64_t deaf, char *answer, size_t size)
{
	int result = write_attribute(
		deaf ? "disable\n" : "enable\n", "/sys/firmware/acpi/interrupts/gpe01");

	snprintf(answer, size, result < 0 ? "error acpi" : "ok");
}

static bool command_own_memory(const char *word, uint64_t value, char *answer, size_t size)
{
	if (strcmp(word, "memory") == 0)
		command_memory(answer, size);
	else if (strcmp(word, "hog") == 0)
		command_hog(value, answer, size);
	else if (strcmp(word, "hogged") == 0)
		snprintf(answer, size, "%lu %s", hog->count,
			hog->differs ? "differ"
			: hog_pid    ? "ok"
				     : "none");
	else if (strcmp(word, "unhog") == 0)
		command_unhog(answer, size);
	else if (strcmp(word, "clutter") == 0)
		command_clutter(value, answer, size);
	else
		return false;
	return true;
}

static void command_info(char *answer, size_t size)
{
	struct device device;

	if (wait_device(&device))
		snprintf(answer, size, "%s %lu", device.path, device.size_bytes);
	else
		snprintf(answer, size, "error no-device");
}

/* Those that map the device-dax and take a seed. */
static bool command_mapped(const char *word, uint64_t seed, char *answer, size_t size)
{
	static const struct {
		const char *word;
		void (*run)(uint64_t seed, char *answer, size_t size);
	} table[] = {
		{"fill", command_fill},
		{"check", command_check},
		{"spin", command_spin},
	};
	const char *error;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(word, table[i].word) != 0)
			continue;
		error = map_device();
		if (error)
			snprintf(answer, size, "%s", error);
		else
			table[i].run(seed, answer, size);
		unmap_device();
		return true;
	}
	return false;
}

static void serve(char *request)
{
	char *id, *word, *seed_word, *devices, answer[256] = "error unknown-command";
	uint64_t seed;

	id = strtok(request, " ");
	word = strtok(NULL, " ");
	seed_word = strtok(NULL, " ");
	devices = strtok(NULL, " ");
	if (!id || !word)
		return;
	seed = seed_word ? strtoull(seed_word, NULL, 0) : 0;
	if (!command_mapped(word, seed, answer, sizeof(answer)) &&
		!command_own_memory(word, seed, answer, sizeof(answer))) {
		if (strcmp(word, "ping") == 0)
			snprintf(answer, sizeof(answer), "pong");
		else if (strcmp(word, "deaf") == 0)
			command_deaf(seed, answer, sizeof(answer));
		else if (strcmp(word, "info") == 0)
			command_info(answer, sizeof(answer));
		else if (strcmp(word, "zero") == 0)
			command_zero(answer, sizeof(answer));
		else if (strcmp(word, "write") == 0 || strcmp(word, "compare") == 0)
			walk_raw(*word == 'w', seed, answer, sizeof(answer));
		else if (strcmp(word, "spun") == 0)
			snprintf(answer, sizeof(answer), "%lu %s", spinner->count,
				spinner->sigbus ? "sigbus"
				: spinner_pid	? "running"
						: "none");
		else if (strcmp(word, "busy") == 0 || strcmp(word, "guard") == 0)
			command_busy(*word == 'g', seed, devices ? strtoul(devices, NULL, 0) : 1,
				answer, sizeof(answer));
		else if (strcmp(word, "rounds") == 0)
			command_rounds(answer, sizeof(answer));
		else if (strcmp(word, "stop") == 0)
			command_stop(answer, sizeof(answer));
		else if (strcmp(word, "poweroff") == 0)
			reboot(RB_POWER_OFF);
		else if (strcmp(word, "reboot") == 0)
			reboot(RB_AUTOBOOT);
	}
	dprintf(line_fd, "%s %s\n", id, answer);
}

static void load_modules(void)
{
	char name[128], path[256];
	FILE *order;
	int fd;

	order = fopen("/modules/order", "re");
	if (!order)
		return;
	while (fscanf(order, "%127s", name) == 1) {
		snprintf(path, sizeof(path), "/modules/%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
			console("worker: %s: %m\n", name);
		close(fd);
	}
	fclose(order);
}

static int open_line(void)
{
	struct termios termios;
	int fd;

	fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &termios) < 0)
		return -errno;
	cfmakeraw(&termios);
	if (tcsetattr(fd, TCSANOW, &termios) < 0)
		return -errno;
	return fd;
}

static int open_uevents(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int fd;

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd;
}

int main(void)
{
	struct sigaction action = {.sa_handler = sigbus_handler, .sa_flags = SA_NODEFER};
	char request[256];
	size_t length = 0;
	char byte;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	uevent_fd = open_uevents();
	load_modules();
	sigaction(SIGBUS, &action, NULL);
	spinner = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	hog = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	busy = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	line_fd = open_line();
	if (line_fd < 0 || uevent_fd < 0 || spinner == MAP_FAILED || hog == MAP_FAILED ||
		busy == MAP_FAILED) {
		console("worker: cannot start: %m\n");
		reboot(RB_POWER_OFF);
	}
	console("worker: ready\n");
	dprintf(line_fd, "ready\n");
	while (read(line_fd, &byte, 1) == 1) {
		if (byte != '\n') {
			if (length < sizeof(request) - 1)
				request[length++] = byte;
			continue;
		}
		request[length] = 0;
		length = 0;
		serve(request);
	}
	console("worker: the command line is gone\n");
	reboot(RB_POWER_OFF);
	return 1;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Memory of the host: a sysfs of plain files with a kernel behind it, and real processes. */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "proof-internal.h"
#include "ram-internal.h"
#include "region-internal.h"
#include "util.h"

#define DEVICE	  "sys/bus/dax/devices/dax0.0"
#define KMEM	  "sys/bus/dax/drivers/kmem"
#define MEMORY	  "sys/devices/system/memory"
#define NODE	  "sys/devices/system/node/node77"
#define START	  0x180200000ULL
#define SIZE	  (1022 * MIB)
#define FIRST	  49
#define LAST	  55
#define BIND	  2 /* MPOL_BIND */
#define REAL_SIZE (16 * MIB)

static char root[64], sysfs[80], proc[80];
static PmlDaxRoots roots;
static PmlRegion *region;

/* What the kernel does otherwise than is hoped. */
static int pinned_block, normal_block;
static bool keeps_range, no_id;
static const char *added_as;

static void put(const char *text, const char *format, ...) _printf_(2, 3);
static void put(const char *text, const char *format, ...)
{
	char path[256], full[PATH_MAX], *slash;
	_cleanup_fclose_ FILE *f = NULL;
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(path, sizeof(path), format, ap);
	va_end(ap);
	(void)snprintf(full, sizeof(full), "%s/%s", root, path);
	for (slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		(void)mkdir(full, 0700);
	}
	f = fopen(full, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
}

static void drop(const char *path)
{
	char command[PATH_MAX];

	(void)snprintf(command, sizeof(command), "rm -rf %s/%s", root, path);
	assert_int_equal(system(command), 0);
}

static void set_driver(const char *driver)
{
	char path[PATH_MAX], target[128];

	drop(DEVICE "/driver");
	(void)snprintf(path, sizeof(path), "%s/" DEVICE "/driver", root);
	(void)snprintf(target, sizeof(target), "../../drivers/%s", driver);
	assert_int_equal(symlink(target, path), 0);
}

static void put_block(int id, const char *state, const char *zone)
{
	put(state, MEMORY "/memory%d/state", id);
	put(zone, MEMORY "/memory%d/valid_zones", id);
	put("", NODE "/memory%d", id);
}

static void add_blocks(void)
{
	for (int id = FIRST; id <= LAST; id++)
		put_block(id, added_as, id == normal_block ? "Normal\n" : "Movable\n");
}

static bool any_online(void)
{
	PmlRam ram;

	assert_int_equal(ram_ram(&roots, region, &ram), 0);
	return ram.n_online > 0;
}

static int write_state(int id, const char *text)
{
	bool online = strncmp(text, "online", 6) == 0;

	if (!online && id == pinned_block)
		return -EBUSY;
	put_block(id, online ? "online\n" : "offline\n",
		online && id == normal_block ? "Normal\n" : "Movable\n");
	return 0;
}

static int kernel(int dir_fd, const char *path, const char *text)
{
	int id;

	if (sscanf(path, "memory%d/state", &id) == 1)
		return write_state(id, text);
	assert_string_equal(text, "dax0.0");
	if (strcmp(path, "driver/unbind") == 0) {
		drop(DEVICE "/driver");
		if (!keeps_range && !any_online())
			for (id = FIRST; id <= LAST; id++) {
				char block[64];

				(void)snprintf(block, sizeof(block), MEMORY "/memory%d", id);
				drop(block);
			}
		return 0;
	}
	if (strcmp(path, "bind") == 0 && no_id)
		return -ENODEV;
	assert_true(strcmp(path, "bind") == 0 || strcmp(path, "new_id") == 0);
	set_driver("kmem");
	add_blocks();
	return 0;
}

static PmlRegion *make_region(int node)
{
	PmlRegionInfo info = {
		.name = "dax0.0",
		.path = "/dev/null",
		.kind = PML_KIND_SYSRAM,
		.binding = PML_BINDING_KMEM,
		.devno = makedev(1, 3),
		.size_bytes = SIZE,
		.phys_start = START,
		.target_node = node,
	};
	PmlRegion *r;

	assert_int_equal(pml_region_new(&info, &r), 0);
	return r;
}

static int setup(void **state)
{

	strcpy(root, "/tmp/test-ram-XXXXXX");
	assert_non_null(mkdtemp(root));
	(void)snprintf(sysfs, sizeof(sysfs), "%s/sys", root);
	(void)snprintf(proc, sizeof(proc), "%s/proc", root);
	roots = (PmlDaxRoots){.sysfs = sysfs, .dev = "/dev", .proc = proc, .write_attr = kernel};
	put("", "proc/uptime");
	pinned_block = normal_block = -1;
	keeps_range = no_id = false;
	added_as = "online\n";
	put("1:3\n", DEVICE "/dev");
	put("1071644672\n", DEVICE "/size");
	put("0x180200000\n", DEVICE "/resource");
	put("", KMEM "/bind");
	put("8000000\n", MEMORY "/block_size_bytes");
	put("online_movable\n", MEMORY "/auto_online_blocks");
	put("false\n", "sys/kernel/mm/numa/demotion_enabled");
	put("\n", NODE "/cpulist");
	put("Node 77 MemTotal:         917504 kB\nNode 77 MemFree:          917104 kB\n"
	    "Node 77 MemUsed:             400 kB\nNode 77 FilePages:             8 kB\n"
	    "Node 77 AnonPages:            12 kB\nNode 77 KernelStack:           0 kB\n"
	    "Node 77 PageTables:            0 kB\nNode 77 Slab:                 16 kB\n",
		NODE "/meminfo");
	set_driver("kmem");
	add_blocks();
	region = make_region(77);
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	region = pml_region_unref(region);
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static PmlRam look(void)
{
	PmlRam ram;

	assert_int_equal(ram_ram(&roots, region, &ram), 0);
	return ram;
}

/* --- */

static void test_look(void **state)
{
	PmlRam ram = look();

	assert_int_equal(ram.node, 77);
	assert_int_equal(ram.block_bytes, 128 * MIB);
	assert_int_equal(ram.n_blocks, 7);
	assert_int_equal(ram.n_online, 7);
	assert_int_equal(ram.n_movable, 7);
	assert_int_equal(ram.total_bytes, 896 * MIB);
	assert_int_equal(ram.free_bytes, 917104 * 1024ULL);
	assert_int_equal(ram.file_bytes, 8 * 1024);
	assert_int_equal(ram.anon_bytes, 12 * 1024);
	assert_int_equal(ram.kernel_bytes, 16 * 1024);
	assert_int_equal(pml_ram_obstacles(&ram), 0);
	/* Not the last of it: the kernel kills somebody when that is gone. */
	assert_int_equal(pml_ram_usable_bytes(&ram), 768 * MIB);
	ram.free_bytes = 3 * MIB;
	assert_int_equal(pml_ram_usable_bytes(&ram), 0);
}

static void test_obstacles(void **state)
{
	PmlRam ram;

	put_block(FIRST + 2, "online\n", "Normal\n");
	ram = look();
	assert_int_equal(pml_ram_obstacles(&ram), PML_OBSTACLE_NOT_MOVABLE);
	put_block(FIRST + 2, "offline\n", "Movable\n");
	ram = look();
	assert_int_equal(pml_ram_obstacles(&ram), PML_OBSTACLE_NOT_MOVABLE);
	put_block(FIRST + 2, "online\n", "Movable\n");
	put("online\n", MEMORY "/auto_online_blocks");
	put("true\n", "sys/kernel/mm/numa/demotion_enabled");
	ram = look();
	assert_int_equal(pml_ram_obstacles(&ram), PML_OBSTACLE_AUTO_ONLINE | PML_OBSTACLE_DEMOTION);
	put("offline\n", MEMORY "/auto_online_blocks");
	put("false\n", "sys/kernel/mm/numa/demotion_enabled");
	/* Somebody else's memory is on the node, or a processor. */
	put("", NODE "/memory200");
	ram = look();
	assert_int_equal(pml_ram_obstacles(&ram), PML_OBSTACLE_SHARED_NODE);
	drop(NODE "/memory200");
	put("4-7\n", NODE "/cpulist");
	ram = look();
	assert_int_equal(pml_ram_obstacles(&ram), PML_OBSTACLE_SHARED_NODE);
}

static PmlBinding binding(void)
{
	PmlBinding b = _PML_BINDING_INVALID;

	assert_int_equal(pml_dax_ops.binding(&roots, region, &b), 0);
	return b;
}

static void test_unbind(void **state)
{
	assert_int_equal(pml_dax_ops.unbind(&roots, region), 0);
	assert_int_equal(binding(), PML_BINDING_NONE);
	assert_int_equal(look().n_blocks, 0);
	/* Nothing more to do. */
	assert_int_equal(pml_dax_ops.unbind(&roots, region), 0);
}

/* With one block online the driver is not touched: the kernel would lose the range. */
static void test_unbind_pinned(void **state)
{
	pinned_block = LAST;
	assert_int_equal(pml_dax_ops.unbind(&roots, region), -EBUSY);
	assert_int_equal(binding(), PML_BINDING_KMEM);
	assert_int_equal(look().n_blocks, 7);
	pinned_block = -1;
	assert_int_equal(pml_dax_ops.unbind(&roots, region), 0);
}

static void test_unbind_keeps_the_range(void **state)
{
	keeps_range = true;
	assert_int_equal(pml_dax_ops.unbind(&roots, region), -EUCLEAN);
}

static void test_bind(void **state)
{
	assert_int_equal(pml_dax_ops.unbind(&roots, region), 0);
	added_as = "offline\n";
	assert_int_equal(pml_dax_ops.bind_ram(&roots, region), 0);
	assert_int_equal(binding(), PML_BINDING_KMEM);
	assert_int_equal(look().n_movable, 7);
	/* Again changes nothing. */
	assert_int_equal(pml_dax_ops.bind_ram(&roots, region), 0);
	assert_int_equal(pml_dax_ops.unbind(&roots, region), 0);
	/* The driver has not been told of it in this boot. */
	no_id = true;
	assert_int_equal(pml_dax_ops.bind_ram(&roots, region), 0);
	assert_int_equal(binding(), PML_BINDING_KMEM);
}

static void test_bind_refused(void **state)
{
	assert_int_equal(pml_dax_ops.unbind(&roots, region), 0);
	put("online\n", MEMORY "/auto_online_blocks");
	assert_int_equal(pml_dax_ops.bind_ram(&roots, region), -EPERM);
	assert_int_equal(binding(), PML_BINDING_NONE);
	put("offline\n", MEMORY "/auto_online_blocks");
	normal_block = FIRST;
	assert_int_equal(pml_dax_ops.bind_ram(&roots, region), -EIO);
}

static void test_lines(void **state)
{
	static const struct {
		const char *line;
		bool bound;
		uint64_t start, present_bytes;
	} lines[] = {
		{"7f5973e00000 bind:1 anon=3 dirty=3 active=0 N0=1 N1=3 kernelpagesize_kB=4\n",
			true, 0x7f5973e00000, 12288},
		{"7f5973e00000 bind:1\n", true, 0x7f5973e00000, 0},
		{"7f5973e00000 bind:0-2,5 huge anon=2 N1=2 kernelpagesize_kB=2048\n", true,
			0x7f5973e00000, 4 * MIB},
		{"1000 bind=static:1 anon=1 N1=1 kernelpagesize_kB=4\n", true, 0x1000, 4096},
		{"1000 bind:0,11 anon=1 N1=1 kernelpagesize_kB=4\n", false, 0, 0},
		{"1000 default anon=1 N1=1 kernelpagesize_kB=4\n", false, 0, 0},
		{"1000 prefer:1 anon=1 N1=1 kernelpagesize_kB=4\n", false, 0, 0},
		{"1000 interleave:0-1 anon=1 N1=1 kernelpagesize_kB=4\n", false, 0, 0},
		{"1000 default file=/tmp/bind:1 N1=1 kernelpagesize_kB=4\n", false, 0, 0},
		{"bind:1\n", false, 0, 0},
		{"", false, 0, 0},
	};

	for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
		uint64_t start = 0, present = 0;

		assert_int_equal(
			ram_parse_line(lines[i].line, 1, &start, &present), lines[i].bound);
		assert_int_equal(start, lines[i].start);
		assert_int_equal(present, lines[i].present_bytes);
	}
}

/* --- a real process --- */

static void hold(int ready_fd)
{
	uint64_t *p =
		mmap(NULL, REAL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long node0 = 1;
	char ok = 'y';

	if (p == MAP_FAILED || syscall(SYS_mbind, p, REAL_SIZE, BIND, &node0, 8UL, 0U) < 0)
		ok = 'n';
	else
		p[4096] = 4711;
	if (write(ready_fd, &ok, 1) != 1)
		_exit(1);
	/* Until it is killed: what is there must be what it wrote, and nothing else. */
	for (;;) {
		(void)poll(NULL, 0, 5);
		for (uint64_t i = 0; ok == 'y' && i < REAL_SIZE / sizeof(*p); i += 512)
			if (p[i] != (i == 4096 ? 4711U : 0U) && i != 0)
				_exit(2);
		p[0]++;
	}
}

static const PmlRamUser *find(const PmlRamUser *users, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (users[i].pid == pid)
			return &users[i];
	return NULL;
}

static uint64_t deadline(void)
{
	return pml_now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;
}

static void test_process(void **state)
{
	PmlRamUser *users = NULL;
	const PmlRamUser *u;
	unsigned n_denied;
	int fds[2], status;
	size_t n = 0;
	char ok;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)alarm(60);
		hold(fds[1]);
	}
	assert_int_equal(read(fds[0], &ok, 1), 1);
	close(fds[0]);
	close(fds[1]);
	if (ok != 'y') {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		skip();
	}
	assert_int_equal(ram_users("/proc", 0, NULL, deadline(), &users, &n, &n_denied), 0);
	u = find(users, n, pid);
	assert_non_null(u);
	assert_int_equal(u->n_mappings, 1);
	assert_int_equal(u->mapped_bytes, REAL_SIZE);

	assert_int_equal(ram_touch(0, pid, u->start_ticks + 1, deadline()), -ESRCH);
	assert_int_equal(ram_touch(0, pid, u->start_ticks, deadline()), 0);
	free(users);
	assert_int_equal(ram_users("/proc", 0, NULL, deadline(), &users, &n, &n_denied), 0);
	u = find(users, n, pid);
	assert_non_null(u);
	assert_int_equal(u->present_bytes, REAL_SIZE);
	free(users);

	/* Of those that were started with this argument there is none. */
	assert_int_equal(
		ram_users("/proc", 0, "no such argument", deadline(), &users, &n, &n_denied), 0);
	assert_int_equal(n, 0);
	assert_int_equal(ram_users("/proc", 0, NULL, 0, &users, &n, &n_denied), -ETIMEDOUT);

	/* What somebody has bound to the node is not moved away from under him. */
	pml_region_unref(region);
	region = make_region(0);
	roots.proc = "/proc";
	assert_int_equal(pml_dax_ops.unbind(&roots, region), -EBUSY);
	assert_int_equal(binding(), PML_BINDING_KMEM);
	assert_int_equal(look().n_online, 7);

	/* It reads all of it before it would end by itself. */
	(void)poll(NULL, 0, 200);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_look),
		TEST(test_obstacles),
		TEST(test_unbind),
		TEST(test_unbind_pinned),
		TEST(test_unbind_keeps_the_range),
		TEST(test_bind),
		TEST(test_bind_refused),
		cmocka_unit_test(test_lines),
		TEST(test_process),
	};

	return cmocka_run_group_tests_name("ram", tests, NULL, NULL);
}

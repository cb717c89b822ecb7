/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The node of a region in the /dev that a machine has of its own, on real mount namespaces. */

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "region-internal.h"
#include "util.h"
#include "withdraw.h"

/* What stands in the region's place has the number of /dev/full. */
#define NUMBER	       makedev(1, 7)
#define OF_THE_MACHINE 64055

/* Who keeps a descriptor of the node: what it can do to get at it again. */
typedef enum Keeper {
	KEEPS_NONE,
	KEEPS_AS_USER, /* the node's owner, as QEMU is where libvirt gives it a user of its own */
	KEEPS_AS_ROOT, /* without capabilities, as QEMU is where libvirt's configuration says root
			*/
} Keeper;

static bool make_dev(dev_t number, uid_t owner)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", "/dev", "tmpfs", 0, NULL) == 0 &&
	       mknod("/dev/full", S_IFCHR | 0660, number) == 0 &&
	       chown("/dev/full", owner, owner) == 0;
}

static bool give_up(Keeper keeper)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {};

	if (keeper == KEEPS_AS_USER)
		return setgroups(0, NULL) == 0 && setgid(OF_THE_MACHINE) == 0 &&
		       setuid(OF_THE_MACHINE) == 0;
	return syscall(SYS_capset, &header, none) == 0;
}

/* 'y': it has opened the node behind its descriptor anew, by what it may do to the node. */
static char try_again(int fd)
{
	char path[64];
	int again;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	(void)chmod(path, 0666);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again >= 0)
		close(again);
	return again >= 0 ? 'y' : 'n';
}

/* Answers each byte that comes, in a process of its own. */
static _Noreturn void keep(Keeper keeper, int channel)
{
	int fd = keeper == KEEPS_NONE ? -1 : open("/dev/full", O_PATH | O_CLOEXEC);
	bool good = keeper == KEEPS_NONE || (fd >= 0 && give_up(keeper));
	char byte = good ? 'y' : 'n';

	do {
		if (write(channel, &byte, 1) != 1)
			break;
		if (read(channel, &byte, 1) != 1)
			break;
		byte = try_again(fd);
	} while (true);
	_exit(0);
}

static int channel = -1;

static char answer(void)
{
	char byte = 0;

	assert_int_equal(read(channel, &byte, 1), 1);
	return byte;
}

static bool opens_again(void)
{
	assert_int_equal(write(channel, "?", 1), 1);
	return answer() == 'y';
}

/* 0: it could not have a /dev of its own. own: it is to have one, with this number behind the name.
 */
static pid_t start_keeper(bool own, dev_t number, Keeper keeper)
{
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pair[0]);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (own && !make_dev(number, keeper == KEEPS_AS_USER ? OF_THE_MACHINE : 0)) {
			(void)!write(pair[1], "n", 1);
			_exit(0);
		}
		keep(keeper, pair[1]);
	}
	close(pair[1]);
	if (channel >= 0)
		close(channel);
	channel = pair[0];
	if (answer() == 'y')
		return pid;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return 0;
}

static pid_t start(bool own, dev_t number)
{
	return start_keeper(own, number, KEEPS_NONE);
}

static int withdraw(pid_t pid)
{
	const PmlRegionInfo info = {
		.name = "full",
		.path = "/dev/full",
		.kind = PML_KIND_DEVDAX,
		.binding = PML_BINDING_NONE,
		.devno = NUMBER,
		.size_bytes = 64 * MIB,
		.align_bytes = 2 * MIB,
		.phys_start = 1ULL << 32,
	};
	char text[1024];
	PmlRegion *region;
	PmlProof *proof;
	int r;

	(void)snprintf(text, sizeof(text),
		"{\"format\":1,\"verdict\":\"revoked\",\"summary\":\"\",\"region\":\"r\",\"rung\":\"revoke\",\"binding\":\"none\","
		"\"realtime_usec\":1,\"settled\":true,\"processes\":1,\"processes_denied\":0,\"mappings_left\":0,\"module_refs\":null,"
		"\"unexplained_refs\":null,\"holders\":[{\"pid\":%d,\"start_ticks\":1,\"command\":\"qemu\",\"cgroup\":\"\",\"unit\":\"\","
		"\"descriptors\":0,\"mappings\":1,\"mapped_bytes\":1,\"present_bytes\":0,\"probes\":0,\"probes_refused\":0}],"
		"\"blind_spots\":[]}",
		(int)pid);
	assert_int_equal(pml_region_new(&info, &region), 0);
	assert_int_equal(pml_proof_from_json(text, &proof), 0);
	r = withdraw_nodes(region, proof);
	pml_proof_free(proof);
	pml_region_unref(region);
	return r;
}

static bool has_node(pid_t pid)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/root/dev/full", (int)pid);
	return lstat(path, &st) == 0;
}

static void end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_own_dev(void **state)
{
	pid_t mine = start(true, NUMBER), other = start(true, makedev(1, 5));

	if (mine == 0 || other == 0) {
		print_message("no mount namespace can be made here\n");
		skip();
	}
	assert_true(has_node(mine));
	assert_int_equal(withdraw(mine), 0);
	assert_false(has_node(mine));
	assert_int_equal(withdraw(mine), 0);
	/* Of that name, but another device: none of ours. */
	assert_int_equal(withdraw(other), 0);
	assert_true(has_node(other));
	end(mine);
	end(other);
}

static void test_descriptor(Keeper keeper)
{
	pid_t pid = start_keeper(true, NUMBER, keeper);

	if (pid == 0) {
		print_message("no mount namespace can be made here\n");
		skip();
	}
	assert_true(opens_again());
	assert_int_equal(withdraw(pid), 0);
	assert_false(opens_again());
	assert_int_equal(withdraw(pid), 0);
	assert_false(opens_again());
	end(pid);
}

static void test_descriptor_of_user(void **state)
{
	test_descriptor(KEEPS_AS_USER);
}

static void test_descriptor_of_root(void **state)
{
	test_descriptor(KEEPS_AS_ROOT);
}

/* The name is gone already, as after an attempt that was cut short. */
static void test_descriptor_without_name(void **state)
{
	pid_t pid = start_keeper(true, NUMBER, KEEPS_AS_USER);
	char path[64];

	if (pid == 0) {
		print_message("no mount namespace can be made here\n");
		skip();
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/root/dev/full", (int)pid);
	assert_int_equal(unlink(path), 0);
	assert_true(opens_again());
	assert_int_equal(withdraw(pid), 0);
	assert_false(opens_again());
	end(pid);
}

static void test_shared_dev(void **state)
{
	pid_t pid = start(false, NUMBER);

	assert_int_equal(withdraw(pid), -EXDEV);
	assert_int_equal(access("/dev/full", F_OK), 0);
	end(pid);
	/* It has ended: nothing is left to open anything. */
	assert_int_equal(withdraw(pid), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_dev),
		cmocka_unit_test(test_descriptor_of_user),
		cmocka_unit_test(test_descriptor_of_root),
		cmocka_unit_test(test_descriptor_without_name),
		cmocka_unit_test(test_shared_dev),
	};

	return cmocka_run_group_tests_name("withdraw", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The node of a region in the /dev that a machine has of its own, on real mount namespaces. */

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "region-internal.h"
#include "util.h"
#include "withdraw.h"

/* What stands in the region's place has the number of /dev/full. */
#define NUMBER makedev(1, 7)

static bool make_dev(dev_t number)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", "/dev", "tmpfs", 0, NULL) == 0 &&
	       mknod("/dev/full", S_IFCHR | 0660, number) == 0;
}

/* 0: it could not have a /dev of its own. own: it is to have one, with this number behind the name.
 */
static pid_t start(bool own, dev_t number)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = !own || make_dev(number) ? 'y' : 'n';
		(void)!write(ready[1], &byte, 1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	if (byte == 'y')
		return pid;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return 0;
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
		cmocka_unit_test(test_shared_dev),
	};

	return cmocka_run_group_tests_name("withdraw", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

/*
 * The proof on the real /proc. In the place of the region stands a character device that can be
 * opened anywhere
 * (/dev/full: hardly anybody has it open; /dev/zero where a mapping is wanted: a private mapping
 * keeps its file), and the module's references are what the test says.
 */

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "proof-internal.h"
#include "region-internal.h"
#include "util.h"

#define DEV_REGION makedev(1, 7)    /* /dev/full */
#define DEV_OTHER  makedev(10, 235) /* /dev/autofs: as another device-dax */
#define DEV_MAPS   makedev(1, 5)    /* /dev/zero */

#define PER_FILE 2ULL

typedef struct Fake {
	int binding_result;
	PmlBinding binding;
	int refs_result;
	uint64_t refs;
	unsigned n_refs_calls;
	bool refs_move; /* another count at every look */
	bool once;
	const char *argument;
	bool block;
	bool refuses; /* a kernel that refuses files of earlier bindings */
	PmlRevocation revocation;
	int cache_result;
	uint64_t cached_bytes;
} Fake;

static inline int fake_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	Fake *f = userdata;

	if (f->binding_result == 0)
		*ret = f->binding;
	return f->binding_result;
}

static inline int fake_module_refs(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file)
{
	Fake *f = userdata;

	f->n_refs_calls++;
	if (f->refs_result == 0) {
		*ret_refs = f->refs + (f->refs_move ? f->n_refs_calls : 0);
		*ret_per_file = PER_FILE;
	}
	return f->refs_result;
}

static inline int fake_drop_cache(void *userdata, const PmlRegion *r, uint64_t *ret_left_bytes)
{
	Fake *f = userdata;

	if (f->cache_result == 0)
		*ret_left_bytes = f->cached_bytes;
	return f->cache_result;
}

static inline int fake_revocation(void *userdata, const PmlRegion *r, PmlRevocation *ret)
{
	Fake *f = userdata;

	*ret = f->revocation;
	return f->refuses ? 0 : -EOPNOTSUPP;
}

static inline bool is_dax(const ProofHooks *hooks, dev_t rdev)
{
	return rdev == DEV_OTHER;
}

/* Only what this test started: others may use the stand-ins, or be closed to us. */
static ProofHooks hooks = {.is_dax = is_dax, .private_mappings = true};

static inline PmlProof *collect_until(Fake *f, dev_t devno, bool probe, uint64_t deadline_usec)
{
	const PmlDaxOps dax = {.binding = fake_binding,
		.module_refs = fake_module_refs,
		.drop_cache = fake_drop_cache,
		.revocation = fake_revocation,
		.userdata = f};
	const PmlRegionInfo info = {
		.name = "dax0.0",
		.path = "/dev/dax0.0",
		.uuid = "0f5c1d2e-0000-4000-8000-000000000001",
		.kind = f->block ? PML_KIND_BDEV : PML_KIND_DEVDAX,
		.devno = devno,
		.size_bytes = 64 * MIB,
		.align_bytes = 2 * MIB,
		.phys_start = 1ULL << 32,
		.numa_node = -1,
		.target_node = -1,
	};
	PmlRegion *region = NULL;
	PmlProof *p = NULL;

	assert_int_equal(pml_region_new(&info, &region), 0);
	const PmlProofRequest req = {
		.region = region,
		.dax = &dax,
		.rung = "unbind",
		.probe = probe,
		.once = f->once,
		.argument = f->argument,
		.deadline_usec = deadline_usec,
	};
	int r = proof_collect_with(&req, &hooks, &p);

	pml_region_unref(region);
	assert_true(r < 0 ? !p : !!p);
	return p;
}

static inline PmlProof *collect(Fake *f, dev_t devno)
{
	return collect_until(f, devno, true, pml_now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC);
}

static inline const PmlHolder *holder_of(const PmlProof *p, pid_t pid)
{
	const PmlHolder *h;
	size_t i;

	pml_proof_foreach_holder (p, i, h)
		if (h->pid == pid)
			return h;
	return NULL;
}

/* A child that does something, says that it is ready, and waits to be ended. */
typedef struct Child {
	pid_t pid;
	int ready;
} Child;

static inline Child start(void (*fn)(void *userdata), void *userdata)
{
	int ready[2];
	Child c = {0};
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fn)
			fn(userdata);
		(void)!write(ready[1], "x", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return c;
}

static inline void end(Child c)
{
	kill(c.pid, SIGKILL);
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
}

static inline int open_region(void)
{
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

#define MAP_BYTES (16 * 4096UL)

typedef struct Mapping {
	int protection;
	bool touch;
	bool refused; /* whoever touches it gets SIGBUS, as from a device that refuses */
} Mapping;

/* False: this kernel gives us no userfaultfd. */
static inline bool refuse_faults(void *at)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS};
	struct uffdio_register range = {
		.range = {.start = (uintptr_t)at, .len = MAP_BYTES},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 &&
	       ioctl(fd, UFFDIO_REGISTER, &range) == 0;
}

static inline void map_it(void *userdata)
{
	const Mapping *m = userdata;
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	char *p = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		_exit(1);
	close(fd);
	if (m->touch)
		memset(p, 1, MAP_BYTES / 2);
	if (m->refused && !refuse_faults(p))
		_exit(1);
	if (mprotect(p, MAP_BYTES, m->protection) < 0)
		_exit(1);
}

/* First of all: the scan is limited to what this test starts. */
static inline void own_session(void)
{
	hooks.session = setsid();
	if (hooks.session < 0)
		hooks.session = getsid(0);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A sysfs of plain files, with a function in the place of the kernel that acts on writes. The
 * device is "null", 1:3: a character device that every /dev has and that may be opened.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "dax-internal.h"
#include "dax.h"
#include "region-internal.h"
#include "util.h"

#define DEVICE	 "sys/bus/dax/devices/null"
#define DRIVERS	 "sys/bus/dax/drivers"
#define MODULE	 "sys/module/device_dax"
#define SIZE	 (64 * MIB)
#define RESOURCE 0x240000000ULL

typedef struct Fixture {
	char root[64];
	char sysfs[80];
	char dev[80];
	PmlDaxRoots roots;
	PmlRegion *region;
} Fixture;

static Fixture fx;

/* What the kernel does when a driver's attribute is written to. */
static enum {
	KERNEL_OBEYS,
	KERNEL_IGNORES,	   /* says yes, does nothing */
	KERNEL_REFUSES,	   /* -EIO, does nothing */
	KERNEL_WAS_FASTER, /* somebody else's write was first: the deed is done, this write fails */
	KERNEL_REMOVES_DEVICE,	  /* the device leaves in the middle */
	KERNEL_BINDS_OTHER_DRIVER /* kmem was first */
} kernel;
static int n_writes;

/* A kernel that numbers bindings; false: one of today. */
static bool revoke_ability;
static int generation;
static const char *state_after_revoke;

static inline void put(const char *path, const char *text)
{
	_cleanup_fclose_ FILE *f = NULL;
	char full[PATH_MAX], *slash;

	(void)snprintf(full, sizeof(full), "%s/%s", fx.root, path);
	for (slash = full + strlen(fx.root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		(void)mkdir(full, 0700);
	}
	f = fopen(full, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
}

static inline void put_link(const char *path, const char *target)
{
	char full[PATH_MAX];

	(void)snprintf(full, sizeof(full), "%s/%s", fx.root, path);
	(void)unlink(full);
	assert_int_equal(symlink(target, full), 0);
}

static inline void drop(const char *path)
{
	char full[PATH_MAX];

	(void)snprintf(full, sizeof(full), "%s/%s", fx.root, path);
	assert_int_equal(unlink(full), 0);
}

static inline void set_driver(const char *driver)
{
	char target[PATH_MAX];

	(void)snprintf(target, sizeof(target), "../../drivers/%s", driver);
	put_link(DEVICE "/driver", target);
}

/* What the patched driver has for a binding. */
static inline void put_binding(void)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%d\n", ++generation);
	put(DEVICE "/generation", text);
	put(DEVICE "/revoke", "");
	put(DEVICE "/revoke_state", "live\n");
	put(DEVICE "/revoke_held", "0\n");
}

static inline int obey(const char *path)
{
	if (strcmp(path, "driver/unbind") == 0) {
		drop(DEVICE "/driver");
		if (revoke_ability)
			drop(DEVICE "/revoke_state");
	} else {
		set_driver("device_dax");
		if (revoke_ability)
			put_binding();
	}
	return 0;
}

static inline int obey_revoke(const char *text)
{
	if (atoi(text) != generation)
		return -ESTALE;
	if (state_after_revoke)
		put(DEVICE "/revoke_state", state_after_revoke);
	return 0;
}

static inline int fake_write_attr(int dir_fd, const char *path, const char *text)
{
	/* The kernel's own answer where the attribute is not there. */
	if (faccessat(dir_fd, path, F_OK, 0) < 0)
		return -errno;
	n_writes++;
	if (strcmp(path, "revoke") == 0)
		return obey_revoke(text);
	assert_string_equal(text, "null");

	switch (kernel) {
	case KERNEL_OBEYS:
		return obey(path);
	case KERNEL_IGNORES:
		return 0;
	case KERNEL_REFUSES:
		return -EIO;
	case KERNEL_WAS_FASTER:
		obey(path);
		return strcmp(path, "bind") == 0 ? -EBUSY : -ENODEV;
	case KERNEL_REMOVES_DEVICE:
		if (strcmp(path, "driver/unbind") == 0)
			drop(DEVICE "/driver");
		drop(DEVICE "/dev");
		return -ENODEV;
	case KERNEL_BINDS_OTHER_DRIVER:
		set_driver("kmem");
		return -EBUSY;
	}
	return -EINVAL;
}

static inline PmlRegion *make_region(dev_t devno, uint64_t size_bytes, uint64_t phys_start)
{
	PmlRegionInfo info = {
		.name = "null",
		.path = "/dev/null",
		.kind = PML_KIND_DEVDAX,
		.binding = PML_BINDING_DEVICE_DAX,
		.devno = devno,
		.size_bytes = size_bytes,
		.phys_start = phys_start,
	};
	PmlRegion *r;

	assert_int_equal(pml_region_new(&info, &r), 0);
	return r;
}

static inline int setup(void **state)
{
	strcpy(fx.root, "/tmp/test-dax-XXXXXX");
	assert_non_null(mkdtemp(fx.root));
	(void)snprintf(fx.sysfs, sizeof(fx.sysfs), "%s/sys", fx.root);
	(void)snprintf(fx.dev, sizeof(fx.dev), "%s/dev", fx.root);
	put(DEVICE "/dev", "1:3\n");
	put(DEVICE "/size", "67108864\n");
	put(DEVICE "/resource", "0x240000000\n");
	put(DRIVERS "/device_dax/bind", "");
	put(DRIVERS "/device_dax/unbind", "");
	put(DRIVERS "/kmem/unbind", "");
	put("sys/dev/char/nothing", "");
	put_link("sys/dev/char/1:3", "../../bus/dax/devices/null");
	set_driver("device_dax");
	fx.roots = (PmlDaxRoots){
		.sysfs = fx.sysfs, .dev = "/dev", .proc = "/proc", .write_attr = fake_write_attr};
	fx.region = make_region(makedev(1, 3), SIZE, RESOURCE);
	kernel = KERNEL_OBEYS;
	n_writes = 0;
	revoke_ability = false;
	return 0;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline int teardown(void **state)
{
	fx.region = pml_region_unref(fx.region);
	return nftw(fx.root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "dax.h"

/* Where the operations of dax.h look when their userdata is not NULL: tests build a tree. */

typedef struct PmlDaxRoots {
	const char *sysfs; /* "/sys" */
	const char *dev;   /* "/dev" */
	const char *proc;  /* "/proc" */
	/*
	 * Writes text to the attribute path, relative to dir_fd. 0 or negative errno. A tree of
	 * plain files has no kernel behind it that would act on the write.
	 */
	int (*write_attr)(int dir_fd, const char *path, const char *text);
} PmlDaxRoots;

const PmlDaxRoots *dax_roots_of(void *userdata);
/* The device's directory in sysfs, checked to be r's. 0, -ESTALE, -ENODEV. */
int dax_open_device(const PmlDaxRoots *roots, const PmlRegion *r, int *ret_fd);
/* The driver by the link in that directory. -ENODEV: the device has left. */
int dax_read_binding(int dir_fd, PmlBinding *ret);
/* An attribute, without its newline; -ENODEV where it is not there. */
int dax_read_attr(int dir_fd, const char *attr, char *buf, size_t size);
int dax_read_u64(int dir_fd, const char *attr, uint64_t *ret);

/* dax-revoke.c: see PmlDaxOps. */
int dax_revocation(void *userdata, const PmlRegion *r, PmlRevocation *ret);
int dax_revoke(void *userdata, const PmlRegion *r, uint64_t timeout_usec, PmlRevocation *ret);
bool dax_was_revoked(int dir_fd);
bool dax_driver_can_revoke(const PmlDaxRoots *roots);

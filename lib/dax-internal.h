/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where the operations of dax.h look when their userdata is not NULL: tests build a tree. */

typedef struct PmlDaxRoots {
	const char *sysfs; /* "/sys" */
	const char *dev;   /* "/dev" */
	/*
	 * Writes text to the attribute path, relative to dir_fd. 0 or negative errno. A tree of
	 * plain files has no kernel behind it that would act on the write.
	 */
	int (*write_attr)(int dir_fd, const char *path, const char *text);
} PmlDaxRoots;

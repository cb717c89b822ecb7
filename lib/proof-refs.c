/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How many module references are explained.
 *
 * The module's count is a plain number: whose references they are cannot be asked. A descriptor in
 * flight over a socket shows nowhere, so it must show as a remainder. Explaining one reference too
 * many would hide exactly that descriptor, and let the region be bound again under it; explaining
 * one too few only keeps a region waiting. So this counts a lower bound, and only what is proved:
 *
 * - References belong to open files (struct file), not to descriptors or mappings: after fork(),
 * dup() or SCM_RIGHTS many of them share one file.
 * - A file has one node. Two entries whose nodes differ (file system and inode) are two files.
 * libvirt gives each QEMU nodes of its own, so this tells machines apart even where only mappings
 * are left.
 * - Of one node, descriptors are different files only if kcmp(KCMP_FILE) says so. Where it cannot
 * say (not built in, the process has ended), they count as the same.
 * - A mapping cannot be compared: it may be of any file of that node, and a node with mappings only
 * counts as one.
 * - O_PATH never opened the device and holds nothing.
 */

#include <linux/kcmp.h>
#include <sys/syscall.h>

#include "proof-internal.h"
#include "util.h"

static bool same_node(const ProofFile *a, const ProofFile *b)
{
	return a->rdev == b->rdev && a->dev == b->dev && a->ino == b->ino;
}

static bool proved_different(const ProofFile *a, const ProofFile *b)
{
	if (!same_node(a, b))
		return true;
	if (a->fd < 0 || b->fd < 0)
		return false;
	/* 0: the same; 1, 2 and 3: less, greater, not equal (kcmp(2)). */
	return syscall(SYS_kcmp, a->tid, b->tid, KCMP_FILE, (unsigned long)a->fd,
		       (unsigned long)b->fd) > 0;
}

size_t proof_distinct_files(const ProofPass *pass, dev_t own, bool others)
{
	_cleanup_free_ const ProofFile **distinct = NULL;
	size_t n_distinct = 0;

	if (pass->n_files == 0)
		return 0;
	distinct = calloc(pass->n_files, sizeof(const ProofFile *));
	if (!distinct)
		return 0; /* nothing proved, nothing explained */
	/* Descriptors first: a mapping adds a file only where its node has no descriptor at all. */
	for (int mappings = 0; mappings < 2; mappings++) {
		for (size_t i = 0; i < pass->n_files; i++) {
			const ProofFile *f = &pass->files[i];
			bool different = true;

			if ((f->rdev == own) == others || (f->fd < 0) != (mappings == 1) ||
				f->path_only)
				continue;
			for (size_t j = 0; j < n_distinct && different; j++)
				different = proved_different(distinct[j], f);
			if (different)
				distinct[n_distinct++] = f;
		}
	}
	return n_distinct;
}

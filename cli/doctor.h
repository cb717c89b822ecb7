/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What can be seen of the host from outside the daemon, by anybody. All paths are relative to a
 * root, which is "/" but in tests. Each adds its lines to *l.
 */

#include <sys/types.h>

#include "findings.h"

typedef struct Root {
	int fd;		  /* O_PATH; borrowed */
	const char *path; /* the same, for what must be executed; "" for "/" */
} Root;

/* --- doctor-root.c: reading below a root --- */

bool root_has(const Root *root, const char *path); /* follows links */
/* The file's text without the newline at its end; NULL when it cannot be read or is over 256 KiB.
 * malloc-ed. */
char *root_text(const Root *root, const char *path);
/* The last part of what a link points to; NULL: no link. malloc-ed. */
char *root_link_name(const Root *root, const char *path);
/* Names in a directory, sorted, without "." and ".."; NULL-terminated, never NULL unless out of
 * memory. */
char **root_names(const Root *root, const char *path);
char **root_names_free(char **names);
static inline _unused_ void root_names_freep(char ***names)
{
	root_names_free(*names);
}
#define _cleanup_names_ _cleanup_(root_names_freep)
/*
 * What a program prints on stdout, at most 1 MiB of it; killed after 20 s. NULL: it could not be
 * run, or failed. path is below the root. malloc-ed.
 */
char *root_output(const Root *root, const char *path, const char *const *args);

/* --- the checks --- */

void doctor_kernel(const Root *root, Findings *l);	/* drivers, revoke, freezer, KVM */
void doctor_memory(const Root *root, Findings *l);	/* auto-online policy, zones */
void doctor_iommu(const Root *root, Findings *l);	/* who can pin */
void doctor_permissions(const Root *root, Findings *l); /* nodes, group, polkit */
void doctor_udev(const Root *root, Findings *l);	/* rules that bind our regions */
void doctor_security(const Root *root, Findings *l);	/* AppArmor, SELinux */
void doctor_libvirt(const Root *root, Findings *l);	/* its daemons, our hook */
void doctor_qemu(const Root *root, Findings *l);	/* version and devices */

/* All of them, in the order in which they are shown. */
void doctor_host(const Root *root, Findings *l);
/* Whether any device-dax device of the host can be revoked: all of them, on a patched kernel. */
bool doctor_has_revoke(const Root *root);

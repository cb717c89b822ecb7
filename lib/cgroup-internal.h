/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Not installed: the part that needs no cgroup file system. */

/* See pml_cgroup_of_machine(), for a path that was read already. ret is malloc-ed; -ENODATA,
 * -ENOMEM. */
int cgroup_cut_to_machine(const char *path, char **ret);

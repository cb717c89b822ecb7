/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How far one NUMA node is from another, as the firmware says. */

#include <stdint.h>

/* The most that Linux can be built for (NODES_SHIFT, arch/x86/Kconfig). */
#define PML_NODES_MAX 1024

/*
 * Fills ret with the distances from node to all nodes: 10 to itself, more to others (ACPI SLIT), 0
 * to one that is not online. Reads sysfs now: a node may have come since. 0; -ENOENT: there is no
 * such node online; -EBADMSG: sysfs says what nobody understands; other errno.
 */
int pml_node_distances(int node, uint8_t ret[static PML_NODES_MAX]);

/* The same from the two texts of sysfs: the list of nodes that are online ("0-1,4"), and a
 * distance for each of them ("10 20 30"). 0; -EBADMSG. */
int pml_node_distances_parse(
	const char *online, const char *distances, uint8_t ret[static PML_NODES_MAX]);

/* Marks with 1 the nodes of such a list, and no others ("": none). 0; -EBADMSG. */
int pml_node_list_parse(const char *list, uint8_t ret[static PML_NODES_MAX]);

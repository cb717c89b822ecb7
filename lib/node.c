/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-device.h>

#include "node.h"
#include "parse.h"

#define NODES_DIR "/sys/devices/system/node"

/* One range of a list ("3" or "3-5"), and the comma behind it. False: not one. */
static bool next_range(const char **list, uint64_t *ret_first, uint64_t *ret_last)
{
	if (parse_digits(list, ret_first) < 0)
		return false;
	*ret_last = *ret_first;
	if (**list == '-') {
		(*list)++;
		if (parse_digits(list, ret_last) < 0)
			return false;
	}
	if (**list == ',')
		(*list)++;
	return *ret_last >= *ret_first && *ret_last < PML_NODES_MAX;
}

int pml_node_list_parse(const char *list, uint8_t ret[static PML_NODES_MAX])
{
	uint8_t found[PML_NODES_MAX] = {0};
	uint64_t first, last;

	while (*list && *list != '\n') {
		if (!next_range(&list, &first, &last))
			return -EBADMSG;
		memset(found + first, 1, last - first + 1);
	}
	memcpy(ret, found, sizeof(found));
	return 0;
}

int pml_node_distances_parse(
	const char *online, const char *distances, uint8_t ret[static PML_NODES_MAX])
{
	uint8_t found[PML_NODES_MAX] = {0};
	uint64_t first, last, distance;

	/* drivers/base/node.c, node_read_distance(): one for each node that is online, in order. */
	while (*online && *online != '\n') {
		if (!next_range(&online, &first, &last))
			return -EBADMSG;
		for (; first <= last; first++) {
			while (*distances == ' ')
				distances++;
			if (parse_digits(&distances, &distance) < 0 || distance == 0 ||
				distance > UINT8_MAX)
				return -EBADMSG;
			found[first] = (uint8_t)distance;
		}
	}
	memcpy(ret, found, sizeof(found));
	return 0;
}

int pml_node_distances(int node, uint8_t ret[static PML_NODES_MAX])
{
	_cleanup_(sd_device_unrefp) sd_device *nodes = NULL, *from = NULL;
	const char *online, *distances;
	char path[64];
	int r;

	if (node < 0 || node >= PML_NODES_MAX)
		return -ENOENT;
	(void)snprintf(path, sizeof(path), NODES_DIR "/node%d", node);
	r = sd_device_new_from_syspath(&from, path);
	if (r == -ENODEV)
		return -ENOENT;
	if (r >= 0)
		r = sd_device_new_from_syspath(&nodes, NODES_DIR);
	if (r >= 0)
		r = sd_device_get_sysattr_value(from, "distance", &distances);
	if (r >= 0)
		r = sd_device_get_sysattr_value(nodes, "online", &online);
	return r < 0 ? r : pml_node_distances_parse(online, distances, ret);
}

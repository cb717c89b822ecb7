// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to a device is announced by uevents: the end of a revocation,
 * the begin of a removal before its end, and a resize.
 */
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "daxtest.h"

/* The next uevent of the device into @ret, with its strings separated by spaces. */
static bool next_uevent(int fd, char *ret, size_t size, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char name[64];
	ssize_t n, i;

	snprintf(name, sizeof(name), "/%s ", dax_name);
	for (;;) {
		if (now_ms() >= end || poll(&p, 1, end - now_ms()) <= 0)
			return false;
		n = recv(fd, ret, size - 1, 0);
		if (n <= 0)
			die("recv");
		ret[n] = '\0';
		for (i = 0; i < n; i++)
			if (!ret[i])
				ret[i] = ' ';
		if (strstr(ret, name))
			return true;
	}
}

static bool expect(int fd, const char *action, const char *event, uint64_t generation)
{
	char text[4096], event_var[64], generation_var[64];

	snprintf(event_var, sizeof(event_var), "DAX_EVENT=%s ", event);
	snprintf(generation_var, sizeof(generation_var), "DAX_GENERATION=%llu ",
		(unsigned long long)generation);
	if (!next_uevent(fd, text, sizeof(text), 5000)) {
		printf("# no uevent\n");
		return false;
	}
	printf("# %s\n", text);
	if (strncmp(text, action, strlen(action)) != 0)
		return false;
	return !event[0] || (strstr(text, event_var) && strstr(text, generation_var));
}

int main(int argc, char **argv)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	uint64_t generation = 0, size;
	char text[64], path[256];
	struct stat st;
	int fd;

	dax_test_init(argc, argv);
	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("netlink");
	if (!dax_read("generation", text, sizeof(text)))
		generation = strtoull(text, NULL, 0);

	if (dax_unbind())
		die("unbind");
	ksft_check(expect(fd, "change@", "removing", generation),
		"unbinding is announced when it begins");
	ksft_check(expect(fd, "unbind@", "", 0), "and when it is over");
	dax_attribute_path(path, sizeof(path), "size");
	if (!stat(path, &st) && st.st_mode & 0200) {
		size = dax_read_u64("size");
		if (dax_write("size", "0"))
			die("size");
		ksft_check(expect(fd, "change@", "resize", 0), "shrinking is announced");
		snprintf(text, sizeof(text), "%llu", (unsigned long long)size);
		if (dax_write("size", text))
			die("size");
		ksft_check(expect(fd, "change@", "resize", 0), "growing is announced");
	}
	if (dax_bind())
		die("bind");
	ksft_check(expect(fd, "bind@", "", 0), "and nothing else is, up to the binding");
	if (dax_read("generation", text, sizeof(text))) {
		ksft_check(false, "the binding has a generation");
		return ksft_finish();
	}
	generation = strtoull(text, NULL, 0);
	if (dax_write("revoke", text))
		die("revoke");
	ksft_check(expect(fd, "change@", "revoked", generation), "a revocation is announced");
	if (dax_unbind() || dax_bind())
		die("unbind and bind");
	ksft_check(expect(fd, "change@", "removing", generation),
		"the removal after it is, with the same generation");
	return ksft_finish();
}

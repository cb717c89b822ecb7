/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The arguments of a call on the bus: strings, and a dictionary of options of any type. (The wire
 * format is the bus's and sd-bus's own; what is in a valid message is ours to doubt.) A line is a
 * key and a value, the value's first letter its type; the first two lines are strings.
 */

#include <sys/socket.h>

#include "bus.h"
#include "fuzz.h"

static sd_bus *make_bus(void)
{
	sd_bus *bus;
	int fds[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	FUZZ_CHECK(sd_bus_new(&bus) == 0 && sd_bus_set_fd(bus, fds[0], fds[0]) >= 0);
	FUZZ_CHECK(sd_bus_start(bus) >= 0);
	return bus;
}

static int append(sd_bus_message *m, const char *key, const char *value)
{
	switch (value[0]) {
	case 'b':
		return sd_bus_message_append(m, "{sv}", key, "b", value[1] == '1');
	case 't':
		return sd_bus_message_append(
			m, "{sv}", key, "t", (uint64_t)strtoull(value + 1, NULL, 0));
	case 'v':
		return sd_bus_message_append(m, "{sv}", key, "v", "s", value + 1);
	case 'a':
		return sd_bus_message_append(m, "{sv}", key, "as", 2, value, value + 1);
	}
	return sd_bus_message_append(m, "{sv}", key, "s", value + (*value ? 1 : 0));
}

static void read_back(sd_bus_message *m)
{
	const char *one = NULL, *two = NULL, *owner = NULL;
	BusPolicy given = {};
	uint64_t deadline;
	bool offline = false;
	const BusOption options[] = {
		{"owner", BUS_OPTION_STRING, &owner},
		{"on-end", BUS_OPTION_STRING, &given.on_end},
		{"keep-offline", BUS_OPTION_BOOL, &offline},
		BUS_POLICY_EVICT(&given),
		{"deadline", BUS_OPTION_UINT64, &deadline},
		{},
	};
	sd_bus_error error = SD_BUS_ERROR_NULL;
	PmlAfterFence fence = _PML_AFTER_FENCE_INVALID;
	PmlOnRefusal refusal = _PML_ON_REFUSAL_INVALID;
	PmlDrain how = _PML_DRAIN_INVALID;
	PmlOnEnd end = _PML_ON_END_INVALID;
	int r;

	r = sd_bus_message_read(m, "ss", &one, &two);
	FUZZ_CHECK(r > 0);
	if (bus_check_text(&error, "region", one, PML_NAME_LEN - 1, false) >= 0) {
		FUZZ_CHECK(one[0] && strlen(one) < PML_NAME_LEN);
		fuzz_check_sentence(one);
	}
	sd_bus_error_free(&error);
	r = bus_read_options(m, options, &error);
	/* Refused by a name and with a sentence, or all of it was read. */
	FUZZ_CHECK(r >= 0 || sd_bus_error_is_set(&error) || r == -ENXIO || r == -EBADMSG);
	fuzz_check_sentence(error.message);
	if (r >= 0)
		FUZZ_CHECK(sd_bus_message_at_end(m, true) > 0);
	sd_bus_error_free(&error);
	if (r >= 0 && bus_parse_policy(&given, &end, &fence, &how, &refusal, &error) >= 0)
		FUZZ_CHECK((!given.on_end || pml_on_end_to_string(end)) &&
			   (!given.after_fence || pml_after_fence_to_string(fence)) &&
			   (!given.drain || pml_drain_to_string(how)) &&
			   (!given.on_refusal || pml_on_refusal_to_string(refusal)));
	sd_bus_error_free(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static sd_bus *bus;
	_cleanup_free_ char *text = fuzz_text(data, size);
	sd_bus_message *m = NULL;
	char *next = text;
	int r;

	if (!bus)
		bus = make_bus();
	FUZZ_CHECK(sd_bus_message_new_method_call(
			   bus, &m, NULL, "/org/example", "org.example.Test", "Test") >= 0);
	/* One after the other: each call cuts the next line off. */
	r = sd_bus_message_append(m, "s", fuzz_line(&next));
	if (r >= 0)
		r = sd_bus_message_append(m, "s", fuzz_line(&next));
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "{sv}");
	while (r >= 0 && *next) {
		char *key = fuzz_line(&next), *value = fuzz_line(&next);

		r = append(m, key, value);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	/* What is no UTF-8 cannot be sent. */
	if (r >= 0 && sd_bus_message_seal(m, 1, 0) >= 0)
		read_back(m);
	sd_bus_message_unref(m);
	return 0;
}

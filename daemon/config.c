/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdarg.h>

#include "config.h"
#include "names.h"
#include "parse.h"
#include "util.h"

#ifndef PML_MEDIA_HELPER
#define PML_MEDIA_HELPER "/usr/libexec/pmemlease/pmemlease-media"
#endif

typedef struct Key Key;

/* 0; 1 with the reason; -ENOMEM. */
typedef int (*KeySet)(Config *c, const Key *key, const char *value, char **ret_why);

struct Key {
	const char *section;
	const char *name;
	KeySet set;
	size_t offset;
	uint64_t min, max;
};

void config_defaults(Config *c)
{
	*c = (Config){
		.state_dir = PML_STATE_DIR,
		.runtime_dir = PML_RUNTIME_DIR,
		.media_helper = PML_MEDIA_HELPER,
		.trusted_uid = 0,
		.libvirt_uri = "qemu:///system",
		.on_end = PML_ON_END_KEEP,
		.after_fence = PML_AFTER_FENCE_KEEP,
		.drain = PML_DRAIN_ASK,
		.on_refusal = PML_ON_REFUSAL_FORCE,
		.deadline_usec = 30 * USEC_PER_SEC,
		.deadline_max_usec = 24ULL * 3600 * USEC_PER_SEC,
		.freeze_timeout_usec = USEC_PER_SEC,
		.proof_timeout_usec = 10 * USEC_PER_SEC,
		.look_usec = 30 * USEC_PER_SEC,
		.grant_timeout_usec = 20 * USEC_PER_SEC,
		.reserve_timeout_usec = 5 * USEC_PER_SEC,
		.start_timeout_usec = 60 * USEC_PER_SEC,
		.turn_timeout_usec = 30 * USEC_PER_SEC,
		.max_leases_per_uid = 256,
		.max_jobs = 64,
		.max_pending_per_uid = 16,
		.max_pending = 256,
	};
}

static char **devices_free(char **devices)
{
	for (size_t i = 0; devices && devices[i]; i++)
		free(devices[i]);
	free(devices);
	return NULL;
}

void config_clear(Config *c)
{
	c->block_devices = devices_free(c->block_devices);
}

static size_t devices_count(char *const *devices)
{
	size_t n = 0;

	while (devices && devices[n])
		n++;
	return n;
}

int config_copy(Config *ret, const Config *src)
{
	size_t n = devices_count(src->block_devices);
	char **devices = NULL;

	if (n > 0) {
		devices = calloc(n + 1, sizeof(*devices));
		if (!devices)
			return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		devices[i] = strdup(src->block_devices[i]);
		if (!devices[i]) {
			(void)devices_free(devices);
			return -ENOMEM;
		}
	}
	*ret = *src;
	ret->block_devices = devices;
	return 0;
}

static int refuse(char **ret_why, const char *format, ...) _printf_(2, 3);
static int refuse(char **ret_why, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(ret_why, format, ap);
	va_end(ap);
	return n < 0 ? -ENOMEM : 1;
}

static void *field(Config *c, const Key *key)
{
	return (char *)c + key->offset;
}

static int set_number(Config *c, const Key *key, const char *value, char **ret_why)
{
	uint64_t n;

	if (parse_number(value, key->min, key->max, &n) < 0)
		return refuse(ret_why, "%s= is a number from %" PRIu64 " to %" PRIu64 ", not %s.",
			key->name, key->min, key->max, value);
	*(unsigned *)field(c, key) = (unsigned)n;
	return 0;
}

static int set_span(Config *c, const Key *key, const char *value, char **ret_why)
{
	uint64_t usec;
	int r = parse_span(value, &usec);

	if (r == -EINVAL)
		return refuse(ret_why,
			"%s= is a time with its unit, such as 500ms, 5s, 2min or 1h 30min, not %s.",
			key->name, value);
	if (r < 0 || usec < key->min || usec > key->max)
		return refuse(ret_why, "%s= is from %" PRIu64 " ms to %" PRIu64 " s; %s is not.",
			key->name, (uint64_t)(key->min / USEC_PER_MSEC),
			(uint64_t)(key->max / USEC_PER_SEC), value);
	*(uint64_t *)field(c, key) = usec;
	return 0;
}

static int set_returns(Config *c, const Key *key, const char *value, char **ret_why)
{
	bool devdax = strcmp(value, "devdax") == 0;

	if (!devdax && strcmp(value, "system-ram") != 0)
		return refuse(ret_why, "%s= is system-ram or devdax, not %s.", key->name, value);
	*(bool *)field(c, key) = devdax;
	return 0;
}

static int set_on_end(Config *c, const Key *key, const char *value, char **ret_why)
{
	PmlOnEnd v = pml_on_end_from_string(value);

	if ((int)v < 0)
		return refuse(ret_why, "%s= is keep or scrub, not %s.", key->name, value);
	*(PmlOnEnd *)field(c, key) = v;
	return 0;
}

static int set_after_fence(Config *c, const Key *key, const char *value, char **ret_why)
{
	PmlAfterFence v = pml_after_fence_from_string(value);

	if ((int)v < 0)
		return refuse(ret_why, "%s= is keep, pause or destroy, not %s.", key->name, value);
	*(PmlAfterFence *)field(c, key) = v;
	return 0;
}

static int set_drain(Config *c, const Key *key, const char *value, char **ret_why)
{
	PmlDrain v = pml_drain_from_string(value);

	if ((int)v < 0)
		return refuse(ret_why, "%s= is ask, force or never, not %s.", key->name, value);
	*(PmlDrain *)field(c, key) = v;
	return 0;
}

static int set_on_refusal(Config *c, const Key *key, const char *value, char **ret_why)
{
	PmlOnRefusal v = pml_on_refusal_from_string(value);

	if ((int)v < 0)
		return refuse(ret_why, "%s= is force or keep, not %s.", key->name, value);
	*(PmlOnRefusal *)field(c, key) = v;
	return 0;
}

static int set_log_level(Config *c, const Key *key, const char *value, char **ret_why)
{
	bool debug = pml_streq(value, "debug");

	if (!debug && !pml_streq(value, "info"))
		return refuse(ret_why, "%s= is info or debug, not %s.", key->name, value);
	*(bool *)field(c, key) = debug;
	return 0;
}

static int set_uri(Config *c, const Key *key, const char *value, char **ret_why)
{
	/* The fence finds a machine's process and cgroup on this host, as root. */
	if (strncmp(value, "qemu:///", 8) == 0 && strncmp(value + 8, "session", 7) != 0 &&
		pml_strcpy(field(c, key), CONFIG_URI_MAX, value) >= 0)
		return 0;
	return refuse(ret_why,
		"%s= is this host's QEMU driver as root has it, qemu:///system, not %s.", key->name,
		value);
}

static int add_device(Config *c, const Key *key, const char *path, size_t length, char **ret_why)
{
	size_t n = devices_count(c->block_devices);
	char *device, **more;

	if (length > CONFIG_DEVICE_MAX)
		return refuse(ret_why, "A path in %s= is longer than %d bytes.", key->name,
			CONFIG_DEVICE_MAX);
	if (n >= CONFIG_DEVICES_MAX)
		return refuse(
			ret_why, "%s= has more than %d devices.", key->name, CONFIG_DEVICES_MAX);
	device = strndup(path, length);
	if (!device)
		return -ENOMEM;
	if (strncmp(device, "/dev/", 5) != 0 || strstr(device, "/../") || strstr(device, "/./")) {
		int r = refuse(ret_why,
			"%s= has paths below /dev, such as /dev/disk/by-id/NAME, not %s.",
			key->name, device);

		free(device);
		return r;
	}
	for (size_t i = 0; i < n; i++)
		if (strcmp(c->block_devices[i], device) == 0) {
			free(device);
			return 0;
		}
	more = realloc(c->block_devices, (n + 2) * sizeof(*more));
	if (!more) {
		free(device);
		return -ENOMEM;
	}
	more[n] = device;
	more[n + 1] = NULL;
	c->block_devices = more;
	return 0;
}

static int set_devices(Config *c, const Key *key, const char *value, char **ret_why)
{
	int r = 0;

	/* As in systemd's lists: nothing takes back what came before. */
	if (!value[0])
		c->block_devices = devices_free(c->block_devices);
	while (*value && r == 0) {
		size_t length;

		value += strspn(value, " \t");
		length = strcspn(value, " \t");
		if (length > 0)
			r = add_device(c, key, value, length, ret_why);
		value += length;
	}
	return r;
}

#define AT(member) offsetof(Config, member)

static const Key keys[] = {
	{"Libvirt", "URI", set_uri, AT(libvirt_uri)},
	{"Regions", "BlockDevices", set_devices, AT(block_devices)},
	{"Regions", "SystemRamReturns", set_returns, AT(ram_returns_devdax)},
	{"Lease", "OnEnd", set_on_end, AT(on_end)},
	{"Lease", "AfterFence", set_after_fence, AT(after_fence)},
	{"Lease", "Drain", set_drain, AT(drain)},
	{"Lease", "OnRefusal", set_on_refusal, AT(on_refusal)},
	{"Evict", "Deadline", set_span, AT(deadline_usec), 0, CONFIG_DEADLINE_MAX},
	{"Evict", "DeadlineMax", set_span, AT(deadline_max_usec), USEC_PER_SEC,
		CONFIG_DEADLINE_MAX},
	{"Evict", "FreezeTimeout", set_span, AT(freeze_timeout_usec), 50 * USEC_PER_MSEC,
		60 * USEC_PER_SEC},
	{"Proof", "Timeout", set_span, AT(proof_timeout_usec), 100 * USEC_PER_MSEC,
		600 * USEC_PER_SEC},
	{"Proof", "LookInterval", set_span, AT(look_usec), USEC_PER_SEC, CONFIG_DEADLINE_MAX},
	{"Scrub", "Threads", set_number, AT(scrub_threads), 0, 256},
	{"Limits", "LeasesPerUser", set_number, AT(max_leases_per_uid), 0, 65536},
	{"Limits", "Jobs", set_number, AT(max_jobs), 1, 4096},
	{"Limits", "PendingPerUser", set_number, AT(max_pending_per_uid), 1, 4096},
	{"Limits", "Pending", set_number, AT(max_pending), 1, 65536},
	{"Log", "Level", set_log_level, AT(debug)},
};

const char *config_key_name(size_t i, const char **ret_section)
{
	if (i >= ELEMENTSOF(keys))
		return NULL;
	*ret_section = keys[i].section;
	return keys[i].name;
}

int config_set(Config *c, const char *section, const char *key, const char *value, char **ret_why)
{
	bool section_known = false;

	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		if (strcmp(keys[i].section, section) != 0)
			continue;
		section_known = true;
		if (strcmp(keys[i].name, key) == 0)
			return keys[i].set(c, &keys[i], value, ret_why);
	}
	if (!section[0])
		return refuse(ret_why, "%s= stands before the first [Section].", key);
	if (!section_known)
		return refuse(
			ret_why, "There is no section [%s]; see pmemleased.conf(5).", section);
	return refuse(ret_why, "There is no %s= in [%s]; see pmemleased.conf(5).", key, section);
}

int config_check(const Config *c, char **ret_why)
{
	if (c->deadline_usec > c->deadline_max_usec)
		return refuse(ret_why,
			"Deadline= is longer than DeadlineMax=; shorten the one or lengthen the other.");
	if (c->max_pending_per_uid > c->max_pending)
		return refuse(ret_why,
			"PendingPerUser= is more than Pending=; lessen the one or raise the other.");
	return 0;
}

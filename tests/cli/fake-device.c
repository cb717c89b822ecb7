/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-device.h"

#include <inttypes.h>
#include <string.h>

#include "names.h"
#include "util.h"

#define OWNER "g1-uuid"

/* 0..4; -1 with the error set. */
static int device_of(sd_bus_message *m, sd_bus_error *error)
{
	const char *name;
	int r = sd_bus_message_read(m, "s", &name);

	if (r < 0)
		return r;
	if (strncmp(name, "nmem", 4) == 0 && name[4] >= '0' && name[4] <= '4' && !name[5])
		return name[4] - '0';
	return sd_bus_error_setf(error, PML_ERROR_NO_SUCH_DEVICE, "Nothing is called %s.", name);
}

static int add_dimm(sd_bus_message *reply, int n)
{
	char name[16], slot[32];

	snprintf(name, sizeof(name), "nmem%d", n);
	snprintf(slot, sizeof(slot), "NVDIMM %d", n);
	return sd_bus_message_append(reply, "a(ss)", 1, name, slot);
}

/* One without labels has the one namespace that the kernel makes of it. */
static int add_namespaces(sd_bus_message *reply, int n)
{
	if (n == 1)
		return sd_bus_message_append(reply, "a(ssstbsssss)", 0);
	if (n == 2)
		return sd_bus_message_append(reply, "a(ssstbsssss)", 1, "namespace2.0", "raw",
			"pmem2", 1073741824ULL, 1, "", "", "", "", "");
	return sd_bus_message_append(reply, "a(ssstbsssss)", 1, "namespace0.0", "devdax", "dax0.0",
		268435456ULL, 1, "dax0.0", "retained", OWNER, n == 0 ? "g1" : "",
		n == 4 ? "it is mounted" : "");
}

int fake_on_describe_device(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int n = device_of(m, error), r = n;

	if (r >= 0)
		r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_append(reply, "s", "dimm");
	if (r >= 0)
		r = add_dimm(reply, n);
	if (r >= 0)
		r = add_namespaces(reply, n);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int fake_on_describe_layout(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	int n = device_of(m, error);

	if (n < 0)
		return n;
	return n == 1 || n == 2
		       ? sd_bus_reply_method_return(m, "a(sssttusbb)", 2,
				 n == 1 ? "region1" : "region2", "devdax", "dev", 536870912ULL,
				 2097152ULL, (uint32_t)0, "NVDIMM", 0, 1, "region1", "sector", "",
				 268435456ULL, 0ULL, (uint32_t)4096, "NVDIMM", 0, 1)
		       : sd_bus_reply_method_return(m, "a(sssttusbb)", 1, "region0", "devdax",
				 "mem", 268435456ULL, 2097152ULL, (uint32_t)0, "NVDIMM 0", 1, 1);
}

int fake_on_evict_device(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	int n = device_of(m, error);
	uint64_t deadline = 0;
	char text[64];

	if (n >= 0 && sd_bus_message_read(m, "t", &deadline) < 0)
		return -EINVAL;
	if (n < 0)
		return n;
	snprintf(text, sizeof(text), "It waited for %" PRIu64 " us.", deadline);
	return n == 4 ? fake_job(m, "failed", PML_ERROR_BUSY, text) : fake_job(m, "done", "", "");
}

int fake_on_readmit_device(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	int n = device_of(m, error), scrub = 0;
	const char *key;
	int r = n;

	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "{sv}");
	if (r >= 0)
		r = sd_bus_message_read(m, "{sv}", &key, "b", &scrub);
	if (r < 0)
		return r;
	if (n == 3)
		return fake_job(m, "failed", PML_ERROR_NOT_RESTORED, "There is none.");
	return fake_job(
		m, "done", scrub ? PML_ERROR_NOT_RESTORED : "", scrub ? "It was overwritten." : "");
}

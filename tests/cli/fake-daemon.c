/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "fake-daemon.h"
#include "fake-device.h"
#include "names.h"
#include "util.h"

#define REGION0	   PML_PATH_REGION "/dax0_2e0"
#define REGION1	   PML_PATH_REGION "/dax1_2e0"
#define LEASE0	   PML_PATH_LEASE "/lease_2d1"
#define JOB0	   PML_PATH_JOB "/7"
#define JOB_OTHER  PML_PATH_JOB "/6"
#define REGION0_ID "dax0.0"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define SCAN_TIME  "1750000000000000"

struct FakeBus {
	char dir[64], socket[96], address[128], config[96];
	pid_t bus_pid, daemon_pid;
	int followed_fd;
};

static const char proof_old[] =
	"{\"format\":1,\"verdict\":\"clear\",\"summary\":\"An old proof.\",\"region\":\"dax0.0\","
	"\"rung\":\"unbind\",\"mappings_left\":0,\"module_refs\":null,\"unexplained_refs\":null,"
	"\"holders\":[],\"blind_spots\":[]}";

/* A holder that tries to paint on the terminal by its name. */
static const char proof_new[] =
	"{\"format\":1,\"verdict\":\"unreachable\",\"summary\":\"Held by evil\\u001b[31m\\nname.\","
	"\"region\":\"dax0.0\",\"rung\":\"unbind\",\"realtime_usec\":" SCAN_TIME ","
	"\"mappings_left\":0,\"module_refs\":4,\"unexplained_refs\":0,"
	"\"holders\":[{\"pid\":4242,\"start_ticks\":99,\"command\":\"qemu-system-x86\","
	"\"cgroup\":\"/machine.slice/g1.scope\",\"unit\":\"g1.scope\",\"descriptors\":1,\"mappings\":3,"
	"\"mapped_bytes\":268435456,\"present_bytes\":0,\"probes\":3,\"probes_refused\":3},"
	"{\"pid\":4243,\"start_ticks\":99,\"command\":\"evil\\u001b[31m\",\"cgroup\":\"\",\"unit\":\"\","
	"\"descriptors\":1,\"mappings\":1,\"mapped_bytes\":4096,\"present_bytes\":0,\"probes\":1,"
	"\"probes_refused\":1}],"
	"\"blind_spots\":[\"Pages pinned by the kernel cannot be seen.\"]}";

/* --- the service --- */

static struct {
	sd_bus *bus;
	sd_event *event;
	const char *proof, *use0, *phase;
	double progress;
	bool slow, running, announcing;
	int followed_fd;
} fake = {.proof = proof_old, .use0 = "leased", .phase = "waiting for the guest"};

static int job_ends(const char *result, const char *error, const char *message)
{
	fake.slow = fake.running = false;
	/* another's job ends first: none of the client's business */
	(void)sd_bus_emit_signal(fake.bus, PML_BUS_PATH, PML_IF_MANAGER, "JobRemoved", "toosss",
		(uint64_t)6, JOB_OTHER, REGION1, "failed", PML_ERROR_FAILED, "Another's.");
	return sd_bus_emit_signal(fake.bus, PML_BUS_PATH, PML_IF_MANAGER, "JobRemoved", "toosss",
		(uint64_t)7, JOB0, REGION0, result, error, message);
}

static int job_phase(const char *phase, double progress)
{
	int r;

	fake.phase = phase;
	fake.progress = progress;
	fake.announcing = true;
	r = sd_bus_emit_properties_changed(fake.bus, JOB0, PML_IF_JOB, "Phase", "Progress", NULL);
	fake.announcing = false;
	return r;
}

static int job_begins(void)
{
	int r;

	fake.running = fake.announcing = true;
	r = sd_bus_emit_interfaces_added(fake.bus, JOB0, PML_IF_JOB, NULL);
	fake.announcing = false;
	return r;
}

static int check_options(sd_bus_message *m)
{
	unsigned seen = 0;
	const char *key, *value;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_read(m, "{sv}", &key, "s", &value)) > 0)
		if ((strcmp(key, "owner") == 0 && strcmp(value, "o1") == 0) ||
			(strcmp(key, "on-end") == 0 && strcmp(value, "scrub") == 0) ||
			(strcmp(key, "after-fence") == 0 && strcmp(value, "destroy") == 0) ||
			(strcmp(key, "drain") == 0 && strcmp(value, "force") == 0) ||
			(strcmp(key, "on-refusal") == 0 && strcmp(value, "keep") == 0))
			seen++;
	return seen == 5 ? 0 : -EINVAL;
}

static int on_lease(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *region, *domain;
	int r = sd_bus_message_read(m, "ss", &region, &domain);

	if (r < 0)
		return r;
	if (strchr(domain, '.'))
		return sd_bus_error_setf(error, domain, "Said about %s.", region);
	if (strcmp(domain, "options") == 0 && check_options(m) < 0)
		return sd_bus_error_set(error, PML_ERROR_INVALID, "Other options were meant.");
	fake.slow = strcmp(domain, "slow") == 0;
	(void)job_begins();
	r = sd_bus_reply_method_return(m, "oo", LEASE0, JOB0);
	if (r < 0 || fake.slow)
		return r < 0 ? r : job_phase("overwriting", 0.5);
	if (strcmp(domain, "dies") == 0)
		return sd_event_exit(fake.event, 0);
	(void)job_phase("attaching", 0.5);
	if (strcmp(domain, "unsuited") == 0)
		return job_ends(
			"failed", PML_ERROR_DOMAIN_UNSUITED, "The domain has no memory slots.");
	return job_ends("done", "", "");
}

/* Says what it was asked for. */
static int on_lease_by_size(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *domain, *first, *kind, *second;
	uint64_t bytes;
	int r, node;

	r = sd_bus_message_read(m, "ts", &bytes, &domain);
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "{sv}");
	if (r >= 0)
		r = sd_bus_message_read(m, "{sv}", &first, "s", &kind);
	if (r > 0)
		r = sd_bus_message_read(m, "{sv}", &second, "i", &node);
	if (r <= 0)
		return r < 0 ? r : -EINVAL;
	return sd_bus_error_setf(error, PML_ERROR_NONE_SUITABLE,
		"%" PRIu64 " bytes for %s, %s %s, %s %d.", bytes, domain, first, kind, second,
		node);
}

static int on_evict(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	uint64_t deadline;
	int r = sd_bus_message_read(m, "t", &deadline);

	if (r >= 0)
		r = sd_bus_reply_method_return(m, "o", JOB0);
	if (r < 0)
		return r;
	(void)job_begins();
	(void)job_phase("waiting for the guest", 0);
	(void)job_phase("fencing", 0.5);
	if (deadline != USEC_PER_SEC) {
		fake.proof = proof_new;
		fake.use0 = deadline ? "evicted" : "quarantined";
		(void)sd_bus_emit_properties_changed(
			fake.bus, REGION0, PML_IF_REGION, "Use", "Name", NULL);
	}
	if (deadline == 0)
		return job_ends("failed", PML_ERROR_STUCK, "The fence could not be proved.");
	if (deadline == PML_DEADLINE_INFINITY)
		return job_ends("done", PML_ERROR_GUEST_REFUSED,
			"The guest refused: \x1b"
			"busy.");
	return job_ends("done", "", "");
}

int fake_job(sd_bus_message *m, const char *result, const char *error, const char *message)
{
	int r = sd_bus_reply_method_return(m, "o", JOB0);

	return r < 0 ? r : job_ends(result, error, message);
}

static int on_release(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return fake_job(m, "done", "", "");
}

/* Tells in the job's message what it was given. */
static int on_release_with(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	char text[128] = "given:";
	const char *key, *value;
	uint64_t deadline;
	int r = sd_bus_message_read(m, "t", &deadline);

	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_read(m, "{sv}", &key, "s", &value)) > 0)
		(void)snprintf(
			text + strlen(text), sizeof(text) - strlen(text), " %s=%s", key, value);
	return r < 0 ? r : fake_job(m, "failed", PML_ERROR_GUEST_REFUSED, text);
}

static int on_scrub(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *owner;
	int r = sd_bus_message_read(m, "s", &owner);

	if (r < 0)
		return r;
	if (strcmp(owner, "g1-uuid") != 0)
		return sd_bus_error_setf(error, PML_ERROR_WRONG_OWNER,
			"It holds the data of another than \"%s\".", owner);
	return on_release(m, userdata, error);
}

static int on_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	int r = sd_bus_reply_method_return(m, "");

	return r < 0 ? r : job_ends("cancelled", "", "");
}

static int on_adopt(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "");
}

static int on_verify(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "a{sv}", 3, "verdict", "s", "unreachable", "summary",
		"s", "x", "proof", "s", proof_new);
}

static int on_get_proof(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "s", fake.proof);
}

static int on_get_region(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name;
	int r = sd_bus_message_read(m, "s", &name);

	if (r < 0)
		return r;
	if (strcmp(name, "dax0.0") == 0)
		return sd_bus_reply_method_return(m, "o", REGION0);
	if (strcmp(name, "dax1.0") == 0)
		return sd_bus_reply_method_return(m, "o", REGION1);
	return sd_bus_error_setf(error, PML_ERROR_NO_SUCH_REGION, "No region is called %s.", name);
}

static int on_get_lease(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name;
	int r = sd_bus_message_read(m, "s", &name);

	if (r < 0)
		return r;
	if (strcmp(name, "dax0.0") == 0 || strcmp(name, "lease-1") == 0)
		return sd_bus_reply_method_return(m, "o", LEASE0);
	return sd_bus_error_setf(error, PML_ERROR_NO_SUCH_LEASE,
		"No lease of %s; pmemlease leases lists them.", name);
}

static int on_list_regions(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	/* the third one vanishes before it can be looked at */
	return sd_bus_reply_method_return(m, "a(ssstsssso)", 3, REGION0_ID, "dax0.0", "devdax",
		268435456ULL, "online", fake.use0, "retained", "g1-uuid", REGION0, "dax1.0",
		"dax1.0", "devdax", 68719476736ULL, "online", "quarantined", "foreign", "", REGION1,
		"gone", "gone", "devdax", 1ULL, "missing", "free", "foreign", "",
		PML_PATH_REGION "/gone");
}

static int on_list_leases(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "a(ssssssso)", 1, "lease-1", REGION0_ID, "dax0.0",
		"g1-uuid", "g1", "g1-uuid", "active", LEASE0);
}

static int on_list_jobs(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	if (!fake.slow)
		return sd_bus_reply_method_return(m, "a(tsosdo)", 0);
	return sd_bus_reply_method_return(
		m, "a(tsosdo)", 1, (uint64_t)7, "lease", REGION0, "overwriting", 0.5, JOB0);
}

/* 2500 rows of everything, none of anything else than dax0.0: more than one call's worth. */
static int on_history(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *id;
	int64_t before;
	uint32_t max;
	int r = sd_bus_message_read(m, "sxu", &id, &before, &max);

	if (r >= 0 && max > 1000)
		return sd_bus_error_set(error, PML_ERROR_INVALID, "At most 1000 rows at a time.");
	if (r >= 0)
		r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(xtssssss)");
	if (before == 0)
		before = 2501;
	if (*id && strcmp(id, REGION0_ID) != 0)
		before = 0;
	for (int64_t seq = before - 1; r >= 0 && max > 0 && seq > 0; seq--, max--)
		r = sd_bus_message_append(reply, "(xtssssss)", seq, 1750000000000000ULL, "lease",
			"lease-1", "draining", "fencing", "The deadline passed.", "daemon");
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int on_diagnose(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "a(ssss)", 2, "ok", "ledger", "It can be written.", "",
		"dreadful", "later", "A newer daemon's word.", "Update.");
}

typedef struct Value {
	const char *property, *value0, *value1;
} Value;

static const Value strings[] = {
	{"Id", REGION0_ID, "dax1.0"},
	{"Name", "dax0.0", "dax1.0"},
	{"Kind", "devdax", "devdax"},
	{"Path", "/dev/dax0.0", "/dev/dax1.0"},
	{"Uuid", "11111111-2222-3333-4444-555555555555", ""},
	{"Extent", "iset:0123456789abcdef+0x0/0x10000000", "phys+0x0/0x1000000000"},
	{"Presence", "online", "online"},
	{"Content", "retained", "foreign"},
	{"Owner", "g1-uuid", ""},
	{"Reason", "", "The fence could not be proved."},
	{"FenceLevel", "unbind", "unbind"},
	{"Binding", "device_dax", "none"},
	{"Lease", LEASE0, "/"},
	{"Job", "/", "/"},
};

static int region_string(sd_bus *bus, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	bool first = strcmp(path, REGION0) == 0;

	if (strcmp(property, "Use") == 0)
		return sd_bus_message_append(reply, "s", first ? fake.use0 : "quarantined");
	for (size_t i = 0; i < ELEMENTSOF(strings); i++)
		if (strcmp(strings[i].property, property) == 0)
			return sd_bus_message_append(reply,
				property[0] == 'L' || property[0] == 'J' ? "o" : "s",
				first ? strings[i].value0 : strings[i].value1);
	return -ENOENT;
}

static int region_number(sd_bus *bus, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	bool first = strcmp(path, REGION0) == 0;

	if (strcmp(property, "NumaNode") == 0)
		return sd_bus_message_append(reply, "i", first ? 0 : -1);
	if (strcmp(property, "Align") == 0)
		return sd_bus_message_append(reply, "t", 2097152ULL);
	return sd_bus_message_append(reply, "t", first ? 268435456ULL : 68719476736ULL);
}

static int region_strings(sd_bus *bus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "Dimms") == 0)
		return sd_bus_message_append(reply, "as", 2, "nmem0", "nmem1");
	return sd_bus_message_append(reply, "as", 1, "It is leased to g1.");
}

static int lease_property(sd_bus *bus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "Region") == 0)
		return sd_bus_message_append(reply, "o", REGION0);
	static const char *const values[][2] = {{"Id", "lease-1"}, {"Domain", "g1-uuid"},
		{"DomainName", "g1"}, {"Owner", "g1-uuid"}, {"Alias", "ua-pmemlease-1"},
		{"Model", "nvdimm"}, {"State", "active"}};

	for (size_t i = 0; i < ELEMENTSOF(values); i++)
		if (strcmp(values[i][0], property) == 0)
			return sd_bus_message_append(reply, "s", values[i][1]);
	if (strcmp(property, "Policy") == 0)
		return sd_bus_message_append(reply, "a{sv}", 6, "on-end", "s", "keep", "later", "t",
			(uint64_t)1, "after-fence", "s", "pause", "drain", "s", "ask", "on-refusal",
			"s", "force", "deadline", "t", UINT64_MAX - 1);
	if (strcmp(property, "Warnings") == 0)
		return sd_bus_message_append(reply, "as", 0);
	return sd_bus_message_append(reply, "t",
		strcmp(property, "Since") == 0	   ? 1750000000000000ULL
		: strcmp(property, "Size") == 0	   ? 3ULL << 30
		: strcmp(property, "Plugged") == 0 ? 1ULL << 30
						   : 0ULL);
}

static int job_property(sd_bus *bus, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "Phase") == 0)
		return sd_bus_message_append(reply, "s", fake.phase);
	/* read with all others when somebody begins to follow */
	if (!fake.announcing)
		(void)!write(fake.followed_fd, "f", 1);
	return sd_bus_message_append(reply, "d", fake.progress);
}

static int job_constant(sd_bus *bus, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "Kind") == 0)
		return sd_bus_message_append(reply, "s", "evict");
	return sd_bus_message_append(reply, "o", REGION0);
}

static int find_job(sd_bus *bus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error)
{
	*ret_found = &fake;
	return fake.running && strcmp(path, JOB0) == 0;
}

static int manager_property(sd_bus *bus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "Version") == 0)
		return sd_bus_message_append(reply, "s", "0.1.0");
	if (strcmp(property, "FenceLevels") == 0)
		return sd_bus_message_append(reply, "as", 2, "unbind", "destroy");
	return sd_bus_message_append(reply, "b", strcmp(property, "LibvirtConnected") == 0);
}

#define METHOD(name, in, out, fn) SD_BUS_METHOD(name, in, out, fn, SD_BUS_VTABLE_UNPRIVILEGED)
#define CONSTANT(name, type, fn)  SD_BUS_PROPERTY(name, type, fn, 0, 0)
#define CHANGING(name, type, fn)                                                                   \
	SD_BUS_PROPERTY(name, type, fn, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	METHOD("Lease", "ssa{sv}", "oo", on_lease),
	METHOD("LeaseBySize", "tsa{sv}", "oo", on_lease_by_size),
	METHOD("DescribeDevice", "s", "sa(ss)a(ssstbsssss)", fake_on_describe_device),
	METHOD("DescribeLayout", "s", "a(sssttusbb)", fake_on_describe_layout),
	METHOD("EvictDevice", "sta{sv}", "o", fake_on_evict_device),
	METHOD("ReadmitDevice", "sa{sv}", "o", fake_on_readmit_device),
	METHOD("GetRegion", "s", "o", on_get_region),
	METHOD("GetLease", "s", "o", on_get_lease),
	METHOD("ListRegions", "", "a(ssstsssso)", on_list_regions),
	METHOD("ListLeases", "", "a(ssssssso)", on_list_leases),
	METHOD("ListJobs", "", "a(tsosdo)", on_list_jobs),
	METHOD("History", "sxu", "a(xtssssss)", on_history),
	METHOD("Diagnose", "", "a(ssss)", on_diagnose),
	SD_BUS_SIGNAL("JobRemoved", "toosss", 0),
	CONSTANT("Version", "s", manager_property),
	CONSTANT("FenceLevels", "as", manager_property),
	CONSTANT("KernelRevoke", "b", manager_property),
	CONSTANT("LibvirtConnected", "b", manager_property),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable region_vtable[] = {
	SD_BUS_VTABLE_START(0),
	METHOD("Evict", "ta{sv}", "o", on_evict),
	METHOD("Scrub", "s", "o", on_scrub),
	METHOD("Adopt", "s", "", on_adopt),
	METHOD("Readmit", "", "o", on_release),
	METHOD("LiftQuarantine", "s", "", on_adopt),
	METHOD("Verify", "", "a{sv}", on_verify),
	METHOD("GetProof", "", "s", on_get_proof),
	CONSTANT("Id", "s", region_string),
	CHANGING("Name", "s", region_string),
	CONSTANT("Kind", "s", region_string),
	CONSTANT("Path", "s", region_string),
	CONSTANT("Uuid", "s", region_string),
	CONSTANT("Extent", "s", region_string),
	CONSTANT("Presence", "s", region_string),
	CHANGING("Use", "s", region_string),
	CONSTANT("Content", "s", region_string),
	CONSTANT("Owner", "s", region_string),
	CONSTANT("Reason", "s", region_string),
	CONSTANT("FenceLevel", "s", region_string),
	CONSTANT("Binding", "s", region_string),
	CONSTANT("Lease", "o", region_string),
	CONSTANT("Job", "o", region_string),
	CONSTANT("Size", "t", region_number),
	CONSTANT("Align", "t", region_number),
	CONSTANT("NumaNode", "i", region_number),
	CONSTANT("Dimms", "as", region_strings),
	CONSTANT("Obstacles", "as", region_strings),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable lease_vtable[] = {
	SD_BUS_VTABLE_START(0),
	METHOD("Release", "t", "o", on_release),
	METHOD("ReleaseWithOptions", "ta{sv}", "o", on_release_with),
	METHOD("Revoke", "", "o", on_release),
	CONSTANT("Id", "s", lease_property),
	CONSTANT("Region", "o", lease_property),
	CONSTANT("Domain", "s", lease_property),
	CONSTANT("DomainName", "s", lease_property),
	CONSTANT("Owner", "s", lease_property),
	CONSTANT("Alias", "s", lease_property),
	CONSTANT("Model", "s", lease_property),
	CONSTANT("State", "s", lease_property),
	CONSTANT("Size", "t", lease_property),
	CONSTANT("Plugged", "t", lease_property),
	CONSTANT("Policy", "a{sv}", lease_property),
	CONSTANT("Deadline", "t", lease_property),
	CONSTANT("Since", "t", lease_property),
	CONSTANT("Warnings", "as", lease_property),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable job_vtable[] = {
	SD_BUS_VTABLE_START(0),
	METHOD("Cancel", "", "", on_cancel),
	CONSTANT("Kind", "s", job_constant),
	CONSTANT("Subject", "o", job_constant),
	CHANGING("Phase", "s", job_property),
	CHANGING("Progress", "d", job_property),
	SD_BUS_VTABLE_END,
};

static int serve(const char *address)
{
	int r = sd_event_new(&fake.event);

	if (r >= 0)
		r = sd_bus_new(&fake.bus);
	if (r >= 0)
		r = sd_bus_set_address(fake.bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(fake.bus, true);
	if (r >= 0)
		r = sd_bus_start(fake.bus);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			fake.bus, NULL, PML_BUS_PATH, PML_IF_MANAGER, manager_vtable, NULL);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			fake.bus, NULL, REGION0, PML_IF_REGION, region_vtable, NULL);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			fake.bus, NULL, REGION1, PML_IF_REGION, region_vtable, NULL);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			fake.bus, NULL, LEASE0, PML_IF_LEASE, lease_vtable, NULL);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(
			fake.bus, NULL, PML_PATH_JOB, PML_IF_JOB, job_vtable, find_job, NULL);
	if (r >= 0)
		r = sd_bus_add_object_manager(fake.bus, NULL, PML_BUS_PATH);
	if (r >= 0)
		r = sd_bus_attach_event(fake.bus, fake.event, 0);
	if (r >= 0)
		r = sd_bus_request_name(fake.bus, PML_BUS_NAME, 0);
	if (r >= 0 && write(fake.followed_fd, "r", 1) == 1)
		r = sd_event_loop(fake.event);
	sd_bus_flush_close_unref(fake.bus);
	return r;
}

/* --- the test's side --- */

static void expect(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake bus: %s: %s\n", what, strerror(errno));
	abort();
}

FakeBus *fake_bus_new(void)
{
	_cleanup_fclose_ FILE *config = NULL;
	FakeBus *b = calloc(1, sizeof(*b));
	char line[256];
	int fds[2];

	expect(b, "memory");
	b->followed_fd = -EBADF;
	strcpy(b->dir, "/tmp/pmemlease-test-XXXXXX");
	expect(mkdtemp(b->dir), "mkdtemp");
	snprintf(b->socket, sizeof(b->socket), "%s/bus", b->dir);
	snprintf(b->address, sizeof(b->address), "unix:path=%s", b->socket);
	snprintf(b->config, sizeof(b->config), "%s/bus.conf", b->dir);
	config = fopen(b->config, "we");
	expect(config, b->config);
	fprintf(config,
		"<busconfig><type>session</type><listen>%s</listen><auth>EXTERNAL</auth>"
		"<policy context='default'><allow send_destination='*' eavesdrop='true'/>"
		"<allow eavesdrop='true'/><allow own='*'/></policy></busconfig>\n",
		b->address);
	expect(fflush(config) == 0, b->config);
	expect(pipe2(fds, 0) == 0, "pipe");
	b->bus_pid = fork();
	expect(b->bus_pid >= 0, "fork");
	if (b->bus_pid == 0) {
		char option[128], address_fd[64];

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		close(fds[0]);
		snprintf(option, sizeof(option), "--config-file=%s", b->config);
		snprintf(address_fd, sizeof(address_fd), "--print-address=%d", fds[1]);
		execlp("dbus-daemon", "dbus-daemon", option, "--nofork", address_fd, NULL);
		_exit(127);
	}
	close(fds[1]);
	/* the address is printed when it listens */
	expect(read(fds[0], line, sizeof(line)) > 0, "dbus-daemon");
	close(fds[0]);
	return b;
}

static void end_child(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	waitpid(*pid, NULL, 0);
	*pid = 0;
}

FakeBus *fake_bus_free(FakeBus *b)
{
	if (!b)
		return NULL;
	fake_daemon_stop(b);
	end_child(&b->bus_pid);
	unlink(b->config);
	unlink(b->socket);
	rmdir(b->dir);
	free(b);
	return NULL;
}

const char *fake_bus_address(const FakeBus *b)
{
	return b->address;
}

void fake_daemon_start(FakeBus *b)
{
	char c;
	int fds[2];

	fake_daemon_stop(b);
	expect(pipe2(fds, O_CLOEXEC) == 0, "pipe");
	b->daemon_pid = fork();
	expect(b->daemon_pid >= 0, "fork");
	if (b->daemon_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		fake.followed_fd = fds[1];
		_exit(serve(b->address) < 0);
	}
	close(fds[1]);
	b->followed_fd = fds[0];
	expect(read(b->followed_fd, &c, 1) == 1 && c == 'r', "fake daemon");
}

void fake_daemon_stop(FakeBus *b)
{
	end_child(&b->daemon_pid);
	if (b->followed_fd >= 0)
		close(TAKE_FD(b->followed_fd));
}

void fake_daemon_wait_followed(FakeBus *b)
{
	char c;

	expect(read(b->followed_fd, &c, 1) == 1 && c == 'f', "nobody follows the job");
}

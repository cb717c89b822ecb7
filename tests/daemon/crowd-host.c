/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "crowd-host.h"
#include "inventory-internal.h"
#include "ops-internal.h"
#include "region-internal.h"
#include "util.h"

static Crowd *crowd;
static const char *crowd_dir;
static sd_event *crowd_event;

static Crowd *map_file(const char *dir, int flags)
{
	_cleanup_close_ int fd = -EBADF;
	char path[256];
	void *p;

	(void)snprintf(path, sizeof(path), "%s/" CROWD_FILE, dir);
	fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(Crowd)) < 0)
		return NULL;
	p = mmap(NULL, sizeof(Crowd), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

Crowd *crowd_new(const char *dir)
{
	Crowd *c = map_file(dir, O_CREAT | O_EXCL);

	for (unsigned i = 0; c && i < CROWD_REGIONS; i++)
		c->regions[i].bound = true;
	return c;
}

Crowd *crowd_find(const char *dir)
{
	return map_file(dir, 0);
}

const char *crowd_region_uuid(unsigned i)
{
	static char text[CROWD_REGIONS][40];

	(void)snprintf(text[i], sizeof(text[i]), "11111111-0000-4000-8000-0000000000%02hhx",
		(unsigned char)i);
	return text[i];
}

const char *crowd_domain_uuid(unsigned i)
{
	static char text[CROWD_DOMAINS][40];

	(void)snprintf(text[i], sizeof(text[i]), "aaaaaaaa-0000-4000-8000-0000000000%02hhx",
		(unsigned char)i);
	return text[i];
}

char crowd_letter(unsigned domain)
{
	return (char)('a' + domain);
}

bool crowd_holds(const Crowd *c, unsigned region, unsigned domain)
{
	const CrowdDomain *d = &c->domains[domain];
	pid_t pid = c->regions[region].mapped[domain];

	return pid != 0 && pid == d->pid && op_process_alive(pid, d->start_ticks);
}

static void violation(const char *format, ...) _printf_(1, 2);

static void violation(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(crowd->what, sizeof(crowd->what), format, ap);
	va_end(ap);
	crowd->violations++;
}

/* --- the kernel --- */

static unsigned index_of(const PmlRegion *r)
{
	unsigned i = 0;

	if (sscanf(pml_region_name(r), "dax%u.0", &i) != 1 || i >= CROWD_REGIONS)
		abort();
	return i;
}

static int crowd_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	*ret = crowd->regions[index_of(r)].bound ? PML_BINDING_DEVICE_DAX : PML_BINDING_NONE;
	return 0;
}

static int crowd_unbind(void *userdata, const PmlRegion *r)
{
	crowd->regions[index_of(r)].bound = false;
	crowd->regions[index_of(r)].unbinds++;
	return 0;
}

static int crowd_bind(void *userdata, const PmlRegion *r)
{
	unsigned i = index_of(r);

	for (unsigned d = 0; d < CROWD_DOMAINS; d++)
		if (crowd_holds(crowd, i, d))
			violation("dax%u.0 was bound while domain %u of an older binding lived", i,
				d);
	crowd->regions[i].bound = true;
	return 0;
}

/* The helper that overwrites gets the shared file, and finds the region by its offset. */
static int crowd_open(void *userdata, const PmlRegion *r, int *ret_fd)
{
	unsigned i = index_of(r);
	char path[256];
	int fd;

	if (!crowd->regions[i].bound)
		return -ENXIO;
	for (unsigned d = 0; d < CROWD_DOMAINS; d++)
		if (crowd_holds(crowd, i, d))
			violation("dax%u.0 was opened to be overwritten while domain %u has it", i,
				d);
	(void)snprintf(path, sizeof(path), "%s/" CROWD_FILE, crowd_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (lseek(fd, (off_t)offsetof(Crowd, regions[i].bytes), SEEK_SET) < 0) {
		(void)close(fd);
		return -EIO;
	}
	*ret_fd = fd;
	return 0;
}

void crowd_media_helper(int argc, char **argv)
{
	char nothing = 0;
	int fd;

	if (argc < 3 || !pml_streq(argv[1], "--fd"))
		return;
	fd = (int)strtol(argv[2], NULL, 10);
	if (write(fd, &nothing, 1) != 1)
		_exit(5);
	(void)printf("progress verify 2 2\nresult ok 10 20\n");
	(void)fflush(stdout);
	_exit(0);
}

static int crowd_module_refs(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file)
{
	return -EOPNOTSUPP;
}

static const PmlDaxOps crowd_dax = {
	crowd_binding, crowd_unbind, crowd_bind, crowd_open, crowd_module_refs, NULL};

static uint64_t size_of(unsigned i)
{
	return CROWD_BYTES + 2 * MIB * i;
}

static int crowd_scan(PmlInventory **ret)
{
	PmlRegion *regions[CROWD_REGIONS];
	unsigned n = 0;
	int r = 0;

	for (; n < CROWD_REGIONS && r == 0; n++) {
		char name[16];
		PmlRegionInfo info = {
			.name = name,
			.path = "/dev/full",
			.uuid = crowd_region_uuid(n),
			.kind = PML_KIND_DEVDAX,
			.binding =
				crowd->regions[n].bound ? PML_BINDING_DEVICE_DAX : PML_BINDING_NONE,
			.devno = makedev(1, 7),
			.size_bytes = size_of(n),
			.align_bytes = 2 * MIB,
			.phys_start = (1ULL << 32) + CROWD_BYTES * 2 * n,
			.extent = {.medium = "iset:00000000000000cc",
				.start_bytes = CROWD_BYTES * 2 * n,
				.size_bytes = size_of(n)},
		};

		(void)snprintf(name, sizeof(name), "dax%u.0", n);
		r = pml_region_new(&info, &regions[n]);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = pml_inventory_new(regions, n, ret);
	while (n > 0)
		pml_region_unref(regions[--n]);
	return r;
}

static int crowd_prove(const PmlProofRequest *req, PmlProof **ret)
{
	unsigned i = index_of(req->region);
	char text[8192], holders[4096] = "";
	const char *verdict;
	bool held = false;

	for (unsigned d = 0; d < CROWD_DOMAINS; d++) {
		size_t n = strlen(holders);

		if (!crowd_holds(crowd, i, d))
			continue;
		(void)snprintf(holders + n, sizeof(holders) - n,
			"%s{\"pid\":%d,\"start_ticks\":%llu,\"command\":\"qemu\",\"cgroup\":\"\",\"unit\":\"\","
			"\"descriptors\":1,\"mappings\":1,\"mapped_bytes\":%llu,\"present_bytes\":0,"
			"\"probes\":0,\"probes_refused\":0}",
			held ? "," : "", (int)crowd->domains[d].pid, crowd->domains[d].start_ticks,
			(unsigned long long)size_of(i));
		held = true;
	}
	verdict = held && crowd->regions[i].bound ? "reachable" : held ? "unreachable" : "clear";
	(void)snprintf(text, sizeof(text),
		"{\"format\":1,\"verdict\":\"%s\",\"summary\":\"made up: %s\",\"region\":\"r\",\"rung\":\"%s\","
		"\"binding\":\"none\",\"realtime_usec\":1,\"settled\":true,\"processes\":1,\"processes_denied\":0,"
		"\"mappings_left\":0,\"module_refs\":null,\"unexplained_refs\":null,\"holders\":[%s],"
		"\"blind_spots\":[]}",
		verdict, verdict, req->rung ? req->rung : "none", holders);
	return pml_proof_from_json(text, ret);
}

/* --- libvirt --- */

struct Virt {
	void (*on_event)(void *data, const VirtEvent *ev);
	void *data;
	int events_fd;
	sd_event_source *source;
};

static int find(const char *uuid)
{
	for (unsigned i = 0; i < CROWD_DOMAINS; i++)
		if (pml_streq(crowd_domain_uuid(i), uuid))
			return (int)i;
	return -1;
}

static bool runs(int i)
{
	const CrowdDomain *d = &crowd->domains[i];

	return d->pid != 0 && op_process_alive(d->pid, d->start_ticks);
}

static int virt_find(Virt *v, const char *domain, VirtDomain *ret, char **ret_why)
{
	int i = find(domain);

	if (i < 0)
		return VIRT_NO_DOMAIN;
	*ret = (VirtDomain){.running = runs(i)};
	(void)PML_STRCPY(ret->uuid, crowd_domain_uuid((unsigned)i));
	(void)snprintf(ret->name, sizeof(ret->name), "machine-%d", i);
	return 0;
}

static int virt_suited(
	Virt *v, const char *domain, const VirtMemory *mem, VirtDomain *ret, char **ret_why)
{
	int r = virt_find(v, domain, ret, ret_why);

	return r == 0 && !ret->running ? VIRT_NOT_RUNNING : r;
}

/* All have one path (it must be a character device); each has a size of its own. */
static unsigned region_of(const VirtMemory *mem)
{
	return (unsigned)((mem->size_bytes - CROWD_BYTES) / (2 * MIB));
}

static int virt_attach(Virt *v, const char *uuid, const VirtMemory *mem, char **ret_why)
{
	int i = find(uuid);
	unsigned k = region_of(mem);
	CrowdRegion *r = &crowd->regions[k < CROWD_REGIONS ? k : 0];

	if (k >= CROWD_REGIONS || !r->bound) {
		*ret_why = strdup("QEMU could not open the device");
		return VIRT_REFUSED;
	}
	if (!runs(i))
		return VIRT_NOT_RUNNING;
	for (unsigned d = 0; d < CROWD_DOMAINS; d++)
		if (d != (unsigned)i && crowd_holds(crowd, k, d))
			violation("dax%u.0 was lent to domain %d while domain %u had it", k, i, d);
	if (r->bytes != 0 && r->bytes != crowd_letter((unsigned)i))
		violation("domain %d can read what '%c' wrote to dax%u.0", i, r->bytes, k);
	r->mapped[i] = crowd->domains[i].pid;
	crowd->domains[i].attached |= 1U << k;
	r->bytes = crowd_letter((unsigned)i);
	return 0;
}

static int virt_has_device(
	Virt *v, const char *uuid, const VirtMemory *mem, bool *ret, char **ret_why)
{
	int i = find(uuid);
	unsigned k = region_of(mem);

	*ret = i >= 0 && runs(i) && k < CROWD_REGIONS && (crowd->domains[i].attached & (1U << k));
	return 0;
}

static int virt_define(Virt *v, const char *uuid, const VirtMemory *mem, bool on, char **ret_why)
{
	return 0;
}

static int virt_pinned(
	Virt *v, const char *uuid, char ret_name[static PML_NAME_LEN], char **ret_why)
{
	ret_name[0] = '\0';
	return 0;
}

static int virt_host(Virt *v, VirtHost *ret, char **ret_why)
{
	*ret = (VirtHost){.version = 9000000};
	return 0;
}

static int virt_pause(
	Virt *v, const char *uuid, void (*before)(void *data), void *data, char **ret_why)
{
	int i = find(uuid);

	if (i >= 0 && runs(i)) {
		if (before)
			before(data);
		crowd->domains[i].paused = true;
	}
	return 0;
}

static int virt_destroy(Virt *v, const char *uuid, char **ret_why)
{
	int i = find(uuid);

	if (i >= 0 && runs(i))
		(void)kill(crowd->domains[i].pid, SIGKILL);
	return 0;
}

/* The test tells of the machines' ends, a line each. */
static int on_events(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	Virt *v = userdata;
	char buf[4096], *save = NULL;
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return 0;
	buf[n] = '\0';
	for (char *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		VirtEvent ev = {.type = VIRT_EV_DOMAIN_STOPPED};

		if (PML_STRCPY(ev.domain, line) >= 0)
			v->on_event(v->data, &ev);
	}
	return 0;
}

static void connected(void *data)
{
	Virt *v = data;

	v->on_event(v->data, &(VirtEvent){.type = VIRT_EV_CONNECTED});
}

static int virt_start(void *userdata, Executors *x, const char *uri,
	void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret)
{
	static Virt the_one;
	Virt *v = &the_one;
	char path[256];
	int r;

	*v = (Virt){.on_event = on_event, .data = data};
	(void)snprintf(path, sizeof(path), "%s/events", crowd_dir);
	v->events_fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (v->events_fd < 0)
		return -errno;
	r = sd_event_add_io(crowd_event, &v->source, v->events_fd, POLLIN, on_events, v);
	if (r < 0)
		return r;
	*ret = v;
	return exec_post(x, connected, v);
}

static Virt *virt_free(Virt *v)
{
	v->source = sd_event_source_disable_unref(v->source);
	closep(&v->events_fd);
	return NULL;
}

static bool virt_connected(Virt *v)
{
	return true;
}

static const VirtOps crowd_virt = {
	.start = virt_start,
	.free = virt_free,
	.connected = virt_connected,
	.find = virt_find,
	.suited = virt_suited,
	.attach = virt_attach,
	.has_device = virt_has_device,
	.define = virt_define,
	.pinned = virt_pinned,
	.pause = virt_pause,
	.destroy = virt_destroy,
	.host = virt_host,
};

void crowd_host_use(Crowd *c, sd_event *event, const char *dir, Manager *m)
{
	static char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	crowd = c;
	crowd_dir = dir;
	crowd_event = event;
	if (n > 0)
		m->config.media_helper = self;
	m->scan = crowd_scan;
	m->dax = &crowd_dax;
	m->prove = crowd_prove;
	m->virt_ops = &crowd_virt;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "inventory-internal.h"
#include "job-bus.h"
#include "ops-internal.h"
#include "ops-world.h"
#include "region-internal.h"
#include "util.h"

World *world;
static WorldEnd ends[64];
static size_t n_ends;

/* --- the kernel --- */

static uint64_t start_ticks(pid_t pid);

/* A machine that was killed is a holder no more, whether or not somebody has asked for its exit
 * status. */
static bool alive(const WorldDomain *d)
{
	return d->pid != 0 && op_process_alive(d->pid, start_ticks(d->pid));
}

bool world_holds(int i)
{
	return world->domains[i].mapped && alive(&world->domains[i]);
}

static int fake_binding(void *userdata, const PmlRegion *r, PmlBinding *ret)
{
	if (world->missing)
		return -ENODEV;
	*ret = world->block   ? PML_BINDING_BLOCK
	       : world->kmem  ? PML_BINDING_KMEM
	       : world->bound ? PML_BINDING_DEVICE_DAX
			      : PML_BINDING_NONE;
	return 0;
}

static int fake_unbind(void *userdata, const PmlRegion *r)
{
	if (world->missing)
		return -ENODEV;
	for (int i = 0; i < 2 && world->kmem; i++)
		if (world->domains[i].mapped && alive(&world->domains[i]))
			return -EBUSY;
	world->bound = world->kmem = world->binding_revoked = false;
	world->unbinds++;
	world->unbound_msec = (int)(pml_now_usec(CLOCK_BOOTTIME) / 1000);
	return 0;
}

static int fake_revocation(void *userdata, const PmlRegion *r, PmlRevocation *ret)
{
	if (!world->can_revoke)
		return -EOPNOTSUPP;
	*ret = (PmlRevocation){
		.state = !world->bound		  ? PML_REVOKE_UNBOUND
			 : world->kernel_refs > 0 ? PML_REVOKE_HELD
			 : world->binding_revoked ? PML_REVOKE_REVOKED
						  : PML_REVOKE_LIVE,
		.held = (uint64_t)world->kernel_refs,
	};
	return 0;
}

static int fake_revoke(
	void *userdata, const PmlRegion *r, uint64_t timeout_usec, PmlRevocation *ret)
{
	if (world->missing)
		return -ENODEV;
	if (!world->can_revoke)
		return -EOPNOTSUPP;
	world->revokes++;
	world->binding_revoked = true;
	for (int i = 0; i < 2; i++)
		world->domains[i].revoked = world->domains[i].mapped;
	*ret = (PmlRevocation){
		.state = world->kernel_refs > 0 ? PML_REVOKE_HELD : PML_REVOKE_REVOKED,
		.held = (uint64_t)world->kernel_refs,
	};
	return 0;
}

static int fake_recovers(pid_t pid, uint64_t start_ticks)
{
	return world->recovery;
}

static int fake_withdraw(const PmlRegion *host, const PmlProof *proof)
{
	world->withdraws++;
	return world->shares_dev ? -EXDEV : 0;
}

static int fake_failed_faults(const PmlLeaseRecord *rec, int64_t *ret)
{
	static int64_t faults = -1000;

	/* A machine makes some that are told late. */
	faults += world->lies ? 100000 : 1;
	*ret = faults;
	return rec->vmm_pid > 0 ? 0 : -ENOENT;
}

static int fake_bind(void *userdata, const PmlRegion *r)
{
	if (world->missing)
		return -ENODEV;
	for (int i = 0; i < 2; i++)
		if (world->domains[i].mapped && !world->domains[i].revoked &&
			alive(&world->domains[i]))
			world->violations++;
	world->bound = true;
	world->binds++;
	return 0;
}

static int fake_open(void *userdata, const PmlRegion *r, int *ret_fd)
{
	int fd;

	if (!world->bound)
		return -ENODEV;
	fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int fake_module_refs(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file)
{
	return -EOPNOTSUPP;
}

static int fake_claim(void *userdata, const PmlRegion *r, int *ret_fd)
{
	return world->block ? fake_open(userdata, r, ret_fd) : -EOPNOTSUPP;
}

static const PmlDaxOps fake_dax = {
	.binding = fake_binding,
	.unbind = fake_unbind,
	.bind = fake_bind,
	.open = fake_open,
	.module_refs = fake_module_refs,
	.claim = fake_claim,
	.revocation = fake_revocation,
	.revoke = fake_revoke,
	.ram = world_ram,
	.bind_ram = world_bind_ram,
	.populate = world_populate,
	.unbind_emptied = world_unbind_emptied,
};

static int fake_scan(PmlInventory **ret)
{
	PmlRegionInfo info = {
		.name = "dax0.0",
		.path = "/dev/full",
		.uuid = world_region_uuid(),
		.namespace_name = "namespace0.0",
		.nd_region = "region0",
		.kind = PML_KIND_DEVDAX,
		.binding = world->bound ? PML_BINDING_DEVICE_DAX : PML_BINDING_NONE,
		.devno = makedev(1, 7),
		.size_bytes = WORLD_BYTES,
		.align_bytes = 2 * MIB,
		.can_revoke = world->can_revoke,
		.phys_start = 1ULL << 32,
		.numa_node = 0,
		.target_node = 0,
		.extent = {.medium = "iset:00000000deadbeef",
			.start_bytes = 0,
			.size_bytes = WORLD_BYTES},
	};
	PmlRegion *region;
	int r;

	if (world->block) {
		info.kind = PML_KIND_BDEV;
		info.binding = PML_BINDING_BLOCK;
		info.diskseq = (uint64_t)world->diskseq;
		info.extent.size_bytes = info.size_bytes = WORLD_BYTES + (uint64_t)world->grown;
		(void)PML_STRCPY(info.extent.medium, "disk:world");
	}
	if (world->ram)
		info.target_node = 1;
	if (world->kmem) {
		info.kind = PML_KIND_SYSRAM;
		info.binding = PML_BINDING_KMEM;
		info.ram_obstacles = (world->demotion ? PML_OBSTACLE_DEMOTION : 0U) |
				     (world->auto_online ? PML_OBSTACLE_AUTO_ONLINE : 0U);
	}
	if (world->missing)
		return pml_inventory_new(NULL, 0, ret);
	r = pml_region_new(&info, &region);
	if (r < 0)
		return r;
	r = pml_inventory_new(&region, 1, ret);
	pml_region_unref(region);
	return r;
}

static uint64_t start_ticks(pid_t pid)
{
	char path[64], line[1024] = "";
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long long ticks = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f) || !strrchr(line, ')'))
		return 0;
	(void)sscanf(strrchr(line, ')') + 1,
		" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		&ticks);
	return ticks;
}

static int fake_prove(const PmlProofRequest *req, PmlProof **ret)
{
	char text[4096], holders[2048] = "";
	bool bound = world->bound, held = false, live = false, passing, settled;
	const char *verdict;

	while (world->hang_proof) {
		world->in_proof = true;
		(void)poll(NULL, 0, 5);
	}
	for (int i = 0; i < 2; i++) {
		const WorldDomain *d = &world->domains[i];
		size_t n = strlen(holders);

		if (!d->mapped || !alive(d) ||
			(req->argument && strcmp(req->argument, d->uuid) != 0))
			continue;
		/* Without memory on the node nobody has any there. */
		if (world->virtio_mem && !world->kmem)
			continue;
		(void)snprintf(holders + n, sizeof(holders) - n,
			"%s{\"pid\":%d,\"start_ticks\":%llu,\"command\":\"qemu\",\"cgroup\":\"\",\"unit\":\"\",\"descriptors\":1,"
			"\"mappings\":1,\"mapped_bytes\":%llu,\"present_bytes\":%llu,\"probes\":0,\"probes_refused\":0,"
			"\"revoked\":%d}",
			held ? "," : "", (int)d->pid, (unsigned long long)start_ticks(d->pid),
			world->ram ? (unsigned long long)world->lent : WORLD_BYTES,
			!world->ram || world->elsewhere ? 0ULL
			: world->virtio_mem		? (unsigned long long)world->plugged
							: (unsigned long long)world->lent,
			d->revoked ? 2 : 0);
		held = true;
		live = live || !d->revoked;
	}
	verdict = world->kernel_refs > 0	       ? "reachable"
		  : held && !live && world->can_revoke ? "revoked"
		  : held && bound		       ? "reachable"
		  : held			       ? "unreachable"
		  : world->unexplained && !bound       ? "unexplained"
						       : "clear";
	passing = !req->once && world->passing > 0;
	world->passing -= passing;
	if ((world->hold_proof && req->probe) || world->kmem || passing)
		verdict = "reachable";
	settled = world->settling >= 0;
	if (!settled)
		verdict = "reachable";
	if (req->probe && world->settling > 0 && --world->settling == 0)
		world->settling = -1;
	(void)snprintf(text, sizeof(text),
		"{\"format\":1,\"verdict\":\"%s\",\"summary\":\"made up: %s\",\"region\":\"r\",\"rung\":\"%s\",\"binding\":\"none\","
		"\"realtime_usec\":1,\"settled\":%s,\"processes\":1,\"processes_denied\":0,\"mappings_left\":0,"
		"\"module_refs\":%s,\"unexplained_refs\":%s,\"kernel_refs\":%d,\"holders\":[%s],\"blind_spots\":[]}",
		verdict, settled ? verdict : "no time", req->rung, settled ? "true" : "false",
		passing ? "1" : "null", passing ? "1" : "null", world->kernel_refs, holders);
	return pml_proof_from_json(text, ret);
}

/* --- the ledger's disk --- */

int __real_pml_ledger_apply(PmlLedger *l, const PmlTxn *t, char **ret_why);
int __wrap_pml_ledger_apply(PmlLedger *l, const PmlTxn *t, char **ret_why);

int __wrap_pml_ledger_apply(PmlLedger *l, const PmlTxn *t, char **ret_why)
{
	if (world->hang_in_write > 0 && --world->hang_in_write == 0)
		world->ledger_hangs = true;
	while (world->ledger_hangs)
		(void)poll(NULL, 0, 5);
	return world->ledger_error ? -world->ledger_error : __real_pml_ledger_apply(l, t, ret_why);
}

int __real_pml_ledger_leases(PmlLedger *l, bool with_released, PmlLeaseRecord **ret, size_t *ret_n);
int __wrap_pml_ledger_leases(PmlLedger *l, bool with_released, PmlLeaseRecord **ret, size_t *ret_n);

int __wrap_pml_ledger_leases(PmlLedger *l, bool with_released, PmlLeaseRecord **ret, size_t *ret_n)
{
	if (world->unreadable > 0 && world->unreadable-- > 0)
		return -EIO;
	return __real_pml_ledger_leases(l, with_released, ret, ret_n);
}

/* --- what became of jobs --- */

void __real_job_bus_removed(Job *job, const char *result);
void __wrap_job_bus_removed(Job *job, const char *result);

void __wrap_job_bus_removed(Job *job, const char *result)
{
	WorldEnd *e = &ends[n_ends++ % ELEMENTSOF(ends)];

	e->id = job->id;
	(void)snprintf(e->kind, sizeof(e->kind), "%s", job->kind->name);
	(void)snprintf(e->result, sizeof(e->result), "%s", result);
	(void)snprintf(e->error, sizeof(e->error), "%s", job->error);
	(void)snprintf(e->message, sizeof(e->message), "%s", job->message);
	__real_job_bus_removed(job, result);
}

bool world_job_result(uint64_t id, WorldEnd *ret)
{
	for (size_t i = 0; i < ELEMENTSOF(ends); i++)
		if (ends[i].id == id && id != 0) {
			*ret = ends[i];
			return true;
		}
	return false;
}

/* --- libvirt --- */

struct Virt {
	Executors *exec;
	void (*on_event)(void *data, const VirtEvent *ev);
	void *data;
};

static WorldDomain *find(const char *name)
{
	for (int i = 0; i < 2; i++)
		if (pml_streq(world->domains[i].uuid, name) ||
			pml_streq(world->domains[i].name, name))
			return &world->domains[i];
	return NULL;
}

static void connected(void *data)
{
	Virt *v = data;
	VirtEvent ev = {.type = VIRT_EV_CONNECTED};

	v->on_event(v->data, &ev);
}

static Virt the_one;

void world_virt_event(const VirtEvent *ev)
{
	the_one.on_event(the_one.data, ev);
}

static int virt_start(void *userdata, Executors *x, const char *uri,
	void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret)
{
	/* One for all: a hung call may still look at it when its daemon is gone. */
	Virt *v = &the_one;

	*v = (Virt){x, on_event, data};
	*ret = v;
	return world->libvirt_down ? 0 : exec_post(x, connected, v);
}

static Virt *virt_free(Virt *v)
{
	return NULL;
}

static bool virt_connected(Virt *v)
{
	return !world->libvirt_down;
}

static int virt_find(Virt *v, const char *domain, VirtDomain *ret, char **ret_why)
{
	WorldDomain *d = find(domain);

	while (world->hang_lookup)
		(void)poll(NULL, 0, 5);
	if (world->libvirt_down)
		return VIRT_UNAVAILABLE;
	if (!d)
		return VIRT_NO_DOMAIN;
	*ret = (VirtDomain){.running = d->pid != 0};
	(void)PML_STRCPY(ret->uuid, d->uuid);
	(void)PML_STRCPY(ret->name, d->name);
	return 0;
}

static int virt_suited(
	Virt *v, const char *domain, const VirtMemory *mem, VirtDomain *ret, char **ret_why)
{
	int r = virt_find(v, domain, ret, ret_why);

	if (r != 0)
		return r;
	if (ret->running && world->refuse_pinned) {
		*ret_why = strdup("The machine has a <hostdev>.");
		return VIRT_PINNED;
	}
	return ret->running ? 0 : VIRT_NOT_RUNNING;
}

static int virt_attach(Virt *v, const char *uuid, const VirtMemory *mem, char **ret_why)
{
	WorldDomain *d = find(uuid);

	while (world->hang_attach)
		(void)poll(NULL, 0, 5);
	if (world->refuse_attach) {
		*ret_why = strdup("no slot");
		return VIRT_REFUSED;
	}
	d->attached = true;
	if (world->attach_nothing)
		return 0;
	/* QEMU opens the node: what is unbound cannot be opened. */
	world->lent = (long long)mem->size_bytes;
	world->virtio_mem = mem->virtio_mem;
	world->requested = (long long)mem->size_bytes;
	world->plugged = 0;
	if (mem->ram ? !world->kmem : !world->bound) {
		*ret_why = strdup("QEMU could not open the device");
		d->attached = false;
		return VIRT_REFUSED;
	}
	for (int i = 0; i < 2; i++)
		if (&world->domains[i] != d && world->domains[i].mapped &&
			!world->domains[i].revoked && alive(&world->domains[i]))
			world->violations++;
	d->mapped = true;
	d->revoked = false;
	if (world->eager_guests)
		world_write((int)(d - world->domains));
	return 0;
}

static int virt_has_device(
	Virt *v, const char *uuid, const VirtMemory *mem, bool *ret, char **ret_why)
{
	WorldDomain *d = find(uuid);

	if (world->libvirt_down)
		return VIRT_UNAVAILABLE;
	if (d->pid == 0)
		return VIRT_NOT_RUNNING;
	if (world->busy) {
		world->asked++;
		return VIRT_AMBIGUOUS;
	}
	*ret = d->attached;
	return 0;
}

static int virt_define(Virt *v, const char *uuid, const VirtMemory *mem, bool on, char **ret_why)
{
	WorldDomain *d = find(uuid);

	if (world->libvirt_down)
		return VIRT_UNAVAILABLE;
	if (on && world->refuse_define) {
		*ret_why = strdup("It is transient.");
		return VIRT_REFUSED;
	}
	d->defined = on;
	return 0;
}

static int virt_pinned(
	Virt *v, const char *uuid, char ret_name[static PML_NAME_LEN], char **ret_why)
{
	if (world->libvirt_down)
		return VIRT_UNAVAILABLE;
	(void)pml_strcpy(ret_name, PML_NAME_LEN, find(uuid)->name);
	if (!world->pinned)
		return 0;
	*ret_why = strdup("The machine has a <hostdev>.");
	return VIRT_PINNED;
}

static int virt_pause(
	Virt *v, const char *uuid, void (*before)(void *data), void *data, char **ret_why)
{
	while (world->hang_pause)
		(void)poll(NULL, 0, 5);
	if (world->libvirt_down)
		return VIRT_UNAVAILABLE;
	before(data);
	find(uuid)->paused = true;
	return 0;
}

static int virt_destroy(Virt *v, const char *uuid, char **ret_why)
{
	WorldDomain *d = find(uuid);

	world->destroys++;
	while (world->hang_pause)
		(void)poll(NULL, 0, 5);
	(void)kill(d->pid, SIGKILL);
	return 0;
}

static int virt_release(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t timeout_usec,
	VirtRelease *release, char **ret_why)
{
	if (world->libvirt_down)
		return VIRT_UNAVAILABLE;
	if (release->pid == 0)
		world->asks++;
	if (mem->virtio_mem && world_unplug_parts(ret_why) != 0)
		return VIRT_REFUSED;
	while (world->agent == WORLD_AGENT_HANGS)
		(void)poll(NULL, 0, 5);
	switch ((int)world->agent) {
	case WORLD_AGENT_NONE:
		*ret_why = strdup("No agent runs in the guest.");
		return VIRT_NO_AGENT;
	case WORLD_AGENT_BLOCKED:
		*ret_why = strdup("The guest's agent may not run programs.");
		return VIRT_AGENT_BLOCKED;
	case WORLD_AGENT_SILENT:
		*ret_why = strdup("The guest's agent does not answer.");
		return VIRT_AGENT_SILENT;
	}
	if (mem->ram && world->agent == WORLD_AGENT_RELEASES && release->pid != 0)
		find(uuid)->attached = find(uuid)->mapped = false;
	if (mem->ram && release->pid != 0) {
		release->over = release->released = !find(uuid)->attached;
		return 0;
	}
	/* Begun by one call, and ended by a later one. */
	if (release->pid == 0) {
		release->pid = 4711;
		return 0;
	}
	release->over = world->agent != WORLD_AGENT_WORKS;
	release->released = world->agent == WORLD_AGENT_RELEASES;
	if (world->agent == WORLD_AGENT_REFUSES)
		(void)PML_STRCPY(release->reason, "a database is on it: éééééééééééééééééééééééé");
	return 0;
}

/* WORKS and REFUSES run a program, too: they are there to be asked. */
static int virt_agent(Virt *v, const char *uuid, char **ret_why)
{
	VirtRelease release = {};
	int asks = world->asks, r;

	world->agent_looks++;
	if (world->agent == WORLD_AGENT_HANGS)
		return VIRT_AGENT_SILENT;
	r = virt_release(v, uuid, &(VirtMemory){}, 0, &release, ret_why);
	world->asks = asks;
	return r;
}

static const VirtOps fake_virt = {
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
	.release = virt_release,
	.agent = virt_agent,
	.resize = world_resize,
};

/* --- all of it --- */

void world_new(void)
{
	char path[64];
	int fd = memfd_create("world", 0);

	if (fd < 0 || ftruncate(fd, sizeof(*world)) < 0)
		abort();
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (world == MAP_FAILED)
		abort();
	/* The media helper is another program run, and finds it here. */
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	(void)setenv("WORLD_FILE", path, 1);
}

void world_domain_start(int i)
{
	char name[80];
	pid_t pid;

	(void)snprintf(name, sizeof(name), "machine-%s", world->domains[i].uuid);
	pid = fork();
	if (pid == 0) {
		/* Ends with the test, however that ends. */
		(void)alarm(600);
		(void)execl("/bin/sleep", name, "600", NULL);
		_exit(1);
	}
	world->domains[i].mapped = world->domains[i].revoked = false;
	world->domains[i].attached = false;
	world->domains[i].paused = false;
	world->domains[i].pid = pid;
	/* Its name is its UUID's carrier: there when exec is through. */
	for (;;) {
		char path[64], text[128] = "";
		_cleanup_fclose_ FILE *f = NULL;

		(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
		f = fopen(path, "re");
		if (f && fread(text, 1, sizeof(text) - 1, f) > 0 && pml_streq(text, name))
			return;
		(void)poll(NULL, 0, 1);
	}
}

void world_domain_stop(int i)
{
	pid_t pid = world->domains[i].pid;

	if (pid == 0)
		return;
	(void)kill(pid, SIGKILL);
	/* Not ours where a daemon's process has been told to do it: then its parent asks later. */
	(void)waitpid(pid, NULL, 0);
	world->domains[i].pid = 0;
	world->domains[i].mapped = false;
	world->domains[i].attached = false;
}

void world_reset(void)
{
	for (int i = 0; i < 2; i++)
		world_domain_stop(i);
	memset(world, 0, sizeof(*world));
	world->bound = true;
	world->domains[0].uuid = WORLD_A;
	world->domains[0].name = "a";
	world->domains[1].uuid = WORLD_B;
	world->domains[1].name = "b";
	for (int i = 0; i < 2; i++)
		world_domain_start(i);
}

void world_end(void)
{
	for (int i = 0; i < 2; i++)
		world_domain_stop(i);
}

void world_write(int i)
{
	if (world->domains[i].mapped && !world->domains[i].revoked && world->bound)
		world->bytes = (char)('a' + i);
}

int world_manager_new(sd_event *event, const char *dir, Manager **ret)
{
	static char state[256], run[256], helper[256];
	Config config;
	Manager *m;
	ssize_t n;
	int r;

	config_defaults(&config);
	(void)snprintf(state, sizeof(state), "%s/state", dir);
	(void)snprintf(run, sizeof(run), "%s/run", dir);
	n = readlink("/proc/self/exe", helper, sizeof(helper) - 1);
	if (n < 0)
		return -errno;
	helper[n] = 0;
	config.state_dir = state;
	config.runtime_dir = run;
	config.media_helper = helper;
	config.proof_timeout_usec = USEC_PER_SEC / 2;
	if (world->look_usec)
		config.look_usec = (uint64_t)world->look_usec;
	/* Jobs are counted from 1 again. */
	memset(ends, 0, sizeof(ends));
	r = manager_new(event, &config, &m);
	if (r < 0)
		return r;
	m->dax = &fake_dax;
	m->virt_ops = &fake_virt;
	m->scan = fake_scan;
	m->prove = fake_prove;
	m->withdraw = fake_withdraw;
	m->failed_faults = fake_failed_faults;
	m->recovers = fake_recovers;
	m->scan_part = world_scan_part;
	m->disable_namespace = world_disable_namespace;
	m->enable_namespace = world_enable_namespace;
	r = manager_start(m);
	if (r < 0) {
		manager_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

static void zero_bytes(void)
{
	_cleanup_close_ int fd = open(getenv("WORLD_FILE"), O_RDWR | O_CLOEXEC);
	World *w = MAP_FAILED;

	if (fd >= 0)
		w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w == MAP_FAILED)
		_exit(5);
	w->bytes = 0;
	(void)munmap(w, sizeof(*w));
}

static volatile sig_atomic_t terminated;

static void on_term(int sig)
{
	terminated = 1;
}

void world_media_helper(int argc, char **argv)
{
	const char *mode;

	if (argc < 3 || !pml_streq(argv[1], "--fd"))
		return;
	mode = getenv("WORLD_MEDIA");
	(void)signal(SIGTERM, on_term);
	(void)printf("progress scrub 1 2\n");
	(void)fflush(stdout);
	if (mode && pml_streq(mode, "bad"))
		(void)printf("result bad-block 4096 512\n");
	else if (mode && pml_streq(mode, "die"))
		abort();
	else if (mode && pml_streq(mode, "wait"))
		while (!terminated)
			(void)poll(NULL, 0, 1000);
	if (mode && pml_streq(mode, "wait"))
		(void)printf("result cancelled\n");
	else if (!mode || !pml_streq(mode, "bad")) {
		zero_bytes();
		(void)printf("progress verify 2 2\nresult ok 10 20\n");
	}
	(void)fflush(stdout);
	_exit(0);
}

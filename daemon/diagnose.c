/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Manager.Diagnose(): what is known on the main thread is copied, the rest is looked at where it
 * may block. */

#include "askable.h"
#include "bus.h"
#include "diagnose.h"
#include "util.h"

typedef struct DiagnoseWork {
	BusWork work;
	Findings found;
	const VirtOps *virt_ops;
	Virt *virt;
	bool connected;
	int state_fd;
	uint64_t checked_usec;
	DiagnoseMachine *machines;
	size_t n_machines;
} DiagnoseWork;

static void diagnose_clear(BusWork *work)
{
	DiagnoseWork *w = (DiagnoseWork *)work;

	findings_clear(&w->found);
	closep(&w->state_fd);
	for (size_t i = 0; i < w->n_machines; i++)
		free((char *)w->machines[i].name);
	free(w->machines);
}

/* --- main thread --- */

static int copy_machines(DiagnoseWork *w, const Manager *m)
{
	const Lease *lease;
	size_t n = 0;

	LIST_FOREACH (lease, &m->leases, leases)
		n++;
	w->machines = calloc(n ? n : 1, sizeof(*w->machines));
	if (!w->machines)
		return -ENOMEM;
	LIST_FOREACH (lease, &m->leases, leases) {
		const PmlLeaseRecord *r = &lease->record;
		bool twice = false;

		if (lease->gone || r->vmm_pid <= 0 || !pml_streq(r->boot_id, m->boot_id))
			continue;
		/* one line for a machine, however many regions it has */
		for (size_t i = 0; i < w->n_machines; i++)
			twice = twice || w->machines[i].pid == r->vmm_pid;
		if (twice)
			continue;
		w->machines[w->n_machines] = (DiagnoseMachine){
			.name = strdup(r->domain_name[0] ? r->domain_name : r->domain),
			.pid = r->vmm_pid,
			.start_ticks = r->vmm_start,
		};
		if (!w->machines[w->n_machines].name)
			return -ENOMEM;
		w->n_machines++;
	}
	return 0;
}

static void add_lease(const Lease *lease, Findings *l)
{
	const char *machine =
		lease->record.domain_name[0] ? lease->record.domain_name : lease->record.domain;

	if (lease->gone || lease_state(lease) == PML_LEASE_RELEASED)
		return;
	if (region_is_block(lease->region))
		finding_add(l, FINDING_WARN, "leases.destroy",
			"Lend device-dax to a machine that must outlive an eviction.",
			"Region %s is lent to %s, and taking it back destroys that machine.",
			region_label(lease->region), machine);
	if (lease->unasked && askable_matters(lease))
		finding_add(l, FINDING_WARN, "leases.agent",
			"The guest wants qemu-guest-agent and pmemlease's guest package, its machine the agent's channel; "
			"--drain=never says that it is not to be asked.",
			"The guest of %s could not be asked for region %s, which would be taken by force: %s",
			machine, region_label(lease->region), lease->unasked);
	if (lease->pinned)
		finding_add(l, FINDING_BAD, "leases.pinned",
			"Take that device away from the machine, or have the tenant release the region.",
			"Region %s cannot be taken back from %s with a proof: %s",
			region_label(lease->region), machine, lease->pinned);
}

void diagnose_regions(const Manager *m, Findings *l)
{
	size_t n = 0, n_block = 0, unfenceable = 0, n_ram = 0;
	const Lease *lease;
	const Region *r;

	LIST_FOREACH (r, &m->regions, regions) {
		n++;
		n_ram += r->host && pml_region_kind(r->host) == PML_KIND_SYSRAM;
		n_block += r->host && pml_region_kind(r->host) == PML_KIND_BDEV;
		if (r->record.use == PML_USE_QUARANTINED)
			finding_add(l, FINDING_WARN, "regions",
				"Mend the reason, or give your word: pmemlease lift-quarantine.",
				"Region %s is quarantined: %s", region_label(r), r->record.reason);
		if (r->host && r->presence == PML_PRESENCE_ONLINE &&
			pml_fence_level(r->host, m->dax) == PML_FENCE_NONE) {
			unfenceable++;
			finding_add(l, FINDING_WARN, "regions", "pmemlease status has the reason.",
				"Region %s cannot be fenced, so it is not lent.", region_label(r));
		}
	}
	if (unfenceable == 0)
		finding_add(l, FINDING_OK, "regions", NULL,
			"Every region that is there can be fenced (%zu known).", n);
	if (n_ram > 0)
		finding_add(l, FINDING_WARN, "regions.sysram",
			"Lease with --after-fence=destroy what must come back in any case.",
			"%zu region%s memory of the host: its guest alone can give it back, or the end of its "
			"machine.",
			n_ram, n_ram == 1 ? " is" : "s are");
	if (n_block > 0)
		finding_add(l, FINDING_WARN, "regions.block",
			"Each lease wants the consent: pmemlease lease --allow-destroy.",
			"Of the regions %zu are block devices, which have the rung destroy alone: no kernel removes "
			"their mappings from a machine that goes on.",
			n_block);
	LIST_FOREACH (lease, &m->leases, leases)
		add_lease(lease, l);
	if (m->read_again)
		finding_add(l, FINDING_BAD, "ledger", "journalctl -u pmemleased has the reason.",
			"The ledger could not be read; it is tried again.");
}

/* --- where it may block --- */

static void add_libvirt(DiagnoseWork *w)
{
	_cleanup_free_ char *why = NULL;
	VirtHost host = {};

	if (!w->connected || !w->virt_ops->host || w->virt_ops->host(w->virt, &host, &why) != 0) {
		finding_add(&w->found, FINDING_BAD, "libvirt.connection",
			"systemctl status libvirtd virtqemud", "libvirt does not answer%s%s",
			why ? ": " : ".", why ? why : "");
		return;
	}
	finding_add(&w->found, FINDING_OK, "libvirt.connection", NULL,
		"libvirt %u.%u.%u answers the daemon.", host.version / 1000000,
		host.version / 1000 % 1000, host.version % 1000);
	if (strstr(host.security, "apparmor") || strstr(host.security, "selinux"))
		finding_add(&w->found, FINDING_OK, "libvirt.security", NULL,
			"libvirt confines machines (%s).", host.security);
	else
		finding_add(&w->found, FINDING_WARN, "libvirt.security",
			"Set security_driver in /etc/libvirt/qemu.conf to apparmor or selinux, and "
			"restart libvirt's daemon.",
			"libvirt does not confine machines (%s).",
			host.security[0] ? host.security : "no security driver");
}

static int diagnose_run(BusWork *work)
{
	_cleanup_close_ int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	DiagnoseWork *w = (DiagnoseWork *)work;

	add_libvirt(w);
	diagnose_ledger(w->state_fd, w->checked_usec, &w->found);
	for (size_t i = 0; proc_fd >= 0 && i < w->n_machines; i++)
		diagnose_machine(proc_fd, &w->machines[i], &w->found);
	return w->found.r;
}

static int diagnose_reply(BusWork *work, int r, sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	DiagnoseWork *w = (DiagnoseWork *)work;

	if (r >= 0)
		r = sd_bus_message_new_method_return(work->call, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(ssss)");
	for (size_t i = 0; i < w->found.n && r >= 0; i++) {
		Finding *f = &w->found.items[i];

		/* names and sentences of others */
		pml_make_printable(f->text);
		r = sd_bus_message_append(reply, "(ssss)", finding_level_to_string(f->level),
			f->check, f->text, f->mend);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int manager_bus_diagnose(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error)
{
	DiagnoseWork *w = bus_work_new(sizeof(*w), m, call, uid);
	int r;

	if (!w)
		return -ENOMEM;
	w->work.run = diagnose_run;
	w->work.reply = diagnose_reply;
	w->work.clear = diagnose_clear;
	w->virt_ops = m->virt_ops;
	w->virt = m->virt;
	w->connected = m->libvirt_connected;
	w->checked_usec = m->ledger_checked_usec;
	w->state_fd = open(m->config.state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	diagnose_regions(m, &w->found);
	r = copy_machines(w, m);
	if (r < 0) {
		bus_work_free(&w->work);
		return r;
	}
	/* one at a time: who asks often waits for himself */
	r = bus_work_submit(&w->work, EXEC_VIRT, "diagnose");
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

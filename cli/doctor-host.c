/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel and what it was told: by ability, never by version. */
#include <grp.h>
#include <sys/stat.h>

#include "doctor.h"

#define DAX_DEVICES "sys/bus/dax/devices"
#define HINT_PATCHES                                                                               \
	"A kernel with the patches of kernel-patches/ revokes a region without freezing its "      \
	"machine."

/* "dax0.0/driver" → "device_dax"; "" when none is bound. malloc-ed. */
static char *driver_of(const Root *root, const char *device)
{
	char path[256], *driver;

	snprintf(path, sizeof(path), DAX_DEVICES "/%s/driver", device);
	driver = root_link_name(root, path);
	return driver ? driver : strdup("");
}

static void count_revoke(const Root *root, size_t *ret_devices, size_t *ret_revoke)
{
	_cleanup_names_ char **devices = root_names(root, DAX_DEVICES);

	*ret_devices = *ret_revoke = 0;
	for (char **d = devices; d && *d; d++) {
		_cleanup_free_ char *driver = driver_of(root, *d);
		char path[256];

		/* memory of the host's own is not lent as it is */
		if (pml_streq(driver, "kmem"))
			continue;
		snprintf(path, sizeof(path), DAX_DEVICES "/%s/revoke", *d);
		++*ret_devices;
		*ret_revoke += root_has(root, path);
	}
}

bool doctor_has_revoke(const Root *root)
{
	size_t devices, revoke;

	count_revoke(root, &devices, &revoke);
	return devices > 0 && revoke == devices;
}

static void check_drivers(const Root *root, Findings *l)
{
	static const struct {
		const char *path, *name;
	} drivers[] = {
		{"sys/bus/dax/drivers/device_dax", "device_dax"},
		{"sys/bus/nd/drivers/dax_pmem", "dax_pmem"},
		{"sys/bus/nd/drivers/nd_pmem", "nd_pmem"},
	};
	_cleanup_free_ char *mend = NULL;
	char missing[128] = "";

	for (size_t i = 0; i < ELEMENTSOF(drivers); i++)
		if (!root_has(root, drivers[i].path)) {
			strcat(missing, " ");
			strcat(missing, drivers[i].name);
		}
	if (!missing[0]) {
		finding_add(l, FINDING_OK, "kernel.drivers", NULL,
			"The drivers for persistent memory are there (device_dax, dax_pmem, "
			"nd_pmem).");
		return;
	}
	if (asprintf(&mend, "modprobe -a%s", missing) < 0)
		mend = NULL;
	finding_add(l, FINDING_BAD, "kernel.drivers", mend,
		"Drivers are missing, so regions cannot be made or bound:%s.", missing);
}

static void check_revoke(const Root *root, Findings *l)
{
	size_t devices, revoke;

	count_revoke(root, &devices, &revoke);
	if (devices == 0)
		finding_add(l, FINDING_WARN, "kernel.revoke",
			"Make one: ndctl create-namespace -m devdax.",
			"There is no device-dax device, so nothing to lend, and it cannot be told "
			"whether this kernel can revoke.");
	else if (revoke == devices)
		finding_add(l, FINDING_OK, "kernel.revoke", NULL,
			"Regions can be revoked: a machine that touches one afterwards gets a "
			"machine check for that page.");
	else
		finding_add(l, FINDING_WARN, "kernel.revoke", HINT_PATCHES,
			"%zu of %zu devices cannot be revoked: a fence unbinds them, and freezes "
			"the machine first.",
			devices - revoke, devices);
}

static void check_freezer(const Root *root, Findings *l)
{
	/* the root cgroup has no freezer of its own; any other shows whether there is one */
	if (!root_has(root, "sys/fs/cgroup/cgroup.controllers"))
		finding_add(l, FINDING_BAD, "kernel.freezer",
			"Boot with systemd.unified_cgroup_hierarchy=1.",
			"The host has no unified cgroup tree (version 2), so machines cannot be "
			"frozen for a fence.");
	else if (!root_has(root, "sys/fs/cgroup/system.slice/cgroup.freeze"))
		finding_add(l, FINDING_BAD, "kernel.freezer",
			"Run a kernel of Linux's 5.2 or newer.",
			"This kernel's cgroups have no freezer, so machines cannot be frozen for a "
			"fence.");
	else
		finding_add(l, FINDING_OK, "kernel.freezer", NULL,
			"Machines can be frozen without libvirt (cgroup.freeze).");
}

void doctor_kernel(const Root *root, Findings *l)
{
	check_drivers(root, l);
	check_revoke(root, l);
	check_freezer(root, l);
	if (root_has(root, "dev/kvm"))
		finding_add(l, FINDING_OK, "kernel.kvm", NULL, "KVM is there.");
	else
		finding_add(l, FINDING_BAD, "kernel.kvm",
			"modprobe kvm_amd or kvm_intel; virtualization may be off in the firmware.",
			"There is no /dev/kvm, and only machines with KVM are lent to.");
}

/* Memory that the kernel itself may use for what cannot move is never given back. */
static void check_zones(const Root *root, const char *device, Findings *l)
{
	_cleanup_free_ char *node = NULL;
	_cleanup_names_ char **blocks = NULL;
	char path[256];
	size_t fixed = 0;

	snprintf(path, sizeof(path), DAX_DEVICES "/%s/target_node", device);
	node = root_text(root, path);
	if (!node || strspn(node, "0123456789") != strlen(node) || strlen(node) > 10)
		return;
	snprintf(path, sizeof(path), "sys/devices/system/node/node%s", node);
	blocks = root_names(root, path);
	for (char **b = blocks; b && *b; b++) {
		_cleanup_free_ char *zones = NULL;

		if (strncmp(*b, "memory", 6) != 0)
			continue;
		snprintf(path, sizeof(path), "sys/devices/system/node/node%s/%.32s/valid_zones",
			node, *b);
		zones = root_text(root, path);
		/* of a block that is online: the zone that it is in */
		fixed += pml_streq(zones, "Normal");
	}
	if (fixed)
		finding_add(l, FINDING_WARN, "memory.zone",
			"daxctl reconfigure-device -m system-ram makes movable memory, unless it is "
			"told otherwise or something onlines it first.",
			"%s is memory of the host, and %zu of its blocks are in ZONE_NORMAL: they "
			"cannot be taken back.",
			device, fixed);
}

/* Somebody else's cold pages, where a machine is to have all of it. */
static void check_demotion(const Root *root, Findings *l)
{
	_cleanup_free_ char *on = root_text(root, "sys/kernel/mm/numa/demotion_enabled");

	if (pml_streq(on, "true") || pml_streq(on, "1"))
		finding_add(l, FINDING_WARN, "memory.demotion",
			"echo 0 >/sys/kernel/mm/numa/demotion_enabled.",
			"The kernel moves cold pages of the host to slower memory: regions in "
			"system-ram mode are not lent.");
}

void doctor_memory(const Root *root, Findings *l)
{
	_cleanup_free_ char *policy =
		root_text(root, "sys/devices/system/memory/auto_online_blocks");
	_cleanup_names_ char **devices = root_names(root, DAX_DEVICES);
	unsigned n_ram = 0;

	if (!policy || strcmp(policy, "offline") == 0 || strcmp(policy, "online_movable") == 0)
		finding_add(l, FINDING_OK, "memory.auto-online", NULL,
			"New memory is not made the kernel's own by itself (policy %s).",
			policy ? policy : "none");
	else
		finding_add(l, FINDING_WARN, "memory.auto-online",
			"echo online_movable >/sys/devices/system/memory/auto_online_blocks, or boot with "
			"memhp_default_state=online_movable.",
			"New memory goes online by itself (policy %s): the kernel may put into it "
			"what can never be moved out.",
			policy);
	for (char **d = devices; d && *d; d++) {
		_cleanup_free_ char *driver = driver_of(root, *d);

		if (!pml_streq(driver, "kmem"))
			continue;
		check_zones(root, *d, l);
		n_ram++;
	}
	if (n_ram > 0)
		check_demotion(root, l);
}

void doctor_iommu(const Root *root, Findings *l)
{
	_cleanup_names_ char **iommus = root_names(root, "sys/class/iommu");
	_cleanup_names_ char **devices = root_names(root, "sys/bus/pci/drivers/vfio-pci");
	size_t passed = 0;

	for (char **d = devices; d && *d; d++)
		passed += strchr(*d, ':') != NULL;
	if (!iommus || !*iommus)
		finding_add(l, FINDING_OK, "iommu", NULL,
			"No IOMMU is active: no device can be passed through, so none pins a "
			"machine's memory.");
	else if (passed == 0)
		finding_add(l, FINDING_OK, "iommu", NULL,
			"An IOMMU is active; no device is bound to vfio-pci.");
	else if (doctor_has_revoke(root))
		finding_add(l, FINDING_OK, "iommu", NULL,
			"%zu devices are bound to vfio-pci: a machine that has one pins its "
			"memory, which a revoke waits for and names.",
			passed);
	else
		finding_add(l, FINDING_WARN, "iommu", HINT_PATCHES,
			"%zu devices are bound to vfio-pci: a machine that has one pins its "
			"memory, and is refused.",
			passed);
}

static void check_nodes(const Root *root, Findings *l)
{
	_cleanup_names_ char **devices = root_names(root, DAX_DEVICES);
	size_t n = 0, loose = 0;

	for (char **d = devices; d && *d; d++) {
		struct stat st;
		char path[256];

		snprintf(path, sizeof(path), "dev/%.64s", *d);
		if (fstatat(root->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		n++;
		if (!(st.st_mode & 077))
			continue;
		loose++;
		finding_add(l, st.st_mode & 07 ? FINDING_BAD : FINDING_WARN, "permissions.devices",
			"Take away the udev rule that does it; the nodes are made root's alone "
			"(0600).",
			"/dev/%s can be opened by %s (mode %04o): each who does holds the region.",
			*d, st.st_mode & 07 ? "everybody" : "a group", st.st_mode & 07777);
	}
	if (loose == 0)
		finding_add(l, FINDING_OK, "permissions.devices", NULL,
			"Only root can open the regions' device nodes (%zu).", n);
}

static bool group_exists(const Root *root, const char *name)
{
	_cleanup_free_ char *text = root_text(root, "etc/group");
	size_t n = strlen(name);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, n) == 0 && line[n] == ':')
			return true;
	}
	return false;
}

void doctor_permissions(const Root *root, Findings *l)
{
	check_nodes(root, l);
	if (group_exists(root, "pmemlease"))
		finding_add(l, FINDING_OK, "permissions.group", NULL,
			"The group pmemlease is there: its members lend and give back.");
	else
		finding_add(l, FINDING_WARN, "permissions.group", "systemd-sysusers",
			"There is no group pmemlease: who lends must authenticate as an "
			"administrator.");
	if (!root_has(root, "usr/share/polkit-1/actions/org.pmemlease1.policy"))
		finding_add(l, FINDING_BAD, "permissions.polkit", "Install pmemlease anew.",
			"polkit does not know pmemlease's actions, so only root may do anything.");
	else if (!root_has(root,
			 "usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service"))
		finding_add(l, FINDING_WARN, "permissions.polkit", "Install polkit (polkitd).",
			"polkit is not installed, so only root may do anything.");
	else
		finding_add(l, FINDING_OK, "permissions.polkit", NULL,
			"polkit knows pmemlease's actions.");
}

void doctor_security(const Root *root, Findings *l)
{
	_cleanup_free_ char *apparmor = root_text(root, "sys/module/apparmor/parameters/enabled");
	_cleanup_free_ char *selinux = root_text(root, "sys/fs/selinux/enforce");

	if (pml_streq(selinux, "1"))
		finding_add(l, FINDING_OK, "security", NULL, "SELinux is enforcing.");
	else if (pml_streq(apparmor, "Y"))
		finding_add(l, FINDING_OK, "security", NULL, "AppArmor is on.");
	else
		finding_add(l, FINDING_WARN, "security",
			"Boot with AppArmor (security=apparmor) or SELinux enforcing.",
			"%s, so libvirt cannot confine machines: one that breaks out of QEMU can open "
			"whatever QEMU's user can.",
			selinux ? "SELinux is permissive" : "No security module is on");
}

void doctor_host(const Root *root, Findings *l)
{
	doctor_kernel(root, l);
	doctor_memory(root, l);
	doctor_udev(root, l);
	doctor_iommu(root, l);
	doctor_libvirt(root, l);
	doctor_qemu(root, l);
	doctor_security(root, l);
	doctor_permissions(root, l);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt and QEMU, as far as everybody can see them. */
#include <limits.h>

#include "doctor.h"

#define HOOKS "etc/libvirt/hooks"

static void check_daemons(const Root *root, Findings *l)
{
	bool modular = root_has(root, "run/libvirt/virtqemud-sock");
	/* in modular mode virtproxyd offers it */
	bool proxy = root_has(root, "run/libvirt/libvirt-sock");

	if (modular && root_has(root, "run/libvirtd.pid"))
		finding_add(l, FINDING_WARN, "libvirt",
			"Disable one of them: systemctl disable --now libvirtd.service "
			"libvirtd.socket, or virtqemud.service virtqemud.socket.",
			"libvirtd and virtqemud both run: each believes that the machines are its own.");
	else if (modular)
		finding_add(l, FINDING_OK, "libvirt", NULL,
			"libvirt runs in its modular daemons (virtqemud).");
	else if (proxy)
		finding_add(l, FINDING_OK, "libvirt", NULL,
			"libvirt runs in its monolithic daemon (libvirtd).");
	else
		finding_add(l, FINDING_BAD, "libvirt",
			"Install libvirt-daemon-system; systemctl enable --now libvirtd.socket (or "
			"virtqemud.socket).",
			"libvirt's sockets are not there, so nothing can be lent; evictions work all "
			"the same.");
}

static bool is_executable(const Root *root, const char *path)
{
	return faccessat(root->fd, path, X_OK, 0) == 0;
}

/* libvirt runs HOOKS/qemu, and, since 6.5, all in HOOKS/qemu.d/. Ours is known by its name. */
static bool find_hook(const Root *root, char path[static PATH_MAX])
{
	_cleanup_names_ char **names = root_names(root, HOOKS "/qemu.d");
	_cleanup_free_ char *single = root_text(root, HOOKS "/qemu");

	for (char **n = names; n && *n; n++)
		if (strstr(*n, "pmemlease")) {
			snprintf(path, PATH_MAX, HOOKS "/qemu.d/%s", *n);
			return true;
		}
	snprintf(path, PATH_MAX, HOOKS "/qemu");
	return single && strstr(single, "pmemlease");
}

static void check_hook(const Root *root, Findings *l)
{
	char path[PATH_MAX];

	if (!find_hook(root, path))
		finding_add(l, FINDING_WARN, "libvirt.hook",
			"Install pmemlease's hook in /etc/libvirt/hooks/qemu.d/, and restart libvirt's "
			"daemon.",
			"libvirt has no hook of pmemlease: a machine whose own XML names a region "
			"starts without a lease.");
	else if (!is_executable(root, path))
		finding_add(l, FINDING_BAD, "libvirt.hook", "chmod 755 it.",
			"The hook /%s is not executable, so libvirt passes it over.", path);
	else
		finding_add(l, FINDING_OK, "libvirt.hook", NULL, "libvirt's hook is there (/%s).",
			path);
}

void doctor_libvirt(const Root *root, Findings *l)
{
	check_daemons(root, l);
	check_hook(root, l);
}

static bool is_amd(const Root *root)
{
	_cleanup_free_ char *cpus = root_text(root, "proc/cpuinfo");

	return cpus && strstr(cpus, "AuthenticAMD");
}

/* KVM hides from an AMD guest that it can recover (it masks MCG_SER_P); these two bits tell it. */
static void check_recovery(const Root *root, const char *qemu, const char *version, Findings *l)
{
	_cleanup_free_ char *flags = NULL;

	if (!is_amd(root)) {
		finding_add(l, FINDING_OK, "qemu.machine-check", NULL,
			"The guests of this processor can recover from a machine check.");
		return;
	}
	flags = root_output(root, qemu, (const char *const[]){"-cpu", "help", NULL});
	if (flags && strstr(flags, "succor") && strstr(flags, "overflow-recov"))
		finding_add(l, FINDING_OK, "qemu.machine-check", NULL,
			"QEMU %s knows succor and overflow-recov: an AMD guest that has them recovers "
			"from a machine check.",
			version);
	else
		finding_add(l, FINDING_WARN, "qemu.machine-check", "QEMU 9.1 or newer.",
			"QEMU %s knows neither succor nor overflow-recov: a guest on this AMD "
			"processor panics where a revoked page is touched.",
			version);
}

static void check_devices(const Root *root, const char *qemu, const char *version, Findings *l)
{
	static const char *const wanted[] = {"nvdimm,help", "virtio-pmem-pci,help"};
	_cleanup_free_ char *nvdimm =
		root_output(root, qemu, (const char *const[]){"-device", wanted[0], NULL});
	_cleanup_free_ char *virtio =
		root_output(root, qemu, (const char *const[]){"-device", wanted[1], NULL});

	if (!nvdimm)
		finding_add(l, FINDING_BAD, "qemu", "Install qemu-system-x86.",
			"QEMU %s has no nvdimm, as which regions are plugged in.", version);
	else if (!virtio)
		finding_add(l, FINDING_WARN, "qemu", "Install qemu-system-x86.",
			"QEMU %s has nvdimm, but no virtio-pmem, as which block devices are lent.",
			version);
	else
		finding_add(l, FINDING_OK, "qemu", NULL, "QEMU %s has nvdimm and virtio-pmem.",
			version);
}

/* QEMU's history: virtio-mem-pci can be unplugged since 8.1. */
static void check_virtio_mem(const Root *root, const char *qemu, const char *version, Findings *l)
{
	_cleanup_free_ char *virtio = root_output(
		root, qemu, (const char *const[]){"-device", "virtio-mem-pci,help", NULL});
	unsigned major = 0, minor = 0;

	(void)sscanf(version, "%u.%u", &major, &minor);
	if (!virtio)
		finding_add(l, FINDING_WARN, "qemu.virtio-mem", "Install qemu-system-x86.",
			"QEMU %s has no virtio-mem: memory of the host is lent as a dimm alone.",
			version);
	else if (major < 8 || (major == 8 && minor < 1))
		finding_add(l, FINDING_WARN, "qemu.virtio-mem", "QEMU 8.1 or newer.",
			"QEMU %s cannot unplug a virtio-mem: a region that was lent so stays offline behind "
			"its lease until the machine ends.",
			version);
	else
		finding_add(l, FINDING_OK, "qemu.virtio-mem", NULL,
			"QEMU %s has virtio-mem, and can unplug it.", version);
}

void doctor_qemu(const Root *root, Findings *l)
{
	static const char *const places[] = {
		"usr/bin/qemu-system-x86_64", "usr/bin/qemu-kvm", "usr/libexec/qemu-kvm"};
	_cleanup_free_ char *text = NULL;
	const char *qemu = NULL;
	char version[32] = "";

	for (size_t i = 0; i < ELEMENTSOF(places) && !qemu; i++)
		if (is_executable(root, places[i]))
			qemu = places[i];
	if (qemu)
		text = root_output(root, qemu, (const char *const[]){"--version", NULL});
	if (!text || sscanf(text, "QEMU emulator version %31[0-9.]", version) != 1) {
		finding_add(l, FINDING_BAD, "qemu", "Install qemu-system-x86.",
			"%s, so no machine can run.",
			qemu ? "QEMU does not say its version" : "QEMU is not installed");
		return;
	}
	check_devices(root, qemu, version, l);
	check_virtio_mem(root, qemu, version, l);
	check_recovery(root, qemu, version, l);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The doctor on hosts that are made up: one that lacks nothing, and the same with one thing wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "doctor.h"

#define UUID "48d8e42c-a2f0-4312-9e70-a837faafe862"

static char dir[64];

static char *full(const char *path)
{
	static char buf[PATH_MAX];

	snprintf(buf, sizeof(buf), "%s/%s", dir, path);
	return buf;
}

static void make_parents(const char *path)
{
	char *p = full(path);

	for (char *slash = p + strlen(dir) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(p, 0755) < 0)
			assert_int_equal(errno, EEXIST);
		*slash = '/';
	}
}

static void put(const char *path, const char *text)
{
	FILE *f;

	make_parents(path);
	f = fopen(full(path), "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void put_program(const char *path, const char *text)
{
	put(path, text);
	assert_int_equal(chmod(full(path), 0755), 0);
}

static void put_dir(const char *path)
{
	put(path, "");
	assert_int_equal(unlink(full(path)), 0);
	assert_int_equal(mkdir(full(path), 0755), 0);
}

static void put_link(const char *path, const char *target)
{
	make_parents(path);
	assert_int_equal(symlink(target, full(path)), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return remove(path);
}

static void take(const char *path)
{
	assert_int_equal(nftw(full(path), remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const char qemu_new[] = "#!/bin/sh\n"
			       "case $* in\n"
			       "--version) echo 'QEMU emulator version 10.0.2 (Debian)' ;;\n"
			       "'-cpu help') echo '  svm succor overflow-recov' ;;\n"
			       "'-device nvdimm,help' | '-device virtio-pmem-pci,help') ;;\n"
			       "'-device virtio-mem-pci,help') ;;\n"
			       "*) exit 1 ;;\n"
			       "esac\n";
static const char qemu_old[] = "#!/bin/sh\n"
			       "case $* in\n"
			       "--version) echo 'QEMU emulator version 8.2.1' ;;\n"
			       "'-cpu help') echo '  svm' ;;\n"
			       "'-device nvdimm,help' | '-device virtio-mem-pci,help') ;;\n"
			       "*) exit 1 ;;\n"
			       "esac\n";

static const char rule[] = "ACTION==\"add\", SUBSYSTEM==\"dax\", TAG+=\"systemd\",\\\n"
			   "  PROGRAM=\"/usr/bin/systemd-escape -p "
			   "--template=daxdev-reconfigure@.service $env{DEVNAME}\",\\\n"
			   "  ENV{SYSTEMD_WANTS}=\"%c\"\n";

static void make_host(void)
{
	put_dir("sys/bus/dax/drivers/device_dax");
	put_dir("sys/bus/nd/drivers/dax_pmem");
	put_dir("sys/bus/nd/drivers/nd_pmem");
	put("sys/bus/dax/devices/dax0.0/revoke", "");
	put("sys/bus/dax/devices/dax0.0/target_node", "1\n");
	put_link("sys/bus/dax/devices/dax0.0/driver", "../../drivers/device_dax");
	put("sys/bus/nd/devices/dax0.1/uuid", UUID "\n");
	put("sys/bus/nd/devices/dax0.2/uuid", "\n");
	put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
	put("sys/fs/cgroup/system.slice/cgroup.freeze", "0\n");
	put("sys/devices/system/memory/auto_online_blocks", "offline\n");
	put("sys/devices/system/node/node1/memory32/valid_zones", "Normal\n");
	put("sys/devices/system/node/node1/memory33/valid_zones", "Movable\n");
	put("sys/class/iommu/ivhd0/name", "");
	put("sys/bus/pci/drivers/vfio-pci/new_id", "");
	put("sys/module/apparmor/parameters/enabled", "Y\n");
	put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\n");
	put("dev/kvm", "");
	put("dev/dax0.0", "");
	chmod(full("dev/dax0.0"), 0600);
	put("etc/group", "root:x:0:\nxpmemlease:x:1:\npmemlease:x:2:\n");
	put("usr/share/polkit-1/actions/org.pmemlease1.policy", "");
	put("usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service", "");
	put("usr/lib/udev/rules.d/90-daxctl-device.rules", rule);
	put("usr/lib/udev/rules.d/50-other.rules", "# SUBSYSTEM==\"dax\", RUN+=\"x\"\n");
	put("run/libvirt/libvirt-sock", "");
	put_program("etc/libvirt/hooks/qemu.d/pmemlease", "");
	put_program("usr/bin/qemu-system-x86_64", qemu_new);
}

static int set_up(void **state)
{
	strcpy(dir, "/tmp/pmemlease-doctor-XXXXXX");
	assert_non_null(mkdtemp(dir));
	make_host();
	return 0;
}

static int tear_down(void **state)
{
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void look(Findings *l)
{
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	doctor_host(&(Root){.fd = fd, .path = dir}, l);
	assert_int_equal(l->r, 0);
}

static void dump(const Findings *l)
{
	for (size_t i = 0; i < l->n; i++)
		print_error("%s %s: %s\n", finding_level_to_string(l->items[i].level),
			l->items[i].check, l->items[i].text);
}

/* That there is a line of this level, with these words; and that nothing else is wrong. */
static void expect(FindingLevel level, const char *check, const char *words)
{
	_cleanup_findings_ Findings l = {};
	bool found = false;

	look(&l);
	for (size_t i = 0; i < l.n; i++) {
		const Finding *f = &l.items[i];
		bool same = strcmp(f->check, check) == 0;

		if (same && f->level == level && strstr(f->text, words)) {
			found = true;
			/* what is wrong has a mend */
			assert_true((level == FINDING_OK) == (f->mend[0] == '\0'));
		} else if (!same && f->level != FINDING_OK) {
			dump(&l);
			fail_msg("%s is not fine either", f->check);
		}
	}
	if (!found) {
		dump(&l);
		fail_msg("no %s %s: …%s…", finding_level_to_string(level), check, words);
	}
}

static void test_healthy(void **state)
{
	static const char *const checks[] = {"kernel.drivers", "kernel.revoke", "kernel.freezer",
		"kernel.kvm", "memory.auto-online", "udev", "iommu", "libvirt", "libvirt.hook",
		"qemu", "qemu.virtio-mem", "qemu.machine-check", "security", "permissions.devices",
		"permissions.group", "permissions.polkit"};
	_cleanup_findings_ Findings l = {};

	look(&l);
	assert_int_equal(l.n, ELEMENTSOF(checks));
	for (size_t i = 0; i < l.n; i++) {
		if (l.items[i].level != FINDING_OK) {
			dump(&l);
			fail_msg("not fine");
		}
		assert_string_equal(l.items[i].check, checks[i]);
	}
}

static void test_kernel(void **state)
{
	take("sys/bus/nd/drivers/dax_pmem");
	expect(FINDING_BAD, "kernel.drivers", "bound: dax_pmem.");
	put_dir("sys/bus/nd/drivers/dax_pmem");
	put("sys/bus/dax/devices/dax1.0/size", "");
	expect(FINDING_WARN, "kernel.revoke", "1 of 2 devices cannot be revoked");
	put("sys/bus/dax/devices/dax1.0/revoke", "");
	take("sys/fs/cgroup/system.slice/cgroup.freeze");
	expect(FINDING_BAD, "kernel.freezer", "no freezer");
	take("sys/fs/cgroup/cgroup.controllers");
	expect(FINDING_BAD, "kernel.freezer", "version 2");
}

static void test_kvm(void **state)
{
	take("dev/kvm");
	expect(FINDING_BAD, "kernel.kvm", "/dev/kvm");
}

static void test_memory(void **state)
{
	put("sys/devices/system/memory/auto_online_blocks", "online\n");
	expect(FINDING_WARN, "memory.auto-online", "policy online");
	put("sys/devices/system/memory/auto_online_blocks", "online_movable\n");
	/* memory of the host's own, in a zone that nothing leaves */
	take("sys/bus/dax/devices/dax0.0/driver");
	put_link("sys/bus/dax/devices/dax0.0/driver", "../../drivers/kmem");
	put("sys/bus/dax/devices/dax1.0/revoke", "");
	expect(FINDING_WARN, "memory.zone", "dax0.0 is memory of the host, and 1 of its blocks");
	put("sys/devices/system/node/node1/memory32/valid_zones", "Movable\n");
	put("sys/kernel/mm/numa/demotion_enabled", "true\n");
	expect(FINDING_WARN, "memory.demotion", "are not lent");
}

static void test_iommu(void **state)
{
	put_dir("sys/bus/pci/drivers/vfio-pci/0000:01:00.0");
	expect(FINDING_OK, "iommu", "1 devices are bound to vfio-pci");
	take("sys/class/iommu");
	expect(FINDING_OK, "iommu", "No IOMMU");
}

static void test_iommu_without_revoke(void **state)
{
	_cleanup_findings_ Findings l = {};
	bool found = false;

	take("sys/bus/dax/devices/dax0.0/revoke");
	put_dir("sys/bus/pci/drivers/vfio-pci/0000:01:00.0");
	look(&l);
	for (size_t i = 0; i < l.n; i++)
		found = found || (strcmp(l.items[i].check, "iommu") == 0 &&
					 l.items[i].level == FINDING_WARN &&
					 strstr(l.items[i].text, "is refused"));
	assert_true(found);
}

static void test_udev(void **state)
{
	put("etc/daxctl.conf.d/mine.conf",
		"[reconfigure-device other]\nnvdimm.uuid = 00000000-a2f0-4312-9e70-a837faafe862\n"
		"[reconfigure-device mine]\nnvdimm.uuid = " UUID "\nmode = system-ram\n");
	expect(FINDING_BAD, "udev", "/etc/daxctl.conf.d/mine.conf has daxctl bind the namespace");
	/* its unit masked: nothing comes of it */
	put_link("etc/systemd/system/daxdev-reconfigure@.service", "/dev/null");
	expect(FINDING_OK, "udev", "No udev rule");
	take("etc/systemd/system/daxdev-reconfigure@.service");
	/* or the rule hidden */
	put_link("etc/udev/rules.d/90-daxctl-device.rules", "/dev/null");
	expect(FINDING_OK, "udev", "No udev rule");
	put("run/udev/rules.d/99-mine.rules", "SUBSYSTEM==\"dax\", RUN+=\"/bin/bind-it\"\n");
	expect(FINDING_WARN, "udev", "/run/udev/rules.d/99-mine.rules runs something");
}

static void test_libvirt(void **state)
{
	put("run/libvirt/virtqemud-sock", "");
	expect(FINDING_OK, "libvirt", "virtqemud");
	put("run/libvirtd.pid", "1");
	expect(FINDING_WARN, "libvirt", "both run");
	take("run");
	expect(FINDING_BAD, "libvirt", "sockets are not there");
}

static void test_hook(void **state)
{
	chmod(full("etc/libvirt/hooks/qemu.d/pmemlease"), 0644);
	expect(FINDING_BAD, "libvirt.hook", "not executable");
	take("etc/libvirt/hooks/qemu.d");
	expect(FINDING_WARN, "libvirt.hook", "has no hook");
	put_program("etc/libvirt/hooks/qemu", "#!/bin/sh\nexec pmemlease-hook\n");
	expect(FINDING_OK, "libvirt.hook", "/etc/libvirt/hooks/qemu)");
}

static void test_qemu(void **state)
{
	_cleanup_findings_ Findings l = {};

	put_program("usr/bin/qemu-system-x86_64", qemu_old);
	put("proc/cpuinfo", "vendor_id\t: GenuineIntel\n");
	expect(FINDING_WARN, "qemu", "no virtio-pmem");
	put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\n");
	look(&l);
	assert_int_equal(l.n, 16);
	take("usr/bin/qemu-system-x86_64");
	expect(FINDING_BAD, "qemu", "not installed");
}

static void test_qemu_virtio_mem(void **state)
{
	expect(FINDING_OK, "qemu.virtio-mem", "10.0.2 has virtio-mem, and can unplug it");
	put("proc/cpuinfo", "vendor_id\t: GenuineIntel\n");
	put_program("usr/bin/qemu-system-x86_64",
		"#!/bin/sh\n[ $1 != --version ] || echo QEMU emulator version 8.0.5\n");
	expect(FINDING_WARN, "qemu.virtio-mem", "8.0.5 cannot unplug a virtio-mem");
	put_program("usr/bin/qemu-system-x86_64",
		"#!/bin/sh\n[ $1 != --version ] || echo QEMU emulator version 9.0.0\n"
		"[ \"$2\" != virtio-mem-pci,help ]\n");
	expect(FINDING_WARN, "qemu.virtio-mem", "no virtio-mem");
}

static void test_qemu_machine_check(void **state)
{
	put_program("usr/bin/qemu-system-x86_64",
		"#!/bin/sh\n[ $1 != --version ] || echo QEMU emulator version 9.0.0\n");
	expect(FINDING_WARN, "qemu.machine-check", "QEMU 9.0.0 knows neither succor");
	put("proc/cpuinfo", "vendor_id\t: GenuineIntel\n");
	expect(FINDING_OK, "qemu.machine-check", "can recover");
}

static void test_security(void **state)
{
	put("sys/fs/selinux/enforce", "1");
	expect(FINDING_OK, "security", "SELinux is enforcing");
	put("sys/fs/selinux/enforce", "0");
	expect(FINDING_OK, "security", "AppArmor");
	put("sys/module/apparmor/parameters/enabled", "N\n");
	expect(FINDING_WARN, "security", "SELinux is permissive");
}

static void test_permissions(void **state)
{
	chmod(full("dev/dax0.0"), 0666);
	expect(FINDING_BAD, "permissions.devices", "/dev/dax0.0 can be opened by everybody");
	chmod(full("dev/dax0.0"), 0660);
	expect(FINDING_WARN, "permissions.devices", "by a group");
	chmod(full("dev/dax0.0"), 0600);
	put("etc/group", "root:x:0:\nxpmemlease:x:1:\n");
	expect(FINDING_WARN, "permissions.group", "no group");
}

static void test_polkit(void **state)
{
	take("usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service");
	expect(FINDING_WARN, "permissions.polkit", "not installed");
	take("usr/share/polkit-1");
	expect(FINDING_BAD, "permissions.polkit", "does not know");
}

/* Nothing there at all: it says so, and does not stumble. */
static void test_empty(void **state)
{
	_cleanup_findings_ Findings l = {};
	size_t bad = 0;

	take("sys");
	take("etc");
	take("usr");
	take("run");
	take("dev");
	take("proc");
	look(&l);
	for (size_t i = 0; i < l.n; i++)
		bad += l.items[i].level == FINDING_BAD;
	assert_int_equal(bad, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_healthy),
		T(test_kernel),
		T(test_kvm),
		T(test_memory),
		T(test_iommu),
		T(test_iommu_without_revoke),
		T(test_udev),
		T(test_libvirt),
		T(test_hook),
		T(test_qemu),
		T(test_qemu_virtio_mem),
		T(test_qemu_machine_check),
		T(test_security),
		T(test_permissions),
		T(test_polkit),
		T(test_empty),
	};

	return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <sys/statvfs.h>

#include "diagnose.h"
#include "machine-check.h"
#include "names.h"
#include "process.h"

#define SPACE_BAD_BYTES	 (16 * MIB)
#define SPACE_WARN_BYTES (256 * MIB)

static void check_confined(int pid_fd, const char *name, Findings *l)
{
	_cleanup_close_ int attr_fd = openat(pid_fd, "attr", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char label[512];

	/* EINVAL: no security module has labels here, of which the command has a line */
	if (attr_fd < 0 || process_read_at(attr_fd, "current", label, sizeof(label)) <= 0)
		return;
	label[strcspn(label, "\n")] = '\0';
	pml_make_printable(label);
	/* AppArmor writes "libvirt-UUID (enforce)"; SELinux a context of libvirt's type */
	if (strstr(label, "(enforce)") || strstr(label, ":svirt_"))
		finding_add(l, FINDING_OK, "machine.confined", NULL, "Machine %s is confined (%s).",
			name, label);
	else
		finding_add(l, FINDING_WARN, "machine.confined",
			"Set security_driver in /etc/libvirt/qemu.conf, have the profile enforced "
			"(aa-enforce), and start the machine anew.",
			"Machine %s is not confined (%s).", name, label);
}

static void check_recovery(int proc_fd, int pid_fd, const char *name, Findings *l)
{
	int r = machine_check_recovers(proc_fd, pid_fd);

	if (r > 0)
		finding_add(l, FINDING_OK, "machine.recovery", NULL,
			"Machine %s can recover from a machine check.", name);
	else if (r == 0)
		finding_add(l, FINDING_WARN, "machine.recovery", MACHINE_CHECK_MEND,
			"Machine %s: " MACHINE_CHECK_PANICS, name);
}

void diagnose_machine(int proc_fd, const DiagnoseMachine *m, Findings *l)
{
	_cleanup_close_ int pid_fd = -EBADF;

	if (m->pid <= 0 || process_open(proc_fd, m->pid, m->start_ticks, &pid_fd) < 0)
		return;
	check_confined(pid_fd, m->name, l);
	check_recovery(proc_fd, pid_fd, m->name, l);
}

static void check_space(const struct statvfs *fs, Findings *l)
{
	uint64_t left = (uint64_t)fs->f_bavail * fs->f_frsize;
	FindingLevel level = left < SPACE_BAD_BYTES    ? FINDING_BAD
			     : left < SPACE_WARN_BYTES ? FINDING_WARN
						       : FINDING_OK;

	finding_add(l, level, "ledger.space",
		level == FINDING_OK ? NULL : "Make room on the file system of /var/lib/pmemlease.",
		"The ledger's file system has %" PRIu64 " MiB left%s.", (uint64_t)(left / MIB),
		level == FINDING_OK ? "" : ": when it is full, nothing new can be lent");
}

/* sqlite.org/fileformat.html: the user version is the big-endian number at offset 60. */
static unsigned schema_of(int dir_fd)
{
	_cleanup_close_ int fd = openat(dir_fd, PML_LEDGER_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	unsigned char v[4];

	if (fd < 0 || pread(fd, v, sizeof(v), 60) != sizeof(v))
		return 0;
	return (unsigned)v[0] << 24 | (unsigned)v[1] << 16 | (unsigned)v[2] << 8 | v[3];
}

void diagnose_ledger(int dir_fd, uint64_t checked_usec, Findings *l)
{
	time_t checked = (time_t)(checked_usec / USEC_PER_SEC);
	char when[64] = "never";
	struct statvfs fs;
	struct tm tm;

	if (checked_usec > 0 && gmtime_r(&checked, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &tm);
	if (fstatvfs(dir_fd, &fs) < 0) {
		finding_add(l, FINDING_BAD, "ledger", "Look at its disk.",
			"The ledger's file system does not answer: %s.", strerror(errno));
		return;
	}
	if (fs.f_flag & ST_RDONLY)
		finding_add(l, FINDING_BAD, "ledger",
			"Look at its disk (dmesg), and mount it for writing.",
			"The ledger's file system is read-only: nothing new can be lent, and fences "
			"are recorded when it is mended.");
	else if (faccessat(dir_fd, PML_LEDGER_FILE, R_OK | W_OK, AT_EACCESS) < 0)
		finding_add(l, FINDING_BAD, "ledger", "journalctl -u pmemleased has the reason.",
			"The ledger cannot be written: %s.", strerror(errno));
	else
		finding_add(l, FINDING_OK, "ledger", NULL,
			"The ledger can be written; schema %u, every row checked %s.",
			schema_of(dir_fd), when);
	check_space(&fs, l);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <poll.h>
#include <sys/syscall.h>

#include "ops-internal.h"
#include "process.h"
#include "util.h"

PmlTxn *op_txn_new(uint32_t uid)
{
	char actor[32];

	(void)snprintf(actor, sizeof(actor), "uid %u", uid);
	return pml_txn_new(actor);
}

PmlTxn *op_txn_new_job(const Job *job, bool own)
{
	return own || job->kind->internal ? op_txn_new_daemon() : op_txn_new(job->uid);
}

PmlTxn *op_txn_new_daemon(void)
{
	return pml_txn_new("daemon");
}

int op_memory(const Region *region, const PmlLeaseRecord *rec, VirtMemory *ret)
{
	const PmlRegion *host = region->host ? region->host : region->last;
	int r;

	*ret = (VirtMemory){};
	r = PML_STRCPY(ret->alias, rec->alias);
	if (r < 0 || !host)
		return r;
	r = PML_STRCPY(ret->path, pml_region_path(host) ? pml_region_path(host) : "");
	ret->size_bytes = pml_region_size_bytes(host);
	ret->align_bytes = pml_region_align_bytes(host);
	ret->block = pml_region_kind(host) == PML_KIND_BDEV;
	ret->ram = region_is_ram(region);
	ret->virtio_mem = rec->virtio_mem;
	ret->node = pml_region_target_node(host);
	/* The most that it can be: how much is free is known when it is looked at. */
	if (ret->ram)
		ret->size_bytes -= ret->size_bytes % PML_RAM_GRAIN_BYTES;
	return r;
}

void op_lease_stamp(const Region *region, PmlLeaseRecord *rec)
{
	const Manager *m = region->manager;
	const PmlRegion *host = region->host;

	/* The machine has the device that it was lent, whatever is there by now. */
	if (strcmp(rec->boot_id, m->boot_id) != 0) {
		rec->devno = 0;
		(void)PML_STRCPY(rec->boot_id, m->boot_id);
	}
	if (rec->devno == 0 && host && pml_region_kind(host) != PML_KIND_SYSRAM) {
		rec->devno = pml_region_devno(host);
		rec->dev_block = pml_region_kind(host) == PML_KIND_BDEV;
	}
}

static void on_scanned(void *data, int r)
{
	job_resume(data);
}

JobNext op_rescan(Job *job)
{
	int r = manager_rescan(job->manager, on_scanned, job);

	return r < 0 ? op_fail(job, r, "scan the host") : JOB_WAIT;
}

JobNext op_fail(Job *job, int r, const char *what)
{
	job_set_error(job, PML_ERROR_FAILED,
		"Could not %s: %s. Try again; the daemon's log has more.", what, strerror(-r));
	return JOB_FAIL;
}

int op_virt_error(OpError *err, int r, const char *domain, const char *why)
{
	why = why ? why : "libvirt gave no reason";
	switch (r) {
	case VIRT_NO_DOMAIN:
		return op_error(err, PML_ERROR_NO_SUCH_DOMAIN,
			"libvirt (qemu:///system) knows no domain \"%s\". `virsh list --all` shows those that there are; domains of "
			"qemu:///session are lent nothing.",
			domain);
	case VIRT_NOT_RUNNING:
		return op_error(err, PML_ERROR_DOMAIN_NOT_RUNNING,
			"Domain \"%s\" is not running. Start it, then lease again.", domain);
	case VIRT_UNSUITED:
		return op_error(err, PML_ERROR_DOMAIN_UNSUITED, "%s", why);
	case VIRT_NODE_UNKNOWN:
		return op_error(err, PML_ERROR_NODE_UNKNOWN, "%s", why);
	case VIRT_PINNED:
		return op_error(err, PML_ERROR_PINNED, "%s", why);
	case VIRT_BUSY:
		return op_error(err, PML_ERROR_BUSY, "%s", why);
	case VIRT_UNAVAILABLE:
		return op_error(err, PML_ERROR_NO_LIBVIRT,
			"libvirt does not answer (%s). Start libvirtd or virtqemud, then lease again.",
			why);
	case VIRT_AMBIGUOUS:
		return op_error(err, PML_ERROR_NO_LIBVIRT,
			"libvirt was lost while it attached the region (%s); the region is being taken back. Lease again when "
			"it is free.",
			why);
	}
	return op_error(err, PML_ERROR_FAILED, "libvirt refused: %s", why);
}

static int collect(Manager *m, const PmlProofRequest *req, PmlProof **ret)
{
	return m->prove ? m->prove(req, ret) : pml_proof_collect(req, ret);
}

int op_prove(Manager *m, PmlRegion *region, const char *rung, bool probe, uint64_t timeout_usec,
	PmlProof **ret)
{
	PmlProofRequest req = {
		.region = region,
		.dax = m->dax,
		.rung = rung,
		.probe = probe,
		.deadline_usec = pml_now_usec(CLOCK_MONOTONIC) + timeout_usec,
	};

	return collect(m, &req, ret);
}

int op_find_holders(
	Manager *m, PmlRegion *region, const char *domain, uint64_t timeout_usec, PmlProof **ret)
{
	PmlProofRequest req = {
		.region = region,
		.dax = m->dax,
		.once = true,
		/* libvirt src/qemu/qemu_command.c: -uuid */
		.argument = domain,
		.deadline_usec = pml_now_usec(CLOCK_MONOTONIC) + timeout_usec,
	};

	return collect(m, &req, ret);
}

int op_pidfd_open(pid_t pid, uint64_t start_ticks, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF, proc_fd = -EBADF, dir_fd = -EBADF;
	struct pollfd poll_fd;
	int r;

	if (pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0)
		return -errno;
	r = process_open(proc_fd, pid, start_ticks, &dir_fd);
	if (r < 0)
		return r;
	/* Had it ended before the start time was read, that may have been another process's. */
	poll_fd = (struct pollfd){.fd = fd, .events = POLLIN};
	if (poll(&poll_fd, 1, 0) != 0)
		return -ESRCH;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool op_process_alive(pid_t pid, uint64_t start_ticks)
{
	_cleanup_close_ int fd = -EBADF;

	return op_pidfd_open(pid, start_ticks, &fd) >= 0;
}

bool op_bytes_are_lent(const Region *region)
{
	const Lease *l;

	LIST_FOREACH (l, &region->manager->leases, leases)
		if (!l->gone && l->region != region &&
			pml_extent_overlaps(&l->record.extent, &region->extent))
			return true;
	return false;
}

int op_lift_refuse(const Region *region, OpError *err)
{
	const Lease *l;

	LIST_FOREACH (l, &region->manager->leases, leases)
		if (!l->gone && l->region != region &&
			pml_extent_overlaps(&l->record.extent, &region->extent))
			return op_error(err, PML_ERROR_BUSY,
				"Lease %s of region %s is %s, and covers some of these bytes. Lift the "
				"quarantine of %s: that ends the lease, too.",
				l->record.id, region_label(l->region),
				pml_lease_state_to_string(lease_state(l)), region_label(l->region));
	return 0;
}

static void stuck_suffix(char *buf, size_t size, const PmlLeaseRecord *rec)
{
	(void)snprintf(buf, size, " (lease %s)", rec->id);
}

void op_stuck_reason(char *buf, size_t size, const PmlLeaseRecord *rec, const char *what)
{
	char suffix[PML_ID_MAX + 16];

	stuck_suffix(suffix, sizeof(suffix), rec);
	(void)snprintf(buf, size, "%.*s", (int)(size - strlen(suffix) - 1), what);
	(void)strncat(buf, suffix, size - strlen(buf) - 1);
	pml_make_printable(buf);
}

bool op_quarantined_by(const Manager *m, const PmlLeaseRecord *rec)
{
	char suffix[PML_ID_MAX + 16];
	uint64_t covered = 0;

	stuck_suffix(suffix, sizeof(suffix), rec);
	for (size_t i = 0; i < m->n_extents; i++) {
		const PmlExtentRecord *x = &m->extents[i];
		uint64_t start = x->extent.start_bytes, end = pml_extent_end(&x->extent);
		size_t n = strlen(x->reason), k = strlen(suffix);

		if (!pml_extent_overlaps(&x->extent, &rec->extent))
			continue;
		if (x->use != PML_USE_QUARANTINED || n < k ||
			strcmp(x->reason + n - k, suffix) != 0)
			return false;
		if (start < rec->extent.start_bytes)
			start = rec->extent.start_bytes;
		if (end > pml_extent_end(&rec->extent))
			end = pml_extent_end(&rec->extent);
		covered += end - start;
	}
	return covered == rec->extent.size_bytes;
}

const char *op_span(char *buf, size_t size, uint64_t usec)
{
	if (usec < 60 * USEC_PER_SEC)
		(void)snprintf(buf, size, "%.1f s", (double)usec / (double)USEC_PER_SEC);
	else if (usec < 7200 * USEC_PER_SEC)
		(void)snprintf(buf, size, "%.0f min", (double)usec / (60.0 * (double)USEC_PER_SEC));
	else
		(void)snprintf(buf, size, "%.1f h", (double)usec / (3600.0 * (double)USEC_PER_SEC));
	return buf;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Memory of the host as a lease sees it: before, that nothing else is on its node; after, that what
 * QEMU has lies there, all of it. What is not present could not be found there later, when the host
 * has filled the node with something else.
 */

#include <inttypes.h>

#include "lease-job.h"
#include "ops-internal.h"
#include "util.h"

/* Pages that the kernel keeps ready for each processor are neither free nor anybody's. */
#define STRAY_BYTES ((uint64_t)2 * MIB)
/* So much is made present in any case, with room for a busy host. */
#define POPULATE_BYTES_PER_SEC (64 * MIB)

static int say(LeaseData *d, const char *format, ...) _printf_(2, 3);
static int say(LeaseData *d, const char *format, ...)
{
	va_list ap;
	int n;

	free(d->why);
	va_start(ap, format);
	n = vasprintf(&d->why, format, ap);
	va_end(ap);
	if (n >= 0)
		return 1;
	d->why = NULL;
	return -ENOMEM;
}

static int say_obstacle(LeaseData *d, uint32_t obstacles)
{
	const char *name = pml_region_name(d->host);

	for (int bit = 0; bit < _PML_OBSTACLE_BITS; bit++)
		if (obstacles & (1U << bit))
			return say(d, "Region %s cannot be leased: %s", name,
				pml_obstacle_explain((PmlObstacle)(1U << bit)));
	return 0;
}

static int say_users(LeaseData *d, const PmlRam *ram)
{
	const char *summary = "";

	d->proof = pml_proof_free(d->proof);
	if (op_find_holders(d->manager, d->host, NULL, d->proof_timeout_usec, &d->proof) >= 0 &&
		pml_proof_n_holders(d->proof) > 0)
		summary = pml_proof_summary(d->proof);
	return say(d,
		"Region %s has something of the host's on it: NUMA node %d holds %" PRIu64
		" KiB of processes, %" PRIu64 " KiB of page cache and %" PRIu64
		" KiB of the kernel's.%s%.300s End it (numactl --hardware and /proc/PID/numa_maps show it), or move it away "
		"(migratepages; daxctl offline-memory and online-memory), then lease again.",
		pml_region_name(d->host), ram->node, ram->anon_bytes / 1024, ram->file_bytes / 1024,
		ram->kernel_bytes / 1024, summary[0] ? " Bound to it: " : "", summary);
}

int lease_ram_look(LeaseData *d)
{
	PmlRam ram;
	int r;

	free(d->why);
	d->why = NULL;
	r = d->dax->ram ? d->dax->ram(d->dax->userdata, d->host, &ram) : -EOPNOTSUPP;
	if (r < 0)
		return r;
	r = say_obstacle(d, pml_ram_obstacles(&ram));
	if (r != 0)
		return r;
	if (ram.anon_bytes + ram.file_bytes + ram.kernel_bytes > STRAY_BYTES)
		return say_users(d, &ram);
	d->ram_bytes = pml_ram_usable_bytes(&ram);
	if (d->ram_bytes == 0)
		return say(d,
			"Region %s has %" PRIu64
			" MiB free on NUMA node %d, and a guest takes memory in blocks of %llu MiB, "
			"behind a reserve of the host's. Make a larger namespace.",
			pml_region_name(d->host), (uint64_t)(ram.free_bytes / MIB), ram.node,
			PML_RAM_GRAIN_BYTES / MIB);
	d->mem.size_bytes = d->ram_bytes;
	return 0;
}

int lease_ram_populate(LeaseData *d)
{
	uint64_t bytes = d->ram_bytes ? d->ram_bytes : pml_region_size_bytes(d->host);
	uint64_t present = 0, mapped = 0;
	const PmlHolder *h;
	size_t i;
	int r;

	r = d->dax->populate
		    ? d->dax->populate(d->dax->userdata, d->host, d->rec.vmm_pid, d->rec.vmm_start,
			      pml_now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC +
				      bytes / POPULATE_BYTES_PER_SEC * USEC_PER_SEC)
		    : -EOPNOTSUPP;
	if (r < 0)
		return r;
	d->proof = pml_proof_free(d->proof);
	r = op_find_holders(d->manager, d->host, d->rec.domain, d->proof_timeout_usec, &d->proof);
	if (r < 0)
		return r;
	pml_proof_foreach_holder (d->proof, i, h)
		if (h->pid == d->rec.vmm_pid && h->start_ticks == d->rec.vmm_start) {
			present = h->present_bytes;
			mapped = h->mapped_bytes;
		}
	d->mapped = mapped > 0 && present >= mapped;
	if (d->mapped)
		return 0;
	r = say(d,
		"Of %" PRIu64 " MiB that domain %s was given, %" PRIu64
		" MiB lie on NUMA node %d, where region %s is; the "
		"region is being taken back. Is the domain's <numatune> another one than strict?",
		(uint64_t)(mapped / MIB), d->rec.domain_name, (uint64_t)(present / MIB),
		pml_region_target_node(d->host), pml_region_name(d->host));
	return r < 0 ? r : 0;
}

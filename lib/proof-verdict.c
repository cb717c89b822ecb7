/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the evidence amounts to, and the sentence that says so to somebody who is woken by it. */

#include <inttypes.h>

#include "proof-internal.h"
#include "util.h"

#define SUMMARY_MAX_HOLDERS 8

static bool is_bound(const PmlProof *p)
{
	return !pml_streq(p->binding, "gone") &&
	       !pml_streq(p->binding, pml_binding_to_string(PML_BINDING_NONE));
}

/*
 * On a kernel that refuses the files of earlier bindings. In one that is over all files are such;
 * in one that lives each was tried, and what no process shows cannot be.
 */
static PmlProofVerdict judge_revoked(const PmlProof *p)
{
	bool over = p->revoke_state == PML_REVOKE_UNBOUND || p->revoke_state == PML_REVOKE_REVOKED;

	if (p->n_holders == 0 && p->unexplained_refs == 0)
		return PML_PROOF_CLEAR;
	if (over)
		return PML_PROOF_REVOKED;
	if (p->revoke_state != PML_REVOKE_LIVE || p->unexplained_refs != 0)
		return PML_PROOF_REACHABLE;
	for (size_t i = 0; i < p->n_holders; i++)
		if (p->holders[i].n_revoked <
			p->holders[i].n_descriptors + p->holders[i].n_mappings)
			return PML_PROOF_REACHABLE;
	return PML_PROOF_REVOKED;
}

/*
 * Everything that was not excluded counts against the region. The order is that of the header: what
 * could be reached first, then who is left, then what nobody explains.
 */
static PmlProofVerdict judge(const PmlProof *p)
{
	bool reached = p->mappings_left > 0;

	for (size_t i = 0; i < p->n_holders; i++)
		reached |= p->holders[i].n_probes_failed < p->holders[i].n_probes;
	/* Devices read and write the memory for whoever has these. */
	reached |= p->kernel_refs > 0 && p->kernel_refs != UINT64_MAX;
	/* The kernel gives it to whoever asks for memory. */
	reached |= p->ram_bytes > 0;
	if (!p->settled || p->n_denied > 0 || p->pages_unknown || p->probe_refused || reached)
		return PML_PROOF_REACHABLE;
	if (p->refuses)
		return judge_revoked(p);
	if (p->n_holders > 0)
		return is_bound(p) ? PML_PROOF_REACHABLE : PML_PROOF_UNREACHABLE;
	/* Mapped by somebody whom no process shows, or being read just now. */
	if (p->block)
		return p->cached_bytes == 0 || pml_streq(p->binding, "gone") ? PML_PROOF_CLEAR
									     : PML_PROOF_REACHABLE;
	if (p->unexplained_refs == 0)
		return PML_PROOF_CLEAR;
	/* Whoever receives a descriptor that is in flight can map it while the region is bound. */
	return is_bound(p) ? PML_PROOF_REACHABLE : PML_PROOF_UNEXPLAINED;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void say_holder(FILE *f, const PmlHolder *h)
{
	fprintf(f, "%s (pid %d%s%s): ", h->command, h->pid, h->unit[0] ? ", " : "", h->unit);
	if (h->n_mappings > 0)
		fprintf(f, "%u mapping%s, %" PRIu64 " bytes present", h->n_mappings,
			plural(h->n_mappings), h->present_bytes);
	if (h->n_descriptors > 0)
		fprintf(f, "%s%u descriptor%s", h->n_mappings > 0 ? ", " : "", h->n_descriptors,
			plural(h->n_descriptors));
}

static void say_holders(FILE *f, const PmlProof *p)
{
	unsigned n_probes = 0, n_failed = 0;

	fprintf(f, "held by ");
	for (size_t i = 0; i < p->n_holders; i++) {
		n_probes += p->holders[i].n_probes;
		n_failed += p->holders[i].n_probes_failed;
		if (i >= SUMMARY_MAX_HOLDERS)
			continue;
		fprintf(f, "%s", i > 0 ? ", and " : "");
		say_holder(f, &p->holders[i]);
	}
	if (p->n_holders > SUMMARY_MAX_HOLDERS)
		fprintf(f, ", and %zu more", p->n_holders - SUMMARY_MAX_HOLDERS);
	if (n_probes > 0)
		fprintf(f, "; %u of %u probe%s refused", n_failed, n_probes, plural(n_probes));
}

static void say_cache(FILE *f, const PmlProof *p)
{
	if (pml_streq(p->binding, "gone"))
		fprintf(f, "its device is gone");
	else if (p->cached_bytes == UINT64_MAX)
		fprintf(f, "its page cache could not be dropped");
	else
		fprintf(f, "%" PRIu64 " bytes of it are in the page cache", p->cached_bytes);
}

static void say_refs(FILE *f, const PmlProof *p)
{
	if (p->block) {
		say_cache(f, p);
		return;
	}
	if (p->module_refs == UINT64_MAX)
		fprintf(f, "module references cannot be counted");
	else if (p->unexplained_refs == UINT64_MAX)
		fprintf(f,
			"the count of %" PRIu64
			" module reference%s is less than the open files found",
			p->module_refs, plural(p->module_refs));
	else
		fprintf(f, "%" PRIu64 " of %" PRIu64 " module reference%s explained",
			p->module_refs - p->unexplained_refs, p->module_refs,
			plural(p->module_refs));
}

static void say_revocation(FILE *f, const PmlProof *p)
{
	if (p->kernel_refs > 0 && p->kernel_refs != UINT64_MAX)
		fprintf(f,
			"; the kernel holds %" PRIu64
			" reference%s on its memory for somebody (io_uring, VFIO, RDMA)",
			p->kernel_refs, plural(p->kernel_refs));
	else if (p->verdict == PML_PROOF_REVOKED)
		fprintf(f,
			"; what is left is of bindings that the kernel has ended, and gives no access ever again");
}

static void say_no_holder(FILE *f, const PmlProof *p)
{
	fprintf(f, "no process holds it");
	if (p->ram_bytes > 0) {
		fprintf(f,
			", but %" PRIu64
			" bytes of it are memory of the host: some page cannot be moved, "
			"or the kernel keeps the range until the next boot (dmesg tells)",
			p->ram_bytes);
		return;
	}
	if (pml_proof_frees(p->verdict) || !p->settled || p->block)
		return;
	if (p->module_refs == UINT64_MAX || p->unexplained_refs == UINT64_MAX)
		fprintf(f,
			", but a descriptor in flight over a socket or registered in io_uring cannot be "
			"excluded on this kernel: run one with device_dax as a module, or reboot");
	else if (p->unexplained_refs > 0)
		fprintf(f,
			", but some descriptor is in flight over a socket, registered in io_uring, or is of "
			"another region and cannot be told apart: it must be closed first");
}

static int say(FILE *f, const PmlProof *p)
{
	if (!p->settled)
		fprintf(f, "could not be settled before the deadline; ");
	if (p->n_denied > 0)
		fprintf(f, "%u of %u processes could not be looked into; ", p->n_denied,
			p->n_processes);
	if (p->pages_unknown || p->probe_refused)
		fprintf(f, "some mapping could not be examined; ");
	if (p->n_holders > 0)
		say_holders(f, p);
	else
		say_no_holder(f, p);
	fprintf(f, "; ");
	say_refs(f, p);
	say_revocation(f, p);
	return ferror(f) ? -ENOMEM : 0;
}

int proof_conclude(PmlProof *p)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *f;
	int r;

	p->verdict = judge(p);
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	r = say(f, p);
	if (fclose(f) != 0 || r < 0)
		return -ENOMEM;
	free(p->summary);
	p->summary = TAKE_PTR(text);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Collecting the evidence, in the order that makes it evidence; and what others see of it. */

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "proof-internal.h"
#include "ram-internal.h"
#include "util.h"

static const char *const pml_proof_verdict_table[_PML_PROOF_VERDICT_MAX] = {
	[PML_PROOF_CLEAR] = "clear",
	[PML_PROOF_REVOKED] = "revoked",
	[PML_PROOF_UNREACHABLE] = "unreachable",
	[PML_PROOF_UNEXPLAINED] = "unexplained",
	[PML_PROOF_REACHABLE] = "reachable",
};

DEFINE_STRING_TABLE(pml_proof_verdict, PmlProofVerdict)
DEFINE_CLEANUP(PmlProof *, pml_proof_free)

#define REFS_UNKNOWN UINT64_MAX

/* What one round found besides holders. */
typedef struct Evidence {
	const PmlProofRequest *req;
	dev_t devno;
	int refs_error; /* why the module's references are unknown, 0: known */
	uint64_t refs;
	uint64_t per_file;
	PmlBinding binding;
	bool gone;
	uint64_t try_bytes; /* how much of a descriptor is tried to be mapped */
	bool refuses;	    /* revocation is what the kernel says of the binding */
	PmlRevocation revocation;
} Evidence;

PmlProof *proof_new(void)
{
	PmlProof *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->verdict = PML_PROOF_REACHABLE;
	p->module_refs = p->unexplained_refs = p->cached_bytes = p->kernel_refs = REFS_UNKNOWN;
	p->blind_spots = calloc(1, sizeof(*p->blind_spots));
	return p->blind_spots ? p : pml_proof_free(p);
}

static void drop_holders(PmlProof *p)
{
	for (size_t i = 0; i < p->n_holders; i++) {
		PmlHolder *h = &p->holders[i];

		free((char *)h->command);
		free((char *)h->cgroup);
		free((char *)h->unit);
		closep(&h->pidfd);
	}
	free(p->holders);
	p->holders = NULL;
	p->n_holders = 0;
	p->mappings_left = 0;
	p->pages_unknown = p->probe_refused = false;
}

PmlProof *pml_proof_free(PmlProof *p)
{
	if (!p)
		return NULL;
	drop_holders(p);
	for (size_t i = 0; i < p->n_blind_spots; i++)
		free(p->blind_spots[i]);
	free(p->blind_spots);
	free(p->region);
	free(p->rung);
	free(p->binding);
	free(p->summary);
	free(p);
	return NULL;
}

int proof_add_blind_spot(PmlProof *p, const char *format, ...)
{
	char *sentence, **spots;
	va_list ap;
	int r;

	va_start(ap, format);
	r = vasprintf(&sentence, format, ap);
	va_end(ap);
	if (r < 0)
		return -ENOMEM;
	spots = reallocarray(p->blind_spots, p->n_blind_spots + 2, sizeof(*spots));
	if (!spots) {
		free(sentence);
		return -ENOMEM;
	}
	p->blind_spots = spots;
	spots[p->n_blind_spots++] = sentence;
	spots[p->n_blind_spots] = NULL;
	return 0;
}

/* The path of the unified hierarchy, or "". */
static char *read_cgroup(int dir_fd)
{
	_cleanup_close_ int fd = openat(dir_fd, "cgroup", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	f = fd < 0 ? NULL : fdopen(fd, "re");
	if (!f)
		return strdup("");
	(void)TAKE_FD(fd);
	while (getline(&line, &size, f) > 0) {
		if (strncmp(line, "0::", 3) != 0)
			continue;
		line[strcspn(line, "\n")] = 0;
		pml_make_printable(line);
		return strdup(line + 3);
	}
	return strdup("");
}

static bool is_unit(const char *s, size_t n)
{
	static const char *const suffixes[] = {
		".scope", ".service", ".socket", ".mount", ".swap", ".slice"};

	for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
		size_t m = strlen(suffixes[i]);

		if (n > m && memcmp(s + n - m, suffixes[i], m) == 0)
			return true;
	}
	return false;
}

static char *unit_of_cgroup(const char *cgroup)
{
	size_t end = strlen(cgroup);

	while (end > 0) {
		size_t start = end;

		while (start > 0 && cgroup[start - 1] != '/')
			start--;
		if (is_unit(cgroup + start, end - start))
			return strndup(cgroup + start, end - start);
		end = start > 0 ? start - 1 : 0;
	}
	return strdup("");
}

static int examine_mapping(PmlProof *p, Evidence *e, int dir_fd, const ProofFile *f, PmlHolder *h)
{
	unsigned tried, failed;
	uint64_t present;
	int r;

	h->n_mappings++;
	h->mapped_bytes += f->vm_end - f->vm_start;
	r = proof_present_bytes(dir_fd, f->pid, f, e->req->deadline_usec, &present);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		p->pages_unknown = true;
	} else {
		h->present_bytes += present;
		p->mappings_left += present > 0;
	}
	/* In a binding that lives, only trying tells a mapping of an earlier one. */
	if (!e->req->probe && !e->refuses)
		return 0;
	tried = h->n_probes, failed = h->n_probes_failed;
	r = proof_probe(f, h);
	if (r < 0 && r != -ESRCH)
		p->probe_refused = true;
	/* What its own protection forbids to be read may be opened to it again. */
	if (e->refuses && f->readable && r == 0 &&
		h->n_probes - tried == h->n_probes_failed - failed)
		h->n_revoked++;
	return 0;
}

/*
 * One holder from its entries of the pass. 1: it has ended meanwhile and is none. The pidfd is
 * opened between two looks at the same /proc directory: if that process still lives at the second,
 * the pid was its own.
 */
static int examine_holder(PmlProof *p, Evidence *e, const ProofFile *files, size_t n, PmlHolder *h)
{
	_cleanup_close_ int dir_fd = -EBADF;
	char path[32];
	ProofStat st;
	int r;

	*h = (PmlHolder){.pid = files[0].pid, .start_ticks = files[0].start_ticks, .pidfd = -EBADF};
	(void)snprintf(path, sizeof(path), "/proc/%d", h->pid);
	dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return errno == ENOENT ? 1 : -errno;
	r = proof_read_stat(dir_fd, &st);
	if (r < 0)
		return r == -ESRCH ? 1 : r;
	if (st.start_ticks != h->start_ticks)
		return 1;
	h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0U);
	if (h->pidfd < 0)
		return errno == ESRCH ? 1 : -errno;
	for (size_t i = 0; i < n; i++) {
		if (files[i].fd >= 0) {
			h->n_descriptors++;
			h->n_revoked += e->refuses &&
					proof_descriptor_is_dead(&files[i], h->pidfd, e->try_bytes);
			continue;
		}
		r = examine_mapping(p, e, dir_fd, &files[i], h);
		if (r < 0)
			return r;
	}
	h->command = strdup(st.comm);
	h->cgroup = read_cgroup(dir_fd);
	h->unit = h->cgroup ? unit_of_cgroup(h->cgroup) : NULL;
	if (!h->command || !h->cgroup || !h->unit)
		return -ENOMEM;
	r = proof_read_stat(dir_fd, &st);
	return r == -ESRCH ? 1 : r;
}

static int examine_holders(PmlProof *p, Evidence *e, const ProofPass *pass)
{
	size_t n_own = 0;
	int r;

	drop_holders(p);
	for (size_t i = 0; i < pass->n_files; i++)
		n_own += pass->files[i].rdev == e->devno;
	if (n_own == 0)
		return 0;
	p->holders = calloc(n_own, sizeof(*p->holders));
	_cleanup_free_ ProofFile *own = calloc(n_own, sizeof(*own));
	if (!p->holders || !own)
		return -ENOMEM;
	n_own = 0;
	for (size_t i = 0; i < pass->n_files; i++)
		if (pass->files[i].rdev == e->devno)
			own[n_own++] = pass->files[i];
	for (size_t i = 0, n; i < n_own; i += n) {
		for (n = 1; i + n < n_own && own[i + n].pid == own[i].pid; n++)
			;
		/* Counted before it is filled, so that what a failure leaves is freed with the
		 * others. */
		r = examine_holder(p, e, own + i, n, &p->holders[p->n_holders++]);
		if (r < 0)
			return r;
		if (r > 0) {
			PmlHolder *h = &p->holders[--p->n_holders];

			free((char *)h->command);
			free((char *)h->cgroup);
			free((char *)h->unit);
			closep(&h->pidfd);
		}
	}
	return 0;
}

/* Behind those that have a file of it: who has memory bound to its node. */
static int examine_ram_user(PmlProof *p, const PmlRamUser *u)
{
	PmlHolder *bigger = reallocarray(p->holders, p->n_holders + 1, sizeof(*bigger)), *h;
	_cleanup_close_ int dir_fd = -EBADF;
	char path[32];
	ProofStat st;

	if (!bigger)
		return -ENOMEM;
	p->holders = bigger;
	(void)snprintf(path, sizeof(path), "/proc/%d", (int)u->pid);
	dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || proof_read_stat(dir_fd, &st) < 0 || st.start_ticks != u->start_ticks)
		return 0;
	h = &p->holders[p->n_holders++];
	*h = (PmlHolder){.pid = u->pid,
		.start_ticks = u->start_ticks,
		.n_mappings = u->n_mappings,
		.mapped_bytes = u->mapped_bytes,
		.present_bytes = u->present_bytes,
		.pidfd = (int)syscall(SYS_pidfd_open, u->pid, 0U)};
	p->mappings_left += u->present_bytes > 0;
	h->command = strdup(st.comm);
	h->cgroup = read_cgroup(dir_fd);
	h->unit = h->cgroup ? unit_of_cgroup(h->cgroup) : NULL;
	return h->command && h->cgroup && h->unit ? 0 : -ENOMEM;
}

static int examine_ram(PmlProof *p, const Evidence *e)
{
	const PmlProofRequest *req = e->req;
	_cleanup_free_ PmlRamUser *users = NULL;
	unsigned n_denied = 0;
	size_t n = 0;
	PmlRam ram;
	int r;

	p->ram_bytes = 0;
	if (p->block || e->binding == PML_BINDING_DEVICE_DAX || !req->dax->ram ||
		req->dax->ram(req->dax->userdata, req->region, &ram) < 0 || ram.n_blocks == 0)
		return 0;
	p->ram_bytes = ram.n_blocks * ram.block_bytes;
	r = ram_users("/proc", ram.node, req->once ? req->argument : NULL, req->deadline_usec,
		&users, &n, &n_denied);
	/* Some process could not be looked into, in time or at all. */
	if ((r < 0 && r != -ENOMEM) || n_denied > 0)
		p->pages_unknown = true;
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = examine_ram_user(p, &users[i]);
	return r == -ENOMEM ? r : 0;
}

static int read_binding(Evidence *e)
{
	PmlBinding binding;
	int r = e->req->dax->binding(e->req->dax->userdata, e->req->region, &binding);

	/* The number of a block device that has gone is soon another's; the old one is gone then.
	 */
	if (r == -ESTALE && pml_region_kind(e->req->region) == PML_KIND_BDEV)
		r = -ENODEV;
	if (r < 0 && r != -ENODEV)
		return r;
	e->gone = r == -ENODEV;
	e->binding = r < 0 ? PML_BINDING_NONE : binding;
	return 0;
}

/*
 * Of a block device no reference tells of what no process shows; but a page of its cache that some
 * mapping leads to cannot be dropped, whoever made that mapping.
 */
static void drop_cache(PmlProof *p, const Evidence *e)
{
	const PmlDaxOps *dax = e->req->dax;
	uint64_t left = 0;
	int r;

	if (!p->block || e->req->once)
		return;
	r = dax->drop_cache ? dax->drop_cache(dax->userdata, e->req->region, &left) : -EOPNOTSUPP;
	if (r < 0 && !e->gone)
		pml_debug("the page cache could not be dropped: %s", strerrordesc_np(-r));
	p->cached_bytes = r < 0 ? REFS_UNKNOWN : left;
}

static void read_refs(Evidence *e)
{
	const PmlDaxOps *dax = e->req->dax;
	uint64_t refs = 0, per_file = 0;
	int r = -EOPNOTSUPP;

	if (dax->module_refs && pml_region_kind(e->req->region) != PML_KIND_BDEV)
		r = dax->module_refs(dax->userdata, &refs, &per_file);
	e->refs_error = r < 0 ? r : 0;
	e->refs = r < 0 ? REFS_UNKNOWN : refs;
	e->per_file = per_file;
}

/* Where it cannot be said, nothing is taken for refused. */
static void read_revocation(Evidence *e)
{
	const PmlDaxOps *dax = e->req->dax;

	e->revocation = (PmlRevocation){};
	/* Of one machine only what it has mapped is asked, and nothing is tried. */
	e->refuses = !e->gone && dax->revocation && !e->req->argument &&
		     pml_region_kind(e->req->region) == PML_KIND_DEVDAX &&
		     dax->revocation(dax->userdata, e->req->region, &e->revocation) == 0;
}

static bool same_revocation(const Evidence *a, const Evidence *b)
{
	return a->refuses == b->refuses && a->revocation.generation == b->revocation.generation &&
	       a->revocation.state == b->revocation.state &&
	       (a->revocation.held > 0) == (b->revocation.held > 0);
}

static void explain_refs(PmlProof *p, const Evidence *e, const ProofPass *pass)
{
	uint64_t n, explained;

	p->module_refs = e->refs;
	p->unexplained_refs = REFS_UNKNOWN;
	if (e->refs == REFS_UNKNOWN)
		return;
	n = proof_distinct_files(pass, e->devno, true) +
	    proof_distinct_files(pass, e->devno, false);
	if (__builtin_mul_overflow(n, e->per_file, &explained))
		return;
	/* More files than references: the kernel counts otherwise than is thought, so the count
	 * proves nothing. */
	if (explained <= e->refs)
		p->unexplained_refs = e->refs - explained;
}

/* Takes *pass's place; on failure it is NULL. */
static int look(const Evidence *e, const ProofHooks *hooks, ProofPass **pass)
{
	const PmlProofRequest *req = e->req;
	int r;

	*pass = proof_pass_unref(*pass);
	if (!hooks && !req->once && major(e->devno) == proof_dax_major())
		return proof_scan_shared(NULL, req->deadline_usec, pass);
	*pass = proof_pass_new();
	if (!*pass)
		return -ENOMEM;
	(*pass)->maps_only = req->once && req->argument;
	(*pass)->argument = req->once ? req->argument : NULL;
	r = proof_scan(hooks, e->devno, req->deadline_usec, *pass);
	if (r < 0)
		*pass = proof_pass_unref(*pass);
	return r;
}

/*
 * Scan, examine, scan again: what was examined is evidence only if the scans before and after saw
 * the same files, and the module's count and the binding did not move.
 */
static int collect_rounds(PmlProof *p, Evidence *e, const ProofHooks *hooks)
{
	ProofPass *before = NULL, *after = NULL;
	int r;

	r = read_binding(e);
	read_refs(e);
	read_revocation(e);
	if (r == 0)
		r = look(e, hooks, &before);
	while (r == 0) {
		Evidence first = *e;

		r = examine_holders(p, e, before);
		if (r == 0)
			r = examine_ram(p, e);
		if (r < 0)
			break;
		explain_refs(p, e, before);
		drop_cache(p, e);
		p->n_processes = before->n_processes;
		p->n_denied = before->n_denied;
		if (before->overtaken || e->req->once)
			break;
		r = look(e, hooks, &after);
		if (r < 0)
			break;
		r = read_binding(e);
		if (r < 0)
			break;
		read_refs(e);
		read_revocation(e);
		/* -EAGAIN: the module is just being loaded or unloaded. */
		p->settled = proof_pass_equal(before, after) && first.refs == e->refs &&
			     e->refs_error != -EAGAIN && first.binding == e->binding &&
			     first.gone == e->gone && same_revocation(&first, e);
		if (p->settled || after->overtaken ||
			pml_now_usec(CLOCK_MONOTONIC) >= e->req->deadline_usec)
			break;
		ProofPass *swap = before;
		before = after;
		after = swap;
	}
	proof_pass_unref(before);
	proof_pass_unref(after);
	return r;
}

static int name_block_blind_spots(PmlProof *p)
{
	int r;

	r = proof_add_blind_spot(p,
		"Descriptors of a block device in flight over sockets or registered in io_uring are not counted "
		"by this kernel; what is left of the page cache shows those that have a page mapped.");
	if (r == 0)
		r = proof_add_blind_spot(p,
			"Other ways to the same bytes are not looked at: the disk that a partition lies on, the "
			"file behind a loop device.");
	return r;
}

static int name_refs_blind_spots(PmlProof *p, const Evidence *e)
{
	int r = 0;

	if (e->refs_error == -EOPNOTSUPP)
		r = proof_add_blind_spot(p,
			"The references of device_dax cannot be counted because it is built into this kernel, so "
			"descriptors in flight over sockets or registered in io_uring cannot be excluded; "
			"boot a kernel that has device_dax as a module.");
	else if (e->refs_error < 0)
		r = proof_add_blind_spot(p,
			"The references of the device_dax module could not be read (%s), so descriptors in flight "
			"over sockets or registered in io_uring cannot be excluded.",
			strerrordesc_np(-e->refs_error));
	else if (p->unexplained_refs == REFS_UNKNOWN)
		r = proof_add_blind_spot(p,
			"More open files were found than the device_dax module has references, so its count "
			"explains nothing on this kernel.");
	return r;
}

static int name_blind_spots(PmlProof *p, const Evidence *e)
{
	const PmlProofRequest *req = e->req;
	int r = 0;

	if (p->kernel_refs == REFS_UNKNOWN)
		r = proof_add_blind_spot(p,
			"Pages that the kernel itself holds for long (io_uring registered buffers, VFIO, RDMA) need neither "
			"a process nor an open file, and this kernel does not tell of them.");
	if (r == 0)
		r = p->block ? name_block_blind_spots(p) : name_refs_blind_spots(p, e);
	if (r == 0 && p->n_denied > 0)
		r = proof_add_blind_spot(p,
			"%u of %u processes could not be looked into; this wants CAP_SYS_PTRACE, CAP_SYS_ADMIN and "
			"the host's own /proc.",
			p->n_denied, p->n_processes);
	if (r == 0 && p->pages_unknown)
		r = proof_add_blind_spot(
			p, "The page tables of some mapping could not be read to the end.");
	if (r == 0 && p->probe_refused)
		r = proof_add_blind_spot(p, "Some mapping could not be probed from outside.");
	/* Linux mm/pagewalk.c walk_pud_range() splits the entry, which for device-dax unmaps it. */
	if (r == 0 && pml_region_align_bytes(req->region) >= 1ULL << 30)
		r = proof_add_blind_spot(p,
			"Counting present pages itself unmaps entries of 1 GiB, so for this region only the probes say "
			"whether a mapping still leads to memory.");
	if (r == 0 && !p->settled && req->once)
		r = proof_add_blind_spot(
			p, "It was looked once: this says who was seen to have it, and no more.");
	else if (r == 0 && !p->settled)
		r = proof_add_blind_spot(
			p, "Processes or references were still changing when the deadline passed.");
	return r;
}

int proof_collect_with(const PmlProofRequest *req, const ProofHooks *hooks, PmlProof **ret)
{
	Evidence e = {
		.req = req,
		.devno = pml_region_devno(req->region),
		.try_bytes = pml_region_align_bytes(req->region),
	};
	_cleanup_(pml_proof_freep) PmlProof *p = NULL;
	const char *binding;
	int r;

	if (e.devno == 0)
		return -ENODATA;
	p = proof_new();
	if (!p)
		return -ENOMEM;
	p->block = pml_region_kind(req->region) == PML_KIND_BDEV;
	r = collect_rounds(p, &e, hooks);
	if (r < 0)
		return r;
	p->refuses = e.refuses;
	p->generation = e.revocation.generation;
	p->revoke_state = e.revocation.state;
	/* Counted by the kernel once a binding is over, not while it lives. */
	if (e.refuses && e.revocation.state != PML_REVOKE_LIVE)
		p->kernel_refs = e.revocation.held;
	p->realtime_usec = pml_now_usec(CLOCK_REALTIME);
	binding = e.gone ? "gone" : pml_binding_to_string(e.binding);
	p->region = strdup(pml_region_id(req->region));
	p->rung = strdup(req->rung ? req->rung : "none");
	p->binding = strdup(binding ? binding : "other");
	if (!p->region || !p->rung || !p->binding)
		return -ENOMEM;
	r = name_blind_spots(p, &e);
	if (r == 0)
		r = proof_conclude(p);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

int pml_proof_collect(const PmlProofRequest *req, PmlProof **ret)
{
	static const ProofHooks block = {.private_mappings = true, .block = true};

	return proof_collect_with(
		req, pml_region_kind(req->region) == PML_KIND_BDEV ? &block : NULL, ret);
}

PmlProofVerdict pml_proof_verdict(const PmlProof *p)
{
	return p->verdict;
}

const char *pml_proof_rung(const PmlProof *p)
{
	return p->rung;
}

size_t pml_proof_n_holders(const PmlProof *p)
{
	return p->n_holders;
}

const PmlHolder *pml_proof_holder(const PmlProof *p, size_t i)
{
	return i < p->n_holders ? &p->holders[i] : NULL;
}

unsigned pml_proof_mappings_left(const PmlProof *p)
{
	return p->mappings_left;
}

uint64_t pml_proof_module_refs(const PmlProof *p)
{
	return p->module_refs;
}

bool pml_proof_settled(const PmlProof *p)
{
	return p->settled;
}

uint64_t pml_proof_unexplained_refs(const PmlProof *p)
{
	return p->unexplained_refs;
}

uint64_t pml_proof_kernel_refs(const PmlProof *p)
{
	return p->kernel_refs;
}

const char *const *pml_proof_blind_spots(const PmlProof *p)
{
	return (const char *const *)p->blind_spots;
}

const char *pml_proof_summary(const PmlProof *p)
{
	return p->summary;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <libpmem2.h>
#include <pthread.h>
#include <sys/mman.h>

#include "media-internal.h"
#include "util.h"

#define MEDIA_DEFAULT_THREADS	 8U
#define MEDIA_MAX_THREADS	 256U
#define MEDIA_REPORT_PERIOD_USEC (50 * USEC_PER_MSEC)

/* One phase over the whole mapping. Threads take the next chunk until none is left. */
typedef struct Run {
	const PmlMediaRequest *req;
	PmlMediaPhase phase;
	unsigned char *base;
	uint64_t size_bytes;
	pmem2_memset_fn memset_fn;
	pmem2_drain_fn drain_fn;
	atomic_uint_fast64_t next_bytes;
	atomic_uint_fast64_t done_bytes;
	atomic_uint_fast64_t not_zero; /* lowest offset found, UINT64_MAX: none */
	pthread_mutex_t report_lock;
	uint64_t reported_usec;
} Run;

/* Everything libpmem2 gave for one request. */
typedef struct Media {
	struct pmem2_source *source;
	struct pmem2_config *config;
	struct pmem2_map *map;
	unsigned char *base;
} Media;

/* libpmem2 returns negative errno, or codes of its own from -100000 down. */
static int errno_of_pmem2(int e)
{
	if (e > -100000)
		return e;
	switch (e) {
	case PMEM2_E_INVALID_FILE_HANDLE:
	case PMEM2_E_INVALID_FILE_TYPE:
	case PMEM2_E_INVALID_ALIGNMENT_VALUE:
	case PMEM2_E_INVALID_ALIGNMENT_FORMAT:
		return -EINVAL;
	case PMEM2_E_NOSUPP:
		return -EOPNOTSUPP;
	case PMEM2_E_MAP_RANGE:
	case PMEM2_E_SOURCE_EMPTY:
	case PMEM2_E_LENGTH_UNALIGNED:
		return -ESTALE; /* the device is not what it was when its size was read */
	default:
		/* Not one of our enums: whatever else a newer libpmem2 says. */
		return -EIO;
	}
}

static void lower_to(atomic_uint_fast64_t *a, uint64_t v)
{
	uint_fast64_t now = atomic_load(a);

	while (v < now && !atomic_compare_exchange_weak(a, &now, v))
		;
}

/* The end of a phase is reported by its caller, once, when every thread is done. */
static void report(Run *run)
{
	uint64_t now, done;

	if (!run->req->progress || pthread_mutex_trylock(&run->report_lock) != 0)
		return;
	now = pml_now_usec(CLOCK_MONOTONIC);
	done = atomic_load(&run->done_bytes);
	if (now - run->reported_usec >= MEDIA_REPORT_PERIOD_USEC && done < run->size_bytes) {
		run->reported_usec = now;
		run->req->progress(run->req->userdata, run->phase, done, run->size_bytes);
	}
	pthread_mutex_unlock(&run->report_lock);
}

static void *work(void *userdata)
{
	Run *run = userdata;

	for (;;) {
		uint64_t start = atomic_fetch_add(&run->next_bytes, MEDIA_CHUNK_BYTES), n, at;

		/*
		 * Chunks are given out in order, so all before the lowest offset that was found are
		 * in somebody's hands already, and those behind it need not be read.
		 */
		if (start >= run->size_bytes || start > atomic_load(&run->not_zero) ||
			media_cancelled(run->req))
			break;
		n = run->size_bytes - start < MEDIA_CHUNK_BYTES ? run->size_bytes - start
								: MEDIA_CHUNK_BYTES;
		if (run->phase == PML_MEDIA_SCRUB) {
			run->memset_fn(run->base + start, 0, n,
				PMEM2_F_MEM_NONTEMPORAL | PMEM2_F_MEM_NODRAIN);
		} else {
			at = media_find_not_zero(run->base + start, n);
			if (at < n)
				lower_to(&run->not_zero, start + at);
		}
		atomic_fetch_add(&run->done_bytes, n);
		report(run);
	}
	/* Non-temporal stores wait in this processor's buffers: each thread drains its own. */
	if (run->phase == PML_MEDIA_SCRUB)
		run->drain_fn();
	return NULL;
}

static unsigned count_threads(const PmlMediaRequest *req)
{
	uint64_t chunks = (req->size_bytes + MEDIA_CHUNK_BYTES - 1) / MEDIA_CHUNK_BYTES;
	unsigned n = req->n_threads;
	long cpus;

	if (n == 0) {
		cpus = sysconf(_SC_NPROCESSORS_ONLN);
		n = cpus < 1 ? 1 : (unsigned)cpus;
		if (n > MEDIA_DEFAULT_THREADS)
			n = MEDIA_DEFAULT_THREADS;
	}
	if (n > MEDIA_MAX_THREADS)
		n = MEDIA_MAX_THREADS;
	return chunks < n ? (unsigned)chunks : n;
}

/* 0, or an outcome of media.h; *ret_not_zero with PML_MEDIA_NOT_ZERO. */
static int run_phase(
	const PmlMediaRequest *req, const Media *m, PmlMediaPhase phase, uint64_t *ret_not_zero)
{
	pthread_t threads[MEDIA_MAX_THREADS];
	unsigned n = count_threads(req), started = 0;
	Run run = {
		.req = req,
		.phase = phase,
		.base = m->base,
		.size_bytes = req->size_bytes,
		.memset_fn = pmem2_get_memset_fn(m->map),
		.drain_fn = pmem2_get_drain_fn(m->map),
		.not_zero = UINT64_MAX,
		.report_lock = PTHREAD_MUTEX_INITIALIZER,
	};

	/* This thread works too, so a thread that cannot be made costs time only. */
	while (started + 1 < n && pthread_create(&threads[started], NULL, work, &run) == 0)
		started++;
	work(&run);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&run.report_lock);
	if (atomic_load(&run.not_zero) != UINT64_MAX) {
		*ret_not_zero = atomic_load(&run.not_zero);
		return PML_MEDIA_NOT_ZERO;
	}
	if (atomic_load(&run.done_bytes) < req->size_bytes)
		return PML_MEDIA_CANCELLED;
	if (req->progress)
		req->progress(req->userdata, phase, req->size_bytes, req->size_bytes);
	return 0;
}

static void media_done(Media *m)
{
	if (m->map)
		(void)pmem2_map_delete(&m->map);
	if (m->config)
		(void)pmem2_config_delete(&m->config);
	if (m->source)
		(void)pmem2_source_delete(&m->source);
}

static int media_map(const PmlMediaRequest *req, Media *m)
{
	size_t size = 0;
	int r;

	r = pmem2_source_from_fd(&m->source, req->fd);
	if (r == 0)
		r = pmem2_source_size(m->source, &size);
	if (r < 0)
		return errno_of_pmem2(r);
	if (size != req->size_bytes || size == 0)
		return -ESTALE;
	r = pmem2_config_new(&m->config);
	/* The coarsest that is accepted: device-dax gives a finer one by itself. */
	if (r == 0)
		r = pmem2_config_set_required_store_granularity(m->config, PMEM2_GRANULARITY_PAGE);
	if (r == 0 && !req->scrub)
		r = pmem2_config_set_protection(m->config, PMEM2_PROT_READ);
	if (r == 0)
		r = pmem2_map_new(&m->map, m->config, m->source);
	if (r < 0)
		return errno_of_pmem2(r);
	if (pmem2_map_get_size(m->map) != req->size_bytes)
		return -ESTALE;
	m->base = pmem2_map_get_address(m->map);
	/* A tenant's bytes do not belong in a core file or in a forked child. Some devices refuse
	 * it: no harm. */
	(void)madvise(m->base, size, MADV_DONTDUMP);
	(void)madvise(m->base, size, MADV_DONTFORK);
	return 0;
}

/*
 * Bad blocks that the kernel already knows. What has no such list (a file, memory without an NVDIMM
 * bus: hmem, CXL) is gone on with: reading back touches every byte, and a bad one is found there by
 * force.
 */
static int find_bad_block(const Media *m, PmlMediaResult *res)
{
	struct pmem2_badblock_context *context = NULL;
	struct pmem2_badblock bad;
	int r;

	r = pmem2_badblock_context_new(&context, m->source);
	if (r == PMEM2_E_NOSUPP || r == PMEM2_E_DAX_REGION_NOT_FOUND || r == -EOPNOTSUPP ||
		r == -ENOTTY || r == -ENODEV || r == -ENOENT) {
		pml_debug("no list of bad blocks: %d", r);
		return 0;
	}
	if (r < 0)
		return errno_of_pmem2(r);
	r = pmem2_badblock_next(context, &bad);
	pmem2_badblock_context_delete(&context);
	if (r == PMEM2_E_NO_BAD_BLOCK_FOUND)
		return 0;
	if (r < 0)
		return errno_of_pmem2(r);
	res->bad_offset_bytes = bad.offset;
	res->bad_size_bytes = bad.length;
	return PML_MEDIA_BAD_BLOCK;
}

/*
 * The stores are drained already; this reaches past the memory controller's queues, by the region's
 * deep_flush attribute. Device-dax without an NVDIMM region has none: then what was drained is as
 * far as software gets.
 */
static int flush_deeply(const PmlMediaRequest *req, const Media *m)
{
	int r = pmem2_deep_flush(m->map, m->base, req->size_bytes);

	if (r == PMEM2_E_NOSUPP || r == PMEM2_E_DAX_REGION_NOT_FOUND || r == -EOPNOTSUPP ||
		r == -ENOENT) {
		pml_debug("no deep flush: %d", r);
		pmem2_get_persist_fn(m->map)(m->base, req->size_bytes);
		return 0;
	}
	return errno_of_pmem2(r);
}

static int scrub(const PmlMediaRequest *req, const Media *m, PmlMediaResult *res)
{
	uint64_t begin, unused;
	int r;

	r = find_bad_block(m, res);
	if (r != 0)
		return r;
	begin = pml_now_usec(CLOCK_MONOTONIC);
	r = run_phase(req, m, PML_MEDIA_SCRUB, &unused);
	if (r == 0)
		r = flush_deeply(req, m);
	res->scrub_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	return r;
}

static int verify(const PmlMediaRequest *req, const Media *m, PmlMediaResult *res)
{
	uint64_t begin = pml_now_usec(CLOCK_MONOTONIC), at = 0;
	int r = run_phase(req, m, PML_MEDIA_VERIFY, &at);

	res->verify_usec = pml_now_usec(CLOCK_MONOTONIC) - begin;
	if (r == PML_MEDIA_NOT_ZERO) {
		res->bad_offset_bytes = at;
		res->bad_size_bytes = 1;
	}
	return r;
}

int pml_media_run(const PmlMediaRequest *req, PmlMediaResult *ret)
{
	PmlMediaResult res = {0};
	Media m = {0};
	int r;

	if (media_cancelled(req))
		return PML_MEDIA_CANCELLED;
	if (media_is_block(req->fd))
		return media_block_run(req, ret);
	r = media_map(req, &m);
	if (r == 0 && req->scrub)
		r = scrub(req, &m, &res);
	if (r == 0)
		r = verify(req, &m, &res);
	media_done(&m);
	if (r >= 0)
		*ret = res;
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the ledger's tests share: a ledger in a directory of its own, and short ways to fill it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>

#include "ledger-internal.h"
#include "names.h"

#define ISET	"iset:00c0ffee00c0ffee"
#define REGION	"11111111-0000-4000-8000-000000000001"
#define GIB	(1ULL << 30)
#define LEASE_A "aaaaaaaa-0000-4000-8000-000000000001"
#define LEASE_B "bbbbbbbb-0000-4000-8000-000000000002"

typedef struct Fixture {
	char dir[64];
	char path[96];
	PmlLedger *l;
} Fixture;

static inline _unused_ int fixture_setup_closed(void **state)
{
	Fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test-ledger-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/ledger.sqlite", f->dir);
	*state = f;
	return 0;
}

static inline _unused_ int fixture_setup(void **state)
{
	Fixture *f;

	fixture_setup_closed(state);
	f = *state;
	assert_int_equal(pml_ledger_open(f->path, &f->l, NULL), 0);
	return 0;
}

static inline _unused_ int fixture_teardown(void **state)
{
	Fixture *f = *state;
	struct dirent *e;
	DIR *d;

	pml_ledger_close(f->l);
	d = opendir(f->dir);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			if (unlinkat(dirfd(d), e->d_name, 0) < 0)
				unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
	closedir(d);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* Everything that a test relies on must be on the disk, not only in a connection. */
static inline _unused_ void reopen(Fixture *f)
{
	_cleanup_free_ char *why = NULL;
	int r;

	f->l = pml_ledger_close(f->l);
	r = pml_ledger_open(f->path, &f->l, &why);
	if (r != 0)
		fail_msg("reopen: %d %s", r, why ? why : "");
}

static inline _unused_ PmlExtent extent(uint64_t start, uint64_t size)
{
	PmlExtent e = {.medium = ISET, .start_bytes = start, .size_bytes = size};

	return e;
}

static inline _unused_ PmlLeaseRecord lease(const char *id, uint64_t start, uint64_t size)
{
	PmlLeaseRecord rec = {
		.region = REGION,
		.region_name = "dax0.0",
		.domain = "dddddddd-0000-4000-8000-000000000001",
		.domain_name = "guest",
		.alias = "ua-pmemlease-1",
		.owner = "alice",
		.state = PML_LEASE_RESERVED,
		.on_end = PML_ON_END_SCRUB,
		.after_fence = PML_AFTER_FENCE_DESTROY,
		.drain = PML_DRAIN_NEVER,
		.grace_usec = PML_DEADLINE_DEFAULT,
		.virtio_mem = true,
		.lent_bytes = 1 << 30,
		.plugged_bytes = 1 << 30,
		.deadline_usec = UINT64_MAX,
		.boot_id = "eeeeeeee-0000-4000-8000-000000000001",
		.creator_uid = UINT32_MAX - 1,
		.vmm_pid = 4711,
		.vmm_start = 123456789,
		.vmm_cgroup = "/machine.slice/x.scope",
	};

	strcpy(rec.id, id);
	rec.extent = extent(start, size);
	return rec;
}

static inline _unused_ int apply_why(Fixture *f, PmlTxn *t, char **ret_why)
{
	int r = pml_ledger_apply(f->l, t, ret_why);

	pml_txn_free(t);
	return r;
}

static inline _unused_ int apply(Fixture *f, PmlTxn *t)
{
	_cleanup_free_ char *why = NULL;
	int r = apply_why(f, t, &why);

	/* Every refusal says why. */
	if (r > 0)
		assert_non_null(why);
	else
		assert_null(why);
	return r;
}

static inline _unused_ int use(Fixture *f, uint64_t start, uint64_t size, PmlUseEvent ev)
{
	PmlExtent e = extent(start, size);
	PmlTxn *t = pml_txn_new("uid 0");
	bool why = ev == PML_USE_EV_QUARANTINE || ev == PML_USE_EV_LIFT;

	assert_int_equal(pml_txn_use_step(t, REGION, &e, ev, why ? "a reason" : NULL), 0);
	return apply(f, t);
}

static inline _unused_ int content(
	Fixture *f, uint64_t start, uint64_t size, PmlContentEvent ev, const char *owner)
{
	PmlExtent e = extent(start, size);
	PmlTxn *t = pml_txn_new("uid 0");

	assert_int_equal(pml_txn_content_step(t, REGION, &e, ev, owner), 0);
	return apply(f, t);
}

/* Makes bytes alice's, as an operator does. */
static inline _unused_ void adopt(Fixture *f, uint64_t start, uint64_t size)
{
	assert_int_equal(content(f, start, size, PML_CONTENT_EV_ADOPT, "alice"), 0);
}

/* The transaction that reserves: the lease and its bytes' use. */
static inline _unused_ int reserve(Fixture *f, const PmlLeaseRecord *rec)
{
	PmlTxn *t = pml_txn_new("uid 0");

	assert_int_equal(pml_txn_lease_new(t, rec), 0);
	assert_int_equal(pml_txn_use_step(t, rec->region, &rec->extent, PML_USE_EV_LEASE, NULL), 0);
	return apply(f, t);
}

/* One lease step alone; on success rec has its new state. */
static inline _unused_ int step(Fixture *f, PmlLeaseRecord *rec, PmlLeaseEvent ev)
{
	PmlTxn *t = pml_txn_new("daemon");
	int r;

	assert_int_equal(pml_txn_lease_step(t, rec, ev, "a detail"), 0);
	r = apply(f, t);
	if (r == 0)
		assert_int_equal(pml_lease_step(rec->state, ev, &rec->state), 0);
	return r;
}

static inline _unused_ int proof(Fixture *f, const char *lease_id, const char *json)
{
	PmlTxn *t = pml_txn_new("daemon");

	assert_int_equal(pml_txn_proof(t, lease_id, REGION, json), 0);
	return apply(f, t);
}

static inline _unused_ size_t count_history(Fixture *f)
{
	PmlHistoryRecord *rows;
	size_t n;

	assert_int_equal(pml_ledger_history(f->l, NULL, 0, SIZE_MAX, &rows, &n), 0);
	pml_history_free(rows, n);
	return n;
}

/* "0+4 retained alice free; 4+4 blank leased": the extents, in GiB. */
static inline _unused_ void assert_extents(Fixture *f, const char *want)
{
	PmlExtentRecord *rows;
	char got[2048] = "";
	size_t n;

	assert_int_equal(pml_ledger_extents(f->l, &rows, &n), 0);
	for (size_t i = 0; i < n; i++) {
		size_t at = strlen(got);

		(void)snprintf(got + at, sizeof(got) - at, "%s%llu+%llu %s%s%s %s%s%s",
			i ? "; " : "", (unsigned long long)(rows[i].extent.start_bytes / GIB),
			(unsigned long long)(rows[i].extent.size_bytes / GIB),
			pml_content_to_string(rows[i].content), rows[i].owner[0] ? " " : "",
			rows[i].owner, pml_use_to_string(rows[i].use),
			rows[i].reason[0] ? " !" : "", rows[i].reason);
	}
	free(rows);
	assert_string_equal(got, want);
}

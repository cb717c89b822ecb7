/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The adapter against libvirt's own test driver (test:///default: one state for all connections of
 * a process), and against a socket whose owner never answers. What needs a real machine, above all
 * an attach that succeeds, is in tests/lab.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util.h"
#include "virt-internal.h"

#define PATIENCE_USEC (20 * USEC_PER_SEC)
#define PROMPT_USEC   (2 * USEC_PER_SEC)

/* --- an executor that only posts --- */

typedef struct Post {
	void (*fn)(void *data);
	void *data;
	struct Post *next;
} Post;

struct Executors {
	pthread_mutex_t lock;
	pthread_cond_t posted;
	Post *first, **last;
};

int exec_post(Executors *x, void (*fn)(void *data), void *data)
{
	Post *p = malloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	*p = (Post){.fn = fn, .data = data};
	(void)pthread_mutex_lock(&x->lock);
	*x->last = p;
	x->last = &p->next;
	(void)pthread_cond_broadcast(&x->posted);
	(void)pthread_mutex_unlock(&x->lock);
	return 0;
}

/* Runs one post in this thread; false when none came in time. */
static bool pump(Executors *x, uint64_t patience_usec)
{
	uint64_t until = pml_now_usec(CLOCK_REALTIME) + patience_usec;
	struct timespec ts = {
		.tv_sec = (time_t)(until / USEC_PER_SEC),
		.tv_nsec = (long)(until % USEC_PER_SEC) * 1000,
	};
	Post *p;

	(void)pthread_mutex_lock(&x->lock);
	while (!x->first && pthread_cond_timedwait(&x->posted, &x->lock, &ts) == 0)
		;
	p = x->first;
	if (p) {
		x->first = p->next;
		if (!x->first)
			x->last = &x->first;
	}
	(void)pthread_mutex_unlock(&x->lock);
	if (!p)
		return false;
	p->fn(p->data);
	free(p);
	return true;
}

/* --- what is tested --- */

typedef struct Fixture {
	Executors x;
	Virt *virt;
	virConnectPtr stage; /* keeps the driver's state alive, and sets it up */
	virDomainPtr dom;
	char uuid[VIR_UUID_STRING_BUFLEN];
	VirtEvent last;
	unsigned n_events;
	unsigned n_before;
} Fixture;

static const VirtOps *const ops = &virt_libvirt_ops;
static const VirtMemory region = {
	.alias = "ua-pmemlease-1",
	.path = "/dev/dax0.0",
	.size_bytes = 1ULL << 30,
	.align_bytes = 2 * MIB,
};

static void on_event(void *data, const VirtEvent *ev)
{
	Fixture *f = data;

	f->last = *ev;
	f->n_events++;
}

static void before(void *data)
{
	Fixture *f = data;

	f->n_before++;
}

static void wait_event(Fixture *f, VirtEventType type)
{
	do {
		if (!pump(&f->x, PATIENCE_USEC))
			fail_msg("event %d did not come", type);
	} while (f->last.type != type);
}

static Fixture *fixture_new(const char *uri)
{
	Fixture *f = test_calloc(1, sizeof(*f));

	assert_int_equal(pthread_mutex_init(&f->x.lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&f->x.posted, NULL), 0);
	f->x.last = &f->x.first;
	assert_int_equal(ops->start(ops->userdata, &f->x, uri, on_event, f, &f->virt), 0);
	return f;
}

static void fixture_free(Fixture *f)
{
	f->virt = ops->free(f->virt);
	assert_null(f->virt);
	/* What was posted before is dropped, not delivered. */
	f->n_events = 0;
	while (f->x.first)
		(void)pump(&f->x, 0);
	assert_int_equal(f->n_events, 0);
	test_free(f);
}

static int setup(void **state)
{
	Fixture *f = fixture_new("test:///default");
	int s;

	*state = f;
	f->stage = virConnectOpen("test:///default");
	assert_non_null(f->stage);
	f->dom = virDomainLookupByName(f->stage, "test");
	assert_non_null(f->dom);
	assert_int_equal(virDomainGetUUIDString(f->dom, f->uuid), 0);
	assert_int_equal(virDomainGetState(f->dom, &s, NULL, 0), 0);
	if (s == VIR_DOMAIN_SHUTOFF)
		assert_int_equal(virDomainCreate(f->dom), 0);
	else if (s == VIR_DOMAIN_PAUSED)
		assert_int_equal(virDomainResume(f->dom), 0);
	wait_event(f, VIRT_EV_CONNECTED);
	assert_true(ops->connected(f->virt));
	return 0;
}

static int teardown(void **state)
{
	Fixture *f = *state;

	(void)virDomainFree(f->dom);
	(void)virConnectClose(f->stage);
	fixture_free(f);
	return 0;
}

/* The test driver's machine is found, and cannot take an nvdimm. */
static void test_found(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;
	VirtDomain by_name = {0}, by_uuid = {0};
	Fixture *f = *state;

	assert_int_equal(ops->suited(f->virt, "test", &region, &by_name, &a), VIRT_UNSUITED);
	assert_non_null(strstr(a, "type='kvm'"));
	assert_string_equal(by_name.name, "test");
	assert_string_equal(by_name.uuid, f->uuid);
	assert_true(by_name.running);
	assert_int_equal(ops->suited(f->virt, f->uuid, &region, &by_uuid, &b), VIRT_UNSUITED);
	assert_memory_equal(&by_uuid, &by_name, sizeof(by_uuid));
	assert_int_equal(virDomainDestroy(f->dom), 0);
	assert_int_equal(ops->suited(f->virt, "test", &region, &by_name, &c), VIRT_NOT_RUNNING);
	assert_false(by_name.running);
}

static void test_host(void **state)
{
	Fixture *f = *state;
	_cleanup_free_ char *why = NULL;
	VirtHost host;

	assert_int_equal(ops->host(f->virt, &host, &why), 0);
	assert_null(why);
	assert_true(host.version >= 9000000);
	/* the test driver's own */
	assert_string_equal(host.security, "testSecurity");
}

static void test_found_none(void **state)
{
	static const char *const names[] = {"", "nobody", "te", "test ", "'; drop",
		"00000000-0000-0000-0000-000000000001", "6695eb01-f6a4-8304-79aa-97f2502e193"};
	Fixture *f = *state;
	char *longest;
	VirtDomain d;

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		_cleanup_free_ char *why = NULL;

		assert_int_equal(ops->suited(f->virt, names[i], &region, &d, &why), VIRT_NO_DOMAIN);
		assert_non_null(why);
	}
	longest = test_malloc(100000);
	memset(longest, 'a', 99999);
	longest[99999] = '\0';
	{
		_cleanup_free_ char *why = NULL;

		assert_int_equal(ops->suited(f->virt, longest, &region, &d, &why), VIRT_NO_DOMAIN);
	}
	test_free(longest);
}

static void test_memory(void **state)
{
	Fixture *f = *state;
	_cleanup_free_ char *refused = NULL, *off = NULL, *off2 = NULL;
	VirtMemory bad = region;
	VirtDomain dom = {0};
	char *why = NULL;
	bool has = true;

	assert_int_equal(ops->attach(f->virt, f->uuid, &region, &refused), VIRT_REFUSED);
	assert_non_null(strstr(refused, "libvirt refused"));
	assert_int_equal(ops->has_device(f->virt, f->uuid, &region, &has, &why), 0);
	assert_false(has);
	bad.alias[0] = '\0';
	assert_int_equal(ops->attach(f->virt, f->uuid, &bad, &why), -EINVAL);
	assert_null(why);

	assert_int_equal(virDomainDestroy(f->dom), 0);
	assert_int_equal(ops->suited(f->virt, f->uuid, &region, &dom, &off), VIRT_NOT_RUNNING);
	assert_int_equal(ops->attach(f->virt, f->uuid, &region, &off2), VIRT_NOT_RUNNING);
	has = true;
	assert_int_equal(ops->has_device(f->virt, f->uuid, &region, &has, &why), 0);
	assert_false(has);
	assert_null(why);
}

static void test_memory_unknown_domain(void **state)
{
	static const char nobody[] = "00000000-0000-0000-0000-000000000001";
	_cleanup_free_ char *a = NULL, *b = NULL;
	Fixture *f = *state;
	VirtDomain dom;
	char *why = NULL;
	bool has = true;

	assert_int_equal(ops->suited(f->virt, nobody, &region, &dom, &a), VIRT_NO_DOMAIN);
	assert_int_equal(ops->attach(f->virt, nobody, &region, &b), VIRT_NO_DOMAIN);
	assert_int_equal(ops->has_device(f->virt, nobody, &region, &has, &why), 0);
	assert_false(has);
	assert_int_equal(ops->pause(f->virt, nobody, before, f, &why), 0);
	assert_int_equal(ops->destroy(f->virt, nobody, &why), 0);
	assert_int_equal(f->n_before, 0);
	assert_null(why);
}

static void test_pause(void **state)
{
	Fixture *f = *state;
	char *why = NULL;
	int s;

	assert_int_equal(ops->pause(f->virt, f->uuid, before, f, &why), 0);
	assert_int_equal(f->n_before, 1);
	assert_int_equal(virDomainGetState(f->dom, &s, NULL, 0), 0);
	assert_int_equal(s, VIR_DOMAIN_PAUSED);
	/* A paused machine may be frozen as well. */
	assert_int_equal(ops->pause(f->virt, f->uuid, before, f, &why), 0);
	assert_int_equal(f->n_before, 2);
	assert_int_equal(ops->pause(f->virt, f->uuid, NULL, NULL, &why), 0);
	assert_int_equal(virDomainDestroy(f->dom), 0);
	assert_int_equal(ops->pause(f->virt, f->uuid, before, f, &why), 0);
	assert_int_equal(f->n_before, 2);
	assert_null(why);
}

static void test_destroy(void **state)
{
	Fixture *f = *state;
	char *why = NULL;

	assert_int_equal(ops->destroy(f->virt, f->uuid, &why), 0);
	wait_event(f, VIRT_EV_DOMAIN_STOPPED);
	assert_string_equal(f->last.domain, f->uuid);
	assert_string_equal(f->last.detail, "destroyed");
	assert_int_equal(ops->destroy(f->virt, f->uuid, &why), 0);
	assert_null(why);
}

/* A panic whose process lives on, a pause and a start are none of the ends of a machine; that it
 * goes on is told. */
static void test_other_events(void **state)
{
	Fixture *f = *state;

	assert_int_equal(virDomainSuspend(f->dom), 0);
	assert_int_equal(virDomainResume(f->dom), 0);
	wait_event(f, VIRT_EV_DOMAIN_RESUMED);
	assert_string_equal(f->last.domain, f->uuid);
	assert_int_equal(virDomainShutdown(f->dom), 0);
	f->n_events = 0;
	wait_event(f, VIRT_EV_DOMAIN_STOPPED);
	assert_int_equal(f->n_events, 1);
	assert_string_equal(f->last.detail, "shut down");
	assert_false(pump(&f->x, USEC_PER_SEC / 5));
}

static void test_reconnect(void **state)
{
	_cleanup_free_ char *why = NULL;
	Fixture *f = *state;
	VirtDomain d;

	for (int i = 0; i < 3; i++) {
		VirtLoan loan, late;
		_cleanup_free_ char *unsuited = NULL;

		assert_true(virt_borrow(f->virt, &loan));
		assert_true(virt_borrow(f->virt, &late));
		virt_broken(&loan);
		wait_event(f, VIRT_EV_DISCONNECTED);
		wait_event(f, VIRT_EV_CONNECTED);
		/* A call that comes late with the same news takes nothing from the new one. */
		virt_broken(&late);
		assert_true(ops->connected(f->virt));
		virt_return(&loan);
		virt_return(&late);
		assert_int_equal(
			ops->suited(f->virt, "test", &region, &d, &unsuited), VIRT_UNSUITED);
	}
	/* Events of each connection come once. */
	assert_int_equal(ops->destroy(f->virt, f->uuid, &why), 0);
	wait_event(f, VIRT_EV_DOMAIN_STOPPED);
	assert_false(pump(&f->x, USEC_PER_SEC / 5));
}

/* A call has its connection alone, and however many are under way, the next finds one. */
static void test_loans(void **state)
{
	Fixture *f = *state;
	VirtLoan loans[12];
	char *why = NULL;

	for (size_t i = 0; i < ELEMENTSOF(loans); i++) {
		assert_true(virt_borrow(f->virt, &loans[i]));
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(loans[i].conn, loans[j].conn);
	}
	assert_int_equal(ops->pause(f->virt, f->uuid, NULL, NULL, &why), 0);
	for (size_t i = 0; i < ELEMENTSOF(loans); i++) {
		virt_return(&loans[i]);
		virt_return(&loans[i]);
	}
	assert_true(ops->connected(f->virt));
	assert_null(why);
}

/* --- a libvirt that takes the connection and says nothing --- */

static void assert_unavailable(Fixture *f)
{
	static const char uuid[] = "00000000-0000-0000-0000-000000000001";
	_cleanup_free_ char *a = NULL, *c = NULL, *d = NULL, *e = NULL, *g = NULL;
	VirtDomain dom;
	bool has;

	assert_false(ops->connected(f->virt));
	assert_int_equal(ops->suited(f->virt, uuid, &region, &dom, &a), VIRT_UNAVAILABLE);
	assert_non_null(strstr(a, "libvirtd"));
	assert_int_equal(ops->attach(f->virt, uuid, &region, &c), VIRT_UNAVAILABLE);
	assert_int_equal(ops->has_device(f->virt, uuid, &region, &has, &d), VIRT_UNAVAILABLE);
	assert_int_equal(ops->pause(f->virt, uuid, before, f, &e), VIRT_UNAVAILABLE);
	assert_int_equal(ops->destroy(f->virt, uuid, &g), VIRT_UNAVAILABLE);
	assert_int_equal(f->n_before, 0);
}

static void test_hung(void **state)
{
	char dir[] = "/tmp/test-virt-XXXXXX", uri[128];
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -EBADF, peer = -EBADF;
	uint64_t begin;
	Fixture *f;

	assert_non_null(mkdtemp(dir));
	assert_true(snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", dir) > 0);
	assert_true(snprintf(uri, sizeof(uri), "qemu+unix:///system?socket=%s/s", dir) > 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 8), 0);

	begin = pml_now_usec(CLOCK_MONOTONIC);
	f = fixture_new(uri);
	peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peer >= 0);
	assert_unavailable(f);
	fixture_free(f);
	assert_true(pml_now_usec(CLOCK_MONOTONIC) - begin < PROMPT_USEC);
	assert_int_equal(unlink(sa.sun_path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_absent(void **state)
{
	Fixture *f = fixture_new("qemu+unix:///system?socket=/nonexistent/s");

	assert_unavailable(f);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_found_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_unknown_domain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reconnect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loans, setup, teardown),
		cmocka_unit_test(test_hung),
		cmocka_unit_test(test_absent),
	};

	return cmocka_run_group_tests_name("virt", tests, NULL, NULL);
}

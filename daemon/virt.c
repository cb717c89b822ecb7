/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Threads: one for the process runs libvirt's event loop, for ever; each link has a keeper, which
 * makes its connection, waits until somebody finds it broken, and makes it again. A keeper can
 * hang in virConnectOpen() for as long as libvirt's daemon does (there is no keepalive before a
 * connection is open), so nobody waits for one: a Virt is counted, and the last to go frees it.
 */

#include <pthread.h>
#include <signal.h>

#include "util.h"
#include "virt-internal.h"

#define BACKOFF_MIN_USEC (200 * USEC_PER_MSEC)
#define BACKOFF_MAX_USEC (5 * USEC_PER_SEC)

typedef struct Link {
	Virt *virt;
	VirtLinkKind kind;
	virConnectPtr conn; /* NULL while there is none */
	int callbacks[3];   /* of its keeper: registrations, -1 for none */
} Link;

struct Virt {
	pthread_mutex_t lock; /* of everything below that changes */
	pthread_cond_t changed;
	unsigned refs;
	bool stopped;
	Executors *exec;
	char *uri;
	void (*on_event)(void *data, const VirtEvent *ev);
	void *data;
	Link links[_VIRT_LINK_MAX];
};

static int loop_error;

Virt *virt_ref(Virt *v)
{
	(void)pthread_mutex_lock(&v->lock);
	v->refs++;
	(void)pthread_mutex_unlock(&v->lock);
	return v;
}

Virt *virt_unref(Virt *v)
{
	bool last;

	if (!v)
		return NULL;
	(void)pthread_mutex_lock(&v->lock);
	last = --v->refs == 0;
	(void)pthread_mutex_unlock(&v->lock);
	if (!last)
		return NULL;
	(void)pthread_cond_destroy(&v->changed);
	(void)pthread_mutex_destroy(&v->lock);
	free(v->uri);
	free(v);
	return NULL;
}

/* --- events, from any thread to the main one --- */

typedef struct Posted {
	Virt *virt;
	VirtEvent event;
} Posted;

static void deliver(void *data)
{
	Posted *p = data;

	/* Written on this thread only. */
	if (!p->virt->stopped)
		p->virt->on_event(p->virt->data, &p->event);
	virt_unref(p->virt);
	free(p);
}

/* Under the lock, so that nothing is posted once virt_free() has returned, and in this order. */
static void post_locked(Virt *v, const VirtEvent *ev)
{
	Posted *p;

	if (v->stopped)
		return;
	p = malloc(sizeof(*p));
	if (!p)
		return;
	*p = (Posted){.virt = v, .event = *ev};
	v->refs++;
	if (exec_post(v->exec, deliver, p) < 0) {
		v->refs--;
		free(p);
	}
}

static void post_type_locked(Virt *v, VirtEventType type)
{
	VirtEvent ev = {.type = type};

	post_locked(v, &ev);
}

static void post_domain(
	Link *l, VirtEventType type, virDomainPtr dom, const char *alias, const char *detail)
{
	VirtEvent ev = {.type = type};
	char uuid[VIR_UUID_STRING_BUFLEN];

	if (virDomainGetUUIDString(dom, uuid) < 0)
		return;
	/* An alias that is too long is none of ours. */
	if (PML_STRCPY(ev.domain, uuid) < 0 || PML_STRCPY(ev.alias, alias) < 0)
		return;
	(void)snprintf(ev.detail, sizeof(ev.detail), "%s", detail);
	(void)pthread_mutex_lock(&l->virt->lock);
	post_locked(l->virt, &ev);
	(void)pthread_mutex_unlock(&l->virt->lock);
}

static const char *stopped_detail(int detail)
{
	switch (detail) {
	case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
		return "shut down";
	case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
		return "destroyed";
	case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
		return "crashed";
	case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
		return "migrated";
	case VIR_DOMAIN_EVENT_STOPPED_SAVED:
		return "saved";
	case VIR_DOMAIN_EVENT_STOPPED_FAILED:
		return "failed";
	case VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT:
		return "reverted to a snapshot";
	}
	return "stopped";
}

/*
 * VIR_DOMAIN_EVENT_CRASHED is not looked at: it says that the guest panicked, whose process may go
 * on (on_crash=preserve). When the process ends, STOPPED follows.
 */
static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *opaque)
{
	if (event == VIR_DOMAIN_EVENT_STOPPED)
		post_domain(opaque, VIRT_EV_DOMAIN_STOPPED, dom, "", stopped_detail(detail));
	return 0;
}

static void on_device_removed(virConnectPtr conn, virDomainPtr dom, const char *alias, void *opaque)
{
	post_domain(opaque, VIRT_EV_DEVICE_REMOVED, dom, alias, "");
}

static void on_memory_failure(virConnectPtr conn, virDomainPtr dom, int recipient, int action,
	unsigned flags, void *opaque)
{
	static const char *const actions[] = {
		[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_IGNORE] = "ignored",
		[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_INJECT] = "injected into the guest",
		[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_FATAL] = "fatal",
		[VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_RESET] = "the guest is reset",
	};
	char detail[128];

	(void)snprintf(detail, sizeof(detail), "memory of the %s: %s%s%s",
		recipient == VIR_DOMAIN_EVENT_MEMORY_FAILURE_RECIPIENT_GUEST ? "guest"
									     : "hypervisor",
		action >= 0 && (size_t)action < ELEMENTSOF(actions) ? actions[action] : "unknown",
		flags & VIR_DOMAIN_MEMORY_FAILURE_ACTION_REQUIRED ? ", action required" : "",
		flags & VIR_DOMAIN_MEMORY_FAILURE_RECURSIVE ? ", recursive" : "");
	post_domain(opaque, VIRT_EV_MEMORY_FAILURE, dom, "", detail);
}

/* --- links --- */

virConnectPtr virt_link_get(Virt *v, VirtLinkKind kind)
{
	virConnectPtr conn;

	(void)pthread_mutex_lock(&v->lock);
	conn = v->links[kind].conn;
	if (conn && virConnectRef(conn) < 0)
		conn = NULL;
	(void)pthread_mutex_unlock(&v->lock);
	return conn;
}

void virt_link_lost(Virt *v, virConnectPtr conn)
{
	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < ELEMENTSOF(v->links); i++) {
		Link *l = &v->links[i];

		if (l->conn != conn)
			continue;
		l->conn = NULL;
		if (l->kind == VIRT_LINK_MAIN)
			post_type_locked(v, VIRT_EV_DISCONNECTED);
		(void)pthread_cond_broadcast(&v->changed);
	}
	(void)pthread_mutex_unlock(&v->lock);
}

bool virt_connected(Virt *v)
{
	bool connected;

	(void)pthread_mutex_lock(&v->lock);
	connected = v->links[VIRT_LINK_MAIN].conn;
	(void)pthread_mutex_unlock(&v->lock);
	return connected;
}

static void on_close(virConnectPtr conn, int reason, void *opaque)
{
	Link *l = opaque;

	virt_link_lost(l->virt, conn);
}

/* libvirt drops the events' callbacks when the last user of a connection is done, maybe late. */
static void drop_link(void *opaque)
{
	Link *l = opaque;

	virt_unref(l->virt);
}

/* A driver that cannot do this much (test:///, for one) is no error; a dead connection is. */
static bool tolerable(virConnectPtr conn)
{
	bool unsupported = virGetLastErrorCode() == VIR_ERR_NO_SUPPORT;

	return unsupported && virConnectIsAlive(conn) != 0;
}

/* A callback's real type goes with its id; void (*)(void) stands for any. */
static bool register_event(Link *l, virConnectPtr conn, size_t slot, int id, void (*callback)(void))
{
	l->callbacks[slot] = virConnectDomainEventRegisterAny(
		conn, NULL, id, VIR_DOMAIN_EVENT_CALLBACK(callback), l, drop_link);
	if (l->callbacks[slot] < 0)
		return false;
	/* Late enough: only link_close(), in this thread, makes libvirt drop the callback. */
	virt_ref(l->virt);
	return true;
}

static bool link_prepare(Link *l, virConnectPtr conn)
{
	if (virConnectSetKeepAlive(conn, VIRT_KEEPALIVE_INTERVAL_SEC, VIRT_KEEPALIVE_COUNT) < 0 &&
		!tolerable(conn))
		return false;
	/*
	 * No reference goes with it: a driver that knows no such callback says that it was
	 * registered and never drops it (libvirt-host.c). on_close() is called under the lock that
	 * unregistering takes (datatypes.c, virConnectCloseCallbackDataCall), so that it is never
	 * running after link_close().
	 */
	if (virConnectRegisterCloseCallback(conn, on_close, l, NULL) < 0 && !tolerable(conn))
		return false;
	if (l->kind != VIRT_LINK_MAIN)
		return true;
	return register_event(
		       l, conn, 0, VIR_DOMAIN_EVENT_ID_LIFECYCLE, (void (*)(void))on_lifecycle) &&
	       (register_event(l, conn, 1, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
			(void (*)(void))on_device_removed) ||
		       tolerable(conn)) &&
	       (register_event(l, conn, 2, VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE,
			(void (*)(void))on_memory_failure) ||
		       tolerable(conn));
}

/* Each callback holds a reference on the connection, which would otherwise never go. */
static void link_close(Link *l, virConnectPtr conn)
{
	for (size_t i = 0; i < ELEMENTSOF(l->callbacks); i++) {
		if (l->callbacks[i] >= 0)
			(void)virConnectDomainEventDeregisterAny(conn, l->callbacks[i]);
		l->callbacks[i] = -1;
	}
	(void)virConnectUnregisterCloseCallback(conn, on_close);
	(void)virConnectClose(conn);
}

static virConnectPtr link_open(Link *l)
{
	virConnectPtr conn = virConnectOpen(l->virt->uri);

	if (!conn)
		return NULL;
	if (link_prepare(l, conn))
		return conn;
	link_close(l, conn);
	return NULL;
}

/* Returns when the connection is lost or the Virt is freed. */
static void link_serve(Link *l, virConnectPtr conn)
{
	Virt *v = l->virt;

	(void)pthread_mutex_lock(&v->lock);
	if (!v->stopped) {
		l->conn = conn;
		if (l->kind == VIRT_LINK_MAIN)
			post_type_locked(v, VIRT_EV_CONNECTED);
	}
	(void)pthread_mutex_unlock(&v->lock);
	/* on_close() may have come before there was anything to lose. */
	if (virConnectIsAlive(conn) == 0)
		virt_link_lost(v, conn);
	(void)pthread_mutex_lock(&v->lock);
	while (l->conn == conn && !v->stopped)
		(void)pthread_cond_wait(&v->changed, &v->lock);
	l->conn = NULL;
	(void)pthread_mutex_unlock(&v->lock);
}

/* Waits, or until the Virt is freed; returns whether it was. */
static bool keeper_wait(Virt *v, uint64_t delay_usec)
{
	uint64_t until = pml_now_usec(CLOCK_MONOTONIC) + delay_usec;
	struct timespec ts = {
		.tv_sec = (time_t)(until / USEC_PER_SEC),
		.tv_nsec = (long)(until % USEC_PER_SEC) * 1000,
	};
	bool stopped;
	int r = 0;

	(void)pthread_mutex_lock(&v->lock);
	while (!v->stopped && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&v->changed, &v->lock, &ts);
	stopped = v->stopped;
	(void)pthread_mutex_unlock(&v->lock);
	return stopped;
}

static void *keeper(void *data)
{
	Link *l = data;
	Virt *v = l->virt;
	uint64_t backoff = BACKOFF_MIN_USEC;

	do {
		uint64_t since = pml_now_usec(CLOCK_MONOTONIC);
		virConnectPtr conn = link_open(l);

		if (conn) {
			link_serve(l, conn);
			link_close(l, conn);
			/* One that lives shortly each time is as bad as one that cannot be made. */
			if (pml_now_usec(CLOCK_MONOTONIC) - since > BACKOFF_MAX_USEC)
				backoff = BACKOFF_MIN_USEC;
		}
		if (keeper_wait(v, backoff))
			break;
		backoff = backoff * 2 < BACKOFF_MAX_USEC ? backoff * 2 : BACKOFF_MAX_USEC;
	} while (true);
	virt_unref(v);
	return NULL;
}

/* --- start and end --- */

/* Signals are the main thread's. */
static int spawn(void *(*fn)(void *), void *data)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	(void)sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &old);
	if (r != 0)
		return -r;
	r = pthread_create(&thread, NULL, fn, data);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return -r;
	(void)pthread_detach(thread);
	return 0;
}

static void *run_loop(void *data)
{
	while (virEventRunDefaultImpl() == 0)
		;
	/* Without it no keepalive is sent and a hung libvirt would hang us: nothing can go on. */
	abort();
}

static void ignore_error(void *data, virErrorPtr error)
{
}

/* Once in the process, before any other call: libvirt can forget neither of these. */
static void set_up(void)
{
	virSetErrorFunc(NULL, ignore_error);
	if (virEventRegisterDefaultImpl() < 0 || virInitialize() < 0)
		loop_error = -EIO;
	else
		loop_error = spawn(run_loop, NULL);
}

static int init_sync(Virt *v)
{
	pthread_condattr_t attr;
	int r;

	r = pthread_condattr_init(&attr);
	if (r != 0)
		return -r;
	r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_cond_init(&v->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (r != 0)
		return -r;
	r = pthread_mutex_init(&v->lock, NULL);
	if (r != 0)
		(void)pthread_cond_destroy(&v->changed);
	return -r;
}

int virt_start(void *userdata, Executors *x, const char *uri,
	void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	size_t i = 0;
	Virt *v;
	int r;

	(void)pthread_once(&once, set_up);
	if (loop_error < 0)
		return loop_error;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r = init_sync(v);
	if (r < 0) {
		free(v);
		return r;
	}
	/* The caller's, and each keeper's. */
	v->refs = 1 + _VIRT_LINK_MAX;
	v->exec = x;
	v->on_event = on_event;
	v->data = data;
	v->uri = strdup(uri);
	r = v->uri ? 0 : -ENOMEM;
	for (i = 0; r == 0 && i < ELEMENTSOF(v->links); i++) {
		Link *l = &v->links[i];

		*l = (Link){.virt = v, .kind = i, .callbacks = {-1, -1, -1}};
		r = spawn(keeper, l);
		if (r < 0)
			break;
	}
	if (r < 0) {
		(void)pthread_mutex_lock(&v->lock);
		v->refs -= (unsigned)(_VIRT_LINK_MAX - i);
		(void)pthread_mutex_unlock(&v->lock);
		virt_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

Virt *virt_free(Virt *v)
{
	if (!v)
		return NULL;
	(void)pthread_mutex_lock(&v->lock);
	v->stopped = true;
	(void)pthread_cond_broadcast(&v->changed);
	(void)pthread_mutex_unlock(&v->lock);
	return virt_unref(v);
}

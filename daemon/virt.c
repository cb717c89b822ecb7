/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Threads: one for the process runs libvirt's event loop, for ever. Of each Virt, one keeps the
 * connection that brings the events, and one keeps a few more ready for calls. Both can hang in
 * virConnectOpen() for as long as libvirt's daemon does (there is no keepalive before a connection
 * is open), so nobody waits for one to end: a Virt is counted, and the last to go frees it.
 */

#include <pthread.h>
#include <signal.h>

#include "util.h"
#include "virt-internal.h"

#define BACKOFF_MIN_USEC (200 * USEC_PER_MSEC)
#define BACKOFF_MAX_USEC (5 * USEC_PER_SEC)

#define BORROW_USEC    (10 * USEC_PER_SEC)
#define SPARES	       3 /* calls that can begin at once, while there are calls */
#define SPARES_AT_REST 1 /* each is a connection that libvirtd pings every 5 s */
#define REST_USEC                                                                                  \
	(10 * USEC_PER_SEC) /* since the last call, until those that are not needed are closed */
#define THREADS 2

/*
 * A connection that is ready for a call. Keepalive is what wakes an idle daemon, so it begins with
 * the first call; libvirt cannot end and begin it again (rpc/virkeepalive.c virKeepAliveStart()),
 * so that a connection with it is replaced when there has been no call for a while.
 */
typedef struct Spare {
	virConnectPtr conn;
	bool watched; /* keepalive has begun */
} Spare;

struct Virt {
	pthread_mutex_t lock; /* of everything below that changes */
	pthread_cond_t changed;
	unsigned refs;
	bool stopped;
	Executors *exec;
	char *uri;
	void (*on_event)(void *data, const VirtEvent *ev);
	void *data;
	virConnectPtr conn;  /* the events'; NULL while not connected */
	uint64_t generation; /* counts those */
	Spare spare[SPARES];
	size_t n_spare;
	uint64_t rests_at_usec; /* CLOCK_MONOTONIC: REST_USEC after the newest call */
	int callbacks[8];	/* of the thread that keeps conn: registrations, -1 for none */
};

static int loop_error;

static Virt *virt_ref(Virt *v)
{
	(void)pthread_mutex_lock(&v->lock);
	v->refs++;
	(void)pthread_mutex_unlock(&v->lock);
	return v;
}

static Virt *virt_unref(Virt *v)
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
	Virt *v, VirtEventType type, virDomainPtr dom, const char *alias, const char *detail)
{
	VirtEvent ev = {.type = type};
	char uuid[VIR_UUID_STRING_BUFLEN];

	if (virDomainGetUUIDString(dom, uuid) < 0)
		return;
	/* An alias that is too long is none of ours. */
	if (PML_STRCPY(ev.domain, uuid) < 0 || PML_STRCPY(ev.alias, alias) < 0)
		return;
	(void)snprintf(ev.detail, sizeof(ev.detail), "%s", detail);
	(void)pthread_mutex_lock(&v->lock);
	post_locked(v, &ev);
	(void)pthread_mutex_unlock(&v->lock);
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
	if (event == VIR_DOMAIN_EVENT_STARTED)
		post_domain(opaque, VIRT_EV_DOMAIN_STARTED, dom, "", "");
	else if (event == VIR_DOMAIN_EVENT_STOPPED)
		post_domain(opaque, VIRT_EV_DOMAIN_STOPPED, dom, "", stopped_detail(detail));
	else if (event == VIR_DOMAIN_EVENT_RESUMED)
		post_domain(opaque, VIRT_EV_DOMAIN_RESUMED, dom, "", "");
	else if (event == VIR_DOMAIN_EVENT_DEFINED && detail == VIR_DOMAIN_EVENT_DEFINED_RENAMED)
		post_domain(opaque, VIRT_EV_DOMAIN_RENAMED, dom, "", virDomainGetName(dom));
	return 0;
}

/* libvirt calls it a reboot; QEMU's own event is RESET, whoever asked for it. */
static int on_reset(virConnectPtr conn, virDomainPtr dom, void *opaque)
{
	post_domain(opaque, VIRT_EV_DOMAIN_RESET, dom, "", "");
	return 0;
}

static void on_device_added(virConnectPtr conn, virDomainPtr dom, const char *alias, void *opaque)
{
	post_domain(opaque, VIRT_EV_DEVICE_ADDED, dom, alias, "");
}

static void on_device_removed(virConnectPtr conn, virDomainPtr dom, const char *alias, void *opaque)
{
	post_domain(opaque, VIRT_EV_DEVICE_REMOVED, dom, alias, "");
}

static void on_removal_failed(virConnectPtr conn, virDomainPtr dom, const char *alias, void *opaque)
{
	post_domain(opaque, VIRT_EV_REMOVAL_FAILED, dom, alias, "");
}

/* Looked at in the description, which libvirt has changed before it tells of it. */
static void on_resized(virConnectPtr conn, virDomainPtr dom, const char *alias,
	unsigned long long size_kib, void *opaque)
{
	post_domain(opaque, VIRT_EV_MEMORY_RESIZED, dom, alias, "");
}

static void on_agent(virConnectPtr conn, virDomainPtr dom, int state, int reason, void *opaque)
{
	post_domain(opaque, VIRT_EV_AGENT, dom, "", "");
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

/* --- the events' connection --- */

/* Of the connection of this generation, or of none any more. */
static void lose(Virt *v, uint64_t generation)
{
	(void)pthread_mutex_lock(&v->lock);
	if (v->conn && v->generation == generation) {
		v->conn = NULL;
		post_type_locked(v, VIRT_EV_DISCONNECTED);
		(void)pthread_cond_broadcast(&v->changed);
	}
	(void)pthread_mutex_unlock(&v->lock);
}

static void on_close(virConnectPtr conn, int reason, void *opaque)
{
	Virt *v = opaque;

	(void)pthread_mutex_lock(&v->lock);
	if (v->conn == conn) {
		v->conn = NULL;
		post_type_locked(v, VIRT_EV_DISCONNECTED);
		(void)pthread_cond_broadcast(&v->changed);
	}
	(void)pthread_mutex_unlock(&v->lock);
}

bool virt_connected(Virt *v)
{
	bool connected;

	(void)pthread_mutex_lock(&v->lock);
	connected = v->conn;
	(void)pthread_mutex_unlock(&v->lock);
	return connected;
}

/* libvirt drops the events' callbacks when the last user of a connection is done, maybe late. */
static void drop_ref(void *opaque)
{
	virt_unref(opaque);
}

/* A driver that cannot do this much (test:///, for one) is no error; a dead connection is. */
static bool tolerable(virConnectPtr conn)
{
	bool unsupported = virGetLastErrorCode() == VIR_ERR_NO_SUPPORT;

	return unsupported && virConnectIsAlive(conn) != 0;
}

/* A callback's real type goes with its id; void (*)(void) stands for any. */
static bool register_event(Virt *v, virConnectPtr conn, size_t slot, int id, void (*callback)(void))
{
	v->callbacks[slot] = virConnectDomainEventRegisterAny(
		conn, NULL, id, VIR_DOMAIN_EVENT_CALLBACK(callback), v, drop_ref);
	if (v->callbacks[slot] < 0)
		return false;
	/* Late enough: only events_close(), in this thread, makes libvirt drop the callback. */
	virt_ref(v);
	return true;
}

static bool events_register(Virt *v, virConnectPtr conn)
{
	/*
	 * No reference goes with it: a driver that knows no such callback says that it was
	 * registered and never drops it (libvirt-host.c). on_close() is called under the lock that
	 * unregistering takes (datatypes.c, virConnectCloseCallbackDataCall), so that it is never
	 * running after events_close().
	 */
	if (virConnectRegisterCloseCallback(conn, on_close, v, NULL) < 0 && !tolerable(conn))
		return false;
	return register_event(
		       v, conn, 0, VIR_DOMAIN_EVENT_ID_LIFECYCLE, (void (*)(void))on_lifecycle) &&
	       (register_event(v, conn, 1, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
			(void (*)(void))on_device_removed) ||
		       tolerable(conn)) &&
	       (register_event(v, conn, 3, VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
			(void (*)(void))on_device_added) ||
		       tolerable(conn)) &&
	       (register_event(v, conn, 5, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
			(void (*)(void))on_removal_failed) ||
		       tolerable(conn)) &&
	       (register_event(v, conn, 6, VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE,
			(void (*)(void))on_resized) ||
		       tolerable(conn)) &&
	       (register_event(v, conn, 7, VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
			(void (*)(void))on_agent) ||
		       tolerable(conn)) &&
	       (register_event(v, conn, 4, VIR_DOMAIN_EVENT_ID_REBOOT, (void (*)(void))on_reset) ||
		       tolerable(conn)) &&
	       (register_event(v, conn, 2, VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE,
			(void (*)(void))on_memory_failure) ||
		       tolerable(conn));
}

/* Each callback holds a reference on the connection, which would otherwise never go. */
static void events_close(Virt *v, virConnectPtr conn)
{
	for (size_t i = 0; i < ELEMENTSOF(v->callbacks); i++) {
		if (v->callbacks[i] >= 0)
			(void)virConnectDomainEventDeregisterAny(conn, v->callbacks[i]);
		v->callbacks[i] = -1;
	}
	(void)virConnectUnregisterCloseCallback(conn, on_close);
	(void)virConnectClose(conn);
}

/* Begins keepalive; asks nobody. False: the connection is of no use. */
static bool watch_conn(virConnectPtr conn, int interval_sec)
{
	return virConnectSetKeepAlive(conn, interval_sec, VIRT_KEEPALIVE_COUNT) >= 0 ||
	       tolerable(conn);
}

/* A daemon that hangs does not answer this either. */
static void close_conn(virConnectPtr conn)
{
	(void)virConnectSetKeepAlive(conn, VIRT_KEEPALIVE_INTERVAL_SEC, VIRT_KEEPALIVE_COUNT);
	(void)virConnectClose(conn);
}

/* Returns when the connection is lost or the Virt is freed. */
static void events_serve(Virt *v, virConnectPtr conn)
{
	uint64_t generation;

	(void)pthread_mutex_lock(&v->lock);
	generation = ++v->generation;
	if (!v->stopped) {
		v->conn = conn;
		post_type_locked(v, VIRT_EV_CONNECTED);
		(void)pthread_cond_broadcast(&v->changed);
	}
	(void)pthread_mutex_unlock(&v->lock);
	/* on_close() may have come before there was anything to lose. */
	if (virConnectIsAlive(conn) == 0)
		lose(v, generation);
	(void)pthread_mutex_lock(&v->lock);
	while (v->conn == conn && !v->stopped)
		(void)pthread_cond_wait(&v->changed, &v->lock);
	v->conn = NULL;
	(void)pthread_mutex_unlock(&v->lock);
}

static struct timespec from_now(uint64_t delay_usec)
{
	uint64_t until = pml_now_usec(CLOCK_MONOTONIC) + delay_usec;

	return (struct timespec){
		.tv_sec = (time_t)(until / USEC_PER_SEC),
		.tv_nsec = (long)(until % USEC_PER_SEC) * 1000,
	};
}

/* Waits, or until the Virt is freed; returns whether it was. */
static bool back_off(Virt *v, uint64_t *delay_usec)
{
	struct timespec until = from_now(*delay_usec);
	bool stopped;
	int r = 0;

	*delay_usec = *delay_usec * 2 < BACKOFF_MAX_USEC ? *delay_usec * 2 : BACKOFF_MAX_USEC;
	(void)pthread_mutex_lock(&v->lock);
	while (!v->stopped && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&v->changed, &v->lock, &until);
	stopped = v->stopped;
	(void)pthread_mutex_unlock(&v->lock);
	return stopped;
}

/* --- the calls' connections --- */

/* One that is ready for a call, the one that was used last; NULL: none. */
static virConnectPtr take_spare_locked(Virt *v)
{
	if (v->n_spare == 0)
		return NULL;
	(void)pthread_cond_broadcast(&v->changed);
	return v->spare[--v->n_spare].conn;
}

static bool at_rest_locked(const Virt *v)
{
	return pml_now_usec(CLOCK_MONOTONIC) >= v->rests_at_usec;
}

static bool may_add_locked(const Virt *v)
{
	return v->n_spare < (at_rest_locked(v) ? SPARES_AT_REST : SPARES);
}

/* The first that only costs while there are no calls; n_spare: none. */
static size_t find_costly_locked(const Virt *v)
{
	size_t i;

	for (i = 0; i < v->n_spare && !v->spare[i].watched; i++)
		;
	return i == v->n_spare && i > SPARES_AT_REST ? 0 : i;
}

/* One that is to be closed, now that there are no calls; NULL: none. */
static virConnectPtr take_rested_locked(Virt *v)
{
	size_t i = find_costly_locked(v);
	virConnectPtr conn;

	if (i == v->n_spare || !at_rest_locked(v))
		return NULL;
	conn = v->spare[i].conn;
	memmove(&v->spare[i], &v->spare[i + 1], (--v->n_spare - i) * sizeof(v->spare[0]));
	return conn;
}

/* Those of a lost connection's time. None is added until there is a new one. */
static void drop_spares(Virt *v)
{
	virConnectPtr conn;

	do {
		(void)pthread_mutex_lock(&v->lock);
		conn = take_spare_locked(v);
		(void)pthread_mutex_unlock(&v->lock);
		if (conn)
			close_conn(conn);
	} while (conn);
}

static void *keep_events(void *data)
{
	Virt *v = data;
	uint64_t delay = BACKOFF_MIN_USEC;

	do {
		uint64_t since = pml_now_usec(CLOCK_MONOTONIC);
		virConnectPtr conn = virConnectOpen(v->uri);

		if (!conn)
			continue;
		if (watch_conn(conn, VIRT_EVENTS_KEEPALIVE_SEC) && events_register(v, conn))
			events_serve(v, conn);
		events_close(v, conn);
		drop_spares(v);
		/* One that lives shortly each time is as bad as one that cannot be made. */
		if (pml_now_usec(CLOCK_MONOTONIC) - since > BACKOFF_MAX_USEC)
			delay = BACKOFF_MIN_USEC;
	} while (!back_off(v, &delay));
	virt_unref(v);
	return NULL;
}

/* Keeps it if it is of use, else closes it: which can take as long as keepalive does. */
static void give_spare(Virt *v, virConnectPtr conn, bool watched, uint64_t generation)
{
	bool alive = virConnectIsAlive(conn) != 0;

	(void)pthread_mutex_lock(&v->lock);
	if (watched)
		v->rests_at_usec = pml_now_usec(CLOCK_MONOTONIC) + REST_USEC;
	if (alive && v->conn && v->generation == generation && !v->stopped && may_add_locked(v)) {
		v->spare[v->n_spare++] = (Spare){.conn = conn, .watched = watched};
		conn = NULL;
		(void)pthread_cond_broadcast(&v->changed);
	}
	(void)pthread_mutex_unlock(&v->lock);
	if (conn)
		close_conn(conn);
}

static void wait_for_rest_locked(Virt *v)
{
	uint64_t now = pml_now_usec(CLOCK_MONOTONIC);
	struct timespec until;

	if (find_costly_locked(v) == v->n_spare) {
		(void)pthread_cond_wait(&v->changed, &v->lock);
		return;
	}
	until = from_now(v->rests_at_usec > now ? v->rests_at_usec - now : 0);
	(void)pthread_cond_timedwait(&v->changed, &v->lock, &until);
}

/* Waits until one is wanted, or *ret_rested is to be closed; false: the Virt is freed. */
static bool spare_wanted(Virt *v, virConnectPtr *ret_rested, uint64_t *ret_generation)
{
	bool wanted;

	(void)pthread_mutex_lock(&v->lock);
	while (!(*ret_rested = take_rested_locked(v)) && !v->stopped &&
		(!v->conn || !may_add_locked(v)))
		wait_for_rest_locked(v);
	*ret_generation = v->generation;
	wanted = !v->stopped;
	(void)pthread_mutex_unlock(&v->lock);
	return wanted;
}

static void *keep_spares(void *data)
{
	Virt *v = data;
	uint64_t generation, delay = BACKOFF_MIN_USEC;
	virConnectPtr conn, rested = NULL;

	while (spare_wanted(v, &rested, &generation)) {
		if (rested) {
			close_conn(rested);
			continue;
		}
		conn = virConnectOpen(v->uri);
		if (conn) {
			give_spare(v, conn, false, generation);
			delay = BACKOFF_MIN_USEC;
		} else {
			(void)back_off(v, &delay);
		}
	}
	if (rested)
		close_conn(rested);
	virt_unref(v);
	return NULL;
}

bool virt_borrow(Virt *v, VirtLoan *ret)
{
	struct timespec until = from_now(BORROW_USEC);
	virConnectPtr conn = NULL;
	uint64_t generation = 0;
	int r = 0;

	(void)pthread_mutex_lock(&v->lock);
	v->rests_at_usec = pml_now_usec(CLOCK_MONOTONIC) + REST_USEC;
	while (v->conn && !v->stopped) {
		generation = v->generation;
		conn = take_spare_locked(v);
		if (conn || r == ETIMEDOUT)
			break;
		r = pthread_cond_timedwait(&v->changed, &v->lock, &until);
	}
	if (conn)
		v->refs++;
	(void)pthread_mutex_unlock(&v->lock);
	if (conn && !watch_conn(conn, VIRT_KEEPALIVE_INTERVAL_SEC)) {
		(void)virConnectClose(conn);
		virt_unref(v);
		conn = NULL;
	}
	if (!conn) {
		/* Connected, but no further connection can be made: as good as not. */
		lose(v, generation);
		return false;
	}
	*ret = (VirtLoan){.virt = v, .conn = conn, .generation = generation};
	return true;
}

void virt_broken(VirtLoan *loan)
{
	lose(loan->virt, loan->generation);
}

void virt_return(VirtLoan *loan)
{
	if (!loan->virt)
		return;
	give_spare(loan->virt, loan->conn, true, loan->generation);
	virt_unref(loan->virt);
	*loan = (VirtLoan){0};
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
	static void *(*const threads[THREADS])(void *) = {keep_events, keep_spares};
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
	/* The caller's, and each thread's. */
	v->refs = 1 + THREADS;
	v->exec = x;
	v->on_event = on_event;
	v->data = data;
	for (i = 0; i < ELEMENTSOF(v->callbacks); i++)
		v->callbacks[i] = -1;
	v->uri = strdup(uri);
	r = v->uri ? 0 : -ENOMEM;
	for (i = 0; r == 0 && i < THREADS; i++) {
		r = spawn(threads[i], v);
		if (r < 0)
			break;
	}
	if (r < 0) {
		(void)pthread_mutex_lock(&v->lock);
		v->refs -= (unsigned)(THREADS - i);
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

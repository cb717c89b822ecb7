/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The daemon on the bus. A call takes this way: one vtable entry for all methods → bouncer.c, which
 * knows the method's action and handler, counts what a client has pending, and asks → the handler
 * in the object's *-bus.c, which finds its object again (it may have gone meanwhile), reads the
 * arguments, and replies, now or later.
 */

#include <systemd/sd-bus.h>

#include "manager.h"

/* Replies (now or, holding a reference on call, later) and returns >= 0; or returns a negative
 * errno, with or without *error set. */
typedef int (*BusHandler)(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);

/* --- bus.c: the connection --- */

/* Connects, and again whenever the connection is lost; calls m->on_ready once when the name is
 * there, or the bus is not. */
int bus_start(Manager *m);
void bus_stop(Manager *m);

/* --- bouncer.c: who may do what --- */

int bouncer_method(sd_bus_message *call, void *userdata,
	sd_bus_error *error); /* the vtable entry of every method */
/* The connection is gone: drops what waits for an answer of it. */
void bouncer_drop_all(Manager *m);
/* The bouncer's table, for the test that compares it with the contract: false behind its end. */
bool bouncer_entry(
	size_t i, const char **ret_interface, const char **ret_member, const char **ret_action);

/* --- what handlers share: bus-util.c --- */

/* sd_bus_error_set of a named error. Returns a negative errno, as sd-bus wants. */
int bus_error(sd_bus_error *error, const char *name, const char *format, ...)
	__attribute__((__format__(printf, 3, 4)));
int bus_op_error(sd_bus_error *error, int r, const OpError *err); /* of a starter's result */
/* Checks a string from outside: not longer than max, no control characters, not empty unless
 * allowed. */
int bus_check_text(
	sd_bus_error *error, const char *what, const char *s, size_t max, bool may_be_empty);

typedef enum BusOptionType {
	BUS_OPTION_STRING,
	BUS_OPTION_BOOL,
	BUS_OPTION_INT,
	BUS_OPTION_UINT64,
} BusOptionType;
typedef struct BusOption {
	const char *key;
	BusOptionType type;
	void *value; /* const char **, bool *, int32_t *, uint64_t * */
} BusOption;
/* Reads a{sv}; refuses unknown keys, repeated keys and wrong types by name. options ends with a
 * NULL key. */
int bus_read_options(sd_bus_message *call, const BusOption *options, sd_bus_error *error);

/* The options by which a lease's policy is given; strings of the message's, NULL where not given.
 */
typedef struct BusPolicy {
	const char *on_end, *after_fence, *drain, *on_refusal;
} BusPolicy;
#define BUS_POLICY_EVICT(p)                                                                        \
	{"after-fence", BUS_OPTION_STRING, &(p)->after_fence},                                     \
		{"drain", BUS_OPTION_STRING, &(p)->drain},                                         \
	{                                                                                          \
		"on-refusal", BUS_OPTION_STRING, &(p)->on_refusal                                  \
	}
/* What is not given stays as it is; on_end, after_fence: NULL where it
 * cannot be given. */
int bus_parse_policy(const BusPolicy *p, PmlOnEnd *on_end, PmlAfterFence *after_fence,
	PmlDrain *drain, PmlOnRefusal *on_refusal, sd_bus_error *error);

Region *bus_region_of(Manager *m, const char *path);
Lease *bus_lease_of(Manager *m, const char *path);
Job *bus_job_of(Manager *m, const char *path);

/*
 * Resolves a region's name and calls back on the main thread. A path is opened (O_PATH) in
 * EXEC_WORK: a client may name one on a file system that hangs. error is set and region NULL when
 * there is none. call is held until then.
 */
typedef int (*BusRegionFound)(
	Manager *m, sd_bus_message *call, uint32_t uid, Region *region, sd_bus_error *error);
int bus_find_region(Manager *m, sd_bus_message *call, uint32_t uid, const char *name,
	BusRegionFound found, sd_bus_error *error);

/* Blocking work for a reply: run in an executor, then reply on the main thread with a message or an
 * error. */
typedef struct BusWork BusWork;
struct BusWork {
	Manager *manager;
	sd_bus_message *call;
	uint32_t uid;
	int (*run)(BusWork *w);
	int (*reply)(BusWork *w, int r, sd_bus_error *error); /* as a BusHandler returns */
	void (*clear)(BusWork *w); /* of what the rest of the structure owns */
};
/* size: of the caller's structure that begins with BusWork. */
void *bus_work_new(size_t size, Manager *m, sd_bus_message *call, uint32_t uid);
/* Takes w, also on failure. */
int bus_work_submit(BusWork *w, ExecWhere where, const char *key);
/* Of one that was not submitted. */
void bus_work_free(BusWork *w);
/* Sends the error of a handler that failed. */
void bus_reply_failure(sd_bus_message *call, int r, sd_bus_error *error);

/* A pending call counts until its reply is made: bouncer.c. */
int pending_add(Manager *m, sd_bus_message *call, struct Pending **ret);
int pending_set_uid(struct Pending *p, uint32_t uid); /* -EDQUOT */
sd_bus_message *pending_call(struct Pending *p);      /* borrowed */
void pending_remove(struct Pending *p);

/* --- objects --- */

extern const sd_bus_vtable manager_vtable[];
extern const sd_bus_vtable region_vtable[];
extern const sd_bus_vtable lease_vtable[];
extern const sd_bus_vtable job_vtable[];

/* InterfacesAdded, InterfacesRemoved; nothing without a bus. */
void region_announce(Region *r);
void region_withdraw(Region *r);
void lease_announce(Lease *l);
void lease_withdraw(Lease *l);

/* Handlers of the bouncer's table. */
int manager_bus_lease(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_lease_by_size(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_get_region(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_get_lease(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_list_regions(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_list_leases(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_list_jobs(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_history(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_diagnose(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_grant(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_evict_device(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_describe_device(
	Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_describe_layout(
	Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_readmit_device(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_reload(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int manager_bus_add_block_device(
	Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int region_bus_evict(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int region_bus_scrub(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int region_bus_adopt(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int region_bus_readmit(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int region_bus_verify(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int region_bus_lift_quarantine(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int region_bus_get_proof(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int lease_bus_release(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int lease_bus_release_with_options(
	Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int lease_bus_revoke(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int lease_bus_set_policy(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);
int job_bus_cancel(Manager *m, sd_bus_message *call, uint32_t uid, sd_bus_error *error);

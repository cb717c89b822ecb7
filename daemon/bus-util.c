/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "bus.h"
#include "util.h"

int bus_error(sd_bus_error *error, const char *name, const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	va_list ap;
	int r;

	va_start(ap, format);
	r = vasprintf(&message, format, ap);
	va_end(ap);
	if (r < 0) {
		message = NULL;
		return -ENOMEM;
	}
	/* It quotes what the caller sent: the bus refuses a string that was cut within a character,
	 * and a terminal obeys a control character. */
	pml_make_printable(message);
	r = sd_bus_error_set(error, name, message);
	return r < 0 ? r : -EIO;
}

int bus_op_error(sd_bus_error *error, int r, const OpError *err)
{
	if (r > 0)
		return bus_error(error, err->error, "%s", err->message);
	if (r == -EBUSY)
		return bus_error(error, PML_ERROR_BUSY,
			"Another operation has the region; wait for its end, or cancel it.");
	if (r == -EDQUOT)
		return bus_error(
			error, PML_ERROR_LIMIT, "Too many operations run; wait for some of them.");
	return r;
}

void bus_reply_failure(sd_bus_message *call, int r, sd_bus_error *error)
{
	if (sd_bus_error_is_set(error))
		(void)sd_bus_reply_method_error(call, error);
	else if (r == -ENXIO || r == -EBADMSG)
		(void)sd_bus_reply_method_errorf(call, PML_ERROR_INVALID,
			"The arguments are not of the form that is documented.");
	else
		(void)sd_bus_reply_method_errorf(call, PML_ERROR_FAILED, "%s.", strerror(-r));
}

int bus_check_text(
	sd_bus_error *error, const char *what, const char *s, size_t max, bool may_be_empty)
{
	/* UTF-8 is the bus's own rule for strings; these are ours. */
	if (!s[0] && !may_be_empty)
		return bus_error(error, PML_ERROR_INVALID, "The %s is empty; name one.", what);
	if (strlen(s) > max)
		return bus_error(error, PML_ERROR_INVALID,
			"The %s is longer than %zu bytes; shorten it.", what, max);
	for (const unsigned char *c = (const unsigned char *)s; *c; c++)
		if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0))
			return bus_error(error, PML_ERROR_INVALID,
				"The %s has a control character in it; take it out.", what);
	return 0;
}

static int read_option(sd_bus_message *call, const BusOption *o, sd_bus_error *error)
{
	static const char *const types[] = {[BUS_OPTION_STRING] = "s",
		[BUS_OPTION_BOOL] = "b",
		[BUS_OPTION_INT] = "i",
		[BUS_OPTION_UINT64] = "t"};
	const char *want = types[o->type], *have;
	char kind;
	int r, b;

	r = sd_bus_message_peek_type(call, &kind, &have);
	if (r < 0)
		return r;
	if (strcmp(have, want) != 0)
		return bus_error(error, PML_ERROR_INVALID,
			"The option %s is of type %s; it must be of type %s.", o->key, have, want);
	switch (o->type) {
	case BUS_OPTION_STRING:
		return sd_bus_message_read(call, "v", "s", o->value);
	case BUS_OPTION_BOOL:
		r = sd_bus_message_read(call, "v", "b", &b);
		if (r >= 0)
			*(bool *)o->value = b;
		return r;
	case BUS_OPTION_INT:
		return sd_bus_message_read(call, "v", "i", o->value);
	case BUS_OPTION_UINT64:
		return sd_bus_message_read(call, "v", "t", o->value);
	}
	return -EINVAL;
}

int bus_read_options(sd_bus_message *call, const BusOption *options, sd_bus_error *error)
{
	uint64_t seen = 0;
	int r;

	r = sd_bus_message_enter_container(call, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(call, 'e', "sv")) > 0) {
		const char *key;
		size_t i = 0;

		r = sd_bus_message_read(call, "s", &key);
		if (r < 0)
			return r;
		while (options[i].key && strcmp(options[i].key, key) != 0)
			i++;
		if (!options[i].key)
			return bus_error(
				error, PML_ERROR_INVALID, "There is no option %.64s.", key);
		if (seen & (UINT64_C(1) << i))
			return bus_error(
				error, PML_ERROR_INVALID, "The option %s is there twice.", key);
		seen |= UINT64_C(1) << i;
		r = read_option(call, &options[i], error);
		if (r >= 0)
			r = sd_bus_message_exit_container(call);
	}
	return r < 0 ? r : sd_bus_message_exit_container(call);
}

int bus_parse_policy(const BusPolicy *p, PmlOnEnd *on_end, PmlAfterFence *after_fence,
	PmlDrain *drain, PmlOnRefusal *on_refusal, sd_bus_error *error)
{
	PmlOnEnd end = p->on_end ? pml_on_end_from_string(p->on_end) : 0;
	PmlAfterFence after = p->after_fence ? pml_after_fence_from_string(p->after_fence) : 0;
	PmlDrain how = p->drain ? pml_drain_from_string(p->drain) : 0;
	PmlOnRefusal refused = p->on_refusal ? pml_on_refusal_from_string(p->on_refusal) : 0;

	if ((int)end < 0)
		return bus_error(error, PML_ERROR_INVALID, "on-end is keep or scrub.");
	if ((int)after < 0)
		return bus_error(
			error, PML_ERROR_INVALID, "after-fence is keep, pause or destroy.");
	if ((int)how < 0)
		return bus_error(error, PML_ERROR_INVALID, "drain is ask, force or never.");
	if ((int)refused < 0)
		return bus_error(error, PML_ERROR_INVALID, "on-refusal is force or keep.");
	if (p->on_end)
		*on_end = end;
	if (p->after_fence)
		*after_fence = after;
	if (p->drain)
		*drain = how;
	if (p->on_refusal)
		*on_refusal = refused;
	return 0;
}

Region *bus_region_of(Manager *m, const char *path)
{
	Region *r;

	LIST_FOREACH (r, &m->regions, regions)
		if (pml_streq(r->path, path))
			return r;
	return NULL;
}

Lease *bus_lease_of(Manager *m, const char *path)
{
	Lease *l;

	LIST_FOREACH (l, &m->leases, leases)
		if (pml_streq(l->path, path))
			return l;
	return NULL;
}

Job *bus_job_of(Manager *m, const char *path)
{
	for (Job *j = m->jobs; j; j = j->next)
		if (j->path && pml_streq(j->path, path))
			return j;
	return NULL;
}

/* --- blocking work --- */

struct WorkItem {
	BusWork *work;
	struct Pending *pending;
};

void *bus_work_new(size_t size, Manager *m, sd_bus_message *call, uint32_t uid)
{
	BusWork *w = calloc(1, size);

	if (!w)
		return NULL;
	w->manager = m;
	w->call = sd_bus_message_ref(call);
	w->uid = uid;
	return w;
}

void bus_work_free(BusWork *w)
{
	if (w->clear)
		w->clear(w);
	sd_bus_message_unref(w->call);
	free(w);
}

static int work_run(void *userdata)
{
	struct WorkItem *i = userdata;

	return i->work->run(i->work);
}

static void work_done(void *userdata, int r)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct WorkItem *i = userdata;
	BusWork *w = i->work;

	r = w->reply(w, r, &error);
	if (r < 0)
		bus_reply_failure(w->call, r, &error);
	pending_remove(i->pending);
	bus_work_free(w);
	free(i);
}

int bus_work_submit(BusWork *w, ExecWhere where, const char *key)
{
	struct WorkItem *i = calloc(1, sizeof(*i));
	int r = i ? 0 : -ENOMEM;

	if (r == 0) {
		i->work = w;
		r = pending_add(w->manager, w->call, &i->pending);
	}
	if (r == 0)
		r = pending_set_uid(i->pending, w->uid);
	if (r == 0)
		r = exec_submit(w->manager->exec, where, key, work_run, work_done, i);
	if (r < 0) {
		if (i)
			pending_remove(i->pending);
		free(i);
		bus_work_free(w);
	}
	return r;
}

/* --- finding a region --- */

typedef struct FindWork {
	BusWork work;
	char *path;
	dev_t devno;
	BusRegionFound found;
} FindWork;

static int find_run(BusWork *work)
{
	FindWork *w = (FindWork *)work;
	_cleanup_close_ int fd = open(w->path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ENODEV;
	w->devno = st.st_rdev;
	return 0;
}

static int find_reply(BusWork *work, int r, sd_bus_error *error)
{
	FindWork *w = (FindWork *)work;
	Region *region = r < 0 ? NULL : manager_find_region_by_devno(work->manager, w->devno);

	/* Root looks: what is where others may not look, or is not there, is not theirs to learn.
	 */
	if (!region && work->uid != work->manager->config.trusted_uid)
		(void)bus_error(error, PML_ERROR_NO_SUCH_REGION,
			"%s is no region's device node; pmemlease regions lists them.", w->path);
	else if (r == -ENODEV)
		(void)bus_error(error, PML_ERROR_NO_SUCH_REGION,
			"%s is no device; name the region's device node.", w->path);
	else if (r < 0)
		(void)bus_error(error, PML_ERROR_NO_SUCH_REGION, "%s cannot be opened: %s.",
			w->path, strerror(-r));
	else if (!region)
		(void)bus_error(error, PML_ERROR_NO_SUCH_REGION,
			"%s is a device, but none of the regions; pmemlease regions lists them.",
			w->path);
	return w->found(work->manager, work->call, work->uid, region, error);
}

static void find_clear(BusWork *work)
{
	free(((FindWork *)work)->path);
}

static int find_by_path(Manager *m, sd_bus_message *call, uint32_t uid, const char *path,
	BusRegionFound found, sd_bus_error *error)
{
	FindWork *w = bus_work_new(sizeof(*w), m, call, uid);
	char key[32];
	int r;

	if (!w)
		return -ENOMEM;
	w->work.run = find_run;
	w->work.reply = find_reply;
	w->work.clear = find_clear;
	w->found = found;
	w->path = strdup(path);
	if (!w->path) {
		bus_work_free(&w->work);
		return -ENOMEM;
	}
	/* One at a time for each user, so that nobody fills the pool with paths that hang. */
	(void)snprintf(key, sizeof(key), "path/%" PRIu32, uid);
	r = bus_work_submit(&w->work, EXEC_WORK, key);
	return r < 0 ? bus_op_error(error, r, NULL) : 0;
}

int bus_find_region(Manager *m, sd_bus_message *call, uint32_t uid, const char *name,
	BusRegionFound found, sd_bus_error *error)
{
	Region *region = NULL;
	int r;

	if (name[0] == '/') {
		r = bus_check_text(error, "path", name, PATH_MAX - 1, false);
		return r < 0 ? r : find_by_path(m, call, uid, name, found, error);
	}
	r = bus_check_text(error, "region", name, PML_NAME_LEN - 1, false);
	if (r < 0)
		return r;
	r = manager_find_region(m, name, &region);
	if (r == -ENOTUNIQ)
		(void)bus_error(error, PML_ERROR_AMBIGUOUS,
			"Several regions carry the UUID %s; name one by its id (UUID@NAME), and give them UUIDs of their own.",
			name);
	else if (r < 0)
		(void)bus_error(error, PML_ERROR_NO_SUCH_REGION,
			"There is no region %s; pmemlease regions lists them.", name);
	return found(m, call, uid, region, error);
}

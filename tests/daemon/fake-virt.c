/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/epoll.h>

#include "fake-virt.h"
#include "util.h"

struct Virt {
	Executors *x;
	void (*on_event)(void *data, const VirtEvent *ev);
	void *data;
	bool connected;
	sd_event_source *source;
	int events_fd;
};

static const char *virt_dir;
static sd_event *virt_event;

void fake_virt_use(sd_event *event, const char *dir)
{
	virt_event = event;
	virt_dir = dir;
}

static void path_of(char *path, size_t size, const char *name, const char *suffix)
{
	(void)snprintf(path, size, "%s/%s%s", virt_dir, name, suffix);
}

static FILE *virt_open(const char *name, const char *suffix, const char *mode)
{
	char path[512];

	path_of(path, sizeof(path), name, suffix);
	return fopen(path, mode);
}

static void note_call(const char *op, const char *subject)
{
	_cleanup_fclose_ FILE *f = virt_open("calls", "", "ae");

	if (f)
		(void)fprintf(f, "%s %s\n", op, subject);
}

/* What every call does first: is noted, hangs if it is to, and answers what the test has written
 * for it. */
static bool scripted(const char *op, const char *subject, int *ret, char **ret_why)
{
	_cleanup_close_ int fifo = -EBADF;
	_cleanup_fclose_ FILE *f = NULL;
	char path[512], why[256] = "";
	int r;

	note_call(op, subject);
	path_of(path, sizeof(path), op, ".hang");
	fifo = open(path, O_RDONLY | O_CLOEXEC);
	f = virt_open(op, ".result", "re");
	if (!f || fscanf(f, "%d %255[^\n]", &r, why) < 1)
		return false;
	*ret = r;
	if (ret_why && r > 0)
		*ret_why = strdup(why);
	return true;
}

static int domain_read(const char *uuid, VirtDomain *ret)
{
	_cleanup_fclose_ FILE *f = virt_open(uuid, "", "re");
	char state[16];

	*ret = (VirtDomain){};
	if (strchr(uuid, '/') || !f || fscanf(f, "%127s %15s", ret->name, state) != 2)
		return VIRT_NO_DOMAIN;
	(void)PML_STRCPY(ret->uuid, uuid);
	ret->running = strcmp(state, "paused") == 0 || strcmp(state, "running") == 0;
	return 0;
}

static int domain_write(const char *uuid, const char *state)
{
	VirtDomain d;
	FILE *f;

	if (domain_read(uuid, &d) != 0)
		return VIRT_NO_DOMAIN;
	f = virt_open(uuid, "", "we");
	if (!f)
		return -errno;
	(void)fprintf(f, "%s %s\n", d.name, state);
	return fclose(f) == 0 ? 0 : -errno;
}

static int fake_find(Virt *v, const char *domain, VirtDomain *ret, char **ret_why)
{
	int r;

	if (scripted("find", domain, &r, ret_why))
		return r;
	return v->connected ? domain_read(domain, ret) : VIRT_UNAVAILABLE;
}

static int fake_suited(
	Virt *v, const char *domain, const VirtMemory *mem, VirtDomain *ret, char **ret_why)
{
	int r;

	if (scripted("suited", domain, &r, ret_why))
		return r;
	if (!v->connected)
		return VIRT_UNAVAILABLE;
	r = domain_read(domain, ret);
	return r == 0 && !ret->running ? VIRT_NOT_RUNNING : r;
}

static int fake_attach(Virt *v, const char *uuid, const VirtMemory *mem, char **ret_why)
{
	FILE *f;
	int r;

	if (scripted("attach", uuid, &r, ret_why))
		return r;
	f = virt_open(uuid, ".devices", "ae");
	if (!f)
		return -errno;
	(void)fprintf(f, "%s\n", mem->alias);
	return fclose(f) == 0 ? 0 : -errno;
}

static int fake_has_device(
	Virt *v, const char *uuid, const VirtMemory *mem, bool *ret, char **ret_why)
{
	_cleanup_fclose_ FILE *f = NULL;
	char line[256];
	int r;

	if (scripted("has_device", uuid, &r, ret_why))
		return r;
	f = virt_open(uuid, ".devices", "re");
	*ret = false;
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, mem->alias) == 0)
			*ret = true;
	}
	return 0;
}

static int fake_define(Virt *v, const char *uuid, const VirtMemory *mem, bool on, char **ret_why)
{
	int r;

	return scripted(on ? "define" : "undefine", uuid, &r, ret_why) ? r : 0;
}

static int fake_pinned(
	Virt *v, const char *uuid, char ret_name[static PML_NAME_LEN], char **ret_why)
{
	VirtDomain d;
	int r;

	ret_name[0] = '\0';
	if (domain_read(uuid, &d) == 0)
		(void)pml_strcpy(ret_name, PML_NAME_LEN, d.name);
	return scripted("pinned", uuid, &r, ret_why) ? r : 0;
}

static int fake_pause(
	Virt *v, const char *uuid, void (*before)(void *data), void *data, char **ret_why)
{
	int r;

	if (scripted("pause", uuid, &r, ret_why))
		return r;
	if (before)
		before(data);
	r = domain_write(uuid, "paused");
	return r == VIRT_NO_DOMAIN ? 0 : r;
}

static int fake_destroy(Virt *v, const char *uuid, char **ret_why)
{
	int r;

	if (scripted("destroy", uuid, &r, ret_why))
		return r;
	r = domain_write(uuid, "off");
	return r == VIRT_NO_DOMAIN ? 0 : r;
}

static bool fake_connected(Virt *v)
{
	return v->connected;
}

static void post_connected(void *userdata)
{
	Virt *v = userdata;

	v->connected = true;
	v->on_event(v->data, &(VirtEvent){.type = VIRT_EV_CONNECTED});
}

static int on_events(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	Virt *v = userdata;
	char buf[512], *save = NULL;
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return 0;
	buf[n] = '\0';
	for (char *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		VirtEvent ev = {.type = VIRT_EV_CONNECTED};

		if (strcmp(line, "disconnected") == 0)
			ev.type = VIRT_EV_DISCONNECTED;
		if (sscanf(line, "stopped %39s", ev.domain) == 1)
			ev.type = VIRT_EV_DOMAIN_STOPPED;
		else
			v->connected = ev.type == VIRT_EV_CONNECTED;
		v->on_event(v->data, &ev);
	}
	return 0;
}

static int fake_start(void *userdata, Executors *x, const char *uri,
	void (*on_event)(void *data, const VirtEvent *ev), void *data, Virt **ret)
{
	Virt *v = calloc(1, sizeof(*v));
	char path[512];
	int r = 0;

	if (!v)
		return -ENOMEM;
	v->x = x;
	v->on_event = on_event;
	v->data = data;
	/* For both directions, so that it never reads as ended. */
	path_of(path, sizeof(path), "events", "");
	v->events_fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (v->events_fd >= 0)
		r = sd_event_add_io(virt_event, &v->source, v->events_fd, EPOLLIN, on_events, v);
	path_of(path, sizeof(path), "down", "");
	if (r >= 0 && access(path, F_OK) < 0)
		r = exec_post(x, post_connected, v);
	if (r >= 0)
		*ret = v;
	return r;
}

static Virt *fake_free(Virt *v)
{
	sd_event_source_disable_unref(v->source);
	closep(&v->events_fd);
	free(v);
	return NULL;
}

static int fake_host(Virt *v, VirtHost *ret, char **ret_why)
{
	int r = 0;

	if (!scripted("host", "", &r, ret_why))
		*ret = (VirtHost){.version = 9001002, .security = "apparmor dac"};
	return r;
}

static int fake_release(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t timeout_usec,
	VirtRelease *release, char **ret_why)
{
	int r;

	if (scripted("release", uuid, &r, ret_why)) {
		release->pid = 1;
		release->over = true;
		release->released = r == 0;
		return r;
	}
	return VIRT_NO_AGENT;
}

static int fake_agent(Virt *v, const char *uuid, char **ret_why)
{
	int r;

	return scripted("agent", uuid, &r, ret_why) ? r : 0;
}

const VirtOps fake_virt_ops = {
	.start = fake_start,
	.free = fake_free,
	.connected = fake_connected,
	.find = fake_find,
	.suited = fake_suited,
	.attach = fake_attach,
	.has_device = fake_has_device,
	.define = fake_define,
	.pinned = fake_pinned,
	.pause = fake_pause,
	.destroy = fake_destroy,
	.release = fake_release,
	.agent = fake_agent,
	.host = fake_host,
};

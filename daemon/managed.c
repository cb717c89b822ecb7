/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The list that libvirt's hook goes by when the daemon does not answer: which devices no machine
 * may have without it. It lies with the ledger, not in /run, so that it is there after a boot in
 * which the daemon could not start at all. Written by
 * the ledger's thread, whose last write the daemon's end waits for.
 */

#include "log.h"
#include "manager.h"
#include "util.h"

#define HEADER                                                                                     \
	"# Devices that pmemleased manages, for libvirt's hook while the daemon is down. Written by it."

typedef struct ManagedWrite {
	char *dir;
	char *text;
} ManagedWrite;

static void write_free(ManagedWrite *w)
{
	free(w->dir);
	free(w->text);
	free(w);
}

static int write_whole(int fd, const char *s)
{
	for (size_t n = strlen(s); n > 0;) {
		ssize_t k = write(fd, s, n);

		if (k < 0)
			return -errno;
		s += k;
		n -= (size_t)k;
	}
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int write_run(void *userdata)
{
	const ManagedWrite *w = userdata;
	_cleanup_close_ int dir = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (dir < 0)
		return -errno;
	fd = openat(dir, PML_MANAGED_FILE ".new",
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_whole(fd, w->text);
	if (r < 0)
		return r;
	return renameat(dir, PML_MANAGED_FILE ".new", dir, PML_MANAGED_FILE) < 0 ? -errno : 0;
}

static void write_done(void *userdata, int r)
{
	if (r < 0)
		log_warning(
			"The list of managed devices cannot be written (%s): while the daemon is down, libvirt's hook goes by an old one.",
			strerror(-r));
	write_free(userdata);
}

static char *list(const Manager *m)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	const Region *r;

	if (!f)
		return NULL;
	(void)fprintf(f, "%s\n", HEADER);
	/* One that is missing may be back before the daemon is. */
	LIST_FOREACH (r, &m->regions, regions) {
		const char *path = r->last ? pml_region_path(r->last) : NULL;

		if (path && !strchr(path, '\n'))
			(void)fprintf(f, "%s\n", path);
	}
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

void managed_update(Manager *m, bool at_start)
{
	_cleanup_free_ char *text = list(m);
	ManagedWrite *w;

	if (!text || pml_streq(text, m->managed))
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->dir = strdup(m->config.state_dir);
	w->text = strdup(text);
	if (!w->dir || !w->text) {
		write_free(w);
		return;
	}
	if (at_start) {
		write_done(w, write_run(w));
	} else if (exec_submit(m->exec, EXEC_LEDGER, NULL, write_run, write_done, w) < 0) {
		write_free(w);
		return;
	}
	free(m->managed);
	m->managed = TAKE_PTR(text);
}

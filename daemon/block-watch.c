/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "block-watch.h"

#include <inttypes.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>

#include "log.h"
#include "util.h"

#define SECTOR_BYTES 512U

static FILE *open_attribute(dev_t devno, const char *name)
{
	char path[96];

	(void)snprintf(
		path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(devno), minor(devno), name);
	return fopen(path, "re");
}

/* False where it cannot be told: a device that has gone brings an event. */
static bool size_differs(const PmlRegion *host)
{
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t sectors;

	if (pml_region_kind(host) != PML_KIND_BDEV || pml_region_devno(host) == 0)
		return false;
	f = open_attribute(pml_region_devno(host), "size");
	return f && fscanf(f, "%" SCNu64, &sectors) == 1 &&
	       sectors != pml_region_size_bytes(host) / SECTOR_BYTES;
}

void block_watch_look(Manager *m)
{
	const Region *r;

	LIST_FOREACH (r, &m->regions, regions)
		if (r->host && size_differs(r->host)) {
			(void)manager_rescan(m, NULL, NULL);
			return;
		}
}

static int on_disk_closed(sd_event_source *s, const struct inotify_event *ev, void *userdata)
{
	const Region *r = userdata;

	/* Looking at it closes it, too: nothing is opened here as long as nothing has changed. */
	if (r->host && size_differs(r->host))
		(void)manager_rescan(r->manager, NULL, NULL);
	return 0;
}

/* The node of the disk that it is a partition of. False: it is none. */
static bool disk_node(dev_t devno, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *partition = open_attribute(devno, "partition"), *f = NULL;
	char line[PML_NAME_LEN], name[PML_NAME_LEN];

	if (partition)
		f = open_attribute(devno, "../uevent");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "DEVNAME=%127s", name) == 1)
			return (size_t)snprintf(ret, size, "/dev/%s", name) < size;
	return false;
}

void block_watch_update(Region *r)
{
	dev_t devno = r->host && pml_region_kind(r->host) == PML_KIND_BDEV
			      ? pml_region_devno(r->host)
			      : 0;
	char node[PML_NAME_LEN + sizeof("/dev/")];
	int e;

	if (devno == r->disk_watched)
		return;
	block_watch_stop(r);
	r->disk_watched = devno;
	if (devno == 0 || !disk_node(devno, node, sizeof(node)))
		return;
	e = sd_event_add_inotify(
		r->manager->event, &r->disk_watch, node, IN_CLOSE, on_disk_closed, r);
	if (e < 0)
		log_full(LOG_WARNING, &(LogFields){.region = r->id},
			"%s cannot be watched (%s): a resize of %s is seen later.", node,
			strerror(-e), region_label(r));
}

void block_watch_stop(Region *r)
{
	r->disk_watch = sd_event_source_disable_unref(r->disk_watch);
	r->disk_watched = 0;
}

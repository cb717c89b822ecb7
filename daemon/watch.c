/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/epoll.h>

#include "ops-internal.h"
#include "util.h"

#define HOLDERS_NAMED_MAX 4

struct Watch {
	Watch *next;
	Region *region;
	sd_event_source *source;
	int pidfd;
	bool holder; /* of a proof; else the machine of the lease */
	WatchFn fn;
};

static void watch_free(Watch *w)
{
	sd_event_source_disable_unref(w->source);
	closep(&w->pidfd);
	free(w);
}

static int on_exit_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	Watch *w = userdata;
	Region *region = w->region;
	WatchFn fn = w->fn;

	for (Watch **p = &region->watches; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			watch_free(w);
			break;
		}
	fn(region);
	return 0;
}

int watch_add(Region *region, int pidfd, bool holder, WatchFn fn)
{
	Watch *w;
	int r;

	w = calloc(1, sizeof(*w));
	if (!w) {
		closep(&pidfd);
		return -ENOMEM;
	}
	*w = (Watch){.region = region, .pidfd = pidfd, .holder = holder, .fn = fn};
	r = sd_event_add_io(region->manager->event, &w->source, pidfd, EPOLLIN, on_exit_event, w);
	if (r < 0) {
		watch_free(w);
		return r;
	}
	w->next = region->watches;
	region->watches = w;
	return 0;
}

bool watch_any(const Region *region, bool holder)
{
	for (const Watch *w = region->watches; w; w = w->next)
		if (w->holder == holder)
			return true;
	return false;
}

void watch_drop(Region *region, bool holder)
{
	for (Watch **p = &region->watches; *p;) {
		Watch *w = *p;

		if (w->holder != holder) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		watch_free(w);
	}
}

/* "qemu-system-x86 (pid 812, machine-qemu…scope), …": who is left, for a refusal. NULL: out of
 * memory. */
static char *holders_named(const PmlProof *proof)
{
	_cleanup_free_ char *names = NULL;
	const PmlHolder *h;
	size_t i;

	if (pml_proof_n_holders(proof) == 0)
		return strdup(
			"open files that belong to no process, such as a descriptor in flight on a socket");
	pml_proof_foreach_holder (proof, i, h) {
		char *longer;

		if (i == HOLDERS_NAMED_MAX)
			return asprintf(&longer, "%s and %zu more", names,
				       pml_proof_n_holders(proof) - i) < 0
				       ? NULL
				       : longer;
		if (asprintf(&longer, "%s%s%s (pid %d%s%s)", names ? names : "", names ? ", " : "",
			    h->command, (int)h->pid, h->unit[0] ? ", " : "", h->unit) < 0)
			return NULL;
		free(names);
		names = longer;
	}
	return TAKE_PTR(names);
}

int watch_holders(Region *region, const PmlProof *proof, WatchFn fn, bool *ret_blind)
{
	bool blind = pml_proof_n_holders(proof) == 0;
	const PmlHolder *h;
	size_t i;

	watch_drop(region, true);
	free(region->held_by);
	region->held_by = holders_named(proof);
	pml_proof_foreach_holder (proof, i, h) {
		int fd = -EBADF, r;

		if (h->pidfd >= 0) {
			fd = fcntl(h->pidfd, F_DUPFD_CLOEXEC, 3);
			r = fd < 0 ? -errno : 0;
		} else {
			r = op_pidfd_open(h->pid, h->start_ticks, &fd);
		}
		/* One that has ended since is no reason to wait for anything: the clock proves
		 * again, soon, however often it had to before. */
		if (r == -ESRCH)
			region->retry_usec = 0;
		if (r < 0 || watch_add(region, fd, true, fn) < 0)
			blind = true;
	}
	if (pml_proof_verdict(proof) == PML_PROOF_UNEXPLAINED)
		blind = true;
	/* For whom the kernel holds pages is seen nowhere, and his end neither, whoever else is
	 * seen. */
	if (pml_proof_kernel_refs(proof) > 0 && pml_proof_kernel_refs(proof) != UINT64_MAX)
		blind = true;
	*ret_blind = blind;
	return 0;
}

void op_watches_free(Region *region)
{
	watch_drop(region, true);
	watch_drop(region, false);
}

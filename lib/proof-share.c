/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Passes over /proc that several proofs made at the same time have in common. A pass sees the files
 * of every device-dax device anyway, and what makes it evidence for a proof is that it began after
 * the proof did. So that of sixty-four evictions at once each makes its own fence, and none waits
 * for sixty-three others to read the same processes.
 */

#include <pthread.h>

#include "proof-internal.h"
#include "util.h"

/* A pass that takes longer hangs on a process whose memory is locked: nobody waits for it. */
#define SHARE_PATIENCE_USEC (2 * USEC_PER_SEC)

static struct {
	pthread_mutex_t lock;
	pthread_cond_t finished;
	bool running;
	uint64_t begun; /* passes that were ever begun: the number of the newest */
	uint64_t begun_usec;
	ProofPass *last; /* the newest that came to its end */
	uint64_t last_number;
} share = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t share_once = PTHREAD_ONCE_INIT;

static void share_init(void)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&share.finished, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static int scan_alone(const ProofHooks *hooks, uint64_t deadline_usec, ProofPass **ret)
{
	ProofPass *pass = proof_pass_new();
	int r;

	if (!pass)
		return -ENOMEM;
	r = proof_scan(hooks, 0, deadline_usec, pass);
	if (r < 0) {
		proof_pass_unref(pass);
		return r;
	}
	*ret = pass;
	return 0;
}

/* The caller makes the pass, for itself and for who waits. Locked before and after. */
static int lead(const ProofHooks *hooks, uint64_t deadline_usec, ProofPass **ret)
{
	uint64_t number = ++share.begun;
	int r;

	share.running = true;
	share.begun_usec = pml_now_usec(CLOCK_MONOTONIC);
	pthread_mutex_unlock(&share.lock);
	r = scan_alone(hooks, deadline_usec, ret);
	pthread_mutex_lock(&share.lock);
	share.running = false;
	/* What our deadline cut off is no answer to those whose deadline is later. */
	if (r == 0)
		(*ret)->number = number;
	if (r == 0 && !(*ret)->overtaken && number > share.last_number) {
		proof_pass_unref(share.last);
		share.last = proof_pass_ref(*ret);
		share.last_number = number;
	}
	pthread_cond_broadcast(&share.finished);
	return r;
}

static void wait_until(uint64_t usec)
{
	const struct timespec until = {
		.tv_sec = (time_t)(usec / USEC_PER_SEC),
		.tv_nsec = (long)(usec % USEC_PER_SEC) * 1000,
	};

	(void)pthread_cond_timedwait(&share.finished, &share.lock, &until);
}

int proof_scan_shared(const ProofHooks *hooks, uint64_t deadline_usec, ProofPass **ret)
{
	uint64_t wanted;
	int r = 0;

	(void)pthread_once(&share_once, share_init);
	pthread_mutex_lock(&share.lock);
	/* One that runs now may have gone by what matters to us. */
	wanted = share.begun + 1;
	for (;;) {
		uint64_t patience = share.begun_usec + SHARE_PATIENCE_USEC;
		uint64_t until = patience < deadline_usec ? patience : deadline_usec;

		if (share.last && share.last_number >= wanted) {
			*ret = proof_pass_ref(share.last);
			break;
		}
		if (!share.running) {
			r = lead(hooks, deadline_usec, ret);
			break;
		}
		if (pml_now_usec(CLOCK_MONOTONIC) >= until) {
			pthread_mutex_unlock(&share.lock);
			return scan_alone(hooks, deadline_usec, ret);
		}
		wait_until(until);
	}
	pthread_mutex_unlock(&share.lock);
	return r;
}

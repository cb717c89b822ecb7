// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once, for a while: processes that open, map, fork, pin, touch
 * and want to be told, while the device is revoked, unbound and bound again. No access may
 * succeed that begins after the end of the binding it belongs to, and the
 * kernel must stay quiet (which whoever runs this has to look at).
 *
 *	12-stress DEVICE [SECONDS [with-others]]
 *
 * With others, somebody else takes the device away as well, and brings it
 * back: then nobody knows here which binding an access belonged to, or whether
 * there is a device to unbind, and only the kernel's quiet is asked for.
 */
#include <linux/io_uring.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "daxtest.h"

#define WORKERS 4
/* Longer than one binding lasts: somebody's pins are waited for. */
#define PATIENCE_MS 30000

static struct shared {
	/* of the binding that is there, or is about to be there */
	_Atomic uint64_t epoch;
	/* up to this one they have ended: nobody may have access */
	_Atomic uint64_t gone;
	_Atomic uint64_t touched, refused, stale, opened, pinned, notified, told;
	_Atomic bool stop;
} * shared;

static size_t align;

static void touch_some(volatile uint8_t *address, uint64_t epoch, int n)
{
	uint64_t gone;

	while (n--) {
		gone = shared->gone;
		if (touch(address, n)) {
			shared->refused++;
			return;
		}
		shared->touched++;
		if (gone >= epoch)
			shared->stale++;
	}
}

static void pin(void *address)
{
	struct iovec iov = {.iov_base = address, .iov_len = align};
	struct io_uring_params params = {};
	int ring = syscall(__NR_io_uring_setup, 4, &params);

	if (ring < 0)
		return;
	if (!syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)) {
		shared->pinned++;
		pause_ms(random() % 20);
	}
	close(ring);
}

static void work(void)
{
	volatile uint8_t *address;
	uint64_t epoch;
	pid_t child;
	int fd, i;

	while (!shared->stop) {
		epoch = shared->epoch;
		fd = dax_open();
		if (fd < 0) {
			pause_ms(1);
			continue;
		}
		address = mmap(NULL, align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (address == MAP_FAILED || epoch != shared->epoch) {
			if (address != MAP_FAILED)
				munmap((void *)address, align);
			close(fd);
			continue;
		}
		shared->opened++;
		if (random() % 2) {
			close(fd);
			fd = -1;
		}
		child = random() % 3 ? -1 : fork();
		touch_some(address, epoch, random() % 1000);
		if (!child)
			_exit(0);
		if (random() % 4 == 0)
			pin((void *)address);
		/* until after the next binding, or the one after that */
		for (i = 0; i < 20 && !shared->stop; i++) {
			touch_some(address, epoch, 1);
			pause_ms(random() % 5);
		}
		munmap((void *)address, align);
		if (fd >= 0)
			close(fd);
		if (child > 0)
			waitpid(child, NULL, 0);
	}
	_exit(0);
}

static void told(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_code != BUS_MCEERR_AO)
		_exit(1);
	shared->told++;
}

/*
 * Has it mapped, touches nothing, and has asked for early notice. Mostly it stays until the binding
 * is over, however long a revocation takes on this kernel, and now and then it leaves meanwhile.
 */
static void listen_early(void)
{
	struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO | SA_RESTART};
	int64_t end, leave_ms;
	uint64_t epoch;
	void *address;
	int fd;

	sigaction(SIGBUS, &action, NULL);
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	while (!shared->stop) {
		epoch = shared->epoch;
		fd = dax_open();
		address = fd < 0 ? MAP_FAILED
				 : mmap(NULL, align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		leave_ms = address == MAP_FAILED ? 1
			   : random() % 4 == 0	 ? random() % 150
						 : PATIENCE_MS;
		for (end = now_ms() + leave_ms; now_ms() < end && !shared->stop;) {
			pause_ms(1);
			if (address != MAP_FAILED && shared->epoch != epoch)
				break;
		}
		if (address != MAP_FAILED)
			munmap(address, align);
		if (fd >= 0)
			close(fd);
	}
	_exit(0);
}

static bool revoke_and_wait(uint64_t epoch)
{
	char text[64], generation[64];
	int i;

	if (dax_read("generation", generation, sizeof(generation)) ||
		dax_write("revoke", generation))
		return false;
	for (i = 0; i < 1000; i++) {
		if (dax_read("revoke_state", text, sizeof(text)))
			return false;
		if (!strcmp(text, "revoked") || !strcmp(text, "held")) {
			shared->gone = epoch;
			if (random() % 2 && !dax_write("revoke_notify", generation))
				shared->notified++;
			return true;
		}
		pause_ms(1);
	}
	return false;
}

/* Pins may outlast the unbinding's patience: then the memory is quarantined for a while. */
static int bind_when_free(uint64_t *quarantined)
{
	int64_t end = now_ms() + 20000;
	int rc = dax_bind();

	*quarantined += rc == -EBUSY;
	while (rc == -EBUSY && now_ms() < end) {
		pause_ms(5);
		rc = dax_bind();
	}
	return rc;
}

int main(int argc, char **argv)
{
	int64_t end;
	bool others = argc > 3 && !strcmp(argv[3], "with-others");
	uint64_t rounds = 0, revoked = 0, quarantined = 0;
	pid_t workers[WORKERS + 1];
	int i, rc = 0, status = 0;

	dax_test_init(argc, argv);
	align = dax_align();
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	shared->epoch = 1;
	for (i = 0; i <= WORKERS; i++) {
		workers[i] = fork();
		if (!workers[i]) {
			srandom(i);
			if (i == WORKERS)
				listen_early();
			work();
		}
	}
	end = now_ms() + (argc > 2 ? atoi(argv[2]) : 60) * 1000L;
	while (now_ms() < end) {
		/* at times for so long that everybody has it mapped */
		pause_ms(random() % (random() % 2 ? 10 : 100));
		if (random() % 2)
			revoked += revoke_and_wait(shared->epoch);
		rc = dax_unbind();
		if (rc && !others)
			break;
		shared->gone = (uint64_t)shared->epoch;
		shared->epoch++;
		rc = bind_when_free(&quarantined);
		if (rc && !others)
			break;
		rounds += rc == 0;
		rc = 0;
	}
	shared->stop = true;
	for (i = 0; i <= WORKERS; i++)
		waitpid(workers[i], &status, 0);
	printf("# %llu bindings, %llu revoked, %llu quarantined; %llu mappings, %llu touches, "
	       "%llu refused, %llu pins, %llu notices of %llu orders\n",
		(unsigned long long)rounds, (unsigned long long)revoked,
		(unsigned long long)quarantined, (unsigned long long)shared->opened,
		(unsigned long long)shared->touched, (unsigned long long)shared->refused,
		(unsigned long long)shared->pinned, (unsigned long long)shared->told,
		(unsigned long long)shared->notified);
	ksft_check(rc == 0, "unbound and bound each time (%d)", rc);
	ksft_check(rounds > 10 && shared->touched && shared->refused, "it was put to the test");
	/* the last one that was waited for; a signal of another kind would have ended it */
	ksft_check(status == 0, "who asked for early notice got no other signal (%#x)", status);
	/* each has its chance: of a few it may have missed all */
	ksft_check(shared->told > 0 || shared->notified < 10, "and was told (%llu of %llu orders)",
		(unsigned long long)shared->told, (unsigned long long)shared->notified);
	if (!others)
		ksft_check(shared->stale == 0, "no access after the end of a binding (%llu)",
			(unsigned long long)shared->stale);
	return ksft_finish();
}

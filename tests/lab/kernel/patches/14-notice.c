// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who asked for early notice is told of a revocation, once for a mapping of any size, when whoever
 * has revoked wants that; and nobody else is.
 */
#include <poll.h>
#include <sys/prctl.h>

#include "daxtest.h"

#define NOTICE_TIMEOUT_MS 10000
/* By then a notice that was sent has long arrived: those that are expected did. */
#define SILENCE_MS 500

static size_t align, size;

static volatile sig_atomic_t notices;
static volatile uintptr_t notice_address;
static volatile int notice_lsb, notice_code;

static void notice(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	notices++;
	notice_code = info->si_code;
	notice_address = (uintptr_t)info->si_addr;
	notice_lsb = info->si_addr_lsb;
}

/* What a task that has the device mapped is told to do, and what it tells. */
struct task {
	pid_t pid;
	int in, out;
};

struct told {
	int notices, code, lsb;
	size_t offset;
};

static void *map(int fd, size_t bytes)
{
	void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (address == MAP_FAILED)
		die("mmap");
	return address;
}

/* Answers each byte with what it was told until then. */
static void answer(const struct task *task, const char *address)
{
	struct told told = {};
	char byte;
	ssize_t n;

	while ((n = read(task->in, &byte, 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		told.notices = notices;
		told.code = notice_code;
		told.lsb = notice_lsb;
		told.offset = notice_address - (uintptr_t)address;
		if (n < 0 || write(task->out, &told, sizeof(told)) != sizeof(told))
			_exit(1);
	}
	_exit(0);
}

/* A task with a mapping of all of the device, each page touched. */
static struct task start(bool early)
{
	struct sigaction action = {.sa_sigaction = notice, .sa_flags = SA_SIGINFO | SA_RESTART};
	int to[2], from[2], fd = dax_open();
	struct task task;
	char *address;
	char byte = 0;

	if (fd < 0 || pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
		die("start");
	task = (struct task){.in = to[1], .out = from[0]};
	fflush(stdout);
	task.pid = fork();
	if (task.pid < 0)
		die("fork");
	if (task.pid > 0) {
		close(to[0]);
		close(from[1]);
		close(fd);
		if (read(task.out, &byte, 1) != 1)
			die("a task that has it mapped");
		return task;
	}
	close(to[1]);
	close(from[0]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, early ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE, 0, 0);
	sigaction(SIGBUS, &action, NULL);
	address = map(fd, size);
	for (size_t at = 0; at < size; at += align)
		address[at] = 1;
	if (write(from[1], &byte, 1) != 1)
		_exit(1);
	task.in = to[0];
	task.out = from[1];
	answer(&task, address);
	_exit(1);
}

static struct told ask(const struct task *task)
{
	struct told told = {};

	if (write(task->in, "?", 1) != 1 || read(task->out, &told, sizeof(told)) != sizeof(told))
		told.notices = -1;
	return told;
}

/* Until it has been told something, or for @timeout_ms. */
static struct told wait_told(const struct task *task, int64_t timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	struct told told;

	for (;;) {
		told = ask(task);
		if (told.notices != 0 || now_ms() >= end)
			return told;
		pause_ms(10);
	}
}

static void end(struct task *task)
{
	close(task->in);
	close(task->out);
	kill(task->pid, SIGKILL);
	waitpid(task->pid, NULL, 0);
}

static bool revoked(void)
{
	int64_t last = now_ms() + 20000;
	char state[32];

	do {
		if (dax_read("revoke_state", state, sizeof(state)))
			return false;
		if (!strcmp(state, "revoked"))
			return true;
		pause_ms(10);
	} while (now_ms() < last);
	return false;
}

static int order(const char *attribute, uint64_t generation)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)generation);
	return dax_write(attribute, text);
}

int main(int argc, char **argv)
{
	struct task earlier, early, late;
	uint64_t generation, next;
	struct told told;

	dax_test_init(argc, argv);
	align = dax_align();
	size = dax_read_u64("size");
	generation = dax_read_u64("generation");
	earlier = start(true);
	ksft_check(
		order("revoke_notify", generation) == -EBUSY, "no notice of what is not revoked");
	ksft_check(order("revoke", generation) == 0 && revoked(), "revoked");
	told = wait_told(&earlier, SILENCE_MS);
	ksft_check(told.notices == 0, "that alone tells nobody (%d)", told.notices);
	if (dax_unbind() || dax_bind())
		die("bind again");

	next = dax_read_u64("generation");
	early = start(true);
	late = start(false);
	ksft_check(order("revoke", next) == 0 && revoked(), "the next binding is revoked");
	ksft_check(order("revoke_notify", generation) == -ESTALE, "the earlier one is stale");
	ksft_check(order("revoke_notify", next) == 0, "those who asked for it are to be told");
	told = wait_told(&early, NOTICE_TIMEOUT_MS);
	ksft_check(told.notices == 1, "who asked is told, once (%d)", told.notices);
	ksft_check(told.code == BUS_MCEERR_AO, "that it is optional to act (%d)", told.code);
	ksft_check(told.offset == 0, "at the begin of its mapping (%#zx)", told.offset);
	ksft_check(1UL << told.lsb >= align && 1UL << told.lsb <= size,
		"of at least a page and at most all of it (%d bits)", told.lsb);
	told = wait_told(&late, SILENCE_MS);
	ksft_check(told.notices == 0, "who did not ask is not (%d)", told.notices);
	told = ask(&earlier);
	ksft_check(told.notices == 0, "nor who had an earlier binding (%d)", told.notices);
	ksft_check(order("revoke_notify", next) == 0, "told again");
	for (int i = 0; i < 500 && ask(&early).notices < 2; i++)
		pause_ms(10);
	ksft_check(ask(&early).notices == 2, "means told again");
	end(&early);
	end(&late);
	end(&earlier);
	ksft_check(dax_unbind() == 0 && dax_bind() == 0, "unbound and bound");
	ksft_check(order("revoke_notify", next) == -ESTALE, "the next binding knows nothing of it");
	return ksft_finish();
}

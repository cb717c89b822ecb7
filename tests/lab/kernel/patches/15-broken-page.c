// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page that is broken is taken away from everybody, whether they are told or not; nobody gets it
 * again in this binding; and it is counted once, until the device is unbound.
 */
#include <sys/prctl.h>

#include "daxtest.h"

#define PAGE	     4096
#define OFFLINE_PAGE "/sys/devices/system/memory/hard_offline_page"

static size_t align;

static volatile sig_atomic_t notices;
static volatile uintptr_t notice_address;
static volatile int notice_code;

static void notice(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	notices++;
	notice_code = info->si_code;
	notice_address = (uintptr_t)info->si_addr;
}

/* Does on request, in a task of its own, what it is asked to, and answers with the result. */
struct task {
	pid_t pid;
	int in, out;
};

struct told {
	int notices, code;
	size_t offset;
};

struct request {
	enum { TOUCH, TOLD } what;
	size_t offset;
};

static void serve(int in, int out, char *map)
{
	struct request request;
	struct told told;
	ssize_t n;
	int rc;

	while ((n = read(in, &request, sizeof(request))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(request))
			_exit(1);
		if (request.what == TOUCH) {
			rc = touch((uint8_t *)map + request.offset, 0x5a);
			n = write(out, &rc, sizeof(rc));
		} else {
			told = (struct told){
				.notices = notices,
				.code = notice_code,
				.offset = notice_address - (uintptr_t)map,
			};
			n = write(out, &told, sizeof(told));
		}
		if (n < 0)
			_exit(1);
	}
	_exit(0);
}

static struct task start(size_t size, bool early)
{
	struct sigaction action = {.sa_sigaction = notice, .sa_flags = SA_SIGINFO | SA_RESTART};
	int to[2], from[2], fd = dax_open();
	struct task task;
	char *map;

	if (fd < 0 || pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
		die("start");
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	fflush(stdout);
	task = (struct task){.pid = fork(), .in = to[1], .out = from[0]};
	if (task.pid < 0)
		die("fork");
	if (task.pid == 0) {
		close(to[1]);
		close(from[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_MCE_KILL, PR_MCE_KILL_SET, early ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE, 0,
			0);
		sigaction(SIGBUS, &action, NULL);
		serve(to[0], from[1], map);
	}
	/* what is broken is no business of this task's */
	munmap(map, size);
	close(fd);
	close(to[0]);
	close(from[1]);
	return task;
}

static void ask(const struct task *task, struct request request, void *ret_answer, size_t size)
{
	if (write(task->in, &request, sizeof(request)) != sizeof(request) ||
		read(task->out, ret_answer, size) != (ssize_t)size)
		die("a task that has it mapped");
}

static int touches(const struct task *task, size_t offset)
{
	int rc;

	ask(task, (struct request){.what = TOUCH, .offset = offset}, &rc, sizeof(rc));
	return rc;
}

static struct told told(const struct task *task)
{
	struct told answer;

	ask(task, (struct request){.what = TOLD}, &answer, sizeof(answer));
	return answer;
}

static void end(struct task *task)
{
	close(task->in);
	close(task->out);
	kill(task->pid, SIGKILL);
	waitpid(task->pid, NULL, 0);
}

/* In pages. */
static long corrupted(void)
{
	FILE *meminfo = fopen("/proc/meminfo", "re");
	char line[128];
	long kib = -1;

	while (meminfo && fgets(line, sizeof(line), meminfo) != NULL)
		if (!strncmp(line, "HardwareCorrupted:", 18))
			kib = atol(line + 18);
	if (!meminfo || kib < 0)
		ksft_skip("the kernel knows no memory failures");
	fclose(meminfo);
	return kib / 4;
}

static int broken(size_t offset)
{
	char address[32];

	snprintf(address, sizeof(address), "%#zx", (size_t)dax_read_u64("resource") + offset);
	return write_file(OFFLINE_PAGE, address);
}

int main(int argc, char **argv)
{
	struct task early, late;
	struct told notified;
	size_t first, other, page;
	long before;
	int rc;

	dax_test_init(argc, argv);
	align = dax_align();
	before = corrupted();
	if (access(OFFLINE_PAGE, W_OK) < 0)
		ksft_skip("no hard_offline_page");
	/* not the first page of its block, where a block has more than one */
	page = align > PAGE ? 3 * PAGE : 0;
	first = 2 * align;
	other = 3 * align;
	early = start(8 * align, true);
	late = start(8 * align, false);
	if (touches(&early, first) || touches(&late, first) || touches(&late, other))
		die("memory that is good");

	rc = broken(first + page);
	ksft_check(rc == 0, "a page fails that is mapped (%d)", rc);
	ksft_check(corrupted() == before + 1, "it is counted");
	notified = told(&early);
	ksft_check(notified.notices == 1 && notified.code == BUS_MCEERR_AO,
		"who asked for early notice is told, once (%d)", notified.notices);
	ksft_check(notified.offset == first + page, "of that page (%#zx)", notified.offset);
	ksft_check(told(&late).notices == 0, "who did not ask is not");
	rc = touches(&late, first + page);
	ksft_check(rc == BUS_MCEERR_AR, "but gets BUS_MCEERR_AR by touching it (%d)", rc);
	rc = touches(&early, first + page);
	ksft_check(rc == BUS_MCEERR_AR, "as does who was told (%d)", rc);
	rc = broken(first + page);
	ksft_check(corrupted() == before + 1, "told again, it is not counted again (%d)", rc);
	if (align > PAGE) {
		broken(first);
		ksft_check(corrupted() == before + 2, "another page of the same block is");
		before++;
	}

	rc = broken(4 * align);
	ksft_check(rc == 0, "a page fails that nobody has touched (%d)", rc);
	ksft_check(corrupted() == before + 2, "it is counted");
	rc = touches(&late, 4 * align);
	ksft_check(rc == BUS_MCEERR_AR, "who touches it gets BUS_MCEERR_AR (%d)", rc);
	ksft_check(touches(&late, other) == 0 && touches(&early, 5 * align) == 0,
		"the rest is as it was");
	end(&early);
	end(&late);

	late = start(8 * align, false);
	rc = touches(&late, first);
	ksft_check(rc == BUS_MCEERR_AR, "nor does who comes later get it (%d)", rc);
	end(&late);
	before -= align > PAGE;
	ksft_check(dax_unbind() == 0 && dax_bind() == 0, "unbound and bound");
	ksft_check(
		corrupted() == before, "nothing is left in the count (%ld)", corrupted() - before);
	late = start(8 * align, false);
	ksft_check(touches(&late, first) == 0 && touches(&late, 4 * align) == 0,
		"the next binding begins anew");
	end(&late);
	return ksft_finish();
}

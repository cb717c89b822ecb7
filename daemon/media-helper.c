/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * pmemlease-media: overwrites and verifies one region in a process of its own, because a region
 *that leaves meanwhile gives SIGBUS, and because a process that maps a region is one of its
 *holders.
 *
 *	pmemlease-media --fd N --size BYTES --mode scrub|verify [--threads N] [--parent PID]
 *
 * --fd is the opened and checked device, inherited; --size what it must have. --parent is the
 *process that started it: with it, a parent that was gone before this line was reached is noticed
 *too. Standard output has one line for each event:
 *
 *	progress scrub|verify DONE TOTAL     bytes; DONE never falls within a phase
 *
 * and exactly one last line, which alone says how it ended:
 *
 *	result ok SCRUB_USEC VERIFY_USEC
 *	result bad-block OFFSET SIZE         known before anything was written; nothing was
 *	result not-zero OFFSET               the first byte that did not read back as 0
 *	result cancelled                     by SIGTERM, or by nobody reading any more
 *	result error ERRNO                   EIO: the region left (SIGBUS); EHWPOISON: it gave a
 *memory error; ESTALE: it has another size; EINVAL: wrong arguments
 *
 * The exit status is 0 with "ok" and 1 otherwise; without a result line the helper was killed. It
 *dies with the thread that started it (PR_SET_PDEATHSIG), so start it from one that lives as long
 *as the work.
 */

#include <getopt.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "media.h"
#include "parse.h"
#include "util.h"

static atomic_bool cancelled;

typedef struct Arguments {
	PmlMediaRequest req;
	pid_t parent; /* 0: not said */
} Arguments;

static void on_sigterm(int signal_number)
{
	atomic_store(&cancelled, true);
}

/* Nothing of stdio here: the fault may be anywhere. A line is one write below PIPE_BUF, so none is
 * cut by it. */
static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	static const char gone[] = "result error 5\n", poisoned[] = "result error 133\n";
	ssize_t n;

	_Static_assert(EIO == 5 && EHWPOISON == 133, "the lines above spell these numbers out");
	if (info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO)
		n = write(STDOUT_FILENO, poisoned, sizeof(poisoned) - 1);
	else
		n = write(STDOUT_FILENO, gone, sizeof(gone) - 1);
	_exit(n < 0 ? 2 : 1);
}

static bool say(const char *format, ...) _printf_(1, 2);
static bool say(const char *format, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	return n > 0 && (size_t)n < sizeof(line) && write(STDOUT_FILENO, line, (size_t)n) == n;
}

static void on_progress(
	void *userdata, PmlMediaPhase phase, uint64_t done_bytes, uint64_t total_bytes)
{
	/* Nobody to tell it to is nobody who wants it done. */
	if (!say("progress %s %llu %llu\n", phase == PML_MEDIA_SCRUB ? "scrub" : "verify",
		    (unsigned long long)done_bytes, (unsigned long long)total_bytes))
		atomic_store(&cancelled, true);
}

static int parse_arguments(int argc, char **argv, Arguments *ret)
{
	static const struct option options[] = {
		{"fd", required_argument, NULL, 'f'},
		{"size", required_argument, NULL, 's'},
		{"mode", required_argument, NULL, 'm'},
		{"threads", required_argument, NULL, 't'},
		{"parent", required_argument, NULL, 'p'},
		{0},
	};
	uint64_t fd = INT32_MAX, size = 0, threads = 0, parent = 0;
	const char *mode = NULL;
	int c, r = 0;

	opterr = 0;
	while (r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 'f')
			r = parse_number(optarg, 0, INT32_MAX - 1, &fd);
		else if (c == 's')
			r = parse_number(optarg, 0, INT64_MAX, &size);
		else if (c == 't')
			r = parse_number(optarg, 0, UINT16_MAX, &threads);
		else if (c == 'p')
			r = parse_number(optarg, 0, INT32_MAX, &parent);
		else if (c == 'm')
			mode = optarg;
		else
			r = -EINVAL;
	}
	if (r < 0 || optind != argc || fd == INT32_MAX || size == 0 ||
		(!pml_streq(mode, "scrub") && !pml_streq(mode, "verify")))
		return -EINVAL;
	*ret = (Arguments){
		.req =
			{
				.fd = (int)fd,
				.size_bytes = size,
				.n_threads = (unsigned)threads,
				.scrub = pml_streq(mode, "scrub"),
				.cancel = &cancelled,
				.progress = on_progress,
			},
		.parent = (pid_t)parent,
	};
	return 0;
}

static int set_signals(void)
{
	struct sigaction term = {.sa_handler = on_sigterm, .sa_flags = SA_RESTART};
	struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t wanted;

	/* A daemon that takes its signals from a descriptor has them blocked, and that is
	 * inherited. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGBUS);
	if (sigaction(SIGTERM, &term, NULL) < 0 || sigaction(SIGBUS, &bus, NULL) < 0 ||
		sigaction(SIGPIPE, &ignore, NULL) < 0 ||
		sigprocmask(SIG_UNBLOCK, &wanted, NULL) < 0)
		return -errno;
	return 0;
}

/*
 * The descriptor is open: what is left to do (sysfs attributes of root's, and the mapping) needs
 * root's files but none of root's capabilities. Not dumpable: a core would hold a tenant's bytes.
 */
static int drop_privileges(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
		syscall(SYS_capset, &header, none) < 0)
		return -errno;
	return 0;
}

static int die_with_parent(pid_t parent)
{
	pid_t before = parent > 0 ? parent : getppid();

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	/* One that died before the line above sends no signal any more. */
	return getppid() == before ? 0 : -ECANCELED;
}

static bool say_result(int r, const PmlMediaResult *res)
{
	switch (r) {
	case 0:
		return say("result ok %llu %llu\n", (unsigned long long)res->scrub_usec,
			(unsigned long long)res->verify_usec);
	case PML_MEDIA_BAD_BLOCK:
		return say("result bad-block %llu %llu\n",
			(unsigned long long)res->bad_offset_bytes,
			(unsigned long long)res->bad_size_bytes);
	case PML_MEDIA_NOT_ZERO:
		return say("result not-zero %llu\n", (unsigned long long)res->bad_offset_bytes);
	case PML_MEDIA_CANCELLED:
		return say("result cancelled\n");
	default:
		return say("result error %d\n", -r);
	}
}

int main(int argc, char **argv)
{
	PmlMediaResult res = {0};
	Arguments args;
	int r;

	r = set_signals();
	if (r == 0)
		r = parse_arguments(argc, argv, &args);
	if (r == 0)
		r = die_with_parent(args.parent);
	if (r == 0)
		r = drop_privileges();
	if (r == 0)
		r = pml_media_run(&args.req, &res);
	return say_result(r, &res) && r == 0 ? 0 : 1;
}

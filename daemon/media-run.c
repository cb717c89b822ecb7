/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs pmemlease-media: a process of its own, since it maps the region (a holder) and dies of
 * SIGBUS when the region is taken from it. Its lines come through a pipe, its end through a pidfd;
 * both on the main thread.
 */

#include <inttypes.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "log.h"
#include "ops-internal.h"
#include "util.h"

struct MediaRun {
	sd_event_source *output_source;
	sd_event_source *exit_source;
	int output_fd;
	int pidfd;
	/* The device, until the helper is reaped: one that is ending shows neither files nor
	 * mappings while the kernel still takes them down, and a proof of another region would find
	 * references that nobody explains. */
	int device_fd;
	bool reaped;
	char line[256];
	size_t line_len;
	bool line_too_long;
	bool has_result;
	MediaReport report;
	void (*progress)(void *data, bool verify, uint64_t done_bytes, uint64_t total_bytes);
	void (*done)(void *data, const MediaReport *report);
	void *data;
};

static void on_line(MediaRun *run, const char *line)
{
	uint64_t a, b;
	char phase[16];
	int error;

	if (sscanf(line, "progress %15s %" SCNu64 " %" SCNu64, phase, &a, &b) == 3) {
		run->progress(run->data, pml_streq(phase, "verify"), a, b);
		return;
	}
	if (run->has_result)
		return;
	run->has_result = true;
	if (sscanf(line, "result ok %" SCNu64 " %" SCNu64, &a, &b) == 2)
		run->report = (MediaReport){.outcome = MEDIA_OK, .scrub_usec = a, .verify_usec = b};
	else if (sscanf(line, "result bad-block %" SCNu64 " %" SCNu64, &a, &b) == 2)
		run->report = (MediaReport){
			.outcome = MEDIA_BAD_BLOCK, .offset_bytes = a, .size_bytes = b};
	else if (sscanf(line, "result not-zero %" SCNu64, &a) == 1)
		run->report = (MediaReport){.outcome = MEDIA_NOT_ZERO, .offset_bytes = a};
	else if (pml_streq(line, "result cancelled"))
		run->report = (MediaReport){.outcome = MEDIA_CANCELLED};
	else if (sscanf(line, "result error %d", &error) == 1)
		run->report =
			(MediaReport){.outcome = MEDIA_ERROR, .error = error < 0 ? -error : error};
	else
		run->has_result = false;
}

/* 1: something was read; 0: nothing is there now; -EPIPE: nothing more will come. */
static int read_output(MediaRun *run)
{
	char buf[1024];
	ssize_t n;

	n = read(run->output_fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] != '\n') {
			if (run->line_len + 1 < sizeof(run->line))
				run->line[run->line_len++] = buf[i];
			else
				run->line_too_long = true;
			continue;
		}
		run->line[run->line_len] = 0;
		if (!run->line_too_long)
			on_line(run, run->line);
		run->line_len = 0;
		run->line_too_long = false;
	}
	return 1;
}

static int on_output(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	MediaRun *run = userdata;

	if (read_output(run) >= 0)
		return 0;
	run->output_source = sd_event_source_disable_unref(run->output_source);
	return 0;
}

static int on_exit_event(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	MediaRun *run = userdata;
	siginfo_t info = {};

	run->exit_source = sd_event_source_disable_unref(run->exit_source);
	(void)waitid(P_PIDFD, (id_t)run->pidfd, &info, WEXITED);
	run->reaped = true;
	closep(&run->device_fd);
	run->device_fd = -EBADF;
	/* What it wrote before it ended is still in the pipe; ours is non-blocking, so a stray
	 * writer cannot hold us. */
	while (read_output(run) > 0)
		;
	if (!run->has_result || (run->report.outcome == MEDIA_OK &&
					(info.si_code != CLD_EXITED || info.si_status != 0)))
		run->report = (MediaReport){
			.outcome = MEDIA_ERROR,
			.signal = info.si_code == CLD_EXITED ? 0 : info.si_status,
			.exit_status = info.si_code == CLD_EXITED ? info.si_status : 0,
		};
	run->done(run->data, &run->report);
	return 0;
}

/* Between fork and exec: only what is safe there. */
static void __attribute__((__noreturn__))
child(const char *helper, int fd, int output, char *const argv[], pid_t parent)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* A daemon that is killed leaves no holder behind. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	if (dup2(output, STDOUT_FILENO) < 0 || fcntl(fd, F_SETFD, 0) < 0)
		_exit(126);
	(void)execv(helper, argv);
	_exit(127);
}

static int spawn(MediaRun *run, const char *helper, int fd, unsigned n_threads, uint64_t size_bytes)
{
	char fd_text[16], threads_text[16], size_text[32];
	_cleanup_close_ int write_end = -EBADF;
	char *argv[] = {(char *)helper, (char *)"--fd", fd_text, (char *)"--size", size_text,
		(char *)"--mode", (char *)"scrub", (char *)"--threads", threads_text, NULL};
	pid_t pid, parent = getpid();
	int pipe_fds[2];

	(void)snprintf(fd_text, sizeof(fd_text), "%d", fd);
	(void)snprintf(threads_text, sizeof(threads_text), "%u", n_threads);
	(void)snprintf(size_text, sizeof(size_text), "%" PRIu64, size_bytes);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	run->output_fd = pipe_fds[0];
	write_end = pipe_fds[1];
	/* Only our end: the helper's writes may block, our reads never do. */
	if (fcntl(run->output_fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(helper, fd, write_end, argv, parent);
	run->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (run->pidfd < 0) {
		int r = -errno;

		/* Ours and not reaped: the pid is its. */
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	return 0;
}

int media_run_start(sd_event *event, const char *helper, int fd, unsigned n_threads,
	uint64_t size_bytes,
	void (*progress)(void *data, bool verify, uint64_t done_bytes, uint64_t total_bytes),
	void (*done)(void *data, const MediaReport *report), void *data, MediaRun **ret)
{
	MediaRun *run = calloc(1, sizeof(*run));
	int r;

	if (!run) {
		closep(&fd);
		return -ENOMEM;
	}
	*run = (MediaRun){.output_fd = -EBADF,
		.pidfd = -EBADF,
		.device_fd = fd,
		.progress = progress,
		.done = done,
		.data = data};
	r = spawn(run, helper, fd, n_threads, size_bytes);
	if (r >= 0)
		r = sd_event_add_io(
			event, &run->output_source, run->output_fd, EPOLLIN, on_output, run);
	if (r >= 0)
		r = sd_event_add_io(
			event, &run->exit_source, run->pidfd, EPOLLIN, on_exit_event, run);
	if (r < 0) {
		(void)media_run_free(run);
		return r;
	}
	*ret = run;
	return 0;
}

void media_run_cancel(MediaRun *run)
{
	if (run->pidfd >= 0 && !run->reaped)
		(void)syscall(SYS_pidfd_send_signal, run->pidfd, SIGTERM, NULL, 0);
}

MediaRun *media_run_free(MediaRun *run)
{
	siginfo_t info;

	if (!run)
		return NULL;
	if (run->pidfd >= 0 && !run->reaped) {
		(void)syscall(SYS_pidfd_send_signal, run->pidfd, SIGKILL, NULL, 0);
		(void)waitid(P_PIDFD, (id_t)run->pidfd, &info, WEXITED);
	}
	sd_event_source_disable_unref(run->output_source);
	sd_event_source_disable_unref(run->exit_source);
	closep(&run->output_fd);
	closep(&run->pidfd);
	closep(&run->device_fd);
	free(run);
	return NULL;
}

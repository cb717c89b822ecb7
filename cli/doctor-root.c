/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "doctor.h"

#define TEXT_MAX	 ((size_t)256 * 1024)
#define OUTPUT_MAX	 ((size_t)1024 * 1024)
#define PROGRAM_MAX_USEC (20 * USEC_PER_SEC)

extern char **environ;

bool root_has(const Root *root, const char *path)
{
	return faccessat(root->fd, path, F_OK, 0) == 0;
}

static char *read_all(int fd, size_t max)
{
	_cleanup_free_ char *text = malloc(max + 1);
	size_t n = 0;
	ssize_t got;

	if (!text)
		return NULL;
	while ((got = read(fd, text + n, max - n)) > 0)
		n += (size_t)got;
	if (got < 0 || n == max)
		return NULL;
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return TAKE_PTR(text);
}

char *root_text(const Root *root, const char *path)
{
	/* not blocked by a fifo that somebody put there */
	_cleanup_close_ int fd = openat(root->fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? NULL : read_all(fd, TEXT_MAX);
}

char *root_link_name(const Root *root, const char *path)
{
	char target[PATH_MAX], *slash;
	ssize_t n = readlinkat(root->fd, path, target, sizeof(target) - 1);

	if (n < 0)
		return NULL;
	target[n] = '\0';
	slash = strrchr(target, '/');
	return strdup(slash ? slash + 1 : target);
}

static int no_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

char **root_names(const Root *root, const char *path)
{
	struct dirent **list = NULL;
	int n = scandirat(root->fd, path, &list, no_dots, alphasort);
	char **names = calloc((size_t)(n > 0 ? n : 0) + 1, sizeof(*names));

	for (int i = 0; i < n; i++) {
		if (names)
			names[i] = strdup(list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return names;
}

char **root_names_free(char **names)
{
	for (char **n = names; n && *n; n++)
		free(*n);
	free(names);
	return NULL;
}

/* Until it closes its output, or its time is over. */
static char *read_output(int fd)
{
	uint64_t until = pml_now_usec(CLOCK_MONOTONIC) + PROGRAM_MAX_USEC, now;
	_cleanup_free_ char *text = malloc(OUTPUT_MAX + 1);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;

	while (text && n < OUTPUT_MAX && (now = pml_now_usec(CLOCK_MONOTONIC)) < until) {
		ssize_t got;

		if (poll(&p, 1, (int)((until - now) / USEC_PER_MSEC) + 1) <= 0)
			continue;
		got = read(fd, text + n, OUTPUT_MAX - n);
		if (got < 0)
			return NULL;
		n += (size_t)got;
		text[n] = '\0';
		if (got == 0)
			return TAKE_PTR(text);
	}
	return NULL;
}

static pid_t start(const char *program, char *const *argv, int out_fd)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return -1;
	r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(
			&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn(&pid, program, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r == 0 ? pid : -1;
}

char *root_output(const Root *root, const char *path, const char *const *args)
{
	char program[PATH_MAX], *argv[8] = {program};
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	_cleanup_free_ char *text = NULL;
	int fds[2], status = 0;
	pid_t pid;

	for (size_t i = 0; args[i] && i + 2 < ELEMENTSOF(argv); i++)
		argv[i + 1] = (char *)args[i];
	if (snprintf(program, sizeof(program), "%s/%s", root->path, path) >= (int)sizeof(program) ||
		pipe2(fds, O_CLOEXEC) < 0)
		return NULL;
	in = fds[0];
	out = fds[1];
	pid = start(program, argv, out);
	close(TAKE_FD(out));
	if (pid < 0)
		return NULL;
	text = read_output(in);
	if (!text)
		(void)kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return NULL;
	return TAKE_PTR(text);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "json-text.h"
#include "mark.h"

#include <ctype.h>
#include <dirent.h>
#include <sys/stat.h>

#include "util.h"

#define SUFFIX	       ".mark"
#define TEMPORARY      ".new"
#define MARK_VERSION   1
#define MARK_MAX_BYTES (64 * MIB) /* a proof names every holder; more than this is no proof */

typedef struct json_object *JsonObject;
DEFINE_CLEANUP(JsonObject, json_object_put)
DEFINE_CLEANUP(DIR *, closedir)
#define _cleanup_json_ _cleanup_(json_object_putp)
#define _cleanup_dir_  _cleanup_(closedirp)

/* The id becomes a file name. */
static bool id_valid(const char *id)
{
	size_t n = strnlen(id, PML_ID_MAX);

	if (n == 0 || n == PML_ID_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && id[i] != '-')
			return false;
	return true;
}

static bool state_valid(PmlLeaseState s, const char *proof)
{
	return s == PML_LEASE_FENCING || s == PML_LEASE_STUCK || (s == PML_LEASE_FENCED && proof);
}

static int file_name(const char *id, const char *suffix, char *ret, size_t size)
{
	if (!id_valid(id))
		return -EINVAL;
	return snprintf(ret, size, "%s%s", id, suffix) < (int)size ? 0 : -ENAMETOOLONG;
}

static int write_all(int fd, const char *s, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, s, n);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		s += done;
		n -= (size_t)done;
	}
	return 0;
}

static int add_member(struct json_object *o, const char *key, struct json_object *value)
{
	if (!value)
		return -ENOMEM;
	if (json_object_object_add(o, key, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

static int to_json(const PmlMark *m, struct json_object **ret)
{
	_cleanup_json_ struct json_object *o = json_object_new_object();
	int r;

	if (!o)
		return -ENOMEM;
	r = add_member(o, "version", json_object_new_int(MARK_VERSION));
	if (r == 0)
		r = add_member(o, "lease", json_object_new_string(m->lease));
	if (r == 0)
		r = add_member(
			o, "state", json_object_new_string(pml_lease_state_to_string(m->state)));
	if (r == 0)
		r = add_member(o, "frozen", json_object_new_boolean(m->frozen));
	if (r == 0 && m->released)
		r = add_member(o, "released", json_object_new_boolean(true));
	/* As text, so that the ledger gets the proof byte for byte. */
	if (r == 0 && m->proof_json)
		r = add_member(o, "proof", json_object_new_string(m->proof_json));
	if (r == 0)
		*ret = TAKE_PTR(o);
	return r;
}

int pml_mark_write(int dir_fd, const PmlMark *m)
{
	char name[PML_ID_MAX + sizeof(SUFFIX)], temporary[PML_ID_MAX + sizeof(TEMPORARY)];
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_close_ int fd = -EBADF;
	const char *text;
	size_t n;
	int r;

	if (!state_valid(m->state, m->proof_json))
		return -EINVAL;
	r = file_name(m->lease, SUFFIX, name, sizeof(name));
	if (r < 0)
		return r;
	r = file_name(m->lease, TEMPORARY, temporary, sizeof(temporary));
	if (r < 0)
		return r;
	r = to_json(m, &o);
	if (r < 0)
		return r;
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
	if (!text)
		return -ENOMEM;
	if (n > MARK_MAX_BYTES)
		return -EFBIG;

	if (unlinkat(dir_fd, temporary, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, n);
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, temporary, 0);
	return r;
}

int pml_mark_remove(int dir_fd, const char *lease_id)
{
	char name[PML_ID_MAX + sizeof(SUFFIX)];
	int r;

	r = file_name(lease_id, SUFFIX, name, sizeof(name));
	if (r < 0)
		return r;
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int read_all(int fd, char **ret, size_t *ret_n)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t n = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if ((uint64_t)st.st_size > MARK_MAX_BYTES)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (n < (size_t)st.st_size) {
		ssize_t got = read(fd, text + n, (size_t)st.st_size - n);

		if (got < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	*ret_n = n;
	return 0;
}

static struct json_object *member(struct json_object *o, const char *key, json_type type)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, key, &value) || !json_object_is_type(value, type))
		return NULL;
	return value;
}

static int from_json(struct json_object *o, PmlMark *ret)
{
	struct json_object *version = member(o, "version", json_type_int);
	struct json_object *lease = member(o, "lease", json_type_string);
	struct json_object *state = member(o, "state", json_type_string);
	struct json_object *frozen = member(o, "frozen", json_type_boolean);
	struct json_object *proof = member(o, "proof", json_type_string);
	struct json_object *released = member(o, "released", json_type_boolean);
	PmlMark m = {};

	if (!version || json_object_get_int(version) != MARK_VERSION || !lease || !state || !frozen)
		return -EBADMSG;
	if (!proof && json_object_object_get_ex(o, "proof", NULL))
		return -EBADMSG;
	if (PML_STRCPY(m.lease, json_object_get_string(lease)) < 0 || !id_valid(m.lease))
		return -EBADMSG;
	m.state = pml_lease_state_from_string(json_object_get_string(state));
	if (!state_valid(m.state, proof ? json_object_get_string(proof) : NULL))
		return -EBADMSG;
	m.frozen = json_object_get_boolean(frozen);
	m.released = json_object_get_boolean(released);
	if (proof) {
		m.proof_json = strdup(json_object_get_string(proof));
		if (!m.proof_json)
			return -ENOMEM;
	}
	*ret = m;
	return 0;
}

static int load_json(int dir_fd, const char *name, struct json_object **ret)
{
	_cleanup_close_ int fd = -EBADF;
	char *text = NULL;
	size_t n = 0;
	int r;

	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = read_all(fd, &text, &n);
	if (r == 0)
		r = json_text_object(text, n, 0, ret);
	free(text);
	return r;
}

static int load_one(int dir_fd, const char *name, PmlMark *ret)
{
	_cleanup_json_ struct json_object *o = NULL;
	char expected[PML_ID_MAX + sizeof(SUFFIX)];
	PmlMark m = {};
	int r;

	r = load_json(dir_fd, name, &o);
	if (r == 0)
		r = from_json(o, &m);
	if (r < 0)
		return r;
	r = file_name(m.lease, SUFFIX, expected, sizeof(expected));
	if (r < 0 || strcmp(name, expected) != 0) {
		free(m.proof_json);
		return -EBADMSG;
	}
	*ret = m;
	return 0;
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n > m && strcmp(s + n - m, suffix) == 0;
}

static int load_into(int dir_fd, DIR *dir, PmlMark **marks, size_t *n)
{
	for (;;) {
		struct dirent *d;
		PmlMark *bigger;
		int r;

		errno = 0;
		d = readdir(dir);
		if (!d)
			return -errno;
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (has_suffix(d->d_name, TEMPORARY)) {
			/* What it announces was not begun: the mark comes first. */
			if (unlinkat(dir_fd, d->d_name, 0) < 0 && errno != ENOENT)
				return -errno;
			continue;
		}
		bigger = reallocarray(*marks, *n + 1, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		*marks = bigger;
		r = load_one(dir_fd, d->d_name, &bigger[*n]);
		if (r < 0)
			return r;
		(*n)++;
	}
}

int pml_mark_load(int dir_fd, PmlMark **ret, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_dir_ DIR *dir = NULL;
	PmlMark *marks = NULL;
	size_t n = 0;
	int r;

	/* Opened anew: a duplicate would share its place in the directory with the caller's. */
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	(void)TAKE_FD(fd);
	r = load_into(dir_fd, dir, &marks, &n);
	if (r < 0) {
		pml_mark_free(marks, n);
		return r;
	}
	*ret = marks;
	*ret_n = n;
	return 0;
}

void pml_mark_free(PmlMark *marks, size_t n)
{
	for (size_t i = 0; marks && i < n; i++)
		free(marks[i].proof_json);
	free(marks);
}

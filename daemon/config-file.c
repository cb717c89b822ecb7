/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <ini.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "config.h"
#include "util.h"

#define PATH_LEN  512
#define FILES_MAX 256

/* First is first: what an administrator wrote, what lives until the reboot, what is installed. */
static const char *const base_dirs[] = {"/etc", "/run", "/usr/local/lib", "/usr/lib"};

int config_error_add(ConfigErrors *e, const char *file, unsigned line, const char *format, ...)
{
	ConfigError *more, new = {.line = line};
	va_list ap;
	int n;

	more = realloc(e->list, (e->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	e->list = more;
	new.file = strdup(file);
	va_start(ap, format);
	n = vasprintf(&new.reason, format, ap);
	va_end(ap);
	if (n < 0)
		new.reason = NULL;
	if (!new.file || !new.reason) {
		free(new.file);
		free(new.reason);
		return -ENOMEM;
	}
	pml_make_printable(new.file);
	pml_make_printable(new.reason);
	e->list[e->n++] = new;
	return 0;
}

void config_errors_clear(ConfigErrors *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->list[i].file);
		free(e->list[i].reason);
	}
	free(e->list);
	*e = (ConfigErrors){};
}

typedef struct Parser {
	Config *config;
	const char *file;
	ConfigErrors *errors;
	const char *next, *end;
	unsigned line;	    /* of what is being parsed */
	unsigned told_line; /* the last one that an error names */
	int r;
} Parser;

static void complain(Parser *p, const char *why)
{
	if (p->told_line == p->line || p->r < 0)
		return;
	p->told_line = p->line;
	p->r = config_error_add(p->errors, p->file, p->line, "%s", why);
}

/*
 * A line for the parser, which has no numbers of them and cuts what is too long for it. Without the
 * blanks before it, by which the parser would take it for more of the line before.
 */
static char *next_line(char *buf, int size, void *userdata)
{
	Parser *p = userdata;
	size_t length;
	const char *begin, *newline;

	if (p->next >= p->end || p->r < 0)
		return NULL;
	p->line++;
	begin = p->next;
	newline = memchr(begin, '\n', (size_t)(p->end - begin));
	p->next = newline ? newline + 1 : p->end;
	length = (size_t)((newline ? newline : p->end) - begin);
	while (length > 0 && (*begin == ' ' || *begin == '\t')) {
		begin++;
		length--;
	}
	/* Comments may be as long as they like. */
	if (length > 0 && (*begin == '#' || *begin == ';'))
		length = 0;
	/* The newline and the end must fit too. */
	if (length + 2 > (size_t)size) {
		char why[96];

		(void)snprintf(why, sizeof(why),
			"The line is longer than %d bytes; lists may be given in several lines.",
			size - 2);
		complain(p, why);
		length = 0;
	}
	memcpy(buf, begin, length);
	buf[length] = '\n';
	buf[length + 1] = '\0';
	return buf;
}

static int on_value(void *userdata, const char *section, const char *key, const char *value)
{
	_cleanup_free_ char *why = NULL;
	Parser *p = userdata;
	int r = config_set(p->config, section, key, value, &why);

	if (r > 0)
		complain(p, why);
	else if (r < 0)
		p->r = r;
	return r == 0;
}

static unsigned line_of(const char *data, size_t offset)
{
	unsigned line = 1;

	for (size_t i = 0; i < offset; i++)
		line += data[i] == '\n';
	return line;
}

/* Text without control characters, or the line where it is none; 0: it is text. */
static unsigned first_bad_line(const char *data, size_t size)
{
	for (size_t i = 0; i < size;) {
		unsigned char c = (unsigned char)data[i];
		size_t n = pml_utf8_length((const unsigned char *)data + i);

		if (n == 0 || (c < 0x20 && !strchr("\t\r\n", c)) || c == 0 || c == 0x7f)
			return line_of(data, i);
		i += n;
	}
	return 0;
}

int config_parse(Config *c, const char *file, const char *data, size_t size, ConfigErrors *e)
{
	Parser p = {.config = c, .file = file, .errors = e, .next = data, .end = data + size};
	unsigned bad = first_bad_line(data, size);
	size_t before;
	int line;

	if (bad > 0)
		return config_error_add(e, file, bad,
			"There is a byte that is no text; the file must be UTF-8 without control characters.");
	before = e->n;
	line = ini_parse_stream(next_line, &p, on_value, &p);
	if (p.r < 0)
		return p.r;
	if (line < -1)
		return -ENOMEM;
	/* The parser says only where the first thing was that it could not read, ours included. */
	if (line > 0) {
		bool told = false;

		for (size_t i = before; i < e->n; i++)
			told |= e->list[i].line == (unsigned)line;
		if (!told)
			return config_error_add(e, file, (unsigned)line,
				"The line is neither [Section] nor Key=value nor a comment.");
	}
	return 0;
}

/* 0 with data (NUL-terminated); 1: nothing is to be read there (empty, /dev/null); -ENOENT; 2: it
 * is refused. */
static int read_file(const char *path, char **ret, size_t *ret_size, ConfigErrors *e)
{
	/* A FIFO must not hang a reload. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *data = NULL;
	struct stat st, null;
	size_t size = 0;
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = -errno;

		if (r == -ENOENT)
			return r;
		r = config_error_add(e, path, 0, "It cannot be read: %s.", strerror(-r));
		return r < 0 ? r : 2;
	}
	if (S_ISCHR(st.st_mode) && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev)
		return 1;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > CONFIG_FILE_MAX) {
		int r = config_error_add(e, path, 0, "It is no file, or longer than %zu KiB.",
			CONFIG_FILE_MAX / 1024);

		return r < 0 ? r : 2;
	}
	data = malloc(CONFIG_FILE_MAX + 1);
	if (!data)
		return -ENOMEM;
	while (size < CONFIG_FILE_MAX && n > 0) {
		n = read(fd, data + size, CONFIG_FILE_MAX - size);
		if (n > 0)
			size += (size_t)n;
	}
	if (n < 0) {
		int r = config_error_add(e, path, 0, "It cannot be read: %s.", strerror(errno));

		return r < 0 ? r : 2;
	}
	if (size == 0)
		return 1;
	data[size] = '\0';
	*ret = TAKE_PTR(data);
	*ret_size = size;
	return 0;
}

/* 0: read, or refused with an error in *e; -ENOENT. */
static int take_file(Config *c, const char *path, ConfigErrors *e)
{
	_cleanup_free_ char *data = NULL;
	size_t size;
	int r = read_file(path, &data, &size, e);

	if (r != 0)
		return r < 0 ? r : 0;
	return config_parse(c, path, data, size, e);
}

typedef struct DropIns {
	struct {
		char name[256];
		char path[PATH_LEN];
	} files[FILES_MAX];
	size_t n;
} DropIns;

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool has_name(const DropIns *d, const char *name)
{
	for (size_t i = 0; i < d->n; i++)
		if (strcmp(d->files[i].name, name) == 0)
			return true;
	return false;
}

/* Directories come best first, so a name that is there already stays. */
static int collect(DropIns *d, const char *dir, ConfigErrors *e)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;
	int r = 0;

	if (!stream)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : config_error_add(
					 e, dir, 0, "It cannot be read: %s.", strerror(errno));
	while (r >= 0 && (entry = readdir(stream))) {
		size_t length = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || length < 6 ||
			strcmp(entry->d_name + length - 5, ".conf") != 0 ||
			has_name(d, entry->d_name))
			continue;
		if (d->n >= FILES_MAX || snprintf(d->files[d->n].path, PATH_LEN, "%s/%s", dir,
						 entry->d_name) >= PATH_LEN) {
			r = config_error_add(e, dir, 0, "It has more than %d files.", FILES_MAX);
			break;
		}
		(void)PML_STRCPY(d->files[d->n].name, entry->d_name);
		d->n++;
	}
	(void)closedir(stream);
	return r;
}

static int load_main(Config *c, ConfigErrors *e)
{
	int r = -ENOENT;

	if (c->file) {
		r = take_file(c, c->file, e);
		return r == -ENOENT ? config_error_add(e, c->file, 0, "There is no such file.") : r;
	}
	for (size_t i = 0; i < ELEMENTSOF(base_dirs) && r == -ENOENT; i++) {
		char path[PATH_LEN];

		(void)snprintf(path, sizeof(path), "%s/" CONFIG_NAME, base_dirs[i]);
		r = take_file(c, path, e);
	}
	return r == -ENOENT ? 0 : r;
}

static int load_drop_ins(Config *c, ConfigErrors *e)
{
	_cleanup_free_ DropIns *d = calloc(1, sizeof(*d));
	char dir[PATH_LEN];
	int r = 0;

	if (!d)
		return -ENOMEM;
	if (c->file) {
		(void)snprintf(dir, sizeof(dir), "%s.d", c->file);
		r = collect(d, dir, e);
	}
	for (size_t i = 0; i < ELEMENTSOF(base_dirs) && !c->file && r >= 0; i++) {
		(void)snprintf(dir, sizeof(dir), "%s/" CONFIG_DROPIN_DIR, base_dirs[i]);
		r = collect(d, dir, e);
	}
	qsort(d->files, d->n, sizeof(d->files[0]), by_name);
	for (size_t i = 0; i < d->n && r >= 0; i++) {
		r = take_file(c, d->files[i].path, e);
		if (r == -ENOENT)
			r = 0; /* taken away meanwhile, or a link to nothing */
	}
	return r;
}

static void take_command_line(Config *c, const Config *base)
{
	c->state_dir = base->state_dir;
	c->runtime_dir = base->runtime_dir;
	c->media_helper = base->media_helper;
	c->file = base->file;
	c->debug_forced = base->debug_forced;
	c->uri_forced = base->uri_forced;
	c->trusted_uid = base->trusted_uid;
}

int config_load(Config *ret, const Config *base, ConfigErrors *ret_errors)
{
	_cleanup_free_ char *why = NULL;
	ConfigErrors e = {};
	Config c;
	int r;

	config_defaults(&c);
	take_command_line(&c, base);
	r = load_main(&c, &e);
	if (r >= 0)
		r = load_drop_ins(&c, &e);
	if (r >= 0 && e.n == 0 && (r = config_check(&c, &why)) > 0)
		r = config_error_add(&e, c.file ? c.file : "/etc/" CONFIG_NAME, 0, "%s", why);
	if (c.debug_forced)
		c.debug = true;
	if (r >= 0 && c.uri_forced)
		r = PML_STRCPY(c.libvirt_uri, c.uri_forced);
	if (r < 0 || e.n > 0) {
		config_clear(&c);
		if (r < 0)
			config_errors_clear(&e);
		else
			*ret_errors = e;
		return r < 0 ? r : 1;
	}
	*ret = c;
	return 0;
}

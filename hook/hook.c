/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * libvirt's hook (/etc/libvirt/hooks/qemu.d/pmemlease): libvirt runs it at the points of a
 * machine's life that https://libvirt.org/hooks.html lists, with the domain's XML on its standard
 * input, and waits for it. While it runs libvirt serves nobody who asks about this domain: neither
 * this program nor the daemon that it asks may ask libvirt anything. What it prints on its standard
 * error reaches virsh when it fails; its standard output would replace the XML of an incoming
 * machine, and stays empty.
 *
 * With the daemon down, only machines that name a device which the daemon manages are refused.
 */

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <systemd/sd-bus.h>

#include "names.h"
#include "start-xml.h"
#include "util.h"

/* Longer than all bounds of a grant in the daemon together (daemon/config.c: 20 + 10 + 5 s). */
#define CALL_USEC (45 * USEC_PER_SEC)
/* For a machine without a managed device, as far as is known here: a daemon that hangs must not
 * keep the others from starting. A start has one question of the first kind and one of the second,
 * which together are 5 s. */
#define CALL_OTHERS_USEC (4 * USEC_PER_SEC)
#define TELL_OTHERS_USEC USEC_PER_SEC

/* libvirt's operations in which failing keeps the machine from coming to be. In the others a
 * failure is ignored, or, in `started`, kills what runs; in `reconnect` it would kill a machine
 * only because libvirt was restarted (libvirt 11.3 src/qemu/qemu_process.c, qemuProcessReconnect).
 */
static bool may_refuse(const char *op)
{
	static const char *const ops[] = {"prepare", "start", "migrate", "restore"};

	for (size_t i = 0; i < ELEMENTSOF(ops); i++)
		if (strcmp(op, ops[i]) == 0)
			return true;
	return false;
}

static void refuse(const char *domain, const char *sentence)
{
	(void)fprintf(stderr, "pmemlease does not let domain %s go on: %s\n", domain, sentence);
}

/* The caller's. NULL: it cannot be read, or is longer than any domain's. */
static char *read_stdin(void)
{
	_cleanup_free_ char *text = malloc(START_XML_MAX);
	size_t n = 0;

	while (text && n < START_XML_MAX) {
		ssize_t k = read(STDIN_FILENO, text + n, START_XML_MAX - n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return NULL;
		if (k == 0) {
			text[n] = '\0';
			/* What would be cut at a NUL is not XML. */
			return strlen(text) == n ? TAKE_PTR(text) : NULL;
		}
		n += (size_t)k;
	}
	return NULL;
}

/* --- with the daemon down --- */

static bool is_device_dax(const struct stat *st)
{
	char path[64], target[256];
	const char *name;
	ssize_t n;

	if (!S_ISCHR(st->st_mode))
		return false;
	(void)snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem", major(st->st_rdev),
		minor(st->st_rdev));
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	name = strrchr(target, '/');
	return name && strcmp(name + 1, "dax") == 0;
}

static bool device_of(const char *path, struct stat *ret)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);

	return fd >= 0 && fstat(fd, ret) == 0 && (S_ISCHR(ret->st_mode) || S_ISBLK(ret->st_mode));
}

static bool same_device(const struct stat *a, const struct stat *b)
{
	return (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT) && a->st_rdev == b->st_rdev;
}

/*
 * Names change with a boot, and the list is as old as the daemon's last scan: so a device is
 * managed when the list has its name or something that is the same device now, and every device-dax
 * is.
 */
static bool is_managed(const char *path, FILE *list)
{
	bool device, listed = false;
	char line[PATH_MAX + 2];
	struct stat st, other;

	device = device_of(path, &st);
	if (device && is_device_dax(&st))
		return true;
	if (strncmp(path, "/dev/dax", strlen("/dev/dax")) == 0)
		return true;
	if (!list)
		return false;
	rewind(list);
	while (!listed && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '/')
			continue;
		listed = strcmp(line, path) == 0 ||
			 (device && device_of(line, &other) && same_device(&st, &other));
	}
	return listed;
}

/* The first managed device of the domain, NULL where it has none. */
static const char *managed_device(const StartDomain *d, const char *state_dir)
{
	_cleanup_fclose_ FILE *list = NULL;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/" PML_MANAGED_FILE, state_dir);
	list = fopen(path, "re");
	for (size_t i = 0; i < d->n_devices; i++)
		if (is_managed(d->devices[i].path, list))
			return d->devices[i].path;
	return NULL;
}

/* --- asking the daemon --- */

typedef enum Answer {
	ANSWER_YES,
	ANSWER_NO,
	ANSWER_NONE, /* nobody answers */
} Answer;

/* The bus says that nobody has the name, or who had it went or was silent for too long. */
static bool is_nobody(const sd_bus_error *e)
{
	return !sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED) &&
	       strncmp(e->name, PML_BUS_NAME ".", strlen(PML_BUS_NAME ".")) != 0;
}

/* Tests make it shorter. */
static uint64_t call_usec(const char *op, bool managed)
{
	const char *sec = secure_getenv("PMEMLEASE_HOOK_TIMEOUT_SEC");

	if (sec)
		return strtoul(sec, NULL, 10) * USEC_PER_SEC;
	if (managed)
		return CALL_USEC;
	return may_refuse(op) ? CALL_OTHERS_USEC : TELL_OTHERS_USEC;
}

static Answer ask(const char *domain, const char *xml, const char *op, bool managed)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	int r;

	r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_message_new_method_call(
			bus, &call, PML_BUS_NAME, PML_BUS_PATH, PML_IF_MANAGER, "Grant");
	if (r >= 0)
		r = sd_bus_message_set_auto_start(call, managed && may_refuse(op));
	if (r >= 0)
		r = sd_bus_message_append(call, "ss", xml, op);
	if (r < 0)
		return ANSWER_NONE;
	r = sd_bus_call(bus, call, call_usec(op, managed), &error, &reply);
	if (r >= 0)
		return ANSWER_YES;
	if (!sd_bus_error_is_set(&error) || is_nobody(&error))
		return ANSWER_NONE;
	refuse(domain, error.message ? error.message : error.name);
	return ANSWER_NO;
}

static int decide(const char *domain, const char *op, const char *xml)
{
	const char *state_dir = secure_getenv("PMEMLEASE_STATE_DIR"), *device;
	StartDomain d;
	int r;

	r = start_xml_read(xml, &d);
	if (r < 0) {
		/* libvirt wrote it, so it is not ours to judge; the daemon would not either. */
		refuse(domain, "its XML cannot be read.");
		return may_refuse(op) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	device = managed_device(&d, state_dir ? state_dir : PML_STATE_DIR);
	if (geteuid() != 0 && !secure_getenv("DBUS_SYSTEM_BUS_ADDRESS")) {
		/* A user's own libvirt (qemu:///session) runs the same hooks. */
		if (device && may_refuse(op)) {
			refuse(domain,
				"it names persistent memory, which is lent to domains of qemu:///system only, not of qemu:///session.");
			r = -EPERM;
		}
		start_domain_clear(&d);
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	/* `prepare` has decided; asked again only because the daemon may have gone since. */
	if (!device && strcmp(op, "start") == 0) {
		start_domain_clear(&d);
		return EXIT_SUCCESS;
	}
	switch (ask(domain, xml, op, device != NULL)) {
	case ANSWER_YES:
		break;
	case ANSWER_NO:
		r = -EPERM;
		break;
	case ANSWER_NONE:
		if (!device)
			break;
		if (may_refuse(op))
			(void)fprintf(stderr,
				"pmemlease does not let domain %s go on: it has %s, and pmemleased does not answer. Start pmemleased.service "
				"(systemctl status pmemleased says what is wrong), then try again.\n",
				domain, device);
		r = -EPERM;
		break;
	}
	start_domain_clear(&d);
	return r < 0 && (may_refuse(op)) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	_cleanup_free_ char *xml = NULL;
	const char *domain, *op;

	if (argc < 3) {
		(void)fputs(
			"pmemlease: libvirt runs this, as DOMAIN OPERATION SUBOPERATION EXTRA with the domain's XML on stdin.\n",
			stderr);
		return EXIT_FAILURE;
	}
	domain = argv[1];
	op = argv[2];
	/* Read in any case: libvirt writes it. */
	xml = read_stdin();
	if (strcmp(op, "reconnect") == 0)
		return EXIT_SUCCESS;
	if (!xml) {
		refuse(domain, "its XML cannot be read.");
		return may_refuse(op) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	return decide(domain, op, xml);
}

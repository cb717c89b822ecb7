/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <getopt.h>

#include "options.h"
#include "util.h"

static void help(void)
{
	puts("pmemleased [OPTION…]\n"
	     "\n"
	     "Lends persistent memory to virtual machines, and takes it back with a proof.\n"
	     "\n"
	     "  --config=FILE       read this and FILE.d/*.conf, and not those in /etc, /run and\n"
	     "                      /usr/lib\n"
	     "  --state-dir=DIR     where the ledger is (" PML_STATE_DIR ")\n"
	     "  --runtime-dir=DIR   where marks are, on a tmpfs (" PML_RUNTIME_DIR ")\n"
	     "  --libvirt-uri=URI   which libvirt, whatever the configuration says\n"
	     "  --media-helper=PATH the program that overwrites and reads back\n"
	     "  --list-steps        print the points at which " PML_ENV_CRASH_AT " can stop it\n"
	     "  --debug             log what it does in detail\n"
	     "  --help, --version");
}

/* Absolute, so that a changed working directory changes nothing. */
static int take_dir(const char **field, const char *what, const char *value)
{
	if (value[0] != '/') {
		(void)fprintf(stderr, "pmemleased: %s must be an absolute path: %s\n", what, value);
		return -EINVAL;
	}
	*field = value;
	return 0;
}

static int take_uri(Config *config, const char *value)
{
	if (strlen(value) >= sizeof(config->libvirt_uri)) {
		(void)fprintf(stderr, "pmemleased: --libvirt-uri is too long.\n");
		return -EINVAL;
	}
	config->uri_forced = value;
	return 0;
}

int options_parse(int argc, char *argv[], Config *config)
{
	enum {
		CONFIG = 256,
		STATE_DIR,
		RUNTIME_DIR,
		LIBVIRT_URI,
		MEDIA_HELPER,
		LIST_STEPS,
		DEBUG,
		HELP,
		VERSION
	};
	static const struct option options[] = {
		{"config", required_argument, NULL, CONFIG},
		{"state-dir", required_argument, NULL, STATE_DIR},
		{"runtime-dir", required_argument, NULL, RUNTIME_DIR},
		{"libvirt-uri", required_argument, NULL, LIBVIRT_URI},
		{"media-helper", required_argument, NULL, MEDIA_HELPER},
		{"list-steps", no_argument, NULL, LIST_STEPS},
		{"debug", no_argument, NULL, DEBUG},
		{"help", no_argument, NULL, HELP},
		{"version", no_argument, NULL, VERSION},
		{},
	};
	int c, r = 0;

	while (r >= 0 && (c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
		switch (c) {
		case CONFIG:
			r = take_dir(&config->file, "--config", optarg);
			break;
		case STATE_DIR:
			r = take_dir(&config->state_dir, "--state-dir", optarg);
			break;
		case RUNTIME_DIR:
			r = take_dir(&config->runtime_dir, "--runtime-dir", optarg);
			break;
		case LIBVIRT_URI:
			r = take_uri(config, optarg);
			break;
		case MEDIA_HELPER:
			r = take_dir(&config->media_helper, "--media-helper", optarg);
			break;
		case LIST_STEPS:
			job_print_steps(stdout);
			return 0;
		case DEBUG:
			config->debug_forced = true;
			break;
		case 'h':
		case HELP:
			help();
			return 0;
		case VERSION:
			puts("pmemleased " PML_VERSION);
			return 0;
		default:
			return -EINVAL;
		}
	if (r >= 0 && optind < argc) {
		(void)fprintf(stderr, "pmemleased: takes no arguments: %s\n", argv[optind]);
		return -EINVAL;
	}
	return r < 0 ? r : 1;
}

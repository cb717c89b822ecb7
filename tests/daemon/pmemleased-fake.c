/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The daemon with a fake host and a fake libvirt: everything but main.c and virt*.c is the real
 * thing. */

#include <signal.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>

#include "crowd-host.h"
#include "fake-host.h"
#include "fake-virt.h"
#include "log.h"
#include "manager.h"
#include "options.h"
#include "util.h"

static void on_ready(Manager *m)
{
	(void)sd_notify(0, "READY=1");
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	(void)sd_notify(0, "STOPPING=1");
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

static void on_reload(Manager *m, bool over)
{
	(void)sd_notify(0, over ? "READY=1" : "RELOADING=1");
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	return manager_reload(userdata, NULL, NULL);
}

int main(int argc, char *argv[])
{
	const char *dir = getenv("PMEMLEASE_FAKE_DIR"),
		   *trusted = getenv("PMEMLEASE_FAKE_TRUSTED_UID");
	sd_event *event = NULL;
	Manager *m = NULL;
	Crowd *crowd;
	Config config;
	sigset_t set;
	int r;

	crowd_media_helper(argc, argv);
	config_defaults(&config);
	r = options_parse(argc, argv, &config);
	if (r <= 0 || !dir)
		return EXIT_FAILURE;
	if (trusted)
		config.trusted_uid = (uint32_t)strtoul(trusted, NULL, 10);
	log_setup(config.debug_forced);
	r = config_start(&config);
	if (r < 0)
		return r == -EUCLEAN ? EX_CONFIG : EXIT_FAILURE;
	log_setup(config.debug);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r = sd_event_default(&event);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, on_stop, NULL);
	if (r >= 0)
		r = sd_event_set_watchdog(event, true);
	if (r >= 0)
		r = manager_new(event, &config, &m);
	if (r < 0)
		return EXIT_FAILURE;
	fake_host_use(dir);
	fake_virt_use(event, dir);
	m->scan = fake_host_scan;
	m->dax = &fake_dax_ops;
	m->virt_ops = &fake_virt_ops;
	crowd = crowd_find(dir);
	if (crowd)
		crowd_host_use(crowd, event, dir, m);
	m->on_ready = on_ready;
	m->on_reload = on_reload;
	r = sd_event_add_signal(event, NULL, SIGHUP, on_hangup, m);
	if (r >= 0)
		r = manager_start(m);
	if (r >= 0)
		r = sd_event_loop(event);
	manager_free(m);
	config_clear(&config);
	sd_event_unref(event);
	return r == -EUCLEAN ? EX_CONFIG : r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

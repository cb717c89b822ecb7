/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <signal.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>

#include "log.h"
#include "manager.h"
#include "options.h"
#include "util.h"

static void on_ready(Manager *m)
{
	(void)sd_notify(0, m->bus_ready ? "READY=1\nSTATUS=Running."
					: "READY=1\nSTATUS=Running; the bus is tried again.");
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	/* Nothing is released: what is lent stays lent, and every deadline is on the disk. */
	(void)sd_notify(0, "STOPPING=1\nSTATUS=Stopping; leases stay.");
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

static void on_reload(Manager *m, bool over)
{
	if (over)
		on_ready(m);
	else
		(void)sd_notifyf(0,
			"RELOADING=1\nMONOTONIC_USEC=%" PRIu64
			"\nSTATUS=Reading the configuration, scanning the host.",
			pml_now_usec(CLOCK_MONOTONIC));
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	int r = manager_reload(userdata, NULL, NULL);

	if (r < 0)
		log_error("The configuration cannot be read again: %s.", strerror(-r));
	return 0;
}

/* Before any thread is made, so that all of them have the signals blocked. */
static int add_signals(sd_event *event)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* The helper's end is heard by its pidfd or by sd-event, which wants the signal blocked as
	 * well. */
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN);
	if (sd_event_add_signal(event, NULL, SIGTERM, on_stop, NULL) < 0 ||
		sd_event_add_signal(event, NULL, SIGINT, on_stop, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static int run(const Config *config)
{
	_cleanup_(sd_event_unrefp) sd_event *event = NULL;
	Manager *m = NULL;
	int r;

	r = sd_event_default(&event);
	if (r >= 0)
		r = add_signals(event);
	if (r >= 0)
		r = manager_new(event, config, &m);
	if (r < 0)
		return r;
	m->virt_ops = &virt_libvirt_ops;
	m->on_ready = on_ready;
	m->on_reload = on_reload;
	r = sd_event_add_signal(event, NULL, SIGHUP, on_hangup, m);
	if (r >= 0)
		r = sd_event_set_watchdog(event, true);
	if (r >= 0)
		r = manager_start(m);
	if (r >= 0)
		r = sd_event_loop(event);
	manager_free(m);
	return r;
}

int main(int argc, char *argv[])
{
	Config config;
	int r;

	config_defaults(&config);
	r = options_parse(argc, argv, &config);
	if (r <= 0)
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	log_setup(config.debug_forced);
	r = config_start(&config);
	if (r >= 0) {
		log_setup(config.debug);
		r = run(&config);
	}
	config_clear(&config);
	/* The unit does not start it again on this one: neither a ledger nor a configuration mends
	 * itself. What is wrong was said. */
	if (r == -EUCLEAN)
		return EX_CONFIG;
	if (r < 0)
		log_error("pmemleased ends: %s.", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

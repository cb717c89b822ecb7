/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "behind.h"
#include "log.h"
#include "manager.h"
#include "util.h"

typedef struct Reload {
	Manager *manager;
	Config base, config;
	ConfigErrors errors;
	ReloadDone done;
	void *data;
} Reload;

void config_errors_log(const ConfigErrors *errors, const char *consequence)
{
	for (size_t i = 0; i < errors->n; i++) {
		const ConfigError *e = &errors->list[i];
		const LogFields fields = {.message_id = PML_MESSAGE_CONFIG_REFUSED,
			.config_file = e->file,
			.config_line = e->line};

		if (e->line > 0)
			log_full(LOG_ERR, &fields, "%s:%u: %s %s", e->file, e->line, e->reason,
				consequence);
		else
			log_full(LOG_ERR, &fields, "%s: %s %s", e->file, e->reason, consequence);
	}
}

int config_start(Config *c)
{
	ConfigErrors errors = {};
	Config loaded;
	int r = config_load(&loaded, c, &errors);

	if (r == 0) {
		*c = loaded;
		return 0;
	}
	config_errors_log(&errors, "pmemleased is not started.");
	config_errors_clear(&errors);
	return r < 0 ? r : -EUCLEAN;
}

static int reload_run(void *userdata)
{
	Reload *x = userdata;

	return config_load(&x->config, &x->base, &x->errors);
}

static void reload_end(Reload *x, int r)
{
	Manager *m = x->manager;

	if (x->done)
		x->done(x->data, r, &x->errors);
	config_errors_clear(&x->errors);
	free(x);
	if (--m->n_reloads == 0 && m->on_reload)
		m->on_reload(m, true);
}

static void on_scanned(void *userdata, int r)
{
	reload_end(userdata, r);
}

static void take_config(Manager *m, Config *c)
{
	if (strcmp(c->libvirt_uri, m->config.libvirt_uri) != 0) {
		log_full(LOG_WARNING, &(LogFields){.message_id = PML_MESSAGE_CONFIG_READ},
			"URI= is %s now; the daemon goes on with %s until it is restarted.",
			c->libvirt_uri, m->config.libvirt_uri);
		(void)PML_STRCPY(c->libvirt_uri, m->config.libvirt_uri);
	}
	config_clear(&m->config);
	m->config = *c;
	log_setup(c->debug);
	behind_repace(m);
	log_full(LOG_INFO, &(LogFields){.message_id = PML_MESSAGE_CONFIG_READ},
		"The configuration was read again.");
}

static void reload_done(void *userdata, int r)
{
	Reload *x = userdata;

	if (r == 0) {
		take_config(x->manager, &x->config);
		r = manager_rescan(x->manager, on_scanned, x);
		if (r == 0)
			return;
	} else if (r > 0) {
		config_errors_log(&x->errors, "The old configuration stays.");
	}
	if (r < 0)
		log_error("The configuration cannot be read again: %s.", strerror(-r));
	reload_end(x, r);
}

int manager_reload(Manager *m, ReloadDone done, void *data)
{
	Reload *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	*x = (Reload){.manager = m, .base = m->config, .done = done, .data = data};
	/* The list is the manager's; only what came from the command line is looked at. */
	x->base.block_devices = NULL;
	if (m->n_reloads++ == 0 && m->on_reload)
		m->on_reload(m, false);
	r = exec_submit(m->exec, EXEC_WORK, "reload", reload_run, reload_done, x);
	if (r < 0) {
		free(x);
		if (--m->n_reloads == 0 && m->on_reload)
			m->on_reload(m, true);
	}
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the fake daemon says of the parts of its host.
 *   nmem0: dax0.0 is on it, and it leaves and comes back as it was. nmem1: a namespace with labels
 * is missing on region1. nmem2: the same on region2, a DIMM without labels. nmem3: its namespace
 * cannot be had back. nmem4: something is in the way of its leaving.
 *   ReadmitDevice says in its message whether it was to scrub; EvictDevice, for how long it waits.
 */

#include <systemd/sd-bus.h>

int fake_on_describe_device(sd_bus_message *m, void *userdata, sd_bus_error *error);
int fake_on_describe_layout(sd_bus_message *m, void *userdata, sd_bus_error *error);
int fake_on_evict_device(sd_bus_message *m, void *userdata, sd_bus_error *error);
int fake_on_readmit_device(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* A job that ends at once, in answer to the call. */
int fake_job(sd_bus_message *m, const char *result, const char *error, const char *message);

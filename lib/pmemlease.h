/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * libpmemlease: regions of persistent or device memory, who holds them, and how to take them back.
 *
 * Results: 0 is success, a negative errno is unexpected and meant to be passed up, a positive value
 * is an outcome that the function's comment names. Outputs (ret_…) are written on success only,
 * unless a comment says otherwise. Nothing here logs above debug, forks, or changes signal
 * handlers; where a function blocks its comment says so.
 */

#include "bdev.h"
#include "cgroup.h"
#include "dax.h"
#include "extent.h"
#include "fence.h"
#include "inventory.h"
#include "ledger.h"
#include "mark.h"
#include "media.h"
#include "part.h"
#include "proof.h"
#include "region.h"
#include "state.h"

/* Where debug messages go; NULL (the default) drops them. Set once, before anything else is called.
 */
void pml_set_log_fn(void (*fn)(void *userdata, int priority, const char *func, const char *message),
	void *userdata);

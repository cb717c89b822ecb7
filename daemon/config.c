/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "manager.h"
#include "util.h"

#ifndef PML_MEDIA_HELPER
#define PML_MEDIA_HELPER "/usr/libexec/pmemlease/pmemlease-media"
#endif

void config_defaults(Config *c)
{
	*c = (Config){
		.state_dir = PML_STATE_DIR,
		.runtime_dir = PML_RUNTIME_DIR,
		.libvirt_uri = "qemu:///system",
		.media_helper = PML_MEDIA_HELPER,
		.freeze_timeout_usec = USEC_PER_SEC,
		.proof_timeout_usec = 10 * USEC_PER_SEC,
		.deadline_max_usec = 24ULL * 3600 * USEC_PER_SEC,
		.max_leases_per_uid = 256,
		.max_jobs = 64,
		.max_pending_per_uid = 16,
		.max_pending = 256,
		.trusted_uid = 0,
	};
}

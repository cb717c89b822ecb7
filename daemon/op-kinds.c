/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "behind.h"
#include "change.h"
#include "ops.h"

const JobKind *const job_kinds[] = {
	&op_lease_kind,
	&op_grant_kind,
	&op_evict_kind,
	&op_release_kind,
	&op_settle_kind,
	&op_readmit_kind,
	&op_evict_device_kind,
	&op_readmit_device_kind,
	&op_scrub_kind,
	&op_recover_kind,
	&op_guard_kind,
	&change_kind,
	NULL,
};

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab: --timeout 3600
#
# kill -9 of the daemon between any two steps of lease, evict, release, settle and scrub: the steps enumerated by the daemon itself.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-crash.sh
. ./lib-crash.sh

crash_setup
for point in $(crash_points 'lease|evict|release|settle|scrub'); do
	if crash_is_rare "$point"; then
		skip "$point" "one operation alone does not come by"
	else
		crash_run "$point" || not_ok "$point" "the operation did not come by"
	fi
done
plan

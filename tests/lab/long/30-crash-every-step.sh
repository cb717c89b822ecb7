#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# kill -9 of the daemon between any two steps of lease, evict, settle and scrub: the steps enumerated by the daemon itself.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-crash.sh
. ./lib-crash.sh

crash_setup
for point in $(crash_points 'lease|evict|settle|scrub'); do
	crash_run "$point" || not_ok "$point" "the operation did not come by"
done
plan

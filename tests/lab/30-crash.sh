#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# kill -9 of the daemon at a sample of the steps, on the real thing; tests/lab/long/ has them all, the daemon's own tests have them all
# with a fake libvirt.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-crash.sh
. ./lib-crash.sh

crash_setup
for point in lease/attaching/after lease/attach/after evict/accept/after evict/fence/before evict/fence/after \
	evict/prove/after evict/pause/after settle/cleared/after scrub/begin/after scrub/verified/before; do
	crash_points "${point%%/*}" | grep -qx "$point" || { not_ok "$point" "no such step" && continue; }
	crash_run "$point" || not_ok "$point" "the operation did not come by"
done
plan

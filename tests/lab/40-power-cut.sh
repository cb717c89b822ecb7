#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The power is cut at a sample of the steps. The ledger's disk and the NVDIMMs survive, everything else is new. A boot checks what the
# cut before it left, and stages the next one.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-crash.sh
. ./lib-crash.sh

points=(lease/attaching/after evict/accept/after evict/fence/after scrub/begin/after)
state=/var/lib/lab
POWER_CUT=yes

if [ "$LAB_BOOT" -eq 1 ]; then
	crash_setup
else
	read -r tap_count tap_failed <"$state/tap"
	owner=$(guest uuid b1)
	dax=$(ndctl list -X | jq -r '.[].daxregion.devices[0].chardev')
	wait_region 30 "$dax" Presence online
	point=$(cat "$state/crash.point")
	crash_check "$point and a power cut"
	is "$(region_get "$dax" Use)" free "$point and a power cut: nothing survived to hold it: free"
fi
index=$((LAB_BOOT - 1))
[ "$index" -lt "${#points[@]}" ] || plan
echo "$tap_count $tap_failed" >"$state/tap"
crash_run "${points[index]}"
not_ok "${points[index]}" "the operation did not come by"
plan

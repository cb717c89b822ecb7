#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab-kernel-bench.sh [RUNS]: runs in the emulated host; what it takes to take a device-dax away, and
# to touch it first, on this kernel. An object for each size of page; medians.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

runs=${1:-20}
systemctl stop pmemleased.service 2>/dev/null

# bench REGION ALIGN SIZE
bench()
{
	local namespace answer

	answer=$(ndctl create-namespace -f -r "$1" -m devdax -M mem -a "$2" -s "$3") || exit 1
	namespace=$(jq -er .dev <<<"$answer")
	dax=$(jq -er '.daxregion.devices[0].chardev' <<<"$answer")
	echo "bench: $dax, $3 in pages of $2, $runs rounds" >&2
	./revoke-bench "$dax" "$runs" >/run/bench.jsonl || exit 1
	jq -sc --arg kernel "$(uname -r)" --arg align "$2" \
		--argjson size "$(cat "/sys/bus/dax/devices/$dax/size")" '
		def median: sort | if length % 2 == 1 then .[length / 2 | floor]
			else (.[length / 2 - 1] + .[length / 2]) / 2 end;
		(group_by(.name) | map({key: .[0].name, value: {
			median_nsec: (map(.nsec) | median), min_nsec: (map(.nsec) | min),
			max_nsec: (map(.nsec) | max), runs: length}}) | from_entries) as $r
		| {kernel: $kernel, size_bytes: $size, page: $align, results: $r}
		+ if $r.revoke then {ratios: {
			"revoke/munmap": ($r.revoke.median_nsec / $r.munmap.median_nsec),
			"revoke/unbind": ($r.revoke.median_nsec / $r.unbind.median_nsec)}}
		else {} end' /run/bench.jsonl
	ndctl destroy-namespace -f "$namespace" >/dev/null || exit 1
}

bench region0 2M 1G
bench region1 2M 64G
bench region0 4K 1G

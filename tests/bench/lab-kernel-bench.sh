#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab-kernel-bench.sh [RUNS [big|small]]: runs in the emulated host; what it takes to take a device-dax away, and
# to touch it first, on this kernel. An object for each size of page; medians.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

runs=${1:-20}
tracing=/sys/kernel/tracing
systemctl stop pmemleased.service 2>/dev/null
# What a page that goes offline says would be most of what it takes.
dmesg -n 1

# What a revocation, and an unbinding, consist of. The driver is loaded.
trace_begin()
{
	local function

	mountpoint -q "$tracing" || mount -t tracefs tracefs "$tracing" || return
	echo 0 >"$tracing/events/enable"
	for function in synchronize_srcu synchronize_rcu_expedited unmap_mapping_range; do
		echo "p:bench/${function}_in $function" >>"$tracing/kprobe_events"
		echo "r:bench/${function}_out $function" >>"$tracing/kprobe_events"
	done 2>/dev/null
	# Not on each kernel.
	{
		echo p:bench/revoke_store_in device_dax:revoke_store >>"$tracing/kprobe_events"
		echo r:bench/revoke_store_out device_dax:revoke_store >>"$tracing/kprobe_events"
	} 2>/dev/null
	echo >"$tracing/trace"
	echo 1 >"$tracing/events/bench/enable"
}

# parts DEVICE: in rounds of their own, since each probe within an order takes time that a munmap's does not have
parts()
{
	trace_begin || { echo "bench: no tracing here: the parts are not measured" >&2 && return; }
	./revoke-bench "$1" "$runs" >/run/bench.traced || return
	trace_end
}

# Their times, as measurements: those within the order to revoke are the revocation's.
trace_end()
{
	awk '
		/^#/ { next }
		{
			for (i = 2; i < NF && $i !~ /^[0-9]+\.[0-9]+:$/; i++)
				;
			time = $i + 0
			event = $(i + 1)
			sub(/:$/, "", event)
			task = $1
			if (sub(/_in$/, "", event))
				begun[task, event] = time
			else if (sub(/_out$/, "", event) && (task, event) in begun) {
				printf "{\"name\":\"%s_%s\",\"nsec\":%d}\n",
					(task, "revoke_store") in begun ? "revoke" : "unbind", event,
					(time - begun[task, event]) * 1e9
				delete begun[task, event]
			}
		}' "$tracing/trace"
	echo 0 >"$tracing/events/bench/enable"
	echo >"$tracing/kprobe_events"
}

# bench REGION ALIGN SIZE
bench()
{
	local namespace answer

	answer=$(ndctl create-namespace -f -r "$1" -m devdax -M mem -a "$2" -s "$3") || exit 1
	namespace=$(jq -er .dev <<<"$answer")
	dax=$(jq -er '.daxregion.devices[0].chardev' <<<"$answer")
	echo "bench: $dax, $3 in pages of $2, $runs rounds" >&2
	./revoke-bench "$dax" "$runs" >/run/bench.jsonl || exit 1
	parts "$dax" >>/run/bench.jsonl || exit 1
	jq -sc --arg kernel "$(uname -r)" --arg align "$2" \
		--argjson size "$(cat "/sys/bus/dax/devices/$dax/size")" \
		--argjson pages "$(($(cat "/sys/bus/dax/devices/$dax/size") / $(cat "/sys/bus/dax/devices/$dax/align")))" '
		def median: sort | if length % 2 == 1 then .[length / 2 | floor]
			else (.[length / 2 - 1] + .[length / 2]) / 2 end;
		def quartile($n): sort | .[(length * $n / 4 | floor)];
		(group_by(.name) | map({key: .[0].name, value: {
			median_nsec: (map(.nsec) | median), min_nsec: (map(.nsec) | min),
			quartiles_nsec: [(map(.nsec) | quartile(1)), (map(.nsec) | quartile(3))],
			max_nsec: (map(.nsec) | max), runs: length}}) | from_entries) as $r
		| {kernel: $kernel, size_bytes: $size, page: $align, pages: $pages, results: $r}
		+ if $r.revoke then {ratios: ({
			"revoke/munmap": ($r.revoke.median_nsec / $r.munmap.median_nsec),
			"revoke/unbind": ($r.revoke.median_nsec / $r.unbind.median_nsec)}
			+ if $r.revoke_synchronize_srcu then {
				"revoke/(2 munmap + srcu)": ($r.revoke.median_nsec /
					(2 * $r.munmap.median_nsec + $r.revoke_synchronize_srcu.median_nsec))}
			else {} end
			+ if $r.notify and $r.offline_page then {
				"offline_page of each page/notify":
					($r.offline_page.median_nsec * $pages / $r.notify.median_nsec)}
			else {} end)}
		else {} end' /run/bench.jsonl
	ndctl destroy-namespace -f "$namespace" >/dev/null || exit 1
}

[ "${2:-small}" != small ] || bench region0 2M 1G
[ "${2:-small}" != small ] || bench region0 4K 1G
[ "${2:-big}" != big ] || bench region1 2M 64G

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab-many.sh: runs in the emulated host; what grows with their number: a proof over 2,000 processes; 1, 8 and 64 evictions at
# once of regions that one machine has; 1, 16 and 64 regions that somebody unbinds at once, from the unbind to the fence begun and to
# the proof. JSON on the last line.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

processes=${1:-2000}
regions=${2:-64}
results=/run/bench.jsonl
: >"$results"

progress()
{
	echo "bench: $*" >&2
}

now_usec()
{
	echo "${EPOCHREALTIME/./}"
}

result()
{
	printf '{"name":"%s","n":%d,"usec":%d}\n' "$1" "$2" "$3" >>"$results"
}

# median NAME N COMMAND...: of five
median()
{
	local name=$1 n=$2 begun i
	shift 2

	for ((i = 0; i < 5; i++)); do
		begun=$(now_usec)
		"$@" >/run/bench.log 2>&1 || { echo "bench: $name failed: $(cat /run/bench.log)" >&2 && exit 1; }
		echo $(($(now_usec) - begun))
	done | sort -n | sed -n 3p >/run/bench.median
	result "$name" "$n" "$(cat /run/bench.median)"
}

count_processes()
{
	local list=(/proc/[0-9]*)

	echo ${#list[@]}
}

machine_start()
{
	bare_start b1
	virsh --quiet destroy b1
	virsh dumpxml b1 --inactive | sed "s/slots='8'/slots='$((regions + 8))'/" >/run/b1.xml
	virsh --quiet define /run/b1.xml
	virsh --quiet start b1
}

# evict_together REGION...: all at once; until the last of them is fenced and proved
evict_together()
{
	local name begun

	begun=$(now_usec)
	for name in "$@"; do
		pmemlease evict "$name" --deadline=0 >"/run/bench.$name.log" 2>&1 &
	done
	wait
	result evictions "$#" $(($(now_usec) - begun))
	for name in "$@"; do
		[ "$(lease_get "$name" State)" = fenced ] && continue
		echo "bench: $name is not fenced, but $(lease_get "$name" State): $(cat "/run/bench.$name.log")" >&2
		exit 1
	done
}

# journal_usec CURSOR MATCH...: when the last line since then that matches was logged
journal_usec()
{
	journalctl -q -u pmemleased.service --after-cursor="$1" -o json "${@:2}" | jq -s 'map(._SOURCE_REALTIME_TIMESTAMP | tonumber) | max'
}

all_fenced()
{
	local name

	for name in "$@"; do
		[ "$(lease_get "$name" State)" = fenced ] || return 1
	done
}

# surprise REGION...: all are unbound at once; the kernel tells of each when it is
surprise()
{
	local name begun cursor

	cursor=$(journalctl -q -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
	begun=$(now_usec)
	for name in "$@"; do
		echo "$name" >/sys/bus/dax/drivers/device_dax/unbind &
	done
	wait
	wait_for 300 all_fenced "$@" || { echo "bench: not all are fenced" >&2 && exit 1; }
	result surprise-begun "$#" $(($(journal_usec "$cursor" --grep 'Taking region') - begun))
	result surprise-proved "$#" $(($(journal_usec "$cursor" MESSAGE_ID=070e7865edbe4cc28c96859e1e13bffc) - begun))
}

# lend_part N: so many regions to a new machine
lend_part()
{
	local name

	part=("${names[@]:0:$1}")
	for name in "${part[@]}"; do
		pmemlease lease "$name" b1 >/run/bench.log 2>&1 || { cat /run/bench.log >&2 && exit 1; }
	done
}

# Each part begins alike: a new machine, all regions free.
end_part()
{
	local name

	virsh --quiet destroy b1
	for name in "${part[@]}"; do
		wait_region 120 "$name" Presence online && wait_region 120 "$name" Use free || exit 1
	done
	virsh --quiet start b1
}

progress "$regions regions"
names=()
for ((i = 0; i < regions; i++)); do
	names+=("$(lab-region 32M "region$((i % 2))")") || exit 1
done
wait_region 60 "${names[-1]}" Presence online || exit 1

progress "a proof over few processes, and over $processes"
median proof "$(count_processes)" pmemlease verify "${names[0]}"
sleepers=()
for ((i = $(count_processes); i < processes; i++)); do
	sleep 3600 &
	sleepers+=($!)
done
median proof "$(count_processes)" pmemlease verify "${names[0]}"
kill "${sleepers[@]}"
wait 2>/dev/null

machine_start
owner=$(guest uuid b1)
for name in "${names[@]}"; do
	pmemlease adopt "$name" "$owner" >/dev/null || exit 1
done
for n in 1 8 "$regions"; do
	progress "$n evictions at once"
	lend_part "$n"
	evict_together "${part[@]}"
	end_part
done
for n in 1 16 "$regions"; do
	progress "$n regions unbound at once"
	lend_part "$n"
	surprise "${part[@]}"
	end_part
done

jq -sc --arg kernel "$(uname -r)" '
	(map(select(.name == "proof")) | map({key: (.n | tostring), value: {median_usec: .usec, usec_per_process: (.usec / .n)}}) | from_entries) as $p |
	(map(select(.name == "evictions")) | map({key: (.n | tostring), value: {usec: .usec, usec_per_region: (.usec / .n)}}) | from_entries) as $e |
	def at(name): map(select(.name == name)) | map({key: (.n | tostring), value: {usec: .usec, usec_per_region: (.usec / .n)}}) | from_entries;
	{kernel: $kernel, proof_by_processes: $p, evictions_at_once: $e, unbound_at_once: {fence_begun: at("surprise-begun"), proved: at("surprise-proved")}}' "$results"

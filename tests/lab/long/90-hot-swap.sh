#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --timeout 1200
#
# The operator's whole way: everything on a DIMM is taken back, the host is switched off, another DIMM is in the slot when it boots,
# its namespaces are made as they were, and who wanted a lease again has it. Then the same DIMM leaves and comes back, with what is
# on it. Runs on any kernel.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

state=/var/lib/lab
dimm=nmem0

layout()
{
	busctl --json=short call org.pmemlease1 /org/pmemlease1 org.pmemlease1.Manager DescribeLayout s "$dimm" | jq -c '.data[0]'
}

# What is on the DIMM, without names that are given anew.
forms()
{
	ndctl list -N -r region0 | jq -c '[.[] | [.mode, .map, .size, .align]] | sort'
}

is_leased_to()
{
	[ "$(lease_get "$1" State 2>/dev/null)" = active ] && [ "$(lease_get "$1" DomainName)" = "$2" ]
}

# Which region has the lease's bytes now: the first devdax namespace of the DIMM whose size is that.
region_of_size()
{
	ndctl list -N -X -r region0 | jq -r --argjson size "$1" '.[] | select(.mode == "devdax" and .size == $size) | .daxregion.devices[0].chardev' | head -n 1
}

before_the_cut()
{
	local first second other owner

	first=$(lab-region 64M region0)
	second=$(lab-region 96M region0)
	other=$(lab-region 64M region1)
	ndctl create-namespace -m fsdax -s 64M -r region0 >/dev/null
	wait_region 30 "$other" Presence online
	bare_start b1
	owner=$(guest uuid b1)
	for name in "$first" "$second" "$other"; do
		pmemlease adopt "$name" "$owner" >/dev/null
	done
	succeeds "leased, to be had again" pmemlease lease "$first" b1 --restore
	succeeds "leased without that wish" pmemlease lease "$second" b1
	succeeds "another DIMM's" pmemlease lease "$other" b1
	is "$(lease_get "$first" Policy | grep -c restore)" 1 "its policy says so"
	forms >"$state/forms"
	like "$(pmemlease evict --device=$dimm --deadline=0)" "Safe to remove: DIMM $dimm" "the DIMM may be taken out"
	is "$(layout | jq length)" 3 "how it was laid out is recorded"
	is "$(layout | jq -c 'map(.[7]) | unique')" '[true]' "all of it is there still"
	lab new-nvdimm 0
	power_cut
}

# Nothing of the old DIMM is there.
after_the_swap()
{
	local first said

	bare_start b1
	is "$(ndctl list -N -r region0 | jq -r '.[]? | select(.mode != "raw") | .dev')" "" "the new DIMM has no namespaces"
	like "$(layout | jq -c 'map(.[7]) | unique')" false "and what is missing is known"
	said=$(pmemlease readmit --device=$dimm 2>&1)
	diag "$said"
	is "$(forms)" "$(cat "$state/forms")" "its namespaces are as they were"
	like "$said" "Note: Not leased again: .* to domain b1" "what is on it is nobody's, so it is not leased"
	first=$(region_of_size "$(ndctl list -N -r region0 | jq '[.[] | select(.mode == "devdax") | .size] | min')")
	is "$(region_get "$first" Content)" foreign "nothing is known of it"
	is "$(region_get "$first" Owner)" "" "whoever had the bytes before"
	said=$(pmemlease readmit --device=$dimm --discard= 2>&1)
	diag "$said"
	succeeds "overwritten, it is leased again to who wanted that" is_leased_to "$first" b1
	is "$(pmemlease leases --no-legend | grep -c active)" 1 "and to nobody else"
	is "$(region_get "$first" Owner)" "$(guest uuid b1)" "it is its tenant's"
	is "$(layout)" "[]" "nothing is left to be done"
	like "$(pmemlease history | cat)" "DIMM $dimm .*is back, 2 of its regions on another medium" "the history has it"
}

# The same DIMM leaves and comes back.
there_and_back()
{
	local first said

	first=$(pmemlease leases --no-legend | awk '/active/ { print $1 }')
	said=$(pmemlease evict --device=$dimm --deadline=0)
	like "$said" "Safe to remove: DIMM $dimm" "the new one may be taken out, too"
	virsh --quiet destroy b1
	succeeds "its machine has gone" wait_for 60 region_is "$first" Lease /
	bare_start b1
	said=$(pmemlease readmit --device=$dimm 2>&1)
	diag "$said"
	is "$(forms)" "$(cat "$state/forms")" "nothing was made anew"
	succeeds "the lease is there again" is_leased_to "$first" b1
	is "$(region_get "$first" Content)" retained "with what its tenant had on it"
	like "$(pmemlease history | cat)" "is back, 0 of its regions on another medium" "the history has that, too"
	is "$(refusal pmemlease readmit --device=nmem9 | grep -c 'no nmem9')" 1 "a DIMM that is not there"
}

case $LAB_BOOT in
1) before_the_cut ;;
2)
	after_the_swap
	there_and_back
	;;
esac
plan

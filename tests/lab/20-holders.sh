#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Not leasable to anybody while any old holder lives, whatever kind of holder: a mapping alone, a forked child, a process
# that was passed the descriptor, a descriptor in flight on a socket. Free by itself afterwards, with the data intact.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
owner=$(guest uuid b1)
succeeds "adopt" pmemlease adopt "$dax" "$owner"

for mode in map fd-closed fork passed-fd in-flight; do
	bare_start b1
	succeeds "$mode: lease" pmemlease lease "$dax" b1 --after-fence=destroy
	holder_start old "$mode" "/dev/$dax" || not_ok "$mode: no holder"
	[ "$mode" = in-flight ] || holder_ask old "write 0x5aa5$RANDOM" >/dev/null
	succeeds "$mode: evict at once, the machine destroyed" pmemlease evict "$dax" --deadline=0
	is "$(region_get "$dax" Use)" evicted "$mode: evicted"
	like "$(lease_get "$dax" State)" "fenced" "$mode: fenced"
	[ "$mode" = in-flight ] || is "$(holder_ask old touch)" SIGBUS "$mode: the old holder's access gives SIGBUS"
	bare_start b1 2>/dev/null
	like "$(refusal pmemlease lease "$dax" b1)" "status 4" "$mode: refused to the same owner while the holder lives"
	bare_start b2
	like "$(refusal pmemlease lease "$dax" b2 --owner="$owner")" "status 4" "$mode: refused to another"
	is "$(region_get "$dax" Binding)" none "$mode: still unbound"
	[ "$mode" = in-flight ] || is "$(holder_ask old touch)" SIGBUS "$mode: the old holder still gets SIGBUS"
	holder_end old
	succeeds "$mode: free once the holder is gone" wait_region 90 "$dax" Use free
	virsh --quiet destroy b1
	virsh --quiet destroy b2
done

# A holder of another region explains its own references and no others.
other=$(lab-region 64M)
wait_region 20 "$other" Presence online
holder_start neighbour map "/dev/$other"
bare_start b1
succeeds "with a neighbour's holder: lease" pmemlease lease "$dax" b1 --after-fence=destroy
succeeds "evict" pmemlease evict "$dax" --deadline=0
succeeds "a neighbour's holder is explained: free" wait_region 30 "$dax" Use free
bare_start b1 
succeeds "lease again" pmemlease lease "$dax" b1 --after-fence=destroy
holder_start flying in-flight "/dev/$dax"
succeeds "evict with a descriptor in flight beside it" pmemlease evict "$dax" --deadline=0
sleep 3
is "$(region_get "$dax" Use)" evicted "the neighbour does not explain the descriptor in flight"
holder_end flying
succeeds "free once it was received or dropped" wait_region 90 "$dax" Use free
holder_end neighbour
pmemlease history "$dax" -n 12 | sed 's/^/# /'
plan

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The main job: lease, write, evict a guest that does not answer, fence, proof; who may have the region then, and what is in it.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

dax=$(lab-region 384M)
wait_region 20 "$dax" Presence online
guest start g1 || exit 1
owner=$(guest uuid g1)

lease_drains()
{
	[ "$(lease_get "$dax" State)" = draining ]
}

# --- foreign content is not lent; adopted, it is ---
is "$(region_get "$dax" Content)" foreign "a new region is foreign"
like "$(refusal pmemlease lease "$dax" g1)" "adopt.*status 4" "a foreign region is refused, and the sentence says adopt"
succeeds "the operator adopts it for g1" pmemlease adopt "$dax" "$owner"
is "$(region_get "$dax" Content)" retained "adopted: retained"
fails "no other domain gets it" pmemlease lease "$dax" g2

# --- lease ---
succeeds "lease to the running guest" pmemlease lease "$dax" g1
is "$(lease_get "$dax" State)" active "the lease is active"
is "$(region_get "$dax" Use)" leased "the region is leased"
like "$(guest cmd g1 fill 7)" "^ok" "the guest fills the region"
like "$(refusal pmemlease lease "$dax" g1)" "leased already.*status 4" "a region twice is refused"
succeeds "verify shows who holds it" pmemlease verify "$dax"

# --- eviction of a guest that keeps writing and does not answer ---
guest cmd g1 "spin 9" >/dev/null
before=$(now_msec)
succeeds "evict with a deadline of 5 s" pmemlease evict "$dax" --deadline=5s
took=$(($(now_msec) - before))
diag "evict took $took ms"
succeeds "the guest had its 5 s" test "$took" -ge 5000
succeeds "and the bound held" test "$took" -lt 20000
like "$(pmemlease history "$dax")" "no channel for a guest agent" "that it could not be asked, and why, is in the history"
is "$(lease_get "$dax" State)" fenced "the lease is fenced"
is "$(region_get "$dax" Use)" evicted "the region is evicted"
is "$(region_get "$dax" Binding)" none "nothing is bound to the device"
proof=$(pmemlease --json proof "$dax")
is "$(jq -r .verdict <<<"$proof")" unreachable "the recorded proof says unreachable"
is "$(jq -r .rung <<<"$proof")" unbind "by the rung unbind"
is "$(jq -r '[.holders[].present_bytes] | add' <<<"$proof")" 0 "no page of any holder is mapped"
like "$(jq -r '.holders[].command' <<<"$proof")" "qemu" "QEMU is named as a holder"
is "$(jq -r '[.holders[] | .probes - .probes_refused] | add' <<<"$proof")" 0 "every probe was refused"
is "$(jq -r '[.holders[].probes] | add >= 3' <<<"$proof")" true "and some were made"
is "$(virsh domstate g1 | head -n 1)" paused "the guest is paused"
scope=/sys/fs/cgroup$(cut -d: -f3 "/proc/$(qemu_pid g1)/cgroup" | sed 's,\.scope/.*,.scope,')
succeeds "and no longer frozen" grep -q '^frozen 0' "$scope/cgroup.events"

# --- nobody gets it while the old holder lives ---
guest start g2 || exit 1
like "$(refusal pmemlease lease "$dax" g2)" "qemu.*status 4" "g2 is refused, the holder is named"
like "$(refusal pmemlease lease "$dax" g1)" "status 4" "so is g1"
like "$(refusal pmemlease scrub "$dax" --discard="$owner")" "status 4" "so is a scrub"
like "$(refusal pmemlease readmit "$dax")" "status 4" "so is readmit"
systemctl restart pmemleased.service
is "$(lease_get "$dax" State)" fenced "after a restart of the daemon the lease is still fenced"
fails "and g2 is still refused" pmemlease lease "$dax" g2

# --- the holder goes: the daemon notices by itself ---
guest stop g1
succeeds "the last holder is gone: free" wait_region 30 "$dax" Use free
succeeds "and bound again" wait_region 30 "$dax" Presence online
like "$(refusal pmemlease lease "$dax" g2)" "(scrub|retained).*status 4" "g2 is refused: the data is g1's"

# --- the same owner: the data is intact. The spinner wrote over what it could; a second fill tells ---
guest start g1 || exit 1
succeeds "the same owner gets it back" pmemlease lease "$dax" g1
like "$(guest cmd g1 "fill 11")" "^ok" "g1 writes"
succeeds "evict with a deadline of 0" pmemlease evict "$dax" --deadline=0
guest stop g1
succeeds "free again" wait_region 30 "$dax" Use free
guest start g1 || exit 1
succeeds "leased to g1 once more" pmemlease lease "$dax" g1
like "$(guest cmd g1 "check 11")" "^ok" "every byte of its data is there"
guest cmd g1 poweroff >/dev/null 2>&1
succeeds "a guest that powers off gives the region back by itself" wait_region 30 "$dax" Use free
is "$(region_get "$dax" Content)" retained "its data is retained"

# --- another owner: only after a scrub that names the first ---
like "$(refusal pmemlease scrub "$dax" --discard="$(guest uuid g2)")" "status 4" "a scrub that names another owner is refused"
is "$(region_get "$dax" Content)" retained "and nothing was overwritten"
succeeds "the operator's scrub" pmemlease scrub "$dax" --discard="$owner"
is "$(region_get "$dax" Content)" blank "blank"
succeeds "now g2 gets it" pmemlease lease "$dax" g2 --drain=never --deadline=infinity
is "$(guest cmd g2 zero)" ok "and reads nothing but zeroes"

# --- an eviction without a deadline waits; a later one hurries it ---
is "$(pmemlease --json leases | jq -r '.leases[0].policy.drain')" never "its lease says what is done before force"
like "$(pmemlease evict "$dax" --no-wait)" "^job" "evicted without a deadline, as its lease says"
succeeds "it waits" wait_for 10 lease_drains
succeeds "hurried" pmemlease evict "$dax" --deadline=0
is "$(lease_get "$dax" State)" fenced "and fenced"
pmemlease history "$dax" | sed 's/^/# /'
journal_tail 15
plan

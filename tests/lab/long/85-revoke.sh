#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel patched --timeout 900
#
# The service on a kernel that can revoke: the guest lives on without its region, and the region is lent to another while it does.
# Nothing that the old guest does reaches what the new one writes.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

export GUEST_TIMEOUT=240
dax=$(lab-region 64M)

running()
{
	[[ $(virsh domstate "$1" | head -n 1) = running ]]
}

no_lease()
{
	[ -z "$(lease_get "$dax" State 2>/dev/null)" ]
}

free_again()
{
	no_lease && region_is "$dax" Use free && region_is "$dax" Presence online && region_is "$dax" Job /
}

verdict()
{
	pmemlease verify "$dax" --json | jq -r .verdict
}

wait_region 20 "$dax" Presence online
is "$(region_get "$dax" FenceLevel)" revoke "the rung"
like "$(busctl get-property "$bus" /org/pmemlease1 "$bus.Manager" KernelRevoke)" "b true" "the daemon says that it can revoke"

guest start g1 >/dev/null
guest start g2 >/dev/null
g1=$(guest uuid g1)
pmemlease adopt "$dax" "$g1" >/dev/null
succeeds "leased to the first guest" pmemlease lease "$dax" g1
like "$(guest cmd g1 fill 7)" "^ok" "which writes"
warnings()
{
	pmemlease leases --json | jq -r '.leases[0].warnings[]'
}
fails "whose processor can recover from what a revocation is" grep panics <<<"$(warnings)"
generation=$(cat "/sys/bus/dax/devices/$dax/generation")

succeeds "evicted, with no time for the guest" pmemlease evict "$dax" --deadline=0
succeeds "free again" wait_for 30 free_again
succeeds "its machine runs" running g1
is "$(guest cmd g1 ping)" pong "the guest lives on"
like "$(guest cmd g1 check 7)" "^sigbus" "what it touches of the region is an error"
is "$(guest cmd g1 ping)" pong "which it survives"
told_of_error()
{
	pmemlease history "$dax" | grep -q 'memory error.*which was taken from it'
}
succeeds "and which the history has, of the lease" wait_for 20 told_of_error
fails "another binding" [ "$(cat "/sys/bus/dax/devices/$dax/generation")" = "$generation" ]
is "$(verdict)" revoked "the proof names who is left, and that it has no access"
like "$(pmemlease proof "$dax" 2>&1)" "revoke" "the recorded proof has the rung"
fails "its machine cannot open the device again" nsenter -t "$(qemu_pid g1)" -m test -e "/dev/$dax"
# owner_of_node PID: who may open the node behind its descriptor anew, of a device that is called /dev/daxX.Y there
owner_of_node()
{
	local fd

	for fd in "/proc/$1/fd"/*; do
		[[ $(readlink "$fd") != /dev/dax* ]] || stat -L -c %u:%g:%a "$fd"
	done
}
is "$(owner_of_node "$(qemu_pid g1)" | sort -u)" 4294967294:4294967294:0 "nor by the descriptor that it keeps"

like "$(refusal pmemlease lease "$dax" g2)" "holds the data of $g1" "another tenant is refused while the first one's data is there"
succeeds "scrubbed, while the first guest runs" pmemlease scrub "$dax" --discard="$g1"
succeeds "leased to another, while the first guest runs" pmemlease lease "$dax" g2
is "$(guest cmd g2 zero)" ok "it reads only zeroes"
like "$(guest cmd g2 fill 9)" "^ok" "and writes"
for _ in $(seq 10); do
	guest cmd g1 fill 3 >/dev/null
done
is "$(guest cmd g2 check 9)" ok "nothing of what the first one writes now arrives"
like "$(guest cmd g1 check 9)" "^sigbus" "and it reads nothing of the other"
succeeds "the first machine runs" running g1
succeeds "the second machine runs" running g2

succeeds "evicted again: both live on" pmemlease evict "$dax" --deadline=0
succeeds "and free" wait_for 30 free_again
is "$(guest cmd g2 ping)" pong "the second guest lives on"
is "$(guest cmd g1 ping)" pong "the first one, too"

# --- a surprise: somebody unbinds it ---
guest start g3 >/dev/null
pmemlease scrub "$dax" --discard="$(guest uuid g2)" >/dev/null
succeeds "leased to a third guest" pmemlease lease "$dax" g3
like "$(guest cmd g3 fill 5)" "^ok" "which writes"
echo "$dax" >/sys/bus/dax/drivers/device_dax/unbind
succeeds "unbound by somebody: taken back" wait_for 30 no_lease
succeeds "and free" wait_for 30 free_again

# --- the policy ---
guest start g4 >/dev/null
pmemlease scrub "$dax" --discard="$(guest uuid g3)" >/dev/null
succeeds "leased, to be paused" pmemlease lease "$dax" g4 --after-fence=pause
succeeds "evicted" pmemlease evict "$dax" --deadline=0
is "$(virsh domstate g4 | head -n 1)" paused "it is paused"
succeeds "and the region free all the same" wait_for 30 free_again

# --- held past the bound: the kernel holds pages for somebody ---
virsh --quiet destroy g2 2>/dev/null || true
mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Proof]\nTimeout=3s\n' >/etc/pmemlease/pmemleased.conf.d/50-bounds.conf
systemctl reload pmemleased.service
bare_start b2
pmemlease scrub "$dax" --discard="$(region_get "$dax" Owner)" >/dev/null
succeeds "leased, and somebody pins pages of it" pmemlease lease "$dax" b2
holder_start pinning pinned "/dev/$dax"
fails "an eviction says that it could not be proved" pmemlease evict "$dax" --deadline=0
is "$(lease_get "$dax" State)" stuck "it is stuck"
is "$(region_get "$dax" Use)" quarantined "and quarantined"
like "$(pmemlease proof "$dax" --json | jq -r .kernel_refs)" "^[1-9]" "the proof has the kernel's references"
like "$(pmemlease proof "$dax")" "reference.* on its memory for somebody \(io_uring" "and says what they may be"
like "$(refusal pmemlease lease "$dax" g4)" "status [1-9]" "it is not lent"
holder_end pinning
succeeds "its holder goes: proved after all, and free" wait_for 90 free_again
virsh --quiet destroy b2

# --- a machine whose guest would not survive it ---
bare_start b1
pmemlease scrub "$dax" --discard="$(region_get "$dax" Owner)" >/dev/null
succeeds "leased to a machine with an AMD processor without succor and overflow-recov" pmemlease lease "$dax" b1
like "$(warnings)" "panics where it touches a revoked page" "the lease says what that means"
plan

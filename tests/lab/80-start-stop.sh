#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Machines that have a region in their own XML: libvirt's hook has the daemon grant it at the start, refuses in a sentence that
# reaches virsh, and stands in nobody's way.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
uuid=$(guest uuid b1)

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

# --- a start is granted, or refused with the reason ---
bare_define b1 "$(region_memory "$dax")"
like "$(refusal virsh start b1)" "holds data of unknown origin|Nobody knows whose data" "a foreign region: refused, and virsh says why"
like "$(refusal virsh start b1)" "adopt" "and what to do"
pmemlease adopt "$dax" "$uuid" >/dev/null
succeeds "adopted: the machine starts" virsh --quiet start b1
succeeds "the lease is active" lease_is active
is "$(lease_get "$dax" DomainName)" b1 "it is the machine's"
is "$(lease_get "$dax" Owner)" "$uuid" "with its own data"
succeeds "QEMU maps the region" grep -q "/dev/$dax" "/proc/$(qemu_pid b1)/maps"
bare_define b2 "$(region_memory "$dax")"
like "$(refusal virsh start b2)" "lent to b1" "another machine is refused, and told who has it"

# --- libvirtd comes and goes ---
systemctl restart libvirtd.service
is "$(virsh domstate b1 | head -n 1)" running "restarting libvirtd leaves the machine alone"
succeeds "and the lease" lease_is active

# --- the daemon is down ---
bare_define b3
systemctl mask --runtime --now pmemleased.service 2>/dev/null
systemctl restart libvirtd.service
is "$(virsh domstate b1 | head -n 1)" running "also while the daemon is down: reconnect is never refused"
like "$(refusal virsh start b2)" "pmemleased does not answer" "daemon down: a machine with a managed region is refused"
succeeds "daemon down: another starts" virsh --quiet start b3
virsh --quiet destroy b3
systemctl unmask --runtime pmemleased.service
systemctl start pmemleased.service
succeeds "the daemon is back: the lease goes on" wait_for 20 lease_is active

# --- its end frees the region, and the next start finds it free ---
virsh --quiet destroy b1
succeeds "started again at once" virsh --quiet start b1
succeeds "a lease again" lease_is active
virsh --quiet destroy b1
succeeds "stopped: free" wait_region 30 "$dax" Use free
is "$(region_get "$dax" Content)" retained "its data is retained"
like "$(refusal virsh start b2)" "$uuid" "and nobody else's"

# --- kept offline ---
succeeds "evicted and kept offline" pmemlease evict "$dax" --deadline=0 --keep-offline
like "$(refusal virsh start b1)" "readmit" "kept offline: the start is refused with the reason"
succeeds "readmitted" pmemlease readmit "$dax"
succeeds "and the machine starts" virsh --quiet start b1
virsh --quiet destroy b1
succeeds "free at the end" wait_region 30 "$dax" Use free

# --- persistent ---
defined()
{
	virsh dumpxml --inactive b1 | grep -q "/dev/$dax"
}
not_defined()
{
	! defined
}
bare_start b1
succeeds "leased, and in the definition" pmemlease lease --persistent "$dax" b1
succeeds "which names it" defined
virsh --quiet destroy b1
succeeds "the machine's end leaves the definition alone" defined
succeeds "its next start is granted" virsh --quiet start b1
succeeds "and leased" lease_is active
pmemlease evict "$dax" --deadline=0 >/dev/null
succeeds "taken back: out of the definition" wait_for 20 not_defined
like "$(lease_get "$dax" Warnings)" "reset, saved, dumped" "and the lease warns of what would end QEMU"
virsh --quiet destroy b1
wait_region 30 "$dax" Use free
succeeds "the next start is without it" virsh --quiet start b1
is "$(region_get "$dax" Use)" free "and leases nothing"
virsh --quiet destroy b1

# --- behind our back: all of it is in long/81-behind-our-back.sh ---
mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Proof]\nLookInterval=1s\n' >/etc/pmemlease/pmemleased.conf.d/50-test.conf
systemctl reload pmemleased.service
held()
{
	[[ $(region_get "$dax" Obstacles) == *"behind our back"* ]]
}
not_held()
{
	! held
}
exec 7<>"/dev/$dax"
succeeds "opened by somebody: an obstacle" wait_for 30 held
like "$(refusal pmemlease lease "$dax" b1)" "held " "and it is not lent"
exec 7>&-
succeeds "closed: no more" wait_for 30 not_held
pmemlease evict "$dax" --deadline=0 --keep-offline >/dev/null
wait_region 20 "$dax" Presence offline
echo "$dax" >/sys/bus/dax/drivers/device_dax/bind
succeeds "kept offline and bound by somebody: quarantined" wait_region 30 "$dax" Use quarantined
succeeds "and unbound again" wait_region 10 "$dax" Binding none
like "$(region_get "$dax" Reason)" "somebody bound it" "with the reason"

journal_tail 15
plan

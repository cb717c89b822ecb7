#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Another process maps the machine's memory, as its vhost-user device: it is lent nothing; and where the device comes after the lease,
# that is said, the process is found, and the fence and its proof are about both.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

lease_warns()
{
	[[ $(lease_get "$dax" Warnings) == *"$1"* ]]
}

held()
{
	[[ $(region_get "$dax" Obstacles) == *"behind our back"* ]]
}

maps()
{
	find "/proc/$1/map_files" -lname "/dev/$dax*" 2>/dev/null | grep -q .
}

not_maps()
{
	! maps "$1"
}

# The process behind the device, which answers one machine after the other.
backend_start()
{
	truncate -s 16M /run/vhost.img
	rm -f /run/vhost.sock
	qemu-storage-daemon --blockdev driver=file,node-name=disk,filename=/run/vhost.img \
		--export type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=/run/vhost.sock >/run/vhost.log 2>&1 &
	backend=$!
	wait_for 20 test -S /run/vhost.sock || { cat /run/vhost.log && exit 1; }
	chmod 666 /run/vhost.sock
}

disk='<disk type="vhostuser" device="disk" snapshot="no"><driver name="qemu" type="raw"/><source type="unix" path="/run/vhost.sock"/>'
disk+='<target dev="vda" bus="virtio"/></disk>'

# A machine whose memory others can map. shared_define [DEVICES]
shared_define()
{
	local more

	more=$(tr '\n' ' ' <<<"$1")
	bare_define b1
	virsh dumpxml --inactive b1 |
		sed -e 's,<vcpu ,<memoryBacking><source type="memfd"/><access mode="shared"/></memoryBacking>&,' \
			-e "s,</devices>,$more&,; s,<on_reboot>destroy<,<on_reboot>restart<," >b1.xml
	virsh --quiet define b1.xml
}

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
pmemlease adopt "$dax" "$(guest uuid b1)" >/dev/null
mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Proof]\nLookInterval=1s\n' >/etc/pmemlease/pmemleased.conf.d/50-test.conf
systemctl reload pmemleased.service
backend_start

# --- before the lease ---
shared_define "$disk"
succeeds "a machine with a vhost-user disk starts" virsh --quiet start b1
like "$(refusal pmemlease lease "$dax" b1)" "vhost-user.*status [1-9]" "it is lent nothing, with the reason"
virsh --quiet destroy b1
shared_define "$disk $(region_memory "$dax")"
like "$(refusal virsh start b1)" "vhost-user device" "nor is one started that has a region in its own XML"

# --- after it ---
shared_define ""
virsh --quiet start b1
succeeds "without one: leased" pmemlease lease "$dax" b1
is "$(lease_get "$dax" Warnings)" "[]" "without a warning"
echo "$disk" >disk.xml
succeeds "a vhost-user disk is added" virsh --quiet attach-device b1 disk.xml --live
succeeds "the lease warns" wait_for 20 lease_warns "vhost-user device"
like "$(pmemlease doctor)" "cannot be taken back from b1 with a proof" "so does doctor"
# The firmware is the driver that has the device started.
virsh --quiet reset b1
succeeds "its process maps the region" wait_for 60 maps "$backend"
succeeds "and is found" wait_for 30 held
like "$(region_get "$dax" Obstacles)" "qemu-storage" "by its name"
qemu=$(qemu_pid b1)
succeeds "evict" pmemlease evict "$dax" --deadline=0
proof=$(pmemlease --json proof "$dax")
diag "$(jq -c '{verdict, rung, holders: [.holders[]? | {pid, command}]}' <<<"$proof")"
is "$(jq -r .verdict <<<"$proof")" unreachable "the proof is that nobody reaches it"
for pid in "$qemu" "$backend"; do
	succeeds "and it looked at $(cat "/proc/$pid/comm")" jq -e "any(.holders[]; .pid == $pid)" <<<"$proof"
done
is "$(region_get "$dax" Use)" evicted "it is not lent while they hold it"
virsh --quiet destroy b1
succeeds "the machine ends, and its device's process lets go" wait_for 30 not_maps "$backend"
succeeds "free" wait_region 60 "$dax" Use free
kill "$backend"
journal_tail 15
plan

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Memory of the host (system-ram), lent as a dimm by its NUMA node: leased, unplugged under load, refused, kept by a guest
# that does not answer, taken with its domain, and plugged in and out again and again without a leak.
# lab: --timeout 1800 --memory 5G --kernel-arg memhp_default_state=online_movable --kernel-arg audit=1
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-sysram.sh
. ./lib-sysram.sh

demotion=/sys/kernel/mm/numa/demotion_enabled
cycles=${1:-50}

# --- all of it is done with the daemon confined, as Debian has it ---
if [ -d /sys/kernel/security/apparmor ]; then
	apparmor_parser -r /etc/apparmor.d/pmemleased
	systemctl restart pmemleased.service
	is "$(cat "/proc/$(systemctl show -P MainPID pmemleased.service)/attr/current")" "pmemleased (enforce)" "the daemon is confined"
	wait_for 60 connected
else
	diag "this kernel has no AppArmor"
fi

# --- as it is found ---
sysram_begin
is "$(driver)" kmem "in system-ram mode"
is "$(region_get "$dax" Kind)" sysram "it is a region of kind sysram"
is "$(region_get "$dax" Presence)" online "and online"
is "$(region_get "$dax" FenceLevel)" unplug "which is taken back when its guest has given it back"

# --- what is unknown is scrubbed as a device-dax, and memory again behind it ---
like "$(refusal pmemlease lease "$dax" nobody)" "status [1-9]" "no such domain"
succeeds "scrubbed" pmemlease scrub "$dax" --discard=
is "$(region_get "$dax" Content)" blank "blank"
is "$(driver)" kmem "and memory of the host again"
wait_region 20 "$dax" Kind sysram

# --- a node that libvirtd does not know ---
succeeds "a guest" guest start g1 640
before_kib=$(guest_kib g1)
like "$(refusal pmemlease lease "$dax" g1)" "NUMA node 1.*systemctl restart libvirtd" "a node that came after libvirtd is refused, with the mend"
is "$(region_get "$dax" Use)" free "nothing was lent"
succeeds "libvirtd is restarted, and connected again" sysram_known

# --- refused: demotion, and who wants force ---
if echo 1 >"$demotion" 2>/dev/null; then
	busctl call "$bus" /org/pmemlease1 "$bus.Manager" Reload >/dev/null
	like "$(refusal pmemlease lease "$dax" g1)" "demotion" "a host that demotes pages is refused"
	echo 0 >"$demotion"
	busctl call "$bus" /org/pmemlease1 "$bus.Manager" Reload >/dev/null
else
	skip "a host that demotes pages is refused" "no demotion"
fi
like "$(refusal pmemlease lease --drain=force "$dax" g1)" "only its guest can give back" "force without the domain's end is refused"

# --- leased ---
before=$(now_msec)
succeeds "leased" pmemlease lease "$dax" g1
diag "in $(($(now_msec) - before)) ms"
is "$(lease_get "$dax" State)" active "active"
is "$(lease_get "$dax" Model)" dimm "as a dimm"
lent=$(bound g1)
succeeds "all of it is present on node 1 ($lent KiB)" test "$lent" -ge 786432
like "$(refusal pmemlease lease "$dax" g1 --persistent)" "lease it again when the domain runs" "it is leased for the next start by nobody"
bare_define b1 "<memory model='dimm'><source><nodemask>1</nodemask></source><target><size unit='MiB'>128</size><node>0</node></target></memory>"
like "$(refusal virsh start b1)" "NUMA node 1.*lent to domain g1" "no machine takes memory of the lent node by its own XML"
succeeds "the guest has it" wait_for 30 guest_has g1 $((before_kib + 700000))

# --- given back under load ---
is "$(guest cmd g1 hog 300)" ok "a writer in the guest"
succeeds "which writes" wait_for 60 hogged 2
before=$(now_msec)
json=$(pmemlease --json evict --keep-offline "$dax" --deadline=120s)
is "$(jq -r .job.result <<<"$json")" "done" "evicted"
diag "in $(($(now_msec) - before)) ms; $(jq -c '[.job.phases[] | {(.name): .usec}] | add' <<<"$json")"
like "$(jq -r .job.message <<<"$json")" "let go by itself, and runs on" "the guest gave it back"
is "$(jq -r .proof.verdict <<<"$json")" clear "proved"
is "$(jq -r .proof.rung <<<"$json")" unplug "by the rung unplug"
like "$(guest cmd g1 hogged)" " ok$" "nothing that the writer wrote is lost"
count=$(guest cmd g1 hogged)
succeeds "and it goes on" wait_for 60 hogged $((${count% *} + 2))
is "$(virsh domstate g1 | head -n 1)" running "the guest runs"
succeeds "its memory is what it was" wait_for 20 guest_has_less g1 $((before_kib + 1000))
is "$(memory_blocks)" "$blocks_before" "the memory blocks are gone"
is "$(system_ram)" 0 "and the range"
is "$(region_get "$dax" Binding)" none "the region is unbound"
is "$(region_get "$dax" Use)" evicted "and kept offline"
guest cmd g1 unhog >/dev/null

# --- and back: overwritten as the lease says, and memory again ---
succeeds "readmitted" pmemlease readmit "$dax"
succeeds "scrubbed by the lease's policy" wait_region 120 "$dax" Content blank
succeeds "and memory of the host again" wait_region 60 "$dax" Kind sysram
is "$(driver)" kmem "bound to kmem"
is "$(region_get "$dax" Use)" free "and free"

# --- a guest that does not answer keeps it: said, and not called taken ---
pmemlease lease "$dax" g1 >/dev/null
wait_for 30 guest_has g1 $((before_kib + 700000))
virsh --quiet suspend g1
json=$(pmemlease --json evict --keep-offline "$dax" --deadline=3s)
is "$(jq -r .job.error <<<"$json")" org.pmemlease1.Error.Stuck "a silent guest: stuck"
like "$(jq -r .job.message <<<"$json")" "qemu-system-x86.*pid $(qemu_pid g1)" "named with who has it"
is "$(lease_get "$dax" State)" stuck "the lease is stuck"
is "$(region_get "$dax" Use)" quarantined "and the region is not lent again"
is "$(driver)" kmem "nothing was taken from under it"
virsh --quiet resume g1
succeeds "it goes on, and gives it back: taken after all" wait_region 60 "$dax" Use evicted
is "$(memory_blocks)" "$blocks_before" "the memory blocks are gone, too"
pmemlease readmit "$dax" >/dev/null
wait_region 120 "$dax" Content blank
wait_region 60 "$dax" Kind sysram

# --- a guest that refuses: its kernel has made itself at home ---
GUEST_ONLINE=online_kernel guest start g2 256
pmemlease lease "$dax" g2 --on-refusal=keep >/dev/null
guest cmd g2 clutter 60000 >/dev/null
like "$(refusal pmemlease evict "$dax" --deadline=60s)" "refuses.*status 4" "a refusal reaches the caller"
is "$(lease_get "$dax" State)" active "the lease goes on"
is "$(guest cmd g2 ping)" pong "and the guest"
json=$(pmemlease --json evict --keep-offline "$dax" --deadline=4s --after-fence=destroy --on-refusal=force)
is "$(jq -r .job.result <<<"$json")" "done" "its domain is destroyed where that is wished"
is "$(virsh domstate g2 | head -n 1)" "shut off" "shut off"
is "$(memory_blocks)" "$blocks_before" "and the memory taken"
pmemlease readmit "$dax" >/dev/null
wait_region 120 "$dax" Content blank
wait_region 60 "$dax" Kind sysram

# --- something of the host's on it ---
systemd-run --quiet --wait -p NUMAPolicy=bind -p NUMAMask=1 dd if=/dev/zero of=/dev/shm/host bs=1M count=64 status=none
like "$(refusal pmemlease lease "$dax" g1)" "something of the host's.*KiB of page cache" "what the host has on the node is named"
rm -f /dev/shm/host

# --- again and again ---
ledger_open()
{
	pmemlease --json leases | jq '.leases | length'
}
blocks=$(memory_blocks)
iomem=$(wc -l </proc/iomem)
before=$(now_msec)
failed=0
for ((i = 1; i <= cycles; i++)); do
	pmemlease lease "$dax" g1 --on-end=keep >/dev/null && pmemlease release "$dax" --deadline=60s >/dev/null &&
		wait_region 30 "$dax" Use free && wait_region 30 "$dax" Kind sysram || failed=$((failed + 1))
	[ "$i" -gt 3 ] || vm_size=$(qemu_kib g1)
done
diag "$cycles times in $(($(now_msec) - before)) ms"
is "$failed" 0 "plugged in and out $cycles times"
is "$(memory_blocks)" "$blocks" "no memory block more or less"
is "$(wc -l </proc/iomem)" "$iomem" "no range more or less"
is "$(cat /sys/devices/system/node/online)" 0-1 "the same NUMA nodes"
is "$(region_get "$dax" Presence)" online "the region is online"
succeeds "QEMU has not grown: $vm_size KiB, $(qemu_kib g1) KiB" test "$(qemu_kib g1)" -le $((vm_size + 4096))
is "$(ledger_open)" 0 "no lease is left"
succeeds "the guest has what it had" wait_for 20 guest_has_less g1 $((before_kib + 1000))
is "$(guest cmd g1 ping)" pong "and answers"
virsh --quiet destroy g1

# --- a machine that libvirt confines: it has no path to be let at, and the daemon makes its memory present all the same ---
if confine; then
	pmemlease scrub "$dax" --discard="$(guest uuid g1)" >/dev/null
	wait_region 60 "$dax" Kind sysram
	bare_start b2
	like "$(machine_label b2)" "^libvirt-.*enforce" "a machine that is confined by libvirt"
	succeeds "a dimm is leased" pmemlease lease "$dax" b2
	succeeds "all of it is present on node 1 ($(bound b2) KiB)" test "$(bound b2)" -ge 786432
	json=$(pmemlease --json evict "$dax" --deadline=1s --after-fence=destroy)
	is "$(jq -r .job.result <<<"$json")" "done" "and taken back with its machine, which has nobody to ask"
	succeeds "memory of the host again" wait_region 120 "$dax" Content blank
	is "$(denied)" "" "AppArmor had nothing to deny"
fi

journal_tail 15
plan

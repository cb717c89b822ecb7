#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# 92-virtio-mem.sh [CYCLES]: memory of the host (system-ram), lent as a virtio-mem: given back in parts under load, in part by a
# guest under pressure, which goes on when it has room; while the daemon is killed, libvirtd restarted and the guest rebooted; and the power is cut.
# lab: --timeout 2400 --memory 5G --kernel-arg memhp_default_state=online_movable
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-sysram.sh
. ./lib-sysram.sh

cycles=${1:-10}
mib=768

# part_get PROPERTY: of the lease, in MiB
part_get()
{
	echo $(($(lease_get "$dax" "$1") / 1048576))
}

# What libvirt says that the guest is to have, in MiB; nothing where it has no such device.
requested()
{
	virsh dumpxml g1 | sed -n "s|.*<requested unit='KiB'>\([0-9]*\)</requested>.*|\1|p" | awk '{ print $1 / 1024 }'
}

requested_is()
{
	[ "$(requested)" = "$1" ]
}

answers()
{
	[ "$(GUEST_TIMEOUT=5 guest cmd g1 ping)" = pong ]
}

part_below()
{
	[ "$(part_get Plugged)" -lt "$1" ]
}

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

settled()
{
	wait_region 240 "$dax" Use free && wait_region 60 "$dax" Kind sysram
}

writer_goes_on()
{
	local count

	like "$(guest cmd g1 hogged)" " ok$" "nothing that the writer wrote is lost"
	count=$(guest cmd g1 hogged)
	succeeds "and it goes on" wait_for 120 hogged $((${count% *} + 1))
}

# As much as the guest cannot do without, with nothing to spare for a whole dimm.
press()
{
	is "$(guest cmd g1 hog 950)" ok "a writer that needs much of the guest"
	succeeds "and has it" wait_for 240 hogged 1
}

if [ "$LAB_BOOT" -eq 2 ]; then
	dax=$(ndctl list -X | jq -er '.[].daxregion.devices[0].chardev')
	succeeds "the region is memory of the host again, by itself" wait_region 120 "$dax" Kind sysram
	succeeds "free: nothing of the lease is left" wait_region 60 "$dax" Use free
	sysram_known
	guest start g1 640
	succeeds "and it is lent again" pmemlease lease "$dax" g1 --model=virtio-mem --on-end=keep
	virsh --quiet destroy g1
	journal_tail 15
	plan
fi

sysram_begin
pmemlease adopt "$dax" "$(guest uuid g1)" >/dev/null
sysram_known
GUEST_ON_REBOOT=restart guest start g1 640
before_kib=$(guest_kib g1)
lease=(pmemlease lease "$dax" g1 --model=virtio-mem --on-end=keep)

# --- leased ---
like "$(refusal pmemlease lease "$dax" g1 --model=balloon)" "dimm or virtio-mem" "no other model"
before=$(now_msec)
succeeds "leased" "${lease[@]}"
diag "in $(($(now_msec) - before)) ms"
is "$(lease_get "$dax" State)" active "active"
is "$(lease_get "$dax" Model)" virtio-mem "as a virtio-mem"
is "$(part_get Size) $(part_get Plugged)" "$mib $mib" "all of it is the guest's"
lent=$(bound g1)
succeeds "all of it is present on node 1 ($lent KiB)" test "$lent" -ge $((mib * 1024))
succeeds "the guest has it" wait_for 30 guest_has g1 $((before_kib + 700000))

# --- given back under load ---
is "$(guest cmd g1 hog 300)" ok "a writer in the guest"
succeeds "which writes" wait_for 60 hogged 2
before=$(now_msec)
json=$(pmemlease --json evict --keep-offline "$dax" --deadline=120s)
is "$(jq -r .job.result <<<"$json")" "done" "evicted"
diag "in $(($(now_msec) - before)) ms; $(jq -c '[.job.phases[] | {(.name): .usec}]' <<<"$json")"
like "$(jq -r .job.message <<<"$json")" "let go by itself, and runs on" "the guest gave it back"
succeeds "in parts, of which the job told" jq -e '[.job.phases[].name | select(test("given back [1-9][0-9]* of 768"))] | length > 0' <<<"$json"
is "$(jq -r .proof.verdict <<<"$json")" clear "proved"
writer_goes_on
is "$(virsh domstate g1 | head -n 1)" running "the guest runs"
is "$(requested)" "" "the device is gone from its machine"
is "$(bound g1)" 0 "and its memory"
succeeds "its memory is what it was" wait_for 20 guest_has_less g1 $((before_kib + 1000))
is "$(memory_blocks)" "$blocks_before" "the memory blocks are gone"
is "$(region_get "$dax" Binding)" none "the region is unbound"
guest cmd g1 unhog >/dev/null
pmemlease readmit "$dax" >/dev/null
settled

# --- under pressure: as much as the guest can, kept and told; and the rest when it has room ---
succeeds "leased again" "${lease[@]}" --on-refusal=keep
press
refused=$(refusal pmemlease evict "$dax" --deadline=300s)
like "$refused" "refuses: it has given back [1-9][0-9]* of 768 MiB.*status 4" "it gives a part"
diag "$refused"
is "$(lease_get "$dax" State)" active "the lease goes on"
left=$(part_get Plugged)
succeeds "with the rest: $left MiB" test "$left" -gt 0 -a "$left" -lt $mib
succeeds "which is all that QEMU has on the node: $(bound g1) KiB" test "$(bound g1)" -le $((left * 1024))
succeeds "and the guest is asked for no more" wait_for 10 requested_is "$left"
like "$(pmemlease history "$dax")" "given back [1-9][0-9]* of 768 MiB" "the history has it"
systemctl kill --signal=KILL --kill-whom=main pmemleased
wait_for 60 connected
wait_for 30 lease_is active
is "$(part_get Plugged)" "$left" "and a daemon that was killed"
writer_goes_on
guest cmd g1 unhog >/dev/null
json=$(pmemlease --json evict --keep-offline "$dax" --deadline=120s)
is "$(jq -r .job.result <<<"$json")" "done" "with room again, it gives the rest"
is "$(memory_blocks)" "$blocks_before" "and the memory is taken"
pmemlease readmit "$dax" >/dev/null
settled

# --- the daemon is killed, and libvirtd restarted, in the middle ---
"${lease[@]}" >/dev/null
press
pmemlease evict "$dax" --deadline=600s --no-wait >/dev/null
succeeds "in the middle of it" wait_for 60 part_below $mib
like "$(pmemlease jobs)" "given back [1-9][0-9]* of 768 MiB" "as the jobs say"
systemctl kill --signal=KILL --kill-whom=main pmemleased
wait_for 60 connected
is "$(lease_get "$dax" State)" draining "a daemon that was killed goes on with it"
systemctl restart libvirtd
wait_for 60 connected
writer_goes_on
guest cmd g1 unhog >/dev/null
succeeds "what libvirtd did not tell is found out" settled
is "$(requested)" "" "and the device goes"

# --- the guest is rebooted in the middle ---
"${lease[@]}" >/dev/null
press
pmemlease evict "$dax" --deadline=600s --no-wait >/dev/null
wait_for 60 part_below $mib
virsh --quiet reset g1
succeeds "a guest that is reset in the middle has given it back" settled
is "$(requested)" "" "and does not take it again"
succeeds "it is up again" wait_for 120 answers

# --- what is left at the deadline is stuck; taken when it comes ---
"${lease[@]}" >/dev/null
press
json=$(pmemlease --json evict "$dax" --deadline=40s)
is "$(jq -r .job.error <<<"$json")" org.pmemlease1.Error.Stuck "what is not given back by the deadline is stuck"
like "$(jq -r .job.message <<<"$json")" "given back [1-9][0-9]* of 768 MiB.*qemu-system-x86.*pid $(qemu_pid g1)" "named, with what was"
writer_goes_on
guest cmd g1 unhog >/dev/null
succeeds "it gives it in its own time: taken after all" settled

# --- a guest that has given all back, and does not see to its device being unplugged: an empty place ---
"${lease[@]}" >/dev/null
is "$(guest cmd g1 deaf 1)" ok "the guest hears nothing of devices"
json=$(pmemlease --json evict "$dax" --deadline=120s)
is "$(jq -r .job.result,.job.error <<<"$json" | paste -sd ' ')" "done org.pmemlease1.Error.PlaceKept" "its memory leaves the host all the same"
is "$(memory_blocks)" "$blocks_before" "to the last block"
is "$(region_get "$dax" Binding)" none "the region is unbound"
like "$(virsh dumpxml g1)" "model='virtio-mem'" "its machine has the place"
is "$(lease_get "$dax" State)" fenced "the lease is fenced"
like "$(refusal pmemlease readmit "$dax")" "keeps an empty virtio-mem.*status [1-9]" "as long as the place is there, nobody has the region"
is "$(region_get "$dax" Binding)" none "it stays unbound"
is "$(guest cmd g1 deaf 0)" ok "the guest hears again"
succeeds "and sees to it: free" settled
is "$(requested)" "" "the device is gone"

# --- again and again ---
blocks=$(memory_blocks)
iomem=$(wc -l </proc/iomem)
failed=0
for ((i = 1; i <= cycles; i++)); do
	"${lease[@]}" >/dev/null && pmemlease release "$dax" --deadline=60s >/dev/null && settled || failed=$((failed + 1))
	[ "$i" -gt 3 ] || vm_size=$(qemu_kib g1)
done
is "$failed" 0 "plugged in and out $cycles times"
is "$(memory_blocks)" "$blocks" "no memory block more or less"
is "$(wc -l </proc/iomem)" "$iomem" "no range more or less"
succeeds "QEMU has not grown: $vm_size KiB, $(qemu_kib g1) KiB" test "$(qemu_kib g1)" -le $((vm_size + 4096))
is "$(guest cmd g1 ping)" pong "and the guest answers"

# --- and as a device-dax, where the host is not to have it again ---
mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Regions]\nSystemRamReturns=devdax\n' >/etc/pmemlease/pmemleased.conf.d/returns.conf
systemctl reload pmemleased
succeeds "leased once more" "${lease[@]}"
succeeds "and given back" pmemlease release "$dax" --deadline=60s
succeeds "as a device-dax" wait_region 30 "$dax" Kind devdax
is "$(driver)" device_dax "bound as that"
is "$(system_ram)" 0 "it is no memory of the host"

# --- the power is cut while it is lent ---
rm /etc/pmemlease/pmemleased.conf.d/returns.conf
echo "$dax" >/sys/bus/dax/drivers/device_dax/unbind
echo "$dax" >/sys/bus/dax/drivers/kmem/bind
systemctl reload pmemleased
wait_region 20 "$dax" Kind sysram
succeeds "leased when the power is cut" "${lease[@]}"
power_cut

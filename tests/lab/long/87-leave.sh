#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --timeout 1500
#
# A part of the host is to leave, and a part leaves without asking. Planned: everything on a DIMM is evicted, its namespaces are
# disabled, and it is said that it is safe, or what is in the way. By surprise: sixteen leased regions of two machines are unbound
# at once, with libvirtd stopped. Runs on any kernel.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

export GUEST_TIMEOUT=240
names=()

free_again()
{
	region_is "$1" Use free && region_is "$1" Presence online && region_is "$1" Job /
}

# Fenced; or with no lease left.
fenced()
{
	[[ $(lease_get "$1" State 2>/dev/null) =~ ^(fenced|)$ ]]
}

enabled()
{
	ndctl list -N -r region0 | jq -r '.[]?.dev' | paste -sd ' '
}

# --- planned ---
first=$(lab-region 64M region0)
second=$(lab-region 64M region0)
other=$(lab-region 64M region1)
fs=$(ndctl create-namespace -m fsdax -s 64M -r region0 | jq -r .blockdev)
wait_region 20 "$other" Presence online
guest start g1 >/dev/null
g1=$(guest uuid g1)
for name in "$first" "$second" "$other"; do
	pmemlease adopt "$name" "$g1" >/dev/null
	pmemlease lease "$name" g1 >/dev/null
done
mkfs.ext4 -q "/dev/$fs"
mkdir -p /run/mnt
mount "/dev/$fs" /run/mnt
dimm=$(region_get "$first" Dimms)
diag "$first and $second lie on $dimm, and $fs, which is mounted"

like "$(refusal pmemlease device nmem9)" "no nmem9" "a DIMM that is not there"
like "$(pmemlease device "$dimm")" "Not safe to remove: DIMM $dimm" "what lies on it is shown"
is "$(pmemlease device "$dimm" --json | jq -r '[.namespaces[] | select(.in_the_way | test("leased to domain g1"))] | length')" 2 \
	"with what is in the way: the leases"
is "$(pmemlease device "$dimm" --json | jq -r '[.namespaces[] | select(.in_the_way | test("is mounted"))] | length')" 1 "and the mount"

like "$(refusal pmemlease evict --device="$dimm" --deadline=0)" "/dev/$fs\) is mounted.*status 4" "it is refused while something is mounted"
succeeds "both leases were taken back all the same" fenced "$first"
succeeds "both of them" fenced "$second"
is "$(lease_get "$other" State)" active "what lies on another DIMM stays"
is "$(enabled)" "$(ndctl list -N -r region0 -m fsdax | jq -r '.[].dev')" "only what is mounted is still enabled"

umount /run/mnt
said=$(pmemlease evict --device="$dimm" --deadline=0)
diag "$said"
like "$said" "Safe to remove: DIMM $dimm" "when it is unmounted, it is safe"
like "$said" "leaves the data of $g1 \($first\)" "and said whose data leaves with it"
is "$(enabled)" "" "no namespace of it is enabled"
like "$(journalctl -q MESSAGE_ID=070e7865edbe4cc28c96859e1e13c00b -o cat)" "$dimm" "the journal has it"
like "$(pmemlease history | cat)" "safe to remove" "and the history"
is "$(pmemlease evict --device="$dimm" --json | jq -r .device.safe_to_remove)" true "asked again, it says so again"

# --- back: what was on the media is there ---
virsh --quiet destroy g1
succeeds "the other region is free when the machine is gone" wait_for 60 free_again "$other"
ndctl enable-namespace -r region0 all >/dev/null 2>&1
succeeds "the namespaces are back" wait_region 30 "$first" Presence offline
for name in "$first" "$second"; do
	succeeds "$name is readmitted" pmemlease readmit "$name"
	is "$(region_get "$name" Owner)" "$g1" "with its owner's data"
done
ndctl destroy-namespace -f -r region0 all >/dev/null 2>&1
ndctl destroy-namespace -f -r region1 all >/dev/null 2>&1

# --- by surprise, sixteen at once ---
for ((i = 0; i < 16; i++)); do
	names+=("$(lab-region 32M "region$((i % 2))")")
done
wait_region 60 "${names[15]}" Presence online
for machine in b1 b2; do
	bare_start "$machine"
	virsh --quiet destroy "$machine"
	virsh dumpxml "$machine" --inactive | sed "s/slots='8'/slots='16'/" >/run/machine.xml
	virsh --quiet define /run/machine.xml
	virsh --quiet start "$machine"
done
for ((i = 0; i < 16; i++)); do
	machine=b$((i / 8 + 1))
	pmemlease scrub "${names[i]}" --discard="$(region_get "${names[i]}" Owner)" >/dev/null
	pmemlease lease "${names[i]}" "$machine" >/dev/null || diag "lease $i failed"
done
is "$(pmemlease leases --no-legend | grep -c active)" 16 "sixteen regions are leased"
pid=$(cat /run/libvirtd.pid 2>/dev/null || systemctl show -P MainPID libvirtd.service)
kill -STOP "$pid"
begun=$(now_msec)
for name in "${names[@]}"; do
	echo "$name" >/sys/bus/dax/drivers/device_dax/unbind &
done
wait
all_fenced()
{
	local name

	for name in "${names[@]}"; do
		fenced "$name" || return 1
	done
}
succeeds "all sixteen are fenced with a proof, libvirtd stopped" wait_for 60 all_fenced
diag "$(($(now_msec) - begun)) ms from the first unbind to the last proof seen"
is "$(for name in "${names[@]}"; do pmemlease proof "$name" --json | jq -r .verdict; done | grep -cE '^(clear|unreachable|revoked)$')" 16 \
	"each proof says that nobody reaches it"
kill -CONT "$pid"
for machine in b1 b2; do
	virsh --quiet destroy "$machine"
done
all_free()
{
	local name

	for name in "${names[@]}"; do
		free_again "$name" || return 1
	done
}
succeeds "and all are free again when the machines are gone" wait_for 90 all_free
plan

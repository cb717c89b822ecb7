#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab-ram-bench.sh [RUNS]: runs in the emulated host; memory of the host (system-ram), lent as a dimm and as a virtio-mem and given
# back by a guest with Debian's kernel, against the same by hand, in turn; medians as JSON on the last line.
# lab: --kernel-arg memhp_default_state=online_movable
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

runs=${1:-20}
results=/run/bench.jsonl
: >"$results"

say()
{
	printf '{"name":"%s","usec":%d}\n' "$1" "$2" >>"$results"
}

die()
{
	{
		echo "bench: $*"
		virsh domstate --reason g1
		guest log g1 | tail -n 40
		tail -n 10 /var/log/libvirt/qemu/g1.log
	} >&2
	exit 1
}

# since BEGIN: microseconds
since()
{
	echo $((${EPOCHREALTIME/./} - $1))
}

# Memory that the guest has given back becomes nobody's, and the host's again.
take_back_by_hand()
{
	local block

	for block in /sys/devices/system/node/node1/memory[0-9]*; do
		echo offline >"$block/state" || die "offline"
	done
	echo "$dax" >/sys/bus/dax/drivers/kmem/unbind
}

host_again()
{
	echo "$dax" >/sys/bus/dax/drivers/kmem/bind
	wait_region 30 "$dax" Kind sysram || exit 1
}

by_hand()
{
	local begun

	virsh --quiet attach-device g1 /run/dimm.xml --live || die "attach-device"
	wait_for 30 guest_has "$kib_with" || die "the guest does not have it"
	# What virsh takes to start and to ask, which is in the time by hand, and not in the drain's.
	begun=${EPOCHREALTIME/./}
	virsh --quiet domstate g1 >/dev/null
	say virsh-alone "$(since "$begun")"
	begun=${EPOCHREALTIME/./}
	virsh --quiet detach-device g1 /run/dimm.xml --live || die "detach-device"
	say detach-by-hand "$(since "$begun")"
	take_back_by_hand
	say give-back-by-hand "$(since "$begun")"
	host_again
}

# All of it at once, and the device when libvirt says that nothing is left.
parts_by_hand()
{
	local begun

	virsh --quiet attach-device g1 /run/parts.xml --live || die "attach-device"
	wait_for 60 guest_has "$kib_with" || die "the guest does not have it"
	begun=${EPOCHREALTIME/./}
	virsh --quiet update-memory-device g1 --alias ua-by-hand --requested-size 0 --live || die "update-memory-device"
	until virsh dumpxml g1 | grep -q "<current unit='KiB'>0</current>"; do
		[ $((${EPOCHREALTIME/./} - begun)) -lt 60000000 ] || die "the guest does not give it back"
	done
	say shrink-by-hand "$(since "$begun")"
	virsh --quiet detach-device-alias g1 ua-by-hand --live || die "detach-device-alias"
	while virsh dumpxml g1 | grep -q ua-by-hand; do
		[ $((${EPOCHREALTIME/./} - begun)) -lt 60000000 ] || die "the device stays"
	done
	say parts-drain-by-hand "$(since "$begun")"
	take_back_by_hand
	say parts-give-back-by-hand "$(since "$begun")"
	host_again
}

# ours MODEL PREFIX
ours()
{
	local json

	pmemlease lease "$dax" g1 --model="$1" --on-end=keep >/dev/null || die "lease"
	wait_for 60 guest_has "$kib_with" || die "the guest does not have it"
	json=$(pmemlease --json release "$dax" --deadline=60s) || die "release"
	say "$2drain" "$(jq '[.job.phases[] | select(.name | test("guest|asking|given back")) | .usec] | add' <<<"$json")"
	say "$2give-back" "$(jq '[.job.phases[].usec] | add' <<<"$json")"
	wait_region 30 "$dax" Use free && wait_region 30 "$dax" Kind sysram || exit 1
}

guest_has()
{
	[ "$(guest cmd g1 memory)" -ge "$1" ]
}

dax=$(ndctl create-namespace -m devdax -M mem -a 2M -f -r region0 | jq -er '.daxregion.devices[0].chardev')
wait_region 20 "$dax" Presence online || exit 1
modprobe kmem
echo "$dax" >/sys/bus/dax/drivers/device_dax/unbind
echo "$dax" >/sys/bus/dax/drivers/device_dax/remove_id 2>/dev/null
echo "$dax" >/sys/bus/dax/drivers/kmem/new_id
wait_region 20 "$dax" Kind sysram || exit 1
systemctl restart libvirtd
guest start g1 640 || exit 1
pmemlease adopt "$dax" "$(guest uuid g1)" >/dev/null
kib_with=$(($(guest cmd g1 memory) + 700000))
cat >/run/dimm.xml <<-XML
	<memory model='dimm'>
	  <source><nodemask>1</nodemask></source>
	  <target><size unit='MiB'>768</size><node>0</node></target>
	  <alias name='ua-by-hand'/>
	  <address type='dimm' slot='1' base='0x140000000'/>
	</memory>
XML
sed -e "s/'dimm'>/'virtio-mem'>/" -e "s|</node></target>|</node><block unit='MiB'>2</block><requested unit='MiB'>768</requested><address base='0x140000000'/></target>|" \
	-e '/<address type/d' /run/dimm.xml >/run/parts.xml

for ((i = 1; i <= runs; i++)); do
	echo "bench: memory of the host, $i of $runs" >&2
	ours dimm ''
	by_hand
	ours virtio-mem parts-
	parts_by_hand
done

jq -sc --arg kernel "$(uname -r)" --argjson runs "$runs" '
	def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2] + .[length / 2 - 1]) / 2 end;
	(group_by(.name) | map({key: .[0].name, value: {median_usec: (map(.usec) | median), min_usec: (map(.usec) | min), max_usec: (map(.usec) | max), runs: length}}) | from_entries) as $r |
	{kernel: $kernel, kind: "sysram", lent_mib: 768, runs: $runs, results: $r, ratios: {
		"drain/detach-by-hand": ($r.drain.median_usec / $r["detach-by-hand"].median_usec),
		"give-back/give-back-by-hand": ($r["give-back"].median_usec / $r["give-back-by-hand"].median_usec),
		"parts-drain/parts-drain-by-hand": ($r["parts-drain"].median_usec / $r["parts-drain-by-hand"].median_usec)},
	 given_back_mib_per_s: {sysram: (768e6 / $r["give-back"].median_usec), sysram_by_hand: (768e6 / $r["give-back-by-hand"].median_usec),
		virtio_mem: (768e6 / $r["parts-give-back"].median_usec), virtio_mem_by_hand: (768e6 / $r["parts-give-back-by-hand"].median_usec)}}' "$results"

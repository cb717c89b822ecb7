#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab-bench.sh [RUNS]: runs in the emulated host; each operation and its peer in turn, A B A B, medians as JSON on the last line.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

runs=${1:-20}
results=/run/bench.jsonl
: >"$results"

# timed NAME COMMAND...: its wall time in microseconds
timed()
{
	local name=$1 begun=${EPOCHREALTIME/./} ended
	shift

	"$@" >/run/bench.log 2>&1 || { echo "bench: $name failed: $*" && cat /run/bench.log && exit 1; } >&2
	ended=${EPOCHREALTIME/./}
	printf '{"name":"%s","usec":%d}\n' "$name" $((ended - begun)) >>"$results"
}

# By hand, as an administrator would: pause, then unbind the device.
evict_by_hand()
{
	virsh --quiet suspend b1 && echo "$dax" >/sys/bus/dax/drivers/device_dax/unbind
}

attach_by_hand()
{
	virsh --quiet attach-device b1 /run/device.xml --live
}

ready()
{
	wait_region 60 "$dax" Use free && wait_region 60 "$dax" Presence online
}

progress()
{
	echo "bench: $*" >&2
}

size_mib=256
dax=$(lab-region ${size_mib}M)
wait_region 20 "$dax" Presence online
pmemlease adopt "$dax" "$(guest uuid b1)" >/dev/null
size=$(($(region_get "$dax" Size) >> 20))
cat >/run/device.xml <<-XML
	<memory model='nvdimm' access='shared'>
	  <source><path>/dev/$dax</path><alignsize unit='MiB'>2</alignsize><pmem/></source>
	  <target><size unit='MiB'>$size</size><node>0</node></target>
	  <alias name='ua-by-hand'/>
	</memory>
XML

for ((i = 1; i <= runs; i++)); do
	progress "attach and evict, $i of $runs"
	bare_start b1
	timed attach pmemlease lease "$dax" b1
	timed evict pmemlease evict "$dax" --deadline=0
	virsh --quiet destroy b1
	ready || exit 1
	bare_start b1
	timed attach-by-hand attach_by_hand
	timed evict-by-hand evict_by_hand
	virsh --quiet destroy b1
	echo "$dax" >/sys/bus/dax/drivers/device_dax/bind
	ready || exit 1
done

# A block device is taken back by ending the machine, which by hand is all that is done.
modprobe loop
truncate -s ${size_mib}M /var/lib/lab/loop.img
disk=$(losetup -f --show /var/lib/lab/loop.img)
mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Regions]\nBlockDevices=%s\n' "$disk" >/etc/pmemlease/pmemleased.conf.d/bench.conf
busctl --timeout=30 call "$bus" /org/pmemlease1 "$bus.Manager" Reload >/dev/null
disk=${disk##*/}
wait_region 20 "$disk" Presence online
pmemlease adopt "$disk" "$(guest uuid b1)" >/dev/null
for ((i = 1; i <= runs; i++)); do
	progress "evict a block device, $i of $runs"
	bare_start b1
	timed attach-bdev pmemlease lease "$disk" b1 --allow-destroy
	timed evict-bdev pmemlease evict "$disk" --deadline=0
	wait_region 60 "$disk" Use free || exit 1
	bare_start b1
	timed destroy-by-hand virsh --quiet destroy b1
done

# The daemon's own helper, for the time of the overwriting alone, and the command as a whole.
owner=$(region_get "$dax" Owner)
bytes=$(region_get "$dax" Size)
for ((i = 1; i <= runs; i++)); do
	progress "scrub, $i of $runs"
	timed scrub-command pmemlease scrub "$dax" --discard="$owner"
	owner=
	/usr/libexec/pmemlease/pmemlease-media --fd 3 --size "$bytes" --mode scrub 3<>"/dev/$dax" >/run/media.log
	read -r _ result usec _ < <(tail -n 1 /run/media.log)
	[ "$result" = ok ] || exit 1
	printf '{"name":"scrub","usec":%d}\n' "$usec" >>"$results"
	printf '{"name":"memset-nt","usec":%d}\n' "$(./memset-nt "/dev/$dax")" >>"$results"
done

# With the real libvirt. libvirtd pings every connection every 5 s, and what is pinged cannot refuse it: so once as libvirtd comes,
# and once with its pings off, which shows what is the daemon's own.
wakeups()
{
	cat /proc/"$(systemctl show -P MainPID pmemleased.service)"/task/*/status |
		awk '$1 == "voluntary_ctxt_switches:" { sum += $2 } END { print sum }'
}

# idle_wakeups: in 60 s, of a daemon that has had nothing to do for 20
idle_wakeups()
{
	local before

	sleep 20
	before=$(wakeups)
	sleep 60
	echo $(($(wakeups) - before))
}

progress "60 idle seconds"
pinged=$(idle_wakeups)
progress "60 idle seconds without libvirtd's pings"
echo 'keepalive_interval = -1' >>/etc/libvirt/libvirtd.conf
systemctl restart libvirtd.service
wait_for 30 sh -c 'busctl get-property org.pmemlease1 /org/pmemlease1 org.pmemlease1.Manager LibvirtConnected | grep -q true'
idle=$(idle_wakeups)

jq -sc --argjson idle "$idle" --argjson pinged "$pinged" --arg kernel "$(uname -r)" --argjson runs "$runs" --argjson mib "$size_mib" '
	def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2] + .[length / 2 - 1]) / 2 end;
	(group_by(.name) | map({key: .[0].name, value: {median_usec: (map(.usec) | median), min_usec: (map(.usec) | min), max_usec: (map(.usec) | max), runs: length}}) | from_entries) as $r |
	{kernel: $kernel, region_mib: $mib, runs: $runs, idle_wakeups_in_60_s: {own: $idle, with_pings_of_libvirtd: $pinged}, results: $r, ratios: {
		"evict/evict-by-hand": ($r.evict.median_usec / $r["evict-by-hand"].median_usec),
		"evict-bdev/destroy-by-hand": ($r["evict-bdev"].median_usec / $r["destroy-by-hand"].median_usec),
		"attach/attach-by-hand": ($r.attach.median_usec / $r["attach-by-hand"].median_usec),
		"scrub-throughput/memset-nt": ($r["memset-nt"].median_usec / $r.scrub.median_usec)},
	given_back_mib_per_s: {devdax: ($mib * 1e6 / $r.evict.median_usec), bdev: ($mib * 1e6 / $r["evict-bdev"].median_usec)}}' "$results"

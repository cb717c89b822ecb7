#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab: --timeout 1200
#
# A machine with a region migrates away to another host, and one comes: the other host is a second libvirtd, with directories and an
# identity of its own, and without pmemlease. What leaves is taken back with a proof and its data stays its owner's; what comes is
# granted or refused by the hook; and what becomes of a machine that migrates after a fence is told with the reason.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

there=/run/there
away="qemu+unix:///system?socket=$there/run/libvirt-sock"

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

machine_is()
{
	[ "$(virsh domstate b1 | head -n 1)" = "$1" ]
}

no_machine()
{
	! virsh domstate b1 2>/dev/null | grep -qE 'running|paused'
}

# The other host. Its machines' names begin at 1, as here: one has been started here before, since systemd knows both.
there_start()
{
	local dir

	for dir in run lib cache log; do
		mkdir -p "$there/$dir"
	done
	cp -a /etc/libvirt "$there/etc"
	rm -rf "$there/etc/hooks" "$there"/etc/qemu/*.xml
	echo 'host_uuid = "7d3b7a52-5f0e-4a4c-9d7e-0b5d3a1f2c01"' >>"$there/etc/libvirtd.conf"
	truncate -s 64M "$there/b1.mem"
	chmod 666 "$there/b1.mem"
	# shellcheck disable=SC2016 # the inner shell's
	unshare --mount --propagation private bash -c '
		mount --bind "$1/etc" /etc/libvirt
		mount --bind "$1/run" /run/libvirt
		for dir in lib cache log; do
			mount --bind "$1/$dir" "/var/$dir/libvirt"
		done
		exec libvirtd --pid-file "$1/run/libvirtd.pid"' - "$there" >/run/there.log 2>&1 &
	wait_for 60 virsh -c "$away" list
}

# move FROM TO XML: the output of virsh and its status
move()
{
	local output status=0

	output=$(timeout 120 virsh -c "$1" migrate --live --unsafe b1 --desturi "$2" --migrateuri tcp://127.0.0.1:49200 --xml "$3" 2>&1) || status=$?
	printf '%s\nstatus %d\n' "$output" "$status"
}

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
uuid=$(guest uuid b1)
pmemlease adopt "$dax" "$uuid" >/dev/null
ip link set lo up
for _ in 1 2 3 4; do
	bare_start b1
	virsh --quiet destroy b1
done
there_start || { cat /run/there.log && exit 1; }

# --- away, with a lease ---
bare_start b1
succeeds "leased" pmemlease lease "$dax" b1
virsh dumpxml --migratable b1 >here.xml
sed "s,/dev/$dax<,$there/b1.mem<," here.xml >there.xml
pid=$(qemu_pid b1)
like "$(move qemu:///system "$away" there.xml)" "status 0" "a machine with a lease migrates"
is "$(virsh -c "$away" domstate b1 | head -n 1)" running "it runs there"
succeeds "its process here is gone" wait_for 30 eval "! kill -0 $pid"
succeeds "the region is free" wait_region 60 "$dax" Use free
is "$(region_get "$dax" Content) $(region_get "$dax" Owner)" "retained $uuid" "the data that it left is its own"
like "$(journalctl -q -u pmemleased.service -o cat)" "is fenced, was fencing .*no process holds it" "with a proof that nobody holds it"

# --- and back: the hook decides, as at a start ---
virsh -c "$away" dumpxml --migratable b1 | sed "s,$there/b1.mem<,/dev/$dax<," >back.xml
pmemlease scrub "$dax" --discard="$uuid" >/dev/null
pmemlease adopt "$dax" "$(guest uuid b2)" >/dev/null 2>&1 || {
	bare_start b2
	pmemlease lease "$dax" b2 >/dev/null
	virsh --quiet destroy b2
	wait_region 60 "$dax" Use free
}
is "$(region_get "$dax" Owner)" "$(guest uuid b2)" "the region holds another's data"
like "$(move "$away" qemu:///system back.xml)" "$(guest uuid b2).*status [1-9]" "coming back to another's data is refused with the reason"
is "$(virsh -c "$away" domstate b1 | head -n 1)" running "and the machine goes on where it was"
is "$(region_get "$dax" Use)" free "nothing is leased"
pmemlease scrub "$dax" --discard="$(guest uuid b2)" >/dev/null
like "$(move "$away" qemu:///system back.xml)" "status 0" "to a region that is blank it comes back"
succeeds "and has a lease" wait_for 30 lease_is active
is "$(lease_get "$dax" Domain)" "$uuid" "that is its own"
succeeds "QEMU maps the region" grep -q "/dev/$dax" "/proc/$(qemu_pid b1)/maps"

# --- away, after a fence ---
succeeds "evicted" pmemlease evict "$dax" --deadline=0
succeeds "fenced" lease_is fenced
like "$(lease_get "$dax" Warnings)" "migrated now, it fails or QEMU ends" "the lease warns"
like "$(journalctl -q -u pmemleased.service -o cat)" "is paused after its memory was taken.*migrated now" "so does the journal"
since=$(date +%s)
virsh dumpxml --migratable b1 | sed "s,/dev/$dax<,$there/b1.mem<," >there.xml
moved=$(move qemu:///system "$away" there.xml)
diag "$moved"
like "$moved" "status [1-9]" "it does not migrate"
if no_machine; then
	succeeds "QEMU has ended: the journal says why" wait_for 30 \
		journalctl -q -u pmemleased.service --since "@$since" --grep "ended .* after region $dax had been taken from it"
else
	diag "QEMU lives on"
	virsh --quiet destroy b1
fi
succeeds "the region is free" wait_region 60 "$dax" Use free
is "$(region_get "$dax" Owner)" "$uuid" "and its owner's"
journal_tail 20
plan

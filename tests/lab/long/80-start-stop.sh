#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Machines that start by themselves after a power cut, a daemon that hangs while machines start, and a libvirt that is killed in
# the middle of a start.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

state=/var/lib/lab
uuid=$(guest uuid b1)

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

# It ended in a lease that is active, or in none.
settled_start()
{
	region_is "$dax" Use free || lease_is active
}

if [ "$LAB_BOOT" -eq 2 ]; then
	read -r tap_count tap_failed <"$state/tap"
	dax=$(ndctl list -X | jq -r '.[].daxregion.devices[0].chardev')
	wait_region 60 "$dax" Use free
	# The root file system is new: what libvirt would have started at this boot it starts now, with the daemon not yet there.
	bare_define b1 "$(region_memory "$dax")"
	virsh --quiet autostart b1
	systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service pmemleased.service
	rm -f /run/libvirt/qemu/autostarted
	systemctl start --no-block libvirtd.service pmemleased.service
	succeeds "autostarted after a power cut: the region is leased" wait_for 60 lease_is active
	is "$(virsh domstate b1 | head -n 1)" running "and the machine runs"
	plan
fi

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
pmemlease adopt "$dax" "$uuid" >/dev/null
bare_define b1 "$(region_memory "$dax")"
bare_define b3

# --- the daemon hangs ---
pid=$(systemctl show -P MainPID pmemleased.service)
kill -STOP "$pid"
before=$(now_msec)
succeeds "the daemon hangs: a machine without a region starts" virsh --quiet start b3
succeeds "within a bound" test $(($(now_msec) - before)) -lt 25000
virsh --quiet destroy b3
kill -CONT "$pid" 2>/dev/null
wait_region 60 "$dax" Presence online
succeeds "it goes on: a machine with its region starts" virsh --quiet start b1
succeeds "with a lease" lease_is active
virsh --quiet destroy b1
succeeds "and its end frees it" wait_region 60 "$dax" Use free

# --- libvirtd is killed between the grant and the machine's process ---
virsh --quiet start b1 &
start=$!
wait_for 30 lease_is attaching
systemctl kill --signal=KILL libvirtd.service
wait "$start"
succeeds "libvirtd killed in a start: the lease follows what libvirt then says" wait_for 150 settled_start
settled=$(lease_get "$dax" State 2>/dev/null)
diag "the start ended as: ${settled:-no lease}"
virsh --quiet destroy b1 2>/dev/null
succeeds "and the region is free in the end" wait_region 120 "$dax" Use free

succeeds "started, for the power cut" virsh --quiet start b1
echo "$tap_count $tap_failed" >"$state/tap"
lab power-cut

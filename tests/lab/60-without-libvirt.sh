#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The deadline is met whatever libvirt does; and a fence that somebody else made is one.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
pmemlease adopt "$dax" "$(guest uuid b1)" >/dev/null

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

machine_is()
{
	[ "$(virsh domstate b1 | head -n 1)" = "$1" ]
}

frozen()
{
	cut -d' ' -f2 < <(grep '^frozen' "$scope/cgroup.events")
}

machine_start()
{
	bare_start b1
	succeeds "$1: lease" pmemlease lease "$dax" b1
	scope=/sys/fs/cgroup$(cut -d: -f3 "/proc/$(qemu_pid b1)/cgroup" | sed 's,\.scope/.*,.scope,')
}

machine_end()
{
	virsh --quiet destroy b1
	succeeds "$1: free" wait_region 60 "$dax" Use free
	succeeds "$1: bound again" wait_region 60 "$dax" Presence online
}

# --- libvirtd hangs before the evict, and comes back ---
machine_start "libvirtd stopped"
pmemlease --json doctor >doctor.json || true
for check in kernel.drivers kernel.freezer kernel.kvm libvirt libvirt.connection qemu qemu.machine-check ledger; do
	is "$(jq -r --arg c "$check" '.checks[] | select(.check == $c) | .level' doctor.json)" ok "doctor: $check"
done
like "$(jq -r '.checks[] | select(.check == "machine.recovery") | .message' doctor.json)" 'b1' \
	"doctor: looks at the machine"
jq -r '.checks[] | select(.level != "ok") | "# doctor: \(.level) \(.check): \(.message)"' doctor.json
libvirtd=$(systemctl show -P MainPID libvirtd.service)
kill -STOP "$libvirtd"
before=$(now_msec)
succeeds "libvirtd stopped: evict" pmemlease evict "$dax" --deadline=2s
took=$(($(now_msec) - before))
diag "evict took $took ms"
succeeds "libvirtd stopped: the bound held" test "$took" -lt 20000
succeeds "libvirtd stopped: fenced" lease_is fenced
is "$(region_get "$dax" Binding)" none "libvirtd stopped: unbound"
is "$(frozen)" 1 "libvirtd stopped: the machine stays frozen, so that it does not spin"
kill -CONT "$libvirtd"
succeeds "libvirtd goes on: the machine is paused" wait_for 60 machine_is paused
is "$(frozen)" 0 "libvirtd goes on: and thawed"
machine_end "libvirtd goes on"

# --- libvirtd is killed while the guest has its time ---
machine_start "libvirtd killed"
pmemlease --no-wait evict "$dax" --deadline=5s >/dev/null
systemctl kill --signal=KILL libvirtd.service
succeeds "libvirtd killed: fenced" wait_for 30 lease_is fenced
succeeds "libvirtd killed: paused when it is back" wait_for 60 machine_is paused
is "$(frozen)" 0 "libvirtd killed: and thawed"
machine_end "libvirtd killed"

# --- somebody unbinds the leased device ---
machine_start "unbound by somebody"
echo "$dax" >/sys/bus/dax/drivers/device_dax/unbind
succeeds "unbound by somebody: fenced, with a proof" wait_for 30 lease_is fenced
is "$(pmemlease --json proof "$dax" | jq -r .verdict)" unreachable "unbound by somebody: unreachable"
succeeds "unbound by somebody: the machine is paused" wait_for 30 machine_is paused
# Bound again by hand now it would corrupt the kernel's list of character devices: the old file is still open
# (every later open of one can hang). That the daemon takes it away again is tested with a made-up host.
machine_end "unbound by somebody"
is "$(region_get "$dax" Content)" retained "the data is retained"
plan

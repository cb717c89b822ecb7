#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab: --timeout 2400 --virtqemud --kernel-arg audit=1
#
# libvirt's modular daemon in the place of libvirtd: found without being told of, its hook the same; and stopped, restarted, killed and
# hung while the service lends, takes back, scrubs and readmits. The deadline holds, nothing is lent twice, nothing is lost.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-crash.sh
. ./lib-crash.sh
# shellcheck source=tests/lab/lib-libvirtd.sh
. ./lib-libvirtd.sh

# Without a URI, Debian's virsh looks for libvirtd alone.
export LIBVIRT_DEFAULT_URI=qemu:///system

machine_is()
{
	[ "$(virsh domstate b1 | head -n 1)" = "$1" ]
}

# --- found ---
old=(libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service)
systemctl stop "${old[@]}"
systemctl mask --runtime "${old[@]}" 2>/dev/null
libvirt_unit=virtqemud.service
libvirt_sockets=(virtqemud.socket virtqemud-ro.socket virtqemud-admin.socket)
if [ -d /sys/kernel/security/apparmor ]; then
	apparmor_parser -r /etc/apparmor.d/pmemleased
	systemctl restart pmemleased.service
	diag "$(cat "/proc/$(systemctl show -P MainPID pmemleased.service)/attr/current")"
fi
like "$(systemctl show -P Before pmemleased.service)" "virtqemud.service" "the daemon starts before virtqemud"
systemctl start "${libvirt_sockets[@]}"
succeeds "virtqemud's socket is there: the daemon finds it by itself" wait_for 60 daemon_has_libvirt
is "$(systemctl is-active virtqemud.service)" active "and it is virtqemud that answers"
is "$(systemctl is-active libvirtd.service)" inactive "not libvirtd"
pmemlease --json doctor >doctor.json || true
is "$(jq -r '.checks[] | select(.check == "libvirt") | .level' doctor.json)" ok "doctor: libvirt is there"
like "$(jq -r '.checks[] | select(.check == "libvirt") | .message' doctor.json)" "virtqemud" "doctor: as virtqemud"
for check in libvirt.connection libvirt.hook; do
	is "$(jq -r --arg c "$check" '.checks[] | select(.check == $c) | .level' doctor.json)" ok "doctor: $check"
done

# --- the hook ---
dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
owner=$(guest uuid b1)
bare_define b1 "$(region_memory "$dax")"
like "$(refusal virsh start b1)" "adopt" "a foreign region: the start is refused, and virsh says why"
pmemlease adopt "$dax" "$owner" >/dev/null
succeeds "adopted: the machine starts" virsh --quiet start b1
succeeds "with a lease" lease_is active
bare_define b2 "$(region_memory "$dax")"
like "$(refusal virsh start b2)" "lent to b1" "another machine is refused, and told who has it"
systemctl mask --runtime --now pmemleased.service 2>/dev/null
systemctl restart virtqemud.service
succeeds "restarted while the daemon is down: the machine runs on" machine_is running
like "$(refusal virsh start b2)" "pmemleased does not answer" "the daemon is down: a machine with a region is refused"
systemctl unmask --runtime pmemleased.service
systemctl start pmemleased.service
succeeds "the daemon is back: the lease goes on" wait_for 30 lease_is active
virsh --quiet destroy b1
succeeds "stopped: the region is free" wait_region 30 "$dax" Use free

# --- hung while the machine dies; gone for good while it is taken back ---
virsh --quiet start b1
pid=$(qemu_pid b1)
libvirt_hit STOP
kill -KILL "$pid"
succeeds "it hangs while the machine dies: the region is free without it" wait_region 60 "$dax" Use free
libvirt_back STOP
succeeds "it goes on: and knows" wait_for 60 machine_is "shut off"
virsh --quiet start b1
libvirt_hit stop
succeeds "stopped, and its sockets: evict" pmemlease evict "$dax" --deadline=1s
succeeds "stopped, and its sockets: fenced" lease_is fenced
libvirt_back stop
succeeds "it is back: the machine is paused" wait_for 60 machine_is paused
virsh --quiet destroy b1
succeeds "it is back: and its end frees the region" wait_region 60 "$dax" Use free

# --- each operation ---
bare_start b1
for op in lease evict release scrub readmit; do
	for how in stop restart KILL STOP; do
		libvirt_case "$how" "$op"
	done
done
denied=$(journalctl -q --grep 'apparmor="DENIED".*profile="pmemleased"' -o cat || true)
is "$denied" "" "AppArmor had nothing to deny"
plan

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel debug --timeout 3600
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# 73-kernel-stress.sh [SECONDS]: the patches' own tests one by one, and then everything at once for
# so long (300), on a kernel that checks itself and has delays where races could be. A complaint of the
# kernel is a failure of the whole.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

seconds=${1:-300}
tests=/usr/local/lib/lab/patches

# program NAME [ARG]...: its result as one of ours
program()
{
	local output status=0

	output=$(timeout -k 5 "$((seconds + 120))" "$tests/$1" "${@:2}" 2>&1) || status=$?
	case $status in
	0) ok "$1" && diag "$(grep '^#' <<<"$output")" ;;
	4) skip "$1" "${output##*SKIP }" ;;
	*) not_ok "$1" "status $status"$'\n'"$output" ;;
	esac
}

# Until $1 seconds are over: the second device is stressed while its namespace is made anew.
recreations()
{
	local end=$((SECONDS + $1)) device count=0

	while [ "$SECONDS" -lt "$end" ]; do
		device=$(lab-region 64M region1) || { echo "no namespace" && return 1; }
		timeout -k 5 60 "$tests/12-stress" "$device" 4 with-others >/dev/null 2>&1 &
		sleep "0.$((RANDOM % 10))"
		timeout 60 ndctl destroy-namespace -f -r region1 all >/dev/null 2>&1 && count=$((count + 1))
		wait $!
	done
	ndctl destroy-namespace -f -r region1 all >/dev/null 2>&1
	echo "$count namespaces destroyed under their users"
	[ "$count" -gt 0 ]
}

# Until $1 seconds are over: the drivers come and go. That of the character device stays as long as
# somebody has one open.
reloads()
{
	local end=$((SECONDS + $1)) pmem=0 device=0

	while [ "$SECONDS" -lt "$end" ]; do
		timeout 60 modprobe -r dax_pmem 2>/dev/null && pmem=$((pmem + 1))
		timeout 60 modprobe -r device_dax 2>/dev/null && device=$((device + 1))
		modprobe -a device_dax dax_pmem || return
		sleep "0.$((RANDOM % 10))"
	done
	echo "dax_pmem was reloaded $pmem times, device_dax $device times"
	[ "$pmem" -gt 0 ]
}

not_quarantined()
{
	! grep -q quarantined /proc/iomem
}

dax=$(lab-region 64M region0)
for name in 01-region-lock 03-open-dead 04-cdev 05-earlier-binding 06-pinned 10-revoke 11-uevents \
	13-quarantine 14-notice 15-broken-page; do
	program "$name" "$dax"
done

recreations "$((seconds / 2))" >/run/recreations &
other=$!
program 12-stress "$dax" "$((seconds / 2))"
status=0
wait "$other" || status=$?
is "$status" 0 "meanwhile: namespaces are made anew under their users"
diag "$(cat /run/recreations)"

# From here on pins outlast what an unbinding waits, so that there are quarantines all the time.
# Drivers that are loaded again read it anew.
echo "options device_dax revoke_timeout_ms=5" >/etc/modprobe.d/lab.conf
echo 5 >/sys/module/device_dax/parameters/revoke_timeout_ms
program 12-stress "$dax" "$((seconds / 4))"
reloads "$((seconds / 4))" >/run/reloads &
other=$!
# In parts: between two of them nobody has the device open.
for ((part = 0; part < seconds / 40; part++)); do
	timeout -k 5 60 "$tests/12-stress" "$dax" 9 with-others >/run/part 2>&1 || true
	cat /run/part >>/run/parts
	sleep 1
done
status=0
wait "$other" || status=$?
is "$status" 0 "meanwhile: the drivers are reloaded"
diag "$(cat /run/reloads)" "$(grep '^#' /run/parts | tail -n 3)"

# What it was all about still works.
timeout 60 modprobe -a device_dax dax_pmem
succeeds "no memory stays in quarantine" wait_for 20 not_quarantined
# What was quarantined when the driver was loaded was refused to it.
timeout 60 ndctl enable-namespace all >/dev/null 2>&1
succeeds "the device comes back" wait_for 20 test -e "/sys/bus/dax/drivers/device_dax/$dax"
is "$(printf 'write 0x1\n' | timeout 20 stale untouched "/dev/$dax" | tail -n 1)" ok "and is lent again"
plan

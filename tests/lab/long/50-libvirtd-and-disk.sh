#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab: --timeout 2400
#
# What the service stands on fails while it lends, takes back, scrubs and readmits: libvirtd is killed or hangs, the ledger's disk is
# full or gives I/O errors. The deadline holds, nothing is lent twice, nothing is lost.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-crash.sh
. ./lib-crash.sh
# shellcheck source=tests/lab/lib-libvirtd.sh
. ./lib-libvirtd.sh

# --- the ledger's disk: a small one of its own, whose table is exchanged for one that fails ---

disk_make()
{
	truncate -s 16M /run/ledger.img
	loop=$(losetup -f --show /run/ledger.img)
	sectors=$(blockdev --getsz "$loop")
	dmsetup create lab-ledger --table "0 $sectors linear $loop 0"
	mkfs.ext4 -q /dev/mapper/lab-ledger
	systemctl stop pmemleased.service
	mkdir /run/ledger.old
	cp -a /var/lib/pmemlease/. /run/ledger.old/
	mount /dev/mapper/lab-ledger /var/lib/pmemlease
	cp -a /run/ledger.old/. /var/lib/pmemlease/
	rm -rf /var/lib/pmemlease/lost+found
	systemctl start pmemleased.service
}

disk_table()
{
	dmsetup suspend --noflush --nolockfs lab-ledger
	dmsetup load lab-ledger --table "0 $sectors $1"
	dmsetup resume lab-ledger
}

disk_break()
{
	case $1 in
	full) dd if=/dev/zero of=/var/lib/pmemlease/filler bs=4k status=none 2>/dev/null ;;
	error) disk_table error ;;
	esac
	return 0
}

# As an administrator would: the disk, the file system, the service. The next start reads what is on the disk.
disk_mend()
{
	case $1 in
	full) rm -f /var/lib/pmemlease/filler ;;
	error) disk_table "linear $loop 0" ;;
	esac
	systemctl kill --signal=KILL pmemleased.service
	wait_for 20 daemon_is_down
	systemctl stop pmemleased.service
	wait_for 20 umount /var/lib/pmemlease || diag "$(fuser -vm /var/lib/pmemlease 2>&1)"
	e2fsck -fp /dev/mapper/lab-ledger >/run/fsck.log 2>&1
	mount /dev/mapper/lab-ledger /var/lib/pmemlease
	systemctl reset-failed pmemleased.service 2>/dev/null
	systemctl start pmemleased.service || journal_tail 20
}

daemon_is_down()
{
	[ "$(systemctl show -P MainPID pmemleased.service)" = 0 ]
}

# The log of a ledger that was closed is gone: the next write has to make one, which a full disk refuses.
daemon_restart()
{
	systemctl restart pmemleased.service
	wait_for 30 daemon_has_libvirt
}

unbound()
{
	[ "$(region_get "$dax" Binding)" = none ]
}

# --- the disk ---

disk_refuses()
{
	local how=$1 op=$2
	shift 2

	disk_break "$how"
	like "$(refusal "$@")" "ledger.*status [1-9]" "$op, $how: refused, and says why"
	disk_mend "$how"
}

disk_taking_back()
{
	local how=$1 op=$2 begun took

	pmemlease lease "$dax" b1 >/dev/null
	daemon_restart
	pmemlease --no-wait "$op" "$dax" --deadline=4s >/dev/null
	begun=$(now_msec)
	succeeds "$op, $how: accepted" wait_for 10 lease_is draining
	disk_break "$how"
	succeeds "$op, $how: taken, though the disk does not know" wait_for 30 unbound
	took=$(($(now_msec) - begun))
	diag "$op, $how: unbound after $took ms"
	succeeds "$op, $how: the bound held" test "$took" -lt "$bound_msec"
	succeeds "$op, $how: fenced, by its mark" wait_for 30 lease_is fenced
	disk_mend "$how"
	succeeds "$op, $how: still fenced after the next start" wait_for 30 lease_is fenced
	virsh --quiet destroy b1
	crash_check "$op, $how"
}

disk_case()
{
	local how=$1 op=$2

	stage
	case $op in
	lease)
		daemon_restart
		disk_refuses "$how" lease pmemlease lease "$dax" b1
		crash_check "lease, $how"
		is "$(region_get "$dax" Use)" free "lease, $how: not lent"
		;;
	evict | release)
		disk_taking_back "$how" "$op"
		;;
	scrub)
		virsh --quiet destroy b1
		daemon_restart
		disk_refuses "$how" scrub pmemlease scrub "$dax" --discard="$owner"
		crash_check "scrub, $how"
		is "$(region_get "$dax" Content)" retained "scrub, $how: nobody's data was destroyed"
		;;
	readmit)
		keep_offline
		daemon_restart
		disk_refuses "$how" readmit pmemlease readmit "$dax"
		wait_for 30 offline
		succeeds "readmit, $how: works when the disk does" pmemlease readmit "$dax"
		crash_check "readmit, $how"
		;;
	esac
}

crash_setup
disk_make
for op in lease evict release scrub readmit; do
	for how in KILL STOP; do
		libvirt_case "$how" "$op"
	done
done
for op in lease evict release scrub readmit; do
	for how in full error; do
		disk_case "$how" "$op"
	done
done
plan

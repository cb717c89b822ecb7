# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# libvirt's daemon is killed, stopped, restarted or hangs while the service lends, takes back, scrubs and readmits. Needs lib-pmemlease.sh
# and lib-crash.sh; the region is $dax, its machine b1.

# Which it is: its service, and the sockets that would start it again.
libvirt_unit=libvirtd.service
libvirt_sockets=(libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket)

bound_msec=20000

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

# Free, its owner's, online, the machine running.
stage()
{
	crash_stage
	if [ "$(region_get "$dax" Use)" = leased ]; then
		take_away
		bare_start b1
	fi
}

take_away()
{
	pmemlease evict "$dax" --deadline=0 --after-fence=destroy >/dev/null 2>&1
	virsh --quiet destroy b1 2>/dev/null
	wait_region 60 "$dax" Use free
	wait_region 60 "$dax" Presence online
}

keep_offline()
{
	pmemlease lease "$dax" b1 >/dev/null
	pmemlease evict "$dax" --deadline=0 --keep-offline --after-fence=destroy >/dev/null
	virsh --quiet destroy b1 2>/dev/null
	wait_for 30 offline
}

offline()
{
	[ "$(region_get "$dax" Job)" = / ] && [ "$(region_get "$dax" Use)" = evicted ] && [ "$(region_get "$dax" Lease)" = / ]
}

libvirt_pid()
{
	systemctl show -P MainPID "$libvirt_unit"
}

# libvirt_hit KILL|STOP|stop|restart
libvirt_hit()
{
	case $1 in
	stop) systemctl stop "${libvirt_sockets[@]}" "$libvirt_unit" ;;
	restart) systemctl restart "$libvirt_unit" ;;
	*)
		libvirt_hung=$(libvirt_pid)
		kill "-$1" "$libvirt_hung"
		;;
	esac
}

libvirt_back()
{
	[ "$1" != STOP ] || kill -CONT "$libvirt_hung"
	systemctl reset-failed "$libvirt_unit" 2>/dev/null
	systemctl start "${libvirt_sockets[@]}" "$libvirt_unit"
	wait_for 60 daemon_has_libvirt
}

# libvirt_case HOW OPERATION
libvirt_case()
{
	local how=$1 op=$2 name="$2, ${libvirt_unit%.service} $1" begun took background

	stage
	begun=$(now_msec)
	case $op in
	lease)
		pmemlease lease "$dax" b1 >/run/act.log 2>&1 &
		background=$!
		wait_for 10 region_is "$dax" Use leased
		libvirt_hit "$how"
		pmemlease evict "$dax" --deadline=1s >/dev/null 2>&1
		;;
	evict | release)
		pmemlease lease "$dax" b1 >/dev/null
		begun=$(now_msec)
		pmemlease "$op" "$dax" --deadline=1s >/run/act.log 2>&1 &
		background=$!
		wait_for 10 lease_is draining
		libvirt_hit "$how"
		succeeds "$name: fenced" wait_for 30 lease_is fenced
		;;
	scrub)
		virsh --quiet destroy b1
		pmemlease scrub "$dax" --discard="$owner" >/run/act.log 2>&1 &
		background=$!
		libvirt_hit "$how"
		wait "$background"
		is $? 0 "$name: done"
		is "$(region_get "$dax" Content)" blank "$name: blank"
		;;
	readmit)
		keep_offline
		pmemlease readmit "$dax" >/run/act.log 2>&1 &
		background=$!
		libvirt_hit "$how"
		wait "$background"
		is $? 0 "$name: done"
		;;
	esac
	case $op in
	lease | evict | release)
		took=$(($(now_msec) - begun))
		diag "$name: unbound after $took ms"
		succeeds "$name: the bound held" test "$took" -lt "$bound_msec"
		;;
	esac
	libvirt_back "$how"
	case $op in
	lease | evict | release)
		wait "$background"
		virsh --quiet destroy b1
		;;
	esac
	crash_check "$name"
}

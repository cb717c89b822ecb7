# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# kill -9 of the daemon between two steps of an operation. The steps are the daemon's own list (pmemleased --list-steps), so
# that a new step is tested without being named here.

pmemleased=/usr/libexec/pmemlease/pmemleased
dropin=/run/systemd/system/pmemleased.service.d

crash_points()
{
	"$pmemleased" --list-steps | grep -E "^($1)/"
}

# The daemon will kill itself at this point, once, and stay dead.
crash_arm()
{
	mkdir -p "$dropin"
	printf '[Service]\nEnvironment=PMEMLEASED_CRASH_AT=%s\nRestart=no\n' "$1" >"$dropin/crash.conf"
	systemctl daemon-reload
	systemctl reset-failed pmemleased.service 2>/dev/null
	systemctl restart pmemleased.service
}

crash_disarm()
{
	rm -f "$dropin/crash.conf"
	systemctl daemon-reload
	systemctl reset-failed pmemleased.service 2>/dev/null
}

daemon_is_dead()
{
	[ "$(systemctl show -P ActiveState pmemleased.service)" = failed ]
}

daemon_has_libvirt()
{
	[ "$(busctl --json=short get-property "$bus" /org/pmemlease1 "$bus.Manager" LibvirtConnected | jq -r .data)" = true ]
}

# The region has come to rest: no job, and no state that only passes.
region_at_rest()
{
	[ "$(region_get "$dax" Job)" = / ] || return 1
	case $(region_get "$dax" Use) in
	free) [ "$(region_get "$dax" Presence)" = online ] ;;
	leased) [ "$(lease_get "$dax" State)" = active ] ;;
	*) return 1 ;;
	esac
}

# What must be true whenever it rests: free and nobody maps it, or leased and the machine maps it; the data is still its owner's.
crash_check()
{
	local point=$1 use mapped=no content

	if ! wait_for 60 region_at_rest; then
		not_ok "$point: comes to rest" "$(region_get "$dax" Use) $(region_get "$dax" Presence) $(lease_get "$dax" State 2>&1)"
		journal_tail 30
		return
	fi
	use=$(region_get "$dax" Use)
	content=$(region_get "$dax" Content)
	! find /proc/[0-9]*/map_files -lname "/dev/$dax" 2>/dev/null | grep -q . || mapped=yes
	case $use/$mapped/$content in
	free/no/retained | leased/yes/retained | free/no/blank) ok "$point: $use, $content" ;;
	*) not_ok "$point" "use $use, mapped $mapped, content $content" && journal_tail 30 ;;
	esac
	[ "$content" != retained ] || is "$(region_get "$dax" Owner)" "$owner" "$point: the owner is as it was"
}

# Brings the region to where the operation begins: free, retained, the machine running.
crash_stage()
{
	wait_for 30 daemon_has_libvirt
	if [ "$(region_get "$dax" Use)" != free ]; then
		pmemlease evict "$dax" --deadline=0 --after-fence=destroy >/dev/null 2>&1
		virsh --quiet destroy b1 2>/dev/null
		wait_region 60 "$dax" Use free
	fi
	wait_region 60 "$dax" Presence online
	[ "$(region_get "$dax" Content)" = retained ] || pmemlease lease "$dax" b1 >/dev/null 2>&1
	virsh domstate b1 2>/dev/null | grep -q running || bare_start b1
	[ "$(region_get "$dax" Content)" = retained ] || pmemlease lease "$dax" b1 >/dev/null
}

crash_act()
{
	case $1 in
	lease/persist/*) pmemlease lease "$dax" b1 --persistent ;;
	lease/*) pmemlease lease "$dax" b1 ;;
	*/cancel/*)
		pmemlease lease "$dax" b1 --after-fence=destroy
		pmemlease --no-wait "${1%%/*}" "$dax" --deadline=20s
		pmemlease cancel "$(busctl --json=short call "$bus" /org/pmemlease1 "$bus.Manager" ListJobs |
			jq -r '.data[0][0][0]')"
		;;
	release/*)
		pmemlease lease "$dax" b1 --after-fence=destroy
		pmemlease release "$dax" --deadline=1s
		;;
	evict/* | settle/*)
		pmemlease lease "$dax" b1 --after-fence=destroy
		pmemlease evict "$dax" --deadline=1s
		;;
	scrub/*)
		virsh --quiet destroy b1
		pmemlease scrub "$dax" --discard="$owner"
		;;
	esac
}

# What only happens where two operations meet at one moment, or after a failed proof.
crash_is_rare()
{
	case $1 in
	*/takeover/after | settle/proved/after | settle/gate/after) return 0 ;;
	# Of memory of the host alone.
	scrub/owe/after | scrub/take/after | scrub/return/after | scrub/returned/after) return 0 ;;
	esac
	return 1
}

# crash_run POINT: returns 1 where the operation never came by the point.
crash_run()
{
	local point=$1

	crash_disarm
	systemctl start pmemleased.service
	crash_stage
	if [ "$(region_get "$dax" Use)" = leased ]; then
		pmemlease evict "$dax" --deadline=0 --after-fence=destroy >/dev/null 2>&1
		wait_region 60 "$dax" Use free
		bare_start b1
	fi
	crash_arm "$point"
	wait_for 30 daemon_has_libvirt
	crash_act "$point" >/run/act.log 2>&1
	if ! wait_for 30 daemon_is_dead; then
		crash_disarm
		return 1
	fi
	if [ "${POWER_CUT:-no}" = yes ]; then
		echo "$point" >/var/lib/lab/crash.point
		sync -f /var/lib/lab
		lab power-cut
		exit 1
	fi
	crash_disarm
	systemctl start pmemleased.service
	crash_check "$point"
}

crash_setup()
{
	dax=$(lab-region 64M)
	wait_region 20 "$dax" Presence online
	owner=$(guest uuid b1)
	pmemlease adopt "$dax" "$owner" >/dev/null
}

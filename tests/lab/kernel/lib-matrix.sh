# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
#
# The stale-access matrix, a cell at a time: a holder (a row of stale.c) takes a device, an event
# takes the device from it, the next tenant gets it where the event gives it to one, and the holder
# tries again. cell ROW EVENT prints
#
#	cell ROW EVENT OUTCOME DETAIL...
#
#	no-access	the holder does not reach the memory (DETAIL: what it gets instead)
#	held		it does, and the kernel knows: it says so and refuses to lend the memory to
#			anybody else, or the event waits for the holder
#	stale		it does, and the kernel does not know
#	hang		the access, the event, or letting go does not end
#	oops		the kernel has found a bug in itself
#	broken		the holder does not reach the memory, nor does anybody after it
#	live		the event was refused, as it had to be, and the holder goes on
#	n/a		this kernel has no such event (DETAIL: what it lacks)
#	-		there is no such holder

# shellcheck source=tests/lab/lib.sh
. ./lib.sh

holder_program=stale
state=/var/lib/lab/matrix
dax_driver=/sys/bus/dax/drivers/device_dax
dax_parameters=/sys/module/device_dax/parameters
kmem_driver=/sys/bus/dax/drivers/kmem

rows=(map-4k map-2m map-1g untouched fd-closed forked mremap mprotect fd-late-map fd-passed
	fd-in-flight reopened io-uring vmsplice o-direct kvm kvm-untouched kvm-irqoff process-vm ptrace)
events=(unbind rebind namespace-cycle recreate-size recreate-fsdax recreate-align recreate-map-dev
	recreate-map-mem kmem region-disable module-reload revoke revoke-old revoke-rebind)

# The namespace that cells use one after another, as long as they leave it as it was.
namespace='' namespace_shape=''
# An event, a holder or a quarantine has not ended: only a new boot can go on.
unknown_state=''
# An access that takes longer does not end.
access_seconds=30
# The cell after whose oops it goes on in the same boot, if it can: for who expects the next one, too, and has
# no time.
no_boot_after=''

# bounded SECONDS COMMAND...: its status; 124 and left behind when it does not end, or when the kernel
# has found a bug in itself. timeout(1) would wait for what cannot be killed.
bounded()
{
	local end=$((SECONDS + $1)) status fd waited=0
	shift

	rm -f /run/lab-event.done
	exec {fd}< <(
		trap '' PIPE
		"$@" >/run/lab-event.log 2>&1
		status=$?
		touch /run/lab-event.done
		echo "$status" 2>/dev/null
	)
	until IFS= read -r -t 2 -u "$fd" status || { waited=$? && [ "$waited" -le 128 ]; }; do
		if [ "$SECONDS" -ge "$end" ] || [ -n "$(complaint)" ]; then
			break
		fi
	done
	exec {fd}<&-
	return "${status:-124}"
}

# ask WORD...: the holder's answer. None comes from one that the kernel has killed.
ask()
{
	local line end=$((SECONDS + access_seconds)) waited

	printf '%s\n' "$*" >&"${holder_in[cell]}"
	while [ "$SECONDS" -lt "$end" ]; do
		waited=0
		IFS= read -r -t 2 -u "${holder_out[cell]}" line || waited=$?
		[ "$waited" -ne 0 ] || { printf '%s\n' "$line" && return; }
		if [ "$waited" -le 128 ] || [ -n "$(complaint)" ]; then
			return 1
		fi
	done
	return 1
}

write_to()
{
	echo "$1" >"$2"
}

namespace_make()
{
	local shape="$*" answer

	[ "$namespace_shape" != "$shape" ] || return 0
	namespace_destroy || return
	answer=$(ndctl create-namespace -f -r region0 -m devdax "$@") || return
	namespace=$(jq -er .dev <<<"$answer")
	dax=$(jq -er '.daxregion.devices[0].chardev' <<<"$answer")
	namespace_shape=$shape
}

namespace_destroy()
{
	[ -n "$namespace" ] || return 0
	# An event that was refused may have left one by another name, or none.
	bounded 30 ndctl destroy-namespace -f -r region0 all ||
		[ -z "$(ndctl list -r region0 -N -i)" ] || return
	namespace='' namespace_shape=''
}

# The device of a namespace that has just come, or come back.
namespace_device()
{
	dax=$(ndctl list -n "$namespace" -Xi | jq -er '.[0].daxregion.devices[0].chardev')
}

# tenant read|write X: somebody who opens the device now.
tenant()
{
	local answer

	exec {tenant_out}< <(printf '%s\n' "$*" | stale untouched "/dev/$dax")
	answer=$(timeout 10 cat <&"$tenant_out" | tail -n 1)
	exec {tenant_out}<&-
	printf '%s\n' "${answer:-hang}"
}

## Events. Each sets $tenant when somebody else has the device afterwards, or $refused.

# The device is gone and comes back. Only now can the holder open it as a dead one.
away()
{
	[ "$row" != reopened ] || ask away >/dev/null || true
}

event_unbind()
{
	bounded 20 write_to "$dax" "$dax_driver/unbind"
}

bind()
{
	local status=0

	bounded 20 write_to "$dax" "$dax_driver/bind" || status=$?
	case $status in
	0) tenant=yes ;;
	124) return 124 ;;
	*) refused=$(sed -n 's/.*: //p' /run/lab-event.log | head -n 1) ;;
	esac
}

event_rebind()
{
	event_unbind && away && bind
}

event_namespace-cycle()
{
	bounded 30 ndctl disable-namespace "$namespace" || return
	away
	bounded 30 ndctl enable-namespace "$namespace" || return
	namespace_device && tenant=yes
}

recreate()
{
	namespace_shape=changed
	bounded 30 ndctl destroy-namespace -f "$namespace" || return
	away
	bounded 30 ndctl create-namespace -f -r region0 "$@" || return
	namespace=$(jq -er .dev /run/lab-event.log)
}

# Of the same memory, wherever in its namespace the row's alignment has put the data.
recreate_size()
{
	if [ "$row" = map-1g ]; then echo 2G; else echo 64M; fi
}

event_recreate-size()
{
	local size=128M

	[ "$row" != map-1g ] || size=3G
	recreate -m devdax -a 2M -M mem -s "$size" && namespace_device && tenant=yes
}

event_recreate-fsdax()
{
	recreate -m fsdax -M mem -s "$(recreate_size)"
}

event_recreate-align()
{
	local align=4K

	[ "$row" != map-4k ] || align=2M
	recreate -m devdax -a "$align" -M mem -s "$(recreate_size)" && namespace_device &&
		tenant=yes
}

event_recreate-map-dev()
{
	recreate -m devdax -a 2M -M dev -s "$(recreate_size)" && namespace_device && tenant=yes
}

event_recreate-map-mem()
{
	recreate -m devdax -a 2M -M mem -s "$(recreate_size)" && namespace_device && tenant=yes
}

# The memory becomes the kernel's own. It stays offline: what is asked here is who reaches it.
event_kmem()
{
	local status=0

	namespace_shape=changed
	modprobe kmem
	event_unbind || return
	away
	write_to "$dax" "$dax_driver/remove_id" 2>/dev/null
	bounded 30 write_to "$dax" "$kmem_driver/new_id" || status=$?
	[ "$status" -ne 124 ] || return
	[ -e "$kmem_driver/$dax" ] || refused=$(sed -n 's/.*: //p' /run/lab-event.log | head -n 1)
}

event_region-disable()
{
	namespace_shape=changed
	bounded 30 ndctl disable-region region0
}

event_module-reload()
{
	local status=0

	bounded 30 ndctl disable-namespace "$namespace" || return
	away
	# Refused while a file of it is open, and then nothing is to be seen here but the unbind.
	bounded 20 modprobe -r dax_pmem device_dax || status=$?
	[ "$status" -ne 124 ] || return
	modprobe -a dax_pmem device_dax
	bounded 30 ndctl enable-namespace "$namespace" || return
	namespace_device && tenant=yes
}

attribute()
{
	cat "/sys/bus/dax/devices/$dax/$1"
}

revoked()
{
	[ "$(attribute revoke_state)" != revoking ]
}

event_revoke()
{
	bounded 20 write_to "$(attribute generation)" "/sys/bus/dax/devices/$dax/revoke" || return
	wait_for 20 revoked
}

event_revoke-old()
{
	if bounded 20 write_to "$old_generation" "/sys/bus/dax/devices/$dax/revoke"; then
		return 1
	fi
	refused=$(sed -n 's/.*: //p' /run/lab-event.log | head -n 1)
	[ "$refused" = "Stale file handle" ]
}

event_revoke-rebind()
{
	event_revoke && event_rebind
}

## The cell.

# What the kernel has to say since the cell began.
complaint()
{
	dmesg | awk -v mark="lab-cell $mark" 'index($0, mark) { on = 1; next } on' |
		grep -aE -f <(grep -v '^#' splats) | head -n 1 | sed 's/^\[[^]]*\] *//'
}

held()
{
	[ -n "$refused" ] && return
	quarantined && return
	[ -e "/sys/bus/dax/devices/$dax/revoke_state" ] && [ "$(attribute revoke_state)" = held ]
}

quarantined()
{
	grep -q quarantined /proc/iomem
}

not_quarantined()
{
	! quarantined
}

# The holder's end, waited for but not for ever.
holder_let_go()
{
	local pid=${holder_pid[cell]} in=${holder_in[cell]} out=${holder_out[cell]} status=0

	echo release >&"$in" || true
	exec {in}>&- {out}<&-
	wait_for 15 ended "$pid" || status=124
	[ "$status" -ne 0 ] || wait "$pid" || true
	unset "holder_in[cell]" "holder_out[cell]" "holder_pid[cell]" "holder_holding[cell]"
	return "$status"
}

ended()
{
	[[ ! -e /proc/$1/stat || $(cut -d' ' -f3 "/proc/$1/stat") = Z ]]
}

# prepare ROW EVENT: the namespace, with the old tenant's value in it. Where the kernel has left the
# device unusable after the last cell, another device of the same memory will do.
prepare()
{
	prepare_once "$@" && return
	namespace_shape=changed
	prepare_once "$@"
}

prepare_once()
{
	local align=2M size=64M map=mem answer

	case $1 in
	map-4k) align=4K ;;
	# Half of it, for alignment, comes before the data.
	map-1g) align=1G size=2G ;;
	esac
	case $2 in
	kmem) [ "$size" = 2G ] || size=512M ;;
	recreate-map-mem) map=dev ;;
	esac
	namespace_make -a "$align" -s "$size" -M "$map" || return
	old_generation=$(attribute generation 2>/dev/null)
	# Long enough to see that a pin is waited for at all.
	write_to 1000 "$dax_parameters/revoke_timeout_ms" 2>/dev/null
	# Also for kernels that leave the device unusable after some cells.
	[ ! -e "$dax_driver/$dax" ] || event_unbind || return
	bind && [ -z "$refused" ] || return
	tenant=
	answer=$(tenant write 0x01d)
	[ "$answer" = ok ] || { echo "$answer" >/run/lab-event.log && return 1; }
}

# Of the kernel, not of a device: that one has no revoke costs no namespace, and no boot.
can_revoke()
{
	modprobe device_dax && [ -e "$dax_parameters/revoke_timeout_ms" ]
}

possible()
{
	case $2 in
	revoke*) can_revoke ;;
	esac
}

# judge: from what was seen, in the order of how bad it is.
judge()
{
	local bug access=no

	bug=$(complaint)
	[[ $read_answer != value* && $write_answer != ok ]] || access=yes
	if [ -n "$bug" ]; then
		echo "oops $bug"
	elif [ "$event_status" -eq 124 ] && [ -n "$event_ends" ] && [ "$access" = yes ]; then
		echo "held the event does not end before the holder has let go"
	elif [ "$event_status" -eq 124 ]; then
		echo "hang the event does not end${event_ends:+ before the holder has let go}"
	elif [[ $read_answer = hang || $write_answer = hang ]]; then
		echo "hang the access does not end"
	elif [ "$release_status" -eq 124 ]; then
		echo "hang the holder does not end"
	elif [ "$event_status" -ne 0 ]; then
		echo "broken the event failed: $(tail -n 1 /run/lab-event.log)"
	elif [ "$access" = yes ] && [ "$event" = revoke-old ]; then
		echo "live $refused"
	elif [ "$access" = yes ] && [ -n "$was_held" ]; then
		echo "held ${refused:-reported}"
	elif [ "$access" = yes ] && [ "$read_answer" = "value 0x2e3" ]; then
		echo "stale reads what the next tenant wrote$([ "$tenant_sees" != "value 0x5a1e" ] ||
			echo ", and changes it")"
	elif [ "$access" = yes ]; then
		echo "stale read: $read_answer, write: $write_answer"
	elif [ -n "$tenant_after" ] && [[ $tenant_after != value* ]]; then
		echo "broken nobody can open the device any more: $tenant_after"
	else
		echo "no-access $read_answer${write_answer:+, $write_answer}"
	fi
}

# With the cell that is to be run, in a new boot.
start_anew()
{
	: >"$state.running"
	power_cut
}

# What the holder and the next tenant get after the event, as far as the kernel lives.
cell_access()
{
	[ -z "$(complaint)" ] || return 0
	[ -z "$tenant" ] || tenant write 0x2e3 >/dev/null
	! held || was_held=yes
	read_answer=$(ask read) || read_answer=hang
	[ -z "$(complaint)" ] || return 0
	# Writing to what has become the kernel's own, or a file system's, would harm the judge.
	case $event:$read_answer in
	kmem:* | recreate-fsdax:* | *:hang) ;;
	*) write_answer=$(ask write 0x5a1e) || write_answer=hang ;;
	esac
	[ -z "$tenant" ] || [ -n "$(complaint)" ] || tenant_sees=$(tenant read)
}

# cell_run ROW EVENT: sets $verdict to OUTCOME DETAIL
cell_run()
{
	local row=$1 event=$2 tenant='' refused='' was_held='' event_status=0 release_status=0
	local read_answer='' write_answer='' tenant_sees='' tenant_after='' event_ends='' mark

	unknown_state=
	possible "$row" "$event" || { verdict="n/a no revoke" && return; }
	mark="before $1 $2 $$"
	echo "lab-cell $mark" >/dev/kmsg
	rm -f /run/lab-event.log
	if ! prepare "$row" "$event"; then
		# It may be what an earlier cell has left. If not, it says so again.
		[ "$cells_here" -eq 0 ] || start_anew
		verdict="- no device: $(tail -n 1 /run/lab-event.log 2>&1)"
		return
	fi
	# The damage that an earlier cell has done shows late. It has been judged; this one is not.
	[ "$cells_here" -eq 0 ] || [ -z "$(complaint)" ] || start_anew
	cells_here=$((cells_here + 1))
	mark="$1 $2 $$"
	echo "lab-cell $mark" >/dev/kmsg
	if ! holder_start cell "$row" "/dev/$dax" >/run/lab-holder.log; then
		holder_let_go
		verdict="- no holder: $(tail -n 1 /run/lab-holder.log)"
		return
	fi
	"event_$event" || event_status=$?
	# It was in the way, and said so.
	if [ "$event_status" -ne 0 ] && [ "$event_status" -ne 124 ] && quarantined; then
		refused=$(sed -n 's/.*: //p' /run/lab-event.log | tail -n 1)
		refused=${refused:-refused} event_status=0 namespace_shape=changed
	fi
	if [ "$event_status" -eq 0 ] || [ "$event_status" -eq 124 ]; then
		cell_access
	fi
	# Who waits after a bug waits for what it has broken.
	[ -n "$(complaint)" ] || holder_let_go || release_status=$?
	if [ -n "$(complaint)" ]; then
		verdict=$(judge)
		return
	fi
	if [ "$event_status" -eq 124 ]; then
		! wait_for 20 test -e /run/lab-event.done || event_ends=yes
	elif [ "$event_status" -eq 0 ] && [ -n "$tenant" ]; then
		tenant_after=$(tenant read)
	fi
	# What did not end in time has left the namespace as nobody knows.
	[ "$event_status" -eq 0 ] || namespace_shape=changed
	[ "$event_status" -ne 124 ] && [ "$release_status" -eq 0 ] &&
		wait_for 20 not_quarantined || unknown_state=yes
	verdict=$(judge)
}

# Back to where the next cell can begin. Fails where only a new boot gets there.
cell_clean()
{
	case $event in
	unbind | rebind | revoke*)
		[ -e "$dax_driver/$dax" ] || bounded 20 write_to "$dax" "$dax_driver/bind"
		;;
	region-disable) bounded 30 ndctl enable-region region0 && namespace_destroy ;;
	kmem)
		[ ! -e "$kmem_driver/$dax" ] ||
			bounded 30 write_to "$dax" "$kmem_driver/unbind" || return
		namespace_destroy
		;;
	*) true ;;
	esac
}

# cells_run ROW:EVENT...: each, in as many boots as they need. What an earlier boot has done is told
# again by nobody: it has been printed.
cells_run()
{
	local pair row event running cells_here=0

	export LAB_SLOW_DISK=/dev/mapper/lab-slow
	touch "$state.done"
	if [ "${LAB_BOOT:-1}" -gt 1 ]; then
		ndctl destroy-namespace -f all >/dev/null 2>&1
		if [ -s "$state.running" ]; then
			running=$(cat "$state.running")
			result "$running" "oops the host died of it"
		fi
	fi
	slow_disk
	for pair in "$@"; do
		! grep -qxF "$pair" "$state.done" || continue
		row=${pair%%:*} event=${pair#*:}
		echo "$pair" >"$state.running"
		sync -f "$state.running"
		cell_run "$row" "$event"
		result "$pair" "$verdict"
		[[ $verdict != n/a* ]] || continue
		# Nothing comes after the last one.
		[ "$pair" != "${*: -1}" ] || break
		# An access that did not end, of a holder that did, leaves nothing behind.
		case $verdict in
		oops* | broken*) [ "$pair" = "$no_boot_after" ] || power_cut ;;
		esac
		[ -z "$unknown_state" ] || power_cut
		cell_clean >/dev/null 2>&1 || power_cut
	done
}

result()
{
	"${cell_report:-cell_print}" "$1" "$2"
	echo "$1" >>"$state.done"
	: >"$state.running"
	sync -f "$state.done"
}

cell_print()
{
	printf 'cell %s %s\n' "${1/:/ }" "$2"
}

# What a kernel has to do that can revoke: as a test's result.
cell_assert()
{
	local outcome=${2%% *}

	case $outcome:$1 in
	no-access:*:revoke-old) not_ok "$1" "$2" ;;
	no-access:* | live:*:revoke-old) ok "$1: $2" ;;
	held:io-uring:* | held:vmsplice:* | held:o-direct:*) ok "$1: $2" ;;
	-:* | n/a:*) skip "$1" "$2" ;;
	*) not_ok "$1" "$2" ;;
	esac
}

# known CELL: the outcome that a kernel without the patches is known for, if it is.
known()
{
	case $1 in
	# 6: what was mapped, or opened, before works again for whoever had it.
	map-*:rebind | untouched:rebind | fd-*:rebind | forked:rebind | mremap:rebind | \
		mprotect:rebind | kvm*:rebind | process-vm:rebind | ptrace:rebind) echo stale ;;
	# 4: the unbound device can be opened.
	reopened:unbind | reopened:rebind) echo oops ;;
	# 7: what is pinned is not waited for.
	io-uring:unbind | vmsplice:unbind | o-direct:unbind) echo oops ;;
	# 3: the touch of a guest never ends.
	kvm:unbind | kvm-untouched:unbind | kvm:region-disable | kvm-untouched:region-disable) echo hang ;;
	esac
}

# What a kernel without the patches does where it is known: as a test's result. A matrix that does not
# see there what the patches are for would not see it anywhere.
cell_assert_known()
{
	local known

	known=$(known "$1")
	case $2 in
	n/a* | -*) skip "$1" "$2" ;;
	"$known"*) ok "$1: $2" ;;
	*) not_ok "$1" "known for: $known"$'\n'"seen:      $2" ;;
	esac
}

# cells_matching PATTERN...: sets $cells
cells_matching()
{
	local row event pattern

	cells=()
	for row in "${rows[@]}"; do
		for event in "${events[@]}"; do
			for pattern in "$@"; do
				# shellcheck disable=SC2053 # it is a pattern
				[[ $row:$event == $pattern ]] || continue
				cells+=("$row:$event")
				break
			done
		done
	done
}

# Reads from its second quarter take eight seconds: longer than any event. The rest is fast, because
# udev looks there for what may be on it.
slow_disk()
{
	local loop

	truncate -s 16M /run/lab-slow
	loop=$(losetup --show -f /run/lab-slow) && modprobe dm_delay
	dmsetup create lab-slow <<-TABLE
		0 8192 linear $loop 0
		8192 8192 delay $loop 8192 8000
		16384 16384 linear $loop 16384
	TABLE
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# For the scripts in tests/lab/ that take regions away from busy guests, and look at both sides afterwards: the old guest and the
# next owner. Needs lib-pmemlease.sh. Regions are named by their ids: a namespace that comes back may have another device.

next_seed=3

# The bound of a fence without its deadline: to freeze, and to prove. Set here, so that it is known.
freeze_usec=1000000
proof_usec=10000000

bounds_configure()
{
	mkdir -p /etc/pmemlease/pmemleased.conf.d
	printf '[Evict]\nFreezeTimeout=%dms\n[Proof]\nTimeout=%dms\n' $((freeze_usec / 1000)) $((proof_usec / 1000)) \
		>/etc/pmemlease/pmemleased.conf.d/50-bounds.conf
	systemctl reload pmemleased.service
}

# --- regions, all in one call ---

# regions_are QUERY ID...: whether jq's QUERY holds for each region
regions_are()
{
	local query=$1
	shift

	pmemlease --json regions | jq -e --args '[.regions[] | select(.id | IN($ARGS.positional[]))] |
		length == ($ARGS.positional | length) and all('"$query"')' "$@" >/dev/null
}

# shellcheck disable=SC2034
free_again='.use == "free" and .presence == "online" and .lease == null'

# regions_come_to SECONDS QUERY ID...
regions_come_to()
{
	local seconds=$1 query=$2
	shift 2

	wait_for "$seconds" regions_are "$query" "$@" && return 0
	diag "not '$query':" "$(pmemlease regions)" "$(pmemlease leases)" "$(pmemlease jobs)"
	return 1
}

# Whether the kernel can revoke is told while a device is there, so it is asked when the regions have been made, and kept.
revokes_learn()
{
	revokes=$(busctl --json=short get-property "$bus" /org/pmemlease1 "$bus.Manager" KernelRevoke | jq -r .data)
}

revokes()
{
	[ "$revokes" = true ]
}

# each COMMAND WORD...: at once, one process each; fails when one does. With an empty COMMAND the others are commands.
each()
{
	local command=$1 failed=0 word pid pids=()
	shift

	for word in "$@"; do
		$command "$word" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	return "$failed"
}

device_of()
{
	region_get "$1" Name
}

# lend DOMAIN ID...: with whatever is on them
lend()
{
	local domain=$1 id content owner uuid lent=0
	shift

	uuid=$(guest uuid "$domain")
	while read -r id content owner; do
		[ "$content" != foreign ] || pmemlease adopt "$id" "$uuid" >/dev/null || return 1
		[ "$content" = retained ] || owner=$uuid
		pmemlease lease "$id" "$domain" --owner="$owner" >/dev/null || return 1
		lent=$((lent + 1))
	done < <(contents "$@")
	[ $# -eq "$lent" ]
}

# contents ID...: ID CONTENT OWNER, a line each
contents()
{
	pmemlease --json regions | jq -r --args '.regions[] | select(.id | IN($ARGS.positional[])) | "\(.id) \(.content) \(.owner)"' "$@"
}

scrub_one()
{
	local id content owner

	read -r id content owner < <(contents "$1")
	[ "$content" = blank ] || pmemlease scrub "$id" --discard="$owner" >/dev/null
}

# scrub_all ID...: those that are not blank already, all at once
scrub_all()
{
	each scrub_one "$@"
}

# --- when it was ---

# event TEXT: puts an event of the script's into the journal, where the service has its own. Takes little time.
event()
{
	logger -t lab-event "$1"
}

# event_time: sets $event_usec (CLOCK_REALTIME), of the last one
event_time()
{
	journalctl --sync
	event_usec=$(journalctl -q -t lab-event -n 1 -o json | jq -r '._SOURCE_REALTIME_TIMESTAMP // .__REALTIME_TIMESTAMP')
}

# moved_usec LEASE STATE: when the history has it there the last time; nothing, when never
moved_usec()
{
	pmemlease --json history "$1" -n 100 |
		jq -r --arg to "$2" '[.history[] | select(.kind == "lease" and .to == $to)] | max_by(.time_usec) | .time_usec // empty'
}

# --- checks: NAME first ---

# check_bound NAME DEADLINE_USEC LEASE...: each fenced in time, from its own draining or else from the event
check_bound()
{
	local name=$1 deadline=$2 bound lease from to worst=0 late=''
	shift 2

	bound=$((deadline + freeze_usec + proof_usec))
	for lease in "$@"; do
		from=$(moved_usec "$lease" draining)
		[ "$deadline" -gt 0 ] && [ -n "$from" ] || from=$event_usec
		to=$(moved_usec "$lease" fenced)
		[ -n "$to" ] || { late+="$lease never; " && continue; }
		[ $((to - from)) -le "$bound" ] || late+="$lease after $((to - from)) us; "
		[ $((to - from)) -le "$worst" ] || worst=$((to - from))
	done
	is "$late" "" "$name: by the bound of $((bound / 1000)) ms"
	diag "the last of $# after $((worst / 1000)) ms"
}

# check_proofs NAME ID...
check_proofs()
{
	local name=$1 id verdicts=''
	shift

	for id in "$@"; do
		verdicts+="$(pmemlease --json proof "$id" | jq -r .verdict) "
	done
	is "$(wc -w <<<"$verdicts") $(tr ' ' '\n' <<<"$verdicts" | grep -cE '^(clear|unreachable|revoked)$')" "$# $#" \
		"$name: a proof that nobody reaches it, of each"
	diag "verdicts: $(tr ' ' '\n' <<<"$verdicts" | sed '/^$/d' | sort | uniq -c | tr -s ' \n' ' ')"
}

# used_percent PID...: of one processor, each over the same second; 0 of one that has ended
used_percent()
{
	local pid before begun
	local -A ticks

	for pid in "$@"; do
		ticks[$pid]=$(awk '{ print $14 + $15 }' "/proc/$pid/stat" 2>/dev/null)
	done
	begun=$(now_msec)
	sleep 1
	for pid in "$@"; do
		before=${ticks[$pid]}
		awk -v before="${before:-0}" -v msec=$(($(now_msec) - begun)) -v hz="$(getconf CLK_TCK)" \
			'{ printf "%d ", ($14 + $15 - before) * 100000 / hz / msec }' "/proc/$pid/stat" 2>/dev/null || printf '0 '
	done
}

# check_quiet NAME DOMAIN...: none of them, idle, paused or gone, uses its processor as one that spins does, which never rests.
check_quiet()
{
	local name=$1 domain pid try used percent pids=() spinning=yes
	shift

	for domain in "$@"; do
		pid=$(qemu_pid "$domain" 2>/dev/null) && pids+=("$pid")
	done
	for try in 1 2 3 4 5; do
		used=$(used_percent "${pids[@]}")
		spinning=
		for percent in $used; do
			[ "$percent" -lt 50 ] || spinning=yes
		done
		[ -n "$spinning" ] || break
	done
	is "$spinning" "" "$name: no domain is left spinning"
	diag "processor time of $* in a second, in percent: $used(look $try)"
	for domain in "$@"; do
		diag "$domain: $(virsh domstate --reason "$domain" 2>&1 | head -n 1)"
	done
}

running()
{
	[[ $(virsh domstate "$1" 2>/dev/null | head -n 1) = running ]]
}

# check_lives_on NAME DOMAIN: what it said last is told where it does not
check_lives_on()
{
	succeeds "$1: $2 lives on" running "$2"
	running "$2" || diag "$(virsh domstate --reason "$2" 2>&1 | head -n 1)
$(guest log "$2" | tail -n 60)
$(tail -n 10 "/var/log/libvirt/qemu/$2.log")"
}

# --- the two sides ---

# rounds DOMAIN: ROUNDS DEVICES READABLE SIGBUS FOREIGN [FIRST]
rounds()
{
	guest cmd "$1" rounds
}

been_round()
{
	local now

	read -r now _ < <(rounds "$1")
	[ "${now:-0}" -ge "$2" ]
}

# busy DOMAIN SEED DEVICES: writes and reads all of them; returns when it was through with them twice
busy()
{
	local answer

	answer=$(guest cmd "$1" busy "$2" "$3")
	[ "$answer" = ok ] || { diag "$1 is not busy: $answer" && return 1; }
	wait_for 120 been_round "$1" 2
}

# check_own NAME DOMAIN DEVICES: all that it has read was its own, and all of it could be read
check_own()
{
	local count devices readable sigbus foreign first

	read -r count devices readable sigbus foreign first < <(rounds "$2")
	is "$devices $readable $sigbus $foreign $first" "$3 $3 0 0 " "$1: all that it reads is its own"
	diag "$2: $count rounds"
}

# check_nothing_foreign NAME DOMAIN: it may touch what it likes and never sees what it has not written. One that does not run has
# said so before.
check_nothing_foreign()
{
	local count devices readable sigbus foreign first

	running "$2" || return 0
	read -r count devices readable sigbus foreign first < <(rounds "$2")
	is "$readable $foreign $first" "0 0 " "$1: it reads nothing, and nothing that is not its own"
	diag "$2: $count rounds, $sigbus times SIGBUS"
}

# next_owner NAME DOMAIN SECONDS OLD... -- ID...: scrubs the regions, lends them to another, who writes all of them and looks at
# all of them for so long, while the old machines that run go on.
next_owner()
{
	local name=$1 domain=$2 seconds=$3 old=() guest before now
	local -A tried
	shift 3

	while [ "$1" != -- ]; do
		old+=("$1")
		shift
	done
	shift
	for guest in "${old[@]}"; do
		! running "$guest" || tried[$guest]=$(rounds "$guest" | cut -d' ' -f4)
	done
	succeeds "$name: scrubbed" scrub_all "$@"
	guest start "$domain" >/dev/null || not_ok "$name: the next owner starts"
	succeeds "$name: lent to another" lend "$domain" "$@"
	is "$(guest cmd "$domain" guard "$next_seed" $#)" ok "$name: who writes all of it"
	succeeds "$name: and reads it" wait_for 120 been_round "$domain" 2
	sleep "$seconds"
	# What it reads from here on was written before those seconds.
	read -r before _ < <(rounds "$domain")
	succeeds "$name: once more after $seconds s" wait_for 120 been_round "$domain" $((before + 2))
	check_own "$name, the next owner" "$domain" $#
	for guest in "${!tried[@]}"; do
		check_nothing_foreign "$name, the old guest $guest" "$guest"
		now=$(rounds "$guest" | cut -d' ' -f4)
		succeeds "$name, the old guest $guest has tried all the time" [ "$now" -gt "${tried[$guest]}" ]
	done
}

guests_end()
{
	local guest

	for guest in "$@"; do
		virsh --quiet destroy "$guest" 2>/dev/null
	done
	return 0
}

# Idle, so that what is left of their time is what nobody asked for.
guests_rest()
{
	local guest

	for guest in "$@"; do
		! running "$guest" || guest cmd "$guest" stop >/dev/null
	done
}

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --timeout 3000
#
# The memory leaves without asking, at five moments at once: while a busy guest has it, while its deadline runs, while it is being
# lent, scrubbed and readmitted; with the service there, and with it dead and started afterwards. When it is back, another gets all
# of it, and nobody sees a byte of the other. Runs on any kernel.
#
# 89-surprise.sh [CASE]...: those alone, such as "unbind:alive"
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-crash.sh
. ./lib-crash.sh
# shellcheck source=tests/lab/lib-surprise.sh
. ./lib-surprise.sh

export GUEST_TIMEOUT=240

# How it leaves, and how the service is.
cases=(unbind:alive namespace:alive region:alive driver:alive unbind:dead namespace:dead region:dead driver:dead)
[ $# -eq 0 ] || cases=("$@")

# The moments, each with a region of its own, all on one NVDIMM. Whoever scrubs more is interrupted more surely.
declare -A id
declare -A size=([leased]=32M [draining]=32M [lending]=32M [readmitting]=32M [scrubbing]=128M)

# --- events: event_X takes all regions away, undo_X brings the devices back ---

# device_names: as sysfs knows them now, which takes calls: before the event
device_names()
{
	local at

	names=()
	for at in "${!id[@]}"; do
		names+=("$(device_of "${id[$at]}")")
	done
}

unbind_one()
{
	echo "$1" >/sys/bus/dax/drivers/device_dax/unbind
}

# One of them is unbound already: it is kept offline, or is being bound.
event_unbind()
{
	each unbind_one "${names[@]}" 2>/dev/null
	return 0
}

# What the service does not bind by itself is readmitted below.
undo_unbind()
{
	:
}

event_namespace()
{
	each "ndctl disable-namespace" "${namespaces[@]}" >/dev/null 2>&1
}

undo_namespace()
{
	ndctl enable-namespace -r region0 all >/dev/null 2>&1
}

event_region()
{
	ndctl disable-region region0 >/dev/null 2>&1
}

undo_region()
{
	ndctl enable-region region0 >/dev/null 2>&1
}

# The module is removed, or its driver unbound where it is built in: the same end of all its devices.
event_driver()
{
	modprobe -r dax_pmem 2>/dev/null || each driver_unbind "${parents[@]}"
}

driver_unbind()
{
	echo "$1" >/sys/bus/nd/drivers/dax_pmem/unbind
}

undo_driver()
{
	local device

	modprobe dax_pmem 2>/dev/null
	for device in "${parents[@]}"; do
		echo "$device" >/sys/bus/nd/drivers/dax_pmem/bind 2>/dev/null
	done
	return 0
}

# --- the moments: each returns when it is there. What would pass by itself is held: a machine that does not answer libvirt, a
# helper that is stopped ---

moments=(draining lending scrubbing readmitting)

moment_draining()
{
	pmemlease evict "${id[draining]}" --deadline=60s --no-wait >/dev/null
}

moment_lending()
{
	kill -STOP "$(qemu_pid b1)"
	pmemlease lease "${id[lending]}" b1 --owner="$owner" >/run/lending.log 2>&1 &
	wait_for 30 is_attaching
}

is_attaching()
{
	[ "$(lease_get "${id[lending]}" State 2>/dev/null)" = attaching ]
}

moment_scrubbing()
{
	pmemlease scrub "${id[scrubbing]}" --discard="$discarded" >/run/scrubbing.log 2>&1 &
	wait_for 20 pidof pmemlease-media && kill -STOP "$(pidof pmemlease-media)"
}

# The helper of a daemon that was killed has gone with it.
moments_go_on()
{
	local media

	kill -CONT "$(qemu_pid b1)"
	media=$(pidof pmemlease-media) && kill -CONT "$media"
	return 0
}

# Bound again, which is not its last step.
moment_readmitting()
{
	pmemlease readmit "${id[readmitting]}" >/run/readmitting.log 2>&1 &
	for _ in $(seq 400); do
		[ ! -e "/sys/bus/dax/devices/$readmitted/driver" ] || return 0
		sleep 0.02
	done
	return 1
}

# What became of what was under way.
moments_shown()
{
	local moment

	for moment in lending scrubbing readmitting; do
		diag "$moment: $(tail -n 1 "/run/$moment.log")"
	done
}

# --- one case ---

# The regions that are scrubbed and readmitted were another guest's, which runs on where the kernel lets it.
stage_g0()
{
	guest start g0 >/dev/null && lend g0 "${id[scrubbing]}" "${id[readmitting]}" && busy g0 1 2 || return 1
	pmemlease evict "${id[scrubbing]}" --deadline=0 >/dev/null
	pmemlease evict "${id[readmitting]}" --deadline=0 --keep-offline >/dev/null
	revokes || guests_end g0
	regions_come_to 60 "$free_again" "${id[scrubbing]}" &&
		regions_come_to 60 '.use == "evicted" and .lease == null' "${id[readmitting]}"
}

stage_g1()
{
	guest start g1 >/dev/null && lend g1 "${id[leased]}" "${id[draining]}" && busy g1 2 2
}

stage()
{
	local name=$1

	succeeds "$name: two guests, both busy, and one that has lost what it had" each "" stage_g0 stage_g1
	bare_start b1
	check_own "$name: g1" g1 2
	[ "$(region_get "${id[lending]}" Content)" != foreign ] || pmemlease adopt "${id[lending]}" "$(guest uuid b1)" >/dev/null
	owner=$(region_get "${id[lending]}" Owner)
	owner=${owner:-$(guest uuid b1)}
	was_owner=$(region_get "${id[leased]}" Owner)
	discarded=$(region_get "${id[scrubbing]}" Owner)
	leases=("$(lease_get "${id[leased]}" Id)" "$(lease_get "${id[draining]}" Id)")
	device_names
	readmitted=$(device_of "${id[readmitting]}")
	mapfile -t namespaces < <(ndctl list -N -r region0 | jq -r '.[].dev')
	mapfile -t parents < <(cd /sys/bus/nd/drivers/dax_pmem && printf '%s\n' dax*)
}

# Nobody starts it again but the script.
daemon_prepare()
{
	mkdir -p "$dropin"
	printf '[Service]\nRestart=no\n' >"$dropin/dead.conf"
	systemctl daemon-reload
	daemon_pid=$(systemctl show -P MainPID pmemleased.service)
}

daemon_again()
{
	wait_for 20 daemon_is_dead
	systemctl reset-failed pmemleased.service 2>/dev/null
	systemctl start pmemleased.service
}

ended()
{
	local lease

	for lease in "${leases[@]}"; do
		[ -n "$(moved_usec "$lease" fenced)" ] || return 1
	done
}

paused_or_gone()
{
	! running "$1"
}

# All that there is comes to be free without anybody's help, but for what was kept offline, or is not bound to anything.
comes_back()
{
	local name=$1 how=$2 at

	if ! revokes; then
		succeeds "$name: the guest does not run" wait_for 60 paused_or_gone g1
		like "$(refusal pmemlease scrub "${id[leased]}" --discard="$was_owner")" "status [1-9]" \
			"$name: not scrubbed while its machine is there"
		guests_end g1
	fi
	guests_end b1
	"undo_$how"
	succeeds "$name: nothing is under way" wait_for 120 nothing_under_way
	for at in "${!id[@]}"; do
		regions_are '.presence == "online"' "${id[$at]}" || pmemlease readmit "${id[$at]}" >/dev/null 2>&1
	done
	succeeds "$name: all are back, and free" regions_come_to 120 "$free_again" "${id[@]}"
}

nothing_under_way()
{
	[ "$(pmemlease --json jobs | jq '.jobs | length')" = 0 ]
}

run_case()
{
	local how=${1%:*} daemon=${1#*:} name="$1" moment

	stage "$name"
	daemon_prepare
	for moment in "${moments[@]}"; do
		"moment_$moment" || diag "$moment was not seen"
	done
	[ "$daemon" = alive ] || kill -KILL "$daemon_pid"
	event "$name"
	"event_$how"
	moments_go_on
	if [ "$daemon" = dead ]; then
		# The bound is of a daemon that runs.
		event "$name: started again"
		daemon_again
	fi
	event_time
	succeeds "$name: what was leased and draining is fenced" wait_for 60 ended
	moments_shown
	check_bound "$name" 0 "${leases[@]}"
	comes_back "$name" "$how"
	check_proofs "$name" "${id[leased]}" "${id[draining]}"
	is "$(region_get "${id[scrubbing]}" Content)" blank "$name: what was being scrubbed is blank in the end"
	# A blank one needs no scrub; this one was interrupted in it.
	next_owner "$name" g2 10 g0 g1 -- "${id[@]}"
	guests_rest g0 g1 g2
	check_quiet "$name" g0 g1 g2
	guests_end g0 g1 g2 b1
	succeeds "$name: all free at the end" regions_come_to 120 "$free_again" "${id[@]}"
}

bounds_configure
for at in "${!size[@]}"; do
	name=$(lab-region "${size[$at]}" region0)
	wait_region 60 "$name" Presence online
	id[$at]=$(region_get "$name" Id)
done
revokes_learn
for case in "${cases[@]}"; do
	run_case "$case"
done
journal_tail 15
plan

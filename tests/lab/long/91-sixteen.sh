#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --timeout 3000
#
# Sixteen regions of two busy guests are taken back at once: planned, by surprise, and by surprise with libvirtd stopped. The next
# owner writes all of them while the old guests go on trying, and none ever sees a byte of the other. Runs on any kernel.
#
# 91-sixteen.sh [CASE]...: those alone, such as "unbound:stopped:10", which is what is done to them, how libvirtd is, and how many
# seconds both sides are watched
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-surprise.sh
. ./lib-surprise.sh

export GUEST_TIMEOUT=240
ids=() leases=()

cases=(evicted:running:300 unbound:running:10 unbound:stopped:10)
[ $# -eq 0 ] || cases=("$@")

# --- events ---

evict_one()
{
	pmemlease evict "$1" --deadline=2s --no-wait >/dev/null
}

event_evicted()
{
	each evict_one "${ids[@]}"
}

# sysfs knows the devices by their names of now.
event_unbound()
{
	local name

	for name in "${names[@]}"; do
		echo "$name" >/sys/bus/dax/drivers/device_dax/unbind &
	done
	wait
}

# shellcheck disable=SC2034 # by their names
deadline_evicted=2000000 deadline_unbound=0

all_names()
{
	mapfile -t names < <(pmemlease --json regions | jq -r '.regions[].name')
}

all_fenced()
{
	local lease

	for lease in "${leases[@]}"; do
		[ -n "$(moved_usec "$lease" fenced)" ] || return 1
	done
}

# --- one case ---

declare -A seed=([g1]=1 [g2]=2) first=([g1]=0 [g2]=8)

# busy_guest NAME: with eight of the regions
busy_guest()
{
	guest start "$1" >/dev/null && lend "$1" "${ids[@]:${first[$1]}:8}" && busy "$1" "${seed[$1]}" 8
}

stage()
{
	local name=$1

	succeeds "$name: two guests with eight regions each, both busy" each busy_guest g1 g2
	mapfile -t leases < <(pmemlease --json leases | jq -r '.leases[] | select(.state == "active") | .id')
	is ${#leases[@]} 16 "$name: sixteen leases"
	check_own "$name: g1" g1 8
	check_own "$name: g2" g2 8
	all_names
}

# On a kernel that cannot revoke the old machines have to end first, paused as they are, and nobody gets the region before.
old_machines()
{
	local name=$1 guest

	if revokes; then
		succeeds "$name: free, while the old machines are there" regions_come_to 120 "$free_again" "${ids[@]}"
		return
	fi
	for guest in g1 g2; do
		# What a domain's administrator may do: its guest spins, and reaches nothing.
		virsh --quiet resume "$guest"
	done
	like "$(refusal pmemlease scrub "${ids[0]}" --discard="$(region_get "${ids[0]}" Owner)")" "status [1-9]" \
		"$name: not scrubbed while its old machine is there"
	guests_end g1 g2
	succeeds "$name: free when the old machines have ended" regions_come_to 120 "$free_again" "${ids[@]}"
}

is_paused()
{
	[[ $(virsh domstate "$1" | head -n 1) = paused ]]
}

run_case()
{
	local what=$1 libvirt=$2 seconds=$3 name="sixteen $1, libvirtd $2" deadline=deadline_$1 pid

	stage "$name"
	pid=$(systemctl show -P MainPID libvirtd.service)
	[ "$libvirt" = running ] || kill -STOP "$pid"
	event "$name"
	"event_$what"
	event_time
	succeeds "$name: all are fenced" wait_for 120 all_fenced
	check_bound "$name" "${!deadline}" "${leases[@]}"
	check_proofs "$name" "${ids[@]}"
	kill -CONT "$pid"
	wait_for 60 daemon_reaches_libvirt
	if [ "$what" = evicted ] && revokes; then
		check_lives_on "$name" g1
		check_lives_on "$name" g2
	else
		# What is unbound without having been revoked gives an error to KVM, on which QEMU stops for good.
		succeeds "$name: g1 is paused" wait_for 60 is_paused g1
		succeeds "$name: g2 is paused" wait_for 60 is_paused g2
	fi
	old_machines "$name"
	next_owner "$name" g3 "$seconds" g1 g2 -- "${ids[@]}"
	guests_rest g1 g2 g3
	check_quiet "$name" g1 g2 g3
	guests_end g1 g2 g3
	succeeds "$name: all free at the end" regions_come_to 120 "$free_again" "${ids[@]}"
}

daemon_reaches_libvirt()
{
	[ "$(busctl --json=short get-property "$bus" /org/pmemlease1 "$bus.Manager" LibvirtConnected | jq -r .data)" = true ]
}

bounds_configure
for ((i = 0; i < 16; i++)); do
	last=$(lab-region 32M "region$((i % 2))")
done
wait_region 60 "$last" Presence online
mapfile -t ids < <(pmemlease --json regions | jq -r '.regions[].id')
is ${#ids[@]} 16 "sixteen regions"
revokes_learn
for case in "${cases[@]}"; do
	IFS=: read -r what libvirt seconds <<<"$case"
	run_case "$what" "$libvirt" "$seconds"
done
journal_tail 15
plan

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# idle.sh [SECONDS]: what the daemon costs that does nothing: memory without regions and with 1,000, and how often it wakes up.
# Outside of the emulated host: the daemon with a made-up host and libvirt, on a private bus. JSON on the last line.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/lab/common.sh
. "$top/tests/lab/common.sh"
# shellcheck source=tests/lab/build.sh
. "$top/tests/lab/build.sh"

seconds=${1:-60}
regions=1000
work=$(mktemp -d)
bus_pid='' daemon_pid=''

end()
{
	[ -z "$daemon_pid" ] || { kill "$daemon_pid" && wait "$daemon_pid"; } 2>/dev/null || true
	daemon_pid=
}

cleanup()
{
	end
	[ -z "$bus_pid" ] || kill "$bus_pid" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT

build_plain >&2
cat >"$work/bus.conf" <<-XML
	<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
	<busconfig><listen>unix:path=$work/bus</listen><auth>EXTERNAL</auth><policy context="default">
	<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow send_type="method_call"/><allow receive_type="signal"/>
	<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/></policy></busconfig>
XML
dbus-daemon --config-file="$work/bus.conf" --nofork --nopidfile --nosyslog --print-address=3 3>"$work/address" 2>"$work/bus.log" &
bus_pid=$!
until [ -s "$work/address" ]; do sleep 0.05; done
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/bus PMEMLEASE_FAKE_DIR=$work WATCHDOG_USEC=30000000 NOTIFY_SOCKET=$work/notify
mkfifo "$work/events"
: >"$work/pmemleased.conf"

# begin N: a new daemon on a host with N regions, when it has them all on the bus
begin()
{
	local i

	rm -rf "$work/state" "$work/run"
	for ((i = 0; i < $1; i++)); do
		printf 'dax%d.0 11111111-0000-4000-8000-%012d %d %d 250 %d\n' "$i" "$i" $((i << 30)) $((1 << 30)) "$i"
	done >"$work/regions"
	"$top/build/tests/daemon/pmemleased-fake" --config="$work/pmemleased.conf" --state-dir="$work/state" \
		--runtime-dir="$work/run" 2>"$work/log" &
	daemon_pid=$!
	until [ "$(busctl --address="$DBUS_SYSTEM_BUS_ADDRESS" --json=short call org.pmemlease1 /org/pmemlease1 \
		org.pmemlease1.Manager ListRegions 2>/dev/null | jq '.data[0] | length')" = "$1" ]; do
		kill -0 "$daemon_pid" || { cat "$work/log" >&2 && exit 1; }
		sleep 0.1
	done
}

# Proportional set size in KiB.
pss()
{
	awk '$1 == "Pss:" { print $2 }' "/proc/$daemon_pid/smaps_rollup"
}

# How often any thread has gone to sleep, which is how often one was woken up.
wakeups()
{
	cat /proc/"$daemon_pid"/task/*/status | awk '$1 == "voluntary_ctxt_switches:" { sum += $2 } END { print sum }'
}

begin 0
pss_none=$(pss)
end
begin "$regions"
pss_all=$(pss)
sleep 2
before=$(wakeups)
sleep "$seconds"
woken=$(($(wakeups) - before))
end
jq -nc --argjson regions "$regions" --argjson none "$pss_none" --argjson all "$pss_all" --argjson seconds "$seconds" --argjson woken "$woken" '{
	regions: $regions, pss_none_kib: $none, pss_all_kib: $all, pss_per_region_kib: (($all - $none) / $regions),
	idle_seconds: $seconds, wakeups: $woken,
	aims: {pss_all_kib: 12288, pss_per_region_kib: 4, wakeups_in_60_s: 6}}'

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel patched
#
# What a running guest of libvirt sees when its device-dax goes. With the kernel patches: removed, an
# error that stops the machine for everybody to see; revoked, a machine check that the guest
# survives, also when the device has a new tenant; and early notice, for who wants to give it. On a
# kernel without them (--kernel stock), what happens instead is asserted as well: that is what the
# patches are for.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

driver=/sys/bus/dax/drivers/device_dax
dax=$(lab-region 64M)
device=/sys/bus/dax/devices/$dax
systemctl stop pmemleased.service 2>/dev/null

# lend NAME: a guest with the device, that has written to it.
lend()
{
	local answer

	guest start "$1" || return
	virsh --quiet attach-device "$1" <(guest_region "$dax") --live || return
	# What an earlier guest made of it is there before it can be opened.
	for _ in $(seq 20); do
		answer=$(guest cmd "$1" fill 7)
		[ "$answer" = "error open" ] || break
		sleep 0.5
	done
	echo "$answer"
}

state()
{
	virsh domstate --reason "$1" | head -n 1
}

stopped()
{
	[[ $(state "$1") = paused* ]]
}

# Hundredths of a second that the machine's processors have used.
used()
{
	awk '{ print $14 + $15 }' "/proc/$(cat "/run/libvirt/qemu/$1.pid")/stat"
}

# failures COUNT: so many memory failures libvirt has told of.
failures()
{
	[ "$(grep -c memory-failure /run/lab-events)" -ge "$1" ]
}

revoked()
{
	[ "$(cat "$device/revoke_state")" = revoked ]
}

is "$(lend g1)" ok "a guest writes to the device"
patched=
[ ! -e "$device/revoke" ] || patched=yes
echo "$dax" >"$driver/unbind"
answer=$(GUEST_TIMEOUT=20 guest cmd g1 check 7 2>&1)
if [ -n "$patched" ]; then
	succeeds "removed: the touch stops the machine" wait_for 20 stopped g1
	diag "$(state g1)"
else
	like "$answer" "no answer" "without the patches: the touch never returns"
	like "$(state g1)" "^running" "without the patches: libvirt says that the machine runs"
	before=$(used g1)
	sleep 4
	succeeds "without the patches: it burns its processor" \
		[ $(($(used g1) - before)) -gt 100 ]
	echo "$dax" >"$driver/bind"
	is "$(lend g3)" ok "bound again, the next guest writes to the device"
	is "$(guest cmd g1 fill 9)" ok "without the patches: and the old one, too"
	like "$(guest cmd g3 check 7)" "^differ" \
		"without the patches: over what the next one has written"
	plan
fi
guest stop g1
echo "$dax" >"$driver/bind"

# Before the guest is there: who comes to listen after the failure hears nothing.
timeout 300 stdbuf -oL virsh event --loop --event memory-failure >/run/lab-events 2>&1 &
is "$(lend g2)" ok "another guest writes to the device"
cat "$device/generation" >"$device/revoke"
succeeds "revoked" wait_for 20 revoked
# For nothing nobody can wait.
sleep 2
fails "that alone tells nobody" failures 1
cat "$device/generation" >"$device/revoke_notify"
succeeds "early notice: libvirt tells of a memory failure that nobody has touched" wait_for 20 failures 1
is "$(guest cmd g2 ping)" pong "the guest lives on"
like "$(guest cmd g2 check 7)" "^sigbus" "revoked: the guest's process gets SIGBUS"
is "$(guest cmd g2 ping)" pong "the guest lives on"
like "$(state g2)" "^running" "its machine runs"
succeeds "libvirt tells of a memory failure again" wait_for 20 failures 2
echo "$dax" >"$driver/unbind"
echo "$dax" >"$driver/bind"
is "$(lend g3)" ok "bound again, the next guest writes to the device"
like "$(guest cmd g2 fill 9)" "^sigbus" "the old guest's writing still gets SIGBUS"
is "$(guest cmd g3 check 7)" ok "what the next one has written is as it was"
is "$(guest cmd g2 ping)" pong "and the guest lives on"
plan

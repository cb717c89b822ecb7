#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel newest --survive --with ../splats --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
# lab: --kernel-arg memmap=1G%5G-1+0xefffffff --kernel-arg memhp_default_state=offline
#
# The bugs of patches 2 and 5, which no cell of the stale-access matrix is about: there on a kernel without the patches, gone with
# them. By itself: on the newest kernel, whether they are still there.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

tests=/usr/local/lib/lab/patches
dax=$(lab-region 64M region1) || exit 1
mended=
[ ! -e "/sys/bus/dax/devices/$dax/revoke" ] || mended=yes
[ -n "$mended" ] || lab-allow-splat .
diag "$(uname -r), patched: ${mended:-no}"

# resizable: the device of a region of dax_hmem, whose devices can have other sizes, bound to device_dax
resizable()
{
	local device name

	modprobe -a dax_hmem device_dax 2>/dev/null
	for device in /sys/bus/dax/devices/*; do
		name=${device##*/}
		[[ $(readlink -f "$device") == *hmem* ]] || continue
		[ ! -e /sys/bus/dax/drivers/kmem/"$name" ] || echo "$name" >/sys/bus/dax/drivers/kmem/unbind
		[ -e /sys/bus/dax/drivers/device_dax/"$name" ] || echo "$name" >/sys/bus/dax/drivers/device_dax/new_id
		[ -e /sys/bus/dax/drivers/device_dax/"$name" ] && echo "$name" && return
	done
	return 1
}

# shown OUTPUT PART WHAT: with the patches the program's line with PART is ok, and without them it is not
shown()
{
	local line

	line=$(grep -F "$2" <<<"$1")
	if [ -n "$mended" ]; then
		like "$line" "^ok " "$3: mended"
	else
		like "$line" "^not ok " "$3: the bug is there"
	fi
}

output=$(timeout -k 5 300 "$tests/04-cdev" "$dax" 2>&1)
diag "$output"
shown "$output" "a hundred times" "patch 5, a descriptor that outlives its binding"
[ -n "$mended" ] || like "$(dmesg)" "refcount_t: underflow" "patch 5: a reference too many is dropped"

# The lab's own kernels have no EFI, and so none.
if hmem=$(resizable); then
	output=$(timeout -k 5 400 "$tests/01-region-lock" "$hmem" 2>&1)
	diag "$output"
	shown "$output" "while the device shrinks: comes to an end" "patch 2, a mapping is read while its device shrinks"
	shown "$output" "while the region is unbound: comes to an end" "patch 2, a size is written while its region is unbound"
else
	skip "patch 2" "on this kernel no device can be resized (CONFIG_EFI_SOFT_RESERVE, CONFIG_DEV_DAX_HMEM)"
fi
plan

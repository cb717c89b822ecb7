#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What a guest has flushed to a block device is on the media: the power is cut right behind the flush. The device is known again by its
# bytes, without being named.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

modprobe loop
file=/var/lib/lab/loop.img
reload() { busctl --timeout=30 call "$bus" /org/pmemlease1 "$bus.Manager" Reload >/dev/null; }

if [ "$LAB_BOOT" -eq 1 ]; then
	truncate -s 32M "$file"
	sync -f "$file"
	loop=$(losetup -f --show "$file")
	mkdir -p /etc/pmemlease/pmemleased.conf.d
	printf '[Regions]\nBlockDevices=%s\n' "$loop" >/etc/pmemlease/pmemleased.conf.d/block.conf
	reload
	guest start g1 || exit 1
	succeeds "adopt" pmemlease adopt "${loop##*/}" "$(guest uuid g1)"
	succeeds "lease" pmemlease lease "${loop##*/}" g1 --allow-destroy
	is "$(guest cmd g1 "write 23")" ok "the guest writes all of it, and flushes"
	power_cut
fi

loop=$(losetup -f --show "$file")
name=${loop##*/}
reload
succeeds "the device is a region again: its bytes are known" wait_region 20 "$name" Presence online
succeeds "nobody of the time before has it" wait_region 20 "$name" Use free
is "$(region_get "$name" Content)" retained "its data is retained"
guest start g1 || exit 1
succeeds "lease it to the same owner" pmemlease lease "$name" g1 --allow-destroy
is "$(guest cmd g1 "compare 23")" ok "every byte that was flushed is there"
journal_tail 10
plan

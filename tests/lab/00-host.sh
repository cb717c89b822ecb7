#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The emulated host itself: what every other test here relies on, and the kernel's bug that this
# project lives with until it is mended.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

driver=/sys/bus/dax/drivers/device_dax

host_devices()
{
	succeeds "KVM can be used" test -c /dev/kvm
	succeeds "libvirtd answers" virsh --quiet uri
	is "$(systemctl --failed --plain --no-legend | wc -l)" 0 "no unit has failed"
	dax=$(lab-region 384M)
	like "$dax" '^dax[0-9]+\.[0-9]+$' "a devdax namespace is made"
	is "$(daxctl list -d "$dax" | jq -r '.[0].mode')" devdax "daxctl sees it"
	is "$(daxctl list -d "$dax" | jq -r '.[0].target_node')" 1 "it is on a node of its own"
}

guest_with_region()
{
	local start

	start=$(now_msec)
	succeeds "a guest starts" guest start g1
	diag "guest start: $(($(now_msec) - start)) ms"
	is "$(guest cmd g1 ping)" pong "its worker answers"
	guest_region "$dax" >region.xml
	succeeds "a region is plugged into it" virsh attach-device g1 region.xml
	like "$(guest cmd g1 info)" '^/dev/pmem1 [0-9]+$' "the guest sees it"
	is "$(guest cmd g1 zero)" ok "it is blank"
	is "$(guest cmd g1 fill 7)" ok "the guest fills it"
	is "$(guest cmd g1 check 7)" ok "the guest reads it back"
	is "$(guest cmd g1 check 8)" "differ 0" "it has not what it was not given"
	like "$(guest cmd g1 zero)" '^nonzero ' "it is no longer blank"
	is "$(guest cmd g1 spin 1)" ok "a writer starts in the guest"
	like "$(guest cmd g1 spun)" '^[0-9]+ running$' "it runs"
	like "$(guest cmd g1 stop)" '^ok [1-9][0-9]*$' "it has written and is gone"
	guest cmd g1 fill 9 >/dev/null
	holder_start reader map "/dev/$dax"
	like "$(holder_ask reader touch 8388608)" '^value 0x[0-9a-f]{9,}$' "the host sees its bytes"
	holder_end reader
	succeeds "the guest stops" guest stop g1
}

# Each way of holding on: refused while the device is unbound, let in again after the next bind.
stale_mappings()
{
	local other mode

	# The bind below counts references from one again, although there are some.
	lab-allow-splat 'refcount_t: (underflow|saturated)|at lib/refcount\.c:'
	other=$(lab-region 128M)
	for mode in map fd-closed fork; do
		holder_start "$mode" "$mode" "/dev/$other"
	done
	is "$(holder_ask map write 0x1111)" ok "a tenant writes"
	is "$(holder_ask fork touch)" "value 0x1111" "its child reads"
	echo "$other" >"$driver/unbind"
	for mode in map fd-closed fork; do
		is "$(holder_ask "$mode" touch)" SIGBUS "unbound: $mode is refused"
	done
	echo "$other" >"$driver/bind"
	holder_start tenant map "/dev/$other"
	is "$(holder_ask tenant write 0x2222)" ok "bound again: the next tenant writes"
	for mode in map fd-closed fork; do
		is "$(holder_ask "$mode" touch)" "value 0x2222" \
			"the kernel's bug: $mode reads the next tenant's memory"
	done
	for mode in map fd-closed fork tenant; do
		holder_end "$mode"
	done
	for mode in passed-fd in-flight; do
		holder_start "$mode" "$mode" "/dev/$other"
		is "$(holder_ask "$mode" touch)" "value 0x2222" "$mode reads"
		holder_end "$mode"
	done
}

before_power_cut()
{
	echo kept >/var/lib/lab/kept
	echo kept >/var/lib/pmemlease/kept
	echo lost >/root/lost
	sync
	power_cut
}

after_power_cut()
{
	is "$(cat /var/lib/lab/kept /var/lib/pmemlease/kept)" $'kept\nkept' \
		"after a power cut: the data disk is as it was"
	fails "after a power cut: the root is fresh" test -e /root/lost
	dax=$(ndctl list -N -m devdax | jq -r 'max_by(.size).chardev')
	is "$(guest start g1 && virsh --quiet attach-device g1 <(guest_region "$dax") >/dev/null &&
		guest cmd g1 check 9)" ok "after a power cut: the region's content too"
	is "$(virsh domuuid g1 | head -n 1)" "$(guest uuid g1)" "the guest is the same one"
	rm /var/lib/pmemlease/kept
}

if [ "$LAB_BOOT" -eq 1 ]; then
	host_devices
	guest_with_region
	stale_mappings
	before_power_cut
else
	after_power_cut
fi
plan

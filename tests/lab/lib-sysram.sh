# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# For the scripts about memory of the host (system-ram): $dax is the device, lib-pmemlease.sh is there.

# A namespace, as an operator makes memory of the host of it: sets $dax, and $blocks_before, the memory blocks without it.
sysram_begin()
{
	dax=$(ndctl create-namespace -m devdax -M mem -a 2M -f -r region0 | jq -er '.daxregion.devices[0].chardev')
	wait_region 20 "$dax" Presence online
	# shellcheck disable=SC2034 # for the scripts
	blocks_before=$(memory_blocks)
	make_sysram
	wait_region 20 "$dax" Kind sysram
}

# libvirtd learns the NUMA nodes when it starts.
sysram_known()
{
	systemctl restart libvirtd
	wait_for 60 connected
}

# What an operator does with daxctl reconfigure-device, and what it needs of the kernel.
make_sysram()
{
	modprobe kmem
	echo "$dax" >/sys/bus/dax/drivers/device_dax/unbind
	echo "$dax" >/sys/bus/dax/drivers/device_dax/remove_id 2>/dev/null
	echo "$dax" >/sys/bus/dax/drivers/kmem/new_id
	busctl call "$bus" /org/pmemlease1 "$bus.Manager" Reload >/dev/null
}

driver()
{
	basename "$(readlink "/sys/bus/dax/devices/$dax/driver")"
}

memory_blocks()
{
	find /sys/devices/system/memory -maxdepth 1 -name 'memory[0-9]*' | wc -l
}

system_ram()
{
	grep -c 'System RAM (kmem)' /proc/iomem
}

# What QEMU has bound to the node, in KiB.
bound()
{
	local pages

	pages=$(awk '/ bind:1 / || / bind:1$/ { for (i = 3; i <= NF; i++) if (sub(/^N1=/, "", $i)) n += $i } END { print n + 0 }' \
		"/proc/$(qemu_pid "$1")/numa_maps")
	echo $((pages * 4))
}

# guest_kib NAME: grows and shrinks a moment behind libvirt's word.
guest_kib()
{
	guest cmd "$1" memory
}

guest_has()
{
	[ "$(guest_kib "$1")" -ge "$2" ]
}

guest_has_less()
{
	[ "$(guest_kib "$1")" -lt "$2" ]
}

hogged()
{
	local count word

	read -r count word < <(guest cmd g1 hogged)
	[ "$word" = ok ] && [ "$count" -ge "$1" ]
}

# What QEMU has of memory, in KiB.
qemu_kib()
{
	awk '/^VmSize/ { print $2 }' "/proc/$(qemu_pid "$1")/status"
}

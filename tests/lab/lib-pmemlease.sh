# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For the scripts in tests/lab/ that use the service: what the bus says of regions and leases. The command's own
# output is tested where it is the subject; everything else asks the bus.

bus=org.pmemlease1

bus_call()
{
	busctl --json=short --timeout=60 call "$bus" "$@" | jq -r '.data[0]'
}

# region_get NAME PROPERTY
region_get()
{
	local path

	path=$(bus_call /org/pmemlease1 "$bus.Manager" GetRegion s "$1") || return 1
	busctl --json=short get-property "$bus" "$path" "$bus.Region" "$2" | jq -r '.data | if type == "array" then join("; ") else . end'
}

# lease_get REGION PROPERTY: of the region's lease that is not released
lease_get()
{
	local path

	path=$(bus_call /org/pmemlease1 "$bus.Manager" GetLease s "$1") || return 1
	busctl --json=short get-property "$bus" "$path" "$bus.Lease" "$2" | jq -r '.data'
}

region_is()
{
	[ "$(region_get "$1" "$2")" = "$3" ]
}

# wait_region SECONDS NAME PROPERTY VALUE
wait_region()
{
	wait_for "$1" region_is "$2" "$3" "$4" && return 0
	diag "$2: $3 is '$(region_get "$2" "$3" 2>&1)', not '$4'"
	return 1
}

# Runs a command that must fail; prints its stderr and "status N".
refusal()
{
	local status=0 output

	output=$("$@" 2>&1) || status=$?
	printf '%s\nstatus %d\n' "$output" "$status"
}

# The daemon has libvirt, and so has virsh.
connected()
{
	[ "$(busctl --json=short get-property "$bus" /org/pmemlease1 "$bus.Manager" LibvirtConnected | jq .data)" = true ] &&
		virsh list >/dev/null
}

# Both daemons and the machines that are started from here on, in their profiles; fails where the kernel has no AppArmor.
# libvirt confines machines when its own profile is loaded as it starts; and it starts none of the lab's guests then, whose
# kernel is below /usr/lib: bare_start's are those.
confine()
{
	local profiles=/etc/apparmor.d

	[ -d /sys/kernel/security/apparmor ] || return 1
	apparmor_parser -r $profiles/usr.lib.libvirt.virt-aa-helper $profiles/usr.sbin.libvirtd $profiles/pmemleased || return 1
	systemctl restart libvirtd.service pmemleased.service
	wait_for 60 connected
}

# machine_label DOMAIN
machine_label()
{
	cat "/proc/$(qemu_pid "$1")/attr/current"
}

# What AppArmor denied the daemon, or it with a machine, but for what a test has provoked.
denied()
{
	journalctl -q --grep 'apparmor="DENIED".*(profile="pmemleased"|profile="libvirt-.*peer="pmemleased")' -o cat | grep -vE '/etc/shadow|comm="(cat|aa-exec|chown)"' || true
}

journal_tail()
{
	journalctl -q -u pmemleased.service -o short-precise -n "${1:-40}" --no-pager | sed 's/^/# /'
}

# The QEMU process of a domain.
qemu_pid()
{
	cat "/run/libvirt/qemu/$1.pid"
}

# A machine without an operating system: enough for everything that the guest itself takes no part in, and up at once.
# bare_define NAME [XML OF FURTHER DEVICES]
bare_define()
{
	local name=$1 more=${2:-} uuid

	uuid=$(guest uuid "$name")
	truncate -s 2M "/run/$name.nvdimm"
	chmod 666 "/run/$name.nvdimm"
	virsh --quiet define /dev/stdin <<-XML
		<domain type='kvm'>
		  <name>$name</name><uuid>$uuid</uuid>
		  <memory unit='MiB'>34</memory><maxMemory slots='8' unit='GiB'>128</maxMemory><vcpu>1</vcpu>
		  <os><type arch='x86_64' machine='q35'>hvm</type></os>
		  <features><acpi/></features>
		  <cpu mode='host-passthrough'>
		    <feature policy='disable' name='xsave'/><feature policy='disable' name='avx'/>
		    <numa><cell id='0' cpus='0' memory='32' unit='MiB'/></numa>
		  </cpu>
		  <on_reboot>destroy</on_reboot>
		  <devices>
		    <controller type='usb' model='none'/><memballoon model='none'/>
		    <controller type='pci' model='pcie-root'/><controller type='pci' model='pcie-root-port'/>
		    <memory model='nvdimm' access='shared'>
		      <source><path>/run/$name.nvdimm</path></source>
		      <target><size unit='MiB'>2</size><node>0</node></target>
		    </memory>
		    $more
		  </devices>
		</domain>
	XML
}

# bare_start NAME
bare_start()
{
	bare_define "$1"
	virsh --quiet start "$1"
}

# A region as a memory device in a domain's XML. region_memory NAME
region_memory()
{
	cat <<-XML
		<memory model='nvdimm' access='shared'>
		  <source><path>/dev/$1</path><alignsize unit='KiB'>$(($(region_get "$1" Align) / 1024))</alignsize><pmem/></source>
		  <target><size unit='KiB'>$(($(region_get "$1" Size) / 1024))</size><node>0</node></target>
		</memory>
	XML
}

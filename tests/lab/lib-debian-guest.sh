# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# A guest that is a whole Debian with a real guest agent, for the scripts in tests/lab/ whose head says
# "# lab: --debian-guest". Its root is what the emulated host's is made of; a disk that is a tar archive brings the rest:
#	debian_define NAME [XML OF FURTHER DEVICES]	$debian_conf: what is said in guest-release.conf
#	debian_start NAME				returns when its agent answers
#	debian_run NAME WORD...				runs a program in it by its agent: its output and status
#	debian_agent NAME JSON				one command to its agent

debian_dir=/run/lab-debian
debian_conf=

debian_payload()
{
	local name=$1 stage=$debian_dir/$1.stage

	rm -rf "$stage"
	mkdir -p "$stage/etc/systemd/system" "$stage/lab"
	cp /usr/local/lib/lab/guest.deb "$stage/lab/"
	printf '%s\n' "$debian_conf" >"$stage/lab/guest-release.conf"
	cat >"$stage/etc/systemd/system/guest.target" <<-UNIT
		[Unit]
		Requires=sysinit.target
		After=sysinit.target
		AllowIsolate=yes
	UNIT
	cat >"$stage/etc/systemd/system/writer.service" <<-UNIT
		[Unit]
		DefaultDependencies=no
		[Service]
		ExecStart=/usr/local/bin/writer /srv/pmem/data /dev/virtio-ports/lab.acknowledged
	UNIT
	tar -C "$stage" --owner=0 --group=0 -cf "$debian_dir/$name.tar" .
	truncate -s %512 "$debian_dir/$name.tar"
	rm -rf "$stage"
}

debian_define()
{
	local name=$1 more=${2:-} features=

	# As in host/guest.
	! grep -q /kvm.ko "/usr/lib/modules/$(uname -r)/modules.builtin" ||
		features="<feature policy='disable' name='tsc-deadline'/>"
	mkdir -p "$debian_dir"
	chmod 777 "$debian_dir"
	debian_payload "$name"
	truncate -s 2M "$debian_dir/$name.nvdimm"
	chmod 666 "$debian_dir/$name".*
	virsh --quiet define /dev/stdin <<-XML
		<domain type='kvm'>
		  <name>$name</name><uuid>$(guest uuid "$name")</uuid>
		  <memory unit='MiB'>514</memory><maxMemory slots='16' unit='GiB'>128</maxMemory><vcpu>1</vcpu>
		  <os>
		    <type arch='x86_64' machine='q35'>hvm</type>
		    <kernel>/usr/lib/modules/vmlinuz</kernel>
		    <initrd>/usr/local/lib/lab/debian.initrd</initrd>
		    <cmdline>console=ttyS0 loglevel=5 panic=-1 random.trust_cpu=on mitigations=off no_timer_check tsc=reliable audit=0 systemd.unit=guest.target systemd.show_status=0</cmdline>
		  </os>
		  <features><acpi/></features>
		  <cpu mode='host-passthrough'>
		    <feature policy='force' name='succor'/><feature policy='force' name='overflow-recov'/>
		    <feature policy='disable' name='xsave'/><feature policy='disable' name='avx'/>$features
		    <numa><cell id='0' cpus='0' memory='512' unit='MiB'/></numa>
		  </cpu>
		  <on_reboot>destroy</on_reboot>
		  <devices>
		    <controller type='usb' model='none'/><memballoon model='none'/>
		    <controller type='pci' model='pcie-root'/>
		    $(printf "<controller type='pci' model='pcie-root-port'/>%.0s" 1 2 3 4 5 6)
		    <disk type='block' device='disk'>
		      <driver name='qemu' type='raw' cache='unsafe'/>
		      <source dev='/dev/disk/by-id/virtio-lab-guest'/><target dev='vda' bus='virtio'/>
		    </disk>
		    <disk type='file' device='disk'>
		      <driver name='qemu' type='raw'/>
		      <source file='$debian_dir/$name.tar'/><target dev='vdb' bus='virtio'/><readonly/>
		    </disk>
		    <serial type='file'><source path='$debian_dir/$name.log'/><target type='isa-serial' port='0'/></serial>
		    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
		    <channel type='file'>
		      <source path='$debian_dir/$name.acknowledged'/><target type='virtio' name='lab.acknowledged'/>
		    </channel>
		    <memory model='nvdimm' access='shared'>
		      <source><path>$debian_dir/$name.nvdimm</path></source>
		      <target><size unit='MiB'>2</size><node>0</node></target>
		    </memory>
		    $more
		  </devices>
		</domain>
	XML
}

debian_agent()
{
	virsh --quiet qemu-agent-command "$1" "$2" --timeout 20
}

debian_answers()
{
	! debian_is_off "$1" || return 0
	debian_agent "$1" '{"execute":"guest-ping"}'
}

debian_is_off()
{
	[ "$(virsh domstate "$1" | head -n 1)" = "shut off" ]
}

debian_start()
{
	# Its process is gone before libvirt has done with it.
	wait_for 30 debian_is_off "$1"
	# libvirt leaves its labels on files that consoles and channels write to, and refuses them then.
	rm -f "$debian_dir/$1".{log,acknowledged}
	: >"$debian_dir/$1.acknowledged"
	chmod 666 "$debian_dir/$1.acknowledged"
	virsh --quiet start "$1" || return 1
	wait_for "${2:-300}" debian_answers "$1" && debian_agent "$1" '{"execute":"guest-ping"}' >/dev/null && return 0
	tail -n 60 "$debian_dir/$1.log" | sed 's/^/# /'
	return 1
}

debian_run()
{
	local name=$1 pid answer
	shift

	pid=$(debian_agent "$name" "$(jq -cn '{execute: "guest-exec", arguments:
		{path: $ARGS.positional[0], arg: $ARGS.positional[1:], "capture-output": true}}' --args -- "$@")" |
		jq -r .return.pid) || return 125
	while :; do
		answer=$(debian_agent "$name" "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}") || return 125
		[ "$(jq -r .return.exited <<<"$answer")" = false ] || break
		sleep 0.2
	done
	jq -rj '.return["out-data"] // "" | @base64d' <<<"$answer"
	jq -rj '.return["err-data"] // "" | @base64d' <<<"$answer" | sed 's/^/# /' >&2
	return "$(jq -r '.return.exitcode // 126' <<<"$answer")"
}

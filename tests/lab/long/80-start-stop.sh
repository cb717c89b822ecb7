#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab: --timeout 1800
#
# The life of a machine that has a region: every way in which it ends or goes on, what is left to it after a fence, what becomes of
# it when libvirtd or the daemon stops, dies or hangs, and machines that start by themselves after a power cut.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

uuid=$(guest uuid b1)
hook=/etc/libvirt/hooks/qemu.d/pmemlease

lease_is()
{
	[ "$(lease_get "$dax" State)" = "$1" ]
}

machine_is()
{
	[ "$(virsh domstate b1 | head -n 1)" = "$1" ]
}

# It ended in a lease that is active, or in none.
settled_start()
{
	region_is "$dax" Use free || lease_is active
}

# free_again NAME: whatever became of the machine, its data is its own and nobody has the region.
free_again()
{
	succeeds "$1: the region is free" wait_region 120 "$dax" Use free
	is "$(region_get "$dax" Content) $(region_get "$dax" Owner)" "retained $uuid" "$1: the data is the machine's own"
}

started()
{
	succeeds "$1: started" virsh --quiet start b1
	succeeds "$1: with a lease" lease_is active
}

if [ "$LAB_BOOT" -eq 2 ]; then
	dax=$(ndctl list -X | jq -r '.[].daxregion.devices[0].chardev')
	wait_region 60 "$dax" Use free
	# The root file system is new: what libvirt would have started at this boot it starts now, with the daemon not yet there.
	bare_define b1 "$(region_memory "$dax")"
	virsh --quiet autostart b1
	systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service pmemleased.service
	rm -f /run/libvirt/qemu/autostarted
	systemctl start --no-block libvirtd.service pmemleased.service
	succeeds "autostarted after a power cut: the region is leased" wait_for 60 lease_is active
	succeeds "autostarted after a power cut: the machine runs" wait_for 30 machine_is running
	plan
fi

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
pmemlease adopt "$dax" "$uuid" >/dev/null
bare_define b1 "$(region_memory "$dax")"
virsh dumpxml --inactive b1 | sed 's,<on_reboot>destroy<,<on_reboot>restart<,' >b1.xml
virsh --quiet define b1.xml

# --- how it ends, and goes on ---
started "crash"
kill -KILL "$(qemu_pid b1)"
free_again "crash"

started "reset"
pid=$(qemu_pid b1)
succeeds "reset: done" virsh --quiet reset b1
is "$(qemu_pid b1)" "$pid" "reset: the same process"
succeeds "reset: the lease goes on" lease_is active

succeeds "dump: done" virsh --quiet dump --memory-only b1 /var/tmp/b1.dump
succeeds "dump: the lease goes on" lease_is active
rm -f /var/tmp/b1.dump

succeeds "save: done" virsh --quiet save b1 /var/tmp/b1.save
free_again "save"
succeeds "restore: done" virsh --quiet restore /var/tmp/b1.save
succeeds "restore: with a lease" lease_is active
virsh --quiet undefine b1
succeeds "undefined while it runs: the lease goes on" lease_is active
virsh --quiet destroy b1
free_again "undefined"

virsh --quiet define b1.xml
succeeds "renamed" virsh --quiet domrename b1 b9
succeeds "renamed: it starts" virsh --quiet start b9
is "$(lease_get "$dax" DomainName)" b9 "renamed: the lease has the new name"
is "$(lease_get "$dax" Domain)" "$uuid" "renamed: and the same UUID"
virsh --quiet destroy b9
free_again "renamed"
virsh --quiet domrename b9 b1

sed "s,$uuid,$(guest uuid b2),; s,<name>b1<,<name>b2<," b1.xml >b2.xml
like "$(refusal "$hook" b2 migrate begin - <b2.xml)" "$uuid.*status 1" "a machine that would migrate to somebody else's data is refused"
rm -f /var/tmp/b1.save

# --- the guest's own word ---
succeeds "guest: the region is scrubbed for it" pmemlease scrub "$dax" --discard="$uuid"
GUEST_ON_REBOOT=restart guest start g1 || exit 1
answers()
{
	GUEST_TIMEOUT=5 guest cmd g1 ping
}
succeeds "guest: leased" pmemlease lease "$dax" g1
is "$(guest cmd g1 "fill 3")" ok "guest: it writes"
pid=$(qemu_pid g1)
GUEST_TIMEOUT=1 guest cmd g1 reboot >/dev/null 2>&1
succeeds "guest: rebooted, it answers" wait_for 120 answers
is "$(qemu_pid g1)" "$pid" "guest: rebooted in the same process"
succeeds "guest: rebooted, the lease goes on" lease_is active
is "$(guest cmd g1 "check 3")" ok "guest: rebooted, its data is there"
GUEST_TIMEOUT=1 guest cmd g1 poweroff >/dev/null 2>&1
succeeds "guest: powered off, the region is free" wait_region 120 "$dax" Use free
is "$(region_get "$dax" Owner)" "$(guest uuid g1)" "guest: powered off, the data is its own"
pmemlease scrub "$dax" --discard="$(guest uuid g1)" >/dev/null

# --- a user's own libvirt ---
useradd --create-home --groups kvm tenant
install -d -o tenant -m 700 /run/tenant
cat >/tmp/session.xml <<-XML
	<domain type='qemu'>
	  <name>mine</name><memory unit='MiB'>34</memory><maxMemory slots='8' unit='GiB'>8</maxMemory><vcpu>1</vcpu>
	  <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
	  <cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB'/></numa></cpu>
	  <devices><controller type='usb' model='none'/><memballoon model='none'/>$(region_memory "$dax")</devices>
	</domain>
XML
like "$(refusal runuser -u tenant -- env HOME=/home/tenant XDG_RUNTIME_DIR=/run/tenant virsh -c qemu:///session create /tmp/session.xml)" \
	"of qemu:///system only, not of qemu:///session" "qemu:///session is refused with a sentence"

# --- after a fence ---
# fenced NAME: started, and its region taken away from it
fenced()
{
	started "$1"
	succeeds "$1: evicted" pmemlease evict "$dax" --deadline=0
	succeeds "$1: fenced" lease_is fenced
	like "$(lease_get "$dax" Warnings)" "reset, saved, dumped or migrated now, it fails or QEMU ends" "$1: the lease warns"
}

# journal_since SECONDS-OF-THE-EPOCH WORDS
journal_since()
{
	journalctl -q -u pmemleased.service --since "@$1" --grep "$2"
}

for verb in reset resume save dump; do
	words=("$verb" b1)
	case $verb in
	save) words+=(/var/tmp/b1.save) ;;
	dump) words+=(/var/tmp/b1.dump --memory-only) ;;
	esac
	since=$(date +%s)
	fenced "fenced, $verb"
	succeeds "fenced, $verb: the journal warns" wait_for 20 journal_since "$since" "reset, saved, dumped or migrated now, it fails or QEMU ends"
	did=$(refusal timeout 60 virsh --quiet "${words[@]}")
	diag "virsh ${words[*]}: ${did//$'\n'/ }"
	case $verb in
	reset) succeeds "fenced, reset: told with the reason" wait_for 20 journal_since "$since" "was reset without region $dax" ;;
	resume) succeeds "fenced, resume: told with the reason" wait_for 20 journal_since "$since" "was resumed without region $dax" ;;
	save)
		like "$did" "error: .*status 1" "fenced, save: fails"
		succeeds "fenced, save: told with the reason" wait_for 20 journal_since "$since" "ended .* after region $dax had been taken"
		;;
	dump) like "$did" "error: .*status 1" "fenced, dump: fails" ;;
	esac
	like "$(region_get "$dax" Use)" "^(evicted|free)$" "fenced, $verb: not lent while the machine may hold it"
	virsh --quiet destroy b1 2>/dev/null
	free_again "fenced, $verb"
	rm -f /var/tmp/b1.*
done
fenced "fenced, kept offline"
virsh --quiet destroy b1
wait_region 60 "$dax" Use free
pmemlease evict "$dax" --deadline=0 --keep-offline >/dev/null
like "$(refusal virsh start b1)" "readmit" "fenced, kept offline: the next start is refused with the reason"
succeeds "fenced, kept offline: readmitted" pmemlease readmit "$dax"

# --- libvirtd ---
started "libvirtd"
systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service
succeeds "libvirtd stopped: the lease goes on" lease_is active
systemctl start libvirtd.socket libvirtd.service
succeeds "libvirtd started: the machine runs" wait_for 30 machine_is running
succeeds "libvirtd started: the lease goes on" lease_is active
systemctl kill --signal=KILL libvirtd.service
succeeds "libvirtd killed: the machine runs" wait_for 60 machine_is running
succeeds "libvirtd killed: the lease goes on" lease_is active
pid=$(systemctl show -P MainPID libvirtd.service)
kill -STOP "$pid"
kill -KILL "$(qemu_pid b1)"
succeeds "libvirtd hangs while the machine dies: the region is free without it" wait_region 60 "$dax" Use free
kill -CONT "$pid"
succeeds "libvirtd goes on: and knows" wait_for 60 machine_is "shut off"

# --- the daemon hangs ---
bare_define b3
before=$(now_msec)
virsh --quiet start b3
usual=$(($(now_msec) - before))
virsh --quiet destroy b3
pid=$(systemctl show -P MainPID pmemleased.service)
kill -STOP "$pid"
before=$(now_msec)
succeeds "the daemon hangs: a machine without a region starts" virsh --quiet start b3
took=$(($(now_msec) - before))
diag "usually $usual ms, now $took ms"
succeeds "the daemon hangs: at most 5 s later than usual" test $((took - usual)) -lt 6500
virsh --quiet destroy b3
kill -CONT "$pid" 2>/dev/null
wait_region 60 "$dax" Presence online
started "the daemon goes on"
virsh --quiet destroy b1
free_again "the daemon goes on"

# --- libvirtd is killed between the grant and the machine's process ---
virsh --quiet start b1 &
start=$!
wait_for 30 lease_is attaching
systemctl kill --signal=KILL libvirtd.service
wait "$start"
succeeds "libvirtd killed in a start: the lease follows what libvirt then says" wait_for 150 settled_start
settled=$(lease_get "$dax" State 2>/dev/null)
diag "the start ended as: ${settled:-no lease}"
virsh --quiet destroy b1 2>/dev/null
free_again "libvirtd killed in a start"

started "for the power cut"
power_cut

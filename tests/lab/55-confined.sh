#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel-arg audit=1
#
# What the daemon gives up of root's power, by its unit and by its AppArmor profile; and that it does all of its work with
# what is left.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

unit=/usr/lib/systemd/system/pmemleased.service

exposure=$(systemd-analyze security --no-pager pmemleased.service | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
succeeds "systemd-analyze security: $exposure is at most 2.5" awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 2.5) }'

# --- the unit: a shell in the daemon's place tries what the daemon must not be able to do ---
sed -e 's/^Type=.*/Type=oneshot/' -e 's|^ExecStart=.*|ExecStart=-/bin/bash /run/pmemlease/probe|' \
	-e '/^\(BusName\|NotifyAccess\|ExecReload\|Restart.*\|WatchdogSec\|Alias\|StateDirectory.*\)=/d' \
	-e 's/^RuntimeDirectory.*=.*//' "$unit" >/run/systemd/system/confined-probe.service
cat >/run/pmemlease/probe <<'PROBE'
try() { local what=$1; shift; if "$@" >/dev/null 2>&1; then echo "can $what"; else echo "cannot $what"; fi; }
exec >/run/pmemlease/probed
try "read /proc/1/maps" cat /proc/1/maps
try "read a page map" dd if=/proc/1/pagemap bs=8 count=1
try "write to sysfs" bash -c 'echo 10 >/sys/block/vda/queue/read_ahead_kb || echo 10 >/sys/devices/virtual/bdi/0:1/read_ahead_kb || [ -w /sys/bus/dax/drivers/device_dax/unbind ]'
try "freeze" test -w /sys/fs/cgroup/cgroup.procs
try "open a block device" dd if=/dev/vda of=/dev/null bs=512 count=1
try "open a dax device" bash -c ': <>/dev/dax'"$(ls /dev | sed -n 's/^dax//p' | head -n 1)"
try "open /dev/mem" bash -c ': </dev/mem'
try "open /dev/kvm" bash -c ': <>/dev/kvm'
try "make a node for /dev/mem" bash -c 'mknod /run/pmemlease/mem c 1 1 && : </run/pmemlease/mem'
try "write to /etc" touch /etc/probe
try "write to /usr" touch /usr/probe
try "write to /proc/sys" bash -c 'echo 1 >/proc/sys/kernel/sysrq'
try "press SysRq" bash -c 'echo h >/proc/sysrq-trigger'
try "write to /sys/kernel" bash -c 'echo 0 >/sys/kernel/profiling'
try "see what is in /root" bash -c '[ -n "$(ls -A /root)" ]'
try "use another network than lo" bash -c 'ls /sys/class/net | grep -v lo; grep -v -e lo: -e "|" /proc/net/dev'
try "open an internet socket" bash -c ': </dev/udp/127.0.0.1/9'
try "signal a process of another user" kill -0 "$(pidof dbus-daemon)"
try "load a module" modprobe dummy
try "mount" mount -t tmpfs none /run/pmemlease
try "unshare" unshare --user true
try "give the host's files away" chown 1 /etc/hostname /root /usr/bin/true /proc/sys/kernel/sysrq /sys/kernel/profiling
PROBE
systemctl daemon-reload
dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
systemctl start confined-probe.service
probed=$(cat /run/pmemlease/probed)
diag "$probed"
for what in "read /proc/1/maps" "read a page map" "write to sysfs" freeze "open a block device" "open a dax device" "signal a process of another user"; do
	succeeds "a shell in the daemon's place can $what" grep -qx "can $what" <<<"$probed"
done
for what in "open /dev/mem" "open /dev/kvm" "make a node for /dev/mem" "write to /etc" "write to /usr" "write to /proc/sys" "press SysRq" \
	"write to /sys/kernel" "see what is in /root" "use another network than lo" "open an internet socket" \
	"load a module" mount unshare "give the host's files away"; do
	succeeds "it cannot $what" grep -qx "cannot $what" <<<"$probed"
done

# --- the profile ---
if [ -d /sys/kernel/security/apparmor ]; then
	succeeds "the AppArmor profiles load, libvirt's too" confine
	pid=$(systemctl show -P MainPID pmemleased.service)
	is "$(cat "/proc/$pid/attr/current")" "pmemleased (enforce)" "the daemon is confined"
	succeeds "a program in its profile reads /proc" aa-exec -p pmemleased -- /bin/cat /proc/1/maps
	like "$(aa-exec -p pmemleased -- /bin/cat /etc/shadow 2>&1)" "denied" "and no other files, as root"
	touch /root/probe
	like "$(aa-exec -p pmemleased -- /bin/chown 1 /root/probe 2>&1)" "denied" "and gives none of root's away"
	if wait_for 30 journalctl -q --grep 'apparmor="DENIED".*/etc/shadow' >/dev/null; then
		ok "what is denied is logged"
	else
		skip "what is denied is logged" "no word of it in the journal; the last test says less then"
	fi
else
	diag "this kernel has no AppArmor"
fi

# --- and everything works ---
none_online()
{
	! pmemlease --no-legend regions | grep -qw online
}

bare_start b1
[ ! -d /sys/kernel/security/apparmor ] || like "$(machine_label b1)" "^libvirt-.*enforce" "a machine is confined by libvirt"
succeeds "scrub" pmemlease scrub "$dax" --discard=
succeeds "lease" pmemlease lease "$dax" b1
succeeds "evict" pmemlease evict "$dax" --deadline=0
is "$(lease_get "$dax" State)" fenced "fenced, with its proof"
is "$(virsh domstate b1 | head -n 1)" paused "its machine is paused"
virsh --quiet destroy b1
succeeds "free when the machine is gone" wait_region 30 "$dax" Use free
succeeds "verify" pmemlease verify "$dax"
ndctl destroy-namespace -f "$(ndctl list -X | jq -r --arg d "$dax" '.[] | select(any(.daxregion.devices[]?; .chardev == $d)) | .dev')" >/dev/null
# Its bytes are shown as missing, under which name depends on what a scan saw while ndctl was at it.
succeeds "the kernel's events are heard" wait_for 20 none_online
other=$(lab-region 64M)
succeeds "and those of a new device" wait_region 20 "$other" Presence online
mkdir -p /run/pmemlease/pmemleased.conf.d /usr/lib/pmemlease/pmemleased.conf.d /etc/pmemlease/pmemleased.conf.d
printf '[Evict]\nDeadlineMax=20s\nDeadline=10s\n' >/usr/lib/pmemlease/pmemleased.conf.d/10-a.conf
printf '[Evict]\nDeadlineMax=40s\nDeadline=10s\n' >/run/pmemlease/pmemleased.conf.d/10-a.conf
succeeds "systemctl reload" systemctl reload pmemleased.service
like "$(refusal pmemlease evict "$other" --deadline=50s)" "at most 40 s" "/run comes before /usr/lib"
echo 'DeadlineMax=x' >/etc/pmemlease/pmemleased.conf.d/90-bad.conf
fails "systemctl reload fails on a bad file" systemctl reload pmemleased.service
succeeds "and the journal says where" journalctl -q -u pmemleased.service --grep "90-bad.conf:1: "

# A machine that libvirt does not end is killed.
modprobe loop
truncate -s 48M /var/lib/libvirt/images/loop.img
loop=$(losetup -f --show /var/lib/libvirt/images/loop.img)
pmemlease adopt "$loop" "$(guest uuid b1)" >/dev/null
bare_start b1
succeeds "a block device is leased" pmemlease lease "${loop##*/}" b1 --allow-destroy
kill -STOP "$(systemctl show -P MainPID libvirtd.service)"
json=$(pmemlease --json evict "${loop##*/}" --deadline=0)
kill -CONT "$(systemctl show -P MainPID libvirtd.service)"
is "$(jq -r '.job.result' <<<"$json")" "done" "and taken back while libvirtd hangs, by killing its machine"
wait_for 60 connected

is "$(denied)" "" "AppArmor had nothing to deny"
journal_tail 15
plan

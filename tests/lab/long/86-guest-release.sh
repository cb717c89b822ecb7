#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A guest that is a whole Debian is asked for its memory: it lets go and loses nothing, refuses, cannot be asked, does not
# answer, lies. Each region is one case, so that the guest boots seldom.
# lab: --debian-guest --timeout 1800 --kernel-arg nokaslr
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh
# shellcheck source=tests/lab/lib-debian-guest.sh
. ./lib-debian-guest.sh

owner=$(guest uuid d1)

# a_region: sets $dax, leased to the guest, and $block, its device there
a_region()
{
	local before

	dax=$(lab-region 64M)
	wait_region 20 "$dax" Presence online
	pmemlease adopt "$dax" "$owner" >/dev/null
	lend "$@"
}

# Its own device in the guest is the newest one.
lend()
{
	local before after

	before=$(blocks)
	pmemlease lease "$dax" d1 "$@" || return 1
	wait_for 60 new_block "$before"
	after=$(blocks)
	block=$(comm -13 <(echo "$before") <(echo "$after") | tail -n 1)
	diag "$dax is $block in the guest"
}

blocks()
{
	debian_run d1 sh -c 'ls -d /dev/pmem*' | sed '/^$/d' | sort
}

new_block()
{
	[ "$(blocks)" != "$1" ]
}

acknowledged()
{
	tail -n 1 "$debian_dir/d1.acknowledged"
}

# Behind what was acknowledged before, of another file.
writes_lines()
{
	[ "$(wc -l <"$debian_dir/d1.acknowledged")" -gt "$1" ]
}

writes_more()
{
	[ "$(($(acknowledged)))" -gt "$1" ]
}

# warns PATTERN: the lease says that its guest could not be asked, and why
warns()
{
	lease_get "$dax" Warnings | grep -q "could not be asked.*$1"
}

runs()
{
	is "$(virsh domstate d1 | head -n 1)" running "$1: the guest runs"
	is "$(debian_run d1 echo well)" well "$1: and answers"
}

# evict NAME DEADLINE EXPECTED-ERROR: an eviction that ends by force
forced()
{
	local name=$1 deadline=$2 error=$3 before json

	before=$(now_msec)
	json=$(pmemlease --json evict "$dax" --deadline="$deadline")
	is "$(jq -r .job.result <<<"$json")" "done" "$name: evicted"
	is "$(jq -r .job.error <<<"$json")" "org.pmemlease1.Error.$error" "$name: and told what came of asking"
	diag "$(jq -r .job.message <<<"$json")"
	succeeds "$name: the guest had its time" test $(($(now_msec) - before)) -ge $((${deadline%s} * 1000))
	succeeds "$name: and no more" test $(($(now_msec) - before)) -lt $((${deadline%s} * 1000 + 20000))
	is "$(lease_get "$dax" State)" fenced "$name: fenced"
	is "$(region_get "$dax" Binding)" none "$name: unbound"
	is "$(virsh domstate d1 | head -n 1)" paused "$name: the guest is paused"
	virsh --quiet resume d1
}

debian_conf=$'Stop=writer.service\nUnmount=/srv/pmem'
debian_define d1
before=$(now_msec)
succeeds "the guest is up" debian_start d1 || { plan; }
diag "after $(($(now_msec) - before)) ms"

# --- it lets go under load, and nothing that it has acknowledged is lost ---
a_region
busy=$dax
fails "the lease of a guest that can be asked warns of nothing" warns ""
debian_run d1 sh -c "mkfs.ext4 -q $block && mkdir -p /srv/pmem && mount $block /srv/pmem && systemctl start writer.service" >/dev/null
succeeds "a busy writer" wait_for 60 writes_more 50
before=$(now_msec)
json=$(pmemlease --json evict "$dax" --deadline=120s)
is "$(jq -r .job.result <<<"$json")" "done" "asked under load: evicted"
is "$(jq -r .job.error <<<"$json")" "" "and nothing else is to be told than …"
like "$(jq -r .job.message <<<"$json")" "let go by itself, and runs on" "that it let go"
diag "in $(($(now_msec) - before)) ms; $(jq -c '[.job.phases[] | {(.name): .usec}] | add' <<<"$json")"
is "$(lease_get "$dax" State)" fenced "fenced"
is "$(jq -r .proof.verdict <<<"$json")" unreachable "and proved"
last=$(acknowledged)
diag "the last record that was acknowledged: $last"
runs "released"
is "$(debian_run d1 systemctl is-active writer.service)" inactive "the writer was stopped"
is "$(debian_run d1 sh -c 'grep -c /srv/pmem /proc/mounts || :')" 0 "and its file system unmounted"
scope=/sys/fs/cgroup$(cut -d: -f3 "/proc/$(qemu_pid d1)/cgroup" | sed 's,\.scope/.*,.scope,')
succeeds "not frozen" grep -q '^frozen 0' "$scope/cgroup.events"
like "$(pmemlease history "$dax")" "its guest let go" "the history has it"

# --- nothing uses it: no configuration is needed ---
a_region
json=$(pmemlease --json evict "$dax" --deadline=60s)
like "$(jq -r .job.message <<<"$json")" "let go by itself" "an idle device is let go of"
runs "idle"

# --- a refusal: kept by policy, then changed ---
a_region --on-refusal=keep
debian_run d1 sh -c "mkfs.ext4 -q $block && mkdir -p /srv/other && mount $block /srv/other" >/dev/null
like "$(refusal pmemlease evict "$dax" --deadline=60s)" "/srv/other.*guest-release.conf.*status 4" "a refusal reaches the caller, with its reason"
like "$(refusal pmemlease release "$dax" --deadline=60s --drain=ask --on-refusal=keep)" "/srv/other.*status 4" "and the tenant who releases"
is "$(lease_get "$dax" State)" active "the lease goes on"
is "$(region_get "$dax" Binding)" device-dax "and the region is where it was"
runs "refused"
succeeds "its file system is still there" debian_run d1 touch /srv/other/still-there
# Somebody in the guest ends it while the eviction waits without end.
pmemlease evict "$dax" --deadline=infinity --on-refusal=force --no-wait
refused()
{
	pmemlease jobs | grep -q "refused: "
}
succeeds "the refusal is shown while it waits" wait_for 60 refused
debian_run d1 umount /srv/other >/dev/null
succeeds "unmounted: asked again, and let go" wait_for 60 region_is "$dax" Use evicted
runs "let go later"

# --- held by a process that nobody may stop ---
a_region --on-refusal=keep
debian_run d1 systemd-run --quiet --unit=holder sh -c "exec sleep 1000 <$block" >/dev/null
like "$(refusal pmemlease evict "$dax" --deadline=60s)" "held by sleep.*status 4" "who holds it is named"
succeeds "the holder is left alone" debian_run d1 systemctl is-active --quiet holder.service
debian_run d1 systemctl stop holder.service >/dev/null

# --- a block device under load: nothing is lost, nor destroyed that let go by itself ---
modprobe loop
truncate -s 48M /var/lib/lab/loop.img
loop=$(losetup -f --show /var/lib/lab/loop.img)
disk=${loop##*/}
pmemlease adopt "$loop" "$owner" >/dev/null
dax=$disk
lend --allow-destroy
debian_run d1 sh -c "mkfs.ext4 -q $block && mount $block /srv/pmem && systemctl start writer.service" >/dev/null
succeeds "a busy writer on a block device" wait_for 60 writes_lines $(($(wc -l <"$debian_dir/d1.acknowledged") + 50))
pmemlease evict "$disk" --deadline=40s --no-wait
waits_for_end()
{
	pmemlease jobs | grep -q "waiting for its end"
}
succeeds "a block device is let go of, and its machine's end waited for" wait_for 60 waits_for_end
last_block=$(acknowledged)
diag "the last record of it that was acknowledged: $last_block"
sleep 41
runs "a block device, behind its deadline"
is "$(lease_get "$disk" State)" draining "and its lease waits"

# --- what the first one had acknowledged is there when its guest has the region again ---
debian_run d1 systemctl poweroff >/dev/null
succeeds "the guest powers off: the region is free" wait_region 120 "$busy" Use free
for region in $(pmemlease --json regions | jq -r '.regions[] | select(.use != "free") | .name'); do
	wait_region 30 "$region" Use free
done
succeeds "the guest is up again" debian_start d1 || { plan; }
dax=$busy
lend
debian_run d1 sh -c "mkdir -p /srv/pmem && mount -o ro $block /srv/pmem" >/dev/null
checked=$(debian_run d1 writer --check /srv/pmem/data "$last")
like "$checked" "^ok [0-9]+" "every acknowledged record is there, whole: $last, and it has ${checked#ok }"
succeeds "let go of again" pmemlease evict "$dax" --deadline=60s
dax=$disk
lend --allow-destroy
debian_run d1 mount -o ro "$block" /srv/pmem >/dev/null
checked=$(debian_run d1 writer --check /srv/pmem/data "$last_block")
like "$checked" "^ok [0-9]+" "of the block device, too: $last_block, and it has ${checked#ok }"
debian_run d1 umount /srv/pmem >/dev/null

# --- the agent hangs ---
a_region
# shellcheck disable=SC2016 # for the guest's shell
debian_run d1 systemd-run --quiet --on-active=1 sh -c 'agent=$(pidof qemu-ga); kill -STOP $agent; sleep 45; kill -CONT $agent' >/dev/null
silent()
{
	! debian_answers d1
}
wait_for 60 silent
forced "an agent that hangs" 9s GuestSilent
succeeds "the agent is back" wait_for 120 debian_answers d1

# --- the program in the guest hangs ---
a_region
program=/usr/libexec/pmemlease/guest-release
replaced()
{
	debian_run d1 sh -c "printf '#!/bin/sh\n%s\n' '$1' >$program.new && chmod 755 $program.new && mv $program.new $program" >/dev/null
}
replaced "exec sleep 600"
forced "a program that hangs" 5s GuestSilent

# --- it is not there ---
a_region
debian_run d1 rm $program >/dev/null
forced "no guest package" 5s NoGuestAgent

# --- it lies: a process goes on writing ---
a_region
replaced 'echo "{\"result\":\"released\"}"'
debian_run d1 systemd-run --quiet --unit=liar sh -c "while :; do dd if=/dev/zero of=$block bs=1M count=32 oflag=direct; done" >/dev/null
json=$(pmemlease --json evict "$dax" --deadline=60s)
is "$(jq -r .job.result <<<"$json")" "done" "a liar: evicted"
is "$(jq -r .job.error <<<"$json")" org.pmemlease1.Error.GuestLied "a liar: found out"
is "$(jq -r .proof.verdict <<<"$json")" unreachable "a liar: proved all the same"
diag "$(jq -r .job.message <<<"$json")"
paused()
{
	[ "$(virsh domstate d1 | head -n 1)" = paused ]
}
succeeds "a liar: paused, instead of spinning" wait_for 30 paused
virsh --quiet destroy d1

# --- no channel, and an agent that may run nothing ---
bare_start b1
dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
pmemlease adopt "$dax" "$(guest uuid b1)" >/dev/null
like "$(refusal pmemlease lease --size=64G b1)" "None of [0-9]+ regions.*smaller, the biggest of" "none is that big: said of all of them"
like "$(pmemlease lease --size=32M b1)" "Note: .*could not be asked.*org.qemu.guest_agent.0" "a machine without a channel: the lease says so, with the mend"
is "$(lease_get "$dax" DomainName)" b1 "the region is the one that has its data"
like "$(pmemlease doctor)" "b1 could not be asked for region $dax" "and doctor"
json=$(pmemlease --json evict "$dax" --deadline=1s)
is "$(jq -r .job.error <<<"$json")" org.pmemlease1.Error.NoGuestAgent "a machine without a channel has no agent"
like "$(jq -r .job.message <<<"$json")" "org.qemu.guest_agent.0" "and the mend is told"
virsh --quiet destroy b1

succeeds "the guest is up once more" debian_start d1 || { plan; }
a_region
debian_run d1 sh -c 'mkdir -p /etc/qemu && printf "[general]\nblock-rpcs=guest-exec\n" >/etc/qemu/qemu-ga.conf; systemd-run --quiet --on-active=1 systemctl restart qemu-guest-agent.service' >/dev/null
blocked()
{
	debian_answers d1 && ! debian_run d1 true 2>/dev/null
}
wait_for 60 blocked
succeeds "guest-exec blocked: the lease warns of it" wait_for 30 warns "may not run programs"
forced "guest-exec blocked" 5s GuestAgentBlocked

journal_tail 15
plan

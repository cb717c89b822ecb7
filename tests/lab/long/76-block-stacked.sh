#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab: --disk 64M
#
# A disk that its host grows and shrinks; and block devices above and below others: a logical volume is a region, what it lies on is
# none; nor is a disk that md has.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

modprobe -a loop dm_mod raid1
for i in 0 1 2; do
	truncate -s 96M "/var/lib/lab/stack$i.img"
	disk[i]=$(losetup -f --show "/var/lib/lab/stack$i.img")
done

reload() { busctl --timeout=30 call "$bus" /org/pmemlease1 "$bus.Manager" Reload >/dev/null; }
gone() { ! kill -0 "$1" 2>/dev/null; }
obstacles_of() { region_get "${1##*/}" Obstacles; }

# --- a disk ---
spare=$(basename "$(readlink -f /dev/disk/by-id/virtio-lab-spare)")
mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Regions]\nBlockDevices=/dev/disk/by-id/virtio-lab-spare\n' >/etc/pmemlease/pmemleased.conf.d/block.conf
reload
is "$(region_get "$spare" Kind)" bdev "a disk is a region"
like "$(region_get "$spare" Extent)" "^disk:lab-spare" "known by its serial number"
owner=$(guest uuid b1)
pmemlease adopt "$spare" "$owner" >/dev/null
bare_start b1
succeeds "disk: lease" pmemlease lease "$spare" b1 --allow-destroy
lab resize-disk 80M
succeeds "disk: grown, it is seen" wait_region 20 "$spare" Size $((80 << 20))
is "$(lease_get "$spare" State)" active "disk: grown, its lease goes on"
pid=$(qemu_pid b1)
lab resize-disk 32M
succeeds "disk: shrunk below the end of its lease, the machine is ended" wait_for 30 gone "$pid"
succeeds "disk: and the region is free" wait_region 20 "$spare" Use free
is "$(region_get "$spare" Size)" $((32 << 20)) "disk: of its new size"
is "$(region_get "$spare" Owner)" "$owner" "disk: what is left is its owner's"

# --- LVM ---
pvcreate -q "${disk[0]}" >/dev/null
vgcreate -q lab "${disk[0]}" >/dev/null
lvcreate -q -y -Wn -Zn -L 32M -n lv lab >/dev/null
udevadm settle
lv=$(basename "$(readlink -f /dev/lab/lv)")
printf '[Regions]\nBlockDevices=/dev/lab/lv %s\n' "${disk[*]}" >/etc/pmemlease/pmemleased.conf.d/block.conf
reload
is "$(region_get "$lv" Kind)" bdev "a logical volume is a region"
like "$(region_get "$lv" Extent)" "^dm:LVM-" "whose bytes are its own"
like "$(obstacles_of "${disk[0]}")" "device mapper or md" "the physical volume below it is refused with the reason"

pmemlease adopt "$lv" "$owner" >/dev/null
bare_start b1
succeeds "lease" pmemlease lease "$lv" b1 --allow-destroy
is "$(lease_get "$lv" State)" active "active"
succeeds "QEMU maps it" grep -q "/dev/$lv" "/proc/$(qemu_pid b1)/maps"
fails "the host cannot mount it meanwhile" mount /dev/lab/lv /mnt
fails "nor is it removed" lvremove -q -f lab/lv
succeeds "extended: done" lvextend -q -L 40M lab/lv
succeeds "extended: seen" wait_region 10 "$lv" Size $((40 << 20))
is "$(lease_get "$lv" State)" active "extended: its lease goes on"
pid=$(qemu_pid b1)
before=$(now_msec)
succeeds "reduced below the end of its lease: done" lvreduce -q -f -y -L 16M lab/lv
succeeds "reduced: the machine is ended" wait_for 15 gone "$pid"
diag "reduced; the machine was gone after $(($(now_msec) - before)) ms"
succeeds "reduced: and the region is free" wait_region 20 "$lv" Use free
is "$(region_get "$lv" Owner)" "$owner" "reduced: what is left is its owner's"

wait_for 20 bare_start b1
succeeds "lease it again" pmemlease lease "$lv" b1 --allow-destroy
succeeds "evict" pmemlease evict "$lv" --deadline=0
is "$(virsh domstate b1 | head -n 1)" "shut off" "the machine is destroyed"
proof=$(pmemlease --json proof "$lv")
is "$(jq -r .verdict <<<"$proof")" clear "the proof is clear"
succeeds "free" wait_region 20 "$lv" Use free

# --- another one with its name: the tenant's bytes may be in it ---
succeeds "removed when it is free" lvremove -q -f lab/lv
lvcreate -q -y -Wn -Zn -L 16M -n lv lab >/dev/null
udevadm settle
reload
lv=$(basename "$(readlink -f /dev/lab/lv)")
is "$(region_get "$lv" Content)" foreign "made again with its name: another region, and of nobody knows what"
like "$(refusal pmemlease lease "$lv" b1 --allow-destroy)" "adopt|scrub.*status [1-9]" "which is not lent as it is"
lvremove -q -f lab/lv
vgremove -q lab >/dev/null
pvremove -q "${disk[0]}" >/dev/null
reload
like "$(obstacles_of "${disk[0]}")" "^Nobody knows whose data it holds" "taken apart: the disk could be a region"

# --- md ---
mdadm --quiet --create /dev/md/lab --run --assume-clean --level=1 --raid-devices=2 --metadata=1.2 "${disk[1]}" "${disk[2]}"
udevadm settle
reload
for i in 1 2; do
	like "$(obstacles_of "${disk[i]}")" "device mapper or md" "a disk of md's is refused with the reason (${disk[i]##*/})"
done
like "$(refusal pmemlease lease "${disk[1]##*/}" b1 --allow-destroy)" "device mapper or md.*status [1-9]" "nor is it lent"
mdadm --quiet --stop /dev/md/lab
mdadm --quiet --zero-superblock "${disk[1]}" "${disk[2]}"
reload
like "$(obstacles_of "${disk[2]}")" "^Nobody knows whose data it holds" "stopped: it could be a region"
journal_tail 15
plan

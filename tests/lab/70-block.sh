#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Block devices: what is refused, a lease as virtio-pmem, the rung `destroy` with its proof, a scrub, a resize, a device that leaves.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

modprobe loop
file=/var/lib/lab/loop.img
truncate -s 48M "$file"
loop=$(losetup -f --show "$file")
name=${loop##*/}

# A partition of a namespace in fsdax mode: 16 MiB behind the first one.
pmem=/dev/$(ndctl create-namespace -m fsdax -M mem -s 64M -f | jq -r .blockdev)
{
	head -c 446 /dev/zero
	printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\200\0\0'
	head -c 48 /dev/zero
	printf '\125\252'
} | dd of="$pmem" conv=notrunc status=none
partx -u "$pmem"
udevadm settle
part=${pmem##*/}p1

reload() { busctl --timeout=30 call "$bus" /org/pmemlease1 "$bus.Manager" Reload >/dev/null; }
# resize_first DISK MIB: BLKPG_RESIZE_PARTITION of the partition that begins at 1 MiB, as resizepart does it.
resize_first()
{
	perl -e '
		open(F, "<", $ARGV[0]) or die;
		$p = pack("q q i a64 a64 x4", 1 << 20, $ARGV[1] << 20, 1, "", "");
		$arg = pack("i i i x4 P", 3, 0, length $p, $p);
		ioctl(F, 0x1269, $arg) or die $!;' "$@"
}
gone() { ! kill -0 "$1" 2>/dev/null; }
fenced_and_over()
{
	pmemlease --json history "$1" -n 100 |
		jq -e '[.history[] | select(.kind == "lease").to] | index("fenced") and index("released")' >/dev/null
}

fails "a block device that nobody named is no region" pmemlease status "$name"
mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Regions]\nBlockDevices=%s /dev/%s\n' "$loop" "$part" >/etc/pmemlease/pmemleased.conf.d/block.conf
reload
is "$(region_get "$name" Kind)" bdev "one that the configuration names is"
is "$(region_get "$name" FenceLevel)" destroy "it can only be taken back by destroying"
like "$(region_get "$name" Extent)" "^file:" "its bytes are its file's"
like "$(region_get "$part" Extent)" "^(iset:|phys)" "those of a partition of /dev/pmemN are the media's"

# --- refused, with the reason ---
mkfs.ext4 -q "$loop" && mount "$loop" /mnt
reload
like "$(region_get "$name" Obstacles)" "is mounted" "a mounted one is refused"
umount /mnt
blockdev --setro "$loop"
reload
like "$(region_get "$name" Obstacles)" "read-only" "a read-only one"
blockdev --setrw "$loop"
swapoff -a
mkswap -q "$loop" 2>/dev/null && swapon "$loop"
reload
like "$(region_get "$name" Obstacles)" "swaps" "one that is swapped on"
swapoff "$loop"
dmsetup create above --table "0 2048 linear $loop 0"
reload
like "$(region_get "$name" Obstacles)" "device mapper" "one that the device mapper has"
dmsetup remove above
coproc exclusive { perl -MFcntl -e 'sysopen(F, $ARGV[0], O_RDONLY | O_EXCL) or die; $| = 1; print "open\n"; <STDIN>' "$loop"; }
read -r _ <&"${exclusive[0]}"
reload
like "$(region_get "$name" Obstacles)" "opened the block device exclusively" "one that somebody has opened exclusively"
echo >&"${exclusive[1]}"
# shellcheck disable=SC2154
wait "$exclusive_PID"
reload
like "$(region_get "$name" Obstacles)" "^Nobody knows whose data it holds" "nothing else is left in the way"

# --- lease ---
owner=$(guest uuid g1)
guest start g1 || exit 1
succeeds "adopt" pmemlease adopt "$name" "$owner"
like "$(refusal pmemlease lease "$name" g1)" "allow-destroy.*status 4" "without the consent to destroy there is no lease"
succeeds "with it there is" pmemlease lease "$name" g1 --allow-destroy
is "$(lease_get "$name" State)" active "active"
is "$(lease_get "$name" Model)" virtio-pmem "as virtio-pmem"
like "$(lease_get "$name" Warnings)" "destroying the machine" "the lease says what taking it back costs"
doctor=$(pmemlease doctor)
like "$doctor" "rung destroy alone" "so does doctor, of all block devices"
like "$doctor" "lent to g1, and taking it back destroys" "and of this one"
fails "the host cannot mount it meanwhile" mount "$loop" /mnt
fails "nor put the device mapper above it" dmsetup create above --table "0 2048 linear $loop 0"
is "$(guest cmd g1 "write 5")" ok "the guest writes to it, and flushes"
is "$(guest cmd g1 "compare 5")" ok "and reads it back"
is "$(od -An -tu8 -N8 -j16 "$file" | tr -d ' ')" 7 "what it flushed is in the file"

# --- grown: announced, and nothing else ---
pmemlease monitor >/run/monitor &
monitor=$!
wait_for 10 test -s /run/monitor
truncate -s 64M "$file"
losetup -c "$loop"
succeeds "a device that grows is seen" wait_region 10 "$name" Size $((64 << 20))
succeeds "and announced" wait_for 10 grep -q "resized from 48M to 64M" /run/monitor
kill "$monitor"
is "$(lease_get "$name" State)" active "its lease goes on"

# --- evict ---
pid=$(qemu_pid g1)
succeeds "evict" pmemlease evict "$name" --deadline=0
succeeds "the domain is gone" gone "$pid"
is "$(virsh domstate g1 | head -n 1)" "shut off" "libvirt says so, too"
proof=$(pmemlease --json proof "$name")
is "$(jq -r .rung <<<"$proof")" destroy "by the rung destroy"
is "$(jq -r .verdict <<<"$proof")" clear "the proof is clear"
is "$(jq -r .cached_bytes <<<"$proof")" 0 "nothing of it is left in the page cache"
succeeds "it is free" wait_region 20 "$name" Use free
is "$(region_get "$name" Content)" foreign "of its bytes those that it grew by are nobody's"
truncate -s 48M "$file"
losetup -c "$loop"
succeeds "small again" wait_region 10 "$name" Size $((48 << 20))
is "$(region_get "$name" Content)" retained "it holds g1's data"

# --- another tenant ---
guest start g2 || exit 1
like "$(refusal pmemlease lease "$name" g2 --allow-destroy)" "scrub.*status 4" "another tenant is refused"
succeeds "scrub" pmemlease scrub "$name" --discard="$owner"
is "$(region_get "$name" Content)" blank "blank"
fails "nothing but zeroes is in the file" grep -qaP '[^\0]' "$file"
succeeds "then it is lent to another" pmemlease lease "$name" g2 --allow-destroy
is "$(guest cmd g2 zero)" ok "who reads nothing but zeroes"

# --- shrunk below the end of the lease: the kernel tells after it has happened ---
pid=$(qemu_pid g2)
truncate -s 24M "$file"
before=$(now_msec)
losetup -c "$loop"
succeeds "a device that shrinks under its lease: the machine is ended" wait_for 15 gone "$pid"
diag "shrunk; the machine was gone after $(($(now_msec) - before)) ms"
succeeds "and the region is free" wait_region 20 "$name" Use free

# --- libvirt does not answer: killed by its pidfd ---
bare_start b1
succeeds "adopt the partition" pmemlease adopt "$part" "$(guest uuid b1)"
succeeds "lease it" pmemlease lease "$part" b1 --allow-destroy
pid=$(qemu_pid b1)
libvirtd=$(systemctl show -P MainPID libvirtd.service)
kill -STOP "$libvirtd"
succeeds "evict while libvirtd is stopped" pmemlease evict "$part" --deadline=0
succeeds "the machine was killed" gone "$pid"
kill -CONT "$libvirtd"
is "$(pmemlease --json proof "$part" | jq -r .verdict)" clear "and the proof is clear"
succeeds "free" wait_region 20 "$part" Use free

# --- a partition is resized under its lease: of this the kernel says nothing at all ---
wait_for 20 bare_start b1
succeeds "lease it again" pmemlease lease "$part" b1 --allow-destroy
pid=$(qemu_pid b1)
before=$(now_msec)
resize_first "$pmem" 8
succeeds "a partition that shrinks under its lease: the machine is ended" wait_for 15 gone "$pid"
diag "shrunk; the machine was gone after $(($(now_msec) - before)) ms"
succeeds "and the region is free" wait_region 20 "$part" Use free
resize_first "$pmem" 16
succeeds "a partition that grows is seen, too" wait_region 10 "$part" Size $((16 << 20))
is "$(region_get "$part" Content)" retained "and has its past again"

# --- it leaves ---
wait_for 20 bare_start b1
succeeds "lease it again" pmemlease lease "$part" b1 --allow-destroy
pid=$(qemu_pid b1)
fails "a partition that is lent cannot be deleted" partx -d --nr 1 "$pmem"
fails "nor is the table read again" blockdev --rereadpt "$pmem"
driver=$(readlink -f "/sys/block/${pmem##*/}/device/driver")
device=$(basename "$(readlink -f "/sys/block/${pmem##*/}/device")")
echo "$device" >"$driver/unbind"
succeeds "a device that leaves takes its machine with it" wait_for 15 gone "$pid"

# --- it leaves while no daemon is there ---
echo "$device" >"$driver/bind"
succeeds "it is back, and free" wait_region 20 "$part" Use free
wait_for 20 bare_start b1
succeeds "lease it again" pmemlease lease "$part" b1 --allow-destroy
pid=$(qemu_pid b1)
lease=$(lease_get "$part" Id)
systemctl stop pmemleased.service
echo "$device" >"$driver/unbind"
systemctl start pmemleased.service
succeeds "the daemon ends its machine when it starts" wait_for 15 gone "$pid"
succeeds "and needs no device to prove that it has" wait_for 15 fenced_and_over "$lease"
echo "$device" >"$driver/bind"
succeeds "free when it is back" wait_region 20 "$part" Use free
journal_tail 30
plan

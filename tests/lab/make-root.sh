#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# make-root.sh MIRROR APT-CONF OUT: makes OUT/host.img, the root file system of the emulated host:
# Debian 13 whatever the machine is, without a kernel; and OUT/qemu/, the QEMU of the same Debian,
# which emulates it. Runs as root.
set -euo pipefail
umask 022

suite=trixie
packages=(
	systemd systemd-sysv systemd-container udev dbus polkitd kmod iproute2 procps util-linux
	libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86
	ndctl daxctl libndctl6 libdaxctl1 libpmem2 libsqlite3-0 libjson-c5 libsmartcols1 libxml2
	libinih1 libkmod2
	qemu-guest-agent apparmor socat strace fdisk e2fsprogs dmsetup lvm2 mdadm qemu-utils jq sqlite3
)

# What only costs boot time in a machine that lives for a minute, or fails in it harmlessly. Profiles of AppArmor are loaded
# by the test that is about them.
masked=(
	getty.target getty@tty1.service serial-getty@ttyS0.service serial-getty@ttyS1.service
	console-getty.service ndctl-monitor.service daxdev-reconfigure@.service
	apt-daily.timer apt-daily-upgrade.timer
	dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
	systemd-timesyncd.service systemd-networkd.service systemd-networkd.socket
	systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-update-done.service
	ldconfig.service systemd-binfmt.service systemd-random-seed.service
	systemd-boot-random-seed.service systemd-update-utmp.service systemd-rfkill.socket
	lvm2-monitor.service lvm2-lvmpolld.socket dm-event.socket blk-availability.service
	mdcheck_start.timer mdcheck_continue.timer mdmonitor-oneshot.timer mdadm-shutdown.service
	apparmor.service libvirt-guests.service virtlockd.socket virtlockd-admin.socket
)

mirror=$1 apt_conf=$2 out=$3 tree=$3/tree

mmdebstrap --mode=root --variant=minbase --format=directory --include="${packages[*]}" \
	--aptopt="$apt_conf" --aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	"$suite" "$tree" "deb $mirror $suite main"

# A fixed machine-id: without one systemd takes every boot for a first boot.
echo 5c1f0a4e6d0b4a6f9f6b1d5c2a7e3f10 >"$tree/etc/machine-id"
echo pmemlease-host >"$tree/etc/hostname"
echo "127.0.0.1 localhost pmemlease-host" >"$tree/etc/hosts"
: >"$tree/etc/fstab"
# Guests' consoles go to files by QEMU itself: one daemon less to start.
echo 'stdio_handler = "file"' >>"$tree/etc/libvirt/qemu.conf"
mkdir -p "$tree/etc/systemd/journald.conf.d" "$tree/var/lib/pmemlease" "$tree/var/lib/lab"
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' \
	>"$tree/etc/systemd/journald.conf.d/lab.conf"
# By its own systemctl: a container that runs this may have none.
chroot "$tree" systemctl --quiet mask "${masked[@]}"
rm -f "$tree"/etc/libvirt/qemu/networks/autostart/*

# The emulator is taken from here too: up to QEMU 8.0 a processor may run an instruction after
# another one has replaced it, which crashes a kernel that patches itself, as it does whenever the
# first KVM guest starts; and 7.2 leaves wrong flags after cmpxchg16b.
mkdir -p "$out/qemu/lib" "$out/qemu/share"
cp "$tree/usr/bin/qemu-system-x86_64" "$out/qemu/"
chroot "$tree" ldd /usr/bin/qemu-system-x86_64 | grep -o '/[^ ]*' | sort -u |
	while read -r library; do
	cp -L "$tree$library" "$out/qemu/lib/"
done
cp -L "$tree"/usr/share/qemu/*.{bin,rom} "$tree"/usr/share/seabios/*.bin "$out/qemu/share/"

size=$(($(du -sm "$tree" | cut -f1) + 1024))
mke2fs -q -t ext4 -O ^has_journal -m 0 -E lazy_itable_init=1,root_owner=0:0 -L lab-root \
	-d "$tree" "$out/host.img" "${size}M"
rm -rf --one-file-system "$tree"
chown -R "${SUDO_UID:-0}:${SUDO_GID:-0}" "$out"

#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# build-deb.sh VERSION OUT: makes OUT/pmemlease-guest_VERSION_all.deb, which is for the virtual
# machines, not for their host.
set -eu
umask 022

version=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
stage=$(mktemp -d)
chmod 755 "$stage"
trap 'rm -rf "$stage"' EXIT

install -D -m 755 "$here/guest-release" "$stage/usr/libexec/pmemlease/guest-release"
install -D -m 644 "$here/guest-release.conf" "$stage/etc/pmemlease/guest-release.conf"
mkdir "$stage/DEBIAN"
echo /etc/pmemlease/guest-release.conf >"$stage/DEBIAN/conffiles"
cat >"$stage/DEBIAN/control" <<-CONTROL
	Package: pmemlease-guest
	Version: $version
	Architecture: all
	Maintainer: the pmemlease developers <pmemlease@localhost>
	Section: admin
	Priority: optional
	Depends: mount, util-linux
	Recommends: qemu-guest-agent
	Description: lets go of persistent memory that the host wants back
	 The program that pmemleased has QEMU's guest agent run: it stops and unmounts what its
	 configuration names, and disables the memory device.
CONTROL
mkdir -p "$out"
dpkg-deb --root-owner-group --build "$stage" "$out/pmemlease-guest_${version}_all.deb" >/dev/null

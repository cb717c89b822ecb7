# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2034
#
# libvirt's modular daemon for QEMU, for the tests that run it in the place of libvirtd. Debian builds it, and packages it not
# (debian/not-installed of its source package), so it is made of that source package: the program and its units alone, which run on
# the libraries and drivers of the emulated host's own packages.

virtqemud_options=(
	--buildtype=debugoptimized --prefix=/usr --libdir=lib/x86_64-linux-gnu --sysconfdir=/etc --localstatedir=/var
	-Drunstatedir=/run -Dsystem=false -Dauto_features=disabled -Dtests=disabled -Ddocs=disabled
	-Ddriver_libvirtd=enabled -Ddriver_remote=enabled -Ddriver_qemu=enabled
	-Djson_c=enabled -Dlibnl=enabled -Dpolkit=enabled -Dinit_script=systemd
	-Dqemu_user=libvirt-qemu -Dqemu_group=libvirt-qemu
)

# Sets $virtqemud_dir (installed/, laid over the root file system). What is there once stays: within a Debian release libvirt's
# version, which program and library must share, does not change.
virtqemud_get()
{
	setup_virtqemud_packages
	cache_make virtqemud "$({
		setup_suites
		cat "$lab/virtqemud.sh"
	} | hash_of)" "building virtqemud" virtqemud_make
	virtqemud_dir=$cached
}

virtqemud_make()
{
	local out=$1 patch file installed=$1/installed

	setup_apt_private "$out/apt"
	sed -n 's/^deb \[arch=amd64 /deb-src [/p' "$out/apt/sources.list" >"$out/apt/sources"
	cat "$out/apt/sources" >>"$out/apt/sources.list"
	apt_private update
	# Signatures of the upstream authors, which some mirrors lack, are not needed: apt checks sums that Debian has signed.
	(cd "$out" && apt_private source --download-only --tar-only libvirt)
	(cd "$out" && apt_private source --download-only --diff-only libvirt)
	mkdir "$out/source"
	tar -x -C "$out/source" --strip-components=1 -f "$out"/libvirt_*.orig.tar.xz
	tar -x -C "$out/source" -f "$out"/libvirt_*.debian.tar.xz
	grep -v '^#' "$out/source/debian/patches/series" | while read -r patch; do
		patch -d "$out/source" -p1 -s -f --no-backup-if-mismatch <"$out/source/debian/patches/$patch"
	done
	meson setup "${virtqemud_options[@]}" "$out/build" "$out/source"
	nice ninja -C "$out/build" src/virtqemud
	for file in "$out"/build/src/virtqemud*.{service,socket}; do
		install -D -m 644 "$file" "$installed/usr/lib/systemd/system/${file##*/}"
	done
	install -D -m 755 "$out/build/src/virtqemud" "$installed/usr/sbin/virtqemud"
	install -D -m 644 "$out/build/src/virtqemud.conf" "$installed/etc/libvirt/virtqemud.conf"
	strip "$installed/usr/sbin/virtqemud"
	rm -rf "$out/apt" "$out/build" "$out/source" "$out"/libvirt_*
}

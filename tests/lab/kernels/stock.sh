# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Debian 13's own unpatched kernel.

kernel_inputs()
{
	echo linux-image-cloud-amd64
	setup_suites
}

kernel_make()
{
	local out=$1 apt=$1/apt image release

	setup_apt_private "$apt"
	apt_private update
	# The name without a version depends on the one with it.
	image=$(apt_private_cache depends linux-image-cloud-amd64 |
		sed -n 's/.*Depends: \(linux-image-[0-9]\)/\1/p' | head -n 1)
	(cd "$apt" && apt_private download "$image")
	dpkg-deb -x "$apt"/linux-image-*.deb "$apt/tree"
	release=${image#linux-image-}
	mv "$apt/tree/boot/vmlinuz-$release" "$out/vmlinuz"
	mkdir "$out/modules"
	if [ -d "$apt/tree/usr/lib/modules" ]; then
		mv "$apt/tree/usr/lib/modules/$release" "$out/modules/"
	else
		mv "$apt/tree/lib/modules/$release" "$out/modules/"
	fi
	rm -rf "$apt"
	# Decompressing in the emulated machine is what makes loading modules slow there.
	find "$out/modules" -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P "$(nproc)" xz -d
	mkdir -p "$out/depmod/lib"
	mv "$out/modules" "$out/depmod/lib/modules"
	depmod -b "$out/depmod" "$release"
	mv "$out/depmod/lib/modules" "$out/modules"
	rm -rf "$out/depmod"
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Debian 13's own unpatched kernel. A kernel is a file like this one with two functions:
# kernel_inputs prints whatever the result depends on, kernel_make OUT makes OUT/vmlinuz and
# OUT/modules/RELEASE (with uncompressed modules and depmod's files).

kernel_inputs()
{
	echo trixie linux-image-cloud-amd64
}

kernel_make()
{
	local out=$1 apt=$1/apt options image release

	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
	touch "$apt/status"
	setup_apt_conf >"$apt/apt.conf"
	echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"$(setup_mirror) trixie main" >"$apt/sources.list"
	options=(-o Dir::State="$apt/state" -o Dir::State::status="$apt/status"
		-o Dir::Cache="$apt/cache" -o Dir::Etc::sourcelist="$apt/sources.list"
		-o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o APT::Architecture=amd64 -o APT::Sandbox::User= -o Acquire::Languages=none)
	export APT_CONFIG=$apt/apt.conf
	apt-get "${options[@]}" -q update
	# The name without a version depends on the one with it.
	image=$(apt-cache "${options[@]}" depends linux-image-cloud-amd64 |
		sed -n 's/.*Depends: \(linux-image-[0-9]\)/\1/p' | head -n 1)
	(cd "$apt" && apt-get "${options[@]}" -q download "$image")
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

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# The newest kernel that Debian packages for its stable release (backports), where it is in several
# packages: what the kernel patches mend may have been mended since.

newest_suites()
{
	echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(setup_mirror) trixie-backports main"
}

kernel_inputs()
{
	echo linux-image-cloud-amd64
	newest_suites
}

# A subshell: what goes into the host's root has suites of its own.
kernel_make()
(
	out=$1 apt=$1/apt
	# shellcheck disable=SC2317 # setup_apt_private asks
	setup_suites()
	{
		newest_suites
	}

	setup_apt_private "$apt"
	apt_private update
	release=$(apt_private_cache depends linux-image-cloud-amd64 |
		sed -n 's/.*Depends: linux-image-\([0-9]\)/\1/p' | head -n 1)
	(cd "$apt" &&
		apt_private download "linux-"{base,binary,modules}"-$release")
	for package in "$apt"/linux-*.deb; do
		dpkg-deb -x "$package" "$apt/tree"
	done
	find "$apt/tree" -type f -name 'vmlinuz*' -exec mv {} "$out/vmlinuz" \;
	mkdir -p "$out/modules" "$out/depmod/lib/modules"
	mv "$apt/tree/usr/lib/modules/$release" "$out/depmod/lib/modules/"
	rm -rf "$apt"
	# Decompressing in the emulated machine is what makes loading modules slow there.
	find "$out/depmod" -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P "$(nproc)" xz -d
	depmod -b "$out/depmod" "$release"
	mv "$out/depmod/lib/modules/$release" "$out/modules/"
	rm -rf "$out/depmod"
)

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# Builds of the project: plain (what is installed in the emulated host), and with sanitizers.

# build_dir NAME MESON-OPTION...: configure $top/NAME and build it.
build_dir()
{
	local dir=$top/$1
	shift

	if [ ! -e "$dir/build.ninja" ]; then
		step "configuring $(basename "$dir")" meson setup "$dir" "$top" --prefix=/usr \
			--sysconfdir=/etc --localstatedir=/var --libdir=lib/x86_64-linux-gnu "$@" || return
	fi
	step "building $(basename "$dir")" ninja -C "$dir"
}

build_plain()
{
	build_dir build --buildtype=debugoptimized
}

build_sanitized()
{
	build_dir build-asan --buildtype=debug -Db_sanitize=address,undefined
}

# build_install DIR: the project as a package would install it. Debian 12's pkg-config files still
# say /lib, which is a link in the emulated host.
build_install()
{
	[ -e "$top/meson.build" ] || return 0
	build_plain
	step "installing into the emulated host" env DESTDIR="$1" \
		meson install -C "$top/build" --no-rebuild --quiet
	if [ -d "$1/lib" ]; then
		mkdir -p "$1/usr/lib"
		cp -a "$1/lib/." "$1/usr/lib/"
		rm -rf "${1:?}/lib"
	fi
}

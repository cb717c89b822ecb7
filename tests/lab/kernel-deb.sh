# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# ./run kernel deb: Debian packages of a kernel with the series.

deb_config_package=linux-config-6.12

# Debian's own configuration, from its package.
deb_config()
{
	local flavour=none_$1 out=$2

	[[ $1 != rt-* ]] || flavour=rt_${1#rt-}
	setup_apt_private "$out/apt"
	apt_private update
	(cd "$out" && apt_private download "$deb_config_package")
	dpkg-deb -x "$out/$deb_config_package"_*.deb "$out/package"
	xz -dc "$out/package/usr/src/$deb_config_package"/"config.amd64_$flavour.xz" >"$out/config"
}

# Debian signs with keys that nobody else has, and describes its kernels for debuggers in packages
# of gigabytes. Neither is needed to run one.
deb_adapt()
{
	"$1/scripts/config" --file "$1/.config" \
		--set-str SYSTEM_TRUSTED_KEYS '' --set-str SYSTEM_REVOCATION_KEYS '' \
		--disable MODULE_SIG_ALL --disable DEBUG_INFO_BTF \
		--disable DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT --disable DEBUG_INFO_DWARF4 \
		--disable DEBUG_INFO_DWARF5 --enable DEBUG_INFO_NONE
	tree_make_target "$1" olddefconfig
}

deb_prepare()
{
	local tree=$1 config=$2

	tree_make "$tree"
	tree_patch "$tree" "${series[@]}"
	cp "$config" "$tree/.config"
	deb_adapt "$tree"
}

deb_build()
{
	# The packages land beside the tree.
	tree_make_target "$1" bindeb-pkg LOCALVERSION=-pmemlease KDEB_CHANGELOG_DIST=unstable \
		DPKG_FLAGS=-d
}

kernel_deb()
{
	local config='' flavour output=$top/kernel-packages work

	flavour=$(uname -r | grep -oE '(cloud-|rt-)?amd64$') || flavour=amd64
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || die "$1 needs a value (./run kernel help)"
		case $1 in
		--config) config=$(realpath "$2") ;;
		--flavour) flavour=$2 ;;
		--output) output=$2 ;;
		*) die "unknown option $1 (./run kernel help)" ;;
		esac
		shift 2
	done
	[[ $flavour =~ ^[a-z0-9-]+$ ]] || die "no flavour '$flavour'"
	[ -z "$config" ] || [ -r "$config" ] || die "no file $config"
	kernel_packages="$kernel_packages $kernel_deb_packages"
	setup_kernel_packages
	series_get
	source_get
	mkdir -p "$(cache_dir)/runs" "$output"
	work=$(mktemp -d "$(cache_dir)/runs/deb.XXXXXX")
	# shellcheck disable=SC2064 # the path of now
	trap "rm -rf '$work'" EXIT
	if [ -z "$config" ]; then
		step "getting Debian's configuration ($flavour)" deb_config "$flavour" "$work"
		config=$work/config
	fi
	step "preparing the source" deb_prepare "$work/linux" "$config"
	step "building the packages" deb_build "$work/linux"
	rm -f "$work"/linux-libc-dev_*.deb
	mv "$work"/*.deb "$output/"
	say "In $output:"
	(cd "$output" && ls -sh -- *.deb)
	say "To install one: apt install ./linux-image-VERSION.deb, and reboot into it. To go back, boot"
	say "Debian's kernel, which stays installed, and remove the package."
}

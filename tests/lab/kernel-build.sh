# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2034
#
# Kernels built from Debian's source package, with or without the series in kernel-patches/.

source_package=linux-source-6.12
series_dir=$top/kernel-patches/linux-6.12.y
config_dir=$top/tests/lab/kernels

# The patches in their order; a cover letter is none. With LAB_PATCHES=N the first N of them: a test
# has to fail on the kernel before its patch.
series_files()
{
	find "$series_dir" -maxdepth 1 -name '[0-9]*.patch' ! -name '0000-*' 2>/dev/null | sort |
		sed "${LAB_PATCHES:+$((LAB_PATCHES + 1)),\$d}"
}

# source_get: sets $source_dir (linux/, unpacked; version). What is there once stays: a newer point
# release is taken when somebody removes it from the cache.
source_get()
{
	[ -n "${cache_only:-}" ] || setup_kernel_packages
	cache_make "linux-source" "$(echo "$source_package" "$(setup_suites)" | hash_of)" \
		"getting $source_package" source_make
	source_dir=$cached
}

source_make()
{
	local out=$1

	setup_apt_private "$out/apt"
	apt_private update
	(cd "$out" && apt_private download "$source_package")
	dpkg-deb -f "$out/$source_package"_*.deb Version >"$out/version"
	dpkg-deb -x "$out/$source_package"_*.deb "$out/package"
	mkdir "$out/linux"
	tar -x -C "$out/linux" --strip-components=1 -f "$out/package/usr/src/$source_package.tar.xz"
	rm -rf "$out/package" "$out/apt" "$out/$source_package"_*.deb
}

# tree_make TREE: a tree of its own. Links, not copies: whatever writes into a source tree (make,
# patch, git) makes a new file for that.
tree_make()
{
	cp -al "$source_dir/linux" "$1"
}

# tree_patch TREE PATCH...
tree_patch()
{
	local tree=$1 file
	shift

	for file in "$@"; do
		echo "applying ${file##*/}"
		patch -d "$tree" -p1 -s -f --no-backup-if-mismatch <"$file"
	done
}

# tree_configure TREE FRAGMENT...: a fragment's line that the configuration did not take would be
# missed much later. Of two fragments the later one has its way.
tree_configure()
{
	local tree=$1 missing
	shift

	tree_make_target "$tree" tinyconfig
	"$tree/scripts/kconfig/merge_config.sh" -m -O "$tree" "$tree/.config" "$@" >/dev/null
	tree_make_target "$tree" olddefconfig
	missing=$(grep -hE '^CONFIG_.*=' "$@" | awk -F= '
		FILENAME == "-" { want[$1] = $0; next }
		$0 ~ /^CONFIG_/ { got[$1] = $0 }
		END {
			for (name in want) {
				value = want[name]
				sub(/^[^=]*=/, "", value)
				# To look at it would be to make it.
				has = name in got ? got[name] : name "=n"
				if (has != name "=" value)
					print want[name] ", not: " has
			}
		}' - "$tree/.config")
	[ -z "$missing" ] || { echo "the configuration has lost:" && echo "$missing" && return 1; }
}

# The same commands give the same objects, whoever builds them where: that is what ccache needs.
tree_make_target()
{
	local tree=$1
	shift

	env CCACHE_NOHASHDIR=1 CCACHE_BASEDIR="$tree" CCACHE_SLOPPINESS=time_macros \
		KBUILD_BUILD_TIMESTAMP=@1700000000 KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab \
		nice make -C "$tree" -s -j "$(nproc)" CC="ccache gcc" HOSTCC="ccache gcc" "$@"
}

# kernel_build OUT NAME FRAGMENT... -- PATCH...
kernel_build()
{
	local out=$1 name=$2 tree=$1/tree fragments=() release
	shift 2

	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		fragments+=("$config_dir/$1.config")
		shift
	done
	shift
	tree_make "$tree"
	tree_patch "$tree" "$@"
	tree_configure "$tree" "${fragments[@]}"
	echo "-lab-$name" >"$tree/localversion-lab"
	tree_make_target "$tree" bzImage modules
	release=$(tree_make_target "$tree" kernelrelease)
	tree_make_target "$tree" modules_install INSTALL_MOD_PATH="$out/installed"
	cp "$tree/arch/x86/boot/bzImage" "$out/vmlinuz"
	cp "$tree/System.map" "$tree/.config" "$out/"
	mkdir "$out/modules"
	mv "$out/installed/lib/modules/$release" "$out/modules/"
	rm -rf "$out/modules/$release"/{build,source} "$out/installed" "$tree"
}

# kernel_built_from FRAGMENT... -- PATCH...: what such a kernel depends on.
kernel_built_from()
{
	cat "$source_dir/version" "$top/tests/lab/kernel-build.sh"
	dpkg-query -W -f '${Version}\n' gcc
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		cat "$config_dir/$1.config"
		shift
	done
	shift
	# What is above the first change is for readers, as documentation is: it may be edited
	# without a new kernel.
	[ $# -eq 0 ] || awk '
		FNR == 1 { keep = 0 }
		/^diff --git / { keep = $3 !~ "^a/(Documentation/|MAINTAINERS$|tools/)" }
		keep' "$@"
}

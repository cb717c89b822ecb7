#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ./run kernel: the series of kernel patches applied, checked, built, and packaged.
set -euo pipefail
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/lab/common.sh
. "$top/tests/lab/common.sh"
# shellcheck source=tests/lab/setup.sh
. "$top/tests/lab/setup.sh"
# shellcheck source=tests/lab/kernel.sh
. "$top/tests/lab/kernel.sh"
# shellcheck source=tests/lab/kernel-build.sh
. "$top/tests/lab/kernel-build.sh"
# shellcheck source=tests/lab/kernel-check.sh
. "$top/tests/lab/kernel-check.sh"
# shellcheck source=tests/lab/kernel-deb.sh
. "$top/tests/lab/kernel-deb.sh"
# shellcheck source=tests/lab/kernel-matrix.sh
. "$top/tests/lab/kernel-matrix.sh"

usage()
{
	cat <<-'USAGE'
	usage: ./run kernel COMMAND

	  apply TREE      apply the series to a Linux 6.12 source tree: as commits where it is a clone
	                  (git am), as changes otherwise (patch)
	  check [N]...    each patch in its order (or those with these numbers): does it apply, build
	                  without new warnings (W=1, sparse), and pass checkpatch --strict?
	  build NAME...   make a kernel of ./run lab --kernel NAME ready, without booting it
	  matrix [OPTION]... [HOLDER:EVENT]...
	                  who reaches a device-dax's memory after an event that takes it away? All
	                  holders and events, or those that match (tests/lab/kernel/lib-matrix.sh
	                  lists them; "*" stands for all)
	    --kernel NAME     of tests/lab/kernels/; may be repeated (stock)
	    --timeout SECONDS for each kernel (7200)
	    --picture FILE    an SVG with the kernels side by side
	                  Cells that were run earlier on the same kernel stay in the result.
	  picture FILE.svg FILE.json...
	                  that SVG from results of matrix, without running anything
	  deb [OPTION]... make Debian packages of a kernel with the series
	    --config FILE     configuration (default: Debian's own for --flavour)
	    --flavour NAME    amd64, cloud-amd64 or rt-amd64 (default: that of the running kernel,
	                      or amd64)
	    --output DIR      where the packages go (kernel-packages)
	USAGE
}

series_get()
{
	mapfile -t series < <(series_files)
	[ ${#series[@]} -gt 0 ] || die "no patches in $series_dir"
}

# What a tree already has is seen by the last patch, which can only be undone where it was done.
kernel_apply()
{
	local tree=$1

	[ -e "$tree/Kconfig" ] || die "$tree is no Linux source tree"
	tree=$(cd "$tree" && pwd)
	series_get
	if patch -d "$tree" -p1 -s -f -R --dry-run <"${series[-1]}" >/dev/null; then
		die "$tree has the series already"
	fi
	if git -C "$tree" rev-parse --git-dir >/dev/null 2>&1 &&
		[ "$(git -C "$tree" rev-parse --show-toplevel)" = "$tree" ]; then
		git -C "$tree" am --3way "${series[@]}"
		return
	fi
	# All or nothing: with patch there is no way back from the middle.
	tree_try "$tree"
	tree_patch "$tree" "${series[@]}"
}

# The series on copies of the files that it touches.
tree_try()
{
	local tree=$1 trial file

	trial=$(mktemp -d)
	sed -n 's|^--- a/||p' "${series[@]}" | sort -u | while read -r file; do
		[ -e "$tree/$file" ] || continue
		mkdir -p "$trial/$(dirname "$file")"
		cp "$tree/$file" "$trial/$file"
	done
	if ! tree_patch "$trial" "${series[@]}"; then
		rm -rf "$trial"
		die "the series does not apply; nothing was changed"
	fi >/dev/null
	rm -rf "$trial"
}

main()
{
	local command=${1:-help} name

	[ $# -eq 0 ] || shift
	case $command in
	apply)
		[ $# -eq 1 ] || die "apply to which tree? (./run kernel help)"
		kernel_apply "$1"
		;;
	check) kernel_check "$@" ;;
	build)
		[ $# -gt 0 ] || die "which kernel? (./run kernel help)"
		for name in "$@"; do
			(kernel_get "$name")
		done
		;;
	deb) kernel_deb "$@" ;;
	matrix) kernel_matrix "$@" ;;
	picture)
		[ $# -ge 2 ] || die "which picture, of which results? (./run kernel help)"
		matrix_draw "$@"
		;;
	-h | --help | help) usage ;;
	*)
		usage >&2
		exit 2
		;;
	esac
}

main "$@"

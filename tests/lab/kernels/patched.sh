# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# Debian's source with the lab's configuration and the series.
# shellcheck source=tests/lab/kernel-build.sh
. "$top/tests/lab/kernel-build.sh"

kernel_sources()
{
	source_get
	mapfile -t series < <(series_files)
	[ ${#series[@]} -gt 0 ] || die "no patches in $series_dir"
}

kernel_inputs()
{
	kernel_built_from lab -- "${series[@]}"
}

kernel_make()
{
	kernel_build "$1" "patched${LAB_PATCHES:+-$LAB_PATCHES}" lab -- "${series[@]}"
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# The series, with every access of the kernel checked.
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
	kernel_built_from lab kasan -- "${series[@]}"
}

kernel_make()
{
	kernel_build "$1" kasan lab kasan -- "${series[@]}"
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# The series, with every access of the kernel checked, and with delays where races could be.
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
	kernel_built_from lab kasan -- "${series[@]}" "$config_dir/delays.patch"
}

kernel_make()
{
	kernel_build "$1" kasan lab kasan -- "${series[@]}" "$config_dir/delays.patch"
}

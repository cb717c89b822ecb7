# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# Debian's source with the lab's configuration: the kernel before the series.
# shellcheck source=tests/lab/kernel-build.sh
. "$top/tests/lab/kernel-build.sh"

kernel_sources()
{
	source_get
}

kernel_inputs()
{
	kernel_built_from lab --
}

kernel_make()
{
	kernel_build "$1" vanilla lab --
}

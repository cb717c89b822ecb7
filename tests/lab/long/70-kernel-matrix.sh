#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel patched --with ../kernel/lib-matrix.sh --with ../splats --survive --nvdimms 4098M,1026M --timeout 7200
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# 70-kernel-matrix.sh [HOLDER:EVENT]...: the stale-access matrix, all of it without an argument. With
# the kernel patches, nobody may be stale. Without them (--kernel stock), what they are for has to be
# seen.
# shellcheck source=tests/lab/kernel/lib-matrix.sh
. ./lib-matrix.sh

if can_revoke; then
	cell_report=cell_assert
else
	# Oopses are what is looked for.
	cell_report=cell_assert_known
	lab-allow-splat .
fi
export cell_report
[ $# -gt 0 ] || set -- '*'
cells_matching "$@"
cells_run "${cells[@]}"
plan

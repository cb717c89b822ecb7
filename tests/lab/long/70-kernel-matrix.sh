#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel patched --with ../kernel/lib-matrix.sh --with ../splats --survive --nvdimms 4098M,1026M --timeout 7200
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# With the kernel patches: the whole stale-access matrix.
# shellcheck source=tests/lab/kernel/lib-matrix.sh
. ./lib-matrix.sh

export cell_report=cell_assert
cells_matching '*'
cells_run "${cells[@]}"
plan

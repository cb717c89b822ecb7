#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel patched --with ../kernel/lib-matrix.sh --with ../splats --survive
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# With the kernel patches: one cell of the stale-access matrix for each bug that they close.
# shellcheck source=tests/lab/kernel/lib-matrix.sh
. ./lib-matrix.sh

export cell_report=cell_assert
# In the order of the matrix: the old mapping and the new tenant; the device that nobody can open any
# more; opened when dead; pinned; the guest's touch.
cells_matching map-2m:rebind untouched:rebind fd-late-map:rebind reopened:unbind \
	io-uring:unbind io-uring:rebind kvm:unbind 'map-2m:revoke*'
cells_run "${cells[@]}"
plan

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel patched --if-built --with kernel/lib-matrix.sh --with splats --survive
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# With the kernel patches: the cells of 71-kernel.sh, and revocation. Building that kernel takes longer
# than all the other tests, so that is left to "./run test all" and "./run kernel build patched".
# shellcheck source=tests/lab/kernel/lib-matrix.sh
. ./lib-matrix.sh

export cell_report=cell_assert
cells_run map-2m:rebind untouched:rebind kvm:unbind io-uring:unbind reopened:unbind map-2m:revoke
plan

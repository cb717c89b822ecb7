#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --with kernel/lib-matrix.sh --with splats --survive
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# What the kernel patches are for, on Debian's kernel: one cell of the stale-access matrix for each bug
# that they close. 74-kernel-patched.sh is the same with the patches.
# shellcheck source=tests/lab/kernel/lib-matrix.sh
. ./lib-matrix.sh

lab-allow-splat .
# Who does not come back here never does.
export cell_report=cell_assert_known access_seconds=10 no_boot_after=io-uring:unbind
# A guest's touch; what is pinned; the device opened when it is unbound; an old mapping and the next
# tenant. After each of the last two nothing but a new boot helps.
cells_run kvm:unbind io-uring:unbind reopened:unbind map-2m:rebind
plan

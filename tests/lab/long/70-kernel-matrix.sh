#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --kernel patched --with ../kernel/lib-matrix.sh --with ../splats --survive --nvdimms 4098M,1026M --timeout 7200
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# 70-kernel-matrix.sh [HOLDER:EVENT]...: the stale-access matrix, all of it without an argument. With
# the kernel patches, nobody may be stale. Without them (--kernel stock), what they are for has to be
# seen: a matrix that does not see it there would not see it anywhere.
# shellcheck source=tests/lab/kernel/lib-matrix.sh
. ./lib-matrix.sh

# known CELL: the outcome that a kernel without the patches is known for, if it is.
known()
{
	case $1 in
	# 6: what was mapped, or opened, before works again for whoever had it.
	map-*:rebind | untouched:rebind | fd-*:rebind | forked:rebind | mremap:rebind | \
		mprotect:rebind | kvm*:rebind | process-vm:rebind | ptrace:rebind) echo stale ;;
	# 4: the unbound device can be opened.
	reopened:unbind | reopened:rebind) echo oops ;;
	# 7: what is pinned is not waited for.
	io-uring:unbind | vmsplice:unbind | o-direct:unbind) echo oops ;;
	# 3: the touch of a guest never ends.
	kvm:unbind | kvm-untouched:unbind | kvm:region-disable | kvm-untouched:region-disable) echo hang ;;
	esac
}

assert_known()
{
	local known

	known=$(known "$1")
	case $2 in
	n/a* | -*) skip "$1" "$2" ;;
	"$known"*) ok "$1: $2" ;;
	*) not_ok "$1" "known for: $known"$'\n'"seen:      $2" ;;
	esac
}

cell_report=assert_known
! can_revoke || cell_report=cell_assert
export cell_report
[ $# -gt 0 ] || set -- '*'
cells_matching "$@"
cells_run "${cells[@]}"
plan

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --with lib-matrix.sh --with ../splats --survive --nvdimms 4098M,1026M
# lab: --kernel-arg systemd.mask=libvirtd.service --kernel-arg systemd.mask=pmemleased.service
#
# matrix.sh [HOLDER:EVENT]...: cells of the stale-access matrix, all of them without an argument; "*"
# stands for every holder, or event. ./run kernel matrix makes tables of what this prints.
# shellcheck source=tests/lab/kernel/lib-matrix.sh
. ./lib-matrix.sh

lab-allow-splat .
echo "matrix $(uname -r) $((${#rows[@]} * ${#events[@]}))"
[ $# -gt 0 ] || set -- '*'
cells_matching "$@"
cells_run "${cells[@]}"

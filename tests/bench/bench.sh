#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ./run bench [RUNS]: the benchmarks, in the emulated host but for what an idle daemon costs; JSON on stdout, an object a line.
# ./run bench kernel [NAME [RUNS [big|small]]]: what it takes to take a device-dax away, on a kernel of tests/lab/kernels/ (patched).
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The emulated host has one stream; what is no result is progress.
results_only()
{
	while IFS= read -r line; do
		case $line in
		'{'*) printf '%s\n' "$line" ;;
		*) printf '%s\n' "$line" >&2 ;;
		esac
	done
}

# program NAME: for the emulated host, whatever library it has
program()
{
	gcc -O2 -std=gnu17 -Wall -Wextra -Werror -pthread -static -D_GNU_SOURCE \
		-o "$work/$1" "$top/tests/bench/$1.c"
}

if [ "${1:-}" = kernel ]; then
	program revoke-bench
	"$top/tests/lab/boot.sh" --kernel "${2:-patched}" --timeout 5400 --nvdimms 1026M,65538M --sparse \
		--with "$work/revoke-bench" "$top/tests/bench/lab-kernel-bench.sh" "${@:3}" |
		results_only
	exit
fi
"$top/tests/bench/idle.sh"
program memset-nt
"$top/tests/lab/boot.sh" --timeout 3000 --with "$work/memset-nt" "$top/tests/bench/lab-bench.sh" "${1:-20}" | results_only
"$top/tests/lab/boot.sh" --timeout 3000 "$top/tests/bench/lab-ram-bench.sh" "${1:-20}" | results_only
"$top/tests/lab/boot.sh" --timeout 3000 "$top/tests/bench/lab-many.sh" | results_only

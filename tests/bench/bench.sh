#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ./run bench [RUNS]: the benchmarks, in the emulated host but for what an idle daemon costs; JSON on stdout, an object a line.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$top/tests/bench/idle.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -Wall -Wextra -Werror -pthread -static -D_GNU_SOURCE -o "$work/memset-nt" "$top/tests/bench/memset-nt.c"

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

"$top/tests/lab/boot.sh" --timeout 3000 --with "$work/memset-nt" "$top/tests/bench/lab-bench.sh" "${1:-20}" | results_only
"$top/tests/lab/boot.sh" --timeout 3000 "$top/tests/bench/lab-many.sh" | results_only

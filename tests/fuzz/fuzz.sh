#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# fuzz.sh [SECONDS [TARGET...]]: builds the fuzz targets with clang and runs each for so long (120 s), two at a time. The result is
# TAP. A finding is left in build-fuzz/findings; what is new and worth keeping is taken over with
# build-fuzz/tests/fuzz/fuzz-NAME -merge=1 tests/fuzz/corpus/NAME build-fuzz/corpus/NAME.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/lab/common.sh
. "$top/tests/lab/common.sh"
# shellcheck source=tests/lab/setup.sh
. "$top/tests/lab/setup.sh"
# shellcheck source=tests/lab/build.sh
. "$top/tests/lab/build.sh"

seconds=${1:-120}
shift || true
dir=$top/build-fuzz

# fuzz_one NAME: its output is TAP, in a file; what libFuzzer said is beside it.
fuzz_one()
{
	local name=$1 log=$dir/log.$1 status=0

	mkdir -p "$dir/corpus/$name" "$dir/findings"
	ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		"$dir/tests/fuzz/fuzz-$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-max_len=8192 -artifact_prefix="$dir/findings/$name-" "$dir/corpus/$name" "$top/tests/fuzz/corpus/$name" \
		>"$log" 2>&1 || status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	if [ "$status" -eq 0 ]; then
		echo "ok - fuzz $name: no finding in $seconds s, ${runs:-0} runs"
	else
		echo "not ok - fuzz $name: status $status"
		tail -n 40 "$log" | sed 's/^/# /'
	fi
}
export -f fuzz_one
export dir top seconds

setup_install clang
# Its run-time library is a package of its own, named by clang's version.
setup_install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
CC=clang build_dir build-fuzz --buildtype=debug -Doptimization=1 -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
	-Dc_args=-fsanitize=fuzzer-no-link >&2
[ $# -gt 0 ] || mapfile -t names < <(ls "$top/tests/fuzz/corpus")
[ $# -eq 0 ] || names=("$@")
results=$(mktemp)
printf '%s\n' "${names[@]}" | xargs -P 2 -I{} bash -c 'fuzz_one {}' | tee "$results"
echo "1..${#names[@]}"
failed=$(grep -c '^not ok' "$results") || true
rm -f "$results"
exit $((failed > 0))

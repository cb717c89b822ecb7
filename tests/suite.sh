#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ./run test [unit|lab|all]: runs the tests and counts them. What counts is each test case: each
# one of a cmocka program, each line of a lab script. A program that dies, or says less than it
# announced, is a failure more.
set -euo pipefail
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/lab/common.sh
. "$top/tests/lab/common.sh"
# shellcheck source=tests/lab/build.sh
. "$top/tests/lab/build.sh"

passed=0 failed=0 skipped=0

# count FILE STATUS: adds the results in a TAP output; sets $why where there is a failure that no
# line of it tells of.
count()
{
	local file=$1 status=$2 good bad skip planned said

	why=
	skip=$(grep -cE '^(not )?ok\b.*# *SKIP' "$file") || true
	bad=$(grep -E '^not ok\b' "$file" | grep -cvE '# *SKIP') || true
	good=$(grep -E '^ok\b' "$file" | grep -cvE '# *SKIP') || true
	planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$file" | awk '{ sum += $1 } END { print sum + 0 }')
	said=$((good + bad + skip))
	passed=$((passed + good))
	skipped=$((skipped + skip))
	failed=$((failed + bad))
	if [ "$said" -ne "$planned" ]; then
		failed=$((failed + 1))
		why="announced $planned tests, told of $said how they went (status $status)"
	elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		failed=$((failed + 1))
		why="no test failed, but the status is $status"
	fi
}

# One test of meson's, from its line in meson's log. What is not TAP counts as one test case.
count_unit()
{
	local entry=$1 output=$2 result status

	result=$(jq -r .result <<<"$entry")
	status=$(jq -r .returncode <<<"$entry")
	why=
	jq -r '.stdout // ""' <<<"$entry" >"$output"
	if grep -qE '^(not )?ok\b' "$output"; then
		count "$output" "$status"
	else
		case $result in
		OK) passed=$((passed + 1)) ;;
		SKIP) skipped=$((skipped + 1)) ;;
		*) failed=$((failed + 1)) && why="status $status" ;;
		esac
	fi
	jq -r '"\(.name): \(.result), \(.duration * 100 | round / 100) s"' <<<"$entry"
	sed -n 's/^# table: /    /p' "$output"
	case $result in
	OK | SKIP) [ -n "$why" ] || return 0 ;;
	esac
	[ -z "$why" ] || printf '    %s\n' "$why"
	grep -E -A 6 '^not ok' "$output" | sed 's/^/    /' || true
	jq -r '.stderr // ""' <<<"$entry" | tail -n 60 | sed 's/^/    /'
}

# What failed is told from the log, where there is one.
run_meson_tests()
{
	meson test -C "$top/build-asan" --no-rebuild --timeout-multiplier 3 || [ -e "$1" ]
}

# The tests of the C code, under ASan and UBSan. Meson runs them; what they said is in its log.
unit_tests()
{
	local log=$top/build-asan/meson-logs/testlog.json output entry

	[ -e "$top/meson.build" ] || return 0
	if ! build_sanitized; then
		failed=$((failed + 1))
		echo "not ok - the build with sanitizers"
		return
	fi
	rm -f "$log"
	# umockdev's preloaded library comes before ASan's, which then wants to be told.
	(
		export CMOCKA_MESSAGE_OUTPUT=TAP
		export ASAN_OPTIONS=verify_asan_link_order=0:strict_string_checks=1
		export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
		step "unit and daemon tests" run_meson_tests "$log"
	) || true
	if [ ! -e "$log" ]; then
		failed=$((failed + 1))
		echo "not ok - the unit tests did not run"
		return
	fi
	output=$(mktemp)
	while IFS= read -r entry; do
		count_unit "$entry" "$output"
	done <"$log"
	rm -f "$output"
}

# lab_tests SCRIPT...: each is one boot of the emulated host (its options are in its head).
lab_tests()
{
	local script output status options

	output=$(mktemp)
	for script in "$@"; do
		[ -e "$script" ] || continue
		echo "=== ${script#"$top/tests/lab/"}"
		status=0
		options=(--timeout 900)
		! grep -q '^# lab:.* --timeout ' "$script" || options=()
		"$top/tests/lab/boot.sh" ${options[@]+"${options[@]}"} "$script" | tee "$output" || status=$?
		count "$output" "$status"
		[ -z "$why" ] || echo "not ok - ${script##*/}: $why"
	done
	rm -f "$output"
}

# Each target for two minutes; the unit tests go over the corpus alone.
fuzz_tests()
{
	local output status=0

	output=$(mktemp)
	"$top/tests/fuzz/fuzz.sh" 120 | tee "$output" || status=$?
	count "$output" "$status"
	[ -z "$why" ] || echo "not ok - fuzz: $why"
	rm -f "$output"
}

main()
{
	local start=$SECONDS

	case ${1:-} in
	'' | all | unit | lab) ;;
	*) die "./run test [unit|lab|all]" ;;
	esac
	# Every point where a fault is tried, in the place of a sample; minutes of chance, of seconds.
	[ "${1:-}" != all ] || export PMEMLEASE_TEST_STRIDE=1 PMEMLEASE_TEST_SECONDS=300
	[ "${1:-}" = lab ] || unit_tests
	[ "${1:-}" != all ] || fuzz_tests
	# So that none is skipped for that.
	[ "${1:-}" != all ] || "$top/tests/lab/kernel-command.sh" build patched
	[ "${1:-}" = unit ] || lab_tests "$top"/tests/lab/[0-9]*.sh
	[ "${1:-}" != all ] || lab_tests "$top"/tests/lab/long/*.sh
	say "tests: $((SECONDS - start)) s"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}

main "$@"

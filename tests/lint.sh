#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ./run lint: everything that can be said of the sources without running them. All checks are made,
# also after one has failed.
set -euo pipefail
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/lab/common.sh
. "$top/tests/lab/common.sh"
# shellcheck source=tests/lab/build.sh
. "$top/tests/lab/build.sh"
cd "$top"

max_lines=800

# The reference is Debian 12's clang-tidy 14. Newer analyzers follow more paths, without knowing what
# the cleanup attribute does, or that a function which fails never returns 0; and newer checks want
# casts where C needs none.
newer_tidy='-clang-analyzer-unix.*,-clang-analyzer-core.*,-clang-analyzer-optin.*'
newer_tidy+=,-bugprone-multi-level-implicit-pointer-conversion,-bugprone-casting-through-void
newer_tidy+=,-bugprone-unsafe-functions,-bugprone-not-null-terminated-result
newer_tidy+=,-bugprone-suspicious-missing-comma,-misc-redundant-expression
newer_tidy+=,-readability-inconsistent-declaration-parameter-name
bad=0

check()
{
	try "$@"
	if [ "$try_status" -eq 0 ]; then
		say "ok: $1"
	else
		bad=$((bad + 1))
	fi
}

files()
{
	git ls-files -z --cached --others --exclude-standard -- "$@"
}

shell_scripts()
{
	files | xargs -0 grep -lE '^#!.*\b(ba|busybox )?sh$|^# shellcheck shell=' |
		tr '\n' '\0'
}

lint_format()
{
	files '*.c' '*.h' | xargs -0 -r clang-format --dry-run -Werror
}

lint_shell()
{
	shell_scripts | xargs -0 -r shellcheck -x
}

lint_spdx()
{
	local file missing=0

	while IFS= read -r -d '' file; do
		case $file in
		# A patch has the licence of the files that it changes.
		# An input of a fuzz target means what it is, byte for byte.
		LICENSE | LICENSES/* | tests/fuzz/corpus/* | *.json | *.golden | *.patch) continue ;;
		esac
		head -n 3 "$file" | grep -q 'SPDX-License-Identifier: ' && continue
		echo "$file: no SPDX line among its first three"
		missing=1
	done < <(files)
	return "$missing"
}

lint_length()
{
	files '*.c' '*.h' '*.sh' run | xargs -0 wc -l |
		awk -v max="$max_lines" '$2 != "total" && $1 > max { print; bad = 1 } END { exit bad }'
}

lint_man()
{
	files 'docs/*.[1-8]' | xargs -0 -r mandoc -T lint -W warning
}

lint_warnings()
{
	build_dir build-lint --buildtype=debugoptimized -Dwerror=true
}

# What meson builds is checked with the options that it is built with, the rest with those of the lab.
# On stderr are only counts of what is hidden.
lint_tidy()
{
	local known version options=(--quiet)

	version=$(clang-tidy --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
	[ "${version:-0}" -le 14 ] || options+=(--checks="$newer_tidy")
	known=$(jq -r '.[] | .directory + "/" + .file' build-lint/compile_commands.json |
		xargs -r realpath --relative-to=. | sort -u)
	printf '%s\n' "$known" |
		xargs -r -P "$(nproc)" -n 1 clang-tidy "${options[@]}" -p build-lint 2>/dev/null
	comm -23 <(files '*.c' | tr '\0' '\n' | sort) <(printf '%s\n' "$known") |
		xargs -r -P "$(nproc)" -I{} clang-tidy "${options[@]}" {} -- \
			-std=gnu17 -D_GNU_SOURCE -Wall -Wextra 2>/dev/null
}

check "formatting (clang-format)" lint_format
check "shell scripts (shellcheck)" lint_shell
check "licence lines" lint_spdx
check "no file over $max_lines lines" lint_length
check "man pages (mandoc)" lint_man
if [ -e meson.build ]; then
	check "no warnings (gcc)" lint_warnings
	check "static analysis (clang-tidy)" lint_tidy
fi
[ "$bad" -eq 0 ] || die "$bad of the checks failed"

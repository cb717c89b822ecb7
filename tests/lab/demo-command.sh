#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ./run demo: the story on the kernel as Debian has it, and on the patched one, where that is there. What came of it side by side.
set -euo pipefail
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lab=$top/tests/lab
# shellcheck source=tests/lab/common.sh
. "$lab/common.sh"
# shellcheck source=tests/lab/setup.sh
. "$lab/setup.sh"
# shellcheck source=tests/lab/kernel.sh
. "$lab/kernel.sh"

usage()
{
	cat <<-'USAGE'
	usage: ./run demo [--kernel stock|patched]

	The main job as a story, in the emulated host: on Debian's kernel, and on the one with the patches if it
	was built before.

	  --kernel patched   on both; what is missing of the patched one is built first, which may take 15 minutes
	  --kernel stock     on Debian's alone
	USAGE
}

# kernel_is_there NAME: whether it need not be built. The parts of the cache that it would be made of are looked for, and
# nothing is fetched or installed for the answer.
kernel_is_there()
(
	# shellcheck disable=SC2317 # called by what makes a kernel
	setup_kernel_packages()
	{
		:
	}
	# shellcheck disable=SC2317
	cache_make()
	{
		cached=$(cache_dir)/$1-$2
		# The small images are made in seconds.
		[[ -d $cached || $1 = initrd-* ]] || exit 1
	}
	kernel_get "$1"
) 2>/dev/null

# show KERNEL: its outcomes are kept
show()
{
	local status=0

	printf '\n=== %s ===\n' "$([ "$1" = stock ] && echo "Debian's kernel" || echo "The same kernel with the patches")"
	"$lab/boot.sh" --kernel "$1" --timeout 900 "$lab/demo.sh" | tee "$out/$1" || status=$?
	sed -n 's/\r$//; s/^    = //p' "$out/$1" >"$out/$1.outcomes"
	return "$status"
}

# Two columns, each outcome under its name; what one of them does not have stays empty.
side_by_side()
{
	local what how width=52

	printf '\nSide by side:\n\n  %-*s  %s\n' "$width" "Debian's kernel" "with the patches"
	cut -d: -f1 "$out/stock.outcomes" "$out/patched.outcomes" | awk '!seen[$0]++' |
		while read -r what; do
			printf '\n%s\n' "$what"
			for how in stock patched; do
				sed -n "s/^$what: //p" "$out/$how.outcomes" | fold -s -w "$width" >"$out/$how.column"
			done
			paste -d '|' "$out/stock.column" "$out/patched.column" |
				while IFS='|' read -r left right; do
					printf '  %-*s  %s\n' "$width" "$left" "$right"
				done
		done
}

main()
{
	local wanted=''

	case "$*" in
	'') ;;
	'--kernel stock' | '--kernel patched') wanted=$2 ;;
	-h | --help) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
	# Behind a pipe it is no terminal any more.
	[ ! -t 1 ] || export LAB_TTY=1
	show stock
	if [ "$wanted" = patched ] || { [ -z "$wanted" ] && kernel_is_there patched; }; then
		show patched
		side_by_side
	elif [ -z "$wanted" ]; then
		printf '\n%s\n%s\n' "With the kernel patches g1 lives on, and g2 has the region meanwhile. That kernel is not built yet:" \
			"./run demo --kernel patched builds it (about 15 minutes, once) and shows both side by side."
	fi
}

main "$@"

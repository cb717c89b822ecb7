#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-man.sh PMEMLEASE PMEMLEASED SOURCE: the manual pages and the program tell of the same commands, options, methods,
# properties, signals, errors and polkit actions. Prints TAP.
set -eu

pmemlease=$1 pmemleased=$2 source=$3
n=0

# same WHAT FILE1 FILE2
same()
{
	n=$((n + 1))
	if difference=$(diff "$2" "$3") && [ -s "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "$difference" | sed 's/^/# /'
	fi
}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
page=$source/docs/pmemlease.1
reference=$source/docs/org.pmemlease1.5
"$pmemlease" help >"$dir/help"

sed -n '/^Commands:/,/^Options:/s/^  \([a-z][a-z-]*\).*/\1/p' "$dir/help" | sort >"$dir/verbs"
sed -n '/^\.Sh COMMANDS/,/^\.Sh OPTIONS/s/^\.It Cm \([a-z-]*\).*/\1/p' "$page" | sort >"$dir/man-verbs"
same "pmemlease(1) has the commands of help" "$dir/verbs" "$dir/man-verbs"

sed -n '/^Options:/,/^Exit/p' "$dir/help" | grep -o '^  -[-a-zA-Z, ]*' | grep -oE -- '--?[a-zA-Z][a-z-]*' |
	sed 's/^-*//' | sort >"$dir/options"
sed -n '/^\.Sh OPTIONS/,/^\.Sh DOCUMENTS/p' "$page" | grep '^\.It Fl' | grep -oE '(Fl |, Fl )[a-zA-Z-]+' |
	sed 's/.*Fl -*//' | sort >"$dir/man-options"
same "pmemlease(1) has the options of help" "$dir/options" "$dir/man-options"

"$pmemleased" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u >"$dir/daemon-options"
sed -n '/^\.Sh OPTIONS/,/^\.Sh TAKING/p' "$source/docs/pmemleased.8" | grep '^\.It Fl' |
	grep -oE 'Fl -[a-z][a-z-]+' | sed 's/Fl /-/' | sort -u >"$dir/man-daemon-options"
same "pmemleased(8) has the options of --help" "$dir/daemon-options" "$dir/man-daemon-options"

for i in Manager Region Lease Job; do
	sed -n 's/.*<\(method\|property\|signal\) name="\([A-Za-z]*\)".*/\2/p' \
		"$source/dbus/org.pmemlease1.$i.xml"
done | sort -u >"$dir/members"
grep '^\.It \(Fn\|Va\)' "$reference" | sed 's/"[^"]*"//g; s/Pq.*//' | grep -oE '\b[A-Z][A-Za-z]+\b' |
	grep -vE '^(It|Fn|Va|Li)$' | sort -u >"$dir/man-members"
same "org.pmemlease1(5) has the members of the contract" "$dir/members" "$dir/man-members"

sed -n 's/.*PML_ERROR("\([A-Za-z]*\)").*/\1/p' "$source/lib/names.h" | sort -u >"$dir/errors"
sed -n '/^\.Sh ERROR NAMES/,/^\.Sh POLKIT/p' "$reference" | grep '^\.It Li' |
	grep -oE '[A-Z][A-Za-z]+' | grep -vE '^(It|Li)$' | sort -u >"$dir/man-errors"
same "org.pmemlease1(5) has the errors" "$dir/errors" "$dir/man-errors"

sed -n 's/.*PML_ACTION_PREFIX "\([a-z-]*\)".*/\1/p' "$source/lib/names.h" | sort -u >"$dir/actions"
sed -n '/^\.Sh POLKIT ACTIONS/,/^\.Sh SEE/s/^\.It Li \([a-z-]*\)$/\1/p' "$reference" | sort -u >"$dir/man-actions"
same "org.pmemlease1(5) has the polkit actions" "$dir/actions" "$dir/man-actions"

echo "1..$n"

#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-catalog.sh SOURCE: the messages of the code and of the journal's catalog are the same, each is used, and the catalog names no field
# that the daemon does not write. Prints TAP.
set -eu

source=$1
n=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
catalog=$source/systemd/pmemlease.catalog

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

# A definition may take more than one line.
tr -s '\t\n\134 ' ' ' <"$source/lib/names.h" | grep -oE 'PML_MESSAGE_[A-Z_]+ "[0-9a-f]+"' >"$dir/defined"
sed 's/.*"\(.*\)"/\1/' "$dir/defined" | sort >"$dir/ids"
sed -n 's/^-- \([0-9a-f]*\)$/\1/p' "$catalog" | sort >"$dir/catalog-ids"
same "every MESSAGE_ID of the code is in the catalog, and the reverse" "$dir/ids" "$dir/catalog-ids"

sort -u "$dir/ids" >"$dir/unique"
same "none stands for two things" "$dir/ids" "$dir/unique"

sed 's/ .*//' "$dir/defined" | sort >"$dir/names"
grep -ohE 'PML_MESSAGE_[A-Z_]+' "$source"/daemon/*.c | sort -u >"$dir/used"
same "every message is written somewhere" "$dir/names" "$dir/used"

grep -oE '@[A-Z_]+@' "$catalog" | tr -d @ | sort -u >"$dir/fields"
grep -oE '\{"[A-Z_]+",' "$source/daemon/log.c" | tr -d '{",' | sort -u | comm -12 - "$dir/fields" >"$dir/written"
same "every field of the catalog is written by the daemon" "$dir/fields" "$dir/written"

if command -v journalctl >/dev/null; then
	mkdir -p "$dir/root/usr/lib/systemd/catalog" "$dir/root/var/lib/systemd/catalog"
	cp "$catalog" "$dir/root/usr/lib/systemd/catalog/"
	journalctl --root="$dir/root" --update-catalog 2>"$dir/errors" || true
	journalctl --root="$dir/root" --list-catalog 2>>"$dir/errors" | sed 's/ .*//' | sort >"$dir/listed"
	sed 's/^/# /' "$dir/errors"
	same "journalctl reads the catalog" "$dir/ids" "$dir/listed"
fi
echo "1..$n"

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# ./run kernel matrix: the stale-access matrix of a kernel, as a table and as JSON, and of two of
# them side by side as a picture.

matrix_dir=$top/build-kernel-matrix

# matrix_json KERNEL MADE_OF <LINES: what matrix.sh has printed, as an object. MADE_OF is the key of
# the kernel in the cache: the release's name says nothing of the patches.
matrix_json()
{
	jq -Rn --arg kernel "$1" --arg made_of "$2" --arg programs "$(matrix_programs)" '
		[inputs] as $lines
		| ([$lines[] | capture("^matrix (?<release>[^ ]+) (?<possible>[0-9]+)$")] | last) as $head
		| {kernel: $kernel, release: $head.release, made_of: $made_of, programs: $programs,
			possible: (($head.possible // "0") | tonumber),
			cells: [$lines[] | capture(
				"^cell (?<row>[^ ]+) (?<event>[^ ]+) (?<outcome>[^ ]+) ?(?<detail>.*)$")]}'
}

# What judges: cells of different judges are no matrix.
matrix_programs()
{
	cat "$top"/tests/lab/kernel/*.[ch] "$top/tests/lab/kernel/lib-matrix.sh" \
		"$top/tests/lab/splats" | hash_of
}

# matrix_add OLD.json NEW.json: the new cells, and those of the old ones that the same programs saw
# on the same kernel and that were not run again. All of it takes long, and need not be in one go.
matrix_add()
{
	jq -s '
		def name: "\(.row) \(.event)";
		.[0] as $old | .[1] as $new
		| if ($old.made_of == $new.made_of and $old.programs == $new.programs) then
			($new.cells | map(name)) as $again
			| $new
			| .release //= $old.release
			| .possible = ([$old.possible, $new.possible] | max)
			| .cells = [$old.cells[] | select(name as $n | $again | index([$n]) | not)]
				+ $new.cells
		else $new end' "$1" "$2"
}

# matrix_table FILE.json
matrix_table()
{
	jq -r '
		def once: reduce .[] as $x ([]; if index([$x]) then . else . + [$x] end);
		(.cells | map(.event) | once) as $events
		| (.cells | map({key: "\(.row) \(.event)", value: .outcome}) | from_entries) as $at
		| (["holder"] + $events),
		  (.cells | map(.row) | once | .[] as $row
			| [$row] + ($events | map($at["\($row) \(.)"] // "")))
		| @tsv' "$1" | awk -F'\t' '
		{
			for (i = 1; i <= NF; i++) {
				cell[NR, i] = $i
				if (length($i) > width[i])
					width[i] = length($i)
			}
			columns = NF > columns ? NF : columns
		}
		END {
			for (row = 1; row <= NR; row++) {
				line = ""
				for (i = 1; i <= columns; i++)
					line = line sprintf("%-" width[i] + 2 "s", cell[row, i])
				sub(/ +$/, "", line)
				print line
			}
		}'
	jq -r '(.cells | length) as $run
		| [(.cells | group_by(if .outcome == "n/a" then "n/a: " + .detail else .outcome end)[]
			| "\(length) \(.[0] | if .outcome == "n/a" then "n/a: " + .detail else .outcome end)"),
			(.possible - $run | select(. > 0) | "\(.) not run")]
		| "\(.|join(", "))"' "$1"
	jq -r '"\(.kernel), \(.release // "that did not start")"' "$1"
}

# matrix_picture FILE.json...: every kernel's cells as coloured squares, side by side.
matrix_picture()
{
	jq -rs '
		def once: reduce .[] as $x ([]; if index([$x]) then . else . + [$x] end);
		def colour: {
			"no-access": "#2e8b57", held: "#d9a400", live: "#6aa6d6", stale: "#c62828",
			hang: "#8e24aa", oops: "#4a0000", broken: "#e07000", "n/a": "#e6e6e6", "-": "#e6e6e6"
		}[.] // "#ffffff\" stroke=\"#c8c8c8";
		def text: @html;
		(map(.cells[].event) | once) as $events
		| (map(.cells[].row) | once) as $rows
		| 18 as $size | 110 as $left | 140 as $above
		| ($left + ($events | length) * $size + 40) as $panel
		| ($above + ($rows | length) * $size + 50) as $height
		| "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\($panel * length)\" height=\"\($height)\" font-family=\"sans-serif\" font-size=\"11\">",
		  "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->",
		  "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>",
		  (to_entries[] | .key as $n | .value as $matrix
			| ($matrix.cells | map({key: "\(.row) \(.event)", value: .}) | from_entries) as $at
			| "<g transform=\"translate(\($n * $panel),0)\">",
			  "<text x=\"\($left)\" y=\"16\" font-size=\"14\" font-weight=\"bold\">\("\($matrix.kernel), \($matrix.release)" | text)</text>",
			  ($events | to_entries[]
				| "<text transform=\"translate(\($left + .key * $size + 13),\($above - 6)) rotate(-60)\">\(.value | text)</text>"),
			  ($rows | to_entries[] | .key as $y | .value as $row
				| "<text x=\"\($left - 6)\" y=\"\($above + $y * $size + 13)\" text-anchor=\"end\">\($row | text)</text>",
				  ($events | to_entries[] | $at["\($row) \(.value)"] as $cell
					| "<rect x=\"\($left + .key * $size)\" y=\"\($above + $y * $size)\" width=\"\($size - 2)\" height=\"\($size - 2)\" fill=\"\(($cell.outcome // "") | colour)\"><title>\("\($row), \(.value): \($cell.outcome // "not run") \($cell.detail // "")" | text)</title></rect>")),
			  "</g>"),
		  (["no-access", "held", "live", "broken", "stale", "hang", "oops", "n/a", ""] | to_entries[]
			| "<rect x=\"\($left + .key * 85)\" y=\"\($height - 26)\" width=\"14\" height=\"14\" fill=\"\(.value | colour)\"/>",
			  "<text x=\"\($left + .key * 85 + 19)\" y=\"\($height - 15)\">\({"n/a": "no such event", "": "not run"}[.value] // .value)</text>"),
		  "</svg>"' "$@"
}

# matrix_run KERNEL TIMEOUT [HOLDER:EVENT]...: adds to what is there, and shows all of it.
matrix_run()
{
	local kernel=$1 timeout=$2 base=$matrix_dir/$1 made_of
	shift 2

	made_of=$(kernel_get "$kernel" >&2 && basename "$kernel_dir")
	"$top/tests/lab/boot.sh" --kernel "$kernel" --timeout "$timeout" \
		"$top/tests/lab/kernel/matrix.sh" "$@" | tee "$base.cells" || true
	matrix_json "$kernel" "$made_of" <"$base.cells" >"$base.new"
	if [ -s "$base.json" ]; then
		matrix_add "$base.json" "$base.new" >"$base.all"
		mv "$base.all" "$base.new"
	fi
	mv "$base.new" "$base.json"
	echo
	matrix_table "$base.json" | tee "$base.txt"
}

kernel_matrix()
{
	local kernels=() kernel files=() timeout=7200 picture=''

	while [[ ${1:-} = --* ]]; do
		[ $# -ge 2 ] || die "$1 needs a value (./run kernel help)"
		case $1 in
		--kernel) kernels+=("$2") ;;
		--timeout) timeout=$2 ;;
		--picture) picture=$2 ;;
		*) die "unknown option $1 (./run kernel help)" ;;
		esac
		shift 2
	done
	[ ${#kernels[@]} -gt 0 ] || kernels=(stock)
	mkdir -p "$matrix_dir"
	for kernel in "${kernels[@]}"; do
		matrix_run "$kernel" "$timeout" "$@"
		files+=("$matrix_dir/$kernel.json")
	done
	[ -z "$picture" ] || matrix_picture "${files[@]}" >"$picture"
	say "Tables and JSON: $matrix_dir"
}

# matrix_draw FILE.svg FILE.json...: from what was measured earlier.
matrix_draw()
{
	local picture=$1 file
	shift

	for file in "$@"; do
		jq -e '.kernel and .cells' "$file" >/dev/null || die "$file is no matrix (./run kernel matrix)"
	done
	matrix_picture "$@" >"$picture.new"
	mv "$picture.new" "$picture"
}

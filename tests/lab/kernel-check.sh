# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# ./run kernel check: what can be said of each patch without booting.

# Built at every step. What a patch touches elsewhere is added.
check_targets=(drivers/dax/ drivers/nvdimm/ mm/ arch/x86/kvm/)

# check_targets_of PATCH...: directories with C code that the patches touch, and no target has.
check_targets_of()
{
	local dir target

	sed -n 's|^+++ b/\(.*\)/[^/]*\.c$|\1/|p' "$@" | sort -u | while read -r dir; do
		case $dir in
		# Compiled as a part of the architecture's.
		virt/kvm/) continue ;;
		tools/*) continue ;;
		esac
		for target in "${check_targets[@]}"; do
			[[ $dir != "$target"* ]] || continue 2
		done
		echo "$dir"
	done
}

# A tree that stays, so that a second check compiles what has changed since.
check_prepare()
{
	local tree=$1

	tree_make "$tree"
	tree_configure "$tree" "$config_dir/lab.config"
	check_make "$tree" "$tree.log"
}

# Warnings do not stop a build, errors do.
check_make()
{
	local tree=$1 log=$2

	tree_make_target "$tree" prepare modules_prepare >"$log" 2>&1 &&
		tree_make_target "$tree" W=1 C=1 CHECK="sparse" "${targets[@]}" >>"$log" 2>&1
}

# Warnings without their line numbers, which move.
check_warnings()
{
	grep -hE ': (warning|error):|: (warning|error) ' "$@" |
		sed -E 's/^\.\///; s/:[0-9]+:[0-9]+:/:/; s/:[0-9]+:/:/' | sort -u
}

# The subject, which is folded when it is long.
check_subject()
{
	awk '
		/^Subject: / { on = 1; sub(/^Subject: (\[[^]]*\] )?/, ""); printf "%s", $0; next }
		on && /^ / { printf "%s", $0; next }
		on { exit }' "$1"
}

# check_one TREE PATCH: one line of the report; what was found is in $report/NUMBER.*
check_one()
{
	local tree=$1 file=$2 number applies=yes builds=- warnings=- style=- found bad=0

	number=$(basename "$file" | cut -d- -f1)
	if ! tree_patch "$tree" "$file" >"$report/$number.apply" 2>&1; then
		applies=NO bad=1
	elif ! check_make "$tree" "$report/$number.build"; then
		applies=yes builds=NO bad=1
	else
		builds=yes
		found=$(check_warnings "$report/$number.build" | comm -23 - "$report/known")
		warnings=$(grep -c . <<<"$found") || true
		printf '%s\n' "$found" >"$report/$number.warnings"
		# The next patch is not blamed for it again.
		sort -u -o "$report/known" "$report/known" "$report/$number.warnings"
		[ "$warnings" -eq 0 ] || bad=1
	fi
	# What a commit's number means is not in a package of source. And that a file is new is only
	# a question: MAINTAINERS names whole directories, or the patch adds the file to it.
	if (cd "$tree" && perl scripts/checkpatch.pl --strict --terse --no-summary --show-types \
		--ignore UNKNOWN_COMMIT_ID,FILE_PATH_CHANGES \
		"$(realpath "$file")") >"$report/$number.checkpatch" 2>&1; then
		style=0
	else
		style=$(grep -cE ' (ERROR|WARNING|CHECK):' "$report/$number.checkpatch") || true
		bad=1
	fi
	printf '%-6s %-8s %-7s %-9s %-11s %s\n' "$number" "$applies" "$builds" "$warnings" "$style" \
		"$(check_subject "$file")"
	return "$bad"
}

# What a tree without the series says is known, and only what a patch adds counts.
kernel_check()
{
	local tree file number bad=0 targets report wanted=" $* "

	setup_kernel_packages
	series_get
	source_get
	mapfile -t targets < <(printf '%s\n' "${check_targets[@]}" && check_targets_of "${series[@]}")
	report=$top/build-kernel-check
	rm -rf "$report"
	mkdir -p "$report" "$(cache_dir)/runs"
	tree=$(mktemp -d "$(cache_dir)/runs/check.XXXXXX")/linux
	# shellcheck disable=SC2064 # the path of now
	trap "rm -rf '${tree%/linux}'" EXIT
	step "building the tree without the series (${targets[*]})" check_prepare "$tree"
	check_warnings "$tree.log" >"$report/known" || true
	printf '%-6s %-8s %-7s %-9s %-11s %s\n' patch applies builds warnings checkpatch subject
	for file in "${series[@]}"; do
		number=$(basename "$file" | cut -d- -f1)
		if [ $# -gt 0 ] && [[ $wanted != *" $((10#$number)) "* ]]; then
			tree_patch "$tree" "$file" >/dev/null || die "$file does not apply"
			continue
		fi
		check_one "$tree" "$file" || bad=$((bad + 1))
	done
	say "Details: $report"
	[ "$bad" -eq 0 ] || die "$bad of the patches have something to be mended"
}

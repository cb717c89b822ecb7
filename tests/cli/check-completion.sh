#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-completion.sh PMEMLEASE COMPLETION: bash completes what the command takes, and nothing else. Prints TAP.
set -euo pipefail

pmemlease=$(realpath "$1") completion=$2
n=0

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# What it lists, and a virsh, without a daemon. A name is data, whatever it looks like.
cat >"$dir/pmemlease" <<'EOF'
#!/bin/sh
echo "$*" >>"${0%/*}/asked"
case " $* " in
*" regions "*) printf 'dax0.0 id0 1G\ndax1.0 id1 1G\n- id2 1G\n' ;;
*" leases "*) echo 'dax0.0 g1 active' ;;
*" jobs "*) echo '7 evict' ;;
esac
EOF
cat >"$dir/virsh" <<'EOF'
#!/bin/sh
printf 'g1\ng2\n$(touch pwned)\na b\n'
EOF
chmod +x "$dir/pmemlease" "$dir/virsh"
export PATH=$dir:$PATH
cd "$dir"
# shellcheck source=cli/completion/pmemlease
. "$completion"

# complete_words WORD...: what can stand for the last one, sorted, on one line
complete_words()
{
	COMP_WORDS=(pmemlease "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_pmemlease
	[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
}

# gives WHAT EXPECTED WORD...
gives()
{
	local what=$1 expected=$2 given

	shift 2
	given=$(complete_words "$@")
	n=$((n + 1))
	if [ "$given" = "$expected" ]; then
		echo "ok $n - $what"
	else
		echo "not ok $n - $what"
		echo "# '$given' is not '$expected'"
	fi
}

gives "verbs that begin so" "readmit regions release revoke" re
gives "regions" "dax0.0 dax1.0" evict ''
gives "regions that begin so" dax1.0 evict dax1
gives "regions behind an option" "dax0.0 dax1.0" evict --deadline = 5s ''
gives "regions behind an option of another form" "dax0.0 dax1.0" status -n 3 ''
gives "what is lent" dax0.0 release ''
gives "jobs" 7 cancel ''
gives "domains, and nothing in their names is run" "\\\$\\(touch\\ pwned\\) a\\ b g1 g2" lease dax0.0 ''
gives "domains where a size stands for the region" "\\\$\\(touch\\ pwned\\) a\\ b g1 g2" lease --size = 1G ''
gives "no third argument" "" lease dax0.0 g1 ''
gives "an option's values" "destroy keep pause" evict --after-fence ''
gives "an option's values behind =" destroy evict --after-fence = d
gives "an option's values right behind =" "keep scrub" lease --on-end =
gives "whose data is destroyed is typed by a person" "" scrub dax0.0 --discard = ''
gives "no domains of another host" "" -H root@other lease dax0.0 ''
: >asked
complete_words -H root@other evict '' >/dev/null
gives "options that begin so" "--deadline= --device= --drain=" evict --d
n=$((n + 1))
if grep -qx -- '--no-ask-password --no-legend -H root@other regions' asked; then
	echo "ok $n - another host's regions are asked of it"
else
	echo "not ok $n - another host's regions are asked of it"
fi
n=$((n + 1))
if [ -e pwned ]; then
	echo "not ok $n - no name is run"
else
	echo "ok $n - no name is run"
fi

# --- the command itself: verbs, and which verb takes which option ---

export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$dir/no-bus
usage=$("$pmemlease" help)
mapfile -t verbs < <(sed -n '/^Commands:/,/^Options:/s/^  \([a-z][a-z-]*\).*/\1/p' <<<"$usage")
mapfile -t options < <(sed -n '/^Options:/,/^Exit/p' <<<"$usage" | grep -o '^  -[-a-zA-Z, ]*' |
	grep -oE -- '--?[a-zA-Z][a-z-]*' | sort -u)
gives "all verbs" "$(printf '%s\n' "${verbs[@]}" | sort | paste -sd ' ')" ''

value_of()
{
	case $1 in
	--size) echo 1G ;;
	--node) echo 0 ;;
	--kind) echo devdax ;;
	--model) echo dimm ;;
	--drain) echo never ;;
	--on-refusal) echo keep ;;
	esac
}

# takes VERB OPTION
takes()
{
	local -a arguments=()
	local said

	case $1 in
	lease | adopt)
		arguments=(a b)
		;;
	status | regions | leases | jobs | history | monitor | doctor) ;;
	*)
		arguments=(1)
		;;
	esac
	case $2 in
	--on-end)
		arguments+=(--on-end=keep)
		;;
	--after-fence)
		arguments+=(--after-fence=pause)
		;;
	--deadline)
		arguments+=(--deadline=1s)
		;;
	--size | --node | --kind | --model | --drain | --on-refusal)
		arguments+=("$2=$(value_of "$2")")
		;;
	--lines)
		arguments+=(--lines=1)
		;;
	--owner | --discard | --reason | --device)
		arguments+=("$2=x")
		;;
	*)
		arguments+=("$2")
		;;
	esac
	# what is refused is refused before anything is looked at
	said=$("$pmemlease" "$1" "${arguments[@]}" 2>&1) || true
	[[ $said != *"is no option of"* ]]
}

for verb in "${verbs[@]}"; do
	[ "$verb" != help ] || continue
	expected=()
	for option in "${options[@]}"; do
		case $option in
		# of all verbs, and some of them act at once
		-h | -H | --help | --version | --host | --json | --no-legend | --no-ask-password)
			expected+=("$option")
			;;
		-n)
			[ "$verb" != history ] || expected+=("$option")
			;;
		*)
			! takes "$verb" "$option" || expected+=("$option")
			;;
		esac
	done
	n=$((n + 1))
	given=$({ complete_words "$verb" -; complete_words "$verb" --; } | tr ' ' '\n' | tr -d = | sort -u | paste -sd ' ')
	if [ "$given" = "$(printf '%s\n' "${expected[@]}" | sort -u | paste -sd ' ')" ]; then
		echo "ok $n - the options of $verb"
	else
		echo "not ok $n - the options of $verb"
		echo "# completed: $given"
		echo "# taken: ${expected[*]}"
	fi
done
echo "1..$n"

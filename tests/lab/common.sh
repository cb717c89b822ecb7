# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# What all of ./run's parts share: messages, progress, root, the cache.

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	printf 'run: %s\n' "$*" >&2
	exit 1
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "this needs root, and there is no sudo: $*"
	fi
}

cache_dir()
{
	printf '%s/pmemlease' "${XDG_CACHE_HOME:-$HOME/.cache}"
}

# A terminal gets one line that changes, a log file gets a new line every ten seconds.
progress_ticks()
{
	local text=$1 start=$SECONDS

	sleep 2 >/dev/null 2>&1
	while :; do
		if [ -t 2 ]; then
			printf '\r\033[K%s ... %d s' "$text" $((SECONDS - start)) >&2
			sleep 1 >/dev/null 2>&1
		else
			printf '%s ... %d s\n' "$text" $((SECONDS - start)) >&2
			sleep 10 >/dev/null 2>&1
		fi
	done
}

# try TEXT COMMAND [ARG]...: run COMMAND quietly; says how long it takes when that is over 2 s, and
# the end of its output when it fails. Sets $try_status and itself returns 0: where a caller's "||"
# or "if" looks at a function's status, "set -e" is off in all that the function does.
try()
{
	local text=$1 start=$SECONDS log ticker
	shift

	mkdir -p "$(cache_dir)/logs"
	find "$(cache_dir)/logs" -type f -mtime +7 -delete
	log=$(mktemp "$(cache_dir)/logs/step.XXXXXX")
	progress_ticks "$text" &
	ticker=$!
	# In the background, to be free of the "||" on this line.
	(
		set -e
		"$@"
	) </dev/null >"$log" 2>&1 &
	try_status=0
	wait $! || try_status=$?
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	if [ $((SECONDS - start)) -ge 2 ]; then
		[ ! -t 2 ] || printf '\r\033[K' >&2
		say "$text: $((SECONDS - start)) s"
	fi
	if [ "$try_status" -ne 0 ]; then
		say "$text: failed (status $try_status). The end of $log:"
		tail -n 30 "$log" >&2
	else
		rm -f "$log"
	fi
}

# The same for what must work. COMMAND is a function only where nobody looks at the status.
step()
{
	try "$@"
	return "$try_status"
}

hash_of()
{
	sha256sum | cut -c1-16
}

# cache_make NAME KEY TEXT COMMAND [ARG]...: sets $cached to the directory that COMMAND has filled
# (COMMAND gets it as its last argument). Made under a lock beside its final name and renamed, so
# that an interrupted run leaves nothing half-made; of older keys the last two are kept. With cache_only
# set, the shell exits where a kernel would have to be built, or its source fetched.
cache_make()
{
	local name=$1 key=$2 text=$3 base old
	shift 3

	base=$(cache_dir)
	cached=$base/$name-$key
	mkdir -p "$base"
	if [ ! -d "$cached" ]; then
		exec {cache_lock}>"$base/$name.lock"
		flock "$cache_lock"
		if [ ! -d "$cached" ]; then
			[[ -z ${cache_only:-} || $name != @(kernel-*|linux-source) ]] || exit 1
			for old in "$base/$name"-*.tmp; do
				[ ! -e "$old" ] || as_root rm -rf --one-file-system "$old"
			done
			mkdir "$cached.tmp"
			step "$text" "$@" "$cached.tmp"
			mv -T "$cached.tmp" "$cached"
		fi
		exec {cache_lock}>&-
	fi
	touch "$cached"
	find "$base" -maxdepth 1 -type d -name "$name-????????????????" -printf '%T@ %p\n' |
		sort -rn | tail -n +4 | cut -d' ' -f2- | while read -r old; do
		as_root rm -rf --one-file-system "$old"
	done
}

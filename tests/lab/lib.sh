# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For the scripts in tests/lab/: results as TAP, and waiting. A script ends with "plan", which says
# how many there were: one that stops halfway is thereby seen to have failed.

# Results from before a power cut count as well.
tap_count=0
tap_failed=0
[ ! -e /var/lib/lab/tap ] || read -r tap_count tap_failed </var/lib/lab/tap

# Cuts the power; the script is run again with LAB_BOOT one higher.
power_cut()
{
	echo "$tap_count $tap_failed" >/var/lib/lab/tap
	sync -f /var/lib/lab/tap
	lab power-cut
}

diag()
{
	printf '%s\n' "$*" | sed 's/^/# /'
}

ok()
{
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s\n' "$tap_count" "$*"
}

# not_ok NAME [DETAIL]
not_ok()
{
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "$1"
	[ $# -lt 2 ] || diag "$2"
}

# skip NAME REASON
skip()
{
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

# is GOT EXPECTED NAME
is()
{
	if [ "$1" = "$2" ]; then
		ok "$3"
	else
		not_ok "$3" "got:      $1"$'\n'"expected: $2"
	fi
}

# like GOT PATTERN NAME: an extended regular expression
like()
{
	if [[ $1 =~ $2 ]]; then
		ok "$3"
	else
		not_ok "$3" "got:     $1"$'\n'"pattern: $2"
	fi
}

# succeeds NAME COMMAND [ARG]...: shows the output of a command that fails
succeeds()
{
	local name=$1 output status=0
	shift

	output=$("$@" 2>&1) || status=$?
	if [ "$status" -eq 0 ]; then
		ok "$name"
	else
		not_ok "$name" "status $status from: $*"$'\n'"$output"
	fi
}

# fails NAME COMMAND [ARG]...
fails()
{
	local name=$1 output
	shift

	if output=$("$@" 2>&1); then
		not_ok "$name" "succeeded: $*"$'\n'"$output"
	else
		ok "$name"
	fi
}

# The last line of a script.
# What failed once in a hundred runs is not seen twice: its journal is all there is of it.
plan()
{
	[ "$tap_failed" -eq 0 ] || diag "$(journalctl -q -b -u pmemleased.service -o short-precise 2>/dev/null | cut -c1-300 | tail -n 120)"
	printf '1..%d\n' "$tap_count"
	[ "$tap_failed" -eq 0 ]
	exit
}

# wait_for SECONDS COMMAND [ARG]...: for what announces itself by no event that a shell can hear.
wait_for()
{
	local end=$((SECONDS + $1))
	shift

	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

# Milliseconds since the host was powered on.
now_msec()
{
	local up

	read -r up _ </proc/uptime
	echo "${up/./}0"
}

# guest_region DEVICE: the XML that plugs a device-dax into a domain by virsh attach-device.
guest_region()
{
	local size align

	size=$(cat "/sys/bus/dax/devices/$1/size")
	align=$(cat "/sys/bus/dax/devices/$1/align")
	cat <<-XML
	<memory model='nvdimm' access='shared'>
	  <source><path>/dev/$1</path><alignsize unit='B'>$align</alignsize><pmem/></source>
	  <target><size unit='B'>$size</size><node>0</node></target>
	</memory>
	XML
}

# A holder of a device, with its command line and answers on descriptors:
#	holder_start NAME MODE DEVICE	returns when it holds the device
#	holder_ask NAME WORD...		prints its answer
#	holder_pids NAME		the processes that hold the device
#	holder_end NAME			lets go and waits for its end
declare -A holder_in holder_out holder_pid holder_holding

holder_start()
{
	local name=$1 line in out

	mkdir -p /run/lab-holder
	rm -f "/run/lab-holder/$name".{in,out}
	mkfifo "/run/lab-holder/$name".{in,out}
	"${holder_program:-holder}" "$2" "$3" <"/run/lab-holder/$name.in" >"/run/lab-holder/$name.out" &
	holder_pid[$name]=$!
	exec {in}>"/run/lab-holder/$name.in" {out}<"/run/lab-holder/$name.out"
	holder_in[$name]=$in
	holder_out[$name]=$out
	while IFS= read -r -t 30 -u "$out" line; do
		case $line in
		pid\ *) holder_holding[$name]="${holder_holding[$name]:-} ${line#pid }" ;;
		ready) return 0 ;;
		*) diag "holder $name: $line" ;;
		esac
	done
	return 1
}

holder_ask()
{
	local name=$1 line
	shift

	printf '%s\n' "$*" >&"${holder_in[$name]}"
	IFS= read -r -t 30 -u "${holder_out[$name]}" line || return 1
	printf '%s\n' "$line"
}

holder_pids()
{
	echo "${holder_holding[$1]# }"
}

holder_end()
{
	local name=$1 in=${holder_in[$1]} out=${holder_out[$1]}

	# The end of input alone may not come: what was started later has the pipe open too.
	echo release >&"$in"
	exec {in}>&- {out}<&-
	wait "${holder_pid[$name]}"
	unset "holder_in[$name]" "holder_out[$name]" "holder_pid[$name]" "holder_holding[$name]"
}

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The main job as a story, on the kernel that it runs on: ./run demo.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

start=$(now_msec)
bold=$'\e[1m' plain=$'\e[0m' dim=$'\e[2m'
[ -n "${LAB_TTY:-}" ] || bold='' plain='' dim=''

elapsed()
{
	local msec=$(($(now_msec) - start))

	printf '%3d.%d s' $((msec / 1000)) $((msec / 100 % 10))
}

tell()
{
	printf '\n%s[%s]  %s%s\n' "$bold" "$(elapsed)" "$*" "$plain"
}

# Shows a command and what it prints; its status is that of the command.
run()
{
	printf '%s  $ %s%s\n' "$dim" "$*" "$plain"
	"$@" 2>&1 | sed 's/^/    /'
	return "${PIPESTATUS[0]}"
}

# The same on a terminal, for a progress bar.
run_on_terminal()
{
	printf '%s  $ %s%s\n' "$dim" "$*" "$plain"
	script -qefc "stty cols 100; ${*@Q}" /dev/null </dev/null | sed -u 's/\r\(.\)/\r    \1/g; s/^/    /'
	return "${PIPESTATUS[0]}"
}

must()
{
	run "$@" || fail "this should have worked: $*"
}

must_refuse()
{
	! run "$@" || fail "this should have been refused: $*"
}

# What is told again at the end, and beside the other kernel's. outcome WHAT HOW
outcomes=()

outcome()
{
	outcomes+=("$1: $2")
}

fail()
{
	printf '\nThe demo failed: %s\n' "$*"
	journal_tail 40
	exit 1
}

tell "Linux $(uname -r). A host with an NVDIMM: a namespace in devdax mode is a region that can be lent."
dax=$(lab-region 896M) || fail "no namespace"
wait_region 20 "$dax" Presence online || fail "the service does not see $dax"
kernel=stock
[ "$(region_get "$dax" FenceLevel)" != revoke ] || kernel=patched
must pmemlease regions

tell "Two KVM guests of libvirt start: g1, the first tenant, and g2, the second. It takes half a minute here."
guest start g1 >/dev/null &
first=$!
guest start g2 >/dev/null || fail "g2 does not start"
wait "$first" || fail "g1 does not start"
run virsh list
g1=$(guest uuid g1)

tell "Nobody has said whose data is on the region. It is not lent before somebody does."
must_refuse pmemlease lease "$dax" g1
must pmemlease adopt "$dax" "$g1"

tell "The lease: hot-plugged into the running g1 as an NVDIMM, and what QEMU maps is checked."
must pmemlease lease "$dax" g1
run pmemlease leases
run guest cmd g1 fill 7
run guest cmd g1 check 7

tell "g1 writes and writes, from now on, to the whole region."
run guest cmd g1 spin 9
run guest cmd g1 spun

tell "A process on the host maps the region too, and keeps nothing but that mapping."
holder_start old fd-closed "/dev/$dax" || fail "holder"
run echo "pid $(holder_pids old), reads: $(holder_ask old touch)"

tell "The operator wants the memory back. g1 is asked, does not answer, and 5 s later is not asked any more."
must pmemlease evict "$dax" --deadline=5s
run pmemlease regions
run virsh domstate --reason g1

tell "The proof: who held it, how many mappings are left, what an access gives."
must pmemlease proof "$dax"
run echo "the old process reads again: $(holder_ask old touch)"

outcome "the fence" "$(pmemlease --json proof "$dax" | jq -r '"\(.rung); the proof says \(.verdict)"')"

# --- a kernel that cannot revoke: whoever has had it must have gone ---
lent_when_they_have_gone()
{
	outcome "g1, without its memory" "$(virsh domstate --reason g1 | head -n 1): it would spin"
	tell "g2 asks for it. Refused: old holders live, and on this kernel they would get back in."
	must_refuse pmemlease lease "$dax" g2
	outcome "g2, beside g1" "is refused"

	tell "The old holders go. Nobody tells the service; it watches them."
	holder_end old
	guest stop g1
	wait_region 60 "$dax" Use free || fail "not free"
	wait_region 60 "$dax" Presence online || fail "not bound again"
	run pmemlease regions
	outcome "the region is free" "when g1 has ended"
}

# --- one that can: what they have is dead, and stays so ---
lent_while_they_live()
{
	tell "g1 lives on. What it touches of the memory is an error to its program, and no more."
	must virsh domstate g1
	must guest cmd g1 stop
	answer=$(guest cmd g1 check 7)
	run echo "g1 reads its memory: $answer"
	[[ $answer = sigbus* ]] || fail "g1 still reads it"
	must guest cmd g1 ping
	outcome "g1, without its memory" "$(virsh domstate g1 | head -n 1): a machine check, which it survives"

	tell "The process on the host has the device's name still, and could open it again: it is waited for. g1 is not."
	holder_end old
	wait_region 60 "$dax" Use free || fail "not free"
	wait_region 60 "$dax" Presence online || fail "not bound again"
	run pmemlease regions
	outcome "the region is free" "at once, while g1 runs"
}

case $kernel in
patched) lent_while_they_live ;;
*) lent_when_they_have_gone ;;
esac

tell "g2 asks again. Refused: the data is still g1's."
must_refuse pmemlease lease "$dax" g2

tell "The operator discards g1's data, by name. Overwritten, flushed, and read back."
run_on_terminal pmemlease scrub "$dax" --discard="$g1" || fail "the scrub"

tell "Now g2 gets it, and reads it all: nothing but zeroes."
must pmemlease lease "$dax" g2
run guest cmd g2 info
answer=$(guest cmd g2 zero)
run echo "g2, is every byte zero? $answer"
[ "$answer" = ok ] || fail "g2 read something"
outcome "g2, when the region is scrubbed" "reads nothing but zeroes"

if [ "$kernel" = patched ]; then
	tell "g2 writes. g1 runs beside it, and tries to write, too: nothing of it arrives."
	run guest cmd g2 fill 11
	for _ in 1 2 3; do
		run guest cmd g1 fill 3
	done
	answer=$(guest cmd g2 check 11)
	run echo "g2, is every byte its own? $answer"
	[ "$answer" = ok ] || fail "g1 wrote into g2's memory"
	run virsh list
	outcome "g2, beside g1" "uses the region while g1 tries to write to it: no byte of g1 arrives"
fi

tell "What the ledger remembers of it."
run pmemlease history "$dax"
tell "In short, on the $kernel kernel:"
printf '    = %s\n' "${outcomes[@]}"

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The main job as a story: ./run demo.
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

fail()
{
	printf '\nThe demo failed: %s\n' "$*"
	journal_tail 40
	exit 1
}

tell "A host with an NVDIMM: a namespace in devdax mode is a region that can be lent."
dax=$(lab-region 896M) || fail "no namespace"
wait_region 20 "$dax" Presence online || fail "the service does not see $dax"
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

tell "g2 asks for it. Refused: old holders live, and on this kernel they would get back in."
must_refuse pmemlease lease "$dax" g2

tell "The old holders go. Nobody tells the service; it watches them."
holder_end old
guest stop g1
wait_region 60 "$dax" Use free || fail "not free"
wait_region 60 "$dax" Presence online || fail "not bound again"
run pmemlease regions

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

tell "What the ledger remembers of it."
run pmemlease history "$dax"
tell "Done."

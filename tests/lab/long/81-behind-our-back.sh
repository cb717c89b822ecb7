#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lab: --timeout 1200
#
# What others do with a region behind the daemon's back: they open it, map it, attach it to another machine, bind it while it is kept
# offline, and take its namespace, its module or its NVDIMM region away under a machine that has it. All of it is seen and said, and
# the region is neither lent nor scrubbed until it has ended.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
id=$(region_get "$dax" Id)
uuid=$(guest uuid b1)
pmemlease adopt "$dax" "$uuid" >/dev/null
bare_start b1
bare_start b4

mkdir -p /etc/pmemlease/pmemleased.conf.d
printf '[Proof]\nLookInterval=1s\n' >/etc/pmemlease/pmemleased.conf.d/50-test.conf
systemctl reload pmemleased.service

held()
{
	[[ $(region_get "$id" Obstacles) == *"behind our back"* ]]
}

not_held()
{
	! held
}

# By its own id where it has been asked for: without its module the namespace is a region of other bounds, under the same id.
lease_is()
{
	[ "$(lease_get "${lease:-$id}" State)" = "$1" ]
}

lease_warns()
{
	[[ $(lease_get "$id" Warnings) == *"$1"* ]]
}

no_lease()
{
	[ -z "$(lease_get "$lease" State 2>/dev/null)" ]
}

# somebody_has NAME WORD: seen, said, and neither lent nor scrubbed meanwhile
somebody_has()
{
	succeeds "$1: an obstacle" wait_for 30 held
	like "$(region_get "$id" Obstacles)" "$2" "$1: that names who"
	like "$(refusal pmemlease lease "$dax" b1)" "held .*status [1-9]" "$1: it is not lent"
	like "$(refusal pmemlease scrub "$dax" --discard="$uuid")" "status [1-9]" "$1: it is not scrubbed"
	is "$(region_get "$id" Content)" retained "$1: the data is as it was"
	like "$(journalctl -q -u pmemleased.service --no-pager -n 40)" "is held behind our back, by .*$2" "$1: the journal has it"
}

# --- held ---
exec 7<>"/dev/$dax"
somebody_has "opened" "81-behind"
exec 7>&-
succeeds "closed: no more" wait_for 30 not_held

for mode in map fd-closed; do
	holder_start old "$mode" "/dev/$dax"
	somebody_has "$mode" "holder"
	holder_end old
	succeeds "$mode, ended: no more" wait_for 30 not_held
done

virsh --quiet attach-device b4 /dev/stdin <<<"$(region_memory "$dax")"
somebody_has "attached with virsh" "qemu"
virsh --quiet destroy b4
succeeds "attached with virsh, destroyed: no more" wait_for 30 not_held
succeeds "then it is lent" pmemlease lease "$dax" b1

exec 7<>"/dev/$dax"
succeeds "opened beside its machine: the lease warns" wait_for 30 lease_warns "held by others than the machine"
succeeds "opened beside its machine: the lease goes on" lease_is active
exec 7>&-
succeeds "closed: it warns no more" wait_for 30 not_held

# --- taken away under the machine ---
# gone NAME WAY-BACK...: what was done has taken the device away; what brings it back
gone()
{
	local name=$1
	shift

	succeeds "$name: the lease is fenced, with a proof" wait_for 60 lease_is fenced
	like "$(region_get "$id" Presence)" "^(missing|offline)$" "$name: the region is not there"
	virsh --quiet destroy b1
	succeeds "$name: the lease ends with its machine" wait_for 60 no_lease
	succeeds "$name: back" "$@"
	wait_region 60 "$id" Presence online
	dax=$(region_get "$id" Name)
	succeeds "$name: free again" wait_region 60 "$id" Use free
	is "$(region_get "$id" Owner)" "$uuid" "$name: the data is the machine's own"
	bare_start b1
	succeeds "$name: and lent again" pmemlease lease "$id" b1
	lease=$(lease_get "$id" Id)
}

lease=$(lease_get "$id" Id)
namespace=$(ndctl list -N | jq -r 'if type == "array" then .[0] else . end | .dev')
region=$(ndctl list -R -n "$namespace" | jq -r '.[0].dev')
succeeds "the namespace is disabled" ndctl disable-namespace "$namespace"
gone "namespace" ndctl enable-namespace "$namespace"
succeeds "the NVDIMM's region is disabled" ndctl disable-region "$region"
gone "region" ndctl enable-region "$region"
succeeds "the module is removed" modprobe -r dax_pmem
gone "module" modprobe dax_pmem
virsh --quiet destroy b1
wait_region 60 "$id" Use free

# --- kept offline, and bound by somebody ---
pmemlease evict "$id" --deadline=0 --keep-offline >/dev/null
wait_region 20 "$id" Presence offline
echo "$dax" >/sys/bus/dax/drivers/device_dax/bind
succeeds "kept offline and bound by somebody: quarantined" wait_region 30 "$id" Use quarantined
succeeds "and unbound again" wait_region 10 "$id" Binding none
like "$(region_get "$id" Reason)" "somebody bound it" "with the reason"
like "$(refusal pmemlease readmit "$id")" "quarantine.*status [1-9]" "it is not readmitted"
succeeds "the operator lifts it" pmemlease lift-quarantine "$id" --reason="a test"
succeeds "readmitted" pmemlease readmit "$id"
succeeds "free" wait_region 30 "$id" Use free
journal_tail 15
plan

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Bad input: each gives a named error with a sentence, and changes nothing.
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
# shellcheck source=tests/lab/lib-pmemlease.sh
. ./lib-pmemlease.sh

dax=$(lab-region 64M)
wait_region 20 "$dax" Presence online
owner=$(guest uuid b1)
pmemlease adopt "$dax" "$owner"

# --- names ---
like "$(refusal pmemlease lease nosuch b1)" "No region.*status 3|no region.*status 3" "an unknown region"
like "$(refusal pmemlease lease /dev/null b1)" "status [34]" "a path that is no region"
like "$(refusal pmemlease lease /etc/passwd b1)" "status [34]" "a path that is no device"
like "$(refusal pmemlease lease /dev/nosuch b1)" "status 3" "a path that does not exist"
like "$(refusal pmemlease lease "$(printf 'x%.0s' {1..5000})" b1)" "status [234]" "a name without end"
like "$(refusal pmemlease lease $'a\tb\n' b1)" "status [234]" "a name with control characters"
like "$(refusal pmemlease lease "$dax" nosuch)" "nosuch.*status 3" "an unknown domain"
bare_start b3 && virsh --quiet destroy b3
like "$(refusal pmemlease lease "$dax" b3 --owner="$owner")" "(shut off|not running|start).*status [34]" "a domain that is shut off"
is "$(region_get "$dax" Use)" free "the region is as it was"

# --- machines that cannot take it ---
unsuited()
{
	local name=$1 what=$2 edit=$3 pattern=$4

	bare_start b4
	virsh --quiet destroy b4
	virsh dumpxml b4 --inactive | sed -E "$edit" >/run/b4.xml
	virsh --quiet undefine b4
	virsh --quiet define /run/b4.xml
	virsh --quiet start b4 || { not_ok "$name" "does not start"; return; }
	like "$(refusal pmemlease lease "$dax" b4 --owner="$owner")" "$pattern.*status 4" "$name"
	is "$(region_get "$dax" Use)" free "$name: the region is as it was ($what)"
	virsh --quiet destroy b4
	virsh --quiet undefine b4
}
unsuited "no free slot" slots "s/slots='8'/slots='1'/" "slot"
unsuited "no nvdimm in the machine" nvdimm '/<memory model=/,/<\/memory>/d' "nvdimm"

# --- deadlines ---
bare_start b1
succeeds "lease" pmemlease lease "$dax" b1
like "$(refusal pmemlease evict "$dax" --deadline=365d)" "(day|deadline).*status [24]" "a deadline of a year"
like "$(refusal pmemlease evict "$dax" --deadline=-1)" "status 2" "a negative deadline"
like "$(refusal pmemlease evict "$dax" --deadline=soon)" "status 2" "a deadline that is none"
is "$(lease_get "$dax" State)" active "the lease is as it was"

# --- an evict during an evict; cancel ---
pmemlease --no-wait evict "$dax" --deadline=60s >/dev/null
succeeds "draining" wait_for 10 test "$(lease_get "$dax" State)" = draining
job=$(busctl --json=short call "$bus" /org/pmemlease1 "$bus.Manager" ListJobs | jq -r '.data[0][0][0]')
succeeds "cancel before the deadline" pmemlease cancel "$job"
lease_is_active() { [ "$(lease_get "$dax" State)" = active ]; }
succeeds "active again" wait_for 10 lease_is_active
is "$(region_get "$dax" Use)" leased "and leased"
pmemlease --no-wait evict "$dax" --deadline=60s >/dev/null
before=$(now_msec)
succeeds "an evict at once during an evict hurries it" pmemlease evict "$dax" --deadline=0
succeeds "it did" test $(($(now_msec) - before)) -lt 30000
is "$(lease_get "$dax" State)" fenced "fenced"
like "$(refusal pmemlease evict "$dax" --deadline=0)" "status [034]" "an evict after it is an answer"
like "$(refusal pmemlease cancel 99999)" "status 3" "cancelling no job"
virsh --quiet destroy b1
succeeds "free" wait_region 30 "$dax" Use free

# --- a symbolic link swapped in; a renumbered node ---
other=$(lab-region 64M)
wait_region 20 "$other" Presence online
ln -sf "/dev/$dax" /run/link
bare_start b1
succeeds "a symbolic link means what it points to" pmemlease lease /run/link b1
is "$(region_get "$dax" Use)" leased "that region"
is "$(region_get "$other" Use)" free "and no other"
succeeds "evict by the link" pmemlease evict /run/link --deadline=0 --after-fence=destroy
succeeds "free" wait_region 30 "$dax" Use free
minor=$(stat -c %T "/dev/$other") major=$(stat -c %t "/dev/$other")
mv "/dev/$dax" "/dev/$dax.kept"
mknod "/dev/$dax" c $((16#$major)) $((16#$minor))
busctl call "$bus" /org/pmemlease1 "$bus.Manager" Reload
bare_start b1
like "$(refusal pmemlease lease "$dax" b1)" "status [34]" "a node with another device's number is refused"
is "$(region_get "$other" Use)" free "the other region was not touched"
mv -f "/dev/$dax.kept" "/dev/$dax"
busctl call "$bus" /org/pmemlease1 "$bus.Manager" Reload
virsh --quiet destroy b1

# --- a namespace re-created with other bounds over an extent with a past ---
namespace=$(ndctl list -X | jq -r --arg d "$dax" '.[] | select(any(.daxregion.devices[]?; .chardev == $d)) | .dev')
region=region${namespace//[!0-9.]/}
region=${region%.*}
succeeds "the namespace is destroyed" ndctl destroy-namespace -f "$namespace"
virsh --quiet destroy b1 2>/dev/null
# Smaller, so that it fits where the first one was: the other one lies behind it.
wide=$(lab-region 48M "$region")
wait_region 20 "$wide" Presence online
like "$(region_get "$wide" Content)" "foreign|retained" "the new region inherits what is known of its bytes"
like "$(region_get "$wide" Owner)" "$owner" "and whose they are"
bare_start b2
like "$(refusal pmemlease lease "$wide" b2)" "status 4" "nobody gets it by re-creating the namespace"
like "$(refusal pmemlease scrub "$wide" --discard=)" "status 4" "nor by a scrub that names nobody"
virsh --quiet destroy b2
journal_tail 5
plan

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# What must be installed on the machine that runs ./run, and where its packages come from.

setup_packages()
{
	local missing

	missing=$(comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) \
		<(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
			sed -n 's/ installed$//p' | sort -u))
	[ -n "$missing" ] || return 0
	say "Installing from this machine's Debian mirror: $(tr '\n' ' ' <<<"$missing")"
	step "reading the package lists" as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q update
	# shellcheck disable=SC2086
	step "installing packages" as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y install --no-install-recommends $missing
}

# The mirror that this machine's own apt uses for its main archive; the suite is replaced by
# whoever asks. Found in the configuration alone, so that it also works with empty lists.
setup_mirror()
{
	local codename mirror

	if [ -n "${PMEMLEASE_MIRROR:-}" ]; then
		printf '%s\n' "$PMEMLEASE_MIRROR"
		return
	fi
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # the names are apt's
	mirror=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(COMPONENT) $(REPO_URI)' |
		awk -v codename="$codename" '
			$1 == "Packages" && $3 == "main" && $4 !~ /security/ &&
			($2 == codename || $2 == "stable" || $2 == "oldstable") { print $4; exit }')
	[ -n "$mirror" ] || die "apt's configuration names no Debian archive; set PMEMLEASE_MIRROR"
	printf '%s\n' "$mirror"
}

# How this machine's apt reaches its mirror (proxies and the like), as an apt.conf.
setup_apt_conf()
{
	apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-Valid-Until|Retries|ForceIPv[46])\b' ||
		true
}

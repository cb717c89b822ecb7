# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
#
# What must be installed on the machine that runs ./run, and where its packages come from.

setup_packages()
{
	setup_install "${packages[@]}"
}

# What building kernels needs, on top: asked for only when one is built.
setup_kernel_packages()
{
	local list

	read -ra list <<<"${kernel_packages:?is set by ./run: run this by ./run}"
	setup_install "${list[@]}"
}

# What building virtqemud needs.
setup_virtqemud_packages()
{
	local list

	read -rd '' -a list <<<"${virtqemud_packages:?is set by ./run: run this by ./run}" || true
	setup_install "${list[@]}"
}

setup_install()
{
	local missing

	missing=$(comm -23 <(printf '%s\n' "$@" | sort -u) \
		<(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
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

# The suites that packages for the emulated host come from, as lines of a sources.list: Debian 13,
# and its security archive where this machine's apt uses one.
setup_suites()
{
	local options='[arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]' security

	echo "deb $options $(setup_mirror) trixie main"
	# shellcheck disable=SC2016 # the names are apt's
	security=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(COMPONENT) $(REPO_URI)' |
		awk '$1 == "Packages" && $2 ~ /-security$/ && $3 == "main" { print $4; exit }')
	[ -z "$security" ] || echo "deb $options $security trixie-security main"
}

# setup_apt_private DIR: an apt of our own, that knows those suites and nothing of this machine's
# packages. apt_private and apt_private_cache then use it.
setup_apt_private()
{
	local dir=$1

	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
	touch "$dir/status"
	setup_apt_conf >"$dir/apt.conf"
	setup_suites >"$dir/sources.list"
	apt_options=(-o Dir::State="$dir/state" -o Dir::State::status="$dir/status"
		-o Dir::Cache="$dir/cache" -o Dir::Etc::sourcelist="$dir/sources.list"
		-o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o APT::Architecture=amd64 -o APT::Sandbox::User= -o Acquire::Languages=none)
	export APT_CONFIG=$dir/apt.conf
}

apt_private()
{
	apt-get "${apt_options[@]}" -q "$@"
}

apt_private_cache()
{
	apt-cache "${apt_options[@]}" "$@"
}

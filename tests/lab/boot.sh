#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ./run lab: boots the emulated host and runs a script in it.
set -euo pipefail
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lab=$top/tests/lab
# shellcheck source=tests/lab/common.sh
. "$lab/common.sh"
# shellcheck source=tests/lab/setup.sh
. "$lab/setup.sh"
# shellcheck source=tests/lab/build.sh
. "$lab/build.sh"
# shellcheck source=tests/lab/kernel.sh
. "$lab/kernel.sh"
# shellcheck source=tests/lab/virtqemud.sh
. "$lab/virtqemud.sh"

kernel=stock timeout=600 nvdimms=1026M,1026M memory=4G survive='' if_built='' kernel_args='' virtqemud='' spare='' sparse='' debian_guest=''
with=()
allowed=()
renewed=()

usage()
{
	cat <<-'USAGE'
	usage: ./run lab [OPTION]... SCRIPT [ARG]...

	  --kernel NAME      one of tests/lab/kernels/ (stock)
	  --if-built         a kernel that would have to be built is a skipped test
	  --with FILE        a file or directory to lay beside SCRIPT; may be repeated
	  --timeout SECONDS  for everything from power-on to the script's end (600)
	  --nvdimms SIZES    sizes of the NVDIMMs (1026M,1026M; 2M of each is its label area)
	  --sparse           little of the NVDIMMs is ever written: they are in memory, whatever their size
	  --memory SIZE      memory of the emulated host (4G)
	  --kernel-arg ARG   for the host's kernel; may be repeated
	  --disk SIZE        a further disk (/dev/disk/by-id/virtio-lab-spare)
	  --debian-guest     a disk with the root of a guest that is a whole Debian
	  --virtqemud        install virtqemud beside libvirtd, which stays the one that runs
	  --survive          a host that dies boots again, as after a power cut

	SCRIPT runs as root, beside its files and tests/lab/lib*.sh, once everything is up. Its output
	goes to stdout, and its status is returned; 124 is a timeout, 125 a host that died,
	126 a complaint of the kernel that lab-allow-splat did not announce. In the script:

	  lab-region [SIZE] [REGION]                 makes a devdax namespace, prints its name
	  guest start|cmd|stop|log NAME ...          small KVM guests with a worker in them
	  lab power-cut                              cuts the power; SCRIPT runs again, LAB_BOOT is 2
	  lab new-nvdimm N                           at the next boot another is in that slot
	  lab resize-disk SIZE                       the further disk has another size
	  lab-allow-splat PATTERN                    announces a complaint of the kernel
	USAGE
}

parse()
{
	while [ $# -gt 0 ]; do
		case $1 in
		--kernel | --with | --timeout | --nvdimms | --memory | --disk | --kernel-arg)
			[ $# -ge 2 ] || die "$1 needs a value"
			case $1 in
			--kernel) kernel=$2 ;;
			--with) with+=("$2") ;;
			--timeout) timeout=$2 ;;
			--nvdimms) nvdimms=$2 ;;
			--memory) memory=$2 ;;
			--disk) spare=$2 ;;
			--kernel-arg) kernel_args+=" $2" ;;
			esac
			shift 2
			;;
		--survive)
			survive=yes
			shift
			;;
		--if-built)
			if_built=yes
			shift
			;;
		--sparse)
			sparse=yes
			shift
			;;
		--virtqemud)
			virtqemud=yes
			shift
			;;
		--debian-guest)
			debian_guest=yes
			shift
			;;
		-h | --help)
			usage
			exit 0
			;;
		-*) die "unknown option $1 (./run lab --help)" ;;
		*) break ;;
		esac
	done
	[ $# -gt 0 ] || die "which script? (./run lab --help)"
	[ -f "$1" ] || die "no script $1"
	[[ $timeout =~ ^[0-9]+$ ]] || die "--timeout takes seconds"
	[[ $nvdimms =~ ^[0-9]+[MG](,[0-9]+[MG])*$ ]] || die "--nvdimms takes sizes such as 1026M,66562M"
	script=$1
	shift
	arguments=("$@")
}

# A script names the options that it always needs in a line "# lab: OPTION..."; files in it are
# relative to the script. What the command line says comes later and wins.
main_options()
{
	local word path='' options=() own=()

	for word in "$@"; do
		[[ -f $word && $path != skip ]] && path=$word && break
		path=
		[[ $word != --* || $word = --if-built || $word = --survive || $word = --sparse || $word = --virtqemud || $word = --debian-guest ]] || path=skip
	done
	if [ -f "$path" ]; then
		read -ra own < <(sed -n 's/^# lab: //p' "$path" | tr '\n' ' ') || true
		for word in "${own[@]}"; do
			[[ ${options[*]: -1} != --with ]] || word=$(dirname "$path")/$word
			options+=("$word")
		done
	fi
	parse ${options[@]+"${options[@]}"} "$@"
}

# The root file system is made by root; the rest of a run needs no privilege.
root_make()
{
	setup_apt_conf >"$1/apt.conf"
	as_root "$lab/make-root.sh" "$(setup_mirror)" "$1/apt.conf" "$1"
}

# A disk that is just a tar archive; the emulated host's first program unpacks it over the root.
payload_make()
{
	local stage=$work/stage file

	mkdir -p "$stage/lab" "$stage/usr/local/bin" "$stage/usr/local/lib/lab" \
		"$stage/etc/systemd/system"
	build_install "$stage"
	install -m 755 "$lab"/host/{lab,lab-allow-splat,lab-region,guest} "$stage/usr/local/bin"
	install -m 755 "$lab/host/session" "$stage/usr/local/lib/lab"
	install -m 644 "$lab/host/guest.xml" "$initrd_dir/guest.initrd" "$stage/usr/local/lib/lab"
	[ -z "$debian_guest" ] || {
		"$top/systemd/guest/build-deb.sh" 0 "$work/deb"
		install -m 644 "$work"/deb/*.deb "$stage/usr/local/lib/lab/guest.deb"
		install -m 644 "$initrd_dir/debian.initrd" "$stage/usr/local/lib/lab"
	}
	install -m 755 "$holder_dir"/{holder,stale} "$stage/usr/local/bin"
	[ "$kernel" = stock ] || cp -a "$holder_dir/patches" "$stage/usr/local/lib/lab/"
	install -m 644 "$lab"/host/lab.{target,service} "$stage/etc/systemd/system"
	install -D -m 644 "$lab/host/modules.conf" "$stage/etc/modules-load.d/lab.conf"
	[ -z "$virtqemud" ] || cp -a "$virtqemud_dir/installed/." "$stage/"
	cp "$lab"/lib*.sh "$stage/lab"
	for file in ${with[@]+"${with[@]}"}; do
		cp -aL "$file" "$stage/lab/"
	done
	install -m 755 "$script" "$stage/lab/"
	printf '%s\0' "$(basename "$script")" ${arguments[@]+"${arguments[@]}"} \
		>"$stage/lab/.arguments"
	chmod -R u+rwX,go+rX,go-w "$stage"
	tar -C "$stage" --owner=0 --group=0 --numeric-owner -cf "$work/payload.img" .
	truncate -s %512 "$work/payload.img"
	rm -rf "$stage"
}

holder_get()
{
	cache_make holder \
		"$(cat "$lab/holders/holder.c" "$lab"/kernel/{,patches/}*.[ch] "$lab/boot.sh" | hash_of)" \
		"building the holders" holder_make
	holder_dir=$cached
}

holder_make()
{
	local source build=(gcc -static -O2 -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror)

	"${build[@]}" -o "$1/holder" "$lab/holders/holder.c"
	"${build[@]}" -o "$1/stale" "$lab"/kernel/*.c
	mkdir "$1/patches"
	for source in "$lab"/kernel/patches/*.c; do
		"${build[@]}" -o "$1/patches/$(basename "$source" .c)" "$source"
	done
}

size_mib()
{
	case $1 in
	*G) echo $((${1%G} * 1024)) ;;
	*M) echo "${1%M}" ;;
	esac
}

# Sparse files; in memory when even full ones would fit there, or are never going to be full. A file
# system may give a file megabytes for each page that is written to it, and QEMU dies of a full disk.
nvdimms_make()
{
	local size total=0 room

	IFS=, read -ra nvdimm_sizes <<<"$nvdimms"
	for size in "${nvdimm_sizes[@]}"; do
		total=$((total + $(size_mib "$size")))
	done
	room=$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1) || room=0
	[ -z "$sparse" ] || total=0
	if [ "$total" -le "${room:-0}" ] && [ -w /dev/shm ]; then
		nvdimm_dir=$(mktemp -d /dev/shm/pmemlease-lab.XXXXXX)
	else
		nvdimm_dir=$(mktemp -d "$work/nvdimm.XXXXXX")
	fi
	for size in "${!nvdimm_sizes[@]}"; do
		truncate -s "${nvdimm_sizes[size]}" "$nvdimm_dir/$size"
	done
}

# shellcheck disable=SC2054 # the commas are QEMU's
qemu_arguments()
{
	local boot=$1 index maxmem=16384 tty=0

	# Off for good once it was off: no later word turns it on.
	[[ $kernel_args = *' audit='* ]] || kernel_args+=" audit=0"

	[[ ! -t 1 && -z ${LAB_TTY:-} ]] || tty=1
	qemu=(
		"$root_dir/qemu/lib/ld-linux-x86-64.so.2" --library-path "$root_dir/qemu/lib"
		"$root_dir/qemu/qemu-system-x86_64" -L "$root_dir/qemu/share"
		-accel "tcg,thread=multi,tb-size=512" -cpu EPYC -smp 2
		-display none -nodefaults -no-user-config -no-reboot -net none
		-object "memory-backend-ram,id=ram0,size=$memory"
		-numa node,nodeid=0,cpus=0-1,memdev=ram0 -numa node,nodeid=1
		-chardev "file,id=console,path=$console,input-path=$work/keys" -serial chardev:console
		-serial "file:$work/control"
		-chardev "pipe,id=monitor,path=$work/monitor" -mon chardev=monitor,mode=readline
		-device virtio-serial-pci -chardev "file,id=out,path=$work/out"
		-device virtserialport,chardev=out,name=lab.out
		-kernel "$kernel_dir/vmlinuz" -initrd "$initrd_dir/host.initrd"
		-append "console=ttyS0 loglevel=5 panic=-1 sysrq_always_enabled systemd.unit=lab.target
systemd.show_status=0 systemd.default_timeout_start_sec=300 net.ifnames=0 selinux=0
no_timer_check lab.boot=$boot lab.tty=$tty$kernel_args"
	)
	disk lab-root "$root_dir/host.img" snapshot=on
	disk lab-kernel "$kernel_dir/modules.img" readonly=on
	disk lab-payload "$work/payload.img" readonly=on
	disk lab-data "$work/data.img" cache=writeback
	# Written to by the guest; thrown away, as the host's own is.
	[ -z "$debian_guest" ] || disk lab-guest "$root_dir/host.img" snapshot=on
	# Its size is changed by QEMU's monitor alone.
	[ -z "$spare" ] || disk lab-spare "$work/spare.img" cache=writeback
	for index in "${!nvdimm_sizes[@]}"; do
		maxmem=$((maxmem + $(size_mib "${nvdimm_sizes[index]}") + 1024))
		qemu+=(
			-object "memory-backend-file,id=nvmem$index,share=on,mem-path=$nvdimm_dir/$index,size=${nvdimm_sizes[index]}"
			-device "nvdimm,id=nv$index,memdev=nvmem$index,label-size=2M,node=1"
		)
	done
	qemu+=(-machine q35,nvdimm=on -m "$memory,slots=8,maxmem=${maxmem}M")
}

disk()
{
	qemu+=(-drive "if=none,id=$1,file=$2,format=raw,$3"
		-device "virtio-blk-pci,drive=$1,serial=$1")
}

# Boots once. Sets $outcome: the script's status, or power-cut, timeout, died.
boot()
{
	local line left rc pid cat_pid index

	for index in ${renewed[@]+"${renewed[@]}"}; do
		rm "$nvdimm_dir/$index"
		truncate -s "${nvdimm_sizes[index]}" "$nvdimm_dir/$index"
	done
	renewed=()
	rm -f "$work"/{out,control,keys,monitor.in,monitor.out}
	mkfifo "$work"/{out,control,keys,monitor.in,monitor.out}
	# QEMU would wait for somebody who writes.
	exec {keys}<>"$work/keys"
	qemu_arguments "$1"
	cat "$work/out" &
	cat_pid=$!
	TMPDIR=$work "${qemu[@]}" </dev/null 2>"$work/qemu.log" &
	pid=$!
	qemu_pid=$pid
	exec {control}<"$work/control"
	outcome=died
	while :; do
		left=$((deadline - SECONDS))
		[ "$left" -gt 0 ] || { outcome=timeout && break; }
		rc=0
		IFS= read -r -t "$left" -u "$control" line || rc=$?
		[ "$rc" -le 128 ] || continue
		[ "$rc" -eq 0 ] || break
		case ${line%$'\r'} in
		up) say "emulated host up (kernel $kernel, boot $1): $((SECONDS - boot_start)) s" ;;
		allow\ *) allowed+=("${line#allow }") ;;
		resize-disk\ *) [ -z "$spare" ] || echo "block_resize lab-spare ${line##* }" >"$work/monitor.in" ;;
		new-nvdimm\ *) renewed+=("${line//[^0-9]/}") ;;
		power-cut) outcome=power-cut && break ;;
		exit\ *) outcome=${line#exit } && break ;;
		esac
	done
	[ "$outcome" != timeout ] || host_ask
	# A host that ends by itself has delivered all of its output; others get no such courtesy.
	case $outcome in
	[0-9]* | died) timeout 20 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || true ;;
	*) kill -KILL "$pid" 2>/dev/null || true ;;
	esac
	qemu_status=0
	wait "$pid" 2>/dev/null || qemu_status=$?
	qemu_pid=
	exec {control}<&- {keys}>&-
	wait "$cat_pid" || true
}

# sysrq_ask KEY: asks the host's kernel by its console. Whether it answers.
sysrq_ask()
{
	local answers tries

	answers=$(grep -ac 'sysrq: ' "$console") || true
	for ((tries = 0; tries < 150; tries++)); do
		# The key has to come within 5 s after the break, and may overtake it.
		[ $((tries % 50)) -ne 0 ] || echo "chardev-send-break console" 1<>"$work/monitor.in"
		[ $((tries % 50)) -ne 1 ] || printf '%s' "$1" >&"$keys"
		sleep 0.2
		[ "$(grep -ac 'sysrq: ' "$console")" -eq "$answers" ] || return 0
	done
	return 1
}

# What a host that does not end is doing, into its console: all tasks, and then those that wait for what should not take long. Of
# one that says nothing any more, its processors.
host_ask()
{
	local key

	# Help is the last thing that it says: it has said all then.
	for key in 9 t w h; do
		sysrq_ask "$key" && continue
		echo "info registers -a" 1<>"$work/monitor.in"
		timeout 3 cat "$work/monitor.out" >>"$console" || true
		return
	done
}

console_tail()
{
	cp "$console" "$kept_console"
	[ ! -s "$work/qemu.log" ] || { say "QEMU said:" && tail -n 5 "$work/qemu.log" >&2; }
	say "The end of the console ($kept_console):"
	tail -n 40 "$console" | tr -d '\r' >&2
}

# Complaints of the kernel that nobody announced.
splats()
{
	local pattern found

	found=$(tr -d '\r' <"$work/console.all" |
		grep -aE -f <(grep -v '^#' "$lab/splats")) || return 1
	for pattern in ${allowed[@]+"${allowed[@]}"}; do
		found=$(grep -avE -e "$pattern" <<<"$found") || return 1
	done
	printf '%s\n' "$found"
}

cleanup()
{
	[ -z "${qemu_pid:-}" ] || kill -KILL "$qemu_pid" 2>/dev/null || true
	[ -z "${nvdimm_dir:-}" ] || rm -rf "$nvdimm_dir"
	[ -z "${work:-}" ] || rm -rf "$work"
}

prepare()
{
	local key

	key=$({
		cat "$lab/make-root.sh"
		setup_mirror
	} | hash_of)
	cache_make root "$key" "making the emulated host's root file system" root_make
	root_dir=$cached
	kernel_get "$kernel"
	holder_get
	[ -z "$virtqemud" ] || virtqemud_get
	mkdir -p "$(cache_dir)/runs" "$(cache_dir)/logs"
	work=$(mktemp -d "$(cache_dir)/runs/XXXXXX")
	console=$work/console
	kept_console=$(cache_dir)/logs/console.$(basename "$work")
	: >"$work/console.all"
	payload_make
	nvdimms_make
	[ -z "$spare" ] || truncate -s "$spare" "$work/spare.img"
	truncate -s 256M "$work/data.img"
	mke2fs -q -t ext4 -m 0 -L lab-data "$work/data.img"
}

main()
{
	local boots=1 unexpected

	main_options "$@"
	trap cleanup EXIT
	trap 'exit 130' INT TERM HUP
	# shellcheck disable=SC2030 # it is for the subshell alone
	if [ -n "$if_built" ] && ! (cache_only=yes && kernel_get "$kernel"); then
		echo "ok 1 - ${script##*/} # SKIP the $kernel kernel is not built (./run kernel build $kernel)"
		echo "1..1"
		exit 0
	fi
	prepare
	# Two emulated hosts at once on a small machine make both miss their timeouts.
	exec {boot_lock}>"$(cache_dir)/boot.lock"
	flock -n "$boot_lock" || { say "waiting for another emulated host" && flock "$boot_lock"; }
	boot_start=$SECONDS
	deadline=$((SECONDS + timeout))
	boot 1
	while [ "$outcome" = power-cut ] || [[ -n $survive && $outcome = died ]]; do
		cat "$console" >>"$work/console.all"
		say "${outcome/-/ }"
		[ "$outcome" != died ] || cp "$console" "$kept_console"
		boots=$((boots + 1))
		boot_start=$SECONDS
		boot "$boots"
	done
	cat "$console" >>"$work/console.all"
	case $outcome in
	timeout)
		say "./run lab: no end after $timeout s"
		console_tail
		exit 124
		;;
	died)
		say "./run lab: the emulated host died (status $qemu_status of QEMU)"
		console_tail
		exit 125
		;;
	esac
	if unexpected=$(splats); then
		say "./run lab: the kernel complained:"
		say "$unexpected"
		cp "$work/console.all" "$kept_console"
		say "console: $kept_console"
		[ "$outcome" -ne 0 ] || outcome=126
	elif [ "$outcome" -ne 0 ]; then
		cp "$work/console.all" "$kept_console"
		say "./run lab: status $outcome; console: $kept_console"
	fi
	exit "$outcome"
}

main "$@"

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154,SC2034
#
# From a kernel of tests/lab/kernels/ to what is booted: an image with its modules, an initramfs
# for the emulated host, and one for the guests in it.

host_modules=(virtio_blk ext4)
guest_modules=(nfit nd_pmem dax_pmem device_dax virtio_pmem virtio_mem)
debian_modules=(virtio_blk ext4 virtio_console)

# kernel_get NAME: sets $kernel_dir (vmlinuz, modules.img) and $initrd_dir (host.initrd, guest.initrd, debian.initrd).
kernel_get()
{
	local name=$1 file=$top/tests/lab/kernels/$1.sh key

	if [[ ! $name =~ ^[a-z0-9.-]+$ || ! -e $file ]]; then
		die "no kernel '$name'; there are: $(cd "$top/tests/lab/kernels" && echo *.sh)"
	fi
	# shellcheck source=tests/lab/kernels/stock.sh
	. "$file"
	! declare -F kernel_sources >/dev/null || kernel_sources
	key=$({
		kernel_inputs
		cat "$file" "$top/tests/lab/kernel.sh"
	} | hash_of)
	cache_make "kernel-$name" "$key" "preparing the $name kernel" kernel_prepare
	kernel_dir=$cached
	key=$({
		echo "$key"
		dpkg-query -W -f '${Version}\n' busybox-static libc6-dev gcc
		cat "$top"/tests/lab/guest/* "$top"/tests/lab/host/init "$top/tests/lab/kernel.sh"
	} | hash_of)
	cache_make "initrd-$name" "$key" "making the initramfs images" kernel_initrds "$kernel_dir"
	initrd_dir=$cached
}

kernel_prepare()
{
	local out=$1

	kernel_make "$out"
	cp "$out/vmlinuz" "$out/modules/"
	mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -d "$out/modules" \
		"$out/modules.img" "$(($(du -sm "$out/modules" | cut -f1) * 5 / 4 + 16))M"
}

# kernel_pack_modules DIR ROOT MODULE...: copies modules and what they need into ROOT/modules and
# names them in ROOT/modules/order. What is built in is left out.
kernel_pack_modules()
{
	local dir=$1 root=$2 release base module kind path
	shift 2

	release=$(cd "$dir/modules" && find . -mindepth 1 -maxdepth 1 -type d -printf '%f\n')
	base=$(mktemp -d "$root.depmod.XXXXXX")
	mkdir -p "$base/lib" "$root/modules"
	ln -s "$dir/modules" "$base/lib/modules"
	for module in "$@"; do
		modprobe -d "$base" -S "$release" --show-depends "$module" |
			while read -r kind path _; do
			[ "$kind" = insmod ] || continue
			grep -qxF "${path##*/}" "$root/modules/order" 2>/dev/null && continue
			cp "$path" "$root/modules/"
			echo "${path##*/}" >>"$root/modules/order"
		done
	done
	touch "$root/modules/order"
	rm -r "$base"
}

kernel_initrds()
{
	local dir=$1 out=$2 root

	root=$out/host
	mkdir -p "$root/bin"
	cp /bin/busybox "$root/bin/busybox"
	install -m 755 "$top/tests/lab/host/init" "$root/init"
	kernel_pack_modules "$dir" "$root" "${host_modules[@]}"
	(cd "$root" && find . | cpio -o -H newc --owner=0:0) >"$out/host.initrd"

	root=$out/guest
	mkdir -p "$root"
	gcc -static -O2 -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror \
		-o "$root/init" "$top/tests/lab/guest/worker.c"
	kernel_pack_modules "$dir" "$root" "${guest_modules[@]}"
	(cd "$root" && find . | cpio -o -H newc --owner=0:0) >"$out/guest.initrd"

	root=$out/debian
	mkdir -p "$root/bin"
	cp /bin/busybox "$root/bin/busybox"
	install -m 755 "$top/tests/lab/guest/debian-init" "$root/init"
	gcc -static -O2 -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror \
		-o "$root/writer" "$top/tests/lab/guest/writer.c"
	kernel_pack_modules "$dir" "$root" "${debian_modules[@]}" "${guest_modules[@]}"
	(cd "$root" && find . | cpio -o -H newc --owner=0:0) >"$out/debian.initrd"
	rm -rf "$out/host" "$out/guest" "$out/debian"
}

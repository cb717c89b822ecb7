// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows that are a virtual machine: one processor in real mode, 64 KiB of memory with five bytes of
 * code in it, and the device behind it. Interrupts on is what a running guest looks like: only then
 * does KVM handle a fault asynchronously (kvm_can_do_async_pf() in arch/x86/kvm/x86.c).
 */
#include "stale.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUEST_MEMORY	 0x10000
#define GUEST_DEVICE	 0x80000
#define CODE_READ	 0x1000
#define CODE_WRITE	 0x2000
#define FLAGS_RESERVED	 0x2
#define FLAGS_INTERRUPTS 0x200

static int vcpu_fd = -EBADF;
static struct kvm_run *run;
static unsigned char *memory;

static void add_slot(int vm_fd, unsigned int slot, uint64_t guest, const void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = guest,
		.memory_size = GUEST_MEMORY,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		die("KVM_SET_USER_MEMORY_REGION");
}

static void real_mode(void)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		die("KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	sregs.ds.base = GUEST_DEVICE;
	sregs.ds.selector = GUEST_DEVICE >> 4;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
		die("KVM_SET_SREGS");
}

static void take_guest(void)
{
	/* mov (0), %eax; out %al, $16; and the other way round. */
	static const unsigned char code_read[] = {0x66, 0xa1, 0x00, 0x00, 0xe6, 0x10};
	static const unsigned char code_write[] = {0x66, 0xa3, 0x00, 0x00, 0xe6, 0x10};
	int kvm_fd, vm_fd, run_bytes;

	take_map(PROT_READ | PROT_WRITE);
	close_fd(&holder.fd);
	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0)
		die("/dev/kvm");
	vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (vm_fd < 0 || ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		die("KVM_CREATE_VM");
	memory =
		mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	memcpy(memory + CODE_READ, code_read, sizeof(code_read));
	memcpy(memory + CODE_WRITE, code_write, sizeof(code_write));
	add_slot(vm_fd, 0, 0, memory);
	add_slot(vm_fd, 1, GUEST_DEVICE, (void *)holder.map);
	vcpu_fd = ioctl(vm_fd, KVM_CREATE_VCPU, 0);
	run_bytes = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu_fd < 0 || run_bytes < 0)
		die("KVM_CREATE_VCPU");
	run = mmap(NULL, run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED)
		die("mmap");
	real_mode();
}

/* Runs the guest until it says by its output that the access is done. */
static int run_guest(void *data)
{
	struct kvm_regs *regs = data;

	if (ioctl(vcpu_fd, KVM_SET_REGS, regs) < 0)
		return -errno;
	hang_timer(HANG_SECONDS);
	if (ioctl(vcpu_fd, KVM_RUN, 0) < 0)
		return errno == EINTR ? ACCESS_HANG : -errno;
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR || run->exit_reason == KVM_EXIT_SHUTDOWN)
		return -EIO;
	if (run->exit_reason != KVM_EXIT_IO)
		return -EPROTO;
	return ioctl(vcpu_fd, KVM_GET_REGS, regs) < 0 ? -errno : ACCESS_DONE;
}

static int guest_access(bool interrupts, bool writing, uint32_t *value)
{
	struct kvm_regs regs = {
		.rip = writing ? CODE_WRITE : CODE_READ,
		.rflags = FLAGS_RESERVED | (interrupts ? FLAGS_INTERRUPTS : 0),
		.rax = *value,
	};
	int result;

	result = guarded(run_guest, &regs);
	if (result == ACCESS_DONE)
		*value = (uint32_t)regs.rax;
	return result;
}

static void take_guest_touched(void)
{
	uint32_t value = 0;

	take_guest();
	if (guest_access(true, false, &value) != ACCESS_DONE ||
		guest_access(true, true, &value) != ACCESS_DONE)
		die("the first access");
}

static int guest_read(uint32_t *ret_value)
{
	return guest_access(true, false, ret_value);
}

static int guest_write(uint32_t value)
{
	return guest_access(true, true, &value);
}

static int guest_read_irqoff(uint32_t *ret_value)
{
	return guest_access(false, false, ret_value);
}

static int guest_write_irqoff(uint32_t value)
{
	return guest_access(false, true, &value);
}

const struct row kvm_rows[] = {
	{"kvm", take_guest_touched, guest_read, guest_write, NULL, NULL},
	{"kvm-untouched", take_guest, guest_read, guest_write, NULL, NULL},
	{"kvm-irqoff", take_guest_touched, guest_read_irqoff, guest_write_irqoff, NULL, NULL},
	{},
};

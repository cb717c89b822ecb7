// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page is pinned for longer than an unbinding waits: the unbinding ends, the
 * memory stays reserved and usable for the owner of the pin, nobody can bind
 * it, and it comes back by itself when the pin is gone.
 */
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "daxtest.h"

#define TIMEOUT_PARAMETER "/sys/module/device_dax/parameters/revoke_timeout_ms"
/* in a machine that emulates one */
#define SOON_MS 15000

static size_t align;

static int pin(void *address)
{
	struct iovec iov = {.iov_base = address, .iov_len = align};
	struct io_uring_params params = {};
	int ring = syscall(__NR_io_uring_setup, 4, &params);

	if (ring < 0)
		ksft_skip("no io_uring");
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1))
		die("register buffers");
	return ring;
}

static int unpin(int ring)
{
	int rc = syscall(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0);

	close(ring);
	return rc;
}

static uint8_t *map(int fd)
{
	void *address = mmap(NULL, align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (address == MAP_FAILED || touch(address, 1))
		die("mmap");
	return address;
}

static bool quarantined(void)
{
	char text[16];

	return !dax_read("quarantined", text, sizeof(text)) && !strcmp(text, "1");
}

static bool over(void)
{
	int64_t end = now_ms() + SOON_MS;

	while (quarantined() && now_ms() < end)
		pause_ms(50);
	return !quarantined();
}

/* Whether /proc/iomem says so of this device. */
static bool in_iomem(void)
{
	char line[256], wanted[64];
	bool found = false;
	FILE *file = fopen("/proc/iomem", "re");

	if (!file)
		die("/proc/iomem");
	snprintf(wanted, sizeof(wanted), "%s (quarantined)", dax_name);
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, wanted);
	fclose(file);
	return found;
}

/* In a child: what hangs must not take the test with it. */
static int unbind_bounded(int ring)
{
	pid_t pid = fork();

	if (!pid) {
		close(ring);
		_exit(dax_unbind() ? 1 : 0);
	}
	return wait_for(pid, SOON_MS);
}

static bool test_unbind(int round)
{
	int fd = dax_open(), ring, status;
	uint8_t *address;

	if (fd < 0)
		die("open");
	address = map(fd);
	ring = pin(address);
	status = unbind_bounded(ring);
	if (!ksft_check(status == 0, "%d: a pinned page does not hold up the unbinding for long",
		    round)) {
		/* It has the device's lock: whatever comes next would wait for it, with the pin. */
		unpin(ring);
		return false;
	}
	ksft_check(
		quarantined() && in_iomem(), "%d: the memory is quarantined, and says so", round);
	ksft_check(touch(address, 2) == BUS_ADRERR, "%d: nobody has a mapping", round);
	ksft_check(dax_bind() == -EBUSY, "%d: nobody can bind it", round);
	ksft_check(dax_open() == -ENXIO, "%d: nor open it", round);
	ksft_check(unpin(ring) == 0, "%d: unpinned", round);
	ksft_check(over() && !in_iomem(), "%d: the quarantine ends by itself", round);
	ksft_check(dax_bind() == 0, "%d: bound again", round);
	munmap(address, align);
	close(fd);
	fd = dax_open();
	address = map(fd);
	ksft_check(touch(address, 3) == 0, "%d: and usable", round);
	munmap(address, align);
	close(fd);
	return true;
}

int main(int argc, char **argv)
{
	char timeout[32];
	int round;

	dax_test_init(argc, argv);
	align = dax_align();
	if (read_file(TIMEOUT_PARAMETER, timeout, sizeof(timeout)) ||
		write_file(TIMEOUT_PARAMETER, "300"))
		ksft_skip("this kernel has no " TIMEOUT_PARAMETER);
	for (round = 1; round <= 3 && test_unbind(round); round++)
		;
	write_file(TIMEOUT_PARAMETER, timeout);
	return ksft_finish();
}

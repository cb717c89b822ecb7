/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is done to one device. Of device-dax: Every operation opens the device's sysfs directory
 * once, checks on that descriptor that it is still the region that was meant (device number,
 * physical start where the scan could read it, size), acts, and checks the result: libdaxctl's
 * daxctl_dev_disable() ignores the result of the unbind. A region that was scanned without a device
 * (pml_region_devno() 0) gives -ENODEV everywhere. They may be called from any thread.
 */

#include "ram.h"
#include "region.h"

/*
 * A kernel with the patches of kernel-patches/ numbers each binding of a device to device_dax, and
 * refuses the files of every earlier one for ever.
 */
typedef enum PmlRevokeState {
	PML_REVOKE_LIVE,
	PML_REVOKE_REVOKING,
	PML_REVOKE_HELD,    /* nobody has it mapped or can map it, but the kernel holds references
			       for somebody: devices may read and write it */
	PML_REVOKE_REVOKED, /* nobody has access any more */
	PML_REVOKE_UNBOUND, /* there is no binding whose files could give access */
	_PML_REVOKE_STATE_MAX,
	_PML_REVOKE_STATE_INVALID = -22,
} PmlRevokeState;

const char *pml_revoke_state_to_string(PmlRevokeState v);
PmlRevokeState pml_revoke_state_from_string(const char *s);

typedef struct PmlRevocation {
	PmlRevokeState state;
	uint64_t generation; /* names the binding until the next boot; 0: there is none */
	uint64_t held; /* references of the kernel, when it looked last; 1: some, it does not say */
} PmlRevocation;

typedef struct PmlDaxOps {
	/* The driver bound now. 0; -ESTALE: another device has the name; -ENODEV: it is gone. */
	int (*binding)(void *userdata, const PmlRegion *r, PmlBinding *ret);
	/*
	 * Unbinds whatever driver is bound. Blocks in the kernel until every mapping is zapped;
	 * cannot be cancelled. 0: unbound now and checked (also when it was unbound before);
	 * -ESTALE, -ENODEV as above; -EBUSY: the kernel said yes and the driver is still there. Of
	 * dax_kmem, its memory is taken offline first: -EBUSY also where a process has memory
	 * bound to its node, or a page cannot be moved; -EUCLEAN: the kernel keeps the range until
	 * the next boot.
	 */
	int (*unbind)(void *userdata, const PmlRegion *r);
	/*
	 * Binds device_dax (again, where the binding was revoked) and waits for the node to be
	 * there with the right number (at most 2 s). 0, also when it was bound before; -ESTALE,
	 * -ENODEV as above; -EBUSY: another driver has it, or the kernel could not reserve the
	 * range; -ENOENT: the driver is not loaded; -ETIMEDOUT: bound, but the node did not come;
	 * otherwise what the driver's probe returned. Loads no module.
	 */
	int (*bind)(void *userdata, const PmlRegion *r);
	/*
	 * Opens the character device (O_RDWR|O_CLOEXEC|O_NOFOLLOW) and checks the descriptor
	 * against the region, before and after. 0 and a descriptor that is the caller's; -ESTALE
	 * when it is another device (a symbolic link too); -ENODEV: gone, or no node; -ENXIO: not
	 * bound to device_dax.
	 */
	int (*open)(void *userdata, const PmlRegion *r, int *ret_fd);
	/*
	 * References on the module that serves open device-dax files, without those of modules that
	 * depend on it (Linux 6.12 fs/char_dev.c chrdev_open() takes one for the cdev and one for
	 * the file operations, so an open file counts *ret_per_file). -EOPNOTSUPP: built in or not
	 * loaded, uncountable; -EAGAIN: it is just being loaded or unloaded.
	 */
	int (*module_refs)(void *userdata, uint64_t *ret_refs, uint64_t *ret_per_file);
	/*
	 * What this kernel says of the binding. 0; -EOPNOTSUPP: it numbers no bindings, or this one
	 * is of another driver; -ESTALE, -ENODEV as above. May be NULL.
	 */
	int (*revocation)(void *userdata, const PmlRegion *r, PmlRevocation *ret);
	/*
	 * Revokes the binding that there is, and waits for the end of it: REVOKED, HELD or
	 * UNBOUND, said in *ret. -ETIMEDOUT: not yet, the kernel goes on; otherwise as revocation.
	 */
	int (*revoke)(
		void *userdata, const PmlRegion *r, uint64_t timeout_usec, PmlRevocation *ret);
	/*
	 * Of block devices alone (bdev.h; others: -EOPNOTSUPP, or NULL): a descriptor that keeps
	 * other exclusive users away while it is open, and the page cache dropped.
	 */
	int (*claim)(void *userdata, const PmlRegion *r, int *ret_fd);
	int (*drop_cache)(void *userdata, const PmlRegion *r, uint64_t *ret_left_bytes);
	/*
	 * Of device-dax, as memory of the host; all three may be NULL. What there is of it: 0;
	 * -ENODATA: its physical address is not known.
	 */
	int (*ram)(void *userdata, const PmlRegion *r, PmlRam *ret);
	/*
	 * Binds dax_kmem, and puts all of it online as movable; takes device_dax away first. 0,
	 * also when it was so before; -EPERM: the host's policy would put it online otherwise
	 * (PmlRam.auto_online); -EIO: some block is not movable; otherwise as bind.
	 */
	int (*bind_ram)(void *userdata, const PmlRegion *r);
	/*
	 * Makes all memory present that this process has bound to the region's node. 0; -ESRCH: it
	 * has ended; -ETIMEDOUT (CLOCK_MONOTONIC).
	 */
	int (*populate)(void *userdata, const PmlRegion *r, pid_t pid, uint64_t start_ticks,
		uint64_t deadline_usec);
	/*
	 * As unbind; of dax_kmem, a process may keep memory bound to the node of which no page is
	 * there: its machine was given a virtio-mem, and its guest has given all of it back. May be
	 * NULL.
	 */
	int (*unbind_emptied)(void *userdata, const PmlRegion *r);
	void *userdata;
} PmlDaxOps;

/* The real thing for device-dax, through sysfs. */
extern const PmlDaxOps pml_dax_ops;
/* The real thing for regions of every kind. */
extern const PmlDaxOps pml_device_ops;

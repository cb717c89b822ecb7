/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One row of the stale-access matrix: a way to have got hold of a device-dax's memory, and a way to
 * use it later. Rows are functions on one holder, because a process is one holder.
 */
enum access {
	ACCESS_DONE,   /* the memory was reached */
	ACCESS_SIGBUS, /* SIGBUS, as for a mapping with nothing behind it */
	ACCESS_MCE,    /* SIGBUS that tells of a memory error (BUS_MCEERR_AR) */
	ACCESS_HANG,   /* still not over after HANG_SECONDS */
	ACCESS_CANNOT, /* this row has no such access */
};

#define HANG_SECONDS 5

struct row {
	const char *name;
	/* Takes hold. Ends the process where it cannot. */
	void (*take)(void);
	/* Both return an access, or a negative errno that the access itself has given. */
	int (*read)(uint32_t *ret_value);
	int (*write)(uint32_t value);
	/* Lets go of what a process's end would let go of later, or elsewhere; may be NULL. */
	void (*release)(void);
	/* What is done while the device is gone and before it is back; may be NULL. */
	int (*away)(void);
};

struct holder {
	const char *device;
	int fd;
	volatile uint32_t *map;
	size_t size_bytes;
	size_t align_bytes;
};

extern struct holder holder;
extern const struct row map_rows[], fd_rows[], pin_rows[], kvm_rows[], remote_rows[];

_Noreturn void die(const char *what);

/* Opens the device, and maps it whole, shared. Both end the process on failure. */
void take_fd(void);
void take_map(int protection);
void close_fd(int *fd);
/* The same for when failure is an answer. */
int try_map(void);

/* An access by the processor. */
int touch_read(uint32_t *ret_value);
int touch_write(uint32_t value);

/* Calls fn with SIGBUS and hanging caught: returns what fn does, or ACCESS_{SIGBUS,MCE}. */
int guarded(int (*fn)(void *), void *data);
/* From now on a signal interrupts system calls after HANG_SECONDS; 0 ends that. */
void hang_timer(unsigned int seconds);

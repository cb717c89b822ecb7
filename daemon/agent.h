/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is said to QEMU's guest agent, and what it answers: JSON as qemu-ga-ref(7) has it. Pure. The
 * answers are a guest's, hence hostile: whatever is not as it should be is -EBADMSG, and no text of
 * it goes on with a control character in it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "virt.h"

/* Where the guest's package (systemd/guest/) has it; no shell is in between. */
#define AGENT_PROGRAM "/usr/libexec/pmemlease/guest-release"

/* Where a memory device is, as its machine's live XML says. */
typedef struct AgentDevice {
	bool channel;	/* the machine has a channel for an agent … */
	bool connected; /* … and somebody in it listens */
	bool has_address;
	uint64_t address; /* guest-physical */
	uint64_t size_bytes;
} AgentDevice;

/* guest-exec of AGENT_PROGRAM for this device; malloc-ed, NULL: out of memory. */
char *agent_exec_command(const AgentDevice *device, uint64_t timeout_usec);
char *agent_status_command(int64_t pid);
/* The answer to the first: 0 and the process in the guest (> 0), or -EBADMSG. */
int agent_read_exec(const char *answer, int64_t *ret_pid);
/*
 * The answer to the second: fills over, released and reason. A program that ended without saying
 * that it has released is a refusal, with what it said or its exit status as the reason.
 */
int agent_read_status(const char *answer, VirtRelease *ret);
/* The answer to guest-info: may the command of this name be used. 0, or -EBADMSG. */
int agent_read_enabled(const char *answer, const char *name, bool *ret);

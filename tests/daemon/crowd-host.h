/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A host with many regions and many machines, which are real processes. Its state is a file that
 * the daemon's fakes and the test share, so that the test knows the truth without asking the
 * daemon, and so that it outlives the daemon.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager.h"

#define CROWD_FILE    "crowd"
#define CROWD_REGIONS 16
#define CROWD_DOMAINS 8
#define CROWD_BYTES   (64ULL << 20)

typedef struct CrowdRegion {
	atomic_bool bound;
	atomic_uint unbinds;
	atomic_char bytes; /* 0, or the letter of the tenant who wrote last */
	/* The process that has it mapped; a dead one has nothing. */
	_Atomic pid_t mapped[CROWD_DOMAINS];
} CrowdRegion;

typedef struct CrowdDomain {
	_Atomic pid_t pid; /* 0: shut off */
	atomic_ullong start_ticks;
	atomic_uint attached; /* a bit for each region, as libvirt's XML has it */
	atomic_bool paused;
} CrowdDomain;

typedef struct Crowd {
	CrowdRegion regions[CROWD_REGIONS];
	CrowdDomain domains[CROWD_DOMAINS];
	atomic_int violations;
	char what[256]; /* the last one */
} Crowd;

/* Makes (the test) or finds (the daemon) the host in the directory; NULL: there is none. */
Crowd *crowd_new(const char *dir);
Crowd *crowd_find(const char *dir);

/* "crowd-0" and an UUID; static text. */
const char *crowd_region_uuid(unsigned i);
const char *crowd_domain_uuid(unsigned i);
char crowd_letter(unsigned domain);
/* Has it mapped, and lives. */
bool crowd_holds(const Crowd *c, unsigned region, unsigned domain);

/* The daemon's side: puts the fakes into m. */
void crowd_host_use(Crowd *c, sd_event *event, const char *dir, Manager *m);
/* main()'s first line: this program is the media helper, too. */
void crowd_media_helper(int argc, char **argv);

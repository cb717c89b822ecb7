/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every name that others see: bus, errors, polkit, paths, environment. One place, so that none is
 * spelled twice. */

#define PML_BUS_NAME   "org.pmemlease1"
#define PML_BUS_PATH   "/org/pmemlease1"
#define PML_IF_MANAGER PML_BUS_NAME ".Manager"
#define PML_IF_REGION  PML_BUS_NAME ".Region"
#define PML_IF_LEASE   PML_BUS_NAME ".Lease"
#define PML_IF_JOB     PML_BUS_NAME ".Job"

#define PML_PATH_REGION PML_BUS_PATH "/region"
#define PML_PATH_LEASE	PML_BUS_PATH "/lease"
#define PML_PATH_JOB	PML_BUS_PATH "/job"

#define PML_ERROR(name) PML_BUS_NAME ".Error." name

#define PML_ERROR_BUSY		     PML_ERROR("Busy") /* another operation or lease has it */
#define PML_ERROR_HELD		     PML_ERROR("Held") /* an old holder lives */
#define PML_ERROR_NO_SUCH_REGION     PML_ERROR("NoSuchRegion")
#define PML_ERROR_NONE_SUITABLE	     PML_ERROR("NoSuitableRegion") /* of all that there are */
#define PML_ERROR_NO_SUCH_DEVICE     PML_ERROR("NoSuchDevice")	   /* DIMM, interleave set, node */
#define PML_ERROR_NOT_RESTORED	     PML_ERROR("NotRestored")	   /* all of a device */
#define PML_ERROR_NOT_SAFE	     PML_ERROR("NotSafe")	   /* to remove */
#define PML_ERROR_AMBIGUOUS	     PML_ERROR("Ambiguous") /* a UUID that several regions carry */
#define PML_ERROR_NO_SUCH_LEASE	     PML_ERROR("NoSuchLease")
#define PML_ERROR_NO_SUCH_DOMAIN     PML_ERROR("NoSuchDomain")
#define PML_ERROR_DOMAIN_NOT_RUNNING PML_ERROR("DomainNotRunning")
#define PML_ERROR_DOMAIN_UNSUITED                                                                  \
	PML_ERROR("DomainUnsuited")			/* no slots, cell, nvdimm support, acpi */
#define PML_ERROR_NOT_PLUGGED  PML_ERROR("NotPlugged")	/* the guest takes no virtio-mem */
#define PML_ERROR_PLACE_KEPT   PML_ERROR("PlaceKept")	/* of a virtio-mem that is empty */
#define PML_ERROR_NOT_LEASABLE PML_ERROR("NotLeasable") /* the region's own obstacles */
#define PML_ERROR_NOT_CLEAN    PML_ERROR("NotClean")	/* another owner's data */
#define PML_ERROR_FOREIGN      PML_ERROR("Foreign")
#define PML_ERROR_QUARANTINED  PML_ERROR("Quarantined")
#define PML_ERROR_STUCK	       PML_ERROR("Stuck")
#define PML_ERROR_STALE	       PML_ERROR("Stale") /* the name is another device now */
#define PML_ERROR_WRONG_OWNER                                                                      \
	PML_ERROR("WrongOwner") /* scrub named another owner than the data's */
#define PML_ERROR_GUEST_REFUSED PML_ERROR("GuestRefused")
#define PML_ERROR_NO_AGENT	PML_ERROR("NoGuestAgent")
#define PML_ERROR_AGENT_BLOCKED PML_ERROR("GuestAgentBlocked")
#define PML_ERROR_GUEST_SILENT	PML_ERROR("GuestSilent") /* asked, and no answer by the deadline */
#define PML_ERROR_GUEST_LIED	PML_ERROR("GuestLied")	 /* let go, it said, and uses it still */
#define PML_ERROR_NO_FENCE	PML_ERROR("NoFence")
#define PML_ERROR_PINNED	PML_ERROR("Pinned")
#define PML_ERROR_BAD_BLOCK	PML_ERROR("BadBlock")
#define PML_ERROR_NODE_UNKNOWN	PML_ERROR("NodeUnknownToLibvirt")
#define PML_ERROR_NO_LIBVIRT	PML_ERROR("LibvirtUnavailable")
#define PML_ERROR_LEDGER	PML_ERROR("LedgerUnavailable")
#define PML_ERROR_LIMIT		PML_ERROR("LimitsExceeded")
#define PML_ERROR_INVALID	PML_ERROR("InvalidArgument")
#define PML_ERROR_CONFIGURATION PML_ERROR("BadConfiguration") /* the files, at a reload */
#define PML_ERROR_CANCELLED	PML_ERROR("Cancelled")
#define PML_ERROR_FAILED	PML_ERROR("Failed")

#define PML_ACTION_PREFIX      "org.pmemlease1."
#define PML_ACTION_INSPECT     PML_ACTION_PREFIX "inspect"
#define PML_ACTION_LEASE       PML_ACTION_PREFIX "lease"
#define PML_ACTION_LEASE_OTHER PML_ACTION_PREFIX "lease-other-owner"
#define PML_ACTION_RELEASE     PML_ACTION_PREFIX "release"
#define PML_ACTION_EVICT       PML_ACTION_PREFIX "evict"
#define PML_ACTION_ADOPT       PML_ACTION_PREFIX "adopt"
#define PML_ACTION_SCRUB       PML_ACTION_PREFIX "scrub"
#define PML_ACTION_READMIT     PML_ACTION_PREFIX "readmit"
#define PML_ACTION_QUARANTINE  PML_ACTION_PREFIX "lift-quarantine"
#define PML_ACTION_MANAGE      PML_ACTION_PREFIX "manage"

/* For a deadline_usec, of the bus and elsewhere: what the configuration says; no end. */
#define PML_DEADLINE_DEFAULT  UINT64_MAX
#define PML_DEADLINE_INFINITY (UINT64_MAX - 1)

#define PML_STATE_DIR	 "/var/lib/pmemlease"
#define PML_RUNTIME_DIR	 "/run/pmemlease"
#define PML_LEDGER_FILE	 "ledger.sqlite"
#define PML_MARKS_DIR	 "marks"
#define PML_MANAGED_FILE "managed" /* for libvirt's hook: devices, a path a line */

#define PML_ALIAS_PREFIX "ua-pmemlease-" /* libvirt keeps aliases that begin with "ua-" */

/* Kinds of messages in the journal: MESSAGE_ID=. Never reused for another meaning; each is in
 * systemd/pmemlease.catalog. */
#define PML_MESSAGE_LEASE_STATE "070e7865edbe4cc28c96859e1e13bff0" /* a lease moved */
#define PML_MESSAGE_REGION_STATE                                                                   \
	"070e7865edbe4cc28c96859e1e13bff1"		     /* the use of a region moved          \
							      */
#define PML_MESSAGE_STUCK "070e7865edbe4cc28c96859e1e13bff2" /* a fence could not be proved */
#define PML_MESSAGE_REGION_LOST                                                                    \
	"070e7865edbe4cc28c96859e1e13bff3" /* a leased region was unbound or left behind our back  \
					    */
#define PML_MESSAGE_LEDGER_FAILED                                                                  \
	"070e7865edbe4cc28c96859e1e13bff4" /* the disk refused a write                             \
					    */
#define PML_MESSAGE_JOB_FAILED	  "070e7865edbe4cc28c96859e1e13bff5"
#define PML_MESSAGE_REFUSED_START "070e7865edbe4cc28c96859e1e13bff6" /* corrupt or newer ledger */
#define PML_MESSAGE_INTRUDER                                                                       \
	"070e7865edbe4cc28c96859e1e13bffa"		      /* held or bound behind our back     \
							       */
#define PML_MESSAGE_PINNED "070e7865edbe4cc28c96859e1e13bffb" /* after its lease was made */
#define PML_MESSAGE_CONFIG_REFUSED                                                                 \
	"070e7865edbe4cc28c96859e1e13bff7" /* a file says what cannot be */
#define PML_MESSAGE_CONFIG_READ	   "070e7865edbe4cc28c96859e1e13bff8" /* read again */
#define PML_MESSAGE_LEASE_MADE	   "070e7865edbe4cc28c96859e1e13bff9"
#define PML_MESSAGE_LEASE_ENDED	   "070e7865edbe4cc28c96859e1e13c008"
#define PML_MESSAGE_EVICT_ACCEPTED "070e7865edbe4cc28c96859e1e13c009" /* the deadline runs */
#define PML_MESSAGE_FENCED	   "070e7865edbe4cc28c96859e1e13bffc" /* with its proof */
#define PML_MESSAGE_QUARANTINED	   "070e7865edbe4cc28c96859e1e13bffd"
#define PML_MESSAGE_SCRUB_BEGUN	   "070e7865edbe4cc28c96859e1e13bffe"
#define PML_MESSAGE_SCRUBBED	   "070e7865edbe4cc28c96859e1e13bfff" /* and read back */
#define PML_MESSAGE_CONTENT                                                                        \
	"070e7865edbe4cc28c96859e1e13c000" /* what is on a region, or whose, moved */
#define PML_MESSAGE_NOTE                                                                           \
	"070e7865edbe4cc28c96859e1e13c001" /* of the history, and no transition                    \
					    */
#define PML_MESSAGE_PRESENCE                                                                       \
	"070e7865edbe4cc28c96859e1e13c002" /* a device was bound, unbound, came or left */
#define PML_MESSAGE_LIBVIRT_BACK "070e7865edbe4cc28c96859e1e13c003"
#define PML_MESSAGE_LIBVIRT_LOST "070e7865edbe4cc28c96859e1e13c004"
#define PML_MESSAGE_MEMORY_FAILURE                                                                 \
	"070e7865edbe4cc28c96859e1e13c005"			 /* a guest met a memory error */
#define PML_MESSAGE_BAD_MEDIA "070e7865edbe4cc28c96859e1e13c006" /* a scrub met bad media */
#define PML_MESSAGE_AFTER_FENCE                                                                    \
	"070e7865edbe4cc28c96859e1e13c007" /* a machine was paused or destroyed, or could not be   \
					    */

#define PML_MESSAGE_DEPRIVED                                                                       \
	"070e7865edbe4cc28c96859e1e13c00a" /* a machine goes on, or ended, without its memory */

#define PML_MESSAGE_SAFE_TO_REMOVE "070e7865edbe4cc28c96859e1e13c00b" /* a part of the host */

#define PML_POLKIT_NAME "org.freedesktop.PolicyKit1"
#define PML_POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define PML_POLKIT_IF	"org.freedesktop.PolicyKit1.Authority"

/* In the daemon's environment: KIND/STEP/before or KIND/STEP/after, where it kills itself. For the
 * crash tests. */
#define PML_ENV_CRASH_AT "PMEMLEASED_CRASH_AT"

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A guest is asked to let go: through its agent, by unplugging what it has, or by taking it in
 * parts. */

#include <libvirt/libvirt-qemu.h>

#include "agent.h"
#include "util.h"
#include "virt-internal.h"
#include "virt-xml.h"

/* How long an agent has for a command; what it does takes none of it. */
#define AGENT_TIMEOUT_SEC 5

static int agent_command(VirtCall *c, const char *command, char **ret_answer, char **ret_why)
{
	char *answer;

	if (!command)
		return -ENOMEM;
	answer = virDomainQemuAgentCommand(c->dom, command, AGENT_TIMEOUT_SEC, 0);
	if (!answer)
		return virt_call_error(c, ret_why);
	*ret_answer = answer;
	return 0;
}

/* Does the agent answer, and may it run programs? why: what it did before, or "". */
static int agent_look(VirtCall *c, const char *why, char **ret_why)
{
	_cleanup_free_ char *answer = NULL, *why_not = NULL;
	bool enabled = true;
	int r;

	r = agent_command(c, "{\"execute\":\"guest-info\"}", &answer, &why_not);
	if (r == VIRT_UNAVAILABLE || r == VIRT_NO_DOMAIN || r < 0) {
		*ret_why = TAKE_PTR(why_not);
		return r;
	}
	if (r != 0)
		return virt_outcome(VIRT_AGENT_SILENT, ret_why,
			"The guest's agent does not answer (systemctl restart qemu-guest-agent in the guest): %s",
			why	  ? why
			: why_not ? why_not
				  : "");
	if (agent_read_enabled(answer, "guest-exec", &enabled) == 0 && !enabled)
		return virt_outcome(VIRT_AGENT_BLOCKED, ret_why,
			"The guest's agent may not run programs: allow guest-exec and guest-exec-status in its "
			"configuration (qemu-ga.conf, allow-rpcs or block-rpcs).");
	return 0;
}

/*
 * A command of the agent was refused, by libvirt or by the agent: what does that mean? libvirt's
 * code is the same for an agent that is not there and one that hangs, and its sentence is for
 * people. So the agent is asked whether it may run programs at all.
 */
static int agent_failed(VirtCall *c, char **why, char **ret_why)
{
	int r = agent_look(c, *why, ret_why);

	if (r != 0)
		return r;
	return virt_outcome(VIRT_NO_AGENT, ret_why,
		"The guest's agent could not run " AGENT_PROGRAM
		" (install pmemlease's guest package there): %s",
		*why ? *why : "");
}

static int channel_lacks(const AgentDevice *device, char **ret_why)
{
	if (!device->channel)
		return virt_outcome(VIRT_NO_AGENT, ret_why,
			"The machine has no channel for a guest agent: add <channel type='unix'>"
			"<target type='virtio' name='org.qemu.guest_agent.0'/></channel>.");
	if (!device->connected)
		return virt_outcome(VIRT_NO_AGENT, ret_why,
			"No agent runs in the guest: install and start qemu-guest-agent there.");
	return 0;
}

static int release_begin(VirtCall *c, const VirtMemory *mem, uint64_t timeout_usec,
	VirtRelease *release, char **why, char **ret_why)
{
	_cleanup_free_ char *command = NULL, *answer = NULL;
	_cleanup_free_ char *xml = NULL;
	AgentDevice device;
	int r;

	r = virt_call_xml(c, &xml, ret_why);
	if (r != 0)
		return r;
	r = virt_xml_agent(xml, mem, &device);
	if (r == -ENOENT)
		return virt_outcome(VIRT_REFUSED, ret_why, "The machine does not have the memory.");
	if (r < 0)
		return r == -EBADMSG ? virt_unreadable(ret_why) : r;
	r = channel_lacks(&device, ret_why);
	if (r != 0)
		return r;
	command = agent_exec_command(&device, timeout_usec);
	r = agent_command(c, command, &answer, why);
	if (r == 0 && agent_read_exec(answer, &release->pid) < 0)
		r = virt_outcome(
			VIRT_REFUSED, ret_why, "The guest's agent answers what it should not.");
	return r;
}

static int release_look(VirtCall *c, VirtRelease *release, char **why, char **ret_why)
{
	_cleanup_free_ char *command = agent_status_command(release->pid), *answer = NULL;
	int r = agent_command(c, command, &answer, why);

	if (r == 0 && agent_read_status(answer, release) < 0)
		r = virt_outcome(
			VIRT_REFUSED, ret_why, "The guest's agent answers what it should not.");
	return r;
}

/*
 * libvirt's call comes back when QEMU has told the guest; the device goes from the XML when the
 * guest has given it up and QEMU has dropped the memory behind it (qemu/qemu_hotplug.c
 * qemuDomainRemoveMemoryDevice()).
 */
static int detach(VirtCall *c, const VirtMemory *mem, VirtRelease *release, char **ret_why)
{
	_cleanup_free_ char *busy = NULL, *why = NULL;
	bool present = false;
	int failed = 0, r;

	if (release->pid == 0) {
		if (virDomainDetachDeviceAlias(c->dom, mem->alias, VIR_DOMAIN_AFFECT_LIVE) == 0) {
			release->pid = 1;
			return 0;
		}
		/* Maybe because it is not there. */
		failed = virt_call_error(c, &why);
		if (failed == VIRT_UNAVAILABLE) {
			*ret_why = TAKE_PTR(why);
			return failed;
		}
	}
	r = virt_call_has_device(c, mem, &present, ret_why);
	if (r != 0 || present) {
		if (r == 0 && failed)
			*ret_why = TAKE_PTR(why);
		return r ? r : failed;
	}
	/* An attach that still runs is not in the XML yet. */
	r = virt_call_idle(c, &busy);
	release->over = release->released = r == 0;
	if (r == VIRT_AMBIGUOUS)
		return 0;
	if (r != 0)
		*ret_why = TAKE_PTR(busy);
	return r;
}

int virt_release(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t timeout_usec,
	VirtRelease *release, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	_cleanup_virt_call_ VirtCall c = {0};
	int r;

	r = virt_call_begin(&c, v, uuid, ret_why);
	if (r != 0)
		return r;
	if (virDomainIsActive(c.dom) == 0)
		return virt_not_running(ret_why);
	if (mem->ram)
		return detach(&c, mem, release, ret_why);
	if (release->pid == 0)
		r = release_begin(&c, mem, timeout_usec, release, &why, ret_why);
	else
		r = release_look(&c, release, &why, ret_why);
	/* The sentence is of what the agent was told, and its meaning is not known yet. */
	if (r == VIRT_REFUSED && why)
		return agent_failed(&c, &why, ret_why);
	if (r > 0 && why)
		*ret_why = TAKE_PTR(why);
	return r;
}

int virt_agent(Virt *v, const char *uuid, char **ret_why)
{
	_cleanup_virt_call_ VirtCall c = {0};
	_cleanup_free_ char *xml = NULL;
	AgentDevice device;
	int r;

	r = virt_call_begin(&c, v, uuid, ret_why);
	if (r != 0)
		return r;
	r = virt_call_xml(&c, &xml, ret_why);
	if (r != 0)
		return r;
	r = virt_xml_agent(xml, NULL, &device);
	if (r == -ENOENT)
		return virt_not_running(ret_why);
	if (r < 0)
		return r == -EBADMSG ? virt_unreadable(ret_why) : r;
	r = channel_lacks(&device, ret_why);
	return r != 0 ? r : agent_look(&c, NULL, ret_why);
}

/* --- a virtio-mem --- */

static int change_requested(
	VirtCall *c, const char *xml, const VirtMemory *mem, uint64_t want_bytes, char **ret_why)
{
	_cleanup_free_ char *device = NULL;
	int r = virt_xml_resized(xml, mem, want_bytes, &device);

	if (r < 0)
		return r == -EBADMSG ? virt_unreadable(ret_why) : r;
	if (virDomainUpdateDeviceFlags(c->dom, device, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return virt_call_error(c, ret_why);
	return 0;
}

int virt_resize(Virt *v, const char *uuid, const VirtMemory *mem, uint64_t want_bytes,
	VirtPlugged *ret, char **ret_why)
{
	_cleanup_virt_call_ VirtCall c = {0};
	_cleanup_free_ char *xml = NULL;
	VirtPlugged p;
	int r;

	r = virt_call_begin(&c, v, uuid, ret_why);
	if (r != 0)
		return r;
	if (virDomainIsActive(c.dom) == 0)
		return virt_not_running(ret_why);
	r = virt_call_xml(&c, &xml, ret_why);
	if (r != 0)
		return r;
	r = virt_xml_plugged(xml, mem, &p);
	if (r < 0)
		return r == -EBADMSG ? virt_unreadable(ret_why) : r;
	if (want_bytes == VIRT_RESIZE_STAY)
		want_bytes = p.current_bytes;
	if (p.attached && want_bytes != VIRT_RESIZE_LOOK && want_bytes != p.requested_bytes) {
		r = change_requested(&c, xml, mem, want_bytes, ret_why);
		if (r != 0)
			return r;
		p.requested_bytes = want_bytes;
	}
	*ret = p;
	return 0;
}

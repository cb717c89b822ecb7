/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a guest's agent answers, and the program that it ran: all of it is the guest's. */

#include "agent.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size);
	VirtRelease v = {.pid = 7};
	bool enabled = true;
	int64_t pid = 0;
	int r;

	r = agent_read_exec(text, &pid);
	FUZZ_CHECK(r == 0 ? pid > 0 : r == -EBADMSG && pid == 0);
	r = agent_read_status(text, &v);
	FUZZ_CHECK(r == 0 || (r == -EBADMSG && !v.over));
	FUZZ_CHECK(v.pid == 7);
	/* One that ended and has not let go says why, in a sentence that a terminal can be shown.
	 */
	FUZZ_CHECK(!v.over || v.released != (v.reason[0] != '\0'));
	fuzz_check_sentence(v.reason);
	r = agent_read_enabled(text, "guest-exec", &enabled);
	FUZZ_CHECK(r == 0 || (r == -EBADMSG && enabled));
	return 0;
}

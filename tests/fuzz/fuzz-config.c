/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A configuration file. What is taken is within bounds, what is not is refused with its line. */

#include "config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size), *why = NULL;
	ConfigErrors errors = {};
	Config config;
	int r;

	config_defaults(&config);
	r = config_parse(&config, "fuzz.conf", text, size, &errors);
	FUZZ_CHECK(r == 0 || r == -ENOMEM);
	for (size_t i = 0; i < errors.n; i++) {
		FUZZ_CHECK(errors.list[i].reason[0]);
		fuzz_check_sentence(errors.list[i].reason);
	}
	r = config_check(&config, &why);
	FUZZ_CHECK(r == 0 || (r == 1 && why));
	fuzz_check_sentence(why);
	FUZZ_CHECK(config.deadline_max_usec <= CONFIG_DEADLINE_MAX);
	FUZZ_CHECK(pml_on_end_to_string(config.on_end));
	FUZZ_CHECK(pml_after_fence_to_string(config.after_fence));
	FUZZ_CHECK(pml_drain_to_string(config.drain));
	FUZZ_CHECK(pml_on_refusal_to_string(config.on_refusal));
	for (char **s = config.block_devices; s && *s; s++)
		FUZZ_CHECK(strncmp(*s, "/dev/", 5) == 0);
	config_errors_clear(&errors);
	config_clear(&config);
	return 0;
}

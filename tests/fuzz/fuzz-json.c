/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the daemon reads back as JSON: a proof out of the ledger, a mark out of /run. */

#include <sys/mman.h>

#include "fuzz.h"
#include "mark.h"
#include "proof.h"

static int marks_dir(void)
{
	static int fd = -EBADF;

	if (fd < 0)
		fd = open(fuzz_dir_new(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(fd >= 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char name[] = "aaaaaaaa-0000-4000-8000-000000000001.mark";
	_cleanup_free_ char *text = fuzz_text(data, size), *again = NULL;
	PmlProof *proof = NULL;
	PmlMark *marks = NULL;
	int fd, dir = marks_dir();
	size_t n = 0;

	if (pml_proof_from_json(text, &proof) == 0) {
		/* What was read can be written, and read again. */
		FUZZ_CHECK(pml_proof_summary(proof));
		FUZZ_CHECK(pml_proof_to_json(proof, &again) == 0);
	}
	(void)pml_proof_free(proof);

	fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	(void)close(fd);
	if (pml_mark_load(dir, &marks, &n) == 0) {
		FUZZ_CHECK(n == 1 && pml_lease_state_to_string(marks[0].state));
		FUZZ_CHECK(marks[0].state != PML_LEASE_FENCED || marks[0].proof_json);
		pml_mark_free(marks, n);
	}
	(void)unlinkat(dir, name, 0);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * A descriptor of an earlier binding is closed: what comes later is not its
 * business. The node must stay usable, and the device must go when it is
 * removed.
 */
#include "daxtest.h"

int main(int argc, char **argv)
{
	int old, new, i;

	dax_test_init(argc, argv);
	old = dax_open();
	if (old < 0)
		die("open");
	if (dax_unbind() || dax_bind())
		die("unbind and bind");
	new = dax_open();
	ksft_check(new >= 0, "opens beside a descriptor of an earlier binding");
	close(old);
	i = dax_open();
	ksft_check(i >= 0, "opens after that descriptor was closed (%d)", i);
	if (i >= 0)
		close(i);
	if (new >= 0)
		close(new);
	for (i = 0; i < 100; i++) {
		old = dax_open();
		if (old < 0 || dax_unbind() || dax_bind())
			break;
		close(old);
	}
	ksft_check(i == 100, "a hundred times (%d)", i);
	if (i != 100) {
		dax_unbind();
		dax_bind();
	}
	return ksft_finish();
}

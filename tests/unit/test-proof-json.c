/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A proof as text: what is written is read again, and nothing else passes. */

#include "proof-fixture.h"

static void test_printable(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"qemu", "qemu"},
		{"h\xc3\xa9llo", "h\xc3\xa9llo"},
		{"\xe2\x82\xac\xf0\x9f\x92\xbe", "\xe2\x82\xac\xf0\x9f\x92\xbe"},
		{"\x80", "?"},
		{"\xc0\xaf", "??"},
		{"\xe2\x82", "??"},
		{"\xed\xa0\x80", "???"},
		{"\xf5\x80\x80\x80", "????"},
		{"a\tb\x7f", "a?b?"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		char s[32];

		assert_int_equal(PML_STRCPY(s, cases[i].in), 0);
		pml_make_printable(s);
		assert_string_equal(s, cases[i].out);
	}
}

static void test_json_round_trip(void **state)
{
	_cleanup_close_ int fd = open_region();
	Mapping m = {.protection = PROT_NONE};
	Child c = start(map_it, &m);
	Fake f = {.refs_result = -EOPNOTSUPP};
	_cleanup_free_ char *one = NULL, *two = NULL;
	PmlProof *p, *q = NULL;

	(void)prctl(PR_SET_NAME, "h\xc3\xa9llo");
	p = collect(&f, DEV_REGION);
	assert_int_equal(pml_proof_to_json(p, &one), 0);
	assert_int_equal(pml_proof_from_json(one, &q), 0);
	assert_int_equal(pml_proof_to_json(q, &two), 0);
	assert_string_equal(one, two);
	assert_int_equal(pml_proof_verdict(q), pml_proof_verdict(p));
	assert_int_equal(pml_proof_module_refs(q), UINT64_MAX);
	assert_string_equal(pml_proof_summary(q), pml_proof_summary(p));
	assert_int_equal(pml_proof_n_holders(q), pml_proof_n_holders(p));
	assert_non_null(holder_of(q, getpid()));
	assert_string_equal(holder_of(q, getpid())->command, "h\xc3\xa9llo");
	assert_int_equal(holder_of(q, getpid())->pidfd, -EBADF);
	assert_int_equal(holder_of(q, getpid())->start_ticks, holder_of(p, getpid())->start_ticks);
	pml_proof_free(p);
	pml_proof_free(q);
	end(c);
}

/* Every cut and every changed byte of a real proof gives a proof or -EBADMSG, never anything else.
 */
static void test_json_damaged(void **state)
{
	static const char *const others[] = {"", "null", "[]", "{}", "1", "{\"format\":1}",
		"{\"format\":2}", "{\"format\":1,\"verdict\":\"clear\"}"};
	_cleanup_close_ int fd = open_region();
	Fake f = {.refs = PER_FILE};
	PmlProof *p = collect(&f, DEV_REGION), *q = NULL;
	_cleanup_free_ char *json = NULL;
	size_t n;

	assert_int_equal(pml_proof_to_json(p, &json), 0);
	pml_proof_free(p);
	for (size_t i = 0; i < ELEMENTSOF(others); i++)
		assert_int_equal(pml_proof_from_json(others[i], &q), -EBADMSG);
	n = strlen(json);
	for (size_t i = 0; i < n; i++) {
		static const char bytes[] = "\"{}[]:,-9n\\\x01\xff";
		char saved = json[i];

		json[i] = 0;
		assert_int_equal(pml_proof_from_json(json, &q), -EBADMSG);
		for (size_t j = 0; j < sizeof(bytes) - 1; j++) {
			int r;

			json[i] = bytes[j];
			r = pml_proof_from_json(json, &q);
			if (r == 0)
				q = pml_proof_free(q);
			else
				assert_int_equal(r, -EBADMSG);
		}
		json[i] = saved;
	}
}

static void test_verdict_strings(void **state)
{
	for (int v = 0; v < _PML_PROOF_VERDICT_MAX; v++)
		assert_int_equal(pml_proof_verdict_from_string(
					 pml_proof_verdict_to_string((PmlProofVerdict)v)),
			v);
	assert_int_equal(pml_proof_verdict_from_string("fine"), _PML_PROOF_VERDICT_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_json_round_trip),
		cmocka_unit_test(test_json_damaged),
		cmocka_unit_test(test_verdict_strings),
	};

	own_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

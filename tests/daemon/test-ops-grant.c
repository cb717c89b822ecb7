/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Machines that have a region from their start: what libvirt's hook is answered, and that a region
 * is always free again when a start came to nothing. */

#include "grant-xml.h"
#include "ops-fixture.h"
#include "start-xml.h"

#define DEVICE	    NVDIMM_XML("/dev/full", "65536", "")
#define XML_A	    DOMAIN_XML("kvm", WORLD_A, "a", DEVICE)
#define XML_B	    DOMAIN_XML("kvm", WORLD_B, "b", DEVICE)
#define XML_OURS    A_WITH(NVDIMM_XML("/dev/full", "65536", "<alias name='ua-pmemlease-1'/>"))
#define A_WITH(dev) DOMAIN_XML("kvm", WORLD_A, "a", dev)

typedef struct Answer {
	bool given, yes;
	OpError err;
} Answer;

static Answer answer, other_answer;

static void on_answer(void *data, const OpError *e)
{
	Answer *a = data;

	assert_false(a->given);
	a->given = true;
	a->yes = !e;
	if (e)
		a->err = *e;
}

static void ask_into(Answer *a, const char *xml, const char *phase)
{
	*a = (Answer){};
	assert_int_equal(op_grant(m, xml, phase, on_answer, a), 0);
}

static void ask(const char *xml, const char *phase)
{
	ask_into(&answer, xml, phase);
	UNTIL(answer.given);
}

static void granted(const char *xml, const char *phase)
{
	ask(xml, phase);
	if (!answer.yes)
		fail_msg("%s: %s", phase, answer.err.message);
}

static void denied(const char *xml, const char *phase, const char *error, const char *word)
{
	ask(xml, phase);
	assert_false(answer.yes);
	assert_string_equal(answer.err.error, error);
	if (!strstr(answer.err.message, word))
		fail_msg("'%s' is not in: %s", word, answer.err.message);
	assert_true(!region()->lease || !pml_streq(region()->lease->record.domain, WORLD_A) ||
		    region()->lease->gone || region()->job);
}

static bool is_free(void)
{
	return !region()->lease && !region()->job && region()->record.use == PML_USE_FREE &&
	       region()->presence == PML_PRESENCE_ONLINE && !m->rescan_running;
}

/* libvirt makes the process, with the region in its XML from the beginning. */
static void process_starts(int i)
{
	world_domain_start(i);
	world->domains[i].mapped = true;
	world->domains[i].attached = true;
}

static void a_starts(void)
{
	granted(XML_A, "prepare");
	assert_int_equal(region()->lease->record.state, PML_LEASE_ATTACHING);
	assert_int_equal(region()->record.use, PML_USE_LEASED);
	assert_string_equal(region()->record.owner, WORLD_A);
	granted(XML_A, "start");
	process_starts(0);
	granted(XML_A, "started");
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
	assert_int_equal(region()->lease->record.vmm_pid, world->domains[0].pid);
	UNTIL(!region()->job);
}

static void before(void)
{
	world_domain_stop(0);
	scrub("");
	UNTIL(is_free());
}

static void test_start_and_stop(void **state)
{
	before();
	/* Nothing of it asks libvirt, which does not answer while a hook runs. */
	world->hang_lookup = world->hang_attach = true;
	a_starts();
	world->hang_lookup = world->hang_attach = false;
	world_write(0);
	refused(try_lease("b", NULL), PML_ERROR_BUSY);

	world_domain_stop(0);
	granted(XML_A, "stopped");
	granted(XML_A, "release");
	UNTIL(is_free());
	assert_true(world->bound);
	assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);

	/* Its data is its own. */
	world_domain_stop(1);
	denied(XML_B, "prepare", PML_ERROR_NOT_CLEAN, WORLD_A);
	denied(XML_B, "migrate", PML_ERROR_NOT_CLEAN, WORLD_A);
	denied(XML_B, "restore", PML_ERROR_NOT_CLEAN, WORLD_A);
	granted(XML_A, "restore");
	assert_null(region()->lease);
	a_starts();
}

static void test_refused(void **state)
{
	world_domain_stop(0);
	UNTIL(is_free());
	denied(XML_A, "prepare", PML_ERROR_FOREIGN, "adopt");
	scrub("");
	UNTIL(is_free());
	denied("<domain type='kvm'>", "prepare", PML_ERROR_INVALID, "XML");
	denied(A_WITH(NVDIMM_XML("/dev/full", "65537", "")), "prepare", PML_ERROR_DOMAIN_UNSUITED,
		"65536");
	denied(A_WITH(DEVICE DEVICE), "prepare", PML_ERROR_INVALID, "twice");
	denied(DOMAIN_XML("qemu", WORLD_A, "a", DEVICE), "prepare", PML_ERROR_DOMAIN_UNSUITED,
		"KVM");
	denied(A_WITH("<memory model='nvdimm'><source><path>/dev/full</path></source>"
		      "<target><size unit='KiB'>65536</size></target></memory>"),
		"prepare", PML_ERROR_DOMAIN_UNSUITED, "access='shared'");
	denied(A_WITH("<memory model='virtio-pmem' access='shared'><source><path>/dev/full</path>"
		      "</source><target><size unit='KiB'>65536</size></target></memory>"),
		"prepare", PML_ERROR_DOMAIN_UNSUITED, "nvdimm");
	denied(A_WITH(DEVICE "<hostdev mode='subsystem' type='pci'/>"), "prepare", PML_ERROR_PINNED,
		"hostdev");
	/* By another name of the same device. */
	denied(A_WITH(NVDIMM_XML("/dev/../dev/full", "65536", "")), "prepare", PML_ERROR_INVALID,
		"/dev/full");
	/* What is none of ours is nobody's business. */
	granted(A_WITH(NVDIMM_XML("/tmp/file", "2048", "")), "prepare");
	granted(A_WITH("<memory model='dimm'><target><size unit='KiB'>1</size></target></memory>"),
		"prepare");
	granted(A_WITH(DEVICE), "reconnect");
	granted(A_WITH(DEVICE), "a phase of tomorrow");
	assert_null(region()->lease);
	assert_int_equal(region()->record.content, PML_CONTENT_BLANK);
}

/* The machine was shut off a moment ago: its next start waits for the region. */
static void test_waits_for_what_passes(void **state)
{
	before();
	a_starts();
	world->hang_proof = true;
	world_domain_stop(0);
	granted(XML_A, "stopped");
	granted(XML_A, "release");
	UNTIL(world->in_proof);
	ask_into(&answer, XML_A, "prepare");
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(event, 5 * USEC_PER_MSEC) >= 0);
	assert_false(answer.given);
	world->hang_proof = false;
	UNTIL(answer.given);
	assert_true(answer.yes);
	assert_int_equal(region()->lease->record.state, PML_LEASE_ATTACHING);

	/* What does not pass is refused when its time is up. */
	world_domain_stop(1);
	m->config.grant_timeout_usec = 50 * USEC_PER_MSEC;
	denied(XML_B, "prepare", PML_ERROR_BUSY, "lent to a");
	granted(XML_A, "release");
	UNTIL(is_free());
	world->missing = true;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(region()->presence == PML_PRESENCE_MISSING);
	denied(XML_A, "prepare", PML_ERROR_NO_SUCH_REGION, "pmemlease regions");
	/* At boot the namespaces come after the machines. */
	m->config.grant_timeout_usec = 10 * USEC_PER_SEC;
	ask_into(&answer, XML_A, "prepare");
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(event, 5 * USEC_PER_MSEC) >= 0);
	assert_false(answer.given);
	world->missing = false;
	assert_int_equal(manager_rescan(m, NULL, NULL), 0);
	UNTIL(answer.given);
	assert_true(answer.yes);
}

static void test_start_comes_to_nothing(void **state)
{
	before();
	/* QEMU did not start. */
	granted(XML_A, "prepare");
	granted(XML_A, "stopped");
	granted(XML_A, "release");
	UNTIL(is_free());
	assert_int_equal(region()->record.content, PML_CONTENT_RETAINED);

	/* Nor was that heard of: libvirt is asked. */
	m->config.start_timeout_usec = 50 * USEC_PER_MSEC;
	granted(XML_A, "prepare");
	UNTIL(is_free());

	/* Or it had started, and only that was not heard. */
	granted(XML_A, "prepare");
	process_starts(0);
	UNTIL(region()->lease->record.state == PML_LEASE_ACTIVE);
	world_domain_stop(0);
	granted(XML_A, "release");
	UNTIL(is_free());

	/* It maps other memory than that. */
	m->config.start_timeout_usec = 60 * USEC_PER_SEC;
	granted(XML_A, "prepare");
	world_domain_start(0);
	ask(XML_A, "started");
	assert_false(answer.yes);
	assert_non_null(strstr(answer.err.message, "does not map"));
	world_domain_stop(0);
	granted(XML_A, "release");
	UNTIL(is_free());

	/* Given up while its regions are being reserved: libvirt does not wait for the disk. */
	world->ledger_hangs = true;
	ask_into(&other_answer, XML_A, "prepare");
	UNTIL(region()->job);
	granted(XML_A, "release");
	UNTIL(other_answer.given);
	assert_false(other_answer.yes);
	world->ledger_hangs = false;
	UNTIL(is_free());

	world->ledger_error = ENOSPC;
	denied(XML_A, "prepare", PML_ERROR_LEDGER, "full");
	world->ledger_error = 0;
	UNTIL(is_free());
}

static void test_disk_hangs(void **state)
{
	before();
	m->config.proof_timeout_usec = 0;
	m->config.reserve_timeout_usec = 100 * USEC_PER_MSEC;
	world->hang_in_write = 2;
	ask_into(&answer, XML_A, "prepare");
	UNTIL(answer.given);
	assert_false(answer.yes);
	assert_string_equal(answer.err.error, PML_ERROR_BUSY);
	m->config.proof_timeout_usec = 5 * USEC_PER_SEC;
	world->ledger_hangs = false;
	UNTIL(is_free());
}

static void test_taken_back_while_starting(void **state)
{
	WorldEnd e;
	uint64_t id;

	before();
	granted(XML_A, "prepare");
	UNTIL(region()->job->waiting);
	assert_int_equal(try_evict(0, true), 0);
	id = job->id;
	e = finish(id);
	assert_string_equal(e.result, "done");
	assert_false(world->bound);
	/* The process cannot open it, and its start fails. */
	granted(XML_A, "stopped");
	granted(XML_A, "release");
	UNTIL(!region()->lease && !region()->job);
	denied(XML_A, "prepare", PML_ERROR_NOT_LEASABLE, "readmit");
	assert_int_equal(op_readmit_start(m, region(), 0, &job, &err), 0);
	(void)finish(job->id);
	UNTIL(is_free());
	a_starts();
}

static void test_restart_while_starting(void **state)
{
	before();
	granted(XML_A, "prepare");
	stop();
	start();
	/* libvirt is asked for what was not heard. */
	process_starts(0);
	granted(XML_A, "started");
	UNTIL(region()->lease && region()->lease->record.state == PML_LEASE_ACTIVE);
	world_domain_stop(0);
	granted(XML_A, "release");
	UNTIL(is_free());

	granted(XML_A, "prepare");
	stop();
	start();
	UNTIL(is_free());
}

/* Leased once and for all: in the definition, started with it, and taken out by who takes it back.
 */
static void test_persistent(void **state)
{
	WorldEnd e;

	scrub("");
	UNTIL(is_free());
	assert_int_equal(try_lease("a", NULL), 0);
	op_lease_persist(job);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_true(world->domains[0].defined);
	assert_null(region()->lease->unpersisted);

	/* Its end leaves the definition alone. */
	world_domain_stop(0);
	UNTIL(is_free());
	assert_true(world->domains[0].defined);
	a_starts();
	assert_int_equal(try_evict(0, false), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	world_domain_stop(0);
	granted(XML_A, "release");
	UNTIL(is_free());
	/* It was somebody's own device, by its name. */
	assert_true(world->domains[0].defined);

	granted(XML_OURS, "prepare");
	process_starts(0);
	granted(XML_OURS, "started");
	world->libvirt_down = true;
	assert_int_equal(try_evict(0, false), 0);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	world->libvirt_down = false;
	/* libvirt had not answered: it is asked again. */
	UNTIL(!world->domains[0].defined);
	world_domain_stop(0);
	UNTIL(is_free());

	/* What libvirt refuses is a warning: the machine has its memory. */
	world_domain_start(0);
	world->refuse_define = true;
	assert_int_equal(try_lease("a", NULL), 0);
	op_lease_persist(job);
	e = finish(job->id);
	assert_string_equal(e.result, "done");
	assert_non_null(strstr(region()->lease->unpersisted, "transient"));
	assert_int_equal(region()->lease->record.state, PML_LEASE_ACTIVE);
}

/* The name in the definition means other bytes since the last boot. */
static void test_renamed(void **state)
{
	PmlLeaseRecord rec = {.state = PML_LEASE_RESERVED, .extent = region()->extent};
	char xml[2048];
	PmlTxn *txn = pml_txn_new("test");

	before();
	rec.extent.start_bytes += 1ULL << 40;
	assert_int_equal(lease_new_id(rec.id), 0);
	(void)PML_STRCPY(rec.region, "elsewhere");
	(void)PML_STRCPY(rec.region_name, "dax0.0");
	(void)PML_STRCPY(rec.domain, WORLD_A);
	(void)PML_STRCPY(rec.owner, WORLD_A);
	assert_int_equal(pml_txn_lease_new(txn, &rec), 0);
	assert_int_equal(
		pml_txn_use_step(txn, "elsewhere", &rec.extent, PML_USE_EV_LEASE, NULL), 0);
	assert_int_equal(pml_ledger_apply(m->ledger, txn, NULL), 0);
	pml_txn_free(txn);

	(void)snprintf(xml, sizeof(xml),
		A_WITH(NVDIMM_XML("/dev/full", "65536", "<alias name='ua-pmemlease-%s'/>")),
		rec.id);
	denied(xml, "prepare", PML_ERROR_STALE, "another region");
	UNTIL(is_free());
	granted(XML_OURS, "prepare");
}

static void test_two_at_once(void **state)
{
	before();
	world_domain_stop(1);
	m->config.grant_timeout_usec = 300 * USEC_PER_MSEC;
	ask_into(&answer, XML_A, "prepare");
	ask_into(&other_answer, XML_B, "prepare");
	UNTIL(answer.given && other_answer.given);
	assert_true(answer.yes != other_answer.yes);
}

/* Memory of a node that is lent is no machine's by its own XML; of one that is not, anybody's. */
static void test_node_of_a_lease(void **state)
{
#define DIMM_XML(mask)                                                                             \
	A_WITH("<memory model='dimm'><source><nodemask>" mask "</nodemask></source><target>"       \
	       "<size unit='KiB'>131072</size><node>0</node></target></memory>")

	stop();
	world->ram = world->kmem = true;
	world->bound = false;
	world->agent = WORLD_AGENT_RELEASES;
	start();
	UNTIL(m->libvirt_connected);
	adopt(WORLD_B);
	granted(DIMM_XML("0-1"), "prepare");
	lend("b");
	denied(DIMM_XML("0-1"), "prepare", PML_ERROR_NOT_LEASABLE, "lent to domain b");
	denied(DIMM_XML("1"), "restore", PML_ERROR_NOT_LEASABLE, "NUMA node 1");
	granted(DIMM_XML("0,2-3"), "prepare");
	denied(DIMM_XML("1-x"), "prepare", PML_ERROR_INVALID, "no domain's XML");
	/* What runs already is not ended by a question of libvirt's. */
	granted(DIMM_XML("1"), "reconnect");
	assert_string_equal(evict(60 * USEC_PER_SEC).result, "done");
	until_free();
	granted(DIMM_XML("1"), "prepare");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_start_and_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_what_passes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_start_comes_to_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_back_while_starting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_while_starting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_persistent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_node_of_a_lease, setup, teardown),
	};

	return ops_main(argc, argv, tests, ELEMENTSOF(tests));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <locale.h>

#include "act.h"
#include "format.h"

typedef struct Verb {
	const char *name;
	const char *arguments;
	int min_args, max_args;
	unsigned options; /* OptionBit */
	VerbFn run;
	const char *help;
	bool without_bus; /* it is run also where there is none */
} Verb;

static const Verb verbs[] = {
	{"status", "[REGION]", 0, 1, OPT_BYTES, verb_status, "the daemon and all regions, or one"},
	{"regions", "", 0, 0, OPT_BYTES, verb_regions, "what can be lent"},
	{"leases", "", 0, 0, 0, verb_leases, "what is lent, and to whom"},
	{"jobs", "", 0, 0, 0, verb_jobs, "what is under way"},
	{"history", "[REGION|LEASE]", 0, 1, OPT_LINES, verb_history, "what happened, oldest first"},
	{"monitor", "", 0, 0, OPT_BYTES, verb_monitor, "what happens from now on, until Ctrl-C"},
	{"lease", "REGION|--size=SIZE DOMAIN", 1, 2,
		OPT_CHOOSE | OPT_OWNER | OPT_ON_END | OPT_AFTER_FENCE | OPT_PERSISTENT |
			OPT_RESTORE | OPT_MODEL | OPT_ALLOW_DESTROY | OPT_DRAIN | OPT_DEADLINE |
			OPT_NO_WAIT,
		verb_lease, "lend a region to a running domain"},
	{"release", "REGION|LEASE", 1, 1, OPT_DEADLINE | OPT_DRAIN | OPT_NO_WAIT | OPT_BYTES,
		verb_release, "the tenant gives it back"},
	{"device", "DEVICE", 1, 1, OPT_BYTES, verb_device,
		"what lies on a DIMM, an interleave set or a node"},
	{"evict", "REGION|--device=DEVICE", 0, 1,
		OPT_DEADLINE | OPT_KEEP_OFFLINE | OPT_AFTER_FENCE | OPT_DRAIN | OPT_NO_WAIT |
			OPT_BYTES | OPT_DEVICE,
		verb_evict, "take it back: ask, then force, then prove"},
	{"revoke", "REGION|LEASE", 1, 1, OPT_NO_WAIT | OPT_BYTES, verb_revoke,
		"take it back at once"},
	{"verify", "REGION", 1, 1, OPT_BYTES, verb_verify, "who holds it now"},
	{"proof", "REGION", 1, 1, OPT_BYTES, verb_proof, "the recorded proof of its last fence"},
	{"adopt", "REGION OWNER", 2, 2, 0, verb_adopt, "say whose data is on it"},
	{"scrub", "REGION", 1, 1, OPT_DISCARD | OPT_NO_WAIT | OPT_BYTES, verb_scrub,
		"destroy an owner's data, and read back"},
	{"readmit", "REGION|--device=DEVICE", 0, 1,
		OPT_NO_WAIT | OPT_BYTES | OPT_DEVICE | OPT_DISCARD, verb_readmit,
		"bring back what was kept offline"},
	{"lift-quarantine", "REGION", 1, 1, OPT_REASON, verb_lift_quarantine,
		"an operator's word that it is safe"},
	{"doctor", "", 0, 0, 0, verb_doctor, "what this host can and cannot guarantee",
		.without_bus = true},
	{"wait", "JOB", 1, 1, 0, verb_wait, "watch a job to its end"},
	{"cancel", "JOB", 1, 1, 0, verb_cancel, "stop a job at its next safe point"},
};

enum {
	ARG_OWNER = 0x100,
	ARG_ON_END,
	ARG_AFTER_FENCE,
	ARG_DEADLINE,
	ARG_KEEP_OFFLINE,
	ARG_PERSISTENT,
	ARG_RESTORE,
	ARG_DISCARD,
	ARG_REASON,
	ARG_JSON,
	ARG_NO_LEGEND,
	ARG_ALLOW_DESTROY,
	ARG_SIZE,
	ARG_NODE,
	ARG_KIND,
	ARG_MODEL,
	ARG_DRAIN,
	ARG_ON_REFUSAL,
	ARG_DEVICE,
	ARG_NO_WAIT,
	ARG_BYTES,
	ARG_NO_ASK_PASSWORD,
	ARG_VERSION,
};

static const struct option long_options[] = {
	{"owner", required_argument, NULL, ARG_OWNER},
	{"on-end", required_argument, NULL, ARG_ON_END},
	{"after-fence", required_argument, NULL, ARG_AFTER_FENCE},
	{"deadline", required_argument, NULL, ARG_DEADLINE},
	{"drain", required_argument, NULL, ARG_DRAIN},
	{"on-refusal", required_argument, NULL, ARG_ON_REFUSAL},
	{"persistent", no_argument, NULL, ARG_PERSISTENT},
	{"restore", no_argument, NULL, ARG_RESTORE},
	{"keep-offline", no_argument, NULL, ARG_KEEP_OFFLINE},
	{"allow-destroy", no_argument, NULL, ARG_ALLOW_DESTROY},
	{"size", required_argument, NULL, ARG_SIZE},
	{"node", required_argument, NULL, ARG_NODE},
	{"kind", required_argument, NULL, ARG_KIND},
	{"model", required_argument, NULL, ARG_MODEL},
	{"device", required_argument, NULL, ARG_DEVICE},
	{"discard", required_argument, NULL, ARG_DISCARD},
	{"reason", required_argument, NULL, ARG_REASON},
	{"lines", required_argument, NULL, 'n'},
	{"json", no_argument, NULL, ARG_JSON},
	{"no-legend", no_argument, NULL, ARG_NO_LEGEND},
	{"no-wait", no_argument, NULL, ARG_NO_WAIT},
	{"bytes", no_argument, NULL, ARG_BYTES},
	{"host", required_argument, NULL, 'H'},
	{"no-ask-password", no_argument, NULL, ARG_NO_ASK_PASSWORD},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, ARG_VERSION},
	{},
};

/* The options that only some verbs take, for the message that refuses them elsewhere. */
static const struct {
	OptionBit bit;
	const char *name;
} option_names[] = {
	{OPT_OWNER, "--owner"},
	{OPT_ON_END, "--on-end"},
	{OPT_AFTER_FENCE, "--after-fence"},
	{OPT_DEADLINE, "--deadline"},
	{OPT_KEEP_OFFLINE, "--keep-offline"},
	{OPT_PERSISTENT, "--persistent"},
	{OPT_RESTORE, "--restore"},
	{OPT_ALLOW_DESTROY, "--allow-destroy"},
	{OPT_DRAIN, "--drain or --on-refusal"},
	{OPT_CHOOSE, "--size, --node or --kind"},
	{OPT_MODEL, "--model"},
	{OPT_DEVICE, "--device"},
	{OPT_DISCARD, "--discard"},
	{OPT_REASON, "--reason"},
	{OPT_LINES, "--lines"},
	{OPT_NO_WAIT, "--no-wait"},
	{OPT_BYTES, "--bytes"},
};

static void help(void)
{
	puts("pmemlease [OPTION]... COMMAND\n\n"
	     "Lends persistent memory to virtual machines, and takes it back with a proof.\n\n"
	     "Commands:");
	for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
		char usage[64];

		snprintf(usage, sizeof(usage), "%s %s", verbs[i].name, verbs[i].arguments);
		printf("  %-24s %s\n", usage, verbs[i].help);
	}
	puts("  help                     this text\n\n"
	     "Options:\n"
	     "  --size=SIZE              lease: the best region of at least so much: 512M, 64G\n"
	     "  --node=N                 lease --size: on this NUMA node, or near it\n"
	     "  --kind=devdax|bdev|sysram\n"
	     "                           lease --size: of this kind alone\n"
	     "  --model=dimm|virtio-mem  lease: as which device memory of the host is lent (dimm)\n"
	     "  --owner=OWNER            lease: whose data it will hold (the domain's UUID)\n"
	     "  --on-end=keep|scrub      lease: what happens to the data when it ends (keep)\n"
	     "  --after-fence=keep|pause|destroy\n"
	     "                           lease, evict: what becomes of a guest that did not let go\n"
	     "  --persistent             lease: the next start of the domain has it, too\n"
	     "  --restore                lease: made again when its memory leaves the host and comes back\n"
	     "  --allow-destroy          lease: taking it back may destroy the domain; a block device\n"
	     "                           wants that\n"
	     "  --deadline=SPAN          lease, evict, release: how long the guest has: 0, 500ms, 5s,\n"
	     "                           2min, 1h, infinity (the configuration's, 30s)\n"
	     "  --drain=ask|force|never  lease, evict, release: ask the guest to let go, force at once,\n"
	     "                           or wait without asking (ask)\n"
	     "  --on-refusal=force|keep  lease, evict, release: what becomes of a guest that says no\n"
	     "                           (force)\n"
	     "  --device=DEVICE          evict: everything on a DIMM (nmem0), an interleave set (region0)\n"
	     "                           or a node (node1), kept offline, until it is safe to remove;\n"
	     "                           readmit: what is in its place is laid out and lent as it was\n"
	     "  --keep-offline           evict: leave it unbound until readmit\n"
	     "  --discard=OWNER          scrub: whose data is destroyed; readmit --device: --discard= overwrites\n"
	     "                           what a new medium has on it\n"
	     "  --reason=TEXT            lift-quarantine: why it is safe; recorded\n"
	     "  -n, --lines=N            history: at most so many rows (20)\n"
	     "  --no-wait                print the job, and leave\n"
	     "  --json                   print a document instead of tables\n"
	     "  --no-legend              no headings\n"
	     "  --bytes                  sizes in bytes\n"
	     "  -H, --host=USER@HOST     ask the daemon of another host, by ssh\n"
	     "  --no-ask-password        never ask for a password\n"
	     "  -h, --help               this text\n"
	     "  --version                the version\n\n"
	     "Exit codes: 0 done, 1 failed, 2 usage, 3 no such thing, 4 refused, 5 not authorized,\n"
	     "6 no daemon, 7 stuck (fenced, not proved). See pmemlease(1).");
}

static int usage_error(const char *message, const char *what)
{
	say(stderr, "pmemlease: %s%s%s`pmemlease help` lists commands and options.\n",
		what ? what : "", what ? ": " : "", message);
	return EXIT_USAGE;
}

static const char *const on_end_words[] = {"keep", "scrub", NULL};
static const char *const after_fence_words[] = {"keep", "pause", "destroy", NULL};
static const char *const drain_words[] = {"ask", "force", "never", NULL};
static const char *const on_refusal_words[] = {"force", "keep", NULL};
static const char *const kind_words[] = {"devdax", "bdev", "sysram", NULL};
static const char *const model_words[] = {"dimm", "virtio-mem", NULL};

static int parse_choice(
	const char *option, const char *value, const char *const *words, const char **ret)
{
	for (const char *const *w = words; *w; w++)
		if (strcmp(value, *w) == 0) {
			*ret = value;
			return 0;
		}
	say(stderr, "pmemlease: %s is ", option);
	for (const char *const *w = words; *w; w++)
		say(stderr, "%s%s", *w, w[1] ? (w[2] ? ", " : " or ") : "");
	say(stderr, ", not \"%s\".\n", value);
	return EXIT_USAGE;
}

static int parse_deadline(Options *o, const char *value)
{
	int r;

	if (strcmp(value, "infinity") == 0) {
		o->deadline_usec = PML_DEADLINE_INFINITY;
		return 0;
	}
	r = parse_span(value, &o->deadline_usec);
	if (r == 0)
		return 0;
	say(stderr, "pmemlease: \"%s\" is %s: write 0, 500ms, 5s, 2min, 1h or infinity.\n", value,
		r == -ERANGE ? "too long a deadline" : "no deadline");
	return EXIT_USAGE;
}

static int parse_wanted_size(Options *o, const char *value)
{
	int r = parse_size(value, &o->size_bytes);

	if (r == 0 && o->size_bytes > 0)
		return 0;
	say(stderr, "pmemlease: \"%s\" is %s: write 512M, 64G or a number of bytes.\n", value,
		r == -ERANGE ? "too much" : "no size");
	return EXIT_USAGE;
}

static int parse_node(Options *o, const char *value)
{
	uint64_t node;

	if (parse_number(value, 0, NODE_MAX, &node) == 0) {
		o->node = (int)node;
		return 0;
	}
	say(stderr, "pmemlease: \"%s\" is no number of a NUMA node.\n", value);
	return EXIT_USAGE;
}

static int parse_lines(Options *o, const char *value)
{
	if (parse_number(value, 1, LINES_MAX, &o->lines) == 0)
		return 0;
	say(stderr, "pmemlease: \"%s\" is no number of rows from 1 to %d.\n", value, LINES_MAX);
	return EXIT_USAGE;
}

/* 0, or the code to exit with; -1: exit well (help, version). */
static int parse_option(Options *o, int c)
{
	switch (c) {
	case ARG_OWNER:
		o->owner = optarg;
		o->given |= OPT_OWNER;
		return 0;
	case ARG_ON_END:
		o->given |= OPT_ON_END;
		return parse_choice("--on-end", optarg, on_end_words, &o->on_end);
	case ARG_AFTER_FENCE:
		o->given |= OPT_AFTER_FENCE;
		return parse_choice("--after-fence", optarg, after_fence_words, &o->after_fence);
	case ARG_DRAIN:
		o->given |= OPT_DRAIN;
		return parse_choice("--drain", optarg, drain_words, &o->drain);
	case ARG_ON_REFUSAL:
		o->given |= OPT_DRAIN;
		return parse_choice("--on-refusal", optarg, on_refusal_words, &o->on_refusal);
	case ARG_MODEL:
		o->given |= OPT_MODEL;
		return parse_choice("--model", optarg, model_words, &o->model);
	case ARG_DEADLINE:
		o->given |= OPT_DEADLINE;
		return parse_deadline(o, optarg);
	case ARG_PERSISTENT:
		o->persistent = true;
		o->given |= OPT_PERSISTENT;
		return 0;
	case ARG_RESTORE:
		o->restore = true;
		o->given |= OPT_RESTORE;
		return 0;
	case ARG_KEEP_OFFLINE:
		o->keep_offline = true;
		o->given |= OPT_KEEP_OFFLINE;
		return 0;
	case ARG_ALLOW_DESTROY:
		o->allow_destroy = true;
		o->given |= OPT_ALLOW_DESTROY;
		return 0;
	case ARG_SIZE:
		o->given |= OPT_CHOOSE;
		return parse_wanted_size(o, optarg);
	case ARG_NODE:
		o->given |= OPT_CHOOSE;
		return parse_node(o, optarg);
	case ARG_KIND:
		o->given |= OPT_CHOOSE;
		return parse_choice("--kind", optarg, kind_words, &o->kind);
	case ARG_DEVICE:
		o->device = optarg;
		o->given |= OPT_DEVICE;
		return 0;
	case ARG_DISCARD:
		o->discard = optarg;
		o->given |= OPT_DISCARD;
		return 0;
	case ARG_REASON:
		o->reason = optarg;
		o->given |= OPT_REASON;
		return 0;
	case 'n':
		o->given |= OPT_LINES;
		return parse_lines(o, optarg);
	case ARG_NO_WAIT:
		o->no_wait = true;
		o->given |= OPT_NO_WAIT;
		return 0;
	case ARG_BYTES:
		o->bytes = true;
		o->given |= OPT_BYTES;
		return 0;
	case ARG_JSON:
		o->json = true;
		return 0;
	case ARG_NO_LEGEND:
		o->no_legend = true;
		return 0;
	case ARG_NO_ASK_PASSWORD:
		o->no_ask_password = true;
		return 0;
	case 'H':
		o->host = optarg;
		return 0;
	case 'h':
		help();
		return -1;
	case ARG_VERSION:
		puts("pmemlease " PMEMLEASE_VERSION);
		return -1;
	default:
		return EXIT_USAGE;
	}
}

static const Verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int check_options(const Options *o, const Verb *verb)
{
	for (size_t i = 0; i < ELEMENTSOF(option_names); i++)
		if (o->given & ~verb->options & (unsigned)option_names[i].bit) {
			say(stderr, "pmemlease: %s is no option of \"%s\".\n", option_names[i].name,
				verb->name);
			return EXIT_USAGE;
		}
	return 0;
}

static int run(int argc, char *argv[])
{
	_cleanup_bus_ sd_bus *bus = NULL;
	Options o = {.deadline_usec = DEADLINE_DEFAULT_USEC, .lines = LINES_DEFAULT, .node = -1};
	const Verb *verb;
	ExitCode code;
	int c, r;

	while ((c = getopt_long(argc, argv, "hn:H:", long_options, NULL)) >= 0) {
		r = parse_option(&o, c);
		if (r != 0)
			return r < 0 ? EXIT_DONE : r;
	}
	if (optind == argc)
		return usage_error("A command is wanted. ", NULL);
	if (strcmp(argv[optind], "help") == 0) {
		help();
		return EXIT_DONE;
	}
	verb = find_verb(argv[optind]);
	if (!verb)
		return usage_error("no such command. ", argv[optind]);
	argc -= optind + 1;
	if (argc < verb->min_args || argc > verb->max_args) {
		say(stderr, "pmemlease: It is `pmemlease %s %s`.\n", verb->name, verb->arguments);
		return EXIT_USAGE;
	}
	r = check_options(&o, verb);
	if (r != 0)
		return r;
	if (!verb->without_bus && bus_open(&o, &bus, &code) < 0)
		return code;
	return verb->run(bus, &o, argv + optind + 1);
}

int main(int argc, char *argv[])
{
	int r;

	setlocale(LC_ALL, "");
	r = run(argc, argv);
	/* a full disk behind a pipe must not look like success */
	if (fflush(stdout) != 0 && r == EXIT_DONE) {
		say(stderr, "pmemlease: Cannot write: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	return r;
}

/* driver.c - chaos: a run of rounds, each with its own faults, and one line of verdict.
 *
 *     driver --dir DIR --worker PATH --clock PATH [--minutes M] [--seconds S] [--seed N]
 *            [--faults LIST] [--list]
 *
 * scripts/chaos calls it. Exit status 0: good; 1: something was found; 2: it could not run. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "round.h"
#include "runner.h"
#include "test.h"

/* What the checks and proxies of tests/support ask for; there is no runner here. */
struct test_surroundings test_surroundings;

enum {
    GRACE_MS = 50000, /* past its time, the run ends, whatever it is at */
    CYCLE_MS = 90000, /* a cycle of rounds of all kinds takes so long at most */
    DRAIN_MS = 20000,
    AROUND_MS = 4000, /* of a round: starting, draining, judging, as a rule */
    LEAST_MS = 5000   /* of faults in a round */
};

typedef struct options {
    const char *dir, *worker, *clock, *faults;
    int64_t length;
    uint64_t seed, kinds;
} options;

static const struct {
    round_kind kind;
    int weight; /* of a cycle's time */
} rounds[] = {{ROUND_STEADY, 45}, {ROUND_LOSSY, 35}, {ROUND_RUIN, 20}};

/* ---- Options -------------------------------------------------------------------------------- */

_Noreturn static void usage(const char *what, const char *value) {
    fprintf(stderr, "chaos: %s \"%s\"\n", what, value);
    exit(2);
}

static uint64_t number(const char *name, const char *text) {
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0')
        usage(name, text);
    return n;
}

static uint64_t parse_faults(const char *list) {
    uint64_t bits = 0;
    for (const char *at = list; *at != '\0';) {
        size_t n = strcspn(at, ",");
        const fault_kind *k = fault_named(at, n);
        if (k == NULL)
            usage("there is no such fault; --list tells which there are:", at);
        bits |= UINT64_C(1) << (k - fault_kinds);
        at += n + (at[n] == ',');
    }
    return bits;
}

static uint64_t new_seed(void) {
    uint32_t seed = (uint32_t)getpid();
    if (getrandom(&seed, sizeof seed, 0) < 0)
        seed ^= (uint32_t)test_now_ms();
    return seed;
}

static void parse(options *o, int argc, char **argv) {
    static const struct option longs[] = {{"dir", required_argument, NULL, 'd'},
                                          {"worker", required_argument, NULL, 'w'},
                                          {"clock", required_argument, NULL, 'c'},
                                          {"minutes", required_argument, NULL, 'm'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"seed", required_argument, NULL, 'n'},
                                          {"faults", required_argument, NULL, 'f'},
                                          {"list", no_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    *o = (options){.length = 75000, .seed = new_seed(), .kinds = UINT64_MAX};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
        switch (c) {
        case 'd':
            o->dir = optarg;
            break;
        case 'w':
            o->worker = optarg;
            break;
        case 'c':
            o->clock = optarg;
            break;
        case 'm':
            o->length = (int64_t)number("minutes:", optarg) * 60000;
            break;
        case 's':
            o->length = (int64_t)number("seconds:", optarg) * 1000;
            break;
        case 'n':
            o->seed = number("seed:", optarg);
            break;
        case 'f':
            o->faults = optarg;
            o->kinds = parse_faults(optarg);
            break;
        case 'l':
            for (unsigned i = 0; i < n_fault_kinds; i++)
                printf("%s\n", fault_kinds[i].name);
            exit(0);
        default:
            exit(2);
        }
    if (o->dir == NULL || o->worker == NULL || o->clock == NULL)
        usage("--dir, --worker and --clock are needed", "");
}

/* ---- The verdict ---------------------------------------------------------------------------- */

static void print_faults(const tally *t) {
    uint64_t sum = 0;
    const char *comma = "";
    for (unsigned i = 0; i < n_fault_kinds; i++)
        sum += t->faults[i];
    printf("%" PRIu64 " faults (", sum);
    for (unsigned i = 0; i < n_fault_kinds; i++)
        if (t->faults[i] > 0) {
            printf("%s%s %" PRIu64, comma, fault_kinds[i].name, t->faults[i]);
            comma = ", ";
        }
    printf(")");
}

static void print_anomalies(const tally *t) {
    printf("anomalies %" PRIu64, verdict_total(&t->verdict) + t->restarted + t->failed);
    for (size_t i = 0; i < ANOMALY_KINDS; i++)
        if (t->verdict.counts[i] > 0)
            printf(", %s %" PRIu64, anomaly_words((anomaly)i), t->verdict.counts[i]);
    if (t->restarted > 0)
        printf(", offsets that began anew %" PRIu64, t->restarted);
    if (t->failed > 0)
        printf(", workers that failed or hung %" PRIu64, t->failed);
}

static void print_verdict(const options *o, tally *t, int64_t ms) {
    const verdict *v = &t->verdict;
    const losses *l = &v->losses;
    printf("chaos: %s: %u rounds, %" PRId64 " s: ", t->bad == 0 ? "good" : "BAD", t->rounds,
           ms / 1000);
    printf("%" PRIu64 " sends (stored %" PRIu64 ", failed %" PRIu64 ", unknown %" PRIu64
           "), %" PRIu64 " deliveries, %" PRIu64 " settled, %" PRIu64 " commits, ",
           v->sends, v->stored, v->failed, v->unknown, v->deliveries, v->settled, v->commits);
    print_faults(t);
    printf(", %zu takeovers p50 %u p99 %u max %u ms", t->takeovers.n,
           takeovers_percentile(&t->takeovers, 50), takeovers_percentile(&t->takeovers, 99),
           takeovers_percentile(&t->takeovers, 100));
    printf(", lost %" PRIu64 " messages in %" PRIu64 " events (told %" PRIu64 " in %" PRIu64
           ", nobody left to tell %" PRIu64 " in %" PRIu64 "), rewinds %" PRIu64 " (told %" PRIu64
           "), ",
           l->messages, l->events, l->messages_told, l->events_told, l->messages_untellable,
           l->events_untellable, l->rewinds, l->rewinds_told);
    print_anomalies(t);
    printf("; seed %" PRIu64 "\n", o->seed);
    printf("again: sh scripts/chaos --seed %" PRIu64 " --seconds %" PRId64 "%s%s\n", o->seed,
           o->length / 1000, o->faults != NULL ? " --faults " : "",
           o->faults != NULL ? o->faults : "");
}

/* ---- The run -------------------------------------------------------------------------------- */

/* Children die with this process (PR_SET_PDEATHSIG), so ending is all there is to do. */
static void on_end(int signal_number) {
    static const char late[] = "chaos: it took too long\n";
    if (signal_number == SIGALRM)
        (void)!write(STDERR_FILENO, late, sizeof late - 1);
    _exit(signal_number == SIGALRM ? 1 : 128 + signal_number);
}

static bool fits(round_kind kind, uint64_t kinds) {
    for (unsigned i = 0; i < n_fault_kinds; i++)
        if ((kinds >> i & 1) != 0 && (fault_kinds[i].rounds & (unsigned)kind) != 0)
            return true;
    return false;
}

static void run(const options *o, tally *t) {
    int64_t start = test_now_ms();
    int weights = 0;
    for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++)
        weights += fits(rounds[i].kind, o->kinds) ? rounds[i].weight : 0;
    int64_t cycles = 1 + (o->length - 1) / CYCLE_MS, cycle = o->length / cycles;
    for (uint64_t n = 0; n < (uint64_t)cycles; n++)
        for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
            if (!fits(rounds[i].kind, o->kinds))
                continue;
            int64_t left = o->length - (test_now_ms() - start);
            int64_t share = cycle * rounds[i].weight / weights;
            int64_t faults = (share < left ? share : left) - AROUND_MS;
            if (faults < LEAST_MS && t->rounds > 0)
                continue; /* what came before took its time */
            round_order order = {.kind = rounds[i].kind,
                                 .number = n * 3 + i + 1,
                                 .kinds = o->kinds,
                                 .faults_ms = faults > LEAST_MS ? faults : LEAST_MS,
                                 .drain_ms = DRAIN_MS,
                                 .dir = o->dir,
                                 .worker = o->worker,
                                 .clock = o->clock};
            order.seed = o->seed * UINT64_C(1000003) + order.number;
            round_run(&order, t);
        }
}

int main(int argc, char **argv) {
    static tally t;
    options o;
    parse(&o, argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_end);
    signal(SIGTERM, on_end);
    signal(SIGINT, on_end);
    signal(SIGHUP, on_end);
    int64_t start = test_now_ms();
    alarm((unsigned)((o.length + GRACE_MS) / 1000));
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(test_surroundings.dir, sizeof test_surroundings.dir, "%s", o.dir);
    test_surroundings.seed = o.seed;
    run(&o, &t);
    print_verdict(&o, &t, test_now_ms() - start);
    return t.bad == 0 ? 0 : 1;
}

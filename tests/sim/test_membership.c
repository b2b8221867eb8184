/* core/member: groups of members in virtual time, thousands of them, in which about everything goes
 * wrong (see world.h). What must hold is looked at after every event (invariants.c), and when faults
 * have ended, that it all comes to rest. A run that fails is shortened, and told.
 *
 * SEGMENTER_TEST_RUNS is how many runs each case makes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shrink.h"
#include "test.h"
#include "world.h"

enum { LATE_MS = 15000, REST_MS = 10000, SHRINK_MS = 30000, TOOK_MAX = 1 << 16 };

/* ---- Plans ---------------------------------------------------------------------------------- */

typedef struct profile {
    unsigned weights[FAULT_KINDS]; /* in the order of fault_kind */
    int64_t span, apart; /* faults are made for so long; so far from each other, at most */
    int64_t delay;
    unsigned lose, late, deaf;
    int drift; /* at most */
    bool quiet, honest, mixed;
} profile;

static fault_kind choose_kind(const profile *f, sg_rng *rng) {
    uint64_t all = 0, at;
    int kind = 0;
    for (int i = 0; i < FAULT_KINDS; i++) {
        all += f->weights[i];
    }
    for (at = sg_rng_below(rng, all); at >= f->weights[kind]; kind++) {
        at -= f->weights[kind];
    }
    return (fault_kind)kind;
}

static void add_fault(plan *p, int64_t at, fault_kind kind, int who, int64_t ms) {
    if (p->n_faults < FAULTS_MAX) {
        p->kept[p->n_faults] = true;
        p->faults[p->n_faults++] = (fault){at, ms, kind, who};
    }
}

static int64_t how_long(fault_kind kind, int64_t timeout, sg_rng *rng) {
    if (kind == FAULT_CLOCK_STEP) {
        int64_t ms = (int64_t)sg_rng_below(rng, 3600000);
        return sg_rng_below(rng, 2) == 0 ? ms : -ms;
    }
    return timeout / 2 + (int64_t)sg_rng_below(rng, (uint64_t)(3 * timeout / 2));
}

static void make_faults(plan *p, const profile *f, uint64_t people, sg_rng *rng) {
    int64_t at = 1000;
    for (uint64_t i = 0; i < people; i++) {
        int64_t when = f->quiet ? at : (int64_t)sg_rng_below(rng, 3000);
        add_fault(p, when, FAULT_START, (int)i, 0);
        at += f->quiet ? f->apart : 0;
    }
    for (at = f->quiet ? at : 3000; at < f->span;) {
        fault_kind kind = choose_kind(f, rng);
        int who = (int)sg_rng_below(rng, people);
        add_fault(p, at, kind, who, how_long(kind, p->timeouts[who], rng));
        at += f->quiet ? f->apart : (int64_t)sg_rng_below(rng, (uint64_t)f->apart);
    }
}

static void make_plan(uint64_t seed, const profile *f, plan *p) {
    static const int64_t timeouts[] = {2000, 4000, 6000, 10000};
    sg_rng rng = {seed};
    int64_t longest = 0, same = timeouts[sg_rng_below(&rng, 4)];
    uint64_t people = 1 + sg_rng_below(&rng, 7);
    *p = (plan){.seed = seed,
                .partitions = 1 + (uint32_t)sg_rng_below(&rng, 12),
                .delay = f->delay,
                .lose = f->lose,
                .late = f->late,
                .deaf = f->deaf,
                .quiet = f->quiet,
                .honest = f->honest,
                .rest = REST_MS};
    p->idle = (uint32_t)sg_rng_below(&rng, 1u << 16) & (uint32_t)sg_rng_below(&rng, 1u << 16);
    if (f->drift > 0) {
        p->drift = (int)sg_rng_below(&rng, (uint64_t)(2 * f->drift)) - f->drift;
    }
    for (int i = 0; i < SIM_MEMBERS; i++) {
        p->timeouts[i] = f->mixed ? timeouts[sg_rng_below(&rng, 4)] : same;
        longest = p->timeouts[i] > longest ? p->timeouts[i] : longest;
    }
    make_faults(p, f, people, &rng);
    p->calm_at = f->span + 2 * longest;
    p->end_at = p->calm_at + LATE_MS + 2 * longest + 5000 + REST_MS;
}

/* ---- Failures ------------------------------------------------------------------------------- */

static bool fails(const bool kept[], size_t n, void *arg) {
    static world w;
    plan *p = arg;
    if (kept != p->kept) {
        memcpy(p->kept, kept, n * sizeof *kept);
    }
    world_init(&w, p);
    world_run(&w);
    world_fini(&w);
    return w.broken[0] != '\0';
}

/* What the wire does, and how many partitions there are, as little as still fails. */
static void simplify(plan *p) {
    plan was = *p;
    unsigned *const faults[] = {&p->lose, &p->late, &p->deaf};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        unsigned one = *faults[i];
        *faults[i] = 0;
        if (!fails(p->kept, p->n_faults, p)) {
            *faults[i] = one;
        }
    }
    for (p->drift = 0; !fails(p->kept, p->n_faults, p);) {
        p->drift = was.drift;
        break;
    }
    for (p->partitions = 1; p->partitions < was.partitions; p->partitions++) {
        if (fails(p->kept, p->n_faults, p)) {
            break;
        }
    }
}

static void explain(plan *p) {
    static world w;
    bool kept[FAULTS_MAX];
    char *story = NULL;
    size_t len = 0;
    memcpy(kept, p->kept, sizeof kept);
    shrink(kept, p->n_faults, SHRINK_MS, fails, p);
    memcpy(p->kept, kept, sizeof kept);
    simplify(p);
    memcpy(kept, p->kept, sizeof kept);
    size_t left = shrink(kept, p->n_faults, SHRINK_MS, fails, p);
    memcpy(p->kept, kept, sizeof kept);
    w.story = open_memstream(&story, &len);
    CHECK(w.story != NULL);
    world_init(&w, p);
    world_run(&w);
    fclose(w.story);
    FAIL("plan %" PRIu64 ", with %u partitions and %zu faults:\n%s%s", p->seed, p->partitions, left,
         story, w.broken);
}

/* ---- Figures -------------------------------------------------------------------------------- */

typedef struct figures {
    uint64_t runs, events, grants, fenced, stale, takeovers;
    int64_t ms, longest_rest;
} figures;

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void count(figures *f, const world *w, int64_t took[], size_t room) {
    f->runs++;
    f->events += w->events;
    f->grants += w->grants;
    f->fenced += w->fenced;
    f->stale += w->stale;
    f->ms += w->now;
    int64_t rest = w->settled_at - w->plan->calm_at;
    if (w->settled_at != INT64_MAX && rest > f->longest_rest) {
        f->longest_rest = rest;
    }
    for (size_t i = 0; i < w->n_took && f->takeovers < room; i++) {
        took[f->takeovers++] = w->took[i];
    }
}

static void print(const figures *f, int64_t took[]) {
    size_t n = f->takeovers;
    printf("%" PRIu64 " runs, %.1f virtual hours, %" PRIu64 " events, %" PRIu64 " grants, %" PRIu64
           " commits fenced, %" PRIu64 " acquires stale, at rest %" PRId64
           " ms after the last fault\n",
           f->runs, (double)f->ms / 3600000, f->events, f->grants, f->fenced, f->stale,
           f->longest_rest);
    if (n > 0) {
        qsort(took, n, sizeof *took, compare);
        printf("%zu take-overs: median %" PRId64 " ms, 90 %% %" PRId64 " ms, 99 %% %" PRId64
               " ms, longest %" PRId64 " ms\n",
               n, took[n / 2], took[n * 9 / 10], took[n * 99 / 100], took[n - 1]);
    }
}

/* ---- Cases ---------------------------------------------------------------------------------- */

static size_t runs_wanted(void) {
    const char *wanted = getenv("SEGMENTER_TEST_RUNS");
    return wanted != NULL ? strtoul(wanted, NULL, 10) : test_sanitized() ? 200 : 1000;
}

static figures run(const profile *f) {
    static world w;
    static plan p;
    static int64_t took[TOOK_MAX];
    figures sum = {.runs = 0};
    sg_rng seeds = {test_seed()};
    for (size_t i = 0; i < runs_wanted(); i++) {
        make_plan(sg_rng_next(&seeds), f, &p);
        world_init(&w, &p);
        world_run(&w);
        world_fini(&w);
        count(&sum, &w, took, TOOK_MAX);
        if (w.broken[0] != '\0') {
            explain(&p);
        }
    }
    print(&sum, took);
    CHECK_GT(sum.takeovers, 0);
    return sum;
}

/* One change at a time, on a good network: take-overs keep to the session timeout plus 100 ms, and
 * nothing moves that need not. */
TEST_DEADLINE(members_come_and_go, 900) {
    run(&(profile){
        .weights = {[FAULT_START] = 4, [FAULT_CRASH] = 4, [FAULT_CLOSE] = 1, [FAULT_REST] = 1},
        .span = 400000,
        .apart = 30000,
        .delay = 5,
        .mixed = true,
        .quiet = true,
        .honest = true});
}

/* Everything but lies about time and forgotten grants: nobody reads what somebody else has begun to
 * read. The server's clock may be wrong by 5 %, which the margin covers. */
TEST_DEADLINE(an_honest_server, 900) {
    run(&(profile){.weights = {[FAULT_START] = 6,
                               [FAULT_CRASH] = 4,
                               [FAULT_CLOSE] = 2,
                               [FAULT_REST] = 4,
                               [FAULT_SEEK] = 1,
                               [FAULT_PAUSE] = 4,
                               [FAULT_CUT] = 4,
                               [FAULT_ISOLATE] = 3,
                               [FAULT_SERVER_PAUSE] = 1},
                   .span = 60000,
                   .apart = 4000,
                   .delay = 100,
                   .lose = 20,
                   .late = 200,
                   .deaf = 200,
                   .drift = 50,
                   .mixed = true,
                   .honest = true});
}

/* All of it. */
TEST_DEADLINE(everything_goes_wrong, 900) {
    figures f = run(&(profile){.weights = {[FAULT_START] = 8,
                                           [FAULT_CRASH] = 4,
                                           [FAULT_CLOSE] = 2,
                                           [FAULT_REST] = 2,
                                           [FAULT_PAUSE] = 4,
                                           [FAULT_CUT] = 4,
                                           [FAULT_ISOLATE] = 3,
                                           [FAULT_SERVER_PAUSE] = 1,
                                           [FAULT_CLOCK_STEP] = 2,
                                           [FAULT_SAVE] = 2,
                                           [FAULT_ROLL_BACK] = 2,
                                           [FAULT_WIPE] = 1,
                                           [FAULT_RESTORE] = 1,
                                           [FAULT_SEEK] = 2},
                               .span = 90000,
                               .apart = 4000,
                               .delay = 300,
                               .lose = 30,
                               .late = 300,
                               .deaf = 300,
                               .drift = 50,
                               .mixed = true});
    CHECK_GT(f.fenced, 0);
    CHECK_GT(f.stale, 0);
}

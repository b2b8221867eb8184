/* The scripts of a group against the model in coordinator.h: programs by chance, of members that
 * join, beat, hand back, leave, ask again, come late, fall silent and commit, while time passes and
 * keys are deleted or rolled back. After every step the answer, all that is stored, and who was
 * woken, have to be what the model says. A program that shows a difference is shortened, and told.
 *
 * SEGMENTER_TEST_STEPS is how many steps each case makes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "mirror.h"
#include "shrink.h"
#include "test.h"

enum { PEOPLE = 6, LENGTH = 160, SHRINK_MS = 20000 };

/* ---- Programs ------------------------------------------------------------------------------- */

typedef enum act {
    BEAT,
    JOIN,
    REPLACE, /* another consumer joins under the name */
    LEAVE,
    REPEAT, /* the last call once more */
    LATE,   /* some older call, whose answer goes nowhere */
    ACQUIRE,
    COMMIT,
    LATE_COMMIT,
    SEEK,
    PASS,
    STEP_BACK,
    SAVE,
    ROLL_BACK,
    REBORN,
    FORGET_LEASES,
    FORGET_PARTS,
    FORGET_GROUP,
    ACTS
} act;

static const unsigned WEIGHTS[ACTS] = {400, 60,  15, 20, 30, 25, 100, 100, 25,
                                       15,  250, 15, 15, 12, 5,  5,   5,   2};

/* What it does beyond its kind follows from `chance` and from what the member knows, so that it
 * means something wherever it stands. */
typedef struct step {
    act act;
    int who;
    uint64_t chance;
} step;

static void make_program(uint64_t seed, step out[LENGTH]) {
    sg_rng rng = {seed};
    unsigned all = 0;
    for (int i = 0; i < ACTS; i++) {
        all += WEIGHTS[i];
    }
    for (int i = 0; i < LENGTH; i++) {
        uint64_t at = sg_rng_below(&rng, all);
        int a = 0;
        for (; at >= WEIGHTS[a]; a++) {
            at -= WEIGHTS[a];
        }
        out[i] = (step){(act)a, (int)sg_rng_below(&rng, PEOPLE), sg_rng_next(&rng)};
    }
}

/* ---- The world ------------------------------------------------------------------------------ */

/* What a member believes, after the answers that it got. */
typedef struct view {
    bool joined, asked;
    uint64_t nonce, version;
    int64_t timeout;
    uint64_t holds[SIM_PARTITIONS], seq[SIM_PARTITIONS]; /* epochs; 0: not ours */
    bool give[SIM_PARTITIONS];
    sync_call last;
} view;

typedef struct world {
    mirror m;
    view views[PEOPLE];
    sync_call late; /* nonce 0: there is none yet */
    mirror_commit late_commit;
    uint64_t nonces;
    size_t expired, stale; /* of all programs, so that it is known that they happen */
} world;

/* ---- Calls ---------------------------------------------------------------------------------- */

static void forget(view *v) {
    memset(v->holds, 0, sizeof v->holds);
    v->joined = false;
    v->version = 0;
}

static void learn(view *v, const sync_call *c, const sync_answer *a) {
    if (a->word != SYNC_OK || c->op == SYNC_LEAVE) {
        forget(v);
        return;
    }
    v->joined = true;
    v->version = a->version;
    for (size_t i = 0; i < c->n_back; i++) {
        if (v->holds[c->back[i].partition] == c->back[i].epoch) {
            v->holds[c->back[i].partition] = 0;
        }
    }
    if (a->listed) {
        memset(v->holds, 0, sizeof v->holds);
    }
    for (size_t i = 0; i < a->n_grants; i++) {
        v->holds[a->grants[i].partition] = a->grants[i].epoch;
        v->give[a->grants[i].partition] = a->grants[i].give;
    }
}

static size_t members(const world *w) {
    size_t n = 0;
    for (int i = 0; i < PEOPLE; i++) {
        n += w->m.model.members[i].known;
    }
    return n;
}

/* `heard`: the member gets the answer. */
static bool make(world *w, const sync_call *c, bool heard, const char *how) {
    sync_answer a;
    size_t before = members(w);
    if (!mirror_sync(&w->m, c, how, &a)) {
        return false;
    }
    w->expired += c->op == SYNC_BEAT && members(w) < before;
    if (heard) {
        learn(&w->views[c->who], c, &a);
    } else {
        w->views[c->who].version = 0;
    }
    return true;
}

static void choose_back(world *w, sync_call *c, sg_rng *rng) {
    const view *v = &w->views[c->who];
    for (uint32_t p = 0; p < w->m.g.partitions; p++) {
        uint64_t chance = sg_rng_below(rng, 40);
        uint64_t epoch = v->holds[p];
        if (epoch == 0 || (v->give[p] ? chance >= 20 : chance > 0)) {
            if (chance != 1) {
                continue;
            }
            epoch = 1 + sg_rng_below(rng, w->m.model.epoch + 1); /* not ours, or not any more */
        }
        c->back[c->n_back++] = (sync_back){p, epoch};
    }
    if (sg_rng_below(rng, 40) == 0) {
        c->back[c->n_back++] = (sync_back){w->m.g.partitions, 1};
    }
    if (sg_rng_below(rng, 40) == 0) {
        c->floor = w->m.model.epoch + sg_rng_below(rng, 5);
    }
}

static bool call(world *w, const step *s, sg_rng *rng) {
    static const int64_t timeouts[] = {4000, 6000, 10000, 30000};
    view *v = &w->views[s->who];
    sync_call c = {.who = s->who, .op = SYNC_BEAT};
    bool early = !v->joined && s->act != JOIN && sg_rng_below(rng, 8) != 0;
    if (s->act == REPLACE || v->nonce == 0) {
        v->nonce = ++w->nonces;
        v->timeout = timeouts[sg_rng_below(rng, 4)];
        forget(v);
    }
    if (s->act == JOIN || s->act == REPLACE || early) {
        c.op = SYNC_JOIN;
    } else if (s->act == LEAVE) {
        c.op = SYNC_LEAVE;
    }
    c.nonce = v->nonce;
    c.timeout = v->timeout;
    c.version = sg_rng_below(rng, 6) == 0 ? 0 : v->version;
    if (c.op != SYNC_JOIN || sg_rng_below(rng, 8) == 0) {
        choose_back(w, &c, rng);
    }
    if (w->late.nonce == 0 || sg_rng_below(rng, 10) == 0) {
        w->late = c;
    }
    v->last = c;
    v->asked = true;
    bool heard = sg_rng_below(rng, 8) != 0;
    return make(w, &c, heard, heard ? "" : ", without an answer");
}

/* A partition, and the epoch under which `who` believes to hold it; sometimes another. */
static uint64_t choose_epoch(const world *w, int who, uint32_t p, sg_rng *rng) {
    const view *v = &w->views[who];
    uint64_t chance = sg_rng_below(rng, 8);
    return chance == 0                       ? w->m.cursors[p].epoch
           : chance == 1 || v->holds[p] == 0 ? sg_rng_below(rng, w->m.model.epoch + 2)
                                             : v->holds[p];
}

static uint32_t choose_partition(const world *w, int who, sg_rng *rng) {
    uint32_t from = (uint32_t)sg_rng_below(rng, w->m.g.partitions);
    for (uint32_t i = 0; i < w->m.g.partitions; i++) {
        uint32_t p = (from + i) % w->m.g.partitions;
        if (w->views[who].holds[p] != 0) {
            return p;
        }
    }
    return from;
}

static bool acquire(world *w, const step *s, sg_rng *rng) {
    view *v = &w->views[s->who];
    uint32_t p = choose_partition(w, s->who, rng);
    uint64_t epoch = choose_epoch(w, s->who, p, rng);
    cursor_word word;
    if (v->nonce == 0) {
        return true;
    }
    if (!mirror_acquire(&w->m, s->who, p, epoch, v->nonce, &word)) {
        return false;
    }
    w->stale += word == CURSOR_STALE && v->holds[p] == epoch;
    if (word == CURSOR_OK) {
        v->seq[p] = w->m.cursors[p].seq;
    }
    return true;
}

static bool commit(world *w, const step *s, sg_rng *rng) {
    uint32_t p = choose_partition(w, s->who, rng);
    view *v = &w->views[s->who];
    uint64_t now = w->m.cursors[p].committed, chance = sg_rng_below(rng, 12);
    mirror_commit k = {.partition = p,
                       .epoch = choose_epoch(w, s->who, p, rng),
                       .nonce = v->nonce,
                       .seq = v->seq[p] + (chance != 0),
                       .committed = now + sg_rng_below(rng, 4),
                       .said = sg_rng_below(rng, 100)};
    if (chance == 1 && now > 0) {
        k.committed = now - 1;
    } else if (chance == 2) {
        k.committed = MIRROR_NEXT + sg_rng_below(rng, 2);
    }
    v->seq[p] = k.seq;
    if (sg_rng_below(rng, 6) == 0) {
        w->late_commit = k;
    }
    return mirror_store(&w->m, s->who, &k);
}

/* It comes with another connection. */
static void roll_back(world *w) {
    mirror_roll_back(&w->m);
    for (int i = 0; i < PEOPLE; i++) {
        w->views[i].version = 0;
    }
}

static void befall(world *w, const step *s, sg_rng *rng) {
    uint64_t ms = sg_rng_below(rng, 8) == 0 ? 40000 : test_sanitized() ? 6000 : 20000;
    switch (s->act) {
    case PASS:
        mirror_pass(&w->m, (int64_t)sg_rng_below(rng, ms));
        break;
    case STEP_BACK:
        mirror_pass(&w->m, -(int64_t)sg_rng_below(rng, 60000));
        break;
    case SAVE:
        mirror_save(&w->m);
        break;
    case ROLL_BACK:
        roll_back(w);
        break;
    case REBORN:
        mirror_reborn(&w->m);
        break;
    case FORGET_LEASES:
        mirror_forget_leases(&w->m);
        break;
    case FORGET_PARTS:
        mirror_forget_parts(&w->m);
        break;
    default:
        mirror_forget_group(&w->m);
    }
}

/* ---- Running -------------------------------------------------------------------------------- */

static bool take(world *w, const step *s) {
    sg_rng rng = {s->chance};
    view *v = &w->views[s->who];
    switch (s->act) {
    case BEAT:
    case JOIN:
    case REPLACE:
    case LEAVE:
        return call(w, s, &rng);
    case REPEAT:
        return !v->asked || make(w, &v->last, true, " again");
    case LATE:
        return w->late.nonce == 0 || make(w, &w->late, false, ", late");
    case ACQUIRE:
        return acquire(w, s, &rng);
    case COMMIT:
        return commit(w, s, &rng);
    case LATE_COMMIT:
        return mirror_store(&w->m, s->who, &w->late_commit);
    case SEEK:
        return mirror_seek(&w->m);
    default:
        befall(w, s, &rng);
        return true;
    }
}

static void begin(world *w) {
    mirror_begin(&w->m);
    memset(w->views, 0, sizeof w->views);
    memset(&w->late, 0, sizeof w->late);
    w->late_commit = (mirror_commit){.epoch = 1, .nonce = 1, .seq = 1, .committed = 1, .said = 1};
    w->nonces = 0;
}

typedef struct program {
    world *w;
    const step *steps;
} program;

static bool fails(const bool kept[], size_t n, void *arg) {
    program *p = arg;
    begin(p->w);
    for (size_t i = 0; i < n; i++) {
        if (kept[i] && !take(p->w, &p->steps[i])) {
            return true;
        }
    }
    return false;
}

static void explain(program *p, bool kept[LENGTH], uint64_t seed) {
    char *story = NULL;
    size_t len = 0;
    size_t left = shrink(kept, LENGTH, SHRINK_MS, fails, p);
    p->w->m.story = open_memstream(&story, &len);
    CHECK(p->w->m.story != NULL);
    fails(kept, LENGTH, p);
    fclose(p->w->m.story);
    FAIL("the scripts and the model differ: program %" PRIu64 ", %u partitions, in %zu steps:\n%s",
         seed, p->w->m.g.partitions, left, story);
}

static size_t steps_wanted(void) {
    const char *wanted = getenv("SEGMENTER_TEST_STEPS");
    return wanted != NULL ? strtoul(wanted, NULL, 10) : test_sanitized() ? 6000 : 20000;
}

static void run(uint32_t partitions) {
    static world w;
    static step steps[LENGTH];
    program p = {&w, steps};
    sg_rng seeds = {test_seed()};
    mirror_open(&w.m, partitions);
    for (size_t done = 0; done < steps_wanted(); done += LENGTH) {
        bool kept[LENGTH];
        uint64_t seed = sg_rng_next(&seeds);
        memset(kept, true, sizeof kept);
        make_program(seed, steps);
        if (fails(kept, LENGTH, &p)) {
            explain(&p, kept, seed);
        }
    }
    printf("%zu steps, %zu expired, %zu stale\n", steps_wanted(), w.expired, w.stale);
    CHECK_GT(w.expired, 0);
    CHECK_GT(w.stale, 0);
    mirror_close(&w.m);
}

TEST_DEADLINE(one_partition, 900) {
    run(1);
}

TEST_DEADLINE(five_partitions, 900) {
    run(5);
}

TEST_DEADLINE(thirteen_partitions, 900) {
    run(13);
}

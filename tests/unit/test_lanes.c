/* test_lanes.c - the lanes by example, at their limits, and against a model that is too simple to
 * be wrong. */
#include "core/lanes.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "test.h"

/* ---- By example --------------------------------------------------------------------------- */

enum { K = 1, L, M }; /* lanes */

#define NONE UINT64_MAX

static uint64_t next_of(const sg_lanes *l) {
    uint64_t offset = 7777;
    if (sg_lanes_next(l, &offset))
        return offset;
    CHECK_EQ(offset, 7777);
    return NONE;
}

static uint64_t call(sg_lanes *l, int64_t now) {
    uint64_t offset = 7777;
    if (sg_lanes_call(l, now, &offset))
        return offset;
    CHECK_EQ(offset, 7777);
    return NONE;
}

TEST(one_that_failed_holds_its_lane_and_no_other) {
    sg_lanes *l = sg_lanes_new(false);
    CHECK(sg_lanes_idle(l));
    CHECK(!sg_lanes_blocked(l, K));
    CHECK_EQ(next_of(l), NONE);
    CHECK(sg_lanes_wait(l, K, 12, 100));
    CHECK(!sg_lanes_idle(l));
    CHECK(sg_lanes_blocked(l, K) && !sg_lanes_blocked(l, L));
    CHECK(sg_lanes_wait(l, K, 15, 0));
    CHECK(sg_lanes_wait(l, K, 19, 0));
    CHECK_EQ(next_of(l), NONE);
    CHECK(sg_lanes_wait(l, L, 13, 0));
    CHECK_EQ(next_of(l), 13);
    CHECK_EQ(call(l, 99), NONE);
    CHECK_EQ(call(l, 100), 12);
    CHECK_EQ(call(l, 100), NONE);
    CHECK_EQ(next_of(l), 13); /* called is not ready */
    sg_lanes_ready(l, 12);
    CHECK_EQ(next_of(l), 12);
    static const uint64_t order[] = {12, 13, 15, 19};
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(sg_lanes_count(l), 4 - i);
        CHECK_EQ(next_of(l), order[i]);
        CHECK_EQ(next_of(l), order[i]); /* it stays in here */
        CHECK(sg_lanes_has(l, order[i]));
        CHECK(sg_lanes_remove(l, order[i]));
        CHECK(!sg_lanes_has(l, order[i]));
        CHECK(!sg_lanes_remove(l, order[i]));
    }
    CHECK(sg_lanes_idle(l));
    CHECK(!sg_lanes_blocked(l, K));
    sg_lanes_free(l);
    sg_lanes_free(NULL);
}

TEST(an_earlier_one_goes_first_whenever_it_comes) {
    sg_lanes *l = sg_lanes_new(false);
    CHECK(sg_lanes_wait(l, K, 20, 0));
    CHECK(sg_lanes_wait(l, K, 30, 0));
    CHECK_EQ(next_of(l), 20);
    CHECK(sg_lanes_wait(l, K, 10, 0));
    CHECK_EQ(next_of(l), 10);
    CHECK(sg_lanes_wait(l, K, 5, 50)); /* failed, and in the way of all that were free to go */
    CHECK_EQ(next_of(l), NONE);
    CHECK(sg_lanes_remove(l, 5)); /* settled while it waited */
    CHECK_EQ(call(l, 1000), NONE);
    CHECK_EQ(next_of(l), 10);
    CHECK(sg_lanes_wait(l, K, 25, 60)); /* one in the middle is in the way of what is behind it */
    CHECK(sg_lanes_remove(l, 10));
    CHECK(sg_lanes_remove(l, 20));
    CHECK_EQ(next_of(l), NONE);
    CHECK(sg_lanes_remove(l, 25));
    CHECK_EQ(next_of(l), 30);
    sg_lanes_free(l);
}

TEST(calls_by_due_then_by_offset) {
    sg_lanes *l = sg_lanes_new(false);
    CHECK_EQ(sg_lanes_due(l), INT64_MAX);
    CHECK(sg_lanes_wait(l, K, 1, 30));
    CHECK(sg_lanes_wait(l, K, 9, 10));
    CHECK(sg_lanes_wait(l, L, 5, 20));
    CHECK(sg_lanes_wait(l, M, 3, 20));
    CHECK(sg_lanes_wait(l, M, 4, 0)); /* is never called */
    CHECK_EQ(sg_lanes_due(l), 10);
    CHECK_EQ(call(l, 9), NONE);
    CHECK_EQ(call(l, 25), 9); /* though it is not the first of its lane */
    CHECK_EQ(sg_lanes_due(l), 20);
    CHECK_EQ(call(l, 25), 3);
    CHECK_EQ(call(l, 25), 5);
    CHECK_EQ(call(l, 25), NONE);
    CHECK_EQ(sg_lanes_due(l), 30);
    sg_lanes_ready(l, 9);
    CHECK_EQ(next_of(l), NONE);
    CHECK_EQ(call(l, INT64_MAX), 1);
    CHECK_EQ(sg_lanes_due(l), INT64_MAX);
    sg_lanes_ready(l, 1);
    CHECK_EQ(next_of(l), 1);
    CHECK(sg_lanes_remove(l, 1));
    CHECK_EQ(next_of(l), 9);
    sg_lanes_free(l);
}

TEST(only_what_was_called_gets_ready_or_is_postponed) {
    sg_lanes *l = sg_lanes_new(false);
    CHECK(sg_lanes_wait(l, K, 1, 10));
    CHECK(sg_lanes_wait(l, L, 2, 0));
    sg_lanes_ready(l, 1); /* still waits */
    sg_lanes_ready(l, 99);
    sg_lanes_postpone(l, 1, 500);
    sg_lanes_postpone(l, 2, 500);
    sg_lanes_postpone(l, 99, 500);
    CHECK_EQ(sg_lanes_count(l), 2);
    CHECK_EQ(sg_lanes_due(l), 10);
    CHECK_EQ(next_of(l), 2);
    CHECK_EQ(call(l, 10), 1);
    sg_lanes_postpone(l, 1, 40);
    sg_lanes_ready(l, 1); /* came late: it waits again */
    CHECK_EQ(next_of(l), 2);
    CHECK_EQ(call(l, 39), NONE);
    CHECK_EQ(sg_lanes_due(l), 40);
    CHECK_EQ(call(l, 40), 1);
    CHECK_EQ(call(l, INT64_MAX), NONE);
    sg_lanes_ready(l, 1);
    sg_lanes_ready(l, 1);
    sg_lanes_postpone(l, 1, 80); /* came late: it may go */
    CHECK_EQ(sg_lanes_due(l), INT64_MAX);
    CHECK_EQ(next_of(l), 1);
    sg_lanes_free(l);
}

TEST(removes_from_every_state) {
    sg_lanes *l = sg_lanes_new(false);
    CHECK(sg_lanes_wait(l, K, 1, 10));
    CHECK(sg_lanes_wait(l, K, 2, 20));
    CHECK(sg_lanes_wait(l, K, 3, 0));
    CHECK_EQ(call(l, 10), 1);
    CHECK(sg_lanes_remove(l, 1)); /* settled while it was being announced */
    sg_lanes_ready(l, 1);
    sg_lanes_postpone(l, 1, 5);
    CHECK_EQ(sg_lanes_due(l), 20);
    CHECK(sg_lanes_remove(l, 2));
    CHECK_EQ(sg_lanes_due(l), INT64_MAX);
    CHECK_EQ(next_of(l), 3);
    CHECK(sg_lanes_wait(l, L, 2, 0)); /* back, in whatever lane */
    CHECK_EQ(next_of(l), 2);
    CHECK(sg_lanes_remove(l, 3));
    CHECK(!sg_lanes_blocked(l, K) && sg_lanes_blocked(l, L));
    CHECK(sg_lanes_remove(l, 2));
    CHECK(sg_lanes_idle(l));
    sg_lanes_free(l);
}

TEST(strict_lets_one_out_of_a_lane) {
    sg_lanes *l = sg_lanes_new(true);
    CHECK(sg_lanes_out(l, M)); /* 16, which never had to wait */
    CHECK(!sg_lanes_idle(l));
    CHECK(sg_lanes_blocked(l, M) && !sg_lanes_blocked(l, K));
    CHECK_EQ(sg_lanes_count(l), 0);
    CHECK(sg_lanes_wait(l, M, 17, 0));
    CHECK(sg_lanes_wait(l, M, 18, 0));
    CHECK(sg_lanes_wait(l, K, 20, 0));
    CHECK_EQ(next_of(l), 20);
    sg_lanes_in(l, M);
    CHECK_EQ(next_of(l), 17);
    CHECK(sg_lanes_out(l, M));
    CHECK_EQ(next_of(l), 20);
    CHECK(sg_lanes_remove(l, 17));
    CHECK_EQ(next_of(l), 20);
    CHECK(sg_lanes_wait(l, M, 17, 50)); /* failed: comes in, and waits in front of 18 */
    sg_lanes_in(l, M);
    CHECK_EQ(next_of(l), 20);
    CHECK_EQ(call(l, 50), 17);
    sg_lanes_ready(l, 17);
    CHECK_EQ(next_of(l), 17);
    CHECK(sg_lanes_remove(l, 20));
    CHECK(sg_lanes_remove(l, 17));
    CHECK(sg_lanes_remove(l, 18));
    CHECK(sg_lanes_idle(l));
    sg_lanes_free(l);
}

TEST(strict_counts_what_is_out) {
    sg_lanes *l = sg_lanes_new(true);
    sg_lanes_in(l, K); /* never was out */
    CHECK(sg_lanes_idle(l));
    CHECK(sg_lanes_out(l, K));
    CHECK(sg_lanes_out(l, K));
    CHECK(sg_lanes_wait(l, K, 1, 0));
    sg_lanes_in(l, K);
    CHECK_EQ(next_of(l), NONE);
    CHECK(sg_lanes_remove(l, 1));
    CHECK(sg_lanes_blocked(l, K));
    sg_lanes_in(l, K);
    CHECK(!sg_lanes_blocked(l, K));
    CHECK(sg_lanes_idle(l));
    CHECK(sg_lanes_wait(l, K, 1, 0));
    sg_lanes_in(l, K); /* one too many says nothing of the next one out */
    CHECK_EQ(next_of(l), 1);
    CHECK(sg_lanes_out(l, K));
    CHECK_EQ(next_of(l), NONE);
    sg_lanes_free(l); /* with items in it and one out */
}

TEST(not_strict_does_not_care_what_is_out) {
    sg_lanes *l = sg_lanes_new(false);
    sg_alloc_fail_at(1, 1);
    CHECK(sg_lanes_out(l, K));
    sg_alloc_fail_at(0, 0);
    CHECK(sg_lanes_idle(l));
    CHECK(!sg_lanes_blocked(l, K));
    CHECK(sg_lanes_wait(l, K, 1, 0));
    CHECK(sg_lanes_out(l, K));
    CHECK_EQ(next_of(l), 1);
    sg_lanes_in(l, K);
    sg_lanes_in(l, K);
    CHECK_EQ(next_of(l), 1);
    sg_lanes_free(l);
}

TEST(takes_any_number) {
    sg_lanes *l = sg_lanes_new(true);
    CHECK(sg_lanes_wait(l, UINT64_MAX, UINT64_MAX, 0));
    CHECK(sg_lanes_wait(l, UINT64_MAX, UINT64_MAX - 1, INT64_MAX));
    CHECK(sg_lanes_wait(l, 0, 0, INT64_MIN));
    uint64_t offset = 5;
    CHECK(!sg_lanes_next(l, &offset));
    CHECK_EQ(sg_lanes_due(l), INT64_MIN);
    CHECK(sg_lanes_call(l, INT64_MIN, &offset));
    CHECK_EQ(offset, 0);
    CHECK(!sg_lanes_call(l, INT64_MAX - 1, &offset));
    CHECK(sg_lanes_call(l, INT64_MAX, &offset));
    CHECK_EQ(offset, UINT64_MAX - 1);
    CHECK(sg_lanes_remove(l, UINT64_MAX - 1));
    CHECK(sg_lanes_next(l, &offset));
    CHECK_EQ(offset, UINT64_MAX);
    sg_lanes_ready(l, 0);
    CHECK_EQ(next_of(l), 0);
    sg_lanes_free(l);
}

TEST(one_that_is_in_here_stays_as_it_is) {
    sg_lanes *l = sg_lanes_new(false);
    CHECK(sg_lanes_wait(l, K, 1, 10));
    CHECK(sg_lanes_wait(l, L, 1, 0));
    CHECK(sg_lanes_wait(l, K, 1, 5));
    CHECK_EQ(sg_lanes_count(l), 1);
    CHECK_EQ(sg_lanes_due(l), 10);
    CHECK(sg_lanes_blocked(l, K) && !sg_lanes_blocked(l, L));
    CHECK_EQ(next_of(l), NONE);
    sg_lanes_free(l);
}

/* ---- Many --------------------------------------------------------------------------------- */

#define MANY 65536u

static uint64_t shuffled[MANY];

static void shuffle(void) {
    sg_rng rng = {test_seed()};
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t j = sg_rng_below(&rng, i + 1);
        shuffled[i] = shuffled[j];
        shuffled[j] = i;
    }
}

/* All fail, in an order that is none, and come back in that of their dues, which is another: a few
 * steps for each, or the deadline of the case passes. `lane_mask`: 0 for one lane, all for as
 * many. */
static void fail_and_return(bool strict, uint64_t lane_mask) {
    sg_lanes *l = sg_lanes_new(strict);
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t o = shuffled[i];
        CHECK(sg_lanes_wait(l, o & lane_mask, o, (int64_t)(1 + o * 40503 % MANY)));
    }
    CHECK_EQ(sg_lanes_count(l), MANY);
    for (int64_t now = 1; now <= MANY; now++) {
        uint64_t o = call(l, now);
        CHECK_EQ(o * 40503 % MANY + 1, now);
        sg_lanes_ready(l, o);
        CHECK_EQ(call(l, now), NONE);
    }
    for (uint64_t o = 0; o < MANY; o++) {
        CHECK_EQ(next_of(l), o);
        CHECK(sg_lanes_out(l, o & lane_mask));
        CHECK(sg_lanes_remove(l, o));
        sg_lanes_in(l, o & lane_mask);
    }
    CHECK(sg_lanes_idle(l));
    sg_lanes_free(l);
}

TEST(many_in_one_lane) {
    shuffle();
    fail_and_return(true, 0);
}

TEST(many_lanes) {
    shuffle();
    fail_and_return(true, UINT64_MAX);
    fail_and_return(false, 0xff);
}

/* ---- Against a model ---------------------------------------------------------------------- */

#define OFFSETS 48
#define LANES   6

typedef enum place { AWAY, WAITS, IS_CALLED, IS_READY } place;

typedef struct model {
    bool strict;
    place place[OFFSETS];
    size_t lane[OFFSETS];
    int64_t due[OFFSETS];
    unsigned out[LANES];
} model;

/* The two under test: offset i is base + i * stride, lane i is lane_ids[i]. */
typedef struct pair {
    sg_lanes *l;
    model m;
    sg_rng *rng;
    int64_t now;
    uint64_t base, stride, lane_ids[LANES];
} pair;

static bool model_first_of_lane(const model *m, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (m->place[j] != AWAY && m->lane[j] == m->lane[i])
            return false;
    return true;
}

static size_t model_next(const model *m) {
    for (size_t i = 0; i < OFFSETS; i++)
        if (m->place[i] == IS_READY && m->out[m->lane[i]] == 0 && model_first_of_lane(m, i))
            return i;
    return OFFSETS;
}

static bool model_blocked(const model *m, size_t lane) {
    for (size_t i = 0; i < OFFSETS; i++)
        if (m->place[i] != AWAY && m->lane[i] == lane)
            return true;
    return m->out[lane] > 0;
}

/* Which is called first; OFFSETS where none waits. */
static size_t model_due(const model *m) {
    size_t first = OFFSETS;
    for (size_t i = 0; i < OFFSETS; i++)
        if (m->place[i] == WAITS && (first == OFFSETS || m->due[i] < m->due[first]))
            first = i;
    return first;
}

static void check_pair(const pair *p) {
    const model *m = &p->m;
    size_t count = 0, busy = 0;
    for (size_t i = 0; i < OFFSETS; i++) {
        CHECK_EQ(sg_lanes_has(p->l, p->base + i * p->stride), m->place[i] != AWAY);
        count += m->place[i] != AWAY;
    }
    for (size_t k = 0; k < LANES; k++) {
        CHECK_EQ(sg_lanes_blocked(p->l, p->lane_ids[k]), model_blocked(m, k));
        busy += model_blocked(m, k);
    }
    CHECK_EQ(sg_lanes_count(p->l), count);
    CHECK_EQ(sg_lanes_idle(p->l), busy == 0);
    size_t first = model_due(m), next = model_next(m);
    CHECK_EQ(sg_lanes_due(p->l), first == OFFSETS ? INT64_MAX : m->due[first]);
    CHECK_EQ(next_of(p->l), next == OFFSETS ? NONE : p->base + next * p->stride);
}

static void step_wait(pair *p, size_t i) {
    model *m = &p->m;
    size_t lane = sg_rng_below(p->rng, LANES);
    int64_t due = sg_rng_below(p->rng, 2) ? 0 : p->now + (int64_t)sg_rng_below(p->rng, 30);
    bool starve = sg_rng_below(p->rng, 8) == 0;
    if (starve)
        sg_alloc_fail_at(1 + sg_rng_below(p->rng, 3), 1);
    bool ok = sg_lanes_wait(p->l, p->lane_ids[lane], p->base + i * p->stride, due);
    sg_alloc_fail_at(0, 0);
    CHECK(ok || (starve && m->place[i] == AWAY));
    if (!ok || m->place[i] != AWAY)
        return;
    m->place[i] = due != 0 ? WAITS : IS_READY;
    m->lane[i] = lane;
    m->due[i] = due;
}

static void step_call(pair *p) {
    p->now += (int64_t)sg_rng_below(p->rng, 6);
    size_t first = model_due(&p->m);
    if (first < OFFSETS && p->m.due[first] > p->now)
        first = OFFSETS;
    CHECK_EQ(call(p->l, p->now), first == OFFSETS ? NONE : p->base + first * p->stride);
    if (first < OFFSETS)
        p->m.place[first] = IS_CALLED;
}

static void step_called(pair *p, size_t i, bool postpone) {
    model *m = &p->m;
    int64_t due = p->now + (int64_t)sg_rng_below(p->rng, 30);
    sg_alloc_fail_at(1, 1); /* neither needs any */
    if (postpone)
        sg_lanes_postpone(p->l, p->base + i * p->stride, due);
    else
        sg_lanes_ready(p->l, p->base + i * p->stride);
    sg_alloc_fail_at(0, 0);
    if (m->place[i] != IS_CALLED)
        return;
    m->place[i] = postpone ? WAITS : IS_READY;
    m->due[i] = due;
}

static void step_remove(pair *p, size_t i) {
    if (sg_rng_below(p->rng, 2))
        sg_alloc_fail_at(1, 1);
    CHECK_EQ(sg_lanes_remove(p->l, p->base + i * p->stride), p->m.place[i] != AWAY);
    sg_alloc_fail_at(0, 0);
    p->m.place[i] = AWAY;
}

static void step_out(pair *p, size_t lane) {
    bool starve = sg_rng_below(p->rng, 4) == 0;
    if (starve)
        sg_alloc_fail_at(1, 1);
    bool ok = sg_lanes_out(p->l, p->lane_ids[lane]);
    sg_alloc_fail_at(0, 0);
    CHECK(ok || (starve && p->m.strict && !model_blocked(&p->m, lane)));
    if (ok && p->m.strict)
        p->m.out[lane]++;
}

/* Hand out what is next, as the owner of the lanes does. */
static void step_next(pair *p) {
    size_t i = model_next(&p->m);
    if (i == OFFSETS)
        return;
    step_out(p, p->m.lane[i]);
    step_remove(p, i);
}

static void step(pair *p) {
    uint64_t what = sg_rng_below(p->rng, 100);
    size_t i = sg_rng_below(p->rng, OFFSETS), lane = sg_rng_below(p->rng, LANES);
    if (what < 30) {
        step_wait(p, i);
    } else if (what < 45) {
        step_call(p);
    } else if (what < 60) {
        step_called(p, i, what < 50);
    } else if (what < 70) {
        step_remove(p, i);
    } else if (what < 82) {
        step_next(p);
    } else if (what < 84) {
        step_out(p, lane);
    } else {
        sg_lanes_in(p->l, p->lane_ids[lane]);
        p->m.out[lane] -= p->m.out[lane] > 0;
    }
}

static void run_sequence(sg_rng *rng, bool strict) {
    pair p;
    memset(&p, 0, sizeof p);
    p.rng = rng;
    p.now = 1;
    p.m.strict = strict;
    p.l = sg_lanes_new(strict);
    p.stride = 1 + (sg_rng_next(rng) >> (16 + sg_rng_below(rng, 48))); /* at most 2^48 */
    p.base = sg_rng_next(rng) >> (2 + sg_rng_below(rng, 62));
    for (size_t k = 0; k < LANES; k++)
        p.lane_ids[k] = (uint64_t)k << (8 * sg_rng_below(rng, 8)) | k;
    for (int i = 0; i < 400; i++) {
        step(&p);
        check_pair(&p);
    }
    sg_lanes_free(p.l);
}

TEST_DEADLINE(behaves_as_the_model, 120) {
    sg_rng rng = {test_seed()};
    int sequences = test_sanitized() ? 300 : 1500;
    for (int i = 0; i < sequences; i++)
        run_sequence(&rng, i % 2 == 0);
}

/* ---- Memory ------------------------------------------------------------------------------- */

static void check_counts(const sg_lanes *l, size_t count, int64_t due, uint64_t next) {
    CHECK_EQ(sg_lanes_count(l), count);
    CHECK_EQ(sg_lanes_due(l), due);
    CHECK_EQ(next_of(l), next);
}

/* Waits until it works, and nothing may change meanwhile; returns the failures. */
static int wait_through(sg_lanes *l, uint64_t lane, uint64_t offset, int64_t due) {
    int failed = 0;
    size_t count = sg_lanes_count(l);
    int64_t next_due = sg_lanes_due(l);
    uint64_t next = next_of(l);
    bool idle = sg_lanes_idle(l), blocked = sg_lanes_blocked(l, lane);
    while (!sg_lanes_wait(l, lane, offset, due)) {
        failed++;
        check_counts(l, count, next_due, next);
        CHECK(!sg_lanes_has(l, offset));
        CHECK_EQ(sg_lanes_idle(l), idle);
        CHECK_EQ(sg_lanes_blocked(l, lane), blocked);
        sg_lanes_ready(l, offset);
        CHECK(!sg_lanes_remove(l, offset));
    }
    return failed;
}

/* Every kind of allocation, each tried again where it fails; returns the failures. */
static int work_through_failures(sg_lanes *l) {
    int failed = 0;
    for (uint64_t o = 0; o < 50; o++)
        failed += wait_through(l, o / 2, o, o % 2 == 0 ? (int64_t)(100 - o) : 0);
    for (uint64_t lane = 0; lane < 60; lane++)
        while (!sg_lanes_out(l, lane)) {
            failed++;
            CHECK_GE(lane, 25); /* one that is here needs no memory */
            CHECK(!sg_lanes_blocked(l, lane));
        }
    for (int64_t due = 52; due <= 100; due += 2) {
        CHECK_EQ(call(l, due), 100 - due);
        sg_lanes_postpone(l, (uint64_t)(100 - due), 200);
    }
    for (uint64_t lane = 0; lane < 60; lane++)
        sg_lanes_in(l, lane);
    for (uint64_t o = 0; o < 50; o += 2) {
        CHECK_EQ(call(l, 200), o);
        sg_lanes_ready(l, o);
        CHECK_EQ(next_of(l), 0);
    }
    for (uint64_t o = 0; o < 50; o++) {
        CHECK_EQ(next_of(l), o);
        CHECK(sg_lanes_remove(l, o));
    }
    CHECK(sg_lanes_idle(l));
    return failed;
}

TEST(memory_failures_change_nothing) {
    int worked = 0; /* the last ones fail to give memory back, which nobody notices */
    for (uint64_t n = 1;; n++) {
        sg_lanes *l = sg_lanes_new(true);
        sg_alloc_fail_at(n, 0);
        int failed = work_through_failures(l);
        uint64_t made = sg_alloc_fail_at(0, 0);
        sg_lanes_free(l);
        CHECK_LE(failed, 1);
        worked += failed == 0;
        if (made < n)
            break;
    }
    CHECK_GT(worked, 0);
    CHECK_LT(worked, 12);
    sg_alloc_fail_at(1, 0);
    CHECK(sg_lanes_new(true) == NULL);
}

/* core/member: what a member asks, and what it makes of the answers. */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "core/member.h"
#include "test.h"

enum { TIMEOUT = 10000 };

/* ---- helpers ------------------------------------------------------------------------------ */

static sg_member *new_member(uint32_t partitions) {
    sg_member *m = sg_member_new(TIMEOUT, partitions);
    CHECK(m != NULL);
    return m;
}

static sg_member_ask ask(sg_member *m, int64_t now) {
    sg_member_ask q;
    memset(&q, 0xff, sizeof q);
    sg_member_ask_now(m, now, &q);
    CHECK_EQ(sg_member_due(m), INT64_MAX); /* one question at a time */
    return q;
}

static void answer(sg_member *m, int64_t now, uint64_t version, const sg_grant *grants, size_t n) {
    sg_member_answered(m, now, version, -1, true, grants, n);
}

static void check_change(sg_member *m, sg_member_what what, uint32_t partition, uint64_t epoch) {
    sg_member_change c;
    CHECK(sg_member_change_next(m, &c));
    CHECK_EQ(c.what, what);
    CHECK_EQ(c.partition, partition);
    CHECK_EQ(c.epoch, epoch);
}

static void check_no_change(sg_member *m) {
    sg_member_change c;
    CHECK(!sg_member_change_next(m, &c));
}

/* A member of four partitions that holds 0 under epoch 1 and 2 under epoch 2, at time 0. */
static sg_member *settled(void) {
    static const sg_grant grants[] = {{0, false, 1}, {2, false, 2}};
    sg_member *m = new_member(4);
    CHECK_EQ(ask(m, 0).op, SG_MEMBER_JOIN);
    answer(m, 0, 5, grants, 2);
    check_change(m, SG_PART_GRANTED, 0, 1);
    check_change(m, SG_PART_GRANTED, 2, 2);
    check_no_change(m);
    return m;
}

/* ---- asking ------------------------------------------------------------------------------- */

TEST(it_joins_at_once_then_beats_each_quarter) {
    sg_member *m = new_member(4);
    CHECK_LE(sg_member_due(m), 0);
    CHECK(!sg_member_joined(m));
    CHECK_EQ(sg_member_safe_until(m), INT64_MIN);
    sg_member_ask q = ask(m, 1000);
    CHECK_EQ(q.op, SG_MEMBER_JOIN);
    CHECK_EQ(q.version, 0);
    CHECK_EQ(q.floor, 0);
    CHECK_EQ(q.n_released, 0);
    answer(m, 1400, 7, NULL, 0);
    CHECK(sg_member_joined(m));
    CHECK_EQ(sg_member_due(m), 1000 + TIMEOUT / 4);
    /* The lease counts from the question, less a margin. */
    CHECK_EQ(sg_member_safe_until(m), 1000 + TIMEOUT - TIMEOUT / 10);
    q = ask(m, 3500);
    CHECK_EQ(q.op, SG_MEMBER_BEAT);
    CHECK_EQ(q.version, 7);
    sg_member_answered(m, 3501, 7, -1, false, NULL, 0);
    CHECK_EQ(sg_member_due(m), 3500 + TIMEOUT / 4);
    sg_member_free(m);
}

TEST(it_looks_again_when_somebody_elses_lease_runs_out) {
    static const struct {
        int64_t deadline;
        bool sooner;
    } cases[] = {{-1, false}, {0, true}, {1, true}, {2000, true}, {2600, false}, {9000, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sg_member *m = new_member(1);
        ask(m, 100);
        sg_member_answered(m, 110, 1, cases[i].deadline, true, NULL, 0);
        if (cases[i].sooner) {
            CHECK_GT(sg_member_due(m), 110 + cases[i].deadline);
            CHECK_LE(sg_member_due(m), 110 + cases[i].deadline + 100);
        } else {
            CHECK_EQ(sg_member_due(m), 100 + TIMEOUT / 4);
        }
        sg_member_free(m);
    }
}

TEST(a_question_without_an_answer_is_asked_again) {
    sg_member *m = settled();
    ask(m, 2500);
    int64_t safe = sg_member_safe_until(m);
    sg_member_unanswered(m, 2600, 100);
    CHECK_EQ(sg_member_due(m), 2700);
    CHECK_EQ(sg_member_safe_until(m), safe); /* no answer, no lease */
    CHECK(sg_member_joined(m));
    check_no_change(m);
    /* What it knows may be old: the question may have arrived, and its answer told of a change. */
    sg_member_ask q = ask(m, 2700);
    CHECK_EQ(q.op, SG_MEMBER_BEAT);
    CHECK_EQ(q.version, 0);
    sg_member_answered(m, 2750, 5, -1, false, NULL, 0);
    CHECK_EQ(sg_member_safe_until(m), 2700 + TIMEOUT - TIMEOUT / 10);
    sg_member_free(m);
}

TEST(a_wake_up_asks_at_once_also_one_during_a_question) {
    sg_member *m = settled();
    CHECK_GT(sg_member_due(m), 0);
    sg_member_wake(m);
    CHECK_EQ(sg_member_due(m), INT64_MIN);
    ask(m, 10);
    sg_member_wake(m);
    CHECK_EQ(sg_member_due(m), INT64_MAX);
    sg_member_answered(m, 11, 5, -1, false, NULL, 0);
    CHECK_EQ(sg_member_due(m), INT64_MIN);
    ask(m, 12);
    sg_member_answered(m, 13, 5, -1, false, NULL, 0);
    CHECK_EQ(sg_member_due(m), 12 + TIMEOUT / 4);
    sg_member_free(m);
}

TEST(another_connection_makes_it_ask_for_everything_again) {
    sg_member *m = settled();
    sg_member_recall(m);
    CHECK_EQ(sg_member_due(m), INT64_MIN);
    sg_member_ask q = ask(m, 10);
    CHECK_EQ(q.op, SG_MEMBER_BEAT);
    CHECK_EQ(q.version, 0);
    answer(m, 11, 5, (const sg_grant[]){{0, false, 1}, {2, false, 2}}, 2);
    check_no_change(m);
    sg_member_free(m);
}

/* ---- what it holds ------------------------------------------------------------------------ */

TEST(nothing_changes_where_nothing_is_listed) {
    sg_member *m = settled();
    ask(m, 10);
    sg_member_answered(m, 11, 5, -1, false, NULL, 0);
    check_no_change(m);
    ask(m, 20);
    answer(m, 21, 5, (const sg_grant[]){{0, false, 1}, {2, false, 2}}, 2);
    check_no_change(m);
    sg_member_free(m);
}

TEST(what_is_not_listed_is_lost) {
    sg_member *m = settled();
    ask(m, 10);
    answer(m, 11, 6, (const sg_grant[]){{3, false, 4}, {2, false, 2}}, 2);
    check_change(m, SG_PART_GRANTED, 3, 4);
    check_change(m, SG_PART_LOST, 0, 1);
    check_no_change(m);
    ask(m, 20);
    answer(m, 21, 7, NULL, 0);
    check_change(m, SG_PART_LOST, 2, 2);
    check_change(m, SG_PART_LOST, 3, 4);
    check_no_change(m);
    sg_member_free(m);
}

TEST(another_epoch_is_another_grant) {
    sg_member *m = settled();
    ask(m, 10);
    answer(m, 11, 6, (const sg_grant[]){{0, false, 9}, {2, false, 2}}, 2);
    check_change(m, SG_PART_LOST, 0, 1);
    check_change(m, SG_PART_GRANTED, 0, 9);
    check_no_change(m);
    sg_member_free(m);
}

/* The coordinator has lost its last grants. What it knows of is taken, or it would wait for ever for
 * a hand-back under an epoch that nobody holds; and it is told where to go on. */
TEST(an_older_epoch_is_another_grant_too) {
    sg_member *m = settled();
    ask(m, 10);
    answer(m, 11, 6, (const sg_grant[]){{0, false, 9}, {2, false, 2}}, 2);
    check_change(m, SG_PART_LOST, 0, 1);
    check_change(m, SG_PART_GRANTED, 0, 9);
    ask(m, 20);
    answer(m, 21, 7, (const sg_grant[]){{0, true, 3}, {2, false, 2}}, 2);
    check_change(m, SG_PART_LOST, 0, 9);
    check_change(m, SG_PART_GRANTED, 0, 3);
    check_change(m, SG_PART_REVOKED, 0, 3);
    check_no_change(m);
    sg_member_released(m, 0, 3);
    sg_member_ask q = ask(m, 30);
    CHECK_EQ(q.floor, 9);
    CHECK_EQ(q.n_released, 1);
    CHECK_EQ(q.epochs[0], 3);
    sg_member_free(m);
}

TEST(a_revoked_partition_goes_through_its_hand_back) {
    sg_member *m = settled();
    ask(m, 10);
    answer(m, 11, 6, (const sg_grant[]){{0, false, 1}, {2, true, 2}}, 2);
    check_change(m, SG_PART_REVOKED, 2, 2);
    check_no_change(m);
    CHECK_EQ(ask(m, 20).n_released, 0); /* it is not done with it yet */
    answer(m, 21, 7, (const sg_grant[]){{0, false, 1}, {2, true, 2}}, 2);
    check_no_change(m);
    /* The coordinator changes its mind; too late. */
    ask(m, 30);
    answer(m, 31, 8, (const sg_grant[]){{0, false, 1}, {2, false, 2}}, 2);
    check_no_change(m);
    sg_member_released(m, 2, 2);
    CHECK_EQ(sg_member_due(m), INT64_MIN);
    sg_member_ask q = ask(m, 40);
    CHECK_EQ(q.n_released, 1);
    CHECK_EQ(q.released[0], 2);
    CHECK_EQ(q.epochs[0], 2);
    /* The answer still gives it to us: under a new epoch. */
    answer(m, 41, 9, (const sg_grant[]){{0, false, 1}, {2, false, 3}}, 2);
    check_change(m, SG_PART_GRANTED, 2, 3);
    check_no_change(m);
    sg_member_free(m);
}

TEST(a_hand_back_is_sent_until_it_is_answered) {
    sg_member *m = settled();
    sg_member_released(m, 0, 1);
    for (int i = 0; i < 3; i++) {
        sg_member_ask q = ask(m, 10 * i);
        CHECK_EQ(q.n_released, 1);
        CHECK_EQ(q.released[0], 0);
        CHECK_EQ(q.epochs[0], 1);
        if (i == 1) {
            sg_member_released(m, 2, 2); /* while a question is under way: goes with the next */
            sg_member_answered(m, 11, 5, -1, false, NULL, 0);
            q = ask(m, 12);
            CHECK_EQ(q.n_released, 1);
            CHECK_EQ(q.released[0], 2);
            break;
        }
        sg_member_unanswered(m, 10 * i + 1, 1);
    }
    sg_member_answered(m, 21, 5, -1, false, NULL, 0);
    CHECK_EQ(ask(m, 30).n_released, 0);
    check_no_change(m); /* who hands back is not told that it is gone */
    sg_member_free(m);
}

/* Released while a question is under way whose answer still lists it, being older. */
TEST(an_older_answer_does_not_bring_back_what_was_released) {
    sg_member *m = settled();
    ask(m, 10);
    sg_member_released(m, 2, 2);
    answer(m, 11, 6, (const sg_grant[]){{0, false, 1}, {2, true, 2}}, 2);
    check_no_change(m);
    CHECK_EQ(sg_member_due(m), INT64_MIN);
    CHECK_EQ(ask(m, 12).n_released, 1);
    answer(m, 13, 6, (const sg_grant[]){{0, false, 1}}, 1);
    check_no_change(m);
    sg_member_free(m);
}

TEST(a_release_of_what_is_not_held_is_ignored) {
    sg_member *m = settled();
    sg_member_released(m, 0, 7);
    sg_member_released(m, 1, 1);
    CHECK_EQ(ask(m, 10).n_released, 0);
    sg_member_answered(m, 11, 5, -1, false, NULL, 0);
    sg_member_released(m, 0, 1);
    sg_member_released(m, 0, 1);
    CHECK_EQ(ask(m, 12).n_released, 1);
    sg_member_free(m);
}

TEST(partitions_out_of_range_are_not_taken) {
    sg_member *m = settled();
    ask(m, 10);
    answer(m, 11, 6,
           (const sg_grant[]){{0, false, 1}, {4, false, 8}, {UINT32_MAX, false, 9}, {2, false, 2}},
           4);
    check_no_change(m);
    sg_member_free(m);
}

TEST(a_stale_epoch_raises_the_floor) {
    sg_member *m = settled();
    sg_member_stale(m, 0, 1, 50);
    sg_member_ask q = ask(m, 10);
    CHECK_EQ(q.floor, 50);
    CHECK_EQ(q.n_released, 1);
    answer(m, 11, 6, (const sg_grant[]){{0, false, 51}, {2, false, 2}}, 2);
    check_change(m, SG_PART_GRANTED, 0, 51);
    sg_member_stale(m, 2, 2, 20); /* never down */
    CHECK_EQ(ask(m, 20).floor, 50);
    sg_member_free(m);
}

/* ---- its end ------------------------------------------------------------------------------ */

TEST(expired_loses_everything_and_joins_again_at_once) {
    sg_member *m = settled();
    sg_member_released(m, 2, 2);
    ask(m, 10);
    sg_member_expired(m, 20);
    CHECK(!sg_member_joined(m));
    CHECK_EQ(sg_member_over(m), SG_END_NONE);
    CHECK_EQ(sg_member_safe_until(m), INT64_MIN);
    check_change(m, SG_PART_LOST, 0, 1);
    check_no_change(m); /* 2 was given away already */
    CHECK_LE(sg_member_due(m), 20);
    sg_member_ask q = ask(m, 20);
    CHECK_EQ(q.op, SG_MEMBER_JOIN);
    CHECK_EQ(q.version, 0);
    CHECK_EQ(q.n_released, 0);
    answer(m, 21, 1, (const sg_grant[]){{2, false, 7}}, 1);
    check_change(m, SG_PART_GRANTED, 2, 7);
    sg_member_free(m);
}

TEST(it_is_over_for_each_reason) {
    static const sg_member_end reasons[] = {SG_END_LEFT, SG_END_REPLACED, SG_END_OTHER};
    for (size_t i = 0; i < 3; i++) {
        sg_member *m = settled();
        ask(m, 10);
        sg_member_ended(m, reasons[i]);
        CHECK_EQ(sg_member_over(m), reasons[i]);
        CHECK(!sg_member_joined(m));
        CHECK_EQ(sg_member_due(m), INT64_MAX);
        sg_member_wake(m);
        CHECK_EQ(sg_member_due(m), INT64_MAX);
        CHECK_EQ(sg_member_safe_until(m), INT64_MIN);
        check_change(m, SG_PART_LOST, 0, 1);
        check_change(m, SG_PART_LOST, 2, 2);
        check_no_change(m);
        sg_member_free(m);
    }
}

TEST(leaving_says_good_bye_with_what_was_released) {
    sg_member *m = settled();
    sg_member_released(m, 0, 1);
    sg_member_leave(m);
    CHECK_EQ(sg_member_due(m), INT64_MIN);
    sg_member_ask q = ask(m, 10);
    CHECK_EQ(q.op, SG_MEMBER_LEAVE);
    CHECK_EQ(q.n_released, 1);
    sg_member_unanswered(m, 11, 100);
    q = ask(m, 111);
    CHECK_EQ(q.op, SG_MEMBER_LEAVE);
    CHECK_EQ(q.n_released, 1);
    sg_member_expired(m, 112); /* UNKNOWN: the first one had arrived */
    CHECK_EQ(sg_member_over(m), SG_END_LEFT);
    sg_member_free(m);
}

/* A member that left for a while: nothing is asked until it rejoins, and then as at first. */
TEST(one_that_has_left_may_begin_anew) {
    sg_member *m = sg_member_new(1000, 4);
    sg_member_ask q;
    const sg_grant one = {.partition = 2, .give = false, .epoch = 7};
    sg_member_change change;
    CHECK(m != NULL);
    sg_member_rejoin(m, 5); /* it has not left */
    sg_member_ask_now(m, 10, &q);
    sg_member_answered(m, 11, 3, -1, true, &one, 1);
    CHECK(sg_member_change_next(m, &change));
    sg_member_leave(m);
    sg_member_ask_now(m, 20, &q);
    CHECK_EQ(q.op, SG_MEMBER_LEAVE);
    sg_member_ended(m, SG_END_LEFT);
    CHECK(sg_member_change_next(m, &change));
    CHECK_EQ(change.what, SG_PART_LOST);
    CHECK_EQ(sg_member_due(m), INT64_MAX);
    sg_member_rejoin(m, 500);
    CHECK_EQ(sg_member_over(m), SG_END_NONE);
    CHECK_EQ(sg_member_due(m), 500);
    CHECK(!sg_member_joined(m));
    sg_member_ask_now(m, 500, &q);
    CHECK_EQ(q.op, SG_MEMBER_JOIN);
    CHECK_EQ(q.version, 0);
    CHECK_EQ(q.n_released, 0);
    sg_member_answered(m, 501, 1, -1, true, &one, 1);
    CHECK(sg_member_change_next(m, &change));
    CHECK_EQ(change.what, SG_PART_GRANTED);
    sg_member_free(m);
}

TEST(leaving_before_it_has_joined) {
    sg_member *m = new_member(1);
    sg_member_leave(m);
    CHECK_EQ(sg_member_over(m), SG_END_LEFT);
    sg_member_free(m);
    /* While the join is under way, it may have arrived: a good-bye follows. */
    m = new_member(1);
    ask(m, 0);
    sg_member_leave(m);
    CHECK_EQ(sg_member_over(m), SG_END_NONE);
    answer(m, 1, 2, (const sg_grant[]){{0, false, 1}}, 1);
    CHECK_EQ(sg_member_due(m), INT64_MIN);
    CHECK_EQ(ask(m, 2).op, SG_MEMBER_LEAVE);
    sg_member_free(m);
    m = new_member(1);
    ask(m, 0);
    sg_member_leave(m);
    sg_member_unanswered(m, 1, 100);
    CHECK_EQ(sg_member_due(m), 101);
    CHECK_EQ(ask(m, 101).op, SG_MEMBER_LEAVE);
    sg_member_free(m);
}

TEST(freeing_null_is_fine) {
    sg_member_free(NULL);
}

/* ---- by chance ---------------------------------------------------------------------------- */

enum { PARTITIONS = 6, STEPS = 20000 };

/* A consumer as the changes make it, and what may follow what. */
struct holder {
    enum { HOLD_NONE, HOLD_HELD, HOLD_GIVING, HOLD_RELEASED } holds[PARTITIONS];
    uint64_t epochs[PARTITIONS]; /* of the last grant */
};

static void follow(struct holder *h, sg_member *m) {
    sg_member_change c;
    int changes = 0;
    while (sg_member_change_next(m, &c)) {
        CHECK_LE(++changes, 3 * PARTITIONS);
        CHECK_LT(c.partition, PARTITIONS);
        switch (c.what) {
        case SG_PART_GRANTED:
            CHECK(h->holds[c.partition] == HOLD_NONE || h->holds[c.partition] == HOLD_RELEASED);
            h->holds[c.partition] = HOLD_HELD;
            h->epochs[c.partition] = c.epoch;
            break;
        case SG_PART_REVOKED:
            CHECK_EQ(h->holds[c.partition], HOLD_HELD);
            CHECK_EQ(h->epochs[c.partition], c.epoch);
            h->holds[c.partition] = HOLD_GIVING;
            break;
        case SG_PART_LOST:
            CHECK(h->holds[c.partition] == HOLD_HELD || h->holds[c.partition] == HOLD_GIVING);
            CHECK_EQ(h->epochs[c.partition], c.epoch);
            h->holds[c.partition] = HOLD_NONE;
            break;
        }
    }
}

/* Each partition at most once, in any order, under any epoch. */
static size_t some_grants(sg_rng *rng, sg_grant out[PARTITIONS], const struct holder *h) {
    size_t n = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        uint64_t kind = sg_rng_below(rng, 4);
        if (kind > 0) {
            uint64_t epoch = kind == 1 ? sg_rng_below(rng, h->epochs[p] + 3) : h->epochs[p];
            out[n++] = (sg_grant){p, sg_rng_below(rng, 3) == 0, epoch};
        }
    }
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)sg_rng_below(rng, i);
        sg_grant swapped = out[k];
        out[k] = out[i - 1];
        out[i - 1] = swapped;
    }
    return n;
}

/* After an answer that lists: what is held was listed. Released is what was handed back under the
 * epoch listed, or not listed. */
static void check_listed(const struct holder *h, const sg_grant *grants, size_t n) {
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        bool listed = false;
        for (size_t i = 0; i < n; i++) {
            listed = listed || grants[i].partition == p;
        }
        CHECK(listed || (h->holds[p] != HOLD_HELD && h->holds[p] != HOLD_GIVING));
    }
}

static void check_released(const sg_member_ask *q, const struct holder *h) {
    bool sent[PARTITIONS] = {false};
    for (size_t i = 0; i < q->n_released; i++) {
        uint32_t p = q->released[i];
        CHECK_LT(p, PARTITIONS);
        CHECK(!sent[p]);
        sent[p] = true;
        CHECK_EQ(h->holds[p], HOLD_RELEASED);
        CHECK_EQ(q->epochs[i], h->epochs[p]);
    }
}

static void release_some(sg_rng *rng, struct holder *h, sg_member *m) {
    uint32_t p = (uint32_t)sg_rng_below(rng, PARTITIONS);
    uint64_t epoch = h->epochs[p] - (h->epochs[p] > 0 && sg_rng_below(rng, 4) == 0);
    bool holds = h->holds[p] == HOLD_HELD || h->holds[p] == HOLD_GIVING;
    sg_member_released(m, p, epoch);
    if (holds && epoch == h->epochs[p]) {
        h->holds[p] = HOLD_RELEASED;
    }
}

static void respond(sg_rng *rng, struct holder *h, sg_member *m, int64_t now) {
    sg_grant grants[PARTITIONS];
    uint64_t kind = sg_rng_below(rng, 12);
    if (kind == 0) {
        sg_member_expired(m, now);
        follow(h, m);
    } else if (kind < 3) {
        sg_member_unanswered(m, now, 10);
        follow(h, m);
    } else if (kind < 6) {
        sg_member_answered(m, now, 1, -1, false, NULL, 0);
        follow(h, m);
    } else {
        size_t n = some_grants(rng, grants, h);
        sg_member_answered(m, now, 1, -1, true, grants, n);
        follow(h, m);
        check_listed(h, grants, n);
    }
}

TEST(by_chance) {
    sg_rng rng = {test_seed()};
    struct holder h = {.epochs = {0}};
    sg_member *m = new_member(PARTITIONS);
    bool awaiting = false;
    sg_member_ask q;
    for (int64_t now = 0; now < STEPS; now++) {
        if (sg_rng_below(&rng, 3) == 0) {
            release_some(&rng, &h, m);
        } else if (awaiting) {
            respond(&rng, &h, m, now);
            awaiting = false;
        } else {
            q = ask(m, now);
            check_released(&q, &h);
            awaiting = true;
        }
    }
    sg_member_ended(m, SG_END_OTHER);
    follow(&h, m);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        CHECK(h.holds[p] == HOLD_NONE || h.holds[p] == HOLD_RELEASED);
    }
    sg_member_free(m);
}

/* An answer that names a partition more than once, which no coordinator gives, must not make more
 * changes than there is room for. */
TEST(a_partition_listed_twice_is_taken_once) {
    sg_grant grants[40];
    struct holder h = {.epochs = {0}};
    sg_member *m = new_member(PARTITIONS);
    for (uint32_t i = 0; i < 40; i++) {
        grants[i] = (sg_grant){i % 2, i % 3 == 0, i + 1};
    }
    ask(m, 0);
    answer(m, 1, 2, grants, 40);
    follow(&h, m);
    check_listed(&h, grants, 40);
    sg_member_free(m);
}

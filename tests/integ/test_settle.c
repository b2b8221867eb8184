/* The fate of a delivery: each verdict, what it does to the attempts, also across hand-overs and
 * crashes, and verdicts that come too late. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "letters_rig.h"

/* ---- Each verdict --------------------------------------------------------------------------- */

TEST(each_verdict_has_its_effect) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 8);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 8);
    rig_ack(k, b.in->d, 2);
    rig_settle_as(k, &b.in->d[2], SEG_RETRY, -1, NULL);
    rig_settle_as(k, &b.in->d[3], SEG_RELEASE, 0, NULL);
    rig_settle_as(k, &b.in->d[4], SEG_REJECT, 0, "no good");
    rig_settle_as(k, &b.in->d[5], SEG_EXTEND, 0, NULL);
    rig_settle_as(k, &b.in->d[6], SEG_ACK, 0, NULL);
    rig_take(k, b.in, 10);
    CHECK_EQ(last_of(b.in, 2)->attempt, 2);
    CHECK_EQ(last_of(b.in, 3)->attempt, 1); /* it was not handled: the attempt does not count */
    wait_letters(&b, 1);
    CHECK_STR(b.letters[0].reason, "rejected");
    CHECK_STR(b.letters[0].error, "no good");
    CHECK_EQ(b.letters[0].number, 4);
    CHECK_EQ(b.letters[0].attempts, 1);
    rig_ack(k, &b.in->d[8], 2);
    rig_ack(k, &b.in->d[5], 1);
    rig_ack(k, &b.in->d[7], 1);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_stats st = rig_stats(k);
    CHECK_EQ(st.acked, 7);
    CHECK_EQ(st.retried, 1);
    CHECK_EQ(st.rejected, 1);
    CHECK_EQ(st.dead_lettered, 1);
    CHECK_EQ(st.redelivered, 1);
    CHECK_EQ(st.parked, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(many_are_settled_with_one_call) {
    enum { N = 300 };
    bench b = set_up(3);
    rig_spread(b.p, 3, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    static const seg_verdict verdicts[] = {SEG_RETRY, SEG_RELEASE, SEG_RETRY};
    static const uint32_t attempts[] = {1, 2, 2, 3};
    seg_settlement now;
    SEG_INIT(&now);
    now.delay = -1;
    for (size_t round = 0; round < 4; round++) {
        unsigned at[3] = {0, 1, 2};
        b.in->n = 0;
        rig_take(k, b.in, N);
        for (size_t i = 0; i < N; i++) {
            CHECK_EQ(b.in->number[i], at[b.in->d[i].partition]);
            CHECK_EQ(b.in->d[i].attempt, attempts[round]);
            at[b.in->d[i].partition] += 3;
        }
        if (round < 3) {
            CHECK_OK(seg_settle(k, b.in->d, N, verdicts[round], &now, NULL), NULL);
        }
    }
    CHECK_OK(seg_settle(k, b.in->d, N, SEG_REJECT, NULL, NULL), NULL);
    rig_commit(k); /* letters are settled when they are stored */
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    wait_letters(&b, N);
    for (unsigned i = 0; i < N; i++) {
        CHECK_EQ(letter_of(&b, N, i)->attempts, 3);
    }
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(extend_begins_the_ack_timeout_anew) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 2);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 800});
    rig_take(k, b.in, 2);
    int64_t start = test_now_ms();
    rig_settle_as(k, &b.in->d[0], SEG_EXTEND, 60000, NULL);
    rig_take(k, b.in, 3); /* the other one's time runs out */
    CHECK_GE(test_now_ms() - start, 600);
    CHECK_EQ(b.in->number[2], 1);
    CHECK_EQ(b.in->d[2].attempt, 2);
    rig_settle_as(k, &b.in->d[2], SEG_EXTEND, 60000, NULL);
    start = test_now_ms();
    rig_settle_as(k, &b.in->d[0], SEG_EXTEND, 50, NULL); /* shorter is fine too */
    rig_take(k, b.in, 4);
    CHECK_GE(test_now_ms() - start, 50);
    CHECK_EQ(b.in->number[3], 0);
    CHECK_EQ(b.in->d[3].attempt, 2);
    rig_settle_as(k, &b.in->d[3], SEG_EXTEND, 0, NULL);
    rig_settle_as(k, &b.in->d[3], SEG_EXTEND, INT64_MAX, NULL);
    rig_ack(k, &b.in->d[2], 2);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Delays --------------------------------------------------------------------------------- */

TEST(a_retry_comes_after_the_delay_that_was_asked_for) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 3);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .retry_delay = 60000});
    rig_take(k, b.in, 3);
    int64_t start = test_now_ms();
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 700, NULL);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, 200, NULL);
    rig_settle_as(k, &b.in->d[2], SEG_RETRY, -1, NULL);
    rig_take(k, b.in, 4);
    CHECK_EQ(b.in->number[3], 2);
    rig_take(k, b.in, 5);
    CHECK_GE(test_now_ms() - start, 200);
    CHECK_EQ(b.in->number[4], 1);
    rig_take(k, b.in, 6);
    CHECK_GE(test_now_ms() - start, 700);
    CHECK_LT(test_now_ms() - start, 10000);
    CHECK_EQ(b.in->number[5], 0);
    /* For ever is a delay like any other: what waits does not keep the consumer from closing. */
    rig_settle_as(k, &b.in->d[5], SEG_RETRY, INT64_MAX, NULL);
    CHECK_EQ(rig_stats(k).parked, 1);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Doubles with each attempt up to the maximum, less up to a half. Late is possible at any time,
 * early never. */
TEST(the_default_delay_grows_up_to_its_maximum) {
    enum { DELAY = 80, MAX = 250 };
    static const int64_t full[] = {80, 160, 250, 250, 250};
    bench b = set_up(1);
    int64_t late = 0;
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 1);
    seg_consumer *k = rig_consumer(
        b.c, "s", &(rig_join){.group = "g", .retry_delay = DELAY, .retry_delay_max = MAX});
    rig_take(k, b.in, 1);
    for (size_t i = 0; i < 5; i++) {
        int64_t start = test_now_ms();
        rig_settle_as(k, &b.in->d[i], SEG_RETRY, 0, NULL);
        while (b.in->n < i + 2) {
            rig_poll(k, b.in, 10, 1000);
        }
        int64_t took = test_now_ms() - start;
        CHECK_GE(took + 1, full[i] / 2);
        late += took > full[i] ? took - full[i] : 0;
        CHECK_EQ(b.in->d[i + 1].attempt, i + 2);
    }
    CHECK_LT(late, 5000);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The largest delays there are, after many attempts that nobody had to wait for. */
TEST(no_delay_is_too_long) {
    static const int64_t delays[] = {1, INT64_MAX / 2 + 7, INT64_MAX};
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 1);
    for (size_t i = 0; i < 3; i++) {
        seg_consumer *k = rig_consumer(
            b.c, "s",
            &(rig_join){.group = "g", .retry_delay = delays[i], .retry_delay_max = INT64_MAX});
        for (size_t n = 0; n < 70; n++) {
            rig_take(k, b.in, b.in->n + 1);
            rig_settle_as(k, &b.in->d[b.in->n - 1], SEG_RETRY, -1, NULL);
        }
        rig_take(k, b.in, b.in->n + 1);
        rig_settle_as(k, &b.in->d[b.in->n - 1], SEG_RETRY, 0, NULL);
        CHECK_EQ(rig_poll(k, b.in, 1, 200), 0);
        seg_consumer_close(k);
    }
    tear_down(&b);
}

/* What failed together does not come back together. */
TEST(the_default_delay_is_spread) {
    enum { N = 64, DELAY = 800 };
    bench b = set_up(1);
    int64_t first = 0;
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .retry_delay = DELAY});
    rig_take(k, b.in, N);
    int64_t start = test_now_ms();
    CHECK_OK(seg_settle(k, b.in->d, N, SEG_RETRY, NULL, NULL), NULL);
    while (b.in->n < 2 * (size_t)N) {
        if (rig_poll(k, b.in, N, 1000) > 0 && first == 0) {
            first = test_now_ms();
        }
    }
    CHECK_GE(first - start + 1, DELAY / 2);
    CHECK_GE(test_now_ms() - first, DELAY / 8);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Attempts ------------------------------------------------------------------------------- */

TEST(attempts_count_what_failed) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    uint32_t expected = 1;
    rig_take(k, b.in, 1);
    for (size_t i = 0; i < 30; i++) {
        bool failed = i % 3 != 0;
        CHECK_EQ(b.in->d[i].attempt, expected);
        rig_settle_as(k, &b.in->d[i], failed ? SEG_RETRY : SEG_RELEASE, -1, NULL);
        expected += failed ? 1 : 0;
        rig_take(k, b.in, i + 2);
    }
    CHECK_EQ(b.in->d[30].attempt, 21);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Hold ten messages of different fates: 0 is acknowledged, 1 released, 2 waits after one failure,
 * 3 and 4 are in hand, 5 is in hand for the 4th time, 6 waits after three failures, the others are
 * not delivered: there is room for 7. */
static void hold_seven(seg_consumer *k, rig_inbox *in) {
    rig_take(k, in, 7);
    for (size_t round = 0; round < 3; round++) {
        rig_settle_as(k, last_of(in, 5), SEG_RETRY, -1, NULL);
        rig_settle_as(k, last_of(in, 6), SEG_RETRY, round == 2 ? 60000 : -1, NULL);
        rig_take(k, in, in->n + (round == 2 ? 1 : 2));
    }
    rig_settle_as(k, &in->d[2], SEG_RETRY, 60000, NULL);
    rig_ack(k, &in->d[0], 1);
    rig_commit(k);
}

/* What the next owner makes of them. `extra`: how much too large it may be for what was not handed
 * out. */
static void check_seven(bench *b, uint32_t extra) {
    static const uint32_t expected[] = {0, 1, 2, 2, 2, 5, 4, 1, 1, 1};
    b->in->n = 0;
    int64_t start = test_now_ms();
    seg_consumer *k = rig_consumer(b->c, "s", &(rig_join){.group = "g", .name = "one"});
    rig_take(k, b->in, 9);
    CHECK_LT(test_now_ms() - start, 20000); /* delays end with their owner */
    for (unsigned i = 1; i < 10; i++) {
        uint32_t more = i == 1 || i >= 7 ? extra : 0;
        CHECK_GE(last_of(b->in, i)->attempt, expected[i]);
        CHECK_LE(last_of(b->in, i)->attempt, expected[i] + more);
    }
    rig_ack(k, b->in->d, 9);
    rig_commit(k);
    CHECK_EQ(rig_lag(b->c, "s", "g"), 0);
    seg_consumer_close(k);
}

/* Nothing of what is in hand, waits or was not delivered is waited for. */
TEST(close_is_quick_whatever_is_not_settled) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 10);
    int64_t start = test_now_ms();
    for (unsigned i = 0; i < 5; i++) {
        seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_in_flight = 7});
        b.in->n = 0;
        rig_take(k, b.in, 7);
        rig_settle_as(k, &b.in->d[1], SEG_RETRY, 60000, NULL);
        rig_settle_as(k, &b.in->d[2], SEG_RETRY, -1, NULL);
        rig_settle_as(k, &b.in->d[3], SEG_RELEASE, 0, NULL);
        seg_consumer_close(k);
    }
    CHECK_LT(test_now_ms() - start, 5 * 1000); /* half a command timeout each would be 12.5 s */
    tear_down(&b);
}

TEST(attempts_survive_a_clean_hand_over_exactly) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 10);
    seg_consumer *k =
        rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "one", .max_in_flight = 7});
    hold_seven(k, b.in);
    rig_settle_as(k, &b.in->d[1], SEG_RELEASE, 0, NULL);
    seg_consumer_close(k);
    check_seven(&b, 0);
    tear_down(&b);
}

/* A life, and in shared memory how far it has come. */
typedef struct life {
    bench *b;
    atomic_uint *stage;
    uint32_t attempt;
} life;

static void hold_and_wait(void *arg) {
    life *l = arg;
    bench *b = l->b;
    b->c = rig_client(b->s);
    seg_consumer *k =
        rig_consumer(b->c, "s", &(rig_join){.group = "g", .name = "one", .max_in_flight = 7});
    hold_seven(k, b->in);
    rig_settle_as(k, &b->in->d[1], SEG_RELEASE, 0, NULL);
    atomic_store(l->stage, 1);
    for (;;) {
        pause();
    }
}

TEST(attempts_survive_a_crash_for_all_that_was_in_hand) {
    bench b = set_up(1);
    life l = {.b = &b, .stage = rig_shared(sizeof *l.stage)};
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 10);
    disconnect(&b);
    pid_t child = rig_fork(hold_and_wait, &l);
    WAIT_FOR(RIG_MS, atomic_load(l.stage) == 1);
    rig_kill(child);
    connect_bench(&b);
    check_seven(&b, 1);
    tear_down(&b);
}

enum { LIVES = 6, HELD = 20 };

static void take_all_and_wait(void *arg) {
    life *l = arg;
    l->b->c = rig_client(l->b->s);
    seg_consumer *k = rig_consumer(l->b->c, "s", &(rig_join){.group = "g", .name = "one"});
    rig_take(k, l->b->in, HELD);
    for (size_t n = 0; n < HELD; n++) {
        CHECK_EQ(l->b->in->number[n], n);
        CHECK_EQ(l->b->in->d[n].attempt, l->attempt);
    }
    atomic_store(l->stage, l->attempt);
    for (;;) {
        pause();
    }
}

/* One life after another takes everything and dies with it: no count is lost, none is too large. */
TEST(attempts_add_up_over_many_crashes) {
    bench b = set_up(1);
    life l = {.b = &b, .stage = rig_shared(sizeof *l.stage)};
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, HELD);
    disconnect(&b);
    for (l.attempt = 1; l.attempt <= LIVES; l.attempt++) {
        pid_t child = rig_fork(take_all_and_wait, &l);
        WAIT_FOR(RIG_MS, atomic_load(l.stage) == l.attempt);
        rig_kill(child);
    }
    connect_bench(&b);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "one"});
    rig_take(k, b.in, HELD);
    for (size_t n = 0; n < HELD; n++) {
        CHECK_EQ(b.in->d[n].attempt, LIVES + 1);
    }
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Too late ------------------------------------------------------------------------------- */

/* A second consumer joins, and partition moves at once. Both hold what they got. */
static void move_one(seg_consumer *from, seg_consumer *to, rig_inbox *in) {
    int64_t end = test_now_ms() + RIG_MS;
    while (seg_consumer_assignment(from, NULL, 0) != 1 ||
           seg_consumer_assignment(to, NULL, 0) != 1) {
        rig_poll(from, in, 100, 5);
        CHECK_LT(test_now_ms(), end);
    }
}

TEST(verdicts_on_a_partition_that_moved_are_fenced) {
    static const seg_verdict all[] = {SEG_ACK, SEG_RETRY, SEG_RELEASE, SEG_REJECT, SEG_EXTEND};
    bench b = set_up(2);
    seg_delivery gone[20], kept[20];
    size_t n_gone = 0, n_kept = 0;
    seg_error err;
    rig_spread(b.p, 2, 0, 40);
    rig_join join = {.group = "g", .drain_timeout = -1};
    seg_consumer *k = rig_consumer(b.c, "s", &join);
    rig_take(k, b.in, 40);
    seg_consumer *other = rig_consumer(b.c, "s", &join);
    move_one(k, other, b.in);
    uint32_t mine;
    CHECK_EQ(seg_consumer_assignment(k, &mine, 1), 1);
    for (size_t i = 0; i < 40; i++) {
        if (b.in->d[i].partition == mine) {
            kept[n_kept++] = b.in->d[i];
        } else {
            gone[n_gone++] = b.in->d[i];
        }
    }
    for (size_t i = 0; i < 5; i++) {
        CHECK_STATUS(seg_settle(k, &gone[i], 1, all[i], NULL, &err), SEG_EFENCED, &err);
        CHECK_CONTAINS(err.text, "no longer owned");
        /* The others of the call are settled. */
        seg_delivery both[] = {kept[2 * i], gone[i], kept[2 * i + 1]};
        CHECK_STATUS(seg_settle(k, both, 3, all[i], NULL, &err), SEG_EFENCED, &err);
    }
    CHECK_EQ(rig_stats(k).acked, 2);
    CHECK_EQ(rig_stats(k).retried, 2);
    CHECK_EQ(rig_stats(k).rejected, 2);
    /* The new owner has all of it, each failed once. */
    b.in->n = 0;
    rig_take(other, b.in, 20);
    for (size_t i = 0; i < 20; i++) {
        CHECK_NE(b.in->d[i].partition, mine);
        CHECK_EQ(b.in->d[i].attempt, 2);
    }
    seg_consumer_close(other);
    seg_consumer_close(k);
    tear_down(&b);
}

static seg_consumer *draining; /* NULL: it closes, and nothing is drained any more */

/* The usual thing to do: what is not begun is given back at once, so that nobody waits for it. */
static void give_back(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    const rig_inbox *in = arg;
    for (size_t i = 0; i < in->n && what == SEG_REVOKED && draining != NULL; i++) {
        if (n == 1 && in->d[i].partition == partitions[0]) {
            static const seg_verdict verdicts[] = {SEG_RELEASE, SEG_RETRY, SEG_REJECT, SEG_ACK};
            rig_settle_as(draining, &in->d[i], verdicts[in->d[i].id.offset % 4], 60000, NULL);
        }
    }
}

/* All verdicts count while a partition is drained, and when all are given it goes at once. */
TEST(verdicts_count_while_a_partition_is_drained) {
    bench b = set_up(2);
    rig_inbox *got = calloc(1, sizeof *got);
    CHECK(got != NULL);
    rig_spread(b.p, 2, 0, 40);
    rig_join join = {.group = "g", .drain_timeout = 60000, .on_rebalance = give_back, .arg = b.in};
    seg_consumer *k = draining = rig_consumer(b.c, "s", &join);
    rig_take(k, b.in, 40);
    seg_consumer *other = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    int64_t end = test_now_ms() + RIG_MS;
    while (got->n < 10) { /* the released ones and the retries */
        CHECK_EQ(rig_poll(k, b.in, 10, 5), 0);
        rig_poll(other, got, 10, 5);
        CHECK_LT(test_now_ms(), end);
    }
    for (size_t i = 0; i < 10; i++) {
        CHECK_EQ(got->d[i].id.offset % 4, i % 2);
        CHECK_EQ(got->d[i].attempt, i % 2 == 0 ? 1 : 2);
    }
    rig_ack(other, got->d, 10);
    rig_commit(other);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 20);
    wait_letters(&b, 5);
    CHECK_EQ(rig_poll(other, got, 10, 100), 0);
    draining = NULL;
    seg_consumer_close(other);
    seg_consumer_close(k);
    free(got);
    tear_down(&b);
}

TEST(verdicts_after_the_ack_timeout_count_where_they_are_final) {
    bench b = set_up(1);
    seg_error err;
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 5);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 300});
    rig_take(k, b.in, 5);
    rig_settle_as(k, &b.in->d[4], SEG_EXTEND, 60000, NULL);
    rig_take(k, b.in, 9); /* 0 .. 3 have come again */
    for (size_t i = 5; i < 9; i++) {
        CHECK_EQ(b.in->d[i].attempt, 2);
        rig_settle_as(k, &b.in->d[i], SEG_EXTEND, 60000, NULL);
    }
    CHECK_STATUS(rig_verdict(k, &b.in->d[0], SEG_RETRY, 0, NULL), SEG_EFENCED, NULL);
    CHECK_STATUS(rig_verdict(k, &b.in->d[0], SEG_EXTEND, 0, NULL), SEG_EFENCED, NULL);
    CHECK_STATUS(seg_settle(k, &b.in->d[0], 1, SEG_RELEASE, NULL, &err), SEG_EFENCED, &err);
    CHECK_CONTAINS(err.text, "ack timeout");
    rig_ack(k, &b.in->d[0], 1); /* the first attempt was good after all */
    CHECK_STATUS(rig_verdict(k, &b.in->d[5], SEG_RETRY, 0, NULL), SEG_EFENCED, NULL);
    rig_ack(k, &b.in->d[5], 4);
    rig_ack(k, &b.in->d[4], 1);
    rig_commit(k);
    CHECK_EQ(rig_stats(k).acked, 5);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_poll(k, b.in, 10, 400), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(the_first_verdict_counts_unless_a_later_one_is_final) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 6);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 6);
    const seg_delivery *d = b.in->d;
    static const seg_verdict open[] = {SEG_RETRY, SEG_RELEASE, SEG_EXTEND};
    rig_settle_as(k, &d[0], SEG_RETRY, 60000, NULL);
    rig_settle_as(k, &d[1], SEG_RETRY, 60000, NULL);
    rig_settle_as(k, &d[2], SEG_REJECT, 0, NULL);
    rig_ack(k, &d[3], 1);
    for (size_t i = 0; i < 3; i++) {
        for (size_t n = 0; n < 4; n++) {
            CHECK_STATUS(rig_verdict(k, &d[n], open[i], 0, NULL), SEG_EFENCED, NULL);
        }
    }
    rig_ack(k, &d[0], 1); /* takes back the retry */
    rig_ack(k, &d[0], 1);
    rig_settle_as(k, &d[1], SEG_REJECT, 0, "after all"); /* as well */
    rig_settle_as(k, &d[1], SEG_REJECT, 0, "again");
    rig_settle_as(k, &d[3], SEG_REJECT, 0, "it is done");
    rig_ack(k, &d[4], 2);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_stats(k).parked, 0);
    wait_letters(&b, 2);
    CHECK_STR(letter_of(&b, 2, 1)->error, "after all");
    CHECK_STR(letter_of(&b, 2, 2)->error, "");
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(what_makes_no_sense_is_refused) {
    bench b = set_up(1);
    seg_error err;
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 2);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_in_flight = 1});
    rig_take(k, b.in, 1);
    seg_delivery d = b.in->d[0], wrong[5];
    for (size_t i = 0; i < 5; i++) {
        wrong[i] = d;
    }
    wrong[0].id.offset = 1;
    wrong[1].id.offset = UINT64_MAX;
    wrong[2].partition = 77;
    wrong[3].id.era = 9;
    wrong[4].epoch = 0;
    for (size_t i = 0; i < 5; i++) {
        for (int v = SEG_ACK; v < SEG_DEFER; v++) {
            CHECK_STATUS(seg_settle(k, &wrong[i], 1, (seg_verdict)v, NULL, &err), SEG_EINVAL, &err);
        }
    }
    CHECK_STATUS(rig_verdict(k, &d, SEG_DEFER, 0, NULL), SEG_EINVAL, NULL);
    CHECK_STATUS(rig_verdict(k, &d, (seg_verdict)0, 0, NULL), SEG_EINVAL, NULL);
    CHECK_STATUS(rig_verdict(k, &d, (seg_verdict)-1, 0, NULL), SEG_EINVAL, NULL);
    CHECK_STATUS(rig_verdict(k, &d, (seg_verdict)99, 0, NULL), SEG_EINVAL, NULL);
    CHECK_STATUS(seg_settle(NULL, &d, 1, SEG_ACK, NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_settle(k, NULL, 1, SEG_ACK, NULL, &err), SEG_EINVAL, &err);
    CHECK_OK(seg_settle(k, NULL, 0, SEG_RETRY, NULL, &err), &err);
    rig_ack(k, &d, 1); /* none of it has done anything */
    rig_commit(k);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 1);
    seg_consumer_close(k);
    tear_down(&b);
}

/* After a crash, what may have been its reason is delivered alone. That must not lose, reorder or
 * stop anything, however much it is and whatever happens meanwhile. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rig.h"

/* What its consumer had in its hands when it died. */
typedef struct plan {
    uint32_t partitions, partition;
    unsigned n; /* messages, each in an entry of its own */
    size_t bytes;
    const char *key; /* default: one of the partition */
    uint32_t max_attempts;
    const char *last_key; /* of the last ones */
    unsigned last;
    unsigned released_from, released_to; /* given back, and not taken again */
    unsigned acked_from, acked_to;       /* settled, and that is stored, as all before it */
    bool retry_last;                     /* the last one has failed once before */
    seg_ordering ordering;
} plan;

typedef struct bench {
    plan pl;
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
} bench;

static rig_join member(const plan *pl) {
    return (rig_join){.group = "g",
                      .instance = "i",
                      .session_timeout = 60000,
                      .max_attempts = pl->max_attempts,
                      .ordering = pl->ordering};
}

static void take_and_die(void *arg) {
    bench *b = arg;
    const plan *pl = &b->pl;
    rig_join j = member(pl);
    seg_client *c = rig_client(b->s);
    seg_consumer *k = rig_consumer(c, "s", &j);
    rig_take(k, b->in, pl->n);
    for (unsigned i = pl->released_from; i < pl->released_to; i++) {
        rig_settle_as(k, &b->in->d[i], SEG_RELEASE, 0, NULL);
    }
    if (pl->acked_to > pl->acked_from) {
        rig_ack(k, &b->in->d[pl->acked_from], pl->acked_to - pl->acked_from);
        rig_commit(k);
    }
    if (pl->retry_last) {
        rig_settle_as(k, &b->in->d[pl->n - 1], SEG_RETRY, -1, NULL);
        rig_take(k, b->in, pl->n + 1);
        CHECK_EQ(b->in->number[pl->n], pl->n - 1);
    }
    _exit(7);
}

/* A group whose only consumer has just died. */
static bench crashed(plan pl) {
    char key[24];
    bench b = {.pl = pl, .s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    CHECK(b.in != NULL);
    seg_client *c = rig_client(b.s);
    rig_stream(c, "s", pl.partitions);
    seg_producer *p = rig_producer(c, "s");
    rig_key(key, pl.partition, pl.partitions);
    for (unsigned i = 0; i < pl.n; i++) {
        const char *first = pl.key ? pl.key : key;
        rig_queue(p, i + pl.last < pl.n ? first : pl.last_key, i, pl.bytes);
        rig_flush(p);
    }
    seg_producer_close(p);
    seg_client_close(c);
    CHECK_EQ(rig_wait(rig_fork(take_and_die, &b)), 7);
    b.c = rig_client(b.s);
    b.p = rig_producer(b.c, "s");
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

static bool readable(int fd, int wait) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, wait) == 1;
}

/* Take `n` messages one by one, each alone, and settle them. */
static void take_singly(bench *b, seg_consumer *k, size_t n) {
    int64_t end = test_now_ms() + RIG_MS;
    while (b->in->n < n) {
        size_t at = b->in->n;
        if (rig_poll(k, b->in, 100, 200) > 0) {
            CHECK_EQ(b->in->n, at + 1);
            rig_ack(k, &b->in->d[at], 1);
        } else if (test_now_ms() > end) {
            FAIL("%zu of %zu messages after %d ms", b->in->n, n, RIG_MS);
        }
    }
}

/* ---- However much it is --------------------------------------------------------------------- */

/* More than may be fetched ahead. */
TEST(suspects_past_what_may_be_fetched_ahead_come_too) {
    bench b = crashed((plan){.partitions = 1, .n = 200, .bytes = 1024, .max_attempts = 3});
    rig_join j = member(&b.pl);
    j.max_prefetch = 65536;
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    take_singly(&b, k, 200);
    rig_check_run(b.in, 0, 200, 0);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 0);
    CHECK_EQ(rig_stats(k).prefetched_bytes, 0); /* the room is there for others again */
    seg_consumer_close(k);
    tear_down(&b);
}

/* The first has not failed often enough to be one, and the others are far behind it, with nothing
 * to deliver between. */
TEST(suspects_far_behind_what_is_settled_come_too) {
    bench b = crashed((plan){.partitions = 1,
                             .n = 200,
                             .bytes = 1024,
                             .max_attempts = 3,
                             .acked_from = 1,
                             .acked_to = 195});
    rig_join j = member(&b.pl);
    j.max_prefetch = 65536;
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    take_singly(&b, k, 6);
    CHECK_EQ(b.in->number[0], 0);
    rig_check_run(b.in, 1, 5, 195);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The new owner may have fewer in flight: what is past that is not read only to find out. */
TEST(suspects_past_a_smaller_window_take_their_turn) {
    bench b = crashed((plan){.partitions = 1, .n = 400, .bytes = 1024, .max_attempts = 3});
    rig_join j = member(&b.pl);
    j.max_prefetch = 65536;
    j.max_in_flight = 64;
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    size_t acked = 0, most = 0;
    int64_t end = test_now_ms() + RIG_MS;
    while (acked < 400) {
        rig_poll(k, b.in, 100, 100);
        size_t now = rig_stats(k).prefetched_bytes;
        most = now > most ? now : most;
        rig_ack(k, b.in->d + acked, b.in->n - acked);
        acked = b.in->n;
        CHECK_LT(test_now_ms(), end);
    }
    rig_check_run(b.in, 0, 400, 0);
    CHECK_LE(most, 2 * 65536);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Order ---------------------------------------------------------------------------------- */

/* The second of a key has failed more often than the first: still the first comes first. */
static void keeps_order(seg_ordering ordering) {
    bench b = crashed((plan){.partitions = 1,
                             .n = 2,
                             .key = "k",
                             .max_attempts = 4,
                             .retry_last = true,
                             .ordering = ordering});
    rig_join j = member(&b.pl);
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    take_singly(&b, k, 2);
    rig_check_run(b.in, 0, 2, 0);
    CHECK_EQ(b.in->d[0].attempt, 2);
    CHECK_EQ(b.in->d[1].attempt, 3);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(the_order_of_a_key_is_kept) {
    keeps_order(SEG_BY_KEY);
}

TEST(the_order_of_a_partition_is_kept) {
    keeps_order(SEG_BY_PARTITION);
}

/* It died while it gave back what it had of a key: those have not failed, but come before the ones
 * that it still had. */
TEST(what_was_given_back_comes_before_later_suspects_of_its_key) {
    bench b = crashed((plan){.partitions = 1,
                             .n = 5,
                             .key = "k",
                             .last_key = "other",
                             .last = 1,
                             .max_attempts = 3,
                             .released_from = 0,
                             .released_to = 3,
                             .acked_from = 4,
                             .acked_to = 5});
    rig_join j = member(&b.pl);
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    int64_t end = test_now_ms() + RIG_MS;
    for (size_t from = 0; b.in->n < 4; from = b.in->n) {
        rig_poll(k, b.in, 100, 200);
        rig_ack(k, b.in->d + from, b.in->n - from);
        CHECK_LT(test_now_ms(), end);
    }
    rig_check_run(b.in, 0, 4, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* A suspect fails, and waits for its retry: the next of its key, a suspect too, waits behind it,
 * and one of another key does not. */
TEST(suspects_wait_for_the_retry_of_their_key) {
    bench b = crashed((plan){.partitions = 1, .n = 3, .key = "k", .max_attempts = 3});
    rig_join j = member(&b.pl);
    rig_queue(b.p, "other", 3, 0);
    rig_flush(b.p);
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    rig_take(k, b.in, 1);
    CHECK_EQ(b.in->number[0], 0);
    int64_t start = test_now_ms();
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 500, NULL);
    rig_take(k, b.in, 2);
    CHECK_EQ(b.in->number[1], 3);
    rig_ack(k, &b.in->d[1], 1);
    for (unsigned i = 0; i < 3; i++) {
        while (b.in->n < 3 + i) {
            rig_poll(k, b.in, 1, 1000);
        }
        CHECK_GE(test_now_ms() - start, 500);
        CHECK_EQ(b.in->number[2 + i], i);
        CHECK_EQ(b.in->d[2 + i].attempt, i == 0 ? 3 : 2);
        rig_ack(k, &b.in->d[2 + i], 1);
    }
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Beside other partitions ---------------------------------------------------------------- */

/* A message of the other partition is in hand, and the suspect, in partition 0, may come. */
static seg_consumer *hold_another(bench *b, rig_join j) {
    seg_consumer *k = rig_consumer(b->c, "s", &j);
    CHECK_OK(seg_consumer_pause(k, 0, true, NULL), NULL);
    rig_put(b->p, (rig_run){.partition = 1, .partitions = 2, .first = 100, .count = 1});
    rig_take(k, b->in, 1);
    CHECK_EQ(b->in->d[0].partition, 1);
    CHECK_OK(seg_consumer_pause(k, 0, false, NULL), NULL);
    return k;
}

/* It waits until nothing else is in hand. */
TEST(a_suspect_waits_for_what_is_in_hand) {
    bench b = crashed((plan){.partitions = 2, .n = 2, .max_attempts = 3});
    rig_join j = member(&b.pl);
    seg_consumer *k = hold_another(&b, j);
    CHECK_EQ(rig_poll(k, b.in, 10, 700), 0);
    rig_ack(k, &b.in->d[0], 1);
    take_singly(&b, k, 3);
    CHECK_EQ(b.in->number[1], 0);
    CHECK_EQ(b.in->number[2], 1);
    seg_consumer_close(k);
    tear_down(&b);
}

/* But not longer than the drain timeout, which is noticed in time. */
TEST(waiting_for_what_is_in_hand_is_given_up_in_time) {
    bench b = crashed((plan){.partitions = 2, .n = 2, .max_attempts = 3});
    rig_join j = member(&b.pl);
    j.drain_timeout = 500;
    j.ack_timeout = SEG_FOREVER;
    seg_consumer *k = hold_another(&b, j);
    int64_t start = test_now_ms();
    CHECK_GT(rig_poll(k, b.in, 10, 20000), 0);
    CHECK_GE(test_now_ms() - start, 400);
    CHECK_LT(test_now_ms() - start, 3000);
    rig_take(k, b.in, 3);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The same for who waits at the descriptor. */
TEST(the_descriptor_tells_when_waiting_is_given_up) {
    bench b = crashed((plan){.partitions = 2, .n = 2, .max_attempts = 3});
    rig_join j = member(&b.pl);
    j.drain_timeout = 500;
    j.ack_timeout = SEG_FOREVER;
    seg_consumer *k = hold_another(&b, j);
    int fd = seg_consumer_fd(k);
    int64_t start = test_now_ms();
    while (b.in->n < 3) {
        CHECK(readable(fd, 20000));
        rig_poll(k, b.in, 1, 0);
    }
    CHECK_LT(test_now_ms() - start, 3000);
    seg_consumer_close(k);
    tear_down(&b);
}

/* A suspect is being announced, its partition stands still for a moment, and something else is
 * delivered meanwhile: waiting for that is given up at once, and everything comes. */
static void stands_still(int64_t drain_timeout) {
    bench b = crashed((plan){.partitions = 2, .n = 2, .max_attempts = 3});
    rig_join j = member(&b.pl);
    j.drain_timeout = drain_timeout;
    j.ack_timeout = SEG_FOREVER;
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    WAIT_FOR(RIG_MS, rig_stats(k).prefetched_bytes > 0);
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 0); /* now it is marked, and comes with the next look */
    CHECK_OK(seg_consumer_pause(k, 0, true, NULL), NULL);
    rig_put(b.p, (rig_run){.partition = 1, .partitions = 2, .first = 100, .count = 1});
    rig_take(k, b.in, 1);
    CHECK_EQ(b.in->d[0].partition, 1);
    CHECK_OK(seg_consumer_pause(k, 0, false, NULL), NULL);
    rig_take(k, b.in, 3);
    rig_ack(k, b.in->d, 3);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST_DEADLINE(a_partition_that_stands_still_does_not_hang_the_consumer, 30) {
    stands_still(-1);
}

TEST_DEADLINE(a_partition_that_stands_still_is_given_up_after_the_drain_timeout, 30) {
    stands_still(300);
}

/* ---- Verdicts, and no memory ---------------------------------------------------------------- */

/* One suspect, in `partition` of two, is in hand; another member gets one of both. Returns false
 * where that is the other one. */
static bool reject_while_revoked(uint32_t partition) {
    bench b = crashed((plan){.partitions = 2, .partition = partition, .n = 1, .max_attempts = 3});
    static rig_letter letter;
    uint32_t left = 0;
    rig_join j = member(&b.pl);
    j.drain_timeout = 20000;
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    rig_take(k, b.in, 1);
    CHECK_EQ(b.in->d[0].attempt, 2);
    seg_consumer *other = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    WAIT_FOR(RIG_MS, seg_consumer_assignment(k, &left, 1) == 1);
    if (left == partition) {
        seg_consumer_close(other);
        seg_consumer_close(k);
        tear_down(&b);
        return false;
    }
    rig_settle_as(k, &b.in->d[0], SEG_REJECT, 0, "bad");
    WAIT_FOR(RIG_MS, seg_consumer_assignment(other, NULL, 0) == 1); /* not only after 20 s */
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_letters(b.c, "s", "g", &letter, 1), 1);
    CHECK_STR(letter.error, "bad");
    CHECK_EQ(rig_stats(k).dead_lettered, 1);
    seg_consumer_close(other);
    seg_consumer_close(k);
    tear_down(&b);
    return true;
}

/* A suspect in hand can be settled as any other while its partition is handed over. */
TEST(verdicts_on_a_suspect_count_while_its_partition_is_drained) {
    CHECK(reject_while_revoked(0) || reject_while_revoked(1));
}

/* The first suspect is announced and ready, and the n-th allocation for handing it out fails: it
 * comes later. Returns whether that was refused. */
static bool without_memory(uint64_t n) {
    bench b = crashed((plan){.partitions = 1, .n = 2, .max_attempts = 3});
    rig_join j = member(&b.pl);
    seg_consumer *k = rig_consumer(b.c, "s", &j);
    int fd = seg_consumer_fd(k);
    seg_batch *batch = NULL;
    seg_error err;
    WAIT_FOR(RIG_MS, rig_stats(k).prefetched_bytes > 0);
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 0); /* marks it */
    CHECK(readable(fd, RIG_MS));
    sg_alloc_fail_at(n, 0);
    seg_status s = seg_consumer_poll(&batch, k, 1, 0, &err);
    sg_alloc_fail_at(0, 0);
    if (s == SEG_OK) {
        b.in->n = seg_batch_count(batch);
        CHECK_OK(seg_ack_batch(k, batch, &err), &err);
        seg_batch_free(batch);
    } else {
        CHECK_STATUS(s, SEG_ENOMEM, &err);
    }
    take_singly(&b, k, 2);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
    return s != SEG_OK;
}

TEST(suspects_are_not_lost_without_memory) {
    unsigned refused = 0;
    for (uint64_t n = 1; n <= 6; n++) {
        refused += without_memory(n);
    }
    CHECK_GE(refused, 2);
}

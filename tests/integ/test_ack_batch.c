/* A batch is acknowledged as its messages are one by one, in whatever state each of them is: in hand,
 * settled before, delivered again, on its way to the dead letters, waiting for its outputs, or of a
 * partition that has moved. */
#include "letters_rig.h"

enum { BATCHES = 64, SHORT_MS = 300 };

typedef struct batches {
    seg_batch *all[BATCHES];
    size_t n, messages;
} batches;

/* Poll until `want` messages are there, in whatever batches. */
static void take(seg_consumer *k, batches *out, size_t want, size_t max) {
    int64_t end = test_now_ms() + RIG_MS;
    seg_error err;
    *out = (batches){.n = 0};
    while (out->messages < want) {
        seg_batch *b = NULL;
        CHECK_OK(seg_consumer_poll(&b, k, max, 1000, &err), &err);
        CHECK_LT(test_now_ms(), end);
        if (seg_batch_count(b) == 0) {
            seg_batch_free(b);
            continue;
        }
        CHECK_LT(out->n, BATCHES);
        out->all[out->n++] = b;
        out->messages += seg_batch_count(b);
    }
    CHECK_EQ(out->messages, want);
}

static void batches_free(batches *b) {
    for (size_t i = 0; i < b->n; i++) {
        seg_batch_free(b->all[i]);
    }
    b->n = 0;
}

static seg_delivery delivery_at(const batches *b, size_t i) {
    size_t k = 0;
    for (; i >= seg_batch_count(b->all[k]); k++) {
        i -= seg_batch_count(b->all[k]);
    }
    return seg_message_delivery(seg_batch_at(b->all[k], i));
}

static void ack_all(seg_consumer *k, const batches *b) {
    seg_error err;
    for (size_t i = 0; i < b->n; i++) {
        CHECK_OK(seg_ack_batch(k, b->all[i], &err), &err);
    }
}

static void expect_done(bench *b, seg_consumer *k, uint64_t acked) {
    rig_commit(k);
    CHECK_EQ(rig_lag(b->c, "s", "g"), 0);
    CHECK_EQ(rig_stats(k).acked, acked);
    CHECK_EQ(rig_stats(k).parked, 0);
}

/* ---- All of it in hand ---------------------------------------------------------------------- */

/* In batches that end anywhere, each partition's runs between those of others. */
TEST(messages_of_many_partitions) {
    enum { N = 600 };
    bench b = set_up(5);
    batches got;
    for (unsigned i = 0; i < N; i += 100) {
        rig_spread(b.p, 5, i, 100);
    }
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    take(k, &got, N, 37);
    for (size_t i = got.n; i-- > 0;) { /* the last first: nothing can be committed until the end */
        CHECK_OK(seg_ack_batch(k, got.all[i], NULL), NULL);
    }
    expect_done(&b, k, N);
    ack_all(k, &got); /* no error, and nothing new */
    expect_done(&b, k, N);
    batches_free(&got);
    seg_consumer_close(k);
    tear_down(&b);
}

static void put_and_wait(bench *b, seg_consumer *k, uint32_t partition, unsigned count) {
    uint64_t before = rig_stats(k).prefetched_bytes;
    rig_put(b->p, (rig_run){.partition = partition, .partitions = 2, .count = count});
    WAIT_FOR(RIG_MS, rig_stats(k).prefetched_bytes > before);
}

/* One round: 10 more of partition 1 are done, and a batch has 10 of each. True: those of partition 0 came
 * first, so that the offsets of the others go on where theirs end. */
static bool look_like_a_run(bench *b, seg_consumer *k, uint64_t base) {
    batches got, later;
    put_and_wait(b, k, 1, 10);
    take(k, &got, 10, 10);
    ack_all(k, &got);
    rig_commit(k);
    batches_free(&got);
    put_and_wait(b, k, 0, 10);
    put_and_wait(b, k, 1, 10);
    take(k, &got, 20, 20);
    CHECK_EQ(got.n, 1);
    put_and_wait(b, k, 0, 10); /* in hand too, at the offsets of the others */
    take(k, &later, 10, 10);
    ack_all(k, &got);
    rig_commit(k);
    CHECK_EQ(rig_cursor(b->c, "s", "g", 0).committed, base + 10);
    CHECK_EQ(rig_cursor(b->c, "s", "g", 1).committed, base + 20);
    ack_all(k, &later);
    expect_done(b, k, 2 * (base + 20));
    bool in_order = delivery_at(&got, 0).partition == 0;
    batches_free(&got);
    batches_free(&later);
    return in_order;
}

TEST(offsets_that_only_look_like_a_run) {
    bench b = set_up(2);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(k, 2);
    uint64_t base = 0;
    while (!look_like_a_run(&b, k, base)) {
        base += 20;
    }
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(nothing_to_acknowledge) {
    bench b = set_up(1);
    seg_batch *none = NULL;
    seg_error err;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    CHECK_OK(seg_consumer_poll(&none, k, 10, 0, &err), &err);
    CHECK_EQ(seg_batch_count(none), 0);
    CHECK_OK(seg_ack_batch(k, none, &err), &err);
    CHECK_STATUS(seg_ack_batch(NULL, none, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "the consumer is NULL");
    CHECK_STATUS(seg_ack_batch(k, NULL, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "the batch is NULL");
    seg_batch_free(none);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Some of it settled before -------------------------------------------------------------- */

TEST(some_were_acknowledged_retried_or_released) {
    enum { N = 300 };
    bench b = set_up(3);
    batches got;
    rig_spread(b.p, 3, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ordering = SEG_UNORDERED});
    take(k, &got, N, 1000);
    for (size_t i = 0; i < N; i++) {
        seg_delivery d = delivery_at(&got, i);
        if (i % 7 == 0) {
            rig_ack(k, &d, 1);
        } else if (i % 11 == 0) {
            rig_settle_as(k, &d, SEG_RETRY, 60000, "a reason that is kept");
        } else if (i % 13 == 0) {
            rig_settle_as(k, &d, SEG_RETRY, 60000, NULL);
        } else if (i % 17 == 0) {
            rig_settle_as(k, &d, SEG_RELEASE, 0, NULL);
        }
    }
    ack_all(k, &got); /* takes back what waits */
    expect_done(&b, k, N);
    CHECK_EQ(rig_poll(k, b.in, 10, SHORT_MS), 0);
    batches_free(&got);
    seg_consumer_close(k);
    tear_down(&b);
}

/* What has failed before is in hand again, and is noted as such. */
TEST(messages_that_were_delivered_again) {
    enum { N = 60 };
    bench b = set_up(2);
    batches first, second;
    seg_settlement at_once;
    SEG_INIT(&at_once);
    at_once.delay = -1;
    at_once.reason = "not yet";
    rig_spread(b.p, 2, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    take(k, &first, N, 1000);
    for (size_t i = 0; i < N; i++) {
        seg_delivery d = delivery_at(&first, i);
        CHECK_OK(seg_settle(k, &d, 1, SEG_RETRY, &at_once, NULL), NULL);
    }
    take(k, &second, N, 1000);
    for (size_t i = 0; i < N; i++) {
        CHECK_EQ(delivery_at(&second, i).attempt, 2);
    }
    /* Half by the batches of the first attempt, late; all by those of the second. */
    for (size_t i = 0; i < first.n; i += 2) {
        CHECK_OK(seg_ack_batch(k, first.all[i], NULL), NULL);
    }
    ack_all(k, &second);
    expect_done(&b, k, N);
    ack_all(k, &first);
    expect_done(&b, k, N);
    batches_free(&first);
    batches_free(&second);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(messages_whose_ack_timeout_ran_out) {
    enum { N = 20 };
    bench b = set_up(1);
    batches first, second;
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 300});
    take(k, &first, N, N);
    seg_delivery kept = delivery_at(&first, 9);
    rig_settle_as(k, &kept, SEG_EXTEND, 60000, NULL);
    take(k, &second, N - 1, N);
    ack_all(k, &first); /* late, and final: the second attempt is settled with it */
    ack_all(k, &second);
    expect_done(&b, k, N);
    CHECK_EQ(rig_poll(k, b.in, 10, 2 * SHORT_MS), 0);
    batches_free(&first);
    batches_free(&second);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Some of it refused --------------------------------------------------------------------- */

/* What was rejected is on its way to the dead letters, or there. The others count. */
TEST(messages_that_were_rejected) {
    bench b = set_up(1);
    batches got;
    seg_error err = {.status = SEG_OK};
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 10);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    take(k, &got, 10, 10);
    CHECK_EQ(got.n, 1);
    seg_delivery d = delivery_at(&got, 4);
    server_pause(b.s); /* so that the letter is not stored yet */
    rig_settle_as(k, &d, SEG_REJECT, 0, "no good");
    CHECK_STATUS(seg_ack_batch(k, got.all[0], &err), SEG_EFENCED, &err);
    CHECK_CONTAINS(err.text, "offset 4 is not in hand any more");
    CHECK_EQ(rig_stats(k).acked, 9);
    server_resume(b.s);
    wait_letters(&b, 1);
    CHECK_EQ(b.letters[0].number, 4);
    rig_commit(k);
    CHECK_OK(seg_ack_batch(k, got.all[0], &err), &err); /* settled: no error any more */
    expect_done(&b, k, 9);
    batches_free(&got);
    seg_consumer_close(k);
    tear_down(&b);
}

/* One waits for its output, those around it do not. */
TEST(a_message_whose_output_is_under_way) {
    bench b = set_up(1);
    batches got;
    seg_error err;
    seg_record r;
    rig_stream(b.c, "out", 1);
    seg_producer *out = rig_producer(b.c, "out");
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 10);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    take(k, &got, 10, 10);
    seg_delivery d = delivery_at(&got, 6);
    SEG_INIT(&r);
    r.value = (seg_bytes){"6", 1};
    CHECK_OK(seg_forward(k, &d, out, &r, &err), &err);
    ack_all(k, &got);
    CHECK_EQ(rig_stats(k).acked, 9);
    CHECK_STATUS(seg_consumer_commit(k, SHORT_MS, NULL), SEG_ETIMEDOUT, NULL);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 6);
    rig_flush(out);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_messages(b.c, "out"), 1);
    batches_free(&got);
    seg_producer_close(out);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Of a partition that has moved ---------------------------------------------------------- */

static size_t count_of(const seg_batch *b, uint32_t partition) {
    size_t n = 0;
    for (size_t i = 0; i < seg_batch_count(b); i++) {
        n += seg_message_delivery(seg_batch_at(b, i)).partition == partition;
    }
    return n;
}

static void wait_moved(seg_consumer *from, seg_consumer *to, rig_inbox *in) {
    int64_t end = test_now_ms() + RIG_MS;
    while (seg_consumer_assignment(from, NULL, 0) != 1 ||
           seg_consumer_assignment(to, NULL, 0) != 1) {
        rig_poll(from, in, 100, 5);
        CHECK_LT(test_now_ms(), end);
    }
    CHECK_EQ(in->n, 0);
}

TEST(messages_of_a_partition_that_moved) {
    enum { N = 40 };
    bench b = set_up(2);
    batches got;
    seg_error err;
    size_t kept = 0, mixed = 0;
    uint32_t mine;
    char expected[80];
    rig_join join = {.group = "g", .drain_timeout = -1};
    seg_consumer *k = rig_consumer(b.c, "s", &join);
    rig_settle(k, 2);
    put_and_wait(&b, k, 0, N / 2); /* both are there before the first poll: batches mix them */
    put_and_wait(&b, k, 1, N / 2);
    take(k, &got, N, 7);
    seg_consumer *other = rig_consumer(b.c, "s", &join);
    wait_moved(k, other, b.in);
    CHECK_EQ(seg_consumer_assignment(k, &mine, 1), 1);
    for (size_t i = 0; i < got.n; i++) {
        size_t here = count_of(got.all[i], mine), gone = seg_batch_count(got.all[i]) - here;
        err = (seg_error){.status = SEG_OK};
        CHECK_STATUS(seg_ack_batch(k, got.all[i], &err), gone > 0 ? SEG_EFENCED : SEG_OK, &err);
        if (gone > 0) {
            snprintf(expected, sizeof expected, "%zu messages will be delivered again", gone);
            CHECK_CONTAINS(err.text, expected);
            CHECK_CONTAINS(err.text, "no longer owned");
        }
        kept += here;
        mixed += here > 0 && gone > 0;
    }
    CHECK_GT(mixed, 0);
    CHECK_EQ(kept, N / 2);
    CHECK_EQ(rig_stats(k).acked, N / 2);
    rig_commit(k);
    CHECK_EQ(rig_cursor(b.c, "s", "g", mine).committed, N / 2);
    rig_take(other, b.in, N / 2); /* all that was refused, each failed once */
    for (size_t i = 0; i < N / 2; i++) {
        CHECK_NE(b.in->d[i].partition, mine);
        CHECK_EQ(b.in->d[i].attempt, 2);
    }
    batches_free(&got);
    seg_consumer_close(other);
    seg_consumer_close(k);
    tear_down(&b);
}

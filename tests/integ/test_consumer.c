/* One consumer: what poll returns and when, what acknowledging and committing answer, the bounds of
 * what it holds. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

/* A server, a client, the stream "s", a producer and an empty inbox. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
} bench;

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", partitions);
    b.p = rig_producer(b.c, "s");
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

static seg_consumer_stats stats_of(const seg_consumer *k) {
    seg_consumer_stats st;
    SEG_INIT(&st);
    seg_consumer_get_stats(k, &st);
    return st;
}

/* ---- Poll ----------------------------------------------------------------------------------- */

TEST(poll_returns_at_most_max) {
    bench b = set_up(3);
    rig_spread(b.p, 3, 0, 100);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    while (b.in->n < 100) {
        size_t max = b.in->n % 7 + 1; /* rig_poll checks it */
        rig_poll(k, b.in, max, 1000);
    }
    CHECK_EQ(b.in->n, 100);
    CHECK_EQ(stats_of(k).delivered, 100);
    unsigned at[3] = {0, 1, 2};
    for (size_t i = 0; i < 100; i++) { /* each partition in order */
        uint32_t p = b.in->d[i].partition;
        CHECK_EQ(b.in->number[i], at[p]);
        at[p] += 3;
    }
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(poll_without_a_wait_does_not_block_and_with_one_keeps_it) {
    bench b = set_up(1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(k, 1);
    int64_t start = test_now_ms();
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(rig_poll(k, b.in, 10, 0), 0);
    }
    CHECK_LT(test_now_ms() - start, 5000);
    start = test_now_ms();
    CHECK_EQ(rig_poll(k, b.in, 10, 150), 0);
    CHECK_GE(test_now_ms() - start, 150);
    seg_consumer_close(k);
    tear_down(&b);
}

typedef struct poller {
    seg_consumer *k;
    rig_inbox *in;
    pthread_t thread;
    seg_status status;
    seg_error err;
} poller;

/* Polls once, for ever. */
static void *poll_for_ever(void *arg) {
    poller *p = arg;
    seg_batch *b = NULL;
    p->status = seg_consumer_poll(&b, p->k, 100, SEG_FOREVER, &p->err);
    if (p->status == SEG_OK) {
        p->in->n = seg_batch_count(b);
        seg_batch_free(b);
    }
    return NULL;
}

static void start_poller(poller *p, seg_consumer *k, rig_inbox *in) {
    *p = (poller){.k = k, .in = in};
    CHECK_EQ(pthread_create(&p->thread, NULL, poll_for_ever, p), 0);
}

/* Is another thread inside of poll? Then ours is refused at once. */
static bool is_polled(seg_consumer *k) {
    seg_batch *b = NULL;
    seg_status s = seg_consumer_poll(&b, k, 1, 0, NULL);
    if (s == SEG_OK) {
        CHECK_EQ(seg_batch_count(b), 0);
        seg_batch_free(b);
    }
    return s == SEG_EBUSY;
}

TEST(poll_for_ever_ends_with_the_first_message) {
    bench b = set_up(1);
    poller p;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(k, 1);
    start_poller(&p, k, b.in);
    WAIT_FOR(RIG_MS, is_polled(k));
    rig_put(b.p, (rig_run){.partitions = 1, .count = 3});
    CHECK_EQ(pthread_join(p.thread, NULL), 0);
    CHECK_OK(p.status, &p.err);
    CHECK_EQ(b.in->n, 3);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(stop_ends_a_poll_on_another_thread) {
    bench b = set_up(1);
    poller p;
    seg_batch *none = NULL;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(k, 1);
    start_poller(&p, k, b.in);
    WAIT_FOR(RIG_MS, is_polled(k));
    seg_consumer_stop(k);
    CHECK_EQ(pthread_join(p.thread, NULL), 0);
    CHECK_STATUS(p.status, SEG_ECLOSED, &p.err);
    CHECK_STATUS(seg_consumer_poll(&none, k, 1, 0, &p.err), SEG_ECLOSED, &p.err);
    CHECK_PTR(none, NULL);
    seg_consumer_close(k);
    tear_down(&b);
}

static seg_consumer *to_stop;

static void on_alarm(int signal) {
    (void)signal;
    seg_consumer_stop(to_stop);
}

TEST(stop_ends_a_poll_from_a_signal_handler) {
    bench b = set_up(1);
    struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    poller p;
    to_stop = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(to_stop, 1);
    CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
    start_poller(&p, to_stop, b.in);
    WAIT_FOR(RIG_MS, is_polled(to_stop));
    CHECK_EQ(pthread_kill(p.thread, SIGUSR1), 0);
    CHECK_EQ(pthread_join(p.thread, NULL), 0);
    CHECK_STATUS(p.status, SEG_ECLOSED, &p.err);
    seg_consumer_close(to_stop);
    tear_down(&b);
}

/* What was delivered before a stop can still be acknowledged and committed. */
TEST(a_stopped_consumer_still_commits) {
    bench b = set_up(1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 4});
    rig_take(k, b.in, 4);
    seg_consumer_stop(k);
    rig_ack(k, b.in->d, 4);
    rig_commit(k);
    seg_consumer_close(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    tear_down(&b);
}

TEST(only_one_thread_polls_at_a_time) {
    bench b = set_up(1);
    seg_batch *batch = NULL;
    poller p;
    seg_error err;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(k, 1);
    start_poller(&p, k, b.in);
    WAIT_FOR(RIG_MS, is_polled(k));
    CHECK_STATUS(seg_consumer_poll(&batch, k, 1, SEG_FOREVER, &err), SEG_EBUSY, &err);
    CHECK_PTR(batch, NULL);
    CHECK(seg_consumer_active(k));
    CHECK_EQ(seg_consumer_assignment(k, NULL, 0), 1);
    seg_consumer_stop(k);
    CHECK_EQ(pthread_join(p.thread, NULL), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* What a callback may call. */
typedef struct nosy {
    seg_consumer *k;
    seg_delivery d;
    unsigned assigned, revoked;
} nosy;

static void on_nosy(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    nosy *y = arg;
    seg_batch *none = NULL;
    seg_error err;
    CHECK(partitions != NULL && n > 0);
    y->assigned += what == SEG_ASSIGNED ? (unsigned)n : 0;
    y->revoked += what == SEG_REVOKED ? (unsigned)n : 0;
    if (!y->k) {
        return;
    }
    CHECK_STATUS(seg_consumer_poll(&none, y->k, 1, 0, &err), SEG_EBUSY, &err);
    CHECK_STR(seg_consumer_member(y->k), "nosy");
    if (what == SEG_REVOKED) { /* the last moment to settle what is in hand */
        CHECK_EQ(partitions[0], y->d.partition);
        rig_ack(y->k, &y->d, 1);
        rig_commit(y->k);
    }
}

TEST(a_callback_may_acknowledge_and_commit_but_not_poll) {
    bench b = set_up(2);
    nosy y = {0};
    seg_consumer *k = rig_consumer(b.c, "s",
                                   &(rig_join){.group = "g",
                                               .name = "nosy",
                                               .session_timeout = 60000,
                                               .drain_timeout = 60000,
                                               .on_rebalance = on_nosy,
                                               .arg = &y});
    rig_spread(b.p, 2, 0, 2);
    rig_take(k, b.in, 2);
    CHECK_EQ(y.assigned, 2);
    y.k = k;
    /* Which of the two it gives away is known: the quota takes from the end. */
    y.d = b.in->d[b.in->d[0].partition == 1 ? 0 : 1];
    seg_consumer *other = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "other"});
    rig_settle(k, 1);
    CHECK_EQ(y.revoked, 1);
    rig_settle(other, 1);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).committed, 1);
    y.k = NULL;
    seg_consumer_close(other);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(bad_arguments_are_einval) {
    bench b = set_up(1);
    seg_consumer *k = NULL;
    seg_batch *batch = NULL;
    seg_error err;
    const rig_join bad[] = {{.group = NULL},
                            {.group = ""},
                            {.group = "a b"},
                            {.group = "g", .name = "a/b"},
                            {.group = "g", .session_timeout = 99},
                            {.group = "g", .session_timeout = 3600001},
                            {.group = "g", .ack_timeout = 9},
                            {.group = "g", .start = (seg_start)4},
                            {.group = "g", .max_prefetch = 65535},
                            {.group = "g", .max_in_flight = 65537}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(rig_try_consumer(&k, b.c, "s", &bad[i], &err), SEG_EINVAL, &err);
        CHECK_PTR(k, NULL);
    }
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    CHECK_STATUS(seg_consumer_poll(&batch, k, 0, 0, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_consumer_poll(&batch, k, 1000001, 0, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_consumer_poll(NULL, k, 1, 0, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_consumer_poll(&batch, NULL, 1, 0, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_ack(NULL, NULL, 0, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_ack(k, NULL, 1, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_ack_batch(k, NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_consumer_commit(NULL, 0, &err), SEG_EINVAL, &err);
    CHECK_OK(seg_ack(k, NULL, 0, &err), &err);
    CHECK_PTR(batch, NULL);
    seg_consumer_close(k);
    seg_consumer_close(NULL);
    seg_batch_free(NULL);
    tear_down(&b);
}

/* ---- Acknowledging -------------------------------------------------------------------------- */

TEST(acks_come_in_any_order_singly_and_together) {
    bench b = set_up(2);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_spread(b.p, 2, 0, 100);
    rig_take(k, b.in, 100);
    for (size_t i = 100; i-- > 60;) {
        rig_ack(k, b.in->d + i, 1);
    }
    rig_ack(k, b.in->d, 60);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 50);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).committed, 50);
    CHECK_EQ(stats_of(k).acked, 100);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(a_batch_is_acknowledged_as_one_and_outlives_its_consumer) {
    bench b = set_up(1);
    seg_batch *batch = NULL;
    seg_error err;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 20});
    while (seg_batch_count(batch) == 0) {
        seg_batch_free(batch);
        CHECK_OK(seg_consumer_poll(&batch, k, 20, RIG_MS, &err), &err);
    }
    CHECK_EQ(seg_batch_count(batch), 20);
    CHECK_OK(seg_ack_batch(k, batch, &err), &err);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    const seg_message *m = seg_batch_at(batch, 7);
    CHECK_MEM(seg_message_value(m).data, seg_message_value(m).len, "7", 1);
    CHECK_MEM(seg_message_key(m).data, 2, "k0", 2);
    CHECK_PTR(seg_batch_at(batch, 20), NULL);
    seg_batch_free(batch);
    tear_down(&b);
}

TEST(what_was_never_delivered_cannot_be_acknowledged) {
    bench b = set_up(1);
    seg_error err;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 4});
    while (b.in->n == 0) {
        rig_poll(k, b.in, 1, 1000);
    }
    seg_delivery d[3] = {b.in->d[0], b.in->d[0], b.in->d[0]};
    d[1].id.offset = 3; /* fetched, not delivered */
    CHECK_STATUS(seg_ack(k, d + 1, 1, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "offset 3");
    d[1].id.offset = 400;
    CHECK_STATUS(seg_ack(k, d + 1, 1, &err), SEG_EINVAL, &err);
    d[1] = d[0];
    d[1].partition = 1;
    CHECK_STATUS(seg_ack(k, d + 1, 1, &err), SEG_EINVAL, &err);
    d[1] = d[0];
    d[1].id.era = 2;
    CHECK_STATUS(seg_ack(k, d + 1, 1, &err), SEG_EINVAL, &err);
    CHECK_EQ(stats_of(k).acked, 0);
    /* The good ones beside a bad one count. */
    CHECK_STATUS(seg_ack(k, d, 3, &err), SEG_EINVAL, &err);
    rig_commit(k);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 1);
    /* A second acknowledgement is no error and counts nothing. */
    rig_ack(k, d, 1);
    CHECK_EQ(stats_of(k).acked, 1);
    seg_consumer_close(k);
    tear_down(&b);
}

/* When commit has returned, the server has it: seen on another connection at once. */
TEST(commit_waits_until_it_is_stored) {
    bench b = set_up(1);
    seg_error err;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_commit(k); /* nothing to store */
    rig_put(b.p, (rig_run){.partitions = 1, .count = 50});
    rig_take(k, b.in, 50);
    for (size_t i = 0; i < 50; i++) {
        rig_ack(k, b.in->d + i, 1);
        rig_commit(k);
        CHECK_EQ(server_int(b.s, "EXISTS sg:{default/s/0}:committed"), 1);
        char *at = server_str(b.s, "ZSCORE sg:{default/s/0}:committed g");
        CHECK_EQ(strtoull(at, NULL, 10), i + 1);
        free(at);
    }
    rig_put(b.p, (rig_run){.partitions = 1, .first = 50, .count = 1});
    rig_take(k, b.in, 51);
    server_pause(b.s);
    rig_ack(k, b.in->d + 50, 1);
    CHECK_STATUS(seg_consumer_commit(k, 0, &err), SEG_ETIMEDOUT, &err);
    CHECK_STATUS(seg_consumer_commit(k, 50, &err), SEG_ETIMEDOUT, &err);
    server_resume(b.s);
    rig_commit(k);
    seg_consumer_close(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    tear_down(&b);
}

/* One thread polls, four acknowledge and commit. */
typedef struct workshop {
    seg_consumer *k;
    rig_inbox *in;
    atomic_size_t taken, next;
} workshop;

enum { WORK = 4000 };

static void *acknowledge(void *arg) {
    workshop *w = arg;
    for (;;) {
        size_t i = atomic_fetch_add(&w->next, 1);
        if (i >= WORK) {
            return NULL;
        }
        WAIT_FOR(RIG_MS, atomic_load(&w->taken) > i);
        rig_ack(w->k, w->in->d + i, 1);
        if (i % 100 == 0) {
            rig_commit(w->k);
        }
    }
}

TEST(many_threads_acknowledge_while_one_polls) {
    bench b = set_up(4);
    pthread_t threads[4];
    workshop w = {.in = b.in};
    rig_spread(b.p, 4, 0, WORK);
    w.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, acknowledge, &w), 0);
    }
    while (b.in->n < WORK) {
        rig_poll(w.k, b.in, 100, 1000);
        atomic_store(&w.taken, b.in->n);
    }
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    rig_commit(w.k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(stats_of(w.k).acked, WORK);
    CHECK_EQ(stats_of(w.k).redelivered, 0);
    seg_consumer_close(w.k);
    tear_down(&b);
}

/* The ack map: every third of three entries is acknowledged out of order, by one consumer after
 * another; each next one gets exactly the rest, in order. */
TEST(the_ack_map_survives_a_takeover) {
    enum { ALL = 300 };
    bench b = set_up(1);
    bool acked[ALL] = {false};
    size_t left = ALL;
    for (unsigned i = 0; i < 3; i++) {
        rig_put(b.p, (rig_run){.partitions = 1, .first = i * 100, .count = 100});
    }
    for (unsigned round = 0; left > 0; round++) {
        CHECK_LT(round, 5);
        b.in->n = 0;
        seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
        rig_take(k, b.in, left);
        unsigned expect = 0;
        for (size_t i = 0; i < left; i++, expect++) {
            while (acked[expect]) {
                expect++;
            }
            CHECK_EQ(b.in->number[i], expect);
        }
        for (size_t i = b.in->n; i-- > 0;) {
            unsigned n = b.in->number[i];
            if (round == 3 || (n >= 3 && n % 4 == 2 - round % 3)) {
                rig_ack(k, b.in->d + i, 1);
                acked[n] = true;
                left--;
            }
        }
        if (round % 2 == 0) {
            rig_commit(k); /* otherwise close does it */
        }
        seg_consumer_close(k);
    }
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    tear_down(&b);
}

/* ---- The ack timeout ------------------------------------------------------------------------ */

/* Overdue when the time has passed, not only when the library's own thread has come to see it. */
TEST(what_is_not_acknowledged_in_time_comes_again_first) {
    bench b = set_up(1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 300});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    while (b.in->n < 5) {
        rig_poll(k, b.in, 5 - b.in->n, 1000);
    }
    rig_check_run(b.in, 0, 5, 0);
    int64_t start = test_now_ms();
    rig_ack(k, b.in->d + 1, 1);
    rig_ack(k, b.in->d + 3, 1);
    WAIT_FOR(RIG_MS, test_now_ms() - start > 300);
    while (b.in->n < 9) {
        rig_poll(k, b.in, 9 - b.in->n, 1000);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(b.in->number[5 + i], 2 * i);
        CHECK_EQ(b.in->d[5 + i].attempt, 2);
        CHECK_EQ(b.in->d[5 + i].epoch, b.in->d[0].epoch);
    }
    CHECK_EQ(b.in->number[8], 5);
    CHECK_EQ(b.in->d[8].attempt, 1);
    CHECK_EQ(stats_of(k).redelivered, 3);
    /* Either delivery may be acknowledged: it is the same message. */
    rig_ack(k, b.in->d, 1);
    rig_ack(k, b.in->d + 6, 2);
    rig_commit(k);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 5);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(attempts_count_up_until_it_is_acknowledged) {
    bench b = set_up(1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 20});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 1});
    rig_take(k, b.in, 5);
    for (unsigned i = 0; i < 5; i++) {
        CHECK_EQ(b.in->d[i].attempt, i + 1);
        CHECK_EQ(b.in->d[i].id.offset, 0);
    }
    rig_ack(k, b.in->d + 4, 1);
    rig_commit(k);
    CHECK_EQ(rig_poll(k, b.in, 1, 100), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Bounds --------------------------------------------------------------------------------- */

TEST(max_in_flight_bounds_a_partition) {
    bench b = set_up(1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_in_flight = 8});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 50});
    rig_take(k, b.in, 8);
    CHECK_EQ(rig_poll(k, b.in, 50, 150), 0);
    /* Room comes with the first one, not with any. */
    rig_ack(k, b.in->d + 1, 7);
    CHECK_EQ(rig_poll(k, b.in, 50, 50), 0);
    rig_ack(k, b.in->d, 1);
    rig_take(k, b.in, 16);
    rig_check_run(b.in, 0, 16, 0);
    for (size_t done = 8; done < 50; done += 8) {
        rig_ack(k, b.in->d + done, b.in->n - done);
        rig_take(k, b.in, done + 16 < 50 ? done + 16 : 50);
    }
    rig_check_run(b.in, 0, 50, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(a_blocked_partition_does_not_stop_the_others) {
    bench b = set_up(3);
    seg_consumer *k = rig_consumer(b.c, "s",
                                   &(rig_join){.group = "g",
                                               .max_in_flight = 4,
                                               .max_prefetch = 64u * 1024,
                                               .ack_timeout = SEG_FOREVER});
    /* Partition 0 has much more than fits into its window and the prefetch. */
    for (unsigned i = 0; i < 8; i++) {
        rig_put(b.p, (rig_run){.partitions = 3, .first = i * 10, .count = 10, .bytes = 6u * 1024});
    }
    rig_take(k, b.in, 4);
    for (unsigned i = 0; i < 50; i++) {
        rig_put(b.p, (rig_run){.partition = 1 + i % 2, .partitions = 3, .first = i, .count = 3});
        size_t from = b.in->n;
        rig_take(k, b.in, from + 3);
        CHECK_EQ(b.in->d[from].partition, 1 + i % 2);
        rig_ack(k, b.in->d + from, 3);
    }
    rig_ack(k, b.in->d, 4);
    size_t from = b.in->n;
    rig_take(k, b.in, from + 4);
    rig_check_run(b.in, from, 4, 4);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The bound may be passed by what one read of an entry for each partition brings: nobody knows an
 * entry's size before it is there. */
TEST(prefetch_is_bounded_in_bytes) {
    enum { PARTITIONS = 4, EACH = 24, BYTES = 256 * 1024, LIMIT = 1024 * 1024 };
    bench b = set_up(PARTITIONS);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        rig_put_singly(
            b.p,
            (rig_run){.partition = p, .partitions = PARTITIONS, .count = EACH, .bytes = BYTES});
    }
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_prefetch = LIMIT});
    uint64_t most = 0;
    while (b.in->n < PARTITIONS * EACH) {
        uint64_t now = stats_of(k).prefetched_bytes;
        most = now > most ? now : most;
        if (rig_poll(k, b.in, 1, 1000) == 1) {
            rig_ack(k, b.in->d + b.in->n - 1, 1);
        }
    }
    CHECK_GT(most, 0);
    CHECK_LE(most, LIMIT + PARTITIONS * (BYTES + 1024));
    rig_commit(k);
    CHECK_EQ(stats_of(k).prefetched_bytes, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST_DEADLINE(a_thousand_partitions_work, 120) {
    enum { PARTITIONS = 1024 };
    bench b = set_up(PARTITIONS);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(k, PARTITIONS);
    rig_spread(b.p, PARTITIONS, 0, 4 * PARTITIONS);
    rig_drain(k, b.in, 4 * PARTITIONS);
    unsigned at[PARTITIONS] = {0};
    for (size_t i = 0; i < b.in->n; i++) {
        CHECK_EQ(b.in->number[i], b.in->d[i].partition + PARTITIONS * at[b.in->d[i].partition]++);
    }
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- The cost of doing nothing -------------------------------------------------------------- */

static void check_idle(uint32_t partitions) {
    bench b = set_up(partitions);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_settle(k, partitions);
    rig_put(b.p, (rig_run){.partitions = partitions, .count = 1});
    rig_drain(k, b.in, 1);
    long long reads = rig_calls(b.s, "xread"), syncs = rig_calls(b.s, "evalsha");
    CHECK_EQ(rig_poll(k, b.in, 10, 3000), 0);
    CHECK_LE(rig_calls(b.s, "xread") - reads, 4);
    CHECK_LE(rig_calls(b.s, "evalsha") - syncs, 6);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(an_idle_consumer_asks_next_to_nothing) {
    check_idle(4);
}

TEST_DEADLINE(an_idle_consumer_of_many_partitions_asks_next_to_nothing, 120) {
    check_idle(1024);
}

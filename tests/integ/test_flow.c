/* Pausing, an application that is stuck, static members, and the descriptor for event loops. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { NEVER_MS = 700 }; /* how long what must not happen is waited for */

/* A server, a client, the stream "s", a producer and an empty inbox. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
} bench;

static atomic_uint warnings;

static void on_log(seg_log_level level, const char *event, const char *text, void *arg) {
    (void)text;
    (void)arg;
    atomic_fetch_add(&warnings, level == SEG_LOG_WARN && strcmp(event, "poll-timeout") == 0);
}

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    seg_client_options o;
    seg_error err;
    CHECK(b.in != NULL);
    SEG_INIT(&o);
    o.url = server_url(b.s);
    o.log = on_log;
    o.log_level = SEG_LOG_WARN;
    CHECK_OK(seg_client_open(&b.c, &o, &err), &err);
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

static void put(bench *b, uint32_t partition, uint32_t partitions, unsigned first, unsigned count) {
    rig_put(b->p,
            (rig_run){
                .partition = partition, .partitions = partitions, .first = first, .count = count});
}

/* Nothing comes for a while. */
static void expect_nothing(seg_consumer *k, rig_inbox *in) {
    CHECK_EQ(rig_poll(k, in, 10, NEVER_MS), 0);
}

static void pause_partition(seg_consumer *k, uint32_t partition, bool paused) {
    seg_error err;
    CHECK_OK(seg_consumer_pause(k, partition, paused, &err), &err);
}

typedef struct heard {
    atomic_uint assigned, revoked, lost;
} heard;

static void hear(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    heard *h = arg;
    (void)partitions;
    atomic_fetch_add(&h->assigned, what == SEG_ASSIGNED ? (unsigned)n : 0);
    atomic_fetch_add(&h->revoked, what == SEG_REVOKED ? (unsigned)n : 0);
    atomic_fetch_add(&h->lost, what == SEG_LOST ? (unsigned)n : 0);
}

/* ---- Pause ---------------------------------------------------------------------------------- */

TEST(a_paused_partition_delivers_nothing) {
    bench b = set_up(3);
    seg_error err;
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    put(&b, 1, 3, 0, 3);
    rig_take(k, b.in, 3);
    pause_partition(k, 1, true);
    CHECK(seg_consumer_paused(k, 1));
    CHECK(!seg_consumer_paused(k, 0));
    CHECK(!seg_consumer_paused(k, SEG_ALL_PARTITIONS));
    CHECK_STATUS(seg_consumer_pause(k, 3, true, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "0 to 2");
    CHECK_STATUS(seg_consumer_pause(NULL, 0, true, &err), SEG_EINVAL, &err);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, -1, NULL); /* what is in flight goes on */
    rig_ack(k, &b.in->d[0], 1);
    rig_commit(k);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).committed, 1);
    rig_spread(b.p, 3, 30, 30);
    rig_take(k, b.in, 23);
    for (size_t i = 3; i < 23; i++) {
        CHECK_NE(b.in->d[i].partition, 1);
    }
    expect_nothing(k, b.in);
    CHECK_EQ(seg_consumer_assignment(k, NULL, 0), 3);
    pause_partition(k, 1, false);
    rig_take(k, b.in, 34);
    for (size_t i = 23; i < 34; i++) {
        CHECK_EQ(b.in->d[i].partition, 1);
    }
    CHECK_EQ(b.in->number[23], 1); /* the retry */
    seg_consumer_close(k);
    tear_down(&b);
}

typedef struct waiter {
    seg_consumer *k;
    pthread_t thread;
    rig_inbox *in;
    atomic_bool over;
} waiter;

static void *wait_for_one(void *arg) {
    waiter *w = arg;
    rig_poll(w->k, w->in, 1, RIG_MS);
    atomic_store(&w->over, true);
    return NULL;
}

TEST(all_may_be_paused_and_a_waiting_poll_hears_of_the_end) {
    bench b = set_up(2);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    waiter w = {.k = k, .in = b.in};
    pause_partition(k, SEG_ALL_PARTITIONS, true);
    CHECK(seg_consumer_paused(k, SEG_ALL_PARTITIONS));
    rig_settle(k, 2);
    rig_spread(b.p, 2, 0, 10);
    expect_nothing(k, b.in);
    int64_t start = test_now_ms();
    CHECK_EQ(pthread_create(&w.thread, NULL, wait_for_one, &w), 0);
    WAIT_FOR(RIG_MS, test_now_ms() - start > 50);
    CHECK(!atomic_load(&w.over));
    pause_partition(k, 0, false);
    CHECK(!seg_consumer_paused(k, SEG_ALL_PARTITIONS));
    CHECK_EQ(pthread_join(w.thread, NULL), 0);
    CHECK_LT(test_now_ms() - start, 15000);
    CHECK_EQ(b.in->n, 1);
    CHECK_EQ(b.in->d[0].partition, 0);
    pause_partition(k, SEG_ALL_PARTITIONS, false);
    rig_take(k, b.in, 10);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Paused is the consumer's own view of a partition, also while that is elsewhere. */
TEST(a_pause_is_kept_while_the_partition_is_elsewhere) {
    bench b = set_up(2);
    rig_join join = {.group = "g", .drain_timeout = -1};
    seg_consumer *k = rig_consumer(b.c, "s", &join);
    rig_settle(k, 2);
    pause_partition(k, SEG_ALL_PARTITIONS, true);
    rig_spread(b.p, 2, 0, 10);
    seg_consumer *other = rig_consumer(b.c, "s", &join);
    rig_take(other, b.in, 5); /* one has gone over, and is not paused there */
    rig_ack(other, b.in->d, 2);
    rig_commit(other);
    expect_nothing(k, b.in);
    seg_consumer_close(other);
    rig_settle(k, 2); /* and nothing comes */
    CHECK(seg_consumer_paused(k, SEG_ALL_PARTITIONS));
    expect_nothing(k, b.in);
    pause_partition(k, SEG_ALL_PARTITIONS, false);
    rig_take(k, b.in, 5 + 8);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- An application that is stuck ----------------------------------------------------------- */

enum { INTERVAL = 250 };

/* With a session timeout of a minute nobody else would take over in time. */
static seg_consumer *slow_consumer(bench *b, heard *h, int64_t interval) {
    return rig_consumer(b->c, "s",
                        &(rig_join){.group = "g",
                                    .session_timeout = 60000,
                                    .drain_timeout = 60000,
                                    .max_poll_interval = interval,
                                    .on_rebalance = hear,
                                    .arg = h});
}

TEST(an_application_that_is_stuck_gives_its_partitions_to_others) {
    bench b = set_up(2);
    heard h = {0};
    seg_consumer *k = slow_consumer(&b, &h, INTERVAL);
    seg_consumer *other = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_inbox *got = calloc(1, sizeof *got);
    CHECK(got != NULL);
    int64_t end = test_now_ms() + RIG_MS;
    while (seg_consumer_assignment(k, NULL, 0) != 1 ||
           seg_consumer_assignment(other, NULL, 0) != 1) {
        rig_poll(k, b.in, 1, 5);
        rig_poll(other, got, 1, 5);
        CHECK_LT(test_now_ms(), end);
    }
    rig_spread(b.p, 2, 0, 20);
    rig_take(k, b.in, 10);
    rig_spread(b.p, 2, 20, 20);
    rig_ack(k, b.in->d, 4); /* it is not committed by itself */
    int64_t start = test_now_ms();
    rig_take(other, got, 36);
    CHECK_GE(test_now_ms() - start, INTERVAL / 2);
    CHECK_EQ(seg_consumer_assignment(other, NULL, 0), 2);
    CHECK_EQ(rig_stats(k).poll_timeouts, 1);
    CHECK_EQ(atomic_load(&warnings), 1);
    CHECK(!seg_consumer_active(k));
    for (size_t i = 0; i < 36; i++) { /* it had six of them in its hands */
        bool held = got->d[i].partition == b.in->d[0].partition && got->number[i] < 20;
        CHECK_EQ(got->d[i].attempt, held ? 2 : 1);
    }
    CHECK_STATUS(rig_verdict(k, &b.in->d[5], SEG_ACK, 0, NULL), SEG_EFENCED, NULL);
    rig_ack(other, got->d, 36);
    rig_commit(other);
    CHECK_EQ(atomic_load(&h.lost), 0); /* nobody has polled */
    end = test_now_ms() + RIG_MS;
    while (seg_consumer_assignment(k, NULL, 0) != 1) {
        CHECK_EQ(rig_poll(k, b.in, 10, 5), 0);
        CHECK_EQ(rig_poll(other, got, 10, 5), 0);
        CHECK_LT(test_now_ms(), end);
    }
    CHECK_EQ(rig_poll(k, b.in, 10, 0), 0);
    CHECK_EQ(atomic_load(&h.lost), 1);
    CHECK(seg_consumer_active(k));
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(other);
    seg_consumer_close(k);
    free(got);
    tear_down(&b);
}

/* Alone in its group it gets everything again when it comes back. */
TEST(an_application_that_was_stuck_alone_goes_on) {
    bench b = set_up(2);
    heard h = {0};
    seg_consumer *k = slow_consumer(&b, &h, INTERVAL);
    for (unsigned round = 0; round < 3; round++) {
        rig_spread(b.p, 2, 20 * round, 20);
        size_t from = b.in->n;
        while (b.in->n < from + 5) {
            rig_poll(k, b.in, 5 - (b.in->n - from), 1000);
        }
        rig_ack(k, b.in->d + from, 5);
        WAIT_FOR(RIG_MS, rig_stats(k).poll_timeouts == round + 1);
        rig_take(k, b.in, from + 20);
        for (size_t i = from; i < b.in->n; i++) {
            CHECK_EQ(b.in->d[i].attempt, 1);
        }
        rig_ack(k, b.in->d + from + 5, 15);
    }
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* It takes nothing, and that is right: there is nothing, or it has paused, or it is in poll. */
TEST(an_application_that_has_nothing_to_take_is_not_stuck) {
    bench b = set_up(2);
    heard h = {0};
    seg_consumer *k = slow_consumer(&b, &h, 100);
    rig_settle(k, 2);
    int64_t start = test_now_ms();
    WAIT_FOR(RIG_MS, test_now_ms() - start > NEVER_MS);
    CHECK_EQ(rig_stats(k).poll_timeouts, 0);
    expect_nothing(k, b.in); /* in poll */
    CHECK_EQ(rig_stats(k).poll_timeouts, 0);
    pause_partition(k, SEG_ALL_PARTITIONS, true);
    rig_spread(b.p, 2, 0, 10);
    start = test_now_ms();
    WAIT_FOR(RIG_MS, test_now_ms() - start > NEVER_MS);
    CHECK_EQ(rig_stats(k).poll_timeouts, 0);
    pause_partition(k, 0, false); /* from now on there is something */
    start = test_now_ms();
    WAIT_FOR(RIG_MS, rig_stats(k).poll_timeouts == 1);
    CHECK_GE(test_now_ms() - start, 90);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Static members ------------------------------------------------------------------------- */

/* Both own a half of 4 partitions. */
static void balance(seg_consumer *a, seg_consumer *b, rig_inbox *in) {
    int64_t end = test_now_ms() + RIG_MS;
    while (seg_consumer_assignment(a, NULL, 0) != 2 || seg_consumer_assignment(b, NULL, 0) != 2) {
        CHECK_EQ(rig_poll(a, in, 1, 5), 0);
        CHECK_EQ(rig_poll(b, in, 1, 5), 0);
        CHECK_LT(test_now_ms(), end);
    }
    CHECK_EQ(rig_poll(b, in, 1, 0), 0);
}

TEST(a_restart_of_an_instance_moves_nothing) {
    bench b = set_up(4);
    heard h = {0};
    uint32_t before[4], after[4];
    rig_join own = {.group = "g", .instance = "a", .session_timeout = 60000};
    seg_consumer *k = rig_consumer(b.c, "s", &own);
    CHECK_STR(seg_consumer_member(k), "a");
    seg_consumer *other = rig_consumer(b.c, "s",
                                       &(rig_join){.group = "g",
                                                   .instance = "b",
                                                   .session_timeout = 60000,
                                                   .on_rebalance = hear,
                                                   .arg = &h});
    balance(k, other, b.in);
    CHECK_EQ(seg_consumer_assignment(k, before, 4), 2);
    unsigned changes = atomic_load(&h.assigned) + atomic_load(&h.revoked) + atomic_load(&h.lost);
    uint64_t rebalances = rig_stats(other).rebalances;
    rig_spread(b.p, 4, 0, 40);
    rig_take(k, b.in, 20);
    rig_ack(k, b.in->d, 5);
    seg_consumer_close(k); /* commits, and stays a member */
    rig_take(other, b.in, 40);
    expect_nothing(other, b.in);
    CHECK_EQ(seg_consumer_assignment(other, NULL, 0), 2);
    int64_t start = test_now_ms();
    k = rig_consumer(b.c, "s", &own);
    rig_take(k, b.in, 55);
    CHECK_LT(test_now_ms() - start, 15000);
    for (size_t i = 40; i < 55; i++) { /* it was in hand when it closed */
        CHECK_EQ(b.in->d[i].attempt, 2);
    }
    CHECK_EQ(seg_consumer_assignment(k, after, 4), 2);
    CHECK_MEM(after, 2 * sizeof *after, before, 2 * sizeof *before);
    expect_nothing(other, b.in);
    CHECK_EQ(rig_stats(other).rebalances, rebalances);
    CHECK_EQ(atomic_load(&h.assigned) + atomic_load(&h.revoked) + atomic_load(&h.lost), changes);
    seg_consumer_close(other);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(an_instance_that_does_not_come_back_is_replaced) {
    enum { SESSION = 1000 };
    bench b = set_up(4);
    seg_consumer *k = rig_consumer(
        b.c, "s", &(rig_join){.group = "g", .instance = "a", .session_timeout = SESSION});
    seg_consumer *other = rig_consumer(
        b.c, "s", &(rig_join){.group = "g", .instance = "b", .session_timeout = SESSION});
    balance(k, other, b.in);
    rig_spread(b.p, 4, 0, 40);
    int64_t start = test_now_ms();
    seg_consumer_close(k);
    rig_take(other, b.in, 40);
    CHECK_GE(test_now_ms() - start, SESSION / 2);
    CHECK_EQ(seg_consumer_assignment(other, NULL, 0), 4);
    for (size_t i = 0; i < 40; i++) {
        CHECK_EQ(b.in->d[i].attempt, 1);
    }
    seg_consumer_close(other);
    tear_down(&b);
}

TEST(an_instance_is_a_name) {
    bench b = set_up(1);
    seg_error err;
    seg_consumer *k = NULL;
    rig_join both = {.group = "g", .instance = "a", .name = "a"};
    CHECK_STATUS(rig_try_consumer(&k, b.c, "s", &both, &err), SEG_EINVAL, &err);
    CHECK_STATUS(rig_try_consumer(&k, b.c, "s", &(rig_join){.group = "g", .instance = "a b"}, &err),
                 SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "instance");
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .instance = "a"});
    rig_settle(k, 1);
    seg_consumer *newer = rig_consumer(b.c, "s", &(rig_join){.group = "g", .instance = "a"});
    rig_expect_end(k, SEG_EFENCED, &err);
    rig_settle(newer, 1);
    seg_consumer_close(k); /* does not put the new one out */
    put(&b, 0, 1, 0, 3);
    rig_drain(newer, b.in, 3);
    seg_consumer_close(newer);
    tear_down(&b);
}

/* ---- The descriptor ------------------------------------------------------------------------- */

/* Is it readable, within that time? */
static bool readable(int fd, int within) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_GE(fd, 0);
    return poll(&p, 1, within) == 1 && (p.revents & POLLIN) != 0;
}

static seg_consumer *open_with_fd(bench *b, const rig_join *j, size_t partitions, int *fd) {
    seg_consumer *k = rig_consumer(b->c, "s", j);
    rig_settle(k, partitions);
    *fd = seg_consumer_fd(k);
    CHECK_EQ(seg_consumer_fd(k), *fd);
    CHECK(!readable(*fd, 50));
    return k;
}

TEST(the_descriptor_tells_of_messages) {
    bench b = set_up(2);
    int fd;
    CHECK_EQ(seg_consumer_fd(NULL), -1);
    seg_consumer *k = open_with_fd(&b, &(rig_join){.group = "g"}, 2, &fd);
    for (unsigned i = 0; i < 20; i++) {
        rig_spread(b.p, 2, 3 * i, 3);
        CHECK(readable(fd, RIG_MS));
        while (b.in->n < 3 * (size_t)i + 3) {
            CHECK(readable(fd, RIG_MS));
            CHECK_EQ(rig_poll(k, b.in, 1, 0), 1);
        }
        CHECK(!readable(fd, 0)); /* it took the last one */
    }
    rig_ack(k, b.in->d, b.in->n);
    rig_commit(k);
    CHECK(!readable(fd, 50));
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(the_descriptor_tells_when_a_retry_comes_due) {
    bench b = set_up(1);
    int fd;
    seg_consumer *k = open_with_fd(&b, &(rig_join){.group = "g", .ack_timeout = 600}, 1, &fd);
    put(&b, 0, 1, 0, 1);
    CHECK(readable(fd, RIG_MS));
    rig_take(k, b.in, 1);
    int64_t start = test_now_ms();
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 400, NULL);
    CHECK(!readable(fd, 200));
    CHECK(readable(fd, RIG_MS));
    CHECK_GE(test_now_ms() - start, 400);
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 1);
    start = test_now_ms();
    CHECK(!readable(fd, 300)); /* and an ack timeout */
    CHECK(readable(fd, RIG_MS));
    CHECK_GE(test_now_ms() - start, 500);
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 1);
    CHECK_EQ(b.in->d[2].attempt, 3);
    rig_settle_as(k, &b.in->d[2], SEG_RELEASE, 0, NULL);
    CHECK(readable(fd, RIG_MS));
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 1);
    rig_ack(k, &b.in->d[3], 1);
    CHECK(!readable(fd, 50));
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(the_descriptor_tells_of_pauses_callbacks_and_ends) {
    bench b = set_up(2);
    heard h = {0};
    int fd, other_fd;
    rig_join join = {.group = "g", .drain_timeout = -1, .on_rebalance = hear, .arg = &h};
    seg_consumer *k = open_with_fd(&b, &join, 2, &fd);
    pause_partition(k, 1, true);
    put(&b, 1, 2, 0, 1);
    CHECK(!readable(fd, NEVER_MS));
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 0);
    pause_partition(k, 1, false);
    CHECK(readable(fd, RIG_MS));
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 1);
    rig_ack(k, b.in->d, 1);
    unsigned before = atomic_load(&h.revoked);
    seg_consumer *other =
        rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 1000});
    CHECK(readable(fd, RIG_MS)); /* one of them goes */
    CHECK_EQ(rig_poll(k, b.in, 1, 0), 0);
    CHECK_EQ(atomic_load(&h.revoked), before + 1);
    rig_settle(other, 1);
    other_fd = seg_consumer_fd(other);
    CHECK(!readable(other_fd, 50));
    seg_consumer_stop(k);
    CHECK(readable(fd, RIG_MS));
    CHECK_STATUS(seg_consumer_poll(&(seg_batch *){NULL}, k, 1, 0, NULL), SEG_ECLOSED, NULL);
    CHECK(readable(fd, 0)); /* there is no other end */
    CHECK_OK(seg_stream_delete(b.c, "s", NULL), NULL);
    CHECK(readable(other_fd, RIG_MS));
    CHECK_STATUS(seg_consumer_poll(&(seg_batch *){NULL}, other, 1, 0, NULL), SEG_ENOENT, NULL);
    seg_consumer_close(other);
    seg_consumer_close(k);
    tear_down(&b);
}

typedef struct loop {
    seg_consumer *k;
    seg_producer *p;
    atomic_bool over;
} loop;

enum { LOOPED = 3000 };

static void *put_some_now_and_then(void *arg) {
    loop *l = arg;
    for (unsigned i = 0; i < LOOPED; i += 30) {
        rig_spread(l->p, 3, i, 30);
    }
    atomic_store(&l->over, true);
    return NULL;
}

/* As an event loop does it: poll(2), and seg_consumer_poll only where that says so. Everything
 * comes, also what failed and what waited behind it, and hardly ever is there nothing. */
TEST(an_event_loop_needs_nothing_else) {
    bench b = set_up(3);
    int fd;
    pthread_t thread;
    size_t from = 0, acked = 0, in_vain = 0, polls = 0;
    seg_consumer *k = open_with_fd(&b, &(rig_join){.group = "g", .max_in_flight = 40}, 3, &fd);
    loop l = {.k = k, .p = b.p};
    CHECK_EQ(pthread_create(&thread, NULL, put_some_now_and_then, &l), 0);
    while (acked < LOOPED) {
        if (!readable(fd, 10000)) {
            FAIL("not readable, with %zu of %d acknowledged", acked, LOOPED);
        }
        polls++;
        in_vain += rig_poll(k, b.in, 7, 0) == 0;
        for (; from < b.in->n; from++) {
            bool fails = b.in->d[from].attempt == 1 && b.in->number[from] % 11 == 5;
            rig_settle_as(k, &b.in->d[from], fails ? SEG_RETRY : SEG_ACK, 3, NULL);
            acked += fails ? 0 : 1;
        }
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK(!readable(fd, 50));
    printf("%zu polls, %zu in vain\n", polls, in_vain);
    CHECK_LE(in_vain, polls / 20);
    seg_consumer_close(k);
    tear_down(&b);
}

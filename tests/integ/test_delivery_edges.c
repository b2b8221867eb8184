/* Delivery where several things come together: timers and event loops, handlers and late verdicts,
 * closing while something waits, answers that are lost. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "proxy.h"
#include "rig.h"

/* A server, a client, the stream "s", a producer, an empty inbox; a consumer, and the thread that
 * runs it. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
    seg_consumer *k;
    pthread_t thread;
    seg_run_options options;
} bench;

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", partitions);
    b.p = rig_producer(b.c, "s");
    SEG_INIT(&b.options);
    return b;
}

static void close_consumer(bench *b) {
    seg_consumer_close(b->k);
    b->k = NULL;
}

static void tear_down(bench *b) {
    seg_consumer_close(b->k);
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

static bool readable(int fd, int wait) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, wait) == 1;
}

/* Of this process, up to now. */
static int64_t cpu_ms(void) {
    struct rusage r;
    CHECK_EQ(getrusage(RUSAGE_SELF, &r), 0);
    return (int64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 +
           (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
}

static void wait_ms(int64_t ms) {
    int64_t start = test_now_ms();
    WAIT_FOR(ms + RIG_MS, test_now_ms() - start >= ms);
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- Timers, and event loops ---------------------------------------------------------------- */

/* Nothing else wakes the consumer: no read is due, no heartbeat. */
TEST(the_ack_timeout_of_a_redelivery_is_in_time) {
    bench b = set_up(1);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 1});
    b.k = rig_consumer(b.c, "s",
                       &(rig_join){.group = "g", .session_timeout = 60000, .ack_timeout = 300});
    rig_take(b.k, b.in, 1);
    rig_settle_as(b.k, b.in->d, SEG_RETRY, -1, NULL);
    wait_ms(250);
    rig_take(b.k, b.in, 2);
    int64_t start = test_now_ms();
    CHECK_EQ(rig_poll(b.k, b.in, 10, RIG_MS), 1);
    CHECK_EQ(b.in->d[2].attempt, 3);
    CHECK_GE(test_now_ms() - start, 200);
    CHECK_LT(test_now_ms() - start, 2500);
    tear_down(&b);
}

/* The first ones are new, some behind them have failed under the owner before. These have to be
 * announced, which is found out when the descriptor is looked after, and nothing else is due. */
TEST(the_descriptor_tells_in_time_of_what_failed_before) {
    enum { N = 40, FAILED = 30 };
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, N);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(b.k, b.in, N);
    rig_settle_as(b.k, &b.in->d[N - 1], SEG_RETRY, 3600000, NULL);
    rig_settle_as(b.k, &b.in->d[FAILED], SEG_RETRY, 3600000, NULL);
    close_consumer(&b);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 600000});
    int fd = seg_consumer_fd(b.k);
    int64_t start = test_now_ms();
    b.in->n = 0;
    while (b.in->n < N) {
        CHECK(readable(fd, RIG_MS));
        if (b.in->n == FAILED - 1) {
            wait_ms(300); /* until nothing is under way that could tell by chance */
        }
        rig_poll(b.k, b.in, 1, 0);
    }
    rig_check_run(b.in, 0, N, 0);
    CHECK_LT(test_now_ms() - start, 3000);
    tear_down(&b);
}

/* Partition 0 cannot deliver and fills what may be fetched ahead. Whoever only waits at the
 * descriptor hears of the other partition all the same. */
TEST(the_descriptor_tells_of_others_while_one_is_full) {
    bench b = set_up(2);
    b.k = rig_consumer(
        b.c, "s",
        &(rig_join){
            .group = "g", .ack_timeout = SEG_FOREVER, .max_prefetch = 65536, .max_in_flight = 1});
    rig_settle(b.k, 2);
    int fd = seg_consumer_fd(b.k);
    rig_put_singly(b.p, (rig_run){.partitions = 2, .count = 2, .bytes = 200000});
    while (b.in->n < 1) {
        CHECK(readable(fd, RIG_MS));
        rig_poll(b.k, b.in, 1, 0);
    }
    WAIT_FOR(RIG_MS, rig_stats(b.k).prefetched_bytes > 65536);
    rig_put(b.p, (rig_run){.partition = 1, .partitions = 2, .first = 100, .count = 1});
    while (b.in->n < 2) {
        CHECK(readable(fd, 10000));
        rig_poll(b.k, b.in, 1, 0);
    }
    CHECK_EQ(b.in->number[1], 100);
    tear_down(&b);
}

/* A stuck message, and behind it far more than may be kept that is settled. The next owner passes
 * over all of that. */
TEST(settled_messages_behind_a_stuck_one_do_not_stop_a_new_owner) {
    enum { STUCK_MS = 3600000, N = 300 };
    const rig_join j = {.group = "g",
                        .max_parked = 65536,
                        .ordering = SEG_UNORDERED,
                        .retry_delay = STUCK_MS,
                        .retry_delay_max = STUCK_MS};
    bench b = set_up(1);
    rig_put_singly(b.p, (rig_run){.partitions = 1, .count = N, .bytes = 1024});
    b.k = rig_consumer(b.c, "s", &j);
    while (b.in->n < N) {
        size_t from = b.in->n;
        rig_poll(b.k, b.in, 30, 100);
        for (; from < b.in->n; from++) {
            bool stuck = b.in->number[from] == 0;
            rig_settle_as(b.k, &b.in->d[from], stuck ? SEG_RETRY : SEG_ACK, STUCK_MS, NULL);
        }
    }
    rig_commit(b.k);
    close_consumer(&b);
    rig_put_singly(b.p, (rig_run){.partitions = 1, .first = N, .count = 5});
    b.k = rig_consumer(b.c, "s", &j);
    b.in->n = 0;
    rig_take(b.k, b.in, 1);
    CHECK_EQ(b.in->number[0], 0);
    rig_settle_as(b.k, b.in->d, SEG_RETRY, STUCK_MS, NULL);
    rig_take(b.k, b.in, 6);
    rig_check_run(b.in, 1, 5, N);
    CHECK_EQ(rig_stats(b.k).blocked, 0);
    tear_down(&b);
}

/* ---- Handlers ------------------------------------------------------------------------------- */

enum { WATCHED = 64, N_KEYS = 8 };

/* What handlers do, and how many of one key at once. A message's key is its number modulo n_keys.
 * The first attempts of the messages 0 and 1 wait where `stuck` says so. */
typedef struct workshop {
    bench *b;
    unsigned n_keys;
    atomic_int busy[N_KEYS], most;
    atomic_uint calls[WATCHED];
    atomic_bool stuck[2], told;
    atomic_uint early;   /* before it was told */
    atomic_uint starved; /* said its verdict without memory */
    seg_delivery first;
} workshop;

static void enter(workshop *w, unsigned number) {
    int n = atomic_fetch_add(&w->busy[number % w->n_keys], 1) + 1;
    if (n > atomic_load(&w->most)) {
        atomic_store(&w->most, n);
    }
    atomic_fetch_add(&w->early, atomic_load(&w->told) ? 0 : 1);
    CHECK_LT(number, WATCHED);
    atomic_fetch_add(&w->calls[number], 1);
}

static seg_verdict leave(workshop *w, unsigned number, seg_verdict verdict) {
    atomic_fetch_sub(&w->busy[number % w->n_keys], 1);
    return verdict;
}

static void *run(void *arg) {
    bench *b = arg;
    seg_error err;
    CHECK_OK(seg_consumer_run(b->k, &b->options, &err), &err);
    return NULL;
}

static void start(bench *b, workshop *w, seg_handler_fn *handler, uint32_t workers) {
    w->b = b;
    b->options.handler = handler;
    b->options.arg = w;
    b->options.workers = workers;
    CHECK_EQ(pthread_create(&b->thread, NULL, run, b), 0);
}

/* Wait until all is done, and for the end. */
static void finish(bench *b) {
    WAIT_FOR(RIG_MS, rig_lag(b->c, "s", "g") == 0);
    seg_consumer_stop(b->k);
    CHECK_EQ(pthread_join(b->thread, NULL), 0);
}

static void put_one_key(bench *b, unsigned count) {
    rig_put_keys(b->p, (const char *const[]){"k"}, 1, 0, count);
}

/* The first delivery is deferred, and acknowledged while the second one is handled. */
static seg_verdict acknowledge_late(const seg_message *m, seg_settlement *how, void *arg) {
    workshop *w = arg;
    unsigned number = rig_number(m);
    seg_delivery d = seg_message_delivery(m);
    (void)how;
    enter(w, number);
    if (number == 0 && d.attempt == 1) {
        w->first = d;
        return leave(w, number, SEG_DEFER);
    }
    if (number == 0) {
        CHECK_STATUS(seg_ack(w->b->k, &w->first, 1, NULL), SEG_EFENCED, NULL);
        pause_ms(300); /* were its lane free now, the next of the key would come */
    }
    return leave(w, number, SEG_ACK);
}

TEST(a_late_ack_does_not_free_a_key_that_is_being_handled) {
    bench b = set_up(1);
    workshop w = {.n_keys = 1, .told = true};
    put_one_key(&b, 4);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 200});
    start(&b, &w, acknowledge_late, 4);
    finish(&b);
    CHECK_EQ(atomic_load(&w.most), 1);
    CHECK_EQ(atomic_load(&w.calls[0]), 2);
    tear_down(&b);
}

static seg_verdict extend_and_go_on(const seg_message *m, seg_settlement *how, void *arg) {
    workshop *w = arg;
    unsigned number = rig_number(m);
    seg_delivery d = seg_message_delivery(m);
    (void)how;
    enter(w, number);
    if (number == 0) {
        CHECK_OK(seg_settle(w->b->k, &d, 1, SEG_EXTEND, NULL, NULL), NULL);
        pause_ms(600); /* thrice the ack timeout */
    }
    return leave(w, number, SEG_ACK);
}

/* A handler has all the time that it wants, also after it has asked for more. */
TEST(extending_from_a_handler_does_not_start_the_ack_timeout) {
    bench b = set_up(1);
    workshop w = {.n_keys = 1, .told = true};
    put_one_key(&b, 3);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 200});
    start(&b, &w, extend_and_go_on, 4);
    finish(&b);
    CHECK_EQ(atomic_load(&w.most), 1);
    CHECK_EQ(atomic_load(&w.calls[0]), 1);
    tear_down(&b);
}

static seg_verdict fail_without_memory(const seg_message *m, seg_settlement *how, void *arg) {
    static const seg_verdict verdicts[] = {SEG_RELEASE, SEG_RETRY, SEG_REJECT};
    workshop *w = arg;
    unsigned number = rig_number(m);
    how->delay = 1;
    enter(w, number);
    if (atomic_load(&w->calls[number]) > 1) {
        return leave(w, number, SEG_ACK);
    }
    sg_alloc_fail_at(1, 0);
    atomic_fetch_add(&w->starved, 1);
    return leave(w, number, verdicts[number % 3]);
}

/* There is no memory for what a handler says: its message is not stuck for that. The allocation
 * that fails may be any thread's, so this one makes none until all verdicts have been said. */
TEST(verdicts_without_memory_are_not_lost) {
    enum { N = 36 };
    bench b = set_up(1);
    workshop w = {.n_keys = N_KEYS, .told = true};
    rig_put_keys(b.p, (const char *const[]){"a", "b", "c", "d", "e", "f", "g", "h"}, N_KEYS, 0, N);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 60000});
    start(&b, &w, fail_without_memory, 2);
    WAIT_FOR(RIG_MS, atomic_load(&w.starved) == N);
    sg_alloc_fail_at(0, 0);
    finish(&b);
    for (unsigned i = 0; i < N; i++) {
        CHECK_GE(atomic_load(&w.calls[i]) + (i % 3 == 2 ? 1 : 0), 2);
    }
    CHECK_EQ(atomic_load(&w.most), 1);
    tear_down(&b);
}

static void tell_slowly(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    workshop *w = arg;
    (void)partitions;
    (void)n;
    if (what == SEG_ASSIGNED) {
        pause_ms(300);
        atomic_store(&w->told, true);
    }
}

static seg_verdict just_handle(const seg_message *m, seg_settlement *how, void *arg) {
    (void)how;
    enter(arg, rig_number(m));
    return leave(arg, rig_number(m), SEG_ACK);
}

/* Handlers run on other threads than the callback, which may take its time: first it returns, then
 * they get messages of the partition. */
TEST(handlers_get_nothing_before_the_callback_has_heard_of_the_partition) {
    bench b = set_up(1);
    workshop w = {.n_keys = 1};
    put_one_key(&b, 10);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .on_rebalance = tell_slowly, .arg = &w});
    start(&b, &w, just_handle, 2);
    finish(&b);
    CHECK_EQ(atomic_load(&w.early), 0);
    tear_down(&b);
}

static seg_verdict wait_while_stuck(const seg_message *m, seg_settlement *how, void *arg) {
    workshop *w = arg;
    unsigned number = rig_number(m);
    (void)how;
    enter(w, number);
    if (number < 2 && seg_message_delivery(m).attempt == 1) {
        WAIT_FOR(RIG_MS, !atomic_load(&w->stuck[number]));
    }
    return leave(w, number, SEG_ACK);
}

/* Both workers are stuck, so the partition is given back. One returns, and the same consumer gets
 * it again: the other's key stays closed until that one has returned too.
 *
 *     worker 1   0 ═══════════════════════════════╗ 0 again
 *     worker 2   1 ═════╗ back   2, 3 ...         ║
 */
TEST(a_key_stays_closed_over_a_rest_while_its_handler_runs) {
    bench b = set_up(1);
    workshop w = {.n_keys = 4, .told = true};
    atomic_store(&w.stuck[0], true);
    atomic_store(&w.stuck[1], true);
    rig_put_keys(b.p, (const char *const[]){"a", "b", "c", "d"}, 4, 0, 6);
    b.k = rig_consumer(
        b.c, "s", &(rig_join){.group = "g", .session_timeout = 60000, .max_poll_interval = 300});
    start(&b, &w, wait_while_stuck, 2);
    WAIT_FOR(RIG_MS, rig_stats(b.k).poll_timeouts == 1);
    WAIT_FOR(RIG_MS, rig_cursor(b.c, "s", "g", 0).owner == NULL);
    atomic_store(&w.stuck[1], false);
    WAIT_FOR(RIG_MS, atomic_load(&w.calls[3]) == 1); /* it would come after the first one */
    CHECK_EQ(atomic_load(&w.calls[0]), 1);
    CHECK_EQ(atomic_load(&w.calls[1]), 2);
    CHECK_EQ(atomic_load(&w.calls[4]), 0);
    atomic_store(&w.stuck[0], false);
    finish(&b);
    CHECK_EQ(atomic_load(&w.calls[0]), 2);
    CHECK_EQ(atomic_load(&w.most), 1);
    tear_down(&b);
}

static unsigned handled(workshop *w) {
    unsigned n = 0;
    for (unsigned i = 0; i < WATCHED; i++)
        n += atomic_load(&w->calls[i]);
    return n;
}

/* CPU that `n` messages of one partition take with handlers. */
static int64_t cost_of(uint32_t partitions, unsigned n) {
    bench b = set_up(partitions);
    workshop w = {.n_keys = 1, .told = true};
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 60000});
    rig_settle(b.k, partitions);
    CHECK_OK(seg_consumer_pause(b.k, SEG_ALL_PARTITIONS, true, NULL), NULL);
    for (unsigned i = 0; i < n / 1000; i++) {
        char key[24];
        rig_key(key, 0, partitions);
        for (unsigned m = 0; m < 1000; m++) {
            rig_queue(b.p, key, m % WATCHED, 0);
        }
        rig_flush(b.p);
    }
    int64_t before = cpu_ms();
    start(&b, &w, just_handle, 2);
    CHECK_OK(seg_consumer_pause(b.k, SEG_ALL_PARTITIONS, false, NULL), NULL);
    WAIT_FOR(2 * RIG_MS, handled(&w) == n); /* statistics would go over all partitions each time */
    WAIT_FOR(RIG_MS, rig_stats(b.k).acked == n);
    int64_t cost = cpu_ms() - before;
    finish(&b);
    tear_down(&b);
    return cost;
}

/* Not each message has to look at all of the partitions. */
TEST(what_a_message_costs_does_not_grow_with_the_partitions) {
    enum { N = 20000, PARTITIONS = 1000 };
    int64_t one = cost_of(1, N), many = cost_of(PARTITIONS, N);
    printf("%lld ms of CPU with one partition, %lld with %d\n", (long long)one, (long long)many,
           PARTITIONS);
    CHECK_LT(many, 4 * one + 200);
}

/* A question goes over all partitions. Where each brings one message, 5 ms lie between two: what comes
 * meanwhile comes with the next. */
TEST(a_trickle_over_many_partitions_is_read_at_a_pace) {
    enum { PARTITIONS = 1000, N = 300, MS = 5 };
    bench b = set_up(PARTITIONS);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 60000});
    rig_settle(b.k, PARTITIONS);
    int64_t start = test_now_ms();
    long long before = rig_calls(b.s, "xread");
    for (unsigned i = 0; i < N; i++) {
        char key[24];
        rig_queue(b.p, rig_key(key, i, PARTITIONS), i, 0);
        rig_flush(b.p);
    }
    rig_take(b.k, b.in, N);
    long long reads = rig_calls(b.s, "xread") - before;
    /* Those that came first read a part of the partitions each. */
    printf("%lld reads in %lld ms\n", reads, (long long)(test_now_ms() - start));
    CHECK_LE(reads, (test_now_ms() - start) / MS + 30);
    tear_down(&b);
}

/* ---- A server that is away, and answers that are lost --------------------------------------- */

TEST(closing_does_not_spin_while_nothing_answers) {
    enum { TIMEOUT = 1500 };
    bench b = set_up(1);
    seg_client *mine = rig_client_within(b.s, TIMEOUT);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 4});
    b.k = rig_consumer(mine, "s", &(rig_join){.group = "g"});
    rig_take(b.k, b.in, 4);
    server_pause(b.s);
    int64_t begin = test_now_ms(), before = cpu_ms();
    close_consumer(&b);
    CHECK_GE(test_now_ms() - begin, TIMEOUT / 2);
    CHECK_LT(cpu_ms() - before, 400);
    server_resume(b.s);
    seg_client_close(mine);
    tear_down(&b);
}

/* The application was stuck, and the server is away when its partitions are to be given back:
 * neither the consumer nor whoever waits at its descriptor spins. */
TEST(a_consumer_at_rest_does_not_spin_without_a_server) {
    enum { WATCH_MS = 1200 };
    bench b = set_up(1);
    size_t told = 0;
    rig_put(b.p, (rig_run){.partitions = 1, .count = 4});
    b.k = rig_consumer(
        b.c, "s", &(rig_join){.group = "g", .session_timeout = 20000, .max_poll_interval = 500});
    while (b.in->n == 0) {
        rig_poll(b.k, b.in, 1, 100);
    }
    server_kill9(b.s);
    WAIT_FOR(RIG_MS, rig_stats(b.k).poll_timeouts == 1);
    int64_t before = cpu_ms();
    wait_ms(WATCH_MS);
    CHECK_LT(cpu_ms() - before, WATCH_MS / 2);
    int fd = seg_consumer_fd(b.k);
    CHECK(readable(fd, 0)); /* it should come back */
    CHECK_EQ(rig_poll(b.k, b.in, 10, 0), 0);
    before = cpu_ms();
    for (int64_t begin = test_now_ms(); test_now_ms() - begin < WATCH_MS / 2;) {
        if (readable(fd, 50)) {
            told++;
            CHECK_EQ(rig_poll(b.k, b.in, 10, 0), 0);
        }
    }
    CHECK_LE(told, 5);
    CHECK_LT(cpu_ms() - before, WATCH_MS / 4);
    server_restart(b.s);
    tear_down(&b);
}

static size_t members(seg_client *c) {
    seg_group_info *g = NULL;
    seg_error err;
    CHECK_OK(seg_group_describe(&g, c, "s", "g", &err), &err);
    size_t n = seg_group_info_members(g);
    seg_group_info_free(g);
    return n;
}

/* It gives its partitions back, the answer to its good-bye is lost, and the application is back
 * meanwhile: it joins again. */
TEST(a_consumer_at_rest_comes_back_though_its_good_bye_was_not_answered) {
    bench b = set_up(1);
    proxy *px = proxy_start(server_socket(b.s));
    seg_client *mine = NULL;
    seg_client_options o;
    seg_error err;
    SEG_INIT(&o);
    o.url = proxy_url(px);
    CHECK_OK(seg_client_open(&mine, &o, &err), &err);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 4});
    b.k = rig_consumer(
        mine, "s", &(rig_join){.group = "g", .session_timeout = 20000, .max_poll_interval = 500});
    while (b.in->n == 0) {
        rig_poll(b.k, b.in, 1, 100);
    }
    proxy_delay(px, PROXY_REPLIES, 500); /* between what is executed and its answer */
    WAIT_FOR(RIG_MS, rig_stats(b.k).poll_timeouts == 1);
    WAIT_FOR(RIG_MS, members(b.c) == 0);
    rig_poll(b.k, b.in, 1, 0);
    proxy_cut(px);
    proxy_delay(px, PROXY_REPLIES, 0);
    b.in->n = 0;
    rig_take(b.k, b.in, 4);
    CHECK(seg_consumer_active(b.k));
    rig_ack(b.k, b.in->d, 4);
    rig_commit(b.k);
    close_consumer(&b);
    seg_client_close(mine);
    proxy_stop(px);
    tear_down(&b);
}

/* ---- Dead letters --------------------------------------------------------------------------- */

static void make_dlq(seg_client *c, uint64_t max_messages) {
    seg_stream_options o;
    seg_error err;
    SEG_INIT(&o);
    o.partitions = 1;
    o.max_messages = max_messages;
    CHECK_OK(seg_stream_create(c, "s.g.dlq", &o, &err), &err);
}

static void take_and_reject(bench *b, size_t n) {
    rig_take(b->k, b->in, n);
    CHECK_OK(seg_settle(b->k, b->in->d, n, SEG_REJECT, NULL, NULL), NULL);
}

/* Its consumer dies after a letter was stored and before it knows that. The next owner's letter has
 * another number of attempts and other times, but it is the same. */
TEST(a_letter_that_was_stored_before_its_consumer_died_is_not_stored_again) {
    bench b = set_up(1);
    static rig_letter letters[4];
    proxy *px = proxy_start(server_socket(b.s));
    seg_client *mine = NULL;
    seg_client_options o;
    seg_error err;
    SEG_INIT(&o);
    o.url = proxy_url(px);
    o.command_timeout = o.connect_timeout = 700;
    CHECK_OK(seg_client_open(&mine, &o, &err), &err);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 2);
    seg_consumer *dying =
        rig_consumer(mine, "s", &(rig_join){.group = "g", .session_timeout = 60000, .name = "n"});
    rig_take(dying, b.in, 2);
    rig_settle_as(dying, &b.in->d[0], SEG_REJECT, 0, "first");
    rig_commit(dying); /* now the dead letters are open */
    proxy_hold_all(px, PROXY_REPLIES);
    rig_settle_as(dying, &b.in->d[1], SEG_REJECT, 0, "second");
    WAIT_FOR(RIG_MS, rig_messages(b.c, "s.g.dlq") == 2);
    proxy_refuse(px, true);
    proxy_cut(px);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "n"});
    rig_take(b.k, b.in, 3);
    CHECK_EQ(b.in->number[2], 1);
    CHECK_GT(b.in->d[2].attempt, 1);
    rig_settle_as(b.k, &b.in->d[2], SEG_REJECT, 0, "another reason");
    rig_commit(b.k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_letters(b.c, "s", "g", letters, 4), 2);
    CHECK_STR(letters[1].error, "second");
    CHECK_EQ(letters[1].attempts, 1);
    seg_consumer_close(dying);
    seg_client_close(mine);
    proxy_stop(px);
    tear_down(&b);
}

/* Where they could not be stored at first they still come in their order. */
TEST(letters_that_are_tried_again_keep_their_order) {
    enum { N = 6 };
    bench b = set_up(1);
    static rig_letter letters[N];
    seg_error err;
    make_dlq(b.c, 1);
    put_one_key(&b, N);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    take_and_reject(&b, N);
    WAIT_FOR(RIG_MS, rig_stats(b.k).dead_lettered == 1);
    CHECK_OK(seg_stream_delete(b.c, "s.g.dlq", &err), &err);
    rig_commit(b.k);
    CHECK_EQ(rig_letters(b.c, "s", "g", letters, N), N - 1);
    for (unsigned i = 0; i < N - 1; i++) {
        CHECK_EQ(letters[i].number, i + 1);
    }
    tear_down(&b);
}

/* Letters wait, and are dropped with their partitions: for the next owner, in an orderly way. */
typedef enum away { PAUSED, KILLED, FULL } away;

static void close_with_letters(away how, const char *instance) {
    bench b = set_up(1);
    seg_client *mine = rig_client_within(b.s, 800);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 4);
    if (how == FULL) {
        make_dlq(b.c, 1);
    }
    b.k = rig_consumer(mine, "s", &(rig_join){.group = "g", .instance = instance});
    rig_take(b.k, b.in, 4);
    if (how == PAUSED) {
        server_pause(b.s);
    } else if (how == KILLED) {
        server_kill9(b.s);
    }
    CHECK_OK(seg_settle(b.k, b.in->d, 4, SEG_REJECT, NULL, NULL), NULL);
    if (how == FULL) {
        WAIT_FOR(RIG_MS, rig_stats(b.k).dead_lettered == 1);
    }
    CHECK_EQ(rig_stats(b.k).parked, how == FULL ? 3 : 4);
    close_consumer(&b);
    seg_client_close(mine);
    if (how == KILLED) {
        server_restart(b.s);
    }
    server_resume(b.s);
    if (how != KILLED) { /* which has forgotten everything */
        b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .instance = instance});
        b.in->n = 0;
        rig_take(b.k, b.in, how == FULL ? 3 : 4);
    }
    tear_down(&b);
}

TEST(closing_with_letters_that_wait_for_room) {
    close_with_letters(FULL, "i");
}

TEST(closing_with_letters_while_the_server_is_silent) {
    close_with_letters(PAUSED, "i");
}

TEST(closing_with_letters_when_the_server_is_gone) {
    close_with_letters(KILLED, NULL);
}

/* Not once for itself, and once for the dead letters that are being opened. */
TEST(closing_while_the_dead_letters_are_opened_takes_one_timeout) {
    enum { TIMEOUT = 1500 };
    bench b = set_up(1);
    seg_client *mine = rig_client_within(b.s, TIMEOUT);
    put_one_key(&b, 1);
    b.k = rig_consumer(mine, "s", &(rig_join){.group = "g"});
    rig_take(b.k, b.in, 1);
    server_pause(b.s);
    CHECK_OK(seg_settle(b.k, b.in->d, 1, SEG_REJECT, NULL, NULL), NULL);
    wait_ms(400); /* its opening fails before the close has waited long enough */
    int64_t begin = test_now_ms();
    close_consumer(&b);
    CHECK_LT(test_now_ms() - begin, TIMEOUT + 600);
    server_resume(b.s);
    seg_client_close(mine);
    tear_down(&b);
}

/* Handlers in parallel: order of keys, throughput, ends of all kinds, and what is stuck. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

/* A server, a client, the stream "s", a producer; a consumer, and the thread that runs it. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    seg_consumer *k;
    pthread_t thread;
    seg_run_options options;
    seg_status status;
    seg_error err;
    atomic_bool over;
} bench;

static void set_up(bench *b, uint32_t partitions) {
    memset(b, 0, sizeof *b);
    b->s = server_start(NULL);
    b->c = rig_client(b->s);
    rig_stream(b->c, "s", partitions);
    b->p = rig_producer(b->c, "s");
    SEG_INIT(&b->options);
}

static void tear_down(bench *b) {
    seg_consumer_close(b->k);
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
}

static void *run(void *arg) {
    bench *b = arg;
    b->status = seg_consumer_run(b->k, &b->options, &b->err);
    atomic_store(&b->over, true);
    return NULL;
}

static void start(bench *b, seg_handler_fn *handler, void *arg, uint32_t workers) {
    b->options.handler = handler;
    b->options.arg = arg;
    b->options.workers = workers;
    atomic_store(&b->over, false);
    CHECK_EQ(pthread_create(&b->thread, NULL, run, b), 0);
}

/* Wait for the end that somebody has asked for. */
static void join(bench *b) {
    CHECK_EQ(pthread_join(b->thread, NULL), 0);
    CHECK_OK(b->status, &b->err);
}

static void stop(bench *b) {
    seg_consumer_stop(b->k);
    join(b);
}

static void close_consumer(bench *b) {
    seg_consumer_close(b->k);
    b->k = NULL;
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* The same answer each time for the same message and attempt. */
static uint32_t chance(uint32_t number, uint32_t attempt) {
    uint32_t x = number * 2654435761u ^ attempt * 2246822519u;
    x ^= x >> 15;
    x *= 2246822519u;
    return x ^ x >> 13;
}

/* ---- Order, and throughput ------------------------------------------------------------------ */

enum { KEYS = 200, WORK = 2000, HOPELESS = 400 };

typedef struct workshop {
    atomic_bool busy[KEYS]; /* a handler of the key is under way */
    unsigned next[KEYS];    /* of a key: no effect below it is to come; guarded by busy */
    atomic_uint effects[WORK], failed[WORK];
    atomic_size_t n_effects;
    atomic_uint at_once, most_at_once;
    _Atomic int64_t slept_ms;
} workshop;

static void count_in(workshop *w) {
    unsigned n = atomic_fetch_add(&w->at_once, 1) + 1, most = atomic_load(&w->most_at_once);
    while (n > most && !atomic_compare_exchange_weak(&w->most_at_once, &most, n)) {
    }
}

/* Takes 0 to 5 ms and fails in 5 of 100 attempts; one message of HOPELESS fails always. */
static seg_verdict work(const seg_message *m, seg_settlement *how, void *arg) {
    workshop *w = arg;
    unsigned number = rig_number(m), key = number % KEYS;
    seg_delivery d = seg_message_delivery(m);
    uint32_t dice = chance(number, d.attempt);
    bool fails = number % HOPELESS == HOPELESS / 2 || dice % 100 < 5;
    how->reason = "bad luck";
    CHECK(!atomic_exchange(&w->busy[key], true));
    count_in(w);
    pause_ms(dice >> 8 & 7 ? (dice >> 8) % 6 : 0);
    atomic_fetch_add(&w->slept_ms, dice >> 8 & 7 ? (dice >> 8) % 6 : 0);
    if (fails) {
        atomic_fetch_add(&w->failed[number], 1);
    } else {
        CHECK_GE(number, w->next[key]);
        w->next[key] = number + KEYS;
        atomic_fetch_add(&w->effects[number], 1);
        atomic_fetch_add(&w->n_effects, 1);
    }
    atomic_fetch_sub(&w->at_once, 1);
    atomic_store(&w->busy[key], false);
    return fails ? SEG_RETRY : SEG_ACK;
}

static void check_work(bench *b, workshop *w, const char *group) {
    static rig_letter letters[WORK];
    size_t n = rig_letters(b->c, "s", group, letters, WORK), handled = 0;
    unsigned dead[WORK] = {0};
    for (size_t i = 0; i < n; i++) {
        dead[letters[i].number]++;
        CHECK_STR(letters[i].reason, "max-attempts");
        CHECK_STR(letters[i].error, "bad luck");
        CHECK_EQ(letters[i].attempts, 3);
        CHECK_EQ(atomic_load(&w->failed[letters[i].number]), 3);
    }
    for (unsigned i = 0; i < WORK; i++) {
        CHECK_EQ(dead[i] + atomic_load(&w->effects[i]), 1);
        handled += atomic_load(&w->effects[i]) + atomic_load(&w->failed[i]);
    }
    CHECK_GE(n, WORK / HOPELESS);
    CHECK_EQ(rig_lag(b->c, "s", group), 0);
    seg_consumer_stats st = rig_stats(b->k);
    uint64_t counted = 0;
    for (size_t i = 0; i < sizeof st.handler_us_log2 / sizeof *st.handler_us_log2; i++) {
        counted += st.handler_us_log2[i];
    }
    CHECK_EQ(st.handled, handled);
    CHECK_EQ(counted, handled);
    CHECK_EQ(st.dead_lettered, n);
    CHECK_EQ(st.acked, WORK - n);
    CHECK_GE(st.handler_us, 1000 * atomic_load(&w->slept_ms));
    CHECK_GE(st.handler_us_max, 5000);
    CHECK_GE(st.handler_us_max * handled, st.handler_us);
    CHECK_EQ(st.parked, 0);
}

/* Returns how long it took. A retry after 4 ms at most is about as long as a handler, so that it
 * does not dominate. */
static int64_t handle_all(bench *b, const char *group, uint32_t workers) {
    workshop *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    b->k =
        rig_consumer(b->c, "s", &(rig_join){.group = group, .max_attempts = 3, .retry_delay = 2});
    int64_t begin = test_now_ms();
    start(b, work, w, workers);
    WAIT_FOR(40000, rig_lag(b->c, "s", group) == 0);
    int64_t took = test_now_ms() - begin;
    stop(b);
    check_work(b, w, group);
    CHECK_LE(atomic_load(&w->most_at_once), workers);
    close_consumer(b);
    free(w);
    return took;
}

TEST(eight_workers_keep_keys_in_order_and_are_six_times_as_fast) {
    bench b;
    char key[24];
    set_up(&b, 16);
    for (unsigned i = 0; i < WORK; i++) {
        snprintf(key, sizeof key, "key-%u", i % KEYS);
        rig_queue(b.p, key, i, 0);
    }
    rig_flush(b.p);
    int64_t alone = handle_all(&b, "one", 1), together = INT64_MAX / 6;
    /* The best of some: somebody else may need the processors. */
    for (int try = 0; try < 5 && alone < 6 * together; try++) {
        char group[24];
        snprintf(group, sizeof group, "eight-%d", try);
        int64_t took = handle_all(&b, group, 8);
        together = took < together ? took : together;
        printf("one worker %lld ms, eight %lld ms\n", (long long)alone, (long long)took);
    }
    CHECK_GE(alone, 6 * together);
    tear_down(&b);
}

TEST(a_thousand_workers_are_fine) {
    bench b;
    workshop *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    char key[24];
    set_up(&b, 2);
    for (unsigned i = 0; i < WORK; i++) {
        snprintf(key, sizeof key, "key-%u", i % KEYS);
        rig_queue(b.p, key, i, 0);
    }
    rig_flush(b.p);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_attempts = 3, .retry_delay = 2});
    start(&b, work, w, 1024);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    stop(&b);
    check_work(&b, w, "g");
    CHECK_GT(atomic_load(&w->most_at_once), 8);
    free(w);
    tear_down(&b);
}

/* Of a partition one after another: as many at once as there are partitions. */
static seg_verdict one_of_a_partition(const seg_message *m, seg_settlement *how, void *arg) {
    workshop *w = arg;
    seg_delivery d = seg_message_delivery(m);
    (void)how;
    CHECK(!atomic_exchange(&w->busy[d.partition], true));
    count_in(w);
    CHECK_EQ(d.id.offset, w->next[d.partition]);
    pause_ms(1);
    bool fails = d.attempt == 1 && d.id.offset % 7 == 3;
    w->next[d.partition] += fails ? 0 : 1;
    atomic_fetch_sub(&w->at_once, 1);
    atomic_store(&w->busy[d.partition], false);
    return fails ? SEG_RETRY : SEG_ACK;
}

TEST(by_partition_one_handler_for_each_partition) {
    bench b;
    workshop *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    set_up(&b, 4);
    rig_spread(b.p, 4, 0, 400);
    b.k = rig_consumer(b.c, "s",
                       &(rig_join){.group = "g", .ordering = SEG_BY_PARTITION, .retry_delay = 2});
    start(&b, one_of_a_partition, w, 8);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    stop(&b);
    CHECK_LE(atomic_load(&w->most_at_once), 4);
    CHECK_GE(atomic_load(&w->most_at_once), 2);
    free(w);
    tear_down(&b);
}

/* ---- Gates: handlers that wait for the test -------------------------------------------------- */

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    unsigned stuck_below; /* messages of a smaller number wait at the gate */
    atomic_uint waiting, done, redelivered;
    atomic_uint seen[100];
} gate;

static void gate_init(gate *g, unsigned stuck_below) {
    memset(g, 0, sizeof *g);
    CHECK_EQ(pthread_mutex_init(&g->lock, NULL), 0);
    CHECK_EQ(pthread_cond_init(&g->changed, NULL), 0);
    g->stuck_below = stuck_below;
}

static void gate_open(gate *g) {
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static seg_verdict through_gate(const seg_message *m, seg_settlement *how, void *arg) {
    gate *g = arg;
    unsigned number = rig_number(m);
    (void)how;
    atomic_fetch_add(&g->redelivered, seg_message_delivery(m).attempt > 1 ? 1 : 0);
    if (number < 100) {
        atomic_fetch_add(&g->seen[number], 1);
    }
    if (number < g->stuck_below) {
        pthread_mutex_lock(&g->lock);
        atomic_fetch_add(&g->waiting, 1);
        while (!g->open) {
            pthread_cond_wait(&g->changed, &g->lock);
        }
        atomic_fetch_sub(&g->waiting, 1);
        pthread_mutex_unlock(&g->lock);
    }
    atomic_fetch_add(&g->done, 1);
    return SEG_ACK;
}

/* ---- Ends ----------------------------------------------------------------------------------- */

/* The handlers under way return, and what they say is stored. */
TEST(stop_waits_for_the_handlers_under_way) {
    bench b;
    gate g;
    set_up(&b, 2);
    gate_init(&g, 100);
    rig_put_keys(b.p, (const char *const[]){"a", "b", "c", "d", "e", "f"}, 6, 0, 60);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    start(&b, through_gate, &g, 4);
    WAIT_FOR(RIG_MS, atomic_load(&g.waiting) == 4);
    seg_consumer_stop(b.k);
    pause_ms(50); /* were it not to wait, it would be over now */
    CHECK(!atomic_load(&b.over));
    gate_open(&g);
    join(&b);
    CHECK_EQ(atomic_load(&g.done), 4);
    CHECK_EQ(rig_stats(b.k).acked, 4);
    CHECK_EQ(rig_stats(b.k).handled, 4);
    uint64_t stored = 0;
    for (uint32_t p = 0; p < 2; p++) {
        seg_group_partition at = rig_cursor(b.c, "s", "g", p);
        stored += at.committed + at.acked;
    }
    CHECK_EQ(stored, 4);
    seg_batch *none = NULL;
    CHECK_STATUS(seg_consumer_poll(&none, b.k, 1, 0, NULL), SEG_ECLOSED, NULL);
    CHECK_OK(seg_consumer_run(b.k, &b.options, &b.err),
             &b.err); /* as a stopped one does: at once */
    tear_down(&b);
}

static seg_verdict stop_at_ten(const seg_message *m, seg_settlement *how, void *arg) {
    bench *b = arg;
    (void)how;
    if (rig_number(m) == 10) {
        seg_consumer_stop(b->k);
    }
    return SEG_ACK;
}

TEST(a_handler_may_stop_its_consumer) {
    bench b;
    set_up(&b, 1);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 100);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    start(&b, stop_at_ten, &b, 4);
    join(&b);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 11);
    tear_down(&b);
}

static seg_consumer *to_stop;

static void on_signal(int signal) {
    (void)signal;
    seg_consumer_stop(to_stop);
}

TEST(a_signal_handler_may_stop_it) {
    bench b;
    gate g;
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    set_up(&b, 1);
    gate_init(&g, 0);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 10);
    to_stop = b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
    start(&b, through_gate, &g, 2);
    WAIT_FOR(RIG_MS, atomic_load(&g.done) == 10);
    CHECK_EQ(kill(getpid(), SIGUSR1), 0); /* on whatever thread */
    join(&b);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    tear_down(&b);
}

/* The stream is deleted under it: run ends with poll's error, and its handlers with it. */
TEST(the_end_of_a_stream_ends_it) {
    bench b;
    gate g;
    set_up(&b, 1);
    gate_init(&g, 0);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 1000});
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 10);
    start(&b, through_gate, &g, 2);
    WAIT_FOR(RIG_MS, atomic_load(&g.done) == 10);
    CHECK_OK(seg_stream_delete(b.c, "s", &b.err), &b.err);
    CHECK_EQ(pthread_join(b.thread, NULL), 0);
    CHECK_STATUS(b.status, SEG_ENOENT, &b.err);
    tear_down(&b);
}

TEST(misuse_is_refused) {
    bench b;
    gate g;
    seg_batch *none = NULL;
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    set_up(&b, 1);
    gate_init(&g, 0);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    seg_run_options o;
    SEG_INIT(&o);
    CHECK_STATUS(seg_consumer_run(b.k, &o, &b.err), SEG_EINVAL, &b.err);
    CHECK_CONTAINS(b.err.text, "handler");
    o.handler = through_gate;
    o.arg = &g;
    o.workers = 1025;
    CHECK_STATUS(seg_consumer_run(b.k, &o, &b.err), SEG_EINVAL, &b.err);
    CHECK_CONTAINS(b.err.text, "1024");
    CHECK_STATUS(seg_consumer_run(b.k, NULL, &b.err), SEG_EINVAL, &b.err);
    CHECK_STATUS(seg_consumer_run(NULL, &o, &b.err), SEG_EINVAL, &b.err);
    o.workers = 2;
    /* Messages of a poll are in the application's hands: who would keep their keys in order? */
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 2);
    rig_take(b.k, in, 2);
    CHECK_STATUS(seg_consumer_run(b.k, &o, &b.err), SEG_EBUSY, &b.err);
    rig_ack(b.k, in->d, 2);
    start(&b, through_gate, &g, 2);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 2, 2);
    WAIT_FOR(RIG_MS, atomic_load(&g.done) == 2);
    CHECK_STATUS(seg_consumer_run(b.k, &o, &b.err), SEG_EBUSY, &b.err);
    CHECK_STATUS(seg_consumer_poll(&none, b.k, 1, 0, &b.err), SEG_EBUSY, &b.err);
    stop(&b);
    free(in);
    tear_down(&b);
}

/* ---- Hand-over ------------------------------------------------------------------------------ */

static void count_revoked(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    (void)partitions;
    atomic_fetch_add((atomic_uint *)arg, what == SEG_REVOKED ? (unsigned)n : 0);
}

/* Another one joins: handlers under way in the partition that goes finish, and what they
 * acknowledge is not delivered again. */
TEST(a_hand_over_waits_for_the_handlers_under_way) {
    bench b;
    gate g;
    atomic_uint revoked = 0;
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    char key[24];
    set_up(&b, 2);
    gate_init(&g, 100);
    for (unsigned i = 0; i < 8; i++) { /* a key of each partition, four messages of each */
        rig_queue(b.p, rig_key(key, i % 2, 2), i, 0);
    }
    rig_flush(b.p);
    b.k = rig_consumer(
        b.c, "s",
        &(rig_join){
            .group = "g", .drain_timeout = 60000, .on_rebalance = count_revoked, .arg = &revoked});
    start(&b, through_gate, &g, 4);
    WAIT_FOR(RIG_MS, atomic_load(&g.waiting) == 2);
    seg_consumer *other = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    WAIT_FOR(RIG_MS, atomic_load(&revoked) == 1);
    CHECK_EQ(rig_poll(other, in, 10, 50), 0);
    gate_open(&g);
    rig_take(other, in, 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(in->d[i].attempt, 1);
        CHECK_EQ(in->d[i].id.offset, i + 1);
    }
    WAIT_FOR(RIG_MS, atomic_load(&g.done) == 5); /* all of its own, one of the other's */
    rig_ack(other, in->d, 3);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    CHECK_EQ(atomic_load(&g.redelivered), 0);
    stop(&b);
    seg_consumer_close(other);
    free(in);
    tear_down(&b);
}

/* ---- Verdicts ------------------------------------------------------------------------------- */

typedef struct deferred {
    pthread_mutex_t lock;
    seg_delivery d[64];
    unsigned number[64];
    size_t n;
    seg_consumer *k;
} deferred;

/* Even numbers are settled from within, before it is known that they are deferred. */
static seg_verdict defer(const seg_message *m, seg_settlement *how, void *arg) {
    deferred *f = arg;
    seg_delivery d = seg_message_delivery(m);
    (void)how;
    pthread_mutex_lock(&f->lock);
    CHECK_LT(f->n, 64);
    f->number[f->n] = rig_number(m);
    f->d[f->n++] = d;
    pthread_mutex_unlock(&f->lock);
    if (rig_number(m) % 2 == 0) {
        rig_ack(f->k, &d, 1);
    }
    return SEG_DEFER;
}

static size_t count_deferred(deferred *f) {
    pthread_mutex_lock(&f->lock);
    size_t n = f->n;
    pthread_mutex_unlock(&f->lock);
    return n;
}

/* What is deferred is settled from anywhere; until then the next of its key waits. If nobody does,
 * its ack timeout brings it back. */
TEST(what_is_deferred_is_settled_later) {
    bench b;
    deferred f = {.lock = PTHREAD_MUTEX_INITIALIZER};
    set_up(&b, 1);
    rig_put_keys(b.p, (const char *const[]){"even", "odd"}, 2, 0, 8);
    f.k = b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 1000});
    start(&b, defer, &f, 4);
    WAIT_FOR(RIG_MS, count_deferred(&f) == 5); /* all even ones, and the first odd one */
    pause_ms(30);
    CHECK_EQ(count_deferred(&f), 5);
    for (size_t i = 0; i < 2; i++) {
        size_t last = count_deferred(&f) - 1;
        for (; f.number[last] % 2 == 0; last--) {
        }
        CHECK_EQ(f.number[last], 2 * i + 1);
        rig_ack(b.k, &f.d[last], 1);
        WAIT_FOR(RIG_MS, count_deferred(&f) == 6 + i);
    }
    CHECK_EQ(f.number[6], 5);
    CHECK_EQ(f.d[6].attempt, 1);
    WAIT_FOR(RIG_MS, count_deferred(&f) == 8); /* its time runs out */
    CHECK_EQ(f.number[7], 5);
    CHECK_EQ(f.d[7].attempt, 2);
    rig_settle_as(b.k, &f.d[7], SEG_RETRY, 1, NULL);
    WAIT_FOR(RIG_MS, count_deferred(&f) == 9);
    CHECK_EQ(f.number[8], 5);
    CHECK_EQ(f.d[8].attempt, 3);
    rig_settle_as(b.k, &f.d[8], SEG_REJECT, 0, NULL);
    WAIT_FOR(RIG_MS, count_deferred(&f) == 10);
    rig_ack(b.k, &f.d[9], 1);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    stop(&b);
    tear_down(&b);
}

/* The ack timeout does not run while a handler runs. */
TEST(a_handler_may_take_longer_than_the_ack_timeout) {
    bench b;
    gate g;
    set_up(&b, 1);
    gate_init(&g, 1);
    rig_put_keys(b.p, (const char *const[]){"a", "b"}, 2, 0, 2);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 50, .max_attempts = 1});
    start(&b, through_gate, &g, 4);
    WAIT_FOR(RIG_MS, atomic_load(&g.waiting) == 1 && atomic_load(&g.done) == 1);
    int64_t begin = test_now_ms();
    WAIT_FOR(RIG_MS, test_now_ms() - begin > 400);
    CHECK_EQ(atomic_load(&g.waiting), 1);
    gate_open(&g);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    CHECK_EQ(atomic_load(&g.redelivered), 0);
    CHECK_EQ(rig_messages(b.c, "s.g.dlq"), 0);
    stop(&b);
    tear_down(&b);
}

static atomic_uint complaints;

static void on_log(seg_log_level level, const char *event, const char *text, void *arg) {
    (void)level;
    (void)text;
    (void)arg;
    atomic_fetch_add(&complaints, strcmp(event, "verdict") == 0 ? 1 : 0);
}

/* On its first attempts a message gets one nonsense after another. */
static seg_verdict talk_nonsense(const seg_message *m, seg_settlement *how, void *arg) {
    static const int nonsense[] = {0, 77, -1, SEG_EXTEND, INT32_MAX};
    uint32_t attempt = seg_message_delivery(m).attempt;
    (void)arg;
    how->delay = 3600000;
    how->reason = (const char *)1; /* not looked at, as the verdict is not one */
    return attempt <= 5 ? (seg_verdict)nonsense[attempt - 1] : SEG_ACK;
}

TEST(nonsense_is_a_retry_and_is_logged) {
    bench b;
    seg_client *mine = NULL;
    seg_client_options o;
    set_up(&b, 1);
    SEG_INIT(&o);
    o.url = server_url(b.s);
    o.log = on_log;
    CHECK_OK(seg_client_open(&mine, &o, &b.err), &b.err);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 1);
    b.k = rig_consumer(mine, "s", &(rig_join){.group = "g", .retry_delay = 1});
    start(&b, talk_nonsense, NULL, 2);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    CHECK_EQ(atomic_load(&complaints), 5);
    stop(&b);
    close_consumer(&b);
    seg_client_close(mine);
    tear_down(&b);
}

/* What failed in an earlier poll waits for its time, and its key with it, for handlers as well. */
TEST(what_waits_from_an_earlier_poll_is_handled_in_order) {
    bench b;
    workshop *w = calloc(1, sizeof *w);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(w != NULL && in != NULL);
    set_up(&b, 1);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 20);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .retry_delay = 2});
    while (in->n < 3) {
        rig_poll(b.k, in, 3 - in->n, 1000);
    }
    rig_settle_as(b.k, &in->d[0], SEG_RETRY, 200, NULL);
    rig_settle_as(b.k, &in->d[1], SEG_RELEASE, 0, NULL);
    rig_settle_as(b.k, &in->d[2], SEG_RETRY, 100, NULL);
    start(&b, one_of_a_partition, w, 4); /* checks that they come one by one, from 0 on */
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    stop(&b);
    CHECK_EQ(w->next[0], 20);
    free(w);
    free(in);
    tear_down(&b);
}

TEST(a_pause_holds_handlers_too) {
    bench b;
    gate g;
    set_up(&b, 2);
    gate_init(&g, 0);
    b.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    CHECK_OK(seg_consumer_pause(b.k, 0, true, &b.err), &b.err);
    start(&b, through_gate, &g, 2);
    rig_spread(b.p, 2, 0, 20);
    WAIT_FOR(RIG_MS, atomic_load(&g.done) == 10);
    pause_ms(50);
    CHECK_EQ(atomic_load(&g.done), 10);
    CHECK_OK(seg_consumer_pause(b.k, 0, false, &b.err), &b.err);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    stop(&b);
    tear_down(&b);
}

/* All workers are stuck while messages wait: another member gets them, and what the stuck ones say
 * in the end counts for nothing. Then it is a member again. */
TEST(handlers_that_are_stuck_give_their_partitions_to_others) {
    bench b;
    gate g;
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    set_up(&b, 1);
    gate_init(&g, 1);
    rig_put_keys(b.p, (const char *const[]){"a", "b"}, 2, 0, 10);
    b.k = rig_consumer(b.c, "s",
                       &(rig_join){.group = "g",
                                   .session_timeout = 60000,
                                   .drain_timeout = 60000,
                                   .max_poll_interval = 250});
    start(&b, through_gate, &g, 1);
    WAIT_FOR(RIG_MS, atomic_load(&g.waiting) == 1);
    seg_consumer *other = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(other, in, 10);
    CHECK_EQ(in->d[0].attempt, 2);
    CHECK_EQ(rig_stats(b.k).poll_timeouts, 1);
    gate_open(&g);
    rig_ack(other, in->d, 10);
    rig_commit(other);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    WAIT_FOR(RIG_MS, seg_consumer_active(b.k));
    CHECK_EQ(rig_stats(b.k).acked, 0);
    seg_consumer_close(other);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 10, 10);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    stop(&b);
    free(in);
    tear_down(&b);
}

/* ---- Stuck ---------------------------------------------------------------------------------- */

/* Resident memory, bytes. */
static size_t resident(void) {
    unsigned long total = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL);
    CHECK_EQ(fscanf(f, "%lu %lu", &total, &pages), 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* One key is stuck for as long as we like. Its partition goes on with all other keys up to the
 * bound, the others without any; memory does not grow with what passes by. */
TEST(a_stuck_key_holds_up_nothing_else) {
    enum { PARTITIONS = 4, PARKED = 1 << 20, ROUND = 20000 };
    const unsigned rounds = test_sanitized() ? 3 : 10, bound = 4096;
    bench b;
    gate g;
    char key[24];
    size_t most = 0, before = 0;
    set_up(&b, PARTITIONS);
    gate_init(&g, 1);
    rig_queue(b.p, rig_key(key, 0, PARTITIONS), 0, 0);
    rig_flush(b.p);
    b.k = rig_consumer(b.c, "s",
                       &(rig_join){.group = "g", .max_parked = PARKED, .max_in_flight = bound});
    start(&b, through_gate, &g, 4);
    WAIT_FOR(RIG_MS, atomic_load(&g.waiting) == 1);
    uint64_t free_ones = 0;
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < ROUND; i++) {
            snprintf(key, sizeof key, "key-%u", i % 97);
            free_ones += seg_partition_of((seg_bytes){key, strlen(key)}, PARTITIONS) != 0;
            rig_queue(b.p, key, 1000 + i, 100);
        }
        rig_flush(b.p);
        WAIT_FOR(RIG_MS, atomic_load(&g.done) >= free_ones);
        size_t now = resident();
        before = r == 0 ? now : before;
        most = now > most ? now : most;
        CHECK_LE(rig_stats(b.k).parked_bytes, PARKED + 256 * 1024);
    }
    WAIT_FOR(RIG_MS, atomic_load(&g.done) == free_ones + bound - 1);
    CHECK_EQ(rig_stats(b.k).blocked, 1);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 0);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).acked, bound - 1);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).lag, 0);
    if (!test_sanitized()) { /* they keep what is freed */
        CHECK_LE(most - before, 32u << 20);
    }
    gate_open(&g);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    CHECK_EQ(atomic_load(&g.done), rounds * ROUND + 1);
    CHECK_EQ(rig_stats(b.k).blocked, 0);
    CHECK_EQ(atomic_load(&g.redelivered), 0);
    stop(&b);
    tear_down(&b);
}

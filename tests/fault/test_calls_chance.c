/* System calls fail at random, by a seed: many that only cut or wait, now and then one that ends a
 * connection. Nothing is lost, doubled or out of order. */
#include "calls_rig.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "rig.h"

enum { PARTITIONS = 3, N_KEYS = 16, PATIENCE = 100000 };

typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    seg_consumer *k;
    ledger *l;
    sg_rng rng;
    uint64_t taken, again;     /* messages: first deliveries, others */
    uint64_t next[PARTITIONS]; /* of first deliveries */
} bench;

static bench set_up(int64_t session_timeout) {
    calls_begin();
    bench b = {.s = server_start(NULL), .l = ledger_new(N_KEYS), .rng = {test_seed()}};
    rig_join j = {.group = "g", .session_timeout = session_timeout};
    seg_producer_options o;
    seg_error err;
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", PARTITIONS);
    SEG_INIT(&o);
    o.max_batch = 1024;
    CHECK_OK(seg_producer_open(&b.p, b.c, "s", &o, &err), &err);
    b.k = rig_consumer(b.c, "s", &j);
    return b;
}

static void tear_down(bench *b) {
    printf("%llu calls failed, %zu messages, %llu delivered again\n",
           (unsigned long long)calls_failed(), ledger_sent(b->l), (unsigned long long)b->again);
    seg_consumer_close(b->k);
    seg_producer_close(b->p);
    seg_client_close(b->c);
    ledger_free(b->l);
    server_stop(b->s);
}

/* The first deliveries of a partition come in order, none is left out; what comes again came
 * before. */
static void note(bench *b, const seg_delivery *d) {
    uint64_t *next = &b->next[d->partition];
    CHECK_LE(d->id.offset, *next);
    if (d->id.offset == *next) {
        ++*next;
        b->taken++;
    } else {
        b->again++;
    }
}

static void take_some(bench *b, int64_t wait) {
    seg_batch *batch = NULL;
    seg_error err;
    CHECK_OK(seg_consumer_poll(&batch, b->k, 1 + sg_rng_below(&b->rng, 20), wait, &err), &err);
    for (size_t i = 0; i < seg_batch_count(batch); i++) {
        seg_delivery d = seg_message_delivery(seg_batch_at(batch, i));
        note(b, &d);
    }
    seg_status s = seg_ack_batch(b->k, batch, &err);
    CHECK(s == SEG_OK || s == SEG_EFENCED);
    seg_batch_free(batch);
}

static void send_some(bench *b, size_t total) {
    seg_error err;
    for (uint64_t n = sg_rng_below(&b->rng, 10); n > 0 && ledger_sent(b->l) < total; n--) {
        unsigned key = (unsigned)sg_rng_below(&b->rng, N_KEYS);
        CHECK_OK(ledger_send_async(b->l, b->p, key, sg_rng_below(&b->rng, 600), &err), &err);
    }
    CHECK_OK(seg_producer_poll(b->p, 0, &err), &err);
}

/* All that is in the logs has come, and is acknowledged. */
static void finish(bench *b) {
    seg_error err;
    int64_t end = test_now_ms() + PATIENCE;
    ledger_settle(b->l, b->p, PATIENCE);
    size_t stored = ledger_check(b->l, b->s, "default", "s");
    while (b->taken < stored) {
        take_some(b, 100);
        CHECK_LT(test_now_ms(), end);
    }
    CHECK_EQ(b->taken, stored);
    while (rig_lag(b->c, "s", "g") > 0) {
        take_some(b, 20);
        CHECK_LT(test_now_ms(), end);
    }
    calls_pass();
    CHECK_OK(seg_producer_flush(b->p, 0, &err), &err);
}

/* ---- Plain ---------------------------------------------------------------------------------- */

static void send_and_take(uint64_t gentle, uint64_t harsh) {
    enum { TOTAL = 3000 };
    bench b = set_up(60000);
    calls_fail_at_random(test_seed(), gentle, harsh);
    while (ledger_sent(b.l) < TOTAL) {
        send_some(&b, TOTAL);
        take_some(&b, 0);
    }
    ledger_settle(b.l, b.p, PATIENCE);
    CHECK_EQ(ledger_count(b.l, SEG_OK), TOTAL);
    finish(&b);
    CHECK_EQ(b.again, 0);         /* nobody else had it, and it was never given up */
    CHECK_GT(calls_failed(), 20); /* a slow machine makes fewer and larger calls */
    tear_down(&b);
}

TEST_DEADLINE(most_calls_are_cut_short, 120) {
    send_and_take(2, 0);
}

TEST_DEADLINE(connections_end_now_and_then, 120) {
    send_and_take(3, 150);
}

TEST_DEADLINE(connections_end_all_the_time, 120) {
    send_and_take(10, 25);
}

/* ---- Handlers, and what they forward --------------------------------------------------------- */

typedef struct shop {
    seg_consumer *k;
    seg_producer *out;
    atomic_uint calls, done;
} shop;

static seg_verdict forward(const seg_message *m, seg_settlement *how, void *arg) {
    shop *w = arg;
    seg_delivery d = seg_message_delivery(m);
    seg_record r;
    seg_error err;
    SEG_INIT(&r);
    r.key = seg_message_key(m);
    r.value = seg_message_value(m);
    CHECK_OK(seg_forward(w->k, &d, w->out, &r, &err), &err);
    how->delay = 1;
    return atomic_fetch_add(&w->calls, 1) % 7 == 3 ? SEG_RETRY : SEG_ACK;
}

static void *stop_at_the_end(void *arg) {
    bench *b = arg;
    WAIT_FOR(PATIENCE, rig_stats(b->k).acked == ledger_sent(b->l));
    seg_consumer_stop(b->k);
    return NULL;
}

typedef struct copy {
    uint64_t last[N_KEYS]; /* number of the latest message of each key, plus one */
    size_t n;
} copy;

static void check_one(const log_message *m, void *arg) {
    copy *c = arg;
    char key[16] = "", value[16] = "";
    memcpy(key, m->key.data, m->key.len < 15 ? m->key.len : 15);
    memcpy(value, m->value.data, m->value.len < 12 ? m->value.len : 12);
    uint64_t number = strtoull(value, NULL, 10) + 1, *last = &c->last[strtoul(key + 1, NULL, 10)];
    CHECK_GT(number, *last);
    *last = number;
    c->n++;
}

static void check_copy(const bench *b, size_t total) {
    copy c = {.n = 0};
    log_each_partition(b->s, "default", "t", check_one, &c);
    CHECK_EQ(c.n, total);
}

TEST_DEADLINE(handlers_forward, 120) {
    enum { TOTAL = 1000 };
    bench b = set_up(60000);
    seg_run_options o;
    seg_error err;
    pthread_t stopper;
    rig_stream(b.c, "t", PARTITIONS);
    shop w = {.k = b.k};
    CHECK_OK(seg_producer_open(&w.out, b.c, "t", NULL, &err), &err);
    SEG_INIT(&o);
    o.handler = forward;
    o.arg = &w;
    o.workers = 4;
    while (ledger_sent(b.l) < TOTAL) {
        send_some(&b, TOTAL);
    }
    ledger_settle(b.l, b.p, PATIENCE);
    CHECK_EQ(pthread_create(&stopper, NULL, stop_at_the_end, &b), 0);
    calls_fail_at_random(test_seed(), 4, 100);
    CHECK_OK(seg_consumer_run(b.k, &o, &err), &err);
    calls_pass();
    CHECK_EQ(pthread_join(stopper, NULL), 0);
    /* Each once, and in the order of their keys. */
    CHECK_EQ(ledger_check(b.l, b.s, "default", "s"), TOTAL);
    check_copy(&b, TOTAL);
    CHECK_GT(atomic_load(&w.calls), TOTAL);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_producer_close(w.out);
    tear_down(&b);
}

/* ---- The clock jumps ------------------------------------------------------------------------- */

/* As after a suspension: leases, timeouts and deadlines may all be over at once. */
TEST_DEADLINE(the_clock_jumps, 120) {
    enum { TOTAL = 3000 };
    bench b = set_up(1000);
    calls_fail_at_random(test_seed(), 20, 400);
    while (ledger_sent(b.l) < TOTAL) {
        send_some(&b, TOTAL);
        take_some(&b, 1);
        if (sg_rng_below(&b.rng, 10) == 0) {
            atomic_fetch_add(&clock_skew_ns, (long long)sg_rng_below(&b.rng, 7000) * 1000000);
        }
    }
    finish(&b);
    tear_down(&b);
}

/* Every allocation fails in its turn while handlers run: each message is handled, what it results
 * in is stored once, and it is acknowledged. */
#include <pthread.h>
#include <stdatomic.h>

#include "memory_rig.h"

enum { PARTITIONS = 2, MESSAGES = 8, WORKERS = 2 };

typedef struct shop {
    seg_consumer *k;
    seg_producer *out;
    seg_run_options run;
    pthread_t thread;
    seg_status status;
    seg_error err;
    atomic_bool returned;
    atomic_uint refused; /* forwards without memory */
    bool reject;
} shop;

static seg_verdict forward(const seg_message *m, seg_settlement *how, void *arg) {
    shop *w = arg;
    seg_delivery d = seg_message_delivery(m);
    seg_record r;
    seg_error err;
    SEG_INIT(&r);
    r.key = seg_message_key(m);
    r.value = seg_message_value(m);
    how->delay = -1;
    if (w->reject) {
        how->reason = "because";
        return SEG_REJECT;
    }
    for (int i = 0; i < 2; i++) {
        seg_status s = seg_forward(w->k, &d, w->out, &r, &err);
        if (s != SEG_OK) {
            CHECK_STATUS(s, SEG_ENOMEM, &err);
            atomic_fetch_add(&w->refused, 1);
            return SEG_RETRY;
        }
    }
    return SEG_ACK;
}

static void *work(void *arg) {
    shop *w = arg;
    w->status = seg_consumer_run(w->k, &w->run, &w->err);
    atomic_store(&w->returned, true);
    return NULL;
}

static void begin(shop *w) {
    atomic_store(&w->returned, false);
    CHECK_EQ(pthread_create(&w->thread, NULL, work, w), 0);
}

static bool is_done(const shop *w) {
    seg_consumer_stats stats = rig_stats(w->k);
    return (w->reject ? stats.dead_lettered : stats.acked) == MESSAGES;
}

static bool is_over(void *arg) {
    shop *w = arg;
    return is_done(w) || atomic_load(&w->returned);
}

/* Where it could not even begin, or only with some of its workers, it runs again: once the message
 * whose verdict found no memory is not in hand any more. */
static bool has_finished(shop *w, sweep *s) {
    bool done = is_done(w);
    if (!done && !atomic_load(&w->returned)) {
        return false;
    }
    if (done) {
        seg_consumer_stop(w->k);
    }
    CHECK_EQ(pthread_join(w->thread, NULL), 0);
    if (w->status != SEG_OK) {
        CHECK(s->hit);
        CHECK(w->status == SEG_ENOMEM || w->status == SEG_EBUSY);
        s->told += w->status == SEG_ENOMEM;
    }
    if (!done) {
        begin(w);
    }
    return done;
}

static void open_shop(shop *w, const sweep *s) {
    char group[24];
    rig_join j = {.group = sweep_name(s, group), .session_timeout = 60000};
    seg_producer_options o;
    seg_error err;
    *w = (shop){.k = rig_consumer(s->client, "s", &j)};
    SEG_INIT(&o);
    CHECK_OK(seg_producer_open(&w->out, s->client, "t", &o, &err), &err);
    SEG_INIT(&w->run);
    w->run.handler = forward;
    w->run.arg = w;
    w->run.workers = WORKERS;
}

static void set_up(sweep *s) {
    sweep_init(s, true);
    rig_stream(s->calm, "s", PARTITIONS);
    rig_stream(s->calm, "t", PARTITIONS);
    seg_producer *p = rig_producer(s->calm, "s");
    rig_spread(p, PARTITIONS, 0, MESSAGES);
    seg_producer_close(p);
}

static void sweep_handlers(bool reject) {
    sweep s;
    uint64_t outputs = 0;
    unsigned refused = 0;
    set_up(&s);
    while (sweep_more(&s)) {
        char group[24], letters[32];
        shop w;
        open_shop(&w, &s);
        w.reject = reject;
        sweep_arm(&s);
        begin(&w);
        CHECK(wait_until(RIG_MS, is_over, &w));
        sweep_disarm(&s);
        WAIT_FOR(RIG_MS, has_finished(&w, &s));
        refused += atomic_load(&w.refused);
        sweep_name(&s, group);
        WAIT_FOR(RIG_MS, rig_lag(s.calm, "s", group) == 0); /* the last commit is under way */
        outputs += reject ? 0 : 2 * MESSAGES;
        CHECK_EQ(rig_messages(s.calm, "t"), outputs);
        snprintf(letters, sizeof letters, "s.%s.dlq", group);
        CHECK_EQ(rig_messages(s.calm, letters), reject ? MESSAGES : 0);
        seg_consumer_close(w.k);
        seg_producer_close(w.out);
    }
    printf("%u outputs refused\n", refused);
    sweep_end(&s);
}

TEST_DEADLINE(handlers_that_forward, 120) {
    sweep_handlers(false);
}

TEST_DEADLINE(handlers_that_reject, 120) {
    sweep_handlers(true);
}

/* A consumer's application side: handlers in parallel.
 *
 * Each worker, under the consumer's lock: settle the last message, take the next one that may
 * go. The lanes (core/lanes.h, strict) see to it that no two workers have messages of one key,
 * so there is nothing to dispatch and nothing queues: a slow handler delays only its own key. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/consumer.h"
#include "engine/tracing.h"

#define WORKERS_MAX  1024
#define NO_MEMORY_MS 10

typedef struct sg_worker {
    pthread_t thread;
    seg_consumer *consumer;
    const seg_run_options *opts;
    seg_batch *batch; /* of one message */

    /* Of the handler under way; the consumer's lock. */
    bool busy;
    uint32_t partition;
    uint64_t lane, epoch; /* epoch: of the holding whose lane it keeps closed */
} worker;

/* ---- one message -------------------------------------------------------------------------- */

/* Lock held. */
static void measure(seg_consumer *c, int64_t us) {
    seg_consumer_stats *s = &c->stats;
    size_t bucket = 0, last = sizeof s->handler_us_log2 / sizeof *s->handler_us_log2 - 1;
    uint64_t t = us > 0 ? (uint64_t)us : 0;
    while (bucket < last && t >> (bucket + 1) != 0)
        bucket++;
    s->handled++;
    s->handler_us += t;
    s->handler_us_max = t > s->handler_us_max ? t : s->handler_us_max;
    s->handler_us_log2[bucket]++;
}

/* Lock held. */
static void settle(seg_consumer *c, const seg_delivery *d, seg_verdict verdict,
                   const seg_settlement *how) {
    char name[201];
    const seg_settlement none = {.size = sizeof none};
    if (verdict == SEG_DEFER) { /* from now on its ack timeout runs; it may be settled already */
        sg_consumer_settle(c, d, SEG_DEFER, &none);
        return;
    }
    bool nowhere = verdict == SEG_REJECT && !sg_dlq_name(name, c->stream.name, c->group.name);
    if (verdict < SEG_ACK || verdict > SEG_REJECT || nowhere) {
        sg_log_write(
            &c->client->log, SEG_LOG_ERROR, "verdict",
            nowhere ? "the dead letters' name would be longer than 200 characters: the message is "
                      "tried again (verdict %d)"
                    : "a handler returned %d, which is no verdict: its message is tried again",
            (int)verdict);
        verdict = SEG_RETRY;
        how = &none;
    }
    /* Where the partition has moved, it is its next owner's. */
    if (sg_consumer_settle(c, d, verdict, how) == SEG_ENOMEM) {
        const seg_settlement soon = {.size = sizeof soon, .delay = NO_MEMORY_MS};
        sg_consumer_settle(c, d, SEG_DEFER, &soon); /* then it comes again by its timeout */
    }
}

/* ---- the workers -------------------------------------------------------------------------- */

/* Lock held. */
static bool is_over(const seg_consumer *c) {
    return atomic_load(&c->stopping) || c->closing || c->fault.status != SEG_OK || !c->running;
}

/* Lock held. Wait for a message. False: it is over. */
static bool take_one(seg_consumer *c, seg_batch *b) {
    while (!is_over(c)) {
        int64_t now = sg_clock_ms();
        sg_consumer_came(c, now);
        bool memory = now >= c->safe_until || sg_consumer_take(c, b, 1, now);
        if (seg_batch_count(b) > 0) {
            if (c->idle > 0) /* where there was one there may be more */
                sg_cond_signal(&c->work);
            return true;
        }
        c->idle++;
        sg_cond_wait(&c->work, &c->lock, memory ? SEG_FOREVER : NO_MEMORY_MS);
        c->idle--;
    }
    return false;
}

/* A handler outlives its partition, where that was lost, or left for a rest. If the partition
 * comes back before the handler has, its lane begins closed: nobody else gets a message of that
 * key meanwhile. */
void sg_consumer_carry(seg_consumer *c, sg_holding *h) {
    for (uint32_t i = 0; i < c->n_workers; i++) {
        worker *w = &c->workers[i];
        if (w->busy && w->partition == h->partition && sg_lanes_out(h->lanes, w->lane))
            w->epoch = h->epoch;
    }
}

/* Lock held. */
static void begin_handler(worker *w, const seg_delivery *d) {
    const sg_holding *h = sg_consumer_holding(w->consumer, d->partition, d->epoch);
    w->busy = true;
    w->partition = d->partition;
    w->epoch = d->epoch;
    w->lane = sg_holding_lane(h, sg_holding_block(h, d->id.offset), d->id.offset);
}

/* Lock held, after its verdict. */
static void end_handler(worker *w, const seg_delivery *d) {
    w->busy = false;
    if (w->epoch == d->epoch)
        return;
    sg_holding *h = sg_consumer_holding(w->consumer, w->partition, w->epoch);
    if (h != NULL && h->lanes != NULL)
        sg_lanes_in(h->lanes, w->lane);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    seg_consumer *c = w->consumer;
    sg_mutex_lock(&c->lock);
    while (take_one(c, w->batch)) {
        const seg_message *m = seg_batch_at(w->batch, 0);
        seg_delivery d = seg_message_delivery(m);
        begin_handler(w, &d);
        sg_mutex_unlock(&c->lock);
        seg_settlement how;
        SEG_INIT(&how);
        void *span = sg_trace_begin(c->client, c->stream.name, c->group.name, m);
        int64_t begin = sg_clock_us();
        seg_verdict verdict = w->opts->handler(m, &how, w->opts->arg);
        int64_t us = sg_clock_us() - begin;
        sg_trace_end(c->client, span, verdict, &how);
        sg_mutex_lock(&c->lock);
        c->ack_clock++;
        settle(c, &d, verdict, &how);
        end_handler(w, &d);
        measure(c, us);
        sg_batch_clear(w->batch);
        sg_loop_wake(&c->actor);
    }
    sg_mutex_unlock(&c->lock);
    return NULL;
}

static uint32_t start(worker *workers, uint32_t n, seg_consumer *c, const seg_run_options *o) {
    for (uint32_t i = 0; i < n; i++) {
        worker *w = &workers[i];
        w->consumer = c;
        w->opts = o;
        w->batch = sg_batch_new(c->client->pool);
        if (w->batch == NULL || !sg_thread_start(&w->thread, "seg-worker", worker_main, w)) {
            seg_batch_free(w->batch);
            return i;
        }
    }
    return n;
}

static void join(worker *workers, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        pthread_join(workers[i].thread, NULL);
        seg_batch_free(workers[i].batch);
    }
}

/* ---- seg_consumer_run --------------------------------------------------------------------- */

/* Lock held. From now on lanes are strict, in what is held as in what comes. */
static seg_status begin(seg_consumer *c, seg_error *err) {
    if (c->polling)
        return sg_fail(
            err, SEG_EBUSY,
            "another thread polls or runs this consumer, or this is one of its callbacks");
    for (size_t i = 0; i < c->n_owned; i++) {
        sg_holding *h = c->owned[i];
        if (h->window != NULL && sg_window_in_flight(h->window) > 0)
            return sg_fail(err, SEG_EBUSY,
                           "messages of earlier polls are not settled: settle them first");
    }
    for (size_t i = 0; i < c->n_owned; i++)
        sg_holding_be_strict(c->owned[i]);
    c->polling = c->running = c->strict = true;
    return SEG_OK;
}

/* Lock held. Callbacks, until it is over. */
static void attend(seg_consumer *c) {
    for (;;) {
        sg_consumer_tell(c);
        if (is_over(c) || c->n_untold > 0)
            return;
        sg_cond_wait(&c->changed, &c->lock, SEG_FOREVER);
    }
}

/* Lock held. */
static seg_status end(seg_consumer *c, seg_error *err) {
    if (sg_consumer_untold(c, err))
        return SEG_ELOST;
    if (c->fault.status != SEG_OK)
        return sg_fail(err, c->fault.status, "%s", c->fault.text);
    return SEG_OK;
}

static seg_status check(const seg_run_options *o, seg_error *err) {
    if (o->handler == NULL)
        return sg_fail(err, SEG_EINVAL, "the handler is NULL");
    if (o->workers > WORKERS_MAX)
        return sg_fail(err, SEG_EINVAL, "workers is %u: at most %d", o->workers, WORKERS_MAX);
    return SEG_OK;
}

seg_status seg_consumer_run(seg_consumer *c, const seg_run_options *opts, seg_error *err) {
    seg_run_options o = {.size = sizeof o};
    seg_status s;
    if (c == NULL || opts == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", c == NULL ? "the consumer" : "opts");
    if ((s = sg_options_copy(&o, sizeof o, opts, "run options", err)) != SEG_OK ||
        (s = check(&o, err)) != SEG_OK)
        return s;
    uint32_t wanted = o.workers > 0 ? o.workers : 1;
    worker *workers = sg_calloc(wanted, sizeof *workers);
    if (workers == NULL)
        return sg_fail_nomem(err);
    sg_mutex_lock(&c->lock);
    s = begin(c, err);
    if (s == SEG_OK) {
        c->workers = workers;
        c->n_workers = wanted;
    }
    sg_mutex_unlock(&c->lock);
    if (s != SEG_OK) {
        sg_free(workers);
        return s;
    }
    uint32_t n = start(workers, wanted, c, &o);
    sg_mutex_lock(&c->lock);
    if (n == wanted)
        attend(c);
    c->running = false;
    sg_cond_broadcast(&c->work);
    sg_mutex_unlock(&c->lock);
    join(workers, n);
    sg_mutex_lock(&c->lock);
    c->workers = NULL;
    c->n_workers = 0;
    sg_mutex_unlock(&c->lock);
    sg_free(workers);
    seg_consumer_commit(c, c->client->command_timeout, NULL);
    sg_mutex_lock(&c->lock);
    s = n == wanted ? end(c, err)
                    : sg_fail(err, SEG_ENOMEM, "only %u of %u workers could be started", n, wanted);
    c->polling = false;
    c->taken_at = sg_clock_ms();
    sg_mutex_unlock(&c->lock);
    return s;
}

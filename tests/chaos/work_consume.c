/* work_consume.c - consumers: by poll, by handlers, and such that come and go. */
#include <string.h>

#include "worker.h"

enum {
    MAX_BATCH = 100,
    HAND = 300, /* messages in hand */
    POLL_MS = 40,
    REOPEN_MS = 100,
    COMMIT_CHANCE = 8,
    WORKERS = 4,
    HANDLER_MS = 3,
    STAY_MS = 2500
};

/* What was delivered and is not settled. */
typedef struct hand {
    seg_delivery d[HAND];
    size_t n;
} hand;

/* Some of what is in hand, in any order. */
static void settle_some(reader *r, hand *h, size_t n) {
    for (; n > 0 && h->n > 0; n--) {
        size_t i = work_chance(r->w, h->n);
        seg_delivery d = h->d[i];
        h->d[i] = h->d[--h->n];
        reader_settle(r, &d, SEG_ACK);
    }
}

/* All of it at once: what failed comes again, and what it must not be overtaken by is given back. */
static void settle_with_failures(reader *r, const seg_batch *b) {
    uint64_t failed[MAX_BATCH];
    size_t n_failed = 0;
    for (size_t i = 0; i < seg_batch_count(b); i++) {
        const seg_message *m = seg_batch_at(b, i);
        seg_delivery d = seg_message_delivery(m);
        value v;
        size_t at = 0;
        if (!value_read(&v, seg_message_value(m)))
            work_broken(r->w, "settle", "the message has changed");
        while (at < n_failed && failed[at] != v.key)
            at++;
        seg_verdict verdict = at < n_failed ? SEG_RELEASE : SEG_ACK;
        if (verdict == SEG_ACK && work_chance(r->w, 1000) < r->w->retry) {
            failed[n_failed++] = v.key;
            verdict = SEG_RETRY;
        }
        reader_settle(r, &d, verdict);
    }
}

static seg_status poll_once(reader *r, hand *h, seg_error *err) {
    work *w = r->w;
    seg_batch *b = NULL;
    size_t room = HAND - h->n < MAX_BATCH ? HAND - h->n : MAX_BATCH;
    uint64_t polled = history_now();
    seg_status s = seg_consumer_poll(&b, r->consumer, 1 + work_chance(w, room), POLL_MS, err);
    if (s != SEG_OK)
        return s;
    for (size_t i = 0; i < seg_batch_count(b); i++) {
        value v;
        reader_delivered(r, seg_batch_at(b, i), &v, polled);
        if (w->retry == 0)
            h->d[h->n++] = seg_message_delivery(seg_batch_at(b, i));
    }
    if (w->retry > 0)
        settle_with_failures(r, b);
    bool idle = seg_batch_count(b) == 0;
    seg_batch_free(b);
    settle_some(r, h, idle || h->n > HAND / 2 ? h->n : work_chance(w, h->n + 1));
    if (work_chance(w, COMMIT_CHANCE) == 0)
        reader_commit(r);
    return SEG_OK;
}

/* One consumer until it is over, or for `stay` ms. */
static void read_for(work *w, seg_client *c, int64_t stay) {
    static hand h;
    reader r;
    seg_error err;
    seg_status s = SEG_OK;
    int64_t end = work_now_ms() + stay;
    h.n = 0;
    if (!reader_open(&r, w, c, false))
        return;
    while (s == SEG_OK && !atomic_load(&work_over) && work_now_ms() < end) {
        s = poll_once(&r, &h, &err);
        if (reader_goes_on(&r, s, &err))
            s = SEG_OK;
        if (w->rate > 0) /* a slow one */
            work_pause((int64_t)(1000 / w->rate));
    }
    if (s != SEG_OK)
        reader_ended(&r, s, &err);
    reader_close(&r);
}

void work_poll(work *w) {
    seg_client *c = work_client(w);
    while (c != NULL && !atomic_load(&work_over)) {
        read_for(w, c, INT32_MAX);
        work_pause(REOPEN_MS);
    }
    seg_client_close(c);
}

void work_come_and_go(work *w) {
    while (!atomic_load(&work_over)) {
        seg_client *c = work_client(w);
        if (c != NULL)
            read_for(w, c, (int64_t)work_chance(w, STAY_MS));
        seg_client_close(c);
        work_pause((int64_t)work_chance(w, STAY_MS / 2));
    }
}

/* ---- Handlers ------------------------------------------------------------------------------- */

static seg_verdict handle(const seg_message *m, seg_settlement *how, void *arg) {
    reader *r = arg;
    seg_delivery d = seg_message_delivery(m);
    value v;
    reader_delivered(r, m, &v, 0);
    /* Of the message and the attempt, not of a state that the threads would share. */
    uint32_t chance = history_crc(&d, sizeof d) % 1000;
    seg_verdict verdict = chance < r->w->retry                  ? SEG_RETRY
                          : chance < r->w->retry + r->w->reject ? SEG_REJECT
                                                                : SEG_ACK;
    how->delay = verdict == SEG_RETRY ? 1 + chance : 0;
    work_pause(chance % HANDLER_MS);
    history_record e = reader_settling(r, &d, verdict);
    history_done(r->w->h, &e, HISTORY_OK, SEG_OK);
    return verdict;
}

void work_handle(work *w) {
    seg_client *c = work_client(w);
    while (c != NULL && !atomic_load(&work_over)) {
        reader r;
        seg_error err;
        if (reader_open(&r, w, c, true)) {
            seg_run_options o;
            SEG_INIT(&o);
            o.handler = handle;
            o.arg = &r;
            o.workers = WORKERS;
            work_may_stop(r.consumer);
            seg_status s;
            do
                s = seg_consumer_run(r.consumer, &o, &err);
            while (reader_goes_on(&r, s, &err));
            work_may_stop(NULL);
            if (s != SEG_OK)
                reader_ended(&r, s, &err);
            reader_close(&r);
        }
        work_pause(REOPEN_MS);
    }
    seg_client_close(c);
}

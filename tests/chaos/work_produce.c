/* work_produce.c - producers: many keys, a sequence for each, every outcome written down. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"

enum {
    MAX_KEYS = 256,
    BURST = 40,
    POLL_MS = 5,
    FLUSH_MS = 10000,
    REOPEN_MS = 100,
    THREADS = 2,
    LOST_IN_A_ROW = 5
};

typedef struct producing {
    work *w;
    seg_producer *p;
    char name[VALUE_NAME];
    work_loss loss;
    uint64_t sequence[MAX_KEYS];
    atomic_int lost;   /* calls in a row that ended with SEG_ELOST: one tells of a loss */
    atomic_int ruined; /* the status after which this producer is over; 0: none */
} producing;

/* A message that is under way. */
typedef struct sending {
    producing *g;
    history_record record;
} sending;

static sending *begin(producing *g, unsigned key, work_message *m) {
    sending *s = calloc(1, sizeof *s);
    value v = {.key = key + 1, .sequence = ++g->sequence[key]};
    if (s == NULL)
        work_broken(g->w, "send", "out of memory");
    memcpy(v.producer, g->name, sizeof v.producer);
    work_message_init(m, &v);
    s->g = g;
    s->record = (history_record){.kind = HISTORY_SEND,
                                 .stream = g->w->in,
                                 .producer = g->loss.producer,
                                 .key = v.key, /* 0 would be none */
                                 .sequence = v.sequence,
                                 .crc = m->crc};
    history_invoke(g->w->h, &s->record);
    return s;
}

static void finish(sending *s, seg_status status, const seg_position *where, const seg_error *err) {
    producing *g = s->g;
    if (where != NULL) {
        s->record.partition = where->partition;
        s->record.era = where->id.era;
        s->record.offset = where->id.offset;
    }
    history_done(g->w->h, &s->record, history_outcome(status), status);
    int none = SEG_OK;
    if (status != SEG_ELOST)
        atomic_store(&g->lost, 0);
    else if (g->w->bare != 0 && atomic_fetch_add(&g->lost, 1) < LOST_IN_A_ROW) {
        work_say(g->w, "told", status, err);
        work_lost(&g->loss);
        status = SEG_OK;
    }
    if (work_ruined(status) && atomic_compare_exchange_strong(&g->ruined, &none, (int)status)) {
        work_say(g->w, "send", status, err);
        if (status == SEG_ELOST)
            work_lost(&g->loss);
    }
    free(s);
}

static void on_sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    finish(arg, status, where, err);
}

static bool open_one(producing *g, seg_client *c) {
    work *w = g->w;
    atomic_store(&g->ruined, SEG_OK);
    g->loss = (work_loss){.w = w, .stream = w->in};
    g->p = work_producer(w, c, w->stream, g->name, w->bare != 0 ? NULL : &g->loss);
    g->loss.producer = history_name(w->h, g->name);
    return g->p != NULL;
}

static unsigned pick_key(work *w) {
    return (unsigned)work_chance(w, w->keys < MAX_KEYS ? w->keys : MAX_KEYS);
}

/* ---- seg_send_async ------------------------------------------------------------------------- */

/* Queue up to `n`; false where there is no room, or no use. */
static bool send_some(producing *g, int n) {
    work_message m;
    seg_error err;
    for (int i = 0; i < n; i++) {
        sending *s = begin(g, pick_key(g->w), &m);
        seg_status status = seg_send_async(g->p, &m.record, on_sent, s, &err);
        if (status == SEG_OK)
            continue;
        finish(s, status, NULL, &err);
        return false;
    }
    return true;
}

void work_produce(work *w) {
    producing g = {.w = w};
    seg_client *c = work_client(w);
    while (c != NULL && open_one(&g, c)) {
        int64_t start = work_now_ms(), sent = 0;
        while (!atomic_load(&work_over) && atomic_load(&g.ruined) == SEG_OK) {
            int64_t due = (work_now_ms() - start) * w->rate / 1000 - sent;
            int n = due < 0 ? 0 : due < BURST ? (int)due : BURST;
            if (due > w->rate) /* after a silence: not all at once */
                start = work_now_ms(), sent = 0;
            else
                sent += n;
            bool room = send_some(&g, n);
            seg_producer_poll(g.p, room ? POLL_MS : REOPEN_MS, NULL);
            if (room)
                work_pause(POLL_MS);
        }
        if (atomic_load(&g.ruined) == SEG_OK)
            seg_producer_flush(g.p, FLUSH_MS, NULL);
        seg_producer_close(g.p);
        work_pause(REOPEN_MS);
    }
    seg_client_close(c);
}

/* ---- seg_send ------------------------------------------------------------------------------- */

typedef struct lane {
    producing *g;
    work w; /* of its own, for its chances */
    unsigned number;
} lane;

static void *send_lane(void *arg) {
    lane *l = arg;
    work_message m;
    seg_error err;
    while (!atomic_load(&work_over) && atomic_load(&l->g->ruined) == SEG_OK) {
        seg_position where;
        unsigned key = pick_key(&l->w) / THREADS * THREADS + l->number;
        sending *s = begin(l->g, key < MAX_KEYS ? key : l->number, &m);
        seg_status status = seg_send(l->g->p, &m.record, &where, &err);
        finish(s, status, status == SEG_OK ? &where : NULL, &err);
        work_pause((int64_t)(1000 * THREADS / l->w.rate));
    }
    return NULL;
}

void work_produce_sync(work *w) {
    producing g = {.w = w};
    seg_client *c = work_client(w);
    while (c != NULL && open_one(&g, c)) {
        pthread_t threads[THREADS];
        lane lanes[THREADS];
        for (unsigned i = 0; i < THREADS; i++) {
            lanes[i] = (lane){&g, *w, i};
            lanes[i].w.chance = work_chance(w, UINT32_MAX);
            if (pthread_create(&threads[i], NULL, send_lane, &lanes[i]) != 0)
                work_broken(w, "send", "no thread");
        }
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        seg_producer_close(g.p);
        work_pause(REOPEN_MS);
    }
    seg_client_close(c);
}

/* work_forward.c - a stage: for each message some others, into another stream, exactly once. */
#include <string.h>

#include "worker.h"

enum { BATCH = 50, POLL_MS = 40, REOPEN_MS = 100, WORKERS = 4, RETRY_MS = 50, LOST_IN_A_ROW = 5 };

typedef struct stage {
    reader r; /* first: handlers and callbacks get it */
    seg_producer *p;
    char name[VALUE_NAME];
    work_loss loss;
    atomic_bool ruined; /* the producer is over */
    atomic_int lost;    /* calls in a row that ended with SEG_ELOST: one tells of a loss */
} stage;

/* All outputs of one input; false where one was not taken. */
static bool forward_all(stage *g, const seg_message *m, const value *v) {
    work *w = g->r.w;
    seg_delivery d = seg_message_delivery(m);
    for (uint32_t i = 0; i < w->outputs; i++) {
        work_message out;
        value o = *v;
        seg_error err;
        o.index = i;
        work_message_init(&out, &o);
        history_record e = reader_record(&g->r, HISTORY_FORWARD);
        e.target = w->out;
        e.producer = history_name(w->h, v->producer);
        e.key = v->key;
        e.sequence = v->sequence;
        e.index = i;
        e.crc = out.crc;
        e.epoch = d.epoch;
        e.partition = d.partition;
        e.era = d.id.era;
        e.offset = d.id.offset;
        history_invoke(w->h, &e);
        seg_status s = seg_forward(g->r.consumer, &d, g->p, &out.record, &err);
        history_done(w->h, &e, history_outcome(s), s);
        if (s == SEG_EINVAL)
            work_broken(w, "forward", err.text);
        if (s == SEG_OK) {
            atomic_store(&g->lost, 0);
            continue;
        }
        if (s == SEG_ELOST)
            work_lost(&g->loss);
        if (work_ruined(s) && (s != SEG_ELOST || atomic_fetch_add(&g->lost, 1) >= LOST_IN_A_ROW) &&
            !atomic_exchange(&g->ruined, true))
            work_say(w, "forward", s, &err);
        return false;
    }
    return true;
}

static bool open_stage(stage *g, work *w, seg_client *c, bool handlers) {
    memset(g, 0, sizeof *g);
    g->loss = (work_loss){.w = w, .stream = w->out};
    /* Nobody polls it while handlers run: their calls tell. */
    g->p = work_producer(w, c, w->target, g->name, handlers ? NULL : &g->loss);
    if (g->p == NULL)
        return false;
    g->loss.producer = history_name(w->h, g->name);
    if (reader_open(&g->r, w, c, handlers))
        return true;
    seg_producer_close(g->p);
    return false;
}

static void close_stage(stage *g) {
    reader_close(&g->r);
    seg_producer_close(g->p);
    work_pause(REOPEN_MS);
}

/* ---- By poll -------------------------------------------------------------------------------- */

static seg_status poll_stage(stage *g, seg_error *err) {
    seg_batch *b = NULL;
    value v[BATCH];
    uint64_t polled = history_now();
    seg_status s = seg_consumer_poll(&b, g->r.consumer, BATCH, POLL_MS, err);
    if (s != SEG_OK)
        return s;
    for (size_t i = 0; i < seg_batch_count(b); i++)
        reader_delivered(&g->r, seg_batch_at(b, i), &v[i], polled);
    bool failed = false; /* what follows a failed one is given back: it may be of its key */
    for (size_t i = 0; i < seg_batch_count(b); i++) {
        const seg_message *m = seg_batch_at(b, i);
        seg_delivery d = seg_message_delivery(m);
        bool taken = !failed && forward_all(g, m, &v[i]);
        reader_settle(&g->r, &d, taken ? SEG_ACK : failed ? SEG_RELEASE : SEG_RETRY);
        failed = !taken;
    }
    seg_batch_free(b);
    seg_producer_poll(g->p, 0, NULL);
    return SEG_OK;
}

void work_forward(work *w) {
    static stage g;
    seg_client *c = work_client(w);
    seg_error err;
    while (c != NULL && !atomic_load(&work_over)) {
        if (!open_stage(&g, w, c, false)) {
            work_pause(REOPEN_MS);
            continue;
        }
        seg_status s = SEG_OK;
        while (s == SEG_OK && !atomic_load(&work_over) && !atomic_load(&g.ruined))
            if ((s = poll_stage(&g, &err)) != SEG_OK && reader_goes_on(&g.r, s, &err))
                s = SEG_OK;
        if (s != SEG_OK)
            reader_ended(&g.r, s, &err);
        close_stage(&g);
    }
    seg_client_close(c);
}

/* ---- By handlers ---------------------------------------------------------------------------- */

static seg_verdict handle(const seg_message *m, seg_settlement *how, void *arg) {
    stage *g = arg;
    seg_delivery d = seg_message_delivery(m);
    value v;
    reader_delivered(&g->r, m, &v, 0);
    bool taken = forward_all(g, m, &v);
    if (atomic_load(&g->ruined))
        seg_consumer_stop(g->r.consumer);
    how->delay = RETRY_MS;
    history_record e = reader_settling(&g->r, &d, taken ? SEG_ACK : SEG_RETRY);
    history_done(g->r.w->h, &e, HISTORY_OK, SEG_OK);
    return taken ? SEG_ACK : SEG_RETRY;
}

void work_forward_run(work *w) {
    static stage g;
    seg_client *c = work_client(w);
    seg_error err;
    while (c != NULL && !atomic_load(&work_over)) {
        if (!open_stage(&g, w, c, true)) {
            work_pause(REOPEN_MS);
            continue;
        }
        seg_run_options o;
        SEG_INIT(&o);
        o.handler = handle;
        o.arg = &g;
        o.workers = WORKERS;
        work_may_stop(g.r.consumer);
        seg_status s;
        do
            s = seg_consumer_run(g.r.consumer, &o, &err);
        while (reader_goes_on(&g.r, s, &err));
        work_may_stop(NULL);
        if (s != SEG_OK)
            reader_ended(&g.r, s, &err);
        close_stage(&g);
    }
    seg_client_close(c);
}

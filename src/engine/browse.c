/* A reader's application side. */
#include "engine/browse.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/ends.h"

#define PREFETCH       (8u * 1024 * 1024)
#define PREFETCH_MIN   (64u * 1024)
#define PARTITIONS_MAX 4096

/* ---- the queue (lock held) ---------------------------------------------------------------- */

void sg_browse_changed(seg_reader *r) {
    sg_loop_served(r->client->loop, &r->wait);
    sg_cond_signal(&r->changed);
}

void sg_browse_fail(seg_reader *r, const seg_error *err) {
    if (r->fault.status == SEG_OK)
        r->fault = *err;
    sg_browse_changed(r);
}

static sg_stretch *stretch_new(seg_reader *r, sg_track *t) {
    sg_stretch *s = sg_calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->track = t;
    r->hungry = false;
    sg_list_push(&r->queue, &s->node);
    return s;
}

bool sg_browse_put(seg_reader *r, sg_track *t, sg_block *b, uint64_t era) {
    uint64_t past = b->first + b->count, end = past < t->stop ? past : t->stop;
    sg_stretch *s = t->at < end ? stretch_new(r, t) : NULL;
    if (s == NULL && t->at < end)
        return false;
    if (s != NULL) {
        s->block = b;
        s->at = t->at;
        s->end = end;
        s->skip.era = era;
        r->buffered += b->bytes;
    } else {
        sg_block_unref(b);
    }
    t->at = past;
    t->era = era;
    t->from = (seg_id){era, past};
    t->passed = t->suspected = false;
    if (t->known.offset < past)
        t->known = t->from;
    return true;
}

static const char *skip_text(seg_skip_why why) {
    switch (why) {
    case SEG_SKIP_DROPPED:
        return "were dropped to keep the stream's bound before they were read";
    case SEG_SKIP_MISSING:
        return "are missing from the log";
    case SEG_SKIP_DAMAGED:
        return "cannot be read: their entry is damaged";
    case SEG_SKIP_LOST:
        return "were lost by the server; others may have their offsets now";
    }
    return "?";
}

static seg_status skip_error(const seg_skip *s, seg_error *err) {
    return sg_fail(err, SEG_ELOST,
                   "partition %" PRIu32 ": %" PRIu64 " messages from offset %" PRIu64 " on %s",
                   s->partition, s->count, s->first, skip_text(s->why));
}

bool sg_browse_skip(seg_reader *r, sg_track *t, seg_skip_why why, uint64_t first, uint64_t end) {
    seg_error err;
    end = end < t->stop || why == SEG_SKIP_LOST ? end : t->stop;
    if (first >= end)
        return true;
    sg_stretch *s = stretch_new(r, t);
    if (s == NULL)
        return false;
    s->skip = (seg_skip){why, t->partition, sg_eras_of(&t->eras, first), first, end - first};
    s->at = why != SEG_SKIP_LOST ? end : t->at < first ? t->at : first;
    if (why == SEG_SKIP_LOST)
        r->stats.lost += end - first;
    else
        r->stats.skipped += end - first;
    skip_error(&s->skip, &err);
    sg_log_write(&r->client->log, why == SEG_SKIP_DROPPED ? SEG_LOG_WARN : SEG_LOG_ERROR, "skip",
                 "stream %s: %s", r->stream.name, err.text);
    return true;
}

/* It is not in the queue any more. */
static void let_go(seg_reader *r, sg_stretch *s) {
    if (s == NULL)
        return;
    if (s->block != NULL)
        r->buffered -= s->block->bytes;
    sg_block_unref(s->block);
    sg_free(s);
}

/* ---- the loop thread ------------------------------------------------------------------------ */

/* Why there is no answer, where a connection is missing. */
static void note_connections(seg_reader *r) {
    const sg_conn *conns[] = {r->client->commands, r->fetch.conn};
    r->down.status = SEG_OK;
    for (size_t i = 0; i < sizeof conns / sizeof conns[0]; i++)
        if (!sg_conn_up(conns[i]) && sg_conn_last_error(conns[i])->status != SEG_OK)
            r->down = *sg_conn_last_error(conns[i]);
}

static int64_t run(void *arg, int64_t now) {
    seg_reader *r = arg;
    seg_error err;
    int64_t due = INT64_MAX;
    sg_mutex_lock(&r->lock);
    if (atomic_load(&r->stopping))
        sg_browse_changed(r);
    if (atomic_load(&r->client->closed)) {
        sg_fail(&err, SEG_ECLOSED, "the client is closed");
        if (r->fault.status == SEG_OK)
            sg_browse_fail(r, &err);
    } else if (r->fault.status == SEG_OK) {
        note_connections(r);
        int64_t check = sg_browse_check(r, now), read = sg_browse_read(r, now);
        due = check < read ? check : read;
    }
    sg_mutex_unlock(&r->lock);
    return due;
}

static void on_state(void *arg, bool up, const seg_error *fatal) {
    seg_reader *r = arg;
    (void)fatal;
    r->fetch.lives += up ? 1 : 0;
    sg_loop_wake(&r->actor);
}

static void reader_free(seg_reader *r) {
    for (sg_node *n; (n = sg_list_pop(&r->queue)) != NULL;)
        let_go(r, SG_OF(n, sg_stretch, node));
    let_go(r, r->current);
    for (size_t i = 0; r->tracks != NULL && i < r->n; i++) {
        sg_track *t = &r->tracks[i];
        sg_block_unref(t->held);
        sg_eras_fini(&t->eras);
        sg_free(t->key);
    }
    sg_free(r->tracks);
    sg_free(r->index);
    sg_free(r->fetch.tracks);
    sg_free(r->fetch.serials);
    sg_free(r->fetch.from);
    sg_entries_fini(&r->fetch.entries);
    sg_cond_fini(&r->changed);
    sg_mutex_fini(&r->lock);
    sg_free(r);
}

bool sg_browse_enter(seg_reader *r) {
    r->pending--;
    if (r->gone) {
        if (r->pending == 0)
            reader_free(r);
        return false;
    }
    sg_mutex_lock(&r->lock);
    return true;
}

void sg_browse_leave(seg_reader *r) {
    sg_mutex_unlock(&r->lock);
    sg_loop_wake(&r->actor);
}

static void attach(void *arg) {
    seg_reader *r = arg;
    if (atomic_load(&r->client->closed))
        return;
    r->fetch.conn = sg_client_connect(r->client, "read", on_state, r);
    if (r->fetch.conn != NULL)
        sg_loop_add(r->client->loop, &r->actor);
}

static void detach(void *arg) {
    seg_reader *r = arg;
    sg_loop_remove(&r->actor);
    sg_client_disconnect(r->client, r->fetch.conn);
    r->fetch.conn = NULL;
    r->gone = true;
    if (r->pending == 0)
        reader_free(r);
}

/* ---- open ----------------------------------------------------------------------------------- */

static seg_status check(const seg_reader_options *o, seg_error *err) {
    if ((unsigned)o->start > SEG_AT_TIME)
        return sg_fail(err, SEG_EINVAL, "start is %d: not one of seg_start", (int)o->start);
    if (o->start_at < 0)
        return sg_fail(err, SEG_EINVAL, "start_at is %lld: at least 0", (long long)o->start_at);
    if (o->last > 0 && o->start != SEG_LATEST)
        return sg_fail(err, SEG_EINVAL, "last is set, but start is not SEG_LATEST");
    if (o->max_prefetch != 0 && o->max_prefetch < PREFETCH_MIN)
        return sg_fail(err, SEG_EINVAL, "max_prefetch is %zu: at least 64 KiB", o->max_prefetch);
    if (o->n_partitions > 0 && o->partitions == NULL)
        return sg_fail(err, SEG_EINVAL, "partitions is NULL, n_partitions is not 0");
    if (o->n_partitions > PARTITIONS_MAX)
        return sg_fail(err, SEG_EINVAL, "%zu partitions are named: a stream has at most %d",
                       o->n_partitions, PARTITIONS_MAX);
    for (size_t i = 1; i < o->n_partitions; i++)
        for (size_t k = 0; k < i; k++)
            if (o->partitions[i] == o->partitions[k])
                return sg_fail(err, SEG_EINVAL, "partition %u is named twice", o->partitions[i]);
    return SEG_OK;
}

static uint64_t start_of(const seg_reader_options *o, const sg_ends *e) {
    uint64_t at = e->first, kept = e->next > e->first ? e->next - e->first : 0;
    if (o->start == SEG_LATEST)
        at = e->next - (o->last < kept ? o->last : kept);
    else if (o->start == SEG_AT_OFFSET)
        at = (uint64_t)o->start_at;
    else if (o->start == SEG_AT_TIME)
        at = e->found;
    at = at < e->first ? e->first : at;
    return at > e->next ? e->next : at;
}

/* Takes the eras. False: no memory. */
static bool make_track(seg_reader *r, size_t i, sg_ends *e, const seg_reader_options *o) {
    sg_track *t = &r->tracks[i];
    sg_key key = sg_key_log(r->stream.ns, r->stream.name, e->partition);
    *t = (sg_track){.reader = r, .partition = e->partition, .eras = e->eras};
    e->eras = (sg_eras){NULL, 0};
    t->key = sg_strdup(key.text);
    t->known = (seg_id){sg_eras_before(&t->eras, e->next), e->next};
    t->stop = o->ends ? e->next : UINT64_MAX;
    t->goal = e->next;
    t->verified = true;
    sg_browse_place(t, start_of(o, e));
    t->place = (seg_reader_place){e->partition, sg_eras_newest(&t->eras), e->first, e->next, t->at};
    r->index[e->partition] = (uint32_t)i;
    return t->key != NULL;
}

static seg_status make_tracks(seg_reader *r, sg_ends_answer *a, const seg_reader_options *o,
                              seg_error *err) {
    struct sg_browse_fetch *f = &r->fetch;
    r->tracks = sg_calloc(a->n, sizeof *r->tracks);
    r->index = sg_alloc(r->stream.partitions * sizeof *r->index);
    f->tracks = sg_calloc(a->n, sizeof *f->tracks);
    f->serials = sg_calloc(a->n, sizeof *f->serials);
    f->from = sg_calloc(a->n, sizeof *f->from);
    if (r->tracks == NULL || r->index == NULL || f->tracks == NULL || f->serials == NULL ||
        f->from == NULL)
        return sg_fail_nomem(err);
    memset(r->index, 0xff, r->stream.partitions * sizeof *r->index);
    r->n = a->n;
    r->life = a->life;
    for (size_t i = 0; i < a->n; i++)
        if (!make_track(r, i, &a->all[i], o))
            return sg_fail_nomem(err);
    return SEG_OK;
}

static seg_reader *reader_new(seg_client *c, const seg_reader_options *o) {
    seg_reader *r = sg_calloc(1, sizeof *r);
    if (r == NULL || !sg_mutex_init(&r->lock)) {
        sg_free(r);
        return NULL;
    }
    if (!sg_cond_init(&r->changed)) {
        sg_mutex_fini(&r->lock);
        sg_free(r);
        return NULL;
    }
    sg_list_init(&r->queue);
    sg_entries_init(&r->fetch.entries, c->pool);
    sg_backoff_init(&r->fetch.backoff, 20, 1000);
    atomic_flag_clear(&r->busy);
    r->client = c;
    r->actor.run = run;
    r->actor.arg = r;
    r->max_prefetch = o->max_prefetch != 0 ? o->max_prefetch : PREFETCH;
    r->on_skip = o->on_skip;
    r->skip_arg = o->skip_arg;
    r->bounded = o->ends;
    r->stats.size = sizeof r->stats;
    r->looked = r->heard = sg_clock_ms();
    return r;
}

static seg_status find(seg_reader *r, const char *stream, const seg_reader_options *o,
                       seg_error *err) {
    sg_ends_answer ends = {.n = 0};
    sg_ends_question q = {.find = true,
                          .partitions = o->partitions,
                          .n = o->n_partitions,
                          .timed = o->start == SEG_AT_TIME,
                          .time = o->start_at};
    seg_status s = sg_stream_name(&r->stream, r->client, stream, err);
    if (s == SEG_OK)
        s = sg_ends_ask(&ends, r->client, &r->stream, &q, err);
    if (s == SEG_OK)
        s = make_tracks(r, &ends, o, err);
    sg_ends_free(&ends);
    return s;
}

seg_status seg_reader_open(seg_reader **out, seg_client *c, const char *stream,
                           const seg_reader_options *opts, seg_error *err) {
    seg_reader_options o = {.size = sizeof o};
    seg_status s;
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    if ((s = sg_options_copy(&o, sizeof o, opts, "reader options", err)) != SEG_OK ||
        (s = check(&o, err)) != SEG_OK)
        return s;
    seg_reader *r = reader_new(c, &o);
    if (r == NULL)
        return sg_fail_nomem(err);
    if ((s = find(r, stream, &o, err)) != SEG_OK) {
        reader_free(r);
        return s;
    }
    sg_client_ref(c);
    sg_loop_call(c->loop, attach, r);
    if (r->fetch.conn == NULL) {
        s = atomic_load(&c->closed) ? sg_fail(err, SEG_ECLOSED, "the client is closed")
                                    : sg_fail_nomem(err);
        reader_free(r);
        sg_client_unref(c);
        return s;
    }
    *out = r;
    return SEG_OK;
}

void seg_reader_close(seg_reader *r) {
    if (r == NULL)
        return;
    seg_client *c = r->client;
    sg_loop_call(c->loop, detach, r);
    sg_client_unref(c);
}

/* ---- next ----------------------------------------------------------------------------------- */

static void show(seg_reader *r, sg_stretch *s, const seg_message **out) {
    uint64_t offset = s->at++;
    sg_block_record(s->block, offset, &r->message.view);
    atomic_store_explicit(&r->message.hint, 0, memory_order_relaxed);
    r->message.delivery = (seg_delivery){{s->skip.era, offset}, 0, s->track->partition, 0};
    s->track->place.at = offset + 1;
    /* Written by one thread only. */
    atomic_store_explicit(&r->returned,
                          atomic_load_explicit(&r->returned, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    *out = &r->message;
}

static seg_status no_answer(const seg_reader *r, seg_error *err) {
    if (r->down.status != SEG_OK)
        return sg_fail(err, SEG_ECONN, "%s", r->down.text);
    return sg_fail(err, SEG_ETIMEDOUT, "no answer from the server within the command timeout%s%s",
                   r->refusal.status != SEG_OK ? ": " : "",
                   r->refusal.status != SEG_OK ? r->refusal.text : "");
}

/* Lock held. Its skip was reached. */
static seg_status tell(seg_reader *r, sg_stretch *s, seg_error *err) {
    seg_skip skip = s->skip;
    s->track->place.at = s->at;
    let_go(r, s);
    if (r->on_skip == NULL)
        return skip_error(&skip, err);
    sg_mutex_unlock(&r->lock);
    r->on_skip(&skip, r->skip_arg);
    sg_mutex_lock(&r->lock);
    return SEG_OK;
}

/* Lock held. There is room again, or the queue is empty: the loop thread reads on. */
static void want_more(seg_reader *r) {
    bool empty = sg_list_empty(&r->queue);
    if ((empty && !r->hungry) || (r->sated && r->buffered <= r->max_prefetch / 2)) {
        r->hungry = empty;
        r->sated = false;
        sg_loop_wake(&r->actor);
    }
}

/* Lock held. Wait for the next stretch of messages; `*out` NULL: the end. */
static seg_status next_stretch(seg_reader *r, int64_t patience, sg_stretch **out, seg_error *err) {
    *out = NULL;
    for (;;) {
        sg_node *n;
        if (atomic_load(&r->stopping))
            return sg_fail(err, SEG_ECLOSED, "the reader was stopped");
        while ((n = sg_list_pop(&r->queue)) != NULL) {
            sg_stretch *s = SG_OF(n, sg_stretch, node);
            if (s->block != NULL) {
                *out = s;
                return SEG_OK;
            }
            seg_status status = tell(r, s, err);
            if (status != SEG_OK)
                return status;
        }
        if (r->fault.status != SEG_OK)
            return sg_fail(err, r->fault.status, "%s", r->fault.text);
        int64_t now = sg_clock_ms(), until = sg_clock_after(r->heard, patience);
        bool ended = r->ended == r->call;
        until = r->deadline > until ? r->deadline : until;
        if (sg_browse_is_done(r) || (ended && now >= r->deadline))
            return SEG_OK;
        if (!ended && now >= until)
            return no_answer(r, err);
        until = ended ? r->deadline : until;
        want_more(r);
        sg_loop_await(r->client->loop, &r->wait, &r->changed, &r->lock,
                      until == SEG_FOREVER ? SEG_FOREVER : until - now);
    }
}

static seg_status next(seg_reader *r, int64_t wait, const seg_message **out, seg_error *err) {
    int64_t now = sg_clock_ms();
    sg_mutex_lock(&r->lock);
    let_go(r, r->current);
    r->current = NULL;
    r->call++;
    r->deadline = sg_clock_after(now, wait);
    r->heard = now;
    r->refusal.status = SEG_OK;
    want_more(r);
    seg_status s = next_stretch(r, r->client->command_timeout, &r->current, err);
    r->hungry = false;
    sg_mutex_unlock(&r->lock);
    if (s != SEG_OK)
        return s;
    *out = NULL;
    if (r->current != NULL)
        show(r, r->current, out);
    return SEG_OK;
}

static seg_status enter(seg_reader *r, seg_error *err) {
    if (!atomic_flag_test_and_set(&r->busy))
        return SEG_OK;
    return sg_fail(err, SEG_EBUSY, "another thread uses this reader, or this is its callback");
}

seg_status seg_reader_next(const seg_message **out, seg_reader *r, int64_t wait, seg_error *err) {
    if (out == NULL || r == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the reader");
    seg_status s = enter(r, err);
    if (s != SEG_OK)
        return s;
    sg_stretch *c = r->current;
    if (c != NULL && c->at < c->end && !atomic_load_explicit(&r->stopping, memory_order_relaxed))
        show(r, c, out);
    else
        s = next(r, wait, out, err);
    atomic_flag_clear(&r->busy);
    return s;
}

/* ---- seek ----------------------------------------------------------------------------------- */

typedef struct move {
    seg_reader *reader;
    sg_track *track;
    sg_ends *ends;
    uint64_t offset;
    bool starved;
} move;

/* Lock held. What was read ahead of it is not wanted, but what was lost is to be told. */
static void forget_queued(seg_reader *r, sg_track *t) {
    for (sg_node *n = r->queue.head.next, *after; n != &r->queue.head; n = after) {
        sg_stretch *s = SG_OF(n, sg_stretch, node);
        after = n->next;
        if (s->track != t || (s->block == NULL && s->skip.why == SEG_SKIP_LOST))
            continue;
        sg_list_remove(n);
        let_go(r, s);
    }
}

/* Loop thread. */
static void place(void *arg) {
    move *m = arg;
    seg_reader *r = m->reader;
    bool lost;
    sg_track *t = m->track;
    sg_mutex_lock(&r->lock);
    forget_queued(r, t);
    t->serial++;
    m->starved = !sg_browse_renew(r, t, m->ends->next, &m->ends->eras, &lost);
    if (m->starved) {
        sg_mutex_unlock(&r->lock);
        return;
    }
    sg_browse_place(t, m->offset);
    for (sg_node *n = r->queue.head.next; n != &r->queue.head; n = n->next)
        if (SG_OF(n, sg_stretch, node)->track == t)
            SG_OF(n, sg_stretch, node)->at = m->offset;
    t->goal = m->ends->next < t->stop ? m->ends->next : t->stop;
    t->place.at = m->offset;
    sg_mutex_unlock(&r->lock);
    sg_loop_wake(&r->actor);
}

static seg_status seek(seg_reader *r, sg_track *t, uint64_t offset, seg_error *err) {
    sg_ends_question q = {.partitions = &t->partition, .n = 1};
    sg_ends_answer a = {.n = 0};
    if (atomic_load(&r->stopping))
        return sg_fail(err, SEG_ECLOSED, "the reader was stopped");
    seg_status s = sg_ends_ask(&a, r->client, &r->stream, &q, err);
    if (s == SEG_OK && offset > a.all[0].next)
        s = sg_fail(err, SEG_EINVAL,
                    "offset %" PRIu64 " is behind the end of partition %" PRIu32
                    ", whose next message gets %" PRIu64,
                    offset, t->partition, a.all[0].next);
    if (s == SEG_OK) {
        sg_mutex_lock(&r->lock);
        let_go(r, r->current);
        r->current = NULL;
        sg_mutex_unlock(&r->lock);
        move m = {.reader = r, .track = t, .ends = a.all, .offset = offset};
        sg_loop_call(r->client->loop, place, &m);
        s = m.starved ? sg_fail_nomem(err) : SEG_OK;
    }
    sg_ends_free(&a);
    return s;
}

seg_status seg_reader_seek(seg_reader *r, uint32_t partition, uint64_t offset, seg_error *err) {
    if (r == NULL)
        return sg_fail(err, SEG_EINVAL, "the reader is NULL");
    if (partition >= r->stream.partitions || r->index[partition] == UINT32_MAX)
        return sg_fail(err, SEG_EINVAL, "partition %u is not one of this reader's", partition);
    seg_status s = enter(r, err);
    if (s != SEG_OK)
        return s;
    s = seek(r, &r->tracks[r->index[partition]], offset, err);
    atomic_flag_clear(&r->busy);
    return s;
}

/* ---- questions ------------------------------------------------------------------------------ */

const seg_reader_place *seg_reader_place_at(const seg_reader *r, size_t i) {
    return r != NULL && i < r->n ? &r->tracks[i].place : NULL;
}

void seg_reader_get_stats(const seg_reader *r, seg_reader_stats *out) {
    sg_mutex *lock = (sg_mutex *)(uintptr_t)&r->lock;
    size_t size = out->size;
    if (size <= sizeof size)
        return;
    sg_mutex_lock(lock);
    seg_reader_stats st = r->stats;
    st.prefetched_bytes = r->buffered;
    st.messages =
        atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&r->returned, memory_order_relaxed);
    sg_mutex_unlock(lock);
    memcpy((char *)out + sizeof size, (const char *)&st + sizeof size,
           (size < sizeof st ? size : sizeof st) - sizeof size);
}

void seg_reader_stop(seg_reader *r) {
    if (r == NULL)
        return;
    atomic_store(&r->stopping, true);
    sg_loop_wake(&r->actor);
}

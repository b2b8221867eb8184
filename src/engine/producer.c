/* A producer's application side: messages into batches, outcomes into callbacks. */
#include "engine/producer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "core/partitioner.h"
#include "engine/admin.h"

#define KEY_MAX         (64u * 1024)
#define MIB             ((size_t)1024 * 1024)
#define BATCH_COUNT_MAX 16384
#define HEADERS_MAX     65535
/* What a queued message costs beside its bytes, and a batch of them: counted until the callbacks
 * ran. */
#define SLOT_BYTES  sizeof(sg_slot)
#define BATCH_BYTES (sizeof(sg_outbatch) + 16 * SLOT_BYTES)

/* ---- batches (lock held) ------------------------------------------------------------------ */

static sg_outbatch *outbatch_new(seg_producer *p, uint32_t partition, size_t first, int64_t now) {
    sg_outbatch *b = sg_calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    size_t most = SG_BATCH_HEADER + first > p->max_batch ? SG_BATCH_HEADER + first : p->max_batch;
    sg_batch_writer_init(&b->writer, most);
    b->producer = p;
    b->partition = partition;
    b->id = ++p->last_id;
    b->created = now;
    b->deadline = sg_clock_after(now, p->delivery_timeout);
    p->stats.queued_bytes += BATCH_BYTES;
    return b;
}

void sg_outbatch_dispose(sg_outbatch *b) {
    if (!b->disposed) {
        b->producer->stats.queued_bytes -= BATCH_BYTES + b->writer.count * SLOT_BYTES;
        sg_cond_broadcast(&b->producer->changed); /* there is room in the queue */
    }
    b->disposed = true;
    if (b->in_request)
        return;
    sg_batch_writer_fini(&b->writer);
    sg_free(b->slots);
    sg_free(b);
}

void sg_lane_close_open(sg_lane *lane) {
    sg_batch_seal(&lane->open->writer, lane->open->producer->stream.seed);
    sg_list_push(&lane->ready, &lane->open->node);
    lane->open = NULL;
}

sg_outbatch *sg_outbatch_split(sg_outbatch *b, uint32_t n) {
    seg_producer *p = b->producer;
    uint32_t left = b->writer.count - n;
    sg_outbatch *rest = outbatch_new(p, b->partition, b->writer.buf.len, b->created);
    if (rest == NULL)
        return NULL;
    rest->slots = sg_memdup(b->slots + n, left * sizeof *b->slots);
    if (rest->slots == NULL || !sg_batch_split(&b->writer, n, &rest->writer)) {
        sg_outbatch_dispose(rest);
        return NULL;
    }
    sg_batch_seal(&b->writer, p->stream.seed);
    sg_batch_seal(&rest->writer, p->stream.seed);
    rest->room = left;
    rest->id = b->id;
    rest->bytes = rest->writer.buf.len - SG_BATCH_HEADER;
    b->bytes -= rest->bytes;
    rest->callbacks = b->callbacks;
    rest->deadline = b->deadline;
    rest->generation = b->generation;
    rest->first_seq = b->first_seq + n;
    return rest;
}

static void tell_waiter(const sg_outbatch *b, size_t i) {
    sg_waiter *w = b->slots[i].waiter;
    w->status = b->status;
    w->err = b->err;
    w->where =
        (seg_position){{1, b->offset == UINT64_MAX ? UINT64_MAX : b->offset + i}, b->partition};
    w->done = true;
    sg_cond_signal(&w->cond);
}

void sg_outbatch_done(sg_outbatch *b, seg_status status, const seg_error *err) {
    seg_producer *p = b->producer;
    uint32_t n = b->writer.count;
    b->over = true;
    b->status = status;
    if (err != NULL)
        b->err = *err;
    if (status == SEG_OK)
        p->stats.stored += n;
    else
        p->stats.failed += n;
    p->stats.queued -= n;
    p->stats.queued_bytes -= b->bytes;
    sg_buf_fini(&b->writer.buf); /* the application may be long in asking for the outcome */
    for (uint32_t i = 0; i < n; i++)
        if (b->slots[i].waiter != NULL)
            tell_waiter(b, i);
    if (b->callbacks)
        sg_list_push(&p->done, &b->node);
    else
        sg_outbatch_dispose(b);
    sg_cond_broadcast(&p->changed);
}

void sg_outbatch_fail(sg_outbatch *b, seg_status status, const char *text) {
    seg_error err;
    sg_list_remove(&b->node);
    if (b->unsure)
        sg_fail(&err, SEG_EUNKNOWN, "it may or may not be stored: %s", text);
    else
        sg_fail(&err, status, "%s", text);
    sg_outbatch_done(b, err.status, &err);
}

void sg_producer_fail_all(seg_producer *p, seg_status status, const char *text) {
    for (sg_node *n = p->busy.head.next, *next; n != &p->busy.head; n = next) {
        sg_lane *lane = SG_OF(n, sg_lane, busy);
        next = n->next;
        if (lane->open != NULL)
            sg_lane_close_open(lane);
        for (sg_node *m; (m = sg_list_first(&lane->ready)) != NULL;)
            sg_outbatch_fail(SG_OF(m, sg_outbatch, node), status, text);
        if (lane->n_flying == 0)
            sg_list_remove(&lane->busy);
    }
}

/* ---- sending ------------------------------------------------------------------------------ */

static seg_status check_record(const seg_producer *p, const seg_record *given, seg_record *r,
                               seg_error *err) {
    seg_status s = sg_options_copy(r, sizeof *r, given, "record", err);
    if (s != SEG_OK)
        return s;
    size_t total = r->key.len + r->value.len;
    if (r->key.len > KEY_MAX)
        return sg_fail(err, SEG_EINVAL, "the key has %zu bytes: at most %u", r->key.len, KEY_MAX);
    if (r->value.len > p->max_message)
        return sg_fail(err, SEG_EINVAL, "the message has %zu bytes: at most %zu (max_message)",
                       total, p->max_message);
    if ((r->key.data == NULL && r->key.len > 0) || (r->value.data == NULL && r->value.len > 0) ||
        (r->headers == NULL && r->n_headers > 0))
        return sg_fail(err, SEG_EINVAL, "a part of the message is NULL but has a length");
    if (r->n_headers > HEADERS_MAX)
        return sg_fail(err, SEG_EINVAL, "the message has %zu headers: at most %d", r->n_headers,
                       HEADERS_MAX);
    for (size_t i = 0; i < 2 * r->n_headers; i++) {
        if (r->headers[i].data == NULL && r->headers[i].len > 0)
            return sg_fail(err, SEG_EINVAL, "header %zu is NULL but has a length", i / 2);
        if (r->headers[i].len > p->max_message)
            total = SIZE_MAX / 2;
        else
            total += r->headers[i].len;
        if (total > p->max_message)
            break;
    }
    if (total > p->max_message)
        return sg_fail(err, SEG_EINVAL, "the message has more than %zu bytes (max_message)",
                       p->max_message);
    if (r->timestamp < 0)
        return sg_fail(err, SEG_EINVAL, "the timestamp is negative");
    if (r->timestamp == 0)
        r->timestamp = sg_clock_wall_ms();
    return SEG_OK;
}

/* Lock held. Is there room for one more message in the lane's open batch? */
static bool fits(const seg_producer *p, const sg_lane *lane, const seg_record *r) {
    const sg_batch_writer *w = &lane->open->writer;
    return w->count < p->max_count &&
           sg_batch_size(w) + sg_batch_record_size(r, w->base_ts) <= p->max_batch;
}

/* Lock held. Where a message without a key goes: all of one batch to one partition, then the next.
 */
static sg_lane *lane_of(seg_producer *p, const seg_record *r) {
    if (r->key.len > 0)
        return &p->lanes[sg_partition_of(r->key.data, r->key.len, p->stream.partitions)];
    if (p->lanes[p->turn].open == NULL || !fits(p, &p->lanes[p->turn], r))
        p->turn = (p->turn + 1) % p->stream.partitions;
    return &p->lanes[p->turn];
}

static bool put(sg_outbatch *b, const seg_record *r, const sg_slot *slot) {
    if (b->writer.count == b->room) {
        size_t room = b->room == 0 ? 16 : 2 * b->room;
        sg_slot *slots = sg_reallocarray(b->slots, room, sizeof *slots);
        if (slots == NULL)
            return false;
        b->slots = slots;
        b->room = room;
    }
    b->slots[b->writer.count] = *slot; /* counted by what follows */
    if (!sg_batch_add(&b->writer, r))
        return false;
    if (slot->fn != NULL)
        b->callbacks = true;
    return true;
}

/* Lock held. */
static seg_status enqueue(seg_producer *p, const seg_record *r, const sg_slot *slot,
                          seg_error *err) {
    if (p->fault.status != SEG_OK)
        return sg_fail(err, p->fault.status, "%s", p->fault.text);
    sg_lane *lane = lane_of(p, r);
    size_t size =
        sg_batch_record_size(r, lane->open != NULL ? lane->open->writer.base_ts : r->timestamp);
    if (p->stats.queued_bytes > 0 && p->stats.queued_bytes + size + SLOT_BYTES > p->max_queued)
        return sg_fail(err, SEG_EFULL,
                       "the producer's queue is full (max_queued %zu bytes): poll, then "
                       "send again",
                       p->max_queued);
    bool wake = !sg_node_linked(&lane->busy);
    if (lane->open != NULL && !fits(p, lane, r)) {
        sg_lane_close_open(lane);
        wake = true;
    }
    if (lane->open == NULL) {
        lane->open =
            outbatch_new(p, lane->partition, sg_batch_record_size(r, r->timestamp), sg_clock_ms());
        if (lane->open == NULL)
            return sg_fail_nomem(err);
        /* Nothing else of this lane has a deadline: requests of batches given up do not come back soon. */
        wake = wake || (sg_list_empty(&lane->ready) && sg_list_empty(&lane->flying));
    }
    if (!put(lane->open, r, slot)) {
        if (lane->open->writer.count == 0) {
            sg_outbatch_dispose(lane->open);
            lane->open = NULL;
        }
        return sg_fail_nomem(err);
    }
    lane->open->bytes += size;
    p->stats.queued++;
    p->stats.queued_bytes += size + SLOT_BYTES;
    if (!sg_node_linked(&lane->busy))
        sg_list_push(&p->busy, &lane->busy);
    if (lane->open->writer.count >= p->max_count) {
        sg_lane_close_open(lane);
        wake = true;
    }
    if (wake)
        sg_loop_wake(&p->actor);
    return SEG_OK;
}

seg_status seg_send_async(seg_producer *p, const seg_record *r, seg_sent_fn *done, void *arg,
                          seg_error *err) {
    seg_record record = {.size = sizeof record};
    sg_slot slot = {done, arg, NULL};
    if (p == NULL || r == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", p == NULL ? "the producer" : "the record");
    seg_status s = check_record(p, r, &record, err);
    if (s != SEG_OK)
        return s;
    sg_mutex_lock(&p->lock);
    s = enqueue(p, &record, &slot, err);
    sg_mutex_unlock(&p->lock);
    return s;
}

/* Lock held. Queue it, waiting for room as long as the delivery timeout lets it. */
static seg_status enqueue_waiting(seg_producer *p, const seg_record *r, const sg_slot *slot,
                                  seg_error *err) {
    int64_t deadline = sg_clock_after(sg_clock_ms(), p->delivery_timeout);
    for (;;) {
        seg_status s = enqueue(p, r, slot, err);
        int64_t left = deadline - sg_clock_ms();
        if (s != SEG_EFULL || left <= 0)
            return s;
        sg_cond_wait(&p->changed, &p->lock, left);
    }
}

seg_status seg_send(seg_producer *p, const seg_record *r, seg_position *where, seg_error *err) {
    seg_record record = {.size = sizeof record};
    sg_waiter w;
    if (p == NULL || r == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", p == NULL ? "the producer" : "the record");
    seg_status s = check_record(p, r, &record, err);
    if (s != SEG_OK)
        return s;
    memset(&w, 0, sizeof w);
    if (!sg_cond_init(&w.cond))
        return sg_fail_nomem(err);
    sg_mutex_lock(&p->lock);
    s = enqueue_waiting(p, &record, &(sg_slot){NULL, NULL, &w}, err);
    /* The loop thread gives every batch an outcome by its deadline, so this ends. */
    while (s == SEG_OK && !w.done)
        sg_cond_wait(&w.cond, &p->lock, SEG_FOREVER);
    sg_mutex_unlock(&p->lock);
    sg_cond_fini(&w.cond);
    if (s != SEG_OK)
        return s;
    if (w.status != SEG_OK)
        return sg_fail(err, w.status, "%s", w.err.text);
    if (where != NULL)
        *where = w.where;
    return SEG_OK;
}

/* ---- outcomes ----------------------------------------------------------------------------- */

static void run_callbacks(sg_outbatch *b) {
    bool ok = b->status == SEG_OK;
    for (uint32_t i = 0; i < b->writer.count; i++) {
        const sg_slot *s = &b->slots[i];
        seg_position where = {{1, b->offset == UINT64_MAX ? UINT64_MAX : b->offset + i},
                              b->partition};
        if (s->fn != NULL)
            s->fn(b->status, ok ? &where : NULL, ok ? NULL : &b->err, s->arg);
    }
}

/* Lock held; gives it up for each batch's callbacks. */
static void drain(seg_producer *p) {
    for (sg_node *n; (n = sg_list_pop(&p->done)) != NULL;) {
        sg_outbatch *b = SG_OF(n, sg_outbatch, node);
        sg_mutex_unlock(&p->lock);
        run_callbacks(b);
        sg_mutex_lock(&p->lock);
        sg_outbatch_dispose(b);
    }
}

/* Lock held. */
static seg_status begin_poll(seg_producer *p, seg_error *err) {
    if (p->polling)
        return sg_fail(err, SEG_EBUSY,
                       "another thread polls or flushes this producer, or this is one of its "
                       "callbacks");
    p->polling = true;
    return SEG_OK;
}

seg_status seg_producer_poll(seg_producer *p, int64_t wait, seg_error *err) {
    if (p == NULL)
        return sg_fail(err, SEG_EINVAL, "the producer is NULL");
    int64_t deadline = sg_clock_after(sg_clock_ms(), wait);
    sg_mutex_lock(&p->lock);
    seg_status s = begin_poll(p, err);
    if (s == SEG_OK) {
        while (sg_list_empty(&p->done) && p->stats.queued > 0) {
            int64_t left = deadline - sg_clock_ms();
            if (left <= 0)
                break;
            sg_cond_wait(&p->changed, &p->lock, left);
        }
        drain(p);
        p->polling = false;
    }
    sg_mutex_unlock(&p->lock);
    return s;
}

/* Ids rise along a lane's lists. */
static bool list_has(const sg_list *l, uint64_t id) {
    const sg_node *n = sg_list_first(l);
    return n != NULL && SG_OF(n, const sg_outbatch, node)->id <= id;
}

/* Lock held. Is anything up to batch `id` without an outcome? */
static bool under_way(const seg_producer *p, uint64_t id) {
    for (sg_node *n = p->busy.head.next; n != &p->busy.head; n = n->next) {
        const sg_lane *lane = SG_OF(n, sg_lane, busy);
        if ((lane->open != NULL && lane->open->id <= id) || list_has(&lane->ready, id) ||
            list_has(&lane->flying, id))
            return true;
    }
    return false;
}

seg_status seg_producer_flush(seg_producer *p, int64_t wait, seg_error *err) {
    if (p == NULL)
        return sg_fail(err, SEG_EINVAL, "the producer is NULL");
    int64_t deadline = sg_clock_after(sg_clock_ms(), wait);
    sg_mutex_lock(&p->lock);
    seg_status s = begin_poll(p, err);
    if (s == SEG_OK) {
        uint64_t last = p->last_id;
        for (sg_node *n = p->busy.head.next; n != &p->busy.head; n = n->next)
            if (SG_OF(n, sg_lane, busy)->open != NULL)
                sg_lane_close_open(SG_OF(n, sg_lane, busy));
        sg_loop_wake(&p->actor);
        drain(p);
        while (under_way(p, last)) {
            int64_t left = deadline - sg_clock_ms();
            if (left <= 0) {
                s = sg_fail(err, SEG_ETIMEDOUT, "%llu messages are still under way",
                            (unsigned long long)p->stats.queued);
                break;
            }
            sg_cond_wait(&p->changed, &p->lock, left);
            drain(p);
        }
        p->polling = false;
    }
    sg_mutex_unlock(&p->lock);
    return s;
}

void seg_producer_get_stats(const seg_producer *p, seg_producer_stats *out) {
    sg_mutex *lock = (sg_mutex *)(uintptr_t)&p->lock;
    size_t size = out->size;
    if (size <= sizeof size)
        return;
    sg_mutex_lock(lock);
    memcpy((char *)out + sizeof size, (const char *)&p->stats + sizeof size,
           (size < sizeof *out ? size : sizeof *out) - sizeof size);
    sg_mutex_unlock(lock);
}

/* ---- open and close ----------------------------------------------------------------------- */

static seg_status configure(seg_producer *p, const seg_producer_options *o, seg_error *err) {
    p->linger = o->linger;
    p->delivery_timeout = o->delivery_timeout != 0 ? o->delivery_timeout : 120000;
    p->max_batch = o->max_batch != 0 ? o->max_batch : 64 * 1024;
    p->max_message = o->max_message != 0 ? o->max_message : MIB;
    p->max_queued = o->max_queued != 0 ? o->max_queued : 32 * MIB;
    if (p->linger < 0 || p->delivery_timeout < 0)
        return sg_fail(err, SEG_EINVAL, "a time of the producer options is negative");
    if (p->max_batch < 1024 || p->max_batch > 64 * MIB)
        return sg_fail(err, SEG_EINVAL, "max_batch is %zu: 1 KiB to 64 MiB", p->max_batch);
    if (p->max_message > 64 * MIB)
        return sg_fail(err, SEG_EINVAL, "max_message is %zu: at most 64 MiB", p->max_message);
    return SEG_OK;
}

static bool make_lanes(seg_producer *p) {
    p->lanes = sg_calloc(p->stream.partitions, sizeof *p->lanes);
    if (p->lanes == NULL)
        return false;
    for (uint32_t i = 0; i < p->stream.partitions; i++) {
        sg_lane *lane = &p->lanes[i];
        lane->partition = i;
        lane->generation = lane->next_seq = 1;
        sg_list_init(&lane->ready);
        sg_list_init(&lane->flying);
        sg_backoff_init(&lane->backoff, 2, 100);
    }
    /* A batch must fit into a quarter of the partition, or a full one could never take turns. */
    uint64_t fair = p->stream.bound / 4;
    p->max_count = fair < 1 ? 1 : fair > BATCH_COUNT_MAX ? BATCH_COUNT_MAX : (uint32_t)fair;
    return true;
}

void sg_producer_free(seg_producer *p) {
    sg_free(p->lanes);
    sg_cond_fini(&p->changed);
    sg_mutex_fini(&p->lock);
    sg_free(p);
}

static void attach(void *arg) {
    seg_producer *p = arg;
    sg_loop_add(p->client->loop, &p->actor);
}

seg_status seg_producer_open(seg_producer **out, seg_client *c, const char *stream,
                             const seg_producer_options *opts, seg_error *err) {
    seg_producer_options o = {.size = sizeof o};
    seg_status s;
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    if ((s = sg_options_copy(&o, sizeof o, opts, "producer options", err)) != SEG_OK)
        return s;
    seg_producer *p = sg_calloc(1, sizeof *p);
    if (p == NULL || !sg_mutex_init(&p->lock) || !sg_cond_init(&p->changed)) {
        sg_free(p);
        return sg_fail_nomem(err);
    }
    sg_list_init(&p->busy);
    sg_list_init(&p->done);
    p->client = c;
    p->actor.run = sg_producer_run;
    p->actor.arg = p;
    p->stats.size = sizeof p->stats;
    if ((s = configure(p, &o, err)) == SEG_OK &&
        (s = sg_stream_name(&p->stream, c, stream, err)) == SEG_OK &&
        (s = sg_stream_find(c, &p->stream, true, err)) == SEG_OK &&
        (!make_lanes(p) || !sg_random_id(p->id)))
        s = sg_fail_nomem(err);
    if (s != SEG_OK) {
        sg_producer_free(p);
        return s;
    }
    sg_client_ref(c);
    sg_loop_call(c->loop, attach, p);
    *out = p;
    return SEG_OK;
}

/* Loop thread. Everything gets its outcome now; the answers that are still to come find nobody. */
static void detach(void *arg) {
    seg_producer *p = arg;
    seg_error err;
    sg_loop_remove(&p->actor);
    sg_mutex_lock(&p->lock);
    p->closing = true;
    if (p->fault.status == SEG_OK)
        sg_fail(&p->fault, SEG_ECLOSED, "the producer is closed");
    sg_fail(&err, SEG_EUNKNOWN, "the producer was closed before the server answered");
    for (uint32_t i = 0; i < p->stream.partitions; i++) {
        for (sg_node *n; (n = sg_list_pop(&p->lanes[i].flying)) != NULL;)
            sg_outbatch_done(SG_OF(n, sg_outbatch, node), SEG_EUNKNOWN, &err);
    }
    sg_producer_fail_all(p, SEG_ECLOSED, "the producer was closed");
    sg_mutex_unlock(&p->lock);
}

static void disown(void *arg) {
    seg_producer *p = arg;
    p->gone = true;
    if (p->pending == 0)
        sg_producer_free(p);
}

void seg_producer_close(seg_producer *p) {
    if (p == NULL)
        return;
    seg_client *c = p->client;
    sg_loop_call(c->loop, detach, p);
    sg_mutex_lock(&p->lock);
    p->polling = true;
    drain(p);
    sg_mutex_unlock(&p->lock);
    sg_loop_call(c->loop, disown, p);
    sg_client_unref(c);
}

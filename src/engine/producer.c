/* A producer's application side: messages into batches, outcomes into callbacks. */
#include "engine/producer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "core/error.h"
#include "core/partitioner.h"
#include "engine/admin.h"
#include "engine/loss.h"

#define KEY_MAX         (64u * 1024)
#define MIB             ((size_t)1024 * 1024)
#define BATCH_COUNT_MAX 16384
#define HEADERS_MAX     65535
/* What an append costs beside its bytes is then a part that can be borne (docs/performance.md). With what the server
 * puts around it, an entry is one piece of its allocator's, which go by 256 KiB and then 320: a few bytes more
 * would cost it another 64 KiB for each batch. */
#define MAX_BATCH (256 * 1024 - 512)
/* Forwarded messages without a key: those that result from so many inputs go to one partition. */
#define TURN_INPUTS 64

/* ---- lanes (lock held) -------------------------------------------------------------------- */

void sg_lane_close_open(sg_lane *lane) {
    sg_outbatch *b = lane->open;
    lane->usual_bytes = b->writer.buf.len;
    lane->usual_count = b->writer.count;
    sg_list_push(&lane->ready, &b->node);
    lane->open = NULL;
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

void sg_producer_widen(seg_producer *p, size_t bytes, size_t headers) {
    p->more_bytes = bytes;
    p->more_headers = headers;
}

/* ---- sending ------------------------------------------------------------------------------ */

/* Where and when it is to be. */
static seg_status check_place(const seg_producer *p, seg_record *r, seg_error *err) {
    if (r->partition != NULL && *r->partition >= p->stream.partitions)
        return sg_fail(err, SEG_EINVAL, "no partition %u: stream \"%s\" has %u, from 0",
                       *r->partition, p->stream.name, p->stream.partitions);
    if (r->exact_timestamp)
        return SEG_OK;
    if (r->timestamp < 0)
        return sg_fail(
            err, SEG_EINVAL,
            "the timestamp is negative: for a copy of such a message set exact_timestamp");
    if (r->timestamp == 0)
        r->timestamp = sg_clock_wall_ms();
    return SEG_OK;
}

static seg_status check_record(const seg_producer *p, const seg_record *given, seg_record *r,
                               seg_error *err) {
    seg_status s = SEG_OK;
    if (given->size == sizeof *r) /* mostly */
        *r = *given;
    else if ((s = sg_options_copy(r, sizeof *r, given, "record", err)) != SEG_OK)
        return s;
    size_t total = r->key.len + r->value.len, most = p->max_message + p->more_bytes;
    if (r->key.len > KEY_MAX)
        return sg_fail(err, SEG_EINVAL, "the key has %zu bytes: at most %u", r->key.len, KEY_MAX);
    if (r->value.len > most)
        return sg_fail(err, SEG_EINVAL, "the message has %zu bytes: at most %zu (max_message)",
                       total, p->max_message);
    if ((r->key.data == NULL && r->key.len > 0) || (r->value.data == NULL && r->value.len > 0) ||
        (r->headers == NULL && r->n_headers > 0))
        return sg_fail(err, SEG_EINVAL, "a part of the message is NULL but has a length");
    if (r->n_headers > HEADERS_MAX + p->more_headers)
        return sg_fail(err, SEG_EINVAL, "the message has %zu headers: at most %d", r->n_headers,
                       HEADERS_MAX);
    for (size_t i = 0; i < 2 * r->n_headers; i++) {
        if (r->headers[i].data == NULL && r->headers[i].len > 0)
            return sg_fail(err, SEG_EINVAL, "header %zu is NULL but has a length", i / 2);
        if (r->headers[i].len > most)
            total = SIZE_MAX / 2;
        else
            total += r->headers[i].len;
        if (total > most)
            break;
    }
    if (total > most)
        return sg_fail(err, SEG_EINVAL, "the message has more than %zu bytes (max_message)",
                       p->max_message);
    return check_place(p, r, err);
}

/* What the loop has to do for a message: look at its lane in a moment, or send it now, as there is nothing
 * under way that it could gather behind. */
typedef enum need { NEED_NOTHING, NEED_WAKE, NEED_WORK } need;

/* A message on its way into a batch. */
typedef struct message {
    seg_record record;
    need need;
    size_t size; /* of it in the lane's open batch, or in a new one */
    sg_slot slot;
    const sg_forward_slot *forward; /* NULL: a plain one */
} message;

/* May it join the open batch, which there is? */
static bool fits(const sg_lane *lane, message *m) {
    m->size = sg_batch_record_size(&m->record, lane->open->writer.base_ts);
    return sg_outbatch_fits(lane->open, m->size, m->forward);
}

/* Lock held. Where a message goes that no partition was chosen for and that has no key: all of one
 * batch to one partition, then the next. A forwarded one has to come to the same partition each
 * time, for only there it is known. */
static sg_lane *lane_of(seg_producer *p, message *m) {
    const seg_bytes *key = &m->record.key;
    uint32_t n = p->stream.partitions;
    if (m->record.partition != NULL)
        return &p->lanes[*m->record.partition];
    if (key->len > 0)
        return &p->lanes[sg_partition_of(key->data, key->len, n)];
    if (m->forward != NULL)
        return &p->lanes[(m->forward->hash + m->forward->id.offset / TURN_INPUTS) % n];
    if (p->lanes[p->turn].open == NULL || !fits(&p->lanes[p->turn], m))
        p->turn = (p->turn + 1) % n;
    return &p->lanes[p->turn];
}

/* Lock held. One that the application has not heard of: it hears of it now. */
static bool next_loss(seg_producer *p, seg_loss *loss) {
    for (uint32_t i = 0; p->n_losses > 0 && i < p->stream.partitions; i++) {
        *loss = p->lanes[i].loss;
        p->lanes[i].loss.end = 0;
        if (loss->end > 0) {
            p->n_losses--;
            sg_producer_signal(p);
            return true;
        }
    }
    return false;
}

/* Lock held. Begin the lane's open batch. `*wake`: somebody has to look after its deadline. */
static bool open_batch(seg_producer *p, sg_lane *lane, const message *m, bool *wake) {
    lane->open = sg_outbatch_new(p, lane->partition, m->forward != NULL, m->size);
    if (lane->open != NULL)
        sg_outbatch_expect(lane->open, lane->usual_bytes, lane->usual_count);
    /* Where nothing else of this lane has a deadline: requests of batches given up do not come back
     * soon. */
    if (sg_outbatch_mortal(&lane->ready) == NULL && sg_outbatch_mortal(&lane->flying) == NULL)
        *wake = true;
    return lane->open != NULL;
}

/* Lock held. */
static seg_status enqueue(seg_producer *p, message *m, seg_error *err) {
    const seg_record *r = &m->record;
    bool forwarding = m->forward != NULL;
    seg_loss loss;
    if (p->fault.status != SEG_OK)
        return sg_fail(err, p->fault.status, "%s", p->fault.text);
    if (p->on_loss == NULL && m->forward == NULL && next_loss(p, &loss))
        return sg_loss_error(&loss, err);
    sg_lane *lane = lane_of(p, m);
    bool joins = lane->open != NULL && fits(lane, m);
    if (!joins)
        m->size = sg_batch_record_size(r, r->timestamp);
    size_t more =
        m->size + sg_slot_size(forwarding) + (joins ? 0 : sg_outbatch_overhead(forwarding));
    if (p->stats.queued_bytes > 0 && p->stats.queued_bytes + more > p->max_queued)
        return sg_fail(err, SEG_EFULL,
                       "the producer's queue is full (max_queued %zu bytes): poll, then "
                       "send again",
                       p->max_queued);
    bool wake = !sg_node_linked(&lane->busy);
    if (lane->open != NULL && !joins) {
        sg_lane_close_open(lane);
        wake = true;
    }
    if (lane->open == NULL && !open_batch(p, lane, m, &wake))
        return sg_fail_nomem(err);
    if (!sg_outbatch_put(lane->open, r, m->size, &m->slot, m->forward)) {
        if (lane->open->writer.count == 0) {
            sg_outbatch_dispose(lane->open);
            lane->open = NULL;
        }
        return sg_fail_nomem(err);
    }
    if (!sg_node_linked(&lane->busy))
        sg_list_push(&p->busy, &lane->busy);
    if (lane->open->writer.count >= p->max_count) {
        sg_lane_close_open(lane);
        wake = true;
    }
    bool alone = p->stats.queued == 1 && p->linger == 0 && m->forward == NULL;
    m->need = !wake ? NEED_NOTHING : alone ? NEED_WORK : NEED_WAKE;
    if (m->need == NEED_WAKE)
        sg_loop_wake(&p->actor);
    return SEG_OK;
}

seg_status seg_send_async(seg_producer *p, const seg_record *r, seg_sent_fn *done, void *arg,
                          seg_error *err) {
    message m = {.record = {.size = sizeof m.record}, .slot = {done, arg, NULL}};
    if (p == NULL || r == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", p == NULL ? "the producer" : "the record");
    seg_status s = check_record(p, r, &m.record, err);
    if (s != SEG_OK)
        return s;
    sg_mutex_lock(&p->lock);
    s = enqueue(p, &m, err);
    sg_mutex_unlock(&p->lock);
    if (m.need == NEED_WORK)
        sg_loop_work(&p->actor, false);
    return s;
}

/* Lock held. Queue it, waiting for room as long as the delivery timeout lets it. */
static seg_status enqueue_waiting(seg_producer *p, message *m, seg_error *err) {
    int64_t deadline = sg_clock_after(sg_clock_ms(), p->delivery_timeout);
    for (;;) {
        seg_status s = enqueue(p, m, err);
        int64_t left = deadline - sg_clock_ms();
        if (s != SEG_EFULL || left <= 0)
            return s;
        sg_cond_wait(&p->changed, &p->lock, left);
    }
}

seg_status seg_send(seg_producer *p, const seg_record *r, seg_position *where, seg_error *err) {
    sg_waiter w;
    message m = {.record = {.size = sizeof m.record}, .slot = {.waiter = &w}};
    if (p == NULL || r == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", p == NULL ? "the producer" : "the record");
    seg_status s = check_record(p, r, &m.record, err);
    if (s != SEG_OK)
        return s;
    memset(&w, 0, sizeof w);
    if (!sg_cond_init(&w.cond))
        return sg_fail_nomem(err);
    sg_mutex_lock(&p->lock);
    s = enqueue_waiting(p, &m, err);
    if (m.need == NEED_WORK) {
        sg_mutex_unlock(&p->lock);
        sg_loop_work(&p->actor, true);
        sg_mutex_lock(&p->lock);
    }
    /* The loop thread gives every batch an outcome by its deadline, so this ends. */
    while (s == SEG_OK && !w.done)
        sg_loop_await(p->client->loop, &w.wait, &w.cond, &p->lock, SEG_FOREVER);
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

seg_status sg_producer_forward(seg_producer *p, const seg_record *r, const sg_forward_id *id,
                               bool wait, sg_forwarded_fn *fn, void *arg, seg_error *err) {
    sg_forward_slot f = {.fn = fn, .arg = arg, .id = *id};
    message m = {.record = {.size = sizeof m.record}, .forward = &f};
    seg_status s = check_record(p, r, &m.record, err);
    if (s != SEG_OK)
        return s;
    f.hash = sg_fnv1a32(id->input, strlen(id->input));
    f.crc = id->unchecked ? 0 : sg_forward_crc(&m.record);
    sg_mutex_lock(&p->lock);
    s = wait ? enqueue_waiting(p, &m, err) : enqueue(p, &m, err);
    sg_mutex_unlock(&p->lock);
    return s;
}

/* ---- outcomes ----------------------------------------------------------------------------- */

void sg_producer_signal(seg_producer *p) {
    sg_event_set(&p->event, !sg_list_empty(&p->done) || (p->on_loss != NULL && p->n_losses > 0));
}

int seg_producer_fd(seg_producer *p) {
    if (p == NULL)
        return -1;
    sg_mutex_lock(&p->lock);
    int fd = sg_event_open(&p->event);
    sg_producer_signal(p);
    sg_mutex_unlock(&p->lock);
    return fd;
}

static void run_callbacks(sg_outbatch *b) {
    bool ok = b->status == SEG_OK;
    for (uint32_t i = 0; i < b->writer.count; i++) {
        const sg_slot *s = &b->slots[i];
        seg_position where = {{b->era, b->offset == UINT64_MAX ? UINT64_MAX : b->offset + i},
                              b->partition};
        if (s->fn != NULL)
            s->fn(b->status, ok ? &where : NULL, ok ? NULL : &b->err, s->arg);
    }
}

/* Lock held; gives it up for each call. */
static void tell_losses(seg_producer *p) {
    seg_loss loss;
    while (p->on_loss != NULL && next_loss(p, &loss)) {
        sg_mutex_unlock(&p->lock);
        p->on_loss(&loss, p->loss_arg);
        sg_mutex_lock(&p->lock);
    }
}

/* Lock held; gives it up for each batch's callbacks. */
static void drain(seg_producer *p) {
    tell_losses(p);
    for (sg_node *n; (n = sg_list_pop(&p->done)) != NULL;) {
        sg_outbatch *b = SG_OF(n, sg_outbatch, node);
        sg_producer_signal(p);
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
        while (sg_list_empty(&p->done) && (p->on_loss == NULL || p->n_losses == 0) &&
               p->stats.queued > 0) {
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
    p->max_batch = o->max_batch != 0 ? o->max_batch : MAX_BATCH;
    p->max_message = o->max_message != 0 ? o->max_message : MIB;
    p->max_queued = o->max_queued != 0 ? o->max_queued : 32 * MIB;
    p->on_loss = o->on_loss;
    p->loss_arg = o->loss_arg;
    p->codec = o->codec;
    if (p->linger < 0 || p->delivery_timeout < 0)
        return sg_fail(err, SEG_EINVAL, "a time of the producer options is negative");
    if (p->max_batch < 1024 || p->max_batch > 64 * MIB)
        return sg_fail(err, SEG_EINVAL, "max_batch is %zu: 1 KiB to 64 MiB", p->max_batch);
    if (p->max_message > 64 * MIB)
        return sg_fail(err, SEG_EINVAL, "max_message is %zu: at most 64 MiB", p->max_message);
    if (seg_codec_name(p->codec) == NULL)
        return sg_fail(err, SEG_EINVAL, "codec %d is not one of SEG_PLAIN, SEG_LZ4, SEG_ZSTD",
                       (int)p->codec);
    return SEG_OK;
}

static bool make_lanes(seg_producer *p) {
    p->lanes = sg_calloc(p->stream.partitions, sizeof *p->lanes);
    if (p->lanes == NULL)
        return false;
    for (uint32_t i = 0; i < p->stream.partitions; i++) {
        sg_lane *lane = &p->lanes[i];
        lane->partition = i;
        lane->producer = p;
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
    for (uint32_t i = 0; p->lanes != NULL && i < p->stream.partitions; i++)
        sg_eras_fini(&p->lanes[i].eras);
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
    sg_event_close(&p->event);
    sg_mutex_unlock(&p->lock);
    sg_loop_call(c->loop, disown, p);
    sg_client_unref(c);
}

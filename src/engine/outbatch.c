/* A producer's batches: messages gathered, cut, and told their outcomes. The lock is held. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "core/error.h"
#include "engine/producer.h"

#define SLOTS_MIN 16
/* The guard looks each forwarded message up, and nobody else is served meanwhile. */
#define FORWARDS_MAX 512

size_t sg_slot_size(bool forwarding) {
    return forwarding ? sizeof(sg_forward_slot) : sizeof(sg_slot);
}

size_t sg_outbatch_overhead(bool forwarding) {
    return sizeof(sg_outbatch) + SLOTS_MIN * sg_slot_size(forwarding);
}

/* ---- gathering ---------------------------------------------------------------------------- */

sg_outbatch *sg_outbatch_new(seg_producer *p, uint32_t partition, bool forwarding, size_t first) {
    sg_outbatch *b = sg_calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    size_t most = SG_BATCH_HEADER + first > p->max_batch ? SG_BATCH_HEADER + first : p->max_batch;
    sg_batch_writer_init(&b->writer, most, p->client->pool);
    b->producer = p;
    b->partition = partition;
    b->forwarding = forwarding;
    b->id = ++p->last_id;
    b->created = sg_clock_ms();
    b->deadline = forwarding ? INT64_MAX : sg_clock_after(b->created, p->delivery_timeout);
    p->stats.queued_bytes += sg_outbatch_overhead(b->forwarding);
    return b;
}

/* Room for `room` slots. */
static bool reserve(sg_outbatch *b, size_t room) {
    void **array = b->forwarding ? (void **)&b->forwards : (void **)&b->slots;
    size_t each = sg_slot_size(b->forwarding);
    void *more =
        sg_pool_grow(b->producer->client->pool, *array, b->writer.count * each, room * each);
    if (more == NULL)
        return false;
    *array = more;
    b->room = sg_pool_room(more) / each;
    return true;
}

void sg_outbatch_expect(sg_outbatch *b, size_t bytes, uint32_t count) {
    if (bytes <= b->writer.buf.max && count > SLOTS_MIN && sg_buf_reserve(&b->writer.buf, bytes))
        reserve(b, count);
}

/* What comes twice, of two attempts or two owners, comes in two batches: the second finds out. */
static bool disagrees(const sg_outbatch *b, const sg_forward_slot *f) {
    for (uint32_t i = 0; i < b->writer.count; i++) {
        const sg_forward_slot *s = &b->forwards[i];
        bool same = s->id.offset == f->id.offset && s->id.index == f->id.index;
        if (s->hash == f->hash && (same || s->id.epoch != f->id.epoch) &&
            strcmp(s->id.input, f->id.input) == 0)
            return true;
    }
    return false;
}

bool sg_outbatch_fits(const sg_outbatch *b, size_t size, const sg_forward_slot *f) {
    const sg_batch_writer *w = &b->writer;
    if (b->forwarding != (f != NULL) || w->count >= b->producer->max_count ||
        sg_batch_size(w) + size > b->producer->max_batch)
        return false;
    return f == NULL || (w->count < FORWARDS_MAX && !disagrees(b, f));
}

bool sg_outbatch_put(sg_outbatch *b, const seg_record *r, size_t size, const sg_slot *slot,
                     const sg_forward_slot *f) {
    seg_producer *p = b->producer;
    uint32_t i = b->writer.count;
    if (i == b->room && !reserve(b, i == 0 ? SLOTS_MIN : 2 * b->room))
        return false;
    if (!sg_batch_add_sized(&b->writer, r, size))
        return false;
    if (b->forwarding) {
        b->forwards[i] = *f;
    } else {
        b->slots[i] = *slot;
        __builtin_prefetch(&b->slots[i] + 1, 1); /* as the end of its records is */
    }
    size_t bytes = b->writer.buf.len - SG_BATCH_HEADER;
    p->stats.queued++;
    p->stats.queued_bytes += bytes - b->bytes + sg_slot_size(b->forwarding);
    b->bytes = bytes;
    b->callbacks = b->callbacks || (!b->forwarding && slot->fn != NULL);
    b->waiters = b->waiters || (!b->forwarding && slot->waiter != NULL);
    return true;
}

sg_outbatch *sg_outbatch_split(sg_outbatch *b, uint32_t n) {
    seg_producer *p = b->producer;
    uint32_t left = b->writer.count - n;
    sg_outbatch *rest = sg_outbatch_new(p, b->partition, b->forwarding, b->writer.buf.len);
    if (rest == NULL)
        return NULL;
    if (!reserve(rest, left) || !sg_batch_split(&b->writer, n, &rest->writer)) {
        sg_outbatch_dispose(rest);
        return NULL;
    }
    if (b->forwarding)
        memcpy(rest->forwards, b->forwards + n, left * sizeof *b->forwards);
    else
        memcpy(rest->slots, b->slots + n, left * sizeof *b->slots);
    b->sealed = false;
    rest->id = b->id;
    rest->bytes = rest->writer.buf.len - SG_BATCH_HEADER;
    b->bytes -= rest->bytes;
    rest->callbacks = b->callbacks;
    rest->waiters = b->waiters;
    rest->created = b->created;
    rest->deadline = b->deadline;
    rest->generation = b->generation;
    rest->first_seq = b->first_seq + n;
    rest->unsure = b->unsure;
    return rest;
}

sg_outbatch *sg_outbatch_mortal(const sg_list *l) {
    for (sg_node *n = l->head.next; n != &l->head; n = n->next)
        if (!SG_OF(n, sg_outbatch, node)->forwarding)
            return SG_OF(n, sg_outbatch, node);
    return NULL;
}

/* ---- outcomes ----------------------------------------------------------------------------- */

void sg_outbatch_dispose(sg_outbatch *b) {
    if (!b->disposed) {
        b->producer->stats.queued_bytes -=
            sg_outbatch_overhead(b->forwarding) + b->writer.count * sg_slot_size(b->forwarding);
        sg_cond_broadcast(&b->producer->changed); /* there is room in the queue */
    }
    b->disposed = true;
    if (b->in_request)
        return;
    sg_batch_writer_fini(&b->writer);
    sg_pool_give(b->slots);
    sg_pool_give(b->forwards);
    sg_free(b);
}

static void tell_waiter(const sg_outbatch *b, size_t i) {
    sg_waiter *w = b->slots[i].waiter;
    w->status = b->status;
    w->err = b->err;
    w->where = (seg_position){{b->era, b->offset == UINT64_MAX ? UINT64_MAX : b->offset + i},
                              b->partition};
    w->done = true;
    sg_loop_served(b->producer->client->loop, &w->wait);
    sg_cond_signal(&w->cond);
}

/* All but the callbacks, which poll runs. */
static void tell(const sg_outbatch *b, uint32_t i) {
    if (b->forwarding)
        b->forwards[i].fn(b->forwards[i].arg, b->status, b->status == SEG_OK ? NULL : &b->err);
    else if (b->slots[i].waiter != NULL)
        tell_waiter(b, i);
}

static void count_outcome(seg_producer *p, seg_status status, uint32_t n, size_t bytes) {
    if (status == SEG_OK) {
        p->stats.stored += n;
        p->stats.stored_bytes += bytes;
    } else {
        p->stats.failed += n;
    }
    p->stats.queued -= n;
    p->stats.queued_bytes -= bytes;
}

/* The application may be long in asking for the outcome. While it is under way the connection sends
 * from there. */
void sg_outbatch_drop_bytes(sg_outbatch *b) {
    if (b->in_request)
        return;
    sg_buf_fini(&b->writer.buf);
    sg_buf_fini(&b->writer.packed);
}

void sg_outbatch_done(sg_outbatch *b, seg_status status, const seg_error *err) {
    seg_producer *p = b->producer;
    b->over = true;
    b->status = status;
    if (err != NULL)
        b->err = *err;
    count_outcome(p, status, b->writer.count, b->bytes);
    sg_outbatch_drop_bytes(b);
    for (uint32_t i = 0; (b->waiters || b->forwarding) && i < b->writer.count; i++)
        tell(b, i);
    if (b->callbacks) {
        sg_list_push(&p->done, &b->node);
        sg_producer_signal(p);
    } else
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

/* ---- forwarding --------------------------------------------------------------------------- */

static uint32_t crc_bytes(uint32_t crc, seg_bytes b) {
    uint8_t length[10];
    crc = sg_crc32c(crc, length, sg_varint_write(length, b.len));
    return b.len > 0 ? sg_crc32c(crc, b.data, b.len) : crc;
}

uint32_t sg_forward_crc(const seg_record *r) {
    uint8_t pairs[10];
    uint32_t crc = crc_bytes(crc_bytes(0, r->key), r->value);
    crc = sg_crc32c(crc, pairs, sg_varint_write(pairs, r->n_headers));
    for (size_t i = 0; i < 2 * r->n_headers; i++)
        crc = crc_bytes(crc, r->headers[i]);
    return crc;
}

bool sg_outbatch_hold(sg_outbatch *b, uint64_t message, sg_held how) {
    if (!b->forwarding || message >= b->writer.count || b->forwards[message].held != SG_HELD_NOT)
        return false;
    b->forwards[message].held = how;
    return true;
}

static void tell_held(const sg_forward_slot *f) {
    const sg_forward_id *id = &f->id;
    seg_error err;
    switch (f->held) {
    case SG_HELD_FENCED:
        sg_fail(&err, SEG_EFENCED,
                "output %" PRIu32 " of offset %" PRIu64 " of \"%s\" comes from epoch %" PRIu64
                ", but a later owner has sent: what results from this input is that one's to send",
                id->index, id->offset, id->input, id->epoch);
        f->fn(f->arg, SEG_EFENCED, &err);
        break;
    case SG_HELD_DIFFERS:
        sg_fail(&err, SEG_EPROTO,
                "output %" PRIu32 " of offset %" PRIu64 " of \"%s\" differs from the one that is "
                "stored: the same input has to give the same outputs in the same order",
                id->index, id->offset, id->input);
        f->fn(f->arg, SEG_EPROTO, &err);
        break;
    default:
        f->fn(f->arg, SEG_OK, NULL);
    }
}

/* The bytes of those that stay move together, over those that leave. */
bool sg_outbatch_let_go(sg_outbatch *b) {
    seg_producer *p = b->producer;
    sg_batch_writer *w = &b->writer;
    uint8_t *to = w->buf.data + SG_BATCH_HEADER;
    sg_batch_reader r = {.at = to,
                         .end = w->buf.data + w->buf.len,
                         .count = w->count,
                         .left = w->count,
                         .base_ts = w->base_ts};
    sg_record_view ignored;
    uint32_t kept = 0;
    for (uint32_t i = 0, n = w->count; i < n; i++) {
        sg_forward_slot f = b->forwards[i];
        const uint8_t *from = r.at;
        sg_batch_next(&r, &ignored);
        size_t size = (size_t)(r.at - from);
        if (f.held == SG_HELD_NOT) {
            memmove(to, from, size);
            to += size;
            b->forwards[kept++] = f;
            continue;
        }
        b->bytes -= size;
        count_outcome(p, f.held == SG_HELD_STORED ? SEG_OK : SEG_EFENCED, 1, size);
        p->stats.queued_bytes -= sizeof f;
        p->stats.fenced += f.held == SG_HELD_FENCED ? 1 : 0;
        tell_held(&f);
    }
    w->count = kept;
    w->buf.len = (size_t)(to - w->buf.data);
    sg_cond_broadcast(&p->changed);
    if (kept == 0) {
        b->over = true;
        sg_outbatch_dispose(b);
        return false;
    }
    b->sealed = false;
    return true;
}

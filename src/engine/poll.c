/* A consumer's application side: what poll returns and tells. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/consumer.h"

#define MAX_MAX      1000000
#define HELD_TELL_MS 10000 /* at most so often */
#define ROOM_FIRST   64 /* messages that a batch begins with room for, and when those are too few */
#define ROOM_MANY    1024
#define STAY         64 /* messages taken singly from one partition, before the others */

struct seg_batch {
    size_t count, room;
    sg_pool *pool; /* of the messages' memory; outlives what is taken of it only */
    seg_message *messages;
    sg_block **blocks; /* each counted once: messages of one block come together */
    size_t n_blocks, blocks_room;
};

/* ---- messages ----------------------------------------------------------------------------- */

seg_bytes seg_message_key(const seg_message *m) {
    return m->view.key;
}

seg_bytes seg_message_value(const seg_message *m) {
    return m->view.value;
}

int64_t seg_message_timestamp(const seg_message *m) {
    return m->view.timestamp;
}

size_t seg_message_headers(const seg_message *m) {
    return m->view.n_headers;
}

bool seg_message_header(const seg_message *m, size_t i, seg_bytes *name, seg_bytes *value) {
    _Atomic uint64_t *hint = &((seg_message *)(uintptr_t)m)->hint;
    seg_bytes all = m->view.headers, rest = all, n = {NULL, 0}, v = {NULL, 0};
    if (i >= m->view.n_headers)
        return false;
    uint64_t known = atomic_load_explicit(hint, memory_order_relaxed);
    size_t k = (size_t)(known >> 32), at = (size_t)(known & UINT32_MAX);
    if (k > i)
        k = at = 0;
    rest = (seg_bytes){all.len > 0 ? (const uint8_t *)all.data + at : NULL, all.len - at};
    for (; k <= i; k++)
        if (!sg_header_next(&rest, &n, &v))
            return false;
    atomic_store_explicit(hint, (uint64_t)k << 32 | (all.len - rest.len), memory_order_relaxed);
    if (name != NULL)
        *name = n;
    if (value != NULL)
        *value = v;
    return true;
}

seg_delivery seg_message_delivery(const seg_message *m) {
    return m->delivery;
}

/* ---- batches ------------------------------------------------------------------------------ */

size_t seg_batch_count(const seg_batch *b) {
    return b == NULL ? 0 : b->count;
}

const seg_message *seg_batch_at(const seg_batch *b, size_t i) {
    return b == NULL || i >= b->count ? NULL : &b->messages[i];
}

void seg_batch_free(seg_batch *b) {
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->n_blocks; i++)
        sg_block_unref(b->blocks[i]);
    sg_free(b->blocks);
    sg_pool_give(b->messages);
    sg_free(b);
}

/* Room for one more message, whose block may be a new one. */
static bool make_room(seg_batch *b) {
    if (b->count == b->room) {
        size_t room = b->room < ROOM_FIRST  ? ROOM_FIRST
                      : b->room < ROOM_MANY ? ROOM_MANY
                                            : 4 * b->room;
        seg_message *messages = sg_pool_grow(b->pool, b->messages, b->count * sizeof *messages,
                                             room * sizeof *messages);
        if (messages == NULL)
            return false;
        b->messages = messages;
        b->room = sg_pool_room(messages) / sizeof *messages;
    }
    if (b->n_blocks == b->blocks_room) {
        size_t room = b->blocks_room == 0 ? 16 : 2 * b->blocks_room;
        sg_block **blocks = sg_reallocarray(b->blocks, room, sizeof(sg_block *));
        if (blocks == NULL)
            return false;
        b->blocks = blocks;
        b->blocks_room = room;
    }
    return true;
}

seg_batch *sg_batch_new(sg_pool *pool) {
    seg_batch *b = sg_calloc(1, sizeof *b);
    if (b != NULL)
        b->pool = pool;
    return b;
}

void sg_batch_clear(seg_batch *b) {
    for (size_t i = 0; i < b->n_blocks; i++)
        sg_block_unref(b->blocks[i]);
    b->n_blocks = b->count = 0;
}

/* ---- taking (lock held) ------------------------------------------------------------------- */

static size_t parked_share(const seg_consumer *c) {
    return c->max_parked / (c->n_owned > 0 ? c->n_owned : 1);
}

static bool may_take(const seg_consumer *c, const sg_holding *h) {
    /* Workers take while the callbacks run on another thread: the application hears of a
     * partition first. */
    bool heard =
        !c->running || c->on_rebalance == NULL || c->notices[h->partition].heard == h->epoch;
    return h->state == SG_ACTIVE && h->verified && heard && !c->paused[h->partition];
}

static bool hand_out(seg_consumer *c, sg_holding *h, seg_batch *b, const sg_next *next,
                     int64_t deadline) {
    seg_message *m = &b->messages[b->count];
    if (!sg_holding_take(h, next, deadline, m))
        return false;
    b->count++;
    c->stats.delivered++;
    if (m->delivery.attempt > 1)
        c->stats.redelivered++;
    if (b->n_blocks == 0 || b->blocks[b->n_blocks - 1] != next->block) {
        sg_block_ref(next->block);
        b->blocks[b->n_blocks++] = next->block;
    }
    return true;
}

static void tell_held(seg_consumer *c, sg_holding *h, int64_t now) {
    if (h->held_told != 0 && now - h->held_told < HELD_TELL_MS)
        return;
    h->held_told = now;
    sg_log_write(
        &c->client->log, SEG_LOG_INFO, "held",
        "partition %u is not read on: offset %llu is not settled, and since then %llu messages "
        "were passed, of which %zu bytes are kept (max_in_flight %u, max_parked %zu)",
        h->partition, (unsigned long long)sg_window_committed(h->window),
        (unsigned long long)(sg_holding_at(h) - sg_window_committed(h->window)),
        sg_holding_parked(h), c->max_in_flight, c->max_parked);
}

static bool take_from(seg_consumer *c, sg_holding *h, seg_batch *b, size_t max, int64_t deadline,
                      int64_t now) {
    size_t share = parked_share(c);
    bool memory = true;
    sg_next next;
    while (b->count < max && (memory = make_room(b)) && sg_holding_next(h, share, &next))
        if (!(memory = hand_out(c, h, b, &next, deadline)))
            break;
    sg_holding_trim(h); /* blocks of which nothing was wanted */
    if (h->held)
        tell_held(c, h, now);
    if (sg_holding_dirty(h)) {
        sg_consumer_todo(c, h);
        sg_loop_nudge(&c->actor);
    }
    return memory;
}

/* ---- suspects (lock held) ----------------------------------------------------------------- */

static bool any_in_flight(const seg_consumer *c) {
    for (size_t i = 0; i < c->n_owned; i++)
        if (c->owned[i]->window != NULL && sg_window_in_flight(c->owned[i]->window) > 0)
            return true;
    return false;
}

/* A partition that is suspicious, and could deliver; NULL where there is none. */
static sg_holding *suspicious(seg_consumer *c) {
    bool any = false;
    for (size_t i = 0; c->suspicious && i < c->n_owned; i++) {
        if (c->owned[i]->suspicious && may_take(c, c->owned[i]))
            return c->owned[i];
        any = any || c->owned[i]->suspicious;
    }
    c->suspicious = any;
    c->isolate_until = 0;
    return NULL;
}

/* Whoever died had more than one message in hand, mostly, and just one of them may have killed
 * it. After it has happened again, they are delivered one at a time, with nothing else of this
 * consumer beside, so that the next death tells which. Where what is in flight does not end in
 * time, that is given up. */
static bool nothing_beside(seg_consumer *c, int64_t now) {
    if (!any_in_flight(c)) {
        c->isolate_until = 0;
        return true;
    }
    if (c->isolate_until == 0) {
        c->isolate_until = sg_clock_after(now, c->drain_timeout > 0 ? c->drain_timeout : 0);
        sg_loop_nudge(&c->actor); /* which looks at the clock for us */
    }
    if (now < c->isolate_until)
        return false;
    for (size_t i = 0; i < c->n_owned; i++)
        sg_holding_trust(c->owned[i]);
    c->isolate_until = 0;
    c->next_expiry = now < c->next_expiry ? now : c->next_expiry;
    return false;
}

static sg_alone look_alone(seg_consumer *c, sg_holding *h, sg_next *next, bool *memory) {
    sg_alone what = sg_holding_next_alone(h, c->isolate_at, c->max_attempts, next);
    if (what == SG_ALONE_CONVICTED) {
        *memory = sg_consumer_bury(c, h, next->offset, SG_REASON_CRASHED);
        if (!*memory)
            h->alone_from = next->offset; /* it is looked at again, and not delivered before */
    }
    if (what == SG_ALONE_WAIT && sg_holding_dirty(h)) {
        sg_consumer_todo(c, h);
        sg_loop_nudge(&c->actor);
    }
    return what;
}

/* True where something suspicious is being dealt with, so that nothing else is delivered. */
static bool take_alone(seg_consumer *c, seg_batch *b, int64_t deadline, int64_t now, bool *memory) {
    sg_holding *h;
    sg_next next;
    while ((h = suspicious(c)) != NULL) {
        if (!(*memory = make_room(b)))
            return true;
        if (!nothing_beside(c, now)) /* not yet, or given up */
            return c->isolate_until != 0 || suspicious(c) != NULL;
        switch (look_alone(c, h, &next, memory)) {
        case SG_ALONE_NONE:
            continue;
        case SG_ALONE_CONVICTED:
            if (!*memory)
                return true;
            continue;
        case SG_ALONE_WAIT:
            return true;
        case SG_ALONE_READY:
            *memory = hand_out(c, h, b, &next, deadline);
            if (!*memory) { /* it is announced, and can be tried again */
                h->alone = next.offset + 1;
                h->alone_from = next.offset;
            }
            return true;
        }
    }
    return false;
}

/* ---- all of it (lock held) ---------------------------------------------------------------- */

/* Each look begins with another partition, so that a busy one cannot starve the others. Who
 * takes one at a time stays for some with the one that had the last, as the others may be many,
 * and empty. */
static void next_turn(seg_consumer *c, size_t start, size_t looked_at, size_t max) {
    if (max == 1 && looked_at > 0 && ++c->stayed < STAY)
        c->turn = start + looked_at - 1;
    else
        c->turn = max == 1 ? start + looked_at : start + 1;
    if (c->turn != start + looked_at - 1)
        c->stayed = 0;
}

bool sg_consumer_take(seg_consumer *c, seg_batch *b, size_t max, int64_t now) {
    int64_t deadline = c->strict ? INT64_MAX : sg_clock_after(now, c->ack_timeout);
    size_t before = c->buffered;
    bool memory = true;
    sg_consumer_expire(c, now); /* the loop thread may be late, and these come first */
    if (!take_alone(c, b, deadline, now, &memory)) {
        size_t n = c->n_owned, start = n > 0 ? c->turn % n : 0, i = 0;
        for (; i < n && b->count < max && memory; i++) {
            sg_holding *h = c->owned[(start + i) % n];
            if (h->n_blocks > 0 && may_take(c, h)) /* mostly there are none, and many to look at */
                memory = take_from(c, h, b, max, deadline, now);
        }
        next_turn(c, start, i, max);
    }
    c->dry = b->count == 0;
    if (b->count > 0 && deadline < c->next_expiry) {
        c->next_expiry = deadline;
        sg_loop_nudge(&c->actor);
    }
    /* There is room for more now, also where nothing of what was there was wanted; or there is
     * none, and nothing to deliver either. */
    if (c->buffered != before || (c->dry && c->buffered > 0))
        sg_loop_nudge(&c->actor);
    return memory;
}

/* Without taking it. */
bool sg_consumer_deliverable(seg_consumer *c, int64_t now) {
    sg_next next;
    if (now >= c->safe_until)
        return false;
    sg_holding *h = suspicious(c);
    if (h != NULL && any_in_flight(c))
        return c->isolate_until == 0 || now >= c->isolate_until;
    if (h != NULL)
        return sg_holding_has_suspect(h, c->isolate_at);
    for (size_t i = 0; i < c->n_owned; i++) {
        h = c->owned[i];
        bool found = may_take(c, h) && sg_holding_next(h, parked_share(c), &next);
        /* It stays in todo while a commit is under way: then the answer wakes the loop. */
        if (h->window != NULL && sg_holding_dirty(h) && !sg_node_linked(&h->todo)) {
            sg_consumer_todo(c, h);
            sg_loop_nudge(&c->actor);
        }
        if (found)
            return true;
    }
    return false;
}

/* ---- telling (lock held; given up while the application's functions run) ------------------ */

/* What the application has to hear of partition p next; 0: nothing. */
static int news_of(const seg_consumer *c, uint32_t p) {
    const sg_notice *n = &c->notices[p];
    const sg_holding *h = c->holdings[p];
    bool same = h != NULL && h->epoch == n->epoch;
    if (n->epoch != 0 && !same)
        return n->lost ? SEG_LOST : n->revoked ? 0 : SEG_REVOKED;
    if (n->epoch != 0)
        return h->state == SG_DRAINING && !n->revoked ? SEG_REVOKED : 0;
    return h != NULL && h->state == SG_ACTIVE ? SEG_ASSIGNED : 0;
}

/* It hears it now. */
static void heard(seg_consumer *c, uint32_t p, int what) {
    sg_notice *n = &c->notices[p];
    const sg_holding *h = c->holdings[p];
    if (what == SEG_ASSIGNED) {
        n->epoch = h->epoch;
        n->revoked = n->lost = false;
    } else if (h != NULL && h->epoch == n->epoch) {
        n->revoked = true;
    } else {
        n->epoch = 0;
    }
}

static void tell_rebalance(seg_consumer *c, seg_rebalance what) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_told; i++) {
        uint32_t p = c->told[i];
        sg_notice *notice = &c->notices[p];
        const sg_holding *h = c->holdings[p];
        /* Handed back, and it was told before: nothing to hear, but the next owner's epoch is new.
         */
        if (notice->epoch != 0 && notice->revoked && !notice->lost &&
            (h == NULL || h->epoch != notice->epoch))
            notice->epoch = 0;
        if (news_of(c, p) != (int)what)
            continue;
        heard(c, p, (int)what);
        c->telling[n++] = p;
    }
    if (n == 0 || c->on_rebalance == NULL)
        return;
    sg_mutex_unlock(&c->lock);
    c->on_rebalance(what, c->telling, n, c->rebalance_arg);
    sg_mutex_lock(&c->lock);
    for (size_t i = 0; what == SEG_ASSIGNED && i < n; i++)
        c->notices[c->telling[i]].heard = c->notices[c->telling[i]].epoch;
    if (c->idle > 0)
        sg_cond_signal(&c->work);
}

static void tell_overtaken(seg_consumer *c, uint32_t p) {
    sg_notice *n = &c->notices[p];
    seg_id first = {n->overtaken_era, n->overtaken_first};
    uint64_t count = n->overtaken;
    n->overtaken = 0;
    if (count == 0 || c->on_overtaken == NULL)
        return;
    sg_mutex_unlock(&c->lock);
    c->on_overtaken(p, first, count, c->overtaken_arg);
    sg_mutex_lock(&c->lock);
}

static void tell_loss(seg_consumer *c, seg_loss *of) {
    seg_loss loss = *of;
    if (loss.end == 0 || c->on_loss == NULL)
        return;
    of->end = 0;
    sg_mutex_unlock(&c->lock);
    c->on_loss(&loss, c->loss_arg);
    sg_mutex_lock(&c->lock);
}

/* Run the callbacks for everything that has happened, partitions with the same news together. What
 * happens while they run is told in another round. */
void sg_consumer_tell(seg_consumer *c) {
    while (c->n_told > 0) {
        for (size_t i = 0; i < c->n_told; i++) {
            tell_loss(c, &c->notices[c->told[i]].lost_messages);
            tell_loss(c, &c->notices[c->told[i]].lost_acks);
        }
        tell_rebalance(c, SEG_LOST);
        tell_rebalance(c, SEG_REVOKED);
        tell_rebalance(c, SEG_ASSIGNED);
        for (size_t i = 0; i < c->n_told; i++)
            tell_overtaken(c, c->told[i]);
        size_t kept = 0;
        for (size_t i = 0; i < c->n_told; i++) {
            uint32_t p = c->told[i];
            const sg_notice *notice = &c->notices[p];
            bool lost = notice->lost_messages.end > 0 || notice->lost_acks.end > 0;
            if (news_of(c, p) != 0 || notice->overtaken > 0 || (lost && c->on_loss != NULL))
                c->told[kept++] = p;
            else
                c->notices[p].pending = false;
        }
        c->n_told = kept;
    }
}

bool sg_consumer_untold(seg_consumer *c, seg_error *err) {
    for (uint32_t p = 0; c->n_untold > 0 && p < c->stream.partitions; p++) {
        sg_notice *n = &c->notices[p];
        seg_loss *of = n->lost_messages.end > 0 ? &n->lost_messages : &n->lost_acks;
        if (of->end == 0)
            continue;
        c->n_untold--;
        sg_loss_error(of, err);
        of->end = 0;
        return true;
    }
    return false;
}

/* ---- poll --------------------------------------------------------------------------------- */

/* Lock held. Fills b, or waits. */
static seg_status fill(seg_consumer *c, seg_batch *b, size_t max, int64_t deadline,
                       seg_error *err) {
    for (;;) {
        sg_consumer_tell(c);
        int64_t now = sg_clock_ms();
        if (atomic_load(&c->stopping) || c->closing)
            return sg_fail(err, SEG_ECLOSED, "the consumer was stopped");
        if (sg_consumer_untold(c, err))
            return SEG_ELOST;
        if (c->fault.status != SEG_OK)
            return sg_fail(err, c->fault.status, "%s", c->fault.text);
        /* Past its lease a member hands nothing out: others may own its partitions already. */
        sg_consumer_came(c, now);
        if (now < c->safe_until && !sg_consumer_take(c, b, max, now) && b->count == 0)
            return sg_fail_nomem(err);
        if (b->count > 0 || now >= deadline)
            return SEG_OK;
        sg_loop_await(c->client->loop, &c->wait, &c->changed, &c->lock,
                      deadline == SEG_FOREVER ? SEG_FOREVER : deadline - now);
    }
}

seg_status seg_consumer_poll(seg_batch **out, seg_consumer *c, size_t max, int64_t wait,
                             seg_error *err) {
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the consumer");
    if (max < 1 || max > MAX_MAX)
        return sg_fail(err, SEG_EINVAL, "max is %zu: 1 to %d messages", max, MAX_MAX);
    int64_t deadline = sg_clock_after(sg_clock_ms(), wait);
    seg_batch *b = sg_batch_new(c->client->pool);
    if (b == NULL)
        return sg_fail_nomem(err);
    sg_mutex_lock(&c->lock);
    seg_status s = SEG_EBUSY;
    if (c->strict && !c->polling && !atomic_load(&c->stopping)) {
        s = sg_fail(err, SEG_EINVAL,
                    "this consumer has run handlers: run it again, or close it and open another");
    } else if (c->polling) {
        sg_fail(err, SEG_EBUSY,
                "another thread polls this consumer, or this is one of its callbacks");
    } else {
        c->polling = true;
        s = fill(c, b, max, deadline, err);
        c->polling = false;
        c->taken_at = sg_clock_ms();
        sg_consumer_signal(c);
    }
    sg_mutex_unlock(&c->lock);
    if (s == SEG_OK)
        *out = b;
    else
        seg_batch_free(b);
    return s;
}

/* After the consumer has left: the application hears that its partitions are gone. */
void sg_consumer_tell_rest(seg_consumer *c) {
    sg_mutex_lock(&c->lock);
    c->polling = true;
    while (c->n_owned > 0) /* the good-bye was not answered: its lease will run out */
        sg_consumer_drop(c, c->owned[0], false);
    sg_consumer_tell(c);
    sg_mutex_unlock(&c->lock);
}

#include "engine/holding.h"

#include <string.h>

#include "base/alloc.h"

/* Nothing is acknowledged further past committed (core/window.h). */
#define ACKED_SPAN 65536

sg_holding *sg_holding_new(uint32_t partition, uint64_t epoch, const char *log_key) {
    sg_holding *h = sg_calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->partition = partition;
    h->epoch = epoch;
    h->log_key = log_key;
    sg_backoff_init(&h->backoff, 10, 1000);
    return h;
}

void sg_holding_drop_blocks(sg_holding *h) {
    for (size_t i = 0; i < h->n_blocks; i++)
        sg_block_unref(h->blocks[i]);
    h->n_blocks = h->at_block = h->at_record = 0;
    h->n_again = h->again_at = 0;
    h->buffered = 0;
}

void sg_holding_free(sg_holding *h) {
    if (h == NULL)
        return;
    sg_holding_drop_blocks(h);
    sg_list_remove(&h->todo);
    sg_window_free(h->window);
    sg_free(h->blocks);
    sg_free(h->again);
    sg_free(h);
}

bool sg_holding_begin(sg_holding *h, uint64_t era, uint64_t committed, uint64_t first,
                      seg_bytes acks, uint32_t capacity, uint64_t *missed, bool *damaged) {
    *damaged = false;
    h->window = sg_window_new(committed, capacity);
    if (h->window == NULL)
        return false;
    if (!sg_window_load(h->window, acks.data, acks.len)) {
        uint64_t count;
        *damaged = !sg_ackmap_count(acks.data, acks.len, &count);
        return false;
    }
    h->era = era;
    h->fetch_at = committed;
    h->stored_version = sg_window_version(h->window);
    *missed = sg_holding_unacked(h, committed, first);
    if (first > committed && !sg_holding_skip(h, first))
        return false;
    h->stored_offset = committed;
    h->verified = true;
    h->state = SG_ACTIVE;
    return true;
}

uint64_t sg_holding_unacked(const sg_holding *h, uint64_t from, uint64_t to) {
    uint64_t n = to > from ? to - from : 0;
    uint64_t end = sg_window_committed(h->window) + ACKED_SPAN;
    for (uint64_t o = from; o < to && o < end; o++)
        n -= sg_window_acked(h->window, o) ? 1 : 0;
    return n;
}

bool sg_holding_skip(sg_holding *h, uint64_t to) {
    if (to <= h->fetch_at)
        return true;
    if (!sg_window_skip(h->window, h->fetch_at, to))
        return false;
    h->fetch_at = to;
    return true;
}

uint64_t sg_holding_put(sg_holding *h, sg_block *b) {
    uint64_t missing = 0;
    if (h->n_blocks == h->room) {
        size_t room = h->room == 0 ? 8 : 2 * h->room;
        sg_block **blocks = sg_reallocarray(h->blocks, room, sizeof(sg_block *));
        if (blocks == NULL) {
            sg_block_unref(b);
            return UINT64_MAX;
        }
        h->blocks = blocks;
        h->room = room;
    }
    if (b->first > h->fetch_at) {
        missing = sg_holding_unacked(h, h->fetch_at, b->first);
        if (!sg_holding_skip(h, b->first)) {
            sg_block_unref(b);
            return UINT64_MAX;
        }
    }
    h->blocks[h->n_blocks++] = b;
    h->buffered += b->blob.len;
    h->fetch_at = b->first + b->count;
    return missing;
}

/* ---- delivery ----------------------------------------------------------------------------- */

static sg_block *find_block(const sg_holding *h, uint64_t offset) {
    size_t lo = 0, hi = h->n_blocks;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const sg_block *b = h->blocks[mid];
        if (offset < b->first)
            hi = mid;
        else if (offset >= b->first + b->count)
            lo = mid + 1;
        else
            return h->blocks[mid];
    }
    return NULL;
}

static bool hand_out(sg_holding *h, sg_block *b, uint64_t offset, int64_t deadline,
                     seg_message *m) {
    uint32_t attempt = sg_window_deliver(h->window, offset, deadline);
    if (attempt == 0)
        return false;
    m->view = b->records[offset - b->first];
    m->delivery = (seg_delivery){{h->era, offset}, h->epoch, h->partition, attempt};
    return true;
}

static bool take_again(sg_holding *h, int64_t deadline, seg_message *m, sg_block **from) {
    while (h->again_at < h->n_again) {
        uint64_t offset = h->again[h->again_at];
        sg_block *b = find_block(h, offset);
        bool wanted = b != NULL && !sg_window_acked(h->window, offset);
        if (wanted && !hand_out(h, b, offset, deadline, m))
            return false;
        if (++h->again_at == h->n_again)
            h->n_again = h->again_at = 0;
        if (wanted) {
            *from = b;
            return true;
        }
    }
    return false;
}

static void next_record(sg_holding *h) {
    const sg_block *b = h->blocks[h->at_block];
    if (++h->at_record < b->count)
        return;
    h->buffered -= b->blob.len;
    h->at_record = 0;
    h->at_block++;
}

bool sg_holding_take(sg_holding *h, int64_t deadline, seg_message *m, sg_block **from) {
    if (take_again(h, deadline, m, from))
        return true;
    /* What could not be handed out for want of memory stays first in line. */
    while (h->again_at == h->n_again && h->at_block < h->n_blocks) {
        sg_block *b = h->blocks[h->at_block];
        uint64_t offset = b->first + h->at_record;
        sg_window_fate fate = sg_window_fate_of(h->window, offset);
        if (fate == SG_HOLD || (fate == SG_DELIVER && !hand_out(h, b, offset, deadline, m)))
            return false;
        next_record(h);
        if (fate == SG_DELIVER) {
            *from = b;
            return true;
        }
    }
    return false;
}

static bool again_room(sg_holding *h) {
    if (h->n_again < h->again_room)
        return true;
    if (h->again_at > h->again_room / 2) { /* the front was taken: move up */
        h->n_again -= h->again_at;
        memmove(h->again, h->again + h->again_at, h->n_again * sizeof *h->again);
        h->again_at = 0;
        return true;
    }
    size_t room = h->again_room == 0 ? 16 : 2 * h->again_room;
    uint64_t *again = sg_reallocarray(h->again, room, sizeof *again);
    if (again == NULL)
        return false;
    h->again = again;
    h->again_room = room;
    return true;
}

static void again_add(sg_holding *h, uint64_t offset) {
    size_t at = h->n_again++;
    while (at > h->again_at && h->again[at - 1] > offset)
        at--;
    memmove(h->again + at + 1, h->again + at, (h->n_again - 1 - at) * sizeof *h->again);
    h->again[at] = offset;
}

size_t sg_holding_expire(sg_holding *h, int64_t now) {
    size_t n = 0;
    uint64_t offset;
    if (h->window == NULL || h->state != SG_ACTIVE)
        return 0;
    /* Room first: what is taken out of the window has no deadline any more. */
    while (again_room(h) && sg_window_expire(h->window, now, &offset)) {
        again_add(h, offset);
        n++;
    }
    return n;
}

/* ---- acknowledgement ---------------------------------------------------------------------- */

sg_window_ack_result sg_holding_ack(sg_holding *h, uint64_t offset) {
    return sg_window_ack(h->window, offset);
}

void sg_holding_trim(sg_holding *h) {
    uint64_t committed = sg_window_committed(h->window);
    size_t n = 0;
    while (n < h->at_block && h->blocks[n]->first + h->blocks[n]->count <= committed)
        sg_block_unref(h->blocks[n++]);
    if (n == 0)
        return;
    h->n_blocks -= n;
    h->at_block -= n;
    memmove(h->blocks, h->blocks + n, h->n_blocks * sizeof(sg_block *));
}

bool sg_holding_dirty(const sg_holding *h) {
    return h->window != NULL && sg_window_version(h->window) != h->stored_version;
}

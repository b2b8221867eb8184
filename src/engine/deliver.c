/* Which message of a partition comes next. */
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "engine/holding.h"

#define RETRY_MS 100
/* Lanes of a single message; those of keys have the bit clear. */
#define SINGLE ((uint64_t)1 << 63)

/* ---- lanes -------------------------------------------------------------------------------- */

/* A key's lane is two different hashes of it: two keys in one lane would only wait for each
 * other. */
uint64_t sg_holding_lane(const sg_holding *h, const sg_block *b, uint64_t offset) {
    sg_record_view view = {.key = {NULL, 0}};
    if (h->ordering == SEG_BY_PARTITION)
        return 0;
    if (h->ordering != SEG_UNORDERED && b != NULL)
        sg_block_record(b, offset, &view);
    seg_bytes key = view.key;
    if (h->ordering == SEG_UNORDERED || key.len == 0)
        return SINGLE | offset;
    return ((uint64_t)sg_crc32c(0, key.data, key.len) << 32 | sg_fnv1a32(key.data, key.len)) &
           ~SINGLE;
}

static uint64_t lane_of(const sg_holding *h, uint64_t offset) {
    return sg_holding_lane(h, sg_holding_block(h, offset), offset);
}

void sg_holding_be_strict(sg_holding *h) {
    h->strict = true;
    if (h->lanes != NULL && h->ordering != SEG_UNORDERED)
        sg_lanes_be_strict(h->lanes);
}

/* ---- calling ------------------------------------------------------------------------------ */

static bool called_room(sg_holding *h) {
    if (h->n_called < h->called_room)
        return true;
    if (h->called_at > 0) {
        h->n_called -= h->called_at;
        memmove(h->called, h->called + h->called_at, h->n_called * sizeof *h->called);
        h->called_at = 0;
        return true;
    }
    size_t room = h->called_room == 0 ? 16 : 2 * h->called_room;
    sg_called *called = sg_reallocarray(h->called, room, sizeof *called);
    if (called == NULL)
        return false;
    h->called = called;
    h->called_room = room;
    return true;
}

size_t sg_holding_call(sg_holding *h, int64_t now) {
    size_t n = 0;
    uint64_t offset;
    if (h->window == NULL || h->state != SG_ACTIVE)
        return 0;
    while (called_room(h) && sg_lanes_call(h->lanes, now, &offset)) {
        if (!sg_window_mark(h->window, offset, false)) {
            sg_lanes_postpone(h->lanes, offset, now + RETRY_MS);
            break;
        }
        h->called[h->n_called++] = (sg_called){offset, sg_holding_version(h)};
        n++;
    }
    return n;
}

/* ---- passing ------------------------------------------------------------------------------ */

static void next_record(sg_holding *h) {
    const sg_block *b = h->blocks[h->at_block];
    if (++h->at_record < b->count)
        return;
    h->buffered -= b->bytes;
    *h->total -= b->bytes;
    h->at_record = 0;
    h->at_block++;
    h->swept = 0; /* it may be settled already */
}

/* May another block be begun? Settled ones in the middle are looked for only when it matters. */
static bool has_share(sg_holding *h, size_t share) {
    if (h->at_record > 0 || sg_holding_parked(h) < share)
        return true;
    sg_holding_sweep(h);
    return sg_holding_parked(h) < share;
}

typedef enum pass { PASS_ON, PASS_OUT, PASS_STOP } pass;

/* It has to wait in its lane: pass it. */
static pass park(sg_holding *h, uint64_t lane, uint64_t offset) {
    if (!sg_lanes_wait(h->lanes, lane, offset, 0))
        return PASS_STOP;
    next_record(h);
    return PASS_ON;
}

/* Out, unless it has to wait for others of its lane. */
static pass out_or_park(sg_holding *h, const sg_block *b, uint64_t offset) {
    if (sg_lanes_idle(h->lanes))
        return PASS_OUT;
    uint64_t lane = sg_holding_lane(h, b, offset);
    if (!sg_lanes_blocked(h->lanes, lane))
        return PASS_OUT;
    return h->ordering == SEG_BY_PARTITION ? PASS_STOP : park(h, lane, offset);
}

/* At the head is one that has failed under an earlier owner. All of those that are fetched are
 * marked at once, and the head waits until that is stored: so after a crash the partition comes
 * in its order, and costs one commit more. */
static void mark_failed(sg_holding *h, uint64_t offset) {
    uint64_t head = offset;
    while (sg_window_failed(h->window, offset, 1, &offset) && offset < h->fetch_at) {
        if (sg_window_fate_of(h->window, offset) == SG_DELIVER) {
            if (!sg_window_mark(h->window, offset, false))
                break;
            h->marked_to = offset + 1;
        }
        offset++;
    }
    h->marking = h->marked_to > head; /* otherwise there was no memory: at the next look */
    h->marked_version = sg_holding_version(h);
}

/* One of those, at the head, and not gone another way. */
static bool is_marked(const sg_holding *h, uint64_t offset) {
    return offset < h->marked_to && sg_window_waits(h->window, offset) &&
           !sg_lanes_has(h->lanes, offset) && sg_map_get(&h->letters, offset) == NULL;
}

/* The message at the head: out, on to the next one, or no further for now. */
static pass look_at(sg_holding *h, const sg_block *b, uint64_t offset) {
    sg_window_fate fate = sg_window_fate_of(h->window, offset);
    if (fate == SG_SKIP) {
        if (is_marked(h, offset))
            return h->marking ? PASS_STOP : out_or_park(h, b, offset);
        next_record(h);
        return PASS_ON;
    }
    if (fate == SG_HOLD) {
        h->held = true;
        return PASS_STOP;
    }
    if (offset < h->failed_before && sg_window_failures(h->window, offset).count > 0) {
        if (!h->marking)
            mark_failed(h, offset);
        return PASS_STOP;
    }
    if (offset >= h->announced) {
        h->gated = true;
        return PASS_STOP;
    }
    return out_or_park(h, b, offset);
}

bool sg_holding_next(sg_holding *h, size_t share, sg_next *out) {
    h->held = false;
    if (sg_lanes_next(h->lanes, &out->offset)) {
        out->block = sg_holding_block(h, out->offset);
        out->waited = true;
        return out->block != NULL;
    }
    while (h->at_block < h->n_blocks) {
        if (!has_share(h, share)) {
            h->held = true;
            return false;
        }
        sg_block *b = h->blocks[h->at_block];
        uint64_t offset = b->first + h->at_record;
        pass p = look_at(h, b, offset);
        if (p == PASS_STOP)
            return false;
        if (p == PASS_OUT) {
            *out = (sg_next){offset, b, false};
            return true;
        }
    }
    return false;
}

bool sg_holding_take(sg_holding *h, const sg_next *next, int64_t deadline, seg_message *m) {
    uint64_t lane = h->strict ? sg_holding_lane(h, next->block, next->offset) : 0;
    if (!sg_lanes_out(h->lanes, lane))
        return false;
    uint32_t attempt = sg_window_deliver(h->window, next->offset, deadline);
    if (attempt == 0) {
        sg_lanes_in(h->lanes, lane);
        return false;
    }
    if (next->waited)
        sg_lanes_remove(h->lanes, next->offset);
    else if (h->at_block < h->n_blocks && sg_holding_at(h) == next->offset)
        next_record(h);
    sg_block_record(next->block, next->offset, &m->view);
    atomic_init(&m->hint, 0);
    m->delivery = (seg_delivery){
        {sg_eras_of(&h->eras, next->offset), next->offset}, h->epoch, h->partition, attempt};
    return true;
}

/* ---- alone -------------------------------------------------------------------------------- */

/* Where the last of those ends that have so many failures. What has failed less, but stands
 * before it, is delivered alone as well, in order: it may be of the same key. */
static void find_suspects(sg_holding *h, uint32_t isolate_at) {
    uint64_t offset = h->alone_from;
    while (sg_window_failed(h->window, offset, isolate_at, &offset))
        h->alone_to = ++offset;
    h->suspects_known = true;
}

/* What is settled, in flight or waiting is passed as ever, so that more can be fetched. */
static void pass_settled(sg_holding *h) {
    while (h->at_block < h->n_blocks && sg_window_fate_of(h->window, sg_holding_at(h)) == SG_SKIP)
        next_record(h);
}

/* An earlier one of its key waits for its retry: behind it, then, in the lane. */
static bool join_lane(sg_holding *h, const sg_block *b, uint64_t offset) {
    uint64_t lane = sg_holding_lane(h, b, offset);
    if (!sg_lanes_blocked(h->lanes, lane) || !sg_lanes_wait(h->lanes, lane, offset, 1))
        return false;
    sg_holding_call(h, 1);
    return true;
}

/* The next suspect that was not delivered yet; false where there is none (over), or it is not
 * fetched. */
static bool next_suspect(sg_holding *h, uint32_t isolate_at, bool *over, sg_next *out) {
    uint64_t offset;
    *over = false;
    if (!h->suspects_known)
        find_suspects(h, isolate_at);
    pass_settled(h);
    while (sg_window_failed(h->window, h->alone_from, 1, &offset) && offset < h->alone_to) {
        h->alone_from = offset;
        *out = (sg_next){offset, sg_holding_block(h, offset), true};
        if (sg_window_fate_of(h->window, offset) == SG_HOLD)
            break; /* a larger window's: it takes its turn with the others, when there is room */
        h->starved = out->block == NULL && offset >= h->fetch_at;
        if (h->starved)
            return false;
        if (out->block != NULL && !sg_lanes_has(h->lanes, offset) &&
            sg_map_get(&h->letters, offset) == NULL && !join_lane(h, out->block, offset))
            return true;
        h->alone_from = offset + 1; /* it has had its turn */
    }
    *over = true;
    return false;
}

void sg_holding_trust(sg_holding *h) {
    h->suspicious = h->starved = false;
    if (h->alone == 0)
        return;
    /* It is marked already, and may be announced so: one mark too many is no harm. Its lane
     * brings it. */
    uint64_t offset = h->alone - 1;
    h->alone = 0;
    sg_window_unmark(h->window, offset);
    if (!sg_lanes_has(h->lanes, offset) &&
        !sg_lanes_wait(h->lanes, lane_of(h, offset), offset, 1)) {
        h->suspicious = true; /* no memory: it is looked for again */
        h->alone_from = offset;
    }
}

bool sg_holding_has_suspect(sg_holding *h, uint32_t isolate_at) {
    sg_next next;
    bool over;
    if (h->alone != 0)
        return h->alone_ready;
    return next_suspect(h, isolate_at, &over, &next) || over;
}

sg_alone sg_holding_next_alone(sg_holding *h, uint32_t isolate_at, uint32_t max_attempts,
                               sg_next *out) {
    bool over;
    if (h->alone != 0 && !h->alone_ready)
        return SG_ALONE_WAIT;
    if (h->alone != 0) {
        uint64_t offset = h->alone - 1;
        h->alone = 0;
        h->alone_from = offset + 1;
        *out = (sg_next){offset, sg_holding_block(h, offset), true};
        return out->block != NULL ? SG_ALONE_READY : SG_ALONE_WAIT;
    }
    if (!next_suspect(h, isolate_at, &over, out)) {
        h->suspicious = !over;
        return over ? SG_ALONE_NONE : SG_ALONE_WAIT;
    }
    sg_failures f = sg_window_failures(h->window, out->offset);
    if (f.alone && f.count >= max_attempts) {
        h->alone_from = out->offset + 1;
        return SG_ALONE_CONVICTED;
    }
    if (!sg_window_mark(h->window, out->offset, true))
        return SG_ALONE_WAIT; /* no memory */
    h->alone = out->offset + 1;
    h->alone_ready = false;
    h->alone_version = sg_holding_version(h);
    return SG_ALONE_WAIT;
}

/* ---- settling ----------------------------------------------------------------------------- */

/* Its lane is free again, unless it was let go before. */
static void leave_lane(sg_holding *h, uint64_t lane, uint64_t offset) {
    const sg_outputs *o = sg_map_get(&h->outputs, offset);
    if (o == NULL || !o->let_go)
        sg_lanes_in(h->lanes, lane);
}

bool sg_holding_again(sg_holding *h, uint64_t offset, bool failed, int64_t due, int64_t wall) {
    uint64_t lane = lane_of(h, offset);
    bool wait = h->state == SG_ACTIVE;
    if (wait && !sg_lanes_wait(h->lanes, lane, offset, due > 0 ? due : 1))
        return false;
    if (!(failed ? sg_window_fail(h->window, offset, wall)
                 : sg_window_release(h->window, offset))) {
        if (wait)
            sg_lanes_remove(h->lanes, offset);
        return false;
    }
    leave_lane(h, lane, offset);
    return true;
}

bool sg_holding_bury(sg_holding *h, uint64_t offset, int64_t wall) {
    if (!sg_window_fail(h->window, offset, wall))
        return false;
    leave_lane(h, lane_of(h, offset), offset);
    return true;
}

void sg_holding_let_go(sg_holding *h, uint64_t offset) {
    sg_window_extend(h->window, offset, INT64_MAX);
    leave_lane(h, lane_of(h, offset), offset);
}

uint32_t sg_holding_ack_run(sg_holding *h, uint64_t from, uint32_t n) {
    bool plain = sg_lanes_idle(h->lanes) && !h->strict && h->outputs.count == 0 &&
                 h->letters.count == 0 && h->reasons.count == 0;
    return plain ? sg_window_ack_run(h->window, from, n) : 0;
}

sg_window_ack_result sg_holding_ack(sg_holding *h, uint64_t offset) {
    if (sg_lanes_idle(h->lanes))
        return sg_window_ack(h->window, offset);
    bool out = h->strict && !sg_window_waits(h->window, offset);
    uint64_t lane = out ? lane_of(h, offset) : 0;
    sg_window_ack_result r = sg_window_ack(h->window, offset);
    if (r == SG_ACK_NEW && !sg_lanes_remove(h->lanes, offset) && out)
        leave_lane(h, lane, offset);
    return r;
}

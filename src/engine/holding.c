#include "engine/holding.h"

#include <string.h>

#include "base/alloc.h"

/* Nothing is acknowledged further past committed (core/window.h). */
#define ACKED_SPAN 65536
/* First deliveries are announced so far ahead, at first and at most. */
#define AHEAD_MIN 256
#define AHEAD_MAX 65536

sg_holding *sg_holding_new(uint32_t partition, uint64_t epoch, const char *log_key, size_t *total) {
    sg_holding *h = sg_calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->partition = partition;
    h->epoch = epoch;
    h->log_key = log_key;
    h->total = total;
    h->ahead = AHEAD_MIN;
    sg_map_init(&h->letters);
    sg_map_init(&h->reasons);
    sg_map_init(&h->outputs);
    sg_backoff_init(&h->backoff, 10, 1000);
    return h;
}

static void release(sg_holding *h, sg_block *b) {
    h->bytes -= b->bytes;
    sg_block_unref(b);
}

/* Forget the blocks from index `from` on; those before it are passed, or as good as. */
static void drop_blocks(sg_holding *h, size_t from) {
    for (size_t i = from; i < h->n_blocks; i++)
        release(h, h->blocks[i]);
    h->n_blocks = from;
    *h->total -= h->buffered;
    h->buffered = 0;
}

void sg_holding_drop_fresh(sg_holding *h) {
    size_t keep = h->at_record > 0 ? h->at_block + 1 : h->at_block;
    while (keep < h->n_blocks && h->blocks[keep]->first < h->alone_from)
        keep++; /* a suspect of it may be in hand */
    if (keep < h->n_blocks)
        h->fetch_at = h->blocks[keep]->first;
    h->era = sg_eras_before(&h->eras, h->fetch_at);
    drop_blocks(h, keep);
}

void sg_holding_reset(sg_holding *h) {
    drop_blocks(h, 0);
    h->at_block = h->at_record = 0;
    sg_window_free(h->window);
    sg_lanes_free(h->lanes);
    sg_free(h->note);
    h->window = NULL;
    h->lanes = NULL;
    h->note = NULL;
    h->note_len = 0;
}

void sg_holding_free(sg_holding *h) {
    if (h == NULL)
        return;
    sg_holding_reset(h);
    sg_list_remove(&h->todo);
    sg_free(h->blocks);
    sg_free(h->called);
    sg_eras_fini(&h->eras);
    sg_map_fini(&h->letters);
    sg_map_fini(&h->reasons);
    sg_map_fini(&h->outputs);
    sg_free(h);
}

/* ---- beginning ---------------------------------------------------------------------------- */

static bool load(sg_holding *h, const sg_place *at, const char **damaged) {
    uint64_t count;
    if (!sg_window_load(h->window, at->acks.data, at->acks.len)) {
        *damaged = sg_ackmap_count(at->acks.data, at->acks.len, &count) ? NULL : "ack map";
        return false;
    }
    if (!sg_window_load_tries(h->window, at->tries.data, at->tries.len)) {
        *damaged = sg_tries_check(at->tries.data, at->tries.len) ? NULL : "record of attempts";
        return false;
    }
    return true;
}

static bool keep_note(sg_holding *h, seg_bytes note) {
    if (note.len == 0)
        return true;
    h->note = sg_memdup(note.data, note.len);
    h->note_len = note.len;
    return h->note != NULL;
}

bool sg_holding_begin(sg_holding *h, const sg_place *at, uint32_t capacity, int64_t wall,
                      uint64_t *missed, const char **damaged) {
    uint64_t offset;
    *damaged = NULL;
    sg_eras_fini(&h->eras);
    h->eras = *at->eras;
    *at->eras = (sg_eras){NULL, 0};
    h->window = sg_window_new(at->committed, capacity);
    h->lanes = sg_lanes_new(h->strict && h->ordering != SEG_UNORDERED);
    if (h->window == NULL || h->lanes == NULL || !load(h, at, damaged) || !keep_note(h, at->note))
        return false;
    if (!at->clean && !sg_window_raise(h->window, at->high, wall))
        return false;
    h->suspicious = !at->clean && sg_window_failed(h->window, at->committed, 1, &offset);
    h->since = at->since;
    h->fetch_at = h->alone_from = at->committed;
    h->era = sg_eras_before(&h->eras, h->fetch_at);
    h->failed_before = at->committed + (at->clean && at->tries.len == 0 ? 0 : ACKED_SPAN);
    h->announced = at->committed;
    *missed = sg_holding_unacked(h, at->committed, at->first);
    if (at->first > at->committed && !sg_holding_skip(h, at->first))
        return false;
    h->touched++; /* the first commit announces what may be delivered */
    h->stored_version = 0;
    h->stored_offset = at->committed;
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
    h->era = sg_eras_before(&h->eras, to);
    return true;
}

/* ---- blocks ------------------------------------------------------------------------------- */

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
    h->bytes += b->bytes;
    h->buffered += b->bytes;
    *h->total += b->bytes;
    h->fetch_at = b->first + b->count;
    h->starved = false;
    return missing;
}

sg_block *sg_holding_block(const sg_holding *h, uint64_t offset) {
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

size_t sg_holding_parked(const sg_holding *h) {
    return h->bytes - h->buffered;
}

uint64_t sg_holding_at(const sg_holding *h) {
    return h->at_block < h->n_blocks ? h->blocks[h->at_block]->first + h->at_record : h->fetch_at;
}

/* Forget the first n blocks, which are passed. */
static void shift(sg_holding *h, size_t n) {
    h->n_blocks -= n;
    h->at_block -= n;
    memmove(h->blocks, h->blocks + n, h->n_blocks * sizeof(sg_block *));
}

void sg_holding_trim(sg_holding *h) {
    uint64_t committed = sg_window_committed(h->window);
    size_t n = 0;
    while (n < h->at_block && h->blocks[n]->first + h->blocks[n]->count <= committed)
        release(h, h->blocks[n++]);
    if (n > 0)
        shift(h, n);
}

static bool is_settled(const sg_holding *h, const sg_block *b) {
    for (uint32_t i = 0; i < b->count; i++)
        if (!sg_window_acked(h->window, b->first + i))
            return false;
    return true;
}

void sg_holding_sweep(sg_holding *h) {
    size_t kept = 0, passed = h->at_block;
    if (h->swept == sg_window_version(h->window))
        return;
    h->swept = sg_window_version(h->window);
    for (size_t i = 0; i < h->n_blocks; i++) {
        if (i < passed && is_settled(h, h->blocks[i])) {
            release(h, h->blocks[i]);
            h->at_block--;
        } else {
            h->blocks[kept++] = h->blocks[i];
        }
    }
    h->n_blocks = kept;
}

/* ---- what a commit says ------------------------------------------------------------------- */

uint64_t sg_holding_version(const sg_holding *h) {
    return sg_window_version(h->window) + h->touched;
}

uint64_t sg_holding_high(const sg_holding *h) {
    /* While suspects are delivered one by one nothing else is. */
    if (h->suspicious)
        return sg_window_committed(h->window);
    return sg_holding_at(h) + (h->state == SG_ACTIVE ? h->ahead : 0);
}

/* Is what is announced about to be used up? */
static bool must_announce(const sg_holding *h) {
    return h->state == SG_ACTIVE && !h->suspicious &&
           sg_holding_at(h) + h->ahead / 2 > h->announced;
}

bool sg_holding_dirty(const sg_holding *h) {
    return h->window != NULL && (sg_holding_version(h) != h->stored_version || must_announce(h));
}

void sg_holding_announced(sg_holding *h) {
    if (h->sending_high > h->announced)
        h->announced = h->sending_high;
    if (h->gated && h->commit_seq > 1 && h->ahead < AHEAD_MAX) /* all wait for the first one */
        h->ahead *= 2;
    h->gated = false;
    while (h->called_at < h->n_called && h->called[h->called_at].version <= h->sending_version)
        sg_lanes_ready(h->lanes, h->called[h->called_at++].offset);
    if (h->called_at == h->n_called)
        h->called_at = h->n_called = 0;
    h->marking = h->marking && h->marked_version > h->sending_version;
    if (h->alone != 0 && h->alone_version <= h->sending_version)
        h->alone_ready = true;
}

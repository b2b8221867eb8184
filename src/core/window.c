/* window.c - two stores, which never overlap:
 *
 *   ring    a slot for each offset from committed to the last one delivered: in flight or
 *           acknowledged. A power of two of slots, none before the first delivery, growing up to the
 *           capacity: 4096 idle partitions take next to nothing.
 *   ranges  what is settled without having been delivered here: loaded from the last owner's ack
 *           map, or skipped. Few and maybe huge, so they are kept as [from, to), sorted.
 *
 * Deadlines: mostly each is later than the one before (one ack timeout for all), so those in order
 * wait in a list through the slots, where all is O(1), and only those out of order in a heap.
 *
 * A slot is named by its id, the low 16 bits of its offset: unique, since no two live offsets are
 * 65536 apart, and unlike an index the same after the ring has grown. */
#include "core/window.h"

#include <string.h>

#include "base/alloc.h"

#define SPAN_MAX   65536u /* of a window and of an ack map */
#define FIRST_RING 16u
#define NO_ID      UINT32_MAX

typedef enum slot_state { EMPTY = 0, IN_FLIGHT, ACKED } slot_state;
typedef enum slot_queue { UNQUEUED = 0, IN_LIST, IN_HEAP } slot_queue;

typedef struct slot {
    int64_t deadline;
    uint32_t prev;    /* in the list: id, NO_ID at its end; in the heap: the place in it */
    uint32_t next;    /* in the list */
    uint32_t attempt; /* deliveries so far */
    uint8_t state;
    uint8_t queue;
} slot;

typedef struct range {
    uint64_t from, to;
} range;

struct sg_window {
    uint64_t committed;
    uint64_t end; /* slots at and past it are empty; at least committed */
    uint32_t capacity;
    uint32_t in_flight, acked; /* slots in that state */
    uint64_t version;

    slot *ring;
    uint32_t ring_size; /* 0 or a power of two */

    uint32_t first, last; /* of the list, ids */
    uint32_t *heap;       /* ids, the earliest at 0 */
    uint32_t heap_len, heap_cap;

    range *ranges; /* sorted, neither overlapping nor touching, all past committed */
    size_t ranges_first, ranges_end, ranges_cap; /* in use: [ranges_first, ranges_end) */
    uint64_t in_ranges;                          /* offsets in them */
};

sg_window *sg_window_new(uint64_t committed, uint32_t capacity) {
    sg_window *w = sg_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->committed = w->end = committed;
    w->capacity = capacity < 1 ? 1 : capacity > SPAN_MAX ? SPAN_MAX : capacity;
    w->first = w->last = NO_ID;
    return w;
}

void sg_window_free(sg_window *w) {
    if (w == NULL)
        return;
    sg_free(w->ring);
    sg_free(w->heap);
    sg_free(w->ranges);
    sg_free(w);
}

/* ---- Ring --------------------------------------------------------------------------------- */

static uint32_t id_of(uint64_t offset) {
    return (uint32_t)(offset & (SPAN_MAX - 1));
}

static uint64_t offset_of(const sg_window *w, uint32_t id) {
    return w->committed + id_of(id - w->committed);
}

static slot *slot_at(const sg_window *w, uint64_t id_or_offset) {
    return &w->ring[id_or_offset & (w->ring_size - 1)];
}

static slot_state state_of(const sg_window *w, uint64_t offset) {
    if (offset < w->committed || offset >= w->end)
        return EMPTY;
    return (slot_state)slot_at(w, offset)->state;
}

/* Make the ring hold `offset`, which is within the capacity. */
static bool ring_reach(sg_window *w, uint64_t offset) {
    uint64_t need = offset - w->committed + 1;
    if (need <= w->ring_size)
        return true;
    uint32_t size = w->ring_size > 0 ? w->ring_size : FIRST_RING;
    while (size < need)
        size *= 2;
    slot *ring = sg_calloc(size, sizeof *ring);
    if (ring == NULL)
        return false;
    for (uint64_t o = w->committed; o < w->end; o++)
        ring[o & (size - 1)] = *slot_at(w, o);
    sg_free(w->ring);
    w->ring = ring;
    w->ring_size = size;
    return true;
}

/* ---- Ranges ------------------------------------------------------------------------------- */

/* Index of the first range that ends past `offset`; ranges_end where none does. */
static size_t ranges_find(const sg_window *w, uint64_t offset) {
    size_t low = w->ranges_first, high = w->ranges_end;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (w->ranges[mid].to > offset)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static bool ranges_hold(const sg_window *w, uint64_t offset) {
    size_t i = ranges_find(w, offset);
    return i < w->ranges_end && w->ranges[i].from <= offset;
}

/* Room for `more` ranges. What was popped in front is reclaimed only when it is as much as what is
 * left, which keeps popping and appending O(1) in the mean. */
static bool ranges_reserve(sg_window *w, size_t more) {
    size_t n = w->ranges_end - w->ranges_first;
    if (w->ranges_first > 0 && w->ranges_first >= n) {
        memmove(w->ranges, w->ranges + w->ranges_first, n * sizeof *w->ranges);
        w->ranges_first = 0;
        w->ranges_end = n;
    }
    size_t need = w->ranges_end + more;
    if (need <= w->ranges_cap)
        return true;
    size_t cap = w->ranges_cap * 2 > need ? w->ranges_cap * 2 : need;
    range *ranges = sg_reallocarray(w->ranges, cap, sizeof *ranges);
    if (ranges == NULL)
        return false;
    w->ranges = ranges;
    w->ranges_cap = cap;
    return true;
}

/* Unite [from, to) with the ranges. Room for one more is reserved. */
static void ranges_add(sg_window *w, uint64_t from, uint64_t to) {
    size_t i = from > 0 ? ranges_find(w, from - 1) : w->ranges_first; /* touching counts */
    size_t j = i;
    uint64_t covered = 0;
    for (; j < w->ranges_end && w->ranges[j].from <= to; j++) {
        range r = w->ranges[j];
        covered += r.to - r.from;
        from = r.from < from ? r.from : from;
        to = r.to > to ? r.to : to;
    }
    memmove(w->ranges + i + 1, w->ranges + j, (w->ranges_end - j) * sizeof *w->ranges);
    w->ranges[i] = (range){from, to};
    w->ranges_end = w->ranges_end - (j - i) + 1;
    w->in_ranges += to - from - covered;
}

/* Move committed past all that is settled in front. */
static void advance(sg_window *w) {
    for (;;) {
        if (state_of(w, w->committed) == ACKED) {
            *slot_at(w, w->committed) = (slot){0};
            w->acked--;
            w->committed++;
        } else if (w->ranges_first < w->ranges_end &&
                   w->ranges[w->ranges_first].from == w->committed) {
            range r = w->ranges[w->ranges_first++];
            w->in_ranges -= r.to - r.from;
            w->committed = r.to;
        } else {
            break;
        }
    }
    if (w->end < w->committed)
        w->end = w->committed;
}

/* ---- Deadlines ---------------------------------------------------------------------------- */

/* By deadline, then by offset. */
static bool is_before(const sg_window *w, uint32_t a, uint32_t b) {
    int64_t da = slot_at(w, a)->deadline, db = slot_at(w, b)->deadline;
    return da < db || (da == db && offset_of(w, a) < offset_of(w, b));
}

static void heap_put(sg_window *w, uint32_t place, uint32_t id) {
    w->heap[place] = id;
    slot_at(w, id)->prev = place;
}

/* Put `id` at `place` or above it, so that it is before nothing above it. */
static void heap_up(sg_window *w, uint32_t place, uint32_t id) {
    while (place > 0 && is_before(w, id, w->heap[(place - 1) / 2])) {
        heap_put(w, place, w->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(w, place, id);
}

/* Put `id` at `place` or below it, so that nothing below is before it. */
static void heap_down(sg_window *w, uint32_t place, uint32_t id) {
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= w->heap_len)
            break;
        if (child + 1 < w->heap_len && is_before(w, w->heap[child + 1], w->heap[child]))
            child++;
        if (!is_before(w, w->heap[child], id))
            break;
        heap_put(w, place, w->heap[child]);
        place = child;
    }
    heap_put(w, place, id);
}

static void heap_remove(sg_window *w, uint32_t place) {
    uint32_t moved = w->heap[--w->heap_len];
    if (place == w->heap_len)
        return;
    if (place > 0 && is_before(w, moved, w->heap[(place - 1) / 2]))
        heap_up(w, place, moved);
    else
        heap_down(w, place, moved);
}

static void list_append(sg_window *w, uint32_t id) {
    slot *s = slot_at(w, id);
    s->prev = w->last;
    s->next = NO_ID;
    if (w->last != NO_ID)
        slot_at(w, w->last)->next = id;
    else
        w->first = id;
    w->last = id;
}

static void list_remove(sg_window *w, const slot *s) {
    if (s->prev != NO_ID)
        slot_at(w, s->prev)->next = s->next;
    else
        w->first = s->next;
    if (s->next != NO_ID)
        slot_at(w, s->next)->prev = s->prev;
    else
        w->last = s->prev;
}

/* Room in the heap for one more, should it be out of order. */
static bool queue_reserve(sg_window *w) {
    if (w->heap_len < w->heap_cap)
        return true;
    uint32_t cap = w->heap_cap > 0 ? w->heap_cap * 2 : FIRST_RING;
    uint32_t *heap = sg_reallocarray(w->heap, cap, sizeof *heap);
    if (heap == NULL)
        return false;
    w->heap = heap;
    w->heap_cap = cap;
    return true;
}

/* Would `offset` with `deadline` go to the end of the list? */
static bool is_in_order(const sg_window *w, uint64_t offset, int64_t deadline) {
    if (w->last == NO_ID)
        return true;
    int64_t latest = slot_at(w, w->last)->deadline;
    return deadline > latest || (deadline == latest && offset > offset_of(w, w->last));
}

static void queue_add(sg_window *w, uint64_t offset, int64_t deadline) {
    slot *s = slot_at(w, offset);
    bool in_order = is_in_order(w, offset, deadline);
    s->deadline = deadline;
    s->queue = in_order ? IN_LIST : IN_HEAP;
    if (in_order)
        list_append(w, id_of(offset));
    else
        heap_up(w, w->heap_len++, id_of(offset));
}

static void queue_remove(sg_window *w, slot *s) {
    if (s->queue == IN_LIST)
        list_remove(w, s);
    else if (s->queue == IN_HEAP)
        heap_remove(w, s->prev);
    s->queue = UNQUEUED;
}

/* The id of the earliest; NO_ID where nothing has a deadline. */
static uint32_t queue_first(const sg_window *w) {
    if (w->heap_len == 0)
        return w->first;
    if (w->first == NO_ID || is_before(w, w->heap[0], w->first))
        return w->heap[0];
    return w->first;
}

int64_t sg_window_deadline(sg_window *w) {
    uint32_t id = queue_first(w);
    return id == NO_ID ? INT64_MAX : slot_at(w, id)->deadline;
}

bool sg_window_expire(sg_window *w, int64_t now, uint64_t *offset) {
    uint32_t id = queue_first(w);
    if (id == NO_ID || slot_at(w, id)->deadline > now)
        return false;
    queue_remove(w, slot_at(w, id));
    *offset = offset_of(w, id);
    return true;
}

/* ---- Delivery and acknowledgement --------------------------------------------------------- */

sg_window_fate sg_window_fate_of(const sg_window *w, uint64_t offset) {
    if (offset < w->committed || state_of(w, offset) != EMPTY || ranges_hold(w, offset))
        return SG_SKIP;
    return offset - w->committed < w->capacity ? SG_DELIVER : SG_HOLD;
}

uint32_t sg_window_deliver(sg_window *w, uint64_t offset, int64_t deadline) {
    bool again = state_of(w, offset) == IN_FLIGHT;
    if (!again && sg_window_fate_of(w, offset) != SG_DELIVER)
        return 0;
    if (!ring_reach(w, offset))
        return 0;
    if (!is_in_order(w, offset, deadline) && !queue_reserve(w))
        return 0;
    slot *s = slot_at(w, offset);
    queue_remove(w, s);
    if (!again) {
        s->state = IN_FLIGHT;
        w->in_flight++;
        if (w->end <= offset)
            w->end = offset + 1;
    }
    queue_add(w, offset, deadline);
    return ++s->attempt;
}

sg_window_ack_result sg_window_ack(sg_window *w, uint64_t offset) {
    if (state_of(w, offset) != IN_FLIGHT)
        return sg_window_acked(w, offset) ? SG_ACK_OLD : SG_ACK_NEVER;
    slot *s = slot_at(w, offset);
    queue_remove(w, s);
    s->state = ACKED;
    w->in_flight--;
    w->acked++;
    w->version++;
    advance(w);
    return SG_ACK_NEW;
}

bool sg_window_skip(sg_window *w, uint64_t from, uint64_t to) {
    uint64_t before = w->committed + w->in_ranges; /* grows with each offset that is new */
    bool ok = true;
    if (from < w->committed)
        from = w->committed;
    while (ok && from < to) {
        /* The ring's own slots are left out, so that no offset is in both stores. */
        uint64_t stop = from;
        while (stop < to && stop < w->end && state_of(w, stop) == EMPTY)
            stop++;
        if (stop >= w->end)
            stop = to;
        if (stop > from) {
            ok = ranges_reserve(w, 1);
            if (ok)
                ranges_add(w, from, stop);
        }
        from = stop;
        while (from < to && state_of(w, from) != EMPTY)
            from++;
    }
    if (w->committed + w->in_ranges != before)
        w->version++;
    advance(w);
    return ok;
}

uint64_t sg_window_committed(const sg_window *w) {
    return w->committed;
}

uint32_t sg_window_in_flight(const sg_window *w) {
    return w->in_flight;
}

uint32_t sg_window_beyond(const sg_window *w) {
    uint64_t n = w->acked + w->in_ranges;
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

bool sg_window_acked(const sg_window *w, uint64_t offset) {
    return offset < w->committed || state_of(w, offset) == ACKED || ranges_hold(w, offset);
}

uint64_t sg_window_version(const sg_window *w) {
    return w->version;
}

/* ---- The ack map -------------------------------------------------------------------------- */

/* The next pair at *p; false where it is malformed or goes past SPAN_MAX after `span` offsets. */
static bool read_pair(const uint8_t **p, const uint8_t *end, uint64_t span, uint64_t *gap,
                      uint64_t *run) {
    size_t n = sg_varint_read(*p, end, gap);
    if (n == 0)
        return false;
    size_t m = sg_varint_read(*p + n, end, run);
    if (m == 0)
        return false;
    *p += n + m;
    uint64_t left = SPAN_MAX - span;
    return *gap >= 1 && *run >= 1 && *gap <= left && *run <= left - *gap;
}

/* Check the map; its pairs and the offsets that they cover as acknowledged. */
static bool check_map(const uint8_t *p, size_t len, size_t *pairs, uint64_t *count) {
    const uint8_t *end = p + len;
    uint64_t span = 0, gap, run;
    *pairs = 0;
    *count = 0;
    while (p < end) {
        if (!read_pair(&p, end, span, &gap, &run))
            return false;
        span += gap + run;
        *count += run;
        ++*pairs;
    }
    return true;
}

bool sg_ackmap_count(const void *map, size_t len, uint64_t *count) {
    size_t pairs;
    uint64_t n;
    if (len > 0 && !check_map(map, len, &pairs, &n))
        return false;
    *count = len > 0 ? n : 0;
    return true;
}

bool sg_window_load(sg_window *w, const void *map, size_t len) {
    size_t pairs;
    uint64_t count;
    if (len == 0)
        return true;
    if (!check_map(map, len, &pairs, &count) || !ranges_reserve(w, pairs))
        return false;
    const uint8_t *p = map;
    uint64_t span = 0, gap, run;
    for (size_t i = 0; i < pairs; i++) {
        if (!read_pair(&p, (const uint8_t *)map + len, span, &gap, &run))
            return false;
        ranges_add(w, w->committed + span + gap, w->committed + span + gap + run);
        span += gap + run;
    }
    w->version++;
    return true;
}

/* The next settled stretch at or past `from`, of ring or ranges, as long as it goes in that one
 * store; stretches of both may touch. False where there is none below `limit`. */
static bool next_settled(const sg_window *w, uint64_t from, uint64_t limit, range *out) {
    size_t i = ranges_find(w, from);
    range settled = i < w->ranges_end ? w->ranges[i] : (range){limit, limit};
    if (settled.from < from) /* cut at the limit before */
        settled.from = from;
    uint64_t ring_limit = settled.from < w->end ? settled.from : w->end;
    if (ring_limit > limit)
        ring_limit = limit;
    uint64_t at = w->acked > 0 ? from : ring_limit;
    while (at < ring_limit && state_of(w, at) != ACKED)
        at++;
    if (at < ring_limit) {
        settled = (range){at, at};
        while (settled.to < ring_limit && state_of(w, settled.to) == ACKED)
            settled.to++;
    }
    if (settled.to > limit)
        settled.to = limit;
    *out = settled;
    return settled.from < settled.to;
}

static bool append_pairs(const sg_window *w, sg_buf *out) {
    uint64_t limit = w->committed > UINT64_MAX - SPAN_MAX ? UINT64_MAX : w->committed + SPAN_MAX;
    uint64_t at = w->committed;
    range r;
    while (next_settled(w, at, limit, &r)) {
        range more;
        while (next_settled(w, r.to, limit, &more) && more.from == r.to)
            r.to = more.to;
        if (!sg_buf_varint(out, r.from - at) || !sg_buf_varint(out, r.to - r.from))
            return false;
        at = r.to;
    }
    return true;
}

bool sg_window_map(const sg_window *w, sg_buf *out) {
    size_t before = out->len;
    bool ok = append_pairs(w, out);
    if (!ok)
        out->len = before;
    return ok;
}

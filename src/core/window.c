/* window.c - delivery, settling and deadlines; window_impl.h says what is kept where.
 *
 * Deadlines: mostly each is later than the one before (one ack timeout for all), so those in order
 * wait in a list through the slots, where all is O(1), and only those out of order in a heap. The
 * heap has the ring's memory: there is room for every slot, so a new deadline never fails. No
 * deadline, no place in either.
 *
 * A slot is named by its id, the low 16 bits of its offset: unique, since no two live offsets are
 * 65536 apart, and unlike an index the same after the ring has grown. */
#include "core/window_impl.h"

#include <string.h>

#include "base/alloc.h"

#define FIRST_RING 16u
#define NO_ID      UINT32_MAX

typedef enum slot_queue { UNQUEUED = 0, IN_LIST, IN_HEAP } slot_queue;

sg_window *sg_window_new(uint64_t committed, uint32_t capacity) {
    sg_window *w = sg_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->committed = w->end = committed;
    w->capacity = capacity < 1 ? 1 : capacity > SG_SPAN_MAX ? SG_SPAN_MAX : capacity;
    w->first = w->last = NO_ID;
    return w;
}

void sg_window_free(sg_window *w) {
    if (w == NULL)
        return;
    sg_free(w->ring);
    sg_free(w->ranges);
    sg_free(w->runs);
    sg_free(w);
}

/* ---- Ring --------------------------------------------------------------------------------- */

static uint32_t id_of(uint64_t offset) {
    return (uint32_t)(offset & (SG_SPAN_MAX - 1));
}

static uint64_t offset_of(const sg_window *w, uint32_t id) {
    return w->committed + id_of(id - w->committed);
}

/* Make the ring hold `offset`, which is within the capacity. */
static bool ring_reach(sg_window *w, uint64_t offset) {
    uint64_t need = offset - w->committed + 1;
    if (need <= w->ring_size)
        return true;
    uint32_t size = w->ring_size > 0 ? w->ring_size : FIRST_RING;
    while (size < need)
        size *= 2;
    sg_slot *ring = sg_calloc(size, sizeof *ring + sizeof *w->heap);
    if (ring == NULL)
        return false;
    for (uint64_t o = w->committed; o < w->end; o++)
        ring[o & (size - 1)] = *sg_window_slot(w, o);
    uint32_t *heap = (uint32_t *)(ring + size);
    if (w->heap_len > 0)
        memcpy(heap, w->heap, w->heap_len * sizeof *heap);
    sg_free(w->ring);
    w->ring = ring;
    w->heap = heap;
    w->ring_size = size;
    return true;
}

/* ---- Ranges ------------------------------------------------------------------------------- */

size_t sg_ranges_find(const sg_window *w, uint64_t offset) {
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
    size_t i = sg_ranges_find(w, offset);
    return i < w->ranges_end && w->ranges[i].from <= offset;
}

/* What was popped in front is reclaimed only when it is as much as what is left, which keeps
 * popping and appending O(1) in the mean. */
bool sg_ranges_reserve(sg_window *w, size_t more) {
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
    sg_range *ranges = sg_reallocarray(w->ranges, cap, sizeof *ranges);
    if (ranges == NULL)
        return false;
    w->ranges = ranges;
    w->ranges_cap = cap;
    return true;
}

void sg_ranges_add(sg_window *w, uint64_t from, uint64_t to) {
    size_t i = from > 0 ? sg_ranges_find(w, from - 1) : w->ranges_first; /* touching counts */
    size_t j = i;
    uint64_t covered = 0;
    for (; j < w->ranges_end && w->ranges[j].from <= to; j++) {
        sg_range r = w->ranges[j];
        covered += r.to - r.from;
        from = r.from < from ? r.from : from;
        to = r.to > to ? r.to : to;
    }
    memmove(w->ranges + i + 1, w->ranges + j, (w->ranges_end - j) * sizeof *w->ranges);
    w->ranges[i] = (sg_range){from, to};
    w->ranges_end = w->ranges_end - (j - i) + 1;
    w->in_ranges += to - from - covered;
}

/* Move committed past all that is settled in front. */
static void advance(sg_window *w) {
    for (;;) {
        if (sg_window_state(w, w->committed) == SG_SLOT_ACKED) {
            *sg_window_slot(w, w->committed) = (sg_slot){0};
            w->acked--;
            w->committed++;
        } else if (w->ranges_first < w->ranges_end &&
                   w->ranges[w->ranges_first].from == w->committed) {
            sg_range r = w->ranges[w->ranges_first++];
            w->in_ranges -= r.to - r.from;
            w->committed = r.to;
        } else {
            break;
        }
    }
    if (w->end < w->committed)
        w->end = w->committed;
    sg_runs_drop(w);
}

/* ---- Deadlines ---------------------------------------------------------------------------- */

/* By deadline, then by offset. */
static bool is_before(const sg_window *w, uint32_t a, uint32_t b) {
    int64_t da = sg_window_slot(w, a)->deadline, db = sg_window_slot(w, b)->deadline;
    return da < db || (da == db && offset_of(w, a) < offset_of(w, b));
}

static void heap_put(sg_window *w, uint32_t place, uint32_t id) {
    w->heap[place] = id;
    sg_window_slot(w, id)->prev = place;
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
    sg_slot *s = sg_window_slot(w, id);
    s->prev = w->last;
    s->next = NO_ID;
    if (w->last != NO_ID)
        sg_window_slot(w, w->last)->next = id;
    else
        w->first = id;
    w->last = id;
}

static void list_remove(sg_window *w, const sg_slot *s) {
    if (s->prev != NO_ID)
        sg_window_slot(w, s->prev)->next = s->next;
    else
        w->first = s->next;
    if (s->next != NO_ID)
        sg_window_slot(w, s->next)->prev = s->prev;
    else
        w->last = s->prev;
}

/* Would `offset` with `deadline` go to the end of the list? */
static bool is_in_order(const sg_window *w, uint64_t offset, int64_t deadline) {
    if (w->last == NO_ID)
        return true;
    int64_t latest = sg_window_slot(w, w->last)->deadline;
    return deadline > latest || (deadline == latest && offset > offset_of(w, w->last));
}

static void queue_add(sg_window *w, uint64_t offset, int64_t deadline) {
    if (deadline == INT64_MAX)
        return;
    sg_slot *s = sg_window_slot(w, offset);
    bool in_order = is_in_order(w, offset, deadline);
    s->deadline = deadline;
    s->queue = in_order ? IN_LIST : IN_HEAP;
    if (in_order)
        list_append(w, id_of(offset));
    else
        heap_up(w, w->heap_len++, id_of(offset));
}

static void queue_remove(sg_window *w, sg_slot *s) {
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
    return id == NO_ID ? INT64_MAX : sg_window_slot(w, id)->deadline;
}

bool sg_window_expire(sg_window *w, int64_t now, uint64_t *offset) {
    uint32_t id = queue_first(w);
    if (id == NO_ID || sg_window_slot(w, id)->deadline > now)
        return false;
    queue_remove(w, sg_window_slot(w, id));
    *offset = offset_of(w, id);
    return true;
}

/* ---- Delivery and settling ---------------------------------------------------------------- */

/* The one place where slots are counted. */
static void slot_set(sg_window *w, sg_slot *s, sg_slot_state state, sg_tries tries) {
    w->noted -= sg_slot_noted(s);
    w->in_flight -= s->state == SG_SLOT_IN_FLIGHT;
    w->acked -= s->state == SG_SLOT_ACKED;
    s->state = (uint8_t)state;
    s->tries = tries;
    w->noted += sg_slot_noted(s);
    w->in_flight += s->state == SG_SLOT_IN_FLIGHT;
    w->acked += s->state == SG_SLOT_ACKED;
}

/* The slot of what is not settled; where it has none it gets one, as waiting, with what earlier
 * owners said of it. NULL: no memory, past the capacity, or settled. */
static sg_slot *slot_make(sg_window *w, uint64_t offset) {
    sg_slot_state state = sg_window_state(w, offset);
    if (state == SG_SLOT_ACKED)
        return NULL;
    if (state != SG_SLOT_EMPTY)
        return sg_window_slot(w, offset);
    if (sg_window_fate_of(w, offset) != SG_DELIVER || !ring_reach(w, offset))
        return NULL;
    const sg_tries *known = sg_tries_of(w, offset);
    if (w->end <= offset)
        w->end = offset + 1;
    slot_set(w, sg_window_slot(w, offset), SG_SLOT_WAITING, known ? *known : (sg_tries){0});
    return sg_window_slot(w, offset);
}

/* NULL where it is not in flight. */
static sg_slot *slot_in_flight(const sg_window *w, uint64_t offset) {
    return sg_window_state(w, offset) == SG_SLOT_IN_FLIGHT ? sg_window_slot(w, offset) : NULL;
}

sg_window_fate sg_window_fate_of(const sg_window *w, uint64_t offset) {
    if (offset < w->committed || sg_window_state(w, offset) != SG_SLOT_EMPTY ||
        ranges_hold(w, offset))
        return SG_SKIP;
    return offset - w->committed < w->capacity ? SG_DELIVER : SG_HOLD;
}

/* The rule: it follows all that was delivered here, and nothing is known of any message beforehand. */
static bool is_fresh(const sg_window *w, uint64_t offset) {
    return offset >= w->end && offset - w->committed < w->capacity &&
           w->ranges_first == w->ranges_end && w->runs_first == w->runs_end;
}

static uint32_t deliver_fresh(sg_window *w, uint64_t offset, int64_t deadline) {
    if (!ring_reach(w, offset))
        return 0;
    w->end = offset + 1;
    w->in_flight++;
    sg_window_slot(w, offset)->state = SG_SLOT_IN_FLIGHT;
    queue_add(w, offset, deadline);
    return 1;
}

uint32_t sg_window_deliver(sg_window *w, uint64_t offset, int64_t deadline) {
    if (is_fresh(w, offset))
        return deliver_fresh(w, offset, deadline);
    sg_slot_state before = sg_window_state(w, offset);
    bool first = before == SG_SLOT_EMPTY && sg_tries_of(w, offset) == NULL;
    sg_slot *s = slot_make(w, offset);
    if (s == NULL)
        return 0;
    sg_tries tries = s->tries;
    if (before == SG_SLOT_IN_FLIGHT)
        sg_tries_fail(&tries, 0);
    if (!first && !tries.out) { /* not marked: the next commit says at least that it is out */
        tries.out = true;
        w->version++;
    }
    queue_remove(w, s);
    slot_set(w, s, SG_SLOT_IN_FLIGHT, tries);
    queue_add(w, offset, deadline);
    return tries.failures + 1;
}

bool sg_window_fail(sg_window *w, uint64_t offset, int64_t wall) {
    sg_slot *s = slot_in_flight(w, offset);
    if (s == NULL)
        return false;
    sg_tries tries = s->tries;
    sg_tries_fail(&tries, wall);
    queue_remove(w, s);
    slot_set(w, s, SG_SLOT_WAITING, tries);
    w->version++;
    return true;
}

bool sg_window_release(sg_window *w, uint64_t offset) {
    sg_slot *s = slot_in_flight(w, offset);
    if (s == NULL)
        return false;
    sg_tries tries = s->tries;
    tries.out = tries.alone = false;
    queue_remove(w, s);
    slot_set(w, s, SG_SLOT_WAITING, tries);
    w->version++;
    return true;
}

bool sg_window_extend(sg_window *w, uint64_t offset, int64_t deadline) {
    sg_slot *s = slot_in_flight(w, offset);
    if (s == NULL)
        return false;
    queue_remove(w, s);
    queue_add(w, offset, deadline);
    return true;
}

bool sg_window_waits(const sg_window *w, uint64_t offset) {
    return sg_window_state(w, offset) == SG_SLOT_WAITING;
}

int64_t sg_window_deadline_at(const sg_window *w, uint64_t offset) {
    const sg_slot *s = slot_in_flight(w, offset);
    return s != NULL && s->queue != UNQUEUED ? s->deadline : INT64_MAX;
}

bool sg_window_in_flight_at(const sg_window *w, uint64_t offset) {
    return slot_in_flight(w, offset) != NULL;
}

bool sg_window_in_hand(const sg_window *w, uint64_t offset, uint32_t attempt) {
    const sg_slot *s = slot_in_flight(w, offset);
    return s != NULL && s->tries.failures + 1 == attempt;
}

sg_window_ack_result sg_window_ack(sg_window *w, uint64_t offset) {
    sg_slot_state state = sg_window_state(w, offset);
    if (state != SG_SLOT_IN_FLIGHT && state != SG_SLOT_WAITING)
        return sg_window_acked(w, offset) ? SG_ACK_OLD : SG_ACK_NEVER;
    sg_slot *s = sg_window_slot(w, offset);
    queue_remove(w, s);
    slot_set(w, s, SG_SLOT_ACKED, (sg_tries){0});
    w->version++;
    if (offset == w->committed)
        advance(w);
    return SG_ACK_NEW;
}

uint32_t sg_window_ack_run(sg_window *w, uint64_t from, uint32_t n) {
    uint32_t done = 0;
    sg_slot *s;
    while (done < n && (s = slot_in_flight(w, from + done)) != NULL) {
        queue_remove(w, s);
        slot_set(w, s, SG_SLOT_ACKED, (sg_tries){0});
        done++;
    }
    if (done > 0) {
        w->version++;
        advance(w);
    }
    return done;
}

/* ---- Marks -------------------------------------------------------------------------------- */

bool sg_window_mark(sg_window *w, uint64_t offset, bool alone) {
    sg_slot *s = slot_make(w, offset);
    if (s == NULL)
        return false;
    sg_tries tries = s->tries;
    if (tries.out && tries.alone == alone)
        return true;
    tries.out = true;
    tries.alone = alone;
    slot_set(w, s, (sg_slot_state)s->state, tries);
    w->version++;
    return true;
}

bool sg_window_marked(const sg_window *w, uint64_t offset) {
    const sg_tries *t = sg_window_acked(w, offset) ? NULL : sg_tries_of(w, offset);
    return t != NULL && t->out;
}

void sg_window_unmark(sg_window *w, uint64_t offset) {
    if (!sg_window_waits(w, offset))
        return;
    sg_slot *s = sg_window_slot(w, offset);
    if (!s->tries.out)
        return;
    s->tries.out = s->tries.alone = false;
    w->version++;
}

sg_failures sg_window_failures(const sg_window *w, uint64_t offset) {
    const sg_tries *t = sg_window_acked(w, offset) ? NULL : sg_tries_of(w, offset);
    if (t == NULL)
        return (sg_failures){0};
    return (sg_failures){t->failures, t->killed, t->first, t->last};
}

/* ---- Skipping and asking ------------------------------------------------------------------ */

bool sg_window_skip(sg_window *w, uint64_t from, uint64_t to) {
    uint64_t before = w->committed + w->in_ranges; /* grows with each offset that is new */
    bool ok = true;
    if (from < w->committed)
        from = w->committed;
    while (ok && from < to) {
        /* The ring's own slots are left out, so that no offset is in both stores. */
        uint64_t stop = from;
        while (stop < to && stop < w->end && sg_window_state(w, stop) == SG_SLOT_EMPTY)
            stop++;
        if (stop >= w->end)
            stop = to;
        if (stop > from) {
            ok = sg_ranges_reserve(w, 1);
            if (ok)
                sg_ranges_add(w, from, stop);
        }
        from = stop;
        while (from < to && sg_window_state(w, from) != SG_SLOT_EMPTY)
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
    return offset < w->committed || sg_window_state(w, offset) == SG_SLOT_ACKED ||
           ranges_hold(w, offset);
}

uint64_t sg_window_version(const sg_window *w) {
    return w->version;
}

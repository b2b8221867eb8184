/* window_impl.h - the inside of a window, shared by window.c (what is delivered, and when it is
 * due) and window_map.c (what a commit says of it). Three stores, looked at in this order:
 *
 *   ring    a slot for each offset from committed to the last one that got one: in flight, waiting
 *           or acknowledged. A power of two of slots, none before the first delivery, growing up to
 *           the capacity: 4096 idle partitions take next to nothing.
 *   ranges  what is settled without having a slot: loaded from the last owner's ack map, or
 *           skipped. Few and maybe huge, so they are kept as [from, to), sorted. No offset is in
 *           both ring and ranges.
 *   runs    the failures under earlier owners, as the cursor told them, sorted. They are read only:
 *           the slot that an offset gets takes its run's values over, and decides from then on. So
 *           a run may cover offsets that one of the other two knows better. */
#ifndef SG_CORE_WINDOW_IMPL_H
#define SG_CORE_WINDOW_IMPL_H
#include "core/window.h"

#define SG_SPAN_MAX     65536u                    /* of a window, an ack map, the tries */
#define SG_FAILURES_MAX ((UINT32_C(1) << 20) - 1) /* where counting ends */
#define SG_SECONDS_MAX  ((UINT64_C(1) << 40) - 1) /* of a time in the tries */

typedef enum sg_slot_state {
    SG_SLOT_EMPTY = 0,
    SG_SLOT_IN_FLIGHT,
    SG_SLOT_WAITING,
    SG_SLOT_ACKED
} sg_slot_state;

typedef struct sg_tries {
    int64_t first, last; /* failure, ms since 1970; 0: not known. last is never before first */
    uint32_t failures;
    bool out, alone; /* delivered again, or about to be; with nothing else beside it */
    bool killed;     /* its last owner died when it was out alone */
} sg_tries;

typedef struct sg_slot {
    int64_t deadline;
    sg_tries tries;
    uint32_t prev; /* in the list: id, NO_ID at its end; in the heap: the place in it */
    uint32_t next; /* in the list */
    uint8_t state;
    uint8_t queue;
} sg_slot;

typedef struct sg_range {
    uint64_t from, to;
} sg_range;

typedef struct sg_run {
    uint64_t from, to;
    sg_tries tries;
} sg_run;

struct sg_window {
    uint64_t committed;
    uint64_t end; /* slots at and past it are empty; at least committed */
    uint32_t capacity;
    uint32_t in_flight, acked; /* slots in that state */
    uint32_t noted;            /* slots that have an entry in the tries */
    uint64_t version;

    sg_slot *ring;
    uint32_t ring_size; /* 0 or a power of two */

    uint32_t first, last; /* of the list, ids */
    uint32_t *heap; /* ids, the earliest at 0; in the ring's memory, as many as it has slots */
    uint32_t heap_len;

    sg_range *ranges; /* sorted, neither overlapping nor touching, all past committed */
    size_t ranges_first, ranges_end, ranges_cap; /* in use: [ranges_first, ranges_end) */
    uint64_t in_ranges;                          /* offsets in them */

    sg_run *runs; /* sorted, not overlapping, none wholly below committed */
    size_t runs_first, runs_end;
};

static inline sg_slot *sg_window_slot(const sg_window *w, uint64_t id_or_offset) {
    return &w->ring[id_or_offset & (w->ring_size - 1)];
}

static inline sg_slot_state sg_window_state(const sg_window *w, uint64_t offset) {
    if (offset < w->committed || offset >= w->end)
        return SG_SLOT_EMPTY;
    return (sg_slot_state)sg_window_slot(w, offset)->state;
}

/* Has it an entry in the tries? What is in flight for the first time has none: `high` stands for
 * it. What waits has one even with no failure (it was released), which says that it is not out. */
static inline bool sg_slot_noted(const sg_slot *s) {
    return s->state == SG_SLOT_WAITING ||
           (s->state == SG_SLOT_IN_FLIGHT && (s->tries.failures > 0 || s->tries.out));
}

/* ---- window.c ----------------------------------------------------------------------------- */

/* Index of the first range that ends past `offset`; ranges_end where none does. */
size_t sg_ranges_find(const sg_window *w, uint64_t offset);
/* Room for `more` ranges. */
bool sg_ranges_reserve(sg_window *w, size_t more);
/* Unite [from, to) with the ranges. Room for one more is reserved. */
void sg_ranges_add(sg_window *w, uint64_t from, uint64_t to);

/* ---- window_map.c ------------------------------------------------------------------------- */

/* The entry of `offset`, which is not in the ranges, in slot or run; NULL where it has none. What
 * earlier owners said has one only where it failed, or is out. */
const sg_tries *sg_tries_of(const sg_window *w, uint64_t offset);
/* One more failure, at `wall` (0: not known when). It is not out any more. */
void sg_tries_fail(sg_tries *t, int64_t wall);
/* committed has moved. */
void sg_runs_drop(sg_window *w);
#endif

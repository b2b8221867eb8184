/* lanes.c - three kinds of heaps over the items, and two maps to find things by number:
 *
 *   items   offset ──> item        lanes   lane's id ──> lane (only while it has items, or is out)
 *
 *   due     the WAITING items, by due, then by offset          what sg_lanes_call takes
 *   line    of each lane: all its items, by offset             its first is all that may go
 *   open    the lanes whose first may go now, by its offset    what sg_lanes_next tells
 *
 * The heaps are pairing heaps, linked through what is in them: to insert is a few steps, to remove
 * one from anywhere O(log n) in the mean, and neither needs memory. So only a new item, a new lane
 * and the maps that name them can fail, all of that before anything is changed; and a line does not
 * care in which order thousands of messages fail, as a sorted list would. */
#include "core/lanes.h"

#include "base/alloc.h"
#include "base/list.h"
#include "base/map.h"

/* What stands in a heap. A heap is its first node, NULL where it is empty. */
typedef struct node {
    int64_t due; /* 0 where only the offset counts */
    uint64_t offset;
    struct node *child; /* the first of those under it */
    struct node *next;  /* the next of those under the same one */
    struct node *prev;  /* the one before it of those, or for the first the one above */
} node;

typedef enum item_state { WAITING, CALLED, READY } item_state;

typedef struct lane {
    uint64_t id;
    size_t out; /* handed out and not settled; 0 where not strict */
    node *line; /* items, by `place` */
    node turn;  /* in `open` */
    bool is_open;
} lane;

typedef struct item {
    lane *lane;
    item_state state;
    node place; /* in the line of its lane */
    node turn;  /* in `due`, while WAITING */
} item;

struct sg_lanes {
    bool strict;
    sg_map items, lanes;
    node *due, *open;
};

/* ---- Heaps -------------------------------------------------------------------------------- */

static bool is_before(const node *a, const node *b) {
    return a->due < b->due || (a->due == b->due && a->offset < b->offset);
}

/* One heap of two, each of which may be NULL: the later first node goes under the earlier one. */
static node *meld(node *a, node *b) {
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    node *top = is_before(b, a) ? b : a;
    node *under = top == a ? b : a;
    under->prev = top;
    under->next = top->child;
    if (top->child != NULL)
        top->child->prev = under;
    top->child = under;
    return top;
}

/* One heap of `first` and all beside it: in pairs, then the pairs from the last to the first. That
 * is what makes it cheap in the mean: a long row is left half as long for the next time. */
static node *meld_row(node *first) {
    node *pairs = NULL, *all = NULL;
    while (first != NULL) {
        node *a = first, *b = a->next;
        first = b != NULL ? b->next : NULL;
        a->prev = a->next = NULL;
        if (b != NULL)
            b->prev = b->next = NULL;
        node *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        node *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        all = meld(all, pair);
    }
    return all;
}

static void heap_insert(node **heap, node *n) {
    n->child = n->next = n->prev = NULL;
    *heap = meld(*heap, n);
}

static void heap_remove(node **heap, node *n) {
    node *under = meld_row(n->child);
    if (n == *heap) {
        *heap = under;
        return;
    }
    if (n->prev->child == n)
        n->prev->child = n->next;
    else
        n->prev->next = n->next;
    if (n->next != NULL)
        n->next->prev = n->prev;
    *heap = meld(*heap, under);
}

/* ---- Lanes -------------------------------------------------------------------------------- */

static bool may_go(const lane *ln) {
    return ln->out == 0 && ln->line != NULL && SG_OF(ln->line, item, place)->state == READY;
}

/* Its line, its first item or what is out of it may have changed: it opens, closes, or ends. */
static void lane_changed(sg_lanes *l, lane *ln) {
    bool go = may_go(ln);
    if (ln->is_open && (!go || ln->turn.offset != ln->line->offset)) {
        heap_remove(&l->open, &ln->turn);
        ln->is_open = false;
    }
    if (go && !ln->is_open) {
        ln->turn.offset = ln->line->offset;
        heap_insert(&l->open, &ln->turn);
        ln->is_open = true;
    }
    if (ln->line == NULL && ln->out == 0) {
        sg_map_remove(&l->lanes, ln->id);
        sg_free(ln);
    }
}

/* The lane `id`, which is made where there is none. NULL: no memory. */
static lane *lane_get(sg_lanes *l, uint64_t id) {
    lane *ln = sg_map_get(&l->lanes, id);
    if (ln != NULL)
        return ln;
    ln = sg_calloc(1, sizeof *ln);
    if (ln == NULL)
        return NULL;
    ln->id = id;
    if (!sg_map_put(&l->lanes, id, ln)) {
        sg_free(ln);
        return NULL;
    }
    return ln;
}

sg_lanes *sg_lanes_new(bool strict) {
    sg_lanes *l = sg_calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->strict = strict;
    sg_map_init(&l->items);
    sg_map_init(&l->lanes);
    return l;
}

void sg_lanes_be_strict(sg_lanes *l) {
    l->strict = true;
}

static void free_all(sg_map *m) {
    uint64_t key;
    void *value;
    for (size_t at = 0; sg_map_next(m, &at, &key, &value);)
        sg_free(value);
    sg_map_fini(m);
}

void sg_lanes_free(sg_lanes *l) {
    if (l == NULL)
        return;
    free_all(&l->items);
    free_all(&l->lanes);
    sg_free(l);
}

bool sg_lanes_idle(const sg_lanes *l) {
    return l->lanes.count == 0;
}

bool sg_lanes_blocked(const sg_lanes *l, uint64_t lane_id) {
    return sg_map_get(&l->lanes, lane_id) != NULL;
}

bool sg_lanes_out(sg_lanes *l, uint64_t lane_id) {
    if (!l->strict)
        return true;
    lane *ln = lane_get(l, lane_id);
    if (ln == NULL)
        return false;
    ln->out++;
    lane_changed(l, ln);
    return true;
}

void sg_lanes_in(sg_lanes *l, uint64_t lane_id) {
    lane *ln = sg_map_get(&l->lanes, lane_id);
    if (ln == NULL || ln->out == 0)
        return;
    ln->out--;
    lane_changed(l, ln);
}

/* ---- Items -------------------------------------------------------------------------------- */

static void wait_until(sg_lanes *l, item *it, int64_t due) {
    it->state = WAITING;
    it->turn.due = due;
    heap_insert(&l->due, &it->turn);
}

bool sg_lanes_wait(sg_lanes *l, uint64_t lane_id, uint64_t offset, int64_t due) {
    if (sg_lanes_has(l, offset))
        return true;
    item *it = sg_calloc(1, sizeof *it);
    lane *ln = it != NULL ? lane_get(l, lane_id) : NULL;
    if (ln == NULL || !sg_map_put(&l->items, offset, it)) {
        if (ln != NULL)
            lane_changed(l, ln); /* ends, where it was made just now */
        sg_free(it);
        return false;
    }
    it->lane = ln;
    it->state = READY;
    it->place.offset = it->turn.offset = offset;
    heap_insert(&ln->line, &it->place);
    if (due != 0)
        wait_until(l, it, due);
    lane_changed(l, ln);
    return true;
}

bool sg_lanes_call(sg_lanes *l, int64_t now, uint64_t *offset) {
    if (l->due == NULL || l->due->due > now)
        return false;
    item *it = SG_OF(l->due, item, turn);
    heap_remove(&l->due, &it->turn);
    it->state = CALLED;
    *offset = it->place.offset;
    return true;
}

static item *called(const sg_lanes *l, uint64_t offset) {
    item *it = sg_map_get(&l->items, offset);
    return it != NULL && it->state == CALLED ? it : NULL;
}

void sg_lanes_ready(sg_lanes *l, uint64_t offset) {
    item *it = called(l, offset);
    if (it == NULL)
        return;
    it->state = READY;
    lane_changed(l, it->lane);
}

void sg_lanes_postpone(sg_lanes *l, uint64_t offset, int64_t due) {
    item *it = called(l, offset);
    if (it != NULL)
        wait_until(l, it, due);
}

bool sg_lanes_next(const sg_lanes *l, uint64_t *offset) {
    if (l->open == NULL)
        return false;
    *offset = l->open->offset;
    return true;
}

bool sg_lanes_remove(sg_lanes *l, uint64_t offset) {
    item *it = sg_map_remove(&l->items, offset);
    if (it == NULL)
        return false;
    if (it->state == WAITING)
        heap_remove(&l->due, &it->turn);
    heap_remove(&it->lane->line, &it->place);
    lane_changed(l, it->lane);
    sg_free(it);
    return true;
}

int64_t sg_lanes_due(const sg_lanes *l) {
    return l->due != NULL ? l->due->due : INT64_MAX;
}

size_t sg_lanes_count(const sg_lanes *l) {
    return l->items.count;
}

bool sg_lanes_has(const sg_lanes *l, uint64_t offset) {
    return sg_map_get(&l->items, offset) != NULL;
}

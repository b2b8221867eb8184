/* map.c - linear probing: a key stands in its home slot, or in the first free one after it.
 *
 *   slots   . A A B . . C .      A, A: one home; B: its home is the second A's slot
 *             ^home of A
 *
 * There are no marks for what was removed: what stands after the gap moves up into it where its
 * home allows, so that a search may always end at the first free slot. */
#include "base/map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"

#define SIZE_MIN 16u

typedef struct sg_map_slot {
    uint64_t key;
    void *value; /* NULL: free */
} slot;

void sg_map_init(sg_map *m) {
    memset(m, 0, sizeof *m);
}

void sg_map_fini(sg_map *m) {
    sg_free(m->slots);
    sg_map_init(m);
}

static size_t home_of(const sg_map *m, uint64_t key) {
    sg_rng mixer = {key ^ m->seed};
    return (size_t)sg_rng_next(&mixer) & (m->size - 1);
}

/* Where `key` stands, or the free slot where it would. At least one slot is free. */
static size_t find(const sg_map *m, uint64_t key) {
    size_t i = home_of(m, key);
    while (m->slots[i].value != NULL && m->slots[i].key != key)
        i = (i + 1) & (m->size - 1);
    return i;
}

/* Without the kernel's random bytes, where the heap happens to be is better than nothing. */
static uint64_t draw_seed(const slot *slots) {
    uint64_t seed;
    return sg_random_bytes(&seed, sizeof seed) ? seed : (uint64_t)(uintptr_t)slots;
}

static bool resize(sg_map *m, size_t size) {
    sg_map next = {.size = size, .count = m->count, .seed = m->seed};
    next.slots = sg_calloc(size, sizeof *next.slots);
    if (next.slots == NULL)
        return false;
    if (m->slots == NULL)
        next.seed = draw_seed(next.slots);
    for (size_t i = 0; i < m->size; i++)
        if (m->slots[i].value != NULL)
            next.slots[find(&next, m->slots[i].key)] = m->slots[i];
    sg_free(m->slots);
    *m = next;
    return true;
}

void *sg_map_get(const sg_map *m, uint64_t key) {
    return m->count > 0 ? m->slots[find(m, key)].value : NULL;
}

bool sg_map_put(sg_map *m, uint64_t key, void *value) {
    if (sg_map_get(m, key) == NULL) {
        if (m->count >= m->size / 2 && !resize(m, m->size > 0 ? m->size * 2 : SIZE_MIN))
            return false;
        m->count++;
    }
    m->slots[find(m, key)] = (slot){key, value};
    return true;
}

/* Close the gap at `gap`. What stands at `i` may move into it unless its home is between the two:
 * then a search for it would start behind the gap. */
static void close_gap(sg_map *m, size_t gap) {
    size_t mask = m->size - 1;
    for (size_t i = (gap + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t from_home = (i - home_of(m, m->slots[i].key)) & mask;
        if (from_home >= ((i - gap) & mask)) {
            m->slots[gap] = m->slots[i];
            gap = i;
        }
    }
    m->slots[gap] = (slot){0, NULL};
}

/* Halved when an eighth of it is in use, it is still a quarter full, and grows again only when that
 * has doubled: no key that comes and goes makes it change its size each time. Where there is no
 * memory for the smaller one, the larger one stays. */
static void shrink(sg_map *m) {
    if (m->size > SIZE_MIN && m->count <= m->size / 8)
        (void)resize(m, m->size / 2);
}

void *sg_map_remove(sg_map *m, uint64_t key) {
    if (m->count == 0)
        return NULL;
    size_t i = find(m, key);
    void *value = m->slots[i].value;
    if (value == NULL)
        return NULL;
    close_gap(m, i);
    m->count--;
    shrink(m);
    return value;
}

bool sg_map_next(const sg_map *m, size_t *at, uint64_t *key, void **value) {
    while (*at < m->size && m->slots[*at].value == NULL)
        ++*at;
    if (*at >= m->size)
        return false;
    *key = m->slots[*at].key;
    *value = m->slots[*at].value;
    ++*at;
    return true;
}

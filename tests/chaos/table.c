/* table.c - open addressing, at most half full. */
#include "table.h"

#include <stdlib.h>
#include <string.h>

struct table_slot {
    table_key key;
    void *value;
};

static uint64_t hash(table_key key) {
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < 5; i++) {
        h = (h ^ key.part[i]) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static struct table_slot *find(struct table_slot *slots, size_t size, table_key key) {
    size_t at = hash(key) & (size - 1);
    while (slots[at].value && memcmp(&slots[at].key, &key, sizeof key) != 0)
        at = (at + 1) & (size - 1);
    return &slots[at];
}

static void grow(table *t) {
    size_t size = t->size ? t->size * 2 : 64;
    struct table_slot *slots = calloc(size, sizeof *slots);
    if (!slots)
        abort();
    size_t count = 0;
    for (size_t i = 0; i < t->size; i++) {
        if (t->slots[i].value) {
            *find(slots, size, t->slots[i].key) = t->slots[i];
            count++;
        }
    }
    free(t->slots);
    *t = (table){slots, size, count};
}

void **table_at(table *t, table_key key) {
    if (t->count * 2 >= t->size)
        grow(t);
    struct table_slot *s = find(t->slots, t->size, key);
    if (!s->value) {
        s->key = key;
        t->count++; /* the caller puts something in */
    }
    return &s->value;
}

void *table_get(const table *t, table_key key) {
    return t->size ? find(t->slots, t->size, key)->value : NULL;
}

/* What stands behind it may have been put there only because its own place was taken. */
void table_remove(table *t, table_key key) {
    if (!t->size || !table_get(t, key))
        return;
    struct table_slot *hole = find(t->slots, t->size, key);
    size_t at = (size_t)(hole - t->slots);
    hole->value = NULL;
    t->count--;
    for (at = (at + 1) & (t->size - 1); t->slots[at].value; at = (at + 1) & (t->size - 1)) {
        struct table_slot moved = t->slots[at];
        t->slots[at].value = NULL;
        *find(t->slots, t->size, moved.key) = moved;
    }
}

void *table_next(const table *t, size_t *at) {
    while (*at < t->size) {
        void *value = t->slots[(*at)++].value;
        if (value)
            return value;
    }
    return NULL;
}

void table_fini(table *t) {
    free(t->slots);
    *t = (table){0};
}

/* ---- Memory ---------------------------------------------------------------------------------- */

enum { BLOCK_BYTES = 1 << 18 };

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    max_align_t bytes[];
};

void *arena_get(arena *a, size_t size) {
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        b = calloc(1, sizeof *b + room);
        if (!b)
            abort();
        b->size = room;
        b->next = a->blocks;
        a->blocks = b;
    }
    void *p = (char *)b->bytes + b->used;
    b->used += size;
    return p;
}

void arena_fini(arena *a) {
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
}

void *array_grow(void *items, size_t n, size_t *cap, size_t size) {
    if (n < *cap)
        return items;
    *cap = *cap ? *cap * 2 : 16;
    items = realloc(items, *cap * size);
    if (!items)
        abort();
    return items;
}

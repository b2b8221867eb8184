/* table.h - a hash table from up to five numbers to a pointer, for programs that end when memory
 * does; and the memory that such a program gives back all at once. */
#ifndef SG_CHAOS_TABLE_H
#define SG_CHAOS_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct table_key {
    uint64_t part[5];
} table_key;

typedef struct table {
    struct table_slot *slots; /* NULL until the first is put in */
    size_t size, count;
} table;

/* Where the pointer of a key is kept; NULL in it where the key is new. Until the next call. */
void **table_at(table *t, table_key key);
void *table_get(const table *t, table_key key); /* NULL where there is none */
void table_remove(table *t, table_key key);
/* Walk all of it, in no order: `*at` starts from 0. NULL at the end. */
void *table_next(const table *t, size_t *at);
void table_fini(table *t);

/* Zeroed memory that lives until arena_fini. */
typedef struct arena {
    struct arena_block *blocks;
} arena;

void *arena_get(arena *a, size_t size);
void arena_fini(arena *a);

/* Room for one more in an array on the heap, which may move. */
void *array_grow(void *items, size_t n, size_t *cap, size_t size);

#endif

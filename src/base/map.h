/* map.h - a hash map from 64-bit numbers to pointers, open addressing. Not thread-safe. A pointer
 * is never NULL. Keys may come from a stranger: where they stand depends on a seed that nobody
 * knows, so that nobody can choose keys that all stand in one place. */
#ifndef SG_BASE_MAP_H
#define SG_BASE_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sg_map {
    struct sg_map_slot *slots; /* NULL until the first put */
    size_t size, count;        /* size: 0 or a power of two, at least twice the count */
    uint64_t seed;             /* drawn with the first slots */
} sg_map;

void sg_map_init(sg_map *m); /* allocates nothing; a zeroed map is as good */
void sg_map_fini(sg_map *m); /* as after init; what the pointers point to is the caller's */
void *sg_map_get(const sg_map *m, uint64_t key); /* NULL where there is none */
/* Insert or replace; a replacement cannot fail. False: no memory, nothing changed. */
bool sg_map_put(sg_map *m, uint64_t key, void *value);
/* What was there, or NULL. Gives memory back when it has become much too large. */
void *sg_map_remove(sg_map *m, uint64_t key);
/* Walk all of it in no order: `*at` starts from 0. The map must not change meanwhile. */
bool sg_map_next(const sg_map *m, size_t *at, uint64_t *key, void **value);
#endif

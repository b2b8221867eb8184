/* alloc.h - the one door to the heap. Everything the library allocates goes through it, so that a
 * test can fail the n-th allocation. All functions are thread-safe and return NULL on failure. */
#ifndef SG_BASE_ALLOC_H
#define SG_BASE_ALLOC_H
#include <stddef.h>
#include <stdint.h>

void *sg_alloc(size_t size);
void *sg_calloc(size_t count, size_t size); /* zeroed; NULL where count * size overflows */
void *sg_realloc(void *p, size_t size);
void *sg_reallocarray(void *p, size_t count, size_t size); /* NULL where count * size overflows */
char *sg_strdup(const char *s);
void *sg_memdup(const void *p, size_t n);
void sg_free(void *p);

/* For tests: the `n`-th allocation from now on (1 is the next) fails, once or from there on; 0
 * turns it off. Returns how many allocations were made since the last call. */
uint64_t sg_alloc_fail_at(uint64_t n, int forever);
#endif

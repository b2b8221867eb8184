/* alloc.c - malloc, with one hook for tests. */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Set by the first sg_alloc_fail_at and never again cleared: outside of tests an allocation reads
 * one shared flag instead of having all threads write one counter. */
static atomic_bool armed;
static atomic_uint_fast64_t made;    /* allocations since the last sg_alloc_fail_at */
static atomic_uint_fast64_t fail_at; /* 0: none fails */
static atomic_bool fail_forever;

static bool must_fail(void) {
    if (!atomic_load_explicit(&armed, memory_order_relaxed))
        return false;
    uint64_t n = atomic_fetch_add(&made, 1) + 1;
    uint64_t at = atomic_load(&fail_at);
    if (at == 0)
        return false;
    return atomic_load(&fail_forever) ? n >= at : n == at;
}

/* malloc(0) may return NULL, which would read as a failure. */
static size_t at_least_one(size_t size) {
    return size > 0 ? size : 1;
}

void *sg_alloc(size_t size) {
    return must_fail() ? NULL : malloc(at_least_one(size));
}

void *sg_calloc(size_t count, size_t size) {
    size_t bytes; /* calloc checks it too, but under a sanitizer it then ends the process */
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return must_fail() ? NULL : calloc(at_least_one(bytes), 1);
}

void *sg_realloc(void *p, size_t size) {
    return must_fail() ? NULL : realloc(p, at_least_one(size));
}

void *sg_reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return sg_realloc(p, bytes);
}

char *sg_strdup(const char *s) {
    return sg_memdup(s, strlen(s) + 1);
}

void *sg_memdup(const void *p, size_t n) {
    void *copy = sg_alloc(n);
    if (copy != NULL && n > 0)
        memcpy(copy, p, n);
    return copy;
}

void sg_free(void *p) {
    free(p);
}

uint64_t sg_alloc_fail_at(uint64_t n, int forever) {
    atomic_store(&fail_at, 0);
    uint64_t count = atomic_exchange(&made, 0);
    atomic_store(&fail_forever, forever != 0);
    atomic_store(&fail_at, n);
    atomic_store(&armed, true);
    return count;
}

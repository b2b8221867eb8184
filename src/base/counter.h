/* counter.h - a number that one thread counts, and any reads, with no lock and no locked instruction: an
 * addition is a load and a store. "One thread" may be another each time, where a lock hands it over. */
#ifndef SG_BASE_COUNTER_H
#define SG_BASE_COUNTER_H
#include <stdatomic.h>
#include <stdint.h>

typedef struct sg_counter {
    _Atomic uint64_t n;
} sg_counter;

static inline uint64_t sg_counter_get(const sg_counter *c) {
    return atomic_load_explicit(&c->n, memory_order_relaxed);
}

static inline void sg_counter_add(sg_counter *c, uint64_t by) {
    atomic_store_explicit(&c->n, sg_counter_get(c) + by, memory_order_relaxed);
}

static inline void sg_counter_sub(sg_counter *c, uint64_t by) {
    sg_counter_add(c, 0 - by);
}
#endif

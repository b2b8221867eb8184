/* random.h - ids that nobody else has, and jitter. */
#ifndef SG_BASE_RANDOM_H
#define SG_BASE_RANDOM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* n bytes from the kernel; false where it has none to give. */
bool sg_random_bytes(void *p, size_t n);

/* 32 lower-case hex digits of 128 random bits, and a NUL. */
bool sg_random_id(char out[33]);

/* A seeded generator (splitmix64) for jitter and tests. */
typedef struct sg_rng {
    uint64_t state;
} sg_rng;
uint64_t sg_rng_next(sg_rng *r);
uint64_t sg_rng_below(sg_rng *r, uint64_t n); /* 0 .. n-1; n > 0 */
#endif

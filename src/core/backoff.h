/* backoff.h - how long to wait before trying again: exponential, with jitter. Pure. */
#ifndef SG_CORE_BACKOFF_H
#define SG_CORE_BACKOFF_H
#include <stdint.h>

#include "base/random.h"

typedef struct sg_backoff {
    int64_t first, max; /* ms */
    uint32_t tries;     /* failures in a row */
} sg_backoff;

void sg_backoff_init(sg_backoff *b, int64_t first, int64_t max);
void sg_backoff_reset(sg_backoff *b);
/* The wait after one more failure: between half and all of min(max, first * 2^tries), tries
 * counting the failures before it. */
int64_t sg_backoff_next(sg_backoff *b, sg_rng *rng);
#endif

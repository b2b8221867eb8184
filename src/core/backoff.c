/* backoff.c - the jitter keeps the clients of a server that came back from coming back together;
 * the lower half is kept so that a wait is never near zero. */
#include "core/backoff.h"

void sg_backoff_init(sg_backoff *b, int64_t first, int64_t max) {
    b->first = first > 0 ? first : 1;
    b->max = max > b->first ? max : b->first;
    b->tries = 0;
}

void sg_backoff_reset(sg_backoff *b) {
    b->tries = 0;
}

int64_t sg_backoff_next(sg_backoff *b, sg_rng *rng) {
    bool at_max = b->tries >= 63 || b->first > b->max >> b->tries;
    int64_t full = at_max ? b->max : b->first << b->tries;
    if (b->tries < UINT32_MAX)
        b->tries++;
    int64_t half = full / 2;
    return full - (int64_t)sg_rng_below(rng, (uint64_t)half + 1);
}

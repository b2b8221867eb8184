/* takeover.h - how long partitions were without an owner that reads them: from the end, or sleep, of
 * a consumer to the next delivery by another one. */
#ifndef SG_CHAOS_TAKEOVER_H
#define SG_CHAOS_TAKEOVER_H

#include "history.h"

enum { TAKEOVER_MAX = 20000 };

typedef struct takeovers {
    uint32_t ms[TAKEOVER_MAX];
    size_t n;
} takeovers;

/* Add those of one round, but for those during which the server was not to be reached. */
void takeovers_add(takeovers *t, const history_log *l);
/* Sorts; 0 to 100. 0 where there are none. */
uint32_t takeovers_percentile(takeovers *t, unsigned percent);

#endif

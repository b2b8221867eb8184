/* legend.h - good histories made up at random: a small model of streams and groups that keeps every
 * promise, while members die, wake up late and hand over, answers go missing, and servers lose
 * what they may. Same seed, same history.
 *
 *     tale *t = legend_new(seed, LEGEND_LOSSES);
 *     tale_expect_good(t); */
#ifndef SG_CHAOS_LEGEND_H
#define SG_CHAOS_LEGEND_H

#include "tale.h"

enum {
    LEGEND_LOSSES = 1, /* the server fails over to one that has less */
    LEGEND_RETRIES = 2,
    LEGEND_HANDLERS = 4,
    LEGEND_TRIMS = 8, /* what is consumed is gone at the end */
    LEGEND_ALL = 15
};

tale *legend_new(uint64_t seed, unsigned features);

#endif

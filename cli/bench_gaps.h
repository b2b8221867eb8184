/* bench_gaps.h - how long a partition's messages pause while the group changes, out of the log of
 * deliveries. */
#ifndef SEGMENTER_CLI_BENCH_GAPS_H
#define SEGMENTER_CLI_BENCH_GAPS_H
#include "bench_member.h"

/* Where each partition's deliveries are. */
typedef struct bench_place {
    bench_event last; /* its member is BENCH_NOBODY before the first */
    uint64_t next;    /* offset that comes next */
    int64_t longest;  /* pause in what is looked at now; -1: it changed its owner */
} bench_place;

typedef struct bench_gaps {
    bench_place *places;
    uint32_t partitions;
    uint64_t repeated; /* deliveries of what had been delivered */
    uint64_t missing;  /* offsets that were passed over */
} bench_gaps;

void bench_gaps_init(bench_gaps *g, uint32_t partitions);
void bench_gaps_fini(bench_gaps *g);

/* Look at the next stretch of the log. `moved` gets, for each change of owner, the time from the last
 * delivery of the one to the first of the other; `stayed`, for each partition without one, its longest
 * pause between `from_ns` and `to_ns`, less `interval_ns`. Either may be NULL. */
void bench_gaps_look(bench_gaps *g, bench_log *log, int64_t from_ns, int64_t to_ns,
                     int64_t interval_ns, cli_histogram *moved, cli_histogram *stayed);

/* Messages that came, of all partitions. */
uint64_t bench_gaps_received(const bench_gaps *g);

#endif

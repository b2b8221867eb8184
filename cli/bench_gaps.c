/* bench_gaps.c - see bench_gaps.h. What a member was given it notes before it acknowledges it, and
 * the partition is handed over after that; so in the order of time the old owner's deliveries come
 * before the new one's. */
#include "bench_gaps.h"

#include <stdlib.h>

enum { LATE_MS = 30 }; /* a process's deliveries are in the log so long after they came */

void bench_gaps_init(bench_gaps *g, uint32_t partitions) {
    *g = (bench_gaps){.partitions = partitions};
    g->places = cli_alloc(partitions, sizeof *g->places);
    for (uint32_t i = 0; i < partitions; i++) {
        g->places[i].last.member = BENCH_NOBODY;
    }
}

void bench_gaps_fini(bench_gaps *g) {
    free(g->places);
    *g = (bench_gaps){0};
}

static void look_at(bench_gaps *g, const bench_event *e, int64_t from_ns, int64_t to_ns,
                    cli_histogram *moved) {
    bench_place *p = &g->places[e->partition];
    int64_t gap = e->at_ns - p->last.at_ns;
    if (e->offset < p->next) {
        g->repeated++;
    } else {
        g->missing += e->offset - p->next;
        p->next = e->offset + 1;
    }
    if (p->last.member != BENCH_NOBODY && p->last.member != e->member) {
        p->longest = -1;
        if (moved) {
            cli_histogram_add(moved, gap);
        }
    } else if (p->longest >= 0 && e->at_ns >= from_ns && p->last.at_ns <= to_ns &&
               gap > p->longest) {
        p->longest = gap;
    }
    p->last = *e;
}

void bench_gaps_look(bench_gaps *g, bench_log *log, int64_t from_ns, int64_t to_ns,
                     int64_t interval_ns, cli_histogram *moved, cli_histogram *stayed) {
    size_t n;
    bench_event *events = bench_log_take(log, bench_now_ns() - LATE_MS * INT64_C(1000000), &n);
    for (uint32_t i = 0; i < g->partitions; i++) {
        g->places[i].longest = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (events[i].partition < g->partitions) {
            look_at(g, &events[i], from_ns, to_ns, moved);
        }
    }
    free(events);
    for (uint32_t i = 0; stayed && i < g->partitions; i++) {
        int64_t longest = g->places[i].longest;
        if (longest >= 0) {
            cli_histogram_add(stayed, longest - interval_ns);
        }
    }
}

uint64_t bench_gaps_received(const bench_gaps *g) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->partitions; i++) {
        sum += g->places[i].next;
    }
    return sum;
}

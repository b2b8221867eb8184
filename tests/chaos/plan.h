/* plan.h - which faults a round has, and when: all of it follows from the seed. */
#ifndef SG_CHAOS_PLAN_H
#define SG_CHAOS_PLAN_H

#include "faults.h"

enum { PLAN_MAX = 2000 };

typedef struct plan {
    fault faults[PLAN_MAX];
    unsigned n;
} plan;

/* Kinds are bits of fault_kinds[]. In a round of `length` ms, all is over by then. */
void plan_make(plan *p, uint64_t seed, round_kind round, uint64_t kinds, int64_t length);

#endif

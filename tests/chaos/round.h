/* round.h - one round: servers, workers, faults, then quiet, and a verdict. */
#ifndef SG_CHAOS_ROUND_H
#define SG_CHAOS_ROUND_H

#include "anomalies.h"
#include "plan.h"
#include "takeover.h"

typedef struct round_order {
    round_kind kind;
    uint64_t number, seed;
    uint64_t kinds;             /* bits of fault_kinds[] */
    int64_t faults_ms;          /* for so long there are faults, */
    int64_t drain_ms;           /* and so long after it all has to be delivered */
    const char *dir;            /* of the run; the round makes one of its own in it */
    const char *worker, *clock; /* the program, the library to preload */
} round_order;

/* The sums of all rounds. */
typedef struct tally {
    verdict verdict; /* without examples */
    takeovers takeovers;
    uint64_t faults[64], passed_over; /* by kind */
    uint64_t failed;                  /* workers that ended as they must not, or did not end */
    uint64_t restarted;               /* offsets that began anew in what was ruined */
    unsigned rounds, bad;
} tally;

/* False: it was found to be bad. What was found is printed. */
bool round_run(const round_order *o, tally *t);

#endif

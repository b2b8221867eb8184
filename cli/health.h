/* health.h - how a group does in a partition: pure, from one look at it or from two. */
#ifndef SEGMENTER_CLI_HEALTH_H
#define SEGMENTER_CLI_HEALTH_H
#include "table.h"

#include <segmenter/segmenter.h>

/* The later the worse. Name, text in the help. */
#define CLI_HEALTH_MAP(X)                                                                          \
    X(OK, "ok", "nothing is wrong")                                                                \
    X(WARN, "warn", "a message waits for longer than --age-warn, or had to be delivered again")    \
    X(STALLED, "stalled", "as warn, and nothing was committed between the looks")                  \
    X(REWOUND, "rewound",                                                                          \
      "the group went back between the looks: a seek, or the server lost data")                    \
    X(ORPHANED, "orphaned", "messages wait, and no live member owns the partition")                \
    X(DAMAGED, "damaged", "a part of the data is missing on the server, and the lag is unknown")

typedef enum cli_health {
#define X(name, word, text) CLI_HEALTH_##name,
    CLI_HEALTH_MAP(X)
#undef X
} cli_health;

const char *cli_health_name(cli_health h);
cli_colour cli_health_colour(cli_health h);

typedef struct cli_look {
    const seg_group_partition *now;
    const seg_group_partition *before; /* NULL: there is none */
    int64_t now_ms;                    /* since 1970 */
    int64_t between_ms;                /* the looks */
    int64_t age_warn;                  /* ms */
} cli_look;

/* A sum in which one unknown makes all unknown. */
uint64_t cli_known_sum(uint64_t a, uint64_t b);

/* The age of the oldest message that is not acknowledged; -1: nothing is left, or it is unknown. One
 * from the future is 0 old. */
int64_t cli_age(const seg_group_partition *p, int64_t now_ms);
/* Change of the lag, in messages a second. NAN: unknown. */
double cli_trend(const cli_look *l);
cli_health cli_judge(const cli_look *l);
/* What a listing alone tells of a group: OK, ORPHANED or DAMAGED; of dead letters that wait WARN, as
 * nobody is meant to own those. */
cli_health cli_judge_summary(const seg_group_summary *g);

#endif

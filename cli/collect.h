/* collect.h - one collection: asks the server and fills a set of metrics.
 *
 * The listings tell most, at the price of a few pipelined questions. Only groups with lag are looked at
 * closely, as nothing waits in the others: those with most lag first, so many, and for so long. What was
 * not looked at, or cannot be told, has no sample: never a 0. */
#ifndef SEGMENTER_CLI_COLLECT_H
#define SEGMENTER_CLI_COLLECT_H
#include <stdatomic.h>

#include "cli.h"
#include "metrics.h"

typedef struct cli_collect_plan {
    const char *name_space;
    const cli_list *streams; /* only these; empty: all */
    bool *missing;           /* of each of these: was it said that there is none? */
    uint64_t describe;       /* look closely at so many groups at most */
    uint64_t partitions;     /* and tell of so many partitions; 0: of none */
    int64_t look_us;         /* look closely for so long at most */
    const atomic_bool *stop; /* give up soon where it is set; NULL: none */
} cli_collect_plan;

/* Errors: those of the listings. What was put into `m` until then is not to be used. */
seg_status cli_collect(cli_metrics *m, seg_client *client, const cli_collect_plan *plan,
                       seg_error *err);

#endif

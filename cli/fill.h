/* fill.h - how full a stream is of what somebody has still to read: what stops its producers.
 *
 * A partition that holds as many messages as it may is no fault: appends drop what every group has
 * acknowledged. What counts is what is left to its slowest group; all, where there is no group. */
#ifndef SEGMENTER_CLI_FILL_H
#define SEGMENTER_CLI_FILL_H
#include "cli.h"

typedef struct cli_fill {
    double percent; /* of the partition's bound, in the fullest partition; NAN: unknown */
    uint32_t partition;
    uint64_t groups;    /* of the stream, those that are damaged as well */
    char group[201];    /* the slowest one there; "": there is no group that can be told */
    uint64_t n_damaged; /* groups that cannot be told, of which that is one */
    char damaged[201];
} cli_fill;

/* Looks at no more groups than can matter. */
seg_status cli_fill_of(cli_fill *out, seg_client *client, const seg_stream_info *stream,
                       seg_error *err);

#endif

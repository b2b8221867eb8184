/* group.h - what the commands of segmenter group share: two looks at a group, and the words for it. */
#ifndef SEGMENTER_CLI_GROUP_H
#define SEGMENTER_CLI_GROUP_H
#include <jansson.h>

#include "health.h"
#include "listing.h"

/* A group as it is, and as it was a moment before. */
typedef struct cli_group_looks {
    seg_group_info *now;
    const seg_group_info *before; /* NULL where one look was enough; borrowed where top looks */
    int64_t now_ms;
    int64_t between_ms;
    int64_t age_warn;
} cli_group_looks;

/* Look, wait for `window` ms (0: not at all), look again. Returns an exit code. */
int cli_group_look(cli_group_looks *out, seg_client *client, const char *stream, const char *group,
                   int64_t window, int64_t age_warn);
/* As cli_group_look, without a report. */
seg_status cli_group_try_look(cli_group_looks *out, seg_client *client, const char *stream,
                              const char *group, int64_t window, int64_t age_warn, seg_error *err);
void cli_group_looks_fini(cli_group_looks *l); /* of cli_group_look, which owns both */

/* One of its partitions. */
cli_look cli_look_at(const cli_group_looks *l, uint32_t partition);

/* All of them: the worst, the oldest (-1: none, or one is unknown), the sum (NAN: the same). */
cli_health cli_group_judge(const cli_group_looks *l);
int64_t cli_group_age(const cli_group_looks *l);
double cli_group_trend(const cli_group_looks *l);

/* "0-3,5": runs of partitions. The caller frees it. */
char *cli_ranges(const uint32_t *list, size_t n);
/* The same, cut with "..." where it does not fit. */
void cli_print_ranges(char *out, size_t cap, const uint32_t *list, size_t n);

/* Its partitions: the columns of a listing, its rows, which end it, and a list of them as JSON
 * (group_rows.c). */
enum { CLI_PARTITION_COLUMNS = 14 };
extern const cli_column cli_partition_columns[CLI_PARTITION_COLUMNS];
void cli_put_partitions(cli_listing *l, const cli_group_looks *looks);
json_t *cli_partitions_json(const cli_group_looks *looks);

#endif

/* ops_describe.h - looking at partitions and groups as operators do: see partition_describe.lua,
 * partition_lag.lua and group_summary.lua. All as in ops.h. */
#ifndef SG_REDIS_OPS_DESCRIBE_H
#define SG_REDIS_OPS_DESCRIBE_H
#include "redis/ops.h"

/* A partition as operators see it. */
typedef struct sg_partition_answer {
    seg_status status; /* ELOST: it, or the group's place in it, is missing or makes no sense */
    bool lost;
    seg_error err;
    uint64_t era, first, next, foreign, producers;
    /* Where a group was asked for. */
    uint64_t committed, epoch, since;
    uint64_t high;         /* all below it may have been delivered, at most `next`; 0: nothing */
    seg_bytes acks, tries; /* valid during the callback */
    int64_t oldest;        /* base timestamp of the batch with the oldest message that is left; 0 */
} sg_partition_answer;
/* group may be NULL. */
bool sg_partition_describe_send(sg_conn *c, const sg_stream *s, const sg_group *group, uint32_t p,
                                sg_result_fn *fn, void *arg);
void sg_partition_describe_read(const sg_result *r, sg_partition_answer *out);

/* The ends of a partition, and the places of the groups whose names and ids are at `names` and
 * `gids`, n of them, each. */
bool sg_partition_lag_send(sg_conn *c, const sg_stream *s, uint32_t p, const char *const *names,
                           const char *const *gids, size_t n, sg_result_fn *fn, void *arg);
typedef struct sg_lag_answer {
    seg_status status; /* as in sg_partition_answer */
    bool lost;
    seg_error err;
    uint64_t first, next;
    const sg_reply *places; /* valid during the callback */
} sg_lag_answer;
void sg_partition_lag_read(const sg_result *r, size_t n, sg_lag_answer *out);
/* The lag of the i-th group and the offset that it has committed; SEG_UNKNOWN where it cannot be told.
 * False: that is because its place is missing. */
bool sg_lag_at(const sg_lag_answer *a, size_t i, uint64_t *lag, uint64_t *committed);
/* The messages that are left to a group at `committed` of a partition. SEG_UNKNOWN: it is past the
 * end. */
uint64_t sg_lag(uint64_t committed, uint64_t first, uint64_t next);

/* Add to a sum in which one unknown makes all unknown. */
void sg_known_add(uint64_t *sum, uint64_t n);

bool sg_group_summary_send(sg_conn *c, const sg_stream *s, const char *const *names, size_t n,
                           sg_result_fn *fn, void *arg);
typedef struct sg_summary_answer {
    seg_status status; /* ENOENT: no such stream */
    bool lost;
    seg_error err;
    const sg_reply *rows; /* the whole answer; valid during the callback */
} sg_summary_answer;
void sg_group_summary_read(const sg_result *r, size_t n, sg_summary_answer *out);
typedef struct sg_summary {
    char gid[33];
    uint64_t members, owned, epoch;
} sg_summary;
/* SEG_OK; SEG_ENOENT: there is no such group; SEG_ELOST: what is there makes no sense. */
seg_status sg_summary_at(const sg_summary_answer *a, size_t i, sg_summary *out);

/* The answer is the number of a stream's groups. */
bool sg_groups_count_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg);
#endif

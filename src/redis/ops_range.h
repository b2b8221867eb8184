/* ops_range.h - reading a stretch of a partition's log. As in ops.h. */
#ifndef SG_REDIS_OPS_RANGE_H
#define SG_REDIS_OPS_RANGE_H
#include "core/eras.h"
#include "redis/ops.h"

/* The first `count` entries whose last offset is in [from, to]. */
bool sg_range_send(sg_conn *c, const sg_stream *s, uint32_t p, const sg_eras *eras, uint64_t from,
                   uint64_t to, uint64_t count, sg_result_fn *fn, void *arg);

typedef struct sg_range_answer {
    seg_status status;
    bool lost;
    seg_error err;
    size_t count;            /* entries */
    const sg_reply *entries; /* valid during the callback */
} sg_range_answer;
void sg_range_read(const sg_result *r, sg_range_answer *out);

/* The i-th entry: `last` is the offset of its last message, `batch` its value, within the answer.
 * False where it is none of ours; `last` is set all the same where its ID tells it, else
 * UINT64_MAX. */
bool sg_range_entry(const sg_range_answer *a, size_t i, const sg_eras *eras, uint64_t *last,
                    seg_bytes *batch);
#endif

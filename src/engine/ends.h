/* ends.h - where partitions begin and end, and their eras, asked of the server. Only reads. */
#ifndef SG_ENGINE_ENDS_H
#define SG_ENGINE_ENDS_H
#include "engine/client.h"
#include "redis/ops.h"

typedef struct sg_ends {
    uint32_t partition;
    sg_eras eras;
    uint64_t first, next;
    uint64_t found; /* of a time: where it begins */
} sg_ends;

typedef struct sg_ends_question {
    bool find; /* the stream's settings too; otherwise it is known */
    const uint32_t *partitions;
    size_t n;   /* 0: all */
    bool timed; /* look for the first message of `time` or later */
    int64_t time;
} sg_ends_question;

typedef struct sg_ends_answer {
    sg_ends *all; /* in the order of the question */
    size_t n;
    uint64_t life; /* the client's, under which they were asked */
} sg_ends_answer;

/* `s` is written only where the question is to find it. EINVAL: the stream has no such partition. ENOENT, ELOST as it is with the stream. Application
 * thread. `out` is the caller's: sg_ends_free. */
seg_status sg_ends_ask(sg_ends_answer *out, seg_client *c, sg_stream *s, const sg_ends_question *q,
                       seg_error *err);
void sg_ends_free(sg_ends_answer *a); /* a zeroed one too */
#endif

/* ops_seek.h - moving a group: see group_seek.lua and cursor_seek.lua. All as in ops.h. */
#ifndef SG_REDIS_OPS_SEEK_H
#define SG_REDIS_OPS_SEEK_H
#include "redis/ops.h"

typedef enum sg_seek_kind {
    SG_SEEK_OK,
    SG_SEEK_ACTIVE, /* begin: the group has live members: `members` */
    SG_SEEK_STALE, /* cursor_seek: an owner has begun under `epoch`, which is ours or a later one */
    SG_SEEK_GONE,  /* the stream or the group is not there any more, or is another one; err */
    SG_SEEK_REFUSED /* err says why; not done */
} sg_seek_kind;

typedef struct sg_seek_answer {
    sg_seek_kind kind;
    bool lost;
    uint64_t epoch;         /* of begin */
    uint64_t members;       /* ACTIVE */
    uint64_t before, after; /* of cursor_seek */
    seg_error err;          /* GONE, REFUSED, lost */
} sg_seek_answer;

/* An epoch for the moves, larger than all that were granted, and than `floor`. `force`: also while
 * the group has live members. */
bool sg_group_seek_begin_send(sg_conn *c, const sg_stream *s, const sg_group *g, bool force,
                              uint64_t floor, sg_result_fn *fn, void *arg);
bool sg_cursor_seek_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                         uint64_t epoch, uint64_t offset, sg_result_fn *fn, void *arg);
/* The owners of the partitions that were moved, each under its epoch, are granted them anew. */
bool sg_group_seek_finish_send(sg_conn *c, const sg_stream *s, const sg_group *g,
                               const sg_handback *moved, size_t n, sg_result_fn *fn, void *arg);
/* Of all three. */
void sg_seek_read(const sg_result *r, sg_seek_answer *out);

/* The first entry whose last offset is in [from, to]. */
bool sg_entry_find_send(sg_conn *c, const sg_stream *s, uint32_t p, const sg_eras *eras,
                        uint64_t from, uint64_t to, sg_result_fn *fn, void *arg);
typedef struct sg_entry_answer {
    seg_status status;
    bool lost, found;
    seg_error err;
    uint64_t last;   /* offset of its last message */
    seg_bytes batch; /* empty where the entry is none of ours; valid during the callback */
} sg_entry_answer;
void sg_entry_find_read(const sg_result *r, sg_entry_answer *out);
#endif

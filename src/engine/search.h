/* search.h - where a time begins: for each of some partitions the offset of the first message that
 * is kept and whose timestamp is that time or later; the partition's end where there is none.
 * Timestamps are taken as rising along a partition.
 *
 * A binary search over entries: an entry's ID is the offset of its last message, so one XRANGE from
 * the middle on finds the entry that holds it, and its batch tells the times of all its messages:
 *
 *     1-3 [10:00 10:01 10:01 10:02]   1-4 [10:05]   1-9 [10:07 ... 10:30]     looked for: 10:06
 *                                      ^ earlier: on from 5   ^ the first of it: offset 5
 *
 * Entries that are trimmed meanwhile are like such that never were: what is found then may lie
 * before the first message, and whoever uses it cuts it. Entries that are none of ours tell no
 * time: the next one decides.
 *
 * Part of an sg_task, whose step calls sg_search_step until there is nothing more to ask. */
#ifndef SG_ENGINE_SEARCH_H
#define SG_ENGINE_SEARCH_H
#include "engine/task.h"

struct sg_search_part;
typedef struct sg_search {
    sg_task *task;
    const sg_stream *stream;
    int64_t time;
    size_t n;
    struct sg_search_part *parts;
} sg_search;

/* Begin with the partitions 0 .. n - 1 of a stream that is found. What was begun before with this
 * `q`, which is zeroed at first, is forgotten. False: no memory. */
bool sg_search_begin(sg_search *q, sg_task *t, const sg_stream *s, int64_t time, size_t n);
/* The i-th is that partition, and these are its eras, which the caller keeps, and ends. Without it, it is the partition i, and its
 * ends are asked for. */
void sg_search_in(sg_search *q, size_t i, uint32_t partition, const sg_eras *eras, uint64_t first,
                  uint64_t next);
/* Send the next read of each partition that needs one. False: all is found, nothing was sent. The
 * task's time begins anew, as every read brings it nearer to its end. */
bool sg_search_step(sg_search *q);
uint64_t sg_search_found(const sg_search *q, size_t i);
void sg_search_end(sg_search *q);
#endif

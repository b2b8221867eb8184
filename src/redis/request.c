/* request.c - the capacity is a power of two, so that places wrap by a mask. */
#include "redis/request.h"

#include <string.h>

#include "base/alloc.h"
#include "redis/reader.h"

#define FIRST_CAP 16

bool sg_requests_reserve(sg_requests *q) {
    if (q->count < q->cap)
        return true;
    size_t cap = q->cap == 0 ? FIRST_CAP : q->cap * 2;
    sg_request *ring = sg_reallocarray(q->ring, cap, sizeof *ring);
    if (ring == NULL)
        return false;
    /* It was full: what had wrapped to the front follows the old end now. */
    if (q->head > 0)
        memcpy(ring + q->cap, ring, q->head * sizeof *ring);
    q->ring = ring;
    q->cap = cap;
    return true;
}

void sg_requests_push(sg_requests *q, sg_request r) {
    q->ring[(q->head + q->count) & (q->cap - 1)] = r;
    q->count++;
}

sg_request *sg_requests_head(const sg_requests *q) {
    return q->count > 0 ? &q->ring[q->head] : NULL;
}

sg_request *sg_requests_last(const sg_requests *q) {
    return q->count > 0 ? &q->ring[(q->head + q->count - 1) & (q->cap - 1)] : NULL;
}

sg_request sg_requests_pop(sg_requests *q) {
    sg_request r = q->ring[q->head];
    q->head = (q->head + 1) & (q->cap - 1);
    q->count--;
    return r;
}

void sg_requests_fini(sg_requests *q) {
    while (q->count > 0)
        sg_reply_free(sg_requests_pop(q).refusal);
    sg_free(q->ring);
    *q = (sg_requests){0};
}
